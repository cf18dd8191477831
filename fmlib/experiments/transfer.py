"""Chapter 08, second part: softmaxes on frozen features, and images that two sets share."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, NamedTuple, Self, get_args

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib import data, models
from fmlib.data import OTHER_CLASSES, SHOWN_CLASSES, Dataset
from fmlib.experiments.ablation import Ablating, RecipeRun, Variant, split
from fmlib.experiments.common import (
    Count,
    Counts,
    Result,
    RunConfig,
    Settings,
    Training,
    parallel,
    setting,
)
from fmlib.models import ModelName
from fmlib.recipe import centre, train
from fmlib.training import evaluate
from fmlib.transfer import PIXELS, Nearest, balanced, fit_softmax, layer_features, nearest

Layers = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
ZF_LAYERS = ("pool1", "pool2", "act3", "act4", "pool5", "act6", "act7")
"""Outputs of the layers 1 to 7 of `zf_cnn`."""
BASE_LAYERS = ("act1", "act2", "act3")
"""Outputs of the layers of `base_cnn` but the last."""
Features = Literal["trained", "untrained"]
TRANSFER_NAMES = {
    "cifar10-to-cifar10": "six classes of CIFAR-10 to four others",
    "fashion-mnist-to-mnist": "garments to digits",
    "mnist-to-fashion-mnist": "digits to garments",
}
"""The recorded transfers by label."""
SCRATCH_SEED = 1000
"""Added to a seed for networks trained from scratch."""


class Transferring(Ablating):
    """What transfer from one dataset to another needs, in the chapter and in recorded runs."""

    pretraining: str
    n_pretraining: Count
    layers: Layers
    sizes: Counts
    scratch_steps: Count

    @property
    def transfer_name(self) -> str:
        """From which dataset to which."""
        return "-to-".join(name.split(":")[0] for name in (self.pretraining, self.dataset))

    def load_source(self) -> Dataset:
        """The dataset that the network is trained on first, in the shape of the other."""
        dtype, device = self.arithmetic
        count = self.n_pretraining + self.n_validation
        source = data.load(self.pretraining, count, 1, dtype=dtype).to(device)
        shape = self.load().image_shape
        train, test = (
            shaped(images, shape) for images in (source.train_images, source.test_images)
        )
        return replace(source, train_images=train, test_images=test)


def shaped(images: Tensor, shape: models.ImageShape) -> Tensor:
    """Images (N, C, H, W) in another shape of channels, height and width.

    Grey is the mean of the colours, and the same in all of them; sizes are interpolated.
    """
    channels, *size = shape
    if images.shape[1] != channels:
        images = images.mean(dim=1, keepdim=True).expand(-1, channels, -1, -1)
    if list(images.shape[2:]) != size:
        images = F.interpolate(images, tuple(size), mode="bilinear", align_corners=False)
    return images


class TransferSettings(Settings, Transferring):
    """Settings of chapter 08."""

    shared: ClassVar = {
        "n_train": (160, 1200, 7500),
        "n_test": (100, 1000, 2000),
        "learning_rate": (0.01, 0.01, 0.01),
        "input_scale": ("standardized", "standardized", "standardized"),
    }

    dataset: str = setting(
        SHOWN_CLASSES, "dataset or classes, such as cifar10:frog,ship, or image-folder:PATH"
    )
    network: ModelName = setting("zf_cnn", "a network of fmlib.models, for transfer")
    variants: Annotated[tuple[Variant, ...], Field(strict=False, min_length=1)] = setting(
        ("full", "no 6, 7", "no 3, 4", "no 3, 4, 6, 7"),
        "networks that are compared: names of fmlib.experiments.ablation.VARIANTS",
        smoke=("full", "no 3, 4, 6, 7"),
        paper=get_args(Variant),
    )
    epochs: Count = setting(8, "epochs of training", smoke=1, paper=70)
    batch_size: Count = setting(32, "images of a step", paper=128)
    n_validation: Count = setting(
        200, "further images, by which the learning rate is lowered", smoke=40, paper=500
    )
    augment: bool = setting(True, "train on crops and flips; False takes whole images")
    pretraining: str = setting(
        OTHER_CLASSES, "dataset that a network is trained on first, in the shape of the other"
    )
    n_pretraining: Count = setting(1500, "its images", smoke=120, paper=5500)
    layers: Layers = setting(
        ("pool1", "pool2", "act4", "pool5", "act7"),
        "layers whose features are frozen",
        smoke=("pool2", "act7"),
        paper=ZF_LAYERS,
    )
    sizes: Counts = setting(
        (5, 20, 100),
        "images of each class that a softmax is trained on",
        smoke=(5, 20),
        paper=(5, 10, 20, 50, 100, 500),
    )
    scratch_steps: Count = setting(
        100, "steps at least that a network trained from scratch takes", smoke=10, paper=300
    )
    n_compared: Count = setting(
        3000, "training images among which copies of test images are sought", smoke=200, paper=6000
    )
    seed: Annotated[int, Field(ge=0, lt=2**32)] = setting(
        0, "seed of weights, batches, crops and drawn images"
    )

    def check(self) -> Self:
        """Refuse what cannot run, before any training: data, layers, sizes."""
        data.check_name(self.dataset)
        data.check_name(self.pretraining)
        dataset = self.load()
        height, width = dataset.image_shape[1:]
        crop = centre(dataset.test_images[:1], self.recipe().crop).shape[2:]
        if min(crop) < 8:
            raise ValueError(
                f"images are {height}x{width}; of crops zf_cnn needs at least 8x8 pixels, and "
                f"theirs are {crop[0]}x{crop[1]}"
            )
        source = self.load_source()
        _check_layers(self.model(source, 0), dataset, self)
        fewest = int(dataset.train_labels[: self.n_train].bincount().min())
        if sorted(set(self.sizes)) != list(self.sizes) or self.sizes[-1] > fewest:
            raise ValueError(
                f"sizes is {list(self.sizes)}; give ascending numbers from 1 to {fewest}, the "
                "training images of the smallest class"
            )
        return self


def _check_layers(model: nn.Sequential, dataset: Dataset, settings: Transferring) -> None:
    shape = dataset.image_shape
    height, width = centre(dataset.test_images[:1], settings.recipe().crop).shape[2:]
    possible = [row.name for row in models.layer_table(model, (shape[0], height, width))[:-1]]
    for layer in settings.layers:
        if layer not in possible:
            raise ValueError(
                f"layers holds {layer!r}, which {settings.network} does not have; choose of "
                f"{', '.join(possible)}"
            )


# --- transfer ----------------------------------------------------------------------------------


class Scratch(NamedTuple):
    """Accuracies in percent of a network trained on few images alone: on them, and on others."""

    train_accuracy: float
    test_accuracy: float


class Transferred(NamedTuple):
    """Test accuracies in percent by number of training images per class (`sizes`).

    `features` holds those of a softmax on frozen features, by layer, of the trained network and of
    the same before training; `pixels` those of a softmax on the images; `scratch` networks
    trained on these images alone.  `source_accuracy` is the trained network's on validation
    images of its own dataset.
    """

    sizes: tuple[int, ...]
    features: dict[Features, dict[str, tuple[float, ...]]]
    pixels: tuple[float, ...]
    scratch: tuple[Scratch, ...]
    source_accuracy: float
    chance: float


def source_networks(
    settings: Transferring, seed: int
) -> tuple[dict[Features, nn.Sequential], float]:
    """The network trained on the source, the same before training, and its accuracy there."""
    source, recipe = settings.load_source(), settings.recipe()
    parts = split(source, settings.n_validation)
    model, before = (settings.model(source, seed) for _ in range(2))
    history = train(model, parts.images, parts.labels, recipe, seed, parts.validation)
    return {"trained": model, "untrained": before}, history.test_accuracies[-1]


def softmaxes(
    settings: Transferring, model: nn.Module, layers: Sequence[str], seed: int
) -> dict[str, tuple[float, ...]]:
    """Test accuracy of softmaxes on the features of each layer, by number of images."""
    dataset, crop = settings.load(), settings.recipe().crop
    labels = dataset.train_labels[: settings.n_train]
    chosen = [balanced(labels, size, seed) for size in settings.sizes]
    needed = torch.cat(chosen).unique()
    own, test = (
        layer_features(model, centre(images, crop), layers)
        for images in (dataset.train_images[needed], dataset.test_images)
    )
    return {
        layer: tuple(
            fit_softmax(own[layer][torch.searchsorted(needed, places)], labels[places]).accuracy(
                test[layer], dataset.test_labels
            )
            for places in chosen
        )
        for layer in layers
    }


def from_scratch(settings: Transferring, size: int, seed: int) -> Scratch:
    """Train a fresh network on as few images, by the recipe, without validation images.

    As many epochs as elsewhere, and more where these would have too few steps.
    """
    dataset = settings.load()
    places = balanced(dataset.train_labels[: settings.n_train], size, seed)
    images, labels = dataset.train_images[places], dataset.train_labels[places]
    steps = math.ceil(len(images) / settings.batch_size)
    epochs = max(settings.epochs, math.ceil(settings.scratch_steps / steps))
    recipe = settings.recipe().model_copy(update={"epochs": epochs})
    model = settings.model(dataset, seed + SCRATCH_SEED)
    train(model, images, labels, recipe, seed)
    return Scratch(
        evaluate(model, centre(images, recipe.crop), labels),
        evaluate(model, centre(dataset.test_images, recipe.crop), dataset.test_labels),
    )


Part = tuple[dict[Features, dict[str, tuple[float, ...]]], tuple[float, ...], float] | Scratch
_Task = tuple[Transferring, int | None, int]


def _frozen(
    settings: Transferring, seed: int
) -> tuple[dict[Features, dict[str, tuple[float, ...]]], tuple[float, ...], float]:
    networks, accuracy = source_networks(settings, seed)
    features = {
        name: softmaxes(settings, model, settings.layers, seed) for name, model in networks.items()
    }
    pixels = softmaxes(settings, networks["trained"], [PIXELS], seed)[PIXELS]
    return features, pixels, accuracy


def _one(task: _Task) -> Part:
    settings, size, seed = task
    return _frozen(settings, seed) if size is None else from_scratch(settings, size, seed)


def transferred(settings: Transferring, seed: int, jobs: int = 2) -> Transferred:
    """Everything that is measured of transfer, from one seed; several networks at once."""
    tasks: list[_Task] = [(settings, size, seed) for size in (None, *settings.sizes)]
    frozen, *scratch = parallel(_one, tasks, jobs)
    assert not isinstance(frozen, Scratch)
    features, pixels, accuracy = frozen
    return Transferred(
        settings.sizes,
        features,
        pixels,
        tuple(one for one in scratch if isinstance(one, Scratch)),
        accuracy,
        settings.load().chance,
    )


# --- images that two sets share ----------------------------------------------------------------

THRESHOLDS = (0.8, 0.85, 0.9, 0.95, 0.98)
"""Normalized correlations from which images are counted as alike."""


class Shared(NamedTuple):
    """How alike the test images of one set are to the training images of the same or another."""

    name: str
    images: Tensor
    others: Tensor
    found: Nearest

    def counts(self) -> dict[float, int]:
        """Test images that have so near a training image, by threshold."""
        return {t: int((self.found.correlations >= t).sum()) for t in THRESHOLDS}

    def closest(self, count: int) -> list[tuple[int, int]]:
        """Positions of the pairs that are most alike, the most alike first."""
        order = self.found.correlations.argsort(descending=True, stable=True)[:count].tolist()
        return [(place, int(self.found.others[place])) for place in order]


PAIRS: dict[str, tuple[str, str]] = {
    "CIFAR-10, four classes": (SHOWN_CLASSES, SHOWN_CLASSES),
    "CIFAR-10, six other classes": (SHOWN_CLASSES, OTHER_CLASSES),
    "Fashion-MNIST": ("fashion-mnist", "fashion-mnist"),
    "MNIST": ("mnist", "mnist"),
}
"""Whose test images are compared with whose training images."""


def shared(training: Training, n_compared: int, n_test: int) -> list[Shared]:
    """For each of `PAIRS` the training image that each test image is most alike to."""
    dtype, device = training.arithmetic
    found = []
    for name, (tested, trained) in PAIRS.items():
        images = data.load(tested, 1, n_test, dtype=dtype).to(device).test_images
        others = data.load(trained, n_compared, 1, dtype=dtype).to(device).train_images
        found.append(Shared(name, images, others, nearest(images, others)))
    return found


# --- recorded runs -----------------------------------------------------------------------------


class TransferRun(RecipeRun, Transferring):
    """One recorded transfer from one dataset to another."""

    n_train: Count = 4000
    pretraining: str = OTHER_CLASSES
    n_pretraining: Count = 4500
    layers: Layers = ZF_LAYERS
    sizes: Counts = (5, 10, 20, 50, 100, 200)
    scratch_steps: Count = 200

    @property
    def label(self) -> str:
        """From which dataset to which."""
        return self.transfer_name

    @property
    def cost(self) -> float:
        """Images trained on."""
        return self.epochs * (self.n_pretraining + self.n_train) * 2

    def run(self) -> "Transfer":
        """Train all networks and softmaxes, one after the other."""
        found = transferred(self, self.seed, jobs=1)
        return Transfer(
            features=found.features,
            pixels=found.pixels,
            scratch=tuple(one.test_accuracy for one in found.scratch),
            scratch_train=tuple(one.train_accuracy for one in found.scratch),
            source_accuracy=found.source_accuracy,
            chance=found.chance,
        )


class Transfer(Result):
    """Test accuracies in percent by number of training images, as in `Transferred`."""

    features: dict[Features, dict[str, tuple[float, ...]]]
    pixels: tuple[float, ...]
    scratch: tuple[float, ...]
    scratch_train: tuple[float, ...]
    source_accuracy: float
    chance: float


class OverlapsRun(RunConfig):
    """Copies of test images among training images, for all of `PAIRS`; made once.

    The dataset is the first one's; all images are bundled.
    """

    dataset: str = SHOWN_CLASSES
    n_train: Count = 6000
    n_test: Count = 2000

    @property
    def label(self) -> str:
        """Number of images compared."""
        return f"bundled-{self.n_train}"

    @property
    def cost(self) -> float:
        """About as long as training on so many images takes."""
        return 10 * self.n_train

    def run(self) -> "Overlaps":
        """Compare."""
        found = shared(self, self.n_train, self.n_test)
        return Overlaps(
            counts={one.name: {str(t): n for t, n in one.counts().items()} for one in found},
            n_test={one.name: len(one.images) for one in found},
            n_compared={one.name: len(one.others) for one in found},
        )


class Overlaps(Result):
    """Test images with so near a training image, by pair of sets and threshold."""

    counts: Mapping[str, Mapping[str, int]]
    n_test: Mapping[str, int]
    n_compared: Mapping[str, int]
