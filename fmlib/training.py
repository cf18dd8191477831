"""The one training loop on tensors in memory, with an optional policy that skips images."""

import math
import time
from collections.abc import Callable
from typing import Literal, Protocol, runtime_checkable

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from fmlib.models import chunk_size
from fmlib.models import evaluating as evaluating

Optimizer = Literal["sgd", "adam", "adadelta"]
AfterEpoch = Callable[[int, nn.Module], None]
"""Called with the number of an epoch, from 1, and the model as it is then."""
Augment = Callable[[Tensor], Tensor]
"""Called with the images (B, C, H, W) of a step; returns what is trained on in their place."""
Schedule = Callable[[float | None], float]
"""Called with the test accuracy after an epoch, None where none is measured; returns what the
learning rate is multiplied by."""

Penalty = Callable[[nn.Module, Tensor], Tensor]
"""A number for a model and the images (M, C, H, W) of a step, which training lowers too."""

Report = dict[str, list[float | None]]
"""Numbers of one epoch by name, one per class; None where a number is undefined."""


class TrainConfig(BaseModel):
    """Settings of one training run; the defaults are those of anand2022.

    Attributes:
        epochs: how often every image is visited.
        batch_size: images of one step, before a policy leaves some of them out.
        learning_rate: step size of the optimizer.
        momentum: of SGD; the others have none.
        optimizer: `sgd`, `adam` or `adadelta`.
        seed: orders the batches.
        device: `cpu` or `cuda`.
        micro_batch: images computed at a time; None: `fmlib.models.chunk_size`.
        bf16: compute convolutions and linear layers in bfloat16.
        progress: show a bar.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=0.01, gt=0, allow_inf_nan=False)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    optimizer: Optimizer = "sgd"
    seed: int = Field(default=0, ge=0)
    device: str = "cpu"
    micro_batch: int | None = Field(default=None, ge=1)
    bf16: bool = False
    progress: bool = False


class EpochResult(BaseModel):
    """What happened in one epoch; per-class numbers are ordered by class.

    Attributes:
        epoch: its number, from 1.
        loss: mean over the steps; None if it is not a finite number.
        test_accuracy: in percent; None where none was measured.
        seen: images visited.
        trained: images trained on.
        seen_per_class: images visited.
        skipped_per_class: images that the policy left out.
        steps: number of steps taken.
        seconds: time of training alone; look-ups of the policy are included, evaluation is not.
        policy: what the policy reports.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: int
    loss: float | None
    test_accuracy: float | None
    seen: int
    trained: int
    seen_per_class: tuple[int, ...]
    skipped_per_class: tuple[int, ...]
    steps: int
    seconds: float
    policy: Report = {}

    @property
    def skipped(self) -> int:
        """Images that the policy removed, in total."""
        return self.seen - self.trained


class Divergence(BaseModel):
    """Where a run stopped because its loss was no longer a finite number.

    Attributes:
        epoch: number of the epoch, from 1.
        step: number of the step in that epoch, from 1.
        loss: what the loss was, `nan` or `inf`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: int
    step: int
    loss: str


class History(BaseModel):
    """All epochs of a run, and where it diverged if it did."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: tuple[EpochResult, ...]
    divergence: Divergence | None = None

    @property
    def test_accuracies(self) -> list[float]:
        """Test accuracy in percent after each epoch; NaN where none was measured."""
        nan = float("nan")
        return [nan if e.test_accuracy is None else e.test_accuracy for e in self.epochs]


class Policy(Protocol):
    """Decides which images of a batch are trained on; see `fmlib.caching` and `fmlib.skipping`.

    `images` (N, C, H, W) and `labels` (N,) are the whole training set, `index` (B,) the
    positions of the batch in it, so that a policy that needs few images need not copy them all.
    """

    def start_epoch(self) -> None:
        """Called before the first batch of an epoch."""

    def keep(self, images: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        """Boolean mask (B,) of the images to train on."""
        ...

    def after_step(self, images: Tensor, labels: Tensor, kept: Tensor, index: Tensor) -> None:
        """Called with the batch's mask (B,) after the step."""

    def report(self) -> Report:
        """Numbers of the epoch that just ended, to be stored with it."""
        ...


@runtime_checkable
class Weighing(Policy, Protocol):
    """A policy that also sees the losses of the images trained on, and may weigh them."""

    def weigh(self, losses: Tensor, index: Tensor) -> Tensor:
        """Called with losses (M,) of kept images and their positions (M,) before the gradients.

        What it returns, (M,), is averaged over the kept images of the batch in place of the
        losses.  A batch may come in several parts.
        """
        ...


def fit(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    config: TrainConfig,
    *,
    policy: Policy | None = None,
    test: tuple[Tensor, Tensor] | None = None,
    after_epoch: AfterEpoch | None = None,
    augment: Augment | None = None,
    schedule: Schedule | None = None,
    penalty: Penalty | None = None,
) -> History:
    """Train `model` in place on the negative log-likelihood.

    Args:
        model: returns log-probabilities (N, classes).
        images: (N, C, H, W) as the model takes them.
        labels: (N,) class numbers.
        config: settings; `config.seed` orders the batches.  Batches larger than
            `config.micro_batch` (None: `fmlib.models.chunk_size`) are computed in parts whose
            gradients are added up.  `config.bf16` has the convolutions and linear layers of
            a float32 model computed in bfloat16, with two to three digits.
        policy: removes images from each batch before the step; None trains on all.  One that
            is `Weighing` also weighs the losses of the others.
        test: images and labels evaluated after every epoch.
        after_epoch: looks at the model after every epoch; it must not change its weights.
        augment: changes the images of every step, such as by flips.
        schedule: changes the learning rate after every epoch.
        penalty: its gradient is added once a step; the history's loss is without it.

    Returns:
        The history.  A NaN or infinite loss ends the run before the weights are touched;
        the history then says at which step.

    Raises:
        ValueError: images and labels that do not fit, a device that is not there, a model that
            does not return log-probabilities.
    """
    images, labels = prepare(images, labels, config)
    model.to(images.device).train()
    n_classes = int(labels.max().item()) + 1
    optimizer = _optimizer(model, config)
    order = torch.Generator().manual_seed(config.seed)
    results: list[EpochResult] = []
    for epoch in tqdm(range(1, config.epochs + 1), disable=not config.progress, unit="epoch"):
        started = time.perf_counter()
        counter = Counter(n_classes)
        divergence = None
        if policy is not None:
            policy.start_epoch()
        for batch in torch.randperm(len(images), generator=order).split(config.batch_size):
            batch = batch.to(images.device)
            loss = _step(
                model, optimizer, images, labels, batch, policy, counter, config, augment, penalty
            )
            if not math.isfinite(loss):
                divergence = Divergence(epoch=epoch, step=counter.steps, loss=str(loss))
                break
        seconds = time.perf_counter() - started
        accuracy = evaluate(model, *test) if test is not None else None
        report = policy.report() if policy is not None else {}
        results.append(counter.result(epoch, accuracy, seconds, report))
        if divergence is not None:
            return History(epochs=tuple(results), divergence=divergence)
        if schedule is not None:
            factor = schedule(accuracy)
            for group in optimizer.param_groups:
                group["lr"] *= factor
        if after_epoch is not None:
            after_epoch(epoch, model)
    return History(epochs=tuple(results))


def _optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer of the settings; weights without gradients stay as they are."""
    if config.momentum and config.optimizer != "sgd":
        raise ValueError(
            f"momentum is {config.momentum}, which {config.optimizer} does not take; give 0, or "
            "optimizer='sgd'"
        )
    if config.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    if config.optimizer == "adadelta":
        return torch.optim.Adadelta(model.parameters(), lr=config.learning_rate)
    return torch.optim.SGD(model.parameters(), lr=config.learning_rate, momentum=config.momentum)


def prepare(images: Tensor, labels: Tensor, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Images and labels on the device of the settings, or ValueError if these cannot be used."""
    if len(images) != len(labels) or len(images) == 0:
        raise ValueError(
            f"there are {len(images)} images and {len(labels)} labels; give as many, at least one"
        )
    if config.bf16 and images.dtype != torch.float32:
        raise ValueError(f"bf16 is for float32 images and models; these images are {images.dtype}")
    device = check_device(config.device)
    _keep_freed_memory()
    return images.to(device), labels.to(device)


def _keep_freed_memory() -> None:
    """Have glibc keep up to 64 MB of freed memory instead of giving it back after every layer.

    It raises its thresholds when a block of nearly 32 MB is freed; the block itself is never
    touched.  Without this a sixth to a third of the training time goes into page faults.
    Elsewhere nothing happens.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    batch: Tensor,
    policy: Policy | None,
    counter: "Counter",
    config: TrainConfig,
    augment: Augment | None,
    penalty: Penalty | None,
) -> float:
    """One training step on the kept images of a batch; returns the loss."""
    kept = None if policy is None else policy.keep(images, labels, batch)
    chosen = batch if kept is None else batch[kept]
    counter.count(labels[batch], kept)
    loss = 0.0
    if len(chosen) > 0:
        optimizer.zero_grad(set_to_none=True)
        weighing = policy if isinstance(policy, Weighing) else None
        loss = _add_gradients(model, images, labels, chosen, weighing, config, augment)
        counter.add_loss(loss)
        if loss < 0:
            raise ValueError(
                f"the loss is {loss:.3g}, below 0, so that the model's outputs are no "
                "log-probabilities; let the model end in nn.LogSoftmax(dim=1)"
            )
        if not math.isfinite(loss):
            return loss
        if penalty is not None:
            penalty(model, images[chosen]).backward()
        optimizer.step()
    if policy is not None and kept is not None:
        policy.after_step(images, labels, kept, batch)
    return loss


def _add_gradients(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    chosen: Tensor,
    weighing: Weighing | None,
    config: TrainConfig,
    augment: Augment | None,
) -> float:
    """Mean loss of the chosen images; its gradient is computed and added up part by part."""
    loss = torch.zeros((), dtype=images.dtype, device=images.device)
    for part in chosen.split(config.micro_batch or chunk_size(images)):
        with torch.autocast(images.device.type, torch.bfloat16, enabled=config.bf16):
            outputs = model(images[part] if augment is None else augment(images[part]))
        if weighing is None:
            summed = F.nll_loss(outputs, labels[part], reduction="sum")
        else:
            losses = F.nll_loss(outputs, labels[part], reduction="none")
            summed = weighing.weigh(losses, part).sum()
        part_loss = summed / len(chosen)
        part_loss.backward()
        loss += part_loss.detach()
    return loss.item()


class Counter:
    """Adds up what happens during one epoch."""

    def __init__(self, n_classes: int) -> None:
        self._n_classes = n_classes
        self._seen = torch.zeros(n_classes, dtype=torch.long)
        self._trained = torch.zeros(n_classes, dtype=torch.long)
        self._losses: list[float] = []
        self.steps = 0

    def count(self, labels: Tensor, kept: Tensor | None) -> None:
        per_class = labels.bincount(minlength=self._n_classes).cpu()
        self._seen += per_class
        if kept is None:
            self._trained += per_class
        else:
            self._trained += labels[kept].bincount(minlength=self._n_classes).cpu()

    def add_loss(self, loss: float) -> None:
        self._losses.append(loss)
        self.steps += 1

    def result(
        self,
        epoch: int,
        accuracy: float | None,
        seconds: float,
        report: dict[str, list[float | None]],
    ) -> EpochResult:
        mean = sum(self._losses) / len(self._losses) if self._losses else float("nan")
        return EpochResult(
            epoch=epoch,
            loss=mean if math.isfinite(mean) else None,
            test_accuracy=accuracy,
            seen=int(self._seen.sum()),
            trained=int(self._trained.sum()),
            seen_per_class=tuple(self._seen.tolist()),
            skipped_per_class=tuple((self._seen - self._trained).tolist()),
            steps=self.steps,
            seconds=seconds,
            policy=report,
        )


def check_device(name: str) -> torch.device:
    """The device of that name, or ValueError saying what there is."""
    available = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    if name.split(":")[0] not in available:
        raise ValueError(f"device {name!r} is not available; choose one of {', '.join(available)}")
    return torch.device(name)


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, chunk: int | None = None) -> Tensor:
    """Predicted classes (N,) of images (N, C, H, W), on the device of the images."""
    device = next(model.parameters()).device
    # Written into one tensor: what small tensors lie between the layers' outputs in memory keeps
    # that from being used again, and it grows by megabytes with every chunk.
    predicted = torch.empty(len(images), dtype=torch.long, device=device)
    chunk = chunk or chunk_size(images)
    with evaluating(model):
        for part, found in zip(images.split(chunk), predicted.split(chunk), strict=True):
            found.copy_(model(part.to(device)).argmax(dim=1))
    return predicted.to(images.device)


def evaluate(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Accuracy in percent: correct predictions over all images (N, C, H, W)."""
    if len(images) == 0:
        raise ValueError("there are no images to evaluate; give at least one")
    correct = (predict(model, images) == labels.to(images.device)).sum().item()
    return 100 * correct / len(images)
