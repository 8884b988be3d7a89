"""The command line, called in process."""

from dataclasses import dataclass

import pytest

from eqviz.cli.main import run


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str


@pytest.fixture
def eqviz(capsys):
    """Runs `eqviz` with these arguments and gives its exit status and what it wrote."""

    def call(*arguments):
        capsys.readouterr()
        status = run([str(argument) for argument in arguments])
        return Outcome(status, *capsys.readouterr())

    return call


FEW = ("--limit", "20", "--orbit-images", "2", "--device", "cpu")


@pytest.fixture
def few():
    """Options that measure on few images."""
    return FEW
