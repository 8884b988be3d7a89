"""Networks as people have them, in plain PyTorch and in e2cnn: nothing here knows of eqviz.

Given with `--import analyses.foreign_models`, its classes are models by their names.
"""

import torch
from torch import nn


class PlainNet(nn.Module):
    """Three convolutions, two maximum pools, global average pool; returns (scores, features)."""

    def __init__(self, in_channels: int = 1, classes: int = 10, width: int = 12) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(),
        )  # fmt: skip
        self.classifier = nn.Linear(2 * width, classes)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.features(images)
        return self.classifier(features.mean((2, 3))), features


class SteerableNet(nn.Module):
    """Three e2cnn convolutions between regular fields, the second with stride 2, and a group pool.

    `flips` chooses D4 in place of C4. With its stride it is exact on images of odd size.
    """

    def __init__(self, classes: int = 10, width: int = 6, flips: bool = False) -> None:
        super().__init__()
        from e2cnn import gspaces
        from e2cnn import nn as enn

        space = gspaces.FlipRot2dOnR2(4) if flips else gspaces.Rot2dOnR2(4)
        image = enn.FieldType(space, [space.trivial_repr])
        inner = enn.FieldType(space, width * [space.regular_repr])
        self.input_type = image
        self.conv1 = enn.R2Conv(image, inner, 5, padding=2, bias=False)
        self.norm1 = enn.InnerBatchNorm(inner)
        self.relu1 = enn.ReLU(inner)
        self.conv2 = enn.R2Conv(inner, inner, 3, padding=1, stride=2, bias=False)
        self.norm2 = enn.InnerBatchNorm(inner)
        self.relu2 = enn.ReLU(inner)
        self.conv3 = enn.R2Conv(inner, inner, 5, padding=2, bias=False)
        self.norm3 = enn.InnerBatchNorm(inner)
        self.relu3 = enn.ReLU(inner)
        self.group_pool = enn.GroupPooling(inner)
        self.classifier = nn.Linear(width, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        from e2cnn import nn as enn

        features = self.relu1(self.norm1(self.conv1(enn.GeometricTensor(images, self.input_type))))
        features = self.relu2(self.norm2(self.conv2(features)))
        features = self.relu3(self.norm3(self.conv3(features)))
        return self.classifier(self.group_pool(features).tensor.mean((2, 3)))
