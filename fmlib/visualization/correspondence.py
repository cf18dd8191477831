"""Correspondence analysis: does hiding the same part change different images' features alike?

A part, such as the left eye, is hidden in several images; where the network knows of the part, the
features change in the same directions, and more so than if random parts are hidden (masum2022,
section VII-C; Zeiler and Fergus 2014, section 4.3).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fmlib.visualization.responses import check_images, layer_outputs


class Box(NamedTuple):
    """A rectangle of pixels: its upper left corner and its size."""

    top: int
    left: int
    height: int
    width: int


class Distance(NamedTuple):
    """Hamming distances between images' changes: their sum, and the mean per pair and feature.

    `total` is the Delta of Zeiler and Fergus, over ordered pairs of different images; `mean` lies
    in [0, 1].
    """

    total: int
    mean: float


@dataclass(frozen=True)
class Correspondence:
    """Distances between the changes by a part (lower: more alike), and by random parts (draws,).

    `random` holds the means per pair and feature, to be compared with `part.mean`.
    """

    part: Distance
    random: Tensor

    @property
    def random_mean(self) -> float:
        """Mean over the draws."""
        return self.random.mean().item()

    @property
    def random_deviation(self) -> float:
        """Standard deviation over the draws, unbiased."""
        return self.random.std().item()

    @property
    def ratio(self) -> float:
        """The part's distance as a share of the mean random one; less than 1 means more alike."""
        return self.part.mean / self.random_mean if self.random_mean else float("nan")


def box_masks(boxes: Box | Sequence[Box], images: Tensor) -> Tensor:
    """Masks (N, H, W), True within each image's box.

    Args:
        boxes: one for each image, or a single one for all, for images that are aligned.
        images: (N, C, H, W).

    Raises:
        ValueError: another number of boxes, an empty box or one that leaves the image.
    """
    listed = [boxes] * len(images) if isinstance(boxes, Box) else list(boxes)
    if len(listed) != len(images):
        raise ValueError(f"there are {len(listed)} boxes for {len(images)} images; give one each")
    height, width = images.shape[-2:]
    for box in listed:
        inside = 0 <= box.top <= height - box.height and 0 <= box.left <= width - box.width
        if not (inside and box.height >= 1 and box.width >= 1):
            raise ValueError(f"{box} does not lie within {height} rows and {width} columns")
    top, left, tall, wide = torch.tensor(listed, device=images.device).T[..., None]  # (N, 1) each
    rows, columns = (torch.arange(size, device=images.device) for size in (height, width))
    down, across = (rows >= top) & (rows < top + tall), (columns >= left) & (columns < left + wide)
    masks: Tensor = down[:, :, None] & across[:, None, :]  # (N, H, W)
    return masks


def moved_at_random(masks: Tensor, generator: torch.Generator, *, together: bool = False) -> Tensor:
    """Masks (N, H, W) of the same shapes, each at a uniformly random place within its image.

    A place may overlap with the old one.  If they move `together`, all upper left corners are
    the same.
    """
    firsts, spans = [], []
    for dim in (1, 2):
        covered = masks.any(dim=3 - dim).long()  # (N, H) or (N, W)
        firsts.append(covered.argmax(dim=1))  # (N,)
        spans.append(covered.shape[1] - covered.flip(1).argmax(dim=1) - firsts[-1])
    free = torch.tensor(masks.shape[1:]) - torch.stack(spans, dim=1).cpu() + 1  # (N, 2)
    if together:
        free = free.amin(dim=0).expand_as(free)
    draws = torch.rand(1 if together else len(masks), 2, generator=generator, dtype=torch.float64)
    places = (draws * free).long()  # (N, 2)
    shifts = (places - torch.stack(firsts, dim=1).cpu()).tolist()
    return torch.stack(
        [mask.roll(shift, dims=(0, 1)) for mask, shift in zip(masks, shifts, strict=True)]
    )  # (N, H, W)


def changes(
    model: nn.Module,
    images: Tensor,
    masks: Sequence[Tensor],
    layer: str,
    *,
    fill: float = 0.5,
) -> Iterator[Tensor]:
    """What hiding parts takes from the features: features(x) - features(x with the part hidden).

    Arguments as for `correspondence`, but several sets of masks (N, H, W); yields (N, D) for each.
    """
    check_images(model, images)
    if not 0 <= fill <= 1:
        raise ValueError(f"fill is {fill}; give a value from 0 to 1")
    for each in masks:
        _check_masks(images, each)
    whole = layer_outputs(model, images, [layer])[layer]
    for each in masks:
        hidden = images.masked_fill(each[:, None], fill)
        yield (whole - layer_outputs(model, hidden, [layer])[layer]).flatten(1)  # (N, D)


def distance(changed: Tensor) -> Distance:
    """Hamming distance of the changes' signs, over all ordered pairs of different images.

    A sign is -1, 0 or 1, and two signs differ or do not: a feature that changes in one image only
    counts as much as one that changes in opposite directions, one that changes in neither does
    not count.

    Args:
        changed: (N, D), N at least 2.
    """
    if changed.dim() != 2 or len(changed) < 2 or changed.shape[1] == 0:
        raise ValueError(
            f"changes have the shape {tuple(changed.shape)}; give (N, D) with at least two images"
        )
    n, features = changed.shape
    signs = changed.sign()
    counts = torch.stack([(signs == sign).sum(dim=0) for sign in (-1, 0, 1)])  # (3, D)
    total = features * n**2 - int(counts.square().sum())
    return Distance(total, total / (n * (n - 1) * features))


def correspondence(
    model: nn.Module,
    images: Tensor,
    masks: Tensor,
    layer: str,
    *,
    draws: int,
    seed: int,
    together: bool,
    fill: float = 0.5,
) -> Correspondence:
    """Correspondence analysis (masum2022, section VII-C; Zeiler and Fergus 2014, section 4.3).

    Args:
        model: any CNN that torchvision's feature extraction can trace.
        images: (N, C, H, W) in [0, 1], at least two, of things that have the part.
        masks: (N, H, W), True where the part lies; `box_masks` makes them of boxes.
        layer: name of the layer whose outputs are the features.
        draws: how many times parts of the same shapes are hidden at random places, at least 2.
        seed: draws the places.
        together: whether the places of a draw are the same in all images.  Give True where the
            part's are: features that do not see the part do not change, so that parts at one
            place are closer than parts at many whatever the network knows of them.
        fill: value that hides, 0 to 1.

    Raises:
        ValueError: fewer than two images or draws, masks of another shape or without a pixel, a
            layer that does not exist, a fill outside [0, 1].
    """
    if draws < 2:
        raise ValueError(f"draws is {draws}; give a whole number from 2")
    if len(images) < 2:
        raise ValueError(f"there are {len(images)} images; give at least two to compare")
    check_images(model, images)
    _check_masks(images, masks)
    generator = torch.Generator().manual_seed(seed)
    random = [moved_at_random(masks, generator, together=together) for _ in range(draws)]
    found = map(distance, changes(model, images, [masks, *random], layer, fill=fill))
    part, *others = found
    return Correspondence(part, torch.tensor([each.mean for each in others], dtype=torch.float64))


def _check_masks(images: Tensor, masks: Tensor) -> None:
    n, _, height, width = images.shape
    if masks.dtype != torch.bool or masks.shape != (n, height, width):
        raise ValueError(
            f"masks are {masks.dtype} of the shape {tuple(masks.shape)}; give torch.bool of the "
            f"shape {(n, height, width)}"
        )
    if empty := (~masks.flatten(1).any(dim=1)).nonzero().flatten().tolist():
        raise ValueError(f"the masks of images {empty} are empty; mark at least one pixel in each")
