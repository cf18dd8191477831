"""Recorded courses of training, and pictures of what their classes respond to (chapter 05)."""

from pathlib import Path
from statistics import fmean

import pandas as pd
import torch
from torch import Tensor

from fmlib.evidence.reading import Rows, table_of
from fmlib.experiments.feature_evolution import MEASURES, EvolutionRun, RecordedCourse
from fmlib.experiments.grids import FEW_IMAGES
from fmlib.experiments.large_pictures import STARTS, Pictures, PicturesRun, picture_of
from fmlib.records import RESULTS, Record, read_all

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


def large_networks(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """A row per run of a large network: accuracy in percent, and its last pictures in numbers."""
    columns = "start accuracy activation probability variation confusion"
    return table_of("large_pictures", _large, columns, results, device, 0)


def _large(record: Record[PicturesRun, Pictures]) -> Rows:
    found = record.result
    yield {
        "start": record.config.start,
        "accuracy": found.accuracies[-1] if found.accuracies else None,
        "activation": fmean(found.activations[-1]),
        "probability": fmean(found.probabilities[-1]),
        "variation": found.variation[-1],
        "confusion": found.confusion[-1],
    }


def large_pictures(results: Path = RESULTS) -> dict[str, dict[int, Tensor]]:
    """Recorded pictures (classes, 3, H, W) of a large network's classes, by start and epoch.

    Epoch 0 is ImageNet's network as it is.
    """
    found: dict[str, dict[int, Tensor]] = {start: {} for start in STARTS}
    for record in read_all("large_pictures", results).records.values():
        drawn = zip(record.result.epochs, record.result.pictures, strict=False)
        for epoch, classes in drawn:
            found[record.config.start][epoch] = torch.stack([*map(picture_of, classes)])
    return {start: by_epoch for start, by_epoch in found.items() if by_epoch}
