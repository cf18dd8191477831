"""Recorded inversions and dissections (chapter 07)."""

from pathlib import Path

import pandas as pd

from fmlib.evidence.reading import Rows, table_of
from fmlib.experiments.dissection import DissectionRun, Dissections
from fmlib.experiments.inversion import InversionRun, Inversions
from fmlib.records import RESULTS, Record

COMBINED = ("single", "combined", "single_free", "combined_free")
"""Ways to a concept: the best unit and the combination, cut as published or freely."""


def inverted(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """A row per way, layer and epoch: distance from the images in percent, and similarity.

    The distance of different images is 100.  `when` is `before` training, `after` it, or
    `between`.
    """
    columns = "way layer epoch when error similarity"
    return table_of("inversion", _inverted, columns, results, device, 0)


def _inverted(record: Record[InversionRun, Inversions]) -> Rows:
    found = record.result
    names = {found.shown_epochs[-1]: "after", 0: "before"}
    for way, layers in found.errors.items():
        for layer, errors in layers.items():
            similarities = found.similarities[way][layer]
            for epoch, error, alike in zip(found.shown_epochs, errors, similarities, strict=True):
                yield {
                    "way": way,
                    "layer": layer,
                    "epoch": epoch,
                    "when": names.get(epoch, "between"),
                    "error": 100 * error,
                    "similarity": alike,
                }


def inversion(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """A row per number that needs no further column: `accuracy`, and `mean image` in percent."""
    return table_of("inversion", _plain, "quantity value", results, device, 0)


def _plain(record: Record[InversionRun, Inversions]) -> Rows:
    found = record.result
    yield {"quantity": "accuracy", "value": found.accuracies[-1]}
    yield {"quantity": "mean image", "value": 100 * found.mean_image}


def dissected(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """A row per state of the network and layer: what its units have to do with concepts.

    `iou` and `shuffled` are in percent, as are the shares `significant`, `customary` and
    `customary_shuffled`.
    """
    columns = "state layer iou shuffled significant customary customary_shuffled"
    return table_of("dissection", _dissected, columns, results, device, 0)


def _dissected(record: Record[DissectionRun, Dissections]) -> Rows:
    for state, layers in record.result.units.items():
        for layer, one in layers.items():
            yield {
                "state": state,
                "layer": layer,
                **one.model_dump(exclude={"categories"}),
                "iou": 100 * one.iou,
                "shuffled": 100 * one.shuffled,
            }


def dissected_kinds(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """A row per state, layer and category: percent of the units labelled with one of its kind."""
    columns = "state layer category share"
    return table_of("dissection", _kinds, columns, results, device, 0)


def _kinds(record: Record[DissectionRun, Dissections]) -> Rows:
    for state, layers in record.result.units.items():
        for layer, one in layers.items():
            units = sum(one.categories.values())
            for category, count in one.categories.items():
                share = 100 * count / units
                yield {"state": state, "layer": layer, "category": category, "share": share}


def combined(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """A row per state, layer and category (`all` too): IoU in percent of each of `COMBINED`."""
    columns = f"state layer category {' '.join(COMBINED)}"
    return table_of("dissection", _combined, columns, results, device, 0)


def _combined(record: Record[DissectionRun, Dissections]) -> Rows:
    for state, layers in record.result.combined.items():
        for layer, one in layers.items():
            whole = {name: getattr(one, name) for name in COMBINED}
            for category, numbers in {"all": whole, **one.categories}.items():
                percent = {name: 100 * numbers[name] for name in COMBINED}
                yield {"state": state, "layer": layer, "category": category, **percent}


def by_chance(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """A row per number of images: IoU in percent of the last layer's units and shuffled ones.

    `share` is the percentage of shuffled units at the customary 4 percent or above.
    """
    return table_of("dissection", _chance, "images own shuffled share", results, device, 0)


def _chance(record: Record[DissectionRun, Dissections]) -> Rows:
    for images, one in record.result.chance.items():
        yield {
            "images": images,
            "own": 100 * one.own,
            "shuffled": 100 * one.shuffled,
            "share": one.share,
        }
