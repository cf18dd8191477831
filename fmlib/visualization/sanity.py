"""Sanity checks of saliency: does a picture depend on the model? (Adebayo et al. 2018).

A method that explains what a network has learned must show something else once the weights are
drawn anew, or once the network has learned labels without meaning.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn import functional as F

Method = Callable[[nn.Module, Tensor], Tensor]
"""From a model and images (N, C, H, W) to pictures (N, C, H, W) or (N, H, W)."""

WINDOW = 11
"""Largest window of the structural similarity, in pixels (Wang et al. 2004, section III-C)."""
SIGMA = 1.5
"""Deviation of its Gaussian weights, in pixels."""
FIRST_SEED = 2**31
"""Added to a seed, so that it does not draw the weights that a network of that seed began with."""


class Similarity(NamedTuple):
    """How alike pictures are, image by image, by four measures (Adebayo et al. 2018, section 3).

    Attributes:
        rank: Spearman's rank correlation of all numbers of two pictures, -1 to 1.
        absolute_rank: that of their absolute values.
        ssim: structural similarity, -1 to 1; each picture is first divided by its largest
            absolute value.  It need not fall where signs are reversed, since that changes means
            and deviations together.
        absolute_ssim: that of their absolute values.
    """

    rank: Tensor
    absolute_rank: Tensor
    ssim: Tensor
    absolute_ssim: Tensor


class Dependence(NamedTuple):
    """How much pictures depend on weights: 1 minus the mean rank correlation once these are drawn.

    Attributes:
        value: 0 to 2; 0: the order of the pixels stays the same, 1: it is unrelated, above 1: it
            tends to be reversed.
        over_images: standard deviation over the images, each averaged over the seeds.
        over_seeds: that over the seeds, each averaged over the images; NaN for a single one.
    """

    value: float
    over_images: float
    over_seeds: float


class Checks(NamedTuple):
    """A method's pictures from a trained model beside those from others.

    Attributes:
        layers: by the name of the last layer drawn anew, from the output down, measures of the
            shape (seeds, N).
        others: by name, measures (N,) beside the pictures from other trained models.
    """

    layers: dict[str, Similarity]
    others: dict[str, Similarity]

    def dependence(self, layer: str | None = None, *, absolute: bool = True) -> Dependence:
        """Dependence of the pictures on the weights of a layer and of all above it.

        Args:
            layer: one of `layers`; None: the last one, so that all weights are drawn anew.
            absolute: compare absolute values, or else the signed ones.
        """
        found = self.layers[list(self.layers)[-1] if layer is None else layer]
        return dependence(found.absolute_rank if absolute else found.rank)


def weighted_layers(model: nn.Module) -> list[str]:
    """Names of the layers whose weights can be drawn anew, from the output down.

    In the reverse of the order in which the model lists its layers.

    Raises:
        ValueError: a model without such layers.
    """
    names = [name for name, layer in model.named_modules() if hasattr(layer, "reset_parameters")]
    if not names:
        raise ValueError(f"{type(model).__name__} has no layer with weights; give a network")
    return names[::-1]


def randomized(model: nn.Module, layer: str, seed: int, *, alone: bool = False) -> nn.Module:
    """A copy of a model with weights drawn anew by PyTorch's default initialization.

    Args:
        model: left as it is.
        layer: name of a layer with weights; `weighted_layers` lists them.
        seed: draws the weights; those above a layer are the same, however far down one goes.
        alone: False draws the layer and all above it, up to the output (cascading); True only
            the layer itself (independent; Adebayo et al. 2018, section 3.1).

    Raises:
        ValueError: a layer that does not exist or has no weights.
    """
    layers = weighted_layers(model)
    if layer not in layers:
        raise ValueError(f"layer {layer!r} has no weights to draw; choose from {', '.join(layers)}")
    twin = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(FIRST_SEED + seed)
        for name in [layer] if alone else layers[: layers.index(layer) + 1]:
            fresh: Any = copy.deepcopy(twin.get_submodule(name)).cpu()  # alike on every device
            fresh.reset_parameters()
            twin.get_submodule(name).load_state_dict(fresh.state_dict())
    return twin


def checks(
    method: Method,
    model: nn.Module,
    images: Tensor,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    alone: bool = False,
    others: Mapping[str, nn.Module] | None = None,
) -> Checks:
    """Compare a method's pictures before and after randomization (Adebayo et al. 2018).

    The method is called once, and once for every layer with weights and every seed.

    Args:
        method: such as `lambda model, images: saliency.gradient(model, images, labels)`.
        model: the trained network.
        images: (N, C, H, W) in [0, 1].
        seeds: of the weights drawn anew, at least one.
        alone: as for `randomized`.
        others: further networks by name: one trained on shuffled labels (section 3.2), or one
            trained alike from another seed, which says how alike pictures can be expected to be.

    Raises:
        ValueError: no seeds, a model without weights, pictures that cannot be compared.
    """
    if not seeds:
        raise ValueError("seeds is empty; give at least one")
    layers = weighted_layers(model)
    pictures = _pictures(method, model, images)

    def beside(other: nn.Module) -> Similarity:
        return similarity(pictures, _pictures(method, other, images))

    found = {}
    for layer in layers:
        rows = [beside(randomized(model, layer, seed, alone=alone)) for seed in seeds]
        found[layer] = Similarity(*(torch.stack(measure) for measure in zip(*rows, strict=True)))
    return Checks(found, {name: beside(other) for name, other in (others or {}).items()})


def dependence(ranks: Tensor) -> Dependence:
    """Dependence on the weights drawn anew, from rank correlations (seeds, N)."""
    distances = 1 - ranks.double()
    images, seeds = distances.mean(dim=0), distances.mean(dim=1)
    return Dependence(distances.mean().item(), _deviation(images), _deviation(seeds))


def similarity(first: Tensor, second: Tensor) -> Similarity:
    """How alike two sets of pictures are, image by image.

    Args:
        first, second: (N, C, H, W) or (N, H, W), of one shape.

    Returns:
        Measures of the shape (N,); of several channels SSIM takes the mean.

    Raises:
        ValueError: pictures of different shapes, or not finite.
    """
    if first.shape != second.shape or first.dim() not in (3, 4):
        raise ValueError(
            f"the pictures have shapes {tuple(first.shape)} and {tuple(second.shape)}; give two of "
            "one shape, (N, C, H, W) or (N, H, W)"
        )
    if not (first.isfinite().all() and second.isfinite().all()):
        raise ValueError("pictures contain NaN or infinite numbers; give finite ones")
    a, b = _scaled(first), _scaled(second)  # (N, C, H, W)
    return Similarity(
        rank=rank_correlation(first, second),
        absolute_rank=rank_correlation(first.abs(), second.abs()),
        ssim=ssim(a, b, span=2.0),
        absolute_ssim=ssim(a.abs(), b.abs(), span=1.0),
    )


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's rank correlation of each two pictures; equal numbers share their mean rank.

    Pictures of one value have no order: it is 1 if both are such, and 0 if one is.  Takes two
    tensors (N, ...) of one shape and returns (N,).
    """
    ranks = [rankdata(part.flatten(1).cpu().numpy(), axis=1) for part in (first, second)]
    a, b = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    sizes = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    flat = (a == 0).all(axis=1) & (b == 0).all(axis=1)
    found = np.where(sizes > 0, (a * b).sum(axis=1) / np.where(sizes > 0, sizes, 1), flat)
    return torch.from_numpy(found).to(first)


def ssim(first: Tensor, second: Tensor, span: float) -> Tensor:
    """Structural similarity (Wang et al. 2004, equation 13), averaged over all windows.

    Gaussian windows of `WINDOW` pixels, or the pictures' size if that is less, lie wholly
    within the pictures.

    Args:
        first, second: (N, C, H, W) of one shape.
        span: range of the values, such as 1 for numbers from 0 to 1.

    Returns:
        (N,), -1 to 1.
    """
    n, channels, height, width = first.shape
    kernel = (_gaussian(min(WINDOW, height))[:, None] * _gaussian(min(WINDOW, width))).to(first)

    def mean(values: Tensor) -> Tensor:
        planes = values.reshape(n * channels, 1, height, width)
        return F.conv2d(planes, kernel[None, None])  # (N C, 1, P, Q)

    means = mean(first), mean(second)
    squares = means[0].square() + means[1].square()
    variances = mean(first.square() + second.square()) - squares
    covariance = mean(first * second) - means[0] * means[1]
    steady = (0.01 * span) ** 2, (0.03 * span) ** 2
    alike = (2 * means[0] * means[1] + steady[0]) / (squares + steady[0])
    alike = alike * (2 * covariance + steady[1]) / (variances + steady[1])
    return alike.reshape(n, -1).mean(dim=1)  # (N,)


def magnitude(pictures: Tensor) -> Tensor:
    """Absolute values (N, H, W) of pictures (N, C, H, W), summed over the channels."""
    return pictures.abs().sum(dim=1)


def edges(images: Tensor) -> Tensor:
    """Sobel's edge strength: the control that looks at the image and at no model.

    Its dependence on the model is 0; a method that resembles it (`similarity` with the
    `magnitude` of the method's pictures) is an edge detector.

    Args:
        images: (N, C, H, W) in [0, 1].

    Returns:
        (N, H, W), length of the slope over all channels, per pixel; 1 for a ramp that rises by 1
        per pixel in one channel.
    """
    n, channels, height, width = images.shape
    across = torch.tensor([[-1.0, 0.0, 1.0]]).mul(torch.tensor([[1.0], [2.0], [1.0]])) / 8
    kernels = torch.stack((across, across.T))[:, None].to(images)  # (2, 1, 3, 3)
    planes = images.reshape(n * channels, 1, height, width)
    slopes = F.conv2d(F.pad(planes, (1, 1, 1, 1), mode="replicate"), kernels)  # (N C, 2, H, W)
    return slopes.square().reshape(n, 2 * channels, height, width).sum(dim=1).sqrt()  # (N, H, W)


def _pictures(method: Method, model: nn.Module, images: Tensor) -> Tensor:
    """What a method shows, one picture for each image."""
    pictures = method(model, images).detach()
    if pictures.dim() not in (3, 4) or len(pictures) != len(images):
        raise ValueError(
            f"the method returns {tuple(pictures.shape)} for {len(images)} images; let it return "
            "(N, C, H, W) or (N, H, W)"
        )
    return pictures


def _scaled(pictures: Tensor) -> Tensor:
    """Pictures (N, C, H, W), each divided by its largest absolute value."""
    planes = pictures if pictures.dim() == 4 else pictures[:, None]
    largest = planes.abs().amax(dim=(1, 2, 3), keepdim=True)
    return planes / torch.where(largest > 0, largest, 1)


def _gaussian(size: int) -> Tensor:
    """Weights (size,) of a window, which add up to 1."""
    places = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weights = torch.exp(-places.square() / (2 * SIGMA**2))
    return weights / weights.sum()


def _deviation(values: Tensor) -> float:
    """Standard deviation (unbiased) of numbers (n,); NaN for a single one."""
    return values.std().item() if len(values) > 1 else math.nan
