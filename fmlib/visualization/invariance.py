"""Invariance: how far features move, and what is left of the prediction, as images are transformed.

Images are translated vertically, scaled and rotated (masum2022, Figure 5; Zeiler and Fergus 2014,
section 4.1).  Transformed images are interpolated bilinearly; beyond the border they repeat
the pixels of the border, which invents neither an edge nor a colour.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, isfinite, radians, sin
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib.visualization.responses import check_images, check_scores, layer_outputs, scores_layer
from fmlib.visualization.units import output_shapes

Transformation = Literal["translation", "scaling", "rotation"]
Matrix = list[list[float]]


@dataclass(frozen=True)
class Invariance:
    """Responses of N images to a transformation by A amounts.

    `distances` are Euclidean, of a layer's outputs for the transformed and the original image;
    `between` is the mean distance of two different original images; `probability` is that of the
    true class.
    """

    transformation: Transformation
    amounts: tuple[float, ...]
    distances: dict[str, Tensor]  # (A, N) each
    between: dict[str, float]
    probability: Tensor  # (A, N)

    def normalized(self, layer: str) -> Tensor:
        """Distances in a layer over its mean distance of different images, (A, N).

        At 1 an image is as far from itself as from others, whatever the layer.
        """
        return self.distances[layer] / self.between[layer]


def translate(images: Tensor, pixels: float) -> Tensor:
    """Images (N, C, H, W) moved down by this many pixels (up if below 0)."""
    return _sampled(images, [[1, 0, 0], [0, 1, -pixels]])


def scale(images: Tensor, factor: float) -> Tensor:
    """Images (N, C, H, W) enlarged about their centre by this factor; below 1 they shrink."""
    return _sampled(images, [[1 / factor, 0, 0], [0, 1 / factor, 0]])


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Images (N, C, H, W) turned about their centre, counterclockwise as `torch.rot90` does."""
    cosine, sine = cos(radians(degrees)), sin(radians(degrees))
    return _sampled(images, [[cosine, -sine, 0], [sine, cosine, 0]])


TRANSFORMATIONS: dict[Transformation, Callable[[Tensor, float], Tensor]] = {
    "translation": translate,
    "scaling": scale,
    "rotation": rotate,
}
"""Translation by pixels, scaling by a factor (1 changes nothing), rotation by degrees, by name."""


def _sampled(images: Tensor, matrix: Matrix) -> Tensor:
    """Images whose pixel at (x, y), from the centre, is the old one at matrix times (x, y, 1).

    Torch counts half an image as 1, so that the matrix has to be scaled by the sides.
    """
    height, width = images.shape[-2:]
    (xx, xy, x), (yx, yy, y) = matrix
    theta = images.new_tensor(
        [[xx, xy * height / width, 2 * x / width], [yx * width / height, yy, 2 * y / height]]
    )
    grid = F.affine_grid(
        theta.expand(len(images), 2, 3), list(images.shape), align_corners=False
    )  # (N, H, W, 2)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


@torch.no_grad()
def invariance(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    transformation: Transformation,
    amounts: Sequence[float],
    layers: Sequence[str],
) -> Invariance:
    """Distances of features and probability under a transformation (masum2022, Figure 5).

    Args:
        model: any CNN that torchvision's feature extraction can trace.
        images: (N, C, H, W) in [0, 1], at least two.
        labels: (N,) true classes.
        transformation: `translation`, `scaling` or `rotation`.
        amounts: A pixels downwards, factors above 0 or degrees counterclockwise.
        layers: names of the layers whose outputs are the feature vectors, such as the first and
            the last.

    Raises:
        ValueError: fewer than two images, an unknown transformation, no amount or one that is
            not finite or, as a factor, not above 0, a layer or class that does not exist, a layer
            whose outputs are the same for all images.
    """
    scores = scores_layer(model)
    _check(model, images, labels, transformation, amounts, [*layers, scores])
    names = [*layers, scores]
    labels = labels.to(next(model.parameters()).device)
    original = layer_outputs(model, images, names)
    check_scores(model, images[:1], original[scores][:1].flatten(1))
    between = {layer: _mean_distance(layer, original[layer]) for layer in layers}
    distances: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    probability = []
    for amount in amounts:
        moved = layer_outputs(model, TRANSFORMATIONS[transformation](images, amount), names)
        for layer, found in distances.items():
            found.append((moved[layer] - original[layer]).flatten(1).norm(dim=1))
        chances = moved[scores].flatten(1).softmax(dim=1)  # (N, classes)
        probability.append(chances.gather(1, labels[:, None])[:, 0])
    return Invariance(
        transformation=transformation,
        amounts=tuple(amounts),
        distances={layer: torch.stack(found) for layer, found in distances.items()},
        between=between,
        probability=torch.stack(probability),
    )


def _mean_distance(layer: str, outputs: Tensor) -> float:
    """Mean Euclidean distance between the outputs (N, ...) for different images."""
    mean = F.pdist(outputs.flatten(1)).mean().item()
    if mean == 0:
        raise ValueError(f"layer {layer!r} is the same for all images; give different images")
    return mean


def _check(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    transformation: Transformation,
    amounts: Sequence[float],
    layers: list[str],
) -> None:
    check_images(model, images)
    if len(images) < 2:
        raise ValueError(f"there are {len(images)} images; give at least two to compare")
    if transformation not in TRANSFORMATIONS:
        choices = ", ".join(get_args(Transformation))
        raise ValueError(f"transformation {transformation!r} is not known; choose from {choices}")
    for amount in amounts:
        if not isfinite(amount) or (transformation == "scaling" and amount <= 0):
            possible = "above 0" if transformation == "scaling" else "that are finite"
            raise ValueError(f"an amount of {transformation} is {amount}; give numbers {possible}")
    if len(amounts) == 0 or len(layers) == 1:
        raise ValueError("there is no amount or no layer to look at; give at least one of each")
    _, channels, height, width = images.shape
    *_, classes = output_shapes(model, layers, (channels, height, width))[layers[-1]][:1]
    if labels.shape != images.shape[:1] or not all(0 <= k < classes for k in labels.tolist()):
        raise ValueError(
            f"labels are {labels.tolist()}; give a class from 0 to {classes - 1} for each of the "
            f"{len(images)} images"
        )
