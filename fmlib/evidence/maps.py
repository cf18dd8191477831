"""Recorded trainings on feature maps (chapter 03)."""

from pathlib import Path

import pandas as pd

from fmlib.evidence.reading import Rows, known_mean, table_of
from fmlib.experiments.feature_map_regularization import (
    Accuracy,
    FurtherTraining,
    MapRun,
    Model,
    Trials,
    UndefinedLossRun,
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
