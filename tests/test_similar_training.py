"""Trainings with and without less similar maps: how they begin, what is measured, what is kept."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fmlib import chapters, records, similarity
from fmlib.experiments import similar_kernels, similar_training
from fmlib.experiments import similarity as chapter
from fmlib.experiments.grids import EXPERIMENTS
from fmlib.experiments.similar_training import (
    CONDITIONS,
    CURVE_POINTS,
    Condition,
    begin,
    norms,
    penalty,
    train,
)
from fmlib.experiments.similarity import (
    CACHED,
    CachedRun,
    ResNetRun,
    SimilarityRun,
    SimilaritySettings,
)
from fmlib.models import base_cnn, parameter_count, resnet18
from fmlib.records import path_of
from tests import made_up, toy

TINY: dict[str, Any] = {
    "dataset": "mnist", "n_train": 60, "n_test": 40, "batch_size": 20, "epochs": 2,
    "iterations": 20, "n_probed": 30,
}  # fmt: skip


@pytest.fixture(scope="module")
def settings() -> SimilaritySettings:
    found: SimilaritySettings = chapters.settings("convolutional_similarity", "smoke", **TINY)
    return found


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"iterations": -1}, ["iterations is -1", "greater than or equal to 0"]),
        ({"network": "resnet"}, ["network is 'resnet'"]),
        ({"network": "squeezenet", "dataset": "cifar10"}, ["no layer conv1", "base_cnn"]),
        ({"dataset": "letters"}, ["letters"]),
        ({"cache_batch": 0}, ["cache_batch is 0"]),
    ],
)
def test_what_cannot_be_trained_is_refused(given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        chapters.settings("convolutional_similarity", "smoke", **given)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "\n" not in str(caught.value)


# --- how networks begin --------------------------------------------------------------------


def begun(condition: Condition) -> tuple[nn.Sequential, list[float]]:
    model = base_cnn(dtype=torch.float64)
    return model, begin(model, condition, 40, seed=0)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_norms_are_kept_but_where_shrinking_is_the_point(condition: Condition) -> None:
    model, losses = begun(condition)
    before, after = norms(base_cnn(dtype=torch.float64)), norms(model)
    kept = all(torch.allclose(a, b) for a, b in zip(before, after, strict=True))
    assert kept is (condition not in ("initialized", "shrunk"))
    minimized = condition in ("initialized", "restored", "unit", "complete")
    assert len(losses) == (41 if minimized else 0)
    if minimized:
        assert losses[-1] < losses[0]


def test_shrunk_weights_have_the_norms_of_initialized_ones_and_no_other_direction() -> None:
    (shrunk, _), (initialized, _) = begun("shrunk"), begun("initialized")
    drawn = base_cnn(dtype=torch.float64)
    for name in ("conv1.weight", "conv2.weight"):
        own, wanted, fresh = (m.get_parameter(name) for m in (shrunk, initialized, drawn))
        assert torch.allclose(own.norm(), wanted.norm())
        assert torch.allclose(own / own.norm(), fresh / fresh.norm())


def test_restored_weights_are_initialized_ones_at_their_old_norms() -> None:
    (restored, _), (initialized, _) = begun("restored"), begun("initialized")
    first, second = (m.get_parameter("conv2.weight").flatten(1) for m in (restored, initialized))
    assert torch.allclose(torch.cosine_similarity(first, second), torch.ones(30).double())


def test_orthogonal_kernels_are_orthogonal() -> None:
    model, _ = begun("orthogonal")
    assert similarity.kernel_cosine(model.get_parameter("conv1.weight")).item() < 1e-20
    other = base_cnn(dtype=torch.float64)
    begin(other, "orthogonal", 0, seed=1)
    assert not torch.equal(other.get_parameter("conv1.weight"), model.get_parameter("conv1.weight"))


def test_what_is_added_to_the_loss() -> None:
    model, images = base_cnn(), torch.rand(3, 1, 28, 28)
    found = {name: penalty(name, "base_cnn", "act2") for name in CONDITIONS}
    added = {name: each(model, images).item() for name, each in found.items() if each}
    assert list(added) == [
        *("regularized", "strong", "unit_strong", "decay", "orthogonality", "decov"),
    ]
    loss = similarity.model_similarity(model).item()
    assert added["regularized"] == pytest.approx(0.001 * loss)
    assert added["strong"] == pytest.approx(0.1 * loss)
    squares = sum(norm.square().sum().item() for norm in norms(model))
    assert added["decay"] == pytest.approx(similar_training.DECAYS["base_cnn"] * squares)
    assert added["decov"] > 0


# --- one training ----------------------------------------------------------------------------


def test_a_course_follows_its_training(settings: SimilaritySettings) -> None:
    dataset = settings.load()
    course = train(settings, dataset, "initialized", 0)
    assert course.minimized_at[0] == 0
    assert course.minimized_at[-1] == 20
    assert course.minimized[-1] == pytest.approx(course.begun.loss)
    assert course.minimized[0] == pytest.approx(course.drawn.loss)
    assert course.similarity[0] == course.begun.loss
    assert course.similarity[-1] == course.trained.loss
    assert len(course.similarity) == len(course.norms) == 3
    assert len(course.losses) == len(course.train_accuracies) == len(course.test_accuracies) == 2
    assert list(course.drawn.maps) == ["conv1", "act1", "conv2", "act2"]
    assert not course.diverged
    assert course.parameters == parameter_count(settings.model(dataset, 0))
    again = train(settings, dataset, "initialized", 0)
    assert again == course


def test_a_course_begins_with_the_same_weights_in_every_condition(
    settings: SimilaritySettings,
) -> None:
    dataset = settings.load()
    first, second = (train(settings, dataset, name, 1) for name in ("baseline", "complete"))
    assert first.drawn == second.drawn == first.begun
    assert second.begun.complete < first.begun.complete
    assert second.begun.norms != first.begun.norms


def test_long_minimizations_are_thinned_out(settings: SimilaritySettings) -> None:
    longer = settings.model_copy(update={"iterations": 120, "n_train": 20, "epochs": 1})
    course = train(longer, longer.load(), "initialized", 0)
    assert len(course.minimized) == len(course.minimized_at) == CURVE_POINTS + 1
    assert course.minimized_at[-1] == 120


def test_training_with_a_cache_is_measured(settings: SimilaritySettings) -> None:
    dataset = settings.load()
    found = chapter.cached(settings, dataset, "complete", 30, seed=0)
    plain = chapter.cached(settings, dataset, "baseline", 30, seed=0)
    assert found.map_cosine < plain.map_cosine
    for one in (found, plain):
        assert 0 <= one.skipped < 100
        assert {one.nearest_begun * 40 % 100, one.nearest * 40 % 100} == {0}


# --- kernels without a network -----------------------------------------------------------------


def test_edge_terms_vanish_with_full_padding_alone() -> None:
    images = torch.cat([toy.random_images(2, seed=seed, size=12) for seed in range(2)], dim=1)
    edges = similar_kernels.edge_terms(images, kernel=3, pairs=3, seed=0)
    assert [edge.padding for edge in edges] == [
        *("full, 2", "more than full, 3", "same size, 1", "none, 0", "full, 2"),
    ]
    assert all(edge.largest < 1e-13 for edge in edges[:2])
    assert all(edge.mean > 1e-3 for edge in edges[2:])
    assert [edge.channels for edge in edges[-2:]] == ["each with each", "each with itself"]


def test_orthogonal_kernels_with_similar_maps_and_the_other_way_round() -> None:
    ramp = torch.linspace(0, 1, 20, dtype=torch.float64)
    image = torch.outer(ramp, ramp**2)[None]
    same, across, minimized = similar_kernels.counterexample(image)
    assert same.kernel_cosine == across.kernel_cosine == 0
    # shifted by an odd number of places the chessboard's colours meet
    assert same.similarity > 5
    assert same.map_cosine > 0.9
    assert minimized.similarity < 0.1
    assert minimized.map_cosine < 0.2


def test_studies_lower_what_they_minimize() -> None:
    by_cosine, by_similarity = similar_kernels.studies(repetitions=5, seed=0)
    assert by_cosine.kernels[1].max() < 1e-6
    assert by_cosine.maps[1].min() > 0.5
    assert by_similarity.maps[1].max() < 0.5
    assert torch.equal(by_cosine.maps[0], by_similarity.maps[0])
    assert (by_similarity.norms[1] < by_similarity.norms[0]).all()


def test_chain_compares_neighbours_alone() -> None:
    found = similar_kernels.chain(repetitions=5, seed=0)
    assert found.pairs == ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
    assert found.adjacent == (True, False, False, True, False, True)
    assert all(after < before for before, after in zip(found.before, found.after, strict=True))


# --- recorded runs ------------------------------------------------------------------------------


def test_a_recorded_training_is_the_live_one(settings: SimilaritySettings, tmp_path: Path) -> None:
    values = {**TINY, "precision": "float64", "seed": 0, "condition": "restored"}
    run = SimilarityRun.model_validate(values)
    found = run.run()
    assert found == train(settings, settings.load(), "restored", 0)
    path = made_up.write(tmp_path, "similarity", run, found)
    assert records.read(path).result == found
    assert path.name.startswith("mnist-60-restored-I-20-seed-0-")


def test_narrow_and_normalized_networks() -> None:
    tiny = {**TINY, "dataset": "cifar10", "network": "compact_cnn", "epochs": 1, "seed": 0}
    run = SimilarityRun.model_validate({**tiny, "width": 0.5, "batch_norm": True})
    assert run.label == "cifar10-60-baseline-I-20-normalized-width-0.5"
    convolutions = 9 * (3 * 12 + 12 * 16 + 16 * 32)
    assert run.run().parameters == convolutions + 2 * (12 + 16 + 32) + 32 * 16 * 10 + 10
    wide = SimilarityRun.model_validate({**tiny, "n_train": 20})
    assert wide.run().parameters == 36_362


def test_resnet_is_trained_in_whole_batches() -> None:
    run = ResNetRun(n_train=20, n_test=10, epochs=1, batch_size=10, width=2, n_probed=10, seed=0)
    course = run.run()
    assert course.parameters == parameter_count(resnet18(width=2))
    assert list(course.trained.maps) == [
        *("conv1", "relu", "layer1", "layer2", "layer3", "layer4"),
    ]
    config = run.stepping("momentum", 0)
    assert (config.micro_batch, config.momentum, config.learning_rate) == (10, 0.9, 0.05)
    assert run.label.endswith("width-2")


def test_grids_hold_every_condition_with_its_seeds() -> None:
    runs = EXPERIMENTS["similarity"].grid()
    assert len({path_of("similarity", run) for run in runs}) == len(runs)
    for network in ("base_cnn", "compact_cnn"):
        for condition in CONDITIONS:
            seeds = [
                run.seed
                for run in runs
                if isinstance(run, SimilarityRun)
                and (run.network, run.condition, run.steps) == (network, condition, "sgd")
                and (run.width, run.iterations) == (1, 500)
            ]
            assert seeds == list(range(5)), (network, condition)
    caches = EXPERIMENTS["similar_caches"].grid()
    assert len(caches) == 5 * len(CACHED)
    assert all(isinstance(run, CachedRun) for run in caches)
    large = EXPERIMENTS["resnet_similarity"].grid()
    assert len(large) == 3 * 2 * 3
    assert {run.cost for run in large if isinstance(run, ResNetRun)} == {4e7, 8e7}


def test_copies_are_not_changed_by_measuring() -> None:
    run = SimilarityRun.model_validate({**TINY, "seed": 0})
    dataset = run.load()
    model = run.model(dataset, 0)
    before = copy.deepcopy(model.state_dict())
    similar_training.measure(model, dataset.train_images, ["conv1"])
    assert toy.unchanged(model, before)
    assert toy.hook_count(model) == 0
