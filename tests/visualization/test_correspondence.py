"""Correspondence analysis: distances by hand and by a loop over pairs, random parts, refusals."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fmlib.models import base_cnn, compact_cnn
from fmlib.visualization.correspondence import (
    Box,
    Distance,
    box_masks,
    changes,
    correspondence,
    distance,
    moved_at_random,
)
from tests import toy

DOUBLE = torch.float64


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Pixels drawn uniformly from [0, 1]."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


# --- distances ---------------------------------------------------------------------------


def test_distances_by_hand() -> None:
    same = torch.tensor([[0.5, -2.0, 0.0]]).repeat(3, 1)
    assert distance(same) == Distance(0, 0.0)
    opposite = torch.tensor([[1.0, -2.0, 3.0], [-0.1, 4.0, -5.0]])
    assert distance(opposite) == Distance(6, 1.0)  # 3 features, both orders of the pair
    assert distance(opposite * torch.tensor([[7.0], [0.01]])).mean == 1  # sizes do not matter
    # +, + against +, 0: one of two features; both zero counts for nothing
    assert distance(torch.tensor([[1.0, 1.0], [1.0, 0.0]])) == Distance(2, 0.5)
    assert distance(torch.zeros(4, 5)) == Distance(0, 0.0)
    # signs +, -, 0: all three pairs differ
    assert distance(torch.tensor([[1.0], [-1.0], [0.0]])) == Distance(6, 1.0)


@given(st.integers(2, 7), st.integers(1, 9), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_distances_are_those_of_a_loop_over_pairs(n: int, features: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    changed = torch.randint(-2, 3, (n, features), generator=generator).to(DOUBLE)
    signs = changed.sign().tolist()
    total = 0
    for i in range(n):
        for j in range(n):
            if i != j:
                total += sum(a != b for a, b in zip(signs[i], signs[j], strict=True))
    found = distance(changed)
    assert found.total == total
    assert found.mean == pytest.approx(total / (n * (n - 1) * features))
    assert 0 <= found.mean <= 1
    assert distance(-changed.flip(0)) == found


@pytest.mark.parametrize("shape", [(1, 4), (3,), (3, 0)])
def test_distances_of_less_than_two_changes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^changes have the shape .* at least two images$"):
        distance(torch.zeros(shape))


# --- parts -------------------------------------------------------------------------------


def test_one_box_marks_the_same_place_in_all_images_and_several_their_own() -> None:
    images = drawn(2, 3, 4, 5)
    same = box_masks(Box(1, 2, height=2, width=3), images)
    assert same.shape == (2, 4, 5)
    for mask in same:
        assert mask.nonzero().tolist() == [[1, 2], [1, 3], [1, 4], [2, 2], [2, 3], [2, 4]]
    own = box_masks([Box(0, 0, 1, 1), Box(3, 3, 1, 2)], images)
    assert own.nonzero().tolist() == [[0, 0, 0], [1, 3, 3], [1, 3, 4]]


@pytest.mark.parametrize(
    "box", [Box(-1, 0, 2, 2), Box(3, 0, 2, 2), Box(0, 4, 2, 2), Box(0, 0, 0, 2), Box(0, 0, 2, 0)]
)
def test_boxes_outside_of_the_image_or_without_a_pixel_are_refused(box: Box) -> None:
    with pytest.raises(ValueError, match="does not lie within 4 rows and 5 columns"):
        box_masks(box, drawn(2, 3, 4, 5))
    with pytest.raises(ValueError, match="there are 1 boxes for 2 images"):
        box_masks([box], drawn(2, 3, 4, 5))


def _l_shape() -> Tensor:
    mask = torch.zeros(4, 5, dtype=torch.bool)
    mask[0, 1] = mask[1, 1] = mask[1, 2] = True
    return mask


def test_random_parts_keep_their_shape_and_get_everywhere() -> None:
    masks = _l_shape().expand(2400, -1, -1)
    moved = moved_at_random(masks, torch.Generator().manual_seed(0))
    pixels = [mask.nonzero() for mask in moved]
    corners = torch.stack([each[0] for each in pixels])  # (2400, 2), of the upper pixel
    shape = [[0, 0], [1, 0], [1, 1]]
    for each, corner in zip(pixels, corners, strict=True):
        assert (each - corner).tolist() == shape
    counts = (corners[:, 0] * 5 + corners[:, 1]).bincount(minlength=20).reshape(4, 5)
    assert (counts[3] == 0).all()
    assert (counts[:, 4] == 0).all()
    # 200 in each of 12 places; deviation 13.5
    assert (counts[:3, :4] - 200).abs().max() < 5 * 13.5


def test_a_part_as_large_as_the_image_stays() -> None:
    masks = torch.ones(3, 4, 5, dtype=torch.bool)
    assert moved_at_random(masks, torch.Generator().manual_seed(0)).all()


def test_parts_that_move_together_get_to_the_same_place() -> None:
    """One of 1x2 at (0, 1) and one of 2x1 at (2, 4): 2x2 must fit, in 3 times 4 places."""
    masks = box_masks([Box(0, 1, 1, 2), Box(2, 4, 2, 1)], drawn(2, 1, 4, 5))
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(200):
        one, other = moved_at_random(masks, generator, together=True)
        top, left = one.nonzero()[0].tolist()
        assert one.nonzero().tolist() == [[top, left], [top, left + 1]]
        assert other.nonzero().tolist() == [[top, left], [top + 1, left]]
        seen.add((top, left))
    assert seen == {(i, j) for i in range(3) for j in range(4)}


# --- changes -----------------------------------------------------------------------------


def test_changes_by_hand() -> None:
    """Grey of 0.5 takes 0.4 from pixels of 0.9, and -0.4 from those of 0.1; pixel 3 stays."""
    model = toy.linear_net([[1, 0, 0, 0], [0, -2, 0, 0], [0, 0, 0, 3]])
    images = toy.flat_images(0.9, 0.1)
    masks = box_masks(Box(0, 0, 1, 2), images)
    [found] = changes(model, images, [masks], "fc1", fill=0.5)
    expected = torch.tensor([[0.4, -0.8, 0.0], [-0.4, 0.8, 0.0]], dtype=DOUBLE)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)
    assert distance(found) == Distance(4, 2 / 3)


def test_features_that_do_not_see_the_part_do_not_change_at_all() -> None:
    model, images = compact_cnn((3, 16, 16), dtype=DOUBLE), drawn(5, 3, 16, 16)
    masks = box_masks(Box(0, 0, 4, 4), images)
    [found] = changes(model, images, [masks], "conv1")
    maps = found.reshape(5, 24, 16, 16)
    assert (maps[:, :, :4, :4] != 0).all()
    maps[:, :, :5, :5] = 0  # kernels of 3x3 see one pixel further
    assert (maps == 0).all()


# --- the analysis ------------------------------------------------------------------------


def left_right_net() -> nn.Sequential:
    """For images of four pixels: the features x0 - x1, x1 - x0, x2 and x3."""
    return toy.linear_net([[1, -1, 0, 0], [-1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def test_a_part_that_is_alike_in_all_images_is_told_from_random_parts() -> None:
    """Pixel 0 is white everywhere, the others are white or black at random.

    Hiding pixel 0 changes features by +, -, 0, 0; hiding another one by signs that differ.
    """
    images = drawn(12, 1, 2, 2, seed=3).round()
    images[:, 0, 0, 0] = 1
    masks = box_masks(Box(0, 0, 1, 1), images)
    model = left_right_net()
    found = correspondence(model, images, masks, "fc1", draws=9, seed=0, together=False)
    assert found.part == Distance(0, 0.0)
    assert found.random.shape == (9,)
    assert (found.random > 0.2).all()
    assert found.ratio == 0
    assert found.random_mean == pytest.approx(sum(found.random.tolist()) / 9)
    assert 0 < found.random_deviation < 0.1
    other = correspondence(
        model, images, box_masks(Box(1, 1, 1, 1), images), "fc1", draws=9, seed=0, together=False
    )
    # pixel 3: k of 12 images change feature 3 by +, the rest by -
    k = int(images[:, 0, 1, 1].sum())
    assert other.part.total == 2 * k * (12 - k)
    assert 0 < k < 12
    assert other.ratio > 0


def test_random_parts_are_drawn_by_the_seed_alone() -> None:
    model, images = base_cnn(), drawn(4, 1, 28, 28).float()
    masks = box_masks(Box(5, 6, 7, 8), images)
    before, kept = torch.random.get_rng_state(), toy.snapshot(model)
    found, again, other = (
        correspondence(model, images, masks, "fc1", draws=3, seed=seed, together=False)
        for seed in (0, 0, 1)
    )
    assert torch.equal(found.random, again.random)
    assert not torch.equal(found.random, other.random)
    assert found.part == other.part
    assert found.part.mean > 0
    assert torch.equal(torch.random.get_rng_state(), before)
    assert toy.unchanged(model, kept)
    assert toy.hook_count(model) == 0


def test_random_parts_at_one_place_are_closer_than_parts_at_many() -> None:
    """Maps do not change where they do not see the part, which says nothing of the images."""
    images = drawn(8, 3, 16, 16)
    model = compact_cnn((3, 16, 16), dtype=DOUBLE)
    masks = box_masks(Box(1, 9, 4, 4), images)
    one, many = (
        correspondence(model, images, masks, "conv2", draws=6, seed=0, together=together)
        for together in (True, False)
    )
    assert one.part == many.part
    assert one.random.max() < many.random.min()
    assert many.ratio < 0.6  # though noise has no parts


def test_without_any_random_change_there_is_no_ratio() -> None:
    images = toy.flat_images(0.5, 0.5)
    masks = box_masks(Box(0, 0, 1, 1), images)
    found = correspondence(left_right_net(), images, masks, "fc1", draws=2, seed=0, together=False)
    assert found.random.tolist() == [0, 0]
    assert found.ratio != found.ratio


# --- refusals ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"draws": 1}, "^draws is 1; give a whole number from 2$"),
        ({"fill": -0.1}, "^fill is -0.1; give a value from 0 to 1$"),
        ({"layer": "conv9"}, "^layer 'conv9' does not exist; choose from scale, conv1"),
        ({"images": drawn(1, 1, 28, 28)}, "^there are 1 images; give at least two to compare$"),
        ({"images": drawn(3, 28, 28)}, r"^images have the shape \(3, 28, 28\); give"),
        ({"images": drawn(3, 1, 28, 28).float()}, "float32, but the model is torch.float64"),
        ({"masks": torch.ones(3, 28, 28)}, r"^masks are torch.float32 of the shape \(3, 28, 28\)"),
        ({"masks": torch.ones(2, 28, 28, dtype=torch.bool)}, r"of the shape \(3, 28, 28\)$"),
        ({"masks": torch.zeros(3, 28, 28, dtype=torch.bool)}, r"images \[0, 1, 2\] are empty"),
    ],
)
def test_mistakes_are_refused(settings: dict[str, Any], message: str) -> None:
    images = drawn(3, 1, 28, 28)
    arguments: dict[str, Any] = {
        "images": images,
        "masks": box_masks(Box(2, 2, 5, 5), images),
        "layer": "fc1",
        "draws": 2,
    }
    with pytest.raises(ValueError, match=message):
        correspondence(base_cnn(dtype=DOUBLE), **(arguments | settings), seed=0, together=False)
