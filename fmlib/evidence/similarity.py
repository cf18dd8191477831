"""Recorded trainings with and without less similar maps (chapter 09)."""

from pathlib import Path
from statistics import fmean

import pandas as pd

from fmlib.evidence.reading import Rows, table_of
from fmlib.experiments.similar_training import Course, Measures
from fmlib.experiments.similarity import Cached, CachedRun, SimilarityRun
from fmlib.records import RESULTS, Record

NAME, LARGE, CACHES = "similarity", "resnet_similarity", "similar_caches"
EARLY = 2
"""Epochs after which the speed of training is compared."""
LATE = 3
"""Last epochs whose test accuracies are averaged where these jump from one epoch to the next."""
KEYS = ("network", "condition", "steps", "iterations", "width", "parameters")


def similarity(results: Path = RESULTS, device: str = "cpu", name: str = NAME) -> pd.DataFrame:
    """A row per run and number, as `quantity` and `value`.

    Quantities: `accuracy`, `early` (after two epochs), `late` (a mean over the last three) and
    `train`, in percent; `loss`, the classification loss of the last epoch; and at three times,
    `drawn`, `begun` and `trained`, as in `begun unit`: `similarity`, `norms`, `scale_free`, `unit`,
    `complete`, `kernel_cosine`, `maps` and `activations` (cosines, a mean over the layers) and
    `dead` (percent).
    """
    columns = f"{' '.join(KEYS)} quantity value"
    return table_of(name, _numbers, columns, results, device, 0)


def resnet_similarity(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """As `similarity`, of ResNet18."""
    return similarity(results, device, LARGE)


def _keys(record: Record[SimilarityRun, Course]) -> dict[str, object]:
    config = record.config
    return {
        "network": config.network,
        "condition": config.condition,
        "steps": config.steps,
        "iterations": config.iterations,
        "width": float(config.width),
        "parameters": record.result.parameters,
    }


def _numbers(record: Record[SimilarityRun, Course]) -> Rows:
    found = record.result
    numbers: dict[str, float | None] = {
        "accuracy": _after(found, len(found.test_accuracies)),
        "early": _after(found, EARLY),
        "late": None if found.diverged else fmean(found.test_accuracies[-LATE:]),
        "train": None if found.diverged else found.train_accuracies[-1],
        "loss": None if found.diverged else found.losses[-1],
    }
    for time in ("drawn", "begun", "trained"):
        measured = _measured(getattr(found, time))
        numbers |= {f"{time} {quantity}": value for quantity, value in measured.items()}
    for quantity, value in numbers.items():
        yield {**_keys(record), "quantity": quantity, "value": value}


def _after(found: Course, epoch: int) -> float | None:
    known = found.test_accuracies[:epoch]
    return None if found.diverged or not known else known[-1]


def _measured(found: Measures) -> dict[str, float]:
    before = [value for layer, value in found.maps.items() if layer.startswith("conv")]
    after = [value for layer, value in found.maps.items() if not layer.startswith("conv")]
    return {
        "similarity": found.loss,
        "norms": found.norms,
        "scale_free": found.loss / found.norms if found.norms else 0.0,
        "unit": found.unit,
        "complete": found.complete,
        "kernel_cosine": found.kernel_cosine,
        "maps": fmean(before),
        "activations": fmean(after),
        "dead": fmean(v for layer, v in found.dead.items() if not layer.startswith("conv")),
    }


def similarity_falls(recorded: pd.DataFrame) -> pd.DataFrame:
    """By how many times the loss of a run is lower than the baseline's of its seed.

    Takes the rows of `similarity`; gives one per run but for baselines. `loss` is the product of
    `norms` and `scale_free`; `time` is `begun`, or `trained` where both begin alike.
    """
    same, parts = ["network", "steps", "width", "seed"], ["similarity", "norms", "scale_free"]
    names = [f"{time} {part}" for time in ("begun", "trained") for part in parts]
    found = recorded[recorded["quantity"].isin(names)].pivot(
        index=[*same, "condition", "iterations"], columns="quantity", values="value"
    )
    runs = found.reindex(columns=names).reset_index()
    plain = runs["condition"].eq("baseline")
    beside = runs[plain].drop(columns=["condition", "iterations"])
    pairs = runs[~plain].merge(beside, on=same, suffixes=("", " of baseline"))
    times = {name: pairs[f"{name} of baseline"] / pairs[name] for name in names}
    alike = times["begun similarity"].eq(1) & times["begun norms"].eq(1)
    lower = {part: times[f"trained {part}"].where(alike, times[f"begun {part}"]) for part in parts}
    kept = pairs[[*same, "condition", "iterations"]]
    return kept.assign(
        time=alike.map({True: "trained", False: "begun"}),
        loss=lower["similarity"],
        norms=lower["norms"],
        scale_free=lower["scale_free"],
    )


def similarity_by_epoch(
    results: Path = RESULTS, device: str = "cpu", name: str = NAME
) -> pd.DataFrame:
    """A row per epoch from 1: classification loss, accuracies, Convolutional Similarity."""
    columns = f"{' '.join(KEYS)} epoch loss train_accuracy test_accuracy similarity"
    return table_of(name, _epochs, columns, results, device, 0)


def resnet_by_epoch(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """As `similarity_by_epoch`, of ResNet18."""
    return similarity_by_epoch(results, device, LARGE)


def _epochs(record: Record[SimilarityRun, Course]) -> Rows:
    found = record.result
    by_epoch = zip(
        found.losses,
        found.train_accuracies,
        found.test_accuracies,
        found.similarity[1:],
        strict=False,
    )
    for epoch, (loss, train, test, similar) in enumerate(by_epoch, start=1):
        yield {
            **_keys(record),
            "epoch": epoch,
            "loss": loss,
            "train_accuracy": train,
            "test_accuracy": test,
            "similarity": similar,
        }


def similar_caches(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """A row per training with a cache; numbers in percent, as in `Cached`."""
    columns = f"condition {' '.join(Cached.model_fields)}"
    return table_of(CACHES, _cached, columns, results, device, 0)


def _cached(record: Record[CachedRun, Cached]) -> Rows:
    yield {"condition": record.config.condition, **record.result.model_dump()}
