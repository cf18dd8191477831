"""Evidence, tables and figures of chapter 08, from records and results made by hand."""

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Annotation

from fmlib import evidence, figures, published, tables
from fmlib.experiments.ablation import VARIANTS, Random, Trained, Variant
from fmlib.experiments.transfer import Scratch, Shared, Transferred
from fmlib.models import zf_cnn
from fmlib.recipe import SMALL, ten_crops
from fmlib.transfer import Nearest
from tests import recorded, results

DASH = "–"
NOWHERE = Path("no such folder")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds: full at 80, without layers 6 and 7 at 78 %, and so on."""
    path = tmp_path_factory.mktemp("records")
    for seed in range(2):
        made = [
            recorded.ablation(seed),
            recorded.ablation(seed, "no 6, 7", 78.0),
            recorded.ablation(seed, "no 3, 4, 6, 7", 70.0, 71.0),
            recorded.ablation(seed, way="published weights", test=25.0, train=25.0),
            recorded.ablation(
                seed, way="untrained", test=60.0, train=95.0,
                validation=(), losses=(), rates=(), seconds=None, duplicates=None,
                accuracy_without_duplicates=None,
            ),
            recorded.transfer(seed),
            recorded.transfer(seed, "cifar10:cat,dog", "cifar10:frog,ship"),
        ]  # fmt: skip
        recorded.write_all(made, path)
    recorded.write_all([recorded.overlaps()], path)
    return path


def trained(train: float, test: float, seconds: float = 4.0) -> Trained:
    """A training of two epochs."""
    history = results.history([50.0, test], 0)
    epochs = tuple(epoch.model_copy(update={"seconds": seconds / 2}) for epoch in history.epochs)
    history = history.model_copy(update={"epochs": epochs})
    return Trained(zf_cnn(n_classes=4), SMALL, history, train, test)


FOUND: dict[Variant, Trained] = {
    "full": trained(70.0, 60.0),
    "no 3, 4, 6, 7": trained(66.0, 65.0, 1.0),
}
RANDOM = Random(1540, 80.0, 55.0)
MOVED = Transferred(
    (5, 20),
    {
        "trained": {"pool1": (50.0, 60.0), "act7": (45.0, 48.0)},
        "untrained": {"pool1": (42.0, 58.0), "act7": (40.0, 50.0)},
    },
    (41.0, 55.0),
    (Scratch(99.0, 38.0), Scratch(90.0, 45.0)),
    50.0,
    25.0,
)


def shared() -> list[Shared]:
    """Two sets of four test images; the second closest to training image 1, and so on."""
    near = Nearest(torch.tensor([0, 1, 2, 0]), torch.tensor([0.7, 0.96, 0.86, 0.91]))
    names = ("CIFAR-10, four classes", "MNIST")
    return [Shared(n, results.images(4, 3, 4, 4), results.images(3, 3, 4, 4), near) for n in names]


def named(table: pd.DataFrame) -> dict[str, list[str]]:
    """Rows of a table by what stands in their first column."""
    return {row[0]: row[1:] for row in table.to_numpy().tolist()}


# --- evidence ------------------------------------------------------------------------------


def test_numbers_of_networks_by_hand(records: Path) -> None:
    table = evidence.ablation(records)
    assert evidence.by_seed(table, "test_accuracy", variant="no 6, 7") == {0: 78, 1: 79}
    assert evidence.by_seed(table, "gap", variant="full", way="recipe") == {0: 10, 1: 10}
    # Those of the processor, which no other process on the machine adds to.
    assert evidence.by_seed(table, "seconds", variant="full", way="recipe") == {0: 35, 1: 35}
    epochs = evidence.ablation_by_epoch(records)
    full = epochs[(epochs["variant"] == "full") & (epochs["way"] == "recipe")]
    assert evidence.by_seed(full, "accuracy", epoch=2) == {0: 80, 1: 81}
    assert evidence.by_seed(full, "rate", epoch=2) == {0: 0.001, 1: 0.001}
    assert epochs[epochs["way"] == "untrained"].empty


def test_numbers_of_transfers_by_hand(records: Path) -> None:
    table = evidence.transfers(records)
    garments = table[table["transfer"] == "fashion-mnist-to-mnist"]
    chosen = {"features": "trained", "layer": "act3"}
    assert evidence.by_seed(garments, "accuracy", **chosen, size=200) == {0: 80, 1: 81}
    assert evidence.by_seed(garments, "accuracy", features="scratch", size=5) == {0: 35, 1: 36}
    assert len(garments) == 2 * 2 * (4 + 2)  # seeds, sizes; layers, pixels and scratch


def test_overlaps_by_hand(records: Path) -> None:
    table = evidence.overlaps(records)
    row = table[(table["sets"] == "MNIST") & (table["threshold"] == 0.9)].iloc[0]
    assert (row["count"], row["n_test"], row["n_compared"]) == (4, 2000, 6000)
    assert len(table) == 4 * 5


# --- tables --------------------------------------------------------------------------------


def test_what_is_published_of_imagenet_is_marked() -> None:
    table = tables.imagenet()
    assert table["Published"].tolist() == ["1", "1.7", "14.8"]
    assert table["Quantity"].tolist() == [*published.ZF_IMAGENET]
    assert set(table["Verdict"]) == {"*not testable here*"}
    assert set(table["Recorded"]) == set(table["This run"]) == {DASH}


def test_layers() -> None:
    table = tables.layers(zf_cnn((3, 28, 28), 4), (3, 28, 28))
    assert table.to_numpy().tolist()[0] == ["conv1", "Conv2d", "16×28×28", "1,216"]
    assert table.to_numpy().tolist()[-1] == ["fc8", "Linear", "4", "1,540"]
    assert len(table) == 8


def test_recipe_beside_the_published_one() -> None:
    table = tables.recipe(SMALL, SMALL.model_copy(update={"epochs": 2, "crop": 1.0}))
    by_name = named(table)
    assert by_name["epochs"] == ["70", str(SMALL.epochs), "2"]
    assert by_name["side of the crops, of the image's (%)"] == ["87.5", "87.5", "100"]
    assert by_name["lowered by the factor"] == ["by hand", "0.1", "0.1"]
    assert by_name["deviation of the first weights"] == ["0.01", *["√(2 / inputs)"] * 2]
    assert by_name["half of the crops are mirrored"] == ["yes"] * 3


def test_accuracies_of_all_networks(records: Path) -> None:
    table = tables.ablation(FOUND, RANDOM, 25.0, evidence.ablation(records), (3, 28, 28), 4)
    assert list(table)[3] == "Recorded, n = 2: training (%)"
    assert named(table)["full"] == [
        *("314,724", "82", "90.5 (90.0 to 91.0)", "80.5 (80.0 to 81.0)", "70.0", "60.0"),
    ]
    assert named(table)["no 6, 7"][:2] == ["55,524", "0"]
    assert named(table)["no 6, 7"][-2:] == named(table)["no 7"][-2:] == [DASH, DASH]
    control = named(table)["*control:* full, untrained, softmax on its features"]
    assert control == ["1,540", DASH, "95.5 (95.0 to 96.0)", "60.5 (60.0 to 61.0)", "80.0", "55.0"]
    assert [*named(table).values()][-1] == ["0", DASH, *["25.0"] * 4]


def test_differences_from_the_full_network(records: Path) -> None:
    table = tables.recorded_ablation_differences(evidence.ablation(records))
    assert named(table)["no 3, 4, 6, 7"] == [
        *("−10.0 (−10.0 to −10.0)", "−19.0 (−19.0 to −19.0)", "−9.0 (−9.0 to −9.0)"),
    ]
    assert named(table)["no 7"] == [DASH] * 3
    assert "full" not in named(table)


def test_ways_of_training(records: Path) -> None:
    table = tables.recorded_training_ways(evidence.ablation(records))
    assert table.iloc[0].tolist()[1:] == ["90.5 (90.0 to 91.0)", "80.5 (80.0 to 81.0)", DASH]
    weights = table.iloc[1].tolist()
    assert weights[0] == "first weights of deviation 0.01, as published"
    assert weights[-1] == "−55.0 (−55.0 to −55.0)"
    assert table.iloc[2].tolist()[1:] == [DASH] * 3


def test_times_are_those_of_the_full_network(records: Path) -> None:
    table = tables.training_seconds(FOUND, evidence.ablation(records))
    assert named(table)["no 6, 7"] == ["1.00 (1.00 to 1.00)", DASH]
    assert named(table)["no 3, 4, 6, 7"] == ["1.00 (1.00 to 1.00)", "0.25"]


def test_transfer_by_layer_and_number_of_images(records: Path) -> None:
    """Recorded are 5 and 200 images of a class; live 5 and 20."""
    table = tables.transfer(MOVED, evidence.transfers(records), "cifar10-to-cifar10")
    assert list(table) == [
        *("Softmax on", "Recorded, n = 2: 5 a class (%)", "Recorded: 20 a class (%)"),
        *("This run: 5 a class (%)", "This run: 20 a class (%)"),
    ]
    assert named(table)["act7"] == ["70.5 (70.0 to 71.0)", DASH, "45.0", "48.0"]
    assert named(table)["pool1, untrained"] == ["40.5 (40.0 to 41.0)", DASH, "42.0", "58.0"]
    assert named(table)["pixels"][2:] == ["41.0", "55.0"]
    assert named(table)["– (network from scratch)"][2:] == ["38.0", "45.0"]


def test_overlaps_by_threshold(records: Path) -> None:
    table = tables.overlaps(shared(), evidence.overlaps(records))
    name, numbers = "CIFAR-10, four classes", ["40", "20", "4", "2", "0"]
    assert table.to_numpy().tolist()[:2] == [
        [name, "Recorded", "2,000 and 6,000", *numbers],
        [name, "This run", "4 and 3", "3", "3", "2", "1", "0"],
    ]
    assert len(tables.overlaps(shared(), evidence.overlaps(NOWHERE))) == 2


def test_accuracy_without_near_duplicates(records: Path) -> None:
    table = tables.recorded_without_duplicates(evidence.ablation(records))
    assert named(table)["full"] == [
        *("2", "80.50 (80.00 to 81.00)", "80.00 (79.50 to 80.50)", "−0.50 (−0.50 to −0.50)"),
    ]
    assert named(table)["no 7"] == [DASH] * 4


def test_summary(records: Path) -> None:
    table = tables.ablation_summary(
        FOUND, MOVED, evidence.ablation(records), evidence.transfers(records)
    )
    assert table[["Recorded", "This run"]].to_numpy().tolist() == [
        ["−2.0 (−2.0 to −2.0), n = 2", DASH],
        [DASH, DASH],
        ["−10.0 (−10.0 to −10.0), n = 2", "+5.0"],
        ["+35.0 (+35.0 to +35.0), n = 2", "+7.0"],
        ["+25.0 (+25.0 to +25.0), n = 2", "+5.0"],
        ["+28.0 (+28.0 to +28.0), n = 2", "+4.0"],
    ]


@pytest.mark.parametrize(
    "make",
    [
        lambda none: tables.ablation(FOUND, RANDOM, 25.0, none, (3, 28, 28), 4),
        tables.recorded_ablation_differences,
        tables.recorded_training_ways,
        lambda none: tables.training_seconds(FOUND, none),
        tables.recorded_without_duplicates,
    ],
)
def test_without_records_there_are_dashes(make: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    table = make(evidence.ablation(NOWHERE))
    assert DASH in table.iloc[0].tolist()


# --- figures -------------------------------------------------------------------------------


def draw(figure: Callable[[], None]) -> list[Axes]:
    """Axes of a new figure, drawn."""
    plt.close("all")
    figure()
    found = plt.gcf()
    found.canvas.draw()
    return list(found.axes)


def drawn_at(line: Line2D) -> list[list[float]]:
    """Points (x, y) of a line."""
    points: list[list[float]] = np.asarray(line.get_xydata()).tolist()
    return points


def labels(axes: list[Axes]) -> list[str]:
    """The legend of the figure."""
    figure = axes[0].get_figure()
    assert figure is not None
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_crops_stand_beside_their_image() -> None:
    image = results.images(1, 3, 8, 8)
    axes = draw(lambda: figures.crops(image[0], ten_crops(image, 0.5)[0]))
    shown = [np.asarray(ax.images[0].get_array()) for ax in axes if ax.images]
    assert [picture.shape for picture in shown] == [(8, 8, 3), *[(4, 4, 3)] * 10]
    assert np.array_equal(shown[6], shown[1][:, ::-1])


def test_networks_stand_in_rows_with_training_and_test_accuracy() -> None:
    [ax] = draw(lambda: figures.ablation(FOUND, 55.0, 25.0))
    points = [at for line in ax.lines if len(drawn := drawn_at(line)) == 1 for at in drawn]
    assert points == [[70, 0], [60, 0], [66, 1], [65, 1]]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["full", "no 3, 4, 6, 7"]
    assert ax.get_xlabel() == "accuracy (%)"
    assert labels([ax]) == [
        *("training images", "test images"),
        *("control: softmax on random features", "control: always one class"),
    ]


def test_recorded_networks_stand_in_their_order(records: Path) -> None:
    [ax] = draw(lambda: figures.recorded_ablation(evidence.ablation(records)))
    assert len(ax.get_yticklabels()) == len(VARIANTS)
    assert labels([ax])[:2] == ["training images, n = 2", "test images, n = 2"]
    assert ax.get_xlim()[0] == 60
    assert [text.get_text() for text in ax.texts] == []


def test_a_network_at_chance_is_named_where_the_axis_ends(tmp_path: Path) -> None:
    made = [recorded.ablation(0), recorded.ablation(0, "no 7", 25.0, 25.0)]
    recorded.write_all(made, tmp_path)
    [ax] = draw(lambda: figures.recorded_ablation(evidence.ablation(tmp_path)))
    [text] = ax.texts
    assert isinstance(text, Annotation)
    assert text.get_text() == "◂ 25.0 %"
    assert text.xy == (60, list(VARIANTS).index("no 7") + 0.12)


def test_learning_rates_are_drawn_by_epoch(records: Path) -> None:
    left, right = draw(lambda: figures.recorded_plateau(evidence.ablation_by_epoch(records)))
    assert left.get_title() == "n = 2"
    assert [drawn_at(line)[-1][1] for line in right.lines] == [0.001, 0.001]
    assert right.get_yscale() == "log"


def test_transfer_has_a_line_for_each_layer() -> None:
    axes = draw(lambda: figures.transfer(MOVED))
    assert labels(axes) == ["pool1", "act7", "pixels", "from scratch"]
    assert [len(ax.lines) for ax in axes] == [4, 4]
    assert drawn_at(axes[0].lines[1]) == [[5, 45], [20, 48]]
    assert drawn_at(axes[1].lines[1]) == [[5, 40], [20, 50]]
    assert [ax.get_title() for ax in axes] == [
        f"features of the {kind} network" for kind in ("trained", "untrained")
    ]


def test_recorded_transfers_have_a_panel_each(records: Path) -> None:
    axes = draw(lambda: figures.recorded_transfer(evidence.transfers(records)))
    titles = [ax.get_title().replace("\n", " ") for ax in axes]
    assert titles == [
        "six classes of CIFAR-10 to four others", "garments to digits", "digits to garments"
    ]  # fmt: skip
    assert drawn_at(axes[1].lines[0]) == [[5, 70.5], [200, 80.5]]
    assert labels(axes)[0] == "softmax on trained features, n = 2"


def test_recorded_layers_begin_with_pixels(records: Path) -> None:
    """Means over 5 and 200 images: pixels 47, layers 55 and 75 (plus the seed)."""
    axes = draw(lambda: figures.recorded_layers(evidence.transfers(records)))
    assert [y for _, y in drawn_at(axes[1].lines[0])] == [47.5, 55.5, 75.5]
    assert [text.get_text() for text in axes[1].get_xticklabels()] == ["pixels", "act1", "act3"]


def test_closest_pairs_stand_above_each_other() -> None:
    axes = draw(lambda: figures.closest(shared(), count=2))
    assert [ax.get_title() for ax in axes[:2]] == ["0.960", "0.910"]
    assert axes[0].get_ylabel() == "test"
    assert axes[2].get_ylabel().replace("\n", " ") == "training: CIFAR-10, four classes"
    one = shared()[0]
    above = np.asarray(axes[0].images[0].get_array())
    assert np.allclose(above, one.images[1].permute(1, 2, 0).numpy())
    below = np.asarray(axes[2].images[0].get_array())
    assert np.allclose(below, one.others[1].permute(1, 2, 0).numpy())


@pytest.mark.parametrize(
    "figure",
    [
        lambda: figures.recorded_ablation(evidence.ablation(NOWHERE)),
        lambda: figures.recorded_plateau(evidence.ablation_by_epoch(NOWHERE)),
        lambda: figures.recorded_transfer(evidence.transfers(NOWHERE)),
        lambda: figures.recorded_layers(evidence.transfers(NOWHERE)),
    ],
)
def test_without_records_nothing_fails(figure: Callable[[], None]) -> None:
    draw(figure)
