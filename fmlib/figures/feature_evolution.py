"""Figures of chapter 05: pictures of classes by epoch, and what is measured of them."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor
from torch.nn import functional as F

from fmlib import evidence
from fmlib.experiments.feature_evolution import (
    COURSE_NAMES,
    COURSES,
    Course,
    Gallery,
    Looks,
    Regularizer,
    Shown,
)
from fmlib.figures.style import (
    NAMES,
    PUBLISHED,
    band,
    draw_curves,
    epochs_axis,
    image_grid,
    legend_below,
    look,
    panel_row,
    seed_count,
    show_image,
    wrapped,
)
from fmlib.visualization.pictures import stretched

MEASURE_NAMES = {
    "variation": "total variation",
    "high_frequency": "high-frequency share",
    "compressed": "compressed size (bytes)",
    "contrast": "contrast",
    "confusion": "confusion (correlation)",
    "conviction": "judge's probability (%)",
}
"""What is measured of pictures, for axes."""


def square(pictures: Tensor) -> Tensor:
    """Pictures (classes, C, H, W) as one (C, H', W'), row by row in the most square grid.

    Four are clockwise from the upper left, as in the paper.
    """
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = -(-len(pictures) // columns)
    if len(pictures) == 4:
        pictures = pictures[[0, 1, 3, 2]]
    blank = pictures.new_ones(rows * columns - len(pictures), *pictures.shape[1:])
    cells = F.pad(torch.cat((pictures, blank)), (1, 1, 1, 1), value=1.0)
    channels, height, width = cells.shape[1:]
    grid = cells.reshape(rows, columns, channels, height, width)
    return grid.permute(2, 0, 3, 1, 4).reshape(channels, rows * height, columns * width)


def evolution(galleries: Mapping[str, Gallery]) -> None:
    """Fig. 1 and 2: a row per gallery, and in it a square of the classes' pictures per epoch.

    Contrast is stretched alike within a row.
    """
    columns = max(len(found.epochs) for found in galleries.values())
    rows = image_grid(len(galleries), columns, 1.05 + 1.25 * len(galleries))
    for axes, (name, found) in zip(rows, galleries.items(), strict=True):
        first = found.pictures[:, 0]  # (epochs, classes, C, H, W)
        shown = stretched(first.flatten(0, 1)).reshape(first.shape)
        axes[0].set_ylabel(wrapped(name, 14), fontsize=9)
        for ax in axes[len(found.epochs) :]:
            ax.set_visible(False)
        for ax, epoch, pictures in zip(axes, found.epochs, shown, strict=False):
            show_image(ax, square(pictures))
            ax.set_title("before" if epoch == 0 else f"epoch {epoch}", fontsize=9)


def last_pictures(
    shown: Sequence[Shown], class_names: Sequence[str], regularizer: Regularizer
) -> None:
    """Each course's pictures after its last epoch, a row per course and a column per class."""
    rows = image_grid(len(shown), len(class_names), 1.75 * len(shown) + 0.3)
    last = torch.stack([course.galleries[regularizer].pictures[-1, 0] for course in shown])
    pictures = stretched(last.flatten(0, 1)).reshape(last.shape)
    for axes, course, row in zip(rows, shown, pictures, strict=True):
        axes[0].set_ylabel(wrapped(COURSE_NAMES[course.course], 16), fontsize=10)
        for ax, picture in zip(axes, row, strict=True):
            show_image(ax, picture)
    for ax, name in zip(rows[0], class_names, strict=True):
        ax.set_title(wrapped(name), fontsize=10)


def course_accuracy(shown: Sequence[Shown]) -> None:
    """Validation accuracy by epoch of the courses that end in the same classes."""
    ax = panel_row(1, 3.6)[0]
    for course in shown:
        if course.course != "harder":
            draw_curves(ax, [course.trained.history.test_accuracies], course.course)
    ax.set(ylabel="validation accuracy (%)")
    epochs_axis(ax)
    legend_below(ax, 2)


def recorded_course_accuracy(
    recorded: pd.DataFrame, images: int, published: Mapping[Course, Mapping[int, float]]
) -> None:
    """Tables 1 and 2: recorded validation accuracy by epoch, published values as stars."""
    axes = panel_row(2, 3.6)
    rows = recorded[recorded["images"] == images]
    for ax, (course, printed) in zip(axes, published.items(), strict=True):
        own = rows[rows["course"] == course]
        epochs = sorted(own["epoch"].unique().tolist())
        known = [evidence.by_seed(own, "accuracy", epoch=epoch) for epoch in epochs]
        band(ax, epochs, known, course)
        ax.plot([*printed], [*printed.values()], label="published (VGG-16)", **PUBLISHED)
        ax.set_title(COURSE_NAMES[course], fontsize=10)
        epochs_axis(ax)
        ax.legend(loc="lower right")
    axes[0].set_ylabel("validation accuracy (%)")


def looks_by_epoch(looks: Mapping[Regularizer, Sequence[Looks]], measures: Sequence[str]) -> None:
    """Measures of a course's pictures by epoch, a panel per measure and a line per regularizer."""
    axes = panel_row(len(measures), 3.2, sharey=False)
    for ax, measure in zip(axes, measures, strict=True):
        for regularizer, rows in looks.items():
            epochs, values = [row.epoch for row in rows], [getattr(row, measure) for row in rows]
            ax.plot(epochs, values, lw=2, label=NAMES[regularizer], **look(regularizer, 5))
        ax.set_title(MEASURE_NAMES[measure], fontsize=10)
        ax.set_ylim(bottom=0)
        epochs_axis(ax)
    legend_below(axes[0])


def recorded_looks(
    recorded: pd.DataFrame,
    measures: Sequence[str],
    courses: Sequence[Course] = COURSES,
    regularizer: Regularizer = "small",
) -> None:
    """Measures of recorded pictures by epoch, a panel per measure and a line per course."""
    axes = panel_row(len(measures), 3.4, sharey=False)
    for ax, measure in zip(axes, measures, strict=True):
        for course in courses:
            _recorded_line(ax, recorded, measure, course, regularizer)
        ax.set_title(MEASURE_NAMES[measure], fontsize=10)
        epochs_axis(ax)
    legend_below(axes[0], 2)


def _recorded_line(
    ax: Axes, recorded: pd.DataFrame, measure: str, course: Course, regularizer: Regularizer
) -> None:
    rows = recorded[(recorded["course"] == course) & (recorded["regularizer"] == regularizer)]
    epochs = sorted(rows["epoch"].unique().tolist())
    band(ax, epochs, [evidence.by_seed(rows, measure, epoch=epoch) for epoch in epochs], course)


def recorded_overfitting(epochs: pd.DataFrame, looks: pd.DataFrame) -> None:
    """Validation accuracy and confusion of the pictures of a course that overfits."""
    left, right = panel_row(2, 3.4, sharey=False)
    numbers = sorted(epochs["epoch"].unique().tolist())
    known = [evidence.by_seed(epochs, "accuracy", epoch=epoch) for epoch in numbers]
    band(left, numbers, known, "scratch")
    for regularizer in ("small", "published"):
        rows = looks[looks["regularizer"] == regularizer]
        shown = sorted(rows["epoch"].unique().tolist())
        values = [evidence.by_seed(rows, "confusion", epoch=epoch) for epoch in shown]
        band(right, shown, values, regularizer)
    left.set(ylabel="validation accuracy (%)", title=seed_count(known[0]) if known else "")
    right.set(ylabel="confusion: mean correlation")
    right.axhline(0, color="0.6", lw=1)
    for ax in (left, right):
        epochs_axis(ax)
    legend_below(right)


def recorded_pictures(pictures: Mapping[str, Mapping[int, Tensor]]) -> None:
    """Recorded pictures (classes, 3, H, W) as squares: a row per start, a column per epoch."""
    columns = max(map(len, pictures.values()), default=1)
    rows = image_grid(max(1, len(pictures)), columns, 0.3 + 1.3 * len(pictures))
    for axes, (name, by_epoch) in zip(rows, pictures.items(), strict=False):
        axes[0].set_ylabel(wrapped(name, 14), fontsize=9)
        for ax in axes[len(by_epoch) :]:
            ax.set_visible(False)
        for ax, (epoch, classes) in zip(axes, by_epoch.items(), strict=False):
            show_image(ax, square(classes))
            ax.set_title(f"epoch {epoch}" if epoch else "as it is", fontsize=9)
