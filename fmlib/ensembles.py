"""Several models of one architecture trained at once: their weights stacked, one pass for all.

`fit_many` is `fmlib.training.fit` for many seeds.  It is meant for devices that one small model
leaves mostly idle, such as a GPU.  A CPU is none of them: 3 or 8 base CNNs in batches of 64 or 512
MNIST images, on one thread, took 1.1 to 1.4 times as long as one after the other.
"""

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from tqdm import tqdm

from fmlib.models import chunk_size
from fmlib.training import Counter, Divergence, History, Policy, TrainConfig, evaluate, prepare

Labelled = tuple[Tensor, Tensor]
"""Images (N, C, H, W) and labels (N,)."""


def fit_many(
    models: Sequence[nn.Module],
    images: Tensor,
    labels: Tensor,
    config: TrainConfig,
    seeds: Sequence[int],
    *,
    policies: Sequence[Policy | None] | None = None,
    test: Labelled | None = None,
) -> list[History]:
    """Train models in place, each as `fit` would with its own seed, up to rounding.

    Args:
        models: of one architecture; they return log-probabilities (N, classes) image by image:
            no layer draws at random or mixes the images of a batch.
        images: (N, C, H, W) as the models take them.
        labels: (N,) class numbers.
        config: settings of all members; its seed is not used.
        seeds: one per model, orders its batches.
        policies: one per model, or None for a model that trains on all images; each is asked
            and told as by `fit`, and may look at its own model.
        test: images and labels evaluated after every epoch.

    Returns:
        One history per model.  A NaN or infinite loss ends the run of its model, as in `fit`,
        and the others go on.  An epoch's `seconds` are those of all models together.

    Raises:
        ValueError: models of different architectures, or not as many seeds, policies and models.
    """
    policies = [None] * len(models) if policies is None else policies
    _check(models, len(seeds), len(policies))
    data = prepare(images, labels, config)
    members = [_Member(*each) for each in zip(models, seeds, policies, strict=True)]
    ensemble = _Ensemble(members, data, config)
    try:
        for epoch in tqdm(range(1, config.epochs + 1), disable=not config.progress, unit="epoch"):
            if any(member.running for member in members):
                ensemble.epoch(epoch, test)
    finally:
        ensemble.release()
    return [member.history for member in members]


def _check(models: Sequence[nn.Module], seeds: int, policies: int) -> None:
    n = len({id(model) for model in models})
    if not n == len(models) == seeds == policies or n == 0:
        raise ValueError(
            f"there are {n} different models, {seeds} seeds and {policies} policies; "
            "give as many of each, at least one"
        )
    states = [[(name, v.shape, v.dtype) for name, v in m.state_dict().items()] for m in models]
    if len({str(model) for model in models}) > 1 or states.count(states[0]) < n:
        raise ValueError("models differ in layers, sizes or types; give models of one architecture")


class _Member:
    """One model, and what `fit` would know of its run."""

    def __init__(self, model: nn.Module, seed: int, policy: Policy | None) -> None:
        self.model, self.policy = model, policy
        self.order = torch.Generator().manual_seed(seed)
        self.history = History(epochs=())

    @property
    def running(self) -> bool:
        """Whether every loss so far was a finite number."""
        return self.history.divergence is None

    def start_epoch(self, n_classes: int) -> None:
        """Count anew, and tell the policy."""
        self.counter = Counter(n_classes)
        if self.policy is not None:
            self.policy.start_epoch()

    def keep(self, images: Tensor, labels: Tensor, batch: Tensor) -> Tensor:
        """Mask (n,) of the images to train on; none once the run has ended."""
        if not self.running:
            return torch.zeros_like(batch, dtype=torch.bool)
        kept = torch.ones_like(batch, dtype=torch.bool)
        if self.policy is not None:
            kept = self.policy.keep(images, labels, batch)
        self.counter.count(labels[batch], kept)
        return kept

    def take(self, epoch: int, loss: float) -> None:
        """Write down the loss of a step; an undefined one ends the run."""
        self.counter.add_loss(loss)
        if not math.isfinite(loss):
            end = Divergence(epoch=epoch, step=self.counter.steps, loss=str(loss))
            self.history = self.history.model_copy(update={"divergence": end})

    def end_epoch(self, epoch: int, seconds: float, test: Labelled | None) -> None:
        """Evaluate, and write down what `fit` would of the epoch."""
        accuracy = None if test is None else evaluate(self.model, *test)
        report = {} if self.policy is None else self.policy.report()
        epochs = (*self.history.epochs, self.counter.result(epoch, accuracy, seconds, report))
        self.history = self.history.model_copy(update={"epochs": epochs})


class _Ensemble:
    """The members' weights in one tensor per layer; until `release` the models' are views of it.

    So policies and evaluation see the current weights, and one optimizer over the models'
    parameters moves them; it leaves alone those that are given no gradient.
    """

    def __init__(self, members: list[_Member], data: Labelled, config: TrainConfig) -> None:
        self.members, self.config, (self.images, self.labels) = members, config, data
        models = [member.model.to(self.images.device).train() for member in members]
        self.weights, self.buffers = stack_module_state(models)
        self.forward = torch.vmap(lambda *state: functional_call(models[0], state[:2], state[2]))
        self.rows = [
            (row, own, self.weights[name])
            for row, model in enumerate(models)
            for name, own in model.named_parameters()
        ]
        for row, own, stacked in self.rows:
            own.data = stacked.data[row]
        self.optimizer = torch.optim.SGD(
            [own for _, own, _ in self.rows], lr=config.learning_rate, momentum=config.momentum
        )

    def release(self) -> None:
        """Give each model weights of its own again."""
        self.optimizer.zero_grad(set_to_none=True)
        for _, own, _ in self.rows:
            own.data = own.data.clone()

    def epoch(self, number: int, test: Labelled | None) -> None:
        """One epoch of the members that are still running."""
        started = time.perf_counter()
        running = [member for member in self.members if member.running]
        n_classes = int(self.labels.max().item()) + 1
        for member in running:
            member.start_epoch(n_classes)
        orders = [torch.randperm(len(self.images), generator=m.order) for m in self.members]
        for batches in torch.stack(orders).to(self.images.device).split(self.config.batch_size, 1):
            self.step(number, batches)
        seconds = time.perf_counter() - started
        for member in running:
            member.end_epoch(number, seconds, test)

    def step(self, epoch: int, batches: Tensor) -> None:
        """One step of every member on its row of the batches (M, n), as in `fit`."""
        each = list(zip(self.members, batches, strict=True))
        kept = torch.stack([m.keep(self.images, self.labels, batch) for m, batch in each])
        losses, counts = self.backward(batches, kept), kept.sum(1).tolist()
        for member, loss, count in zip(self.members, losses, counts, strict=True):
            if count:
                member.take(epoch, loss)
        for row, own, stacked in self.rows:
            steps = counts[row] and self.members[row].running and stacked.grad is not None
            own.grad = stacked.grad[row] if steps else None
        self.optimizer.step()
        for (member, batch), mask in zip(each, kept, strict=True):
            if member.policy is not None and member.running:
                member.policy.after_step(self.images, self.labels, mask, batch)

    def backward(self, batches: Tensor, kept: Tensor) -> list[float]:
        """Gradients of the stacked weights; returns each member's mean loss over its kept images.

        The kept images of each row come first; where another member keeps more, the row's
        first image stands behind them at weight 0.
        """
        for stacked in self.weights.values():
            stacked.grad = None
        counts, total = kept.sum(1), torch.zeros(len(kept), dtype=torch.float64)
        order = kept.byte().argsort(dim=1, descending=True, stable=True)[:, : counts.max()]
        real = kept.gather(1, order)  # (M, n), n the largest count
        index = batches.gather(1, torch.where(real, order, order[:, :1]))  # (M, n)
        size = self.config.micro_batch or chunk_size(self.images)
        for part, mask in zip(index.split(size, 1), real.split(size, 1), strict=True):
            with torch.autocast(part.device.type, torch.bfloat16, enabled=self.config.bf16):
                outputs = self.forward(self.weights, self.buffers, self.images[part])  # (M, n, K)
            losses = -outputs.gather(2, self.labels[part][..., None])[..., 0]  # (M, n)
            means = losses.masked_fill(~mask, 0).sum(1) / counts.clamp_min(1)  # (M,)
            means.sum().backward()
            total += means.detach().cpu()
        return total.tolist()
