"""A fake of escnn's interface, as its documentation describes it: no code of the library, no filters."""

import numpy as np


class GroupElement:
    def __init__(self, group, value):
        self.group, self.value = group, value

    def to(self, param):
        n = self.group.rotations
        if param == "radians":
            angle = self.value[1] if n == -1 else 2 * np.pi * self.value[1] / n
            return (self.value[0], angle) if self.group.flips else angle
        assert param == "int"
        return self.value if self.group.flips else self.value[1]


class Group:
    """Rotations by multiples of 2 pi / n (all if n is -1), and a flip before them where there are `flips`."""

    def __init__(self, rotations, flips):
        self.rotations, self.flips = rotations, flips
        self.continuous = rotations == -1
        self.identity = GroupElement(self, (0, 0))

    @property
    def elements(self):
        if self.continuous:
            return None
        return [GroupElement(self, (f, k)) for f in range(1 + self.flips) for k in range(self.rotations)]

    def element(self, value, param="radians"):
        assert param == "radians"
        return GroupElement(self, value if self.flips else (0, value))

    def order(self):
        return -1 if self.continuous else len(self.elements)


class Representation:
    def __init__(self, group, name, size, matrix):
        self.group, self.name, self.size, self._matrix = group, name, size, matrix

    def __call__(self, element):
        assert isinstance(element, GroupElement)
        flip, k = element.value
        return self._matrix(flip, k if self.group.continuous else 2 * np.pi * k / self.group.rotations)


def rotation(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


class GSpace:
    def __init__(self, rotations, axis=None, dimensionality=2):
        self.fibergroup = Group(rotations, axis is not None)
        self.dimensionality = dimensionality
        self.name = f"{rotations} rotations, axis {axis}, on R^{dimensionality}"
        across = np.eye(2) if axis is None else rotation(axis) @ np.diag([1.0, -1.0]) @ rotation(-axis)
        self.basespace_action = self._representation(
            "plane", 2, lambda f, a: rotation(a) @ (across if f else np.eye(2))
        )
        self.trivial_repr = self._representation("irrep_0", 1, lambda f, a: np.eye(1))

    def _representation(self, name, size, matrix):
        return Representation(self.fibergroup, name, size, matrix)

    def irrep(self, k):
        """Of frequency k: the flip acts as diag(1, -1)."""
        return self._representation(
            f"irrep_{k}", 2, lambda f, a: rotation(k * a) @ (np.diag([1.0, -1.0]) if f else np.eye(2))
        )


class FieldType:
    def __init__(self, gspace, representations):
        self.gspace, self.representations = gspace, tuple(representations)
        self.fibergroup = gspace.fibergroup
        self.size = sum(representation.size for representation in representations)


class GeometricTensor:
    def __init__(self, tensor, type, coords=None):
        assert tensor.shape[1] == type.size
        self.tensor, self.type, self.coords = tensor, type, coords
