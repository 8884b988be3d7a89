"""A network of e2cnn's as people write them; imported where the library works only."""

from e2cnn import gspaces
from e2cnn import nn as enn
from torch import Tensor, nn


class Steered(nn.Module):
    """A convolution between fields, its pools and scores; `flips` adds reflections."""

    def __init__(self, channels: int = 1, classes: int = 10, flips: bool = False) -> None:
        super().__init__()
        space = gspaces.FlipRot2dOnR2(4) if flips else gspaces.Rot2dOnR2(4)
        self.images = enn.FieldType(space, [space.trivial_repr])
        fields = enn.FieldType(space, channels * [space.regular_repr])
        self.conv = enn.R2Conv(self.images, fields, 3, padding=1)
        self.relu = enn.ReLU(fields)
        self.pool = enn.GroupPooling(fields)
        self.fc = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.pool(self.relu(self.conv(enn.GeometricTensor(images, self.images)))).tensor
        scores: Tensor = self.fc(maps.mean((2, 3)))
        return scores
