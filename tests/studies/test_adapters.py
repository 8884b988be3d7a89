"""What is said of a foreign network is what eqviz sees, and layer names stay as they are."""

import copy
import pickle

import pytest
import torch
from torch import nn

from eqviz.capture.orbit_capture import capture
from eqviz.errors import EqvizError
from eqviz.studies.adapters import Adapter, CopyOf, constructor_fingerprint


class Several(nn.Module):
    """Returns scores and features, in one of several ways."""

    def __init__(self, way=tuple):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 1)
        self.way = way

    def forward(self, images):
        features = self.conv(images)
        scores = features.mean((2, 3))
        return {"scores": scores, "features": features} if self.way is dict else self.way((scores, features))


@pytest.mark.parametrize(("way", "item"), [(tuple, 0), (list, 0), (dict, "scores")])
def test_the_chosen_item_is_the_output(way, item):
    model = Adapter(output=item).apply(Several(way))
    images = torch.rand(2, 1, 6, 6)
    assert torch.equal(model(images), model.conv(images).mean((2, 3)))
    assert capture(model, images).equivariance()["layer"].tolist() == ["conv", "(output)"]
    assert torch.equal(copy.deepcopy(model)(images), model(images))
    assert torch.equal(pickle.loads(pickle.dumps(model))(images), model(images))


@pytest.mark.parametrize(
    ("way", "item", "words"),
    [(tuple, 2, "a tuple of 2 items"), (tuple, "scores", "a tuple of 2 items"), (dict, 0, "a dict of 'scores'"),
     (lambda both: both[0], 0, "a tensor alone"), (lambda both: None, 0, "a NoneType")],
)  # fmt: skip
def test_an_item_that_is_not_there_is_one_line(way, item, words):
    model = Adapter(output=item).apply(Several(way))
    with pytest.raises(EqvizError, match=words):
        model(torch.rand(1, 1, 6, 6))


def test_fields_are_declared_by_globs_and_by_the_last_that_matches():
    model = Adapter(fields={"*": "image", "conv": "regular(C4, flattened)"}).apply(Several())
    table = capture(model, torch.rand(2, 1, 6, 6)).equivariance()
    found = dict(zip(table["layer"].astype(str), table["field"], strict=True))
    assert found["conv"] == "regular(C4, flattened)"


@pytest.mark.parametrize(
    ("fields", "words"), [({"cnov": "image"}, "near names are"), ({"conv": "imgae"}, "field type")]
)
def test_fields_that_cannot_be_are_one_line(fields, words):
    with pytest.raises(EqvizError, match=words):
        Adapter(fields=fields).apply(Several())


def test_copies_are_apart_and_ignore_arguments():
    model = Several()
    made = CopyOf(model)
    first, second = made(), made(channels=3)
    assert first is not second
    assert first is not model
    assert made.__name__ == "Several"
    assert torch.equal(first.conv.weight, model.conv.weight)


def test_what_is_said_decides_what_is_kept_in_the_cache():
    plain = Adapter().ingredients()
    assert Adapter(output=0).ingredients() != plain
    assert Adapter(fields={"conv": "image"}).ingredients() != plain
    assert Adapter(constructor=Several).ingredients() != plain
    assert Adapter(constructor=Several).ingredients() == Adapter(constructor=Several).ingredients()
    assert constructor_fingerprint(CopyOf(Several())) == constructor_fingerprint(Several)
    assert len(constructor_fingerprint(eval("lambda: 1"))) == 64
