"""Which device to run on, and how many of a kind."""

from dataclasses import dataclass

import torch

from eqviz.errors import EqvizError
from eqviz.models.arguments import brief


@dataclass(frozen=True)
class Placement:
    """Where training runs: a `device` by name, how many `devices` of its kind share every batch, and how many `workers`
    read pictures that memory cannot hold, for each of them.

    Raises EqvizError for numbers that cannot be, and for a device that is not there or not there so often.

    >>> Placement("cpu", devices=2).kind
    'cpu'
    """

    device: str = "auto"
    devices: int = 1
    workers: int = 0

    def __post_init__(self) -> None:
        for name, value, least in (("devices", self.devices, 1), ("workers", self.workers, 0)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise EqvizError(
                    name, expected=f"a whole number of at least {least}", found=brief(value), fix="change it"
                )
        chosen = choose_device(self.device)
        held = torch.cuda.device_count() if self.kind == "cuda" else 1 if self.kind == "mps" else self.devices
        if self.devices > held or (self.devices > 1 and ":" in chosen):
            raise EqvizError(
                "devices", expected=f"at most {held} of the kind {self.kind}, and no number in the name of several",
                found=f"{self.devices} of {chosen}", fix="lower it, or name the kind alone",
            )  # fmt: skip

    @property
    def kind(self) -> str:
        """cpu, cuda or mps."""
        return choose_device(self.device).partition(":")[0]

    @property
    def index(self) -> int | None:
        """The number of the device, where its name has one."""
        number = choose_device(self.device).partition(":")[2]
        return int(number) if number else None


def choose_device(name: str) -> str:
    """The device of that name; `auto` is CUDA, else MPS, else the CPU. Raises EqvizError for one that is not there.

    >>> choose_device("cpu")
    'cpu'
    """
    held = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    present = [kind for kind, count in held.items() if count]
    if name == "auto":
        return present[0]
    kind, _, index = name.partition(":")
    known = kind in present and (":" not in name or (index.isdecimal() and int(index) < held[kind]))
    if not known:
        raise EqvizError(
            "device", expected=f"auto or {', '.join(present)}", found=brief(name), fix="choose one of these"
        )
    return name
