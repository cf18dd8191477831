"""Transformations by hand and by whole pixels, and what they do to features."""

from itertools import combinations
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fmlib.models import base_cnn, compact_cnn
from fmlib.visualization.invariance import invariance, rotate, scale, translate
from fmlib.visualization.units import probabilities
from tests import toy

DOUBLE = torch.float64


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Pixels drawn uniformly from [0, 1]."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


# --- transformations ---------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_no_amount_changes_nothing(height: int, width: int) -> None:
    images = drawn(2, 3, height, width)
    for found in (translate(images, 0), scale(images, 1), rotate(images, 0), rotate(images, 360)):
        close(found, images)


@pytest.mark.parametrize("size", [(7, 7), (8, 8), (6, 9), (32, 32)])
def test_translation_by_whole_pixels_is_a_shifted_copy(size: tuple[int, int]) -> None:
    images = drawn(2, 3, *size)
    down, up = translate(images, 2), translate(images, -3)
    close(down[:, :, 2:], images[:, :, :-2])
    close(down[:, :, :2], images[:, :, :1].expand(-1, -1, 2, -1))  # the border goes on
    close(up[:, :, :-3], images[:, :, 3:])
    close(up[:, :, -3:], images[:, :, -1:].expand(-1, -1, 3, -1))


def test_translation_by_half_a_pixel_takes_means() -> None:
    images = torch.tensor([0.0, 1.0, 0.4], dtype=DOUBLE).reshape(1, 1, 3, 1)
    assert translate(images, 0.5).flatten().tolist() == pytest.approx([0, 0.5, 0.7])


@pytest.mark.parametrize("side", [1, 2, 5, 8, 28])
def test_quarter_turns_are_those_of_rot90(side: int) -> None:
    images = drawn(2, 3, side, side)
    for quarters in (-1, 1, 2, 3, 5):
        close(rotate(images, 90 * quarters), images.rot90(quarters, dims=(2, 3)))


def test_half_a_turn_of_an_oblong_image_is_rot90_twice() -> None:
    images = drawn(2, 3, 5, 8)
    close(rotate(images, 180), images.rot90(2, dims=(2, 3)))


def test_a_quarter_turn_of_an_oblong_image_keeps_pixels_square() -> None:
    """The middle 4x4 pixels of 4x8 turn as a square image does."""
    images = drawn(2, 3, 4, 8)
    close(rotate(images, 90)[..., 2:6], images[..., 2:6].rot90(1, dims=(2, 3)))


def test_scaling_by_2_by_hand() -> None:
    """New pixels of a row lie at -0.75, -0.25, 0.25, 0.75 pixels from the centre.

    The old ones lie at -1.5, -0.5, 0.5, 1.5, so that a row 0, 0.4, 0.8, 1 becomes 0.3, 0.5, ...
    """
    row = torch.tensor([0.0, 0.4, 0.8, 1.0], dtype=DOUBLE)
    new = torch.tensor([0.3, 0.5, 0.7, 0.85], dtype=DOUBLE)
    close(scale(row.expand(1, 1, 4, 4), 2), new.expand(1, 1, 4, 4))
    close(scale(row[:, None].expand(1, 1, 4, 4), 2), new[:, None].expand(1, 1, 4, 4))


def test_scaling_by_a_half_by_hand() -> None:
    """New pixels lie at -3, -1, 1, 3 pixels from the centre: two beyond the border."""
    row = torch.tensor([0.0, 0.4, 0.8, 1.0], dtype=DOUBLE)
    new = torch.tensor([0.0, 0.2, 0.9, 1.0], dtype=DOUBLE)
    close(scale(row.expand(1, 1, 4, 4), 0.5), new.expand(1, 1, 4, 4))


def test_pixels_stay_between_the_old_ones() -> None:
    images = drawn(2, 1, 12, 9)
    for found in (
        translate(images, 3.7),
        scale(images, 0.6),
        scale(images, 1.7),
        rotate(images, 33),
    ):
        assert found.dtype == DOUBLE
        assert found.shape == images.shape
        assert found.min() >= images.min() - 1e-12
        assert found.max() <= images.max() + 1e-12


# --- features ----------------------------------------------------------------------------


def test_distances_and_probabilities_by_hand() -> None:
    """The features are the pixels; moving down by 1 copies the upper row into the lower one."""
    model = toy.linear_net(torch.eye(4).tolist())
    images = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 1]], dtype=DOUBLE).reshape(2, 1, 2, 2)
    found = invariance(model, images, torch.tensor([2, 1]), "translation", [0, 1], ["scale", "fc1"])
    # first image 1 0 / 0 0 becomes 1 0 / 1 0; second 0 1 / 0 1 stays
    expected = torch.tensor([[0, 0], [1, 0]], dtype=DOUBLE)
    for layer in ("scale", "fc1"):
        close(found.distances[layer], expected)
        assert found.between[layer] == pytest.approx(3**0.5)  # 1 0 0 0 against 0 1 0 1
        close(found.normalized(layer), expected / 3**0.5)
    e = torch.tensor(1.0, dtype=DOUBLE).exp()
    chances = torch.stack([1 / (e + 3), e / (2 * e + 2), e / (2 * e + 2), e / (2 * e + 2)])
    close(found.probability, chances.reshape(2, 2))
    assert found.amounts == (0, 1)


@pytest.mark.parametrize(
    ("transformation", "amounts"),
    [("translation", (-3, 0, 2.5)), ("scaling", (0.8, 1, 1.5)), ("rotation", (-20, 0, 90))],
)
def test_distances_equal_those_of_a_loop(transformation: Any, amounts: tuple[float, ...]) -> None:
    model, images = compact_cnn((3, 16, 12), dtype=DOUBLE), drawn(4, 3, 16, 12)
    labels = torch.tensor([3, 0, 9, 3])
    found = invariance(model, images, labels, transformation, amounts, ["conv1", "fc"])
    transform = {"translation": translate, "scaling": scale, "rotation": rotate}[transformation]
    parts = {"conv1": model[:2], "fc": model[:-1]}
    with torch.no_grad():
        for a, amount in enumerate(amounts):
            for i in range(4):
                moved = transform(images[i : i + 1], amount)
                for layer, part in parts.items():
                    far = (part(moved) - part(images[i : i + 1])).norm()
                    close(found.distances[layer][a, i], far)
                close(found.probability[a, i], probabilities(model(moved))[0, labels[i]])
        for layer, part in parts.items():
            pairs = [
                (part(images[i : i + 1]), part(images[j : j + 1]))
                for i, j in combinations(range(4), 2)
            ]
            mean = sum(float((one - other).norm()) for one, other in pairs) / 6
            assert found.between[layer] == pytest.approx(mean)
    assert found.distances["conv1"].shape == found.probability.shape == (3, 4)
    assert (found.distances["fc"][1] < 1e-10).all()  # no amount
    assert (found.distances["fc"][[0, 2]] > 1e-4).all()


def test_grey_images_in_single_precision_and_nothing_is_changed() -> None:
    model, images = base_cnn(), drawn(3, 1, 28, 28).float()
    before, kept = toy.snapshot(model), images.clone()
    found = invariance(model, images, torch.tensor([1, 2, 3]), "rotation", [30.0], ["conv1"])
    assert found.distances["conv1"].dtype == torch.float32
    assert (found.distances["conv1"] > 0).all()
    assert toy.unchanged(model, before)
    assert toy.hook_count(model) == 0
    assert model.training
    assert torch.equal(images, kept)


# --- refusals ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"images": drawn(1, 1, 28, 28)}, "^there are 1 images; give at least two to compare$"),
        ({"images": drawn(2, 28, 28)}, r"^images have the shape \(2, 28, 28\); give"),
        ({"images": drawn(2, 1, 28, 28).float()}, "float32, but the model is torch.float64"),
        ({"images": torch.zeros(2, 1, 28, 28, dtype=DOUBLE)}, "'conv1' is the same for all images"),
        ({"transformation": "shear"}, "choose from translation, scaling, rotation$"),
        ({"transformation": "scaling"}, "^an amount of scaling is 0.0; give numbers above 0$"),
        ({"amounts": [float("nan")]}, "is nan; give numbers that are finite$"),
        ({"amounts": []}, "^there is no amount"),
        ({"layers": []}, "or no layer to look at; give at least one of each$"),
        ({"layers": ["conv9"]}, "^layer 'conv9' does not exist; choose from scale, conv1"),
        ({"labels": torch.tensor([0, 10])}, r"^labels are \[0, 10\]; give a class from 0 to 9"),
        ({"labels": torch.tensor([-1, 1])}, r"^labels are \[-1, 1\]"),
        ({"labels": torch.tensor([1])}, r"for each of the 2 images$"),
    ],
)
def test_mistakes_are_refused(settings: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "images": drawn(2, 1, 28, 28),
        "labels": torch.tensor([0, 1]),
        "transformation": "rotation",
        "amounts": [0.0],
        "layers": ["conv1"],
    }
    with pytest.raises(ValueError, match=message):
        invariance(base_cnn(dtype=DOUBLE), **(arguments | settings))
