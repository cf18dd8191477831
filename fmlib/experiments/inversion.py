"""Chapter 07, first half: images found again from a layer's features (masum2022, III-B)."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from torch import Tensor, nn

from fmlib.experiments.common import Count, Result
from fmlib.experiments.feature_evolution import Epochs
from fmlib.experiments.looks import Looking, LookingRun, Network, as_sequential, train
from fmlib.features import feature_maps
from fmlib.models import class_layer
from fmlib.visualization.inversion import (
    InversionConfig,
    invert,
    mean_distance,
    reconstruction_error,
)
from fmlib.visualization.sanity import ssim
from fmlib.visualization.upconvolution import DecoderConfig, reconstruct, train_decoder

Way = Literal["gradient", "up-convolution"]
State = Literal["trained", "untrained"]
VARIATIONS = (0.1, 1.0, 10.0, 100.0)
"""Weights of the total variation that are tried for each layer."""
TUNED = 6
"""Training images that they are tried on."""
MEASURED = 200
"""Test images whose mean distance is the unit of errors."""


class Inverting(Looking):
    """What inversion needs, in the chapter and in recorded runs."""

    n_inverted: Count
    steps: Count
    n_decoder: Count
    decoder_epochs: Count


def states(network: Network) -> dict[State, nn.Sequential]:
    """The network after training and before."""
    return {"trained": network.model, "untrained": as_sequential(network.snapshots.model(0))}


class Inverted(NamedTuple):
    """Pictures (N, C, H, W) found from a layer, and how near they come to the images.

    `errors` (N,) are distances from the images, that of different images being 1; `similarity`
    (N,) is the structural similarity, at most 1.
    """

    layer: str
    pictures: Tensor
    errors: Tensor
    similarity: Tensor


class Task(NamedTuple):
    """What is inverted: the images, those that may be learnt from, and the unit of errors."""

    images: Tensor
    train_images: Tensor
    distance: float

    def measured(self, layer: str, pictures: Tensor) -> Inverted:
        """Pictures of the images, measured."""
        errors = reconstruction_error(pictures, self.images, self.distance)
        return Inverted(layer, pictures, errors, ssim(pictures, self.images, span=1))

    def tuning(self) -> "Task":
        """The same for the training images that weights are tried on."""
        return self._replace(images=self.train_images[:TUNED])


def task(settings: Inverting) -> Task:
    """The first test images, to be found again."""
    dataset = settings.load()
    distance = mean_distance(dataset.test_images[:MEASURED])
    train_images = dataset.train_images[: settings.n_decoder]
    return Task(dataset.test_images[: settings.n_inverted], train_images, distance)


def mean_image_error(given: Task) -> float:
    """Error of the training images' mean: what can be had without looking at the features."""
    mean = given.train_images.mean(dim=0).expand_as(given.images)
    return given.measured("", mean).errors.mean().item()


def looked_into(settings: Looking, model: nn.Module) -> list[str]:
    """The layers that are inverted: those of the settings, and the one of the logits."""
    return [*settings.layers, class_layer(model)]


def by_gradient(
    model: nn.Module, layer: str, given: Task, variation: float, steps: int, seed: int
) -> Inverted:
    """Pictures found by gradient descent (Mahendran and Vedaldi 2015)."""
    config = InversionConfig(steps=steps, variation=variation)
    shape = given.images.shape
    features = feature_maps(model, given.images, [layer])[layer]
    pictures = invert(model, layer, features, (shape[1], shape[2], shape[3]), config, seed)
    return given.measured(layer, pictures)


def by_network(model: nn.Module, layer: str, given: Task, epochs: int, seed: int) -> Inverted:
    """Pictures that an up-convolutional network gives (Dosovitskiy and Brox 2016)."""
    found = train_decoder(model, layer, given.train_images, DecoderConfig(epochs=epochs), seed)
    features = feature_maps(model, given.images, [layer])[layer]
    return given.measured(layer, reconstruct(found, features))


def best_variations(
    settings: Inverting, models: Mapping[State, nn.Module], given: Task, seed: int
) -> dict[str, float]:
    """For each layer the weight of the total variation whose pictures come nearest.

    On training images, over all models alike, with half of the steps.
    """
    tuning, steps = given.tuning(), max(1, settings.steps // 2)
    found = {}
    for layer in looked_into(settings, models["trained"]):
        errors = [
            sum(
                by_gradient(model, layer, tuning, weight, steps, seed).errors.mean().item()
                for model in models.values()
            )
            for weight in VARIATIONS
        ]
        found[layer] = VARIATIONS[errors.index(min(errors))]
    return found


def all_by_gradient(
    settings: Inverting, model: nn.Module, given: Task, weights: Mapping[str, float], seed: int
) -> dict[str, Inverted]:
    """Every layer inverted by gradient descent."""
    return {
        layer: by_gradient(model, layer, given, weight, settings.steps, seed)
        for layer, weight in weights.items()
    }


def all_by_network(
    settings: Inverting, model: nn.Module, given: Task, seed: int
) -> dict[str, Inverted]:
    """Every layer inverted by a network of its own."""
    return {
        layer: by_network(model, layer, given, settings.decoder_epochs, seed)
        for layer in looked_into(settings, model)
    }


def by_epoch(
    settings: Inverting, network: Network, given: Task, weights: Mapping[str, float], seed: int
) -> dict[int, dict[str, Inverted]]:
    """Every layer inverted by gradient descent: before training, at the epochs shown, after it."""
    return {
        epoch: all_by_gradient(settings, model, given, weights, seed)
        for epoch, model in network.snapshots.models()
    }


# --- recorded runs -----------------------------------------------------------------------------


class InversionRun(LookingRun, Inverting):
    """One recorded network whose layers are inverted in both ways; its images are bundled."""

    shown_epochs: Epochs = (0, 2, 23)
    n_inverted: Count = 24
    steps: Count = 400
    n_decoder: Count = 4000
    decoder_epochs: Count = 8

    @property
    def label(self) -> str:
        """Network and number of images."""
        return f"{self.network.replace('_', '-')}-{self.n_train}"

    @property
    def cost(self) -> float:
        """Images that a gradient is computed of."""
        looks = (len(self.layers) + 1) * len(self.shown_epochs)
        each = self.n_inverted * self.steps + self.n_decoder * self.decoder_epochs
        return self.epochs * self.n_train + looks * each

    def run(self) -> "Inversions":
        """Train the network, and invert it at every epoch shown."""
        network, given = train(self, self.seed), task(self)
        weights = best_variations(self, states(network), given, self.seed)
        gradient = by_epoch(self, network, given, weights, self.seed)
        trained = {
            epoch: all_by_network(self, model, given, self.seed)
            for epoch, model in network.snapshots.models()
        }
        return Inversions(
            accuracies=tuple(network.history.test_accuracies),
            shown_epochs=tuple(gradient),
            variations=weights,
            mean_image=mean_image_error(given),
            errors={
                "gradient": _numbers([*gradient.values()], "errors"),
                "up-convolution": _numbers([*trained.values()], "errors"),
            },
            similarities={
                "gradient": _numbers([*gradient.values()], "similarity"),
                "up-convolution": _numbers([*trained.values()], "similarity"),
            },
        )


def _numbers(
    epochs: Sequence[Mapping[str, Inverted]], name: Literal["errors", "similarity"]
) -> dict[str, tuple[float, ...]]:
    """Means over the images by layer, an entry per epoch."""
    return {
        layer: tuple(float(getattr(one[layer], name).mean()) for one in epochs)
        for layer in epochs[0]
    }


class Inversions(Result):
    """How near inversion comes to the images, of one seed.

    Attributes:
        accuracies: test accuracy in percent by epoch.
        shown_epochs: epochs of the numbers below, the first one before training.
        variations: weight of the total variation by layer.
        mean_image: error of the mean training image.
        errors: mean distance from the images, that of different images being 1, by way and layer.
        similarities: mean structural similarity, likewise.
    """

    accuracies: tuple[float, ...]
    shown_epochs: tuple[int, ...]
    variations: dict[str, float]
    mean_image: float
    errors: dict[Way, dict[str, tuple[float, ...]]]
    similarities: dict[Way, dict[str, tuple[float, ...]]]
