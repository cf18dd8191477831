"""How all figures look: theme, one colour and marker per quantity, and what most are drawn of."""

import textwrap
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from matplotlib_inline.backend_inline import set_matplotlib_formats
from numpy.typing import NDArray
from torch import Tensor

from fmlib import evidence, stats
from fmlib.experiments.adversarial_robustness import (
    TWIN_NAMES,
)
from fmlib.experiments.caching import CONDITION_NAMES
from fmlib.experiments.feature_evolution import COURSE_NAMES, REGULARIZER_NAMES
from fmlib.experiments.feature_map_regularization import MODEL_NAMES, WAY_NAMES
from fmlib.experiments.similar_training import CONDITION_NAMES as SIMILARITY_NAMES

COLOURS = sns.color_palette("colorblind")

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
    "each_map": (4, "D"),
    "each_map after": (3, "s"),
    "mean_map": (1, "p"),
    "twin": (2, "P"),
    "other twin": (5, "X"),
    "train": (9, "o"),
    "test": (1, "s"),
    "no outliers": (2, "P"),
    "control": (7, "^"),
    "scratch": (0, "o"),
    "pretrained": (4, "D"),
    "frozen": (7, "^"),
    "harder": (3, "s"),
    "simplified": (2, "P"),
    "small": (1, "s"),
    "published": (0, "o"),
    "softmax on trained": (4, "D"),
    "softmax on untrained": (2, "P"),
    "softmax on pixels": (7, "^"),
    "baseline": (0, "o"),
    "initialized": (3, "s"),
    "regularized": (1, "P"),
    "strong": (8, "P"),
    "shrunk": (7, "^"),
    "restored": (4, "D"),
    "unit": (5, "X"),
    "complete": (2, "p"),
    "unit_strong": (6, "X"),
    "decay": (7, "v"),
    "orthogonal": (9, "v"),
    "orthogonality": (9, "d"),
    "decov": (5, "h"),
}

PALETTE = {quantity: COLOURS[colour] for quantity, (colour, _) in _STYLES.items()}
"""One colour per quantity through the book: what is plain is blue, a control is grey."""

MARKERS = {quantity: marker for quantity, (_, marker) in _STYLES.items()}

NAMES: dict[Any, str] = {
    **CONDITION_NAMES,
    **MODEL_NAMES,
    **WAY_NAMES,
    **TWIN_NAMES,
    **COURSE_NAMES,
    **REGULARIZER_NAMES,
    **SIMILARITY_NAMES,
    "by loss": "by their losses",
    "train": "training images",
    "test": "test images",
    "no outliers": "outlying tenth left out",
    "control": "control: random tenth left out",
    "softmax on trained": "softmax on trained features",
    "softmax on untrained": "on untrained features",
    "softmax on pixels": "on pixels",
}

WIDTH = 7.0

PUBLISHED: dict[str, Any] = {
    "color": "gold", "marker": "*", "mec": "black", "ms": 12, "ls": "none", "zorder": 5
}  # fmt: skip
"""How a published number is marked beside recorded ones."""

Outcomes = evidence.Outcomes


def use_style() -> None:
    """Set the book's theme for all figures of a notebook: double resolution, readable text."""
    sns.set_theme(context="notebook", style="ticks", palette="colorblind", font_scale=0.9)
    plt.rcParams.update({"figure.dpi": 100, "axes.spines.top": False, "axes.spines.right": False})
    plt.rcParams.update({"figure.constrained_layout.use": True, "legend.frameon": False})
    set_matplotlib_formats("retina")


def panel_row(count: int = 1, height: float = 3.4, sharey: bool = True) -> list[Axes]:
    """Axes side by side over the full width."""
    _, axes = plt.subplots(1, count, figsize=(WIDTH, height), sharey=sharey, squeeze=False)
    return list(axes[0])


def image_grid(rows: int, columns: int, height: float) -> list[list[Axes]]:
    """Axes without ticks for a grid of images, over the full width."""
    _, axes = plt.subplots(rows, columns, figsize=(WIDTH, height), squeeze=False)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        sns.despine(ax=ax, left=True, bottom=True)
    return [list(row) for row in axes]


def show_image(ax: Axes, image: Tensor) -> None:
    """A grey or colour image (C, H, W) in [0, 1]."""
    pixels = image.permute(1, 2, 0).clamp(0, 1).numpy()  # (H, W, C)
    ax.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def wrapped(text: str, width: int = 12) -> str:
    """A class name as plain text of a few short lines."""
    return textwrap.fill(text, width, max_lines=4, placeholder="…").replace("$", r"\$")


def epochs_axis(ax: Axes) -> None:
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def legend_below(ax: Axes, columns: int | None = None) -> None:
    """The legend of one panel, each label once, below all panels, where it hides nothing."""
    handles = {label: handle for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure = ax.get_figure(root=True)
    assert figure is not None, "axes are drawn into a figure"
    columns = columns or len(handles)
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=columns)


def draw_curves(ax: Axes, curves: list[list[float]], quantity: str, start: int = 1) -> None:
    """Thin lines for single curves, a thick one with markers for their mean."""
    style = {"color": PALETTE[quantity], "marker": MARKERS[quantity], "markersize": 4}
    for curve in curves if len(curves) > 1 else []:
        ax.plot(range(start, len(curve) + start), curve, color=style["color"], lw=0.8, alpha=0.5)
    length = min((len(curve) for curve in curves), default=0)
    mean = [fmean(curve[i] for curve in curves) for i in range(length)]
    ax.plot(range(start, length + start), mean, lw=2, label=NAMES[quantity], **style)


def seed_points(
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


def signed(number: int) -> str:
    return f"{number:+d}".replace("-", "−") if number else "0"


def look(quantity: str, size: float) -> dict[str, Any]:
    return {"color": PALETTE[quantity], "marker": MARKERS[quantity], "ms": size}


def mean_and_interval(
    ax: Axes,
    x: float,
    outcomes: Outcomes,
    quantity: str,
    width: float = 0.3,
    fill: str = "full",
    turn: int = 1,
) -> None:
    """The mean with its 95 % interval, and beside it a faint point per seed.

    A `turn` of -1 puts the numbers on the horizontal axis.
    """
    if not (values := evidence.finished(outcomes)):
        return
    places = x + width * np.linspace(0.3, 1, len(values))
    points = (places, np.array(values))[::turn]
    ax.plot(*points, ls="none", alpha=0.5, mew=0, **look(quantity, 4))
    mean, low, high, *_ = stats.estimate(values)
    bar = ax.vlines if turn == 1 else ax.hlines
    bar(x, low, high, color=PALETTE[quantity], lw=2.5)
    style = look(quantity, 7) | ({} if fill == "full" else {"mfc": "white", "mew": 1.5})
    ax.plot(*([x], [mean])[::turn], ls="none", **style)


def band(
    ax: Axes, places: Sequence[float], outcomes: Sequence[Outcomes], quantity: str, line: str = "-"
) -> None:
    """A line through the means, and around it a band of their 95 % intervals.

    Its label has the number of seeds at the last place.
    """
    found = {
        x: stats.estimate(v)
        for x, o in zip(places, outcomes, strict=True)
        if (v := evidence.finished(o))
    }
    means, low, high = ([one[i] for one in found.values()] for i in range(3))
    label = _counted_name(NAMES[quantity], outcomes)
    ax.plot([*found], means, line, lw=2, label=label, **look(quantity, 4))
    ax.fill_between([*found], low, high, color=PALETTE[quantity], alpha=0.2, lw=0)


def each_run(
    ax: Axes, places: Sequence[float], outcomes: Sequence[Outcomes], quantity: str, line: str = "-"
) -> None:
    """A thin line per seed that did not diverge."""
    label = _counted_name(f"{NAMES[quantity]}, each seed", outcomes)
    for seed in outcomes[0]:
        known = [value for o in outcomes if (value := o.get(seed)) is not None]
        if len(known) == len(places):
            ax.plot(places, known, line, lw=1, label=label, **look(quantity, 3))


def _counted_name(name: str, outcomes: Sequence[Outcomes]) -> str:
    return f"{name}, {seed_count(outcomes[-1])}" if outcomes else name


def seed_count(outcomes: Outcomes) -> str:
    return f"n = {evidence.counted(outcomes)}"


def apart(places: NDArray[np.float64], least: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places (N, 2), moved until no two are nearer than `least` (2,), the unit of each axis."""
    scaled = places / least
    for _ in range(100):
        steps = scaled[:, None] - scaled  # (N, N, 2)
        lengths = np.linalg.norm(steps, axis=2, keepdims=True) + np.eye(len(places))[:, :, None]
        scaled = scaled + (steps / lengths * np.clip(1 - lengths, 0, None) / 2).sum(axis=1)
    return scaled * least


def name_ends(ax: Axes, x: float, ends: Mapping[str, float], least: float = 0.08) -> None:
    """Write each quantity's name to the right of the axes, tied to its last value, at `x`.

    Names are moved until no two are nearer than `least`, a share of the vertical axis.
    """
    low, high = ax.get_ylim()
    heights = np.array([*ends.values()])
    places = np.column_stack((np.zeros(len(ends)), heights + 1e-9 * np.arange(len(ends))))
    places = apart(places, np.array([1.0, least * (high - low)]))
    for (quantity, end), (_, place) in zip(ends.items(), places, strict=True):
        line = {"arrowstyle": "-", "color": PALETTE[quantity], "shrinkA": 1, "shrinkB": 3}
        ax.annotate(
            wrapped(NAMES[quantity], 30),
            (x, end),
            (1.08, place),
            textcoords=ax.get_yaxis_transform(),
            va="center",
            fontsize=9,
            arrowprops=line,
        )
