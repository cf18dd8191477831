"""What skipping does beyond skipping any: tables and figures of records made by hand."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from fmlib import evidence, figures, tables
from fmlib.caching import RELEASED
from fmlib.experiments.caching import Condition, walk_steps
from tests import recorded

DASH = "–"


@pytest.fixture(autouse=True)
def no_figures_left() -> Iterable[None]:
    yield
    plt.close("all")


def rows(table: pd.DataFrame, *columns: str) -> list[list[str]]:
    return [[str(value) for value in row] for row in table[list(columns)].to_numpy().tolist()]


def drawn() -> list[Axes]:
    return list(plt.gcf().axes)


def places(ax: Axes, size: float = 7) -> list[tuple[float, float]]:
    """Places of all points of a size; 7 are means."""
    lines = [line for line in ax.lines if line.get_markersize() == size]
    return [(float(x), float(y)) for line in lines for x, y in np.asarray(line.get_xydata())]


# --- readings -----------------------------------------------------------------------------


def readings(folder: Path, steps: int = 2) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two seeds of the first readings, which skip nothing, and of the released one, a fourth."""
    accuracies = [10.0, 20.0, 30.0, 40.0, 50.0]
    made = [
        recorded.variant(seed, accuracies, cache=cache)
        for seed in range(2)
        for *_, cache in walk_steps()[:steps]
    ]
    made += [
        recorded.caching(seed, "cached", [*accuracies, 99.0], skipped=15_000) for seed in range(3)
    ]
    recorded.write_all(made, folder)
    return evidence.caching_variants(folder), evidence.caching(folder)


def test_readings_end_with_the_released_one_at_the_same_epoch_and_seeds(tmp_path: Path) -> None:
    table = tables.recorded_readings(*readings(tmp_path))
    assert rows(table, "Option", "Set to", "n")[:3] == [
        [DASH, "printed", "2"], ["hit", "above", "2"], ["threshold", "running", "0"],
    ]  # fmt: skip
    last = table.to_dict("records")[-1]
    assert last["Option"] == "missing_class"
    assert last["Recorded: skipped, epoch 1 (%)"] == "25.0 (25.0 to 25.0)"
    assert last["test accuracy, epoch 2 (%)"] == "20.0 (20.0 to 20.0)"
    assert (last["threshold"], last["similarity"]) == ("0.8000", "0.9850")
    first = table.to_dict("records")[0]
    assert first["skipped, epoch 2 (%)"] == "0.0 (0.0 to 0.0)"


def test_a_panel_per_reading(tmp_path: Path) -> None:
    figures.recorded_readings(*readings(tmp_path))
    axes = [ax for ax in drawn() if ax.axison]
    assert len(axes) == len(walk_steps()) == 10
    assert axes[1].get_title() == "hit:\nabove"
    skipped = [line for line in axes[-1].lines if line.get_label() == "share skipped"]
    assert np.asarray(skipped[0].get_ydata()).tolist() == [0.25] * 2


# --- the class that is missing --------------------------------------------------------------


def test_a_mended_cache_beside_the_released_one(tmp_path: Path) -> None:
    """Two epochs of which the released cache is off in both, the mended one in none."""
    ignore = RELEASED.model_copy(update={"missing_class": "ignore"})
    small: dict[str, Any] = {"batch_size": 32}
    made = []
    for seed in range(2):
        made += [
            recorded.caching(seed, "plain", [90.0, 98.0 + seed], **small),
            recorded.caching(seed, "cached", [90.0, 97.0 + seed], **small),
            recorded.variant(seed, [90.0, 95.0 + seed], skipped=6000, cache=ignore, **small),
        ]
    recorded.write_all(made, tmp_path)
    table = tables.recorded_mended(evidence.caching_variants(tmp_path), evidence.caching(tmp_path))
    off = "Recorded: epochs without a hit"
    log = "Log: epochs without a hit"
    assert rows(table, "n", log, off, "left out (%)", "− no cache (points)") == [
        ["2", DASH, DASH, "0.0 (0.0 to 0.0)", DASH],
        ["2", "6 of 10", "2.0 (2.0 to 2.0)", "0.0 (0.0 to 0.0)", "−1.00 (−1.00 to −1.00)"],
        ["2", DASH, "0.0 (0.0 to 0.0)", "10.0 (10.0 to 10.0)", "−3.00 (−3.00 to −3.00)"],
        ["0", DASH, DASH, DASH, DASH],
    ]
    assert table["Published: test (%)"].tolist() == ["98.52", "98.77", DASH, DASH]


# --- other inputs, other images -------------------------------------------------------------


def test_input_scales_take_the_released_one_from_figure_7(tmp_path: Path) -> None:
    epochs = [float(n) for n in range(1, 6)]
    unit = recorded.caching(0, "plain", epochs, input_scale="unit", learning_rate=0.1)
    made = [recorded.caching(seed, "plain", [x + 50 for x in epochs]) for seed in range(2)]
    recorded.write_all([*made, ("caching_variants", *unit[1:])], tmp_path)
    table = tables.recorded_input_scales(
        evidence.caching_variants(tmp_path), evidence.caching(tmp_path)
    )
    found = {(row[0], row[1]): row[2:] for row in rows(table, *table)}
    assert found["255", "0.01"] == ["1", "51.0", "52.0", "53.0"]
    assert found["unit", "0.1"] == ["1", "1.0", "2.0", "3.0"]
    assert found["unit", "0.01"] == ["0", DASH, DASH, DASH]


def test_clothes_by_batch_size(tmp_path: Path) -> None:
    def run(condition: Condition, last: float) -> recorded.Made:
        values: dict[str, Any] = {"dataset": "fashion-mnist", "batch_size": 64}
        skipped = 0 if condition == "plain" else 15_000
        made = recorded.caching(0, condition, [10.0, 20.0, last], skipped=skipped, **values)
        return "caching_variants", *made[1:]

    made = [run("plain", 80.0), run("cached", 77.0), run("random", 79.0)]
    recorded.write_all(made, tmp_path)
    table = tables.recorded_clothes(evidence.caching_variants(tmp_path))
    assert rows(table, *table) == [["64", "3", "1", "25.0", "80.0", "−3.0", "−2.0"]]


# --- classes --------------------------------------------------------------------------------


def test_share_of_each_class_that_is_left_out(tmp_path: Path) -> None:
    """Of 40,000 images of the first class 10,000 are skipped, of the second none."""
    made = [recorded.caching(seed, "cached", [50.0, 60.0], skipped=10_000) for seed in range(2)]
    recorded.write_all([*made, recorded.caching(0, "plain")], tmp_path)
    table = evidence.classes(tmp_path)
    assert table[["label", "share"]].drop_duplicates().to_numpy().tolist() == [[0, 25.0], [1, 0.0]]
    assert table["threshold"].isna().tolist()[:2] == [False, True]
    figures.recorded_classes(table, [4096])
    [ax] = drawn()
    assert ax.get_title() == "batch 4096, n = 2"
    assert places(ax) == [(0.0, 25.0), (1.0, 0.0)]


def test_epochs_that_skip_nothing_do_not_count_for_a_class(tmp_path: Path) -> None:
    recorded.write_all([recorded.caching(0, "cached", skipped=10_000)], tmp_path)
    table = evidence.classes(tmp_path)
    table.loc[table["epoch"] == 2, "share"] = 0.0
    figures.recorded_classes(table, [4096])
    assert places(drawn()[0]) == [(0.0, 25.0), (1.0, 0.0)]


# --- costs ----------------------------------------------------------------------------------


def test_scoring_alone_costs_the_first_convolution(tmp_path: Path) -> None:
    plain, cached = (recorded.caching(0, c, [50.0]) for c in ("plain", "cached"))
    recorded.write_all([plain, cached], tmp_path)
    table = evidence.caching(tmp_path).replace({"condition": {"cached": "scored"}})
    found = tables.recorded_scoring(table)
    # 55,904 looked up and 60,000 scored anew, each 216,000; 60,000 trained on, each 2,686,080.
    assert rows(found, "n", "Recorded") == [["1", "1.155"]]


# --- at test time, and deeper -----------------------------------------------------------------


def test_exits_by_layer(tmp_path: Path) -> None:
    recorded.write_all([recorded.exits(seed) for seed in range(2)], tmp_path)
    found = evidence.exits(tmp_path)
    table = tables.recorded_exits(found, "mnist")
    assert rows(table, "Layer", "n", "Recorded: leave (%)", "precision (%)") == [
        ["conv1", "2", "80.0 (80.0 to 80.0)", "30.5 (30.0 to 31.0)"],
        ["conv2", "2", "0.0 (0.0 to 0.0)", DASH],
    ]
    assert tables.recorded_exits(found, "cifar10").empty
    figures.recorded_exits(found)
    left, right = drawn()
    assert left.get_title() == "base CNN, MNIST, n = 2"
    assert places(left, 5) == [(0, 80), (1, 0), (0, 30.5), (0, 98), (0, 60), (1, 60)]
    assert places(right, 5) == []


def test_depth_is_paired_with_plain_and_with_random_runs(tmp_path: Path) -> None:
    made = []
    for seed in range(2):
        made += [
            recorded.depth(seed),
            recorded.depth(seed, "conv1", 55.0 + seed),
            recorded.depth(seed, "conv1", 58.0 + seed, condition="random"),
            recorded.depth(seed, "conv2", 61.0 + seed),
        ]
    recorded.write_all(made, tmp_path)
    found = evidence.depth(tmp_path)
    table = tables.recorded_depth(found)
    assert rows(table, "Cache of", "n", "cached − plain (points)", "cached − random (points)") == [
        ["conv1", "2", "−4.5 (−5.0 to −4.0)", "−3.0 (−3.0 to −3.0)"],
        ["conv2", "2", "+1.5 (+1.0 to +2.0)", DASH],
    ]
    figures.recorded_depth(found)
    left, right = drawn()
    assert [round(y, 1) for _, y in places(left)] == [33.3, 33.3, 33.3]
    assert places(right) == [(-0.2, -4.5), (0.2, -1.5), (0.8, 1.5)]
