"""Names of checkpoints to patterns, without files: a stand-in for what looks into them says which network each is."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eqviz.studies.foreign.grouping import group_files
from eqviz.studies.foreign.looking import Look, Looker
from eqviz.studies.foreign.naming import read_name


@dataclass
class Imagined(Looker):
    """Looks that come from a table: width of the network, epoch and settings of each path; None cannot be read."""

    table: dict = field(default_factory=dict)

    def look(self, path):
        if path in self._seen or path in self.failed:
            return self._seen.get(path)
        known = self.table[path]
        if known is None:
            self.failed[path] = "broken"
            return None
        width, epoch, said = known
        self._seen[path] = Look(path, ("",), {"fc.weight": (width, 2)}, said, epoch)
        return self._seen[path]


def grouped(table):
    looker = Imagined(Path(), table=table)
    groups, left_out = group_files(sorted(table), looker)
    return groups, left_out, len(looker._seen) + len(looker.failed)


def patterns(table):
    return {group.pattern.text: len(group.files) for group in grouped(table)[0]}


def alike(*names):
    return dict.fromkeys(names, (2, None, {}))


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (alike(*(f"p4_n{n}_seed{s}_epoch{e}.pth.tar" for n in (28, 29) for s in (0, 1) for e in (5, 10))),
         {"p4_n{size}_seed{seed}_epoch{epoch}.pth.tar": 8}),
        ({f"w{w}_seed{s}.pt": (w, None, {}) for w in (10, 20) for s in (0, 1)},
         {"w10_seed{seed}.pt": 2, "w20_seed{seed}.pt": 2}),
        (alike(*(f"logs/version_{v}/checkpoints/epoch={e}-step={9 * e}.ckpt" for v in (0, 1) for e in (3, 4))),
         {"logs/version_{seed}/checkpoints/epoch={epoch}-step={step}.ckpt": 4}),
        (alike(*(f"epoch={e}-val_loss=0.{e}.ckpt" for e in (3, 4))), {"epoch={epoch}-val_loss=*.ckpt": 2}),
        (alike(*(f"{word}_seed{s}.pt" for word in ("good", "bad") for s in (0, 1))), {"{label}_seed{seed}.pt": 4}),
        (alike(*(f"{word}/seed{s}/model.pt" for word in ("up", "turned") for s in (0, 1))),
         {"{label}/seed{seed}/model.pt": 4}),
        (alike("good_seed0.pt", "bad_seed0.pt") | {"z2_seed0.pt": (9, None, {})},
         {"good_seed{seed}.pt": 1, "bad_seed{seed}.pt": 1, "z2_seed{seed}.pt": 1}),
        (alike("mnist_seed0.pt", "cifar10_seed0.pt"), {"mnist_seed{seed}.pt": 1, "cifar10_seed{seed}.pt": 1}),
        (alike("checkpoint.pth.tar", "model_best.pth.tar"), {"checkpoint.pth.tar": 1, "model_best.pth.tar": 1}),
        (alike("net_last.pt", "net_best.pt", "net_ema.pt"), {"net_last.pt": 1, "net_best.pt": 1, "net_ema.pt": 1}),
        (alike(*(f"model_{e}.pt" for e in (1, 2, 30))), {"model_{epoch}.pt": 3}),
        (alike(*(f"{e}.pt" for e in (1, 2, 30))), {"{epoch}.pt": 3}),
        (alike(*(f"p4_{n}.pt" for n in (28, 29, 32))), {"p4_{size}.pt": 3}),
        (alike("a_28x32.pt", "a_28x30.pt", "a_30.pt"), {"a_{size}.pt": 3}),
        (alike(*(f"p4_wd{w}_seed{s}.pt" for w in (1, 5) for s in (0, 1))), {"p4_{label}_seed{seed}.pt": 4}),
        (alike(*(f"run_{r}_seed{s}.pt" for r in (1, 2) for s in (0, 1))), {"run_{run}_seed{seed}.pt": 4}),
        ({f"p4_{e}.pt": (2, e, {}) for e in (10, 20, 30)}, {"p4_{epoch}.pt": 3}),
        ({f"p4_{e}.pt": (2, e - 1, {}) for e in (10, 20, 30)}, {"p4_{epoch}.pt": 3}),
        ({f"p4_{s}.pt": (2, None, {"seed": s}) for s in (10, 20, 30)}, {"p4_{seed}.pt": 3}),
        ({f"net_{n}.pt": (2, None, {"img_size": n}) for n in (28, 29)}, {"net_{size}.pt": 2}),
        ({f"net_n{n}_seed{s}.pt": (n, None, {}) for n in (28, 29) for s in (0, 1)},
         {"net_n28_seed{seed}.pt": 2, "net_n29_seed{seed}.pt": 2}),
        (alike("lr1e-3_batch_size=128.pt"), {"lr1e-3_batch_size=128.pt": 1}),
    ],
)  # fmt: skip
def test_patterns_of_usual_folders(table, expected):
    assert patterns(table) == expected


def test_sizes_that_tell_networks_apart_are_kept():
    groups, _, _ = grouped({f"net_n{n}_seed{s}.pt": (n, None, {}) for n in (28, 29) for s in (0, 1)})
    assert [dict(group.values) for group in groups] == [{"size": "28"}, {"size": "29"}]


def test_files_without_any_order_are_described_one_by_one():
    table = {f"seed{s}.pt": (s % 3, None, {}) for s in range(9)}
    groups, left_out, _ = grouped(table)
    assert {group.pattern.text for group in groups} == set(table)
    assert [group.values["seed"] for group in groups] == [str(s) for s in range(9)]
    assert left_out == {}


def test_names_that_cannot_be_patterns_are_left_out():
    names = ["a{x}.pt", "b*.pt", "~c.pt", "d\udcff.pt", "e" * 401 + ".pt", "f\x00.pt"]
    groups, left_out, _ = grouped(alike("new\nline_seed0.pt", *names))
    assert [group.pattern.text for group in groups] == ["new\nline_seed{seed}.pt"]
    assert set(left_out) == set(names)


def test_files_that_cannot_be_read_are_left_out_and_named():
    table = alike("a_seed0.pt", "a_seed1.pt", "a_seed2.pt") | {"a_seed0.pt": None, "b.pt": None}
    groups, left_out, _ = grouped(table)
    assert [group.files for group in groups] == [("a_seed1.pt", "a_seed2.pt")]
    assert left_out == {"a_seed0.pt": "broken", "b.pt": "broken"}


@pytest.mark.parametrize(
    ("names", "most"),
    [([f"p4_seed{s}_epoch{e}.pt" for s in range(50) for e in range(20)], 2), ([f"m_{e}.pt" for e in range(1000)], 7)],
)
def test_few_files_of_many_are_opened(names, most):
    groups, _, opened = grouped(alike(*names))
    assert len(groups) == 1
    assert opened <= most


def test_names_that_programs_make_up_are_labels():
    names = [f"{hashlib.sha256(bytes([n % 256, n // 256])).hexdigest()[:12]}.pt" for n in range(1000)]
    groups, left_out, opened = grouped(alike(*names, "20240115.pt", "123456789012.pt"))
    assert [group.pattern.text for group in groups] == ["{label}.pt"]
    assert len(groups[0].files) == 1002
    assert left_out == {}
    assert opened <= 310


WORDS = st.sampled_from(
    ["p4", "z2", "seed0", "seed1", "epoch3", "epoch10", "n28", "29", "x", "best", "a.5", "7", "s2", "mnist"]
)
NAMES = st.lists(WORDS, min_size=1, max_size=4).map("_".join)
TABLES = st.dictionaries(
    st.tuples(st.sampled_from(["", "f/", "seed4/", "up/"]), NAMES).map(lambda parts: "".join(parts) + ".pt"),
    st.none() | st.tuples(st.sampled_from([2, 3]), st.none() | st.integers(0, 5), st.just({})), min_size=1, max_size=12,
)  # fmt: skip


@settings(max_examples=150)
@given(TABLES)
def test_every_file_has_one_pattern_or_a_reason(table):
    groups, left_out, _ = grouped(table)
    for path, known in table.items():
        having = [group for group in groups if path in group.files]
        matching = [group for group in groups if group.pattern.match(path) is not None]
        assert len(having) + (path in left_out) == 1
        if known is not None:
            assert matching == having
            assert not having or having[0].look.shapes == {"fc.weight": (known[0], 2)}
    for group in groups:
        for path in group.files:
            numbers = {number.text for number in read_name(path).numbers}
            said = group.pattern.match(path)
            assert {said[name] for name in ("seed", "epoch", "size") if name in said} <= numbers
