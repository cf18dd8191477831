"""Images found again from what a layer made of them, by a network that is trained to do so.

The up-convolutional inversion of masum2022, section III-B, after Dosovitskiy and Brox (2016):
transposed convolutions, trained for the squared error of the pixels.
"""

from itertools import pairwise
from math import ceil, log2
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib.features import extractor
from fmlib.models import ImageShape, Scale, chunk_size
from fmlib.visualization.responses import check_images, images_at_a_time
from fmlib.visualization.units import output_shapes, undisturbed

SLOPE = 0.2
"""Of the leaky ReLUs, below zero."""
MOST_MAPS = 64
REDUCTION = 8
"""How much smaller than the image the first maps are where a layer has none."""


class DecoderConfig(BaseModel):
    """Settings of an up-convolutional network and its training.

    Attributes:
        width: half the maps at half the size of the image; at each halving there are twice as
            many, at most 64.
        epochs: how often every image is visited.
        batch_size: images of a step.
        learning_rate: Adam's at the start; it falls linearly to 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(default=8, ge=1)
    epochs: int = Field(default=4, ge=1)
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=0.005, gt=0, allow_inf_nan=False)


class Decoder(NamedTuple):
    """A network from a layer's features to images, and its mean loss by epoch."""

    layer: str
    network: nn.Sequential
    losses: tuple[float, ...]


def train_decoder(
    model: nn.Module, layer: str, images: Tensor, config: DecoderConfig, seed: int
) -> Decoder:
    """Train a network to give back images from a layer's features (Dosovitskiy and Brox 2016).

    Args:
        model: whose layer is looked at; it is not trained.  Any that `fmlib.features.extractor`
            takes.
        layer: name of a layer with maps, or of one with numbers.
        images: (N, C, H, W) in [0, 1], of the model's type: what is trained on.
        config: settings.
        seed: draws the weights and orders the batches.

    Returns:
        The decoder, on the model's device.

    Raises:
        ValueError: a layer that does not exist, images that the model cannot take.
    """
    check_images(model, images)
    _, channels, height, width = images.shape
    shape = output_shapes(model, [layer], (channels, height, width))[layer]
    images = images.to(next(model.parameters()).device)
    extract = extractor(model, [layer])
    with undisturbed(model):
        scale = _standardizing(extract, layer, images)
        network = decoder(shape, (channels, height, width), config.width, seed, scale)
        _start_at(network, images.mean(dim=(0, 2, 3)))
        losses = _fit(network, extract, layer, images, config, seed)
    return Decoder(layer, network.eval(), losses)


@torch.no_grad()
def reconstruct(found: Decoder, features: Tensor) -> Tensor:
    """Pictures (N, C, H, W) in [0, 1] from features (N, maps, P, Q) or (N, D) of the layer."""
    parts = features.split(chunk_size(features))
    return torch.cat([found.network(part).clamp(0, 1) for part in parts])


def decoder(
    features: tuple[int, ...], image_shape: ImageShape, width: int, seed: int, scale: Scale
) -> nn.Sequential:
    """An up-convolutional network with weights drawn by a seed.

    A 3x3 convolution (for numbers a linear layer), then as many transposed convolutions (4x4,
    stride 2) as sizes are about halved on the way down, or one that keeps the size (3x3), with
    leaky ReLUs between them; what then still differs in size is resized.

    Args:
        features: (maps, P, Q) or (D,) of what it takes.
        image_shape: (C, H, W) of what it gives.
        width: as in `DecoderConfig`.
        seed: draws the weights.
        scale: first layer, of (maps or D, 1, 1) numbers.
    """
    channels, height, width_of_image = image_shape
    plane = (height, width_of_image)
    start = features[1:] or tuple(ceil(side / REDUCTION) for side in plane)
    times = max(0, *(round(log2(end / side)) for side, end in zip(start, plane, strict=True)))
    maps = [min(MOST_MAPS, width * 2**power) for power in range(times, 0, -1)] or [width]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        layers = _first(features, start, maps[0], scale)
        for before, after in pairwise([*maps, channels]):
            layers.append(nn.LeakyReLU(SLOPE))
            sides = (4, 2, 1) if times else (3, 1, 1)
            layers.append(nn.ConvTranspose2d(before, after, *sides, dtype=scale.factor.dtype))
    if any(side * 2**times != end for side, end in zip(start, plane, strict=True)):
        layers.append(nn.Upsample(plane, mode="bilinear"))
    return nn.Sequential(*layers).to(scale.factor.device)


def _first(
    features: tuple[int, ...], start: tuple[int, ...], maps: int, scale: Scale
) -> list[nn.Module]:
    """Layers from features to the first maps, of the size `start`."""
    dtype = scale.factor.dtype
    if len(features) == 3:
        return [scale, nn.ConvTranspose2d(features[0], maps, 3, padding=1, dtype=dtype)]
    return [
        nn.Unflatten(1, (features[0], 1, 1)),
        scale,
        nn.Flatten(),
        nn.Linear(features[0], maps * start[0] * start[1], dtype=dtype),
        nn.Unflatten(1, (maps, *start)),
    ]


def _standardizing(extract: nn.Module, layer: str, images: Tensor) -> Scale:
    """To mean 0 and deviation 1, map by map or number by number, over the images."""
    total = squares = torch.zeros((), dtype=images.dtype, device=images.device)
    count = 0
    with torch.no_grad():
        for part in images.split(images_at_a_time(images)):
            found = extract(part)[layer]
            planes = found.reshape(len(part), found.shape[1], -1)  # (n, maps or D, P Q or 1)
            total = total + planes.sum(dim=(0, 2))
            squares = squares + planes.square().sum(dim=(0, 2))
            count += len(part) * planes.shape[2]
    mean = total / count
    deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
    factor = torch.where(deviation > 0, 1 / deviation.clamp_min(1e-12), 0)
    return Scale(factor, -mean * factor)


def _start_at(network: nn.Sequential, colour: Tensor) -> None:
    """Let a network's pictures vary about a colour (C,) from the start."""
    *_, last = (layer for layer in network if isinstance(layer, nn.ConvTranspose2d))
    with torch.no_grad():
        last.get_parameter("bias").copy_(colour)


def _fit(
    network: nn.Sequential,
    extract: nn.Module,
    layer: str,
    images: Tensor,
    config: DecoderConfig,
    seed: int,
) -> tuple[float, ...]:
    """Train for the squared error of the pixels; mean loss by epoch."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    steps = config.epochs * ceil(len(images) / config.batch_size)
    fall = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1 / steps, steps)
    losses = []
    for _ in range(config.epochs):
        order = torch.randperm(len(images), generator=generator).to(images.device)
        total = 0.0
        for batch in order.split(config.batch_size):
            with torch.no_grad():
                features = extract(images[batch])[layer]
            optimizer.zero_grad()
            loss = F.mse_loss(network(features), images[batch])
            loss.backward()
            optimizer.step()
            fall.step()
            total += loss.item() * len(batch)
        losses.append(total / len(images))
    return tuple(losses)
