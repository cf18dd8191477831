"""Recorded looks into a trained network (chapter 06)."""

from pathlib import Path

import pandas as pd

from fmlib.evidence.reading import Rows, table_of
from fmlib.experiments.looks import AMOUNTS
from fmlib.experiments.photographs import Photograph
from fmlib.experiments.seeing import SeeingRun, Seen, at_epochs
from fmlib.records import RESULTS, Record, read_all

NAME = "seeing"


def seeing(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """A row per number that needs no further column, as `quantity` and `value`.

    Quantities: `accuracy`, `centre`, `border`, `activity` and `activity untrained`;
    `purity LAYER` and `purity untrained LAYER`; `moved TRANSFORMATION LAYER` and
    `moved untrained TRANSFORMATION LAYER`;
    `part PART LAYER` and `random PART LAYER`; `MEASURE KERNEL` of first layers; and
    `METHOD: LAYER`, `METHOD: twin`, `METHOD: shuffled` and `METHOD: edges` of the sanity checks.
    Of what is followed by epoch, the last one.
    """
    return table_of(NAME, _numbers, "quantity value", results, device, 0)


def _numbers(record: Record[SeeingRun, Seen]) -> Rows:
    found = record.result
    numbers = {
        "accuracy": found.accuracies[-1],
        "centre": found.centre[-1],
        "border": found.border[-1],
        "activity": found.activity,
        "activity untrained": found.activity_untrained,
        **{f"purity {layer}": value for layer, value in found.purity.items()},
        **{f"purity untrained {layer}": v for layer, v in found.purity_untrained.items()},
    }
    for transformation, layers in found.moved.items():
        numbers |= {f"moved {transformation} {layer}": v[-1] for layer, v in layers.items()}
        before = {f"moved untrained {transformation} {layer}": v[0] for layer, v in layers.items()}
        numbers |= before
    for part, by_layer in found.parts.items():
        for layer, one in by_layer.items():
            numbers |= {f"part {part} {layer}": one.part, f"random {part} {layer}": one.random}
    for kernel, first in found.first_layers.items():
        numbers |= {f"{name} {kernel}": value for name, value in first.model_dump().items()}
    for method, check in found.sanity.items():
        values = {**check.layers, **check.model_dump(exclude={"layers"})}
        numbers |= {f"{method}: {name}": value for name, value in values.items()}
    for quantity, value in numbers.items():
        yield {"quantity": quantity, "value": value}


def map_convergence(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """A row per layer and epoch shown: correlation of its maps with those of the last epoch."""
    return table_of(NAME, _convergence, "layer epoch correlation", results, device, 0)


def _convergence(record: Record[SeeingRun, Seen]) -> Rows:
    for layer, values in record.result.convergence.items():
        for epoch, value in zip(record.result.shown_epochs, values, strict=True):
            yield {"layer": layer, "epoch": epoch, "correlation": value}


def seen_by_epoch(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """A row per number of `fmlib.experiments.seeing.AtEpoch`."""
    return table_of(NAME, _at_epochs, "measure line epoch value", results, device, 0)


def _at_epochs(record: Record[SeeingRun, Seen]) -> Rows:
    found = record.result
    numbers = at_epochs(
        found.shown_epochs, found.moved, found.centre, found.border, found.agreement
    )
    yield from (one._asdict() for one in numbers)


def moved_probability(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """A row per transformation and amount: mean probability of the true class."""
    return table_of(NAME, _moved, "transformation amount probability", results, device, 0)


def _moved(record: Record[SeeingRun, Seen]) -> Rows:
    for transformation, values in record.result.probability.items():
        for amount, value in zip(AMOUNTS[transformation], values, strict=True):
            yield {"transformation": transformation, "amount": amount, "probability": value}


def photographs(results: Path = RESULTS, device: str = "cpu") -> tuple[Photograph, ...]:
    """What ImageNet's network sees in two photographs, as recorded; nothing without a record."""
    found = read_all("photographs", results).records.values()
    looks = [record.result.seen for record in found if record.config.device == device]
    return looks[0] if looks else ()
