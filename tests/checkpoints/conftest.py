import pytest

from eqviz.errors import EqvizError


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
