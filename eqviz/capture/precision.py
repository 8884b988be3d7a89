"""The same network in float64, and how much float32 rounds in each of its layers."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from eqviz.capture.float64_constants import make_constants_in_float64
from eqviz.capture.hooks import watching
from eqviz.capture.layers import select_layers
from eqviz.capture.orbit_capture import image_batches
from eqviz.capture.steerable_filters import polish_filters
from eqviz.fields.layer_calls import LayerCall, placement
from eqviz.fields.module_states import copied


def in_float64(model: nn.Module) -> nn.Module:
    """A copy of the model in float64; on the CPU where its device has no float64 (MPS).

    Of steerable libraries more than the weights is in float32: what keeps the copy from being one in float64 is mended
    (:func:`make_constants_in_float64`), and filters are freed from the rounding of their stored bases
    (:func:`polish_filters`).
    """
    device, _ = placement(model)
    fine = copied(model).to("cpu" if device.type == "mps" else device).double()
    make_constants_in_float64(fine)
    polish_filters(fine)
    if not any(tensor.is_floating_point() for tensor in (*fine.parameters(), *fine.buffers())):
        # images go in in the dtype of the weights: without any, this says that it is float64
        fine.register_buffer("float64", torch.empty(0, dtype=torch.float64), persistent=False)
    return fine


def rounding_energy(
    model: nn.Module, images: Any, layers: str | Iterable[str] = "*", batch_size: int = 64
) -> dict[LayerCall, float]:
    """Energy of the rounding error of each layer, |Phi - Phi_64|^2 / |Phi_64|^2, pooled over images.

    Phi runs in the model's own dtype, Phi_64 in float64 with the same weights. NaN for a dead layer. One batch of all
    layers is kept at a time, so a few images do.

    >>> import torch
    >>> errors = rounding_energy(nn.Conv2d(1, 1, 3), torch.rand(2, 1, 8, 8))
    >>> 0 < errors[LayerCall("(output)", 0)] < 1e-12
    True
    """
    device, dtype = placement(model)
    fine = in_float64(model)
    fine_device, _ = placement(fine)
    exact: dict[LayerCall, Tensor] = {}
    errors: dict[LayerCall, float] = {}
    energies: dict[LayerCall, float] = {}

    def keep(key: LayerCall, module: nn.Module, source: Tensor | None, output: Tensor) -> None:
        del module, source
        exact[key] = output.clone()

    def compare(key: LayerCall, module: nn.Module, source: Tensor | None, output: Tensor) -> None:
        del module, source
        reference = exact.pop(key, None)
        if reference is None or reference.shape != output.shape:
            return  # a layer that does something else in float64 has no rounding to speak of
        difference = output.to(reference.device).double() - reference
        errors[key] = errors.get(key, 0.0) + float(difference.square().sum())
        energies[key] = energies.get(key, 0.0) + float(reference.square().sum())

    with (
        watching(fine, select_layers(fine, layers), keep) as fine_watch,
        watching(model, select_layers(model, layers), compare) as watch,
    ):
        for batch in image_batches(images, batch_size):
            # both networks see the same numbers: the input as the model's dtype holds it
            images_in_dtype = batch.to(device, dtype)
            fine_watch.run(images_in_dtype.to(fine_device).double())
            watch.run(images_in_dtype)
    return {key: errors[key] / energies[key] if energies[key] else float("nan") for key in errors}
