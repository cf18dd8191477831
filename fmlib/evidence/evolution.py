"""Recorded courses of training, and pictures of what their classes respond to (chapter 05)."""

from pathlib import Path

import pandas as pd

from fmlib.evidence.reading import Rows, table_of
from fmlib.experiments.feature_evolution import MEASURES, EvolutionRun, RecordedCourse
from fmlib.experiments.grids import FEW_IMAGES
from fmlib.records import RESULTS, Record

LOOKS = (*MEASURES, "confusion", "activation", "probability", "agreement", "conviction")


def evolution(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """A row per course, number of training images and epoch: accuracy in percent and loss."""
    columns = "course images epoch accuracy loss train_accuracy"
    return table_of("feature_evolution", _epochs, columns, results, device, FEW_IMAGES)


def _epochs(record: Record[EvolutionRun, RecordedCourse]) -> Rows:
    found = record.result
    for epoch, (accuracy, loss) in enumerate(zip(found.accuracies, found.losses, strict=True), 1):
        yield {
            "course": record.config.course,
            "images": record.config.n_train,
            "epoch": epoch,
            "accuracy": accuracy,
            "loss": loss,
            "train_accuracy": found.train_accuracy,
        }


def evolution_looks(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """A row per course, number of images, regularizer and epoch shown: its pictures in numbers.

    `accuracy` is that after the epoch, NaN before training.
    """
    columns = f"course images regularizer epoch accuracy {' '.join(LOOKS)}"
    return table_of("feature_evolution", _looks, columns, results, device, FEW_IMAGES)


def _looks(record: Record[EvolutionRun, RecordedCourse]) -> Rows:
    accuracies = (float("nan"), *record.result.accuracies)
    for regularizer, rows in record.result.looks.items():
        for row in rows:
            yield {
                "course": record.config.course,
                "images": record.config.n_train,
                "regularizer": regularizer,
                "accuracy": accuracies[row.epoch],
                **row.model_dump(),
            }
