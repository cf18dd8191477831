"""Figures of chapter 02: the cache, and training with it and with other rules."""

from collections.abc import Sequence
from statistics import fmean

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

from fmlib import evidence, published
from fmlib.experiments import caching
from fmlib.experiments.caching import CONDITIONS, Comparison
from fmlib.figures.style import (
    COLOURS,
    MARKERS,
    NAMES,
    PALETTE,
    PUBLISHED,
    WIDTH,
    band,
    draw_curves,
    epochs_axis,
    legend_below,
    look,
    mean_and_interval,
    panel_row,
    seed_count,
    show_image,
    signed,
    wrapped,
)


def vector_anatomy(found: caching.Anatomy, columns: int = 8) -> None:
    """Fig. 4: an image, its maps with their numbers, and its vector beside the cached one."""
    rows = -(-(1 + len(found.maps)) // columns)
    figure = plt.figure(figsize=(WIDTH, 1.3 * rows + 2.3), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.3 * rows, 2.3])  # type: ignore[misc]
    cells = list(top.subplots(rows, columns, squeeze=False).flat)
    limit = found.maps.abs().max().item()
    show_image(cells[0], found.image)
    cells[0].set_title("image", fontsize=8)
    for ax in cells:
        ax.set_axis_off()
    for number, one in enumerate(found.maps):
        cells[number + 1].imshow(one.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit)
        numbers = ", ".join(f"{value:.3g}" for value in found.vector[number].tolist())
        cells[number + 1].set_title(f"{number}: {numbers}", fontsize=8)
    places = np.arange(len(found.maps))
    for part, ax in enumerate(bottom.subplots(1, len(found.parts), squeeze=False)[0]):
        ax.bar(places - 0.2, found.vector[:, part].numpy(), 0.4, label="this image")
        ax.bar(places + 0.2, found.cached[:, part].numpy(), 0.4, label="cached, its class")
        ax.set(xlabel="feature map", ylabel=f"{found.parts[part]} of the map")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, labels = ax.get_legend_handles_labels()
    bottom.legend(handles, labels, loc="outside lower center", ncols=2)


def similarity_stages(found: caching.Stages, class_names: Sequence[str]) -> None:
    """Fig. 5 and 6: each image's similarity to every cached vector, early and late."""
    _, (upper, lower) = plt.subplots(2, 1, figsize=(WIDTH, 6.2), sharex=True)
    _similarities(upper, found.early)
    _similarities(lower, found.late)
    upper.set(title="very early", ylabel="cosine similarity")
    lower.set(title="at the end of training", ylabel="cosine similarity")
    lower.set_xlabel("class of the cached vector")
    lower.set_xticks(range(len(class_names)), [wrapped(name, 9) for name in class_names])
    legend_below(lower)


def _similarities(ax: Axes, stage: caching.Stage) -> None:
    """A line per image, its class written at its own cached vector; thresholds as dashes.

    The axis is logarithmic in the distance from 1, since nearly all cosines lie close to it.
    """
    classes = np.arange(stage.similarity.shape[1])
    for similarity, label in zip(stage.similarity.numpy(), stage.labels.tolist(), strict=True):
        colour = COLOURS[label % len(COLOURS)]
        ax.plot(classes, similarity, color=colour, lw=1, alpha=0.7)
        ax.plot(label, similarity[label], "o", color="white", mec=colour, mew=2, ms=12)
        ax.text(label, similarity[label], str(label), ha="center", va="center", fontsize=8)
    ax.plot([], [], "o", color="white", mec="0.5", mew=2, ms=10, label="image, at its own class")
    threshold = stage.threshold.numpy()
    ax.hlines(threshold, classes - 0.3, classes + 0.3, "k", lw=2, label="threshold of the class")
    _scale_to_one(ax, np.concatenate((stage.similarity.numpy().ravel(), threshold)))


def _scale_to_one(ax: Axes, drawn: NDArray[np.float64]) -> None:
    """A vertical axis that is logarithmic in the distance from 1, around what is drawn."""
    nearness = lambda cosine: -np.log10(1.0001 - cosine), lambda scaled: 1.0001 - 10**-scaled
    ax.set_yscale("function", functions=nearness)
    lowest, highest = np.nanmin(drawn), np.nanmax(drawn)
    ticks = [0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999]
    shown = [tick for tick in ticks if lowest <= tick <= highest]
    ax.set_yticks(shown, [f"{tick:g}" for tick in shown])
    ax.set_ylim(1 - 1.3 * (1 - lowest), 1 - 0.2 * (1 - highest))


def cache_by_epoch(run: caching.Run, class_names: Sequence[str]) -> None:
    """A cached run, a line for each class: threshold and similarity, and the share skipped."""
    epochs = run.history.epochs
    left, right = panel_row(2, 3.6, sharey=False)
    kinds = {"threshold": "--", "similarity": "-"}
    values = {
        kind: np.array([epoch.policy[kind] for epoch in epochs], dtype=np.float64) for kind in kinds
    }  # (epochs, classes)
    numbers = range(1, len(epochs) + 1)
    for label, name in enumerate(class_names[: len(epochs[0].seen_per_class)]):
        colour = COLOURS[label % len(COLOURS)]
        for kind, line in kinds.items():
            left.plot(numbers, values[kind][:, label], line, color=colour)
        counts = [(e.skipped_per_class[label], e.seen_per_class[label]) for e in epochs]
        shares = [100 * skipped / max(seen, 1) for skipped, seen in counts]
        right.plot(numbers, shares, color=colour, label=wrapped(name))
    for kind, line in kinds.items():
        left.plot([], [], line, color="0.3", label=kind)
    _scale_to_one(left, np.concatenate([*values.values()]).ravel())
    left.set_ylabel("cosine similarity")
    left.legend()
    right.set(ylabel="images skipped (%)", ylim=(0, 100))
    for ax in (left, right):
        epochs_axis(ax)
    legend_below(right, columns=5)


def accuracy_by_epoch(runs: list[Comparison]) -> None:
    """Fig. 7: test accuracy by epoch; a thin line per seed, a thick one for their mean."""
    left, right = panel_row(2)
    for condition in CONDITIONS:
        curves = [getattr(run, condition).history.test_accuracies for run in runs]
        draw_curves(right, curves, condition)
    for condition in ("plain", "cached"):
        draw_curves(left, [published.FIG7[condition].tolist()], condition)
    left.set(title="published, batch 4096", ylabel="test accuracy (%)", ylim=(0, 100))
    right.set(title=f"this run, batch {runs[0].batch_size}, n = {len(runs)}")
    epochs_axis(left)
    epochs_axis(right)
    legend_below(right)


def skipped_by_epoch(runs: list[Comparison]) -> None:
    """Fig. 7: share of the images that the cache skipped, by epoch, beside the published one."""
    [ax] = panel_row(height=3.0)
    hits = 100 * published.FIG7["hits"] / 60_000
    ax.plot(hits.index, hits, "k--", lw=1.5, label="published, batch 4096")
    shares = [[100 * e.skipped / e.seen for e in run.cached.history.epochs] for run in runs]
    draw_curves(ax, shares, "cached")
    ax.set(title=f"this run, n = {len(runs)}", ylabel="images skipped (%)", ylim=(0, None))
    epochs_axis(ax)
    ax.legend(loc="lower right")


def accuracy_by_batch_size(runs: list[Comparison]) -> None:
    """Fig. 8: test accuracy after training over batch size; a point per seed, lines for means."""
    left, right = panel_row(2)
    for known in ("plain", "cached"):
        accuracies = published.FIG8[[f"{known}_test"]].to_numpy().tolist()
        _batch_size_line(left, published.FIG8.index.tolist(), accuracies, known)
    sizes = sorted({run.batch_size for run in runs})
    by_size = [[run for run in runs if run.batch_size == size] for size in sizes]
    for condition in CONDITIONS:
        values = [[getattr(run, condition).test_accuracy for run in group] for group in by_size]
        _batch_size_line(right, sizes, values, condition)
    left.set(title="published, 60,000 images", ylabel="test accuracy (%)", ylim=(0, 102))
    right.set(title=f"this run, n = {len(by_size[0])}")
    legend_below(right)


def _batch_size_line(ax: Axes, sizes: list[int], values: list[list[float]], quantity: str) -> None:
    colour = PALETTE[quantity]
    for size, points in zip(sizes, values, strict=True):
        ax.scatter([size] * len(points), points, s=14, color=colour, marker=MARKERS[quantity])
    ax.plot(sizes, [fmean(points) for points in values], color=colour, lw=2, label=NAMES[quantity])
    ax.set_xlabel("batch size (images)")
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, [str(size) for size in sizes], rotation=45 if len(sizes) > 4 else 0)


def input_scales(found: list[caching.Scaled]) -> None:
    """Fig. 7 in small for every input scale: test accuracy by epoch, plain and cached."""
    axes = panel_row(len(found), 3.2)
    names = {"255": "0 to 255", "unit": "0 to 1", "standardized": "standardized"}
    for ax, scaled in zip(axes, found, strict=True):
        for condition in ("plain", "cached"):
            curves = [run.history.test_accuracies for run in getattr(scaled, condition)]
            draw_curves(ax, curves, condition)
        ax.set(title=f"{names[scaled.input_scale]}, n = {len(scaled.plain)}", ylim=(0, 100))
        epochs_axis(ax)
    axes[0].set_ylabel("test accuracy (%)")
    legend_below(axes[-1])


def exits(found: list[list[caching.ExitLayer]]) -> None:
    """Leaving a trained network early, by layer: who leaves, how often rightly, what it costs."""
    [ax] = panel_row()
    layers = [row.layer for row in found[0]]
    lines = {
        "hits": ("images that leave early", "o", COLOURS[0]),
        "precision": ("of them named right", "s", COLOURS[3]),
        "accuracy": ("named right of all, with exits", "D", COLOURS[2]),
        "network": ("named right of all, without exits", "^", "black"),
    }
    for name, (text, marker, colour) in lines.items():
        values = [[getattr(row, name) for row in rows] for rows in zip(*found, strict=True)]
        means = [fmean(points) for points in values]
        ax.plot(layers, means, color=colour, marker=marker, label=text, lw=2, ms=5)
        for layer, points in zip(layers, values, strict=True):
            ax.scatter([layer] * len(points), points, s=9, color=colour, marker=marker, alpha=0.6)
    ax.set(title=f"this run, n = {len(found)}", xlabel="layer at which images may leave")
    ax.set(ylabel="images (%)", ylim=(0, 102))
    legend_below(ax, columns=2)


def recorded_spread(recorded: pd.DataFrame, batch_size: int = 4096) -> None:
    """Fig. 7: every recorded seed of plain training against the published curves, final accuracies.

    Left a thin line per seed; right a faint point per seed, and the mean with its interval.
    """
    left, right = panel_row(2, 4.0, sharey=False)
    plain = evidence.of_condition(recorded, batch_size, "plain")
    for _, run in plain.groupby("seed"):
        left.plot(run["epoch"], run["test_accuracy"], color=PALETTE["plain"], lw=1, alpha=0.6)
    left.plot([], [], color=PALETTE["plain"], lw=1, label="recorded: plain, each seed")
    for known in ("plain", "cached"):
        curve = published.FIG7[known]
        left.plot(curve, lw=2.5, mec="black", label=f"published: {known}", **look(known, 6))
    left.set(title=f"batch {batch_size}, n = {plain['seed'].nunique()}", ylim=(0, 100))
    left.set_ylabel("test accuracy (%)")
    epochs_axis(left)
    final = {c: evidence.final(recorded, batch_size, c) for c in CONDITIONS}
    for place, (condition, outcomes) in enumerate(final.items()):
        mean_and_interval(right, place, outcomes, condition)
    for place, value in enumerate(published.FIG7.iloc[-1][["plain", "cached"]]):
        right.plot([place - 0.15], [value], **PUBLISHED)
        right.annotate(f"{value:g}", (place - 0.25, value), ha="right", va="center", fontsize=9)
    left.plot([], [], label="published, after the last epoch", **PUBLISHED)
    legend_below(left, columns=2)
    names = [f"{wrapped(NAMES[c])}\n{seed_count(outcomes)}" for c, outcomes in final.items()]
    right.set_xticks(range(len(final)), names)
    right.set(
        title="after the last epoch", ylabel="test accuracy (%)", xlim=(-0.75, len(final) - 0.5)
    )


COSTS = {
    "steps": ("steps", 1.0),
    "images": ("images trained on (thousands)", 1e3),
    "operations": ("multiply-adds (10¹²)", 1e12),
}
"""What training costs: heading and unit by column of the evidence."""


def recorded_by_cost(recorded: pd.DataFrame, batch_size: int = 4096) -> None:
    """Test accuracy against what was spent on it: steps, images, multiply-adds."""
    axes = panel_row(len(COSTS), 3.4)
    for ax, (column, (name, unit)) in zip(axes, COSTS.items(), strict=True):
        for condition in CONDITIONS:
            runs = evidence.of_condition(recorded, batch_size, condition)
            spent = (runs.groupby("epoch")[column].mean() / unit).to_dict()
            reached = [evidence.outcomes(runs, "test_accuracy", epoch=epoch) for epoch in spent]
            band(ax, list(spent.values()), reached, condition)
        ax.set(xlabel=wrapped(name, 24), ylim=(0, 100), xlim=(0, None))
    axes[0].set_ylabel("test accuracy (%)")
    legend_below(axes[0])


def recorded_batch_sizes(recorded: pd.DataFrame) -> None:
    """Fig. 8: differences of final test accuracy by batch size, paired by seed.

    The axis is linear from -1 to 1 and logarithmic beyond.
    """
    sizes = published.FIG8.index.tolist()
    axes = panel_row(len(evidence.PAIRS), 4.2)
    counts: dict[str, list[int]] = {}
    for ax, pair in zip(axes, evidence.PAIRS, strict=True):
        ax.axhline(0, color="0.6", lw=1)
        for place, size in enumerate(sizes):
            found = evidence.final_differences(recorded, size, *pair)
            mean_and_interval(ax, place, found, pair[0], width=0.5)
            if found and size not in counts.setdefault(seed_count(found), []):
                counts[seed_count(found)].append(size)
        ax.set_xticks(range(len(sizes)), [str(size) for size in sizes], rotation=60)
        ax.set(title="\n− ".join(NAMES[c] for c in pair), xlabel="batch size (images)")
    gain = published.FIG8["cached_test"] - published.FIG8["plain_test"]
    axes[0].plot(range(len(sizes)), gain, label="published", **PUBLISHED)
    label = ", ".join(["recorded: mean, 95 % interval", *_counts(counts)])
    axes[0].plot([], [], "ko-", lw=2.5, label=label)
    axes[0].set_yscale("symlog", linthresh=1)
    ticks = [-30, -10, -3, -1, 0, 1, 3, 10]
    axes[0].set_yticks(ticks, [signed(tick) for tick in ticks])
    axes[0].yaxis.set_minor_locator(NullLocator())
    axes[0].set_ylabel("final test accuracy (points)")
    legend_below(axes[0])


def _counts(sizes: dict[str, list[int]]) -> list[str]:
    """The number of seeds of most batch sizes, and any other one with its sizes."""
    most, *others = sorted(sizes, key=lambda count: -len(sizes[count])) or [""]
    named = [f"batch {', '.join(map(str, sizes[count]))}: {count}" for count in others]
    return [most, *named] if most else []
