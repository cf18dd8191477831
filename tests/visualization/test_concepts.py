"""Generated images: masks are exact, kinds are drawn independently, batches come again alike."""

from typing import Any

import pytest
import torch

from fmlib.visualization.concepts import (
    COLOURS,
    GENERATED,
    PARTS,
    SHAPES,
    TEXTURES,
    Concept,
    ConceptImages,
    Labelled,
)

NOISE = 0.05
"""Largest deviation that noise adds to a pixel."""


@pytest.fixture(scope="module")
def drawn() -> Labelled:
    batch = next(iter(ConceptImages(400, seed=0, block=400, dtype=torch.float64)))
    assert batch.images.shape == (400, 3, 32, 32)
    assert batch.labels.shape == (400, 4, 32, 32)
    return batch


def number(name: str) -> int:
    return [concept.name for concept in GENERATED].index(name) + 1


def mask(drawn: Labelled, name: str) -> torch.Tensor:
    """Where a concept is, (N, 32, 32)."""
    return (drawn.labels == number(name)).any(dim=1)


def test_concepts_are_numbered_category_by_category() -> None:
    assert [concept.name for concept in GENERATED] == [*COLOURS, *TEXTURES, *SHAPES, *PARTS]
    assert GENERATED[0] == Concept("red", "colour")
    kinds = ["colour"] * 6 + ["texture"] * 5 + ["shape"] * 5 + ["part"] * 5
    assert [concept.category for concept in GENERATED] == kinds


@pytest.mark.parametrize("name", COLOURS)
def test_pixels_of_a_colour_have_it(drawn: Labelled, name: str) -> None:
    where = mask(drawn, name)
    paint = torch.tensor(COLOURS[name], dtype=torch.float64)
    pixels = drawn.images.permute(0, 2, 3, 1)[where]  # (pixels, 3)
    assert len(pixels) > 1000
    assert (pixels - paint).abs().max() <= NOISE + 1e-9


def test_everything_else_is_grey_or_faded(drawn: Labelled) -> None:
    """Without a thing all channels are alike but for noise."""
    nothing = (drawn.labels == 0).all(dim=1)
    pixels = drawn.images.permute(0, 2, 3, 1)[nothing]
    assert (pixels.amax(dim=1) - pixels.amin(dim=1)).max() <= 2 * NOISE + 1e-9


def test_shapes_by_their_masks(drawn: Labelled) -> None:
    """A square fills its box, a disc pi/4 of it, a ring has a hole, triangles widen downwards."""
    for image, label in zip(drawn.images, drawn.labels, strict=True):
        assert image.isfinite().all()
        kind = GENERATED[int(label[2].max()) - 1].name
        rows, columns = (label[2] > 0).nonzero(as_tuple=True)
        box = (
            label[2, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] > 0
        ).double()
        middle = box[box.shape[0] // 2, box.shape[1] // 2]
        filled = box.mean().item()
        if kind == "square":
            assert filled == 1
        elif kind == "disc":
            assert 0.6 < filled < 0.95
        elif kind == "ring":
            assert middle == 0
        elif kind == "triangle":
            widths = box.sum(dim=1)
            assert (widths[1:] >= widths[:-1]).all()
        else:
            assert kind == "cross"
            assert middle == 1
            assert box[0, 0] == box[0, -1] == box[-1, 0] == box[-1, -1] == 0


@pytest.mark.parametrize(
    ("part", "shapes"),
    [
        ("corner", {"square", "triangle"}),
        ("edge", {"square", "triangle"}),
        ("rim", {"disc", "ring"}),
        ("hole", {"ring"}),
        ("arm", {"cross"}),
    ],
)
def test_parts_belong_to_their_shapes(drawn: Labelled, part: str, shapes: set[str]) -> None:
    where = mask(drawn, part)
    owners = {GENERATED[n - 1].name for n in drawn.labels[where.any(dim=(1, 2)), 2].unique() if n}
    assert owners == shapes
    inside = (drawn.labels[:, 2] > 0)[where]
    assert inside.all() if part != "hole" else not inside.any()


def test_corners_and_edges_of_a_square_by_hand(drawn: Labelled) -> None:
    """Corner pixels of the box are corners, the middle of a side is an edge, the centre none."""
    squares = mask(drawn, "square").any(dim=(1, 2)).nonzero()[:, 0]
    for at in squares[:30].tolist():
        rows, columns = mask(drawn, "square")[at].nonzero(as_tuple=True)
        top, left, bottom, right = rows.min(), columns.min(), rows.max(), columns.max()
        parts, size = drawn.labels[at, 3], int(bottom - top) + 1
        for row in (top, bottom):
            for column in (left, right):
                assert parts[row, column] == number("corner")
        centre = parts[(top + bottom) // 2, (left + right) // 2]
        assert centre == 0
        if size >= 9:
            assert parts[top, (left + right) // 2] == number("edge")


def test_stripes_repeat_after_four_pixels(drawn: Labelled) -> None:
    """Along a column of a thing with rows, two pixels of colour follow two faded ones."""
    where = mask(drawn, "rows")
    coloured = drawn.labels[:, 0] > 0
    for at in where.any(dim=(1, 2)).nonzero()[:, 0].tolist():
        inside = where[at, :-4] & where[at, 4:]
        assert (coloured[at, :-4] == coloured[at, 4:])[inside].all()
        inside = where[at, :-2] & where[at, 2:]
        assert (coloured[at, :-2] != coloured[at, 2:])[inside].all()


def test_kinds_are_drawn_evenly_and_independently(drawn: Labelled) -> None:
    """Each of 6 x 5 pairs of colour and shape is expected 400 / 30 = 13 times."""
    shapes = drawn.labels[:, 2].flatten(1).amax(dim=1)
    colours = drawn.labels[:, 0].flatten(1).amax(dim=1)
    seen = colours > 0  # a few things show no pixel of their colour
    assert seen.double().mean() > 0.98
    pairs = torch.stack((colours[seen], shapes[seen]), dim=1).unique(dim=0, return_counts=True)[1]
    assert len(pairs) == 30
    assert pairs.min() >= 3
    assert pairs.max() <= 28


def test_batches_come_again_alike_and_differ_by_seed() -> None:
    images = ConceptImages(250, seed=3, block=100)
    first, again = list(images), list(images)
    assert [len(batch.images) for batch in first] == [100, 100, 50]
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
    assert not torch.equal(first[0].images, first[1].images)
    other_seed = next(iter(ConceptImages(250, seed=4, block=100)))
    assert not torch.equal(first[0].images, other_seed.images)
    shorter = list(ConceptImages(30, seed=3, block=100))
    assert torch.equal(shorter[0].images, first[0].images[:30])


def test_other_sizes() -> None:
    batch = next(iter(ConceptImages(4, 0, side=64, block=4, dtype=torch.float64)))
    assert batch.images.shape == (4, 3, 64, 64)
    assert batch.images.dtype == torch.float64
    wrong: tuple[dict[str, Any], ...] = {"count": 0}, {"side": 8}, {"block": 0}
    for given in wrong:
        with pytest.raises(ValueError, match="give at least 1, 1 and 16"):
            ConceptImages(**{"count": 1, "seed": 0, **given})
