"""Which layers of a model are meant, and what each of them is."""

from collections.abc import Iterable, Mapping, Sequence

from torch import nn
from torch.nn.modules.activation import MultiheadAttention
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.pooling import (
    _AdaptiveAvgPoolNd,
    _AdaptiveMaxPoolNd,
    _AvgPoolNd,
    _LPPoolNd,
    _MaxPoolNd,
)

from eqviz.capture.steerable_kinds import inner_parts, is_steerable_sequence, steerable_kind
from eqviz.errors import EqvizError
from eqviz.fields.field_types import (
    FieldType,
    counts_where_it_fits,
    declared,
    declared_by_glob,
    field_type,
    square_tokens,
)
from eqviz.fields.layer_calls import OUTPUT, layer_names, matches, near_names
from eqviz.fields.stated_types import stated

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
_OVER_MAPS = (
    _ConvNd, _AvgPoolNd, _MaxPoolNd, _LPPoolNd, _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd, nn.LocalResponseNorm
)  # fmt: skip
_KINDS: tuple[tuple[str, tuple[type[nn.Module], ...]], ...] = (
    ("convolution", (_ConvNd,)),
    ("pooling", (_AvgPoolNd, _MaxPoolNd, _LPPoolNd, _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd)),
    ("normalisation", (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)),
    ("dropout", (_DropoutNd,)),
    ("linear", (nn.Linear, nn.Bilinear)),
    ("block", (MultiheadAttention,)),
)
_MAIN_KINDS = ("convolution", "pooling", "block")


def select_layers(model: nn.Module, layers: str | Iterable[str]) -> dict[str, nn.Module]:
    """The layers whose path matches a glob, or any of several (also separated by commas in one text).

    Containers that only pass on what their last child gives (Sequential and the like), and the inner parts of a
    steerable library's layers, are left out unless they are named in full. Raises EqvizError, with near names, for a
    glob that matches nothing.

    >>> list(select_layers(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), "0, (output)"))
    ['0', '(output)']
    """
    known = layer_names(model)
    parts = inner_parts(model)
    selected = set()
    for glob in split_globs(layers):
        matched = [name for name in known if matches(name, glob)]
        matched = [name for name in matched if name == glob or not (name in parts or _only_contains(name, known[name]))]
        if not matched:
            raise EqvizError(
                "layers", expected="names or globs of layers in the model", found=repr(glob),
                fix=f"near names are {', '.join(near_names(glob, known))}",
            )  # fmt: skip
        selected.update(matched)
    if not selected:
        raise EqvizError(
            "layers", expected="at least one name or glob of a layer", found="none", fix="give '*' for all layers"
        )
    return {name: module for name, module in known.items() if name in selected}


def stages(model: nn.Module) -> tuple[str, ...]:
    """The layers after which the error of a network is told: its stem and its stages, in the order of its modules.

    A stage is an outermost container that declares a field type, such as `layers.1` of eqviz's ResNets; the stem are
    the convolutions, pools and blocks before the first of them. A network without stages has all its outermost
    convolutions, pools and blocks, or, where one block holds them all, those in it.

    >>> stages(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2)))
    ('0', '2')
    """
    known = {name: module for name, module in layer_names(model).items() if name != OUTPUT}
    found = _outermost(name for name, module in known.items() if _declared_container(name, module))
    kinds = [
        name for name, module in known.items()
        if not _only_contains(name, module) and layer_kind(name, module) in _MAIN_KINDS
    ]  # fmt: skip
    main = _outermost(kinds)
    if not found:
        return _unwrapped(main, kinds)
    before = list(known)[: list(known).index(found[0])]
    return (*(name for name in main if name in before), *found)


def _unwrapped(main: tuple[str, ...], kinds: Sequence[str]) -> tuple[str, ...]:
    """The outermost layers, or those in the only one of them as long as there are some."""
    while len(main) == 1 and (inner := _outermost(name for name in kinds if name.startswith(f"{main[0]}."))):
        main = inner
    return main


def _declared_container(name: str, module: nn.Module) -> bool:
    return _only_contains(name, module) and declared(module) is not None and not declared_by_glob(module)


def _outermost(names: Iterable[str]) -> tuple[str, ...]:
    """The names that lie in no other, in their order: a module comes before those in it."""
    found: list[str] = []
    for name in names:
        if not any(name.startswith(f"{outer}.") for outer in found):
            found.append(name)
    return tuple(found)


def split_globs(layers: str | Iterable[str]) -> list[str]:
    """The single names and globs in a text with commas or an iterable."""
    return [part.strip() for part in (layers.split(",") if isinstance(layers, str) else layers)]


def _only_contains(name: str, module: nn.Module) -> bool:
    if is_steerable_sequence(module):
        return name != OUTPUT
    own_forward = type(module).forward not in {container.forward for container in _CONTAINERS}
    return name != OUTPUT and isinstance(module, _CONTAINERS) and not own_forward


def layer_kind(name: str, module: nn.Module) -> str:
    """What a layer is: its own attribute `kind` if it has one, else by its class."""
    if name.startswith(OUTPUT):
        return "output"
    own = getattr(module, "kind", None)
    if isinstance(own, str):
        return own
    steerable = steerable_kind(module)
    if steerable is not None:
        return steerable
    for kind, classes in _KINDS:
        if isinstance(module, classes):
            return kind
    if type(module).__module__ == "torch.nn.modules.activation":
        return "activation"
    return "block" if any(True for _ in module.children()) else "other"


def resolve_field(
    name: str, module: nn.Module, shape: tuple[int, ...], given: Mapping[str, str | FieldType]
) -> tuple[FieldType, str]:
    """The field type of a layer's output and where it comes from: given, declared or by shape.

    `given` maps globs of layer names to field types; the last one that matches counts. A glob speaks of many layers at
    once, of those that its type fits; a type of a layer by its full name counts in any case. Undeclared maps
    (batch, channel, height, width) are taken as images and (batch, feature) as invariant, and the tables say so. Raises
    EqvizError, which asks for a declaration, for any other shape, and for maps whose channels seem to come last.
    """
    for glob, field in reversed(list(given.items())):
        if matches(name, glob) and (name == glob or field_type(field).fits(shape)):
            return field_type(field), "given"
    own = stated(name, module)
    if own is not None and (own.fits(shape) or not counts_where_it_fits(module)):
        return own, "declared"
    last = _channels_last(module, shape)
    if len(shape) in (2, 4) and not last:
        return field_type("image" if len(shape) == 4 else "invariant"), "by shape"
    say = f"say how the group acts on it, as in fields={{'{name}': '{_likely(shape)}'}}"
    raise EqvizError(
        f"layer {name}", expected="a declared field type",
        found=f"no field type for activations of shape {shape_in_words(shape)}",
        fix=f"channels seem to come last: look at the block around it, or, if they do not, {say}" if last else say,
    )  # fmt: skip


def _channels_last(module: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether maps of this shape seem to be (batch, height, width, channel), which eqviz cannot move.

    Convolutions, pools and norms over maps have their channels first. Linear layers and norms of single vectors work on
    the last axis, so that is the channels. Of any other layer it is taken for granted where only the two axes before it
    are of one length.
    """
    if len(shape) != 4 or isinstance(module, (*_OVER_MAPS, nn.GroupNorm, _NormBase)):
        return False
    if isinstance(module, nn.Linear) or (isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1):
        return True
    return shape[1] == shape[2] != shape[3]


def _likely(shape: tuple[int, ...]) -> str:
    """A field type that activations of this shape could have: tokens of a square grid, or a group axis."""
    tokens = square_tokens(shape) if len(shape) == 3 and shape[1] != 4 else ()  # four is more likely the order of C4
    plain = "image" if len(shape) == 4 else "regular(C4)"
    return tokens[0].name if tokens else plain


def shape_in_words(shape: Sequence[int]) -> str:
    """The shape of a batch of activations, whatever the length of the batch.

    >>> shape_in_words((64, 17, 4))
    '(batch, 17, 4)'
    """
    return f"({', '.join(['batch', *map(str, shape[1:])])})"
