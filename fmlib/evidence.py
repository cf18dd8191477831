"""Recorded runs as tables of numbers, read anew from their files whenever they are asked for.

Every row says in `path` which record it comes from.  Runs on a processor and on a graphics
card are never in one table, so that no pair of runs mixes them.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from fmlib import models
from fmlib.caching import RELEASED, CacheConfig
from fmlib.experiments.adversarial_robustness import Robustness, RobustnessRun
from fmlib.experiments.caching import CachingRun, Condition, RecordedStages, Run, StagesRun
from fmlib.experiments.exploration import Exploration, ExplorationRun
from fmlib.experiments.feature_map_regularization import (
    Accuracy,
    FurtherTraining,
    MapRun,
    Model,
    Trials,
    UndefinedLossRun,
)
from fmlib.experiments.grids import EXPERIMENTS
from fmlib.experiments.skipping import SkippingRun
from fmlib.records import RESULTS, Provenance, Record, read_all
from fmlib.training import Report

BENCHMARKS = Path(__file__).parent.parent / "benchmarks" / "results.json"
FULL = 50_000
"""Runs on fewer training images serve as checks of this package, not as evidence."""

Rows = Iterator[dict[str, Any]]


def _table(
    experiment: str,
    rows: Callable[[Record[Any, Any]], Rows],
    columns: str,
    results: Path,
    device: str,
) -> pd.DataFrame:
    """Rows of all records of an experiment, made in full and in single precision."""
    found = [
        {"seed": record.config.seed, **row, "path": str(path)}
        for path, record in read_all(experiment, results).records.items()
        if record.config.n_train >= FULL and record.config.device == device
        for row in rows(record)
    ]
    return pd.DataFrame(found, columns=["seed", *columns.split(), "path"])


def caching(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """Fig. 7 and 8, a row per epoch of each run with one thread.

    `condition` is plain, cached, random, or `nearest` (the cache without its threshold).
    `seen`, `trained`, `skipped` count images of the epoch; `steps`, `images` (trained on) and
    `operations` (multiply-adds, scoring included) and `seconds` are summed from the first epoch on.
    `test_accuracy` and, at the last epoch, `train_accuracy` are in percent.
    """
    return _table("caching", _caching, EPOCHS, results, device)


EPOCHS = (
    "batch_size condition epoch last diverged test_accuracy train_accuracy seen trained skipped "
    "steps images operations seconds"
)
EPOCHS_OF_A_RUN = ["seed", *EPOCHS.split(), "path"]
NEAREST = RELEASED.model_copy(update={"hit": "nearest"})


def _caching(record: Record[CachingRun, Run]) -> Rows:
    config = record.config
    if config.threads == 1 and config.cache in (None, RELEASED, NEAREST):
        condition = "nearest" if config.cache == NEAREST else config.condition
        yield from _epochs(record.result, {"batch_size": config.batch_size, "condition": condition})


def skipping(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """Controls and peers of the cache, as `caching`; `condition` is their rule."""
    return _table("skipping", _skipping, EPOCHS, results, device)


def _skipping(record: Record[SkippingRun, Run]) -> Rows:
    config = record.config
    yield from _epochs(record.result, {"batch_size": config.batch_size, "condition": config.rule})


def rules(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """Every rule of leaving images out at the released reading of MNIST, as `caching`."""
    other = caching_variants(results, device)
    nearest = other[(other["reading"] == "hit nearest") & (other["dataset"] == "mnist")]
    tables = [
        caching(results, device),
        skipping(results, device),
        nearest[EPOCHS_OF_A_RUN].assign(condition="nearest"),
    ]
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def caching_variants(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """Other readings, input scales and data, as `caching`.

    `reading` names a cache by the options in which it differs from the released one.  Means over
    the classes: `threshold` at the end of the epoch, `similarity` of images to their own class's
    vector over the epoch.
    """
    further = "dataset input_scale learning_rate reading threshold similarity"
    return _table("caching_variants", _variants, f"{EPOCHS} {further}", results, device)


def _variants(record: Record[CachingRun, Run]) -> Rows:
    config = record.config
    shared = {name: getattr(config, name) for name in ("batch_size", "condition", "dataset")}
    shared |= {name: getattr(config, name) for name in ("input_scale", "learning_rate")}
    shared["reading"] = _reading(config.cache)
    epochs = record.result.history.epochs
    for row, epoch in zip(_epochs(record.result, shared), epochs, strict=True):
        known = {name: _mean(epoch.policy.get(name, [])) for name in ("threshold", "similarity")}
        yield row | known


def _reading(cache: CacheConfig | None) -> str:
    if cache is None:
        return ""
    changed = {n: v for n, v in cache.model_dump().items() if v != getattr(RELEASED, n)}
    return ", ".join(f"{name} {value}" for name, value in changed.items()) or "released"


def _epochs(result: Run, shared: dict[str, Any]) -> Rows:
    """A row per epoch of a run."""
    epochs = result.history.epochs
    steps = images = operations = 0
    seconds = 0.0
    for epoch in epochs:
        steps, images = steps + epoch.steps, images + epoch.trained
        operations += _operations(epoch.trained, epoch.policy)
        seconds += epoch.seconds
        last = epoch is epochs[-1]
        yield shared | {
            "epoch": epoch.epoch,
            "last": last,
            "diverged": result.history.divergence is not None,
            "test_accuracy": epoch.test_accuracy,
            "train_accuracy": result.train_accuracy if last else None,
            "seen": epoch.seen,
            "trained": epoch.trained,
            "skipped": epoch.skipped,
            "steps": steps,
            "images": images,
            "operations": operations,
            "seconds": seconds,
        }


def _operations(trained: int, report: Report) -> int:
    """Multiply-adds of training on images of MNIST, and of scoring some.

    Training: forward, gradients of the weights, and gradients of every layer's input but the
    first's.  A cache scores by the first convolution those looked up and those kept; a rule that
    goes by losses, a whole forward pass of those that it has `scored`.
    """
    first, forward = _costs()
    looked_at = sum(_count(report, name) for name in ("hits", "misses", "trained"))
    scored = _count(report, "scored")
    return trained * (3 * forward - first) + looked_at * first + scored * forward


def _count(report: Report, name: str) -> int:
    return int(sum(value or 0 for value in report.get(name, [])))


@lru_cache(maxsize=1)
def _costs() -> tuple[int, int]:
    costs = models.multiply_adds(models.base_cnn(), (1, 28, 28))
    return next(cost for cost in costs if cost), sum(costs)


def further_training(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """Fig. 9, a row per base model and its copy trained further on `images`: maps or originals.

    Accuracies in percent on original images; `gap` is train - test.  `tests` holds that after
    each epoch of the further training, `on_maps` the accuracy on maps of test images.  A model
    whose training, or whose base model's, diverged has no accuracies.  `blurred` and `sharp` are
    the mean squared correlations of the base model's maps with the best blur of the images, and
    with the images.
    """
    columns = (
        "dataset batch_size images diverged base_train base_test base_gap train test gap tests "
        "on_maps blurred sharp"
    )
    return _table("feature_map_regularization", _further, columns, results, device)


def _further(record: Record[MapRun, FurtherTraining]) -> Rows:
    config, result = record.config, record.result
    row = {"dataset": config.dataset, "batch_size": config.batch_size, "images": config.images}
    row["diverged"] = any(h.divergence for h in (result.base_history, result.history))
    if not result.base_history.divergence:
        row |= {f"base_{name}": value for name, value in _train_test(result.base).items()}
    likeness = {sigma: _mean(known) for sigma, known in result.likeness.items()}
    row |= {"sharp": likeness.pop("0"), "blurred": max(likeness.values())}
    if not row["diverged"]:
        row |= _train_test(result.after)
        row |= {"on_maps": result.on_maps, "tests": result.history.test_accuracies}
    yield row


def _train_test(found: Accuracy) -> dict[str, float]:
    return {"train": found.train, "test": found.test, "gap": found.gap}


def _mean(values: list[float | None]) -> float:
    """Mean of what is defined; NaN if nothing is."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else float("nan")


def robustness(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """Fig. 10, a row per perturbation, eps and model (`victim`); accuracy in percent of n images.

    Without those that need a map model whose training diverged.  The perturbation `test` is
    none at all, of the test images.
    """
    columns = "perturbation eps victim n accuracy"
    return _table("adversarial_robustness", _outcomes, columns, results, device)


def _outcomes(record: Record[RobustnessRun, Robustness]) -> Rows:
    config, result = record.config, record.result
    for victim in result.test_accuracy:
        clean = result.clean_accuracy("test", victim)
        test = {"perturbation": "test", "eps": 0.0, "victim": victim, "n": config.n_test}
        yield test | {"accuracy": clean}
        for outcome in result.outcomes:
            accuracy = result.accuracy(outcome.perturbation, outcome.eps, victim)
            row = {"perturbation": outcome.perturbation, "eps": outcome.eps, "victim": victim}
            yield row | {"n": outcome.n, "accuracy": accuracy}


def exploration(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """Fig. 1 to 3, a row per quantity: accuracies in percent, rank correlations from -1 to 1.

    Quantities: `PCA` and `t-SNE` (neighbours name the class), `nearest centroid`, `trend train`
    and `trend test` (of error rate and decile), and `GROUP: NETWORK` for the accuracy of both
    networks on each group of images (`fmlib.experiments.exploration.OutlierRun`).  What comes of
    a pair of networks of which one diverged says so in `diverged`.
    """
    return _table("exploration", _looks, "quantity diverged value", results, device)


def _looks(record: Record[ExplorationRun, Exploration]) -> Rows:
    found = record.result
    images: dict[str, float] = {**found.neighbours, "nearest centroid": found.nearest_centroid}
    networks: dict[str, float] = {f"trend {split}": trend for split, trend in found.trends.items()}
    for group, accuracies in found.accuracies.items():
        networks |= {f"{group}: {network}": value for network, value in accuracies.items()}
    for values, diverged in ((images, False), (networks, found.diverged > 0)):
        for quantity, value in values.items():
            yield {"quantity": quantity, "diverged": diverged, "value": value}


def stages(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """Fig. 5 and 6, a row per batch size and stage, `early` or `late`.

    `lowest` is the lowest similarity of a class's first test image to a cached vector, `image`
    that image's class; `own` is the class whose image is least similar to its own vector.
    """
    return _table("cache_stages", _stages, "batch_size stage lowest image own", results, device)


def _stages(record: Record[StagesRun, RecordedStages]) -> Rows:
    for name in ("early", "late"):
        rows = getattr(record.result, name).similarity
        known = [[1.0 if value is None else value for value in row] for row in rows]
        lowest = [min(row) for row in known]
        own = [row[label] for label, row in enumerate(known)]
        yield {
            "batch_size": record.config.batch_size,
            "stage": name,
            "lowest": min(lowest),
            "image": lowest.index(min(lowest)),
            "own": own.index(min(own)),
        }


def undefined_losses(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """Section 7.2, a row per short training on `images` from one base model at one rate.

    `undefined` says whether the loss ended as no number; None if that of the base model did.
    `negative_share` is that of the images' values, `gradient` the norm on the first batch, before
    the first step, `dead_share` that of dead units at the end.
    """
    columns = (
        "activation images learning_rate undefined negative_share gradient dead_share last_loss"
    )
    return _table("undefined_losses", _trials, columns, results, device)


def _trials(record: Record[UndefinedLossRun, Trials]) -> Rows:
    for trial in record.result.trials:
        yield {
            "activation": trial.activation,
            "images": trial.images,
            "learning_rate": trial.learning_rate,
            "undefined": None if trial.history is None else trial.history.divergence is not None,
            "negative_share": trial.negative_share,
            "gradient": trial.gradient,
            "dead_share": trial.dead_share_after,
            "last_loss": trial.last_loss,
        }


def made(results: Path = RESULTS) -> pd.DataFrame:
    """How every record was made, a row each: experiment, machine, versions, times, commit."""
    rows = [
        {
            "experiment": experiment,
            "device": record.config.device,
            "precision": record.config.precision,
            "threads": record.config.threads,
            "label": record.config.label,
            "seed": record.config.seed,
            **record.provenance.model_dump(),
            "path": str(path),
        }
        for experiment in EXPERIMENTS
        for path, record in read_all(experiment, results).records.items()
    ]
    columns = ["experiment", "device", "precision", "threads", "label", "seed", "path"]
    return pd.DataFrame(rows, columns=[*columns, *Provenance.model_fields])


def benchmarks(path: Path = BENCHMARKS) -> pd.DataFrame:
    """Ratios of time and memory measured by `benchmarks`, a row each: name, ratio, low, high, n."""
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    found = [(row["name"], row["ratio"], *row["spread"], row["pairs"]) for row in rows]
    return pd.DataFrame(found, columns=["name", "ratio", "low", "high", "n"])


def by_seed(table: pd.DataFrame, column: str, **chosen: object) -> dict[int, float]:
    """One number per seed: a column of the rows whose other columns have the chosen values.

    Rows without that number are left out.

    Raises:
        ValueError: two rows of one seed; choose further columns.
    """
    rows = table
    for name, value in chosen.items():
        rows = rows[rows[name] == value]
    rows = rows[["seed", column]].dropna()
    if not rows["seed"].is_unique:
        raise ValueError(f"{column} has several rows of one seed; choose more than {chosen}")
    return dict(zip(rows["seed"].tolist(), map(float, rows[column]), strict=True))


def outcomes(rows: pd.DataFrame, column: str, **chosen: object) -> dict[int, float | None]:
    """As `by_seed`, with None for every further seed of the rows: its training diverged."""
    finished = rows[rows["diverged"].ne(True)] if "diverged" in rows else rows
    known = by_seed(finished, column, **chosen)
    return {seed: known.get(seed) for seed in sorted(rows["seed"].unique().tolist())}


def differences(
    first: Mapping[int, float | None], second: Mapping[int, float | None]
) -> dict[int, float | None]:
    """First - second by seed, for the seeds that both have; None if one of them diverged."""
    pairs = {seed: (first[seed], second[seed]) for seed in sorted(first.keys() & second.keys())}
    return {s: None if a is None or b is None else a - b for s, (a, b) in pairs.items()}


Outcomes = Mapping[int, float | None]
"""A recorded number by seed; None where the training diverged."""


def finished(outcomes: Outcomes) -> list[float]:
    """The numbers of the runs that did not diverge."""
    return [value for value in outcomes.values() if value is not None]


def counted(outcomes: Outcomes) -> str:
    """Number of recorded runs that a number rests on, and of those that diverged, if any did."""
    known = len(finished(outcomes))
    diverged = len(outcomes) - known
    return f"{known} ({diverged} diverged)" if diverged else str(known)


FURTHER: tuple[Model, ...] = ("base", "maps", "originals")
"""Models of Fig. 9 that are recorded."""


def of_model(table: pd.DataFrame, dataset: str, batch_size: int, model: Model) -> pd.DataFrame:
    """Rows of `further_training` for one row of Fig. 9 and one model, a seed each.

    `train`, `test` and `gap` are those of the model: `base`, or a copy, `maps` or `originals`.
    """
    rows = table[(table["dataset"] == dataset) & (table["batch_size"] == batch_size)]
    if model != "base":
        return rows[rows["images"] == model]
    parts = ["train", "test", "gap"]
    bases = rows.drop_duplicates("seed").drop(columns=[*parts, "diverged"])
    return bases.rename(columns={f"base_{part}": part for part in parts})


def of_condition(table: pd.DataFrame, batch_size: int, condition: str) -> pd.DataFrame:
    """Rows of `caching` for one batch size and condition, with the `share` skipped in percent."""
    rows = table[(table["batch_size"] == batch_size) & (table["condition"] == condition)]
    return rows.assign(share=100 * rows["skipped"] / rows["seen"])


PAIRS: tuple[tuple[Condition, Condition], ...] = (
    ("cached", "plain"),
    ("cached", "random"),
    ("random", "plain"),
)
"""Conditions that are compared by seed, the first minus the second."""


def final(
    table: pd.DataFrame, batch_size: int, condition: str, column: str = "test_accuracy"
) -> dict[int, float | None]:
    """A number of `caching` after the last epoch, by seed."""
    return outcomes(of_condition(table, batch_size, condition), column, last=True)


def until(
    table: pd.DataFrame, batch_size: int, condition: str, accuracy: float, column: str = "images"
) -> dict[int, float | None]:
    """What was spent, by seed, when an epoch first ended at a test accuracy; None if none did."""
    rows = of_condition(table, batch_size, condition)
    there = rows[rows["test_accuracy"] >= accuracy].groupby("seed")[column].min()
    known = dict(zip(there.index.tolist(), there.tolist(), strict=True))
    return {seed: known.get(seed) for seed in sorted(rows["seed"].unique().tolist())}


def left_out(table: pd.DataFrame, batch_size: int, condition: str) -> dict[int, float | None]:
    """Share of all images of a training that were left out, in percent, by seed."""
    sums = of_condition(table, batch_size, condition).groupby("seed")[["skipped", "seen"]].sum()
    shares = 100 * sums["skipped"] / sums["seen"]
    return dict(zip(shares.index.tolist(), shares.tolist(), strict=True))


def final_differences(
    table: pd.DataFrame, batch_size: int, first: str, second: str
) -> dict[int, float | None]:
    """Differences by seed of final test accuracy under two conditions, in points."""
    return differences(final(table, batch_size, first), final(table, batch_size, second))


def judged(
    table: pd.DataFrame, perturbation: str, eps: float, victim: str
) -> dict[int, float | None]:
    """Accuracy of one model under a perturbation of `robustness`, by seed."""
    rows = table[(table["perturbation"] == perturbation) & (table["victim"] == victim)]
    return outcomes(rows[rows["eps"] == eps], "accuracy")
