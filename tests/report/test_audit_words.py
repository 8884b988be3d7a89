"""An audit in words: what stands in it, and that it is plain text unless colours are asked for."""

import re
from dataclasses import replace

import pytest
from torch import nn

from eqviz.groups.group import group
from eqviz.models.families import layer_family
from eqviz.report.audit_words import SURVIVORS, audits_in_words
from eqviz.studies.target_audits import audit_target
from eqviz.studies.targets import Target


class Small(nn.Module):
    """A network that is exact on even sizes, or with ordinary convolutions on none."""

    def __init__(self, layers):
        super().__init__()
        self.conv = layers.lifting(1, 2, 3, padding=1)
        self.pool = layers.max_pool(2)
        self.top = nn.Sequential(layers.global_pool(), layers.coset_max())

    def forward(self, images):
        return self.top(self.pool(self.conv(images)))


def found(size, group="C4", **options):
    def build():
        return Small(layer_family(group)).eval()

    target = Target("small", "small", {}, build, twin=build)
    return audit_target(target, input_size=(size, size), device="cpu", **options)


@pytest.fixture(scope="module")
def misfit():
    return found(27, sizes=range(24, 31), fix="resize")


@pytest.fixture(scope="module")
def exact():
    return found(28)


def test_a_misfit_names_the_layer_the_reason_and_what_would_help(misfit):
    lines = audits_in_words([misfit]).splitlines()
    assert lines[0] == "small at 27x27 under C4, random weights"
    assert lines[1].startswith("approximate: no part of the symmetry survives; first broken by pool (max_pool2d)")
    (row,) = [line for line in lines if line.startswith(">")]
    assert row.split()[1:7] == ["pool", "max_pool2d", "27x27", "k2", "s2", "1"]
    text = "\n".join(lines)
    for part in (
        "exact operations (--all lists them)",
        "24, 26, 28, 30 (safe: 4 of 7 sizes)",
        "resized to 28x28: exact",
    ):
        assert part in text
    assert re.search(r"why +pool: \S", text)
    assert re.search(r"safe sizes +26 below, 28 above", text)
    assert re.search(r"advice +- resize the input to 26x26 or 28x28", text)


def test_an_exact_network_is_told_in_few_lines(exact):
    lines = audits_in_words([exact]).splitlines()
    assert lines[1] == "exact: all of C4 survives"
    assert len(lines) <= 6
    assert not any(line.startswith((">", "advice", "why")) for line in lines)


def test_everything_lists_every_operation(misfit):
    rows = audits_in_words([misfit], everything=True).splitlines()
    assert sum(" yes " in f"{row} " for row in rows) == sum(one.exact == "yes" for one in misfit.audit.operations)


def test_plain_text_has_no_codes_and_no_spaces_at_the_end(misfit):
    text = audits_in_words([misfit])
    assert "\x1b" not in text
    assert not any(line != line.rstrip() for line in text.splitlines())
    assert "\x1b[" in audits_in_words([misfit], colour=True)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_is_not_overrun_and_nothing_is_cut(misfit, width):
    text = audits_in_words([misfit], width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for word in ("max_pool2d", "approximate", "advice"):
        assert word in text


def test_many_faults_are_counted_not_listed():
    plain = found(28, None)
    many = replace(plain, audit=replace(plain.audit, operations=plain.audit.operations * 13))
    assert "more that break" in audits_in_words([many])
    assert "more that break" not in audits_in_words([plain])
    assert "every size" in audits_in_words([plain])


def test_several_networks_end_with_a_count(misfit, exact):
    lines = audits_in_words([misfit, exact]).splitlines()
    assert lines[-1] == "2 networks: 1 exact, 1 approximate"
    assert "small at 28x28 under C4, random weights" in lines


def test_every_subgroup_that_can_survive_has_words():
    assert set(SURVIVORS) == {one.name for one in group("D4").subgroups} - {"D4"}


def test_names_are_shown_as_they_are(misfit):
    strange = replace(misfit, target=replace(misfit.target, name="[red]run[/red] :smile: \x1b[31m"))
    line = audits_in_words([strange], colour=True).splitlines()[0]
    assert "[red]run[/red] :smile: " in line
    assert "\x1b[31m" not in line


def test_a_measurement_stands_beside_the_prediction():
    text = audits_in_words([found(9, verify=True)])
    assert re.search(
        r"measured +approximate on 32 random images, by .*; predicted and measured agree in (\d+) of \1 ", text
    )
    (pool,) = [line.split() for line in text.splitlines() if line.startswith("pool ") and " random again" not in line]
    assert pool[:4] == ["pool", "random", "no", "no"]


def test_a_disagreement_is_loud():
    one = found(8, verify=True)
    table = one.measured.table.copy()
    table.loc[table.index[-1], ["exact", "agrees"]] = ["no", "no"]
    table.attrs = one.measured.table.attrs | {"disagreements": ["(output): predicted exact, measured broken (...)"]}
    text = audits_in_words([replace(one, measured=replace(one.measured, table=table))])
    assert text.splitlines()[1].startswith("undecided: PREDICTION AND MEASUREMENT DISAGREE")
    assert "1 DISAGREE" in text
    assert re.search(r"\(output\) .* NO$", text, re.MULTILINE)
    assert "(output): predicted exact, measured broken" in text
