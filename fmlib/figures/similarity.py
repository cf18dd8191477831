"""Figures of chapter 09: kernels and maps, what is minimized, and what comes of it."""

from collections.abc import Iterable, Mapping, Sequence
from math import log10

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator
from torch import Tensor

from fmlib import evidence
from fmlib.experiments.similar_kernels import Chain, Example, Study
from fmlib.experiments.similar_training import CONDITION_NAMES, Condition, Course, Steps
from fmlib.experiments.similarity import RESNET_CONDITIONS, RESNET_WIDTHS
from fmlib.figures.style import (
    COLOURS,
    NAMES,
    PALETTE,
    WIDTH,
    band,
    epochs_axis,
    image_grid,
    legend_below,
    look,
    mean_and_interval,
    panel_row,
    wrapped,
)

BY_NORMS, BY_DISSIMILARITY = COLOURS[7], COLOURS[2]
"""Colours of the two factors of the loss."""
SHALLOW = {"base_cnn": "CNN1 (MNIST)", "compact_cnn": "CNN2 (CIFAR-10)"}
"""The two shallow networks."""
STEP_NAMES: dict[Steps, str] = {"sgd": "none", "momentum": "0.9", "adam": "Adam"}


def _about_zero(ax: Axes, values: Tensor) -> None:
    """Values (h, w) as an image, white for 0, blue below and red above."""
    largest = float(values.abs().max()) or 1.0
    ax.imshow(values.numpy(), cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")


def kernels_and_maps(examples: Sequence[Example]) -> None:
    """Pairs of kernels and the maps that they make of one image, a row per pair."""
    rows = image_grid(len(examples), 4, 1.95 * len(examples))
    for axes, one in zip(rows, examples, strict=True):
        for ax, values in zip(axes, (*one.kernels[:, 0], *one.maps), strict=True):
            _about_zero(ax, values)
        axes[0].set_ylabel(wrapped(one.name, 16), fontsize=9)
        axes[0].set_title(
            f"kernels: cosine {one.kernel_cosine:.2f}, similarity {one.similarity:.2f}",
            fontsize=9,
            loc="left",
        )
        axes[2].set_title(f"maps: cosine {one.map_cosine:.2f}", fontsize=9, loc="left")


def one_dimensional(studies: Sequence[Study], found: Chain) -> None:
    """The released one-dimensional studies: pairs of kernels, and a chain of four."""
    left, right = panel_row(2, 3.4)
    names = [f"{what}\n{when}" for what in ("kernels", "maps") for when in ("before", "after")]
    orthogonal, dissimilar, plain = (
        PALETTE[name] for name in ("orthogonal", "initialized", "shrunk")
    )
    for number, (study, colour) in enumerate(zip(studies, (orthogonal, dissimilar), strict=True)):
        values = [*study.kernels, *study.maps]
        places = np.arange(len(values)) + 0.36 * (number - 0.5)
        boxes = left.boxplot(
            [each.numpy() for each in values],
            positions=places,
            widths=0.3,
            patch_artist=True,
            showfliers=False,
            medianprops={"color": "black"},
        )
        for box in boxes["boxes"]:
            box.set_facecolor(colour)
        left.plot([], [], "s", color=colour, label=f"{study.minimized} minimized")
    left.set_xticks(range(len(names)), names, fontsize=9)
    left.set(ylabel="|cosine|", ylim=(-0.02, 1.04))
    for place, (before, after) in enumerate(zip(found.before, found.after, strict=True)):
        colour = dissimilar if found.adjacent[place] else plain
        right.bar(place, after, color=colour, width=0.7)
        right.plot([place - 0.35, place + 0.35], [before, before], color="black", lw=1.5)
        right.text(place, after + 0.02, f"{after:.2f}", ha="center", fontsize=8)
    for colour, name in ((dissimilar, "neighbours, compared"), (plain, "not compared")):
        right.plot([], [], "s", color=colour, label=name)
    right.plot([], [], color="black", label="before")
    right.set_xticks(range(len(found.pairs)), [f"{i + 1}, {j + 1}" for i, j in found.pairs])
    right.set_xlabel("kernels of the chain")
    for ax in (left, right):
        ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.22))


def similarity_curves(courses: Mapping[Condition, Course], shown: Sequence[Condition]) -> None:
    """Fig. 1: Convolutional Similarity while it is minimized before training, and by epoch."""
    left, right = panel_row(2, 3.4)
    for condition in shown:
        course, style = courses[condition], look(condition, 4)
        if course.minimized:
            left.plot(course.minimized_at, course.minimized, lw=2, color=style["color"])
        epochs = range(len(course.similarity))
        right.plot(epochs, course.similarity, lw=2, label=CONDITION_NAMES[condition], **style)
    left.set(yscale="log", ylabel="Convolutional Similarity", xlabel="step before training")
    right.set_title("during training", fontsize=10)
    left.set_title("initialization", fontsize=10)
    epochs_axis(right)
    legend_below(right)


def falls(found: Mapping[Condition, tuple[float, float]]) -> None:
    """How many powers of ten the loss lies below the baseline's: by norms, by dissimilarity.

    Takes for each condition the factors of norms and of the scale-free value.
    """
    ax = panel_row(1, 0.9 + 0.42 * len(found))[0]
    for place, (norms, alike) in enumerate(found.values()):
        parts = -log10(norms), -log10(alike)
        for shift, part, colour in (
            (-0.18, parts[0], BY_NORMS),
            (0.18, parts[1], BY_DISSIMILARITY),
        ):
            ax.barh(place + shift, part, height=0.34, color=colour)
    ax.plot([], [], "s", color=BY_NORMS, label="by smaller norms")
    ax.plot([], [], "s", color=BY_DISSIMILARITY, label="by dissimilarity")
    ax.axvline(0, color="0.3", lw=1)
    ax.set_yticks(range(len(found)), [wrapped(CONDITION_NAMES[name], 34) for name in found])
    ax.invert_yaxis()
    ax.set_xlabel("powers of ten that the loss falls by")
    legend_below(ax)


def recorded_falls(lower: pd.DataFrame) -> None:
    """By how many times norms and scale-free value lie below the baseline's, a point per run."""
    found = set(zip(lower["condition"], lower["time"], strict=True))
    kinds = ((name, time) for time in ("begun", "trained") for name in CONDITION_NAMES)
    shown = [kind for kind in kinds if kind in found]
    networks = {**SHALLOW, "resnet18": "ResNet18 (CIFAR-10)"}
    axes = panel_row(2, 1.2 + 0.42 * len(shown))
    axes[0].sharex(axes[1])
    parts = {"norms": BY_NORMS, "scale_free": BY_DISSIMILARITY}
    for ax, (part, colour) in zip(axes, parts.items(), strict=True):
        for network, shift, marker in zip(networks, (-0.26, 0, 0.26), "osv", strict=True):
            own = lower[lower["network"].eq(network)]
            rows = zip(own["condition"], own["time"], strict=True)
            places = [shown.index(row) + shift for row in rows]
            label = f"{networks[network]}, {len(own)} runs"
            ax.plot(own[part], places, marker, ms=4, alpha=0.6, color=colour, label=label)
        ax.axvline(1, color="0.3", lw=1)
        for place in range(1, len(shown)):
            ax.axhline(place - 0.5, color="0.9", lw=0.8)
        ax.set(xscale="log")
        ax.xaxis.set_major_formatter("{x:,g}")
    axes[0].set_xlabel("norms: times lower")
    axes[1].set_xlabel("scale-free value: times lower")
    names = [
        CONDITION_NAMES[name] + (" (after training)" if time == "trained" else "")
        for name, time in shown
    ]
    axes[0].set_yticks(range(len(shown)), [wrapped(name, 24) for name in names])
    axes[0].tick_params(axis="y", labelsize=8)
    axes[0].set_ylim(len(shown) - 0.4, -0.6)
    legend_below(axes[0], 2)


def shallow_training(trained: Mapping[str, Mapping[Condition, Course]]) -> None:
    """Fig. 2 and 3: classification loss and training accuracy by epoch, a row per network."""
    _, axes = plt.subplots(len(trained), 2, figsize=(WIDTH, 2.7 * len(trained)), squeeze=False)
    for (loss, accuracy), (network, courses) in zip(axes, trained.items(), strict=True):
        for condition, course in courses.items():
            epochs = range(1, len(course.losses) + 1)
            style = {"lw": 2, "label": CONDITION_NAMES[condition], **look(condition, 4)}
            known = [float("nan") if each is None else each for each in course.losses]
            loss.plot(epochs, known, **style)
            accuracy.plot(epochs, course.train_accuracies, **style)
        _training_axes(loss, accuracy, SHALLOW[network])
    legend_below(axes[0][0])


def _training_axes(
    loss: Axes, accuracy: Axes, name: str, text: str = "training accuracy (%)"
) -> None:
    scale = "log" if np.isfinite(loss.dataLim.y1) else "linear"  # without a number there is none
    loss.set(yscale=scale, ylabel="classification loss (log)", title=name)
    if scale == "log":
        bottom, top = loss.get_ylim()
        subs = (1, 2, 5) if top > 5 * bottom else (1, 1.2, 1.5, 2, 3, 5)
        loss.yaxis.set_major_locator(LogLocator(subs=subs))
        loss.yaxis.set_minor_locator(NullLocator())
        loss.yaxis.set_major_formatter("{x:g}")
    accuracy.set(ylabel=text)
    for ax in (loss, accuracy):
        epochs_axis(ax)


def recorded_training(recorded: pd.DataFrame, shown: Sequence[Condition]) -> None:
    """The same, recorded: means over seeds and their 95 % intervals."""
    usual = recorded[
        recorded["steps"].eq("sgd") & recorded["iterations"].eq(500) & recorded["width"].eq(1)
    ]
    rows = {name: usual[usual["network"].eq(network)] for network, name in SHALLOW.items()}
    _recorded_courses(rows, shown, "train_accuracy", "training accuracy (%)")


def resnet_training(recorded: pd.DataFrame) -> None:
    """Fig. 4: classification loss and test accuracy of ResNet18 by epoch, a row per width."""
    rows = {f"width {width}": recorded[recorded["width"].eq(width)] for width in RESNET_WIDTHS}
    _recorded_courses(rows, RESNET_CONDITIONS, "test_accuracy", "test accuracy (%)")


def _recorded_courses(
    rows: Mapping[str, pd.DataFrame], shown: Sequence[Condition], column: str, text: str
) -> None:
    """Classification loss and an accuracy by epoch, each row of panels with its title."""
    _, axes = plt.subplots(len(rows), 2, figsize=(WIDTH, 2.7 * len(rows)), squeeze=False)
    for panels, (title, known) in zip(axes, rows.items(), strict=True):
        for condition in shown:
            own = known[known["condition"].eq(condition)]
            if own.empty:
                continue
            epochs = sorted(own["epoch"].unique().tolist())
            for ax, of in zip(panels, ("loss", column), strict=True):
                band(ax, epochs, [evidence.by_seed(own, of, epoch=e) for e in epochs], condition)
        _training_axes(panels[0], panels[1], title, text)
    legend_below(axes[0][0], 2)


def _numbers(recorded: pd.DataFrame, quantity: str, **chosen: object) -> dict[int, float]:
    usual = {"steps": "sgd", "iterations": 500, "width": 1.0}
    return evidence.by_seed(recorded, "value", quantity=quantity, **{**usual, **chosen})


def _range(counts: Iterable[int]) -> str:
    """One count, or the smallest and the largest."""
    known = sorted(counts)
    return str(known[0]) if known[0] == known[-1] else f"{known[0]} to {known[-1]}"


def recorded_gains(recorded: pd.DataFrame, quantities: Mapping[str, str]) -> None:
    """Differences from the baseline, a panel per network and quantity, a row per condition."""
    shown: list[Condition] = [name for name in CONDITION_NAMES if name != "baseline"]
    _, axes = plt.subplots(
        len(quantities), 2, figsize=(WIDTH, 0.6 + 3.3 * len(quantities)), sharey=True, squeeze=False
    )
    for row, (quantity, text) in zip(axes, quantities.items(), strict=True):
        for ax, (network, name) in zip(row, SHALLOW.items(), strict=True):
            base = _numbers(recorded, quantity, network=network, condition="baseline")
            gains = [
                evidence.differences(
                    _numbers(recorded, quantity, network=network, condition=condition), base
                )
                for condition in shown
            ]
            for place, (condition, gain) in enumerate(zip(shown, gains, strict=True)):
                mean_and_interval(ax, place, gain, condition, turn=-1)
            ax.axvline(0, color=PALETTE["baseline"], lw=1)
            ax.set_title(f"{name}, n = {_range(map(len, gains))}", fontsize=10)
            ax.set_xlabel(text, fontsize=10)
        row[0].set_yticks(range(len(shown)), [wrapped(NAMES[name], 40) for name in shown])
        row[0].tick_params(axis="y", labelsize=8)
        row[0].set_ylim(len(shown) - 0.4, -0.6)


def recorded_smaller(recorded: pd.DataFrame) -> None:
    """Fig. 5 and further: accuracy by iterations, by parameters, and by optimizer."""
    left, middle, right = panel_row(3, 3.5, sharey=False)
    first = recorded[recorded["network"].eq("base_cnn")]
    _by_iterations(left, first)
    _by_parameters(middle, recorded[recorded["network"].eq("compact_cnn")])
    for place, steps in enumerate(STEP_NAMES):
        base = _numbers(first, "accuracy", condition="baseline", steps=steps)
        for shift, condition in ((-0.2, "initialized"), (0.2, "complete")):
            own = _numbers(first, "accuracy", condition=condition, steps=steps)
            gain = evidence.differences(own, base)
            mean_and_interval(right, place + shift, gain, condition, width=0.15)
    right.axhline(0, color=PALETTE["baseline"], lw=1)
    right.set_xticks(range(len(STEP_NAMES)), [wrapped(n, 9) for n in STEP_NAMES.values()])
    right.set_xlim(-0.5, len(STEP_NAMES) - 0.5)
    right.tick_params(axis="x", labelsize=8)
    right.set(xlabel="momentum, or Adam", ylabel="gain over the baseline (points)")
    legend_below(middle)


def _by_iterations(ax: Axes, rows: pd.DataFrame) -> None:
    own = rows[rows["condition"].eq("initialized") & rows["steps"].eq("sgd")]
    counts = sorted(own["iterations"].unique().tolist())
    base = _numbers(rows, "accuracy", condition="baseline")
    known = [evidence.by_seed(own, "value", quantity="accuracy", iterations=i) for i in counts]
    if base:
        mean_and_interval(ax, 0, base, "baseline", width=0.0)
    band(ax, [*range(1, len(counts) + 1)], known, "initialized")
    ax.set_xticks(range(len(counts) + 1), ["0", *map(str, counts)])
    ax.set(xlabel="iterations I", ylabel="test accuracy (%)")


def _by_parameters(ax: Axes, rows: pd.DataFrame) -> None:
    sizes = sorted(rows["parameters"].unique().tolist())
    for condition in ("baseline", "initialized", "complete"):
        own = rows[rows["condition"].eq(condition) & rows["quantity"].eq("accuracy")]
        known = [evidence.by_seed(own, "value", parameters=size) for size in sizes]
        band(ax, sizes, known, condition)
    ax.set(xlabel="parameters", ylabel="test accuracy (%)")
    if sizes:
        ax.set_xscale("log")
        ax.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=8)
        ax.minorticks_off()
