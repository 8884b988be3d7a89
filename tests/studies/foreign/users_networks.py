"""Networks of somebody who knows nothing of eqviz: a group convolution that declares nothing, a class that fails."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Turned(nn.Module):
    """One filter in four turns, `(batch, channel, turn, height, width)`; the largest turn, the mean, scores."""

    def __init__(self, channels: int = 2, classes: int = 10) -> None:
        super().__init__()
        self.lift = Lift(channels)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.fc(self.relu(self.lift(images)).amax(2).mean((2, 3)))
        return scores


class Lift(nn.Module):
    """A convolution with each turn of its filters."""

    def __init__(self, channels: int = 2) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, 1, 3, 3))

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([F.conv2d(images, torch.rot90(self.weight, turn, (2, 3))) for turn in range(4)], 2)


class Fails(nn.Module):
    """Cannot be built."""

    def __init__(self, channels: int = 2) -> None:
        raise RuntimeError("no\nsuch network")


class Small(nn.Module):
    """A convolution, the mean, scores: of ordinary filters."""

    def __init__(self, classes: int = 10, kernel: int = 3, pretrained: bool = False, weights_path: str = "") -> None:
        super().__init__()
        if pretrained or weights_path:
            raise SystemExit("fetches something")
        self.conv = nn.Conv2d(1, 2, kernel)
        self.fc = nn.Linear(2, classes)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.fc(self.conv(images).mean((2, 3)))
        return scores
