import pytest
import torch

from eqviz.errors import EqvizError
from tests.checkpoints.networks import Net, weights


@pytest.fixture
def refused():
    """Calls, and gives the one line that it was refused with."""

    def call(words, function, *arguments, **keywords):
        with pytest.raises(EqvizError, match=words) as caught:
            function(*arguments, **keywords)
        message = str(caught.value)
        assert "\n" not in message
        assert len(message) < 1500
        return message

    return call


@pytest.fixture(scope="module")
def wanted():
    with torch.device("meta"):
        return Net().state_dict()


@pytest.fixture(scope="module")
def state():
    return weights()
