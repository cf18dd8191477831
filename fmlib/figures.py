"""Numbers as pictures: one style, one colour per quantity; nothing is computed or read here.

Functions draw into the axes that they are given, or into a new figure, and return nothing.
"""

import textwrap
from collections.abc import Sequence
from statistics import fmean

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from matplotlib_inline.backend_inline import set_matplotlib_formats
from numpy.typing import NDArray
from torch import Tensor

from fmlib import published
from fmlib.experiments.adversarial_robustness import VICTIMS, Examples, Perturbation, Robustness
from fmlib.experiments.caching import CONDITIONS, Comparison
from fmlib.experiments.exploration import NETWORKS, SPLITS, Distances, Embedding, Maps, OutlierRun
from fmlib.experiments.feature_map_regularization import MODELS, ExampleMaps, Row

_COLOURS = sns.color_palette("colorblind")
PALETTE = {
    "plain": _COLOURS[0],
    "cached": _COLOURS[3],
    "random": _COLOURS[7],
    "base": _COLOURS[0],
    "maps": _COLOURS[4],
    "originals": _COLOURS[7],
    "train": _COLOURS[9],
    "test": _COLOURS[1],
    "no outliers": _COLOURS[2],
    "control": _COLOURS[7],
}
"""One colour per quantity through the book: what is plain is blue, a control is grey."""
MARKERS = {"plain": "o", "cached": "s", "random": "^", "base": "o", "maps": "D", "originals": "^"}
MARKERS |= {"train": "o", "test": "s", "no outliers": "P", "control": "^"}
NAMES = {
    "plain": "plain",
    "cached": "cached",
    "random": "random skipping",
    "base": "base model",
    "maps": "map model",
    "originals": "control: originals",
    "train": "training images",
    "test": "test images",
    "no outliers": "outlying tenth left out",
    "control": "control: random tenth left out",
}
WIDTH = 7.0


def use_style() -> None:
    """Set the book's theme for all figures of a notebook: double resolution, readable text."""
    sns.set_theme(context="notebook", style="ticks", palette="colorblind", font_scale=0.9)
    plt.rcParams.update({"figure.dpi": 100, "axes.spines.top": False, "axes.spines.right": False})
    plt.rcParams.update({"figure.constrained_layout.use": True, "legend.frameon": False})
    set_matplotlib_formats("retina")


def _grid(rows: int, columns: int, height: float) -> list[list[Axes]]:
    """Axes without ticks for a grid of images, over the full width."""
    _, axes = plt.subplots(rows, columns, figsize=(WIDTH, height), squeeze=False)
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
        sns.despine(ax=ax, left=True, bottom=True)
    return [list(row) for row in axes]


def _show_image(ax: Axes, image: Tensor) -> None:
    """A grey or colour image (C, H, W) in [0, 1]."""
    pixels = image.permute(1, 2, 0).clamp(0, 1).numpy()  # (H, W, C)
    ax.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def _label(text: str, width: int = 12) -> str:
    """A class name as plain text of a few short lines."""
    return textwrap.fill(text, width).replace("$", r"\$")


def centroids(found: Distances, class_names: Sequence[str]) -> None:
    """Fig. 1: the mean image of every class."""
    columns = min(5, len(class_names))
    rows = -(-len(class_names) // columns)
    axes = [ax for row in _grid(rows, columns, 1.55 * rows) for ax in row]
    for ax, image, name in zip(axes, found.centroids, class_names, strict=False):
        _show_image(ax, image)
        ax.set_title(_label(name), fontsize=10)


def outliers(found: Distances, images: Tensor, class_names: Sequence[str]) -> None:
    """Fig. 2: the images of a class farthest from its centroid, a row per class."""
    columns = 1 + max(len(positions) for positions in found.outliers.values())
    rows = _grid(len(found.outliers), columns, 1.6 * len(found.outliers))
    for axes, (label, positions) in zip(rows, found.outliers.items(), strict=True):
        _show_image(axes[0], found.centroids[label])
        axes[0].set_ylabel(_label(class_names[label]), rotation=0, ha="right", va="center")
        axes[0].set_title("centroid", fontsize=10)
        for ax, position in zip(axes[1:], positions.tolist(), strict=False):
            _show_image(ax, images[position])
            ax.set_title(f"{found.distances[position]:.3f}", fontsize=10)


def embeddings(found: dict[str, Embedding], class_names: Sequence[str]) -> None:
    """Fig. 3: points in the plane, coloured by class, each class named at its median."""
    _, axes = plt.subplots(1, len(found), figsize=(WIDTH, 3.9), squeeze=False)
    for ax, (name, embedding) in zip(axes[0], found.items(), strict=True):
        labels = embedding.labels.numpy()
        for label, class_name in enumerate(class_names):
            points = embedding.points[labels == label]
            colour = _COLOURS[label % len(_COLOURS)]
            ax.scatter(*points.T, s=4, color=colour, alpha=0.6, linewidths=0)
            if len(points):
                box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": colour, "alpha": 0.85}
                middle = np.median(points, axis=0)
                ax.text(*middle, _label(class_name), ha="center", va="center", fontsize=8, bbox=box)
        ax.set_title(f"{name}: class named right {embedding.accuracy:.0f} %", fontsize=10)
        ax.set(xlabel="first coordinate", ylabel="second coordinate", xticks=[], yticks=[])


def errors_by_decile(runs: list[OutlierRun]) -> None:
    """Wrong answers by decile of the distance; a thin line per seed, a thick one for their mean."""
    _, ax = plt.subplots(figsize=(WIDTH, 3.2))
    for split in SPLITS:
        _draw_curves(ax, [run.errors[split].rates for run in runs], split)
    ax.set(ylabel="wrong answers (%)", title=f"this run, n = {len(runs)}")
    ax.set(xlabel="decile of the distance from the centroid (1: nearest)")
    ax.set(xticks=range(1, 11), ylim=(0, None))
    ax.legend(loc="upper left")


def left_out(runs: list[OutlierRun]) -> None:
    """Accuracy of both networks on each group of images, a point per seed; full if trained on."""
    _, ax = plt.subplots(figsize=(WIDTH, 3.4))
    groups = list(runs[0].groups)
    for column, network in enumerate(NETWORKS):
        for position, group in enumerate(groups):
            values = [run.groups[group].accuracy[network] for run in runs]
            fill = "full" if position == 1 - column else "none"  # both left out a group
            _points(ax, position + 0.24 * column - 0.12, values, network, fill)
        ax.plot([], [], MARKERS[network], color=PALETTE[network], label=NAMES[network])
    ax.set_xticks(range(len(groups)), [_label(group, 16) for group in groups])
    ax.set(ylabel="accuracy (%)", title=f"this run, n = {len(runs)}")
    _legend_below(ax)


def feature_maps(found: Maps | ExampleMaps, layer: str, columns: int) -> None:
    """All maps of one layer for each image: blue below zero, red above, one scale per image."""
    maps = found.maps[layer]  # (images, maps, P, Q)
    rows = -(-maps.shape[1] // columns)
    height = 0.2 + (WIDTH - 1) / columns * rows * maps.shape[2] / maps.shape[3]
    _, axes = plt.subplots(
        len(maps), 2, figsize=(WIDTH, height * len(maps)), width_ratios=[1, columns], squeeze=False
    )
    for (left, right), image, of_image in zip(axes, found.images, maps, strict=True):
        _show_image(left, image)
        limit = of_image.abs().max().item()
        drawn = right.imshow(_mosaic(of_image, columns), cmap="RdBu_r", vmin=-limit, vmax=limit)
        plt.colorbar(drawn, ax=right, label="activation", pad=0.01, shrink=0.85)
        left.set_axis_off()
        right.set_axis_off()


def _mosaic(maps: Tensor, columns: int) -> NDArray[np.float64]:
    """Maps (maps, P, Q) side by side in rows, with a gap of nothing between them."""
    count, height, width = maps.shape
    rows = -(-count // columns)
    gap = max(1, width // 12)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    for index, one in enumerate(maps.numpy()):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = one
    return canvas


def _epochs_axis(ax: Axes) -> None:
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def accuracy_by_epoch(runs: list[Comparison]) -> None:
    """Fig. 7: test accuracy by epoch; a thin line per seed, a thick one for their mean."""
    _, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4), sharey=True)
    for condition in CONDITIONS:
        curves = [getattr(run, condition).history.test_accuracies for run in runs]
        _draw_curves(axes[1], curves, condition)
    for condition, accuracies in (
        ("plain", published.FIG7.plain_accuracy),
        ("cached", published.FIG7.cached_accuracy),
    ):
        _draw_curves(axes[0], [list(accuracies)], condition)
    axes[0].set(title="published, batch 4096", ylabel="test accuracy (%)", ylim=(0, 100))
    axes[1].set(title=f"this run, batch {runs[0].batch_size}, n = {len(runs)}")
    for ax in axes:
        _epochs_axis(ax)
    _legend_below(axes[1])


def _legend_below(ax: Axes) -> None:
    """The legend of one panel, below all panels, where it hides nothing."""
    handles, labels = ax.get_legend_handles_labels()
    figure = ax.get_figure(root=True)
    assert figure is not None, "axes are drawn into a figure"
    figure.legend(handles, labels, loc="outside lower center", ncols=len(handles))


def _draw_curves(ax: Axes, curves: list[list[float]], quantity: str) -> None:
    """Thin lines for single curves, a thick one with markers for their mean."""
    style = {"color": PALETTE[quantity], "marker": MARKERS[quantity], "markersize": 4}
    for curve in curves if len(curves) > 1 else []:
        ax.plot(range(1, len(curve) + 1), curve, color=PALETTE[quantity], lw=0.8, alpha=0.5)
    length = min(len(curve) for curve in curves)
    mean = [fmean(curve[i] for curve in curves) for i in range(length)]
    ax.plot(range(1, length + 1), mean, lw=2, label=NAMES[quantity], **style)


def skipped_by_epoch(runs: list[Comparison]) -> None:
    """Fig. 7: share of the images that the cache skipped, by epoch, beside the published one."""
    _, ax = plt.subplots(figsize=(WIDTH, 3.0))
    hits = [100 * count / 60_000 for count in published.FIG7.hits]
    ax.plot(range(1, len(hits) + 1), hits, "k--", lw=1.5, label="published, batch 4096")
    shares = [[100 * e.skipped / e.seen for e in run.cached.history.epochs] for run in runs]
    _draw_curves(ax, shares, "cached")
    ax.set(ylabel="images skipped (%)", ylim=(0, None))
    _epochs_axis(ax)
    ax.legend(loc="lower right")


def accuracy_by_batch_size(runs: list[Comparison]) -> None:
    """Fig. 8: test accuracy after training over batch size; a point per seed, lines for means."""
    _, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4), sharey=True)
    for quantity, accuracies in (
        ("plain", published.FIG8.plain_test),
        ("cached", published.FIG8.cached_test),
    ):
        _batch_size_line(
            axes[0], list(published.FIG8.batch_sizes), [[a] for a in accuracies], quantity
        )
    sizes = sorted({run.batch_size for run in runs})
    for condition in CONDITIONS:
        values = [
            [getattr(run, condition).test_accuracy for run in runs if run.batch_size == size]
            for size in sizes
        ]
        _batch_size_line(axes[1], sizes, values, condition)
    n = len(runs) // len(sizes)
    axes[0].set(title="published, 60,000 images", ylabel="test accuracy (%)", ylim=(0, 102))
    axes[1].set(title=f"this run, n = {n}")
    for ax in axes:
        ax.set_xlabel("batch size (images)")
    _legend_below(axes[1])


def _batch_size_line(ax: Axes, sizes: list[int], values: list[list[float]], quantity: str) -> None:
    colour = PALETTE[quantity]
    for size, points in zip(sizes, values, strict=True):
        ax.scatter([size] * len(points), points, s=14, color=colour, marker=MARKERS[quantity])
    ax.plot(sizes, [fmean(points) for points in values], color=colour, lw=2, label=NAMES[quantity])
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, [str(size) for size in sizes], rotation=45 if len(sizes) > 4 else 0)


def map_training(rows: list[Row]) -> None:
    """Fig. 9: accuracy of base, map and control model; open points train, full points test."""
    sizes = sorted({row.batch_size for row in rows})
    _, axes = plt.subplots(1, len(sizes), figsize=(WIDTH, 3.2), sharey=True, squeeze=False)
    for ax, size in zip(axes[0], sizes, strict=True):
        chosen = [row for row in rows if row.batch_size == size]
        for position, model in enumerate(MODELS):
            for split, shift, fill in (("train", -0.12, "none"), ("test", 0.12, "full")):
                shown = [row for row in chosen if not (model == "maps" and row.diverged)]
                values = [getattr(getattr(row, model), split) for row in shown]
                _points(ax, position + shift, values, model, fill)
        ax.set_xticks(range(len(MODELS)), [_label(NAMES[m], 9) for m in MODELS])
        ax.set_title(f"batch {size}, n = {len(chosen)}")
        ax.set_xlim(-0.5, len(MODELS) - 0.5)
    axes[0][0].set(ylabel="accuracy (%)")
    axes[0][-1].plot([], [], "o", color="k", fillstyle="none", label="train")
    axes[0][-1].plot([], [], "o", color="k", label="test")
    _legend_below(axes[0][-1])


def _points(ax: Axes, x: float, values: Sequence[float], quantity: str, fill: str = "full") -> None:
    """One point per seed and a short line at their mean; nothing where there is no value."""
    if not values:
        return
    colour = PALETTE[quantity]
    ax.plot([x] * len(values), values, MARKERS[quantity], color=colour, fillstyle=fill, ms=6)
    ax.hlines(fmean(values), x - 0.09, x + 0.09, color=colour, lw=2)


def robustness(runs: list[Robustness], eps: float) -> None:
    """Fig. 10: accuracy of the three models after every kind of perturbation at one eps."""
    kinds: list[tuple[str, Perturbation | None, float]] = [
        ("unchanged", None, 0.0),
        ("sign noise", "sign noise", eps),
        ("FGSM by base model", "fgsm on base", eps),
        ("FGSM by map model", "fgsm on maps", eps),
        ("as released", "released", eps),
        ("clamp alone", "released", 0.0),
    ]
    _, ax = plt.subplots(figsize=(WIDTH, 3.6))
    for position, (_, perturbation, size) in enumerate(kinds):
        for shift, model in zip((-0.22, 0.0, 0.22), VICTIMS, strict=True):
            values = [
                run.clean_accuracy("held_out", model)
                if perturbation is None
                else run.accuracy(perturbation, size, model)
                for run in runs
            ]
            _points(ax, position + shift, [v for v in values if v is not None], model)
    for model in VICTIMS:
        ax.plot([], [], MARKERS[model], color=PALETTE[model], label=NAMES[model])
    ax.set_xticks(range(len(kinds)), [_label(name, 10) for name, *_ in kinds])
    ax.set(ylabel="accuracy (%)", ylim=(0, 102), title=f"ε = {eps:g}, n = {len(runs)}")
    _legend_below(ax)


def perturbed_examples(found: Examples, class_names: Sequence[str]) -> None:
    """Fig. 10: images under each perturbation, with what both models take them for."""
    grid = _grid(len(found.kinds), found.images.shape[1], 1.1 * len(found.kinds))
    for row, kind, images, base, maps in zip(
        grid,
        found.kinds,
        found.images,
        found.predictions["base"].tolist(),
        found.predictions["maps"].tolist(),
        strict=True,
    ):
        row[0].set_ylabel(_label(kind), rotation=0, ha="right", va="center", fontsize=9)
        for ax, image, seen_by_base, seen_by_maps in zip(row, images, base, maps, strict=True):
            _show_image(ax, image)
            ax.set_title(
                f"{_label(class_names[seen_by_base])} | {_label(class_names[seen_by_maps])}",
                fontsize=9,
            )
