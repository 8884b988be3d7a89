"""Which rule belongs to which operation of torch, by the operation's name without its overload."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from eqviz.audit.interpretation import Interpretation, arguments
from eqviz.audit.layout import CannotFollow
from eqviz.audit.rules import (
    choices,
    concatenation,
    folding,
    interpolation,
    linear,
    pads,
    pointwise,
    products,
    statistics,
    views,
    volumes,
    windows,
)
from eqviz.audit.values import Value

Arguments = Mapping[str, Any]
Simple = Callable[[Interpretation, Arguments], Value]
WithOutput = Callable[[Interpretation, Arguments, Any], "Value | list[Value]"]

SIMPLE: dict[str, Simple] = {
    "convolution": volumes.convolution,
    "max_pool2d_with_indices": windows.max_pool,
    "max_pool2d": windows.max_pool,
    "avg_pool2d": windows.avg_pool,
    "_adaptive_avg_pool2d": volumes.adaptive_avg_pool,
    "adaptive_avg_pool2d": volumes.adaptive_avg_pool,
    "adaptive_max_pool2d": volumes.adaptive_max_pool,
    "im2col": windows.im2col,
    "col2im": folding.fold,
    "max_pool3d_with_indices": volumes.max_pool_3d,
    "avg_pool3d": volumes.avg_pool_3d,
    "glu": pointwise.gated,
    "rrelu_with_noise": pointwise.leaky_in_the_mean,
    "unfold": windows.sliding,
    "pixel_shuffle": folding.pixel_shuffle,
    "pixel_unshuffle": folding.pixel_unshuffle,
    "constant_pad_nd": pads.constant_pad,
    "reflection_pad2d": pads.reflection_pad,
    "replication_pad2d": pads.replication_pad,
    "slice": choices.slice_,
    "select": choices.select,
    "index_select": choices.index_select,
    "index": choices.index,
    "flip": choices.flip,
    "roll": choices.roll,
    "rot90": choices.rot90,
    "repeat": choices.repeat,
    "permute": views.permute,
    "_to_copy": views.converted,
    "as_strided": views.as_strided,
    "transpose": views.transpose,
    "t": views.matrix_transpose,
    "index_put": pointwise.masked_write,
    "cat": concatenation.concatenate,
    "stack": concatenation.stack,
    "addmm": linear.addmm,
    "mm": linear.mm,
    "bmm": products.bmm,
    "baddbmm": products.baddbmm,
    "_softmax": statistics.softmax,
    "_safe_softmax": statistics.softmax,
    "_log_softmax": statistics.softmax,
    "native_batch_norm": statistics.batch_norm,
    "_native_batch_norm_legit": statistics.batch_norm,
    "_native_batch_norm_legit_no_training": statistics.batch_norm,
    "cudnn_batch_norm": statistics.batch_norm,
    "native_layer_norm": statistics.layer_norm,
    "native_group_norm": statistics.group_norm,
}
SIMPLE |= dict.fromkeys(
    (
        "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention",
        "_scaled_dot_product_fused_attention_overrideable",
    ),
    products.attention,
)  # fmt: skip
SIMPLE |= dict.fromkeys(("clone", "detach", "alias", "contiguous", "lift_fresh"), views.same)

WITH_OUTPUT: dict[str, WithOutput] = {
    "view": views.view,
    "_unsafe_view": views.view,
    "reshape": views.view,
    "_reshape_alias": views.view,
    "unsqueeze": views.unsqueeze,
    "squeeze": views.unsqueeze,
    "expand": views.expand,
    "split": choices.split,
    "split_with_sizes": choices.split,
    "unbind": choices.unbind,
    "var_mean": statistics.two_moments,
}

BINARY = frozenset({"add", "sub", "mul", "div", "maximum", "minimum", "rsub", "atan2"})
SEVERAL = {
    "where": ("condition", "self", "other"), "addcmul": ("self", "tensor1", "tensor2"),
    "addcdiv": ("self", "tensor1", "tensor2"), "lerp": ("self", "end", "weight"),
    "masked_fill": ("self", "mask", "value"),
}  # fmt: skip
"""Operations on more than two tensors, and the names of these."""
NUMBER_BY_NUMBER = BINARY | frozenset(SEVERAL) | {"cat", "stack"}
"""Operations that put constants beside or on numbers, wherever these lie."""
REDUCTIONS = frozenset(
    {"mean", "sum", "amax", "amin", "max", "min", "std", "var", "logsumexp", "linalg_vector_norm", "norm", "prod"}
)

INTERPOLATION = {
    "upsample_nearest2d": "nearest",
    "_upsample_nearest_exact2d": "nearest-exact",
    "upsample_bilinear2d": "bilinear",
    "upsample_bicubic2d": "bicubic",
    "_upsample_bilinear2d_aa": "bilinear, antialias",
    "_upsample_bicubic2d_aa": "bicubic, antialias",
}


AT_RANDOM = "it draws numbers at random: no symmetry can be said of one pass"
RANDOM = frozenset({
    "bernoulli", "cauchy", "exponential", "geometric", "log_normal", "multinomial", "native_dropout", "normal",
    "poisson", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "random", "randperm", "uniform",
})  # fmt: skip
UNHEARD = "eqviz does not know what this operation does to positions and channels"
NOT_FOLLOWED = (
    dict.fromkeys(
        ("gather", "scatter", "scatter_add", "scatter_reduce", "take", "take_along_dim", "index_add", "max_unpool2d"),
        "it takes or puts numbers at places of their own for every number",
    )
    | dict.fromkeys(
        ("sort", "topk", "argsort", "median", "kthvalue", "mode", "argmax", "argmin", "nanmedian"),
        "it picks by rank",
    )
    | dict.fromkeys(
        ("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"),
        "it runs along one axis in one direction",
    )
    | dict.fromkeys(
        ("grid_sampler_2d", "grid_sampler", "affine_grid_generator", "deform_conv2d", "roi_align", "roi_pool"),
        "it samples at places that are computed",
    )
    | dict.fromkeys(
        ("_fft_r2c", "_fft_c2c", "_fft_c2r", "stft"),
        "it works on frequencies",
    )
    | dict.fromkeys(RANDOM, AT_RANDOM)
)
"""Operations that no rule is known for, and why."""


def follow(trace: Interpretation, function: Any, given: Sequence[Any], keywords: Arguments, out: Any) -> list[Value]:
    """What is known of the outputs of an operation. Raises CannotFollow where no rule says it."""
    name = function._schema.name.split("::")[1]
    plain = name[:-1] if name.endswith("_") and not name.endswith("__") else name
    named = arguments(function, given, keywords)
    if plain in SIMPLE:
        return [SIMPLE[plain](trace, named)]
    if plain in WITH_OUTPUT:
        found = WITH_OUTPUT[plain](trace, named, out)
        return found if isinstance(found, list) else [found]
    if plain in SEVERAL:
        return [pointwise.several(trace, named, SEVERAL[plain], plain)]
    if plain in BINARY:
        return [pointwise.binary(trace, named, plain)]
    if plain in REDUCTIONS and "self" in named and "other" not in named:
        return [statistics.reduction(trace, named, plain)]
    if plain in INTERPOLATION:
        target = out.shape[-2:]
        return [interpolation.interpolate(trace, named, function, INTERPOLATION[plain], target)]
    if plain in pointwise.MONOTONE or plain in pointwise.OTHER_FUNCTIONS:
        return [_function(trace, function, named, plain)]
    if plain in ("max", "min") and "other" in named:
        return [pointwise.binary(trace, named, plain)]
    if plain in ("prelu", "_prelu_kernel"):
        return [pointwise.with_constants(trace, trace.value(named["self"]), [_per_channel(trace, named)], "prelu")]
    raise CannotFollow(NOT_FOLLOWED.get(plain, UNHEARD))


def _function(trace: Interpretation, function: Any, named: Arguments, name: str) -> Value:
    others = {key: item for key, item in named.items() if key != "self"}
    if any(isinstance(item, Tensor) for item in others.values()):
        if "other" not in named:
            raise CannotFollow("a function of several tensors")
        return pointwise.binary(trace, named, name)
    in_place = function._schema.name.endswith("_")

    def applied(number: Tensor) -> Tensor:
        found = function(number.clone() if in_place else number, **others)
        return found if isinstance(found, Tensor) else torch.full_like(number, float("nan"))

    return pointwise.function(trace, named, name, applied)


def _per_channel(trace: Interpretation, named: Arguments) -> Tensor:
    weight: Tensor = named["weight"]
    count = len(trace.value(named["self"]).dims)
    return weight.reshape([-1 if place == 1 else 1 for place in range(count)]) if weight.dim() == 1 else weight
