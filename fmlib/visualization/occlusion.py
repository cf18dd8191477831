"""Occlusion sensitivity: which parts of an image a prediction and a feature map need.

A square of one colour slides over the image (masum2022, section VII-B; Zeiler and Fergus 2014,
section 4.2); what the network says of each occluded copy is a map over the square's positions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Literal

import torch
from torch import Tensor, nn

from fmlib.features import extractor
from fmlib.visualization.responses import (
    check_images,
    check_scores,
    images_at_a_time,
    scores_layer,
)
from fmlib.visualization.units import undisturbed

Measured = Literal["probability", "logit", "activity"]
Fill = float | Literal["mean"]


@dataclass(frozen=True)
class Response:
    """What a network makes of copies of an image; each field has one number a copy.

    `probability` and `logit` (the score before softmax) are those of one class, `prediction` is
    the class of the largest score and `activity` the sum over one feature map.
    """

    probability: Tensor
    logit: Tensor
    prediction: Tensor
    activity: Tensor


@dataclass(frozen=True)
class OcclusionMaps:
    """Responses to an image that a square occludes, (rows, columns), and to the image itself, ().

    `target` is the class, `feature_map` the number of the map in `layer`.  Position (i, j) has
    the square's upper left corner at pixel (i stride, j stride); `size` is the image's (H, W).
    """

    occluded: Response
    unoccluded: Response
    target: int
    layer: str
    feature_map: int
    square: int
    stride: int
    size: tuple[int, int]

    def drop(self, measured: Measured) -> Tensor:
        """Unoccluded minus occluded, (rows, columns): above 0 where the square takes something."""
        whole: Tensor = getattr(self.unoccluded, measured)
        drop: Tensor = whole - getattr(self.occluded, measured)
        return drop

    def per_pixel(self, measured: Measured) -> Tensor:
        """Mean of `drop` over all positions at which the square covers a pixel, (H, W).

        It has the sign and the averaging of captum's `Occlusion`: unoccluded minus occluded, each
        position counting once for every pixel that it covers.
        """
        drop = self.drop(measured)
        rows, columns = (
            covered(size, self.square, self.stride).to(drop) for size in self.size
        )  # (rows, H), (columns, W)
        counts = rows.sum(dim=0)[:, None] * columns.sum(dim=0)  # (H, W)
        sums: Tensor = rows.T @ drop @ columns
        return sums / counts


def covered(size: int, square: int, stride: int) -> Tensor:
    """Which of `size` pixels in a line the square covers at each position, (positions, size).

    The square moves until it has reached the last pixel.  Where the stride does not divide, it
    then reaches beyond the edge and covers fewer pixels, as in captum.
    """
    positions = ceil((size - square) / stride) + 1
    first = stride * torch.arange(positions)[:, None]
    pixels = torch.arange(size)
    return (pixels >= first) & (pixels < first + square)  # (positions, size)


def occluded_copies(
    image: Tensor, square: int, stride: int, fill: Fill = 0.5, chunk: int | None = None
) -> Iterator[Tensor]:
    """Copies (n, C, H, W) of an image (C, H, W), one for each position, row by row.

    The other arguments are those of `occlusion`; no more than one chunk of copies exists at once.
    """
    colour = image.mean(dim=(1, 2), keepdim=True) if fill == "mean" else image.new_tensor(fill)
    down, across = (covered(size, square, stride).to(image.device) for size in image.shape[1:])
    rows, columns = (torch.arange(len(each), device=image.device) for each in (down, across))
    for place in torch.cartesian_prod(rows, columns).split(chunk or images_at_a_time(image[None])):
        row, column = place.T
        inside = down[row, None, :, None] & across[column, None, None, :]  # (n, 1, H, W)
        yield torch.where(inside, colour, image)


@torch.no_grad()
def occlusion(
    model: nn.Module,
    image: Tensor,
    layer: str,
    *,
    square: int,
    stride: int,
    target: int | None = None,
    fill: Fill = 0.5,
    chunk: int | None = None,
) -> OcclusionMaps:
    """Occlusion sensitivity (masum2022, section VII-B; Zeiler and Fergus 2014, section 4.2).

    Args:
        model: any CNN that torchvision's feature extraction can trace.
        image: (C, H, W) in [0, 1].
        layer: name of a layer with feature maps; the map with the largest sum in the unoccluded
            image is followed.
        square: height and width of the square in pixels.
        stride: pixels between two positions, 1 to `square`, so that every pixel is covered.
        target: the class; None: the one predicted for the unoccluded image.
        fill: value of the square, 0 to 1; `mean`: the mean of the image in each channel.
        chunk: positions computed at a time; None: fewer for larger images.

    Returns:
        Maps (rows, columns) with rows = ceil((H - square) / stride) + 1, and columns alike.

    Raises:
        ValueError: a square larger than the image, a stride that leaves pixels out, a class or
            layer that does not exist, a layer without maps.
    """
    _check_square(image, square, stride, fill)
    check_images(model, image[None])
    scores = scores_layer(model)
    extract = extractor(model, sorted({layer, scores}))
    image = image.to(next(model.parameters()).device)

    def look(images: Tensor) -> tuple[Tensor, Tensor]:
        outputs = extract(images)
        _check_layer(model, outputs[layer], layer)
        return outputs[scores].flatten(1), outputs[layer].sum(dim=(2, 3))

    with undisturbed(model):
        try:
            whole = look(image[None])  # (1, classes), (1, maps)
        except RuntimeError as error:
            size = "x".join(map(str, image.shape))
            raise ValueError(f"the model takes no images of {size} ({error})") from error
        check_scores(model, image[None], whole[0])
        target = _check_target(whole[0], target)
        strongest = whole[1].argmax()
        seen = [look(copies) for copies in occluded_copies(image, square, stride, fill, chunk)]
    shape = [len(covered(size, square, stride)) for size in image.shape[1:]]
    copies = [torch.cat(part).unflatten(0, shape) for part in zip(*seen, strict=True)]
    return OcclusionMaps(
        occluded=_response(copies[0], copies[1], target, strongest),
        unoccluded=_response(whole[0][0], whole[1][0], target, strongest),
        target=target,
        layer=layer,
        feature_map=int(strongest),
        square=square,
        stride=stride,
        size=(image.shape[1], image.shape[2]),
    )


def _response(scores: Tensor, sums: Tensor, target: int, strongest: Tensor) -> Response:
    """From the scores (..., classes) of copies and the sums (..., maps) over their maps."""
    return Response(
        probability=scores.softmax(dim=-1)[..., target],
        logit=scores[..., target],
        prediction=scores.argmax(dim=-1),
        activity=sums[..., strongest],
    )


def _check_square(image: Tensor, square: int, stride: int, fill: Fill) -> None:
    if image.dim() != 3:
        raise ValueError(f"the image has the shape {tuple(image.shape)}; give (C, H, W)")
    height, width = image.shape[1:]
    if not 1 <= square <= min(height, width):
        raise ValueError(
            f"square is {square}, but the image has {height} rows and {width} columns; "
            f"give 1 to {min(height, width)} pixels"
        )
    if not 1 <= stride <= square:
        raise ValueError(
            f"stride is {stride}; give 1 to {square} pixels, so that every pixel is covered"
        )
    if isinstance(fill, str) and fill != "mean":
        raise ValueError(f"fill is {fill!r}; give a value from 0 to 1, or 'mean'")
    if not isinstance(fill, str) and not 0 <= fill <= 1:
        raise ValueError(f"fill is {fill}; give a value from 0 to 1, or 'mean'")


def _check_layer(model: nn.Module, output: Tensor, layer: str) -> None:
    if output.dim() != 4:
        convolutions = [name for name, each in model.named_modules() if isinstance(each, nn.Conv2d)]
        raise ValueError(
            f"layer {layer!r} has no feature maps; choose one that has, such as "
            f"{', '.join(convolutions)}"
        )


def _check_target(scores: Tensor, target: int | None) -> int:
    """The class, that of the largest of the scores (1, classes) where none is given."""
    classes = scores.shape[1]
    if target is not None and not 0 <= target < classes:
        raise ValueError(f"target is {target}, but the model has classes 0 to {classes - 1}")
    return int(scores.argmax()) if target is None else target
