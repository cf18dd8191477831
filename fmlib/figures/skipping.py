"""Figures of chapter 02: what skipping similar images does beyond skipping any images."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from fmlib import evidence, published, stats
from fmlib.experiments.caching import walk_steps
from fmlib.experiments.skipping import RULES
from fmlib.figures.style import (
    COLOURS,
    NAMES,
    PALETTE,
    WIDTH,
    legend_below,
    look,
    mean_and_interval,
    panel_row,
    seed_count,
    signed,
    wrapped,
)


def recorded_rules(recorded: pd.DataFrame, batch_sizes: Sequence[int] = (4096, 512)) -> None:
    """Final test accuracy of every rule of leaving images out minus plain training, by seed.

    A panel per batch size, of the seeds that all rules have; the axis is linear from -1 to 1 and
    logarithmic beyond.
    """
    conditions = [condition for condition in RULES if condition != "plain"]
    axes = panel_row(len(batch_sizes), 5.0)
    for ax, size in zip(axes, batch_sizes, strict=True):
        rows = evidence.shared_seeds(recorded, size)
        ax.axvline(0, color="0.6", lw=1)
        for place, condition in enumerate(conditions):
            found = evidence.final_differences(rows, size, condition, "plain")
            kind = RULE_KINDS.get(condition, condition)
            mean_and_interval(ax, place, found, kind, width=0.4, turn=-1)
        ax.set_xscale("symlog", linthresh=1)
        ax.set_xticks(ticks := [-30, -5, -1, 0, 1, 5], [signed(tick) for tick in ticks])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set(title=f"batch {size}, n = {_seeds(rows)}", xlabel="test accuracy − plain (points)")
        ax.set_ylim(len(conditions) - 0.5, -0.5)
    axes[0].set_yticks(range(len(conditions)), [wrapped(RULES[c], 26) for c in conditions])


RULE_KINDS = {
    "random": "random",
    "one_rate": "random",
    "stopped": "random",
    "permuted": "random",
    "nearest": "cached",
    "inverted": "cached",
    "shuffled_labels": "cached",
    "selective_backprop": "by loss",
    "infobatch": "by loss",
}
"""Colour of each rule: by chance, by a cache or by the loss."""


def recorded_classes(recorded: pd.DataFrame, batch_sizes: Sequence[int] = (64, 512, 4096)) -> None:
    """Share of each class that the released cache skipped over a training, a panel per batch size.

    The mean over the classes is a dotted line; epochs without any hit are not counted.
    """
    axes = panel_row(len(batch_sizes), 3.2)
    for ax, size in zip(axes, batch_sizes, strict=True):
        rows = recorded[recorded["batch_size"] == size]
        on = rows.groupby(["path", "epoch"])["share"].transform("max") > 0
        shares = rows[on].groupby(["label", "seed"])["share"].mean()
        labels = sorted(rows["label"].unique())
        for label in labels:
            found = {int(seed): float(value) for seed, value in shares[label].items()}
            mean_and_interval(ax, label, found, "cached", width=0.45)
        ax.axhline(shares.mean(), color="0.4", ls=":", lw=1.5)
        ax.set(title=f"batch {size}, n = {rows['seed'].nunique()}", xlabel="class (digit)")
        ax.set(xticks=labels, ylim=(0, 100))
    axes[0].set_ylabel("images of the class skipped (%)")


def recorded_readings(variants: pd.DataFrame, recorded: pd.DataFrame) -> None:
    """From printed to released, a panel per switch: what is skipped, similarity and threshold.

    Lines are means over seeds, by epoch; the published hits are dashed.
    """
    steps, columns = walk_steps(), 5
    _, grid = plt.subplots(
        len(steps) // columns, columns, figsize=(WIDTH, 4.6), sharex=True, sharey=True
    )
    found = evidence.readings(variants, recorded)
    for ax, (option, value, _), runs in zip(grid.flat, steps, found, strict=True):
        _reading(ax, runs)
        name = f"{option}:\n{value}" if option else f"{value},\nn = {_seeds(runs)}"
        ax.set_title(name, fontsize=9)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    for ax in grid[-1]:
        ax.set_xlabel("epoch")
    for ax in grid[:, 0]:
        ax.set_ylabel("cosine, or share")
    legend_below(grid[0, 0], columns=2)


def _seeds(runs: pd.DataFrame) -> int:
    return int(runs["seed"].nunique())


def _reading(ax: Axes, runs: pd.DataFrame) -> None:
    shared: dict[str, Any] = {"markersize": 3, "lw": 1.5}
    means = runs.assign(share=runs["skipped"] / runs["seen"]).groupby("epoch")[
        ["similarity", "threshold", "share"]
    ].mean()  # fmt: skip
    ax.plot(
        means["similarity"], "o-", color=COLOURS[9], label="similarity to the own class", **shared
    )
    ax.plot(means["threshold"], "k_-", label="threshold", **shared)
    ax.plot(means["share"], "s-", color=PALETTE["cached"], label="share skipped", **shared)
    known = published.FIG7["hits"][means.index] / 60_000
    ax.plot(known, "--", color="goldenrod", lw=1.5, label="share skipped, published")
    ax.set_ylim(-0.05, 1.05)


def recorded_exits(recorded: pd.DataFrame) -> None:
    """Leaving a network early, by layer (park2019): a panel per network, means and intervals."""
    lines = {
        "leave": ("images that leave early", COLOURS[0], "o"),
        "right": ("of them named right", COLOURS[3], "s"),
        "network_right": ("of them named right without exits", "black", "^"),
        "saved": ("multiply-adds saved", COLOURS[2], "D"),
    }
    axes = panel_row(len(EXIT_NETWORKS), 3.8)
    for ax, (dataset, title) in zip(axes, EXIT_NETWORKS.items(), strict=True):
        rows = recorded[recorded["dataset"] == dataset]
        layers = list(rows["layer"].unique())
        for column, (name, colour, marker) in lines.items():
            values = [rows[rows["layer"] == layer][column].dropna().tolist() for layer in layers]
            known = [(x, stats.estimate(v)) for x, v in enumerate(values) if v]
            places = [x for x, _ in known]
            ax.plot(
                places, [e.mean for _, e in known], color=colour, marker=marker, label=name, ms=5
            )
            ax.vlines(
                places, [e.low for _, e in known], [e.high for _, e in known], color=colour, lw=3
            )
        ax.set_xticks(range(len(layers)), layers, rotation=60)
        ax.set(title=f"{title}, n = {_seeds(rows)}", xlabel="layer at which images may leave")
        ax.set_ylim(-2, 102)
    axes[0].set_ylabel("%")
    legend_below(axes[0], columns=2)


EXIT_NETWORKS = {"mnist": "base CNN, MNIST", "cifar10": "deeper network, CIFAR-10"}


def recorded_depth(recorded: pd.DataFrame) -> None:
    """The cache of each convolution of a deeper network: what it skips, and what that brings."""
    left, right = panel_row(2, 3.6, sharey=False)
    plain, layers = evidence.final_at_layer(recorded, None), evidence.cache_layers(recorded)
    right.axhline(0, color="0.6", lw=1)
    for place, layer in enumerate(layers):
        for offset, condition in ((-0.2, "cached"), (0.2, "random")):
            rows = recorded[(recorded["layer"] == layer) & (recorded["condition"] == condition)]
            if len(rows):
                shares = evidence.left_out(rows, int(rows["batch_size"].iloc[0]), condition)
                mean_and_interval(left, place + offset, shares, condition, width=0.15)
                final = evidence.outcomes(rows[rows["last"].astype(bool)], "test_accuracy")
                gain = evidence.differences(final, plain)
                mean_and_interval(right, place + offset, gain, condition, width=0.15)
                if not place:
                    label = f"{NAMES[condition]}, {seed_count(gain)}"
                    left.plot([], [], ls="none", label=label, **look(condition, 7))
    for ax in (left, right):
        ax.set_xticks(range(len(layers)), layers)
        ax.set_xlabel("layer of the cache")
    left.set(ylabel="images left out (%)", ylim=(0, None))
    right.set_ylabel("final test accuracy − plain (points)")
    legend_below(left)
