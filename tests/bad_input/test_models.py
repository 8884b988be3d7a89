"""Networks that fail or give out nonsense: a line that names what failed, or a result, never a traceback."""

import json

import pytest
import torch

import eqviz as library
from eqviz.errors import EqvizError
from tests.bad_input import networks
from tests.bad_input.conftest import FEW, check_line, describe

MODULE = ("--import", "tests.bad_input.networks")
BOTH = ("--only", "accuracy", "--only", "equivariance", "--every", "90")


@pytest.fixture
def described(folder):
    """Writes a description with a network of tests.bad_input.networks, and its weights."""

    def call(model, **changes):
        torch.save(networks.Sound().state_dict(), folder / "net.pt")
        describe(folder, **{"model": model, "arguments": {}, "group": "C4"} | changes)
        return folder

    return call


def test_the_network_they_differ_from_is_sound(described, works):
    works(described("Sound"), *MODULE)
    works(described("Sound"), *MODULE, *BOTH, command="analyse")


@pytest.mark.parametrize("error", networks.ERRORS)
@pytest.mark.parametrize("model", ["FailsToBuild", "FailsToRun"])
def test_networks_that_fail(described, refused, model, error):
    place = described(model, arguments={"error": error})
    refused(place, *MODULE, *BOTH, command="analyse", names=("model",))


@pytest.mark.parametrize(
    "model", ["FailsOnMoved", "OneAtATime", "NeedsMore", "Shrinks", "no_network", "a_class", "a_tensor", "Lazy"]
)
def test_networks_that_fail_at_times(described, refused, model):
    refused(described(model), *MODULE, *BOTH, command="analyse")


NO_SCORES = sorted(networks.Gives.KINDS)


@pytest.mark.parametrize("kind", NO_SCORES)
@pytest.mark.parametrize("only", ["accuracy", "equivariance"])
def test_networks_that_give_out_nonsense(eqviz, described, kind, only):
    """A line, or a result where the rest of the network can be measured."""
    done = eqviz(
        "analyse", described("Gives", arguments={"kind": kind}), *FEW, *MODULE, "--only", only, "--every", "90"
    )
    assert done.status in (0, 2)
    assert "Traceback" not in done.err
    if done.status == 2:
        check_line(done.err.splitlines()[-1])


@pytest.mark.parametrize(
    "model", ["Learns", "TwoKinds", "Surprises", "Itself", "shared", "scripted", "NoWeights", "OddNames", "Prints"]
)
def test_networks_that_are_odd(eqviz, described, model):
    """Audited, and measured or refused: an end that was meant."""
    place = described(model)
    for command in (("audit", place, *MODULE), ("analyse", place, *FEW, *MODULE, *BOTH)):
        done = eqviz(*command)
        assert done.status in (0, 2, 3, 4)
        assert "Traceback" not in done.out + done.err
        if done.status == 2:
            check_line(done.err.splitlines()[-1])
    before = torch.equal(networks.SHARED.fc.weight, torch.load(place / "net.pt")["fc.weight"])
    assert before is (model == "shared") or model != "shared"


def test_what_a_network_prints_is_not_in_what_eqviz_prints(eqviz, described):
    done = eqviz("audit", described("Prints"), *MODULE, "--json")
    json.loads(done.out)


@pytest.mark.parametrize("error", networks.ERRORS)
def test_audits_of_networks_that_fail(described, refused, error):
    refused("FailsToBuild", *MODULE, "--input-size", "8", "--set", f"error={error}", names=("FailsToBuild",))


@pytest.mark.parametrize(
    "make",
    [
        lambda: None, lambda: "net", lambda: networks.Sound, lambda: networks.FailsToBuild("long"),
        lambda: networks.Sound(3), lambda *images: 3, lambda classes: networks.Sound(classes),
    ],
    ids=range(7),
)  # fmt: skip
def test_constructors_from_python(described, make):
    place = described("Sound")
    with pytest.raises(EqvizError) as caught:
        library.open_runs(place, model=make, limit=20, orbit_images=2).equivariance()
    check_line(f"eqviz: {caught.value}")


IMAGES = torch.rand(4, 1, 8, 8)


def cases(model):
    """Calls of the Python interface with images and options that cannot be."""
    nan = IMAGES * float("nan")
    bad = (IMAGES[0], IMAGES[:0], IMAGES.long(), nan, IMAGES + float("inf"), IMAGES[:, :, :0], IMAGES.repeat(1, 3, 1,
    1), 3, None,
           "images", [], [None], IMAGES[..., :5], IMAGES + 1j, IMAGES > 0, {}, iter([]), [IMAGES, IMAGES[:, :,
           :4]])  # fmt: skip
    for place, images in enumerate(bad):
        yield f"capture {place}", lambda images=images: library.capture(model, images, "C4")
        yield f"verdict {place}", lambda images=images: library.verdict(model, images, "C4")
        yield f"decompose {place}", lambda images=images: library.decompose(model, images, "fc", "C4")
    for place, size in enumerate((0, -1, "8", (8,), None, 10**9, 8.5, (8, 0), [8, 8, 8])):
        yield f"audit {place}", lambda size=size: library.audit(model, size, group="C4")
    for place, options in enumerate(
        ({"group": "Q8"}, {"layers": "cnov*"}, {"layers": ""}, {"layers": []}, {"fields": {"fc": "imgae"}},
         {"fields": {"cnov": "image"}})
    ):  # fmt: skip
        yield f"options {place}", lambda options=options: library.capture(model, IMAGES, **{"group": "C4"} | options)


CASES = dict(cases(networks.Sound()))


@pytest.mark.parametrize("case", CASES)
def test_calls_from_python_that_cannot_be(case):
    with pytest.raises(EqvizError) as caught:
        CASES[case]()
    check_line(f"eqviz: {caught.value}")
