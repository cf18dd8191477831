"""Images of concepts whose places are known exactly: colours, textures, shapes and their parts.

Network dissection needs images in which every pixel is labelled.  Broden (Bau et al. 2017), the
set made for it, is read by `fmlib.visualization.broden`; the images of this module are generated,
so that the truth is known.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

COLOURS = {
    "red": (0.85, 0.15, 0.15),
    "green": (0.15, 0.7, 0.2),
    "blue": (0.15, 0.25, 0.85),
    "yellow": (0.9, 0.85, 0.15),
    "white": (0.97, 0.97, 0.97),
    "black": (0.03, 0.03, 0.03),
}
TEXTURES = ("rows", "columns", "diagonals", "checks", "dots")
SHAPES = ("disc", "square", "triangle", "ring", "cross")
PARTS = ("corner", "edge", "rim", "hole", "arm")
SIDE = 32
"""Pixels that the sizes of things are meant for; they grow with the side of the images."""
GREY = 0.5
FADED = 0.35
"""What is left of a colour between the stripes and dots of a texture, the rest being grey."""
HALF = 0.89
"""Half the side of a square, beside the radius of a disc."""
BASE = 0.8
"""How far the base of a triangle lies below its centre, beside the radius of a disc."""
HOLE, BAR, THICK = 0.45, 0.35, 1.5
"""Radius of a ring's hole and half the width of a cross's arms; and pixels of a rim or edge."""
NEAR = 2.5
"""Pixels from a corner that belong to it."""


class Concept(NamedTuple):
    """Something that pixels can show: its name and what kind of concept it is."""

    name: str
    category: str


class Labelled(NamedTuple):
    """Some images with the concepts of their pixels.

    Attributes:
        images: (N, C, H, W) in [0, 1].
        labels: (N, L, h, w), in each of L layers the number of a concept, from 1, or 0 for none;
            the mask of concept number k is where any layer has k.
    """

    images: Tensor
    labels: Tensor


class LabelledImages(Protocol):
    """Images whose pixels are labelled, batch by batch, as often as they are asked for.

    Number k in the labels stands for `concepts[k - 1]`.
    """

    @property
    def concepts(self) -> Sequence[Concept]:
        """All concepts that the labels can name."""
        ...

    def __iter__(self) -> Iterator[Labelled]:
        """The batches, the same ones each time."""
        ...


GENERATED = tuple(
    Concept(name, category)
    for category, names in (
        ("colour", COLOURS), ("texture", TEXTURES), ("shape", SHAPES), ("part", PARTS)
    )
    for name in names
)  # fmt: skip
"""Concepts of the generated images."""
_FIRST = {c.category: n for n, c in reversed([*enumerate(GENERATED, start=1)])}


@dataclass(frozen=True)
class ConceptImages:
    """Generated images, each of one thing on grey; they are made anew whenever they are iterated.

    A thing has a colour and a shape, five times in six a texture, and parts; kind, place and size
    are drawn independently.  Labels have four layers: colour, texture, shape, part.

    Args:
        count: how many images there are.
        seed: of all that is drawn.
        side: height and width in pixels, at least 16.
        block: images of a batch; other batches are other images.
        dtype: type of the images.

    Raises:
        ValueError: sizes below these.
    """

    count: int
    seed: int
    side: int = SIDE
    block: int = 100
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        if self.count < 1 or self.block < 1 or self.side < 16:
            raise ValueError(
                f"count is {self.count}, block {self.block} and side {self.side}; give at least 1, "
                "1 and 16"
            )

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """Six colours, five textures, five shapes and five parts."""
        return GENERATED

    def __iter__(self) -> Iterator[Labelled]:
        """The batches, of `block` images each, the last one of what is left."""
        for number, start in enumerate(range(0, self.count, self.block)):
            generator = torch.Generator().manual_seed(1_000_003 * self.seed + number)
            made = _drawn(self.block, self.side, generator)
            left = min(self.block, self.count - start)
            yield Labelled(made.images[:left].to(self.dtype), made.labels[:left])


class _Things(NamedTuple):
    """What is drawn of n images: kinds (n,), radius (n, 1, 1) and places (n, side, side)."""

    colour: Tensor
    texture: Tensor
    shape: Tensor
    radius: Tensor
    across: Tensor
    down: Tensor


def _drawn(count: int, side: int, generator: torch.Generator) -> Labelled:
    things = _things(count, side, generator)
    shapes = _shapes(things)  # (shapes, n, side, side)
    inside = _chosen(shapes, things.shape)  # (n, side, side)
    striped = _chosen(_patterns(count, side, generator), things.texture)
    labels = torch.stack(
        [
            _numbered("colour", things.colour, inside & striped),
            _numbered("texture", things.texture, inside & (things.texture > 0)[:, None, None]),
            _numbered("shape", things.shape, inside),
            _parts(things, inside),
        ],
        dim=1,
    )  # (n, 4, side, side)
    paints = torch.tensor([*COLOURS.values()], dtype=torch.float64)[things.colour]
    paints = paints[:, :, None, None]
    faded = FADED * paints + (1 - FADED) * GREY
    thing = torch.where(striped[:, None], paints, faded)
    images = torch.where(inside[:, None], thing, _background(count, side, generator))
    noise = 0.1 * torch.rand(images.shape, generator=generator, dtype=torch.float64) - 0.05
    return Labelled((images + noise).clamp(0, 1), labels)


def _things(count: int, side: int, generator: torch.Generator) -> _Things:
    def kinds(number: int) -> Tensor:
        return torch.randint(number, (count,), generator=generator)

    colour, texture, shape = kinds(len(COLOURS)), kinds(len(TEXTURES) + 1), kinds(len(SHAPES))
    drawn = torch.rand(3, count, 1, 1, generator=generator, dtype=torch.float64)
    radius = (4 + 4 * drawn[0]) * side / SIDE
    places = torch.arange(side, dtype=torch.float64)
    middle = radius + drawn[1:] * (side - 1 - 2 * radius)  # (2, n, 1, 1)
    down = (places[:, None] - middle[0]) / radius  # (n, side, 1)
    across = (places - middle[1]) / radius  # (n, 1, side)
    plane = torch.broadcast_tensors(across, down)
    return _Things(colour, texture, shape, radius, *plane)


def _shapes(things: _Things) -> Tensor:
    """Where each shape would be, (shapes, n, side, side), in the order of `SHAPES`."""
    u, v = things.across, things.down
    distance = (u.square() + v.square()).sqrt()
    square = torch.maximum(u.abs(), v.abs()) <= HALF
    triangle = (v <= BASE) & (u.abs() <= (v + 1) / (1 + BASE))
    cross = (torch.minimum(u.abs(), v.abs()) <= BAR) & (torch.maximum(u.abs(), v.abs()) <= 1)
    ring = (distance <= 1) & (distance >= HOLE)
    return torch.stack((distance <= 1, square, triangle, ring, cross))


def _patterns(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Where the colour shows, by texture, (1 + textures, n, side, side); all of it at first."""
    start = torch.randint(4, (count, 1, 1), generator=generator)
    rows, columns = torch.arange(side)[:, None] + start, torch.arange(side) + start
    rows, columns = torch.broadcast_tensors(rows, columns)
    band = [at // 2 % 2 == 0 for at in (rows, columns, rows + columns)]
    checks = (rows // 2 + columns // 2) % 2 == 0
    dots = (rows % 4 < 2) & (columns % 4 < 2)
    return torch.stack((torch.ones_like(dots), *band, checks, dots))


def _parts(things: _Things, inside: Tensor) -> Tensor:
    """Numbers of the parts (n, side, side): of square and triangle, disc and ring, and cross."""
    u, v, radius = things.across, things.down, things.radius
    distance = (u.square() + v.square()).sqrt()
    is_shape = {name: (things.shape == at)[:, None, None] for at, name in enumerate(SHAPES)}
    near_corner = (
        is_shape["square"] & _near([(s * HALF, t * HALF) for s in (-1, 1) for t in (-1, 1)], things)
    ) | (is_shape["triangle"] & _near([(0, -1), (-1, BASE), (1, BASE)], things))
    slope = 1 + BASE  # of a triangle's sides, which are 1 across
    side = ((v + 1) / slope - u.abs()) * slope / (1 + slope**2) ** 0.5
    border = (is_shape["square"] & ((HALF - torch.maximum(u.abs(), v.abs())) * radius < THICK)) | (
        is_shape["triangle"] & (torch.minimum(BASE - v, side) * radius < THICK)
    )
    found = {
        "rim": (is_shape["disc"] | is_shape["ring"]) & ((1 - distance) * radius < THICK) & inside,
        "hole": is_shape["ring"] & (distance < HOLE),
        "arm": is_shape["cross"] & (torch.maximum(u.abs(), v.abs()) > BAR) & inside,
        "edge": border & inside,
        "corner": near_corner & inside,
    }
    numbers = torch.zeros_like(inside, dtype=torch.long)
    for name, mask in found.items():
        numbers = torch.where(mask, _FIRST["part"] + PARTS.index(name), numbers)
    return numbers


def _near(corners: list[tuple[float, float]], things: _Things) -> Tensor:
    """Where one of some corners, given beside the radius, is near."""
    squares = [(things.across - u).square() + (things.down - v).square() for u, v in corners]
    nearest: Tensor = torch.stack(squares).amin(dim=0).sqrt()
    return nearest <= NEAR / things.radius


def _chosen(planes: Tensor, which: Tensor) -> Tensor:
    """Of planes (kinds, n, side, side) each image's own, (n, side, side)."""
    return planes[which, torch.arange(len(which))]


def _numbered(category: str, which: Tensor, mask: Tensor) -> Tensor:
    """Numbers of the concepts (n, side, side); texture 0 is none, so that they start from 1."""
    first = _FIRST[category] - (category == "texture")
    return torch.where(mask, first + which[:, None, None], 0)


def _background(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Grey that grows lighter to one side, (n, 1, side, side)."""
    drawn = torch.rand(3, count, 1, 1, generator=generator, dtype=torch.float64)
    places = torch.linspace(-0.5, 0.5, side, dtype=torch.float64)
    level, *slopes = 0.3 + 0.4 * drawn[0], *(0.3 * drawn[1:] - 0.15)
    grey: Tensor = level + slopes[0] * places[:, None] + slopes[1] * places  # (n, side, side)
    return grey[:, None]
