"""Feature maps as training images (anand2022, section 6.1), and images to compare them with."""

from collections.abc import Callable

import torch
from scipy.ndimage import gaussian_filter
from scipy.optimize import bisect
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib.features import feature_maps
from fmlib.models import chunk_size


def each_map(maps: Tensor, channels: int = 1) -> Tensor:
    """Every map as one image, as released: (N, maps, P, Q) becomes (N maps, channels, P, Q).

    For colour networks the map stands in all channels: a grey image.
    """
    return maps.flatten(0, 1)[:, None].expand(-1, channels, -1, -1)  # (N maps, channels, P, Q)


def mean_map(maps: Tensor, channels: int = 1) -> Tensor:
    """The mean of all maps as one image: (N, maps, P, Q) becomes (N, channels, P, Q)."""
    return maps.mean(1, keepdim=True).expand(-1, channels, -1, -1)  # (N, channels, P, Q)


WAYS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "each_map": each_map,
    "sum_map": lambda maps, channels: mean_map(maps, channels) * maps.shape[1],
    "mean_map": mean_map,
    "channels": lambda maps, channels: maps,
}
"""The ways of making images of maps (N, maps, P, Q) for a network of so many channels; by
`channels` all maps are one image, whose network needs a first layer of its own."""


def pad_to(images: Tensor, height: int, width: int) -> Tensor:
    """Surround images (N, C, P, Q) with zeros to (N, C, height, width).

    The same as padding at the first convolution, which the released code does so that a
    network for 28x28 images takes maps of 24x24.
    """
    rows, columns = height - images.shape[2], width - images.shape[3]
    if rows < 0 or columns < 0:
        raise ValueError(f"images of {tuple(images.shape[2:])} do not fit into {(height, width)}")
    return F.pad(images, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


def as_images(maps: Tensor, shape: tuple[int, int, int], way: str = "each_map") -> Tensor:
    """Maps (N, maps, P, Q) as images for a network that takes (C, H, W), zeros around them.

    `way` names a function in `WAYS`; the result is (M, C or maps, H, W), M = N maps by
    `each_map` and M = N by the others.
    """
    if way not in WAYS:
        raise ValueError(f"way {way!r} is not known; choose one of {', '.join(WAYS)}")
    return pad_to(WAYS[way](maps, shape[0]), *shape[1:])


def map_training_set(
    model: nn.Module, images: Tensor, labels: Tensor, layer: str = "conv1"
) -> tuple[Tensor, Tensor]:
    """Training images made of each of a layer's maps, before the activation, with their labels.

    Args:
        model: network whose maps are taken.
        images: (N, C, H, W) in [0, 1].
        labels: (N,).
        layer: layer name.

    Returns:
        Images (N maps, C, H, W), which are not in [0, 1] and bypass the model's scaling
        layer (`model[1:]` takes them), and labels (N maps,); map i of image n is image
        n maps + i.
    """
    maps = feature_maps(model, images, [layer])[layer]  # (N, maps, P, Q)
    channels, height, width = images.shape[1:]
    made = as_images(maps, (channels, height, width))
    return made, labels.repeat_interleave(maps.shape[1])


def repeat_images(images: Tensor, labels: Tensor, times: int) -> tuple[Tensor, Tensor]:
    """Each image `times` in a row: the control that trains as long on the originals."""
    return images.repeat_interleave(times, 0), labels.repeat_interleave(times)


def negative_share(images: Tensor) -> float:
    """Share of values below zero, between 0 and 1."""
    return (images < 0).to(torch.float64).mean().item()


def roughness(images: Tensor) -> float:
    """Mean squared step to the next pixel over the variance within images (N, C, H, W).

    The smoother, the smaller; neither a factor nor an added number changes it.  NaN if all
    images are flat.
    """
    sums = torch.zeros(3, dtype=torch.float64)
    for part in images.split(chunk_size(images)):
        deviations = part - part.mean((2, 3), keepdim=True)
        steps = part.diff(dim=2), part.diff(dim=3)
        sums += torch.stack([values.square().sum() for values in (*steps, deviations)]).cpu()
    height, width = images.shape[2:]
    sizes = torch.tensor([(height - 1) * width, height * (width - 1), height * width])
    down, across, variance = sums / sizes
    return float((down + across) / variance)


def blur(images: Tensor, sigma: float) -> Tensor:
    """Images (N, C, H, W) under a Gaussian blur of deviation `sigma` pixels, black around them.

    A sigma of 0 changes nothing.
    """
    blurred = gaussian_filter(images.numpy(), (0, 0, sigma, sigma), mode="constant")
    return torch.from_numpy(blurred)  # (N, C, H, W)


def equal_blur(images: Tensor, target: float) -> float:
    """The sigma that blurs images (N, C, H, W) to a roughness; 0 if they are no rougher.

    Found by bisection between 0 and H pixels.
    """
    if not roughness(images) > target:
        return 0.0
    return float(
        bisect(lambda s: roughness(blur(images, s)) - target, 0, images.shape[2], xtol=1e-4)
    )


def likeness(maps: Tensor, images: Tensor, sigma: float) -> Tensor:
    """Squared correlation, 0 to 1, of each map with the images blurred by `sigma` pixels.

    Over all pixels of all images, of which a border is left out where maps are smaller.

    Args:
        maps: (N, maps, P, Q).
        images: (N, 1, H, W), grey.
        sigma: deviation of the Gaussian blur; 0 leaves the images as they are.

    Returns:
        (maps,), NaN for a flat map.
    """
    rows, columns = ((images.shape[d] - maps.shape[d]) // 2 for d in (2, 3))
    blurred = blur(images, sigma) if sigma else images
    part = blurred[:, 0, rows : rows + maps.shape[2], columns : columns + maps.shape[3]]
    flat = torch.cat((part[:, None], maps), dim=1).transpose(0, 1).flatten(1)  # (1 + maps, pixels)
    return torch.corrcoef(flat.to(torch.float64))[0, 1:].square()


@torch.no_grad()
def dead_share(model: nn.Module, images: Tensor) -> float:
    """Share of the (Leaky)ReLU units that are positive for none of the images, between 0 and 1.

    A map counts as one unit, positive if any of its pixels is (anand2022, section 7.2).

    Args:
        model: sequential network, without its scaling layer if that has been applied.
        images: (N, C, H, W) as the model takes them.
    """
    alive = [_alive(model, part) for part in images.split(chunk_size(images))]
    return 1 - torch.stack(alive).any(0).to(torch.float64).mean().item()


def _alive(model: nn.Module, images: Tensor) -> Tensor:
    """Which (Leaky)ReLU units are positive for any of the images, Boolean (units,)."""
    alive = []
    for layer in model.children():
        images = layer(images)
        if isinstance(layer, nn.ReLU | nn.LeakyReLU):
            alive.append((images > 0).transpose(0, 1).flatten(1).any(1))
    return torch.cat(alive)
