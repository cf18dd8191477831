"""Figures of chapter 07: images found again, and units beside concepts."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

from fmlib import evidence
from fmlib.experiments.dissection import ShownUnit
from fmlib.experiments.inversion import Inverted, State, Way
from fmlib.figures.style import (
    COLOURS,
    epochs_axis,
    image_grid,
    legend_below,
    panel_row,
    show_image,
    wrapped,
)
from fmlib.stats import estimate
from fmlib.visualization.concepts import Concept, Labelled
from fmlib.visualization.dissection import CUSTOMARY, Dissection
from fmlib.visualization.net2vec import Combinations

MARKS = ("o", "s", "D", "^")
WAY_LOOKS: dict[Way, tuple[int, str]] = {"gradient": (0, "o"), "up-convolution": (1, "s")}
OUTLINE = "magenta"
"""Colour of outlines on images, in which no generated thing is painted."""


def inverted(images: Tensor, ways: Mapping[Way, Mapping[str, Inverted]], columns: int = 6) -> None:
    """Images, and below them what each way finds from each layer."""
    layers = list(next(iter(ways.values())))
    columns = min(columns, len(images))
    rows = image_grid(1 + len(layers) * len(ways), columns, 1.02 * (1 + len(layers) * len(ways)))
    rows[0][0].set_ylabel("image", fontsize=9)
    for ax, image in zip(rows[0], images, strict=False):
        show_image(ax, image)
    places = [(layer, way) for layer in layers for way in ways]
    for axes, (layer, way) in zip(rows[1:], places, strict=True):
        name = {"gradient": "gradient", "up-convolution": "network"}[way]
        axes[0].set_ylabel(f"{layer}\n{name}", fontsize=9)
        for ax, picture in zip(axes, ways[way][layer].pictures, strict=False):
            show_image(ax, picture)


def inverted_by_epoch(
    image: Tensor, found: Mapping[int, Mapping[str, Inverted]], place: int = 0
) -> None:
    """One image found again from every layer after some epochs, with its distance in percent."""
    layers = list(next(iter(found.values())))
    rows = image_grid(len(layers), 1 + len(found), 1.55 * len(layers) + 0.3)
    for number, (axes, layer) in enumerate(zip(rows, layers, strict=True)):
        axes[0].set_ylabel(layer, fontsize=9)
        show_image(axes[0], image)
        for ax, (epoch, by_layer) in zip(axes[1:], found.items(), strict=True):
            one = by_layer[layer]
            show_image(ax, one.pictures[place])
            ax.set_xlabel(f"{100 * one.errors[place].item():.0f} %", fontsize=9)
            if number == 0:
                ax.set_title(f"epoch {epoch}" if epoch else "before", fontsize=9)
    rows[0][0].set_title("image", fontsize=9)


def recorded_inversion(recorded: pd.DataFrame, plain: pd.DataFrame) -> None:
    """Recorded distance from the images by layer, way, and state of the network."""
    ax = panel_row(1, 3.6)[0]
    layers = recorded["layer"].unique().tolist()
    for number, (way, (colour, mark)) in enumerate(WAY_LOOKS.items()):
        for when, name in (("after", "trained"), ("before", "before training")):
            known = [
                evidence.by_seed(recorded, "error", way=way, layer=layer, when=when)
                for layer in layers
            ]
            found = [estimate(list(values.values())) for values in known]
            places = np.arange(len(layers)) + 0.16 * number + 0.08 * (when == "before") - 0.12
            means, low, high = (np.array([one[i] for one in found]) for i in range(3))
            style = {"color": COLOURS[colour], "mfc": COLOURS[colour] if name == "trained" else "w"}
            errors = np.stack((means - low, high - means))
            n = f", n = {len(known[0])}" if known else ""
            ax.errorbar(
                places, means, errors, fmt=mark, ms=7, lw=2, label=f"{way}, {name}{n}", **style
            )
    mean = evidence.by_seed(plain, "value", quantity="mean image")
    if mean:
        value = sum(mean.values()) / len(mean)
        ax.axhline(value, color="0.5", ls="--", label="mean image")
    ax.set_xticks(range(len(layers)), layers)
    ax.set(ylabel="distance from the images\n(%, different images = 100)", ylim=(0, None))
    legend_below(ax, 2)


def recorded_inversion_by_epoch(recorded: pd.DataFrame) -> None:
    """Recorded distance from the images by epoch, a line per layer, a panel per way."""
    axes = panel_row(len(WAY_LOOKS), 3.6)
    for ax, way in zip(axes, WAY_LOOKS, strict=True):
        rows = recorded[recorded["way"] == way]
        for number, layer in enumerate(rows["layer"].unique().tolist()):
            own = rows[rows["layer"] == layer]
            epochs = sorted(own["epoch"].unique().tolist())
            found = [estimate(own[own["epoch"] == e]["error"].tolist()) for e in epochs]
            means, low, high = ([one[i] for one in found] for i in range(3))
            style = {"color": COLOURS[number], "marker": MARKS[number % len(MARKS)], "ms": 4}
            ax.plot(epochs, means, lw=2, label=layer, **style)
            ax.fill_between(epochs, low, high, color=COLOURS[number], alpha=0.2, lw=0)
        ax.set_title(f"{way}, n = {rows['seed'].nunique()}", fontsize=10)
        epochs_axis(ax)
    axes[0].set(ylabel="distance from the images\n(%, different images = 100)", ylim=(0, None))
    legend_below(axes[0])


def concept_images(batch: Labelled, concepts: Sequence[Concept], columns: int = 6) -> None:
    """Some labelled images, and a row for each kind of concept with what their pixels show."""
    kinds = list(dict.fromkeys(concept.category for concept in concepts))
    rows = image_grid(1 + len(kinds), columns, 1.45 * (1 + len(kinds)))
    rows[0][0].set_ylabel("image", fontsize=9)
    for place in range(min(columns, len(batch.images))):
        show_image(rows[0][place], batch.images[place])
        for axes, kind in zip(rows[1:], kinds, strict=True):
            _masks(axes[place], batch.labels[place], concepts, kind)
    for axes, kind in zip(rows[1:], kinds, strict=True):
        axes[0].set_ylabel(kind, fontsize=9)


def _masks(ax: Axes, labels: Tensor, concepts: Sequence[Concept], kind: str) -> None:
    """Pixels of each concept of a kind in a colour of its own, named below."""
    picture = torch.ones(*labels.shape[1:], 3)
    numbers = [n for n in labels.unique().tolist() if n and concepts[n - 1].category == kind]
    for place, number in enumerate(numbers):
        paint = torch.tensor(COLOURS[(0, 1, 2)[place % 3]])
        picture[(labels == number).any(dim=0)] = paint.to(picture)
    ax.imshow(picture.numpy(), interpolation="nearest")
    ax.spines[:].set(visible=True, color="0.8")
    names = ", ".join(concepts[number - 1].name for number in numbers)
    ax.set_xlabel(wrapped(names or "none", 12), fontsize=8)


def units(shown: Sequence[ShownUnit]) -> None:
    """Units with the images that they are most active in, and an outline of where they are."""
    columns = max(len(one.images) for one in shown)
    rows = image_grid(len(shown), columns, 1.35 * len(shown))
    for axes, one in zip(rows, shown, strict=True):
        name = f"{one.layer}, {one.unit}\n{one.label.name}\n{100 * one.iou:.0f} %"
        axes[0].set_ylabel(name, fontsize=9)
        for ax, image, active in zip(axes, one.images, one.active, strict=False):
            show_image(ax, image)
            ax.contour(active.double(), [0.5], colors=[OUTLINE], linewidths=1.5)


def overlaps(found: Mapping[State, Sequence[Dissection]]) -> None:
    """Overlap of every unit with its best concept, and of shuffled units, by layer."""
    axes = panel_row(len(found), 3.4)
    for ax, (state, some) in zip(axes, found.items(), strict=True):
        for place, one in enumerate(some):
            own, shuffled = 100 * one.best.numpy(), 100 * one.shuffled[0].numpy()
            for side, values, style in (
                (0.16, shuffled, {"color": "0.55", "marker": "^", "label": "shuffled"}),
                (-0.16, own, {"color": COLOURS[0], "marker": "o", "label": "units"}),
            ):
                spread = side + np.linspace(-0.12, 0.12, len(values))
                ax.plot(place + spread, values, ls="none", ms=4, alpha=0.7, mew=0, **style)
        ax.axhline(100 * CUSTOMARY, color="0.3", ls="--", lw=1, label="customary 4 %")
        ax.set_xticks(range(len(some)), [one.layer for one in some])
        title = {"trained": "trained", "untrained": "before training"}[state]
        ax.set_title(title, fontsize=10)
    axes[0].set(ylabel="IoU with the best concept (%)", ylim=(0, None))
    legend_below(axes[0])


def combinations(found: Combinations) -> None:
    """Every concept by the best unit and by a combination, cut as published and freely."""
    axes = panel_row(2, 5.2)
    places = np.arange(len(found.concepts))[::-1]
    for ax, cut, names in zip(
        axes,
        ("cut as published", "cut freely"),
        (("single", "combined"), ("single_free", "combined_free")),
        strict=True,
    ):
        single, several = (100 * getattr(found, name).numpy() for name in names)
        ax.hlines(places, single, several, color="0.8", lw=2)
        ax.plot(single, places, "o", color=COLOURS[7], ms=7, label="best unit")
        ax.plot(several, places, "D", color=COLOURS[4], ms=4.5, label="combination")
        ax.set_xlabel("IoU on new images (%)")
        ax.set_title(cut, fontsize=10)
    most = max(ax.get_xlim()[1] for ax in axes)
    for ax in axes:
        ax.set_xlim(-0.02 * most, most)
    axes[0].set_yticks(places, [concept.name for concept in found.concepts], fontsize=9)
    legend_below(axes[0])
