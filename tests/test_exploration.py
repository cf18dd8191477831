"""Centroids, outliers and embeddings of images, and what networks make of the outliers."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fmlib import chapters, exploration, training
from fmlib.experiments import exploration as experiment
from fmlib.training import TrainConfig
from tests import toy


def _blobs(per_class: int = 20) -> tuple[Tensor, Tensor]:
    """Three groups of 2x2 images, far apart in comparison with their width."""
    centres = torch.tensor([[0.0, 0, 1, 1], [1, 1, 0, 0], [1, 0, 0, 1]], dtype=torch.float64)
    labels = torch.arange(3).repeat(per_class)
    noise = 0.02 * (toy.random_images(3 * per_class, size=2).flatten(1) - 0.5)
    return (centres[labels] + noise).reshape(-1, 1, 2, 2), labels


def test_centroids_by_hand() -> None:
    images = toy.flat_images(0.0, 0.5, 1.0)
    means = exploration.centroids(images, torch.tensor([0, 2, 0]), 3)
    assert means.shape == (3, 1, 2, 2)
    assert means[0].eq(0.5).all()
    assert means[1].isnan().all()
    assert means[2].eq(0.5).all()


def test_centroid_distances_by_hand() -> None:
    """One pixel of four off by 1 is a root mean square of 1/2."""
    image = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]], dtype=torch.float64)
    images = torch.cat((image, toy.flat_images(0.25)))
    means = torch.zeros(2, 1, 2, 2, dtype=torch.float64)
    found = exploration.centroid_distances(images, torch.tensor([1, 0]), means)
    assert found.tolist() == pytest.approx([0.5, 0.25])


def test_centroid_distances_of_many_images_against_numpy() -> None:
    images, labels = toy.random_images(120), toy.random_labels(120, 3)
    means = exploration.centroids(images, labels, 3)
    apart = (images - means[labels]).flatten(1).numpy()
    found = exploration.centroid_distances(images, labels, means).numpy()
    np.testing.assert_allclose(found, np.linalg.norm(apart, axis=1) / 6, rtol=1e-12)


def test_outliers_are_ordered_and_of_the_class() -> None:
    distances = torch.tensor([0.3, 0.9, 0.1, 0.4, 0.3])
    labels = torch.tensor([1, 0, 1, 1, 1])
    assert exploration.outliers(distances, labels, 1, 3).tolist() == [3, 0, 4]
    assert exploration.outliers(distances, labels, 1).tolist() == [3, 0, 4, 2]
    assert exploration.outliers(distances, labels, 0, 1).tolist() == [1]


def test_deciles_by_hand() -> None:
    """Ten images of class 1 backwards, and three of class 0 between them."""
    labels = torch.tensor([1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1])
    distances = torch.tensor([9, 8, 70, 7, 6, 5, 50, 4, 3, 2, 60, 1, 0]) / 100
    expected = [9, 8, 6, 7, 6, 5, 0, 4, 3, 2, 3, 1, 0]
    assert exploration.deciles(distances, labels).tolist() == expected


def test_equal_distances_keep_their_order_in_deciles() -> None:
    one_class = torch.zeros(20, dtype=torch.long)
    expected = [decile for decile in range(10) for _ in range(2)]
    assert exploration.deciles(torch.ones(20), one_class).tolist() == expected


images_of_classes = st.lists(
    st.tuples(st.integers(0, 3), st.floats(0, 1, width=32)), min_size=1, max_size=80
)


@given(images_of_classes)
def test_deciles_are_those_of_each_class_alone(drawn: list[tuple[int, float]]) -> None:
    labels = torch.tensor([label for label, _ in drawn])
    distances = torch.tensor([distance for _, distance in drawn])
    found = exploration.deciles(distances, labels)
    for label in labels.unique():
        own, apart = found[labels == label], distances[labels == label]
        alone = torch.zeros(len(own), dtype=torch.long)
        assert torch.equal(own, exploration.deciles(apart, alone))
        assert (own == 9).sum() == len(own) // 10
        sizes = own.bincount(minlength=10)
        assert sizes.max() - sizes.min() <= 1
        nearer = apart[:, None] < apart
        assert (own[:, None] <= own)[nearer].all()


@given(images_of_classes, st.integers(0, 2**32 - 1))
def test_random_tenth_is_as_large_as_the_outlying_one_and_apart_from_it(
    drawn: list[tuple[int, float]], seed: int
) -> None:
    labels = torch.tensor([label for label, _ in drawn])
    outlying = exploration.deciles(torch.tensor([d for _, d in drawn]), labels) == 9
    found = exploration.random_tenth(outlying, labels, seed)
    assert torch.equal(labels[found].bincount(), labels[outlying].bincount())
    assert not (found & outlying).any()
    assert torch.equal(found, exploration.random_tenth(outlying, labels, seed))


def test_random_tenth_depends_on_the_seed_and_reaches_every_other_image() -> None:
    labels, outlying = torch.zeros(20, dtype=torch.long), torch.arange(20) >= 18
    drawn = torch.stack([exploration.random_tenth(outlying, labels, seed) for seed in range(200)])
    assert drawn.any(dim=0).tolist() == [True] * 18 + [False] * 2


def test_errors_by_decile_by_hand() -> None:
    right = torch.tensor([True, False, True, True, False, False])
    found = exploration.errors_by_decile(right, torch.tensor([0, 0, 0, 0, 9, 3]))
    assert found.counts == [4, 0, 0, 1, 0, 0, 0, 0, 0, 1]
    assert (found.rates[0], found.rates[3], found.rates[9]) == (25, 100, 100)
    assert [decile for decile in range(10) if math.isnan(found.rates[decile])] == [
        decile for decile in range(10) if decile not in (0, 3, 9)
    ]


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 90], 1),
        ([9, 8, 7, 6, 5, 4, 3, 2, 1, 0], -1),
        ([1, 0, 2, 3, 4, 5, 6, 7, 8, 9], 1 - 6 * 2 / (10 * 99)),
        ([3] * 10, 0),
    ],
)
def test_trend_is_spearmans_rank_correlation(rates: list[float], expected: float) -> None:
    assert exploration.Errors([10] * 10, rates).trend == pytest.approx(expected)


def test_pca_against_singular_values() -> None:
    images = toy.random_images(30, size=4)
    flat = images.flatten(1).numpy()
    u, s, _ = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    found = exploration.pca(images)
    assert found.shape == (30, 2)
    assert found.dtype == np.float64
    for axis in range(2):
        expected = u[:, axis] * s[axis]
        sign = np.sign(expected @ found[:, axis])
        np.testing.assert_allclose(found[:, axis], sign * expected, atol=1e-10)


def test_neighbours_name_the_class_of_separated_blobs() -> None:
    images, labels = _blobs()
    points = exploration.pca(images)
    assert exploration.knn_accuracy(points, labels, neighbours=3) == 100
    mixed = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    assert exploration.knn_accuracy(points, mixed, neighbours=3) < 60


@pytest.mark.parametrize("limit", [59, 60])
def test_tsne_keeps_blobs_apart(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """60 images, embedded by openTSNE above 59 images and by scikit-learn up to 60."""
    monkeypatch.setattr(exploration, "SCIKIT_LEARN_UP_TO", limit)
    images, labels = _blobs()
    points = exploration.tsne(images, seed=0, perplexity=10)
    assert points.shape == (60, 2)
    assert type(points) is np.ndarray
    assert points.dtype == np.float64
    assert exploration.knn_accuracy(points, labels, neighbours=3) == 100


@pytest.mark.parametrize("limit", [59, 60])
def test_seed_decides_the_points_of_tsne(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exploration, "SCIKIT_LEARN_UP_TO", limit)
    images, _ = _blobs()
    first, again = (exploration.tsne(images, seed=3, perplexity=10) for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize(("limit", "chosen"), [(59, "openTSNE"), (60, "scikit-learn")])
def test_the_number_of_images_chooses_the_library(
    limit: int, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever library is asked fits in this test; the other one fails it."""
    import openTSNE
    from sklearn import manifold

    def refuse(*args: object, **settings: object) -> None:
        raise AssertionError("the wrong library was asked")

    other = manifold if chosen == "openTSNE" else openTSNE
    monkeypatch.setattr(other, "TSNE", refuse)
    monkeypatch.setattr(exploration, "SCIKIT_LEARN_UP_TO", limit)
    assert np.isfinite(exploration.tsne(_blobs()[0], seed=0, perplexity=10)).all()


def test_the_committed_chapter_keeps_scikit_learn() -> None:
    quick = chapters.settings("exploration", "quick")
    assert quick.n_embedded <= exploration.SCIKIT_LEARN_UP_TO


@pytest.mark.parametrize("limit", [59, 60])
@pytest.mark.parametrize("perplexity", [0.0, -1.0, 20.0, math.nan])
def test_tsne_refuses_an_impossible_perplexity(
    perplexity: float, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exploration, "SCIKIT_LEARN_UP_TO", limit)
    with pytest.raises(ValueError, match=f"perplexity is {perplexity}; give a number above 0"):
        exploration.tsne(_blobs()[0], seed=0, perplexity=perplexity)


# --- networks trained without and with the outliers --------------------------------------

Fed = list[tuple[Tensor, Tensor, TrainConfig]]


@pytest.fixture(scope="module")
def outlier_run() -> tuple[Any, Any, experiment.OutlierRun, Fed]:
    """Settings, dataset and result of one small pair of networks, and what they were fed."""
    fed: Fed = []

    def fit(model: Any, images: Tensor, labels: Tensor, config: Any) -> Any:
        fed.append((images, labels, config))
        return training.fit(model, images, labels, config)

    settings = chapters.settings("exploration", "smoke", n_train=250, n_test=150, seeds=1, seed=3)
    dataset = settings.load()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "fit", fit)
        [run] = experiment.outlier_runs(settings, dataset, experiment.distances(settings, dataset))
    return settings, dataset, run, fed


def contains(images: Tensor, image: Tensor) -> bool:
    """Whether one of the images equals the given one."""
    return bool((images == image).all(dim=(1, 2, 3)).any())


def test_networks_are_fed_equally_many_images_of_each_class(
    outlier_run: tuple[Any, Any, experiment.OutlierRun, Fed],
) -> None:
    _, dataset, _, fed = outlier_run
    sizes = dataset.train_labels.bincount()
    for _, labels, _ in fed:
        assert labels.bincount().tolist() == (sizes - sizes // 10).tolist()


def test_both_networks_end_with_the_same_images_at_a_tenth_of_the_learning_rate(
    outlier_run: tuple[Any, Any, experiment.OutlierRun, Fed],
) -> None:
    settings, _, _, fed = outlier_run
    full = settings.train_config(settings.epochs, settings.batch_size, seed=3)
    slow = TrainConfig(epochs=1, batch_size=full.batch_size, learning_rate=0.005, seed=3)
    assert [config for *_, config in fed] == [full, slow, full, slow]
    for first, last in (fed[:2], fed[2:]):
        assert torch.equal(first[0], last[0])
        assert torch.equal(first[1], last[1])


def test_outliers_are_kept_from_one_network_and_fed_to_the_other(
    outlier_run: tuple[Any, Any, experiment.OutlierRun, Fed],
) -> None:
    _, dataset, run, [(without, *_), _, (control, *_), _] = outlier_run
    images, labels = dataset.train_images, dataset.train_labels
    means = exploration.centroids(images, labels, 10)
    apart = exploration.centroid_distances(images, labels, means)
    for label, size in enumerate(labels.bincount().tolist()):
        farthest = exploration.outliers(apart, labels, label, size // 10).tolist()
        assert not any(contains(without, images[position]) for position in farthest)
        assert all(contains(control, images[position]) for position in farthest)
    left_out = sum(labels.bincount().tolist()[label] // 10 for label in range(10))
    assert [group.n for group in run.groups.values()][:2] == [left_out, left_out]


def test_accuracies_and_errors_agree_with_the_control_itself(
    outlier_run: tuple[Any, Any, experiment.OutlierRun, Fed],
) -> None:
    _, dataset, run, [_, _, _, control] = outlier_run
    accuracy = {
        "train": training.evaluate(run.control, *control[:2]),
        "test": training.evaluate(run.control, dataset.test_images, dataset.test_labels),
    }
    assert run.groups["test images, all"].accuracy["control"] == pytest.approx(accuracy["test"])
    for split in experiment.SPLITS:
        errors = run.errors[split]
        wrong = sum(n * rate for n, rate in zip(errors.counts, errors.rates, strict=True))
        assert 100 - wrong / sum(errors.counts) == pytest.approx(accuracy[split])
    assert run.errors["train"].counts[9] == run.groups["training images, outlying tenth"].n
    assert run.errors["test"].rates[9] == pytest.approx(
        100 - run.groups["test images, outlying tenth"].accuracy["control"]
    )
    assert run.diverged == 0


def test_networks_that_diverge_are_counted() -> None:
    settings = chapters.settings("exploration", "smoke", learning_rate=1e30, seeds=1)
    dataset = settings.load()
    [run] = experiment.outlier_runs(settings, dataset, experiment.distances(settings, dataset))
    assert run.diverged == 2


def test_first_maps_are_those_of_the_first_test_images(
    outlier_run: tuple[Any, Any, experiment.OutlierRun, Fed],
) -> None:
    _, dataset, run, _ = outlier_run
    found = experiment.first_maps(run.control, dataset, count=2)
    assert torch.equal(found.images, dataset.test_images[:2])
    assert {layer: maps.shape for layer, maps in found.maps.items()} == {
        "conv1": (2, 15, 24, 24),
        "conv2": (2, 30, 8, 8),
    }


@pytest.mark.parametrize("space", ["PCA", "t-SNE", "pixels"])
def test_points_of_every_space_are_those_of_the_first_images(space: Any) -> None:
    settings = chapters.settings("exploration", "smoke", n_embedded=100, perplexity=5)
    dataset = settings.load()
    found = experiment.embed(settings, dataset, space)
    assert found.points.shape == (100, 784 if space == "pixels" else 2)
    assert torch.equal(found.labels, dataset.train_labels[:100])
    assert found.chance == pytest.approx(found.labels.bincount().max().item())
    assert found.chance < found.accuracy <= 100


def test_all_images_are_embedded_training_and_test_together() -> None:
    run = experiment.EmbeddingsRun(
        dataset="mnist", n_train=90, n_test=60, perplexity=5, neighbours=3, seed=0
    )
    dataset = run.load()
    images = torch.cat((dataset.train_images, dataset.test_images))
    labels = torch.cat((dataset.train_labels, dataset.test_labels))
    found = run.run().neighbours
    assert list(found) == ["PCA", "t-SNE"]
    assert found["PCA"] == exploration.knn_accuracy(exploration.pca(images), labels, 3)
    assert found["t-SNE"] > found["PCA"]
