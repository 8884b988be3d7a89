"""Capture's memory depends neither on the number of images nor on the number of layers."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("peak_memory.py")
ALL = "conv*,*pool*,fc,(output)"


def peak(images: int, layers: str, source: str, threads: int) -> float:
    """MiB that a process of its own needs at most beyond torch, the model and, if they are a tensor, the images."""
    command = [sys.executable, str(SCRIPT), str(images), layers, source, str(threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_memory(benchmark, say, request):
    threads = request.config.getoption("--threads") or 0
    cases = {
        "1,000 images, 1 layer": (1_000, "conv4", "batches"),
        "10,000 images, 1 layer": (10_000, "conv4", "batches"),
        "1,000 images, all layers": (1_000, ALL, "batches"),
        "10,000 images, all layers": (10_000, ALL, "batches"),
        "1,000 images in one tensor, all layers": (1_000, ALL, "tensor"),
        "10,000 images in one tensor, all layers": (10_000, ALL, "tensor"),
    }
    needed: dict[str, float] = {}

    def measure() -> None:
        needed.update({name: peak(*case, threads) for name, case in cases.items()})

    benchmark.pedantic(measure, rounds=1)
    benchmark.extra_info.update(mebibytes=needed)
    for name, size in needed.items():
        say(f"peak memory, {name}: {size:.1f} MiB")
    few, many = needed["1,000 images, all layers"], needed["10,000 images, all layers"]
    one = needed["10,000 images, 1 layer"]
    say(f"ten times the images: {many / few:.2f} of the memory; all layers against one: {many / one:.2f}")
    one_tensor = needed["10,000 images in one tensor, all layers"]
    assert max(many, one_tensor) <= few + 16  # the allocator differs by some MiB from run to run
