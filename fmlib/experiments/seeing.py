"""Chapter 06: what feature maps see, and how that comes about (masum2022)."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Annotated, Literal, NamedTuple, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib import data
from fmlib.data import Dataset
from fmlib.experiments import looks
from fmlib.experiments.common import (
    Count,
    Result,
    parallel,
    setting,
)
from fmlib.experiments.feature_evolution import Epochs
from fmlib.experiments.looks import (
    SNAPSHOT_BYTES,
    Looking,
    LookingRun,
    LookingSettings,
    Network,
    Trio,
    train,
)
from fmlib.models import COMPACT_WIDTHS, compact_cnn, scale_layer
from fmlib.training import History, evaluate, fit
from fmlib.visualization import filters
from fmlib.visualization.correspondence import (
    Box,
    Correspondence,
    box_masks,
    changes,
    distance,
    moved_at_random,
)
from fmlib.visualization.evolution import Snapshots
from fmlib.visualization.invariance import Transformation
from fmlib.visualization.occlusion import OcclusionMaps

TWIN_SEED, ARCHITECTURE_SEED, SHUFFLED_SEED = 1000, 2000, 3000
"""Added to a seed for networks trained apart."""
SHUFFLED_IMAGES, SHUFFLED_PASSES = 500, 7
"""Images with shuffled labels, and how many times as many epochs they are trained on."""


class Part(NamedTuple):
    """A part of a garment: its name, the garment's class, and where it lies in 28x28 pixels."""

    name: str
    garment: str
    box: Box


PARTS = (
    Part("left sleeve", "T-shirt/top", Box(4, 1, 9, 6)),
    Part("collar", "Pullover", Box(0, 9, 6, 10)),
    Part("left leg", "Trouser", Box(14, 6, 12, 7)),
    Part("shaft", "Ankle boot", Box(2, 14, 9, 10)),
    Part("toe", "Sneaker", Box(12, 0, 9, 8)),
)
"""Parts that lie at one place in all images of a garment, since Fashion-MNIST is aligned."""


class Seeing(Looking):
    """What a look at a trained network needs, in the chapter and in recorded runs."""

    n_looked: Count
    n_garments: Count
    garment_epochs: Count
    draws: Count


class SeeingSettings(LookingSettings, Seeing):
    """Settings of chapter 06."""

    shown_epochs: Epochs = setting(
        (0, 1, 2, 4, 6),
        "epochs after which maps are looked at; 0 is before training",
        smoke=(0, 1),
        paper=(0, 1, 2, 4, 8, 14, 23),
    )
    maps_shown: Count = setting(3, "maps shown of each layer", smoke=1)
    n_looked: Count = setting(
        40, "test images that are transformed, occluded and explained", smoke=6
    )
    square: Count = setting(8, "side of the grey square in pixels")
    stride: Count = setting(2, "pixels from one place of the square to the next", smoke=8)
    n_garments: Count = setting(3000, "images of the network of garments", smoke=300)
    garment_epochs: Count = setting(3, "its epochs", smoke=1)
    draws: Count = setting(20, "times that random parts are hidden", smoke=2)
    seed: Annotated[int, Field(ge=0, lt=2**32)] = setting(0, "seed of weights and batches")

    def check(self) -> Self:
        """Also refuse squares that do not fit."""
        super().check()
        side = min(self.load().image_shape[1:])
        if not self.stride <= self.square <= side:
            raise ValueError(
                f"square is {self.square} and stride {self.stride}; give a square of at most "
                f"{side} pixels, and a stride of at most the square"
            )
        places = -(-(side - self.square) // self.stride) + 1
        if places < 3:
            raise ValueError(
                f"square is {self.square} and stride {self.stride}, so that there are fewer than 3 "
                f"places in a line of {side} pixels; give less of one of them"
            )
        return self


# --- networks ----------------------------------------------------------------------------------


def train_on_shuffled(settings: Seeing, seed: int) -> Network:
    """Train a network until it knows a few images whose labels were dealt out at random.

    What it learns has nothing to do with the classes (Zhang et al. 2017).
    """
    dataset = settings.load()
    images = dataset.train_images[:SHUFFLED_IMAGES]
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    labels = dataset.train_labels[: len(images)][order]
    model = settings.model(dataset, seed + SHUFFLED_SEED)
    snapshots = Snapshots(SNAPSHOT_BYTES, (0,))
    snapshots(0, model)
    epochs = SHUFFLED_PASSES * settings.epochs
    config = settings.train_config(epochs, settings.batch_size, seed)
    history = fit(model, images, labels, config)
    accuracy = evaluate(model, images, labels)
    last = history.epochs[-1].model_copy(update={"test_accuracy": accuracy})
    return Network(model, snapshots, History(epochs=(*history.epochs[:-1], last)))


def train_on_garments(settings: Seeing, seed: int) -> Network:
    """Train a network on Fashion-MNIST and keep it at every epoch."""
    garments = _load_garments(settings)
    model = settings.model(garments, seed, "compact_cnn")
    snapshots = Snapshots(SNAPSHOT_BYTES)
    snapshots(0, model)
    config = settings.train_config(settings.garment_epochs, settings.batch_size, seed)
    images, labels = garments.train_images, garments.train_labels
    return Network(model, snapshots, fit(model, images, labels, config, after_epoch=snapshots))


def _load_garments(settings: Seeing) -> Dataset:
    dtype, device = settings.arithmetic
    return data.load("fashion-mnist", settings.n_garments, 1000, dtype=dtype).to(device)


Task = tuple[Callable[[Seeing, int], Network], Seeing, int]


def _train_one(task: Task) -> Network:
    training, settings, seed = task
    return training(settings, seed)


def networks(settings: SeeingSettings) -> tuple[Trio, Network]:
    """Train the networks of the chapter, several at once; the last one is that of garments."""
    seed = settings.seed
    tasks: list[Task] = [
        (train, settings, seed),
        (train, settings, seed + TWIN_SEED),
        (train_on_shuffled, settings, seed),
        (train_on_garments, settings, seed),
    ]
    *trio, garments = parallel(_train_one, tasks, jobs=2)
    return Trio(*trio), garments


# --- correspondence ----------------------------------------------------------------------------


class Corresponding(NamedTuple):
    """How alike the change is when one part is hidden, for each part: by layer.

    `images` (n, C, H, W) are some of those that were compared.
    """

    part: Part
    images: Tensor
    layers: dict[str, Correspondence]


def corresponding(
    settings: Seeing, seed: int, snapshots: Snapshots
) -> dict[int, list[Corresponding]]:
    """Garments with a part hidden, against random parts, in the last maps and in the output.

    Five images of each garment, as in the paper; before training and after each of its epochs.
    """
    dataset = _load_garments(settings)
    return {
        epoch: _corresponding(settings, model, dataset, seed) for epoch, model in snapshots.models()
    }


def _corresponding(
    settings: Seeing, model: nn.Module, dataset: Dataset, seed: int, n_images: int = 5
) -> list[Corresponding]:
    found = []
    for part in PARTS:
        own = dataset.test_labels == dataset.class_names.index(part.garment)
        images = dataset.test_images[own][:n_images]
        masks = [box_masks(part.box, images)]
        masks += elsewhere(images, masks[0], settings.draws, seed)
        layers = {}
        for layer in ("act3", "fc"):
            hidden, *others = (
                distance(one) for one in changes(model, images, masks, layer, fill=0)
            )
            random = torch.tensor([one.mean for one in others], dtype=torch.float64)
            layers[layer] = Correspondence(hidden, random)
        found.append(Corresponding(part, images, layers))
    return found


def agreement(found: Sequence[Corresponding]) -> dict[str, float]:
    """How much more alike a part's changes are than random ones', by layer.

    The Hamming distance of random parts less that of the part, a mean over the parts.
    """
    return {
        layer: fmean(one.layers[layer].random_mean - one.layers[layer].part.mean for one in found)
        for layer in found[0].layers
    }


def elsewhere(images: Tensor, masks: Tensor, draws: int, seed: int) -> list[Tensor]:
    """Masks (N, H, W) of the same shape at random places, each at one place in all images.

    Only places that hide at least as much of the things as the part does, on a black background:
    what hides nothing changes nothing, alike in all images.
    """
    generator = torch.Generator().manual_seed(seed)
    least = (images[:, 0] * masks).sum()
    found: list[Tensor] = []
    while len(found) < draws:
        moved = moved_at_random(masks, generator, together=True)
        if (images[:, 0] * moved).sum() >= least:  # true of the part's own place, so it ends
            found.append(moved)
    return found


# --- all of this by epoch ----------------------------------------------------------------------


class AtEpoch(NamedTuple):
    """One number of a line in a panel: what is measured, of what, after which epoch."""

    measure: Literal["moved", "hidden", "parts"]
    line: str
    epoch: int
    value: float


def at_epochs(
    shown_epochs: Sequence[int],
    moved: Mapping[Transformation, Mapping[str, Sequence[float]]],
    centre: Sequence[float],
    border: Sequence[float],
    agreement: Sequence[Mapping[str, float]],
) -> list[AtEpoch]:
    """How far small moves take layers, what hiding costs, how alike a part's changes are.

    The last is by epochs of the network of garments.
    """
    found = [
        AtEpoch("moved", layer, epoch, value)
        for layer, values in moved["translation"].items()
        for epoch, value in zip(shown_epochs, values, strict=True)
    ]
    for line, falls in {"centre hidden": centre, "border hidden": border}.items():
        found += [
            AtEpoch("hidden", line, epoch, value)
            for epoch, value in zip(shown_epochs, falls, strict=True)
        ]
    for epoch, by_layer in enumerate(agreement):
        found += [AtEpoch("parts", layer, epoch, value) for layer, value in by_layer.items()]
    return found


def by_epoch(
    settings: SeeingSettings,
    network: Network,
    images: Tensor,
    labels: Tensor,
    parts: Mapping[int, Sequence[Corresponding]],
) -> list[AtEpoch]:
    """Invariance, occlusion and correspondence at the epochs shown, of a few images."""
    falls = looks.hidden_by_epoch(
        network, images, labels, settings.layers[-1], settings.square, settings.stride
    )
    return at_epochs(
        network.snapshots.epochs,
        looks.moved_by_epoch(network, images, labels, settings.layers[0]),
        [one.centre for one in falls],
        [one.border for one in falls],
        [agreement(one) for one in parts.values()],
    )


# --- choice of the architecture ----------------------------------------------------------------


class FirstLayer(NamedTuple):
    """A network's first layer: filters, and what they are measured by, in percent."""

    kernel: int
    stride: int
    filters: Tensor
    dead: float
    midrange: float
    aliased: float
    accuracy: float


FIRST_LAYERS = ((11, 4), (7, 2))
"""Sides and strides of the first filters: Krizhevsky's, and Zeiler and Fergus's."""


def first_layers(settings: Seeing, seed: int, jobs: int = 1) -> list[FirstLayer]:
    """Train two networks that differ in their first layer, on images enlarged to 64x64.

    Half of the training images, half as many epochs: enough to tell them apart.
    """
    tasks = [(settings, kernel, stride, seed) for kernel, stride in FIRST_LAYERS]
    return parallel(_first_layer, tasks, jobs)


def _first_layer(task: tuple[Seeing, int, int, int]) -> FirstLayer:
    settings, kernel, stride, seed = task
    dataset = settings.load()
    count = max(1, settings.n_train // 2)
    train_images, test_images = (
        F.interpolate(images, (64, 64), mode="bilinear", align_corners=False)
        for images in (dataset.train_images[:count], dataset.test_images)
    )
    model = strided_cnn(dataset, train_images, kernel, stride, seed, settings.arithmetic[0])
    epochs = max(1, settings.epochs // 2)
    config = settings.train_config(epochs, settings.batch_size, seed)
    fit(model, train_images, dataset.train_labels[: len(train_images)], config)
    layer = model.get_submodule("conv1")
    return FirstLayer(
        kernel,
        stride,
        filters.filter_pictures(layer),
        100 * filters.dead_share(model, test_images, "act1"),
        100 * filters.midrange_share(layer).nanmean().item(),
        100 * filters.aliased_share(layer).nanmean().item(),
        evaluate(model, test_images, dataset.test_labels),
    )


def strided_cnn(
    dataset: Dataset, images: Tensor, kernel: int, stride: int, seed: int, dtype: torch.dtype
) -> nn.Sequential:
    """`compact_cnn` for 64x64 pixels whose first convolution has another kernel and stride."""
    channels = dataset.image_shape[0]
    scale = scale_layer("standardized", dtype, images)
    side = 8 * (-(-64 // stride) // 8)  # what is left behind the first layer, for three poolings
    model = compact_cnn(
        (channels, side, side), dataset.n_classes, seed=seed, dtype=dtype, scale=scale
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(ARCHITECTURE_SEED + seed)
        layer = nn.Conv2d(
            channels, COMPACT_WIDTHS[0], kernel, stride,
            padding=kernel // 2, dtype=dtype,
        )  # fmt: skip
    model.conv1 = layer
    return model.to(images.device)


# --- recorded runs -----------------------------------------------------------------------------


class SeeingRun(LookingRun, Seeing):
    """One recorded network with everything that chapter 06 looks at; its images are bundled."""

    shown_epochs: Epochs = (0, 1, 2, 4, 8, 14, 23)
    n_looked: Count = 100
    square: Count = 8
    stride: Count = 2
    n_garments: Count = 12_000
    garment_epochs: Count = 5
    draws: Count = 50

    @property
    def label(self) -> str:
        """Network and number of images."""
        return f"{self.network.replace('_', '-')}-{self.n_train}"

    @property
    def cost(self) -> float:
        """Images trained on, by all networks."""
        return 3 * self.epochs * self.n_train + self.garment_epochs * self.n_garments

    def run(self) -> "Seen":
        """Train the networks, and measure everything."""
        dataset = self.load()
        network, twin = (train(self, self.seed + more) for more in (0, TWIN_SEED))
        shuffled = train_on_shuffled(self, self.seed)
        before = looks.as_sequential(next(network.snapshots.models())[1])
        images, labels = looks.right_images(network.model, dataset, self.n_looked)
        pure, pure_before = (
            {layer: self._purity(model, dataset, layer) for layer in self.layers}
            for model in (network.model, before)
        )
        moved = looks.invariances(network.model, images, labels, self.layers[0])
        square = self.layers[-1], self.square, self.stride
        falls = looks.hidden_by_epoch(network, images, labels, *square)
        on_garments = train_on_garments(self, self.seed)
        parts = corresponding(self, self.seed, on_garments.snapshots)
        return Seen(
            accuracies=tuple(network.history.test_accuracies),
            purity=pure,
            purity_untrained=pure_before,
            shown_epochs=network.snapshots.epochs,
            convergence={
                layer: tuple(values)
                for layer, values in looks.convergence(network, images, self.layers).items()
            },
            moved=looks.moved_by_epoch(network, images, labels, self.layers[0]),
            probability={
                name: tuple(one.probability.mean(dim=1).tolist()) for name, one in moved.items()
            },
            centre=tuple(one.centre for one in falls),
            border=tuple(one.border for one in falls),
            activity=_activity(looks.occlusions(network.model, images, labels, *square)),
            activity_untrained=_activity(looks.occlusions(before, images, labels, *square)),
            parts={
                one.part.name: {
                    layer: PartFound(part=each.part.mean, random=each.random_mean)
                    for layer, each in one.layers.items()
                }
                for one in parts[self.garment_epochs]
            },
            agreement=tuple(agreement(one) for one in parts.values()),
            first_layers={
                f"{one.kernel}x{one.kernel}, stride {one.stride}": FirstLayerFound(
                    dead=one.dead,
                    midrange=one.midrange,
                    aliased=one.aliased,
                    accuracy=one.accuracy,
                )
                for one in first_layers(self, self.seed)
            },
            shuffled_learnt=shuffled.history.test_accuracies[-1],
            sanity={
                one.method: SanityFound(
                    layers=one.layers, twin=one.twin, edges=one.edges, shuffled=one.shuffled
                )
                for one in looks.sanity_checks(
                    Trio(network, twin, shuffled),
                    images[:50],
                    labels[:50],
                    range(self.seed, self.seed + 3),
                )
            },
        )

    def _purity(self, model: nn.Sequential, dataset: Dataset, layer: str) -> float:
        top = looks.top_of(model, dataset.test_images, layer)
        return looks.purity(top, dataset.test_labels).nanmean().item()


def _activity(found: list[OcclusionMaps]) -> float:
    """Largest fall of the strongest map's activity in percent, a mean over the images."""
    falls = [
        100 * (1 - (one.occluded.activity.min() / one.unoccluded.activity)).item() for one in found
    ]
    return sum(falls) / len(falls)


class PartFound(Result):
    """Hamming distance of changes, 0 to 1, when a part is hidden, and for random parts."""

    part: float
    random: float


class FirstLayerFound(Result):
    """Measures of a first layer in percent, and the network's test accuracy in percent."""

    dead: float
    midrange: float
    aliased: float
    accuracy: float


class SanityFound(Result):
    """Mean rank correlations of a method's pictures, as in `Sanity`."""

    layers: dict[str, float]
    twin: float
    edges: float
    shuffled: float


class Seen(Result):
    """Everything that chapter 06 measures, of one seed.

    Attributes:
        accuracies: test accuracy in percent by epoch.
        purity, purity_untrained: percent of a map's nine strongest images in one class, by layer,
            after training and before.
        shown_epochs: epochs of `convergence`, correlations with the last epoch by layer.
        moved: distance after small changes beside that of different images, by transformation
            and layer, at the epochs shown.
        probability: mean probability of the true class for each of `AMOUNTS`.
        centre, border: mean fall of the class's logit when these are hidden, at the epochs shown.
        activity, activity_untrained: largest fall in percent of the strongest map's activity
            when a square hides part of the image, in the network and before its training.
        parts: by part and layer.
        agreement: by layer, before the training on garments and after each of its epochs.
        first_layers: by kernel and stride.
        shuffled_learnt: percent of its images that the network of shuffled labels has learnt.
        sanity: by method.
    """

    accuracies: tuple[float, ...]
    purity: dict[str, float]
    purity_untrained: dict[str, float]
    shown_epochs: tuple[int, ...]
    convergence: dict[str, tuple[float, ...]]
    moved: dict[Transformation, dict[str, tuple[float, ...]]]
    probability: dict[Transformation, tuple[float, ...]]
    centre: tuple[float, ...]
    border: tuple[float, ...]
    activity: float
    activity_untrained: float
    parts: dict[str, dict[str, PartFound]]
    agreement: tuple[dict[str, float], ...]
    first_layers: dict[str, FirstLayerFound]
    shuffled_learnt: float
    sanity: dict[str, SanityFound]
