"""Memory of finding each map's strongest activations: `python -m benchmarks.top 10000 BYTES`.

A process of its own, since a peak cannot be undone.
"""

import sys
from collections import OrderedDict
from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor, nn

from benchmarks.peak import forget_peak, peak_bytes
from fmlib.models import ImageShape
from fmlib.visualization.top_activations import Projections, top_activations, top_projections
from fmlib.visualization.units import output_shapes

SHAPE: ImageShape = (3, 32, 32)  # of CIFAR-10's images
BATCH = 100
LAYER, MAPS = "act4", range(64)


def batches(images: int) -> Iterator[Tensor]:
    """Random images, the same in the same order each time; never all of them at once."""
    generator = torch.Generator().manual_seed(0)
    for first in range(0, images, BATCH):
        yield torch.rand(min(BATCH, images - first), *SHAPE, generator=generator)


def network() -> nn.Sequential:
    """Two blocks in the manner of VGG, so wide that memory decides how many images fit."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 32, 3, padding=1),
            act1=nn.ReLU(),
            conv2=nn.Conv2d(32, 32, 3, padding=1),
            act2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            conv3=nn.Conv2d(32, 64, 3, padding=1),
            act3=nn.ReLU(),
            conv4=nn.Conv2d(64, 64, 3, padding=1),
            act4=nn.ReLU(),
        )
    )


def maps_bytes(images: int) -> int:
    """What the network's feature maps of all images would take at once."""
    model = network()
    shapes = output_shapes(model, [name for name, _ in model.named_children()], SHAPE)
    return 4 * images * sum(map(prod, shapes.values()))


def nine_strongest(model: nn.Module, images: int, memory: int) -> list[Projections]:
    """Projections and patches of each map's nine strongest activations, within the memory."""
    top = top_activations(model, batches(images), LAYER, MAPS, memory=memory)
    return top_projections(model, batches(images), top, memory=memory)


def main(images: str, memory: str) -> None:
    """Warm up on one image, look at all, and print by how many bytes the peak rose."""
    model = network()
    nine_strongest(model, 1, int(memory))
    forget_peak()
    before = peak_bytes()
    nine_strongest(model, int(images), int(memory))
    print(peak_bytes() - before)


if __name__ == "__main__":
    main(*sys.argv[1:])
