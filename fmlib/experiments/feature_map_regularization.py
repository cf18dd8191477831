"""Chapter 03: a trained network trained on its own feature maps, against its originals."""

from typing import Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from fmlib.data import Dataset
from fmlib.experiments.common import Count, Counts, Settings, continue_training
from fmlib.features import feature_maps
from fmlib.map_images import negative_share
from fmlib.training import History, evaluate, fit

Model = Literal["base", "maps", "originals"]
MODELS: tuple[Model, ...] = ("base", "maps", "originals")


class RegularizationSettings(Settings):
    """Settings of chapter 03; the lists have one entry per row of Fig. 9."""

    batch_sizes: Counts = Field(description="batch sizes, one per row of Fig. 9")
    epochs: Counts = Field(description="epochs on the images, one per row")
    map_epochs: Counts = Field(description="epochs on the feature maps, one per row")
    map_images: Counts = Field(description="images whose maps are trained on, one per row")
    layer: str = Field(description="layer whose feature maps become images")
    seeds: Count = Field(description="number of seeds; they are 0, 1, ...")

    @model_validator(mode="after")
    def _rows_agree(self) -> Self:
        lengths = {
            name: len(getattr(self, name))
            for name in ("batch_sizes", "epochs", "map_epochs", "map_images")
        }
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the lists have different lengths {lengths}; give one entry per row")
        if max(self.map_images) > self.n_train:
            raise ValueError(
                f"map_images holds {max(self.map_images)}, more than n_train = {self.n_train}"
            )
        return self


RELEASED_LEARNING_RATE = 0.01

_QUICK = {
    "dataset": "mnist",
    "n_train": 3000,
    "n_test": 1000,
    "learning_rate": 0.1,
    "input_scale": "unit",
    "batch_sizes": (64, 256),
    "epochs": (3, 6),
    "map_epochs": (1, 2),
    "map_images": (500, 300),
    "layer": "conv1",
    "seeds": 2,
}
PROFILES = {
    "smoke": _QUICK
    | {"n_train": 200, "n_test": 100, "epochs": (1, 1), "map_epochs": (1, 1)}
    | {"map_images": (20, 10)},
    "quick": _QUICK,
    "paper": _QUICK
    | {"n_train": 60_000, "n_test": 10_000, "epochs": (10, 5), "map_epochs": (10, 5)}
    | {"map_images": (60_000, 6_000), "seeds": 5}
    | {"learning_rate": 0.01, "input_scale": "released"},
}


class Accuracy(BaseModel):
    """Accuracies in percent on training and test images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: float
    test: float


class Row(BaseModel):
    """A base model, and two copies of it trained equally long on maps and on originals.

    `seen` counts the images that each continuation was to be trained on, repetitions
    included; training on maps may diverge before that.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int
    seed: int
    seen: int
    negative_share: float
    base: Accuracy
    maps: Accuracy
    originals: Accuracy
    maps_history: History

    @property
    def diverged(self) -> bool:
        """Whether training on maps ended in a loss that is no finite number."""
        return self.maps_history.divergence is not None


class ExampleMaps(NamedTuple):
    """Feature maps of a base model for a few images, as `fmlib.figures.feature_maps` draws them.

    `maps` has for each layer a tensor (images, maps, P, Q); `negative_share` lies in [0, 1].
    """

    images: Tensor
    maps: dict[str, Tensor]
    test_accuracy: float
    negative_share: float


def run(settings: RegularizationSettings) -> tuple[list[Row], ExampleMaps]:
    """The runs behind Fig. 9, one per row and seed, and maps of the first one's base model."""
    rows = range(len(settings.batch_sizes))
    measured = [run_once(settings, row, seed) for row in rows for seed in range(settings.seeds)]
    return [row for row, _ in measured], measured[0][1]


def run_as_released(settings: RegularizationSettings) -> list[Row]:
    """The first row of Fig. 9 with the released input scale and learning rate, per seed."""
    changes = {"input_scale": "released", "learning_rate": RELEASED_LEARNING_RATE}
    released = settings.model_copy(update=changes)
    return [run_once(released, row=0, seed=seed)[0] for seed in range(settings.seeds)]


def run_once(settings: RegularizationSettings, row: int, seed: int) -> tuple[Row, ExampleMaps]:
    """Train a base model, then copies of it on maps and on originals, equally long."""
    dataset = settings.load()
    batch_size, map_epochs = settings.batch_sizes[row], settings.map_epochs[row]
    base = settings.model(dataset, seed)
    train = dataset.train_images, dataset.train_labels
    fit(base, *train, settings.train_config(settings.epochs[row], batch_size, seed))
    chosen = settings.map_images[row]
    continued = continue_training(
        base,
        train[0][:chosen],
        train[1][:chosen],
        settings.layer,
        settings.train_config(map_epochs, batch_size, seed),
    )
    measured = Row(
        batch_size=batch_size,
        seed=seed,
        seen=sum(e.seen for e in continued.originals_history.epochs),
        negative_share=continued.negative_share,
        base=accuracy(base, dataset),
        maps=accuracy(continued.maps, dataset),
        originals=accuracy(continued.originals, dataset),
        maps_history=continued.maps_history,
    )
    return measured, _example(base, dataset, settings.layer)


def accuracy(model: nn.Module, dataset: Dataset) -> Accuracy:
    """Accuracies of a model on a dataset's images."""
    return Accuracy(
        train=evaluate(model, dataset.train_images, dataset.train_labels),
        test=evaluate(model, dataset.test_images, dataset.test_labels),
    )


def _example(base: nn.Sequential, dataset: Dataset, layer: str, count: int = 3) -> ExampleMaps:
    images = dataset.test_images[:count]
    maps = feature_maps(base, images, [layer])
    accuracy = evaluate(base, dataset.test_images, dataset.test_labels)
    return ExampleMaps(images, maps, accuracy, negative_share(maps[layer]))
