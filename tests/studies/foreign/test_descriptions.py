"""`eqviz.toml` as it is read: every key, what is left out, and keys that contradict each other."""

import pytest

from eqviz.errors import EqvizError
from eqviz.studies.foreign.descriptions import parse_descriptions, read_descriptions

WHOLE = """
format = 1

[[runs]]
files = "p4_n{size}_seed{seed}_epoch{epoch}.pth.tar"
model = "p4cnn"
arguments = { in_channels = 1, classes = 10, widths = [1, 2], head = "flatten", dropout = 0.5 }
group = "p4m"
label = "P4"
regime = "upright"
weights = "state_dict"
rename = { "encoder." = "" }
ignore = ["criterion.*"]
output = "logits"
fields = { "layers.*" = "regular(C4)" }
data = { source = "mnist", channels = 3, labels = false }
normalisation = { mean = [0.1307], std = [0.3081] }

[[runs]]
files = "*.pt"
input_size = [28, 32]
group = "C4"
seed = 3
epoch = 25
output = 0
data = { source = "digits" }
normalisation = { mean = [0.0], std = [1.0] }
"""


def test_every_key_and_none(tmp_path):
    (tmp_path / "eqviz.toml").write_text(WHOLE)
    full, bare = read_descriptions(tmp_path / "eqviz.toml")
    assert full.files.names == ("size", "seed", "epoch")
    assert (full.model, full.group, full.label, full.regime, full.input_size) == ("p4cnn", "D4", "P4", "upright", None)
    assert full.arguments == {"in_channels": 1, "classes": 10, "widths": [1, 2], "head": "flatten", "dropout": 0.5}
    reading = full.adapter.reading
    assert (reading.place, reading.rename, reading.ignore) == ("state_dict", {"encoder.": ""}, ("criterion.*",))
    assert (full.adapter.output, full.adapter.fields) == ("logits", {"layers.*": "regular(C4)"})
    assert (full.data.source, full.data.channels, full.data.labels) == ("mnist", 3, False)
    assert (full.normalisation.mean, full.normalisation.std) == ((0.1307,), (0.3081,))
    assert (bare.model, bare.arguments, bare.label, bare.regime) == ("", {}, "", "unknown")
    assert (bare.input_size, bare.seed, bare.epoch, bare.adapter.output) == ((28, 32), 3, 25, 0)
    assert (bare.adapter.reading.place, bare.adapter.reading.rename, bare.data.labels) == (None, {}, True)
    assert bare.about == f"{tmp_path / 'eqviz.toml'}: runs[2]"


TABLE = {
    "files": "a.pt", "input_size": 9, "group": "C4", "data": {"source": "digits"},
    "normalisation": {"mean": [0.0], "std": [1.0]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"files": "{size}.pt"}, "runs[1].input_size: expected no such key beside {size}"),
        ({"files": "{seed}.pt", "seed": 1}, "runs[1].seed: expected no such key beside {seed}"),
        ({"files": "{epoch}.pt", "epoch": 1}, "runs[1].epoch: expected no such key beside {epoch}"),
        ({"input_size": None}, "runs[1].input_size: expected an input size"), ({"files": None}, "runs[1].files"),
        ({"modle": "p4cnn"}, "did you mean 'model'"), ({"data": {"sauce": "digits"}}, "runs[1].data.source"),
        ({"fields": {"conv*": "regular(Q8)"}}, "runs[1].fields.conv*"), ({"group": "Q8"}, "runs[1].group"),
        ({"normalisation": {"mean": [0.0], "std": [1.0, 2.0]}}, "runs[1].normalisation.std"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(changes, words):
    table = {key: value for key, value in (TABLE | changes).items() if value is not None}
    with pytest.raises(EqvizError) as caught:
        parse_descriptions({"format": 1, "runs": [table]}, "eqviz.toml")
    assert words in str(caught.value)
