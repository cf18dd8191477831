"""Chapter 02: plain and cached training, and random skipping at the cache's rates."""

from typing import ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from fmlib.caching import PRESETS, CacheConfig, FeatureCache
from fmlib.experiments.common import Count, Counts, Settings
from fmlib.skipping import RandomSkip
from fmlib.training import History, Policy, evaluate, fit

Condition = Literal["plain", "cached", "random"]
CONDITIONS: tuple[Condition, ...] = ("plain", "cached", "random")


class CachingSettings(Settings):
    """Settings of chapter 02."""

    layer_choices: ClassVar[tuple[str, ...]] = ("both",)

    batch_size: Count = Field(description="batch size of Fig. 7")
    epochs: Count = Field(description="epochs of Fig. 7")
    seeds: Count = Field(description="number of seeds of Fig. 7; they are 0, 1, ...")
    batch_sizes: Counts = Field(description="batch sizes of Fig. 8")
    sweep_epochs: Count = Field(description="epochs of Fig. 8")
    sweep_seeds: Count = Field(description="number of seeds of Fig. 8; they are 0, 1, ...")
    reading: Literal["released", "printed"] = Field(
        description="released (the authors' code) or printed (the paper)"
    )
    layer: str | None = Field(
        description="layer whose maps are compared, or both; None: the reading's own"
    )

    def cache_config(self) -> CacheConfig:
        """The reading, with the layer of these settings where one is given."""
        preset = PRESETS[self.reading]
        return preset if self.layer is None else preset.model_copy(update={"layer": self.layer})


_QUICK = {
    "dataset": "mnist",
    "n_train": 3000,
    "n_test": 1000,
    "learning_rate": 0.01,
    "input_scale": "released",
    "batch_size": 200,
    "epochs": 10,
    "seeds": 2,
    "batch_sizes": (32, 128, 512),
    "sweep_epochs": 4,
    "sweep_seeds": 1,
    "reading": "released",
    "layer": None,
}
PROFILES = {
    "smoke": _QUICK
    | {"n_train": 200, "n_test": 100, "batch_size": 50, "epochs": 2, "batch_sizes": (64, 100)}
    | {"sweep_epochs": 1},
    "quick": _QUICK,
    "paper": _QUICK
    | {"n_train": 60_000, "n_test": 10_000, "batch_size": 4096, "seeds": 5}
    | {"batch_sizes": (32, 64, 128, 256, 512, 1024, 2048, 4096), "sweep_epochs": 10}
    | {"sweep_seeds": 5},
}


class Run(BaseModel):
    """One training run and the accuracies in percent that it ends with.

    `train_accuracy` is measured for Fig. 8 only, and None elsewhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    history: History
    train_accuracy: float | None
    test_accuracy: float


class Comparison(BaseModel):
    """Plain, cached and randomly skipping training from the same weights and batches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int
    seed: int
    plain: Run
    cached: Run
    random: Run


def compare(settings: CachingSettings) -> list[Comparison]:
    """The runs behind Fig. 7: one comparison per seed, tested after every epoch."""
    points = [
        Point(settings.batch_size, settings.epochs, seed, test_every_epoch=True)
        for seed in range(settings.seeds)
    ]
    return _compare(settings, points)


def sweep(settings: CachingSettings) -> list[Comparison]:
    """The runs behind Fig. 8: one comparison per batch size and seed, tested at the end."""
    points = [
        Point(batch_size, settings.sweep_epochs, seed, test_every_epoch=False)
        for batch_size in settings.batch_sizes
        for seed in range(settings.sweep_seeds)
    ]
    return _compare(settings, points)


class Point(NamedTuple):
    """Where plain, cached and random training are compared."""

    batch_size: int
    epochs: int
    seed: int
    test_every_epoch: bool


def _compare(settings: CachingSettings, points: list[Point]) -> list[Comparison]:
    """Plain and cached training at every point, and random skipping at the cache's rates."""
    comparisons = []
    for point in points:
        cached = train_once(settings, point, settings.cache_config())
        comparisons.append(
            Comparison(
                batch_size=point.batch_size,
                seed=point.seed,
                plain=train_once(settings, point, None),
                cached=cached,
                random=train_once(settings, point, skip_rates(cached.history)),
            )
        )
    return comparisons


def train_once(
    settings: CachingSettings, point: Point, skipping: CacheConfig | list[list[float]] | None
) -> Run:
    """Train once: plainly (None), with a cache, or skipping at random at given rates.

    The same point always means the same first weights and the same batches.
    """
    dataset = settings.load()
    train = dataset.train_images, dataset.train_labels
    test = dataset.test_images, dataset.test_labels
    model = settings.model(dataset, point.seed)
    policy: Policy | None = None
    if isinstance(skipping, CacheConfig):
        policy = FeatureCache(model, dataset.n_classes, skipping, dataset.image_shape)
    elif skipping is not None:
        policy = RandomSkip(skipping, point.seed)
    config = settings.train_config(point.epochs, point.batch_size, point.seed)
    if point.test_every_epoch:
        history = fit(model, *train, config, policy=policy, test=test)
        final = history.test_accuracies[-1]
        return Run(history=history, train_accuracy=None, test_accuracy=final)
    return Run(
        history=fit(model, *train, config, policy=policy),
        train_accuracy=evaluate(model, *train),
        test_accuracy=evaluate(model, *test),
    )


def skip_rates(history: History) -> list[list[float]]:
    """Share of the images of every class that a run skipped, epoch by epoch."""
    return [
        [
            skipped / seen if seen else 0.0
            for skipped, seen in zip(e.skipped_per_class, e.seen_per_class, strict=True)
        ]
        for e in history.epochs
    ]
