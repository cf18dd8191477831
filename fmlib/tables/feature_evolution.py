"""Tables of chapter 05."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from torch import nn

from fmlib import evidence, published
from fmlib.experiments.feature_evolution import (
    COURSE_NAMES,
    COURSES,
    REGULARIZER_NAMES,
    Course,
    Looks,
    Regularizer,
    Shown,
    judged,
)
from fmlib.tables.cells import (
    frame,
    interval,
    number,
    recorded_in,
    seed_counts,
    stated,
    summary,
    written,
)

PRINTED: dict[Course, dict[int, float]] = {
    "scratch": dict(published.PUNJABI_TABLE1),
    "pretrained": dict(published.PUNJABI_TABLE2),
}
"""Validation accuracy by epoch as printed: Tables 1 and 2."""


def evolution_accuracy(
    course: Course, recorded: pd.DataFrame, images: int, shown: Sequence[Shown]
) -> pd.DataFrame:
    """Table 1 or 2: validation accuracy in percent after the printed epochs."""
    rows = recorded[(recorded["course"] == course) & (recorded["images"] == images)]
    live = next((one.trained.history for one in shown if one.course == course), None)
    ours = {} if live is None else dict(enumerate(live.test_accuracies, 1))
    epochs = sorted({*PRINTED[course], *ours})
    known = [evidence.outcomes(rows[rows["epoch"] == epoch], "accuracy") for epoch in epochs]
    most = max(known, key=len, default={})
    return pd.DataFrame(
        {
            "Epoch": map(str, epochs),
            "Published": [number(PRINTED[course].get(epoch), ".0f") for epoch in epochs],
            recorded_in(most): map(interval, known),
            "This run": [number(ours.get(epoch), ".1f") for epoch in epochs],
        }
    )


def courses(shown: Sequence[Shown]) -> pd.DataFrame:
    """What was trained, and how well each course does on its own images."""
    columns: dict[str, Callable[[Shown], str]] = {
        "Course": lambda one: COURSE_NAMES[one.course],
        "Epochs": lambda one: str(len(one.trained.history.epochs)),
        "Training images": lambda one: f"{one.trained.history.epochs[-1].seen:,}",
        "Training accuracy (%)": lambda one: f"{one.trained.train_accuracy:.1f}",
        "Validation accuracy (%)": lambda one: f"{one.trained.history.test_accuracies[-1]:.1f}",
    }
    return frame(shown, columns)


def reached(looks: Mapping[Regularizer, Sequence[Looks]]) -> pd.DataFrame:
    """Activation and probability that the pictures reach, and what they look like in numbers."""
    rows = [
        {
            "Regularizer": REGULARIZER_NAMES[regularizer],
            "Epoch": str(one.epoch),
            "Activation": written(one.activation, ".1f"),
            "Probability": f"{one.probability:.2f}",
            "Contrast": f"{one.contrast:.3f}",
            "Total variation": f"{one.variation:.3f}",
            "High frequencies (%)": number(_percent(one.high_frequency), ".0f"),
        }
        for regularizer, found in looks.items()
        for one in found
    ]
    return pd.DataFrame(rows)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def judgements(shown: Sequence[Shown], judging: nn.Module, recorded: pd.DataFrame) -> pd.DataFrame:
    """What a network trained apart says of the pictures: before training, and after it."""
    rows = []
    for course in shown:
        for regularizer, found in course.ends.items():
            for at in (0, -1):
                verdict = judged(found.pictures[at], judging)
                epoch = found.epochs[at]
                known = _of(recorded, course.course, regularizer, "agreement", at)
                rows.append(
                    {
                        "Course": COURSE_NAMES[course.course],
                        "Regularizer": REGULARIZER_NAMES[regularizer],
                        "Epoch": "before" if epoch == 0 else str(epoch),
                        "Recorded: agrees (%)": stated(known),
                        "This run: agrees (%)": f"{verdict.agreement:.0f} "
                        f"({verdict.low:.0f} to {verdict.high:.0f}), {verdict.n} pictures",
                        "probability (%)": f"{100 * verdict.probability.mean().item():.0f}",
                    }
                )
    return pd.DataFrame(rows)


def _of(
    recorded: pd.DataFrame, course: Course, regularizer: Regularizer, column: str, at: int
) -> evidence.Outcomes:
    """A number by seed of a recorded course's pictures, at its first or last epoch shown.

    Of a course that is recorded with several numbers of training images, those with most.
    """
    rows = recorded[(recorded["course"] == course) & (recorded["regularizer"] == regularizer)]
    if rows.empty:
        return {}
    rows = rows[rows["images"] == rows["images"].max()]
    epoch = rows["epoch"].min() if at == 0 else rows["epoch"].max()
    return evidence.outcomes(rows[rows["epoch"] == epoch], column)


def recorded_complexity(recorded: pd.DataFrame) -> pd.DataFrame:
    """Pictures after the last epoch in numbers, a row per course and regularizer."""
    measures = {
        "total variation": ("variation", 3, 1),
        "high frequencies (%)": ("high_frequency", 1, 100),
        "compressed (bytes)": ("compressed", 0, 1),
        "confusion": ("confusion", 2, 1),
        "judge's probability (%)": ("conviction", 1, 1),
    }
    rows = []
    for course in COURSES:
        for regularizer, name in REGULARIZER_NAMES.items():
            columns = {}
            for head, (column, digits, factor) in measures.items():
                known = _of(recorded, course, regularizer, column, -1)
                scaled = {s: None if v is None else factor * v for s, v in known.items()}
                columns[head] = interval(scaled, digits)
            counts = seed_counts([_of(recorded, course, regularizer, "variation", -1)])
            row = {"Course": COURSE_NAMES[course], "Regularizer": name, "n": counts}
            rows.append(row | columns)
    return pd.DataFrame(rows)


def evolution_summary(
    shown: Sequence[Shown],
    judging: nn.Module,
    epochs: pd.DataFrame,
    looks: pd.DataFrame,
    images: int,
) -> pd.DataFrame:
    """What chapter 05 comes to: `evidence.evolution` and `evidence.evolution_looks` recorded."""
    rows: list[tuple[str, str, str, str, str]] = []
    own = epochs[epochs["images"] == images]
    for course, printed in PRINTED.items():
        best = own[own["course"] == course].groupby("seed")["accuracy"].max()
        live: Any = next((one for one in shown if one.course == course), None)
        rows.append(
            (
                f"best validation accuracy, {COURSE_NAMES[course]} (%)",
                number(max(printed.values()), ".0f"),
                "–",
                stated({int(seed): value for seed, value in best.items()}),  # type: ignore[call-overload]
                number(live and max(live.trained.history.test_accuracies), ".1f"),
            )
        )
    for one in shown:
        regularizer = _first(one)
        verdict = judged(one.ends[regularizer].pictures[-1], judging)
        known = stated(_of(looks, one.course, regularizer, "agreement", -1))
        name = f"last pictures that another network agrees with, {COURSE_NAMES[one.course]} (%)"
        rows.append((name, "–", "–", known, f"{verdict.agreement:.0f}"))
    return summary(rows)


def _first(course: Shown) -> Regularizer:
    return "small" if "small" in course.galleries else "published"


def recorded_large(recorded: pd.DataFrame) -> pd.DataFrame:
    """A large network by its start (`evidence.large_networks`): accuracy, and its last pictures."""
    rows = []
    for start in recorded["start"].unique().tolist():
        own = recorded[recorded["start"] == start]
        columns = {
            "Accuracy (%)": ("accuracy", 1),
            "Activation": ("activation", 1),
            "Probability": ("probability", 2),
            "Total variation": ("variation", 3),
            "Confusion": ("confusion", 2),
        }
        known = {head: evidence.outcomes(own, column) for head, (column, _) in columns.items()}
        numbers = {head: interval(known[head], digits) for head, (_, digits) in columns.items()}
        rows.append({"Start": start, "n": seed_counts([known["Activation"]]), **numbers})
    return pd.DataFrame(rows)
