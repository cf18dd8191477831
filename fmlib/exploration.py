"""Looking at images themselves: centroids, outliers and embeddings (anand2022, section 3).

scikit-learn is imported where it is used: it takes seconds, and most chapters do without.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Points = NDArray[np.float64]

FOLDS = 5
"""Parts that neighbours are cross-validated in."""


def centroids(images: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """Mean image of each class (anand2022, Figure 1).

    Takes images (N, C, H, W) and labels (N,); returns (classes, C, H, W), NaN for a class
    without images.
    """
    sums = images.new_zeros(n_classes, *images.shape[1:]).index_add_(0, labels, images)
    return sums / labels.bincount(minlength=n_classes).reshape(-1, 1, 1, 1)


def centroid_distances(images: Tensor, labels: Tensor, means: Tensor) -> Tensor:
    """Root mean square pixel difference of each image from its class's centroid, in [0, 1].

    Ranks images as the Euclidean distance does.  Returns (N,).
    """
    return (images - means[labels]).square().mean(dim=(1, 2, 3)).sqrt()


def outliers(distances: Tensor, labels: Tensor, label: int, count: int = 5) -> Tensor:
    """Positions of the `count` images of a class farthest from its centroid, farthest first."""
    members = (labels == label).nonzero()[:, 0]
    order = distances[members].argsort(descending=True, stable=True)
    return members[order[:count]]


def pca(images: Tensor) -> Points:
    """First two principal components of images (N, C, H, W); returns (N, 2)."""
    from sklearn.decomposition import PCA

    flat = images.flatten(1).to(torch.float64).numpy()
    return np.asarray(PCA(n_components=2, svd_solver="covariance_eigh").fit_transform(flat))


def tsne(images: Tensor, seed: int, perplexity: float = 30.0) -> Points:
    """t-SNE of images (N, C, H, W) in the plane, started from PCA; returns (N, 2)."""
    from sklearn.manifold import TSNE

    flat = images.flatten(1).to(torch.float64).numpy()
    embedding = TSNE(n_components=2, init="pca", perplexity=perplexity, random_state=seed)
    return np.asarray(embedding.fit_transform(flat), dtype=np.float64)


def knn_accuracy(points: Points, labels: Tensor, neighbours: int = 10, folds: int = FOLDS) -> float:
    """Accuracy in percent of naming a point's class by its nearest neighbours in the plane.

    Cross-validated: neighbours are sought among the other folds only.
    """
    from sklearn.model_selection import cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(n_neighbors=neighbours)
    return 100 * float(cross_val_score(classifier, points, labels.numpy(), cv=folds).mean())
