"""Shapes in signatures are checked while the tests run; figures never open a window."""

import os

os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook

install_import_hook("eqviz", "beartype.beartype")
