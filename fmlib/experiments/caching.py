"""Chapter 02: plain and cached training, every reading of the cache, and their controls."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from timeit import timeit
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, get_args

import numpy as np
import torch
from pydantic import Field, ValidationError, model_validator
from torch import Tensor, nn

from fmlib import caching
from fmlib.caching import PRESETS, PRINTED, RELEASED, CacheConfig, FeatureCache
from fmlib.data import Dataset
from fmlib.experiments.common import (
    Count,
    Counts,
    Result,
    RunConfig,
    Settings,
    Training,
    setting,
)
from fmlib.features import cosine_similarity, feature_maps, feature_vectors
from fmlib.models import InputScale, chunk_size, layer_table, multiply_adds
from fmlib.skipping import RandomSkip
from fmlib.training import History, Policy, evaluate, fit, predict

Condition = Literal["plain", "cached", "random"]
CONDITION_NAMES: dict[Condition, str] = {
    "plain": "plain",
    "cached": "cached",
    "random": "random skipping",
}
CONDITIONS = tuple(CONDITION_NAMES)


class ShortRuns(NamedTuple):
    """Size of the many short trainings of this chapter, and how often each is repeated."""

    images: int
    batch_size: int
    epochs: int
    seeds: int


class CachingSettings(Settings):
    """Settings of chapter 02."""

    layer_choices: ClassVar[tuple[str, ...]] = ("both",)

    shared: ClassVar = {
        "n_train": (200, 3000, 60_000),
        "learning_rate": (0.01, 0.01, 0.01),
        "input_scale": ("released", "released", "released"),
    }

    batch_size: Count = setting(200, "batch size of Fig. 7", smoke=50, paper=4096)
    epochs: Count = setting(10, "epochs of Fig. 7", smoke=2)
    seeds: Count = setting(2, "number of seeds of Fig. 7; they are 0, 1, ...", paper=5)
    batch_sizes: Counts = setting(
        (32, 128, 512),
        "batch sizes of Fig. 8",
        smoke=(64, 100),
        paper=(32, 64, 128, 256, 512, 1024, 2048, 4096),
    )
    sweep_epochs: Count = setting(5, "epochs of Fig. 8", smoke=1, paper=10)
    sweep_seeds: Count = setting(1, "number of seeds of Fig. 8; they are 0, 1, ...", paper=5)
    reading: Literal["released", "printed"] = setting(
        "released", "released (the authors' code) or printed (the paper)"
    )
    layer: str | None = setting(
        None, "layer whose maps are compared, or both; None: the reading's own"
    )
    options: dict[str, str | int] = setting(
        {}, "further options of the cache, such as {'hit': 'nearest', 'remember': 1}"
    )
    short_runs: Annotated[tuple[Count, Count, Count, Count], Field(strict=False)] = setting(
        (600, 40, 2, 2),
        "images, batch size, epochs and seeds of the short runs (not Fig. 7, 8)",
        smoke=(100, 25, 1, 1),
        paper=(60_000, 4096, 10, 5),
    )
    stage_seeds: Count = setting(4, "number of seeds of Fig. 5 and 6", smoke=2)

    @property
    def short(self) -> ShortRuns:
        """`short_runs` by name."""
        return ShortRuns(*self.short_runs)

    def cache_config(self) -> CacheConfig:
        """The reading, with layer and options of these settings where they are given."""
        given = {} if self.layer is None else {"layer": self.layer}
        return CacheConfig.model_validate(
            PRESETS[self.reading].model_dump() | given | self.options, strict=True
        )

    def check(self) -> Self:
        """Also refuse options that the cache does not have, and more images than there are."""
        if self.short.images > self.n_train:
            raise ValueError(
                f"short_runs asks for {self.short.images} images, more than n_train = "
                f"{self.n_train}"
            )
        try:
            layer = self.cache_config().layer
        except ValidationError as error:
            found = error.errors()[0]
            known = ", ".join(CacheConfig.model_fields)
            raise ValueError(
                f"options holds {found['loc'][0]} = {found['input']!r}: {found['msg']}; "
                f"the options are {known}"
            ) from None
        Settings.check(self.model_copy(update={"layer": layer}))
        return self


class Run(Result):
    """One training run and the accuracies in percent that it ends with.

    `train_accuracy` is measured for Fig. 8 only, and None elsewhere.
    """

    history: History
    train_accuracy: float | None
    test_accuracy: float

    def skipped(self, epoch: int) -> float:
        """Share of the images skipped in an epoch (0 the first, -1 the last), in percent."""
        found = self.history.epochs[epoch]
        return 100 * found.skipped / found.seen


class Comparison(Result):
    """Plain, cached and randomly skipping training from the same weights and batches."""

    batch_size: int
    seed: int
    plain: Run
    cached: Run
    random: Run


class Point(NamedTuple):
    """Where and how long to train, and what to measure beside the final test accuracy."""

    batch_size: int
    epochs: int
    seed: int
    test_every_epoch: bool = False
    train_accuracy: bool = False


def compare(settings: CachingSettings, dataset: Dataset) -> list[Comparison]:
    """The runs behind Fig. 7: one comparison per seed, tested after every epoch."""
    point = Point(settings.batch_size, settings.epochs, seed=0, test_every_epoch=True)
    points = [point._replace(seed=seed) for seed in range(settings.seeds)]
    return [_compare(settings, dataset, point) for point in points]


def sweep(settings: CachingSettings, dataset: Dataset) -> list[Comparison]:
    """The runs behind Fig. 8: one comparison per batch size and seed, tested at the end."""
    return [
        _compare(settings, dataset, Point(size, settings.sweep_epochs, seed, train_accuracy=True))
        for size, seed in product(settings.batch_sizes, range(settings.sweep_seeds))
    ]


def _compare(settings: CachingSettings, dataset: Dataset, point: Point) -> Comparison:
    """Plain and cached training at a point, and random skipping at the cache's rates."""
    cached = train_once(settings, dataset, point, settings.cache_config())
    return Comparison(
        batch_size=point.batch_size,
        seed=point.seed,
        plain=train_once(settings, dataset, point, None),
        cached=cached,
        random=train_once(settings, dataset, point, skip_rates(cached.history)),
    )


def train_once(
    settings: Training,
    dataset: Dataset,
    point: Point,
    skipping: CacheConfig | list[list[float]] | Callable[[nn.Sequential], Policy] | None,
) -> Run:
    """Train once: plainly (None), with a cache, skipping at random at given rates, or otherwise.

    A function makes the policy for the network that will be trained.
    The same point always means the same first weights and the same batches.
    """
    train = dataset.train_images, dataset.train_labels
    test = dataset.test_images, dataset.test_labels
    model = settings.model(dataset, point.seed)
    policy: Policy | None = None
    if isinstance(skipping, CacheConfig):
        policy = _cache(model, dataset, skipping)
    elif isinstance(skipping, list):
        policy = RandomSkip(skipping, point.seed)
    elif skipping is not None:
        policy = skipping(model)
    config = settings.train_config(point.epochs, point.batch_size, point.seed)
    every_epoch = test if point.test_every_epoch else None
    history = fit(model, *train, config, policy=policy, test=every_epoch)
    tested = history.test_accuracies[-1] if every_epoch else evaluate(model, *test)
    on_train = evaluate(model, *train) if point.train_accuracy else None
    return Run(history=history, train_accuracy=on_train, test_accuracy=tested)


class CachingRun(RunConfig):
    """One recorded training of Figures 7 and 8: plain, cached, or skipping at random.

    A cached run says how its cache reads the method; a random one has the rates, by epoch and
    class, that the cached run of the same seed skipped at.
    """

    batch_size: Count
    epochs: Count = 10
    condition: Condition
    cache: CacheConfig | None = None
    rates: tuple[tuple[float, ...], ...] | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.cache is not None) != (self.condition == "cached"):
            raise ValueError("a cached run has a cache, and no other run has")
        if self.rates is not None and self.condition != "random":
            raise ValueError("only a run that skips at random has rates")
        return self

    @property
    def label(self) -> str:
        """Dataset, images if few, batch size, condition and seed."""
        return f"{self.dataset}-{self.n_train}-batch-{self.batch_size}-{self.condition}"

    @property
    def cost(self) -> float:
        """Images trained on; small batches cost a little more, maps of two layers as much again."""
        share = 1.0 if self.condition == "plain" else 0.75
        if self.cache is not None and self.cache.layer == "both":
            share = 2.0
        return share * self.n_train * self.epochs * (1 + 8 / self.batch_size)

    @property
    def source(self) -> Self | None:
        """The cached run whose rates a run without rates needs."""
        if self.condition != "random" or self.rates is not None:
            return None
        return self.model_copy(update={"condition": "cached", "cache": RELEASED})

    def completed(self, source: Run) -> Self:
        """This run, at the rates of a cached one."""
        return self.model_copy(update={"rates": tuple(map(tuple, skip_rates(source.history)))})

    def run(self) -> Run:
        """Train, tested after every epoch and on the training images at the end."""
        assert self.source is None, "a run at random needs rates"
        point = Point(
            self.batch_size, self.epochs, self.seed, test_every_epoch=True, train_accuracy=True
        )
        rates = None if self.rates is None else [list(row) for row in self.rates]
        return train_once(self, self.load(), point, self.cache or rates)


def _cache(model: nn.Module, dataset: Dataset, config: CacheConfig) -> FeatureCache:
    return FeatureCache(model, dataset.n_classes, config, dataset.image_shape, dataset.train_images)


def skip_rates(history: History) -> list[list[float]]:
    """Share of the images of every class that a run skipped, epoch by epoch."""
    return [
        [a / max(n, 1) for a, n in zip(e.skipped_per_class, e.seen_per_class, strict=True)]
        for e in history.epochs
    ]


# --- Figures 4 to 6: one image's vector, and ten images against the cache ------------------


class Stage(NamedTuple):
    """The cache at one moment, and how similar images are to its vectors.

    `similarity` (images, classes) and `labels` (images,): the first test image of each class
    that has one; `own` (classes,) mean over all test images of the similarity to their own
    class's vector; `threshold` (classes,).
    """

    similarity: Tensor
    labels: Tensor
    own: Tensor
    threshold: Tensor


class Anatomy(NamedTuple):
    """Fig. 4: one image (C, H, W), its maps (maps, P, Q), and its vector beside the cached one.

    `vector` and `cached` (maps, parts) hold what each map contributes; `parts` names it.
    """

    image: Tensor
    maps: Tensor
    parts: tuple[str, ...]
    vector: Tensor
    cached: Tensor


class Stages(NamedTuple):
    """Fig. 4 to 6 for one seed: the cache after a few steps, and after the last one."""

    early: Stage
    late: Stage
    anatomy: Anatomy


EARLY_STEPS = 3


def stages(settings: CachingSettings, dataset: Dataset) -> list[Stages]:
    """Train with the cache for a few steps, look, go on to the end, and look again."""
    return [_stages(settings, dataset, seed) for seed in range(settings.stage_seeds)]


def _stages(settings: CachingSettings, dataset: Dataset, seed: int) -> Stages:
    sizes = settings.batch_size, settings.short.epochs
    early, late, model, cache = _two_stages(
        settings, dataset, settings.cache_config(), *sizes, seed
    )
    return Stages(early, late, _anatomy(model, cache, dataset))


def _two_stages(
    settings: Training,
    dataset: Dataset,
    config: CacheConfig,
    batch_size: int,
    epochs: int,
    seed: int,
) -> tuple[Stage, Stage, nn.Module, FeatureCache]:
    """The cache after a few steps, and after training from there to the end."""
    model = settings.model(dataset, seed)
    cache = _cache(model, dataset, config)
    images, labels = dataset.train_images, dataset.train_labels
    few = EARLY_STEPS * batch_size
    first = settings.train_config(1, batch_size, seed)
    fit(model, images[:few], labels[:few], first, policy=cache)
    early = _stage(cache, dataset)
    fit(model, images, labels, settings.train_config(epochs, batch_size, seed), policy=cache)
    return early, _stage(cache, dataset), model, cache


class StagesRun(RunConfig):
    """One recorded seed of Figures 5 and 6: images against the cache, early and late."""

    batch_size: Count
    epochs: Count = 10

    @property
    def label(self) -> str:
        """Dataset, images and batch size."""
        return f"{self.dataset}-{self.n_train}-batch-{self.batch_size}"

    @property
    def cost(self) -> float:
        """Images trained on."""
        return 0.75 * self.n_train * self.epochs * (1 + 8 / self.batch_size)

    def run(self) -> "RecordedStages":
        """Train with the released cache, and look at it twice."""
        dataset = self.load()
        early, late, *_ = _two_stages(
            self, dataset, RELEASED, self.batch_size, self.epochs, self.seed
        )
        return RecordedStages(early=_recorded(early), late=_recorded(late))


class RecordedStage(Result):
    """Similarities of one test image of each class (rows) to each cached vector (columns).

    None: the class had no vector.  `threshold` is the cache's, by class.
    """

    similarity: list[list[float | None]]
    threshold: list[float | None]


class RecordedStages(Result):
    """The cache after a few steps, and after training."""

    early: RecordedStage
    late: RecordedStage


def _recorded(stage: Stage) -> RecordedStage:
    rows = [[None if x != x else x for x in row] for row in stage.similarity.tolist()]
    limits = [None if x != x else x for x in stage.threshold.tolist()]
    return RecordedStage(similarity=rows, threshold=limits)


def _anatomy(model: nn.Module, cache: FeatureCache, dataset: Dataset) -> Anatomy:
    """Of the first test image; with two layers side by side, of the first one."""
    image, label = dataset.test_images[:1], int(dataset.test_labels[0])
    config = cache.config
    layer = "conv1" if config.layer == "both" else config.layer
    maps = feature_maps(model, image, [layer])[layer][0]
    parts = ("|mean|", "deviation") if config.vector == "pairs" else (config.vector,)
    size = len(maps) * len(parts)
    vector, cached = cache.vectors(image)[0, :size], cache.vector[label, :size]
    shape = len(maps), len(parts)
    return Anatomy(image[0], maps, parts, vector.reshape(shape), cached.reshape(shape).clone())


def _stage(cache: FeatureCache, dataset: Dataset) -> Stage:
    labels = dataset.test_labels
    similarity = cosine_similarity(cache.vectors(dataset.test_images), cache.vector)
    present = labels.unique()
    first = torch.stack([(labels == label).nonzero()[0, 0] for label in present])
    own = similarity.gather(1, labels[:, None])[:, 0]
    count = labels.bincount(minlength=dataset.n_classes)
    means = own.new_zeros(dataset.n_classes).index_add(0, labels, own) / count
    return Stage(similarity[first], present, means, cache.threshold.clone())


# --- readings: from printed to released, and every option alone ----------------------------


class Reading(NamedTuple):
    """One reading of the cache, named by what was changed last, and its short runs by seed.

    `option` is empty and `value` the preset's name where nothing was changed; without a cache
    both are empty.
    """

    option: str
    value: str
    runs: list[Run]


WALK = (
    "hit", "threshold", "vector", "moments", "layer", "update", "members", "reset", "missing_class",
)  # fmt: skip
"""Order in which the printed reading's options are set to the released ones."""

ALTERNATIVES: list[tuple[str, str | int]] = [
    *(("layer", "conv2"), ("layer", "both"), ("remember", 1)),
    *(
        (name, value)
        for name, field in CacheConfig.model_fields.items()
        for value in get_args(field.annotation)
        if value != field.default
    ),
]
"""Every value of every option that the released reading does not have."""


Steps = list[tuple[str, str | int, CacheConfig | None]]
"""Option, value and the whole configuration of readings."""


def walk_steps() -> list[tuple[str, str, CacheConfig]]:
    """The printed reading, and what each further switch makes of it; the last is the released."""
    config = PRINTED
    steps = [("", "printed", PRINTED)]
    for option in WALK:
        value = getattr(RELEASED, option)
        config = config.model_copy(update={option: value})
        steps.append((option, value, config))
    return steps


def walk(settings: CachingSettings, dataset: Dataset) -> list[Reading]:
    """From the printed to the released reading, one switch more at a time; plain training first."""
    return _readings(settings, dataset, [("", "", None), *walk_steps()])


def alternatives(settings: CachingSettings, dataset: Dataset) -> list[Reading]:
    """The released reading, and then each other value of each option set alone."""
    steps: Steps = [("", "released", RELEASED)]
    for option, value in ALTERNATIVES:
        steps.append((option, value, RELEASED.model_copy(update={option: value})))
    return _readings(settings, dataset, steps)


def _readings(
    settings: CachingSettings, dataset: Dataset, steps: Steps, **changes: Any
) -> list[Reading]:
    return [
        Reading(option, str(value), short_runs(settings, dataset, config, **changes))
        for option, value, config in steps
    ]


def short_runs(
    settings: CachingSettings, dataset: Dataset, skipping: CacheConfig | None, **changes: Any
) -> list[Run]:
    """Short runs on the first images, one per seed; `changes` to the `Point` that they share."""
    first, short = shortened(dataset, settings.short.images), settings.short
    point = Point(short.batch_size, short.epochs, seed=0)._replace(**changes)
    seeds = range(short.seeds)
    return [train_once(settings, first, point._replace(seed=seed), skipping) for seed in seeds]


def shortened(dataset: Dataset, count: int) -> Dataset:
    """The dataset with only its first training images, and the first half of its test images."""
    half = -(-len(dataset.test_labels) // 2)
    return replace(
        dataset,
        train_images=dataset.train_images[:count],
        train_labels=dataset.train_labels[:count],
        test_images=dataset.test_images[:half],
        test_labels=dataset.test_labels[:half],
    )


# --- a class missing from the first batch -------------------------------------------------


class MissingClass(NamedTuple):
    """Probability that a first batch misses a class: exact, and its share of random draws."""

    batch_size: int
    exact: float
    simulated: float
    draws: int


def missing_class(settings: CachingSettings, dataset: Dataset) -> list[MissingClass]:
    """How often the released cache is switched off for an epoch, by batch size."""
    sizes = dataset.train_labels.bincount(minlength=dataset.n_classes).tolist()
    draws, rows = 10_000, []
    for size in settings.batch_sizes:
        batch = min(size, sum(sizes))
        drawn = np.random.default_rng(0).multivariate_hypergeometric(sizes, batch, draws)
        exact = caching.missing_class_probability(sizes, batch)
        rows.append(MissingClass(size, exact, float((drawn == 0).any(axis=1).mean()), draws))
    return rows


def missing_class_effect(settings: CachingSettings, dataset: Dataset) -> list[Reading]:
    """Short runs at the smallest batch size: plain, as released, and with the fault mended."""
    size, epochs = min(settings.batch_sizes), 2 * settings.short.epochs
    mended = RELEASED.model_copy(update={"missing_class": "ignore"})
    steps: Steps = [("", "", None), ("", "released", RELEASED), ("missing_class", "ignore", mended)]
    return _readings(settings, dataset, steps, batch_size=size, epochs=epochs)


# --- what the network is fed --------------------------------------------------------------

INPUT_SCALES: tuple[InputScale, ...] = ("255", "unit", "standardized")


class Scaled(NamedTuple):
    """Plain and cached training, by seed, with one input scale."""

    input_scale: str
    plain: list[Run]
    cached: list[Run]


def input_scales(settings: CachingSettings, dataset: Dataset) -> list[Scaled]:
    """Short runs of Fig. 7 with pixels of 0 to 255, 0 to 1, and standardized."""
    found = []
    for scale in INPUT_SCALES:
        scaled = settings.model_copy(update={"input_scale": scale})
        plain, cached = (
            short_runs(
                scaled, dataset, skipping, epochs=1 + settings.short.epochs, test_every_epoch=True
            )
            for skipping in (None, settings.cache_config())
        )
        found.append(Scaled(scale, plain, cached))
    return found


# --- the cache at test time (Park & Kim 2019) ---------------------------------------------


class ExitLayer(NamedTuple):
    """Leaving a trained network at one layer if the image's vector is near enough to a class.

    Rates and accuracies in percent of the test images: `hits` leave early; `precision` of
    them are named right, `network_on_hits` would have been by the whole network; `nearest` is
    the accuracy of naming every image by its nearest class; `saved` are multiply-adds of the
    network that are not computed, and `time` the ratio of seconds to those without cache.
    """

    layer: str
    hits: float
    precision: float
    network_on_hits: float
    accuracy: float
    network: float
    nearest: float
    saved: float
    time: float


def exits(settings: CachingSettings, dataset: Dataset) -> list[list[ExitLayer]]:
    """Every layer with maps as exit of a plainly trained network, one list per seed."""
    return [_exits(settings, dataset, seed) for seed in range(settings.short.seeds)]


def _exits(settings: CachingSettings, dataset: Dataset, seed: int) -> list[ExitLayer]:
    model = settings.model(dataset, seed)
    config = settings.train_config(settings.sweep_epochs, min(settings.batch_sizes), seed)
    fit(model, dataset.train_images, dataset.train_labels, config)
    return exits_of(model, dataset)


def exits_of(model: nn.Sequential, dataset: Dataset) -> list[ExitLayer]:
    """Every layer of a trained network that has maps as an exit."""
    layers = [r.name for r in layer_table(model, dataset.image_shape)[1:] if len(r.shape) == 3]
    return [_exit(model, dataset, layer) for layer in layers]


def _exit(model: nn.Sequential, dataset: Dataset, layer: str) -> ExitLayer:
    vectors = caching.vector_function(model, CacheConfig(layer=layer))
    cached = caching.class_vectors(
        vectors(dataset.train_images), dataset.train_labels, dataset.n_classes
    )
    images, labels = dataset.test_images, dataset.test_labels
    nearest, hit = caching.early_exits(vectors(images), *cached)
    alone, whole = predict(model, images) == labels, nearest == labels
    after = 1 + [name for name, _ in model.named_children()].index(layer)
    costs = multiply_adds(model, dataset.image_shape)
    share = hit.double().mean().item()
    return ExitLayer(
        layer=layer,
        hits=100 * share,
        precision=_percent(whole[hit]),
        network_on_hits=_percent(alone[hit]),
        accuracy=_percent(torch.where(hit, whole, alone)),
        network=_percent(alone),
        nearest=_percent(whole),
        saved=100 * share * sum(costs[after:]) / sum(costs),
        time=_time_ratio(model, after, cached, images),
    )


def _percent(correct: Tensor) -> float:
    return 100 * correct.double().mean().item() if len(correct) else float("nan")


@torch.no_grad()
def _time_ratio(
    model: nn.Sequential, after: int, cached: tuple[Tensor, Tensor], images: Tensor
) -> float:
    """Seconds with early exits over seconds without, each the best of three alternating runs."""
    first, rest = model[:after], model[after:]

    def early() -> None:
        for part in images.split(chunk_size(images)):
            maps = first(part)
            _, hit = caching.early_exits(feature_vectors(maps), *cached)
            rest(maps[~hit])

    def whole() -> None:
        for part in images.split(chunk_size(images)):
            model(part)

    seconds = [(timeit(early, number=1), timeit(whole, number=1)) for _ in range(3)]
    return min(with_exits for with_exits, _ in seconds) / min(without for _, without in seconds)
