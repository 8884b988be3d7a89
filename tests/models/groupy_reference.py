"""The GrouPy lineage again, by brute force: layers, published networks, files of weights as their scripts write them.

Nothing of eqviz is used. From the lineage's own index conventions: a point of the plane is (u, v), u along rows and v
along columns; an element (m, r) has the matrix M^m R^r on it, R = [[c, -s], [s, c]] and M = diag(-1, 1); over p4 it
stands at r of the group axis, over p4m at 4 m + r; a filter w moved by g is w(g^-1 h, g^-1 x) at the element h and the
point x; filters turn about their centre, for even kernels between the points.
"""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

_QUARTERS = [(1, 0), (0, 1), (-1, 0), (0, -1)]  # cosine and sine of r quarter turns


def matrix(element: int) -> np.ndarray:
    m, r = divmod(element, 4)
    c, s = _QUARTERS[r]
    return np.diag([-1 if m else 1, 1]) @ np.array([[c, -s], [s, c]])


def position(found: np.ndarray) -> int:
    """Which element has that matrix: m from its determinant, r from its second row, which no mirror changes."""
    m = 0 if round(np.linalg.det(found)) == 1 else 1
    return 4 * m + _QUARTERS.index((found[1, 1], found[1, 0]))


def quotient(g: int, h: int) -> int:
    """The position of g^-1 h; matrices are orthogonal."""
    return position(matrix(g).T @ matrix(h))


def moved(w: np.ndarray, g: int, fibre_out: int) -> np.ndarray:
    """The filter (out, in, fibre_in, k, k) moved by g, entry by entry."""
    fibre_in, k = w.shape[2], w.shape[-1]
    centre, found = (k - 1) / 2, np.empty_like(w)
    for h, u, v in product(range(fibre_in), range(k), range(k)):
        x = matrix(g).T @ np.array([u - centre, v - centre]) + centre
        source = quotient(g, h) if fibre_in == fibre_out else 0
        found[:, :, h, u, v] = w[:, :, source, round(x[0]), round(x[1])]
    return found


class GConv(nn.Module):
    """P4ConvZ2, P4ConvP4, P4MConvZ2 and P4MConvP4M, plain or separable (g, gc), by their sizes of the group axes."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        fibres: tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        kind: str = "",
    ) -> None:
        super().__init__()
        self.fibres, self.stride, self.padding, k = fibres, stride, padding, kernel_size
        if kind and fibres[0] > 1:
            spatial = (in_channels,) if kind == "g" else (1, 1)
            self.depthwise_weight = nn.Parameter(torch.randn(out_channels, *spatial, k, k) / k)
            self.pointwise_weight = nn.Parameter(torch.randn(out_channels, in_channels, fibres[0], 1, 1))
        else:
            self.weight = nn.Parameter(torch.randn(out_channels, in_channels, fibres[0], k, k) / k)
        self.bias = nn.Parameter(torch.randn(out_channels)) if bias else None

    def filter(self) -> np.ndarray:
        """w[o, i, h] = what is learned of the plane x what is learned of channels and group, where it is separable."""
        own = {name: value.detach().numpy() for name, value in self.named_parameters()}
        if "weight" in own:
            return own["weight"]
        plane, group = own["depthwise_weight"], own["pointwise_weight"]
        found = np.empty((*group.shape[:3], *plane.shape[-2:]))
        for o, i, h in product(*map(range, group.shape[:3])):
            found[o, i, h] = group[o, i, h, 0, 0] * (plane[o, 0, 0] if plane.ndim == 5 else plane[o, i])
        return found

    def forward(self, maps: Tensor) -> Tensor:
        """The sum at every output position, for every orientation and every input orientation."""
        x = maps.detach().numpy()
        x = x[:, :, None] if x.ndim == 4 else x
        x = np.pad(x, [(0, 0)] * 3 + [(self.padding, self.padding)] * 2)
        w, k = self.filter(), self.filter().shape[-1]
        rows, columns = ((length - k) // self.stride + 1 for length in x.shape[-2:])
        out = np.zeros((len(x), len(w), self.fibres[1], rows, columns), x.dtype)
        for g in range(self.fibres[1]):
            turned = moved(w, g, self.fibres[1])
            for h, row, column in product(range(self.fibres[0]), range(rows), range(columns)):
                top, left = row * self.stride, column * self.stride
                window = x[:, :, h, top : top + k, left : left + k].reshape(len(x), -1)
                out[:, :, g, row, column] += window @ turned[:, :, h].reshape(len(w), -1).T
        if self.bias is not None:
            out += self.bias.detach().numpy()[:, None, None, None]
        return torch.from_numpy(out)


class Family:
    """The layers of one group ("Z2", "P4", "P4M"), by the names their authors give them."""

    def __init__(self, name: str, kind: str = "") -> None:
        self.order, self.kind = {"Z2": 1, "P4": 4, "P4M": 8}[name], kind

    def lifting(self, in_channels: int, out_channels: int, **options: Any) -> nn.Module:
        if self.order == 1:
            return nn.Conv2d(in_channels, out_channels, 3, **options)
        return GConv(in_channels, out_channels, 3, fibres=(1, self.order), **options)

    def conv(self, in_channels: int, out_channels: int, kernel_size: int, **options: Any) -> nn.Module:
        if self.order == 1:
            return nn.Conv2d(in_channels, out_channels, kernel_size, **options)
        kind = "" if kernel_size == 1 else self.kind  # their 1x1 convolutions are ordinary ones
        return GConv(in_channels, out_channels, kernel_size, fibres=(self.order, self.order), kind=kind, **options)

    def norm(self, channels: int) -> nn.Module:
        return nn.BatchNorm2d(channels) if self.order == 1 else nn.BatchNorm3d(channels)

    def max_pool(self, maps: Tensor) -> Tensor:
        return F.max_pool2d(maps.flatten(1, -3), 2).unflatten(1, maps.shape[1:-2])

    def coset_max(self, maps: Tensor) -> Tensor:
        return maps if self.order == 1 else maps.max(2).values


class Cnn(nn.Module):
    """The MNIST network: `conv1..conv7`, `fc`, `bn1..bn7`; log-probabilities. Pools after layer 2, or 2 and 3."""

    def __init__(
        self, group: str, in_channels: int = 3, classes: int = 10, channels: int = 2, pools: int = 2, kind: str = ""
    ) -> None:
        super().__init__()
        self.family, self.pools = Family(group, kind), pools
        self.conv1 = self.family.lifting(in_channels, channels, padding=1)
        for layer in range(2, 7):
            self.add_module(f"conv{layer}", self.family.conv(channels, channels, 3, padding=1))
        self.conv7 = self.family.conv(channels, channels, 4)
        self.fc = nn.Linear(channels, classes)
        for layer in range(1, 8):
            self.add_module(f"bn{layer}", self.family.norm(channels))

    def forward(self, x: Tensor) -> Tensor:
        for layer in range(1, 8):
            x = F.relu(self.get_submodule(f"bn{layer}")(self.get_submodule(f"conv{layer}")(x)))
            if layer == 2 or (layer == 3 and self.pools == 2):
                x = self.family.max_pool(x)
        return F.log_softmax(self.fc(self.family.coset_max(x.mean((-2, -1)))), 1)


class Block(nn.Module):
    """Batch norm and ReLU before each convolution; the shortcut starts from the block's raw input."""

    def __init__(self, family: Family, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = family.conv(before, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = family.norm(before)
        self.conv2 = family.conv(width, width, 3, padding=1, bias=False)
        self.bn2 = family.norm(width)
        self.downsample: nn.Module | None = None
        if stride != 1 or before != width:
            shortcut = family.conv(before, width, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, family.norm(width))

    def forward(self, x: Tensor) -> Tensor:
        residual = self.conv2(F.relu(self.bn2(self.conv1(F.relu(self.bn1(x))))))
        return residual + (x if self.downsample is None else self.downsample(x))


class ResNet(nn.Module):
    """`layers.S.B` (scores and maps) or, for histology, `layer1..layer3` (scores); `fc` on C or C*|G| numbers."""

    def __init__(
        self,
        group: str,
        blocks: Sequence[int],
        widths: Sequence[int],
        in_channels: int = 3,
        classes: int = 10,
        coset_max: bool = False,
        histology: bool = False,
        kind: str = "",
    ) -> None:
        super().__init__()
        self.family, self.coset_max, self.histology = Family(group, kind), coset_max or histology, histology
        self.conv1 = self.family.lifting(in_channels, widths[0], padding=1, bias=False)
        self.bn1 = self.family.norm(widths[-1])
        stages, before = [], widths[0]
        for number, (count, width) in enumerate(zip(blocks, widths, strict=True)):
            first = Block(self.family, before, width, 2 if number else 1)
            stages.append(nn.Sequential(first, *(Block(self.family, width, width, 1) for _ in range(count - 1))))
            before = width
        self.stages = [f"layer{n}" if histology else f"layers.{n - 1}" for n in range(1, len(stages) + 1)]
        if histology:
            for name, stage in zip(self.stages, stages, strict=True):
                self.add_module(name, stage)
        else:
            self.layers = nn.ModuleList(stages)
        self.fc = nn.Linear(widths[-1] * (1 if self.coset_max else self.family.order), classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = self.conv1(x)
        for name in self.stages:
            x = self.get_submodule(name)(x)
        x = F.relu(self.bn1(x))
        if self.histology:
            return self.fc(self.family.coset_max(x.mean((-2, -1))))
        pooled = self.family.coset_max(x) if self.coset_max else x.flatten(1, -3)
        return self.fc(pooled.mean((-2, -1))), x


def trained(network: nn.Module, seed: int = 0) -> nn.Module:
    """`network` with statistics and scales of batch norms as after some training: none is 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            for value in (module.weight.data, module.running_var):
                value.uniform_(0.5, 1.5, generator=generator)
            for value in (module.bias.data, module.running_mean):
                value.uniform_(-0.5, 0.5, generator=generator)
    return network.eval()


def save(network: nn.Module, path: Path, *, epoch: int = 25, parallel: bool = False, bare: bool = False) -> None:
    """A file as training scripts write it: epoch, state dict and optimizer, or the bare state dict.

    `parallel`: names start with `module.`, as those of nn.DataParallel do.
    """
    state = {("module." if parallel else "") + name: value for name, value in network.state_dict().items()}
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01).state_dict()
    torch.save(state if bare else {"epoch": epoch, "state_dict": state, "optimizer": optimizer}, path)


def write_folder(
    folder: Path, sizes: Sequence[int] = (8, 9), seeds: Sequence[int] = (0, 1), **arguments: int
) -> dict[str, nn.Module]:
    """`p4_n8_seed0_epoch25.pth.tar` and so on, of one-pool P4, P4M and Z2 networks; the networks by name of their file.

    Exact on even sizes, `p4cnn`, `p4mcnn` and `z2cnn` of eqviz with the same arguments: one channel unless told
    otherwise, two hidden ones. The P4M files have names with `module.`, the Z2 files are bare state dicts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for group, size, seed in product(("P4", "P4M", "Z2"), sizes, seeds):
        torch.manual_seed(seed)
        network = trained(Cnn(group, **{"in_channels": 1, "pools": 1, **arguments}).float(), seed)
        name = f"{group.lower()}_n{size}_seed{seed}_epoch25.pth.tar"
        save(network, folder / name, parallel=group == "P4M", bare=group == "Z2")
        written[name] = network
    return written
