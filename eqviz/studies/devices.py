"""Which device to run on."""

import torch

from eqviz.errors import EqvizError
from eqviz.models.arguments import brief


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
