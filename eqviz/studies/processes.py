"""Work in processes of their own: they import nothing from the current folder, and their sudden end is told."""

import os
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from eqviz.errors import EqvizError

_SAFE_PATH = "PYTHONSAFEPATH"


@contextmanager
def apart(jobs: int) -> Iterator[None]:
    """Around work that starts `jobs` processes.

    Python puts the current folder first on the path of processes that are started as `python -m`, as joblib's are: in a
    folder of checkpoints from a stranger, a file `torch.py` would be run in place of torch. What this process may
    import, joblib hands on. Raises EqvizError where a process is killed.

    >>> with apart(2):
    ...     os.environ["PYTHONSAFEPATH"]
    '1'
    """
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    except BrokenProcessPool:
        raise EqvizError(
            f"--jobs {jobs}", expected="processes that come to their end", found="one that was killed",
            fix="memory may not suffice for so many: give fewer; what was finished is kept",
        ) from None  # fmt: skip
    finally:
        if before is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = before
