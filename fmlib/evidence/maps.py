"""Recorded trainings on feature maps (chapter 03)."""

from pathlib import Path

import pandas as pd

from fmlib.evidence.reading import Outcomes, Rows, differences, known_mean, outcomes, table_of
from fmlib.experiments.feature_map_regularization import (
    Accuracy,
    FurtherTraining,
    MapRun,
    Model,
    Trials,
    UndefinedLossRun,
    Ways,
    WaysRun,
)
from fmlib.records import RESULTS, Record


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
    return table_of("feature_map_regularization", _further, columns, results, device)


def _further(record: Record[MapRun, FurtherTraining]) -> Rows:
    config, result = record.config, record.result
    row = {"dataset": config.dataset, "batch_size": config.batch_size, "images": config.images}
    row["diverged"] = any(h.divergence for h in (result.base_history, result.history))
    if not result.base_history.divergence:
        row |= {f"base_{name}": value for name, value in _train_test(result.base).items()}
    likeness = {sigma: known_mean(known) for sigma, known in result.likeness.items()}
    row |= {"sharp": likeness.pop("0"), "blurred": max(likeness.values())}
    if not row["diverged"]:
        row |= _train_test(result.after)
        row |= {"on_maps": result.on_maps, "tests": result.history.test_accuracies}
    yield row


def _train_test(found: Accuracy) -> dict[str, float]:
    return {"train": found.train, "test": found.test, "gap": found.gap}


def undefined_losses(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """Section 7.2, a row per short training on `images` from one base model at one rate.

    `undefined` says whether the loss ended as no number; None if that of the base model did.
    `negative_share` is that of the images' values, `gradient` the norm on the first batch, before
    the first step, `dead_share` that of dead units at the end.
    """
    columns = (
        "activation images learning_rate undefined negative_share gradient dead_share last_loss"
    )
    return table_of("undefined_losses", _trials, columns, results, device)


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


def further_by_epoch(
    table: pd.DataFrame, dataset: str, batch_size: int, images: Model
) -> dict[int, Outcomes]:
    """Test accuracies of `further_training` by epoch, from 0, the base model, without lost runs."""
    rows = of_model(table, dataset, batch_size, images)
    known = rows[rows["diverged"].ne(True)]
    curves = zip(known["seed"], known["base_test"], known["tests"], strict=True)
    points = [
        (seed, epoch, test)
        for seed, base, tests in curves
        for epoch, test in enumerate((base, *tests))
    ]
    return {e: {s: t for s, epoch, t in points if epoch == e} for _, e, _ in points}


# --- ways of making images of maps, and controls -------------------------------------------

WAY_PAIRS = (
    ("originals", "base"),
    *(("each_map", other) for other in ("base", "originals", "blurred", "untrained")),
    ("blurred", "originals"),
    ("each_map after", "each_map"),
    ("each_map after", "originals"),
    ("mean_map", "originals"),
)
"""Which of the recorded models are compared by seed."""


def map_ways(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """Fig. 9, the row of batch 256, gentler: a row per epoch on images made in one `way`.

    Accuracies in percent on original images: `test` after every epoch, `train` and `gap`, train -
    test, only after the `last`, as `on_made`, that on test images made in the same way.  The way
    `base` is the base model, at epoch 0.  A training that diverged has one row, without
    accuracies.  `sigma` is the blur, in pixels, of the way `blurred`.
    """
    columns = "sigma way epoch last diverged test train gap on_made"
    return table_of("map_ways", _ways, columns, results, device)


def _ways(record: Record[WaysRun, Ways]) -> Rows:
    result = record.result
    run = {"sigma": result.sigma, "diverged": False}
    yield run | {"way": "base", "epoch": 0, "last": True} | _train_test(result.base)
    for way, found in result.trained.items():
        end = run | {"way": way, "epoch": len(found.tests), "last": True}
        if found.divergence:
            yield end | {"diverged": True}
            continue
        for epoch, test in enumerate(found.tests[:-1], 1):
            yield end | {"epoch": epoch, "last": False, "test": test}
        yield end | _train_test(found.after) | {"on_made": found.on_made}


def of_way(table: pd.DataFrame, way: str) -> pd.DataFrame:
    """Rows of `map_ways` after the last epoch of one way, or of the way `base`, a seed each."""
    return table[(table["way"] == way) & table["last"].eq(True)]


def way_differences(
    table: pd.DataFrame, way: str, other: str, column: str
) -> dict[int, float | None]:
    """One way - another after the last epoch, in a column of `map_ways`, by seed."""
    first, second = (outcomes(of_way(table, one), column) for one in (way, other))
    return differences(first, second)


def way_by_epoch(table: pd.DataFrame, way: str) -> dict[int, Outcomes]:
    """Test accuracies by epoch of the runs of one way that did not diverge, from 0, their base."""
    trained = table[(table["way"] == way) & table["diverged"].ne(True)]
    base = table[(table["way"] == "base") & table["seed"].isin(trained["seed"])]
    of_epoch = pd.concat((base, trained)).groupby("epoch")
    return {int(str(epoch)): outcomes(group, "test") for epoch, group in of_epoch}
