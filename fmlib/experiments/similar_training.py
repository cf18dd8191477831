"""Trainings of chapter 09: how networks begin, what is added to their loss, what is measured."""

import copy
from functools import partial
from typing import Annotated, Any, Literal, get_args

import torch
from pydantic import Field
from torch import Tensor, nn

from fmlib.data import Dataset
from fmlib.decorrelation import decov, orthogonality_regularizer
from fmlib.experiments.common import Count, OwnNetwork, Result
from fmlib.models import ModelName, layer_table, parameter_count
from fmlib.similarity import (
    convolutions,
    dead_share,
    decompose,
    initialize,
    kernel_cosine,
    layer_map_cosine,
    regularizer,
)
from fmlib.training import Penalty, TrainConfig, evaluate, fit

Condition = Literal[
    "baseline",
    "initialized",
    "regularized",
    "strong",
    "shrunk",
    "restored",
    "unit",
    "complete",
    "unit_strong",
    "decay",
    "orthogonal",
    "orthogonality",
    "decov",
]
"""How a network begins and what is added to its loss; `CONDITION_NAMES` says it in words."""
CONDITIONS: tuple[Condition, ...] = get_args(Condition)
CONDITION_NAMES: dict[Condition, str] = {
    "baseline": "baseline",
    "initialized": "initialization",
    "regularized": "regularizer, β = 0.001",
    "strong": "regularizer, β = 0.1",
    "shrunk": "initial weights shrunk alike",
    "restored": "initialization, norms restored",
    "unit": "initialization, unit norms",
    "complete": "initialization, unit norms, all pairs",
    "unit_strong": "regularizer, unit norms",
    "decay": "weight decay",
    "orthogonal": "orthogonal initialization",
    "orthogonality": "orthogonality regularizer",
    "decov": "DeCov",
}
Steps = Literal["sgd", "momentum", "adam"]
STEPS: dict[Steps, dict[str, Any]] = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "adam": {"optimizer": "adam"},
}
"""Optimizers: gradient descent without and with momentum, and Adam."""
STEP_FACTORS: dict[Steps, float] = {"sgd": 1.0, "momentum": 0.1, "adam": 0.01}
"""What the learning rate is multiplied by; momentum makes steps ten times as long."""
BETA, STRONG = 0.001, 0.1
"""Factor of the regularizer, the paper's and one that is felt in networks of this size."""
UNIT_BETA, ORTHOGONALITY_BETA = 0.01, 0.01
DECOV_BETAS: dict[ModelName, float] = {"base_cnn": 0.1, "compact_cnn": 0.1}
"""Factors of DeCov, tried on a seed of their own."""
DECAYS: dict[ModelName, float] = {"base_cnn": 0.015, "compact_cnn": 0.011}
"""Factors of the squared norm that end in the norms of `strong`, tried on a seed of their own."""
COMPLETE: dict[str, Any] = {"pairs": "all", "channels": "all"}
"""All pairs of filters and of channels: what orthogonal maps of any image need."""
MAP_IMAGES = 200
"""Training images whose maps are compared."""
CURVE_POINTS = 50
"""Values that are kept of a minimization."""


class Similar(OwnNetwork):
    """What a training needs, in the chapter and in recorded runs."""

    epochs: Count
    batch_size: Count
    iterations: Annotated[int, Field(ge=0)]
    n_probed: Count

    def train_config(self, epochs: int, batch_size: int, seed: int) -> TrainConfig:
        """Gradient descent without momentum."""
        return self.stepping("sgd", seed).model_copy(
            update={"epochs": epochs, "batch_size": batch_size}
        )

    def stepping(self, steps: Steps, seed: int) -> TrainConfig:
        """Settings of one training with an optimizer; batches are computed whole."""
        return TrainConfig(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate * STEP_FACTORS[steps],
            seed=seed,
            device=self.arithmetic[1],
            micro_batch=self.batch_size,
            **STEPS[steps],
        )


# --- how a network begins, and what is added to its loss -----------------------------------


def norms(model: nn.Module) -> list[Tensor]:
    """Norm of every filter (filters, 1, 1, 1), layer by layer."""
    return [
        layer.weight.detach().flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
        for layer in convolutions(model).values()
    ]


@torch.no_grad()
def _rescale(model: nn.Module, wanted: list[Tensor]) -> None:
    """Give every filter its norm."""
    for layer, own, norm in zip(convolutions(model).values(), norms(model), wanted, strict=True):
        layer.weight *= norm / own.clamp_min(torch.finfo(own.dtype).tiny)


@torch.no_grad()
def _shrink(model: nn.Module, wanted: list[Tensor]) -> None:
    """Multiply the weights of each layer by one factor, to a whole norm."""
    for layer, own, norm in zip(convolutions(model).values(), norms(model), wanted, strict=True):
        layer.weight *= norm.norm() / own.norm()


@torch.no_grad()
def _orthogonal(model: nn.Module, seed: int) -> None:
    """Draw orthogonal kernels; more filters than numbers in one are as orthogonal as can be."""
    generator = torch.Generator().manual_seed(seed)
    for layer in convolutions(model).values():
        drawn = torch.empty(layer.weight.shape, dtype=layer.weight.dtype)
        layer.weight.copy_(nn.init.orthogonal_(drawn, generator=generator))


def begin(model: nn.Module, condition: Condition, iterations: int, seed: int) -> list[float]:
    """Change fresh weights as a condition says; returns the loss that was minimized, by step.

    All conditions but `initialized` and `shrunk` leave the norm of every filter as it was drawn.
    """
    drawn = norms(model)
    if condition in ("initialized", "restored"):
        losses = initialize(model, iterations)
        if condition == "restored":
            _rescale(model, drawn)
        return losses
    if condition in ("unit", "complete"):
        options = COMPLETE if condition == "complete" else {}
        losses = initialize(model, iterations, unit_norm=True, **options)
        _rescale(model, drawn)
        return losses
    if condition == "shrunk":
        other = copy.deepcopy(model)
        initialize(other, iterations)
        _shrink(model, norms(other))
    if condition == "orthogonal":
        _orthogonal(model, seed)
        _rescale(model, drawn)
    return []


def _decay(model: nn.Module, images: Tensor, beta: float) -> Tensor:
    weights = [layer.weight.square().sum() for layer in convolutions(model).values()]
    return beta * torch.stack(weights).sum()


def _decov(model: nn.Module, images: Tensor, last: str, beta: float) -> Tensor:
    """DeCov of a layer's maps, computed as in training: normalized over these images."""
    assert isinstance(model, nn.Sequential)
    names = [name for name, _ in model.named_children()]
    return beta * decov(model[: names.index(last) + 1](images))


def penalty(condition: Condition, network: ModelName, last: str) -> Penalty | None:
    """What a condition adds to the loss, if anything; `last` is the layer of the last maps."""
    found: dict[str, Penalty] = {
        "regularized": lambda model, _: regularizer(model, BETA),
        "strong": lambda model, _: regularizer(model, STRONG),
        "unit_strong": lambda model, _: regularizer(model, UNIT_BETA, unit_norm=True),
        "decay": partial(_decay, beta=DECAYS.get(network, 0.0)),
        "orthogonality": lambda model, _: orthogonality_regularizer(model, ORTHOGONALITY_BETA),
        "decov": partial(_decov, last=last, beta=DECOV_BETAS.get(network, 0.0)),
    }
    return found.get(condition)


# --- what is measured ------------------------------------------------------------------------


class Measures(Result):
    """What is measured of a network at one time.

    Attributes:
        loss, norms: Convolutional Similarity, and what random kernels of these norms have.
        unit: the scale-free value with all filters at norm 1: about 1 for random kernels.
        complete: the same over all pairs of filters and of channels.
        kernel_cosine: mean squared cosine of pairs of filters, a mean over the layers.
        maps: mean absolute cosine of pairs of maps, by layer.
        dead: percent of maps that are nowhere above 0, by layer.
    """

    loss: float
    norms: float
    unit: float
    complete: float
    kernel_cosine: float
    maps: dict[str, float]
    dead: dict[str, float]


def map_layers(model: nn.Module, dataset: Dataset) -> list[str]:
    """Layers whose maps are compared: convolutions, activations and stages, in order."""
    kinds = ("Conv2d", "ReLU", "Sequential")
    rows = layer_table(copy.deepcopy(model).eval(), dataset.image_shape)
    return [row.name for row in rows if row.kind in kinds and len(row.shape) == 3]


@torch.no_grad()
def measure(model: nn.Module, images: Tensor, layers: list[str]) -> Measures:
    """Everything that is measured of a network, with the maps of some images."""
    split, unit = decompose(model), decompose(model, unit_norm=True)
    cosines = [kernel_cosine(layer.weight).item() for layer in convolutions(model).values()]
    return Measures(
        loss=split.loss,
        norms=split.norms,
        unit=unit.scale_free,
        complete=decompose(model, unit_norm=True, **COMPLETE).scale_free,
        kernel_cosine=sum(cosines) / len(cosines),
        maps={layer: layer_map_cosine(model, images, layer).item() for layer in layers},
        dead={layer: dead_share(model, images, layer) for layer in layers},
    )


class Course(Result):
    """One training from fresh weights.

    Attributes:
        minimized_at, minimized: steps before training, and the loss that was minimized then.
        drawn, begun, trained: what is measured of fresh weights, of those that training begins
            with, and of those it ends in.
        losses: mean classification loss of each epoch.
        train_accuracies, test_accuracies: in percent after each epoch.
        similarity, norms: Convolutional Similarity and its norms, by epoch from 0.
        diverged: whether the loss was no finite number any more, which ended the training.
    """

    minimized_at: tuple[int, ...]
    minimized: tuple[float, ...]
    drawn: Measures
    begun: Measures
    trained: Measures
    losses: tuple[float | None, ...]
    train_accuracies: tuple[float, ...]
    test_accuracies: tuple[float, ...]
    similarity: tuple[float, ...]
    norms: tuple[float, ...]
    diverged: bool
    parameters: int


class Watched:
    """Follows a training epoch by epoch, on some training images."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels
        self.accuracies: list[float] = []
        self.similarity: list[float] = []
        self.norms: list[float] = []

    def __call__(self, epoch: int, model: nn.Module) -> None:
        """Note what the model is like after an epoch; 0 is before training."""
        split = decompose(model)
        self.similarity.append(split.loss)
        self.norms.append(split.norms)
        if epoch:
            self.accuracies.append(evaluate(model, self.images, self.labels))


def train(
    settings: Similar, dataset: Dataset, condition: Condition, seed: int,
    steps: Steps = "sgd", **options: Any,
) -> Course:  # fmt: skip
    """Train a fresh network in one way, and measure it before and after.

    `options` go to the network, such as its width.
    """
    model = settings.model(dataset, seed, **options)
    layers = map_layers(model, dataset)
    probed = dataset.train_images[: settings.n_probed]
    look = partial(measure, images=probed[:MAP_IMAGES], layers=layers)
    drawn = look(model)
    minimized = begin(model, condition, settings.iterations, seed)
    begun = look(model)
    watched = Watched(probed, dataset.train_labels[: len(probed)])
    watched(0, model)
    history = fit(
        model,
        dataset.train_images,
        dataset.train_labels,
        settings.stepping(steps, seed),
        test=(dataset.test_images, dataset.test_labels),
        after_epoch=watched,
        penalty=penalty(condition, settings.network, layers[-1]),
    )
    places = sorted({round(i * (len(minimized) - 1) / CURVE_POINTS) for i in range(51)})
    return Course(
        minimized_at=tuple(places) if minimized else (),
        minimized=tuple(minimized[place] for place in places) if minimized else (),
        drawn=drawn,
        begun=begun,
        trained=look(model),
        losses=tuple(epoch.loss for epoch in history.epochs),
        train_accuracies=tuple(watched.accuracies),
        test_accuracies=tuple(a for a in history.test_accuracies if a == a),
        similarity=tuple(watched.similarity),
        norms=tuple(watched.norms),
        diverged=history.divergence is not None,
        parameters=parameter_count(model),
    )
