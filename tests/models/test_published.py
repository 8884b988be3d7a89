"""Published networks: the sizes on which they are exact, predicted and measured, and the names of their weights."""

import pytest
import torch

from eqviz.analysis.verdicts import verdict
from eqviz.audit.sizes import exact_sizes
from eqviz.errors import EqvizError
from eqviz.models import resnet
from eqviz.models.cnn import GroupCNN
from eqviz.models.registry import build_model, model_group

HEAD = {"head": "coset_max"}
NETWORKS = [  # name, arguments, sizes to try, the exact ones
    ("p4cnn_two_pools", {"channels": 2}, (26, 28), [28]),
    ("p4mcnn_two_pools", {"channels": 1, "separable": "gc"}, (22, 24), [24]),
    ("p4resnet44_published", HEAD, (31, 33), [33]),
    ("p4resnet18_published", HEAD, (25, 29), [25]),
    ("p4mresnet18_published", {**HEAD, "separable": "gc"}, (25, 29), [25]),
    ("p4resnet44_histology", {}, (32, 33), [33]),
    ("p4resnet18_published", {}, (25,), []),  # the head on the flattened group axis
    ("z2cnn_two_pools", {"channels": 2}, (28,), []),
]


@pytest.fixture
def one_block_a_stage(monkeypatch):
    """Blocks after the first of a stage change no size, and an audit takes as long as there are blocks."""
    for depth, stages in (("resnet44", 3), ("resnet18", 4)):
        monkeypatch.setitem(resnet._DEPTHS, depth, (stages, 1))


def narrow(name, **arguments):
    if "resnet" in name:
        arguments = {"widths": (1,) * (4 if "18" in name else 3), **arguments}
    torch.manual_seed(1)
    return build_model(name, **{"in_channels": 1, **arguments}).eval()


@pytest.mark.parametrize(("name", "arguments", "sizes", "expected"), NETWORKS)
@pytest.mark.usefixtures("one_block_a_stage")
def test_exact_sizes(name, arguments, sizes, expected):
    assert list(exact_sizes(narrow(name, **arguments), sizes, group=model_group(name))) == expected


@pytest.mark.parametrize(
    ("name", "arguments", "size", "exact"),
    [
        ("p4cnn_two_pools", {"channels": 2}, 16, "yes"), ("p4cnn_two_pools", {"channels": 2}, 18, "no"),
        ("p4mresnet18_published", {**HEAD, "separable": "g"}, 9, "yes"), ("p4resnet18_published", HEAD, 13, "no"),
        ("p4resnet44_published", {}, 9, "no"), ("p4resnet44_histology", {}, 7, "no"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("one_block_a_stage")
def test_prediction_and_measurement_agree_layer_by_layer(name, arguments, size, exact):
    """All layers are measured by the field types they declare, the coset maximum of maps and new shortcuts too."""
    torch.set_default_dtype(torch.float32)
    model = narrow(name, **arguments)
    found = verdict(model, torch.randn(16, 1, size, size), group=model_group(name), twin=False)
    assert set(found["field_source"]) == {"declared"}
    assert "no" not in set(found["agrees"])
    output = found.iloc[-1]
    assert (output["layer"], output["exact"], output["predicted"]) == ("(output)", exact, exact)
    if arguments == {}:  # a flattened head, or a stride that misfits, breaks what was exact before it
        assert found["exact"].iloc[0] == "yes"


NORM = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


@pytest.mark.parametrize("name", ["p4resnet44_published", "z2resnet18_published", "p4resnet44_histology"])
def test_names_are_those_of_the_published_files(name):
    stages, blocks = (4, 2) if "18" in name else (3, 7)
    places = [f"layer{s + 1}" if "histology" in name else f"layers.{s}" for s in range(stages)]
    expected = {"conv1.weight", "fc.weight", "fc.bias"} | {f"bn1.{key}" for key in NORM}
    for place in places:
        for b in range(blocks):
            expected |= {f"{place}.{b}.{conv}.weight" for conv in ("conv1", "conv2")}
            expected |= {f"{place}.{b}.{bn}.{key}" for bn in ("bn1", "bn2") for key in NORM}
        if place != places[0]:
            expected |= {f"{place}.0.downsample.0.weight"} | {f"{place}.0.downsample.1.{key}" for key in NORM}
    assert set(narrow(name).state_dict()) == expected


def test_other_numbers_of_pools_are_refused():
    with pytest.raises(EqvizError, match="pools: expected 1 or 2; found 3"):
        GroupCNN("p4", pools=3)
