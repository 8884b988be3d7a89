"""Random numbers of a run, one stream for each purpose and epoch, all from the run's seed.

A stream depends on nothing else: not on the order of runs, not on how often training was interrupted.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def stream_seed(seed: int, purpose: str, epoch: int = 0) -> int:
    """The seed, below 2**32, of the stream for one purpose in one epoch of the run with this seed.

    >>> stream_seed(0, "shuffling", 3) == stream_seed(0, "shuffling", 3) != stream_seed(0, "shuffling", 4)
    True
    """
    digest = hashlib.sha256(f"eqviz/{seed}/{purpose}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:4], "big")  # torch's CPU generator reads 32 bits


def stream(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """A generator (on the CPU) at the start of that stream."""
    return torch.Generator().manual_seed(stream_seed(seed, purpose, epoch))


@contextmanager
def own_randomness() -> Iterator[None]:
    """Put torch's global random state back as it was when the block ends, on the CPU and on every CUDA device.

    CUDA that nobody has used yet is not started for it, because forked processes could not use it then; afterwards it
    has the seed of the CPU, as it had before.
    """
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # torch does not type it
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if started else ()):
            yield
    finally:
        if not started:
            torch.cuda.manual_seed_all(torch.initial_seed())
