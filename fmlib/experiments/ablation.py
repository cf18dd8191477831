"""Chapter 08: which layers of a network matter, and what its features are good for (masum2022)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from fmlib import models, transfer
from fmlib.data import SHOWN_CLASSES, Dataset
from fmlib.experiments.common import Count, InputScale, Result, RunConfig, Training, parallel
from fmlib.models import ModelName, ZfLayers
from fmlib.recipe import PUBLISHED, SMALL, Recipe, centre, learning_rates, train
from fmlib.training import History, evaluate

Variant = Literal[
    "full", "no 7", "no 6, 7", "no 3, 4", "no 3, 4, 6, 7",
    "6, 7 halved", "6, 7 doubled", "3, 4, 5 widened", "3, 4, 5 widened, 6, 7 doubled",
]  # fmt: skip
_FULL = ZfLayers()
_WIDENED = _FULL.scaled(4 / 3, "conv3").scaled(8 / 3, "conv4").scaled(2, "conv5")
VARIANTS: dict[Variant, ZfLayers] = {
    "full": _FULL,
    "no 7": _FULL.without("fc7"),
    "no 6, 7": _FULL.without("fc6", "fc7"),
    "no 3, 4": _FULL.without("conv3", "conv4"),
    "no 3, 4, 6, 7": _FULL.without("conv3", "conv4", "fc6", "fc7"),
    "6, 7 halved": _FULL.scaled(0.5, "fc6", "fc7"),
    "6, 7 doubled": _FULL.scaled(2, "fc6", "fc7"),
    "3, 4, 5 widened": _WIDENED,
    "3, 4, 5 widened, 6, 7 doubled": _WIDENED.scaled(2, "fc6", "fc7"),
}
"""The networks that are compared; layers 3, 4, 5 are widened as by Zeiler and Fergus (2014), from
384, 384 and 256 maps to 512, 1024 and 512."""
HIDDEN = ("fc6", "fc7")

Way = Literal["recipe", "published weights", "no dropout", "untrained"]
WAYS: dict[Way, dict[str, Any]] = {
    "recipe": {},
    "published weights": {"weight_scale": PUBLISHED.weight_scale},
    "no dropout": {"dropout": 0.0},
    "untrained": {},
}
"""Ways of training the full network: what they change of the recipe.  An untrained network stays
as it was drawn, and a softmax is trained on its last hidden features."""
WAY_NAMES: dict[Way, str] = {
    "recipe": "the recipe",
    "published weights": f"first weights of deviation {PUBLISHED.weight_scale}, as published",
    "no dropout": "no dropout",
    "untrained": "untrained, a softmax on random features",
}
DUPLICATE = 0.9
"""Normalized correlation from which two images count as near-duplicates."""


class Ablating(Training):
    """What training by the recipe needs, in the chapter and in recorded runs."""

    network: ModelName
    epochs: Count
    batch_size: Count
    n_validation: Count
    augment: bool

    def images_needed(self) -> int:
        """Training images, and those that the learning rate goes by."""
        return self.n_train + self.n_validation

    def recipe(self, way: Way = "recipe") -> Recipe:
        """The recipe at the sizes of these settings, trained in some way."""
        own: dict[str, Any] = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
        }
        if not self.augment:
            own |= {"crop": 1.0, "flips": False}
        return SMALL.model_copy(update=own | WAYS[way])

    def model(
        self,
        dataset: Dataset,
        seed: int,
        network: ModelName | None = None,
        channels: int | None = None,
        **options: Any,
    ) -> nn.Sequential:
        """As of all experiments, for crops of the images."""
        crop = options.pop("crop", self.recipe().crop)
        cropped = replace(dataset, train_images=centre(dataset.train_images, crop))
        return super().model(cropped, seed, network or self.network, channels, **options)


class Split(NamedTuple):
    """Images and labels that are trained on, and those that the learning rate goes by."""

    images: Tensor
    labels: Tensor
    validation: tuple[Tensor, Tensor]


def split(dataset: Dataset, n_validation: int) -> Split:
    """The last training images are kept for validation."""
    images, labels = dataset.train_images, dataset.train_labels
    own = slice(None, -n_validation)
    return Split(images[own], labels[own], (images[-n_validation:], labels[-n_validation:]))


class Trained(NamedTuple):
    """A network, how its training went, and its accuracies in percent."""

    model: nn.Sequential
    recipe: Recipe
    history: History
    train_accuracy: float
    test_accuracy: float

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return models.parameter_count(self.model)

    @property
    def rates(self) -> list[float]:
        """Learning rate of every epoch."""
        return learning_rates(self.recipe, self.history.test_accuracies)

    @property
    def seconds(self) -> float:
        """Time of training alone."""
        return sum(epoch.seconds for epoch in self.history.epochs)

    @property
    def renormalized(self) -> int:
        """How many filters were scaled back, each as often as it was."""
        counts = [epoch.policy.get("renormalized", [0.0]) for epoch in self.history.epochs]
        return round(sum(count or 0.0 for [count] in counts))


def train_variant(settings: Ablating, layers: ZfLayers, seed: int, way: Way = "recipe") -> Trained:
    """Train the network of these layers, and evaluate it on the middle of all images."""
    dataset, recipe = settings.load(), settings.recipe(way)
    parts = split(dataset, settings.n_validation)
    options: dict[str, Any] = {"dropout": recipe.dropout, "weight_scale": recipe.weight_scale}
    model = settings.model(dataset, seed, "zf_cnn", layers=layers, crop=recipe.crop, **options)
    history = train(model, parts.images, parts.labels, recipe, seed, parts.validation)
    accuracies = (
        evaluate(model, centre(images, recipe.crop), labels)
        for images, labels in (parts[:2], (dataset.test_images, dataset.test_labels))
    )
    return Trained(model, recipe, history, *accuracies)


def _train_one(task: tuple[Ablating, Variant, int]) -> Trained:
    settings, variant, seed = task
    return train_variant(settings, VARIANTS[variant], seed)


def variants(
    settings: Ablating, chosen: Sequence[Variant], seed: int, jobs: int = 2
) -> dict[Variant, Trained]:
    """Train some of the networks from one seed, several at once."""
    tasks = [(settings, variant, seed) for variant in chosen]
    return dict(zip(chosen, parallel(_train_one, tasks, jobs), strict=True))


def variant_parameters(
    variant: Variant, image_shape: models.ImageShape, n_classes: int
) -> tuple[int, int]:
    """Parameters of a network, and how many of them its hidden linear layers have."""
    model = models.zf_cnn(image_shape, n_classes, layers=VARIANTS[variant])
    hidden = [layer for name, layer in model.named_children() if name in HIDDEN]
    return models.parameter_count(model), sum(map(models.parameter_count, hidden))


class Random(NamedTuple):
    """A softmax on the random features of a network that was not trained."""

    parameters: int
    train_accuracy: float
    test_accuracy: float


def untrained(settings: Ablating, seed: int) -> Random:
    """What the last hidden features of the full network are good for before any training."""
    dataset, crop = settings.load(), settings.recipe().crop
    parts = split(dataset, settings.n_validation)
    model = settings.model(dataset, seed, "zf_cnn")
    own, test = (
        transfer.layer_features(model, centre(images, crop), ["act7"])["act7"]
        for images in (parts.images, dataset.test_images)
    )
    softmax = transfer.fit_softmax(own, parts.labels)
    return Random(
        softmax.weight.numel() + softmax.bias.numel(),
        softmax.accuracy(own, parts.labels),
        softmax.accuracy(test, dataset.test_labels),
    )


def duplicates(images: Tensor, others: Tensor, threshold: float = DUPLICATE) -> Tensor:
    """Which images (N,) have a near-duplicate in another set."""
    found = transfer.overlaps(images, others, threshold)
    return found.pairs.new_zeros(len(images)).index_fill(0, found.pairs[:, 0], 1) == 1


# --- recorded runs -----------------------------------------------------------------------------


class RecipeRun(RunConfig, Ablating):
    """What recorded trainings by the recipe share; their images are bundled."""

    dataset: str = SHOWN_CLASSES
    n_train: Count = 3000
    n_test: Count = 2000
    input_scale: InputScale = "standardized"
    network: ModelName = "zf_cnn"
    epochs: Count = 16
    batch_size: Count = 32
    n_validation: Count = 500
    augment: bool = True


class AblationRun(RecipeRun):
    """One recorded training of one of the networks."""

    variant: Variant = "full"
    way: Way = "recipe"

    @property
    def label(self) -> str:
        """Network, and how it is trained."""
        name = self.variant if self.way == "recipe" else f"{self.variant} {self.way}"
        return name.replace(", ", "-").replace(" ", "-")

    @property
    def cost(self) -> float:
        """Images trained on; widened networks take twice as long."""
        return self.epochs * self.n_train * (2 if "widened" in self.variant else 1)

    def run(self) -> "Ablation":
        """Train and evaluate."""
        if self.way == "untrained":
            random = untrained(self, self.seed)
            return Ablation(**random._asdict())
        trained = train_variant(self, VARIANTS[self.variant], self.seed, self.way)
        dataset = self.load()
        double = duplicates(dataset.test_images, dataset.train_images[: self.n_train])
        return Ablation(
            parameters=trained.parameters,
            train_accuracy=trained.train_accuracy,
            test_accuracy=trained.test_accuracy,
            duplicates=int(double.sum()),
            accuracy_without_duplicates=evaluate(
                trained.model,
                centre(dataset.test_images[~double], trained.recipe.crop),
                dataset.test_labels[~double],
            ),
            validation=tuple(trained.history.test_accuracies),
            losses=tuple(epoch.loss for epoch in trained.history.epochs),
            rates=tuple(trained.rates),
            renormalized=trained.renormalized,
            seconds=trained.seconds,
        )


class Ablation(Result):
    """Accuracies in percent of one network.

    Attributes:
        parameters: number of trained ones.
        train_accuracy, test_accuracy: after the last epoch, on the middle of the images.
        duplicates: test images with a near-duplicate among the training images.
        accuracy_without_duplicates: on the other test images.
        validation, losses, rates: accuracy, loss and learning rate by epoch.
        renormalized: how many filters were scaled back.
        seconds: time of training; it depends on the machine.
    """

    parameters: int
    train_accuracy: float
    test_accuracy: float
    duplicates: int | None = None
    accuracy_without_duplicates: float | None = None
    validation: tuple[float, ...] = ()
    losses: tuple[float | None, ...] = ()
    rates: tuple[float, ...] = ()
    renormalized: int | None = None
    seconds: float | None = None
