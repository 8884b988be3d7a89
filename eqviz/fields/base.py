"""What every field type is: a way in which elements of a group act on activations."""

from abc import ABC, abstractmethod

from torch import Tensor

from eqviz.groups.group import Element


class FieldType(ABC):
    """How elements of a group act on a tensor whose first axis is the batch. Actions are orthogonal."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name tables show, such as `regular(C4)`."""

    @abstractmethod
    def act(self, features: Tensor, element: Element) -> Tensor:
        """rho(element) applied to `features` (batch, ...). Raises ValueError if the element is not in its group."""

    @abstractmethod
    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape (batch first) can be a field of this type."""

    def channel_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Shape of a single channel of a tensor of this type and `shape`, with a batch of one.

        Elements on the grid permute the entries of every channel in the same way. None where they do more than that.
        """
        del shape
        return None

    def represents(self, element: Element) -> bool:
        """Whether this type knows how the element acts; types without a group axis know all of O(2)."""
        del element
        return True

    def __str__(self) -> str:
        return self.name
