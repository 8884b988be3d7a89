"""A pickle read without being run: what it names, calls and declares, checked before torch sees it.

A pickle is a list of instructions for a stack machine. Here the machine is followed with stand-ins for its values:
text, whole numbers, names and tuples as they are, everything else as "something". That is enough to know every name in
the file, every call, how much each storage and each tensor says it holds, and how deep tuples lie in each other
(Python hashes them without a guard, and 100 000 of them end the process).
"""

import pickletools
import re
from dataclasses import dataclass, field
from io import BufferedReader, BytesIO
from math import prod
from typing import Any

import torch

from eqviz.checkpoints.pickle_names import CALLED, REBUILDS, STAND_INS, is_allowed

MOST_DEPTH = 100
"""Tuples within tuples; a shape is one, a tensor's arguments are two."""
MOST_TENSORS = 50_000
_MOST_STEPS = 50 * MOST_TENSORS
"""Instructions; a tensor takes about 40."""
_PROTOCOL = 2
_MOST_REPEATED = 2**22
"""Numbers in a tensor that has more than its storage: strides of 0 repeat them without taking space in the file."""

_ITEM_BYTES = {
    "Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1,
    "ComplexDouble": 16, "ComplexFloat": 8, "QUInt8": 1, "QInt8": 1, "QInt32": 4, "QUInt4x2": 1, "QUInt2x4": 1,
    "Untyped": 1,
}  # fmt: skip
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg", "torch.tensor": "torch._tensor"}
_RENAMED_TYPES = {"builtins.long": "builtins.int", "builtins.unicode": "builtins.str"}
"""Modules of Python 2 and of old torch, and types of Python 2, under the names that torch gives them."""


class BadPickleError(ValueError):
    """What is wrong with a pickle, in a few words."""


class NewerPickleError(BadPickleError):
    """A pickle in a later form than torch.save's own, which `weights_only` does not read."""


class RefusedNamesError(BadPickleError):
    """Names in a pickle that are not allowed, in `names`."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"the names {', '.join(names)}")
        self.names = names


@dataclass(frozen=True)
class _Name:
    full: str


@dataclass(frozen=True)
class _Tuple:
    items: list[Any]
    depth: int


@dataclass(frozen=True)
class _Storage:
    bytes: int
    item_bytes: int


_SOMETHING = object()
_TENSOR = object()


@dataclass
class Scan:
    """What is in a pickle: `storages`, the bytes that each says it holds by its key, and `tensors`, their number."""

    storages: dict[str, int] = field(default_factory=dict)
    tensors: int = 0


def scan(stream: BufferedReader | BytesIO) -> Scan:
    """Read one pickle from `stream`, up to its end, without doing what it says.

    Raises RefusedNamesError if a name in it is not allowed, and BadPickleError if it is broken, calls what is not to be
    called, or declares tensors that are larger than their storage.

    >>> import io, pickle
    >>> scan(io.BytesIO(pickle.dumps(len, protocol=2)))
    Traceback (most recent call last):
    eqviz.checkpoints.pickle_scan.RefusedNamesError: the names builtins.len
    """
    machine = _Machine()
    try:
        for count, (operation, argument, _) in enumerate(pickletools.genops(stream)):
            if count > _MOST_STEPS:
                raise BadPickleError(f"a pickle of more than {_MOST_STEPS} instructions")
            machine.step(operation, argument)
    except (IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError, MemoryError, OSError) as error:
        if not machine.refused:
            words = str(error) if isinstance(error, BadPickleError) else "a broken or truncated pickle"
            raise BadPickleError(words) from None
    if machine.refused:
        raise RefusedNamesError(sorted(machine.refused))
    if machine.faults:
        raise BadPickleError(machine.faults[0])
    if machine.protocol > _PROTOCOL:
        raise NewerPickleError(f"a pickle of protocol {machine.protocol}; torch.save writes {_PROTOCOL}")
    return machine.found


class _Machine:
    """The stack machine. Names and calls that are refused do not stop it, so that all of them are known in the end."""

    def __init__(self) -> None:
        self.found = Scan()
        self.refused: set[str] = set()
        self.faults: list[str] = []
        self.protocol = 0
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._storages: dict[str, _Storage] = {}

    def step(self, operation: pickletools.OpcodeInfo, argument: Any) -> None:
        name = operation.name
        if name == "MARK":
            self._marked.append(self._stack)
            self._stack = []
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self._memo[len(self._memo) if name == "MEMOIZE" else argument] = self._stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        elif name == "PROTO":
            self.protocol = max(self.protocol, argument)
        else:
            taken = self._take(operation)
            if operation.stack_after:
                self._stack.append(self._made(name, argument, taken))

    def _take(self, operation: pickletools.OpcodeInfo) -> list[Any]:
        """What an operation takes off the stack: so many values, and all above the last mark."""
        before, above = operation.stack_before, []
        count = len(before)
        if pickletools.markobject in before:
            above, self._stack = self._stack, self._marked.pop()
            count = before.index(pickletools.markobject)
        return [self._stack.pop() for _ in range(count)][::-1] + above

    def _made(self, name: str, argument: Any, taken: list[Any]) -> Any:
        """What an operation leaves on the stack."""
        if isinstance(argument, str) and name in ("GLOBAL", "INST"):
            return self._named(*argument.split(" ", 1))
        if name == "STACK_GLOBAL":
            return self._named(*taken)
        if name.startswith("TUPLE") or name == "EMPTY_TUPLE":
            return self._tuple(taken)
        if name in ("REDUCE", "NEWOBJ"):
            return self._called(*taken)
        if name == "BINPERSID":
            return self._storage(taken[0])
        if name == "BUILD" and taken[0] is not _SOMETHING:
            self.faults.append("a state for something that has none")
        if name in ("BUILD", "APPEND", "APPENDS", "SETITEM", "SETITEMS"):
            return taken[0]
        return argument if type(argument) in (str, int) else _SOMETHING

    def _named(self, module: object, name: object) -> _Name:
        full = f"{_RENAMED.get(str(module), module)}.{name}"
        full = _RENAMED_TYPES.get(full, full)
        if not is_allowed(full):
            self.refused.add(full)
        return _Name(full)

    def _tuple(self, items: list[Any]) -> _Tuple:
        depth = 1 + max((item.depth for item in items if isinstance(item, _Tuple)), default=0)
        if depth > MOST_DEPTH:
            raise BadPickleError(f"tuples {depth} deep in each other")
        return _Tuple(items, depth)

    def _called(self, what: object, given: object) -> object:
        if not isinstance(what, _Name) or not isinstance(given, _Tuple) or what.full in self.refused:
            self.faults.append("a call of something that has no name, or without arguments")
            return _SOMETHING
        items = given.items
        if what.full == "torch._tensor._rebuild_from_type_v2":  # a tensor with attributes: function, type, arguments
            return self._called(items[0], items[2])
        if what.full in REBUILDS:
            return self._tensor(what.full, items)
        if what.full.startswith(("torch._utils.", "torch.nn.parameter.")):
            return _TENSOR
        if what.full == "_codecs.encode":  # how bytes are written; other codecs double the length, again and again
            fits = len(items) == 2 and isinstance(items[0], str) and items[1] in ("latin1", "latin-1")
        else:
            fits = what.full in STAND_INS or (what.full in CALLED and not _numbers_within(given))
        if not fits:
            self.faults.append(f"a call of {what.full} with what it is not to be called with")
        return _SOMETHING

    def _storage(self, saved: object) -> _Storage:
        """A storage: the word, its type, key, device and length; in old files, also which part of it is meant."""
        items = saved.items if isinstance(saved, _Tuple) else []
        kind = items[1].full if len(items) >= 5 and isinstance(items[1], _Name) else ""
        match = re.fullmatch(r"torch\.(?:cuda\.|storage\.)?(\w+)Storage", kind)
        if items[:1] != ["storage"] or match is None or match[1] not in _ITEM_BYTES or not _are_counts(items[4:5]):
            raise BadPickleError("a storage that is not described as torch does")
        key, item_bytes, length = items[2], _ITEM_BYTES[match[1]], items[4]
        if not isinstance(key, str):  # torch would tell 0 from "0", and look for both in one place
            raise BadPickleError("a storage whose key is no text")
        if key in self._storages:  # torch takes the first for both
            return self._storages[key]
        self.found.storages[key] = length * item_bytes
        if len(items) > 5 and isinstance(items[5], _Tuple):
            start, part = items[5].items[1:3]
            if not _are_counts([start, part]) or start + part > length:
                raise BadPickleError("a part of a storage that lies outside of it")
            return _Storage(part * item_bytes, item_bytes)
        self._storages[key] = _Storage(length * item_bytes, item_bytes)
        return self._storages[key]

    def _tensor(self, function: str, items: list[Any]) -> object:
        """A tensor must lie within its storage: torch would make the storage larger."""
        self.found.tensors += 1
        storage, offset, shape, strides = items[:4]
        if not isinstance(storage, _Storage):
            raise BadPickleError("a tensor without a storage")
        if not isinstance(shape, _Tuple) or not isinstance(strides, _Tuple) or len(shape.items) != len(strides.items):
            raise BadPickleError("a tensor without shape and strides")
        if not _are_counts([offset, *shape.items, *strides.items]):
            raise BadPickleError("a tensor whose shape, strides or offset are negative or no whole numbers")
        item_bytes = _of_dtype(items[6]) if function.endswith("_v3") else storage.item_bytes
        last = offset + sum((size - 1) * stride for size, stride in zip(shape.items, strides.items, strict=True))
        numbers, most = prod(shape.items), max(_MOST_REPEATED, storage.bytes // item_bytes)
        if numbers > most or (numbers and (last + 1) * item_bytes > storage.bytes):
            shown = str(tuple(shape.items))[:80]
            self.faults.append(f"a tensor of shape {shown} in a storage of {storage.bytes} bytes")
        if self.found.tensors > MOST_TENSORS:
            raise BadPickleError(f"more than {MOST_TENSORS} tensors")
        return _TENSOR


def _are_counts(values: list[Any]) -> bool:
    return bool(values) and all(type(value) is int and 0 <= value < 2**62 for value in values)


def _of_dtype(named: object) -> int:
    dtype = getattr(torch, named.full.removeprefix("torch."), None) if isinstance(named, _Name) else None
    if not isinstance(dtype, torch.dtype):
        raise BadPickleError("a tensor of an unknown dtype")
    return dtype.itemsize


def _numbers_within(given: _Tuple) -> bool:
    """Whether a tensor or a storage is among arguments: a container made of one counts its numbers one by one."""
    return any(
        item is _TENSOR or isinstance(item, _Storage) or (isinstance(item, _Tuple) and _numbers_within(item))
        for item in given.items
    )
