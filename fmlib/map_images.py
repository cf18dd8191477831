"""Feature maps as training images (anand2022, section 6.1)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib.features import feature_maps


def each_map(maps: Tensor, channels: int = 1) -> Tensor:
    """Every map as one image, as released: (N, maps, P, Q) becomes (N maps, channels, P, Q).

    For colour networks the map stands in all channels: a grey image.
    """
    return maps.flatten(0, 1)[:, None].repeat(1, channels, 1, 1)  # (N maps, channels, P, Q)


def pad_to(images: Tensor, height: int, width: int) -> Tensor:
    """Surround images (N, C, P, Q) with zeros to (N, C, height, width).

    The same as padding at the first convolution, which the released code does so that a
    network for 28x28 images takes maps of 24x24.
    """
    rows, columns = height - images.shape[2], width - images.shape[3]
    if rows < 0 or columns < 0:
        raise ValueError(f"images of {tuple(images.shape[2:])} do not fit into {(height, width)}")
    return F.pad(images, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


def map_training_set(
    model: nn.Module, images: Tensor, labels: Tensor, layer: str = "conv1"
) -> tuple[Tensor, Tensor]:
    """Training images made of a layer's maps, before the activation, with their labels.

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
    as_images = pad_to(each_map(maps, images.shape[1]), images.shape[2], images.shape[3])
    return as_images, labels.repeat_interleave(maps.shape[1])


def repeat_images(images: Tensor, labels: Tensor, times: int) -> tuple[Tensor, Tensor]:
    """Each image `times` in a row: the control that trains as long on the originals."""
    return images.repeat_interleave(times, 0), labels.repeat_interleave(times)


def negative_share(images: Tensor) -> float:
    """Share of values below zero, between 0 and 1."""
    return (images < 0).to(torch.float64).mean().item()
