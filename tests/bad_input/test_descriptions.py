"""An `eqviz.toml` that is no TOML, says what cannot be, or was written by somebody who means harm."""

import time

import pytest
import tomli_w
import torch

from tests.bad_input.conftest import DESCRIBED, describe
from tests.bad_input.crafting import NO_FILES

TOML = "eqviz.toml"


@pytest.fixture
def written(folder, refused):
    """Writes these bytes as the description, which must be refused by its name."""

    def call(content, *names):
        (folder / TOML).write_bytes(content if isinstance(content, bytes) else content.encode())
        return refused(folder, names=(str(folder / TOML), *names))

    return call


def whole(**changes):
    return tomli_w.dumps({"format": 1, "runs": [DESCRIBED | changes]})


@pytest.mark.parametrize(
    "content",
    [
        "", "\n\n# nothing\n", "format = ", "format = 1\n[[runs]", "[[runs]]\nfiles = 'net.pt",
        "format = 1\nformat = 1\n", whole() + '\n[[runs]]\nfiles = "a"\nfiles = "b"\n', "a" * 100, "runs = 3",
        "runs = []", "runs = [3]", "[runs]\na = 1", "a = " + "[" * 100_000, "a" + ".a" * 50_000 + " = 1",
        "[" + "a." * 20_000 + "a]", "a = " + "9" * 10_000, "a = " + "{b=" * 2000, 'a = "\\uD800"', 'a = "\x1b[2J"',
        "\x00", "a = 1e999999999\nb", "a = 0x" + "f" * 9000, 'a = """' + "x" * 2**21, whole().encode("utf-16"),
        whole(label="é").encode("latin-1"), b"\xff\xfe\xfd", b"\xef\xbb\xbf" + whole(group="?").encode(),
        b"PK\x03\x04" + bytes(90), "<html></html>", '{"runs": []}', "a = 1979-05-27T07:32:00Z", "a = 9999-99-99",
        "format = 99\n" + whole().split("\n", 1)[1], "format = 1\nruns = {}",
    ],
    ids=range(34),
)  # fmt: skip
def test_what_is_no_description(written, content):
    written(content)


FLOATS = (float("nan"), float("inf"), -1.5)
WRONG = {
    "files": ("", " ", 3, [], {}, True, "x" * 5000, "a\0b"),
    "model": (3, [], {"a": 1}, "", "x" * 5000),
    "arguments": ("classes = 10", 3, {"classes": 10**6}, {"classes": float("nan")}, {"classes": [[1]]}, {"a b": 1},
                  {"classes": list(range(65))}, {"classes": "x" * 300}, {"classes": {"__class__": 1}}),
    "input_size": (0, -8, 5000, 8.5, "8 px", "8x8x8", [], [8], [8, 0], [8, 8, 8], True, {}, "9" * 400),
    "group": ("", 4, "C", "S3", "C0", "C-4", "C" + "9" * 400, "p4; rm -rf /", ["C4"], "x\ny"),
    "seed": (-1, 2**31, 2**70, 1.0, "0", True, []),
    "epoch": (-1, 10**9, 1.0, "25", float("inf")),
    "label": (3, "", "x" * 101, []),
    "regime": (3, "", ["upright"]),
    "weights": (3, "", ["ema"]),
    "rename": ("x", 3, {"a": 3}, {"a" * 200: ""}, {"a": "b" * 200}, ["a"]),
    "ignore": ("x", 3, [3], [], ["a", "a"], ["x" * 200], {}),
    "output": (-1, 10**6, 1.5, "", [], True),
    "fields": ("x", {"*": 3}, {"*": ""}, {"*": "regular(Q8)"}, {"*": "regular(C" + "9" * 90 + ")"}, {"*": "os.system"},
               {"*": "tokens(0, 0)"}, ["image"]),
    "data": ("digits", 3, {}, {"source": 3}, {"source": ""}, {"source": "digits", "channels": 2},
             {"source": "digits", "labels": "no"}, {"source": "digits", "test_split": "val"},
             {"source": "digits", "test_limit": 0}, {"source": "digits", "test_limit": 10**20},
             {"source": "digits", "seed": -1}, {"source": "digits", "chanels": 1}, {"source": "digits", "root": 3}),
    "normalisation": ("x", {}, {"mean": [0.3]}, {"mean": [], "std": []}, {"mean": 0.3, "std": 0.3},
                      {"mean": [0.3], "std": [0.0]}, {"mean": [0.3, 0.3], "std": [0.3]}, {"mean": ["0.3"],
                      "std": [0.3]},
                      *({"mean": [value], "std": [0.3]} for value in FLOATS[:2]), {"mean": [0.3], "std": [0.3],
                      "min": [0]},
                      {"mean": [0.3], "std": [-0.3]}, {"mean": [10**400], "std": [0.3]}),
}  # fmt: skip
"""For every key, values that cannot be."""


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values],
                         ids=[f"{key}{place}" for key,
                         values in WRONG.items() for place in range(len(values))])  # fmt: skip
def test_values_that_cannot_be(written, key, value):
    written(whole(**{key: value}), f"runs[1].{key}")


@pytest.mark.parametrize("key", ["files", "input_size", "group", "data", "normalisation"])
def test_keys_that_are_missing(written, key):
    text = tomli_w.dumps({"format": 1, "runs": [{name: value for name, value in DESCRIBED.items() if name != key}]})
    written(text, f"runs[1].{key}", "add it")


@pytest.mark.parametrize(
    ("key", "near"),
    [("file", "files"), ("lable", "label"), ("outputs", "output"), ("x" * 300, ""), ("a\nb", ""), ("\x1b[31m", "")],
)
def test_keys_that_nobody_knows(written, key, near):
    assert near in written(whole(**{key: 1}), "runs[1]", "found")


@pytest.mark.parametrize(
    "pattern",
    [
        "/etc/passwd", "../net.pt", "a/../../net.pt", "./net.pt", "~/net.pt", "net{.pt", "net}.pt", "{}.pt",
        "{a b}.pt", "{seed}{seed}.pt", "{{seed}}.pt", "{__class__.__mro__}", "{0}.pt", "{seed!r}.pt",
        "{seed:>99999999}.pt", "x" * 401, "{a}{b}{c}" + "*" * 50, "..", "net.pt/", "none.pt", "net", "*.ckpt",
        "{seed}.pt", "[n]et.pt", "(a+)+$", "net.pt\n", "\\\\server\\share\\net.pt", "C:\\net.pt", "{size}et.pt",
    ],
    ids=range(29),
)  # fmt: skip
def test_patterns_that_cannot_be_or_match_nothing(folder, refused, pattern):
    describe(folder, files=pattern, **({"input_size": None} if "{size}" in pattern else {}))
    refused(folder, names=("runs[1].files",))


@pytest.mark.parametrize("pattern", ["*" * 39 + "b", "{a}" + "*a" * 18 + "b", "*a*a*a*a*a*a*a*a*a*a*c.pt"])
def test_patterns_that_would_be_slow_as_regular_expressions(folder, refused, pattern):
    for number in range(20):
        (folder / ("a" * 230 + f"{number}.pt")).touch()
    describe(folder, files=pattern)
    start = time.process_time()
    refused(folder, names=("runs[1].files",))
    assert time.process_time() - start < 5


def test_two_files_of_one_epoch_and_two_tables_of_one_file(folder, refused, works, state):
    torch.save(state, folder / "other.pt")
    describe(folder, files="*.pt")
    refused(folder, names=("runs[1].files", "net.pt", "other.pt"))
    (folder / TOML).write_text(tomli_w.dumps({"runs": [DESCRIBED, DESCRIBED | {"files": "n*.pt", "label": "again"}]}))
    assert "net" in works(folder, command="runs").out


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"model": "p5cnn"}, ("runs[1].model", "did you mean", "p4cnn")), ({"model": "os:system"}, ("'os:system'",)),
        ({"model": "eqviz.models.single:p4conv"}, ("registered model",)),
        ({"model": "../net"}, ("registered model",)), ({"model": "builtins.exec"}, ("registered model",)),
        ({"model": "__import__('os')"}, ("registered model",)), ({"model": "\x1b[31mp4conv"}, ("control characters",)),
        ({"model": "p4conv\n"}, ("registered model",)),
        ({"arguments": {"clases": 10}}, ("model p4conv", "did you mean classes")),
        ({"arguments": {"classes": "ten"}}, ("a whole number",)), ({"arguments": {"classes": -1}}, ("classes",)),
        ({"arguments": {"classes": 0}}, ("classes",)), ({"arguments": {"classes": 2.5}}, ("a whole number",)),
        ({"arguments": {"classes": 11}}, ("another shape", "fc.weight")),
        ({"arguments": {"classes": 10, "channels": 4096}}, ("another shape",)),
        ({"arguments": {"__class__": 1}}, ("model p4conv",)), ({"arguments": {"self": 1}}, ("model p4conv",)),
        ({"model": "p4resnet44", "arguments": {"widths": [4096, 4096, 4096]}}, ("parameters",)),
        ({"model": "p4cnn", "input_size": 2, "arguments": {"channels": 1}}, ("net.pt",)),
        ({"fields": {"cnov": "image"}}, ("cnov",)), ({"fields": {"": "image"}}, ("field",)),
        ({"output": 3}, ("output of the model", "3")), ({"output": "logits"}, ("output of the model", "'logits'")),
        ({"weights": "ema"}, ("net.pt", "'ema'")), ({"weights": "../other"}, ("net.pt",)),
        ({"rename": {"fc": "head"}}, ("missing: fc.weight",)), ({"ignore": ["*"]}, ("missing",)),
        ({"ignore": ["fc.*"]}, ("missing: fc.weight",)),
    ],
    ids=range(28),
)  # fmt: skip
def test_networks_that_cannot_be(folder, refused, changes, names):
    describe(folder, **changes)
    refused(folder, names=names)


@pytest.mark.parametrize(
    ("changes", "arguments", "names"),
    [
        ({"data": {"source": "digit"}}, (), ("digit", "did you mean 'digits'")),
        ({"data": {"source": "../../etc"}}, (), ("../../etc",)),
        ({"data": {"source": "/dev/zero"}}, (), ("/dev/zero",)),
        ({"data": {"source": "mnist", "root": "none"}}, (), ("none",)), ({"group": "D4"}, (), ("regular(C4)",)),
        ({"data": {"source": "net.pt"}}, (), ("net.pt",)),
        ({"data": {"source": "digits", "channels": 3}}, (), ("channel",)),
        ({"normalisation": {"mean": [0.3] * 3, "std": [0.3] * 3}}, (), ("channel",)),
        ({"model": "p4resnet44", "input_size": 1, "arguments": {"widths": [1, 1, 1]}}, (), ("net.pt",)),
        ({}, ("--layers", "cnov*"), ("'cnov*'",)), ({}, ("--group", "Q8"), ("'Q8'",)),
    ],
    ids=range(11),
)  # fmt: skip
def test_data_that_cannot_be(folder, refused, changes, arguments, names):
    describe(folder, **changes)
    refused(folder, "--only", "accuracy", *arguments, command="analyse", names=names)


def passwd(path):
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize("make", [*NO_FILES, passwd])
@pytest.mark.parametrize("name", [TOML, "run.toml"])
def test_descriptions_that_are_no_files(folder, refused, make, name):
    (folder / TOML).unlink()
    make(folder / name)
    line = refused(folder, names=(str(folder),))
    assert "root:" not in line
