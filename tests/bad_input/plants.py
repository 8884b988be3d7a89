"""Pickles that would leave a file behind if anything ever ran them, in all the places where pickles hide."""

import os
import pickle
import subprocess
import timeit
from pathlib import Path

import numpy as np
import torch

from tests.bad_input.crafting import in_legacy, in_tar, in_zip

OWNED = "owned"
"""The file that must never be there."""


class Calling:
    """Unpickled, it calls a function with these arguments."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Chained:
    """Unpickled, it gets the function by `getattr` from an imported module, and calls it: no name gives it away."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


GADGETS = {
    "os.system": lambda path: Calling(os.system, f"touch '{path}'"),
    "os.mkdir": lambda path: Calling(os.mkdir, path),
    "builtins.open": lambda path: Calling(open, path, "w"),
    "builtins.exec": lambda path: Calling(exec, f"open({path!r}, 'w')"),
    "builtins.eval": lambda path: Calling(eval, f"open({path!r}, 'w')"),
    "pathlib.Path.touch": lambda path: Calling(Path.touch, Path(path)),
    "subprocess.check_call": lambda path: Calling(subprocess.check_call, ["touch", path]),
    "timeit.timeit": lambda path: Calling(timeit.timeit, f"open({path!r}, 'w')", "pass", timeit.default_timer, 1),
    "numpy.save": lambda path: Calling(np.ndarray.tofile, np.zeros(1), path),
    "torch.save": lambda path: Calling(torch.save, 0, path),
}
"""Ways to make the file."""


def hidden(gadget, state):
    """Contents of checkpoints with a gadget in them, by where it is."""
    return {
        "itself": gadget,
        "weights": state | {"fc.bias": gadget},
        "beside": state | {"more": gadget},
        "settings": {"state_dict": state, "hyper_parameters": {"channels": gadget}},
        "optimiser": {"state_dict": state, "optimizer": {"state": {0: gadget}, "param_groups": []}},
        "deep": {"state_dict": state, "callbacks": [{"a": ({"b": [gadget]},)}]},
        "key": {"state_dict": state, "names": {gadget: 1}},
    }


WRAPPED = {
    "zip": in_zip,
    "legacy": in_legacy,
    "tar": in_tar,
    "alone": bytes,
    "behind a magic number": lambda pickled: pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2) + pickled,
}
"""Files around a pickle."""


def planted(path, gadget="os.system", protocol=2, wrap="zip"):
    """A file with a pickle in it that makes `path`."""
    return WRAPPED[wrap](pickle.dumps(GADGETS[gadget](str(path)), protocol=protocol))
