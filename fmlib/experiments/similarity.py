"""Chapter 09: Convolutional Similarity, and whether less similar maps help (belmekki2024)."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field
from torch import nn

from fmlib.caching import RELEASED, FeatureCache, class_vectors, early_exits, vector_function
from fmlib.data import Dataset
from fmlib.experiments.common import (
    Count,
    InputScale,
    Rate,
    Result,
    RunConfig,
    Settings,
    parallel,
    setting,
)
from fmlib.experiments.similar_training import (
    MAP_IMAGES,
    Condition,
    Course,
    Similar,
    Steps,
    begin,
    train,
)
from fmlib.models import COMPACT_WIDTHS, ModelName
from fmlib.similarity import convolutions, layer_map_cosine
from fmlib.training import evaluate, fit

# --- in the chapter --------------------------------------------------------------------------

LIVE: tuple[Condition, ...] = (
    *("baseline", "initialized", "regularized", "strong"),
    *("shrunk", "restored", "complete", "orthogonal"),
)
"""Conditions that the chapter trains anew."""


class SimilaritySettings(Settings, Similar):
    """Settings of chapter 09."""

    shared: ClassVar = {
        "n_train": (200, 2000, 4000),
        "n_test": (100, 1000, 2000),
        "learning_rate": (0.05, 0.05, 0.05),
        "input_scale": ("standardized", "standardized", "standardized"),
    }

    dataset: str = setting("mnist", "mnist, fashion-mnist, cifar10 or image-folder:PATH")
    network: ModelName = setting("base_cnn", "a network of fmlib.models")
    epochs: Count = setting(5, "epochs of training", smoke=1, paper=6)
    batch_size: Count = setting(50, "images of a step")
    iterations: Annotated[int, Field(ge=0)] = setting(
        500, "steps that lower Convolutional Similarity before training", smoke=20
    )
    n_probed: Count = setting(
        500, "training images whose accuracy is followed by epoch", smoke=50, paper=1000
    )
    n_colour: Count = setting(800, "training images of the second network", smoke=100, paper=3000)
    cache_batch: Count = setting(100, "images of a step of the training with a cache", smoke=50)
    repetitions: Count = setting(200, "kernels and signals drawn in the one-dimensional studies")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = setting(0, "seed of weights and batches")

    def check(self) -> Self:
        """Also refuse networks without the layer whose maps the cache looks at."""
        super().check()
        if RELEASED.layer not in convolutions(self.model(self.load(), seed=0)):
            known = ("base_cnn", "fashion_cnn", "deep_cnn", "compact_cnn", "resnet18")
            raise ValueError(
                f"network is {self.network!r}, which has no layer {RELEASED.layer}; choose one of "
                f"{', '.join(known)}"
            )
        return self


def _live(task: tuple["SimilaritySettings", Condition, bool]) -> Course:
    settings, condition, colour = task
    if colour:
        values = {"dataset": "cifar10", "n_train": settings.n_colour, "network": "compact_cnn"}
        settings = settings.model_copy(update={**values, "learning_rate": COLOUR_RATE})
        return train(settings, settings.load(), condition, settings.seed, batch_norm=True)
    return train(settings, settings.load(), condition, settings.seed)


def courses(settings: SimilaritySettings) -> dict[Condition, Course]:
    """Train the chapter's first network in every condition of `LIVE`, two at once."""
    tasks = [(settings, condition, False) for condition in LIVE]
    return dict(zip(LIVE, parallel(_live, tasks, jobs=2), strict=True))


def colour_courses(settings: SimilaritySettings) -> dict[Condition, Course]:
    """Train the second network in the conditions of the paper's figures, two at once."""
    tasks = [(settings, condition, True) for condition in PUBLISHED]
    return dict(zip(PUBLISHED, parallel(_live, tasks, jobs=2), strict=True))


PUBLISHED: tuple[Condition, ...] = ("baseline", "initialized", "regularized")
"""Conditions of the paper's figures."""
COLOUR_RATE = 0.02
"""Step size with colour images; larger ones make the accuracy jump from epoch to epoch."""


# --- the cache of chapter 02 -----------------------------------------------------------------


class Cached(Result):
    """A training with the cache of chapter 02, numbers in percent.

    Attributes:
        nearest_begun, nearest: test images whose nearest class by feature vectors is theirs,
            before training and after.
        skipped: images left out of training.
        test_accuracy: of the trained network.
        map_cosine: of the first layer's maps that training begins with, 0 to 1.
    """

    nearest_begun: float
    nearest: float
    skipped: float
    test_accuracy: float
    map_cosine: float


CACHED: tuple[Condition, ...] = ("baseline", "initialized", "restored", "complete", "orthogonal")
"""Conditions that are trained with a cache."""


def nearest_class(model: nn.Module, dataset: Dataset) -> float:
    """Percent of the test images whose released feature vector lies nearest to their class's."""
    vectors = vector_function(model, RELEASED)
    means, limits = class_vectors(
        vectors(dataset.train_images), dataset.train_labels, dataset.n_classes
    )
    nearest, _ = early_exits(vectors(dataset.test_images), means, limits)
    return 100 * (nearest == dataset.test_labels).double().mean().item()


def cached(
    settings: Similar, dataset: Dataset, condition: Condition, batch: int, seed: int
) -> Cached:
    """Train a network that begins in one way with the released cache of its first layer."""
    model = settings.model(dataset, seed)
    begin(model, condition, settings.iterations, seed)
    before = nearest_class(model, dataset)
    cosine = layer_map_cosine(model, dataset.train_images[:MAP_IMAGES], "conv1").item()
    shape, images = dataset.image_shape, dataset.train_images
    cache = FeatureCache(model, dataset.n_classes, RELEASED, shape, images)
    config = settings.train_config(settings.epochs, batch, seed)
    history = fit(model, images, dataset.train_labels, config, policy=cache)
    skipped = sum(epoch.skipped for epoch in history.epochs)
    return Cached(
        nearest_begun=before,
        nearest=nearest_class(model, dataset),
        skipped=100 * skipped / sum(epoch.seen for epoch in history.epochs),
        test_accuracy=evaluate(model, dataset.test_images, dataset.test_labels),
        map_cosine=cosine,
    )


def _live_cached(task: tuple["SimilaritySettings", Condition]) -> Cached:
    settings, condition = task
    return cached(settings, settings.load(), condition, settings.cache_batch, settings.seed)


def caches(settings: SimilaritySettings) -> dict[Condition, Cached]:
    """Train with a cache in every condition of `CACHED`, two at once."""
    tasks = [(settings, condition) for condition in CACHED]
    return dict(zip(CACHED, parallel(_live_cached, tasks, jobs=2), strict=True))


# --- recorded runs ---------------------------------------------------------------------------


class SimilarityRun(RunConfig, Similar):
    """One recorded training of a shallow network; its images are bundled."""

    dataset: str = "mnist"
    n_train: Count = 4000
    n_test: Count = 2000
    network: ModelName = "base_cnn"
    condition: Condition = "baseline"
    steps: Steps = "sgd"
    width: Rate = 1.0
    batch_norm: bool = False
    learning_rate: Rate = 0.05
    input_scale: InputScale = "standardized"
    epochs: Count = 6
    batch_size: Count = 50
    iterations: Annotated[int, Field(ge=0)] = 500
    n_probed: Count = 1000

    @property
    def label(self) -> str:
        """Data, condition, and what is not as in most runs."""
        further = [
            *([self.steps] if self.steps != "sgd" else []),
            *([f"I-{self.iterations}"] if self.iterations != 500 else []),
            *(["normalized"] if self.batch_norm else []),
            *([f"width-{self.width:g}"] if self.width != 1 else []),
        ]
        words = [self.dataset, str(self.n_train), self.condition.replace("_", "-"), *further]
        return "-".join(words)

    @property
    def cost(self) -> float:
        """Images trained on; the compact network takes six times as long with each."""
        factor = 6 * self.width if self.network == "compact_cnn" else 1
        return factor * self.epochs * self.n_train

    def run(self) -> Course:
        """Train, and measure."""
        options: dict[str, Any] = {}
        if self.network == "compact_cnn":
            options["widths"] = tuple(max(1, round(w * self.width)) for w in COMPACT_WIDTHS)
            options["batch_norm"] = self.batch_norm
        return train(self, self.load(), self.condition, self.seed, self.steps, **options)


FEWER = (0.25, 0.5)
"""Shares of the maps of every layer that the recorded smaller versions of CNN2 have."""
COMPARED: tuple[Condition, ...] = ("baseline", "initialized", "complete")
"""What is recorded with other optimizers and widths."""
RESNET_WIDTHS = (8, 16)
"""Maps of the first layer of the recorded ResNet18; as published it has 64."""
RESNET_CONDITIONS: tuple[Condition, ...] = ("baseline", "initialized", "shrunk")
"""What is recorded of ResNet18 at every width."""


class ResNetRun(SimilarityRun):
    """One recorded training of ResNet18, as released but for width, epochs and learning rate.

    Its batch normalization undoes the norm of filters.
    """

    dataset: str = "cifar10"
    n_train: Count = 50_000
    n_test: Count = 10_000
    network: ModelName = "resnet18"
    steps: Steps = "momentum"
    learning_rate: Rate = 0.5
    epochs: Count = 10
    batch_size: Count = 128
    width: Rate = 8

    @property
    def cost(self) -> float:
        """Images trained on, each the dearer the wider the network."""
        return 10 * self.width * self.epochs * self.n_train

    def run(self) -> Course:
        """Train, and measure."""
        dataset = self.load()
        width = round(self.width)
        return train(self, dataset, self.condition, self.seed, self.steps, width=width)


class CachedRun(SimilarityRun):
    """One recorded training with the cache of chapter 02."""

    batch_size: Count = 100
    epochs: Count = 10

    def run(self) -> Cached:  # type: ignore[override]
        """Train with the cache."""
        return cached(self, self.load(), self.condition, self.batch_size, self.seed)
