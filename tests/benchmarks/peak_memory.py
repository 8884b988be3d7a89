"""Prints how far one capture raises the peak memory of its process, in MiB.

python peak_memory.py IMAGES LAYERS batches|tensor THREADS
"""

import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from eqviz.capture.orbit_capture import capture
from eqviz.models.registry import build_model

STATUS = Path("/proc/self/status")


def memory(field: str) -> float:
    """MiB, now (VmRSS) or at most so far (VmHWM). Where the system does not tell, the most so far."""
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def batches(count: int) -> Iterator[Tensor]:
    for start in range(0, count, 100):
        yield torch.rand(min(100, count - start), 1, 28, 28)


def main(count: str, layers: str, source: str, threads: str) -> None:
    if int(threads):
        torch.set_num_threads(int(threads))
    model = build_model("p4cnn", channels=4).eval()
    with torch.no_grad():
        model(torch.rand(1, 1, 28, 28))  # what torch sets up once
    images = torch.rand(int(count), 1, 28, 28) if source == "tensor" else batches(int(count))
    before = memory("VmRSS")
    capture(model, images, "C4", layers)
    sys.stdout.write(f"{memory('VmHWM') - before}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
