"""Centroids, outliers and embeddings of images."""

import numpy as np
import pytest
import torch
from torch import Tensor

from fmlib import exploration
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


def test_outliers_are_ordered_and_of_the_class() -> None:
    distances = torch.tensor([0.3, 0.9, 0.1, 0.4, 0.3])
    labels = torch.tensor([1, 0, 1, 1, 1])
    assert exploration.outliers(distances, labels, 1, 3).tolist() == [3, 0, 4]
    assert exploration.outliers(distances, labels, 1).tolist() == [3, 0, 4, 2]
    assert exploration.outliers(distances, labels, 0, 1).tolist() == [1]


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


def test_tsne_keeps_blobs_apart() -> None:
    images, labels = _blobs()
    points = exploration.tsne(images, seed=0, perplexity=10)
    assert points.shape == (60, 2)
    assert points.dtype == np.float64
    assert exploration.knn_accuracy(points, labels, neighbours=3) == 100
