"""Orbit statistics: tables, sums over parts, JSON and rows for each image."""

import dataclasses
import gc
import itertools
import json
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eqviz.errors import EqvizError
from eqviz.fields.layer_calls import LayerCall
from eqviz.fields.samples import SampleFile
from eqviz.fields.statistics import OrbitStatistics
from eqviz.fields.sums import LayerInfo, LayerOrbit, reduce_orbit
from eqviz.groups.group import Group, group

ORBITS = {LayerCall("conv", 0): (2, 3, 3), LayerCall("conv", 1): (2, 3, 3), LayerCall("head[0]", 0): (5,)}


def info(depth: int, shape: tuple[int, ...]) -> LayerInfo:
    return LayerInfo(depth, "convolution", False, "image", "declared", int(np.prod(shape)))


def aligned_orbits(G: Group, images: int = 6) -> dict[LayerCall, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {key: torch.randn(G.order, images, *shape, generator=generator) for key, shape in ORBITS.items()}


def statistics(G: Group, orbits: dict[LayerCall, torch.Tensor], *, samples: bool = False) -> OrbitStatistics:
    file = SampleFile() if samples else None
    layers = {}
    for depth, (key, aligned) in enumerate(orbits.items()):
        rows = reduce_orbit(aligned)
        if file is not None:
            file.append(key, rows)
        layers[key] = LayerOrbit(info(depth, ORBITS[key]), rows.summed())
    if file is not None:
        file.close()
    return OrbitStatistics(G, "float32", "cpu", False, layers, {"fc": "its output is torch.int64"}, file)


def of_images(orbits: dict[LayerCall, torch.Tensor], start: int, end: int) -> dict[LayerCall, torch.Tensor]:
    return {key: aligned[:, start:end] for key, aligned in orbits.items()}


def tables(s: OrbitStatistics) -> list[pd.DataFrame]:
    return [s.equivariance(), s.equivariance_elements(), s.spectrum(), s.subgroups()]


def assert_same_sums(one: OrbitStatistics, two: OrbitStatistics, rtol: float) -> None:
    assert list(one.layers) == list(two.layers)
    for key, layer in one.layers.items():
        mine, other = vars(layer.sums), vars(two.layers[key].sums)
        assert layer.info == two.layers[key].info
        for name, value in mine.items():
            np.testing.assert_allclose(value, other[name], rtol=rtol, err_msg=name)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5))
def test_statistics_of_parts_add_up_to_those_of_the_whole(first, second):
    orbits = aligned_orbits(group("C4"))
    edges = sorted({0, first, second, 6})
    parts = [statistics(group("C4"), of_images(orbits, a, b)) for a, b in itertools.pairwise(edges)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    assert total.images == 6
    # the same six float64 numbers in another order
    assert_same_sums(total, statistics(group("C4"), orbits), rtol=1e-14)


@pytest.mark.parametrize(
    "change",
    [{"group": group("D2")}, {"dtype": "float64"}, {"mask": True}, {"layers": {}}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_different_statistics_do_not_add(change):
    one = statistics(group("C4"), aligned_orbits(group("C4")))
    with pytest.raises(EqvizError, match="orbit statistics: expected the same layers, group, mask and dtype") as caught:
        _ = one + dataclasses.replace(one, **change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("G", [group("C4"), group("D2(diagonals)"), group("C8"), Group(8, Fraction(0))], ids=str)
def test_json_comes_back_bit_for_bit(G):
    one = statistics(G, aligned_orbits(G))
    two = OrbitStatistics.from_json(one.to_json())
    assert_same_sums(one, two, rtol=0)
    assert two.to_json() == one.to_json()
    assert (two.group, two.dtype, two.device, two.mask, two.skipped) == (G, "float32", "cpu", False, one.skipped)
    for mine, other in zip(tables(one), tables(two), strict=True):
        pd.testing.assert_frame_equal(mine, other, check_exact=True)
    assert_same_sums(one + one, two + one, rtol=0)


def test_json_keeps_what_is_not_finite():
    orbits = aligned_orbits(group("C4"))
    orbits[LayerCall("conv", 0)][1, 2, 0] = float("nan")
    two = OrbitStatistics.from_json(statistics(group("C4"), orbits).to_json())
    assert np.isnan(two.layers[LayerCall("conv", 0)].sums.norms[1])


def test_json_of_another_format_is_refused():
    content = json.loads(statistics(group("C4"), aligned_orbits(group("C4"))).to_json())
    with pytest.raises(ValueError, match="format 99"):
        OrbitStatistics.from_json(json.dumps({**content, "format": 99}))


def test_equivariance_table_by_hand():
    """One image, two entries: A_e = (3, 4), A_g = (3, 0)."""
    G = group("C2")
    key = LayerCall("conv", 0)
    aligned = torch.tensor([[[3.0, 4.0]], [[3.0, 0.0]]])
    layers = {key: LayerOrbit(LayerInfo(0, "other", True, "image", "given", 2), reduce_orbit(aligned).summed())}
    found = OrbitStatistics(G, "float32", "cpu", False, layers).equivariance().iloc[0]
    assert found.drop(["breaking_fraction", "relative_error", "cosine"]).to_dict() == {
        "layer": "conv", "call": 0, "depth": 0, "kind": "other", "subsamples": True, "field": "image",
        "field_source": "given", "grid": True, "l1": 2.0, "relative_l1": pytest.approx(4 / 7), "n": 1, "note": "",
    }  # fmt: skip
    assert found["breaking_fraction"] == pytest.approx(8 / 34)  # D = (0, +-2)
    assert found["relative_error"] == pytest.approx(4 / 5)
    assert found["cosine"] == pytest.approx(9 / 15)


def test_tables_are_pooled_ratios_of_sums_and_keep_execution_order():
    G = group("D4")
    orbits = aligned_orbits(G)
    s = statistics(G, orbits)
    for key, row in zip(orbits, s.equivariance().itertuples(), strict=True):
        A = orbits[key].double().numpy()
        D = A - A.mean(0)
        assert (row.layer, row.call, row.n) == (*key, 6)
        # the sums over each channel ran in float32
        assert row.breaking_fraction == pytest.approx((D**2).sum() / (A**2).sum(), rel=1e-5)
        errors = [((A[g] - A[0]) ** 2).sum() / (A[0] ** 2).sum() for g in range(1, 8)]
        assert row.relative_error == pytest.approx(np.sqrt(np.mean(errors)), rel=1e-5)
        differences = [np.abs(A[g] - A[0]) for g in range(1, 8)]
        assert row.l1 == pytest.approx(sum(d.mean() for d in differences), rel=1e-5)
        assert row.relative_l1 == pytest.approx(np.mean([d.sum() / np.abs(A[0]).sum() for d in differences]), rel=1e-5)
    assert list(s.equivariance()["layer"].cat.categories) == ["conv", "head[0]"]
    assert s.equivariance()["layer"].cat.ordered
    elements = s.equivariance_elements()
    assert elements["element"].tolist() == [str(e) for e in G.elements[1:]] * 3
    rms = elements.groupby(["layer", "call"], observed=True)["relative_error"].apply(lambda e: np.sqrt((e**2).mean()))
    np.testing.assert_allclose(rms, s.equivariance()["relative_error"], rtol=1e-12)
    spectrum = s.spectrum().groupby(["layer", "call"], observed=True)["energy"]
    np.testing.assert_allclose(spectrum.sum(), 1, atol=1e-6)  # energies below epsilon b are given as 0
    trivial = s.spectrum().query("irrep == 'A1'")["energy"]
    np.testing.assert_allclose(1 - trivial, s.equivariance()["breaking_fraction"], rtol=1e-12)
    whole = s.subgroups().query("subgroup == 'D4'")["residual"]
    np.testing.assert_allclose(whole, s.equivariance()["breaking_fraction"], rtol=1e-12)
    assert s.subgroups().query("subgroup == 'C1'")["survives"].all()
    assert not s.subgroups().query("subgroup != 'C1'")["survives"].any()


def test_interpolated_elements_have_a_row_of_their_own():
    G = group("C8")
    A = torch.ones(8, 2, 1, 3, 3)
    A[1::2] = 2  # only the interpolated elements differ
    key = LayerCall("conv", 0)
    layers = {key: LayerOrbit(info(0, (1, 3, 3)), reduce_orbit(A).summed())}
    s = OrbitStatistics(G, "float32", "cpu", False, layers)
    exact, interpolated = s.equivariance().itertuples()
    assert (exact.grid, exact.relative_error, exact.breaking_fraction, exact.l1) == (True, 0, 0, 0)
    assert (interpolated.grid, interpolated.relative_error, interpolated.l1) == (False, 1, 4)
    assert interpolated.breaking_fraction == pytest.approx(0.25 / 2.5)
    assert s.equivariance_elements()["grid"].tolist() == [False, True, False, True, False, True, False]


def test_a_group_with_no_exact_element_but_the_identity():
    s = statistics(group("C3"), aligned_orbits(group("C3")))
    exact = s.equivariance().query("grid")
    assert exact["relative_error"].isna().all()
    assert (exact["breaking_fraction"] == 0).all()
    assert s.equivariance().query("not grid")["relative_error"].notna().all()


@pytest.mark.parametrize(("value", "note"), [(0.0, "dead"), (float("nan"), "not finite"), (float("inf"), "not finite")])
def test_layers_without_a_ratio_say_so(value, note):
    G = group("D4")
    orbits = aligned_orbits(G)
    orbits[LayerCall("conv", 1)][:] = value
    s = statistics(G, orbits, samples=True)
    for table in (s.equivariance(), s.equivariance(per_sample=True)):
        bad = table.query("call == 1")
        assert bad["note"].str.startswith(note).all()
        assert bad[["breaking_fraction", "relative_error", "cosine", "relative_l1"]].isna().all(axis=None)
        assert (table.query("call == 0")["note"] == "").all()
    assert s.spectrum().query("call == 1")["energy"].isna().all()
    survives = s.subgroups().query("call == 1")["survives"]
    assert survives.isna().all()
    assert s.subgroups()["survives"].dtype == "boolean"
    assert s.subgroups(double=s).query("call == 1")["survives"].isna().all()


def test_a_network_of_dead_layers_still_gives_tables():
    orbits = {key: torch.zeros_like(aligned) for key, aligned in aligned_orbits(group("C4")).items()}
    s = statistics(group("C4"), orbits)
    assert s.subgroups()["survives"].isna().all()
    assert s.equivariance()["breaking_fraction"].isna().all()


def test_with_float64_beside_it_survival_is_decided_by_the_fall():
    G = group("C2")
    key = LayerCall("conv", 0)

    def with_break(size: float, dtype: torch.dtype) -> OrbitStatistics:
        aligned = torch.ones(2, 1, 4, dtype=dtype)
        aligned[1] += size
        layers = {key: LayerOrbit(info(0, (4,)), reduce_orbit(aligned).summed())}
        return OrbitStatistics(G, str(dtype).removeprefix("torch."), "cpu", False, layers)

    def survives(single: float, double: float) -> object:
        table = with_break(single, torch.float32).subgroups(double=with_break(double, torch.float64))
        return table.set_index("subgroup").loc["C2", "survives"]

    assert survives(1e-6, 1e-15)
    assert not survives(1e-6, 1e-6)  # a real break as small as rounding in float32
    assert pd.isna(survives(1e-3, 1e-5))
    assert with_break(1e-6, torch.float32).subgroups()["survives"].all()  # the first look alone is fooled


def test_rows_for_each_image():
    G = group("D4")
    orbits = aligned_orbits(G)
    s = statistics(G, orbits, samples=True)
    rows = s.equivariance(per_sample=True)
    assert len(rows) == 3 * 6
    assert (rows["n"] == 1).all()
    for (layer, call), part in rows.groupby(["layer", "call"], observed=True):
        assert part["image"].tolist() == list(range(6))
        for image, row in enumerate(part.itertuples()):
            A = orbits[LayerCall(str(layer), int(call))][:, image].double().numpy()
            D = A - A.mean(0)
            assert row.breaking_fraction == pytest.approx((D**2).sum() / (A**2).sum(), rel=1e-5)
            assert row.l1 == pytest.approx(sum(np.abs(A[g] - A[0]).mean() for g in range(1, 8)), rel=1e-5)
    assert len(s.spectrum(per_sample=True)) == 3 * 6 * 5
    assert len(s.subgroups(per_sample=True)) == 3 * 6 * 10
    assert len(s.equivariance_elements(per_sample=True)) == 3 * 6 * 7


def test_sample_files_come_back_exactly_over_several_appends():
    G = group("D4")
    aligned = torch.randn(8, 7, 4, dtype=torch.float64)
    rows = reduce_orbit(aligned)
    file = SampleFile()
    for part in (slice(0, 3), slice(3, 7)):
        for key in (LayerCall("b", 0), LayerCall("a", 1)):
            file.append(key, reduce_orbit(aligned[:, part]))
    file.close()
    found = file.read(G.order)
    assert list(found) == [LayerCall("b", 0), LayerCall("a", 1)]
    for sums in found.values():
        assert sums.images == 7
        for name in ("norms", "distances", "differences", "magnitude"):
            np.testing.assert_array_equal(getattr(sums, name), getattr(rows, name))


def test_sample_files_gather_rows_before_they_write():
    file, rows = SampleFile(), reduce_orbit(torch.randn(2, 50, 4))
    for _ in range(200):
        file.append(LayerCall("a", 0), rows)
    waiting = file.path.stat().st_size
    file.close()
    written = pq.ParquetFile(file.path).metadata
    assert written.num_rows == 10_000
    assert written.num_row_groups <= 3  # one for each 4096 rows and the rest, not one for each of 200 batches
    assert 0 < waiting < file.path.stat().st_size  # and not all at the end
    np.testing.assert_array_equal(file.read(2)[LayerCall("a", 0)].norms, np.tile(rows.norms, (200, 1)))


def test_sample_files_go_when_nobody_holds_them():
    file = SampleFile()
    file.append(LayerCall("a", 0), reduce_orbit(torch.randn(2, 3, 4)))
    path = file.path
    assert path.exists()
    del file
    gc.collect()
    assert not path.parent.exists()


def test_rows_that_were_not_kept_are_refused_in_one_line():
    s = statistics(group("C4"), aligned_orbits(group("C4")))
    with pytest.raises(EqvizError, match="capture again with per_sample=True") as caught:
        s.equivariance(per_sample=True)
    assert "\n" not in str(caught.value)
    kept = statistics(group("C4"), aligned_orbits(group("C4")), samples=True)
    assert (kept + kept).samples is None


def test_epsilon_is_that_of_the_dtype():
    s = statistics(group("C4"), aligned_orbits(group("C4")))
    assert s.epsilon == 2.0**-23
    assert dataclasses.replace(s, dtype="bfloat16").epsilon == 2.0**-7
