"""Chapter 03: a trained network trained on its own feature maps, against its controls."""

import copy
import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, get_args

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib import map_images, models
from fmlib.data import Dataset
from fmlib.experiments.common import (
    Count,
    Counts,
    InputScale,
    Rate,
    Rates,
    Result,
    RunConfig,
    Settings,
    Training,
    setting,
    trained_copy,
)
from fmlib.features import activation_after, feature_maps
from fmlib.map_images import WAYS, as_images, map_training_set, negative_share, repeat_images
from fmlib.training import Divergence, History, TrainConfig, evaluate, fit

Model = Literal["base", "maps", "originals", "blurred", "untrained"]
MODEL_NAMES: dict[Model, str] = {
    "base": "base model",
    "maps": "map model",
    "originals": "control: originals",
    "blurred": "control: blurred originals",
    "untrained": "control: untrained maps",
}
MODELS = tuple(MODEL_NAMES)
Networks = Annotated[
    tuple[Literal["base_cnn", "fashion_cnn"], ...], Field(strict=False, min_length=1)
]
Scales = Annotated[tuple[InputScale, ...], Field(strict=False, min_length=1)]


class RegularizationSettings(Settings):
    """Settings of chapter 03; the lists have one entry per row of Fig. 9."""

    shared: ClassVar = {"n_train": (100, 1500, 60_000), "n_test": (50, 1000, 10_000)}

    networks: Networks = setting(
        ("base_cnn", "base_cnn", "fashion_cnn"),
        "one per row of Fig. 9: base_cnn, or fashion_cnn (always on fashion-mnist)",
    )
    batch_sizes: Counts = setting(
        (16, 64, 16), "batch sizes, one per row of Fig. 9", paper=(64, 256, 256)
    )
    epochs: Counts = setting(
        (3, 5, 2), "epochs on the images, one per row", smoke=(1, 1, 1), paper=(10, 5, 5)
    )
    map_epochs: Counts = setting(
        (2, 2, 2), "epochs on the feature maps, one per row", smoke=(1, 1, 1), paper=(10, 5, 2)
    )
    map_images: Counts = setting(
        (50, 50, 10),
        "images whose maps are trained on, one per row",
        smoke=(4, 4, 2),
        paper=(60_000, 6000, 6000),
    )
    layer: str = setting("conv1", "layer whose feature maps become images")
    study_images: Count = setting(
        12, "images whose maps the short studies train on", smoke=2, paper=600
    )
    study_test_images: Count = setting(
        300, "test images of the ways of making map images", smoke=20, paper=10_000
    )
    study_epochs: Count = setting(2, "epochs on the maps in the short studies", smoke=1)
    study_batch_size: Count = setting(20, "batch size of the short studies", paper=64)
    nan_scales: Scales = setting(
        ("released", "255", "unit"),
        "input scales in the study of undefined losses",
        smoke=("released", "unit"),
    )
    nan_learning_rates: Rates = setting(
        (0.01, 0.1), "learning rates in the study of undefined losses"
    )
    seeds: Count = setting(2, "number of seeds; they are 0, 1, ...", paper=5)

    @model_validator(mode="after")
    def _rows_agree(self) -> Self:
        lengths = {
            name: len(getattr(self, name))
            for name in ("networks", "batch_sizes", "epochs", "map_epochs", "map_images")
        }
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the lists have different lengths {lengths}; give one entry per row")
        for name, most, limit in (
            ("map_images", max(self.map_images), "n_train"),
            ("study_images", self.study_images, "n_train"),
            ("study_test_images", self.study_test_images, "n_test"),
        ):
            if most > getattr(self, limit):
                raise ValueError(f"{name} holds {most}, more than {limit} = {getattr(self, limit)}")
        return self

    def of_row(self, row: int) -> Self:
        """These settings with the dataset of a row of Fig. 9."""
        if self.networks[row] == "base_cnn":
            return self
        return self.model_copy(update={"dataset": "fashion-mnist"})

    def check(self) -> Self:
        """As `Settings.check`, for the dataset and the network of every row."""
        super().check()
        for row, network in enumerate(self.networks):
            model = self.model(self.of_row(row).load(), 0, network)
            activation_after(model, self.layer)
        return self


class Accuracy(Result):
    """Accuracies in percent on training and test images."""

    train: float
    test: float

    @property
    def gap(self) -> float:
        """Train minus test accuracy in points."""
        return self.train - self.test


class Row(Result):
    """A base model, and copies of it trained equally long on maps and on each control.

    `row` counts the rows of Fig. 9 from 0.  `seen` counts the images that each copy was to be
    trained on, repetitions included; training on maps may diverge before that.  `roughness`
    is that of the originals and of the map images; `sigma`, in pixels, blurs the originals
    from one to the other.  The histories hold the test accuracy on originals after each epoch.
    """

    row: int
    dataset: str
    batch_size: int
    seed: int
    seen: int
    negative_share: float
    roughness: tuple[float, float]
    sigma: float
    accuracies: dict[Model, Accuracy]
    histories: dict[Model, History]

    def finished(self, model: Model) -> Accuracy | None:
        """Accuracies of a model; None if its training ended in a loss that is no number."""
        history = self.histories.get(model)
        return None if history and history.divergence else self.accuracies[model]


def by_row(rows: list[Row]) -> list[list[Row]]:
    """The runs of each row of Fig. 9, in the rows' order."""
    return [[run for run in rows if run.row == row] for row in sorted({run.row for run in rows})]


class ExampleMaps(NamedTuple):
    """Feature maps of a base model for a few images, as `fmlib.figures.feature_maps` draws them.

    `maps` has for each layer a tensor (images, maps, P, Q); `negative_share` lies in [0, 1].
    """

    images: Tensor
    maps: dict[str, Tensor]
    negative_share: float


def run(settings: RegularizationSettings) -> tuple[list[Row], list[nn.Sequential]]:
    """The runs behind Fig. 9, one per row and seed, and the first row's base models by seed."""
    measured = [
        run_once(settings, row, seed)
        for row, seed in product(range(len(settings.batch_sizes)), range(settings.seeds))
    ]
    return [row for row, _ in measured], [base for _, base in measured[: settings.seeds]]


Sets = dict[Model, Callable[[], tuple[Tensor, Tensor]]]
"""What copies of a base model are trained on, images and labels, made when they are needed."""
FROM_MAPS: tuple[Model, ...] = ("maps", "untrained")
"""Models trained on maps, which bypass the scaling layer."""


class TrainingSets(NamedTuple):
    """Sets of equally many images; roughness of originals and maps, and the blur between them."""

    sets: Sets
    roughness: tuple[float, float]
    sigma: float


def map_sets(base: nn.Sequential, images: Tensor, labels: Tensor, layer: str) -> Sets:
    """A base model's maps as training images, and the originals repeated as often."""
    made = map_training_set(base, images, labels, layer)
    times = len(made[0]) // len(images)
    return {"maps": lambda: made, "originals": lambda: repeat_images(images, labels, times)}


def training_sets(
    base: nn.Sequential, untrained: nn.Sequential, images: Tensor, labels: Tensor, layer: str
) -> TrainingSets:
    """As `map_sets`, with originals as smooth as the maps, and maps of an untrained network."""
    sets = map_sets(base, images, labels, layer)
    made, _ = sets["maps"]()
    rough = map_images.roughness(images), map_images.roughness(made)
    sigma, times = map_images.equal_blur(images.cpu(), rough[1]), len(made) // len(images)
    sets |= {
        "blurred": lambda: repeat_images(_blurred(images, sigma), labels, times),
        "untrained": lambda: map_training_set(untrained, images, labels, layer),
    }
    return TrainingSets(sets, rough, sigma)


def _blurred(images: Tensor, sigma: float) -> Tensor:
    return map_images.blur(images.cpu(), sigma).to(images.device)


def run_once(settings: RegularizationSettings, row: int, seed: int) -> tuple[Row, nn.Sequential]:
    """Train a base model, then copies of it on maps and on each control, equally long.

    The maps of an untrained layer are those of a network whose weights no other seed draws.
    """
    settings, network = settings.of_row(row), settings.networks[row]
    dataset, batch_size = settings.load(), settings.batch_sizes[row]
    base, untrained = (settings.model(dataset, s, network) for s in (seed, seed + settings.seeds))
    train = dataset.train_images, dataset.train_labels
    fit(base, *train, settings.train_config(settings.epochs[row], batch_size, seed))
    images, labels = (part[: settings.map_images[row]] for part in train)
    sets, rough, sigma = training_sets(base, untrained, images, labels, settings.layer)
    made, _ = sets["maps"]()
    test = dataset.test_images, dataset.test_labels
    histories: dict[Model, History] = {}
    accuracies: dict[Model, Accuracy] = {"base": accuracy(base, dataset)}
    config = settings.train_config(settings.map_epochs[row], batch_size, seed)
    for name, make in sets.items():
        from_maps = name in FROM_MAPS
        model, histories[name] = trained_copy(base, *make(), config, maps=from_maps, test=test)
        accuracies[name] = accuracy(model, dataset, histories[name].test_accuracies[-1])
    measured = Row(
        row=row,
        dataset=settings.dataset,
        batch_size=batch_size,
        seed=seed,
        seen=len(made) * config.epochs,
        negative_share=negative_share(made),
        roughness=rough,
        sigma=sigma,
        accuracies=accuracies,
        histories=histories,
    )
    return measured, base


class MapRun(RunConfig):
    """One recorded row of Figure 9: a base model trained further, on maps or on the originals.

    Base models of the same seed are the same; `originals` repeats every image as often as it
    has maps, so that both kinds see equally many images in equally many steps.
    """

    network: models.ModelName
    batch_size: Count
    epochs: Count
    map_epochs: Count
    map_images: Count
    images: Literal["maps", "originals"]
    layer: str = "conv1"

    @property
    def label(self) -> str:
        """Dataset, images, batch size, and what the base model is trained on further."""
        return f"{self.dataset}-{self.n_train}-batch-{self.batch_size}-{self.images}"

    @property
    def cost(self) -> float:
        """Images trained on, those of the larger network counted three times."""
        each, maps = (1, 15) if self.network == "base_cnn" else (3, 32)
        further = self.map_epochs * self.map_images * maps
        return each * (self.epochs * self.n_train + further) * (1 + 8 / self.batch_size)

    def run(self) -> "FurtherTraining":
        """Train the base model and its copy, tested on original images after every epoch."""
        dataset = self.load()
        train = dataset.train_images, dataset.train_labels
        base = self.model(dataset, self.seed, self.network)
        config = self.train_config(self.epochs, self.batch_size, self.seed)
        test = dataset.test_images, dataset.test_labels
        history = fit(base, *train, config, test=test)
        before = accuracy(base, dataset, history.test_accuracies[-1])
        images, labels = (part[: self.map_images] for part in train)
        n_maps = map_count(base, images, self.layer)
        from_maps = self.images == "maps"
        if from_maps:
            made = map_training_set(base, images, labels, self.layer)
        else:
            made = repeat_images(images, labels, n_maps)
        config = self.train_config(self.map_epochs, self.batch_size, self.seed)
        model, further = trained_copy(base, *made, config, maps=from_maps, test=test)
        some = -(-self.n_test // n_maps)  # about as many maps as test images
        on_maps = map_training_set(base, test[0][:some], test[1][:some], self.layer)
        return FurtherTraining(
            base=before,
            base_history=history,
            after=accuracy(model, dataset, further.test_accuracies[-1]),
            history=further,
            on_maps=evaluate(model[1:], *on_maps),
            negative_share=negative_share(on_maps[0]),
            likeness=_likeness(base, test[0][:some].cpu(), self.layer),
        )


def _likeness(base: nn.Sequential, images: Tensor, layer: str) -> dict[str, list[float | None]]:
    maps = feature_maps(base, images.to(next(base.parameters())), [layer])[layer].cpu()
    found = {f"{sigma:g}": map_images.likeness(maps, images, sigma).tolist() for sigma in SIGMAS}
    return {sigma: [None if x != x else x for x in row] for sigma, row in found.items()}


SIGMAS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
"""Blurs, in pixels, that recorded runs compare feature maps with."""


class FurtherTraining(Result):
    """A base model, and what further training made of it; accuracies in percent.

    `on_maps` is the accuracy on the maps of the first test images, one by one, after it;
    `negative_share` in [0, 1] is that of these maps' values.  `likeness` is their squared
    correlation with the images under each blur, map by map, None for a flat one.
    """

    base: Accuracy
    base_history: History
    after: Accuracy
    history: History
    on_maps: float
    negative_share: float
    likeness: dict[str, list[float | None]]


class UndefinedLossRun(RunConfig):
    """Recorded short trainings of section 7.2: one activation, all images and learning rates."""

    activation: models.Activation
    learning_rates: tuple[Rate, ...] = (0.01, 0.1)
    images: Count = 600
    epochs: Count = 2
    batch_size: Count = 64

    @property
    def label(self) -> str:
        """Dataset, images and activation."""
        return f"{self.dataset}-{self.n_train}-{self.activation.replace('_', '-')}"

    @property
    def cost(self) -> float:
        """Images trained on, maps included."""
        return self.n_train + 5 * 15 * self.images * self.epochs * len(self.learning_rates)

    def run(self) -> "Trials":
        """Train a base model for an epoch, then its copies on maps, each for a few."""
        found = _trials(
            self,
            self.activation,
            self.seed,
            "conv1",
            ShortTraining(self.images, self.epochs, self.batch_size, self.learning_rates),
        )
        return Trials(trials=tuple(found))


def accuracy(model: nn.Module, dataset: Dataset, test: float | None = None) -> Accuracy:
    """Accuracies of a model on a dataset's images, that on test images unless it is known."""
    return Accuracy(
        train=evaluate(model, dataset.train_images, dataset.train_labels),
        test=evaluate(model, dataset.test_images, dataset.test_labels) if test is None else test,
    )


def example(settings: RegularizationSettings, base: nn.Sequential, count: int = 3) -> ExampleMaps:
    """Maps of the first row's base model for the first test images."""
    images = settings.of_row(0).load().test_images[:count]
    maps = feature_maps(base, images, [settings.layer])
    return ExampleMaps(images, maps, negative_share(maps[settings.layer]))


class WayRun(Result):
    """Short training on images made of maps in one way, or on `originals`, the control.

    Test accuracies in percent on the original images (None for `channels`) and on images made
    of test images in the same way (None for `originals`); both None if the loss was no number.
    The way `base` is the base model before it.
    """

    way: str
    after: bool = False
    fresh: bool = False
    seed: int
    on_originals: float | None = None
    on_maps: float | None = None


def run_ways(settings: RegularizationSettings, bases: list[nn.Sequential]) -> list[WayRun]:
    """Short training in all ways of making map images, with the first row's base models.

    Maps before or after activation, weights of the base model or fresh ones; as many images
    in as many steps for all.
    """
    settings = settings.of_row(0)
    return [run for seed, base in enumerate(bases) for run in _way_runs(settings, base, seed)]


def _way_runs(settings: RegularizationSettings, base: nn.Sequential, seed: int) -> Iterator[WayRun]:
    dataset, layer, n_test = settings.load(), settings.layer, settings.study_test_images
    train, test = dataset.train_images[: settings.study_images], dataset.test_images[:n_test]
    labels, test_labels = dataset.train_labels[: len(train)], dataset.test_labels[:n_test]
    repeated = labels.repeat_interleave(map_count(base, train, layer))
    config = settings.train_config(settings.study_epochs, settings.study_batch_size, seed)
    yield WayRun(way="base", seed=seed, on_originals=evaluate(base, test, test_labels))
    for way, after in [("originals", False), *product(WAYS, (False, True))]:
        make = partial(way_images, base, way=way, layer=layer, after=after)
        made = make(train)
        tested = -(-n_test * len(train) // len(made))  # about as many are made as test images
        made_test = make(test[:tested])
        for fresh in (False, True):
            start = None if fresh else base
            network = settings.networks[0]
            model, history = _train_on(settings, dataset, network, start, (made, repeated), config)
            run = WayRun(way=way, after=after, fresh=fresh, seed=seed)
            scores: dict[str, float] = {}
            if history.divergence is None and way != "channels":
                scores["on_originals"] = evaluate(model, test, test_labels)
            if history.divergence is None and way != "originals":
                scores["on_maps"] = on_made(model, made_test, test_labels[:tested])
            yield run.model_copy(update=scores)


def map_count(model: nn.Sequential, images: Tensor, layer: str) -> int:
    """How many maps a layer has of each image."""
    return feature_maps(model, images[:1], [layer])[layer].shape[1]


def way_images(
    model: nn.Sequential, images: Tensor, *, way: str, layer: str, after: bool = False
) -> Tensor:
    """Images made in one way of a layer's maps, before or after the activation, or `originals`.

    Takes images (N, C, H, W) in [0, 1]; returns what the network without its scaling layer takes,
    (M, C or maps, H, W) as `fmlib.map_images.as_images` does.
    """
    if way == "originals":
        scaled: Tensor = model[0](images)
        return scaled
    maps = feature_maps(model, images, [layer])[layer]
    channels, height, width = images.shape[1:]
    chosen = activation_after(model, layer)(maps) if after else maps
    return as_images(chosen, (channels, height, width), way)


def on_made(model: nn.Sequential, made: Tensor, labels: Tensor) -> float:
    """Accuracy in percent on images (M, C, H, W), M / N made of each image with a label (N,)."""
    return evaluate(model[1:], made, labels.repeat_interleave(len(made) // len(labels)))


def _train_on(
    settings: Training,
    dataset: Dataset,
    network: models.ModelName,
    start: nn.Sequential | None,
    train: tuple[Tensor, Tensor],
    config: TrainConfig,
    test: tuple[Tensor, Tensor] | None = None,
) -> tuple[nn.Sequential, History]:
    """Train a network on images that bypass its scaling layer, repeated to as many as labels.

    It starts with the weights of `start` where they fit.
    """
    made, labels = train
    model = settings.model(dataset, config.seed, network, made.shape[1])
    own = model.state_dict()
    known = own if start is None else start.state_dict()
    kept = {name: value for name, value in known.items() if value.shape == own[name].shape}
    model.load_state_dict(own | kept)
    repeated = made.repeat_interleave(len(labels) // len(made), 0)
    return model, fit(model[1:], repeated, labels, config, test=test)


RecordedWay = Literal[
    "each_map", "each_map after", "each_map fresh", "sum_map", "mean_map", "mean_map after",
    "originals", "originals fresh", "blurred", "untrained",
]  # fmt: skip
"""A way or control: maps after the activation, or weights that are not the base model's."""
WAY_NAMES: dict[str, str] = {
    "each_map": "each map",
    "each_map after": "each map, after ReLU",
    "mean_map": "mean of the maps",
    "base": MODEL_NAMES["base"],
    "originals": MODEL_NAMES["originals"],
    "blurred": MODEL_NAMES["blurred"],
    "untrained": MODEL_NAMES["untrained"],
}
"""Names of the base model and of what its recorded copies are trained on."""
OTHER_WEIGHTS = 1000
"""Added to a recorded run's seed for a network whose weights no other seed draws."""


class WaysRun(RunConfig):
    """Recorded training of one base model's copies, each on images made in another way.

    All see equally many images in equally many steps, and are tested on original images.
    """

    ways: tuple[RecordedWay, ...]
    batch_size: Count = 256
    epochs: Count = 5
    map_epochs: Count = 10
    map_images: Count = 6000
    layer: str = "conv1"

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if len(set(self.ways)) != len(self.ways) or not self.ways:
            raise ValueError(f"ways are {self.ways}; give each once, at least one")
        if self.map_images > self.n_train:
            raise ValueError(
                f"map_images is {self.map_images}; give at most n_train = {self.n_train}"
            )
        return self

    @property
    def label(self) -> str:
        """Dataset, images, input scale, and the first and the last way."""
        ways = f"{self.ways[0]}-to-{self.ways[-1]}".replace("_", "-").replace(" ", "-")
        return f"{self.dataset}-{self.n_train}-{self.input_scale}-{ways}"

    @property
    def cost(self) -> float:
        """Images trained on."""
        return self.epochs * self.n_train + 15 * self.map_images * self.map_epochs * len(self.ways)

    def run(self) -> "Ways":
        """Train the base model, then its copies one after the other."""
        dataset = self.load()
        seeds = self.seed, self.seed + OTHER_WEIGHTS
        base, untrained = (self.model(dataset, seed) for seed in seeds)
        train = dataset.train_images, dataset.train_labels
        fit(base, *train, self.train_config(self.epochs, self.batch_size, self.seed))
        images, labels = (part[: self.map_images] for part in train)
        rough, sigma = training_sets(base, untrained, images, labels, self.layer)[1:]
        made_by = partial(_recorded_images, base, untrained, layer=self.layer, sigma=sigma)
        trained = {
            way: self._further(dataset, base, way, partial(made_by, way=way)) for way in self.ways
        }
        return Ways(base=accuracy(base, dataset), roughness=rough, sigma=sigma, trained=trained)

    def _further(
        self,
        dataset: Dataset,
        base: nn.Sequential,
        way: RecordedWay,
        make: Callable[[Tensor], Tensor],
    ) -> "WayTrained":
        images, labels = dataset.train_images, dataset.train_labels
        made = make(images[: self.map_images])
        repeated = labels[: self.map_images].repeat_interleave(map_count(base, images, self.layer))
        start = None if "fresh" in way else base
        config = self.train_config(self.map_epochs, self.batch_size, self.seed)
        test = base[0](dataset.test_images), dataset.test_labels
        model, history = _train_on(self, dataset, "base_cnn", start, (made, repeated), config, test)
        tested = -(-self.n_test * self.map_images // len(made))  # about as many made as test images
        made_test = make(dataset.test_images[:tested])
        return WayTrained(
            tests=tuple(history.test_accuracies),
            losses=tuple(epoch.loss for epoch in history.epochs),
            after=accuracy(model, dataset, history.test_accuracies[-1]),
            on_made=on_made(model, made_test, dataset.test_labels[:tested]),
            divergence=history.divergence,
        )


def _recorded_images(
    base: nn.Sequential,
    untrained: nn.Sequential,
    images: Tensor,
    *,
    way: RecordedWay,
    layer: str,
    sigma: float,
) -> Tensor:
    """Images made of images, as `way_images` gives them; `sigma` is for `blurred`."""
    name = way.split()[0]
    if name == "blurred":
        return way_images(base, _blurred(images, sigma), way="originals", layer=layer)
    if name == "untrained":
        return way_images(untrained, images, way="each_map", layer=layer)
    return way_images(base, images, way=name, layer=layer, after="after" in way)


class WayTrained(Result):
    """What training on images made in one way led to; accuracies in percent.

    `tests` is the accuracy on original test images after each epoch, `losses` each epoch's mean
    loss, None where it is no number.  `after` is measured on the originals with the last weights,
    `on_made` on images made of the first test images in the same way.
    """

    tests: tuple[float, ...]
    losses: tuple[float | None, ...]
    after: Accuracy
    on_made: float
    divergence: Divergence | None


class Ways(Result):
    """A base model, and what each way made of it.

    `roughness` is that of the originals and of the map images; `sigma`, in pixels, blurs the
    originals from one to the other.
    """

    base: Accuracy
    roughness: tuple[float, float]
    sigma: float
    trained: dict[RecordedWay, WayTrained]


BASE_RATES: dict[InputScale, float] = {
    "released": 0.01,
    "255": 0.003,
    "unit": 0.1,
    "standardized": 0.1,
}
"""Learning rates of the base models whose maps are studied: the released one, and such as train."""


class Trial(Result):
    """What became of the base CNN that was trained further on some images (section 7.2).

    Before the first step: shares of values below zero and of dead units in [0, 1], loss and
    norm of the gradient on the first batch, norm of all weights; None where a number is not
    finite.  Then the history, which ends where the loss is no number, and the share of dead
    units of the last weights.  All are None if the base model's own training, on images,
    ended in a loss that is no number.
    """

    activation: models.Activation
    input_scale: InputScale
    images: str
    seed: int
    learning_rate: float
    negative_share: float | None = None
    dead_share: float | None = None
    first_loss: float | None = None
    gradient: float | None = None
    weights: float | None = None
    history: History | None = None
    dead_share_after: float | None = None

    @property
    def step(self) -> float | None:
        """Norm of the first step over the norm of all weights."""
        if self.gradient is None or self.weights is None:
            return None
        return self.learning_rate * self.gradient / self.weights

    @property
    def last_loss(self) -> float | None:
        """Mean loss of the last epoch; None where it is no number."""
        return self.history.epochs[-1].loss if self.history else None


class Trials(Result):
    """What became of all short trainings from one base model."""

    trials: tuple[Trial, ...]


class ShortTraining(NamedTuple):
    """How many images' maps are trained on, how often, and at which learning rates."""

    images: int
    epochs: int
    batch_size: int
    learning_rates: tuple[float, ...]


def run_undefined_losses(settings: RegularizationSettings) -> list[Trial]:
    """Short training of the base CNN on maps: activation, input scale, learning rate, seed.

    Beside maps before and after the activation stand the originals; for the released network
    and input scale also maps without their signs and maps without their scale.
    """
    short = ShortTraining(
        settings.study_images,
        settings.study_epochs,
        settings.study_batch_size,
        settings.nan_learning_rates,
    )
    found: list[Trial] = []
    for activation in get_args(models.Activation):
        for scale, seed in product(settings.nan_scales, range(settings.seeds)):
            changes = {"input_scale": scale, "learning_rate": BASE_RATES[scale]}
            scaled = settings.model_copy(update=changes)
            found += _trials(scaled, activation, seed, settings.layer, short)
    return found


def _trials(
    settings: Training, activation: models.Activation, seed: int, layer: str, short: ShortTraining
) -> Iterator[Trial]:
    dataset, scale = settings.load(), settings.input_scale
    base = settings.model(dataset, seed, activation=activation)
    config = settings.train_config(1, short.batch_size, seed)
    trained = fit(base, dataset.train_images, dataset.train_labels, config)
    some = dataset.train_images[: short.images]
    maps = feature_maps(base, some, [layer])[layer]
    before = as_images(maps, dataset.image_shape)
    sets = {
        "originals": base[0](some).repeat_interleave(maps.shape[1], 0),
        "maps before": before,
        "maps after": as_images(activation_after(base, layer)(maps), dataset.image_shape),
    }
    if (activation, scale) == ("relu", "released"):
        sets |= {"absolute maps before": before.abs(), "maps before / 255": before / 255}
    labels = dataset.train_labels[: len(some)].repeat_interleave(maps.shape[1])
    for (kind, images), rate in product(sets.items(), short.learning_rates):
        trial = Trial(
            activation=activation, input_scale=scale, images=kind, seed=seed, learning_rate=rate
        )
        if trained.divergence is None:
            network = copy.deepcopy(base[1:])
            changes = {"learning_rate": rate, "epochs": short.epochs}
            found = _first_step(network, images, labels, config)
            found["history"] = fit(network, images, labels, config.model_copy(update=changes))
            found["dead_share_after"] = map_images.dead_share(network, images)
            trial = trial.model_copy(update=found)
        yield trial


def _first_step(
    network: nn.Module, images: Tensor, labels: Tensor, config: TrainConfig
) -> dict[str, Any]:
    """What `Trial` says of the time before the first step; the batch is the one `fit` draws."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(config.seed))
    first, weights = order[: config.batch_size], list(network.parameters())
    loss = F.nll_loss(network(images[first]), labels[first])
    norm = nn.utils.get_total_norm
    numbers = {
        "negative_share": negative_share(images),
        "dead_share": map_images.dead_share(network, images),
        "first_loss": loss.item(),
        "gradient": norm(torch.autograd.grad(loss, weights)).item(),
        "weights": norm(weights).item(),
    }
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}
