"""What the audit knows of a tensor, and of every operation that can break a symmetry."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from eqviz.audit.actions import Action
from eqviz.audit.expressions import Line
from eqviz.audit.layout import Atom, Dimension, atoms, find

Elements = frozenset[int]
NONE: Elements = frozenset()


@dataclass(frozen=True)
class Space:
    """The rows and the columns of a tensor; a tensor without space has one of each."""

    rows: Line
    columns: Line

    @property
    def size(self) -> tuple[int, int]:
        """How many rows and columns."""
        return len(self.rows), len(self.columns)


@dataclass(frozen=True)
class Keys:
    """What attention weights are for: the places that the keys had, and their rows and columns, total and local.

    `first` as in a value.
    """

    atoms: Dimension
    first: int
    spaces: tuple[Space, Space]


@dataclass(frozen=True)
class Value:
    """What is known of a tensor.

    dims           what each dimension holds
    total          its rows and columns, followed from the image on
    local          the same followed from the last operation that was judged; `chain` are the operations since then,
                   which wait to be judged together
    stage          what kind of operation came last, and since when: operations of one kind on different axes commute
    origin         the last operation that was more than a choice of positions
    actions        for each element but the identity, how it permutes the fibre; where that was lost or is not known,
                   what it should be, so that later operations can be judged by themselves
    grid_lost, fibre_lost, fibre_unknown   elements under which something before broke, or may have
    grid_unknown   whether an operation before is one that is not known
    alike          for each entry of the fibre a number, the same for entries that were made by repeating one; None if
                   there are none of these
    first          how many tokens without a place come before the others
    keys           what the keys of attention weights are
    guessed        elements of which the action on the fibre is not known: what `actions` says of them is a guess
    """

    dims: tuple[Dimension, ...]
    total: Space
    local: Space
    actions: Mapping[int, Action]
    chain: tuple[int, ...] = ()
    stage: tuple[str, int] = ("", -1)
    origin: int = -1
    grid_lost: Elements = NONE
    fibre_lost: Elements = NONE
    fibre_unknown: Elements = NONE
    grid_unknown: bool = False
    guessed: Elements = NONE
    alike: Action | None = None
    first: int = 0
    keys: Keys | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        sizes = []
        for dim in self.dims:
            size = 1
            for atom in dim:
                size *= atom.size
            sizes.append(size)
        return tuple(sizes)

    @property
    def fibre_atoms(self) -> tuple[Atom, ...]:
        """Channels and group axis, in order."""
        return tuple(atom for atom in atoms(self.dims) if atom.kind == "fibre")

    @property
    def fibre_kinds(self) -> tuple[Atom, ...]:
        """The same with the taps of windows."""
        return tuple(atom for atom in atoms(self.dims) if atom.kind in ("fibre", "row taps", "column taps"))

    @property
    def has_taps(self) -> bool:
        """Whether windows are laid out in dimensions of their own."""
        return len(self.fibre_kinds) > len(self.fibre_atoms)

    @property
    def tokens(self) -> bool:
        """Whether there are tokens without a place beside those of a map."""
        return any(atom.kind == "tokens" for atom in atoms(self.dims))

    @property
    def exchanged(self) -> bool:
        """Whether columns stand before rows."""
        rows, columns = find(self.dims, "rows"), find(self.dims, "columns")
        return rows is not None and columns is not None and columns < rows

    def but(self, **changes: object) -> "Value":
        """The same with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]  # fields of this class by name


@dataclass(frozen=True)
class Window:
    """The numbers of an operation on windows, as they are shown; empty where there is none."""

    kernel: str = ""
    stride: str = ""
    padding: str = ""
    dilation: str = ""
    leftover: str = ""


@dataclass
class Record:
    """One operation that can break a symmetry, as it was seen in one forward pass."""

    serial: int
    layer: str
    call: int
    index: int
    op: str
    size: tuple[int, int] | None
    before: Space
    after: Space
    alone: Space
    chain: tuple[int, ...]
    window: Window = field(default_factory=Window)
    grid_lost: Elements = NONE
    grid_unknown: bool = False
    grid_why: str = ""
    fibre_lost: Elements = NONE
    fibre_unknown: Elements = NONE
    fibre_why: str = ""
    guessed: bool = False  # it comes after an operation that is not known


@dataclass(frozen=True)
class Snapshot:
    """The output of a layer, as it was seen when the layer was done; no value if it does not depend on the image."""

    layer: str
    call: int
    shape: tuple[int, ...]
    value: Value | None

    @property
    def call_of(self) -> tuple[str, int]:
        """Layer and call."""
        return self.layer, self.call
