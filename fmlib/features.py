"""Feature maps of named layers, and the feature vectors of anand2022, section 5.1.

A feature map F_i(x, y) is channel i of a layer's output.  Its energy is the sum of its
absolute values; mean and deviation of the maps, put side by side or multiplied, are the
feature vector by which the cache compares images.
"""

from collections.abc import Callable
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib import torchvision_compat as torchvision_compat  # must precede torchvision
from fmlib.models import chunk_size, evaluating

Moments = Callable[[Tensor], tuple[Tensor, Tensor]]


def extractor(model: nn.Module, layers: list[str]) -> nn.Module:
    """A module that returns the outputs of the named layers and computes no further.

    It shares the weights of `model`, so it always sees the current ones.  The model computes as
    in evaluation, whatever mode it is in: looking leaves its layers as they were.

    Args:
        model: any model that torchvision's feature extraction can trace.
        layers: names of layers, such as `conv1`, or `block.conv1` for one within another.

    Raises:
        ValueError: a layer that does not exist; the message lists those that do.  Or a model
            that cannot be traced, since it decides by the values of tensors what to compute.
    """
    # Imported here: it takes seconds, and mistakes in a user's settings are found without it.
    from torchvision.models.feature_extraction import create_feature_extractor

    known = _layers(model)
    for layer in layers:
        if layer not in known:
            raise ValueError(f"layer {layer!r} does not exist; choose from {', '.join(known)}")
    try:
        with evaluating(model):
            return _Evaluated(create_feature_extractor(model, return_nodes=list(layers)))
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"the model cannot be traced to {', '.join(layers)} ({error}); give the part of it "
            "that holds these layers and takes the images"
        ) from error


class _Evaluated(nn.Module):
    """A module that computes as in evaluation, in whatever mode the layers are that it shares."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Outputs by name for images (N, C, H, W)."""
        with evaluating(self.graph):
            outputs: dict[str, Tensor] = self.graph(images)
        return outputs


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    """Every layer of a model by name, those within others included."""
    return {name: layer for name, layer in model.named_modules() if name}


def activation_after(model: nn.Module, layer: str) -> nn.Module:
    """The activation that the model applies next after a layer (pooling may stand between).

    Next in the order in which the model lists its layers.
    """
    layers = _layers(model)
    for name in list(layers)[list(layers).index(layer) + 1 :]:
        if isinstance(layers[name], nn.ReLU | nn.LeakyReLU) and not name.startswith(f"{layer}."):
            return layers[name]
    raise ValueError(f"no activation follows layer {layer!r}; choose an earlier layer")


@torch.no_grad()
def feature_maps(
    model: nn.Module, images: Tensor, layers: list[str], chunk: int | None = None
) -> dict[str, Tensor]:
    """Feature maps of named layers.

    Args:
        model: as for `extractor`.
        images: (N, C, H, W) in [0, 1].
        layers: names of layers.
        chunk: images computed at a time; None: `fmlib.models.chunk_size`.

    Returns:
        Per layer a tensor (N, maps, P, Q).
    """
    extract = extractor(model, layers)
    parts = [extract(part) for part in images.split(chunk or chunk_size(images))]
    return {layer: torch.cat([part[layer] for part in parts]) for layer in layers}


def energy(maps: Tensor) -> Tensor:
    """Energy of each map: the sum of its absolute values (anand2022, 5.1).

    Takes maps (N, maps, P, Q) and returns (N, maps).
    """
    return maps.abs().sum(dim=(2, 3))


def released_moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Absolute value of each signed map's mean, and its unbiased deviation (released code).

    Takes maps (N, maps, P, Q) and returns two tensors (N, maps).
    """
    mean, squares = _mean_and_squares(maps)
    return mean.abs(), (squares / (maps[0, 0].numel() - 1)).sqrt()


def printed_moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean E/(PQ) of the absolute values, and root of their squared deviations over PQ.

    As printed in anand2022, 5.1: the root is taken before dividing by PQ.  Takes maps
    (N, maps, P, Q) and returns two tensors (N, maps).
    """
    mean, squares = _mean_and_squares(maps.abs())
    return mean, squares.sqrt() / maps[0, 0].numel()


def standard_moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the absolute values, the root taken last.

    Takes maps (N, maps, P, Q) and returns two tensors (N, maps).
    """
    mean, squares = _mean_and_squares(maps.abs())
    return mean, (squares / maps[0, 0].numel()).sqrt()


def _mean_and_squares(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of each map and the sum of its squared deviations from it, two tensors (N, maps).

    From sums of F and F² over each map, in whatever order memory holds it, which is many times
    faster than `torch.std`.  A pixel is subtracted first, so that the two sums do not cancel.
    """
    pixel = maps[:, :, :1, :1]
    shifted = maps - pixel
    size = maps.shape[2] * maps.shape[3]
    sums = shifted.sum(dim=(2, 3))
    squares = shifted.square().sum(dim=(2, 3)) - sums.square() / size
    return sums / size + pixel[:, :, 0, 0], squares.clamp_min(0)


def has_patch_statistics(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether a layer is a convolution without groups, dilation or other padding than zeros."""
    return (
        isinstance(layer, nn.Conv2d)
        and layer.groups == 1
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def patch_statistics(conv: nn.Conv2d, inputs: Tensor) -> Tensor:
    """Mean and covariance of the patches that a convolution sees in each of its inputs.

    A map takes the values F = w p + b over all patches p of an input, so that its mean is
    w mean(p) + b and its variance w cov(p) w.  These statistics do not change while w is
    trained; `moments_from_patches` gives the moments of every map from them.

    Args:
        conv: `has_patch_statistics` says which ones can be taken.
        inputs: (N, C, H, W) as the convolution takes them.

    Returns:
        (N, D (D + 3) / 2), D means and then the unbiased covariances; a patch has D numbers.
    """
    (height, width), (down, right) = conv.kernel_size, conv.stride
    rows, columns = (int(p) for p in conv.padding)
    size = conv.weight[0].numel()
    windows = F.pad(inputs, (columns, columns, rows, rows))
    windows = windows.unfold(2, height, down).unfold(3, width, right)  # (N, C, P, Q, kh, kw)
    patches = windows.permute(0, 1, 4, 5, 2, 3).reshape(len(inputs), size, -1)  # (N, D, PQ)
    means = patches.mean(dim=2)
    patches -= means[..., None]
    covariances = patches @ patches.mT / (patches.shape[2] - 1)  # (N, D, D)
    first, second = torch.triu_indices(size, size, device=inputs.device)
    return torch.cat((means, covariances[:, first, second]), dim=1)


@torch.no_grad()
def moments_from_patches(conv: nn.Conv2d, statistics: Tensor) -> tuple[Tensor, Tensor]:
    """`released_moments` of a convolution's maps, without computing the maps.

    Takes the convolution and rows (N, ...) of its `patch_statistics`; returns two tensors
    (N, maps).  It is a product of matrices, far cheaper than the convolution.
    """
    weight = conv.weight.flatten(1)  # (maps, D)
    size = weight.shape[1]
    first, second = torch.triu_indices(size, size, device=weight.device)
    twice = 2 - (first == second).to(weight)  # a covariance stands for both of its places
    squares = weight[:, first] * weight[:, second] * twice  # (maps, D (D + 1) / 2)
    mean = statistics[:, :size] @ weight.T  # (N, maps)
    if conv.bias is not None:
        mean += conv.bias
    return mean.abs(), (statistics[:, size:] @ squares.T).clamp_min(0).sqrt()


def _pairs(mean: Tensor, deviation: Tensor) -> Tensor:
    """(mean, deviation) of every map side by side."""
    return torch.stack((mean, deviation), dim=2).flatten(1)  # (N, 2 maps)


MOMENTS: dict[str, Moments] = {
    "released": released_moments,
    "printed": printed_moments,
    "standard": standard_moments,
}
"""Mean and deviation (N, maps) of maps (N, maps, P, Q), by the name of the reading."""
VECTORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "pairs": _pairs,
    "product": lambda mean, deviation: mean * deviation,
    "mean": lambda mean, deviation: mean,
    "deviation": lambda mean, deviation: deviation,
}
"""Feature vectors (N, D) of means and deviations (N, maps), by name."""


def feature_vectors(maps: Tensor, moments: str = "released", vector: str = "pairs") -> Tensor:
    """Feature vectors of images from their maps (anand2022, 5.1).

    Args:
        maps: (N, maps, P, Q) of one layer.
        moments: `released`, `printed` or `standard`: how mean and deviation are taken.
        vector: `pairs` (2 numbers a map), `product`, `mean` or `deviation` (1 number a map).

    Returns:
        (N, D) with D = 2 maps for `pairs`, else the number of maps.
    """
    for name, value, choices in (("moments", moments, MOMENTS), ("vector", vector, VECTORS)):
        if value not in choices:
            raise ValueError(f"{name} {value!r} is not known; choose one of {', '.join(choices)}")
    return VECTORS[vector](*MOMENTS[moments](maps))


def cosine_similarity(queries: Tensor, cached: Tensor) -> Tensor:
    """Cosine of the angle between each query and each cached vector (anand2022, 5.2).

    Takes queries (N, D) and cached (K, D) and returns (N, K); 0/0, the cosine with a zero
    vector, is NaN.
    """
    products = queries @ cached.T  # (N, K)
    cosines: Tensor = products / (queries.norm(dim=1, keepdim=True) * cached.norm(dim=1))
    return cosines
