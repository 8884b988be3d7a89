"""Networks that fail, give out nonsense, or do what no network should; all have the weights `fc` of a linear layer."""

import sys
from typing import ClassVar

import torch
from torch import Tensor, nn


class Sound(nn.Module):
    """What the others differ from."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.fc = nn.Linear(64, classes)

    def scores(self, images):
        return self.fc(images.flatten(1))

    def forward(self, images):
        return self.scores(images)


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no words")


ERRORS = {
    "ValueError": ValueError("a\nb\x1b[2J"), "MemoryError": MemoryError(), "RecursionError": RecursionError("deep"),
    "long": RuntimeError("x" * 10**6), "empty": RuntimeError(), "Unprintable": Unprintable(),
    "SystemExit": SystemExit("bye"), "Zero": SystemExit(0), "StopIteration": StopIteration(3),
    "KeyError": KeyError("k"),
    "OSError": OSError(28, "No space left on device", "/x"),
    "Assertion": AssertionError(), "NotImplemented": NotImplementedError(), "Import": ImportError("no nothing"),
}  # fmt: skip


class FailsToBuild(Sound):
    def __init__(self, error: str = "ValueError") -> None:
        super().__init__()
        raise ERRORS[error]


class FailsToRun(Sound):
    def __init__(self, error: str = "ValueError") -> None:
        super().__init__()
        self.error = error

    def forward(self, images):
        raise ERRORS[self.error]


class FailsOnMoved(Sound):
    """Fails on its first image where that is turned."""

    def forward(self, images):
        if not hasattr(self, "first"):
            self.first = images[0].clone()
        if any(torch.equal(image.rot90(1, (1, 2)), self.first) for image in images):
            raise ValueError("moved")
        return self.scores(images)


class OneAtATime(Sound):
    def forward(self, images):
        if len(images) > 1:
            raise ValueError("one at a time")
        return self.scores(images)


def endless(images):
    while True:
        yield images


class Gives(Sound):
    """Gives out anything but scores."""

    KINDS: ClassVar = {
        "none": lambda scores: None, "text": lambda scores: "scores", "number": lambda scores: 3.0,
        "whole": lambda scores: scores.argmax(1), "bools": lambda scores: scores > 0,
        "complex": lambda scores: scores + 1j,
        "nan": lambda scores: scores * float("nan"), "inf": lambda scores: scores + float("inf"),
        "empty": lambda scores: scores[:, :0], "no images": lambda scores: scores[:0],
        "fewer": lambda scores: scores[:1],
        "transposed": lambda scores: scores.T, "sum": lambda scores: scores.sum(), "dict": lambda scores: {"a": "b"},
        "nothing": lambda scores: {}, "generator": endless, "list": lambda scores: scores.tolist(),
        "nested": lambda scores: ((((scores,),),),), "numpy": lambda scores: scores.detach().numpy(),
        "half": lambda scores: scores.half(), "sparse": lambda scores: scores.to_sparse(),
        "meta": lambda scores: scores.to("meta"), "class": lambda scores: Sound, "many": lambda scores: [scores] * 100,
        "batch": lambda scores: scores.repeat(1, len(scores)), "deep": lambda scores: scores[(...,) + (None,) * 20],
    }  # fmt: skip

    def __init__(self, kind: str = "none") -> None:
        super().__init__()
        self.kind = kind

    def forward(self, images):
        return self.KINDS[self.kind](self.scores(images))


class Prints(Sound):
    def forward(self, images):
        sys.stdout.write("hello")
        return self.scores(images)


class Learns(Sound):
    """Changes its weights as it runs."""

    def forward(self, images):
        with torch.no_grad():
            self.fc.weight += 0.1 * images.flatten(1).mean(0)
        return self.scores(images)


class Shrinks(Sound):
    """Loses a layer as it runs."""

    def forward(self, images):
        scores = self.scores(images)
        del self.fc
        return scores


class TwoKinds(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.fc.bias = nn.Parameter(self.fc.bias.double())


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.LazyLinear(10)

    def forward(self, images):
        return self.fc(images.flatten(1))


class NoWeights(nn.Module):
    def forward(self, images):
        return images.flatten(1)[:, :10]


class NeedsMore(Sound):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width


class OddNames(nn.Module):
    """Layers whose names no file and no page would expect."""

    NAMES = (
        "<b>x</b>&amp;",
        "a b",
        "$\\frac{$ \\& %",
        "=1+1",
        "ü",
        "\u202egnp",
        "'\"`",
        "-rf",
        "x" * 60,
        "\x1b[31m",
        "a\nb",
        "*",
        "{x}",
    )

    def __init__(self) -> None:
        super().__init__()
        for name in self.NAMES:
            self.add_module(name, nn.Conv2d(1, 1, 3, padding=1))
        self.fc = nn.Linear(64, 10)

    def forward(self, images):
        for name in self.NAMES:
            images = self._modules[name](images)
        return self.fc(images.flatten(1))


class Surprises(Sound):
    """Tells nothing about itself without failing."""

    def __repr__(self):
        raise RuntimeError("no words")


class Itself(Sound):
    """Holds itself in a list, and a module twice."""

    def __init__(self) -> None:
        super().__init__()
        self.again = [self]
        self.same = self.fc


def shared() -> Sound:
    """The same network each time."""
    return SHARED


SHARED = Sound()


def scripted() -> nn.Module:
    return torch.jit.trace(Sound().eval(), torch.zeros(1, 1, 8, 8))


def no_network() -> nn.Module:
    return "a network"  # type: ignore[return-value]  # that is the case


def a_class() -> nn.Module:
    return Sound  # type: ignore[return-value]  # that is the case


def a_tensor(classes: int = 10) -> Tensor:
    return torch.zeros(classes)
