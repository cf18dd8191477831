"""Figures of chapter 01, and feature maps."""

from collections.abc import Sequence
from statistics import fmean

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor

from fmlib import evidence
from fmlib.experiments import exploration
from fmlib.experiments import feature_map_regularization as regularization
from fmlib.experiments.exploration import NETWORKS, SPLITS, OutlierRun
from fmlib.figures.style import (
    COLOURS,
    MARKERS,
    NAMES,
    PALETTE,
    WIDTH,
    apart,
    band,
    draw_curves,
    image_grid,
    legend_below,
    name_ends,
    panel_row,
    seed_count,
    seed_points,
    show_image,
    wrapped,
)


def centroids(found: exploration.Distances, class_names: Sequence[str]) -> None:
    """Fig. 1: the mean image of every class."""
    columns = min(5, len(class_names))
    rows = -(-len(class_names) // columns)
    axes = [ax for row in image_grid(rows, columns, 1.55 * rows) for ax in row]
    for ax, image, name in zip(axes, found.centroids, class_names, strict=False):
        show_image(ax, image)
        ax.set_title(wrapped(name), fontsize=10)


def outliers(found: exploration.Distances, images: Tensor, class_names: Sequence[str]) -> None:
    """Fig. 2: the images of a class farthest from its centroid, a row per class."""
    columns = 1 + max(len(positions) for positions in found.outliers.values())
    rows = image_grid(len(found.outliers), columns, 1.6 * len(found.outliers))
    for axes, (label, positions) in zip(rows, found.outliers.items(), strict=True):
        show_image(axes[0], found.centroids[label])
        axes[0].set_ylabel(wrapped(class_names[label]), rotation=0, ha="right", va="center")
        axes[0].set_title("centroid", fontsize=10)
        for ax, position in zip(axes[1:], positions.tolist(), strict=False):
            show_image(ax, images[position])
            ax.set_title(f"{found.distances[position]:.3f}", fontsize=10)


def embeddings(found: dict[str, exploration.Embedding], class_names: Sequence[str]) -> None:
    """Fig. 3: points in the plane, coloured by class, each class named at its median."""
    axes = panel_row(len(found), 3.9, sharey=False)
    for ax, (name, embedding) in zip(axes, found.items(), strict=True):
        labels = embedding.labels.numpy()
        colours = np.array(COLOURS)[labels % len(COLOURS)]
        x, y = embedding.points.T
        ax.scatter(x, y, s=4, c=colours, alpha=0.6, linewidths=0)
        present = np.unique(labels)
        medians = [np.median(embedding.points[labels == label], axis=0) for label in present]
        places = apart(np.array(medians), 0.06 * np.ptp(embedding.points, axis=0))
        for label, (x, y) in zip(present, places, strict=True):
            edge = COLOURS[label % len(COLOURS)]
            box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": edge, "alpha": 0.85}
            text = wrapped(class_names[label])
            ax.text(x, y, text, ha="center", va="center", fontsize=8, bbox=box)
        ax.set_title(f"{name}: class named right {embedding.accuracy:.0f} %", fontsize=10)
        ax.set(xlabel="first coordinate", ylabel="second coordinate", xticks=[], yticks=[])


def image_map(found: exploration.Embedding, images: Tensor, size: float = 0.035) -> None:
    """Images at their places in the plane, those left out that would cover another one.

    `size` is the width of an image as a share of the map's.
    """
    places = found.points - found.points.min(axis=0)
    places /= np.ptp(found.points, axis=0).max()
    _, ax = plt.subplots(figsize=(WIDTH, WIDTH * float(places[:, 1].max() / places[:, 0].max())))
    drawn: list[NDArray[np.float64]] = []
    for place, image, label in zip(places, images, found.labels.tolist(), strict=False):
        if any(np.abs(place - other).max() < size for other in drawn):
            continue
        drawn.append(place)
        low, high = place - size / 2, place + size / 2
        pixels = image.permute(1, 2, 0).clamp(0, 1).numpy().squeeze()  # (H, W, C) or (H, W)
        ax.imshow(pixels, cmap="gray_r", vmin=0, vmax=1, extent=(low[0], high[0], low[1], high[1]))
        edge = COLOURS[label % len(COLOURS)]
        ax.add_patch(Rectangle((low[0], low[1]), size, size, fill=False, ec=edge, lw=1))
    ax.set(xlim=(-size, places[:, 0].max() + size), ylim=(-size, places[:, 1].max() + size))
    ax.set_axis_off()


def errors_by_decile(runs: list[OutlierRun]) -> None:
    """Wrong answers by decile of the distance; a thin line per seed, a thick one for their mean."""
    [ax] = panel_row(height=3.2)
    for split in SPLITS:
        draw_curves(ax, [run.errors[split].rates for run in runs], split)
    ax.set(ylabel="wrong answers (%)", title=f"this run, n = {len(runs)}")
    ax.set(xlabel="decile of the distance from the centroid (1: nearest)")
    ax.set(xticks=range(1, 11), ylim=(0, None))
    ax.legend(loc="upper left")


def recorded_errors_by_decile(deciles: pd.DataFrame) -> None:
    """Recorded wrong answers by decile of the distance: means and their 95 % intervals."""
    [ax] = panel_row(height=3.2)
    ends: dict[str, float] = {}
    for split in SPLITS:
        of_split = deciles[deciles["split"] == split]
        wrong = [evidence.outcomes(of_split, "wrong", decile=decile) for decile in DECILES]
        band(ax, DECILES, wrong, split)
        if known := evidence.finished(wrong[-1]):
            ends[split] = fmean(known)
            ax.set_title(f"recorded, {seed_count(wrong[-1])}")
    ax.set(ylabel="wrong answers (%)", xticks=DECILES, ylim=(0, None))
    ax.set(xlabel="decile of the distance from the centroid (1: nearest)")
    name_ends(ax, DECILES[-1], ends)


DECILES = range(1, 11)


def left_out(runs: list[OutlierRun]) -> None:
    """Accuracy of both networks on each group of images, a point per seed; full if trained on."""
    [ax] = panel_row()
    groups = list(runs[0].groups)
    for column, network in enumerate(NETWORKS):
        for position, group in enumerate(groups):
            values = [run.groups[group].accuracy[network] for run in runs]
            fill = "full" if position == 1 - column else "none"  # both left out a group
            seed_points(ax, position + 0.24 * column - 0.12, values, network, fill)
        ax.plot([], [], MARKERS[network], color=PALETTE[network], label=NAMES[network])
    ax.set_xticks(range(len(groups)), [wrapped(group, 16) for group in groups])
    ax.set(ylabel="accuracy (%)", title=f"this run, n = {len(runs)}")
    legend_below(ax)


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
        show_image(left, image)
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
