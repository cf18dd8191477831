"""Figures of chapter 08: networks without and with wider layers, transfer, and shared images."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from torch import Tensor

from fmlib import evidence
from fmlib.experiments.ablation import VARIANTS, Trained, Variant
from fmlib.experiments.transfer import TRANSFER_NAMES, Shared, Transferred
from fmlib.figures.style import (
    NAMES,
    band,
    epochs_axis,
    image_grid,
    legend_below,
    look,
    mean_and_interval,
    panel_row,
    seed_count,
    show_image,
    wrapped,
)


def crops(image: Tensor, made: Tensor) -> None:
    """An image (C, H, W), and what training sees of it (10, C, h, w)."""
    rows = image_grid(2, 6, 2.7)
    show_image(rows[0][0], image)
    rows[0][0].set_title("image", fontsize=9)
    rows[1][0].set_visible(False)
    names = ("upper left", "upper right", "lower left", "lower right", "middle")
    for number, axes in enumerate(rows):
        for ax, picture, name in zip(axes[1:], made[5 * number :], names, strict=False):
            show_image(ax, picture)
            ax.set_title(name if number == 0 else "mirrored", fontsize=9)


def plateau(trained: Trained) -> None:
    """Validation accuracy and learning rate by epoch."""
    left, right = panel_row(2, 3.0, sharey=False)
    epochs = range(1, len(trained.rates) + 1)
    left.plot(epochs, trained.history.test_accuracies, lw=2, **look("test", 5))
    right.step(epochs, trained.rates, where="mid", lw=2, color="0.3")
    _annealing_axes(left, right)


def _annealing_axes(left: Axes, right: Axes) -> None:
    left.set_ylabel("validation accuracy (%)")
    right.set(ylabel="learning rate", yscale="log")
    for ax in (left, right):
        epochs_axis(ax)


def recorded_plateau(recorded: pd.DataFrame, variant: Variant = "full") -> None:
    """Recorded validation accuracy of one network, and the learning rate of every seed."""
    left, right = panel_row(2, 3.2, sharey=False)
    rows = recorded[(recorded["variant"] == variant) & (recorded["way"] == "recipe")]
    epochs = sorted(rows["epoch"].unique().tolist())
    known = [evidence.by_seed(rows, "accuracy", epoch=epoch) for epoch in epochs]
    band(left, epochs, known, "test")
    for _, one in rows.groupby("seed"):
        right.step(one["epoch"], one["rate"], where="mid", lw=1.5, alpha=0.8)
    left.set_title(seed_count(known[-1]) if known else "", fontsize=10)
    right.set_title("a line per seed", fontsize=10)
    _annealing_axes(left, right)


def ablation(found: Mapping[Variant, Trained], random: float, chance: float) -> None:
    """Training and test accuracy of every network, and of the controls."""
    ax = panel_row(1, 0.5 * len(found) + 1.7)[0]
    for place, trained in enumerate(found.values()):
        pair = trained.train_accuracy, trained.test_accuracy
        ax.plot(pair, (place, place), color="0.8", lw=2, zorder=1)
        for kind, value in zip(("train", "test"), pair, strict=True):
            label = NAMES[kind] if place == 0 else None
            ax.plot(value, place, ls="none", label=label, **look(kind, 8))
    _controls(ax, random, chance)
    _networks_axis(ax, list(found))


LEAST_SHOWN = 60.0
"""Percent at which the axis of recorded accuracies begins."""


def recorded_ablation(recorded: pd.DataFrame) -> None:
    """The same, recorded: means over seeds with their 95 % intervals, and a point per seed.

    The axis leaves out networks at chance; their accuracy is written where they would be.
    """
    ax = panel_row(1, 5.2)[0]
    ax.set_xlim(LEAST_SHOWN, 92)
    rows = recorded[recorded["way"] == "recipe"]
    known: evidence.Outcomes = {}
    for place, variant in enumerate(VARIANTS):
        for kind in ("train", "test"):
            known = evidence.by_seed(rows, f"{kind}_accuracy", variant=variant)
            apart = -0.12 if kind == "train" else 0.12
            mean_and_interval(ax, place + apart, known, kind, 0.15, turn=-1)
            outside = {f"{one:.1f} %" for one in known.values() if one < LEAST_SHOWN}
            if outside and kind == "test":
                ax.annotate(f"◂ {', '.join(sorted(outside))}", (LEAST_SHOWN, place + apart),
                            (3, -11), textcoords="offset points", fontsize=8)  # fmt: skip
            if place == 0:
                ax.plot(
                    [], [], ls="none", label=f"{NAMES[kind]}, {seed_count(known)}", **look(kind, 7)
                )
    random = evidence.by_seed(recorded, "test_accuracy", way="untrained")
    if random:
        _controls(ax, sum(random.values()) / len(random), None)
    _networks_axis(ax, list(VARIANTS))


def _controls(ax: Axes, random: float, chance: float | None) -> None:
    ax.axvline(random, color=look("softmax on untrained", 1)["color"], ls="--", lw=1.5,
               label="control: softmax on random features")  # fmt: skip
    if chance is not None:
        ax.axvline(chance, color="0.5", ls=":", lw=1.5, label="control: always one class")


def _networks_axis(ax: Axes, names: Sequence[str]) -> None:
    ax.set_yticks(range(len(names)), [wrapped(name, 20) for name in names])
    ax.set(xlabel="accuracy (%)", ylim=(len(names) - 0.4, -0.6))
    legend_below(ax, 2)


def transfer(found: Transferred) -> None:
    """Test accuracy by images per class: trained features (left), untrained ones (right)."""
    axes = panel_row(2, 4.0)
    markers = ("s", "D", "v", "P", "X", "p", "h")
    for ax, (kind, layers) in zip(axes, found.features.items(), strict=True):
        for number, (layer, values) in enumerate(layers.items()):
            shade = plt.get_cmap("viridis")(0.9 * number / max(1, len(layers) - 1))
            style: dict[str, Any] = {
                "color": shade,
                "marker": markers[number % len(markers)],
                "ms": 6,
            }
            ax.plot(found.sizes, values, lw=2, label=layer, **style)
        ax.plot(
            found.sizes, found.pixels, "--", lw=1.5, label="pixels", **look("softmax on pixels", 6)
        )
        scratch = [one.test_accuracy for one in found.scratch]
        ax.plot(found.sizes, scratch, ":", lw=2, label=NAMES["scratch"], **look("scratch", 6))
        ax.set_title(f"features of the {kind} network", fontsize=10)
        _sizes_axis(ax, found.sizes)
    axes[0].set_ylabel("test accuracy (%)")
    legend_below(axes[0], 4)


def _sizes_axis(ax: Axes, sizes: Sequence[int]) -> None:
    ax.set_xscale("log")
    ax.set_xticks(sizes, map(str, sizes))
    ax.minorticks_off()
    ax.set_xlabel("images of each class")


LAST = {"cifar10-to-cifar10": "act7"}
"""Last hidden layer of a recorded transfer's network; of the others act3."""


def recorded_transfer(recorded: pd.DataFrame) -> None:
    """Recorded accuracy by images per class: the last hidden layer, and what it is held against."""
    axes = panel_row(len(TRANSFER_NAMES), 4.0)
    for ax, (transfer, name) in zip(axes, TRANSFER_NAMES.items(), strict=True):
        rows = recorded[recorded["transfer"] == transfer]
        sizes = sorted(rows["size"].unique().tolist())
        last = LAST.get(transfer, "act3")
        for features, layer, quantity, line in (
            ("trained", last, "softmax on trained", "-"),
            ("untrained", last, "softmax on untrained", "--"),
            ("pixels", "", "softmax on pixels", "-."),
            ("scratch", "", "scratch", ":"),
        ):
            own = rows[(rows["features"] == features) & (rows["layer"] == layer)]
            known = [evidence.by_seed(own, "accuracy", size=size) for size in sizes]
            band(ax, sizes, known, quantity, line)
        ax.set_title(wrapped(name, 20), fontsize=10)
        if sizes:
            _sizes_axis(ax, sizes)
    axes[0].set_ylabel("test accuracy (%)")
    legend_below(axes[0], 2)


def recorded_layers(recorded: pd.DataFrame) -> None:
    """Recorded accuracy by layer, a mean over all numbers of images: trained and untrained."""
    axes = panel_row(len(TRANSFER_NAMES), 3.8)
    for ax, (transfer, name) in zip(axes, TRANSFER_NAMES.items(), strict=True):
        rows = recorded[recorded["transfer"] == transfer]
        means = rows.groupby(["features", "layer", "seed"], sort=False)["accuracy"].mean()
        table = means.reset_index()
        layers = rows[rows["features"] == "trained"]["layer"].unique().tolist()
        pixels = evidence.by_seed(table, "accuracy", features="pixels") if len(table) else {}
        for features, line in (("trained", "-"), ("untrained", "--")):
            own = table[table["features"] == features]
            known = [pixels, *(evidence.by_seed(own, "accuracy", layer=layer) for layer in layers)]
            band(ax, range(len(known)), known, f"softmax on {features}", line)
        ax.set_xticks(range(len(layers) + 1), ["pixels", *layers], rotation=60)
        ax.set_title(wrapped(name, 20), fontsize=10)
    axes[0].set_ylabel("test accuracy (%)")
    legend_below(axes[0], 2)


def closest(found: Sequence[Shared], count: int = 5) -> None:
    """The most alike pairs of every pair of sets: test image above, training image below."""
    rows = image_grid(2 * len(found), count, 2.6 * len(found))
    for number, one in enumerate(found):
        upper, lower = rows[2 * number : 2 * number + 2]
        upper[0].set_ylabel("test", fontsize=8)
        lower[0].set_ylabel(wrapped(f"training: {one.name}", 16), fontsize=8)
        for above, below, (test, train) in zip(upper, lower, one.closest(count), strict=True):
            show_image(above, one.images[test])
            show_image(below, one.others[train])
            above.set_title(f"{one.found.correlations[test].item():.3f}", fontsize=9)
