"""Inversion and dissection in the chapter: refusals, measures, tables, figures, recorded runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.axes import Axes

from fmlib import chapters, evidence, figures, records, tables
from fmlib.experiments import dissection, inversion, looks
from fmlib.experiments.dissection import Chance, DissectionRun, InversionSettings, ShownUnit
from fmlib.experiments.grids import EXPERIMENTS
from fmlib.experiments.inversion import InversionRun, Inverted, Task
from fmlib.experiments.looks import Network
from fmlib.visualization.concepts import Concept, ConceptImages
from fmlib.visualization.dissection import Dissection
from fmlib.visualization.inversion import mean_distance
from fmlib.visualization.net2vec import Combinations
from fmlib.visualization.quantiles import Thresholds
from tests import made_up, recorded, results, toy

NAME = "inversion_and_dissection"
NOWHERE = Path("no such folder")
DASH = "–"
TINY: dict[str, Any] = {
    "dataset": "cifar10:frog,ship",
    "n_train": 60, "n_test": 40, "batch_size": 20, "epochs": 1, "shown_epochs": (0, 1),
    "n_inverted": 2, "steps": 2, "n_decoder": 20, "decoder_epochs": 1, "n_concepts": 30,
    "n_combined": 20,
}  # fmt: skip


@pytest.fixture(scope="module")
def settings() -> InversionSettings:
    found: InversionSettings = chapters.settings(NAME, "smoke", **TINY)
    return found


@pytest.fixture(scope="module")
def network(settings: InversionSettings) -> Network:
    return looks.train(settings, 0)


@pytest.mark.parametrize(("dataset", "channels"), [("cifar10:frog,ship", 3), ("mnist", 1)])
def test_concepts_have_the_channels_of_the_images(dataset: str, channels: int) -> None:
    run = DissectionRun(dataset=dataset, seed=0)
    coloured = ConceptImages(20, 0, 32, 20)
    for seen in (run.labelled(20, 0), run.as_seen(coloured)):
        assert seen.concepts == coloured.concepts
        for one, original in zip(seen, coloured, strict=True):
            assert one.images.shape == (20, channels, 32, 32)
            mean = original.images.mean(dim=1)
            assert torch.allclose(one.images.mean(dim=1), mean.to(one.images))
            assert torch.equal(one.labels, original.labels)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"layers": ["act1", "fc"]}, ["layers holds 'fc', which has no feature maps", "pool3"]),
        ({"layers": ["act1"]}, ["layers is ['act1']", "at least 2"]),
        ({"shown_epochs": [1, 0]}, ["shown_epochs is [1, 0]; give ascending"]),
        ({"shown_epochs": [0, 5]}, ["shown_epochs is [0, 5]", "epochs = 1"]),
        ({"concepts": "broden"}, ["concepts is 'broden'; choose generated or broden:PATH"]),
        ({"n_concepts": 10}, ["n_concepts is 10", "greater than or equal to 20"]),
        ({"steps": 0}, ["steps is 0"]),
    ],
)
def test_what_cannot_be_looked_at_is_refused(given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        chapters.settings(NAME, "smoke", **given)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "\n" not in str(caught.value)


def test_a_missing_folder_of_concepts_is_refused_before_any_work() -> None:
    with pytest.raises(FileNotFoundError, match=r"index.csv is missing; give a folder in Broden"):
        chapters.settings(NAME, "smoke", concepts="broden:nowhere")


# --- experiments ----------------------------------------------------------------------------


def test_errors_and_similarity_of_the_images_themselves() -> None:
    images = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(0)).double()
    given = Task(images, images, mean_distance(images))
    same = given.measured("act1", images)
    assert same.errors.tolist() == [0] * 4
    torch.testing.assert_close(same.similarity, torch.ones(4).double())
    shifted = given.measured("act1", images.roll(1, dims=0))
    assert 0.9 < shifted.errors.mean() < 1.1


def test_the_mean_image_by_hand() -> None:
    """Images of 0 and 1 everywhere lie half of their distance from their mean."""
    images = toy.flat_images(0.0, 1.0)
    assert inversion.mean_image_error(Task(images, images, mean_distance(images))) == 0.5


def test_the_weight_of_the_nearest_pictures_is_chosen(
    settings: InversionSettings, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors 1 and 3 of two networks at weight 1, 2 and 1 at weight 10, more at the others."""
    errors = {(0.1, 0): 9.0, (1.0, 0): 1.0, (10.0, 0): 2.0, (100.0, 0): 9.0}
    errors |= {(0.1, 1): 9.0, (1.0, 1): 3.0, (10.0, 1): 1.0, (100.0, 1): 9.0}
    models = inversion.states(network)

    def look(model: Any, layer: str, given: Task, weight: float, *_: Any) -> Inverted:
        assert torch.equal(given.images, given.train_images[:6])
        which = int(model is models["untrained"])
        value = torch.tensor([errors[weight, which]])
        return Inverted(layer, given.images, value, value)

    monkeypatch.setattr(inversion, "by_gradient", look)
    found = inversion.best_variations(settings, models, inversion.task(settings), 0)
    assert found == dict.fromkeys(("act1", "act2", "act3", "fc"), 10.0)


def test_layers_are_inverted_at_the_epochs_shown(
    settings: InversionSettings, network: Network
) -> None:
    given = inversion.task(settings)
    weights = dict.fromkeys(inversion.looked_into(settings, network.model), 1.0)
    found = inversion.by_epoch(settings, network, given, weights, 0)
    assert list(found) == [0, 1]
    before = inversion.states(network)["untrained"]
    again = inversion.by_gradient(before, "act2", given, 1.0, settings.steps, 0)
    assert torch.equal(again.pictures, found[0]["act2"].pictures)
    assert list(found[1]) == ["act1", "act2", "act3", "fc"]


def test_batches_of_labelled_images_are_never_small(settings: InversionSettings) -> None:
    for count, sizes in ((30, [30]), (100, [100]), (101, [51, 50]), (1010, [92] * 10 + [90])):
        batches = settings.labelled(count, 0)
        assert [len(batch.images) for batch in batches] == sizes


def test_units_are_shown_where_they_are_most_active(
    settings: InversionSettings, network: Network
) -> None:
    (found,) = dissection.dissections(
        settings.model_copy(update={"layers": ("act1",)}), network.model, 0
    )
    best, middle = dissection.shown_units(settings, network.model, found, 0, columns=3)
    assert best.iou == found.best.max()
    assert middle.iou == found.best.sort(descending=True).values[12]
    counts = best.active.sum(dim=(1, 2)).tolist()
    assert counts == sorted(counts, reverse=True)
    assert best.images.shape == (3, 3, 32, 32)


def test_chance_falls_with_the_number_of_images(
    settings: InversionSettings, network: Network
) -> None:
    few, many = dissection.chance(settings, network.model, "act3", 0, (20, 200))
    assert few.images == 20
    assert few.shuffled > many.shuffled
    assert few.share >= many.share
    assert many.shuffled < many.own


def test_a_run_records_what_the_functions_say(tmp_path: Path) -> None:
    run = InversionRun.model_validate({"seed": 0, "precision": "float64", **{
        name: value for name, value in TINY.items() if name not in ("n_concepts", "n_combined")
    }})  # fmt: skip
    found = run.run()
    network, given = looks.train(run, 0), inversion.task(run)
    weights = inversion.best_variations(run, inversion.states(network), given, 0)
    assert found.variations == weights
    last = inversion.all_by_gradient(run, network.model, given, weights, 0)
    for layer, one in last.items():
        assert found.errors["gradient"][layer][-1] == one.errors.mean().item()
        assert found.similarities["gradient"][layer][-1] == one.similarity.mean().item()
    path = made_up.write(tmp_path, "inversion", run, found)
    assert records.read_all("inversion", tmp_path).records
    assert path.stem.startswith("compact-cnn-60-seed-0")


def test_a_recorded_dissection(tmp_path: Path) -> None:
    names = ("n_inverted", "steps", "n_decoder", "decoder_epochs")
    given = {name: value for name, value in TINY.items() if name not in names}
    run = DissectionRun.model_validate({"seed": 0, "precision": "float64", **given})
    found = run.run()
    network = looks.train(run, 0)
    (first, *_) = dissection.dissections(run, network.model, 0)
    assert found.units["trained"]["act1"].iou == first.best.mean().item()
    assert found.units["trained"]["act1"].shuffled == first.shuffled.mean().item()
    assert sum(found.units["untrained"]["act3"].categories.values()) == 64
    combined = found.combined["trained"]["act3"]
    weights = {"colour": 6, "texture": 5, "shape": 5, "part": 5}
    parts = [n * combined.categories[kind]["single"] for kind, n in weights.items()]
    assert combined.single == pytest.approx(sum(parts) / 21)
    assert list(found.chance) == [20, 60, 100, 200, 500]
    made_up.write(tmp_path, "dissection", run, found)
    assert records.read_all("dissection", tmp_path).records


def test_recorded_runs_are_of_bundled_images_and_at_least_three_seeds() -> None:
    for name in ("inversion", "dissection"):
        runs = EXPERIMENTS[name].grid()
        assert len({run.seed for run in runs}) == len(runs) >= 3
        for run in runs:
            run.check_data()


# --- live results made by hand ------------------------------------------------------------


def inverted(error: float) -> dict[str, Inverted]:
    """Two layers and the output; errors rise by a tenth from one to the next."""
    pictures = results.images(2, 3, 8, 8)
    return {
        layer: Inverted(layer, pictures, torch.full((2,), error + more), torch.full((2,), 0.5))
        for layer, more in (("act1", 0.0), ("act3", 0.1), ("fc", 0.2))
    }


LIVE: Any = {
    "gradient": {"trained": inverted(0.2), "untrained": inverted(0.1)},
    "up-convolution": {"trained": inverted(0.3)},
}
CONCEPTS = (Concept("red", "colour"), Concept("disc", "shape"))


def dissected(layer: str, more: float = 0.0) -> Dissection:
    """Two units, a detector of red at 0.5 and one of discs at 0.1; shuffled ones reach 0.1."""
    iou = torch.tensor([[0.5 + more, 0.0], [0.0, 0.1]])
    levels = Thresholds(*torch.ones(3, 2))
    return Dissection(layer, CONCEPTS, levels, iou, torch.full((19, 2), 0.1))


UNITS: Any = {
    "trained": [dissected("act1"), dissected("act3")],
    "untrained": [dissected("act1", -0.2), dissected("act3", -0.2)],
}


def combined() -> Combinations:
    numbers = [torch.tensor([low, low + 0.2]) for low in (0.1, 0.2, 0.3, 0.25)]
    return Combinations("act3", CONCEPTS, torch.ones(2, 2), torch.tensor([0, 1]), *numbers)


COMBINED: Any = {"trained": [combined()], "untrained": [combined()]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    recorded.write_all([recorded.inversion(0), recorded.dissection(0)], tmp_path)
    return tmp_path


def test_table_of_inversion(folder: Path) -> None:
    table = tables.inversion(LIVE, 0.7, evidence.inverted(folder), evidence.inversion(folder))
    assert list(table)[2] == "Recorded, n = 1: distance (%)"
    assert table.to_numpy().tolist() == [
        ["act1", "gradient descent", "1.0", "−9.0", "20.0", "10.0"],
        ["act1", "up-convolutional network", "10.0", "0.0", "30.0", DASH],
        ["act3", "gradient descent", "50.0", "40.0", "30.0", "20.0"],
        ["act3", "up-convolutional network", "40.0", "30.0", "40.0", DASH],
        ["fc", "gradient descent", "80.0", "70.0", "40.0", "30.0"],
        ["fc", "up-convolutional network", "60.0", "50.0", "50.0", DASH],
        ["none", "mean image", "70.0", DASH, "70.0", DASH],
    ]
    empty = tables.inversion(LIVE, 0.7, evidence.inverted(NOWHERE), evidence.inversion(NOWHERE))
    assert set(empty.iloc[:, 2]) == {DASH}


def test_table_of_units(folder: Path) -> None:
    """One of two units is beyond its shuffled selves."""
    table = tables.dissection(UNITS, evidence.dissected(folder))
    assert table.to_numpy().tolist()[0] == [
        "trained", "act1", "10.0", "2.0", "90.0", "30.0", "10.0", "50",
    ]  # fmt: skip
    assert table.iloc[2].tolist()[:3] == ["before training", "act1", "8.0"]
    assert len(tables.dissection(UNITS, evidence.dissected(NOWHERE))) == 4


def test_table_of_labels(folder: Path) -> None:
    table = tables.unit_labels(UNITS, evidence.dissected_kinds(folder))
    assert table.iloc[0].tolist() == ["trained", "act1", "75; 50", "25; 50"]


def test_table_of_chance(folder: Path) -> None:
    live = [Chance(20, 0.1, 0.03, 12.5)]
    table = tables.chance(live, evidence.by_chance(folder))
    assert table.to_numpy().tolist() == [["20", "7.0", "2.0", "17.0", "10.0", "3.0", "12.5"]]


def test_table_of_combinations(folder: Path) -> None:
    table = tables.combinations(COMBINED, ["act1", "act3"], evidence.combined(folder))
    assert table.to_numpy().tolist()[:4] == [
        ["trained", "act1", "as published", "5.0", "9.0", DASH, DASH],
        ["trained", "act1", "freely", "10.0", "11.0", DASH, DASH],
        ["trained", "act3", "as published", "5.0", "9.0", "20.0", "30.0"],
        ["trained", "act3", "freely", "10.0", "11.0", "40.0", "35.0"],
    ]
    assert len(table) == 8


def test_summary(folder: Path) -> None:
    def summary(path: Path) -> pd.DataFrame:
        found = evidence.inverted(path), evidence.dissected(path), evidence.combined(path)
        return tables.inside_summary(LIVE, UNITS, COMBINED, *found)

    assert summary(folder)[["Recorded", "This run"]].to_numpy().tolist() == [
        ["50.0, n = 1", "30.0"],
        ["40.0, n = 1", "40.0"],
        ["+8.0, n = 1", "+20.0"],
        ["+6.0, n = 1", "+10.0"],
        ["+4.0, n = 1", "+10.0"],
        ["+1.0, n = 1", "−5.0"],
    ]
    assert set(summary(NOWHERE)["Recorded"]) == {DASH}


# --- figures ------------------------------------------------------------------------------


def coordinates(ax: Axes, line: int, axis: int) -> list[float]:
    """Places of a line along the horizontal (0) or the vertical axis (1)."""
    found: list[float] = np.asarray(ax.lines[line].get_xydata())[:, axis].tolist()
    return found


@pytest.fixture
def canvas() -> Iterator[None]:
    """Draw into memory, and leave no figure behind."""
    plt.switch_backend("Agg")
    with plt.rc_context({"figure.constrained_layout.use": True}):
        yield
        assert len(plt.get_fignums()) == 1
        plt.gcf().canvas.draw()
    plt.close("all")


@pytest.mark.usefixtures("canvas")
def test_every_way_and_layer_has_a_row() -> None:
    images = results.images(2, 3, 8, 8)
    ways: Any = {"gradient": inverted(0.1), "up-convolution": inverted(0.2)}
    figures.inverted(images, ways)
    labels = [ax.get_ylabel() for ax in plt.gcf().axes if ax.get_ylabel()]
    assert labels == [
        "image",
        *(f"{n}\n{w}" for n in ways["gradient"] for w in ("gradient", "network")),
    ]
    assert all(ax.images for ax in plt.gcf().axes)


@pytest.mark.usefixtures("canvas")
def test_pictures_by_epoch_say_their_distance() -> None:
    figures.inverted_by_epoch(results.images(1, 3, 8, 8)[0], {0: inverted(0.1), 2: inverted(0.3)})
    axes = plt.gcf().axes
    assert [ax.get_title() for ax in axes[:3]] == ["image", "before", "epoch 2"]
    assert [ax.get_xlabel() for ax in axes[:3]] == ["", "10 %", "30 %"]


@pytest.mark.usefixtures("canvas")
def test_recorded_inversion(folder: Path) -> None:
    figures.recorded_inversion(evidence.inverted(folder), evidence.inversion(folder))
    (legend,) = plt.gcf().legends
    assert [text.get_text() for text in legend.get_texts()][-4:] == [
        "gradient, trained, n = 1", "gradient, before training, n = 1",
        "up-convolution, trained, n = 1", "up-convolution, before training, n = 1",
    ]  # fmt: skip
    assert [tick.get_text() for tick in plt.gca().get_xticklabels()] == [
        "act1", "act2", "act3", "fc",
    ]  # fmt: skip


@pytest.mark.usefixtures("canvas")
def test_recorded_inversion_by_epoch(folder: Path) -> None:
    figures.recorded_inversion_by_epoch(evidence.inverted(folder))
    left, right = plt.gcf().axes
    assert (left.get_title(), right.get_title()) == ("gradient, n = 1", "up-convolution, n = 1")
    assert len(left.lines) == len(right.lines) == 4
    assert coordinates(right, 2, 1) == [pytest.approx(30), pytest.approx(40)]


@pytest.mark.usefixtures("canvas")
@pytest.mark.parametrize("name", ["recorded_inversion", "recorded_inversion_by_epoch"])
def test_nothing_recorded_is_drawn_as_nothing(name: str) -> None:
    given = [evidence.inverted(NOWHERE), evidence.inversion(NOWHERE)]
    getattr(figures, name)(*given[: 1 + (name == "recorded_inversion")])


@pytest.mark.usefixtures("canvas")
def test_concept_images_name_their_masks() -> None:
    images = ConceptImages(4, 0, block=4)
    batch = next(iter(images))
    figures.concept_images(batch, images.concepts, columns=3)
    axes = plt.gcf().axes
    number = int(batch.labels[0, 2].max())
    assert axes[3 * 3].get_xlabel() == images.concepts[number - 1].name
    assert [ax.get_ylabel() for ax in axes[::3]] == ["image", "colour", "texture", "shape", "part"]


@pytest.mark.usefixtures("canvas")
def test_units_are_outlined_where_they_are_active() -> None:
    active = torch.zeros(1, 4, 4, dtype=torch.bool)
    active[0, 1:3, 1:3] = True
    figures.units([ShownUnit("act1", 7, CONCEPTS[0], 0.5, torch.ones(1, 3, 4, 4), active)])
    (ax,) = plt.gcf().axes
    (outline,) = ax.collections
    (path,) = outline.get_paths()
    corners = torch.tensor(path.vertices)
    assert corners.amin(dim=0).tolist() == [0.5, 0.5]
    assert corners.amax(dim=0).tolist() == [2.5, 2.5]
    assert ax.get_ylabel() == "act1, 7\nred\n50 %"


@pytest.mark.usefixtures("canvas")
def test_overlaps_of_units_and_shuffled_ones() -> None:
    figures.overlaps(UNITS)
    left, right = plt.gcf().axes
    assert (left.get_title(), right.get_title()) == ("trained", "before training")
    assert coordinates(left, 1, 1) == [50, 10]
    assert coordinates(right, 1, 1) == [pytest.approx(30), 10]


@pytest.mark.usefixtures("canvas")
def test_combinations_concept_by_concept() -> None:
    figures.combinations(combined())
    left, right = plt.gcf().axes
    assert coordinates(left, 0, 0) == [pytest.approx(10), pytest.approx(30)]
    assert coordinates(right, 1, 0) == [25, pytest.approx(45)]
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["red", "disc"]
