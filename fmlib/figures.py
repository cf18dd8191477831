"""Numbers as pictures: one style, one colour per quantity; nothing is read here.

Functions draw into the axes that they are given, or into a new figure, and return nothing.  All
that is computed is means and, for recorded runs (`recorded_…`), their 95 % bootstrap intervals.
"""

import textwrap
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter
from matplotlib_inline.backend_inline import set_matplotlib_formats
from numpy.typing import NDArray
from torch import Tensor

from fmlib import evidence, published, stats
from fmlib.experiments import adversarial_robustness as adversarial
from fmlib.experiments import caching, exploration
from fmlib.experiments import feature_map_regularization as regularization
from fmlib.experiments.adversarial_robustness import (
    FGSM_ON,
    PGD_ON,
    TWIN_NAMES,
    TWINS,
    VICTIMS,
    Robustness,
)
from fmlib.experiments.caching import CONDITION_NAMES, CONDITIONS, Comparison
from fmlib.experiments.exploration import NETWORKS, SPLITS, OutlierRun
from fmlib.experiments.feature_map_regularization import MODEL_NAMES, MODELS, Row, Trial, by_row
from fmlib.experiments.skipping import RULES

_COLOURS = sns.color_palette("colorblind")
_STYLES = {
    "plain": (0, "o"),
    "cached": (3, "s"),
    "random": (7, "^"),
    "by loss": (2, "P"),
    "base": (0, "o"),
    "maps": (4, "D"),
    "originals": (7, "^"),
    "blurred": (9, "v"),
    "untrained": (2, "P"),
    "twin": (2, "P"),
    "other twin": (5, "X"),
    "train": (9, "o"),
    "test": (1, "s"),
    "no outliers": (2, "P"),
    "control": (7, "^"),
}
PALETTE = {quantity: _COLOURS[colour] for quantity, (colour, _) in _STYLES.items()}
"""One colour per quantity through the book: what is plain is blue, a control is grey."""
MARKERS = {quantity: marker for quantity, (_, marker) in _STYLES.items()}
NAMES: dict[Any, str] = {
    **CONDITION_NAMES,
    **MODEL_NAMES,
    **TWIN_NAMES,
    "by loss": "by their losses",
    "train": "training images",
    "test": "test images",
    "no outliers": "outlying tenth left out",
    "control": "control: random tenth left out",
}
RATIO_KINDS = {
    True: ("reached", _COLOURS[0], "o"),
    False: ("fell short", _COLOURS[3], "X"),
    None: ("no bound", _COLOURS[7], "D"),
}
"""Whether a measured ratio reached its bound: name, colour and marker."""
WIDTH = 7.0


def use_style() -> None:
    """Set the book's theme for all figures of a notebook: double resolution, readable text."""
    sns.set_theme(context="notebook", style="ticks", palette="colorblind", font_scale=0.9)
    plt.rcParams.update({"figure.dpi": 100, "axes.spines.top": False, "axes.spines.right": False})
    plt.rcParams.update({"figure.constrained_layout.use": True, "legend.frameon": False})
    set_matplotlib_formats("retina")


def _panels(count: int = 1, height: float = 3.4, sharey: bool = True) -> list[Axes]:
    """Axes side by side over the full width."""
    _, axes = plt.subplots(1, count, figsize=(WIDTH, height), sharey=sharey, squeeze=False)
    return list(axes[0])


def _grid(rows: int, columns: int, height: float) -> list[list[Axes]]:
    """Axes without ticks for a grid of images, over the full width."""
    _, axes = plt.subplots(rows, columns, figsize=(WIDTH, height), squeeze=False)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        sns.despine(ax=ax, left=True, bottom=True)
    return [list(row) for row in axes]


def _show_image(ax: Axes, image: Tensor) -> None:
    """A grey or colour image (C, H, W) in [0, 1]."""
    pixels = image.permute(1, 2, 0).clamp(0, 1).numpy()  # (H, W, C)
    ax.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def _label(text: str, width: int = 12) -> str:
    """A class name as plain text of a few short lines."""
    return textwrap.fill(text, width, max_lines=4, placeholder="…").replace("$", r"\$")


def centroids(found: exploration.Distances, class_names: Sequence[str]) -> None:
    """Fig. 1: the mean image of every class."""
    columns = min(5, len(class_names))
    rows = -(-len(class_names) // columns)
    axes = [ax for row in _grid(rows, columns, 1.55 * rows) for ax in row]
    for ax, image, name in zip(axes, found.centroids, class_names, strict=False):
        _show_image(ax, image)
        ax.set_title(_label(name), fontsize=10)


def outliers(found: exploration.Distances, images: Tensor, class_names: Sequence[str]) -> None:
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


def embeddings(found: dict[str, exploration.Embedding], class_names: Sequence[str]) -> None:
    """Fig. 3: points in the plane, coloured by class, each class named at its median."""
    axes = _panels(len(found), 3.9, sharey=False)
    for ax, (name, embedding) in zip(axes, found.items(), strict=True):
        labels = embedding.labels.numpy()
        colours = np.array(_COLOURS)[labels % len(_COLOURS)]
        x, y = embedding.points.T
        ax.scatter(x, y, s=4, c=colours, alpha=0.6, linewidths=0)
        present = np.unique(labels)
        medians = [np.median(embedding.points[labels == label], axis=0) for label in present]
        places = _apart(np.array(medians), 0.06 * np.ptp(embedding.points, axis=0))
        for label, (x, y) in zip(present, places, strict=True):
            edge = _COLOURS[label % len(_COLOURS)]
            box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": edge, "alpha": 0.85}
            text = _label(class_names[label])
            ax.text(x, y, text, ha="center", va="center", fontsize=8, bbox=box)
        ax.set_title(f"{name}: class named right {embedding.accuracy:.0f} %", fontsize=10)
        ax.set(xlabel="first coordinate", ylabel="second coordinate", xticks=[], yticks=[])


def _apart(places: NDArray[np.float64], least: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places (N, 2), moved until no two are nearer than `least` (2,), the unit of each axis."""
    scaled = places / least
    for _ in range(100):
        steps = scaled[:, None] - scaled  # (N, N, 2)
        apart = np.linalg.norm(steps, axis=2, keepdims=True) + np.eye(len(places))[:, :, None]
        scaled = scaled + (steps / apart * np.clip(1 - apart, 0, None) / 2).sum(axis=1)
    return scaled * least


def errors_by_decile(runs: list[OutlierRun]) -> None:
    """Wrong answers by decile of the distance; a thin line per seed, a thick one for their mean."""
    [ax] = _panels(height=3.2)
    for split in SPLITS:
        _draw_curves(ax, [run.errors[split].rates for run in runs], split)
    ax.set(ylabel="wrong answers (%)", title=f"this run, n = {len(runs)}")
    ax.set(xlabel="decile of the distance from the centroid (1: nearest)")
    ax.set(xticks=range(1, 11), ylim=(0, None))
    ax.legend(loc="upper left")


def left_out(runs: list[OutlierRun]) -> None:
    """Accuracy of both networks on each group of images, a point per seed; full if trained on."""
    [ax] = _panels()
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


def feature_maps(
    found: exploration.Maps | regularization.ExampleMaps, layer: str, columns: int
) -> None:
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


def vector_anatomy(found: caching.Anatomy, columns: int = 8) -> None:
    """Fig. 4: an image, its maps with their numbers, and its vector beside the cached one."""
    rows = -(-(1 + len(found.maps)) // columns)
    figure = plt.figure(figsize=(WIDTH, 1.3 * rows + 2.3), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.3 * rows, 2.3])  # type: ignore[misc]
    cells = list(top.subplots(rows, columns, squeeze=False).flat)
    limit = found.maps.abs().max().item()
    _show_image(cells[0], found.image)
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
    lower.set_xticks(range(len(class_names)), [_label(name, 9) for name in class_names])
    _legend_below(lower)


def _similarities(ax: Axes, stage: caching.Stage) -> None:
    """A line per image, its class written at its own cached vector; thresholds as dashes.

    The axis is logarithmic in the distance from 1, since nearly all cosines lie close to it.
    """
    classes = np.arange(stage.similarity.shape[1])
    for similarity, label in zip(stage.similarity.numpy(), stage.labels.tolist(), strict=True):
        colour = _COLOURS[label % len(_COLOURS)]
        ax.plot(classes, similarity, color=colour, lw=1, alpha=0.7)
        ax.plot(label, similarity[label], "o", color="white", mec=colour, mew=2, ms=12)
        ax.text(label, similarity[label], str(label), ha="center", va="center", fontsize=8)
    ax.plot([], [], "o", color="white", mec="0.5", mew=2, ms=10, label="image, at its own class")
    threshold = stage.threshold.numpy()
    ax.hlines(threshold, classes - 0.3, classes + 0.3, "k", lw=2, label="threshold of the class")
    nearness = lambda cosine: -np.log10(1.0001 - cosine), lambda scaled: 1.0001 - 10**-scaled
    ax.set_yscale("function", functions=nearness)
    drawn = np.concatenate((stage.similarity.numpy().ravel(), threshold))
    lowest, highest = np.nanmin(drawn), np.nanmax(drawn)
    ticks = [0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999]
    shown = [tick for tick in ticks if lowest <= tick <= highest]
    ax.set_yticks(shown, [f"{tick:g}" for tick in shown])
    ax.set_ylim(1 - 1.3 * (1 - lowest), 1 - 0.2 * (1 - highest))


def _epochs_axis(ax: Axes) -> None:
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def accuracy_by_epoch(runs: list[Comparison]) -> None:
    """Fig. 7: test accuracy by epoch; a thin line per seed, a thick one for their mean."""
    left, right = _panels(2)
    for condition in CONDITIONS:
        curves = [getattr(run, condition).history.test_accuracies for run in runs]
        _draw_curves(right, curves, condition)
    for condition in ("plain", "cached"):
        _draw_curves(left, [published.FIG7[condition].tolist()], condition)
    left.set(title="published, batch 4096", ylabel="test accuracy (%)", ylim=(0, 100))
    right.set(title=f"this run, batch {runs[0].batch_size}, n = {len(runs)}")
    _epochs_axis(left)
    _epochs_axis(right)
    _legend_below(right)


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
    [ax] = _panels(height=3.0)
    hits = 100 * published.FIG7["hits"] / 60_000
    ax.plot(hits.index, hits, "k--", lw=1.5, label="published, batch 4096")
    shares = [[100 * e.skipped / e.seen for e in run.cached.history.epochs] for run in runs]
    _draw_curves(ax, shares, "cached")
    ax.set(ylabel="images skipped (%)", ylim=(0, None))
    _epochs_axis(ax)
    ax.legend(loc="lower right")


def accuracy_by_batch_size(runs: list[Comparison]) -> None:
    """Fig. 8: test accuracy after training over batch size; a point per seed, lines for means."""
    left, right = _panels(2)
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
    _legend_below(right)


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
    axes = _panels(len(found), 3.2)
    names = {"255": "0 to 255", "unit": "0 to 1", "standardized": "standardized"}
    for ax, scaled in zip(axes, found, strict=True):
        for condition in ("plain", "cached"):
            curves = [run.history.test_accuracies for run in getattr(scaled, condition)]
            _draw_curves(ax, curves, condition)
        ax.set(title=f"{names[scaled.input_scale]}, n = {len(scaled.plain)}", ylim=(0, 100))
        _epochs_axis(ax)
    axes[0].set_ylabel("test accuracy (%)")
    _legend_below(axes[-1])


def exits(found: list[list[caching.ExitLayer]]) -> None:
    """Leaving a trained network early, by layer: who leaves, how often rightly, what it costs."""
    [ax] = _panels()
    layers = [row.layer for row in found[0]]
    lines = {
        "hits": ("images that leave early", "o", _COLOURS[0]),
        "precision": ("of them named right", "s", _COLOURS[3]),
        "accuracy": ("named right of all, with exits", "D", _COLOURS[2]),
        "network": ("named right of all, without exits", "^", "black"),
    }
    for name, (text, marker, colour) in lines.items():
        values = [[getattr(row, name) for row in rows] for rows in zip(*found, strict=True)]
        means = [fmean(points) for points in values]
        ax.plot(layers, means, color=colour, marker=marker, label=text, lw=2, ms=5)
        for layer, points in zip(layers, values, strict=True):
            ax.scatter([layer] * len(points), points, s=9, color=colour, marker=marker, alpha=0.6)
    ax.set(xlabel="layer at which images may leave", ylabel="images (%)", ylim=(0, 102))
    _legend_below(ax, columns=2)


def _row_title(runs: list[Row]) -> str:
    return f"{_label(runs[0].dataset, 18)}\nbatch {runs[0].batch_size}, n = {len(runs)}"


def map_training(rows: list[Row]) -> None:
    """Fig. 9: accuracy of base, map and control models; open points train, full points test."""
    groups = by_row(rows)
    axes = _panels(len(groups))
    for ax, runs in zip(axes, groups, strict=True):
        for position, model in enumerate(MODELS):
            known = [a for run in runs if (a := run.finished(model)) is not None]
            _points(ax, position - 0.15, [a.train for a in known], model, "none", turn=-1)
            _points(ax, position + 0.15, [a.test for a in known], model, turn=-1)
        ax.set(title=_row_title(runs), xlabel="accuracy (%)")
    axes[0].set_yticks(range(len(MODELS)), [_label(NAMES[model], 18) for model in MODELS])
    axes[0].invert_yaxis()
    axes[-1].plot([], [], "o", color="k", fillstyle="none", label="train")
    axes[-1].plot([], [], "o", color="k", label="test")
    _legend_below(axes[-1])


def map_training_by_epoch(rows: list[Row]) -> None:
    """Section 7.2: test accuracy by epoch of training on maps; epoch 0 is the base model."""
    groups = by_row(rows)
    axes = _panels(len(groups), 3.6, sharey=False)
    for ax, runs in zip(axes, groups, strict=True):
        for model in MODELS[1:]:
            curves = [
                [run.accuracies["base"].test, *run.histories[model].test_accuracies]
                for run in runs
                if run.finished(model)
            ]
            _draw_curves(ax, curves, model, start=0)
        ax.set_title(_row_title(runs))
        _epochs_axis(ax)
    axes[0].set_ylabel("test accuracy (%)")
    _legend_below(axes[0], columns=2)


def undefined_losses(trials: list[Trial], guess: float, most: float = 100.0) -> None:
    """Section 7.2: loss after training against what might decide it; `guess` is chance's loss.

    Crosses at the top are losses that are no number, or above `most`.
    """
    panels = "values below zero (share)", "dead units (share)", "first step / weights"
    axes = _panels(len(panels))
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


def robustness(runs: list[Robustness], epsilons: Sequence[float]) -> None:
    """Fig. 10 as curves over eps, a panel per perturbation; a point per seed, lines for means."""
    _, axes = plt.subplots(2, 2, figsize=(WIDTH, 5.6), sharex=True, sharey=True)
    sources: dict[adversarial.Perturbation, adversarial.Victim | None] = {"sign noise": None}
    sources |= {FGSM_ON[source]: source for source in VICTIMS}
    for ax, (perturbation, source) in zip(axes.flat, sources.items(), strict=True):
        for model in VICTIMS:
            colour, means = PALETTE[model], []
            for eps in (0.0, *epsilons):
                kind = perturbation if eps else "unchanged"
                values = [run.accuracy(kind, eps, model) for run in runs]
                known = [value for value in values if value is not None]
                ax.plot([eps] * len(known), known, MARKERS[model], ms=4, alpha=0.5, color=colour)
                means.append(fmean(known) if known else float("nan"))
            line = "-" if model == source else "--"
            ax.plot((0.0, *epsilons), means, line, lw=2, color=colour)
        ax.set(title=f"FGSM by {NAMES[source]}" if source else perturbation, ylim=(-3, 102))
    for model in VICTIMS:
        axes[1][1].plot([], [], color=PALETTE[model], marker=MARKERS[model], label=NAMES[model])
    axes[1][1].plot([], [], "k-", label="by its own gradient")
    for ax in axes[1]:
        ax.set_xlabel("ε (pixels of 0 to 1)")
    for ax in axes[:, 0]:
        ax.set_ylabel("accuracy (%)")
    _legend_below(axes[1][1])


def perturbed_examples(found: adversarial.Examples, class_names: Sequence[str]) -> None:
    """Fig. 10: images under each perturbation, with what both models take them for."""
    grid = _grid(len(found.kinds), found.images.shape[1], 1.1 * len(found.kinds))
    for row, axes in enumerate(grid):
        axes[0].set_ylabel(
            _label(found.kinds[row]), rotation=0, ha="right", va="center", fontsize=9
        )
        for column, ax in enumerate(axes):
            _show_image(ax, found.images[row, column])
            seen = [int(found.predictions[model][row, column]) for model in ("base", "maps")]
            ax.set_title(" | ".join(_label(class_names[label]) for label in seen), fontsize=9)


# --- recorded runs ------------------------------------------------------------------------

Outcomes = evidence.Outcomes
PUBLISHED: dict[str, Any] = {
    "color": "gold", "marker": "*", "mec": "black", "ms": 12, "ls": "none", "zorder": 5
}  # fmt: skip
"""How a published number is marked beside recorded ones."""


def _style(quantity: str, size: float) -> dict[str, Any]:
    return {"color": PALETTE[quantity], "marker": MARKERS[quantity], "ms": size}


def _estimate(ax: Axes, x: float, outcomes: Outcomes, quantity: str, width: float = 0.3) -> None:
    """The mean with its 95 % interval, and beside it a faint point per seed."""
    if not (values := evidence.finished(outcomes)):
        return
    places = x + width * np.linspace(0.3, 1, len(values))
    ax.plot(places, values, ls="none", alpha=0.5, mew=0, **_style(quantity, 4))
    mean, low, high, *_ = stats.estimate(values)
    ax.vlines(x, low, high, color=PALETTE[quantity], lw=2.5)
    ax.plot([x], [mean], ls="none", **_style(quantity, 7))


def _band(
    ax: Axes, places: Sequence[float], outcomes: Sequence[Outcomes], quantity: str, line: str = "-"
) -> None:
    """A line through the means, and around it a band of their 95 % intervals."""
    found = {
        x: stats.estimate(v)
        for x, o in zip(places, outcomes, strict=True)
        if (v := evidence.finished(o))
    }
    means, low, high = ([one[i] for one in found.values()] for i in range(3))
    ax.plot([*found], means, line, lw=2, label=NAMES[quantity], **_style(quantity, 4))
    ax.fill_between([*found], low, high, color=PALETTE[quantity], alpha=0.2, lw=0)


def _runs(
    ax: Axes, places: Sequence[float], outcomes: Sequence[Outcomes], quantity: str, line: str = "-"
) -> None:
    """A thin line per seed that did not diverge."""
    label = NAMES[quantity] + ", each seed"
    for seed in outcomes[0]:
        known = [value for o in outcomes if (value := o.get(seed)) is not None]
        if len(known) == len(places):
            ax.plot(places, known, line, lw=1, label=label, **_style(quantity, 3))


def _seeds(outcomes: Outcomes) -> str:
    return f"n = {evidence.counted(outcomes)}"


def recorded_spread(recorded: pd.DataFrame, batch_size: int = 4096) -> None:
    """Fig. 7: every recorded seed of plain training against the published curves, final accuracies.

    Left a thin line per seed; right a faint point per seed, and the mean with its interval.
    """
    left, right = _panels(2, 4.0, sharey=False)
    plain = evidence.of_condition(recorded, batch_size, "plain")
    for _, run in plain.groupby("seed"):
        left.plot(run["epoch"], run["test_accuracy"], color=PALETTE["plain"], lw=1, alpha=0.6)
    left.plot([], [], color=PALETTE["plain"], lw=1, label="recorded: plain, each seed")
    for known in ("plain", "cached"):
        curve = published.FIG7[known]
        left.plot(curve, lw=2.5, mec="black", label=f"published: {known}", **_style(known, 6))
    left.set(title=f"batch {batch_size}, n = {plain['seed'].nunique()}", ylim=(0, 100))
    left.set_ylabel("test accuracy (%)")
    left.legend(loc="lower right")
    _epochs_axis(left)
    final = {c: evidence.final(recorded, batch_size, c) for c in CONDITIONS}
    for place, (condition, outcomes) in enumerate(final.items()):
        _estimate(right, place, outcomes, condition)
    for place, value in enumerate(published.FIG7.iloc[-1][["plain", "cached"]]):
        right.plot([place - 0.15], [value], **PUBLISHED)
        right.annotate(f"{value:g}", (place - 0.25, value), ha="right", va="center", fontsize=9)
    right.plot([], [], label="published", **PUBLISHED)
    _legend_below(right)
    names = [f"{_label(NAMES[c])}\n{_seeds(outcomes)}" for c, outcomes in final.items()]
    right.set_xticks(range(len(final)), names)
    right.set(title="after the last epoch", xlim=(-0.75, len(final) - 0.5))


COSTS = {
    "steps": ("steps", 1.0),
    "images": ("images trained on (thousands)", 1e3),
    "operations": ("multiply-adds (10¹²)", 1e12),
}
"""What training costs: heading and unit by column of the evidence."""


def recorded_by_cost(recorded: pd.DataFrame, batch_size: int = 4096) -> None:
    """Test accuracy against what was spent on it: steps, images, multiply-adds."""
    axes = _panels(len(COSTS), 3.4)
    for ax, (column, (name, unit)) in zip(axes, COSTS.items(), strict=True):
        for condition in CONDITIONS:
            runs = evidence.of_condition(recorded, batch_size, condition)
            spent = (runs.groupby("epoch")[column].mean() / unit).to_dict()
            reached = [evidence.outcomes(runs, "test_accuracy", epoch=epoch) for epoch in spent]
            _band(ax, list(spent.values()), reached, condition)
        ax.set(xlabel=_label(name, 24), ylim=(0, 100), xlim=(0, None))
    axes[0].set_ylabel("test accuracy (%)")
    _legend_below(axes[0])


def recorded_batch_sizes(recorded: pd.DataFrame) -> None:
    """Fig. 8: differences of final test accuracy by batch size, paired by seed.

    The axis is linear from -1 to 1 and logarithmic beyond.
    """
    sizes = published.FIG8.index.tolist()
    axes = _panels(len(evidence.PAIRS), 4.2)
    for ax, pair in zip(axes, evidence.PAIRS, strict=True):
        ax.axhline(0, color="0.6", lw=1)
        for place, size in enumerate(sizes):
            found = evidence.final_differences(recorded, size, *pair)
            _estimate(ax, place, found, pair[0], width=0.5)
        ax.set_xticks(range(len(sizes)), [str(size) for size in sizes], rotation=60)
        ax.set(title="\n− ".join(NAMES[c] for c in pair), xlabel="batch size (images)")
    gain = published.FIG8["cached_test"] - published.FIG8["plain_test"]
    axes[0].plot(range(len(sizes)), gain, label="published", **PUBLISHED)
    axes[0].plot([], [], "ko-", lw=2.5, label="recorded: mean, 95 % interval")
    axes[0].set_yscale("symlog", linthresh=1)
    ticks = [-30, -10, -3, -1, 0, 1, 3, 10]
    axes[0].set_yticks(ticks, [_signed(tick) for tick in ticks])
    axes[0].yaxis.set_minor_locator(NullLocator())
    axes[0].set_ylabel("final test accuracy (points)")
    _legend_below(axes[0])


def recorded_rules(recorded: pd.DataFrame, batch_sizes: Sequence[int] = (4096, 512)) -> None:
    """Final test accuracy of every rule of leaving images out minus plain training, by seed.

    A panel per batch size; the axis is linear from -1 to 1 and logarithmic beyond.
    """
    conditions = [condition for condition in RULES if condition != "plain"]
    axes = _panels(len(batch_sizes), 5.0)
    for ax, size in zip(axes, batch_sizes, strict=True):
        ax.axvline(0, color="0.6", lw=1)
        for place, condition in enumerate(conditions):
            found = evidence.final_differences(recorded, size, condition, "plain")
            if values := evidence.finished(found):
                kind = RULE_KINDS.get(condition, condition)
                places = place + np.linspace(0.15, 0.4, len(values))
                ax.plot(values, places, ls="none", alpha=0.5, mew=0, **_style(kind, 4))
                mean, low, high, *_ = stats.estimate(values)
                ax.hlines(place, low, high, color=PALETTE[kind], lw=2.5)
                ax.plot([mean], [place], ls="none", **_style(kind, 7))
        ax.set_xscale("symlog", linthresh=1)
        ax.set_xticks(ticks := [-30, -5, -1, 0, 1, 5], [_signed(tick) for tick in ticks])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set(title=f"batch {size}", xlabel="test accuracy − plain (points)")
        ax.set_ylim(len(conditions) - 0.5, -0.5)
    axes[0].set_yticks(range(len(conditions)), [_label(RULES[c], 26) for c in conditions])


def _signed(number: int) -> str:
    return f"{number:+d}".replace("-", "−") if number else "0"


RULE_KINDS = {
    "random": "random",
    "one_rate": "random",
    "stopped": "random",
    "permuted": "cached",
    "nearest": "cached",
    "inverted": "cached",
    "shuffled_labels": "cached",
    "selective_backprop": "by loss",
    "infobatch": "by loss",
}
"""Colour of each rule: by chance, by a cache or by the loss."""


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
                _estimate(ax, place, found, model)
                names.append(f"{_label(NAMES[model], 9)}\n{_label(_seeds(found), 12)}")
            known = [getattr(model, part) for model in (row.base, row.maps)]
            ax.plot([-0.2, 0.8], known, label="published", **PUBLISHED)
        axes[0, column].set_title(f"{row.dataset}\nbatch {row.batch_size}")
        axes[1, column].set_xticks(range(len(names)), names, fontsize=8)
    for ax, name in zip(axes[:, 0], parts.values(), strict=True):
        ax.set_ylabel(name)
    for ax in axes[1]:
        ax.axhline(0, color="0.6", lw=1, zorder=0)
    _legend_below(axes[0, 0])


def recorded_further_training(recorded: pd.DataFrame) -> None:
    """Section 7.2: test accuracy by epoch of further training; epoch 0 is the base model.

    A panel per row of Fig. 9, with the numbers of its models that did not diverge.
    """
    axes = _panels(len(published.FIG9), 3.6)
    for ax, row in zip(axes, published.FIG9, strict=True):
        counts = []
        for model in evidence.FURTHER[1:]:
            rows = evidence.of_model(recorded, row.dataset, row.batch_size, model)
            known = rows[rows["diverged"].ne(True)]
            base_and_tests = zip(known["base_test"], known["tests"], strict=True)
            _draw_curves(ax, [[base, *tests] for base, tests in base_and_tests], model, start=0)
            counts.append(f"{model}: {_seeds(evidence.outcomes(rows, 'test'))}")
        title = "\n".join([f"{row.dataset}, batch {row.batch_size}", *counts])
        ax.set_title(title, fontsize=9)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_ylabel("test accuracy (%)")
    axes[1].set_xlabel("epoch of further training")
    _legend_below(axes[0])


def recorded_robustness(recorded: pd.DataFrame) -> None:
    """Fig. 10 as curves over eps: PGD and FGSM by the base model and by the map model.

    Means and intervals; of map models, which differ widely, a line per seed.
    """
    _, axes = plt.subplots(2, 2, figsize=(WIDTH, 6.0), sharex=True, sharey=True)
    epsilons = (0.0, 0.05, 0.15, 0.25)
    for line, (attack, by) in zip(axes, {"PGD": PGD_ON, "FGSM": FGSM_ON}.items(), strict=True):
        for ax, source in zip(line, VICTIMS[:2], strict=True):
            for model in (*VICTIMS, *TWINS):
                kinds = [by[source] if eps else "unchanged" for eps in epsilons]
                pairs = zip(kinds, epsilons, strict=True)
                found = [evidence.judged(recorded, kind, eps, model) for kind, eps in pairs]
                dashes = "-" if model == source else "--"
                if model == "maps":
                    _runs(ax, epsilons, found, model, dashes)
                else:
                    _band(ax, epsilons, found, model, dashes)
            ax.set(title=f"{attack} by {NAMES[source]}", ylim=(-3, 102))
    axes[1, 1].plot([], [], "k-", label="by its own gradient")
    for ax in axes[1]:
        ax.set_xlabel("ε (pixels of 0 to 1)")
    for ax in axes[:, 0]:
        ax.set_ylabel("accuracy (%)")
    _legend_below(axes[1, 1], columns=3)


def recorded_released(recorded: pd.DataFrame) -> None:
    """Fig. 10 as released: accuracy after the clamp alone, and with the perturbation."""
    [ax] = _panels(height=3.8)
    ax.axhline(10, color="0.6", lw=1, ls=":", zorder=0, label="guessing among ten classes")
    epsilons = (0.0, *published.FIG10.index)
    models = (*VICTIMS, *TWINS)
    for group, eps in enumerate(epsilons):
        for number, model in enumerate(models):
            found = evidence.judged(recorded, "released", eps, model)
            place = group + 0.16 * (number - 2)
            _estimate(ax, place, found, model, width=0.08)
            if eps and model in published.FIG10:
                star = PUBLISHED | {"color": PALETTE[model]}
                ax.plot([place - 0.05], [published.FIG10[model][eps]], **star)
            if not group:
                label = f"{NAMES[model]}, {_seeds(found)}"
                ax.plot([], [], ls="none", label=label, **_style(model, 7))
    ax.plot([], [], label="published, in its model's colour", **PUBLISHED | {"color": "white"})
    names = [f"ε = {eps:g}" if eps else "clamp alone" for eps in epsilons]
    ax.set_xticks(range(len(epsilons)), names)
    ax.set(ylabel="accuracy (%)", title="recorded", ylim=(0, None))
    _legend_below(ax, columns=2)


def benchmark_ratios(
    names: Sequence[str],
    ratios: Sequence[float],
    spreads: Sequence[tuple[float, float]],
    bounds: Sequence[float | None],
    reached: Sequence[bool | None],
) -> None:
    """A dot and its spread per ratio on a logarithmic axis, a bar at the bound where there is one.

    What reached its bound, what did not and what has none differ in colour and marker.
    """
    _, ax = plt.subplots(figsize=(WIDTH, 1.1 + 0.34 * len(names)))
    ax.axvline(1, color="0.7", linewidth=1, zorder=0)
    for kind, (label, colour, marker) in RATIO_KINDS.items():
        rows = [row for row, found in enumerate(reached) if found is kind]
        if rows:
            low, high = zip(*(spreads[row] for row in rows), strict=True)
            ax.hlines(rows, low, high, color=colour, linewidth=2)
            ax.plot([ratios[row] for row in rows], rows, marker, color=colour, label=label)
    bars = [np.nan if bound is None else bound for bound in bounds]
    ax.scatter(bars, range(len(bars)), marker="|", s=220, color="black", label="bound", zorder=3)
    ax.set(
        xscale="log", xlabel="ratio (1: equal; smaller is better)", ylim=(len(names) - 0.5, -0.5)
    )
    ax.set_yticks(range(len(names)), [textwrap.fill(name, 34) for name in names], fontsize=8)
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.legend(loc="lower center", bbox_to_anchor=(0.3, 1), ncols=4)
