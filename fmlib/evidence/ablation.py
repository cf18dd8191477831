"""Recorded networks without and with wider layers, transfers, and shared images (chapter 08)."""

from pathlib import Path

import pandas as pd

from fmlib.evidence.reading import Rows, table_of
from fmlib.experiments.ablation import Ablation, AblationRun
from fmlib.experiments.transfer import Overlaps, OverlapsRun, Transfer, TransferRun
from fmlib.records import RESULTS, Record


def ablation(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """A row per network and way of training: accuracies in percent, their gap, seconds.

    The seconds are those of the processor, for the whole run: others may have run beside it.
    """
    columns = (
        "variant way parameters train_accuracy test_accuracy gap duplicates "
        "accuracy_without_duplicates seconds"
    )
    return table_of("ablation", _networks, columns, results, device, 0)


def _networks(record: Record[AblationRun, Ablation]) -> Rows:
    found = record.result
    numbers = found.model_dump(exclude={"validation", "losses", "rates", "renormalized"})
    yield {
        "variant": record.config.variant,
        "way": record.config.way,
        "gap": found.train_accuracy - found.test_accuracy,
        **numbers,
        "seconds": record.provenance.cpu_seconds,
    }


def ablation_by_epoch(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """A row per network, way of training and epoch: validation accuracy and learning rate."""
    return table_of("ablation", _epochs, "variant way epoch accuracy rate", results, device, 0)


def _epochs(record: Record[AblationRun, Ablation]) -> Rows:
    found = record.result
    for epoch, (accuracy, rate) in enumerate(zip(found.validation, found.rates, strict=True), 1):
        yield {
            "variant": record.config.variant,
            "way": record.config.way,
            "epoch": epoch,
            "accuracy": accuracy,
            "rate": rate,
        }


def transfers(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """A row per transfer, features, layer and images per class: test accuracy in percent.

    `features` are `trained`, `untrained`, `pixels` and `scratch`; the last two have no layer.
    """
    columns = "transfer features layer size accuracy"
    return table_of("transfer", _transfers, columns, results, device, 0)


def _transfers(record: Record[TransferRun, Transfer]) -> Rows:
    found = record.result
    rows = {
        (name, layer): values
        for name, layers in found.features.items()
        for layer, values in layers.items()
    }
    rows |= {("pixels", ""): found.pixels, ("scratch", ""): found.scratch}  # type: ignore[dict-item]
    for (features, layer), values in rows.items():
        for size, accuracy in zip(record.config.sizes, values, strict=True):
            yield {
                "transfer": record.config.label,
                "features": features,
                "layer": layer,
                "size": size,
                "accuracy": accuracy,
            }


def overlaps(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """A row per pair of sets and threshold: test images with so near a training image."""
    columns = "sets threshold count n_test n_compared"
    return table_of("overlaps", _counts, columns, results, device, 0)


def _counts(record: Record[OverlapsRun, Overlaps]) -> Rows:
    found = record.result
    for sets, counts in found.counts.items():
        for threshold, count in counts.items():
            yield {
                "sets": sets,
                "threshold": float(threshold),
                "count": count,
                "n_test": found.n_test[sets],
                "n_compared": found.n_compared[sets],
            }
