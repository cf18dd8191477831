"""Chapter 02: plain and cached training, and random skipping at the cache's rates."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from fmlib.caching import PRESETS, CacheConfig, FeatureCache
from fmlib.experiments.common import Count, Counts, Settings, map_runs
from fmlib.skipping import RandomSkip
from fmlib.training import History, Policy, evaluate, fit

Condition = Literal["plain", "cached", "random"]
CONDITIONS: tuple[Condition, ...] = ("plain", "cached", "random")


class CachingSettings(Settings):
    """Settings of chapter 02."""

    batch_size: Count = Field(description="batch size of Fig. 7")
    epochs: Count = Field(description="epochs of Fig. 7")
    seeds: Count = Field(description="number of seeds of Fig. 7; they are 0, 1, ...")
    batch_sizes: Counts = Field(description="batch sizes of Fig. 8")
    sweep_epochs: Count = Field(description="epochs of Fig. 8")
    sweep_seeds: Count = Field(description="number of seeds of Fig. 8; they are 0, 1, ...")
    reading: Literal["released", "printed"] = Field(
        description="released (the authors' code) or printed (the paper's formulas)"
    )
    layer: str | None = Field(
        description="layer whose maps are compared, or both; none for the reading's own"
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
    "sweep_epochs": 5,
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
    """One training run and the accuracies in percent that it ends with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    history: History
    train_accuracy: float
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
    """The runs behind Fig. 7: one comparison per seed."""
    runs = [
        (settings, settings.batch_size, settings.epochs, seed) for seed in range(settings.seeds)
    ]
    return map_runs(compare_once, runs)


def sweep(settings: CachingSettings) -> list[Comparison]:
    """The runs behind Fig. 8: one comparison per batch size and seed."""
    runs = [
        (settings, batch_size, settings.sweep_epochs, seed)
        for batch_size in settings.batch_sizes
        for seed in range(settings.sweep_seeds)
    ]
    return map_runs(compare_once, runs)


def compare_once(settings: CachingSettings, batch_size: int, epochs: int, seed: int) -> Comparison:
    """Train three times from the same weights, with the same batches, by three policies."""
    dataset = settings.load()
    train = dataset.train_images, dataset.train_labels
    test = dataset.test_images, dataset.test_labels

    def run(condition: Condition, cached: History | None = None) -> Run:
        model = settings.model(dataset, seed)
        policy: Policy | None = None
        if condition == "cached":
            policy = FeatureCache(
                model, dataset.n_classes, settings.cache_config(), dataset.image_shape
            )
        elif cached is not None:
            policy = RandomSkip(skip_rates(cached), seed)
        config = settings.train_config(epochs, batch_size, seed)
        history = fit(model, *train, config, policy=policy, test=test)
        return Run(
            history=history,
            train_accuracy=evaluate(model, *train),
            test_accuracy=evaluate(model, *test),
        )

    cached = run("cached")
    return Comparison(
        batch_size=batch_size,
        seed=seed,
        plain=run("plain"),
        cached=cached,
        random=run("random", cached.history),
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
