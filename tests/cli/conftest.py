"""The command line, called in process."""

import pytest

FEW = ("--limit", "20", "--orbit-images", "2", "--device", "cpu")


@pytest.fixture
def few():
    """Options that measure on few images."""
    return FEW
