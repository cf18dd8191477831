"""Chapter 03's experiment at tiny sizes: its controls, its ways, its first steps."""

import math
from typing import Any, get_args

import pytest
import torch
from torch import nn

from fmlib import chapters, map_images
from fmlib.experiments import feature_map_regularization as experiment
from fmlib.experiments.common import trained_copy
from fmlib.experiments.feature_map_regularization import (
    MapRun,
    RecordedWay,
    RegularizationSettings,
    Row,
    Trial,
    Ways,
    WaysRun,
    way_images,
)
from fmlib.training import TrainConfig, evaluate, fit
from tests import toy


def settings(**given: object) -> RegularizationSettings:
    """The smoke profile with one seed."""
    found = chapters.settings("feature_map_regularization", "smoke", **{"seeds": 1, **given})
    assert isinstance(found, RegularizationSettings)
    return found


# --- copies ------------------------------------------------------------------------------

CONFIG = TrainConfig(epochs=2, batch_size=3, learning_rate=0.1)


def test_trained_copy_leaves_the_base_and_tests_on_originals() -> None:
    """Map training is tested on the originals as the scaling layer feeds them."""
    base, labels = toy.diagonal_cnn(), toy.random_labels(6)
    base[0].get_buffer("factor").fill_(3.0)
    before = toy.snapshot(base)
    test = toy.random_images(20, seed=5), toy.random_labels(20, seed=6)
    for maps in (False, True):
        model, history = trained_copy(
            base, toy.random_images(6), labels, CONFIG, maps=maps, test=test
        )
        assert history.test_accuracies[-1] == evaluate(model, *test)
        assert not toy.unchanged(model, before)
    assert toy.unchanged(base, before)


def test_scaled_originals_as_maps_train_as_originals_do() -> None:
    """The bypass of the scaling layer is the only difference."""
    base, images, labels = toy.diagonal_cnn(), toy.random_images(6), toy.random_labels(6)
    base[0].get_buffer("factor").fill_(3.0)
    plain, _ = trained_copy(base, images, labels, CONFIG)
    bypassed, _ = trained_copy(base, base[0](images), labels, CONFIG, maps=True)
    assert toy.unchanged(bypassed, toy.snapshot(plain))


# --- Fig. 9 ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def row() -> Row:
    """The first row of Fig. 9 in two epochs on the maps."""
    return experiment.run_once(settings(map_epochs=[2, 1, 1]), 0, 0)[0]


def test_all_copies_see_as_many_images_in_as_many_steps(row: Row) -> None:
    seen = {
        model: [(epoch.seen, epoch.trained, epoch.steps) for epoch in history.epochs]
        for model, history in row.histories.items()
    }
    assert list(seen) == ["maps", "originals", "blurred", "untrained"]
    assert all(found == [(4 * 15, 4 * 15, 4)] * 2 for found in seen.values())
    assert row.seen == 2 * 4 * 15


def test_accuracies_are_those_after_the_last_epoch(row: Row) -> None:
    for model, history in row.histories.items():
        assert row.accuracies[model].test == history.test_accuracies[-1]
        assert 0 <= row.accuracies[model].train <= 100


def test_without_blur_the_blurred_control_is_that_of_the_originals(
    row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_images, "equal_blur", lambda images, target: 0.0)
    unblurred = experiment.run_once(settings(map_epochs=[2, 1, 1]), 0, 0)[0]
    assert unblurred.sigma == 0
    assert unblurred.accuracies["blurred"] == unblurred.accuracies["originals"]
    losses = {
        model: [epoch.loss for epoch in unblurred.histories[model].epochs]
        for model in ("originals", "blurred")
    }
    assert losses["blurred"] == losses["originals"]
    assert [epoch.loss for epoch in row.histories["originals"].epochs] == losses["originals"]


def test_untrained_maps_are_not_those_of_the_base_model(row: Row) -> None:
    first, other = (row.histories[m].epochs[0].loss for m in ("maps", "untrained"))
    assert first != other


def test_rows_of_the_fashion_network_run_on_fashion_mnist() -> None:
    found = settings()
    assert [found.of_row(number).dataset for number in range(3)] == ["mnist"] * 2 + [
        "fashion-mnist"
    ]
    measured, base = experiment.run_once(found, 2, 0)
    assert measured.dataset == "fashion-mnist"
    assert measured.row == 2
    assert base.get_parameter("conv1.weight").shape == (32, 1, 3, 3)
    assert measured.seen == 2 * 32


def test_run_gives_the_first_row_s_base_models() -> None:
    found = settings(seeds=2, networks=["base_cnn"] * 3)
    rows, bases = experiment.run(found)
    assert [(row.row, row.seed) for row in rows] == [(r, s) for r in range(3) for s in range(2)]
    dataset = found.load()
    tested = [evaluate(base, dataset.test_images, dataset.test_labels) for base in bases]
    assert tested == [row.accuracies["base"].test for row in rows[:2]]
    assert [len(group) for group in experiment.by_row(rows)] == [2, 2, 2]


def test_settings_build_both_networks() -> None:
    found = settings()
    dataset = found.load()
    leaky = found.model(dataset, 0, activation="leaky_relu")
    assert [type(leaky.get_submodule(f"act{i}")) for i in (1, 2, 3)] == [nn.LeakyReLU] * 3
    assert type(found.model(dataset, 0).get_submodule("act1")) is nn.ReLU
    wide = found.model(dataset, 0, "fashion_cnn", channels=5)
    assert wide.get_parameter("conv1.weight").shape == (32, 5, 3, 3)


# --- ways --------------------------------------------------------------------------------


def test_every_way_trains_as_long_and_from_the_right_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kept weights are the base model's, but for the first layer of `channels`."""
    found = settings()
    dataset = found.load()
    base, drawn = (found.model(dataset, seed) for seed in (7, 0))
    starts: list[tuple[int, dict[str, bool]]] = []

    def watched(
        network: nn.Module, images: Any, labels: Any, config: TrainConfig, test: Any
    ) -> Any:
        same = {
            name: torch.equal(value, base.state_dict()[name])
            for name, value in network.state_dict().items()
            if name.endswith("weight")
        }
        starts.append((len(images), same))
        assert len(labels) == len(images)
        return fit(network, images, labels, config, test=test)

    monkeypatch.setattr(experiment, "fit", watched)
    runs = experiment.run_ways(found, [base])
    trained = [run for run in runs if run.way != "base"]
    assert {count for count, _ in starts} == {2 * 15}
    assert len(starts) == len(trained) == 2 * (1 + 4 * 2)
    assert len({(run.way, run.after, run.fresh) for run in runs}) == len(runs)
    for run, (_, same) in zip(trained, starts, strict=True):
        kept = {name for name, equal in same.items() if equal}
        weights = {"conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight"}
        expected = weights - {"conv1.weight"} if run.way == "channels" else weights
        assert kept == (set() if run.fresh else expected)
        assert (run.on_originals is None) == (run.way == "channels")
        assert (run.on_maps is None) == (run.way == "originals")
    assert not toy.unchanged(drawn, toy.snapshot(base))


def test_a_way_that_diverges_has_no_accuracy() -> None:
    found = settings(learning_rate=1e200, study_epochs=2)
    runs = experiment.run_ways(found, [found.model(found.load(), 0)])
    assert {run.on_maps for run in runs} == {None}
    assert [run.on_originals for run in runs if run.way != "base"] == [None] * 18


# --- recorded ways ------------------------------------------------------------------------

SMALL: dict[str, Any] = {
    "dataset": "mnist", "n_train": 100, "n_test": 50, "seed": 5, "precision": "float64",
    "input_scale": "unit", "learning_rate": 0.1, "batch_size": 10, "epochs": 1,
    "map_epochs": 2, "map_images": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def ways() -> Ways:
    """All recorded ways at a tiny size."""
    return WaysRun(ways=get_args(RecordedWay), **SMALL).run()


def test_every_recorded_way_is_tested_after_every_epoch(ways: Ways) -> None:
    assert tuple(ways.trained) == get_args(RecordedWay)
    for way in ways.trained.values():
        assert len(way.tests) == len(way.losses) == 2
        assert way.tests[-1] == way.after.test
        assert way.divergence is None


@pytest.mark.parametrize(("way", "images"), [("each_map", "maps"), ("originals", "originals")])
def test_recorded_ways_are_the_rows_of_figure_9(ways: Ways, way: RecordedWay, images: Any) -> None:
    row = MapRun(network="base_cnn", images=images, **SMALL).run()
    found = ways.trained[way]
    assert (ways.base, found.after) == (row.base, row.after)
    assert list(found.tests) == row.history.test_accuracies
    assert list(found.losses) == [epoch.loss for epoch in row.history.epochs]
    if images == "maps":
        assert found.on_made == row.on_maps
    else:
        assert found.on_made == found.after.test


def test_recorded_ways_differ(ways: Ways) -> None:
    """Here the maps are smoother than the originals."""
    assert ways.sigma > 0
    losses = {way: found.losses for way, found in ways.trained.items()}
    assert len(set(losses.values())) == len(losses)


def test_recorded_controls_without_blur_and_with_other_weights(
    ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blurred originals are then the originals; other weights have other maps."""
    monkeypatch.setattr(map_images, "equal_blur", lambda images, target: 0.0)
    monkeypatch.setattr(experiment, "OTHER_WEIGHTS", 0)
    controls: tuple[RecordedWay, ...] = ("originals", "blurred", "untrained")
    found = WaysRun(ways=controls, **SMALL).run()
    assert found.sigma == 0
    assert found.trained["blurred"] == found.trained["originals"] == ways.trained["originals"]
    assert found.trained["untrained"].losses != ways.trained["untrained"].losses


def test_way_images_by_hand() -> None:
    """Of flat images of 1/2 the toy's maps are 0 and 1; with a border of zeros."""
    model, images = toy.diagonal_cnn(), torch.full((1, 1, 6, 6), 0.5, dtype=toy.DTYPE)
    inside = torch.zeros(6, 6, dtype=toy.DTYPE)
    inside[:5, :5] = 1
    found = {
        way: way_images(model, images, way=way, layer="conv1")
        for way in ("each_map", "sum_map", "mean_map", "originals")
    }
    assert torch.equal(found["each_map"], torch.stack((0 * inside, inside))[:, None])
    assert torch.equal(found["sum_map"][0, 0], inside)
    assert torch.equal(found["mean_map"][0, 0], inside / 2)
    assert torch.equal(found["originals"], images)


def test_way_images_after_the_activation_have_nothing_below_zero() -> None:
    model, images = toy.diagonal_cnn(), toy.random_images(5)
    before, after = (
        way_images(model, images, way="each_map", layer="conv1", after=after)
        for after in (False, True)
    )
    assert before.min() < 0
    assert torch.equal(after, before.clamp_min(0))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ways": ()}, r"ways are \(\); give each once"),
        ({"ways": ("originals", "originals")}, "give each once"),
        ({"ways": ("channels",)}, "each_map"),
        ({"map_images": 101}, "map_images is 101; give at most n_train = 100"),
    ],
)
def test_recorded_ways_refuse(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WaysRun.model_validate({"ways": ("originals",), **SMALL, **values})


# --- undefined losses --------------------------------------------------------------------


def trials(**given: object) -> list[Trial]:
    """All trials at smoke size."""
    return experiment.run_undefined_losses(settings(**given))


def test_trials_cover_every_choice_and_change_only_what_they_say() -> None:
    found = trials(nan_scales=["released", "unit"])
    keys = [(t.activation, t.input_scale, t.images, t.learning_rate) for t in found]
    assert len(set(keys)) == len(keys) == 2 * (3 + 3) * 2 + 2 * 2
    negative = {t.images: t.negative_share for t in found if t.input_scale == "released"
                and t.activation == "relu"}  # fmt: skip
    assert negative["originals"] == negative["maps after"] == negative["absolute maps before"] == 0
    assert negative["maps before / 255"] == negative["maps before"]
    assert negative["maps before"]
    assert {t.history.epochs[-1].seen for t in found if t.history} == {2 * 15}


def test_first_step_is_the_one_that_fit_takes() -> None:
    base, images, labels = toy.diagonal_cnn(), toy.random_images(7), toy.random_labels(7)
    config = TrainConfig(epochs=1, batch_size=3, learning_rate=0.25, seed=4)
    found = experiment._first_step(base, images, labels, config)
    before = torch.cat([p.detach().flatten() for p in base.parameters()])
    first = torch.randperm(7, generator=torch.Generator().manual_seed(4))[:3]
    history = fit(base, images[first], labels[first], config)
    after = torch.cat([p.detach().flatten() for p in base.parameters()])
    assert found["first_loss"] == pytest.approx(history.epochs[0].loss)
    trial = Trial(activation="relu", input_scale="unit", images="maps", seed=4, learning_rate=0.25)
    step = trial.model_copy(update=found).step
    assert step == pytest.approx(((after - before).norm() / before.norm()).item())
    assert found["negative_share"] == 0


def test_a_base_model_that_diverges_leaves_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(experiment.BASE_RATES, "unit", 1e200)
    found = trials(nan_scales=["unit"])
    assert len(found) == 2 * 3 * 2
    assert all(t.history is None and t.step is None for t in found)


def test_an_undefined_loss_is_kept_as_such() -> None:
    found = trials(nan_scales=["unit"], nan_learning_rates=[1e200], study_epochs=2)
    assert {t.last_loss for t in found} == {None}
    assert all(t.history is not None and t.history.divergence is not None for t in found)
    assert all(t.step is not None and math.isfinite(t.step) for t in found)
