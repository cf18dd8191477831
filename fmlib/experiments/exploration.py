"""Chapter 01: centroids, outliers, embeddings, and what trained networks make of outliers."""

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal, NamedTuple, Self, get_args

import torch
from pydantic import Field
from torch import Tensor, nn

from fmlib import exploration
from fmlib.data import Dataset
from fmlib.experiments.common import Count, Result, RunConfig, Settings, setting
from fmlib.features import feature_maps
from fmlib.training import fit, predict

Class = Annotated[int, Field(ge=0)]
Network = Literal["no outliers", "control"]
NETWORKS: tuple[Network, ...] = get_args(Network)
Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


class ExplorationSettings(Settings):
    """Settings of chapter 01."""

    shared: ClassVar = {
        "n_train": (300, 2400, 60_000),
        "n_test": (100, 2000, 10_000),
        "learning_rate": (0.05, 0.05, 0.01),
        "input_scale": ("standardized", "standardized", "released"),
    }

    classes: Annotated[tuple[Class, ...], Field(strict=False, min_length=1)] = setting(
        (3, 7), "classes whose outliers are shown"
    )
    n_outliers: Count = setting(5, "outliers shown of each class")
    n_embedded: Count = setting(
        2000, "training images embedded by PCA and t-SNE", smoke=200, paper=10_000
    )
    perplexity: Annotated[float, Field(gt=0)] = setting(
        30.0, "perplexity of t-SNE, below n_embedded / 3"
    )
    neighbours: Count = setting(10, "nearest neighbours that name a point's class")
    epochs: Count = setting(
        3,
        "epochs of each network, before one more at a tenth of the learning rate",
        smoke=1,
        paper=10,
    )
    batch_size: Count = setting(32, "batch size of each network", paper=64)
    seeds: Count = setting(3, "pairs of networks, each with its own seed", smoke=2, paper=5)
    seed: Annotated[int, Field(ge=0, lt=2**32)] = setting(
        0, "seed of the first pair of networks and of t-SNE"
    )

    def check(self) -> Self:
        """Also refuse what the number of images does not allow, and classes without images."""
        super().check()
        dataset = self.load()
        labels = dataset.train_labels
        counts = labels.bincount(minlength=dataset.n_classes).tolist()
        for label in self.classes:
            if label >= dataset.n_classes:
                raise ValueError(
                    f"classes holds {label}, but {self.dataset} has classes 0 to "
                    f"{dataset.n_classes - 1}"
                )
        rarest = min(self.classes, key=counts.__getitem__)
        if not counts[rarest]:
            raise ValueError(
                f"classes holds {rarest}, but none of the {self.n_train} training images "
                f"shows it; choose from {', '.join(map(str, labels.unique().tolist()))}"
            )
        points, shown = self.n_embedded, f"{counts[rarest]}, the images of class {rarest}"
        folds, tenths = labels[:points].bincount().max(), dataset.test_labels.bincount().max()
        for name, possible, remedy in (
            ("n_outliers", self.n_outliers <= counts[rarest], f"at most {shown}"),
            ("n_embedded", points <= self.n_train, f"at most n_train = {self.n_train}"),
            ("n_embedded", folds >= exploration.FOLDS, "more, to cross-validate neighbours"),
            ("perplexity", 3 * self.perplexity < points, f"below a third of n_embedded = {points}"),
            ("neighbours", 2 * self.neighbours <= points, f"at most half of n_embedded = {points}"),
            ("n_train", max(counts) >= 10, "more, so that some class has 10 of them"),
            ("n_test", tenths >= 10, "more, so that some class has 10 of them"),
        ):
            if not possible:
                raise ValueError(f"{name} is {getattr(self, name)}; give {remedy}")
        return self


class ExplorationRun(RunConfig):
    """One recorded look at the data: embeddings of `n_embedded` images of its own, and outliers.

    Seed s embeds images s n_embedded to (s + 1) n_embedded.
    """

    n_embedded: Count = 10_000
    perplexity: float = 30.0
    neighbours: Count = 10
    epochs: Count = 10
    batch_size: Count = 64

    @property
    def label(self) -> str:
        """Dataset and number of images."""
        return f"{self.dataset}-{self.n_train}"

    @property
    def cost(self) -> float:
        """Images trained on by both networks; t-SNE takes as long as a few epochs."""
        return 2 * (self.epochs + 1) * self.n_train + 20 * self.n_embedded

    def run(self) -> "Exploration":
        """Embed, measure distances to the centroids, train without and with the outliers."""
        dataset = self.load()
        own = slice(self.seed * self.n_embedded, (self.seed + 1) * self.n_embedded)
        images, labels = dataset.train_images[own], dataset.train_labels[own]
        means = exploration.centroids(dataset.train_images, dataset.train_labels, dataset.n_classes)
        nearest = torch.cdist(dataset.test_images.flatten(1), means.flatten(1)).argmin(dim=1)
        found = _outlier_run(self, dataset, means, self.seed)
        return Exploration(
            neighbours=_neighbours(self, images, labels),
            nearest_centroid=100 * (nearest == dataset.test_labels).double().mean().item(),
            error_rates={split: found.errors[split].rates for split in SPLITS},
            trends={split: found.errors[split].trend for split in SPLITS},
            accuracies={name: group.accuracy for name, group in found.groups.items()},
            diverged=found.diverged,
        )


class EmbeddingsRun(RunConfig):
    """One recorded embedding of all images, training and test together, by PCA and t-SNE.

    The seed only jitters the start of t-SNE, which is that of PCA.
    """

    perplexity: float = 30.0
    neighbours: Count = 10

    @property
    def label(self) -> str:
        """Dataset and number of images embedded."""
        return f"{self.dataset}-{self.n_train + self.n_test}"

    @property
    def cost(self) -> float:
        """As many images trained on take as long."""
        return 20 * (self.n_train + self.n_test)

    def run(self) -> "Embeddings":
        """Embed, and judge by the neighbours."""
        dataset = self.load()
        images = torch.cat((dataset.train_images, dataset.test_images))
        labels = torch.cat((dataset.train_labels, dataset.test_labels))
        return Embeddings(neighbours=_neighbours(self, images, labels))


class Embeddings(Result):
    """How often in percent a point's neighbours in the plane name its class, by embedding."""

    neighbours: dict[str, float]


def _neighbours(
    settings: ExplorationRun | EmbeddingsRun, images: Tensor, labels: Tensor
) -> dict[str, float]:
    """As `Exploration` has it, of these images (N, C, H, W) and labels (N,)."""
    images, labels = images.cpu(), labels.cpu()
    points = {
        "PCA": exploration.pca(images),
        "t-SNE": exploration.tsne(images, settings.seed, settings.perplexity),
    }
    return {
        name: exploration.knn_accuracy(places, labels, settings.neighbours)
        for name, places in points.items()
    }


class Exploration(Result):
    """What one look at the data found; accuracies and error rates in percent.

    `neighbours` is how often a point's neighbours name its class, by embedding;
    `nearest_centroid` how often the nearest mean image names that of a test image.  Error
    rates are those of the network trained with the outliers, by decile of distance to the
    centroid; `trends` their rank correlation with it.  `accuracies` are those of both
    networks by group of images, as in `OutlierRun`.
    """

    neighbours: dict[str, float]
    nearest_centroid: float
    error_rates: dict[Split, list[float]]
    trends: dict[Split, float]
    accuracies: dict[str, dict[Network, float]]
    diverged: int


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
    """Points (N, D) of a space, their classes (N,), and the accuracy of their neighbours.

    `accuracy` is in percent: how often a point's nearest neighbours name its class.
    """

    points: exploration.Points
    labels: Tensor
    accuracy: float

    @property
    def chance(self) -> float:
        """Accuracy in percent of always naming the most frequent class of these points."""
        return 100 * self.labels.bincount().max().item() / len(self.labels)

    def named_by(self, neighbours: int) -> Tensor:
        """The class (N,) that so many nearest neighbours give each point."""
        return exploration.named_by_neighbours(self.points, self.labels, neighbours)


_SPACES: dict[str, Callable[[ExplorationSettings, Tensor], exploration.Points]] = {
    "PCA": lambda settings, images: exploration.pca(images),
    "t-SNE": lambda settings, images: exploration.tsne(images, settings.seed, settings.perplexity),
    "pixels": lambda settings, images: images.flatten(1).numpy(),
}


def embed(
    settings: ExplorationSettings, dataset: Dataset, space: Literal["PCA", "t-SNE", "pixels"]
) -> Embedding:
    """Fig. 3: the first training images as points of the plane, or of all their pixels."""
    points = _SPACES[space](settings, dataset.train_images[: settings.n_embedded])
    labels = dataset.train_labels[: settings.n_embedded]
    return Embedding(points, labels, exploration.knn_accuracy(points, labels, settings.neighbours))


class Group(NamedTuple):
    """Number of images in a group, and both networks' accuracy on them in percent."""

    n: int
    accuracy: dict[Network, float]


class OutlierRun(NamedTuple):
    """Two networks of one seed: one trained without the outlying tenth of every class.

    The control is trained without a random tenth of the other images.  `errors` are its errors
    by decile of distance, among the images it was trained on and the test images; `diverged`
    says how many of the two ended early by an undefined loss.
    """

    diverged: int
    control: nn.Sequential
    errors: dict[Split, exploration.Errors]
    groups: dict[str, Group]


def outlier_runs(
    settings: ExplorationSettings, dataset: Dataset, found: Distances
) -> list[OutlierRun]:
    """Section 3: networks trained without and with the outliers, in equally many steps."""
    seeds = range(settings.seed, settings.seed + settings.seeds)
    return [_outlier_run(settings, dataset, found.centroids, seed) for seed in seeds]


def _outlier_run(
    settings: ExplorationSettings | ExplorationRun, dataset: Dataset, means: Tensor, seed: int
) -> OutlierRun:
    images = torch.cat((dataset.train_images, dataset.test_images))
    labels = torch.cat((dataset.train_labels, dataset.test_labels))
    test = torch.arange(len(labels)) >= len(dataset.train_labels)
    parts = labels + dataset.n_classes * test  # deciles of training and of test images apart
    decile = exploration.deciles(exploration.centroid_distances(images, labels, means), parts)
    outlying = (decile == 9) & ~test
    random = exploration.random_tenth(outlying, parts, seed) & ~test
    config = settings.train_config(settings.epochs, settings.batch_size, seed)
    slow = config.model_copy(update={"epochs": 1, "learning_rate": config.learning_rate / 10})
    models = {network: settings.model(dataset, seed) for network in NETWORKS}
    right, diverged = {}, 0
    for (network, model), left_out in zip(models.items(), (outlying, random), strict=True):
        trained = ~(left_out | test)
        runs = [fit(model, images[trained], labels[trained], phase) for phase in (config, slow)]
        diverged += any(run.divergence for run in runs)
        right[network] = predict(model, images) == labels

    def errors(of: Tensor) -> exploration.Errors:
        return exploration.errors_by_decile(right["control"][of], decile[of])

    def group(of: Tensor) -> Group:
        accuracy = {n: 100 * right[n][of].double().mean().item() for n in NETWORKS}
        return Group(int(of.sum()), accuracy)

    return OutlierRun(
        diverged,
        models["control"],
        {"train": errors(~(random | test)), "test": errors(test)},
        {
            "training images, outlying tenth": group(outlying),
            "training images, random tenth": group(random),
            "test images, outlying tenth": group((decile == 9) & test),
            "test images, all": group(test),
        },
    )


class Maps(NamedTuple):
    """Feature maps of both convolutions for a few images.

    `maps` has for each layer a tensor (images, maps, P, Q).
    """

    images: Tensor
    maps: dict[str, Tensor]


def first_maps(model: nn.Module, dataset: Dataset, count: int = 3) -> Maps:
    """A network's maps of the first test images."""
    images = dataset.test_images[:count]
    return Maps(images, feature_maps(model, images, ["conv1", "conv2"]))
