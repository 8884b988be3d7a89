"""What a pickle may name: torch's own parts of tensors, and a short list of harmless things, each as a stand-in.

`torch.load(weights_only=True)` looks names up in lists instead of importing them. eqviz's list is shorter than torch's:
what rebuilds tensors, and plain containers. Not `bytearray`, which takes as much memory as a number in the file says,
nor nested tensors and wrapper classes, whose rebuilding trusts the file.

Beside them stand names that are in many real files, next to the weights: options (`Namespace`), best accuracies (NumPy
numbers), paths of files, dictionaries with defaults. The things themselves are never handed to torch: NumPy's own
functions read memory where a crafted dtype tells them to, a path can be opened. What is handed over is a class of this
module that keeps plain text, numbers or dictionaries, and does nothing. Everything else (functions, whole models,
`omegaconf` settings) is refused by name.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

REBUILDS = frozenset(
    {
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_tensor_v3",
        "torch._utils._rebuild_qtensor",
    }
)
"""Functions whose first arguments are a storage, an offset into it, a shape and strides."""

CALLED = REBUILDS | {
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch._utils._rebuild_sparse_tensor",
    "torch._utils._rebuild_meta_tensor_no_storage",
    "torch._tensor._rebuild_from_type_v2",
    "torch.serialization._get_layout",
    "torch.Size",
    "torch.device",
    "torch.nn.parameter.Parameter",
    "collections.OrderedDict",
    "collections.Counter",
    "_codecs.encode",
    "builtins.set",
    "builtins.complex",
}
"""Names of torch's list that a pickle may call; :mod:`pickle_scan` looks at what it calls them with."""

_MENTIONED = re.compile(r"torch\.(Tensor|(cuda\.)?[A-Z]\w*Storage|storage\.\w*Storage|per_(tensor|channel)_\w+)")
"""Names of torch's list that are arguments only."""


class Attributes:
    """An object with attributes (`argparse.Namespace`): a dictionary of them, `values`."""

    values: Mapping[Any, Any] = MappingProxyType({})  # here, since a pickle makes objects without calling __init__

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        self.values = state if isinstance(state, dict) else {}


class Dictionary:
    """A kind of dictionary: made a plain ordered one, without its default or methods."""

    def __new__(cls, *_: object) -> OrderedDict[Any, Any]:  # type: ignore[misc]  # noqa: D102  # as the class says
        return OrderedDict()


class Text:
    """A kind of text (a version, a path of several parts): made plain text."""

    def __new__(cls, *parts: object) -> str:  # type: ignore[misc]  # noqa: D102
        words = [part for part in parts if isinstance(part, str)]
        return "/".join([words[0].rstrip("/"), *words[1:]]) if words[1:] else "".join(words)


class NumberKind:
    """A NumPy dtype: its code, such as "f8", and its byte order."""

    code: str = ""

    def __init__(self, code: object = "", *_: object) -> None:
        self.code = code if isinstance(code, str) and re.fullmatch(r"[<>|=]?[biuf][1248]", code) else ""

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.code = f"{state[1]}{self.code.lstrip('<>|=')}" if self.code else ""


class Number:
    """A NumPy number: made one of Python's; None for everything that is not a simple number."""

    def __new__(cls, kind: object = None, data: object = None, *_: object) -> Any:  # noqa: D102
        code = kind.code if isinstance(kind, NumberKind) else ""
        data = data.encode("latin1", "replace") if isinstance(data, str) else data
        if not code or not isinstance(data, bytes) or len(data) != np.dtype(code).itemsize:
            return None
        return np.frombuffer(data, code)[0].item()


class Anything:
    """Something that is not kept: arrays of NumPy, classes that are named beside settings."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


_LIGHTNING = ("pytorch_lightning", "lightning.pytorch")

STAND_INS: Mapping[str, Any] = {
    **dict.fromkeys(["argparse.Namespace", "types.SimpleNamespace"], Attributes),
    **dict.fromkeys(
        [
            "collections.defaultdict", "easydict.EasyDict", "yacs.config.CfgNode", "fvcore.common.config.CfgNode",
            "pytorch_lightning.utilities.parsing.AttributeDict", "lightning.pytorch.utilities.parsing.AttributeDict",
            "lightning_fabric.utilities.data.AttributeDict", "lightning.fabric.utilities.data.AttributeDict",
        ],
        Dictionary,
    ),
    **dict.fromkeys(
        [
            "torch.torch_version.TorchVersion",
            *(
                f"{module}.{name}"
                for module in ("pathlib", "pathlib._local")
                for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
            ),
        ],
        Text,
    ),
    **dict.fromkeys(["numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"], Number),
    "numpy.dtype": NumberKind,
    **dict.fromkeys(
        [
            "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct", "numpy.ndarray",
            *(f"builtins.{name}" for name in ("bool", "int", "float", "str", "list", "dict", "tuple")),
            *(f"{package}.callbacks.model_checkpoint.ModelCheckpoint" for package in _LIGHTNING),
            *(f"{package}.callbacks.early_stopping.EarlyStopping" for package in _LIGHTNING),
        ],
        Anything,
    ),
}  # fmt: skip
"""What torch is handed for a name, instead of what the name means."""


def is_allowed(name: str) -> bool:
    """Whether a pickle may have that name, written `module.name`, in it.

    >>> is_allowed("torch.FloatStorage"), is_allowed("argparse.Namespace"), is_allowed("os.system")
    (True, True, False)
    """
    if name in CALLED or name in STAND_INS or _MENTIONED.fullmatch(name):
        return True
    module, _, last = name.rpartition(".")
    return module == "torch" and isinstance(getattr(torch, last, None), torch.dtype)
