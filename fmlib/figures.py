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
from fmlib.experiments.exploration import Distances, Embedding, Maps
from fmlib.experiments.feature_map_regularization import MODELS, ExampleMaps, Row, Trial, by_row

_COLOURS = sns.color_palette("colorblind")
PALETTE = {
    "plain": _COLOURS[0],
    "cached": _COLOURS[3],
    "random": _COLOURS[7],
    "base": _COLOURS[0],
    "maps": _COLOURS[4],
    "originals": _COLOURS[7],
    "blurred": _COLOURS[9],
    "untrained": _COLOURS[2],
}
"""One colour per quantity through the book: what is plain is blue, a control is grey."""
MARKERS = {
    "plain": "o",
    "cached": "s",
    "random": "^",
    "base": "o",
    "maps": "D",
    "originals": "^",
    "blurred": "v",
    "untrained": "P",
}
NAMES = {
    "plain": "plain",
    "cached": "cached",
    "random": "random skipping",
    "base": "base model",
    "maps": "map model",
    "originals": "control: originals",
    "blurred": "control: blurred originals",
    "untrained": "control: untrained maps",
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
        right.imshow(_mosaic(of_image, columns), cmap="RdBu_r", vmin=-limit, vmax=limit)
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


def _legend_below(ax: Axes, columns: int | None = None) -> None:
    """The legend of one panel, each label once, below all panels, where it hides nothing."""
    handles = {label: handle for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure = ax.get_figure(root=True)
    assert figure is not None, "axes are drawn into a figure"
    columns = columns or len(handles)
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=columns)


def _draw_curves(ax: Axes, curves: list[list[float]], quantity: str, start: int = 1) -> None:
    """Thin lines for single curves, a thick one with markers for their mean."""
    style = {"color": PALETTE[quantity], "marker": MARKERS[quantity], "markersize": 4}
    for curve in curves if len(curves) > 1 else []:
        ax.plot(range(start, len(curve) + start), curve, color=style["color"], lw=0.8, alpha=0.5)
    length = min((len(curve) for curve in curves), default=0)
    mean = [fmean(curve[i] for curve in curves) for i in range(length)]
    ax.plot(range(start, length + start), mean, lw=2, label=NAMES[quantity], **style)


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


def _row_title(runs: list[Row]) -> str:
    return f"{_label(runs[0].dataset, 18)}\nbatch {runs[0].batch_size}, n = {len(runs)}"


def map_training(rows: list[Row]) -> None:
    """Fig. 9: accuracy of base, map and control models; open points train, full points test."""
    groups = by_row(rows)
    _, axes = plt.subplots(1, len(groups), figsize=(WIDTH, 3.4), sharey=True, squeeze=False)
    for ax, runs in zip(axes[0], groups, strict=True):
        for position, model in enumerate(MODELS):
            known = [a for run in runs if (a := run.finished(model)) is not None]
            _points(ax, position - 0.15, [a.train for a in known], model, "none", turn=-1)
            _points(ax, position + 0.15, [a.test for a in known], model, turn=-1)
        ax.set(title=_row_title(runs), xlabel="accuracy (%)")
    axes[0][0].set_yticks(range(len(MODELS)), [_label(NAMES[model], 18) for model in MODELS])
    axes[0][0].invert_yaxis()
    axes[0][-1].plot([], [], "o", color="k", fillstyle="none", label="train")
    axes[0][-1].plot([], [], "o", color="k", label="test")
    _legend_below(axes[0][-1])


def map_training_by_epoch(rows: list[Row]) -> None:
    """Section 7.2: test accuracy by epoch of training on maps; epoch 0 is the base model."""
    groups = by_row(rows)
    _, axes = plt.subplots(1, len(groups), figsize=(WIDTH, 3.6), squeeze=False)
    for ax, runs in zip(axes[0], groups, strict=True):
        for model in MODELS[1:]:
            curves = [
                [run.accuracies["base"].test, *run.histories[model].test_accuracies]
                for run in runs
                if run.finished(model)
            ]
            _draw_curves(ax, curves, model, start=0)
        ax.set_title(_row_title(runs))
        _epochs_axis(ax)
    axes[0][0].set_ylabel("test accuracy (%)")
    _legend_below(axes[0][0], columns=2)


def undefined_losses(trials: list[Trial], guess: float, most: float = 100.0) -> None:
    """Section 7.2: loss after training against what might decide it; `guess` is chance's loss.

    Crosses at the top are losses that are no number, or above `most`.
    """
    panels = "values below zero (share)", "dead units (share)", "first step / weights"
    _, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 3.4), sharey=True)
    for trial in trials:
        name = "originals" if trial.images == "originals" else "maps"
        lost = trial.last_loss is None or trial.last_loss > most
        style = {"color": PALETTE[name], "marker": "x" if lost else MARKERS[name], "alpha": 0.7}
        label = f"{name}: undefined or above {most:g}" if lost else name
        causes = trial.negative_share, trial.dead_share, trial.step
        for ax, cause in zip(axes, causes, strict=True) if trial.history else ():
            ax.plot(cause, most if lost else trial.last_loss, ls="none", label=label, **style)
    for ax, panel in zip(axes, panels, strict=True):
        ax.axhline(guess, color="k", ls=":", lw=1, label="guessing")
        ax.set(xlabel=panel, yscale="log")
    axes[0].set_ylabel("mean loss, last epoch")
    axes[-1].set_xscale("log")
    _legend_below(axes[-1], columns=3)


def _points(
    ax: Axes, x: float, values: Sequence[float], quantity: str, fill: str = "full", turn: int = 1
) -> None:
    """One point per seed and a short line at their mean; nothing where there is no value.

    A `turn` of -1 puts the values on the horizontal axis.
    """
    if not values:
        return
    colour, mean = PALETTE[quantity], fmean(values)
    points, bar = ([x] * len(values), values), ([x - 0.09, x + 0.09], [mean, mean])
    ax.plot(*points[::turn], MARKERS[quantity], color=colour, fillstyle=fill, ms=6)
    ax.plot(*bar[::turn], color=colour, lw=2)


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
