"""Tables of what skipping similar images does beyond skipping any (chapter 02)."""

import pandas as pd

from fmlib import evidence
from fmlib.experiments.skipping import RULES
from fmlib.tables.cells import interval, middle, number


def recorded_rules(recorded: pd.DataFrame, batch_size: int) -> pd.DataFrame:
    """Every rule at one batch size: what it leaves out, and how accurate that is, by seed.

    Differences are paired by seed; with the median.
    """
    rows = []
    for condition, name in RULES.items():
        final = evidence.final(recorded, batch_size, condition)
        row = {"Images are left out by": name, "n": evidence.counted(final)}
        row["Recorded: left out (%)"] = interval(evidence.left_out(recorded, batch_size, condition))
        row["test accuracy (%)"] = interval(final)
        for other in ("plain", "cached"):
            gain = evidence.final_differences(recorded, batch_size, condition, other)
            known = bool(evidence.finished(gain)) and condition != other
            text = f"{interval(gain, sign='+')}, median {middle(gain, sign='+')}"
            row[f"− {other} (points)"] = text if known else "–"
        rows.append(row)
    return pd.DataFrame(rows)


def recorded_until(recorded: pd.DataFrame, batch_size: int, accuracy: float = 97) -> pd.DataFrame:
    """What every rule had spent when an epoch first ended at an accuracy: runs, images, operations.

    Means are over the runs that got there.
    """
    rows = []
    for condition, name in RULES.items():
        spent = {
            heading: {
                seed: None if value is None else value / unit
                for seed, value in evidence.until(
                    recorded, batch_size, condition, accuracy, column
                ).items()
            }
            for heading, (column, unit) in SPENT.items()
        }
        reached = next(iter(spent.values()))
        count = f"{len(evidence.finished(reached))} of {len(reached)}"
        row = {"Images are left out by": name, "Recorded: runs that got there": count}
        rows.append(row | {heading: interval(values) for heading, values in spent.items()})
    return pd.DataFrame(rows)


SPENT = {
    "steps": ("steps", 1.0),
    "images trained on (thousands)": ("images", 1e3),
    "multiply-adds (10¹²)": ("operations", 1e12),
}
"""Heading, column of the evidence, and unit of what a training costs."""


def recorded_readings(recorded: pd.DataFrame) -> pd.DataFrame:
    """From printed to released: images skipped in the first and the last epoch, and accuracy.

    Thresholds and similarities are means over classes and seeds, of the last epoch.
    """
    rows = recorded[(recorded["dataset"] == "mnist") & (recorded["batch_size"] == 4096)]
    rows = rows[rows["condition"] == "cached"]
    table = []
    for reading, runs in rows.groupby("reading", sort=False):
        first, last = runs[runs["epoch"] == 1], runs[runs["last"]]
        skipped = [evidence.outcomes(epoch, "skipped") for epoch in (first, last)]
        table.append(
            {
                "Differs from the released reading in": reading,
                "n": evidence.counted(skipped[1]),
                "Recorded: skipped, first epoch": interval(skipped[0], 0),
                "skipped, last epoch": interval(skipped[1], 0),
                "threshold": number(last["threshold"].mean(), ".4f"),
                "similarity": number(last["similarity"].mean(), ".4f"),
                "test accuracy (%)": interval(evidence.outcomes(last, "test_accuracy")),
            }
        )
    return pd.DataFrame(table)
