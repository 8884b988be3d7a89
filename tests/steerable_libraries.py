"""e2cnn 0.2.3 as it was meant, on the numpy and the torch of today."""

import warnings
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch


class NumpyBefore2:
    """numpy with the meaning of `array(..., copy=False)` that e2cnn was written for: copy only if needed."""

    def __getattr__(self, name):
        return getattr(np, name)

    @staticmethod
    def array(values, copy=True, **options):
        return np.array(values, **options) if copy else np.asarray(values, **options)


class TorchWithByteMasks:
    """torch whose masks of bytes still are masks; it takes only booleans now."""

    uint8 = torch.bool

    def __getattr__(self, name):
        return getattr(torch, name)

    @staticmethod
    def tensor(values, *arguments, **options):
        found = torch.tensor(values, *arguments, **options)
        return found.bool() if found.dtype is torch.uint8 else found


def digest(solution):
    """e2cnn's own hash, without the ndarray.tostring that numpy 2.3 took away."""
    gamma = solution.gamma.tobytes() if hasattr(solution.gamma, "tobytes") else solution.gamma
    return hash(solution.in_irrep) + hash(solution.out_irrep) + hash(solution.mu.tobytes()) + hash(gamma)


@contextmanager
def working_e2cnn():
    """The library's gspaces and nn, patched while this lasts. Tests that need it are skipped where it is missing."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        gspaces = pytest.importorskip("e2cnn.gspaces")
        nn = pytest.importorskip("e2cnn.nn")
        bases = pytest.importorskip("e2cnn.kernels.irreps_basis")
        angular = pytest.importorskip("e2cnn.kernels.utils")
        single = pytest.importorskip("e2cnn.nn.modules.r2_conv.basisexpansion_singleblock")
        for solution in vars(bases).values():
            if isinstance(solution, type) and "__hash__" in vars(solution):
                patch.setattr(solution, "__hash__", digest)
        patch.setattr(angular, "np", NumpyBefore2())
        patch.setattr(single, "torch", TorchWithByteMasks())
        # bases are kept for the whole process, by a key that the axis of a flip is no part of: a space with another
        # axis would be given filters of the first one
        patch.setattr(single, "_stored_filters", Forgetful())
        yield SimpleNamespace(gspaces=gspaces, nn=nn)


class Forgetful(dict):
    """A cache that forgets everything."""

    def __contains__(self, key):
        return False
