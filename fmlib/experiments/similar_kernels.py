"""Chapter 09, without training a network: kernels, their correlations, and the maps they give."""

from itertools import product
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fmlib.similarity import (
    convolutional_similarity,
    cross_correlation,
    kernel_cosine,
    map_cosine,
    scale_free,
)

Measure = Literal["kernel cosine", "convolutional similarity"]

KERNEL, SIGNAL = 9, 64
"""Numbers in a kernel and in a signal of the one-dimensional studies, as released."""
STUDY_STEPS, CHAIN_STEPS = 300, 10
STUDY_RATES: dict[Measure, float] = {"kernel cosine": 0.1, "convolutional similarity": 0.01}
"""Step sizes of gradient descent, as released."""


# --- the identity ----------------------------------------------------------------------------


def product_from_correlations(kernels: Tensor, image: Tensor, all_channels: bool) -> Tensor:
    """The product of two maps as <K1 * K2, X * X>, from cross-correlations alone (belmekki2024).

    Args:
        kernels: (2, C, h, w).
        image: (C, H, W).
        all_channels: also add the products of different channels.
    """
    rows, columns = kernels.shape[2:]
    of_image = cross_correlation(image, image, (rows - 1, columns - 1))
    products = cross_correlation(kernels[0], kernels[1]) * of_image  # (C, C, 2 h - 1, 2 w - 1)
    by_channels = products.sum(dim=(2, 3))
    return by_channels.sum() if all_channels else by_channels.trace()


class Edge(NamedTuple):
    """How far the product of two maps is from that of correlations, in parts of their norms.

    `mean` and `largest` are over images and pairs of kernels.
    """

    padding: str
    channels: str
    mean: float
    largest: float


def edge_terms(images: Tensor, kernel: int, pairs: int, seed: int) -> list[Edge]:
    """What the identity leaves out for several paddings, for random kernels and images.

    Takes images (N, C, H, W) and draws so many pairs of kernels (C, kernel, kernel).
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (pairs, 2, images.shape[1], kernel, kernel)
    kernels = torch.randn(shape, generator=generator, dtype=images.dtype)
    paddings = {
        f"full, {kernel - 1}": kernel - 1,
        f"more than full, {kernel}": kernel,
        f"same size, {(kernel - 1) // 2}": (kernel - 1) // 2,
        "none, 0": 0,
    }
    cases = [(name, padding, True) for name, padding in paddings.items()]
    if images.shape[1] > 1:
        cases.append((f"full, {kernel - 1}", kernel - 1, False))
    return [
        _edge(images, kernels, name, padding, all_channels) for name, padding, all_channels in cases
    ]


def _edge(images: Tensor, kernels: Tensor, name: str, padding: int, all_channels: bool) -> Edge:
    errors = []
    for image, pair in product(images, kernels):
        first, second = F.conv2d(image[None], pair, padding=padding)[0]
        found = product_from_correlations(pair, image, all_channels)
        errors.append(((first * second).sum() - found).abs() / (first.norm() * second.norm()))
    all_errors = torch.stack(errors)
    said = "each with each" if all_channels else "each with itself"
    return Edge(name, said, all_errors.mean().item(), all_errors.max().item())


# --- orthogonal kernels and similar maps -----------------------------------------------------


class Example(NamedTuple):
    """Two kernels (2, 1, h, w), their maps (2, P, Q) of an image, and what is measured of both."""

    name: str
    kernels: Tensor
    maps: Tensor
    kernel_cosine: float
    similarity: float
    map_cosine: float


def counterexample(image: Tensor) -> list[Example]:
    """Three pairs of 5x5 kernels and what they see in a grey image (1, H, W), mean subtracted.

    The first two average the pixels of one and of the other colour of a chessboard: no number of
    one meets one of the other.  The second are the edges of two directions.  The third are
    random ones after Convolutional Similarity was minimized.
    """
    edge = torch.tensor([1.0, -1.0], dtype=image.dtype)
    white = (torch.arange(25) % 2 == 0).to(image).reshape(1, 5, 5)
    same = torch.stack((white, 1 - white))
    across = image.new_zeros(2, 1, 5, 5)
    across[0, 0, 1:4, 1:3] = edge
    across[1, 0, 1:3, 1:4] = edge[:, None]
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(2, 1, 5, 5, generator=generator, dtype=image.dtype)
    pairs = {
        "two averages of other pixels": same,
        "edges of two directions": across,
        "similarity minimized": _dissimilar(drawn),
    }
    return [_example(name, kernels, image) for name, kernels in pairs.items()]


def _dissimilar(kernels: Tensor, steps: int = 500) -> Tensor:
    """Kernels of norm 1 after Convolutional Similarity was minimized by Adam."""
    kernels = kernels.clone().requires_grad_()
    optimizer = torch.optim.Adam([kernels], lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        convolutional_similarity(kernels, unit_norm=True).backward()
        optimizer.step()
    return F.normalize(kernels.detach().flatten(1), dim=1).view_as(kernels)


def _example(name: str, kernels: Tensor, image: Tensor) -> Example:
    maps = F.conv2d((image - image.mean())[None], kernels, padding=4)
    return Example(
        name,
        kernels,
        maps[0],
        kernel_cosine(kernels).sqrt().item(),
        scale_free(kernels).item(),
        map_cosine(maps).item(),
    )


# --- the one-dimensional studies of the released code ----------------------------------------


class Study(NamedTuple):
    """One measure minimized for pairs of kernels: before and after, a number per repetition.

    `kernels` and `maps` are absolute cosines, `norms` the product of both kernels' norms.
    """

    minimized: Measure
    kernels: tuple[Tensor, Tensor]
    maps: tuple[Tensor, Tensor]
    norms: tuple[Tensor, Tensor]


def _cosines(values: Tensor) -> Tensor:
    """Absolute cosines of neighbours: (repetitions, count, size) to (repetitions, count - 1)."""
    return F.cosine_similarity(values[:, :-1], values[:, 1:], dim=2).abs()


def _maps(kernels: Tensor, signals: Tensor) -> Tensor:
    """Maps with full padding of kernels (R, K, size) for signals (R, S): (R, K, S + size - 1)."""
    count, many, size = kernels.shape
    flat = signals[None].expand(many, -1, -1).transpose(0, 1).reshape(1, count * many, -1)
    found = F.conv1d(
        flat, kernels.reshape(count * many, 1, size), padding=size - 1, groups=count * many
    )
    return found.reshape(count, many, -1)


def _loss(kernels: Tensor, measure: Measure) -> Tensor:
    """Sum over repetitions (R, K, size) and neighbours of what is minimized."""
    if measure == "kernel cosine":
        return _cosines(kernels).square().sum()
    by_repetition = kernels.transpose(0, 1)[:, :, None]  # (K, R, 1, size): channels stand apart
    return convolutional_similarity(by_repetition)


def _descend(kernels: Tensor, measure: Measure, steps: int) -> Tensor:
    kernels = kernels.clone().requires_grad_()
    optimizer = torch.optim.SGD([kernels], lr=STUDY_RATES[measure])
    for _ in range(steps):
        optimizer.zero_grad()
        _loss(kernels, measure).backward()
        optimizer.step()
    return kernels.detach()


def _drawn(count: int, repetitions: int, seed: int) -> tuple[Tensor, Tensor]:
    """Kernels (R, count, 9) and signals (R, 64), uniform from 0 to 1."""
    generator = torch.Generator().manual_seed(seed)
    shapes = (repetitions, count, KERNEL), (repetitions, SIGNAL)
    kernels, signals = (
        torch.rand(shape, generator=generator, dtype=torch.float64) for shape in shapes
    )
    return kernels, signals


def studies(repetitions: int, seed: int) -> list[Study]:
    """Pairs of kernels: one measure minimized, and what becomes of the maps of a signal."""
    kernels, signals = _drawn(2, repetitions, seed)
    found = []
    for measure in STUDY_RATES:
        both = kernels, _descend(kernels, measure, STUDY_STEPS)
        found.append(
            Study(
                measure,
                _two([_cosines(k)[:, 0] for k in both]),
                _two([_cosines(_maps(k, signals))[:, 0] for k in both]),
                _two([k.norm(dim=2).prod(dim=1) for k in both]),
            )
        )
    return found


def _two(values: list[Tensor]) -> tuple[Tensor, Tensor]:
    first, second = values
    return first, second


class Chain(NamedTuple):
    """A chain of kernels whose neighbours were made dissimilar: mean cosines of maps by pair."""

    pairs: tuple[tuple[int, int], ...]
    before: tuple[float, ...]
    after: tuple[float, ...]

    @property
    def adjacent(self) -> tuple[bool, ...]:
        """Whether each pair is one of neighbours, which the loss compares."""
        return tuple(second - first == 1 for first, second in self.pairs)


def chain(repetitions: int, seed: int, steps: int = CHAIN_STEPS) -> Chain:
    """Four kernels, neighbours compared as released: what becomes of the pairs that are not?"""
    kernels, signals = _drawn(4, repetitions, seed)
    after = _descend(kernels, "convolutional similarity", steps)
    pairs = tuple((i, j) for i, j in product(range(4), repeat=2) if i < j)
    both = [_maps(each, signals) for each in (kernels, after)]
    cosines = [
        tuple(F.cosine_similarity(m[:, i], m[:, j], dim=1).abs().mean().item() for i, j in pairs)
        for m in both
    ]
    return Chain(pairs, *cosines)
