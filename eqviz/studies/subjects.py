"""What an analysis is asked about: one checkpoint, and the test images it is shown."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from eqviz.data.images import LabelledImages
from eqviz.fields.grid_action import mask_disc
from eqviz.studies.devices import choose_device
from eqviz.studies.measuring import network_ingredients
from eqviz.studies.measuring_settings import Settings
from eqviz.studies.run_folders import Run
from eqviz.studies.scoring import no_accuracy

Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Subject:
    """A run at a saved epoch and its test images, in units of 0 to 1; the network is built when it is first needed."""

    run: Run
    epoch: int
    settings: Settings
    images: LabelledImages

    @cached_property
    def model(self) -> nn.Module:
        """The network with its weights, on the device of the settings, in eval mode."""
        return self.run.build(self.epoch).to(self.device)

    @cached_property
    def device(self) -> str:
        """Where it runs."""
        return choose_device(self.settings.device)

    @cached_property
    def no_accuracy(self) -> str:
        """Why it has no accuracy, in words; "" if it has one."""
        return no_accuracy(self.run, self.model, self.images)

    @property
    def group(self) -> str:
        """The group it is measured under."""
        return self.settings.group or self.run.group

    def chosen(self, count: int) -> LabelledImages:
        """At most `count` of the images, the same for every analysis that wants as many."""
        return self.images.take(min(count, len(self.images)), self.run.data.seed)

    def shown(self, chosen: LabelledImages) -> Tensor:
        """These images as the network gets them: normalised, and without what lies outside the disc if so set."""
        normalised = self.run.normalisation.apply(torch.from_numpy(chosen.images))
        return mask_disc(normalised) if self.settings.mask else normalised

    def ingredients(self) -> dict[str, Any]:
        """All that what is found depends on, but for the analysis itself and its images."""
        return {
            **network_ingredients(self.run, self.epoch, self.settings),
            "normalisation": asdict(self.run.normalisation),
            "data": self.images.fingerprint(),
            "mask": self.settings.mask,
            "device": self.device,
            "group": self.group,
            "layers": self.settings.layers,
            "batch_size": self.settings.batch_size,
        }
