"""Pictures that a unit responds to most, found by gradient ascent on the pixels.

Activation maximization as in punjabi2017, section III, and masum2022, section III-A: a picture
starts as grey with a little noise and moves along the gradient of the unit's activation; what
keeps it from becoming noise is chosen by `AscentConfig`.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib.features import extractor
from fmlib.models import ImageShape, chunk_size, class_layer
from fmlib.visualization.pictures import GREY, total_variation
from fmlib.visualization.units import (
    Unit,
    activations,
    check_units,
    probabilities,
    undisturbed,
)

EPSILON = 1e-12
"""Added to a gradient's length, so that one of 0 moves nothing."""
BINOMIAL = {3: (1.0, 2.0, 1.0), 5: (1.0, 4.0, 6.0, 4.0, 1.0)}


class AscentConfig(BaseModel):
    """Settings of gradient ascent; the defaults regularize as punjabi2017, section III, does.

    Attributes:
        steps: gradients taken.
        optimizer: `gradient`: steps of one length along the gradient; `adam`: Adam's.
        step: L2 length of a picture's step, or Adam's learning rate; pixels are in [0, 1].
        noise: standard deviation of the starting noise about grey (0.5).
        variation: weight of the total variation, a sum over all values, in what is minimized.
        l2: weight of the squared distance to grey, a sum over all values, likewise.
        decay: share of the distance to grey that every step takes away (Yosinski et al. 2015).
        shift: the unit sees the picture moved by up to so many pixels, another way in each step;
            what leaves at one side comes in at the other.
        flip: the unit sees the picture mirrored in half of the steps.
        median: side of a median filter, 1 (none), 3 or 5.
        median_every: steps from one median filter to the next.
        blur: taps of a binomial blur, nearly a Gaussian: 1 (none), 3 or 5.
        blur_every: steps from one blur to the next.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=40, ge=1)
    optimizer: Literal["gradient", "adam"] = "gradient"
    step: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    noise: float = Field(default=0.05, ge=0, allow_inf_nan=False)
    variation: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    l2: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    decay: float = Field(default=0.0, ge=0, le=1)
    shift: int = Field(default=0, ge=0)
    flip: bool = False
    median: Literal[1, 3, 5] = 5
    median_every: int = Field(default=4, ge=1)
    blur: Literal[1, 3, 5] = 1
    blur_every: int = Field(default=4, ge=1)


PUBLISHED = AscentConfig()
"""Clipping, and a 5x5 median filter every four steps, as in punjabi2017; steps are not stated."""
SMALL = AscentConfig(
    steps=120,
    optimizer="adam",
    step=0.02,
    variation=0.03,
    l2=0.05,
    shift=3,
    flip=True,
    median=1,
)
"""For pictures of about 32x32 pixels, in which a 5x5 median filter leaves nothing but blobs."""


class Ascent(NamedTuple):
    """Pictures (U, C, H, W) in [0, 1], one per unit, and what the network makes of them.

    `activations` (U,) are those of the units, `probabilities` (U,) those of their classes, NaN
    for units that are no classes.
    """

    pictures: Tensor
    activations: Tensor
    probabilities: Tensor


def maximize(
    model: nn.Module,
    units: Sequence[Unit],
    image_shape: ImageShape,
    config: AscentConfig,
    seed: int,
) -> Ascent:
    """Pictures that raise each unit's activation, by gradient ascent from noise.

    Units of one layer share a batch, and each finds its picture as if alone.  For a class, give
    the layer before the softmax, and before a last ReLU (`classifier.1` of torchvision's
    SqueezeNet): where that is 0, there is no gradient.

    Args:
        model: any model that `fmlib.features.extractor` takes; images in [0, 1].
        units: what to maximize, of any layers.
        image_shape: channels, height and width of the pictures, as the model takes them.
        config: settings, such as `PUBLISHED` or `SMALL`.
        seed: decides the starting noise of each unit, and how pictures are shifted and flipped;
            so a unit starts alike at all epochs of a training.

    Returns:
        Pictures, activations and probabilities, in the order of the units.

    Raises:
        ValueError: units that the model does not have, settings that the size rules out.
    """
    check_units(model, units, image_shape)
    _check_size(config, image_shape)
    weight = next(model.parameters())
    starts = [GREY + config.noise * _noise(unit, image_shape, seed) for unit in units]
    pictures = torch.stack(starts).clamp(0, 1).to(weight)
    reached = pictures.new_zeros(2, len(units))
    with undisturbed(model):
        for layer in dict.fromkeys(unit.layer for unit in units):
            extract = extractor(model, [layer])
            members = [number for number, unit in enumerate(units) if unit.layer == layer]
            for part in torch.tensor(members).split(chunk_size(pictures)):
                chosen = [units[number] for number in part.tolist()]
                pictures[part] = _climb(extract, chosen, pictures[part], config, seed)
                reached[:, part] = _reached(model, extract, chosen, pictures[part])
    return Ascent(pictures, *reached)


def _check_size(config: AscentConfig, image_shape: ImageShape) -> None:
    """Refuse settings that reach beyond the picture."""
    side, size = min(image_shape[1:]), "x".join(map(str, image_shape[1:]))
    if config.shift >= side:
        raise ValueError(f"shift is {config.shift}, but pictures are {size}; give 0 to {side - 1}")
    for name, width in (("median", config.median), ("blur", config.blur)):
        if width >= 2 * side:
            raise ValueError(
                f"{name} is {width}, but pictures are {size}; give at most {2 * side - 1}"
            )


def _noise(unit: Unit, image_shape: ImageShape, seed: int) -> Tensor:
    """Standard normal noise (C, H, W), decided by seed and unit alone."""
    name = f"{seed} {unit.layer} {unit.index}"
    if unit.position is not None:
        name += f" {unit.position[0]} {unit.position[1]}"
    own = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
    generator = torch.Generator().manual_seed(own)
    return torch.randn(image_shape, generator=generator, dtype=torch.float64)


def _climb(
    extract: nn.Module, units: Sequence[Unit], start: Tensor, config: AscentConfig, seed: int
) -> Tensor:
    """Pictures (N, C, H, W) where the steps from the start lead, for N units of one layer."""
    draw = torch.Generator().manual_seed(seed)
    pictures = start.clone().requires_grad_()
    adam = config.optimizer == "adam"
    optimizer = (torch.optim.Adam if adam else torch.optim.SGD)(
        [pictures], lr=config.step, maximize=True
    )
    for step in range(1, config.steps + 1):
        seen = _moved(pictures, config, draw)
        height = activations(extract(seen)[units[0].layer], units).sum() - _penalty(
            pictures, config
        )
        (gradient,) = torch.autograd.grad(height, pictures)
        pictures.grad = gradient if adam else _of_unit_length(gradient)
        optimizer.step()
        with torch.no_grad():
            pictures.copy_(_regularized(pictures, step, config))
    return pictures.detach()


def _moved(pictures: Tensor, config: AscentConfig, draw: torch.Generator) -> Tensor:
    """Pictures shifted and perhaps mirrored, all of them alike."""
    down, right = torch.randint(-config.shift, config.shift + 1, (2,), generator=draw).tolist()
    mirrored = bool(torch.randint(2, (), generator=draw)) and config.flip
    if down or right:
        pictures = pictures.roll((down, right), dims=(2, 3))
    return pictures.flip(3) if mirrored else pictures


def _penalty(pictures: Tensor, config: AscentConfig) -> Tensor:
    """What the settings subtract from the activations, summed over the pictures."""
    penalty = pictures.new_zeros(())
    if config.variation:
        variation = total_variation(pictures).sum() * pictures[0].numel()
        penalty = penalty + config.variation * variation
    if config.l2:
        penalty = penalty + config.l2 * (pictures - GREY).square().sum()
    return penalty


def _of_unit_length(gradient: Tensor) -> Tensor:
    """Each picture's gradient divided by its L2 length; a gradient of 0 stays 0."""
    length: Tensor = gradient.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)  # (N, 1, 1, 1)
    return gradient / (length + EPSILON)


def _regularized(pictures: Tensor, step: int, config: AscentConfig) -> Tensor:
    """Pictures after a step: decayed, clipped and, in some steps, filtered."""
    if config.decay:
        pictures = GREY + (1 - config.decay) * (pictures - GREY)
    pictures = pictures.clamp(0, 1)
    if step % config.median_every == 0:
        pictures = median_filter(pictures, config.median)
    if step % config.blur_every == 0:
        pictures = binomial_blur(pictures, config.blur)
    return pictures


def median_filter(pictures: Tensor, size: int) -> Tensor:
    """Median of the square around each pixel, channel by channel; edges are mirrored.

    Takes (N, C, H, W) and an odd side up to twice the pictures'; returns the same shape.  One
    picture at a time, since each is copied size² times.
    """
    if size == 1:
        return pictures
    padded = F.pad(pictures, [size // 2] * 4, mode="reflect")
    windows = padded.unfold(2, size, 1).unfold(3, size, 1)  # (N, C, H, W, size, size)
    return torch.stack([window.flatten(-2).median(dim=-1).values for window in windows])


def binomial_blur(pictures: Tensor, taps: int) -> Tensor:
    """Blur by binomial weights along both axes, channel by channel; edges are mirrored.

    Takes (N, C, H, W) and 1 (none), 3 or 5 taps; returns the same shape.
    """
    if taps == 1:
        return pictures
    weights = pictures.new_tensor(BINOMIAL[taps])
    kernel = (weights[:, None] * weights / weights.sum() ** 2)[None, None]  # (1, 1, taps, taps)
    planes = pictures.flatten(0, 1)[:, None]  # (N C, 1, H, W)
    blurred = F.conv2d(F.pad(planes, [taps // 2] * 4, mode="reflect"), kernel)
    return blurred.reshape(pictures.shape)  # (N, C, H, W)


@torch.no_grad()
def _reached(
    model: nn.Module, extract: nn.Module, units: Sequence[Unit], pictures: Tensor
) -> Tensor:
    """Activations of units of one layer and probabilities of their classes, (2, N)."""
    layer = units[0].layer
    outputs = extract(pictures)[layer]
    found = torch.full_like(pictures[:, 0, 0, 0], torch.nan)
    if layer in _class_layers(model):
        shares = probabilities(model(pictures))  # (N, classes)
        if shares.shape[1] == outputs.shape[1]:
            found = activations(shares, units)
    return torch.stack((activations(outputs, units), found))


def _class_layers(model: nn.Module) -> set[str]:
    """Names of the last layer with weights, of those after it and of those that contain it."""
    names = [name for name, _ in model.named_modules() if name]
    last = class_layer(model)
    around = {name for name in names if last.startswith(f"{name}.")}
    return around.union(names[names.index(last) :])
