"""The figure of the page on benchmarks."""

import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import ScalarFormatter

from fmlib.figures.style import (
    COLOURS,
    WIDTH,
)

RATIO_KINDS = {
    True: ("reached", COLOURS[0], "o"),
    False: ("fell short", COLOURS[3], "X"),
    None: ("no bound", COLOURS[7], "D"),
}
"""Whether a measured ratio reached its bound: name, colour and marker."""


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
