"""What the benchmarks print, and their options. Run them with `make bench`, on a machine with nothing else to do."""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping

import pytest
import torch

Work = Callable[[], object]
LINES: pytest.StashKey[list[str]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("eqviz")
    group.addoption("--strict-ratio", action="store_true", help="fail if capture takes over 1.3 of bare forward passes")
    group.addoption("--threads", type=int, help="threads for torch, unless it chooses")
    group.addoption("--rounds", type=int, default=9, help="rounds of every timing (default: 9)")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LINES] = []
    if any(type(finder).__name__ == "SignatureFinder" for finder in sys.meta_path):
        raise pytest.UsageError(
            "shape checks are on and take time: run `make bench`, or add --confcutdir=tests/benchmarks"
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash[LINES]:
        terminalreporter.section(f"eqviz, {torch.get_num_threads()} threads")
        for line in config.stash[LINES]:
            terminalreporter.write_line(line)


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Adds a line to the summary at the end."""
    return request.config.stash[LINES].append


@pytest.fixture(autouse=True)
def threads_and_seed(request: pytest.FixtureRequest) -> Iterator[None]:
    torch.set_num_threads(request.config.getoption("--threads") or torch.get_num_threads())
    with torch.random.fork_rng():
        torch.manual_seed(2308)
        yield


@pytest.fixture
def interleaved(request: pytest.FixtureRequest, benchmark) -> Callable[[Work, Mapping[str, Work]], dict[str, float]]:
    """Times one piece of work by pytest-benchmark and others in turn with it; median seconds, the first as `""`."""

    def measure(work: Work, others: Mapping[str, Work]) -> dict[str, float]:
        seconds: dict[str, list[float]] = {name: [] for name in others}

        def run_others() -> None:
            for name, other in others.items():
                start = time.perf_counter()
                other()
                seconds[name].append(time.perf_counter() - start)

        rounds = request.config.getoption("--rounds")
        benchmark.pedantic(work, setup=run_others, rounds=rounds, warmup_rounds=1)
        # the last rounds: those before belong to the warm-up
        medians = {name: statistics.median(times[-rounds:]) for name, times in seconds.items()}
        return {"": benchmark.stats.stats.median, **medians}

    return measure
