"""Figures of chapter 06: what maps see, how that comes about, and whether to believe it."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.nn import functional as F

from fmlib import evidence
from fmlib.experiments.large_pictures import picture_of
from fmlib.experiments.looks import AMOUNTS, MapByEpoch, Network, Sanity, Shown
from fmlib.experiments.photographs import Photograph
from fmlib.experiments.seeing import Corresponding, FirstLayer
from fmlib.figures.style import (
    COLOURS,
    WIDTH,
    epochs_axis,
    image_grid,
    legend_below,
    panel_row,
    show_image,
    wrapped,
)
from fmlib.stats import estimate
from fmlib.visualization.invariance import Invariance, Transformation
from fmlib.visualization.occlusion import OcclusionMaps
from fmlib.visualization.top_activations import Projections

AMOUNT_NAMES: dict[Transformation, str] = {
    "translation": "moved down by (pixels)",
    "scaling": "enlarged by the factor",
    "rotation": "turned by (degrees)",
}
MARKS = ("o", "s", "D", "^", "v", "P")


def _grid_of_nine(pictures: Tensor) -> Tensor:
    """Up to nine pictures (k, C, h, w) as one, three to a row, with white lines between."""
    blank = pictures.new_ones(9 - len(pictures), *pictures.shape[1:])
    cells = F.pad(torch.cat((pictures, blank)), (1, 1, 1, 1), value=1.0)
    channels, height, width = cells.shape[1:]
    grid = cells.reshape(3, 3, channels, height, width).permute(2, 0, 3, 1, 4)
    return grid.reshape(channels, 3 * height, 3 * width)


def _about_grey(projections: Tensor) -> Tensor:
    """Projections (k, C, h, w) in [0, 1], grey for 0, each stretched to its largest value."""
    largest = projections.flatten(1).abs().amax(dim=1).clamp_min(1e-12)
    return 0.5 + 0.5 * projections / largest.reshape(-1, 1, 1, 1)


def _patches(found: Projections) -> Tensor:
    """Patches with what lies beyond the border in white."""
    return torch.where(found.inside[:, None], found.patches, torch.ones_like(found.patches))


def top_nine(shown: Sequence[Shown], class_names: Sequence[str]) -> None:
    """Fig. 6: of some maps of every layer the nine strongest projections and their patches."""
    columns = max(len(one.maps) for one in shown)
    rows = image_grid(2 * len(shown), columns, 4.9 * len(shown) + 0.2)
    for number, one in enumerate(shown):
        upper, lower = rows[2 * number : 2 * number + 2]
        upper[0].set_ylabel(f"{one.layer}\nprojections", fontsize=9)
        lower[0].set_ylabel("image patches", fontsize=9)
        for place, (index, found) in enumerate(zip(one.maps, one.projections, strict=True)):
            classes = one.classes[place].bincount(minlength=len(class_names))
            most, count = class_names[int(classes.argmax())], int(classes.max())
            show_image(upper[place], _grid_of_nine(_about_grey(found.projections)))
            show_image(lower[place], _grid_of_nine(_patches(found)))
            title = f"map {index}: {count} of {int(classes.sum())} {most}"
            upper[place].set_title(wrapped(title, 28), fontsize=9)


def map_evolution(found: Sequence[MapByEpoch]) -> None:
    """Fig. 4: the strongest activation of a map by epoch, projected, with the image it is in."""
    columns = max(len(one.epochs) for one in found)
    rows = image_grid(2 * len(found), columns, 2.75 * len(found) + 0.2)
    for number, one in enumerate(found):
        upper, lower = rows[2 * number : 2 * number + 2]
        upper[0].set_ylabel(f"{one.layer},\nmap {one.number}", fontsize=9)
        lower[0].set_ylabel("its image", fontsize=9)
        projections = _about_grey(one.projections)
        for ax, below, epoch, projection, image in zip(
            upper, lower, one.epochs, projections, one.images, strict=False
        ):
            show_image(ax, projection)
            show_image(below, image)
            ax.set_title(f"epoch {epoch}" if epoch else "before", fontsize=9)


def convergence(network: Network, found: Mapping[str, Sequence[float]]) -> None:
    """How alike the maps are to those after the last epoch, a line per layer."""
    ax = panel_row(1, 3.2)[0]
    for number, (layer, values) in enumerate(found.items()):
        style = {"color": COLOURS[number], "marker": MARKS[number]}
        ax.plot(network.snapshots.epochs, values, lw=2, label=layer, **style)
    ax.set(ylabel="correlation with the last epoch", ylim=(0, 1.02))
    epochs_axis(ax)
    legend_below(ax)


def recorded_convergence(recorded: pd.DataFrame) -> None:
    """The same, recorded: means over seeds with their 95 % intervals."""
    ax = panel_row(1, 3.4)[0]
    n = recorded["seed"].nunique()
    for number, layer in enumerate(recorded["layer"].unique().tolist()):
        style = {"color": COLOURS[number], "marker": MARKS[number]}
        _mean_by_epoch(ax, recorded[recorded["layer"] == layer], "correlation", layer, style)
    ax.set(ylabel="correlation with the last epoch", ylim=(0, 1.02), title=f"n = {n}")
    epochs_axis(ax)
    legend_below(ax)


def invariance(found: Mapping[Transformation, Invariance]) -> None:
    """Fig. 5: distance of the first and the last layer's vectors, and the class's probability."""
    _, axes = plt.subplots(2, len(found), figsize=(WIDTH, 5.0), sharey="row", squeeze=False)
    for (name, one), (upper, lower) in zip(found.items(), axes.T, strict=True):
        for number, layer in enumerate(one.distances):
            style = {"color": COLOURS[number], "marker": MARKS[number], "ms": 4}
            _with_quartiles(upper, one.amounts, one.normalized(layer), layer, style)
        _with_quartiles(
            lower, one.amounts, one.probability, "true class", {"color": COLOURS[2], "marker": "D"}
        )
        lower.set_xlabel(AMOUNT_NAMES[name], fontsize=10)
        if name == "rotation":
            lower.set_xticks([0, 90, 180, 270])
            upper.set_xticks([0, 90, 180, 270])
    axes[0, 0].set_ylabel("distance, different\nimages = 1")
    axes[1, 0].set(ylabel="probability of\nthe true class", ylim=(0, 1.02))
    legend_below(axes[0, 0])


def _with_quartiles(
    ax: Axes, amounts: Sequence[float], values: Tensor, label: str, style: Mapping[str, Any]
) -> None:
    """The mean over images (A, N) as a line, the middle half of them as a band."""
    ax.plot(amounts, values.mean(dim=1).numpy(), lw=2, label=label, **style)
    low, high = (values.quantile(share, dim=1).numpy() for share in (0.25, 0.75))
    ax.fill_between(amounts, low, high, color=style["color"], alpha=0.15, lw=0)


def occlusion(images: Tensor, found: Sequence[OcclusionMaps], class_names: Sequence[str]) -> None:
    """Fig. 8: images, and what the network makes of them when a square hides a part."""
    rows = image_grid(len(found), 5, 1.6 * len(found) + 0.5)
    heads = ("image", "activity of the\nstrongest map", "logit", "probability", "predicted class")
    for ax, head in zip(rows[0], heads, strict=True):
        ax.set_title(head, fontsize=9)
    for axes, image, one in zip(rows, images, found, strict=True):
        show_image(axes[0], image)
        axes[0].set_ylabel(wrapped(class_names[one.target], 10), fontsize=9)
        for ax, name in zip(axes[1:4], ("activity", "logit", "probability"), strict=True):
            values = getattr(one.occluded, name).numpy()
            low, high = (0, 1) if name == "probability" else (None, None)
            drawn = ax.imshow(values, cmap="viridis", vmin=low, vmax=high)
            bar = plt.colorbar(drawn, ax=ax, fraction=0.046, pad=0.03)
            bar.ax.tick_params(labelsize=7)
        palette = np.array(COLOURS[: len(class_names)] if len(class_names) <= len(COLOURS) else [])
        labels = one.occluded.prediction.numpy()
        axes[4].imshow(palette[labels] if len(palette) else labels, interpolation="nearest")
    for number, name in enumerate(class_names[: len(COLOURS)]):
        rows[0][4].plot([], [], "s", color=COLOURS[number], label=wrapped(name))
    legend_below(rows[0][4])


def parts(found: Sequence[Corresponding]) -> None:
    """Fig. 9: garments with the part that is hidden, an example of each and the box."""
    axes = image_grid(1, len(found), 1.9)[0]
    for ax, one in zip(axes, found, strict=True):
        show_image(ax, one.images[0])
        top, left, height, width = one.part.box
        corner = (left - 0.5, top - 0.5)
        ax.add_patch(Rectangle(corner, width, height, fill=False, ec=COLOURS[1], lw=2))
        ax.set_title(wrapped(f"{one.part.garment}: {one.part.name}", 14), fontsize=9)


def correspondence(found: Sequence[Corresponding]) -> None:
    """How differently features change between images: by a part (points) and by random ones."""
    axes = panel_row(len(found[0].layers), 3.4)
    for ax, layer in zip(axes, found[0].layers, strict=True):
        for place, one in enumerate(found):
            measured = one.layers[layer]
            drawn = np.full(len(measured.random), float(place))
            label = "random places, one draw each" if place == 0 else None
            ax.plot(drawn, measured.random.numpy(), ".", color="0.6", ms=5, label=label)
            label = "the part" if place == 0 else None
            ax.plot(place, measured.part.mean, "D", color=COLOURS[4], ms=8, label=label)
        names = [wrapped(one.part.name, 8) for one in found]
        ax.set_xticks(range(len(found)), names, fontsize=9)
        ax.set_title(layer, fontsize=10)
    axes[0].set_ylim(bottom=0)
    axes[0].set_ylabel("Hamming distance\n(share of features)")
    legend_below(axes[0])


MEASURES = {
    "moved": "distance moved by 1 or 2\npixels, different images = 1",
    "hidden": "fall of the class's logit",
    "parts": "Hamming distance,\nrandom parts − the part",
}


def seen_by_epoch(found: pd.DataFrame) -> None:
    """Invariance, occlusion and correspondence by epoch; means over seeds, if there are several."""
    axes = panel_row(len(MEASURES), 3.4, sharey=False)
    for ax, (measure, name) in zip(axes, MEASURES.items(), strict=True):
        rows = found[found["measure"] == measure]
        for number, line in enumerate(rows["line"].unique().tolist()):
            of_line = rows[rows["line"] == line]
            style = {"color": COLOURS[number], "marker": MARKS[number]}
            _mean_by_epoch(ax, of_line, "value", line, style)
        ax.axhline(0, color="0.8", lw=1)
        ax.set_title(name, fontsize=9)
        epochs_axis(ax)
        ax.legend(fontsize=8)


def _mean_by_epoch(
    ax: Axes, rows: pd.DataFrame, column: str, label: str, style: Mapping[str, Any]
) -> None:
    """The mean over rows of an epoch as a line, its 95 % interval as a band."""
    epochs = sorted(rows["epoch"].unique().tolist())
    known = [estimate(rows[rows["epoch"] == e][column].tolist()) for e in epochs]
    means, low, high = ([one[i] for one in known] for i in range(3))
    ax.plot(epochs, means, lw=2, label=label, **style)
    ax.fill_between(epochs, low, high, color=style["color"], alpha=0.2, lw=0)


def first_filters(found: Sequence[FirstLayer]) -> None:
    """Fig. 7: the first filters of both networks, each network on its own scale."""
    figure = plt.figure(figsize=(WIDTH, 3.9), layout="constrained")
    halves: Any = figure.subfigures(1, len(found), squeeze=False)
    for part, one in zip(halves[0], found, strict=True):
        part.suptitle(f"{one.kernel}×{one.kernel}, stride {one.stride}", fontsize=10)
        columns = 4
        cells = part.subplots(-(-len(one.filters) // columns), columns, squeeze=False)
        for ax in cells.flat:
            ax.set_axis_off()
        for ax, picture in zip(cells.flat, one.filters, strict=False):
            show_image(ax, picture)


def sanity(found: Sequence[Sanity]) -> None:
    """How alike pictures stay as weights are drawn anew from the output down; the twin beside."""
    ax = panel_row(1, 3.6)[0]
    layers = list(found[0].layers)
    for number, one in enumerate(found):
        style = {"color": COLOURS[number], "marker": MARKS[number]}
        values = [1.0, *one.layers.values()]
        ax.plot(range(len(values)), values, lw=2, label=one.method, **style)
        for place, other in enumerate((one.twin, one.shuffled)):
            at = len(values) + 0.2 + place
            ax.plot(at, other, MARKS[number], color=COLOURS[number], ms=8)
    names = ["none", *(f"{layer} and above" if at else layer for at, layer in enumerate(layers))]
    others = [len(names) + 0.2, len(names) + 1.2]
    names += ["another network", "shuffled labels"]
    ax.set_xticks([*range(len(layers) + 1), *others], [wrapped(name, 10) for name in names])
    ax.set_xlabel("weights drawn anew")
    ax.set_ylabel("rank correlation with\nthe trained network")
    ax.axvline(len(layers) + 0.6, color="0.8", lw=1)
    legend_below(ax, 2)


def recorded_probability(recorded: pd.DataFrame) -> None:
    """Recorded probability of the true class by how far images are changed."""
    axes = panel_row(len(AMOUNTS), 3.2)
    for ax, (name, amounts) in zip(axes, AMOUNTS.items(), strict=True):
        rows = recorded[recorded["transformation"] == name]
        known = [evidence.by_seed(rows, "probability", amount=amount) for amount in amounts]
        found = [estimate(list(values.values())) for values in known if values]
        means, low, high = ([one[i] for one in found] for i in range(3))
        ax.plot(amounts[: len(means)], means, "D-", color=COLOURS[2], ms=4, lw=2)
        ax.fill_between(amounts[: len(means)], low, high, color=COLOURS[2], alpha=0.2, lw=0)
        ax.set_xlabel(AMOUNT_NAMES[name], fontsize=10)
        if name == "rotation":
            ax.set_xticks([0, 90, 180, 270])
    axes[0].set(ylabel="probability of the true class", ylim=(0, 1))


def photographs(seen: Sequence[Photograph]) -> None:
    """Recorded: what ImageNet's network sees in photographs, two rows for each.

    Above: the photograph with the receptive fields of what is projected, and the projections.
    Below: the logit of the most probable class by the place of the grey square, and the patches.
    """
    columns = 1 + max((len(one.projections) for one in seen), default=0)
    rows = image_grid(max(1, 2 * len(seen)), columns, 3.6 * len(seen) + 0.2)
    for number, one in enumerate(seen):
        upper, lower = rows[2 * number : 2 * number + 2]
        _whole_photograph(upper[0], one)
        _logit_by_place(lower[0], one)
        upper[1].set_ylabel("projections", fontsize=9)
        lower[1].set_ylabel("image patches", fontsize=9)
        for place, found in enumerate(one.projections):
            above, below = upper[place + 1], lower[place + 1]
            show_image(above, picture_of(found.projection))
            show_image(below, picture_of(found.patch))
            above.set_title(f"{found.layer},\nmap {found.feature_map}", fontsize=9)
            below.set_xlabel(f"{found.box.height}×{found.box.width} pixels", fontsize=9)
            for ax in (above, below):
                ax.spines[:].set(visible=True, color=COLOURS[place], linewidth=2)


def _whole_photograph(ax: Axes, seen: Photograph) -> None:
    picture = picture_of(seen.picture).permute(1, 2, 0).numpy()  # (H, W, 3)
    ax.imshow(picture, extent=(0, seen.side, seen.side, 0))
    for place, found in enumerate(seen.projections):
        top, left, bottom, right = (min(max(at, 0), seen.side) for at in found.box.edges)
        size = right - left, bottom - top
        ax.add_patch(Rectangle((left, top), *size, fill=False, ec=COLOURS[place], lw=2))
    ax.set_title(f"{wrapped(seen.classes[0], 16)}\n{100 * seen.probabilities[0]:.0f} %", fontsize=9)


def _logit_by_place(ax: Axes, seen: Photograph) -> None:
    drawn = ax.imshow(np.array(seen.occluded.logit), cmap="viridis")
    bar = plt.colorbar(drawn, ax=ax, location="bottom", fraction=0.06, pad=0.04)
    bar.set_label(wrapped(f"logit of {seen.classes[0]}", 24), fontsize=9)
    bar.ax.tick_params(labelsize=8)
