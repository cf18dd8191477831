"""What a network makes of images, a few at a time: outputs of its layers, scores of its classes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fmlib.features import feature_maps
from fmlib.models import chunk_size
from fmlib.visualization.units import undisturbed

PIXELS = 32 * 32
"""Pixels of the images that `fmlib.models.chunk_size` speaks of; of larger ones fewer are taken."""


def images_at_a_time(images: Tensor) -> int:
    """How many images (N, C, H, W) to compute at a time, so that memory does not grow with size."""
    return max(1, chunk_size(images) * PIXELS // (images.shape[-2] * images.shape[-1]))


def layer_outputs(model: nn.Module, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Outputs (N, ...) of the named layers for images (N, C, H, W), on the model's device.

    Raises:
        ValueError: images that the model cannot take, or a layer that does not exist.
    """
    check_images(model, images)
    images = images.to(next(model.parameters()).device)
    with undisturbed(model):
        return feature_maps(model, images, list(dict.fromkeys(layers)), images_at_a_time(images))


def check_images(model: nn.Module, images: Tensor) -> None:
    """Refuse what are no images (N, C, H, W) of the type that the model computes in."""
    if images.dim() != 4 or images.numel() == 0:
        raise ValueError(f"images have the shape {tuple(images.shape)}; give (N, C, H, W)")
    dtype = next(model.parameters()).dtype
    if images.dtype != dtype:
        raise ValueError(
            f"images are {images.dtype}, but the model is {dtype}; convert one of them"
        )


def scores_layer(model: nn.Module) -> str:
    """Name of the layer whose outputs are the scores of the classes, before any softmax.

    It is the last layer that the model lists or, if that is a softmax, the one before.
    """
    layers: dict[str, nn.Module] = dict(model.named_modules())
    *_, before, last = "", *(name for name, layer in layers.items() if not any(layer.children()))
    return before if before and isinstance(layers[last], nn.LogSoftmax | nn.Softmax) else last


@torch.no_grad()
def check_scores(model: nn.Module, images: Tensor, scores: Tensor) -> None:
    """Refuse a model whose outputs do not come from what `scores_layer` finds.

    Takes a few images (N, C, H, W) and their scores (N, classes).
    """
    with undisturbed(model):
        outputs = model(images.to(scores.device)).flatten(1)  # (N, classes)
    possible = scores, scores.log_softmax(dim=1), scores.softmax(dim=1)
    if not any(
        outputs.shape == each.shape and torch.allclose(outputs, each, atol=1e-4)
        for each in possible
    ):
        raise ValueError(
            f"layer {scores_layer(model)!r} does not give the model's scores; list the layer that "
            "does last, or before a last nn.LogSoftmax"
        )
