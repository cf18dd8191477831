"""Tables and figures of chapter 09, from records and trainings made by hand."""

import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from fmlib import evidence, figures, tables
from fmlib.experiments import similar_kernels
from fmlib.experiments.similar_kernels import Edge
from fmlib.experiments.similar_training import CONDITIONS, Condition, Course
from fmlib.experiments.similarity import Cached
from tests import recorded, toy

DASH = "–"
NOWHERE = Path("no results")
SMALL = recorded.measures(0.5, loss=0.02, norms=0.1)
"""A hundredth of the loss: a twentieth by norms, a fifth by dissimilarity."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of everything."""
    results = tmp_path_factory.mktemp("similar")
    for seed in range(2):
        made = []
        for condition in CONDITIONS:
            begun = SMALL if condition == "initialized" else None
            accuracy = 92.0 + seed if condition == "initialized" else 90.0
            made.append(recorded.similar(seed, condition, accuracy, begun=begun))
            made.append(recorded.similar(seed, condition, network="compact_cnn"))
        for condition in ("baseline", "initialized", "complete"):
            made.append(recorded.similar(seed, condition, 80.0, network="compact_cnn", width=0.5))
            made.append(recorded.similar(seed, condition, steps="momentum"))
            made.append(recorded.similar_cache(seed, condition, 40.0 + seed))
        made.append(recorded.similar(seed, "initialized", 91.0, iterations=50))
        made.append(recorded.similar_resnet(seed, "baseline", 8, 60.0))
        made.append(recorded.similar_resnet(seed, "initialized", 8, 61.0 + seed))
        recorded.write_all(made, results)
    return results


@pytest.fixture(scope="module")
def known(path: Path) -> pd.DataFrame:
    return evidence.similarity(path)


def courses() -> dict[Condition, Course]:
    """A baseline, an initialization that lowers the loss, a regularizer that does after it."""
    plain = recorded.course(90.0, 60.0, recorded.measures())
    lower = recorded.course(91.5, 60.0, SMALL)
    trained = recorded.measures(0.3, loss=4.0, norms=4.0)
    regularized = plain.model_copy(update={"trained": trained, "minimized": ()})
    found: dict[Condition, Course] = {
        "baseline": plain.model_copy(update={"minimized": (), "minimized_at": ()}),
        "initialized": lower,
        "regularized": regularized.model_copy(update={"minimized_at": ()}),
        "restored": lower,
        "complete": lower,
    }
    return found


# --- evidence ------------------------------------------------------------------------------


def test_numbers_of_a_run_by_hand(known: pd.DataFrame) -> None:
    usual = known[known["network"].eq("base_cnn") & known["steps"].eq("sgd")]
    found = usual[usual["condition"].eq("initialized") & usual["iterations"].eq(500)]
    numbers: dict[str, float] = dict(
        found[found["seed"].eq(1)][["quantity", "value"]].itertuples(index=False)
    )
    assert (numbers["accuracy"], numbers["early"], numbers["train"]) == (93, 60, 95)
    assert numbers["late"] == pytest.approx((50 + 60 + 93) / 3)
    assert numbers["begun scale_free"] == pytest.approx(0.2)
    assert (numbers["begun maps"], numbers["begun activations"]) == (0.5, 0.25)
    assert numbers["trained dead"] == 10
    assert set(known["parameters"]) == {500, 1000}


def test_diverged_trainings_have_no_accuracy(tmp_path: Path) -> None:
    name, config, result = recorded.similar(0)
    stopped = result.model_copy(update={"diverged": True, "test_accuracies": ()})
    recorded.write_all([(name, config, stopped)], tmp_path)
    table = evidence.similarity(tmp_path)
    assert (
        table[table["quantity"].isin(["accuracy", "early", "late", "train", "loss"])]["value"]
        .isna()
        .all()
    )


def test_epochs_are_numbered_from_one(path: Path) -> None:
    table = evidence.similarity_by_epoch(path)
    one = table[(table["condition"] == "baseline") & (table["seed"] == 0) & (table["width"] == 1)]
    rows = one[one["steps"].eq("sgd") & one["network"].eq("base_cnn")]
    assert rows["epoch"].tolist() == [1, 2, 3]
    assert rows["similarity"].tolist() == [4, 6, 8]
    assert rows["test_accuracy"].tolist() == [50, 60, 90]


def test_falls_of_every_run_by_hand(known: pd.DataFrame) -> None:
    """Only the initialization begins otherwise than the baseline; here all end as it does."""
    lower = evidence.similarity_falls(known)
    assert len(lower) == 2 * (2 * (len(CONDITIONS) - 1) + 2 * 2 + 1)
    own = lower[lower["network"].eq("base_cnn") & lower["steps"].eq("sgd")]
    for iterations, condition, time, factors in (
        (500, "initialized", "begun", [100, 20, 5]),
        (50, "initialized", "trained", [1, 1, 1]),
        (500, "decay", "trained", [1, 1, 1]),
    ):
        rows = own[own["condition"].eq(condition) & own["iterations"].eq(iterations)]
        assert rows["time"].tolist() == [time] * 2
        found = rows[["loss", "norms", "scale_free"]].to_numpy().tolist()
        assert found == [pytest.approx(factors)] * 2
    assert evidence.similarity_falls(evidence.similarity(NOWHERE)).empty


# --- tables --------------------------------------------------------------------------------


def test_edges_of_rounding_alone_are_told_from_others() -> None:
    edges = {"grey": [Edge("full, 4", "each with each", 1e-16, 1e-15)],
             "colour": [Edge("none, 0", "each with each", 0.125, 0.5)]}  # fmt: skip
    assert tables.edge_terms(edges).to_numpy().tolist() == [
        ["grey", "full, 4", "one", "rounding", "rounding"],
        ["colour", "none, 0", "each with each", "12.50 %", "50.00 %"],
    ]


def test_falls_by_hand() -> None:
    """0.02 of 2 is 1/100: 1/20 by norms and 1/5 by the rest; after training 4 of 8 is 1/2."""
    found = tables.falls(courses())
    assert found["initialized"] == pytest.approx((1 / 20, 1 / 5))
    assert found["regularized"] == pytest.approx((1, 1 / 2))
    assert "baseline" not in found


def test_decomposition_shows_medians_beside_this_run(known: pd.DataFrame) -> None:
    table = tables.decomposition(courses(), known)
    assert table.iloc[0].tolist() == [
        *("initialization", "before training", "100.0 times", "20.0 times", "5.0 times"),
        *("100.0 times", "20.0 times", "5.0 times"),
    ]
    assert table.iloc[1, 1:].tolist() == [
        *("after training", "1.0 times", "1.0 times", "1.0 times"),
        *("2.0 times", "1.0 times", "2.0 times"),
    ]
    assert list(table)[2] == "Recorded, n = 2: loss lower"
    nothing = tables.decomposition(courses(), evidence.similarity(NOWHERE))
    assert set(nothing["of it norms"]) == {DASH}


def test_measures_of_a_network(known: pd.DataFrame) -> None:
    table = tables.recorded_measures(known, "base_cnn", "begun", ("baseline", "initialized"))
    assert table.to_numpy().tolist() == [
        ["baseline", "2", "2", "1", "1", "0.0200", "0.400", "0.200", "10.0", "2"],
        ["initialization", "0.02", "0.1", "0.2", "1", "0.0200", "0.500", "0.250", "10.0", "2"],
    ]
    empty = tables.recorded_measures(evidence.similarity(NOWHERE), "base_cnn", "begun", ["unit"])
    assert empty.iloc[0].tolist()[1:-1] == [DASH] * 8


def test_accuracy_by_condition(known: pd.DataFrame) -> None:
    table = tables.condition_accuracy(courses(), known)
    assert len(table) == len(CONDITIONS)
    assert table.iloc[0].tolist() == [
        "baseline",
        "90.0 (90.0 to 90.0)",
        "90.0 (90.0 to 90.0)",
        "90.0",
    ]
    assert table.iloc[1].tolist()[1] == "92.5 (92.0 to 93.0)"
    assert table.iloc[3].tolist()[3] == DASH


def test_caches(path: Path) -> None:
    found = Cached(nearest_begun=30, nearest=31, skipped=32, test_accuracy=33, map_cosine=0.34)
    table = tables.similar_caches({"complete": found}, evidence.similar_caches(path))
    assert table.to_numpy().tolist() == [
        ["initialization, unit norms, all pairs (recorded, n = 2)", "0.25 (0.25 to 0.25)",
         "35.0 (35.0 to 35.0)", "40.5 (40.0 to 41.0)", "30.0 (30.0 to 30.0)",
         "80.0 (80.0 to 80.0)"],
        ["this run", "0.34", "30.0", "31.0", "32.0", "33.0"],
    ]  # fmt: skip


def test_smaller_networks_beside_as_small_and_whole_ones(known: pd.DataFrame) -> None:
    """Of made-up records half of the maps end at 80 percent, and the whole network at 90."""
    table = tables.smaller_networks(known)
    assert table["Maps"].tolist() == ["0.25", "", "0.5", "", "1", ""]
    assert table.iloc[3].tolist()[1:] == [
        *("initialization, unit norms, all pairs", "2", "+0.0 (+0.0 to +0.0)"),
        *("+0.0 (+0.0 to +0.0)", "−10.0 (−10.0 to −10.0)"),
    ]
    assert table.iloc[0].tolist()[2:] == ["0", DASH, DASH, DASH]


def test_resnet_of_one_width(path: Path) -> None:
    table = tables.recorded_resnet(evidence.resnet_similarity(path))
    assert table.to_numpy().tolist() == [
        ["8", "baseline", "60.0 (60.0 to 60.0)", "60.0 (60.0 to 60.0), n = 2", DASH, DASH],
        ["", "initialization", "60.0 (60.0 to 60.0)", "61.5 (61.0 to 62.0), n = 2",
         "+1.5 (+1.0 to +2.0)", "+0.5 (+0.3 to +0.7)"],
        ["", "initial weights shrunk alike", *[DASH] * 4],
        ["16", "baseline", *[DASH] * 4],
        ["", "initialization", *[DASH] * 4],
        ["", "initial weights shrunk alike", *[DASH] * 4],
    ]  # fmt: skip


def test_measures_of_resnet_before_and_after(path: Path) -> None:
    table = tables.resnet_measures(evidence.resnet_similarity(path))
    assert table["Width"].tolist() == [
        *("8, before", "", "", "8, after", "", "", "16, before", "", "", "16, after", "", ""),
    ]
    before, after = table.iloc[1], table.iloc[4]
    assert before.tolist()[1:] == [
        *("initialization", "2", "2", "1", "1", "0.0200", "0.400", "0.200", "10.0", "2"),
    ]
    assert after[["Loss", "Norms", "Scale-free"]].tolist() == ["8", "4", "2"]
    assert table.iloc[6].tolist()[2:-1] == [DASH] * 8


def test_similarity_summary(known: pd.DataFrame) -> None:
    table = tables.similarity_summary(courses(), known)
    assert table[["Recorded", "This run"]].to_numpy().tolist()[:2] == [
        ["+0.10 (+0.10 to +0.10), n = 2", "+0.10"],
        ["+2.5 (+2.0 to +3.0), n = 2", "+1.5"],
    ]
    assert set(table["Published"]) == {DASH}


# --- figures -------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _closed() -> None:
    plt.close("all")


def axes() -> list[Axes]:
    figure = plt.gcf()
    figure.canvas.draw()
    return list(figure.axes)


def test_kernels_stand_beside_their_maps() -> None:
    figures.kernels_and_maps(similar_kernels.counterexample(toy.random_images(1, size=12)[0]))
    drawn = axes()
    assert len(drawn) == 12
    assert drawn[0].get_ylabel() == "two averages of\nother pixels"
    assert drawn[0].get_title(loc="left").startswith("kernels: cosine 0.00, similarity ")
    assert drawn[2].get_title(loc="left").startswith("maps: cosine ")


def test_studies_and_chain() -> None:
    figures.one_dimensional(similar_kernels.studies(4, 0), similar_kernels.chain(4, 0))
    left, right = axes()
    _, labels = left.get_legend_handles_labels()
    assert labels == ["kernel cosine minimized", "convolutional similarity minimized"]
    assert [tick.get_text() for tick in right.get_xticklabels()][:2] == ["1, 2", "1, 3"]


def test_curves_and_falls() -> None:
    figures.similarity_curves(courses(), ("baseline", "initialized"))
    left, right = axes()
    assert np.asarray(left.lines[0].get_xydata()).tolist() == [[0, 2], [500, 0.5]]
    assert [len(np.asarray(line.get_xdata())) for line in right.lines] == [4, 4]
    plt.close("all")
    figures.falls(tables.falls(courses()))
    [ax] = axes()
    widths = [bar.get_width() for bar in ax.patches[:4] if isinstance(bar, Rectangle)]
    assert widths == pytest.approx([math.log10(20), math.log10(5), 0, math.log10(2)])


def test_trainings_are_drawn_by_epoch(path: Path) -> None:
    figures.shallow_training({"base_cnn": courses()})
    loss, accuracy = axes()
    assert loss.get_yscale() == "log"
    assert np.asarray(accuracy.lines[0].get_xydata()).tolist() == [[1, 50], [2, 70], [3, 95]]
    plt.close("all")
    figures.recorded_training(evidence.similarity_by_epoch(path), ("baseline", "initialized"))
    assert [ax.get_title() for ax in axes()] == ["CNN1 (MNIST)", "", "CNN2 (CIFAR-10)", ""]
    [legend] = plt.gcf().legends
    assert [text.get_text() for text in legend.get_texts()] == [
        *("baseline, n = 2", "initialization, n = 2"),
    ]


def test_resnet_is_drawn_by_width(path: Path) -> None:
    figures.resnet_training(evidence.resnet_by_epoch(path))
    drawn = axes()
    assert [ax.get_title() for ax in drawn] == ["width 8", "", "width 16", ""]
    assert [ax.get_ylabel() for ax in drawn[::-1]][::2] == ["test accuracy (%)"] * 2
    means = [np.asarray(line.get_ydata()).tolist() for line in drawn[1].lines]
    assert means == [[50, 60, 60], [50, 60, 61.5]]
    assert not drawn[3].lines


def test_every_run_is_a_point(known: pd.DataFrame) -> None:
    lower = evidence.similarity_falls(known)
    figures.recorded_falls(lower)
    norms, alike = axes()
    assert (norms.get_xlabel(), alike.get_xlabel()) == (
        *("norms: times lower", "scale-free value: times lower"),
    )
    assert norms.get_xlim() == alike.get_xlim()
    labels = [tick.get_text().replace("\n", " ") for tick in norms.get_yticklabels()]
    assert labels[0] == "initialization"
    assert labels[-1] == "DeCov (after training)"
    drawn = [np.asarray(line.get_xydata()) for line in norms.lines[:2]]
    assert sum(map(len, drawn)) == len(lower)
    assert [times for times, place in drawn[0] if place < 0.5] == pytest.approx([20, 20])


def test_recorded_gains_and_further_numbers(known: pd.DataFrame) -> None:
    figures.recorded_gains(known, {"accuracy": "points"})
    left, right = axes()
    assert left.get_title() == "CNN1 (MNIST), n = 2"
    assert left.get_yticklabels()[0].get_text() == "initialization"
    low, high = left.get_ylim()
    assert low > high
    plt.close("all")
    figures.recorded_smaller(known)
    by_iterations, by_size, by_steps = axes()
    assert [tick.get_text() for tick in by_iterations.get_xticklabels()] == ["0", "50", "500"]
    assert by_size.get_xscale() == "log"
    assert by_steps.get_ylabel() == "gain over the baseline (points)"
    assert right.get_xlabel() == "points"


def test_without_records_nothing_fails() -> None:
    nothing = evidence.similarity(NOWHERE)
    figures.recorded_gains(nothing, {"accuracy": "points"})
    figures.recorded_smaller(nothing)
    figures.recorded_falls(evidence.similarity_falls(nothing))
    figures.recorded_training(evidence.similarity_by_epoch(NOWHERE), ("baseline",))
    figures.resnet_training(evidence.resnet_by_epoch(NOWHERE))
    assert axes()
