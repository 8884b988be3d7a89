"""The training loop, on lightning's Trainer; the one module that imports lightning (the extra `train`)."""

import logging
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]  # lightning does not list it in __all__
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessRaisedException
from torch.nn import functional as F
from torch.optim import lr_scheduler

from eqviz.errors import EqvizError
from eqviz.studies.batches import Batches, Share, TrainingData
from eqviz.studies.devices import Placement
from eqviz.studies.settings import PRECISIONS, TrainingSettings
from eqviz.studies.streams import own_randomness, stream_seed

State = dict[str, Any]


@dataclass(frozen=True)
class EpochResult:
    """A row of metrics: mean cross entropy (nats), accuracy (0..1) while training, accuracy on the watched images."""

    epoch: int
    train_loss: float
    train_accuracy: float
    test_accuracy: float
    learning_rate: float
    seconds: float


AfterEpoch = Callable[[EpochResult, State], None]
"""Called after every epoch with its result and the state of optimiser and schedule."""


def fit(
    network: nn.Module, data: TrainingData, settings: TrainingSettings, *, seed: int, placement: Placement, done: int,
    state: Mapping[str, Any] | None, after_epoch: AfterEpoch,
) -> None:  # fmt: skip
    """Train `network` in place from epoch `done` (0: from the start) to the last one.

    `state` is that of optimiser and schedule after epoch `done`. torch's global random state is left as it was. Several
    devices train copies in processes of their own, of which the first calls `after_epoch`; `network` then stays as it
    was here, and each normalises by the batch statistics of its own part. Raises EqvizError when the loss is no longer
    finite, KeyboardInterrupt when interrupted.
    """
    learner = _Learner(network, data, settings, seed, done, state, after_epoch)
    with _quiet(), own_randomness(), _interruptible():
        trainer = Trainer(
            max_epochs=settings.epochs - done, accelerator=placement.kind,
            devices=placement.devices if placement.index is None else [placement.index],
            strategy="auto" if placement.devices == 1 else "ddp_fork", logger=False,
            precision=PRECISIONS[settings.precision],  # type: ignore[arg-type]  # one of lightning's words
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            reload_dataloaders_every_n_epochs=1, use_distributed_sampler=False, plugins=[LightningEnvironment()],
        )  # fmt: skip
        try:
            trainer.fit(learner)
        except ProcessRaisedException as error:  # of one of several devices; its last line says what it was
            last = str(error).strip().splitlines()[-1]
            raise EqvizError(
                "training", expected=f"{placement.devices} devices that train together", found=last[:300],
                fix="see whether one device alone trains it",
            ) from error  # fmt: skip


@torch.no_grad()
def accuracy(network: nn.Module, data: TrainingData, batch_size: int) -> float:
    """The fraction of the watched images classified correctly, in eval mode; the mode is put back afterwards."""
    training, device = network.training, next(network.parameters()).device
    network.eval()
    try:
        batches = zip(
            torch.split(data.monitor_images, batch_size), torch.split(data.monitor_labels, batch_size), strict=True
        )
        correct = sum(int((network(x.to(device)).argmax(1) == y.to(device)).sum()) for x, y in batches)
    finally:
        network.train(training)
    return correct / len(data.monitor_labels)


class _Learner(LightningModule):
    """Cross entropy, one optimiser, a schedule that steps with every batch, and sums of what was seen."""

    def __init__(
        self, network: nn.Module, data: TrainingData, settings: TrainingSettings, seed: int, done: int,
        state: Mapping[str, Any] | None, after_epoch: AfterEpoch,
    ) -> None:  # fmt: skip
        super().__init__()
        self.network = network
        self.data = data
        self.settings = settings
        self.seed = seed
        self.done = done
        self.restored = state
        self.after_epoch = after_epoch

    @property
    def epoch(self) -> int:
        """The epoch under way, counted from 1 over all interruptions."""
        return self.done + self.trainer.current_epoch + 1

    @property
    def share(self) -> Share:
        """The part of every batch that is for this process."""
        return Share(self.trainer.global_rank, self.trainer.world_size)

    def setup(self, stage: str) -> None:
        if self.share.of > 1:  # forked: the threads of the process before are not there
            torch.set_num_threads(1)

    def train_dataloader(self) -> Batches:
        return self.data.batches(self.settings, self.seed, self.epoch, self.share)

    def configure_optimizers(self) -> Any:
        batches = len(self.data.batches(self.settings, self.seed, 1, self.share))
        self.optimiser = _optimiser(self.network, self.settings)
        self.schedule = _schedule(self.optimiser, self.settings, batches)
        if self.restored is not None:
            self._restore(self.restored)
        if self.schedule is None:
            return self.optimiser
        return {"optimizer": self.optimiser, "lr_scheduler": {"scheduler": self.schedule, "interval": "step"}}

    def _restore(self, state: Mapping[str, Any]) -> None:
        try:
            self.optimiser.load_state_dict(state["optimiser"])
            if self.schedule is not None:
                self.schedule.load_state_dict(state["schedule"])
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise EqvizError(
                "resume.pt", expected="the state of an interrupted run", found="that of another optimiser or schedule",
                fix="delete the run folder and train it again",
            ) from error  # fmt: skip

    def on_train_epoch_start(self) -> None:
        purpose = "dropout" if self.share.of == 1 else f"dropout of part {self.share.rank}"
        torch.manual_seed(stream_seed(self.seed, purpose, self.epoch))
        self.started = time.perf_counter()
        self.learning_rate = float(self.optimiser.param_groups[0]["lr"])
        self.correct = torch.zeros((), dtype=torch.int64, device=self.device)
        self.losses: list[Tensor] = []
        self.seen = 0

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        images, labels = batch
        logits = self.network(images)
        loss = F.cross_entropy(logits, labels)
        self.losses.append(loss.detach() * len(labels))
        self.correct += (logits.detach().argmax(1) == labels).sum()
        self.seen += len(labels)
        return loss

    def on_train_epoch_end(self) -> None:
        own = [torch.stack(self.losses).cpu().double().sum(), self.correct, torch.tensor(self.seen)]
        total, correct, seen = (self._over_devices(number) for number in own)
        loss = total / seen
        if not _finite(loss, self.network):
            raise EqvizError(
                f"training, epoch {self.epoch}", expected="a finite loss", found=f"{loss:g} or weights that are not",
                fix="lower the learning rate",
            )  # fmt: skip
        if not self.trainer.is_global_zero:
            return
        watched = accuracy(self.network, self.data, self.settings.batch_size)
        seconds = time.perf_counter() - self.started
        result = EpochResult(self.epoch, loss, correct / seen, watched, self.learning_rate, seconds)
        schedule = None if self.schedule is None else self.schedule.state_dict()
        self.after_epoch(result, {"optimiser": self.optimiser.state_dict(), "schedule": schedule})

    def _over_devices(self, number: Tensor) -> float:
        """The sum of a number over all devices that share the batches."""
        if self.share.of == 1:  # MPS has no float64, and is always alone
            return float(number)
        return float(self.trainer.strategy.reduce(number.double().to(self.device), reduce_op="sum"))


def _finite(loss: float, network: nn.Module) -> bool:
    values = [torch.tensor(loss), *(value for value in network.state_dict().values() if value.is_floating_point())]
    return all(bool(torch.isfinite(value).all()) for value in values)


def _optimiser(network: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    weights, rate, decay = network.parameters(), settings.learning_rate, settings.weight_decay
    if settings.optimiser == "sgd":
        return torch.optim.SGD(weights, rate, momentum=settings.momentum, weight_decay=decay)
    return torch.optim.Adam(weights, rate, weight_decay=decay)


def _schedule(
    optimiser: torch.optim.Optimizer, settings: TrainingSettings, batches: int
) -> lr_scheduler.LRScheduler | None:
    """The schedule, in steps of one batch."""
    schedule = settings.schedule
    if schedule.kind == "steps":
        return lr_scheduler.StepLR(optimiser, schedule.step * batches, schedule.gamma)
    if schedule.kind == "milestones":
        return lr_scheduler.MultiStepLR(optimiser, [epoch * batches for epoch in schedule.milestones], schedule.gamma)
    if schedule.kind == "one_cycle":
        steps = settings.epochs * batches
        cycled = settings.optimiser == "adam" or settings.momentum > 0
        return lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, total_steps=steps, cycle_momentum=cycled)
    return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without lightning's banners, log messages below WARNING, and its own use of what torch is about to rename."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*LeafSpec.* is deprecated", FutureWarning)  # in lightning itself
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _interruptible() -> Iterator[None]:
    """An interrupt stays an interrupt: lightning would turn it into an exit and ignore further ones."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    try:
        yield
    except SystemExit as leaving:
        if isinstance(leaving.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)
