"""Whatever the bytes are: readers of descriptions, records and weights give a result or an EqvizError, soon."""

import tomllib

import hypothesis.strategies as st
import pytest
import tomli_w
import torch
from hypothesis import HealthCheck, given, settings

from eqviz.analysis.published import read_published
from eqviz.checkpoints.fitting import fit_state
from eqviz.checkpoints.reading import read_checkpoint
from eqviz.data.registry import load_images
from eqviz.errors import EqvizError
from eqviz.studies.finding import find_runs, survey
from eqviz.studies.foreign.descriptions import read_descriptions
from eqviz.studies.foreign.patterns import FilePattern
from eqviz.studies.recipes import load_recipe
from eqviz.studies.run_folders import read_run
from eqviz.studies.run_records import read_record
from tests.bad_input.conftest import DESCRIBED, check_line
from tests.bad_input.crafting import FORMATS, packed
from tests.bad_input.test_images import WHOLE, picture
from tests.bad_input.test_records_and_recipes import COLUMNS, RECIPE, RECORD, row

QUICK = settings(
    max_examples=50, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip

VALUES = st.recursive(
    st.one_of(
        st.text(max_size=20), st.integers(), st.floats(), st.booleans(), st.datetimes(), st.just(10**30),
        st.just("p4conv"),
        st.sampled_from(["{seed}", "*", "../x", "C4", "image", "regular(C4)", "digits", "os:system", "8x8"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip


def spliced(whole):
    """The bytes with a part of them taken out, doubled, overwritten or put elsewhere."""
    places = st.integers(0, len(whole))
    return st.builds(
        lambda a, b, c, new: whole[: min(a, b)] + new + whole[max(a, b) : c] + whole[min(a, c) :], places, places,
        places,
        st.one_of(st.binary(max_size=12), st.sampled_from([b"\x00" * 8, b"\xff" * 8, b'"', b"[[", b"nan", b"9" * 30])),
    )  # fmt: skip


def holds(function, *arguments):
    """The function gives a result, or raises an EqvizError that is one clean line."""
    try:
        return function(*arguments)
    except EqvizError as error:
        check_line(f"eqviz: {error}")
        return None


def written(table, keys):
    """Texts of TOML: spliced ones of this table, and tables with other values, or other keys."""
    whole = tomli_w.dumps(table).encode()
    changed = st.builds(
        lambda changes, more: tomli_w.dumps({key: {**table, **changes, **more}.get(key) for key in {**table,
        **changes, **more}}).encode(),
        st.dictionaries(st.sampled_from(keys), VALUES, max_size=3), st.dictionaries(st.text(max_size=8), VALUES,
        max_size=1),
    )  # fmt: skip
    return st.one_of(spliced(whole), changed, st.binary(max_size=80))


def description(run):
    return tomli_w.dumps({"format": 1, "runs": [run]}).encode()


DESCRIPTIONS = st.one_of(
    spliced(description(DESCRIBED)),
    st.dictionaries(st.sampled_from([*DESCRIBED, "seed", "epoch", "label", "rename", "ignore", "output", "fields",
    "weights"]),
                    VALUES, max_size=3).map(lambda changes: description({**DESCRIBED, **changes})),
)  # fmt: skip


@QUICK
@given(text=DESCRIPTIONS)
def test_descriptions(folder, text):
    (folder / "eqviz.toml").write_bytes(text)
    holds(read_descriptions, folder / "eqviz.toml")
    for run in holds(find_runs, folder) or ():
        holds(run.build)
    holds(survey, folder)


@QUICK
@given(text=written(RECORD, list(RECORD)))
def test_records(tmp_path, text):
    (tmp_path / "run.toml").write_bytes(text)
    (tmp_path / "epoch-0001.safetensors").write_bytes(b"")
    holds(read_record, tmp_path / "run.toml")
    run = holds(read_run, tmp_path)
    if run is not None:
        holds(run.build)


@QUICK
@given(text=written(RECIPE, [*RECIPE, "seeds", "variants", "presets", "checkpoints"]))
def test_recipes(tmp_path, text):
    (tmp_path / "recipe.toml").write_bytes(text)
    recipe = holds(load_recipe, tmp_path / "recipe.toml")
    if recipe is not None:
        assert recipe.expand()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.filterwarnings("ignore")  # torch's on odd tensors: of them the reader keeps none
def test_weights(tmp_path, state, kind):
    path = tmp_path / "net.pt"

    @QUICK
    @given(content=st.one_of(spliced(packed(state, kind)), spliced(packed(state, kind)).flatmap(spliced)))
    def check(content):
        path.write_bytes(content)
        found = holds(read_checkpoint, path)
        if found is not None:
            fitted = holds(fit_state, found, state, "the network")
            assert fitted is None or all(torch.isfinite(value).all() for value in fitted.values())

    check()


@QUICK
@given(content=st.builds(lambda start, rest: start + rest,
                         st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02",
                         b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b"\x02" + bytes(7) + b"{}"]),
                         st.binary(max_size=200)))  # fmt: skip
def test_bytes_that_begin_like_weights(tmp_path, content):
    (tmp_path / "net.pt").write_bytes(content)
    holds(read_checkpoint, tmp_path / "net.pt")


@QUICK
@given(content=spliced(WHOLE))
def test_arrays(tmp_path, content):
    (tmp_path / "images.npz").write_bytes(content)
    holds(load_images, tmp_path / "images.npz", "test")


@QUICK
@given(content=spliced(picture(noise=True)))
def test_pictures(tmp_path, content):
    (tmp_path / "test/a").mkdir(parents=True, exist_ok=True)
    (tmp_path / "test/a/1.png").write_bytes(content)
    holds(load_images, tmp_path, "test")


@QUICK
@given(content=spliced((COLUMNS + row() + row(metric="180°")).encode()))
def test_published_numbers(tmp_path, content):
    (tmp_path / "published.csv").write_bytes(content)
    holds(read_published, tmp_path / "published.csv")


@QUICK
@given(pattern=st.text("ab{}*/.se d1x", max_size=40), path=st.text("ab/.1x", max_size=60))
def test_patterns(pattern, path):
    made = holds(FilePattern, pattern)
    found = made and made.match(path)
    if found is not None and made:
        whole = pattern
        for name, value in found.items():
            whole = whole.replace("*" if name.startswith("*") else f"{{{name}}}", value, 1)
        assert whole == path


def test_what_is_fuzzed_is_sound(tmp_path, folder):
    """The texts that are spliced are good ones: else nothing but the first check would ever be tried."""
    assert tomllib.loads(description(DESCRIBED).decode())["runs"] == [DESCRIBED]
    assert find_runs(folder)[0].build() is not None
    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(RECIPE))
    assert load_recipe(tmp_path / "recipe.toml").expand()
    (tmp_path / "published.csv").write_text(COLUMNS + row())
    assert len(read_published(tmp_path / "published.csv")) == 1
