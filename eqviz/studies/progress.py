"""What training tells whoever waits for it. The library prints nothing; the command line prints these, a line each."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One event of training: `kind` is `started`, `resumed`, `epoch`, `finished` or `skipped` (it was finished before).

    `place` of `runs` counts runs from 1; `epoch` of `epochs` is the last complete one; `accuracy` (0..1) is that on the
    watched, upright test images (None where nothing was measured); `seconds` are those of the epoch, or of the whole
    run.

    >>> print(Progress("epoch", "p4cnn-16-seed0", 2, 8, 3, 25, 0.9713, 1.25))
    [2/8] p4cnn-16-seed0  epoch 3/25  accuracy 97.1%  1.2 s
    """

    kind: str
    run: str
    place: int
    runs: int
    epoch: int
    epochs: int
    accuracy: float | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        words = {"skipped": "already finished, skipped", "resumed": f"resumed after epoch {self.epoch}"}
        parts = [
            f"[{self.place}/{self.runs}] {self.run}",
            f"epoch {self.epoch}/{self.epochs}" if self.kind == "epoch" else words.get(self.kind, self.kind),
            "" if self.accuracy is None else f"accuracy {self.accuracy:.1%}",
            "" if self.seconds is None else f"{self.seconds:.1f} s",
        ]
        return "  ".join(part for part in parts if part)

    @property
    def worth_a_line(self) -> bool:
        """Whether to tell it where every event is a line: of more than 50 epochs only each fiftieth part.

        >>> [e for e in range(1, 201) if Progress("epoch", "a", 1, 1, e, 200).worth_a_line][:3]
        [4, 8, 12]
        """
        if self.kind != "epoch" or self.epochs <= _LINES:
            return True
        return self.epoch * _LINES // self.epochs > (self.epoch - 1) * _LINES // self.epochs


_LINES = 50
"""Most lines about the epochs of one run."""

OnProgress = Callable[[Progress], None]


def silent(event: Progress) -> None:
    """Tell nobody."""
