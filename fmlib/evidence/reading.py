"""What all tables of recorded runs share: rows of records, numbers by seed, differences."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from fmlib.records import Record, read_all

FULL = 50_000
"""Runs on fewer training images serve as checks of this package, not as evidence."""

Rows = Iterator[dict[str, Any]]


def table_of(
    experiment: str,
    rows: Callable[[Record[Any, Any]], Rows],
    columns: str,
    results: Path,
    device: str,
    least: int = FULL,
) -> pd.DataFrame:
    """Rows of all records of an experiment on at least so many training images."""
    found = [
        {"seed": record.config.seed, **row, "path": str(path)}
        for path, record in read_all(experiment, results).records.items()
        if record.config.n_train >= least and record.config.device == device
        for row in rows(record)
    ]
    return pd.DataFrame(found, columns=["seed", *columns.split(), "path"])


def known_mean(values: list[float | None]) -> float:
    """Mean of what is defined; NaN if nothing is."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else float("nan")


def by_seed(table: pd.DataFrame, column: str, **chosen: object) -> dict[int, float]:
    """One number per seed: a column of the rows whose other columns have the chosen values.

    Rows without that number are left out.

    Raises:
        ValueError: two rows of one seed; choose further columns.
    """
    rows = table
    for name, value in chosen.items():
        rows = rows[rows[name] == value]
    rows = rows[["seed", column]].dropna()
    if not rows["seed"].is_unique:
        raise ValueError(f"{column} has several rows of one seed; choose more than {chosen}")
    return dict(zip(rows["seed"].tolist(), map(float, rows[column]), strict=True))


Outcomes = Mapping[int, float | None]
"""A recorded number by seed; None where the training diverged."""


def outcomes(rows: pd.DataFrame, column: str, **chosen: object) -> dict[int, float | None]:
    """As `by_seed`, with None for every further seed of the rows: its training diverged."""
    finished = rows[rows["diverged"].ne(True)] if "diverged" in rows else rows
    known = by_seed(finished, column, **chosen)
    return {seed: known.get(seed) for seed in sorted(rows["seed"].unique().tolist())}


def differences(
    first: Mapping[int, float | None], second: Mapping[int, float | None]
) -> dict[int, float | None]:
    """First - second by seed, for the seeds that both have; None if one of them diverged."""
    pairs = {seed: (first[seed], second[seed]) for seed in sorted(first.keys() & second.keys())}
    return {s: None if a is None or b is None else a - b for s, (a, b) in pairs.items()}


def finished(outcomes: Outcomes) -> list[float]:
    """The numbers of the runs that did not diverge."""
    return [value for value in outcomes.values() if value is not None]


def counted(outcomes: Outcomes) -> str:
    """Number of recorded runs that a number rests on, and of those that diverged, if any did."""
    known = len(finished(outcomes))
    diverged = len(outcomes) - known
    return f"{known} ({diverged} diverged)" if diverged else str(known)
