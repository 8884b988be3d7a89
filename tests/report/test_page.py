"""The page: it parses, its links lead somewhere, its captions say what was done, and everything in it is escaped."""

import re
import shutil
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from eqviz.data.registry import load_images
from eqviz.report.build import write_report
from eqviz.report.figures import FIGURES
from eqviz.report.page import agreement, page, verdict
from eqviz.studies.provenance import environment
from eqviz.studies.runs import open_runs

SEVERAL = ("accuracy_by_regime", "accuracy_by_regime_polar", "accuracy_by_training_images")
DRAWN = tuple(name for name in FIGURES if name not in SEVERAL)
"""The figures of the study: it has one regime, and one number of training images."""

VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Tags that were opened and closed, links, and text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.links, self.captions, self.text = [], [], [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "figcaption":
            self.captions.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if "figcaption" in self.open:
            self.captions[-1] += data


def read(folder):
    found = Page((folder / "index.html").read_text(encoding="utf-8"))
    assert not found.open
    return found


UNCOUNTED = ("Breaking at the output of every run", "hollow marker at epoch 0")
"""Captions of figures that put measurements on different images side by side."""


def test_the_page_parses_and_every_link_in_it_leads_to_a_file(report):
    shown = read(report)
    assert {"html", "head", "title", "body", "h1", "table", "figure"} <= set(shown.tags)
    assert shown.tags.count("figure") == shown.tags.count("img") == len(DRAWN)
    assert shown.links
    within = {link for link in shown.links if link.startswith("#")}
    assert within == {f"#{name}" for name in DRAWN}
    links = [unquote(link) for link in shown.links if link not in within]
    assert all((report / link).is_file() for link in links)
    files = {path.relative_to(report).as_posix() for path in report.rglob("*") if path.is_file()}
    assert set(links) == files - {"index.html"}


OF_GROUP_NETWORKS = ("twin_cka_by_layer", "selectivity_by_layer")
"""Figures on which a plain network is not: it has no exact twin and no group axis."""


def test_every_caption_says_what_was_done(report):
    captions = read(report).captions
    assert len(captions) == len(DRAWN)
    for name, caption in zip(DRAWN, captions, strict=True):
        for said in ("P4 CNN, 8 px", "P4 CNN, 9 px", "2 seeds", "1 epoch", "digits", "upright", "C4"):
            assert said in caption
        assert ("Z2 CNN, 8 px" in caption) == (name not in OF_GROUP_NETWORKS), name
        measured = "float32 on cpu" in caption and re.search(r"\b\d+ (test|training) images?\b", caption)
        assert measured or "no image was run" in caption or any(words in caption for words in UNCOUNTED)
        assert "nan" not in caption.lower().split()


def test_captions_count_the_images_that_are_drawn(report):
    captions = dict(zip(DRAWN, read(report).captions, strict=True))
    assert ", 1 test image of the first seed;" in captions["attribution_examples"]
    assert ", 3 test images of the first seed;" in captions["breaking_attribution"]
    assert ", 24 test images of the first seed;" in captions["orbits_in_plane"]
    assert "training images;" in captions["data_symmetry"]
    assert ", 1 test image of the first seed;" in captions["features_over_training"]
    assert not any("disc is hidden" in caption for caption in captions.values())


def test_masked_measurements_say_so_in_every_caption_and_data_may_be_others(study, tmp_path):
    images = load_images("digits", "test", limit=20)
    np.savez(tmp_path / "mine.npz", images=images.images, labels=images.labels)
    names = ("accuracy_polar", "local_defect", "attribution_examples", "data_symmetry")
    settings = {"limit": 20, "orbit_images": 2, "device": "cpu", "mask": True, "data": str(tmp_path / "mine.npz")}
    runs = open_runs(study / "p4cnn-9-seed0", **settings)
    write_report(runs, tmp_path / "report", only=names, formats=["png"], table_formats=["csv"])
    captions = read(tmp_path / "report").captions
    assert len(captions) == len(names)
    assert all("everything outside the inscribed disc is hidden" in caption for caption in captions)
    assert set(runs.data_symmetry()["data"]) == {"digits"}  # what it was trained on
    assert set(runs.local_defect()["data"]) == {str(tmp_path / "mine.npz")}


def test_the_page_says_how_it_was_made(report):
    shown = read(report)
    assert "eqviz figures <here> & there" in shown.text
    assert "Of 3 networks, 1 is exactly equivariant at its output and 2 are not." in shown.text
    assert f"torch {environment()['packages']['torch']}" in shown.text


def test_the_page_says_how_often_predictions_came_true(report, runs):
    answers = runs.table("verdict")["agrees"].astype(str)
    agreeing, compared = int((answers == "yes").sum()), int((answers != "").sum())
    assert f"Prediction and measurement agree in {agreeing} of {compared} comparisons" in read(report).text
    assert len(runs.disagreements()) == compared - agreeing


def test_a_contradiction_is_the_first_thing_on_the_page(runs, tmp_path, monkeypatch):
    line = "p4cnn-8-seed0, <b>conv1</b>: predicted broken, measured exact"
    monkeypatch.setattr(runs, "disagreements", lambda: [line])
    told = []
    write_report(
        runs, tmp_path, only=["accuracy_overview"], formats=["png"], table_formats=["csv"], on_work=told.append
    )
    shown = read(tmp_path)
    assert "b" not in shown.tags
    said = [shown.text.index(part) for part in ("Prediction and measurement disagree", line, "Of 3 networks")]
    assert said == sorted(said)
    assert f"PREDICTION AND MEASUREMENT DISAGREE: {line}" in told


def test_a_run_that_cannot_be_traced_is_named_with_the_reason(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "untraceable", lambda: {"p4cnn-8-seed0": "layer pool: expected <maps>; found a question"})
    write_report(runs, tmp_path, only=["accuracy_overview"], formats=["png"], table_formats=["csv"])
    said = "Run p4cnn-8-seed0 could not be audited: layer pool: expected <maps>; found a question"
    assert said in read(tmp_path).text


def test_names_are_escaped(study, tmp_path):
    folder = tmp_path / 'a <b> & "ünï"'
    shutil.copytree(study / "p4cnn-8-seed0", folder / "<img src=x> 数", ignore=shutil.ignore_patterns(".eqviz"))
    runs = open_runs(folder, limit=10, orbit_images=2, device="cpu")
    write_report(runs, tmp_path / "report", only=["accuracy_polar"], formats=["png"], table_formats=["csv", "tex"])
    shown = read(tmp_path / "report")
    assert shown.tags.count("img") == 1
    assert 'Symmetry of the networks in a <b> & "ünï"' in shown.text
    assert set(pd.read_csv(tmp_path / "report/tables/runs.csv")["run"]) == {"<img src=x> 数"}


def test_what_could_not_be_measured_is_said_and_escaped():
    networks = pd.DataFrame({"model": ["<script>"], "exact": ["no"], "breaking_fraction": [0.123456]})
    made = {"command": "x", "environment": environment()}
    skipped = [("it is <odd>", "a: <hr>")]
    shown = Page(page("here", networks, [], ["png"], ["runs"], ["csv"], made, skipped=skipped))
    assert not {"script", "hr", "odd"} & set(shown.tags)
    assert "a: <hr>: it is <odd>" in shown.text
    assert "0.1235" in shown.text


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ([], ""),
        (["", ""], "No prediction could be compared with a measurement."),
        (["yes"], "Prediction and measurement agree in 1 of 1 comparisons of a layer, trained or untrained."),
        (["no", "yes", ""],
         "Prediction and measurement agree in 1 of 2 comparisons of a layer, trained or untrained; "
         "1 could not be made."),
    ],
)  # fmt: skip
def test_how_often_predictions_came_true_in_a_sentence(answers, sentence):
    assert agreement(pd.DataFrame({"agrees": answers})) == sentence


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ([], "Of 0 networks, 0 are exactly equivariant at their outputs and 0 are not."),
        (["yes"], "Of 1 network, 1 is exactly equivariant at its output and 0 are not."),
        (["yes", "yes"], "Of 2 networks, 2 are exactly equivariant at their outputs and 0 are not."),
        (["no", "yes", "undecided"],
         "Of 3 networks, 1 is exactly equivariant at its output, 1 is not and 1 is undecided."),
    ],
)  # fmt: skip
def test_the_verdict_in_a_sentence(answers, sentence):
    assert verdict(pd.DataFrame({"exact": answers})) == sentence


def test_the_verdict_counts_networks_at_their_last_epoch():
    keys = {"model": "p4cnn", "input_size": 9, "data": "digits", "regime": "upright", "group": "C4"}
    rows = [{**keys, "epoch": epoch, "exact": answer} for epoch, answer in ((0, "yes"), (1, "no"))]
    assert verdict(pd.DataFrame(rows)) == "Of 1 network, 0 are exactly equivariant at their outputs and 1 is not."
