"""Networks on other data, of another regime or under another group get figures of their own."""

import pandas as pd
import pytest

from eqviz.errors import EqvizError
from eqviz.report.build import write_report
from eqviz.report.figure_kinds import FigureKind
from eqviz.report.figures import FIGURES, planned
from eqviz.report.sections import Tables, joined, sections, suffixes
from eqviz.studies.runs import Runs


class Several(Runs):
    """The tables of `runs` once for each of some changes of their keys, as if trained or measured so."""

    def __init__(self, runs, changes):
        self.__dict__.update({name: value for name, value in vars(runs).items() if name != "table"})
        self.changes = changes
        self.known = runs

    def table(self, name):
        return pd.concat([self.known.table(name).assign(**change) for change in self.changes], ignore_index=True)


CHANGES = [{}, {"regime": "N(45, 20)"}, {"data": "a/b <c>"}, {"group": "C2"}]


def test_each_section_has_its_own_rows_and_captions(runs):
    found = sections(Tables(Several(runs, CHANGES)))
    assert [(part.data, part.regime, part.group) for part in found] == [
        ("digits", "upright", "C4"), ("digits", "N(45, 20)", "C4"), ("a/b <c>", "upright", "C4"),
        ("digits", "upright", "C2"),
    ]  # fmt: skip
    for part in found:
        for name in ("accuracy", "equivariance", "networks"):
            table = part.table(name)
            assert len(table)
            assert {tuple(row) for row in table[["data", "regime", "group"]].to_numpy()} == {
                (part.data, part.regime, part.group)
            }
        caption = part.made_from("accuracy_polar")
        assert f"Data: {part.data}, 20 test images; training: {part.regime}." in caption
        assert f"Group {part.group};" in caption
    assert len({part.networks for part in found}) == 1


def test_one_section_has_no_suffix_and_several_tell_themselves_apart(runs):
    assert [part.suffix for part in sections(Tables(runs))] == [""]
    keys = [("mnist", "upright", "C4"), ("mnist", "N(45, 20)", "C4"), ("mnist", "N(-45, 20)", "C4")]
    assert suffixes(keys) == ["-upright", "-N_45_20", "-N_-45_20"]
    assert suffixes([("猫", "", "C4"), ("犬", "", "C4"), ("/a/b", "", "C4"), ("/A_b", "", "C4")]) == [
        "-", "--2", "-a_b", "-A_b-2",
    ]  # fmt: skip
    long = suffixes([("x" * 300 + "1", "", "C4"), ("x" * 300 + "2", "", "C4")])
    assert max(map(len, long)) < 80
    assert len(set(long)) == 2


def test_every_section_has_files_of_its_own(runs, tmp_path):
    chosen = {"only": ["breaking_by_layer"], "formats": ["svg"], "table_formats": ["csv"]}
    write_report(Several(runs, CHANGES[:2]), tmp_path, **chosen)
    assert {path.name for path in tmp_path.glob("*.svg")} == {
        "breaking_by_layer-upright.svg", "breaking_by_layer-N_45_20.svg",
    }  # fmt: skip
    page = (tmp_path / "index.html").read_text()
    assert "training: upright." in page
    assert "training: N(45, 20)." in page


def test_layers_that_no_figure_shows_are_said(runs):
    class Hidden(Several):
        def table(self, name):
            table = super().table(name)
            return table.assign(kind="activation") if "kind" in table else table

    (section,) = sections(Tables(Hidden(runs, [{}])))
    with pytest.raises(EqvizError, match="some layers that figures show"):
        section.layers("equivariance_summary")


def test_figures_show_the_last_epoch(runs):
    later = {"epoch": 7}
    (section,) = sections(Tables(Several(runs, [{}, later])))
    assert set(section.table("equivariance")["epoch"]) == {7}
    assert "after 7 epochs" in section.made_from("breaking_by_layer")


def test_sections_that_differ_in_nothing_else_are_joined(runs):
    parts = sections(Tables(Several(runs, CHANGES)))
    by_regime = joined(parts, ("regime",))
    assert [part.regimes for part in by_regime] == [("upright", "N(45, 20)"), ("upright",), ("upright",)]
    assert [part.suffix for part in by_regime] == ["-digits-C4", "-a_b_c-C4", "-digits-C2"]
    both = joined(parts, ("data", "regime"))
    assert [(part.data, part.regime, part.group) for part in both] == [
        ("digits, a/b <c>", "upright; N(45, 20)", "C4"), ("digits", "upright", "C2"),
    ]  # fmt: skip
    assert joined(parts, ()) == parts
    whole = len(parts[0].table("accuracy"))
    assert [len(part.table("accuracy")) for part in both] == [3 * whole, whole]
    caption = both[0].made_from("accuracy_polar")
    assert "Data: digits, a/b <c>, 20 test images; training: upright; N(45, 20)." in caption
    assert caption.count("P4 CNN, 8 px") == 1


def test_a_figure_of_several_sections_is_drawn_once_and_none_where_it_does_not_apply(runs, monkeypatch):
    def plan(only=()):
        return [(name, part.suffix) for name, part in planned(only, sections(Tables(Several(runs, CHANGES[:2]))))]

    kinds = {
        "own": FigureKind(lambda section: None, "", ""),
        "all": FigureKind(lambda section: None, "", "", over=("regime",)),
        "never": FigureKind(lambda section: None, "", "", applies=lambda section: False),
    }
    monkeypatch.setattr("eqviz.report.figures.FIGURES", kinds)
    assert plan() == [("own", "-upright"), ("all", ""), ("own", "-N_45_20")]
    assert plan(["never"]) == [("never", "-upright"), ("never", "-N_45_20")]
    assert FIGURES["symmetry_match"].over == ("data", "regime")


def test_regimes_are_drawn_side_by_side_in_one_figure(runs, tmp_path):
    names = ["accuracy_by_regime", "accuracy_by_regime_polar"]
    two = Several(runs, CHANGES[:2])
    write_report(two, tmp_path, only=names, formats=["png"], table_formats=["csv"])
    assert {path.stem for path in tmp_path.glob("*.png")} == set(names)  # once, not once a regime
    page = (tmp_path / "index.html").read_text()
    assert page.count("training: upright; N(45, 20).") == 2
    assert page.count("published means with 95% t intervals (A paper)") == 2
