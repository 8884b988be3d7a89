"""The audit of a ResNet18 at 224 pixels against one forward pass of one image: its time and its memory."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from eqviz.audit.auditing import examine
from eqviz.audit.sizes import exact_sizes
from eqviz.models.registry import build_model

SCRIPT = Path(__file__).with_name("audit_memory.py")
NETWORKS = [pytest.param("p4resnet18", "C4", id="C4"), pytest.param("p4mresnet18", "D4", id="D4")]
SIZE = 224


@pytest.mark.parametrize(("name", "G"), NETWORKS)
def test_audit_against_a_forward_pass(name, G, benchmark, interleaved, say):
    model, image = build_model(name).eval(), torch.rand(1, 3, SIZE, SIZE)

    def forward() -> None:
        with torch.no_grad():
            model(image)

    medians = interleaved(lambda: examine(model, SIZE, G), {"forward": forward})
    ratio = medians[""] / medians["forward"]
    benchmark.extra_info.update(ratio=ratio, forward_seconds=medians["forward"])
    say(
        f"{name}, {G}, {SIZE} pixels: audit {medians['']:.3f} s, one forward pass of one image "
        f"{medians['forward']:.3f} s: ratio {ratio:.2f}"
    )


def test_first_audit_of_a_process(benchmark, say, request):
    """With everything that is set up once: as `eqviz audit` feels, without the import of torch."""
    threads = request.config.getoption("--threads") or 0
    code = (
        "import sys, time, torch; from eqviz.models.registry import build_model\n"
        f"torch.set_num_threads({threads} or torch.get_num_threads()); model = build_model('p4resnet18').eval()\n"
        "start = time.perf_counter(); from eqviz.audit.auditing import examine\n"
        f"examine(model, {SIZE}, 'C4'); sys.stdout.write(str(time.perf_counter() - start))"
    )
    seconds: list[float] = []

    def measure() -> None:
        found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        seconds.append(float(found.stdout))

    benchmark.pedantic(measure, rounds=3)
    say(f"p4resnet18, {SIZE} pixels: import and first audit of a process {sorted(seconds)[1]:.3f} s")


def test_safe_sizes(benchmark, say):
    model = build_model("p4resnet18").eval()
    benchmark.pedantic(lambda: exact_sizes(model, range(200, 233), "C4"), rounds=3)
    say(f"p4resnet18: safe sizes among 33 {benchmark.stats.stats.median:.2f} s")


def peak(work: str, name: str, threads: int) -> float:
    """MiB that a process of its own needs at most beyond torch and the model."""
    command = [sys.executable, str(SCRIPT), work, name, str(SIZE), str(threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_memory_against_a_forward_pass(benchmark, say, request):
    threads = request.config.getoption("--threads") or 0
    needed: dict[str, float] = {}

    def measure() -> None:
        needed.update({work: peak(work, "p4resnet18", threads) for work in ("audit", "forward")})

    benchmark.pedantic(measure, rounds=1)
    ratio = needed["audit"] / needed["forward"]
    benchmark.extra_info.update(mebibytes=needed, ratio=ratio)
    say(
        f"peak memory, p4resnet18, {SIZE} pixels: audit {needed['audit']:.1f} MiB, one forward pass of one image "
        f"{needed['forward']:.1f} MiB: ratio {ratio:.2f}"
    )
    assert ratio < 1
