"""Figures of chapter 03."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from fmlib import evidence, published
from fmlib.experiments.feature_map_regularization import MODELS, Row, Trial, by_row
from fmlib.experiments.grids import MAP_WAYS
from fmlib.figures.style import (
    MARKERS,
    NAMES,
    PALETTE,
    PUBLISHED,
    WIDTH,
    band,
    draw_curves,
    epochs_axis,
    legend_below,
    mean_and_interval,
    name_ends,
    panel_row,
    seed_count,
    seed_points,
    wrapped,
)


def _row_title(runs: list[Row]) -> str:
    return f"{wrapped(runs[0].dataset, 18)}\nbatch {runs[0].batch_size}, n = {len(runs)}"


def map_training(rows: list[Row]) -> None:
    """Fig. 9: accuracy of base, map and control models; open points train, full points test."""
    groups = by_row(rows)
    axes = panel_row(len(groups))
    for ax, runs in zip(axes, groups, strict=True):
        for position, model in enumerate(MODELS):
            known = [a for run in runs if (a := run.finished(model)) is not None]
            seed_points(ax, position - 0.15, [a.train for a in known], model, "none", turn=-1)
            seed_points(ax, position + 0.15, [a.test for a in known], model, turn=-1)
        ax.set(title=_row_title(runs), xlabel="accuracy (%)")
    axes[0].set_yticks(range(len(MODELS)), [wrapped(NAMES[model], 18) for model in MODELS])
    axes[0].invert_yaxis()
    axes[-1].plot([], [], "o", color="k", fillstyle="none", label="train")
    axes[-1].plot([], [], "o", color="k", label="test")
    legend_below(axes[-1])


def map_training_by_epoch(rows: list[Row]) -> None:
    """Section 7.2: test accuracy by epoch of training on maps; epoch 0 is the base model."""
    groups = by_row(rows)
    axes = panel_row(len(groups), 3.6, sharey=False)
    for ax, runs in zip(axes, groups, strict=True):
        for model in MODELS[1:]:
            curves = [
                [run.accuracies["base"].test, *run.histories[model].test_accuracies]
                for run in runs
                if run.finished(model)
            ]
            draw_curves(ax, curves, model, start=0)
        ax.set_title(_row_title(runs))
        epochs_axis(ax)
    axes[0].set_ylabel("test accuracy (%)")
    legend_below(axes[0], columns=2)


def undefined_losses(trials: list[Trial], guess: float, most: float = 100.0) -> None:
    """Section 7.2: loss after training against what might decide it; `guess` is chance's loss.

    Crosses at the top are losses that are no number, or above `most`.
    """
    panels = "values below zero (share)", "dead units (share)", "first step / weights"
    axes = panel_row(len(panels))
    for trial in trials:
        name = "originals" if trial.images == "originals" else "maps"
        lost = trial.last_loss is None or trial.last_loss > most
        height = most if trial.last_loss is None else min(trial.last_loss, most)
        style = {"color": PALETTE[name], "marker": "x" if lost else MARKERS[name], "alpha": 0.7}
        label = f"{name}: undefined or above {most:g}" if lost else name
        causes: tuple[Any, ...] = (trial.negative_share, trial.dead_share, trial.step)
        for ax, cause in zip(axes, causes, strict=True) if trial.history else ():
            ax.plot(cause, height, ls="none", label=label, **style)
    for ax, panel in zip(axes, panels, strict=True):
        ax.axhline(guess, color="k", ls=":", lw=1, label="guessing")
        ax.set(xlabel=panel, yscale="log")
    axes[0].set_ylabel("mean loss, last epoch")
    axes[-1].set_xscale("log")
    legend_below(axes[-1], columns=3)


def recorded_map_training(recorded: pd.DataFrame) -> None:
    """Fig. 9: test accuracy and train - test gap of base, map and control models."""
    _, axes = plt.subplots(2, len(published.FIG9), figsize=(WIDTH, 5.8), sharex="col")
    parts = {"test": "test accuracy (%)", "gap": "train − test (points)"}
    for column, row in enumerate(published.FIG9):
        for ax, part in zip(axes[:, column], parts, strict=True):
            names = []
            for place, model in enumerate(evidence.FURTHER):
                rows = evidence.of_model(recorded, row.dataset, row.batch_size, model)
                found = evidence.outcomes(rows, part)
                mean_and_interval(ax, place, found, model)
                names.append(f"{wrapped(NAMES[model], 9)}\n{wrapped(seed_count(found), 12)}")
            known = [getattr(model, part) for model in (row.base, row.maps)]
            ax.plot([-0.2, 0.8], known, label="published", **PUBLISHED)
            ax.margins(y=0.12)  # no star lies on the axis
        axes[0, column].set_title(f"{row.dataset}\nbatch {row.batch_size}")
        axes[1, column].set_xticks(range(len(names)), names, fontsize=8)
    for ax, name in zip(axes[:, 0], parts.values(), strict=True):
        ax.set_ylabel(name)
    for ax in axes[1]:
        ax.axhline(0, color="0.6", lw=1, zorder=0)
    legend_below(axes[0, 0])


def recorded_further_training(recorded: pd.DataFrame) -> None:
    """Section 7.2: test accuracy by epoch of further training; epoch 0 is the base model.

    A panel per row of Fig. 9, with the numbers of its models that did not diverge.
    """
    axes = panel_row(len(published.FIG9), 3.6)
    for ax, row in zip(axes, published.FIG9, strict=True):
        counts = []
        for model in evidence.FURTHER[1:]:
            rows = evidence.of_model(recorded, row.dataset, row.batch_size, model)
            known = rows[rows["diverged"].ne(True)]
            base_and_tests = zip(known["base_test"], known["tests"], strict=True)
            draw_curves(ax, [[base, *tests] for base, tests in base_and_tests], model, start=0)
            counts.append(f"{model}: {seed_count(evidence.outcomes(rows, 'test'))}")
        title = "\n".join([f"{row.dataset}, batch {row.batch_size}", *counts])
        ax.set_title(title, fontsize=9)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_ylabel("test accuracy (%)")
    axes[1].set_xlabel("epoch of further training")
    legend_below(axes[0])


def recorded_ways_by_epoch(recorded: pd.DataFrame, further: pd.DataFrame) -> None:
    """Test accuracy by epoch of training on maps or controls; epoch 0 is the base model.

    As released (`evidence.further_training`, batch 256) and gentler (`evidence.map_ways`), with
    means and 95 % intervals of the models that did not diverge.
    """
    left, right = panel_row(2, 4.0, sharey=False)
    row, models = ("mnist", 256), evidence.FURTHER[1:]
    _curves(left, {one: evidence.further_by_epoch(further, *row, one) for one in models})
    _curves(right, {way: evidence.way_by_epoch(recorded, way) for way in MAP_WAYS})
    released = {one: evidence.of_model(further, *row, one) for one in models}
    gentler = {way: evidence.of_way(recorded, way) for way in MAP_WAYS}
    left.set_title(_title("as released\n0 to 255, rate 0.01", released), fontsize=9)
    right.set_title(_title("gentler\n0 to 1, rate 0.1", gentler), fontsize=9)
    left.set_ylabel("test accuracy on originals (%)")


def _curves(ax: Axes, found: Mapping[Any, Mapping[int, evidence.Outcomes]]) -> None:
    """A line of means by epoch for every quantity, its name at the end."""
    known = {name: by_epoch for name, by_epoch in found.items() if by_epoch}
    for name, by_epoch in known.items():
        band(ax, [*by_epoch], [*by_epoch.values()], name)
    last = max((max(by_epoch) for by_epoch in known.values()), default=0)
    ends = {name: fmean(evidence.finished(by_epoch[last])) for name, by_epoch in known.items()}
    name_ends(ax, last, ends)
    epochs_axis(ax)


def _title(setting: str, ends: Mapping[Any, pd.DataFrame]) -> str:
    """A setting, the number of seeds, and that of every quantity of which some diverged."""
    counts = {name: seed_count(evidence.outcomes(rows, "test")) for name, rows in ends.items()}
    full = [text for text in counts.values() if "diverged" not in text]
    lost = [f"{NAMES[name]}: {text}" for name, text in counts.items() if "diverged" in text]
    return "\n".join([", ".join([setting, *full[:1]]), *lost])


def recorded_way_differences(recorded: pd.DataFrame) -> None:
    """What training did to accuracy and gap: full marks against the base model, open the control.

    Differences are paired by seed.
    """
    axes = panel_row(2, 4.2)
    heads = {"test": "test accuracy (points)", "gap": "train − test gap (points)"}
    for ax, (column, head) in zip(axes, heads.items(), strict=True):
        ax.axvline(0, color="0.6", lw=1, zorder=0)
        for place, way in enumerate(MAP_WAYS):
            for step, other, fill in ((-0.18, "base", "full"), (0.18, "originals", "none")):
                found = evidence.way_differences(recorded, way, other, column)
                if way != other:
                    mean_and_interval(ax, place + step, found, way, 0.15, fill, turn=-1)
        ax.set_xlabel(head)
    axes[0].set_yticks(range(len(MAP_WAYS)), [wrapped(NAMES[way], 18) for way in MAP_WAYS])
    axes[0].set_ylim(len(MAP_WAYS) - 0.5, -0.5)
    axes[0].set_title(seed_count(evidence.outcomes(evidence.of_way(recorded, "base"), "test")))
    axes[0].plot([], [], "ko", label="− base model")
    axes[0].plot([], [], "ko", mfc="white", label="− control: originals")
    legend_below(axes[0])
