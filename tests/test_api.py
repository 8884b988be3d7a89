import inspect
import subprocess
import sys

import pytest

import eqviz
from eqviz.api import MODULES, NAMES, load


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there_whatever_was_imported_before(name):
    module, attribute = NAMES[name].split(":")
    assert load(name).__name__ == attribute
    assert load(name).__module__ == module
    assert callable(getattr(eqviz, name))


@pytest.mark.parametrize("name", NAMES)
def test_every_name_has_a_docstring_that_says_what_it_raises(name):
    text = inspect.getdoc(load(name))
    assert text
    assert text.split("\n")[0].strip()
    if inspect.isfunction(load(name)) and name not in {"declare"}:
        assert "EqvizError" in text or ">>>" in text


def test_dir_lists_what_there_is():
    assert dir(eqviz) == sorted([*NAMES, *MODULES, "api"])
    assert all(hasattr(eqviz, name) for name in dir(eqviz))
    assert eqviz.api.__name__ == "eqviz.api"
    assert eqviz.plots.__name__ == "eqviz.plots"


@pytest.mark.parametrize("name", ["captures", "__wrapped__", "report_"])
def test_an_unknown_name(name):
    with pytest.raises(AttributeError, match=name):
        getattr(eqviz, name)
    assert not hasattr(eqviz, name)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        AttributeError, match=r"no 'captures'; it has EqvizError, .*audit, .*capture, .*, plots, testing"
    ):
        eqviz.captures  # noqa: B018  # it is the access that raises


def fresh(code):
    """Standard output of Python code in a process of its own."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_importing_eqviz_loads_neither_torch_nor_pandas():
    code = (
        "import sys, eqviz, eqviz.api; dir(eqviz); print([m for m in ('torch', 'pandas', 'numpy') if m in sys.modules])"
    )
    assert fresh(code) == "[]"


def test_capture_can_be_called_again_although_a_package_has_its_name():
    code = """
import torch, eqviz
layer, images = torch.nn.Conv2d(1, 1, 3), torch.rand(1, 1, 5, 5)
eqviz.decompose
for _ in range(2):
    print(len(eqviz.capture(layer, images, group="C4").equivariance()), end=" ")
import eqviz.capture.hooks
from eqviz.fields.layer_calls import OUTPUT
print(OUTPUT, eqviz.capture.hooks.__name__)
"""
    assert fresh(code) == "1 1 (output) eqviz.capture.hooks"


def test_audit_can_be_called_again_although_a_package_has_its_name():
    code = """
import torch, eqviz
for _ in range(2):
    print(eqviz.audit(torch.nn.MaxPool2d(2), 9).attrs["surviving"], eqviz.exact_sizes(torch.nn.MaxPool2d(2), [8, 9]))
import eqviz.audit.sizes
print(eqviz.audit.sizes.__name__, eqviz.testing.assert_equivariant.__name__)
"""
    assert fresh(code).split("\n") == ["C1 [8]", "C1 [8]", "eqviz.audit.sizes assert_equivariant"]
