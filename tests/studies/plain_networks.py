"""Small networks of the kinds that people have: none of them was written for eqviz, none declares a field type."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Vgg(nn.Module):
    """Convolutions, pools, an adaptive pool and a classifier on flattened features, named as torchvision names them."""

    def __init__(self, in_channels: int = 1, classes: int = 10, channels: int = 2) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
            nn.MaxPool2d(2), nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d((2, 2))
        self.classifier = nn.Sequential(nn.Linear(4 * channels, 8), nn.ReLU(True), nn.Dropout(), nn.Linear(8, classes))

    def forward(self, images: Tensor) -> Any:
        return self.classifier(torch.flatten(self.avgpool(self.features(images)), 1))


class Block(nn.Module):
    """A residual block as torchvision names it."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = nn.Conv2d(channels, channels, 1, stride) if stride > 1 else None

    def forward(self, maps: Tensor) -> Tensor:
        skipped = maps if self.downsample is None else self.downsample(maps)
        inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(maps)))))
        return self.relu(inner + skipped)


class ResNet(nn.Module):
    """Stem, pool, two stages, pool, classifier. `output` is what it returns: logits, a pair, a dict or an embedding."""

    def __init__(
        self, in_channels: int = 1, classes: int = 10, channels: int = 2, blocks: int = 1, output: str = "logits"
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(*(Block(channels, 1) for _ in range(blocks)))
        self.layer2 = nn.Sequential(Block(channels, 2), *(Block(channels, 1) for _ in range(blocks - 1)))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, classes)
        self.output = output

    def forward(self, images: Tensor) -> Any:
        maps = self.layer2(self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(images))))))
        pooled = torch.flatten(self.avgpool(maps), 1)
        outputs = {
            "logits": lambda: self.fc(pooled),
            "pair": lambda: (self.fc(pooled), maps),
            "dict": lambda: {"logits": self.fc(pooled), "features": pooled},
            "embedding": lambda: F.normalize(pooled, dim=1),
        }
        return outputs[self.output]()


class UNet(nn.Module):
    """One level down and up again, with a skip: scores for every pixel, for fewer of them without padding."""

    def __init__(self, in_channels: int = 1, classes: int = 3, channels: int = 2, padding: int = 1) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(in_channels, channels, 3, padding=padding), nn.ReLU(inplace=True))
        self.pool = nn.MaxPool2d(2)
        self.middle = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True))
        self.up = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.merge = nn.Conv2d(2 * channels, channels, 3, padding=padding)
        self.head = nn.Conv2d(channels, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        fine = self.down(images)
        coarse = self.up(self.middle(self.pool(fine)))
        fine = fine[..., : coarse.shape[-2], : coarse.shape[-1]]
        result: Tensor = self.head(F.relu(self.merge(torch.cat([fine, coarse], 1))))
        return result


class Vit(nn.Module):
    """Patches, a class token, positions, encoder layers and a head. Without `placed` it is told no positions."""

    def __init__(
        self, in_channels: int = 1, classes: int = 10, size: int = 8, patch: int = 2, channels: int = 4, depth: int = 1,
        placed: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.patch_embed = nn.Conv2d(in_channels, channels, patch, stride=patch)
        self.cls_token = nn.Parameter(torch.randn(1, 1, channels))
        self.positions = nn.Parameter(placed * torch.randn(1, (size // patch) ** 2 + 1, channels))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(channels, 2, 2 * channels, batch_first=True) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(channels)
        self.head = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patch_embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], 1) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        scores: Tensor = self.head(self.norm(tokens)[:, 0])
        return scores


class ChannelsLast(nn.Module):
    """A block with a depthwise convolution whose norm and linear layers see the channels last."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, maps: Tensor) -> Tensor:
        last = self.norm(self.dwconv(maps).permute(0, 2, 3, 1))
        result: Tensor = maps + self.pwconv2(self.act(self.pwconv1(last))).permute(0, 3, 1, 2)
        return result


class ConvNext(nn.Module):
    """A patch stem, one such block and a head."""

    def __init__(self, in_channels: int = 1, classes: int = 10, channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, channels, 2, stride=2)
        self.stages = nn.Sequential(ChannelsLast(channels))
        self.head = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.head(self.stages(self.stem(images)).mean((-2, -1)))
        return scores


REASONS = {
    "sequence": "no field type for activations of shape (batch, 2, 16)",
    "gru[0]": "no field type for activations of shape (batch, 16, 2)",
    "gru[1]": "no batch of",
    "complex": "complex64, not floating point",
    "largest[1]": "int64, not floating point",
    "nothing": "with no tensor in it",
    "never": "it never ran",
    "cropped": "its output changes size from batch to batch",
}
"""Layers, and what the reason for leaving each out says."""


class Awkward(nn.Module):
    """Layers that eqviz has to leave out: see `REASONS`."""

    def __init__(self, in_channels: int = 1, classes: int = 10, channels: int = 2) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.pyramid = nn.Conv2d(channels, channels, 3, padding=1)
        self.sequence = nn.Conv1d(channels, channels, 3, padding=1)
        self.gru = nn.GRU(channels, channels, batch_first=True)
        self.complex, self.largest, self.nothing, self.cropped = Spectrum(), Largest(), Nothing(), Cropped()
        self.never = nn.Linear(1, 1)
        self.fc = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = F.relu(self.conv(images))
        self.complex(maps), self.largest(maps), self.nothing(maps), self.cropped(maps)
        small = self.pyramid(F.avg_pool2d(self.pyramid(maps), 2))
        _, state = self.gru(self.sequence(small.flatten(2)).transpose(1, 2))
        scores: Tensor = self.fc(state[0])
        return scores


class Spectrum(nn.Module):
    """Gives out complex numbers."""

    def forward(self, maps: Tensor) -> Tensor:
        return torch.fft.fft2(maps.float())


class Largest(nn.Module):
    """Gives out the largest entries and where they are."""

    def forward(self, maps: Tensor) -> Any:
        return maps.flatten(2).max(-1)


class Nothing(nn.Module):
    """Gives out no tensor."""

    def forward(self, maps: Tensor) -> str:
        return "done"


class Cropped(nn.Module):
    """Gives out maps of another size for batches of another length."""

    def forward(self, maps: Tensor) -> Tensor:
        side = maps.shape[-1] - len(maps) // 16 % 2
        return maps[..., :side, :side]
