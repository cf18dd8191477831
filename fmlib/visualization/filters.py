"""Filters of a convolution as they are: how large, how they look, what frequencies they pass.

A filter is the weight (in, kh, kw) of one map.  Frequencies are in cycles per pixel, 0 to 0.5; of
a wave's two frequencies, along rows and columns, the larger counts, since on a grid of pixels
that one decides whether sampling every s-th pixel aliases the wave (it does above 1/(2s)).
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fmlib.features import extractor
from fmlib.models import chunk_size
from fmlib.training import Report
from fmlib.visualization.units import undisturbed

ROUNDING = 8
"""Units in the last place by which an RMS may exceed the radius, so that none is scaled twice."""
MIDRANGE = (1 / 8, 3 / 8)
"""The middle half of all frequencies, in cycles per pixel."""


@torch.no_grad()
def renormalize(model: nn.Module, radius: float) -> int:
    """Scale every filter whose RMS exceeds the radius back to it, in place (masum2022, VI).

    Args:
        model: a convolution, or a network, all of whose convolutions are meant.
        radius: largest root of a filter's mean square, above 0; Zeiler and Fergus (2014) took
            0.1 for pixels within -128..128.

    Returns:
        How many filters were scaled; the others stay as they were, bit for bit.

    Raises:
        ValueError: a radius that is not above 0, a model without convolutions.
    """
    _check_radius(radius)
    changed = 0
    for layer in _convolutions(model):
        rms = layer.weight.double().square().mean(dim=(1, 2, 3)).sqrt()  # (maps,)
        over = rms > radius * (1 + ROUNDING * torch.finfo(layer.weight.dtype).eps)
        factors = (radius / rms[over])[:, None, None, None]
        layer.weight[over] = (layer.weight[over].double() * factors).to(layer.weight.dtype)
        changed += int(over.sum())
    return changed


class Renormalizing:
    """Train on every image and `renormalize` after each step: a policy for `fmlib.training.fit`.

    Args:
        model: the network that is trained, or the layer of it that is meant.
        radius: as for `renormalize`.
    """

    def __init__(self, model: nn.Module, radius: float) -> None:
        _check_radius(radius)
        _convolutions(model)
        self._model, self._radius = model, radius
        self._changed = 0

    def start_epoch(self) -> None:
        """Count anew."""
        self._changed = 0

    def keep(self, images: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        """Boolean mask (B,) that is True for every image."""
        return torch.ones(len(index), dtype=torch.bool, device=index.device)

    def after_step(self, images: Tensor, labels: Tensor, kept: Tensor, index: Tensor) -> None:
        """Scale the filters that the step has made too large."""
        self._changed += renormalize(self._model, self._radius)

    def report(self) -> Report:
        """How many filters were scaled in the epoch, each as often as it was."""
        return {"renormalized": [float(self._changed)]}


def filter_pictures(layer: nn.Module, *, stretch: bool = False) -> Tensor:
    """Filters as images in which grey stands for 0 (masum2022, Figure 7).

    Args:
        layer: a convolution; of the first layer, filters have the channels of images.
        stretch: False shows all filters on one scale, so that they can be compared; True lets
            each filter span the whole range by itself.

    Returns:
        (maps, in, kh, kw) in [0, 1]; 0.5 stands for 0, and 0 or 1 for the largest weight of the
        layer (or filter).

    Raises:
        ValueError: a layer that is no convolution.
    """
    weight = _convolution(layer).weight.detach()
    largest = weight.abs().amax(dim=(1, 2, 3) if stretch else (0, 1, 2, 3), keepdim=True)
    return 0.5 + weight / (2 * torch.where(largest > 0, largest, 1))


def map_maxima(model: nn.Module, images: Tensor, layer: str, *, chunk: int | None = None) -> Tensor:
    """Largest activation of each map of a layer over all images and positions.

    Args:
        model: any model that torchvision's feature extraction can trace.
        images: (N, C, H, W) in [0, 1].
        layer: the layer's name.
        chunk: images computed at a time; None: `fmlib.models.chunk_size`.

    Returns:
        (maps,).

    Raises:
        ValueError: no images, a layer that does not exist.
    """
    if len(images) == 0:
        raise ValueError("there are no images to look at; give at least one")
    extract = extractor(model, [layer])
    with torch.no_grad(), undisturbed(model):
        parts = [extract(part)[layer] for part in images.split(chunk or chunk_size(images))]
        maxima = [
            part.flatten(2).amax(dim=(0, 2)) if part.dim() > 2 else part.amax(0) for part in parts
        ]
    return torch.stack(maxima).amax(dim=0)  # (maps,)


def dead_share(
    model: nn.Module,
    images: Tensor,
    layer: str,
    *,
    share: float = 0.01,
    chunk: int | None = None,
) -> float:
    """Share of a layer's maps that are dead, in [0, 1] (masum2022, VII-A and Figure 7).

    A map is dead if its largest activation, over all images and positions, is at most `share`
    times the largest activation of all maps, or is not above 0.

    Args:
        model, images, layer, chunk: as for `map_maxima`.
        share: 0 to below 1; 0 counts the maps that are never above 0.

    Raises:
        ValueError: as for `map_maxima`, and a share outside its range.
    """
    if not 0 <= share < 1:
        raise ValueError(f"share is {share}; give a number from 0 to below 1")
    maxima = map_maxima(model, images, layer, chunk=chunk)
    dead = maxima <= (share * maxima.max()).clamp_min(0)
    return dead.double().mean().item()


class Profile(NamedTuple):
    """Shares (maps, F) of each filter's power at frequencies (F,), in cycles per pixel."""

    frequencies: Tensor
    power: Tensor


def frequency_profile(layer: nn.Module) -> Profile:
    """Power of each filter at the frequencies of which whole waves fit into it.

    They are those of the discrete Fourier transform, m/k for a filter of k pixels; in this
    basis the power adds up to the filter's sum of squares.  Frequency 0 holds the means of the
    filter's channels.  For filters of different sizes take `band_shares`.

    Args:
        layer: a convolution without dilation.

    Returns:
        Frequencies in ascending order, and shares that add up to 1 for every filter (NaN for a
        filter of zeros).

    Raises:
        ValueError: a layer that is no such convolution.
    """
    weight = _undilated(layer).weight.detach()
    height, width = weight.shape[2:]
    power = torch.fft.fft2(weight.double()).abs().square().sum(dim=1)  # (maps, kh, kw)
    down, right = (torch.fft.fftfreq(k, dtype=torch.float64).abs() for k in (height, width))
    ring = torch.maximum(down[:, None], right).to(weight.device)  # (kh, kw)
    frequencies, where = ring.flatten().unique(return_inverse=True)
    summed = power.new_zeros(len(power), len(frequencies)).index_add(1, where, power.flatten(1))
    shares = summed / summed.sum(dim=1, keepdim=True)  # (maps, F)
    return Profile(frequencies.to(weight), shares.to(weight))


def band_shares(layer: nn.Module, edges: Sequence[float]) -> Tensor:
    """Share of each filter's power in bands of frequencies, the same for filters of any size.

    The power is that of the response to every wave, whether or not whole ones fit into the
    filter, integrated in closed form.  A filter of independent random weights has in expectation
    the share of the band's area: (2 high)² - (2 low)².

    Args:
        layer: a convolution without dilation.
        edges: bounds of the bands in cycles per pixel, ascending from 0 to 0.5, at least two.

    Returns:
        (maps, bands) in [0, 1]; bands from 0 to 0.5 add up to 1 (NaN for a filter of zeros).

    Raises:
        ValueError: a layer that is no such convolution, edges that do not ascend.
    """
    ascending = len(edges) > 1 and all(low < high for low, high in pairwise(edges))
    if not ascending or not 0 <= edges[0] <= edges[-1] <= 0.5:
        raise ValueError(f"edges are {list(edges)}; give two or more that ascend from 0 to 0.5")
    weight = _undilated(layer).weight.detach()
    below = torch.stack([_share_within(weight, edge, edge) for edge in edges], dim=1)
    return below.diff(dim=1).clamp(0, 1).to(weight)  # (maps, bands)


def midrange_share(layer: nn.Module) -> Tensor:
    """Share of each filter's power between 1/8 and 3/8 cycles per pixel (masum2022, VII-A).

    Waves of 2.7 to 8 pixels; random weights have half of their power there in expectation.
    Takes a layer as for `band_shares` and returns (maps,) in [0, 1].
    """
    return band_shares(layer, MIDRANGE)[:, 0]


def aliased_share(layer: nn.Module, stride: int | tuple[int, int] | None = None) -> Tensor:
    """Share of each filter's power that its layer's stride aliases (masum2022, VII-A).

    A stride of s keeps waves apart up to 1/(2s) cycles per pixel, along rows and along columns.
    Random weights have a share of 1 - 1/s² in expectation, which is the value to compare with.

    Args:
        layer: a convolution without dilation.
        stride: stride to judge the filters by, at least 1; None: the layer's own.

    Returns:
        (maps,) in [0, 1]; NaN for a filter of zeros.

    Raises:
        ValueError: a layer that is no such convolution, a stride below 1.
    """
    convolution = _undilated(layer)
    chosen = convolution.stride if stride is None else stride
    down, right = (chosen, chosen) if isinstance(chosen, int) else chosen
    if min(down, right) < 1:
        raise ValueError(f"stride is {stride}; give whole numbers from 1")
    weight = convolution.weight.detach()
    return (1 - _share_within(weight, 1 / (2 * down), 1 / (2 * right))).clamp(0, 1).to(weight)


def _share_within(weight: Tensor, down: float, right: float) -> Tensor:
    """Share (maps,) of the filters' power at frequencies up to `down` and `right`.

    The integral of |sum of w exp(-2πi f x)|² over |f| <= b is w S w, with S from `_sinc`.
    """
    double = weight.double()
    rows, columns = (
        _sinc(size, bound).to(double)
        for size, bound in zip(weight.shape[2:], (down, right), strict=True)
    )
    passed = torch.einsum("mcij,ik,jl,mckl->m", double, rows, columns, double)
    return passed / double.square().sum(dim=(1, 2, 3))


def _sinc(size: int, bound: float) -> Tensor:
    """Integrals (size, size) of exp(2πi f (x - y)) over frequencies from -bound to bound."""
    places = torch.arange(size, dtype=torch.float64)
    return 2 * bound * torch.sinc(2 * bound * (places[:, None] - places))


def _check_radius(radius: float) -> None:
    """Refuse a radius that is not a positive number."""
    if not 0 < radius < math.inf:
        raise ValueError(f"radius is {radius}; give a number above 0")


def _convolutions(model: nn.Module) -> list[nn.Conv2d]:
    """Every convolution of a model, or the model itself if it is one."""
    found = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    if not found:
        raise ValueError(f"{type(model).__name__} has no Conv2d; give a network or layer with one")
    return found


def _convolution(layer: nn.Module) -> nn.Conv2d:
    """The layer, if it is a convolution."""
    if not isinstance(layer, nn.Conv2d):
        raise ValueError(f"the layer is a {type(layer).__name__}; give a Conv2d")
    return layer


def _undilated(layer: nn.Module) -> nn.Conv2d:
    """The layer, if it is a convolution whose weights lie on neighbouring pixels."""
    convolution = _convolution(layer)
    if convolution.dilation != (1, 1):
        raise ValueError(
            f"the layer has dilation {convolution.dilation}; give a convolution with dilation 1"
        )
    return convolution
