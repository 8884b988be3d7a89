"""The text of an `eqviz.toml`: what a reader of TOML finds in it is what was proposed, whatever names say."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqviz.errors import EqvizError
from eqviz.studies.foreign.descriptions import read_descriptions
from eqviz.studies.foreign.proposals import Entry, Proposal, Table
from eqviz.studies.foreign.writing import check_free, proposal_as_toml, write_proposal

NASTY = [
    '"',
    "\\",
    "\n",
    "\r\n",
    '"""',
    "# ",
    "]",
    "= ",
    "\x00",
    "\x1b[2J",
    "\u2028",
    "é",
    "雪",
    "🙂",
    "\x7f",
    "'",
    "\t",
]
TEXT = st.lists(st.sampled_from(NASTY) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=6).map(
    "".join
)
PLAIN = TEXT | st.booleans() | st.integers(-9, 9**9) | st.floats(allow_nan=False)
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)
ENTRIES = st.builds(Entry, TEXT, VALUES, TEXT, st.booleans(), st.booleans())
FIELDS = st.lists(st.builds(Entry, TEXT, TEXT, TEXT), max_size=3)


def unique(entries):
    return tuple({entry.key: entry for entry in entries}.values())


@given(
    st.lists(ENTRIES, min_size=1, max_size=5),
    FIELDS,
    st.lists(TEXT, max_size=2),
    st.dictionaries(TEXT, TEXT, max_size=2),
)
def test_the_text_holds_the_values_and_nothing_else(entries, fields, notes, left_out):
    entries = tuple(entry for entry in unique(entries) if entry.key != "fields")
    table = Table(
        ("a.pt",), (Entry("files", "a.pt"), *(e for e in entries if e.key != "files")), unique(fields), tuple(notes)
    )
    proposal = Proposal(Path("folder"), (table, table), left_out)
    text = proposal_as_toml(proposal)
    assert tomllib.loads(text) == proposal.values
    assert all(sign.isprintable() or sign == "\n" for sign in text)


@pytest.fixture
def proposal(tmp_path):
    data = Entry("data", {"source": "digits"})
    normalisation = Entry("normalisation", {"mean": [0.0], "std": [1.0]})
    entries = (
        Entry("files", "a.pt"),
        Entry("model", "p4cnn"),
        Entry("input_size", 9),
        Entry("group", "C4"),
        data,
        normalisation,
    )
    return Proposal(tmp_path, (Table(("a.pt",), entries),), {})


def test_a_file_is_written_once(proposal, tmp_path):
    path = write_proposal(proposal)
    assert [part.model for part in read_descriptions(path)] == ["p4cnn"]
    path.write_text("mine")
    with pytest.raises(EqvizError, match="--force"):
        write_proposal(proposal)
    assert path.read_text() == "mine"
    write_proposal(proposal, force=True)
    assert read_descriptions(path)
    assert [found.name for found in tmp_path.iterdir()] == ["eqviz.toml"]


def test_what_could_not_be_read_again_is_not_written(proposal, tmp_path):
    broken = Proposal(tmp_path, (Table(("a.pt",), proposal.tables[0].entries[1:]),), {})
    with pytest.raises(EqvizError, match="files"):
        write_proposal(broken)
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_the_way(tmp_path):
    (tmp_path / "eqviz.toml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EqvizError, match="--force"):
        check_free(tmp_path)
    (tmp_path / "eqviz.toml").unlink()
    (tmp_path / "eqviz.toml").mkdir()
    with pytest.raises(EqvizError, match="a folder"):
        check_free(tmp_path, force=True)


def test_a_link_in_a_strangers_folder_is_replaced_and_not_written_through(proposal, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("mine")
    (tmp_path / "eqviz.toml").symlink_to(other)
    write_proposal(proposal, force=True)
    assert other.read_text() == "mine"
    assert not (tmp_path / "eqviz.toml").is_symlink()
