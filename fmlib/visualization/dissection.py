"""Network dissection: how well a unit's strongest activations lie on a concept (Bau et al. 2017).

masum2022, section III-C.  A unit's maps are enlarged to the size of the masks and cut at a level
that a small share of all its activations reaches; the overlap with the mask of every concept is
their intersection over union.  Images come batch by batch and are not kept.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fmlib.features import extractor
from fmlib.visualization.concepts import Concept, Labelled, LabelledImages
from fmlib.visualization.quantiles import StreamingQuantiles, Thresholds
from fmlib.visualization.receptive_field import receptive_field
from fmlib.visualization.responses import check_images, images_at_a_time
from fmlib.visualization.units import undisturbed

SHARE = 0.005
"""Share of its activations that a unit's level is reached by (Bau et al. 2017, section 2.2)."""
CUSTOMARY = 0.04
"""Intersection over union from which a unit is said to detect a concept (section 2.2)."""
SHUFFLES = 19
"""Times that activations are paired with other images' masks."""


class Dissection(NamedTuple):
    """What the units of a layer have in common with concepts.

    Attributes:
        layer: its name.
        concepts: the concepts, K of them.
        thresholds: level of each unit.
        iou: (units, K) intersection over union, 0 to 1.
        shuffled: (S, units) that with the best concept when each image's activations are paired
            with another image's masks.
    """

    layer: str
    concepts: tuple[Concept, ...]
    thresholds: Thresholds
    iou: Tensor
    shuffled: Tensor

    @property
    def best(self) -> Tensor:
        """(units,) intersection over union with the best concept."""
        return self.iou.amax(dim=1)

    @property
    def labels(self) -> list[Concept]:
        """The best concept of each unit."""
        return [self.concepts[number] for number in self.iou.argmax(dim=1).tolist()]

    @property
    def p_values(self) -> Tensor:
        """(units,) share of the pairings, the right one included, that are at least as good.

        A permutation test of the best concept's overlap; its least value is 1 / (S + 1).
        """
        as_good = (self.shuffled >= self.best).sum(dim=0)
        return (1 + as_good.double()) / (1 + len(self.shuffled))


def dissect(
    model: nn.Module,
    layer: str,
    images: LabelledImages,
    *,
    share: float = SHARE,
    shuffles: int = SHUFFLES,
) -> Dissection:
    """Label the units of a layer with their best concepts (Bau et al. 2017, section 2.2).

    The images are gone through twice: for the levels and for the overlaps.  As published, a
    unit's activations count only in images that have a label of the concept's category.

    Args:
        model: a CNN of the kinds of layers in `fmlib.visualization.graph.LAYERS`.
        layer: name of a layer with maps.
        images: labelled images, such as `fmlib.visualization.concepts.ConceptImages` or
            `fmlib.visualization.broden.BrodenImages`; of the model's type.
        share: of all activations of a unit, those that count as strong.
        shuffles: times that images are paired with others of their batch; 0: none.

    Raises:
        ValueError: a layer without maps or that sees the whole image, no images, images that the
            model cannot take, or batches too small for that many pairings.
    """
    thresholds = levels(model, layer, images).upper(share)
    first, *others = overlaps(model, layer, images, thresholds.values, range(shuffles + 1))
    iou = first.iou(images.concepts)
    best = [one.iou(images.concepts).amax(dim=1) for one in others]
    shuffled = torch.stack(best) if best else iou.new_zeros(0, len(iou))
    return Dissection(layer, tuple(images.concepts), thresholds, iou, shuffled)


def levels(model: nn.Module, layer: str, images: LabelledImages) -> StreamingQuantiles:
    """Counts of all activations of a layer's units, from which levels are read.

    Arguments and errors as for `dissect`.
    """
    found: StreamingQuantiles | None = None
    extract = extractor(model, [layer])
    for batch in images:
        for maps in maps_of(model, extract, layer, batch):
            found = found or StreamingQuantiles(maps.shape[1])
            found.add(maps.transpose(0, 1).flatten(1))  # (units, n P Q)
    if found is None:
        raise ValueError("there are no images to look at; give at least one")
    return found


def maps_of(model: nn.Module, extract: nn.Module, layer: str, batch: Labelled) -> Iterator[Tensor]:
    """A layer's maps (n, units, P, Q), of a few of a batch's images at a time.

    `extract` is the model's `fmlib.features.extractor` of the layer.  Errors as for `dissect`.
    """
    check_images(model, batch.images)
    device = next(model.parameters()).device
    for part in batch.images.split(images_at_a_time(batch.images)):
        with torch.no_grad(), undisturbed(model):
            maps = extract(part.to(device))[layer]
        if maps.dim() != 4:
            raise ValueError(f"layer {layer!r} has no maps to lay over masks; choose one that has")
        yield maps


def enlarger(
    model: nn.Module, layer: str, images: Labelled, plane: Sequence[int]
) -> Callable[[Tensor], Tensor]:
    """Enlarges maps (n, units, P, Q) to the masks (n, units, h, w), by bilinear interpolation.

    Each value stands at the centre of what its unit sees, as published; beyond the outermost
    ones values stay as they are.

    Args:
        model, layer: as for `dissect`.
        images: some of the images, of which the sizes are taken.
        plane: P and Q.

    Raises:
        ValueError: units that see the whole image.
    """
    shape = images.images.shape
    field = receptive_field(model, layer, None, (shape[1], shape[2], shape[3]))
    if field.size is None:
        raise ValueError(
            f"the units of layer {layer!r} see the whole image and so have no place in it; choose "
            "a layer below"
        )
    rows, columns = (
        _weights(first, step, count, side, masked)
        for first, step, count, side, masked in zip(
            field.centre((0, 0)), field.stride, plane, shape[2:], images.labels.shape[2:],
            strict=True,
        )
    )  # fmt: skip

    def enlarge(maps: Tensor) -> Tensor:
        return rows.to(maps) @ maps @ columns.to(maps).T

    return enlarge


def _weights(first: float, step: int, count: int, side: int, masked: int) -> Tensor:
    """Linear interpolation (masked, count) from values at first, first + step, ... to pixels.

    The pixels are those of a mask that covers the image's `side` pixels with `masked` ones.
    """
    pixels = (torch.arange(masked, dtype=torch.float64) + 0.5) * side / masked - 0.5
    places = ((pixels - first) / step).clamp(0, count - 1)
    distance = (places[:, None] - torch.arange(count)).abs()
    return (1 - distance).clamp_min(0)


class Overlaps(NamedTuple):
    """Counts of pixels: `both` (units, K) of unit and concept, `concept` (K,) of the concept.

    `active` (units, K) are the unit's in images with a label of the concept's category.
    """

    both: Tensor
    active: Tensor
    concept: Tensor

    def iou(self, concepts: Sequence[Concept]) -> Tensor:
        """Intersection over union (units, K), 0 where there is neither."""
        assert len(concepts) == len(self.concept)
        union = self.active + self.concept - self.both
        return self.both.double() / union.clamp_min(1)


def overlaps(
    model: nn.Module,
    layer: str,
    images: LabelledImages,
    thresholds: Tensor,
    shifts: Sequence[int] = (0,),
) -> list[Overlaps]:
    """Counts of the pixels that units share with concepts.

    Args:
        model, layer, images: as for `dissect`.
        thresholds: (units,) from which on a unit counts as active.
        shifts: for each entry of the answer, how many places on in the batch the image stands
            whose masks are taken; 0: the image itself.

    Raises:
        ValueError: as for `dissect`.
    """
    members = memberships(images.concepts)
    counted: list[Overlaps] | None = None
    for batch, active in masks(model, layer, images, thresholds):
        count = len(active)
        if max(shifts) >= count:
            raise ValueError(
                f"a batch has {count} images, too few to pair each with {max(shifts)} others; give "
                "larger batches or fewer shuffles"
            )
        found = _overlaps(active, without_repeats(batch.labels), members, shifts)
        counted = found if counted is None else [
            Overlaps(*(a + b for a, b in zip(one, other, strict=True)))
            for one, other in zip(counted, found, strict=True)
        ]  # fmt: skip
    assert counted is not None  # the thresholds come from images
    return counted


def masks(
    model: nn.Module, layer: str, images: LabelledImages, thresholds: Tensor
) -> Iterator[tuple[Labelled, Tensor]]:
    """Each batch with where units are active, (n, units, h, w), enlarged and cut."""
    enlarge: Callable[[Tensor], Tensor] | None = None
    extract = extractor(model, [layer])
    for batch in images:
        parts = []
        for maps in maps_of(model, extract, layer, batch):
            enlarge = enlarge or enlarger(model, layer, batch, maps.shape[2:])
            parts.append((enlarge(maps) >= thresholds.to(maps)[:, None, None]).cpu())
        yield batch, torch.cat(parts)


def memberships(concepts: Sequence[Concept]) -> Tensor:
    """Which concepts are of one category, (K, K)."""
    names = [concept.category for concept in concepts]
    return torch.tensor([[one == other for other in names] for one in names])


def without_repeats(labels: Tensor) -> Tensor:
    """Labels (n, L, h, w) in which no pixel names a concept in two layers."""
    ordered = labels.sort(dim=1).values
    ordered[:, 1:] = ordered[:, 1:].where(ordered[:, 1:] != ordered[:, :-1], 0)
    return ordered


def present(labels: Tensor, members: Tensor) -> Tensor:
    """Whether an image has a label of each concept's category, (n, K)."""
    count, size = len(labels), len(members) + 1
    numbers = labels.flatten(1) + size * torch.arange(count)[:, None]
    counts = numbers.flatten().bincount(minlength=count * size).view(count, size)
    return (counts[:, 1:] > 0).float() @ members.float() > 0


def _overlaps(
    active: Tensor, labels: Tensor, members: Tensor, shifts: Sequence[int]
) -> list[Overlaps]:
    """Counts for one batch: units active (n, units, h, w), labels (n, L, h, w)."""
    count, units, size = *active.shape[:2], len(members) + 1
    image, unit, row, column = active.nonzero(as_tuple=True)
    counts = (unit + units * image).bincount(minlength=count * units).view(count, units).double()
    there = present(labels, members).double()  # (n, K)
    concept = labels.flatten().bincount(minlength=size)[1:]
    found = []
    for shift in shifts:
        named = labels[(image + shift) % count, :, row, column]  # (active, L)
        both = (named + size * unit[:, None]).flatten().bincount(minlength=units * size)
        inside = counts.T @ there.roll(-shift, dims=0)  # (units, K)
        found.append(Overlaps(both.view(units, size)[:, 1:], inside.long(), concept))
    return found
