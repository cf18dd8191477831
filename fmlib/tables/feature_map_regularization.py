"""Tables of chapter 03."""

from collections.abc import Callable, Iterable
from functools import reduce
from itertools import product
from statistics import median
from typing import Literal, get_args

import pandas as pd

from fmlib import evidence, models, published, stats
from fmlib.experiments import feature_map_regularization as regularization
from fmlib.experiments.feature_map_regularization import (
    MODEL_NAMES,
    WAY_NAMES,
    Row,
    Trial,
    by_row,
)
from fmlib.experiments.grids import MAP_WAYS
from fmlib.map_images import WAYS
from fmlib.tables.cells import (
    difference,
    finished,
    frame,
    interval,
    number,
    plain_text,
    stated,
    summary,
    this_run,
)

SETS = ("originals", "maps before", "maps after", "absolute maps before", "maps before / 255")
"""Images of the study of undefined losses; the last two with ReLU alone."""


def map_training(rows: list[Row]) -> pd.DataFrame:
    """Fig. 9: train and test accuracy in percent of base, map and control models."""
    table = []
    for runs, (model, name) in product(by_row(rows), MODEL_NAMES.items()):
        known = getattr(_fig9(runs[0]), model, None)
        ours = [run.finished(model) for run in runs]
        table.append(
            {
                "Row": _row_name(runs[0]) if model == "base" else "",
                "Model": name,
                "Published: train": number(getattr(known, "train", None), ".2f"),
                "Published: test": number(getattr(known, "test", None), ".2f"),
                f"{this_run(len(runs))}: train": finished(_part(ours, "train")),
                "This run: test": finished(_part(ours, "test")),
                "This run: train − test": finished(_part(ours, "gap")),
            }
        )
    return pd.DataFrame(table)


def recorded_map_training(recorded: pd.DataFrame) -> pd.DataFrame:
    """Fig. 9 in full: test accuracy in percent of base, map and control model, and its gap."""
    table = []
    for known, model in product(published.FIG9, evidence.FURTHER):
        rows = evidence.of_model(recorded, known.dataset, known.batch_size, model)
        name = f"{known.dataset}, batch {known.batch_size}"
        row = {"Row": name if model == "base" else "", "Model": MODEL_NAMES[model]}
        parts: dict[Part, str] = {"test": "test", "gap": "train − test"}
        for part, heading in parts.items():
            value = getattr(getattr(known, model, None), part, None)
            row[f"Published: {heading}"] = number(value, ".2f")
        row["n"] = evidence.counted(evidence.outcomes(rows, "test"))
        for part, heading in parts.items():
            row[f"Recorded: {heading}"] = interval(evidence.outcomes(rows, part))
        table.append(row)
    return pd.DataFrame(table)


def _fig9(row: Row) -> published.Fig9Row | None:
    """The published row in the same place, if it is of the same dataset."""
    known = published.FIG9[row.row : row.row + 1]
    return known[0] if known and known[0].dataset == row.dataset else None


def _row_name(row: Row) -> str:
    """Dataset and batch size of a row of Fig. 9, with that of this run where it differs."""
    known = _fig9(row)
    size = row.batch_size if known is None else known.batch_size
    note = "" if size == row.batch_size else f" (this run: {row.batch_size})"
    return f"{plain_text(row.dataset)}, batch {size}{note}"


Part = Literal["train", "test", "gap"]


def _part(accuracies: Iterable[regularization.Accuracy | None], part: Part) -> list[float | None]:
    return [getattr(accuracy, part, None) for accuracy in accuracies]


def ways(runs: list[regularization.WayRun]) -> pd.DataFrame:
    """Test accuracy in percent after short training, by the way of making images of maps."""
    table = []
    absent = ("base", "on_maps"), ("originals", "on_maps"), ("channels", "on_originals")
    for way, after in dict.fromkeys((run.way, run.after) for run in runs):
        chosen = [run for run in runs if (run.way, run.after) == (way, after)]
        row = {"Trained on": {"base": "none: base model"}.get(way, way.replace("_", " "))}
        row["Activation"] = ("after" if after else "before") if way in WAYS else "–"
        for fresh, weights in enumerate(("Kept", "Fresh")):
            for on in ("on_originals", "on_maps"):
                values = [getattr(run, on) for run in chosen if run.fresh == fresh]
                cell = finished(values) if values and (way, on) not in absent else "–"
                row[f"{weights} weights: {on.replace('_', ' ')}"] = cell
        table.append(row)
    return pd.DataFrame(table)


def recorded_ways(recorded: pd.DataFrame) -> pd.DataFrame:
    """Base model and its copies after training on maps: accuracies in percent, train - test gap."""
    table = []
    for way in ("base", *MAP_WAYS):
        found = evidence.of_way(recorded, way)
        test = evidence.outcomes(found, "test")
        alike = {} if way == "originals" else evidence.outcomes(found, "on_made")
        table.append(
            {
                "Trained on": "none: base model" if way == "base" else WAY_NAMES[way],
                "n": evidence.counted(test),
                "Recorded: test": interval(test),
                "on images made alike": interval(alike),
                "train − test": interval(evidence.outcomes(found, "gap"), 2),
            }
        )
    return pd.DataFrame(table)


def recorded_way_differences(recorded: pd.DataFrame) -> pd.DataFrame:
    """Differences, paired by seed, of test accuracy and of the train - test gap, in points."""
    table = []
    for way, other in evidence.WAY_PAIRS:
        test, gap = (
            evidence.way_differences(recorded, way, other, column) for column in ("test", "gap")
        )
        table.append(
            {
                "First − second": f"{WAY_NAMES[way]} − {WAY_NAMES[other]}",
                "n": evidence.counted(test),
                "Recorded: test accuracy": interval(test, 2, sign="+"),
                "train − test": interval(gap, 2, sign="+"),
            }
        )
    return pd.DataFrame(table)


def undefined_starts(trials: list[Trial]) -> pd.DataFrame:
    """Section 7.2: networks before their first step, a value per seed, a dash without a base."""
    rate = trials[0].learning_rate
    columns: dict[str, Callable[[Trial], str]] = {
        "Values below zero": lambda trial: number(trial.negative_share, ".0%"),
        "Dead units": lambda trial: number(trial.dead_share, ".0%"),
        "First loss": lambda trial: number(trial.first_loss, ".3g"),
        "Norm of the gradient": lambda trial: number(trial.gradient, ".3g"),
        f"First step at {rate:g} / weights": lambda trial: number(trial.step, ".2g"),
    }
    return _by_seed([trial for trial in trials if trial.learning_rate == rate], columns)


def undefined_losses(trials: list[Trial]) -> pd.DataFrame:
    """Section 7.2: the loss after training, a value per seed, and units that are dead by then."""
    tables = []
    for rate in dict.fromkeys(trial.learning_rate for trial in trials):
        columns: dict[str, Callable[[Trial], str]] = {
            f"Last loss at {rate:g}": _end,
            f"Dead units at {rate:g}": lambda trial: number(trial.dead_share_after, ".0%"),
        }
        tables.append(_by_seed([t for t in trials if t.learning_rate == rate], columns))
    return reduce(pd.merge, tables)


def _by_seed(trials: list[Trial], columns: dict[str, Callable[[Trial], str]]) -> pd.DataFrame:
    """A row per kind of trial, with the seeds' values side by side in each cell."""
    keys: dict[str, Callable[[Trial], str]] = {
        "Network": lambda trial: trial.activation,
        "Input": lambda trial: trial.input_scale,
        "Trained on": lambda trial: trial.images,
    }
    rows = frame(trials, keys | columns)
    return rows.groupby([*keys], sort=False).agg(", ".join).reset_index()


def _end(trial: Trial) -> str:
    """Mean loss of the last epoch, or where the loss was no number: epoch and step."""
    end = trial.history.divergence if trial.history else None
    return f"{end.loss} ({end.epoch}:{end.step})" if end else number(trial.last_loss, ".2g")


def recorded_undefined_losses(recorded: pd.DataFrame) -> pd.DataFrame:
    """Section 7.2 in full: runs whose loss ended undefined, by network, images, learning rate.

    With the share of them and its 95 % interval, in percent, and the norm of the gradient
    before the first step.
    """
    table = []
    for activation, images in product(get_args(models.Activation), SETS):
        if images in SETS[3:] and activation != "relu":
            continue
        rows = recorded[(recorded["activation"] == activation) & (recorded["images"] == images)]
        row = {"Network": activation, "Trained on": images}
        for rate in (0.01, 0.1):
            row[f"Recorded: undefined at {rate:g}"] = _undefined(rows, rate)
        norms = evidence.by_seed(rows, "gradient", learning_rate=0.01).values()
        row["Recorded: first gradient, median"] = f"{median(norms):.3g}" if norms else "–"
        lost = rows[rows["undefined"].isna()]["seed"].nunique()
        row["Recorded: base model undefined"] = f"{lost} of {rows['seed'].nunique()}"
        table.append(row if len(rows) else row | dict.fromkeys(list(row)[2:], "–"))
    return pd.DataFrame(table)


def _undefined(rows: pd.DataFrame, rate: float) -> str:
    ends = rows[rows["learning_rate"] == rate]["undefined"].dropna()
    if ends.empty:
        return "–"
    _, low, high, n, *_ = stats.share(int(ends.sum()), len(ends))
    return f"{int(ends.sum())} of {n} ({100 * low:.0f} to {100 * high:.0f} %)"


def map_training_summary(rows: list[Row], recorded: pd.DataFrame) -> pd.DataFrame:
    """What chapter 03 comes to: change of test accuracy and of the train-test gap."""
    table = []
    references: tuple[regularization.Model, ...] = ("base", "originals")
    parts: dict[Part, str] = {"test": "test accuracy", "gap": "train − test gap"}
    for runs, model, part in product(by_row(rows), references, parts):
        known = _fig9(runs[0])
        maps, other = (_part([run.finished(m) for run in runs], part) for m in ("maps", model))
        pair = f"Fig. 9, {_row_name(runs[0])}: map model − {MODEL_NAMES[model]}"
        change = None
        if known and model == "base":
            change = getattr(known.maps, part) - getattr(known.base, part)
        full = stated(_further(recorded, known, model, part), sign="+")
        ours = f"{difference(maps, other)}, n = {len(runs)}"
        name = f"{pair}, {parts[part]} (points)"
        table.append((name, number(change, "+.2f"), "–", full, ours))
    return summary(table)


def _further(
    recorded: pd.DataFrame, row: published.Fig9Row | None, other: regularization.Model, part: Part
) -> evidence.Outcomes:
    """Recorded differences of the map model and another one in a published row of Fig. 9."""
    if row is None:
        return {}
    key = row.dataset, row.batch_size
    maps = evidence.outcomes(evidence.of_model(recorded, *key, "maps"), part)
    return evidence.differences(
        maps, evidence.outcomes(evidence.of_model(recorded, *key, other), part)
    )
