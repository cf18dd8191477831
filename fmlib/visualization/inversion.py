"""Images found again from what a layer made of them, by gradient descent on the pixels.

Inversion as in masum2022, section III-B, after Mahendran and Vedaldi (2015): the picture's features
are to be those of the image; what keeps it from becoming noise is a norm and the total variation.
"""

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from fmlib.features import extractor
from fmlib.models import ImageShape
from fmlib.visualization.pictures import GREY
from fmlib.visualization.responses import images_at_a_time
from fmlib.visualization.units import output_shapes, undisturbed

SMALLEST = 1e-12
"""Least squared slope, so that a root of it can be differentiated."""


class InversionConfig(BaseModel):
    """Settings of inversion by gradient descent.

    What is minimized is the relative squared error of the features, and weighted by `intensity`
    and `variation` two means over the pixels: of the distance to grey to the power of `alpha`
    (1 at black and white), and of the length of the slope to the power of `beta`.

    Attributes:
        steps: gradients taken, by Adam.
        step: Adam's learning rate at the start; it falls linearly to 0.
        noise: standard deviation of the starting noise about grey (0.5).
        alpha: power of the norm (Mahendran and Vedaldi 2015, section 2, take 6).
        intensity: weight of that norm.
        beta: power of the total variation (section 2; 1 keeps edges, more smooths).
        variation: weight of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=200, ge=1)
    step: float = Field(default=0.05, gt=0, allow_inf_nan=False)
    noise: float = Field(default=0.05, ge=0, allow_inf_nan=False)
    alpha: float = Field(default=6.0, ge=1, allow_inf_nan=False)
    intensity: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    beta: float = Field(default=2.0, ge=1, allow_inf_nan=False)
    variation: float = Field(default=0.1, ge=0, allow_inf_nan=False)


def invert(
    model: nn.Module,
    layer: str,
    features: Tensor,
    image_shape: ImageShape,
    config: InversionConfig,
    seed: int,
) -> Tensor:
    """Pictures whose features in a layer are the given ones (Mahendran and Vedaldi 2015).

    Each picture is found as if alone; all start from the same noise.

    Args:
        model: any model that `fmlib.features.extractor` takes; images in [0, 1].
        layer: name of a layer.
        features: (N, maps, P, Q) or (N, D), that layer's outputs for N images, such as
            `fmlib.features.feature_maps` gives.
        image_shape: channels, height and width of the pictures, as the model takes them.
        config: settings.
        seed: of the starting noise.

    Returns:
        (N, C, H, W) in [0, 1].

    Raises:
        ValueError: a layer that does not exist, features of another shape, or of zeros only.
    """
    check_features(model, layer, features, image_shape)
    weight = next(model.parameters())
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(image_shape, generator=generator, dtype=torch.float64)
    start = (GREY + config.noise * noise).clamp(0, 1).to(weight)
    extract = extractor(model, [layer])
    chunk = images_at_a_time(start[None])
    with undisturbed(model):
        return torch.cat(
            [
                _descend(extract, layer, part, start.expand(len(part), *image_shape), config)
                for part in features.to(weight).split(chunk)
            ]
        )


def check_features(model: nn.Module, layer: str, features: Tensor, image_shape: ImageShape) -> None:
    """Refuse features that a layer does not have for images of this shape, or that are zero."""
    shape = output_shapes(model, [layer], image_shape)[layer]
    if tuple(features.shape[1:]) != shape or len(features) == 0:
        raise ValueError(
            f"features have the shape {tuple(features.shape)}, but layer {layer!r} gives (N, "
            f"{', '.join(map(str, shape))}) for images of this size"
        )
    zero = (features.flatten(1) == 0).all(dim=1)
    if zero.any():
        raise ValueError(
            f"the features of image {int(zero.nonzero()[0])} in layer {layer!r} are all zero, so "
            "that nothing can be found from them; leave it out"
        )


def _descend(
    extract: nn.Module, layer: str, features: Tensor, start: Tensor, config: InversionConfig
) -> Tensor:
    pictures = start.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([pictures], lr=config.step)
    fall = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1 / config.steps, config.steps)
    for _ in range(config.steps):
        optimizer.zero_grad()
        errors = relative_error(extract(pictures)[layer], features)
        (errors + penalty(pictures, config)).sum().backward()
        optimizer.step()
        fall.step()
        with torch.no_grad():
            pictures.clamp_(0, 1)
    return pictures.detach()


def relative_error(found: Tensor, wanted: Tensor) -> Tensor:
    """Squared distance of features over their squared length (Mahendran and Vedaldi 2015, 2).

    Takes two tensors (N, ...) of one shape and returns (N,).
    """
    return (found - wanted).flatten(1).square().sum(dim=1) / wanted.flatten(1).square().sum(dim=1)


def penalty(pictures: Tensor, config: InversionConfig) -> Tensor:
    """What the two regularizers add for each picture of (N, C, H, W), weighted; (N,)."""
    distance = 2 * (pictures - GREY).abs()
    norm = distance.pow(config.alpha).mean(dim=(1, 2, 3))
    return config.intensity * norm + config.variation * variation(pictures, config.beta)


def variation(pictures: Tensor, beta: float) -> Tensor:
    """Mean over the pixels of the slope's length to the power beta (Mahendran and Vedaldi 2015).

    The slope has the differences to the next pixel on the right and below, 0 beyond the border.
    Takes (N, C, H, W) and returns (N,).
    """
    squares = torch.zeros_like(pictures)
    squares[..., :-1] += (pictures[..., 1:] - pictures[..., :-1]).square()
    squares[..., :-1, :] += (pictures[..., 1:, :] - pictures[..., :-1, :]).square()
    return squares.clamp_min(SMALLEST).pow(beta / 2).mean(dim=(1, 2, 3))


def mean_distance(images: Tensor) -> float:
    """Mean Euclidean distance of two different images of (N, C, H, W): the unit of errors.

    Raises:
        ValueError: fewer than two images.
    """
    if len(images) < 2:
        raise ValueError(f"there is {len(images)} image; give at least two to take distances of")
    return torch.pdist(images.flatten(1)).mean().item()


def reconstruction_error(pictures: Tensor, images: Tensor, distance: float) -> Tensor:
    """Euclidean distance of pictures from their images (Dosovitskiy and Brox 2016).

    Args:
        pictures, images: (N, C, H, W) of one shape.
        distance: of different images, as `mean_distance` gives it.

    Returns:
        (N,), 0 for the image itself, 1 for what is as far from it as another image on average.
    """
    distances: Tensor = (pictures - images).flatten(1).norm(dim=1)
    return distances / distance
