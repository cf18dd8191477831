"""Recorded caches, and trainings that leave images out (chapter 02)."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from fmlib import models
from fmlib.caching import RELEASED, CacheConfig
from fmlib.evidence.reading import Rows, differences, known_mean, outcomes, table_of
from fmlib.experiments.caching import (
    CachingRun,
    Condition,
    RecordedStages,
    Run,
    StagesRun,
    walk_steps,
)
from fmlib.experiments.depth import DepthRun, Exits, ExitsRun
from fmlib.experiments.grids import READING_EPOCHS
from fmlib.experiments.skipping import SkippingRun
from fmlib.records import RESULTS, Record
from fmlib.training import Report

EPOCHS = (
    "batch_size condition epoch last diverged test_accuracy train_accuracy seen trained skipped "
    "steps images operations seconds threshold similarity"
)

EPOCHS_OF_A_RUN = ["seed", *EPOCHS.split(), "path"]

NEAREST = RELEASED.model_copy(update={"hit": "nearest"})


def caching(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """Fig. 7 and 8, a row per epoch of each run with one thread.

    `condition` is plain, cached, random, or `nearest` (the cache without its threshold).
    `seen`, `trained`, `skipped` count images of the epoch; `steps`, `images` (trained on) and
    `operations` (multiply-adds, scoring included) and `seconds` are summed from the first epoch on.
    `test_accuracy` and, at the last epoch, `train_accuracy` are in percent.  Of a cache, means
    over the classes: `threshold` at the end of the epoch, `similarity` of images to their own
    class's vector over the epoch.
    """
    return table_of("caching", _caching, EPOCHS, results, device)


def _caching(record: Record[CachingRun, Run]) -> Rows:
    config = record.config
    if config.threads == 1 and config.cache in (None, RELEASED, NEAREST):
        condition = "nearest" if config.cache == NEAREST else config.condition
        yield from _epochs(record.result, {"batch_size": config.batch_size, "condition": condition})


def skipping(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """Controls and peers of the cache, as `caching`; `condition` is their rule."""
    return table_of("skipping", _skipping, EPOCHS, results, device)


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

    `reading` names a cache by the options in which it differs from the released one.
    """
    further = "dataset input_scale learning_rate reading"
    return table_of("caching_variants", _variants, f"{EPOCHS} {further}", results, device)


def _variants(record: Record[CachingRun, Run]) -> Rows:
    config = record.config
    shared = {name: getattr(config, name) for name in ("batch_size", "condition", "dataset")}
    shared |= {name: getattr(config, name) for name in ("input_scale", "learning_rate")}
    yield from _epochs(record.result, shared | {"reading": reading(config.cache)})


def reading(cache: CacheConfig | None) -> str:
    """The options in which a cache differs from the released one, or `released`."""
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
            **{name: known_mean(epoch.policy.get(name, [])) for name in OF_A_CACHE},
        }


OF_A_CACHE = ("threshold", "similarity")


def classes(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """What the released cache leaves out of each class, a row per class and epoch of a run.

    `share` is that of the class's images that were skipped, in percent; `threshold` and
    `similarity` as in `caching`, of the class.
    """
    columns = "batch_size epoch last label share threshold similarity"
    return table_of("caching", _classes, columns, results, device)


def _classes(record: Record[CachingRun, Run]) -> Rows:
    config, epochs = record.config, record.result.history.epochs
    for epoch in epochs if config.threads == 1 and config.cache == RELEASED else ():
        counts = zip(epoch.skipped_per_class, epoch.seen_per_class, strict=True)
        for label, (skipped, seen) in enumerate(counts):
            yield {
                "batch_size": config.batch_size,
                "epoch": epoch.epoch,
                "last": epoch is epochs[-1],
                "label": label,
                "share": 100 * skipped / seen,
                **{name: epoch.policy[name][label] for name in OF_A_CACHE},
            }


def depth(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """Caches of single convolutions of a deeper network on CIFAR-10, as `caching`.

    `layer` is that of the cache, or of the cache at whose rates images are skipped at random.
    """
    return table_of("cache_depth", _depth, f"{EPOCHS} layer", results, device)


def _depth(record: Record[DepthRun, Run]) -> Rows:
    config = record.config
    shared = {"batch_size": config.batch_size, "condition": config.condition, "layer": config.layer}
    for row in _epochs(record.result, shared):
        yield row | {"operations": None}  # counted for another network


def exits(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """The cache at test time (park2019), a row per layer at which images may leave a network.

    Numbers in percent: `leave` of all images; `right` of those; `network_right` of the same
    images without exits; `accuracy` of all with exits, `network` without; `nearest`, all named by
    the nearest class's vector; `saved` multiply-adds.
    """
    columns = "dataset layer leave right network_right accuracy network nearest saved"
    return table_of("early_exits", _exits, columns, results, device)


def _exits(record: Record[ExitsRun, Exits]) -> Rows:
    for layer, found in record.result.exits.items():
        yield {
            "dataset": record.config.dataset,
            "layer": layer,
            "leave": found.hits,
            "right": found.precision,
            "network_right": found.network_on_hits,
            "accuracy": found.accuracy,
            "network": record.result.network,
            "nearest": found.nearest,
            "saved": found.saved,
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


def stages(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """Fig. 5 and 6, a row per batch size and stage, `early` or `late`.

    `lowest` is the lowest similarity of a class's first test image to a cached vector, `image`
    that image's class; `own` is the class whose image is least similar to its own vector.
    """
    return table_of("cache_stages", _stages, "batch_size stage lowest image own", results, device)


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


def of_condition(table: pd.DataFrame, batch_size: int, condition: str) -> pd.DataFrame:
    """Rows of `caching` for one batch size and condition, with the `share` skipped in percent."""
    rows = table[(table["batch_size"] == batch_size) & (table["condition"] == condition)]
    return rows.assign(share=100 * rows["skipped"] / rows["seen"])


def shared_seeds(table: pd.DataFrame, batch_size: int) -> pd.DataFrame:
    """Rows of one batch size and of the seeds that every recorded condition has.

    So that means of several conditions are over the same weights and batches.
    """
    rows = table[table["batch_size"] == batch_size]
    seeds = [set(group) for _, group in rows.groupby("condition")["seed"]]
    return rows[rows["seed"].isin(set.intersection(*seeds) if seeds else set())]


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


def readings(variants: pd.DataFrame, recorded: pd.DataFrame) -> list[pd.DataFrame]:
    """Runs at batch size 4096 of every reading from the printed to the released one.

    Args:
        variants: table of `caching_variants`.
        recorded: table of `caching`, which has the released reading.
    """
    variants = variants[(variants["dataset"] == "mnist") & (variants["condition"] == "cached")]
    walked = of_condition(variants, 4096, "cached")
    seeds = walked["seed"].unique()
    released = of_condition(recorded, 4096, "cached")
    released = released[released["seed"].isin(seeds) & (released["epoch"] <= READING_EPOCHS)]
    steps = [cache for *_, cache in walk_steps()]
    found = [walked[walked["reading"] == reading(cache)] for cache in steps[:-1]]
    return [*found, released]


def cache_layers(depth: pd.DataFrame) -> list[str]:
    """The layers that `depth` has caches of, the first first."""
    return sorted(depth["layer"].dropna().unique())


def final_at_layer(
    depth: pd.DataFrame, layer: str | None, condition: Condition = "plain"
) -> dict[int, float | None]:
    """Final test accuracy by seed with the cache of a layer, or plainly (None)."""
    rows = depth[(depth["condition"] == condition) & depth["last"].astype(bool)]
    rows = rows[rows["layer"].isna()] if layer is None else rows[rows["layer"] == layer]
    return outcomes(rows, "test_accuracy")
