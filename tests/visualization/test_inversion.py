"""Inversion by gradient descent: an invertible layer gives the image back; measures by hand."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from fmlib.features import feature_maps
from fmlib.models import compact_cnn
from fmlib.visualization.inversion import (
    InversionConfig,
    invert,
    mean_distance,
    penalty,
    reconstruction_error,
    relative_error,
    variation,
)
from tests import toy

FREE = InversionConfig(steps=300, intensity=0, variation=0)


def features(model: nn.Module, images: torch.Tensor, layer: str) -> torch.Tensor:
    return feature_maps(model, images, [layer])[layer]


def test_an_invertible_layer_gives_the_image_back() -> None:
    """Map 0 of the first layer is the image, map 1 is 1 minus it."""
    model, images = toy.pixel_cnn(), toy.random_images(3, size=2)
    before = toy.snapshot(model)
    found = invert(model, "conv1", features(model, images, "conv1"), (1, 2, 2), FREE, seed=0)
    torch.testing.assert_close(found, images, atol=1e-3, rtol=0)
    assert toy.unchanged(model, before)
    assert all(weight.requires_grad for weight in model.parameters())


def test_what_a_layer_has_thrown_away_stays_unknown() -> None:
    """Two pixels of which only the sum is seen: both get half of it, as they start alike."""
    model = toy.linear_net([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    image = torch.tensor([0.9, 0.1, 0.3, 0.5], dtype=torch.float64).reshape(1, 1, 2, 2)
    config = FREE.model_copy(update={"noise": 0.0})
    found = invert(model, "fc1", features(model, image, "fc1"), (1, 2, 2), config, seed=0)
    expected = torch.tensor([0.5, 0.5, 0.4, 0.4], dtype=torch.float64).reshape(1, 1, 2, 2)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_pictures_are_found_as_if_alone_and_depend_on_the_seed() -> None:
    model = compact_cnn((1, 8, 8), 2, dtype=torch.float64)
    images = toy.random_images(3, size=8)
    config = InversionConfig(steps=5)
    wanted = features(model, images, "act2")
    together = invert(model, "act2", wanted, (1, 8, 8), config, seed=0)
    alone = invert(model, "act2", wanted[1:2], (1, 8, 8), config, seed=0)
    torch.testing.assert_close(together[1:2], alone)
    other = invert(model, "act2", wanted, (1, 8, 8), config, seed=1)
    assert not torch.equal(together, other)
    assert together.min() >= 0
    assert together.max() <= 1


@pytest.mark.parametrize("layer", ["act1", "pool3", "fc"])
def test_descent_lowers_the_error_in_every_layer(layer: str) -> None:
    model = compact_cnn((3, 16, 16), 3).float()
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    wanted = features(model, images, layer)
    errors = [
        relative_error(
            features(
                model,
                invert(model, layer, wanted, (3, 16, 16), InversionConfig(steps=steps), seed=0),
                layer,
            ),
            wanted,
        ).mean()
        for steps in (1, 40)
    ]
    assert errors[1] < errors[0] / 2


def test_variation_by_hand() -> None:
    """Rows 0 3 and 4 3: slopes (3, 4), (0, 0), (-1, 0), (0, 0) of lengths 5, 0, 1, 0."""
    picture = torch.tensor([[0.0, 3.0], [4.0, 3.0]], dtype=torch.float64)[None, None]
    assert variation(picture, 2.0).item() == pytest.approx((25 + 1) / 4)
    assert variation(picture, 1.0).item() == pytest.approx((5 + 1) / 4, abs=1e-5)
    flat = torch.zeros(1, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    variation(flat, 1.0).sum().backward()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()


def test_penalty_by_hand() -> None:
    """White is 1 from grey in the norm's unit, to any power; grey is 0."""
    config = InversionConfig(intensity=2.0, variation=0.0, alpha=6.0)
    picture = torch.tensor([1.0, 0.5, 0.5, 0.75], dtype=torch.float64).reshape(1, 1, 2, 2)
    assert penalty(picture, config).item() == pytest.approx(2 * (1 + 0.5**6) / 4)


def test_measures_by_hand() -> None:
    found, wanted = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 4.0]])
    assert relative_error(found, wanted).item() == pytest.approx(9 / 16)
    images = torch.tensor([0.0, 1.0, 3.0]).reshape(3, 1, 1, 1)  # distances 1, 3, 2
    assert mean_distance(images) == pytest.approx(2)
    errors = reconstruction_error(images + 1, images, 2.0)
    assert errors.tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 2, 3, 3), "give (N, 2, 2, 2)"),
        ((0, 2, 2, 2), "features have the shape (0, 2, 2, 2)"),
    ],
)
def test_features_of_another_shape_are_refused(shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        invert(toy.pixel_cnn(), "conv1", torch.ones(shape), (1, 2, 2), FREE, seed=0)
    assert words.removeprefix("give ") in str(caught.value)


def test_features_of_zeros_and_unknown_layers_are_refused() -> None:
    model = toy.pixel_cnn()
    wanted = torch.ones(2, 2, 2, 2)
    wanted[1] = 0
    with pytest.raises(ValueError, match="image 1 in layer 'conv1' are all zero"):
        invert(model, "conv1", wanted, (1, 2, 2), FREE, seed=0)
    with pytest.raises(ValueError, match="layer 'conv9' does not exist; choose from"):
        invert(model, "conv9", wanted, (1, 2, 2), FREE, seed=0)
    with pytest.raises(ValueError, match="give at least two"):
        mean_distance(torch.ones(1, 1, 2, 2))


@pytest.mark.parametrize("given", [{"steps": 0}, {"variation": -1.0}, {"step": math.inf}])
def test_impossible_settings_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        InversionConfig(**given)
