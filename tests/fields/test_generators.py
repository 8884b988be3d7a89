"""Generators against closed forms, against the finite group that they continue, and against scipy's logarithm."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm, logm

from eqviz.errors import EqvizError
from eqviz.fields.field_types import FieldType, Image, Invariant, Regular, Vector, field_type
from eqviz.fields.generators import UNITS, fibre_generator, generate, has_map
from eqviz.groups.group import group


def blob(height, width, turn=0.0, right=0.0, up=0.0, scale=1.0):
    """A smooth picture, T_t of it by its formula: an oval Gaussian off the centre, 2.2 by 3.2 pixels wide."""
    rows = torch.arange(height, dtype=torch.float64) - (height - 1) / 2
    columns = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    x, y = columns[None, :] - right, -rows[:, None] - up
    c, s = math.cos(turn), math.sin(turn)
    x, y = (c * x + s * y) / scale, (-s * x + c * y) / scale  # the picture at R^-1 p
    return torch.exp(-((x - 2.0) ** 2) / (2 * 2.2**2) - (y - 1.0) ** 2 / (2 * 3.2**2))[None, None]


ARGUMENTS = {
    "rotation": lambda t: {"turn": t}, "translation x": lambda t: {"right": t}, "translation y": lambda t: {"up": t},
    "scale": lambda t: {"scale": math.exp(t)},
}  # fmt: skip


def truly(name, height, width, step=1e-4):
    """d/dt of T_t of the picture, from its formula; its own error is of order step^2 = 1e-8."""
    ahead, behind = (blob(height, width, **ARGUMENTS[name](t)) for t in (step, -step))
    return (ahead - behind) / (2 * step)


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize(("height", "width"), [(31, 31), (30, 36)])
def test_on_a_smooth_picture_it_is_the_derivative(name, height, width):
    true, found = truly(name, height, width), generate(blob(height, width), Image(), name)
    # order 4 errs by f''''' / 30: on a Gaussian of width s = 2.2 that is sqrt(945) / (30 (2 s^2)^2) = 1.1% of f'
    assert float((found - true).norm() / true.norm()) < 0.012
    coarse = generate(blob(height, width), Image(), name, order=2)
    assert float((coarse - true).norm() / true.norm()) > 2 * float((found - true).norm() / true.norm())


def test_the_rotation_agrees_with_rot90_in_sign():
    # the generator commutes with the quarter turn, and its series sums to it: X^2 = -1 on a linear picture
    x = torch.arange(7.0, dtype=torch.float64).expand(1, 1, 7, 7) - 3
    torch.testing.assert_close(generate(x, Image(), "rotation"), torch.rot90(x, 1, (-2, -1)))
    y = torch.rot90(x, 1, (-2, -1))
    torch.testing.assert_close(generate(y, Image(), "rotation"), -x)


@pytest.mark.parametrize("name", UNITS)
def test_on_a_map_of_every_other_pixel_it_is_every_other_pixel_of_the_derivative(name):
    fine = blob(61, 61, scale=2.5)
    found = generate(fine[..., ::2, ::2], Image(), name, (2.0, 2.0))
    whole = generate(fine, Image(), name)[..., ::2, ::2]
    # both are central differences of a wide picture; the coarser grid is 2^4 times worse, still below 1%
    torch.testing.assert_close(found, whole, atol=0.01 * float(whole.abs().max()), rtol=0)


def test_rows_and_columns_may_be_apart_by_different_steps():
    fine = blob(61, 61, scale=2.5)
    for name in UNITS:
        found, whole = (
            generate(fine[..., ::2, :], Image(), name, (2.0, 1.0)),
            generate(fine, Image(), name)[..., ::2, :],
        )
        torch.testing.assert_close(found, whole, atol=0.01 * float(whole.abs().max()), rtol=0)


def matrix(field, element):
    """rho(element) on the fibre, column by column."""
    d = field.group.order if isinstance(field, Regular) else len(field.matrices[0])
    basis = torch.eye(d, dtype=torch.float64)
    shaped = basis[:, None] if isinstance(field, Regular) else basis
    return field.act(shaped, element).reshape(d, d).numpy().T


def vectors(n):
    return Vector(group(f"C{n}"), np.array([element.matrix for element in group(f"C{n}").elements]))


FIBRES = [field_type(f"regular({G})") for G in ("C3", "C4", "C5", "C8", "D4", "C2", "D2")]
FIBRES += [field_type("regular(C4, reversed)"), field_type("regular(D4, reversed)"), vectors(4), vectors(6)]


@pytest.mark.parametrize("field", FIBRES, ids=str)
def test_the_fibre_generator_is_the_logarithm_of_the_smallest_rotation(field):
    N, X = field.group.rotations, fibre_generator(field)
    P, a = matrix(field, field.group.elements[1]), 2 * math.pi / N
    # everything here is of size N at most: rounding
    np.testing.assert_allclose(X, -X.T, atol=0)
    np.testing.assert_allclose(X @ P, P @ X, atol=1e-12)
    alternating = np.linalg.matrix_power(-P, 1)
    nyquist = sum(np.linalg.matrix_power(alternating, r) for r in range(N)) / N if N % 2 == 0 else np.zeros_like(P)
    np.testing.assert_allclose(X @ nyquist, 0, atol=1e-12)
    np.testing.assert_allclose(expm(a * X), P + 2 * nyquist, atol=1e-12)  # P is -1 there, exp(0) is 1
    if N % 2:
        np.testing.assert_allclose(X, logm(P).real / a, atol=1e-10)


def test_vectors_turn_like_vectors():
    np.testing.assert_allclose(fibre_generator(vectors(4)), [[0, -1], [1, 0]], atol=1e-15)


def test_trivial_fibres_have_none():
    assert (
        fibre_generator(Image()) is fibre_generator(Invariant()) is fibre_generator(field_type("regular(C1)")) is None
    )


@pytest.mark.parametrize(
    "options", ["", ", flattened", ", group first", ", flattened, group first", ", flattened, reversed"]
)
@pytest.mark.parametrize("G", ["C4", "D4"])
@pytest.mark.parametrize("maps", [True, False])
def test_every_layout_is_the_same_field(options, G, maps):
    base, field = (
        field_type(f"regular({G}{', reversed' if 'reversed' in options else ''})"),
        field_type(f"regular({G}{options})"),
    )
    order = base.group.order
    features = torch.randn(2, 3, order, *((5, 5) if maps else ()), dtype=torch.float64)
    shown = features.transpose(1, 2) if "group first" in options else features
    shown = shown.flatten(1, 2) if "flattened" in options else shown
    for name in UNITS:
        expected = generate(features, base, name)
        expected = expected.transpose(1, 2) if "group first" in options else expected
        expected = expected.flatten(1, 2) if "flattened" in options else expected
        torch.testing.assert_close(generate(shown, field, name), expected)
        assert generate(shown, field, name).abs().sum() > 0 or (name != "rotation" and not maps)


def lift(picture):
    """The derivatives of a picture along the four directions u, a C4 field: that to the right, turned by u."""

    def along(u):
        upright = torch.rot90(picture, -u, (-2, -1))
        return torch.rot90(-generate(upright, Image(), "translation x"), u, (-2, -1))

    return torch.stack([along(u) for u in range(4)], dim=2)


def test_the_fibre_turns_with_the_pixels():
    # directional derivatives are of frequency 1 on the fibre: as a C4 field they turn continuously, without any error
    lifted, expected = lift(blob(31, 31)), lift(generate(blob(31, 31), Image(), "rotation"))

    def away(field):
        return float((generate(lifted, field, "rotation") - expected).norm() / expected.norm())

    # two derivatives in another order: their difference is that of central differences, 1% twice
    assert away(Regular(group("C4"))) < 0.02
    assert away(field_type("regular(C4, reversed)")) > 0.1


def test_what_has_a_map():
    assert has_map(Vector(group("C1"), np.ones((1, 1, 1))), 4)
    assert not has_map(Vector(group("C1"), np.ones((1, 1, 1))), 2)
    assert has_map(field_type("regular(C4, flattened)"), 4)
    assert not has_map(field_type("regular(C4, flattened)"), 2)
    features = torch.randn(2, 3, 4, 4)
    assert all(generate(features, Invariant(), name).eq(0).all() for name in UNITS)


def test_a_type_of_ones_own_has_no_known_fibre():
    class Odd(FieldType):
        name = "odd"

        def act(self, features, element):
            return features

        def fits(self, shape):
            return True

    with pytest.raises(EqvizError, match="field type: expected image, invariant"):
        generate(torch.randn(1, 2, 3, 3), Odd(), "rotation")
    assert generate(torch.randn(1, 2, 3, 3), Odd(), "scale").shape == (1, 2, 3, 3)
