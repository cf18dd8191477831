"""Chapter 01: centroids, outliers, embeddings, and the feature maps of a trained network."""

from typing import Annotated, NamedTuple, Self

from pydantic import Field
from torch import Tensor

from fmlib import exploration
from fmlib.data import Dataset
from fmlib.experiments.common import Count, Settings
from fmlib.features import feature_maps
from fmlib.training import evaluate, fit

Class = Annotated[int, Field(ge=0)]


class ExplorationSettings(Settings):
    """Settings of chapter 01."""

    classes: Annotated[tuple[Class, ...], Field(strict=False, min_length=1)] = Field(
        description="classes whose outliers are shown"
    )
    n_outliers: Count = Field(description="outliers shown of each class")
    n_embedded: Count = Field(description="training images embedded by PCA and t-SNE")
    perplexity: float = Field(gt=0, description="perplexity of t-SNE, below n_embedded / 3")
    neighbours: Count = Field(description="nearest neighbours that name a point's class")
    epochs: Count = Field(description="epochs of the network whose feature maps are shown")
    batch_size: Count = Field(description="batch size of that network")
    seed: int = Field(ge=0, lt=2**32, description="seed of weights, batches and t-SNE")

    def check(self) -> Self:
        """Also refuse what the number of points does not allow, and classes without images."""
        if self.n_embedded > self.n_train:
            raise ValueError(f"n_embedded is {self.n_embedded}, more than n_train = {self.n_train}")
        if 3 * self.perplexity >= self.n_embedded:
            raise ValueError(
                f"perplexity is {self.perplexity}; give less than a third of n_embedded = "
                f"{self.n_embedded}"
            )
        if self.neighbours > self.n_embedded // 2:
            raise ValueError(
                f"neighbours is {self.neighbours}; give at most half of n_embedded = "
                f"{self.n_embedded}"
            )
        super().check()
        labels = self.load().train_labels
        if missing := sorted(set(self.classes) - set(labels.tolist())):
            raise ValueError(
                f"classes holds {missing[0]}, but none of the {self.n_train} training images "
                f"shows it; choose from {', '.join(map(str, labels.unique().tolist()))}"
            )
        if labels[: self.n_embedded].bincount().max() < exploration.FOLDS:
            raise ValueError(
                f"n_embedded is {self.n_embedded}; give more, so that some class has "
                f"{exploration.FOLDS} of them to cross-validate"
            )
        return self


_QUICK = {
    "dataset": "mnist",
    "n_train": 12_000,
    "n_test": 1000,
    "learning_rate": 0.01,
    "input_scale": "released",
    "classes": (3, 7),
    "n_outliers": 5,
    "n_embedded": 2000,
    "perplexity": 30.0,
    "neighbours": 10,
    "epochs": 1,
    "batch_size": 64,
    "seed": 0,
}
PROFILES = {
    "smoke": _QUICK | {"n_train": 300, "n_test": 100, "n_embedded": 200},
    "quick": _QUICK,
    "paper": _QUICK | {"n_train": 60_000, "n_test": 10_000, "n_embedded": 10_000, "epochs": 10},
}


class Distances(NamedTuple):
    """Centroids of all classes and the distance of every training image to its own.

    `centroids` (classes, C, H, W); `distances` (N,) root mean square pixel differences;
    `outliers` gives, for each class asked for, the positions of its farthest images.
    """

    centroids: Tensor
    distances: Tensor
    outliers: dict[int, Tensor]


def distances(settings: ExplorationSettings, dataset: Dataset) -> Distances:
    """Fig. 1 and 2: mean images, and the images farthest from them."""
    images, labels = dataset.train_images, dataset.train_labels
    means = exploration.centroids(images, labels, dataset.n_classes)
    apart = exploration.centroid_distances(images, labels, means)
    farthest = {
        label: exploration.outliers(apart, labels, label, settings.n_outliers)
        for label in settings.classes
    }
    return Distances(means, apart, farthest)


class Embedding(NamedTuple):
    """Points (N, 2) in the plane, their classes (N,), and the accuracy of their neighbours.

    `accuracy` is in percent: how often a point's nearest neighbours name its class.
    """

    points: exploration.Points
    labels: Tensor
    accuracy: float

    @property
    def chance(self) -> float:
        """Accuracy in percent of always naming the most frequent class of these points."""
        return 100 * self.labels.bincount().max().item() / len(self.labels)


def embed_pca(settings: ExplorationSettings, dataset: Dataset) -> Embedding:
    """The first two principal components of the first training images."""
    return _embedding(settings, dataset, exploration.pca(_embedded(settings, dataset)))


def embed_tsne(settings: ExplorationSettings, dataset: Dataset) -> Embedding:
    """Fig. 3: t-SNE of the same images."""
    images = _embedded(settings, dataset)
    points = exploration.tsne(images, settings.seed, settings.perplexity)
    return _embedding(settings, dataset, points)


def pixel_accuracy(settings: ExplorationSettings, dataset: Dataset) -> float:
    """Accuracy in percent of naming a class by nearest neighbours among the pixels themselves."""
    pixels = _embedded(settings, dataset).flatten(1).numpy()
    labels = dataset.train_labels[: settings.n_embedded]
    return exploration.knn_accuracy(pixels, labels, settings.neighbours)


def _embedded(settings: ExplorationSettings, dataset: Dataset) -> Tensor:
    return dataset.train_images[: settings.n_embedded]


def _embedding(
    settings: ExplorationSettings, dataset: Dataset, points: exploration.Points
) -> Embedding:
    labels = dataset.train_labels[: settings.n_embedded]
    return Embedding(points, labels, exploration.knn_accuracy(points, labels, settings.neighbours))


class Maps(NamedTuple):
    """Feature maps of both convolutions for a few images, and how good the network is.

    `maps` has for each layer a tensor (images, maps, P, Q).
    """

    images: Tensor
    labels: Tensor
    maps: dict[str, Tensor]
    test_accuracy: float


def trained_maps(settings: ExplorationSettings, dataset: Dataset, count: int = 3) -> Maps:
    """Train the base CNN briefly and take its maps of the first test images."""
    model = settings.model(dataset, settings.seed)
    config = settings.train_config(settings.epochs, settings.batch_size, settings.seed)
    fit(model, dataset.train_images, dataset.train_labels, config)
    images, labels = dataset.test_images[:count], dataset.test_labels[:count]
    maps = feature_maps(model, images, ["conv1", "conv2"])
    accuracy = evaluate(model, dataset.test_images, dataset.test_labels)
    return Maps(images, labels, maps, accuracy)
