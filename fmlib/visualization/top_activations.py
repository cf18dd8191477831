"""The images that each map of a layer answers to most, and what in them it answers to.

Zeiler and Fergus (2014, section 4) show, for each map, the projections of its nine strongest
activations beside the patches of the images that they come from.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib.models import chunk_size
from fmlib.visualization.deconvnet import check_steps, project_through
from fmlib.visualization.graph import Step, held_values, image_shape, run, shapes, trace
from fmlib.visualization.receptive_field import Field, Pair, receptive_fields
from fmlib.visualization.units import Unit, check_units, undisturbed

MEMORY = 2**28
"""Bytes that may be held at a time where nothing else is said, 256 MiB."""
SWITCH_BYTES = 8
"""Bytes of a switch, an int64."""


class Top(NamedTuple):
    """The strongest activations of M maps of a layer, strongest first, at most one an image.

    `values` and `images` have shape (M, k); images are numbered from 0 in the order that they
    came in.  `positions` (M, k, 2) are row and column in the map; None for a layer without maps.
    """

    layer: str
    maps: tuple[int, ...]
    values: Tensor
    images: Tensor
    positions: Tensor | None

    def unit(self, place: int, rank: int) -> Unit:
        """The unit behind an activation: of the map in this place, of this rank, from 0."""
        index = self.maps[place]
        if self.positions is None:
            return Unit(self.layer, index)
        row, column = self.positions[place, rank].tolist()
        return Unit(self.layer, index, (row, column))


class Projections(NamedTuple):
    """What k images show of one map: projections and the images, cut out in the same places.

    Both have shape (k, C, h, w), h and w the map's receptive field or the whole side of the
    image where that is shorter.  `inside` (k, h, w) is False beyond the image's border, where
    both are zero.
    """

    projections: Tensor
    patches: Tensor
    inside: Tensor


def top_activations(
    model: nn.Module,
    batches: Iterable[Tensor],
    layer: str,
    maps: Sequence[int],
    k: int = 9,
    memory: int = MEMORY,
) -> Top:
    """The k strongest activations of each map in a set of images (Zeiler and Fergus 2014, 4).

    An image has one entry at most for each map, its strongest activation; of equal ones the
    first image and the first position count.

    Args:
        model: a CNN of the kinds of layers in `fmlib.visualization.graph.LAYERS`.
        batches: images (N, C, H, W) in [0, 1], batch after batch, such as `images.split(500)`.
        layer: name of a layer.
        maps: numbers of its maps, or of its units if it has no maps.
        k: activations to find for each map, at least 1; fewer are found in fewer images.
        memory: bytes that the layers' outputs may take at a time; it decides how many images
            are computed together.  The batches themselves are not counted.

    Returns:
        The activations found, on the device of the model.

    Raises:
        ValueError: k below 1, no images, maps that do not exist, operations that cannot be
            followed, or a memory that is too small for one image.
    """
    if k < 1:
        raise ValueError(f"k is {k}; give a whole number from 1")
    best: Found | None = None
    for first, batch, plan in _planned(model, batches, [Unit(layer, at) for at in maps], memory):
        for number, images in enumerate(batch.split(plan.chunk)):
            with torch.no_grad(), undisturbed(model):
                output = run(plan.steps, images)[:, list(maps)]  # (n, M, P, Q) or (n, M)
            found = _strongest(output, first + number * plan.chunk)
            best = _best(found if best is None else _joined(best, found), k)
        width = plan.shape[-1] if len(plan.shape) == 3 else None
    assert best is not None
    positions = None
    if width is not None:
        positions = torch.stack((best.places // width, best.places % width), dim=2)  # (M, k, 2)
    return Top(layer, tuple(maps), best.values, best.images, positions)


def top_projections(
    model: nn.Module, batches: Iterable[Tensor], top: Top, memory: int = MEMORY
) -> list[Projections]:
    """Projections of the strongest activations, and the patches of the images they come from.

    As Zeiler and Fergus (2014, section 4) show them; by `fmlib.visualization.deconvnet.project`.

    Args:
        model, memory: as for `top_activations`; every image is projected once for each of its
            activations.
        batches: the same images in the same order again.
        top: what `top_activations` found in them.

    Returns:
        For each map, in the order of `top.maps`, its k projections and patches, strongest first.

    Raises:
        ValueError: fewer images than `top` speaks of, a layer without deconvnet or receptive
            field, or a memory that is too small for one image.
    """
    count, ranks = top.images.shape
    wanted = [(place, rank) for place in range(count) for rank in range(ranks)]
    units, numbers = [Unit(top.layer, index) for index in top.maps], top.images.tolist()
    fields: list[Field] = []
    cut: dict[tuple[int, int], Projections] = {}
    for first, batch, plan in _planned(model, batches, units, memory, back=True):
        fields = fields or receptive_fields(model, top.layer, image_shape(model, batch))
        here = [at for at in wanted if 0 <= numbers[at[0]][at[1]] - first < len(batch)]
        for start in range(0, len(here), plan.chunk):
            some = here[start : start + plan.chunk]
            images = batch[[numbers[place][rank] - first for place, rank in some]]
            shown = [top.unit(*at) for at in some]
            with torch.no_grad(), undisturbed(model):
                projections = project_through(plan.steps, images, shown)
            for at, unit, projection, image in zip(some, shown, projections, images, strict=True):
                cut[at] = _cut(projection, image, fields[unit.index], unit.position)
    if len(cut) < len(wanted):
        raise ValueError(
            f"the strongest activations are of images up to number {int(top.images.max())}, which "
            "the batches do not reach; give the same batches as to top_activations"
        )
    return [_stacked([cut[place, rank] for rank in range(ranks)]) for place in range(count)]


class Plan(NamedTuple):
    """The operations up to a layer, its output's shape for an image, and images at a time."""

    steps: tuple[Step, ...]
    shape: tuple[int, ...]
    chunk: int


def _planned(
    model: nn.Module,
    batches: Iterable[Tensor],
    units: Sequence[Unit],
    memory: int,
    *,
    back: bool = False,
) -> Iterator[tuple[int, Tensor, Plan]]:
    """Each batch with the number of its first image and the plan that the first one leads to."""
    first, plan, shape = 0, None, (0, 0, 0)
    for batch in batches:
        if len(batch) == 0:
            continue
        if plan is None:
            shape = image_shape(model, batch)
            plan = _plan(model, batch, units, memory, back=back)
        if image_shape(model, batch) != shape:
            raise ValueError(
                f"a batch has the shape {tuple(batch.shape)} after images of {shape}; give images "
                "of one size"
            )
        yield first, batch, plan
        first += len(batch)
    if plan is None:
        raise ValueError("there are no images to look at; give at least one")


def _plan(
    model: nn.Module, batch: Tensor, units: Sequence[Unit], memory: int, *, back: bool
) -> Plan:
    """How to compute within the memory; with `back`, forward and back to the image."""
    shape = image_shape(model, batch)
    check_units(model, units, shape)
    steps = trace(model, units[0].layer)
    found = shapes(model, steps, shape)
    output = found[steps[-1].name]
    needed = batch.element_size() * (held_values(steps, found) + prod(output))
    if back:
        check_steps(steps)
        pools = [step.name for step in steps if isinstance(step.layer, nn.MaxPool2d)]
        needed += SWITCH_BYTES * sum(prod(found[name]) for name in pools)
    if memory < needed:
        raise ValueError(
            f"memory is {memory:,} bytes, but one image takes {needed:,} up to layer "
            f"{units[0].layer!r}; give at least as much"
        )
    return Plan(steps, output, min(memory // needed, chunk_size(batch)))


class Found(NamedTuple):
    """Values, image numbers and places in flattened maps, each (M, n) for M maps."""

    values: Tensor
    images: Tensor
    places: Tensor


def _strongest(output: Tensor, first: int) -> Found:
    """Each image's strongest activation of each map; outputs (n, M, P, Q) or (n, M)."""
    planes = output.reshape(*output.shape[:2], -1).transpose(0, 1)  # (M, n, P Q)
    places = planes.argmax(dim=2)  # the first of equal ones
    values = planes.gather(2, places[..., None]).squeeze(2)  # (M, n)
    numbers = torch.arange(first, first + len(output), device=output.device)
    return Found(values, numbers.expand_as(places), places)


def _joined(one: Found, other: Found) -> Found:
    return Found(*(torch.cat(parts, dim=1) for parts in zip(one, other, strict=True)))


def _best(found: Found, k: int) -> Found:
    """The k strongest of each map; of equal ones, those that stand first."""
    order = found.values.sort(dim=1, descending=True, stable=True).indices[:, :k]
    return Found(*(part.gather(1, order) for part in found))


def _stacked(cuts: Sequence[Projections]) -> Projections:
    return Projections(*(torch.stack(parts) for parts in zip(*cuts, strict=True)))


def _cut(projection: Tensor, image: Tensor, field: Field, position: Pair | None) -> Projections:
    """What lies within a unit's field, of a projection and an image (C, H, W)."""
    inside = torch.ones_like(image[0], dtype=torch.bool)
    if field.size is None or position is None:
        return Projections(projection.clone(), image.clone(), inside)
    rows, columns = (
        _span(start, size, side)
        for start, size, side in zip(
            field.start(position), field.size, image.shape[1:], strict=True
        )
    )
    return Projections(*(_window(part, rows, columns) for part in (projection, image, inside)))


def _span(start: int, size: int, side: int) -> Pair:
    """First and last row (or column) of a cut, the last not included."""
    return (0, side) if size >= side else (start, start + size)


def _window(plane: Tensor, rows: Pair, columns: Pair) -> Tensor:
    """Part of a plane (..., H, W), zero beyond its border."""
    height, width = plane.shape[-2:]
    padding = (-columns[0], columns[1] - width, -rows[0], rows[1] - height)
    return F.pad(plane, padding)  # (..., h, w)
