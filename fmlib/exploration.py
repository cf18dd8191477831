"""Looking at images themselves: centroids, outliers and embeddings (anand2022, section 3).

scikit-learn, SciPy and openTSNE are imported where they are used: they take seconds, and most
chapters do without.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from fmlib.models import chunk_size

Points = NDArray[np.float64]

FOLDS = 5
"""Parts that neighbours are cross-validated in."""
SCIKIT_LEARN_UP_TO = 2_000
"""Images that scikit-learn embeds; more are openTSNE's.

Measured on 1,000, 2,000, 4,000 and 8,000 MNIST images, one thread, perplexity 30: openTSNE takes
0.66, 0.63, 0.64 and 0.61 of scikit-learn's time, and the 10 nearest neighbours in its plane name
the class of 83.9, 86.7, 92.2 and 94.1 % against 84.2, 86.5, 91.2 and 93.4 %.  So there is no size
at which it is the slower one; up to here the difference is a few seconds, and scikit-learn is
the implementation that most readers have.
"""


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
    parts = zip(images.split(chunk_size(images)), labels.split(chunk_size(images)), strict=True)
    return torch.cat([(part - means[own]).square().mean((1, 2, 3)).sqrt() for part, own in parts])


def outliers(distances: Tensor, labels: Tensor, label: int, count: int = 5) -> Tensor:
    """Positions of the `count` images of a class farthest from its centroid, farthest first."""
    members = (labels == label).nonzero()[:, 0]
    order = distances[members].argsort(descending=True, stable=True)
    return members[order[:count]]


def deciles(distances: Tensor, labels: Tensor) -> Tensor:
    """Decile of each image's distance within its own class: 0 nearest, 9 farthest.

    Takes distances (N,) and labels (N,); returns (N,).  Of a class of n images, n // 10 are in
    decile 9; equal distances keep their order.
    """
    sizes = labels.bincount()
    order = distances.argsort(stable=True)
    order = order[labels[order].argsort(stable=True)]  # by class, then by distance
    rank = torch.empty_like(labels)
    rank[order] = torch.arange(len(labels)) - (sizes.cumsum(0) - sizes)[labels[order]]
    return 10 * rank // sizes[labels]


def random_tenth(outlying: Tensor, labels: Tensor, seed: int) -> Tensor:
    """Mask (N,) of random images outside the mask `outlying`, n // 10 of a class of n images."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(len(labels), generator=generator, dtype=torch.float64)
    return deciles(draws.masked_fill(outlying, -1), labels) == 9


class Errors(NamedTuple):
    """By decile, nearest first: the number of images, and how many percent of them are wrong."""

    counts: list[int]
    rates: list[float]

    @property
    def trend(self) -> float:
        """Spearman's rank correlation of decile and rate, -1 to 1; 0 if all rates are equal."""
        from scipy.stats import spearmanr

        if len(set(self.rates)) == 1:
            return 0.0
        return float(spearmanr(range(len(self.rates)), self.rates).statistic)


def errors_by_decile(right: Tensor, decile: Tensor) -> Errors:
    """Errors of answers, Boolean (N,), by decile (N,); NaN where a decile has no images."""
    counts, wrong = decile.bincount(minlength=10), decile[~right].bincount(minlength=10)
    return Errors(counts.tolist(), (100 * wrong.double() / counts).tolist())


def pca(images: Tensor) -> Points:
    """First two principal components of images (N, C, H, W); returns (N, 2)."""
    from sklearn.decomposition import PCA

    flat = images.flatten(1).to(torch.float64).numpy()
    return np.asarray(PCA(n_components=2, svd_solver="covariance_eigh").fit_transform(flat))


def tsne(images: Tensor, seed: int, perplexity: float = 30.0) -> Points:
    """t-SNE in the plane, started from PCA; by openTSNE above `SCIKIT_LEARN_UP_TO` images.

    Args:
        images: (N, C, H, W).
        seed: the same seed gives the same points on the same machine and libraries.
        perplexity: number of neighbours that count, above 0 and below N / 3.

    Returns:
        (N, 2).
    """
    n = len(images)
    if not 0 < 3 * perplexity < n:
        raise ValueError(f"perplexity is {perplexity}; give a number above 0 and below {n} / 3")
    flat = images.flatten(1).to(torch.float64).numpy()
    embed = _by_scikit_learn if n <= SCIKIT_LEARN_UP_TO else _by_open_tsne
    return embed(flat, seed, perplexity)


def _by_scikit_learn(flat: Points, seed: int, perplexity: float) -> Points:
    from sklearn.manifold import TSNE

    embedding = TSNE(n_components=2, init="pca", perplexity=perplexity, random_state=seed)
    return np.asarray(embedding.fit_transform(flat), dtype=np.float64)


def _by_open_tsne(flat: Points, seed: int, perplexity: float) -> Points:
    """openTSNE: Barnes-Hut gradients below 10,000 images, interpolated ones (FIt-SNE) from there.

    Neighbours are the exact ones in the first 50 principal components, as is customary.
    Exaggeration is scikit-learn's, 12 for 250 iterations; 500 more follow instead of 750, at
    a learning rate of N instead of N / 12.
    """
    from openTSNE import TSNE
    from sklearn.decomposition import PCA

    components = PCA(min(50, *flat.shape), svd_solver="covariance_eigh").fit_transform(flat)
    embedding = TSNE(
        perplexity=perplexity,
        initialization="pca",
        neighbors="exact",
        negative_gradient_method="auto",
        n_jobs=torch.get_num_threads(),
        random_state=seed,
    )
    return np.array(embedding.fit(components))


def knn_accuracy(points: Points, labels: Tensor, neighbours: int = 10, folds: int = FOLDS) -> float:
    """Accuracy in percent of naming a point's class by its nearest neighbours in the plane.

    Cross-validated: neighbours are sought among the other folds only.
    """
    from sklearn.model_selection import cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(n_neighbors=neighbours)
    return 100 * float(cross_val_score(classifier, points, labels.numpy(), cv=folds).mean())


def named_by_neighbours(points: Points, labels: Tensor, neighbours: int = 10) -> Tensor:
    """The most frequent class among each point's nearest neighbours; the lowest of equal ones.

    Takes points (N, D) and labels (N,); returns (N,).  No point is a neighbour of itself.
    """
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=neighbours).fit(points)
    around = labels[torch.from_numpy(nearest.kneighbors(return_distance=False))]  # (N, neighbours)
    return one_hot(around, int(labels.max()) + 1).sum(dim=1).argmax(dim=1)
