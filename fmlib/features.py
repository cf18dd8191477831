"""Feature maps of named layers, and the feature vectors of anand2022, section 5.1.

A feature map F_i(x, y) is channel i of a layer's output.  Its energy is the sum of its
absolute values; mean and deviation of the maps, put side by side or multiplied, are the
feature vector by which the cache compares images.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from fmlib import torchvision_compat as torchvision_compat  # must precede torchvision
from fmlib.models import CHUNK

Moments = Callable[[Tensor], tuple[Tensor, Tensor]]


def extractor(model: nn.Module, layers: list[str]) -> nn.Module:
    """A module that returns the outputs of the named layers and computes no further.

    It shares the weights of `model`, so it always sees the current ones.

    Args:
        model: any model that torchvision's feature extraction can trace.
        layers: names of layers, such as `conv1`.

    Raises:
        ValueError: a layer that does not exist; the message lists those that do.
    """
    # Imported here: it takes seconds, and mistakes in a user's settings are found without it.
    from torchvision.models.feature_extraction import create_feature_extractor

    known = [name for name, _ in model.named_children()]
    for layer in layers:
        if layer not in known:
            raise ValueError(f"layer {layer!r} does not exist; choose from {', '.join(known)}")
    graph: nn.Module = create_feature_extractor(model, return_nodes=list(layers))
    return graph


def activation_after(model: nn.Module, layer: str) -> nn.Module:
    """The activation that the model applies next after a layer (pooling may stand between)."""
    names = [name for name, _ in model.named_children()]
    following = list(model.children())[names.index(layer) + 1 :]
    for module in following:
        if isinstance(module, nn.ReLU | nn.LeakyReLU):
            return module
    raise ValueError(f"no activation follows layer {layer!r}; choose an earlier layer")


@torch.no_grad()
def feature_maps(
    model: nn.Module, images: Tensor, layers: list[str], chunk: int = CHUNK
) -> dict[str, Tensor]:
    """Feature maps of named layers.

    Args:
        model: as for `extractor`.
        images: (N, C, H, W) in [0, 1].
        layers: names of layers.
        chunk: images computed at a time.

    Returns:
        Per layer a tensor (N, maps, P, Q).
    """
    extract = extractor(model, layers)
    parts = [extract(part) for part in images.split(chunk)]
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
    mean = maps.mean(dim=(2, 3))
    return mean.abs(), _root_of_squares(maps, mean) / math.sqrt(maps[0, 0].numel() - 1)


def printed_moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean E/(PQ) of the absolute values, and root of their squared deviations over PQ.

    As printed in anand2022, 5.1: the root is taken before dividing by PQ.  Takes maps
    (N, maps, P, Q) and returns two tensors (N, maps).
    """
    size = maps.shape[2] * maps.shape[3]
    mean = energy(maps) / size
    return mean, _root_of_squares(maps.abs(), mean) / size


def standard_moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the absolute values, the root taken last.

    Takes maps (N, maps, P, Q) and returns two tensors (N, maps).
    """
    absolute = maps.abs()
    mean = absolute.mean(dim=(2, 3))
    return mean, _root_of_squares(absolute, mean) / math.sqrt(maps[0, 0].numel())


def _root_of_squares(maps: Tensor, mean: Tensor) -> Tensor:
    """Root of the summed squared deviations, several times faster than `torch.std`."""
    norm: Tensor = torch.linalg.vector_norm(maps - mean[..., None, None], dim=(2, 3))
    return norm  # (N, maps)


def _pairs(mean: Tensor, deviation: Tensor) -> Tensor:
    """(mean, deviation) of every map side by side."""
    return torch.stack((mean, deviation), dim=2).flatten(1)  # (N, 2 maps)


MOMENTS: dict[str, Moments] = {
    "released": released_moments,
    "printed": printed_moments,
    "standard": standard_moments,
}
VECTORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "pairs": _pairs,
    "product": lambda mean, deviation: mean * deviation,
    "mean": lambda mean, deviation: mean,
    "deviation": lambda mean, deviation: deviation,
}


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
