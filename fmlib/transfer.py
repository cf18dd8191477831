"""Transfer: a softmax trained on the frozen features of a layer, and images that two sets share.

masum2022, VIII-C, after Zeiler and Fergus (2014): layers that were trained on one dataset stay as
they are, and only a softmax is trained anew on another.  Images that occur in both sets, found by
normalized correlation, would spoil the test.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn

from fmlib.features import extractor
from fmlib.models import chunk_size

PIXELS = "pixels"
"""Stands for the images themselves among names of layers."""
PENALTY = 0.2
"""Weight of half the squared norm of the softmax's weights beside the summed loss."""
ITERATIONS = 1000


# --- frozen features -----------------------------------------------------------------------


@torch.no_grad()
def layer_features(
    model: nn.Module, images: Tensor, layers: Sequence[str], chunk: int | None = None
) -> dict[str, Tensor]:
    """What layers put out for images, a vector for each image.

    Args:
        model: any model that torchvision's feature extraction can trace; it is not changed.
        images: (N, C, H, W) in [0, 1], as the model takes them.
        layers: names of layers; `pixels` stands for the images themselves.
        chunk: images computed at a time; None: `fmlib.models.chunk_size`.

    Returns:
        Per layer a tensor (N, D), D its number of units.

    Raises:
        ValueError: a layer that does not exist, no images.
    """
    if len(images) == 0:
        raise ValueError("there are no images to take features of; give at least one")
    named = [layer for layer in layers if layer != PIXELS]
    found = {}
    if named:
        extract = extractor(model, named)
        parts = [extract(part) for part in images.split(chunk or chunk_size(images))]
        found = {name: torch.cat([part[name].flatten(1) for part in parts]) for name in named}
    return {name: images.flatten(1) if name == PIXELS else found[name] for name in layers}


def balanced(labels: Tensor, per_class: int, seed: int) -> Tensor:
    """Positions (K per_class,) of as many images of each class, drawn by a seed.

    With one seed the smaller draws are contained in the larger ones.

    Raises:
        ValueError: a class with fewer images than that.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    shuffled = labels.cpu()[order]
    counts = labels.bincount()
    if per_class < 1 or per_class > counts.min():
        raise ValueError(
            f"per_class is {per_class}; give 1 to {int(counts.min())}, the images of the "
            "smallest class"
        )
    found = [order[shuffled == label][:per_class] for label in range(len(counts))]
    return torch.cat(found).sort().values


class Softmax(NamedTuple):
    """A linear classifier of features that are centred and scaled first.

    `weight` (K, D) and `bias` (K,) in float64; `mean` (D,) is subtracted from features and the
    result divided by `size`.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    size: float

    def logits(self, features: Tensor) -> Tensor:
        """Logits (N, K) of features (N, D)."""
        scaled = (features.double().cpu() - self.mean) / self.size
        return scaled @ self.weight.T + self.bias

    def accuracy(self, features: Tensor, labels: Tensor) -> float:
        """Accuracy in percent on features (N, D) with labels (N,)."""
        if len(features) == 0:
            raise ValueError("there are no features to evaluate; give at least one row")
        right = self.logits(features).argmax(dim=1) == labels.cpu()
        return 100 * right.double().mean().item()


def fit_softmax(features: Tensor, labels: Tensor, penalty: float = PENALTY) -> Softmax:
    """Train a softmax on features: the only minimum of its penalized loss (masum2022, VIII-C).

    Features are centred and divided by one number, the root mean square of their length, so that
    the penalty weighs alike on layers of any size.  The loss is the negative log-likelihood, summed
    over the images, plus half of `penalty` times the squared norm of the weights: a fixed prior, to
    which many images matter more than few.  It is convex, and minimized in float64 by L-BFGS until
    no component of its gradient, divided by the number of images, exceeds 1e-5.

    Args:
        features: (N, D), of any floating type.
        labels: (N,) class numbers from 0.
        penalty: above 0.

    Raises:
        ValueError: features and labels that do not fit, fewer than two classes, a penalty that is
            not above 0, features that are not finite.
        RuntimeError: no minimum within so many steps.
    """
    _check_softmax(features, labels, penalty)
    rows = features.double().cpu()
    mean = rows.mean(dim=0)
    rows = rows - mean
    size = max(rows.square().sum(dim=1).mean().sqrt().item(), 1e-12)
    rows, basis = _spanned(rows / size)
    x, y = rows.numpy(), labels.cpu().numpy()
    n_classes = int(y.max()) + 1
    found = minimize(
        _loss,
        np.zeros(n_classes * (x.shape[1] + 1)),
        (x, y, n_classes, penalty / len(y)),
        method="L-BFGS-B",
        jac=True,
        options={"gtol": 1e-5, "ftol": 0.0, "maxiter": ITERATIONS, "maxfun": 2 * ITERATIONS},
    )
    if not np.isfinite(found.fun) or found.nit >= ITERATIONS:
        raise RuntimeError(f"the softmax has not converged within {ITERATIONS} steps")
    weights = torch.from_numpy(found.x).reshape(n_classes, -1)  # (K, D + 1)
    own = weights[:, :-1]
    return Softmax(own if basis is None else own @ basis.T, weights[:, -1], mean, size)


def _spanned(rows: Tensor) -> tuple[Tensor, Tensor | None]:
    """Rows (N, D) in a basis (D, N) of what they span, if that is much smaller; else as they are.

    The weights with the smallest loss lie in it: what is added to them elsewhere only costs.
    """
    if 2 * len(rows) >= rows.shape[1]:
        return rows, None
    basis, triangle = torch.linalg.qr(rows.T)  # (D, N), (N, N)
    return triangle.T.contiguous(), basis


def _check_softmax(features: Tensor, labels: Tensor, penalty: float) -> None:
    if features.dim() != 2 or len(features) != len(labels) or len(features) == 0:
        raise ValueError(
            f"features have shape {tuple(features.shape)} and labels {tuple(labels.shape)}; give "
            "one row of features per label, at least one"
        )
    if int(labels.max()) < 1 or int(labels.min()) < 0:
        raise ValueError("labels are of a single class; give class numbers from 0, at least two")
    if not 0 < penalty < math.inf:
        raise ValueError(f"penalty is {penalty}; give a number above 0")
    if not features.isfinite().all():
        raise ValueError("some features are not finite; give a network whose outputs are numbers")


def _loss(
    flat: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.int64],
    n_classes: int,
    penalty: float,
) -> tuple[float, NDArray[np.float64]]:
    """Penalized mean loss of weights and biases (K (D + 1),), and its gradient."""
    weights = flat.reshape(n_classes, -1)
    logits = x @ weights[:, :-1].T + weights[:, -1]  # (N, K)
    logits -= logits.max(axis=1, keepdims=True)
    probabilities = np.exp(logits)
    sums = probabilities.sum(axis=1)
    rows = np.arange(len(y))
    loss = (np.log(sums) - logits[rows, y]).mean()
    probabilities /= sums[:, None]
    probabilities[rows, y] -= 1
    probabilities /= len(y)
    gradient = np.empty_like(weights)
    gradient[:, :-1] = probabilities.T @ x + penalty * weights[:, :-1]
    gradient[:, -1] = probabilities.sum(axis=0)
    return float(loss + penalty / 2 * np.square(weights[:, :-1]).sum()), gradient.ravel()


# --- images that two sets share ------------------------------------------------------------


class Overlaps(NamedTuple):
    """Pairs of images that look alike, the most alike first.

    `pairs` (P, 2) holds a position in the first set and one in the second, `correlations` (P,)
    what they have in common, 1 for images that differ only in brightness and contrast.
    """

    pairs: Tensor
    correlations: Tensor


class Nearest(NamedTuple):
    """Each image's most alike one of another set: `others` and `correlations`, both (N,)."""

    others: Tensor
    correlations: Tensor


def overlaps(images: Tensor, others: Tensor | None, threshold: float, chunk: int = 500) -> Overlaps:
    """Pairs of images whose normalized correlation is at least a threshold (masum2022, VIII-C).

    The correlation of two images is that of all their pixels and channels, so that brightness and
    contrast do not matter; images without any contrast correlate with none.

    Args:
        images: (N, C, H, W).
        others: (M, C, H, W); None looks for pairs within `images`, each pair once.
        threshold: above 0 to 1; roundings aside, only duplicates reach 1.
        chunk: rows of either set that are compared at a time, which bounds the memory.

    Raises:
        ValueError: sets without images or of different sizes, a threshold or chunk out of range.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}; give a number above 0, at most 1")
    second = images if others is None else others
    _check_sets(images, second, chunk)
    pairs, correlations = [], []
    for start, rows in _chunks(images, chunk):
        for first, columns in _chunks(second, chunk):
            found = rows @ columns.T  # (chunk, chunk)
            if others is None:
                places = torch.arange(len(columns), device=found.device) + first
                own = torch.arange(len(rows), device=found.device) + start
                found[own[:, None] >= places] = -1
            near = (found >= threshold).nonzero()  # (P, 2)
            pairs.append(near.cpu() + torch.tensor([start, first]))
            correlations.append(found[near[:, 0], near[:, 1]].cpu())
    values = torch.cat(correlations)
    order = values.argsort(descending=True, stable=True)
    return Overlaps(torch.cat(pairs)[order], values[order])


def nearest(images: Tensor, others: Tensor, chunk: int = 500) -> Nearest:
    """The image of another set that each image correlates with most; arguments as `overlaps`."""
    _check_sets(images, others, chunk)
    best = torch.full((len(images),), -1.0, dtype=images.dtype)
    where = torch.zeros(len(images), dtype=torch.long)
    for start, rows in _chunks(images, chunk):
        own = slice(start, start + len(rows))
        for first, columns in _chunks(others, chunk):
            values, places = (rows @ columns.T).cpu().max(dim=1)
            nearer = values > best[own]
            best[own] = torch.where(nearer, values, best[own])
            where[own] = torch.where(nearer, places + first, where[own])
    return Nearest(where, best)


def _chunks(images: Tensor, chunk: int) -> Iterator[tuple[int, Tensor]]:
    """Position of the first image of each chunk, and the chunk as vectors (B, D) of length 1."""
    for start in range(0, len(images), chunk):
        yield start, _normalized(images[start : start + chunk])


def _normalized(images: Tensor) -> Tensor:
    """Images as vectors (B, D) of mean 0 and length 1; of images without contrast, zeros."""
    rows = images.flatten(1)
    rows = rows - rows.mean(dim=1, keepdim=True)
    lengths = rows.norm(dim=1, keepdim=True)
    known = lengths > 1e-6 * math.sqrt(rows.shape[1])
    return torch.where(known, rows / lengths.clamp_min(1e-12), torch.zeros_like(rows))


def _check_sets(images: Tensor, others: Tensor, chunk: int) -> None:
    if images.dim() != 4 or images.shape[1:] != others.shape[1:]:
        first, second = ("x".join(map(str, one.shape[1:])) for one in (images, others))
        raise ValueError(
            f"images are {first}, the others {second}; resize them to one shape of channels, "
            "height and width"
        )
    if len(images) == 0 or len(others) == 0:
        raise ValueError("one of the two sets has no images; give at least one in each")
    if chunk < 1:
        raise ValueError(f"chunk is {chunk}; give a whole number from 1")
