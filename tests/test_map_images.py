"""Feature maps as images: order, padding, labels."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from fmlib import map_images
from fmlib.features import feature_maps
from fmlib.models import base_cnn
from tests import toy


def test_each_map_keeps_the_order() -> None:
    maps = torch.arange(2 * 3 * 2 * 2, dtype=torch.float64).reshape(2, 3, 2, 2)
    images = map_images.each_map(maps)
    assert images.shape == (6, 1, 2, 2)
    for n in range(2):
        for i in range(3):
            assert torch.equal(images[3 * n + i, 0], maps[n, i])


def test_padding_by_hand() -> None:
    image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert map_images.pad_to(image, 4, 4)[0, 0].tolist() == [
        [0, 0, 0, 0],
        [0, 1, 2, 0],
        [0, 3, 4, 0],
        [0, 0, 0, 0],
    ]
    assert map_images.pad_to(image, 2, 3)[0, 0].tolist() == [[1, 2, 0], [3, 4, 0]]


def test_padding_equals_padding_at_the_first_convolution() -> None:
    model = base_cnn(dtype=torch.float64)
    maps = toy.random_images(3, size=24) - 0.5
    weight, bias = model.get_parameter("conv1.weight"), model.get_parameter("conv1.bias")
    padded = map_images.pad_to(maps, 28, 28)
    expected = F.conv2d(maps, weight, bias, padding=2)
    assert torch.allclose(F.conv2d(padded, weight, bias), expected, rtol=0, atol=1e-12)


def test_training_set_of_maps() -> None:
    """Map i of image n is image 15 n + i, carries its label and is not rectified."""
    model, images = base_cnn(dtype=torch.float64), toy.random_images(2, size=28)
    before = toy.snapshot(model)
    found, labels = map_images.map_training_set(model, images, torch.tensor([7, 4]))
    maps = feature_maps(model, images, ["conv1"])["conv1"]
    assert found.shape == (30, 1, 28, 28)
    assert labels.tolist() == [7] * 15 + [4] * 15
    assert torch.equal(found[15 + 3, 0, 2:26, 2:26], maps[1, 3])
    assert found[:, :, :2].eq(0).all()
    assert map_images.negative_share(found) > 0.1
    assert model[1:](found).shape == (30, 10)
    assert toy.unchanged(model, before)


def test_maps_of_another_layer() -> None:
    images = toy.random_images(2)
    found, labels = map_images.map_training_set(
        toy.diagonal_cnn(), images, torch.tensor([0, 1]), layer="pool1"
    )
    assert found.shape == (4, 1, 6, 6)
    assert labels.tolist() == [0, 0, 1, 1]


def test_maps_for_colour_networks_are_grey() -> None:
    """Every map stands in all three channels."""
    model, images = base_cnn((3, 20, 20)), toy.random_images(6, size=20).view(2, 3, 20, 20).float()
    found, labels = map_images.map_training_set(model, images, torch.tensor([0, 1]))
    maps = feature_maps(model, images, ["conv1"])["conv1"]
    assert found.shape == (30, 3, 20, 20)
    assert len(labels) == 30
    for channel in range(3):
        assert torch.equal(found[15 + 2, channel, 2:18, 2:18], maps[1, 2])


def test_repeat_images_is_the_control_of_equal_length() -> None:
    images, labels = map_images.repeat_images(toy.flat_images(0.1, 0.2), torch.tensor([3, 5]), 3)
    assert images[:, 0, 0, 0].tolist() == [0.1, 0.1, 0.1, 0.2, 0.2, 0.2]
    assert labels.tolist() == [3, 3, 3, 5, 5, 5]


def test_negative_share() -> None:
    assert map_images.negative_share(torch.tensor([-1.0, 0.0, 2.0, -3.0])) == 0.5


# --- ways of making images of maps -------------------------------------------------------

TWO_MAPS = torch.tensor(
    [[[[1.0, 2.0]], [[3.0, -6.0]]], [[[0.0, 1.0]], [[1.0, 1.0]]]]
)  # (2, 2, 1, 2)


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("each_map", [[[[1, 2]]], [[[3, -6]]], [[[0, 1]]], [[[1, 1]]]]),
        ("sum_map", [[[[4, -4]]], [[[1, 2]]]]),
        ("mean_map", [[[[2, -2]]], [[[0.5, 1]]]]),
        ("channels", [[[[1, 2]], [[3, -6]]], [[[0, 1]], [[1, 1]]]]),
    ],
)
def test_ways_by_hand(way: str, expected: list[list[list[list[float]]]]) -> None:
    assert map_images.WAYS[way](TWO_MAPS, 1).tolist() == expected
    assert map_images.as_images(TWO_MAPS, (1, 1, 2), way).tolist() == expected


def test_there_is_no_other_way() -> None:
    assert list(map_images.WAYS) == ["each_map", "sum_map", "mean_map", "channels"]
    with pytest.raises(ValueError, match="way 'product' is not known; choose one of each_map, sum"):
        map_images.as_images(TWO_MAPS, (1, 1, 2), "product")


@pytest.mark.parametrize("way", ["each_map", "sum_map", "mean_map"])
def test_images_for_colour_networks_are_grey_and_padded(way: str) -> None:
    images = map_images.as_images(TWO_MAPS, (3, 3, 2), way)
    assert images.shape == (4 if way == "each_map" else 2, 3, 3, 2)
    for channel in range(3):
        assert torch.equal(images[:, channel, 1:2], map_images.WAYS[way](TWO_MAPS, 1)[:, 0])
        assert images[:, channel, ::2].eq(0).all()


# --- blur --------------------------------------------------------------------------------

FACTORS = st.floats(0.01, 100).flatmap(lambda size: st.sampled_from([size, -size]))


def test_roughness_by_hand() -> None:
    """Steps of 1 to the right, none downwards, a variance of 1/4 in each image."""
    stripes = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]], [[[5.0, 6.0], [5.0, 6.0]]]])
    assert map_images.roughness(stripes) == 4
    assert math.isnan(map_images.roughness(toy.flat_images(0.5)))


def test_roughness_of_many_images_is_that_of_all_together() -> None:
    """120 images, more than are computed at a time, and none square."""
    images = toy.random_images(120, size=9)[..., :7]
    steps = images.diff(dim=2).square().mean() + images.diff(dim=3).square().mean()
    variance = (images - images.mean((2, 3), keepdim=True)).square().mean()
    assert map_images.roughness(images) == pytest.approx((steps / variance).item(), rel=1e-12)


@given(FACTORS, st.floats(-100, 100))
def test_roughness_is_free_of_scale_and_offset(factor: float, offset: float) -> None:
    images = toy.random_images(3)
    changed = map_images.roughness(factor * images + offset)
    assert changed == pytest.approx(map_images.roughness(images), rel=1e-6)


def test_blur_of_sigma_zero_changes_nothing() -> None:
    images = toy.random_images(4)
    assert torch.equal(map_images.blur(images, 0.0), images)


def test_blur_of_a_point_is_a_gaussian() -> None:
    point = torch.zeros(1, 1, 21, 21, dtype=torch.float64)
    point[0, 0, 10, 10] = 1
    x = torch.arange(-10, 11, dtype=torch.float64)
    bell = torch.exp(-(x**2) / (2 * 1.5**2)) * (x.abs() <= 6)  # cut off at four deviations
    bell /= bell.sum()
    blurred = map_images.blur(point, 1.5)[0, 0]
    assert torch.allclose(blurred, torch.outer(bell, bell), rtol=0, atol=1e-15)


def test_blur_mixes_neither_images_nor_channels() -> None:
    images = toy.random_images(4)
    alone = torch.cat([map_images.blur(one[None], 2.0) for one in images])
    assert torch.equal(map_images.blur(images, 2.0), alone)
    assert torch.equal(map_images.blur(images.view(2, 2, 6, 6), 2.0).view(4, 1, 6, 6), alone)


@given(st.floats(0.35, 3))
def test_equal_blur_finds_the_blur_again(sigma: float) -> None:
    """And reaches the roughness that was asked for."""
    images = toy.random_images(5, size=12)
    target = map_images.roughness(map_images.blur(images, sigma))
    found = map_images.equal_blur(images, target)
    assert map_images.roughness(map_images.blur(images, found)) == pytest.approx(target, abs=1e-3)
    assert found == pytest.approx(sigma, abs=0.02)


def test_equal_blur_is_none_where_maps_are_no_smoother() -> None:
    images = toy.random_images(3)
    rough = map_images.roughness(images)
    assert map_images.equal_blur(images, rough) == 0
    assert map_images.equal_blur(images, 1.1 * rough) == 0
    assert map_images.equal_blur(images, 0.9 * rough) > 0


# --- dead units --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "share"), [([0.0], 0.5), ([1.0], 0.5), ([0.5], 0.0), ([0.0, 1.0], 0.0)]
)
def test_dead_share_by_hand(values: list[float], share: float) -> None:
    """The maps are x and 1 - x, twice: one of them is dead where the other is 1."""
    assert map_images.dead_share(toy.pixel_cnn(), toy.flat_images(*values)) == share


@pytest.mark.parametrize("position", [0, 60, 119])
def test_one_image_of_many_brings_a_unit_to_life(position: int) -> None:
    """Map 0 is the image itself; all others are black, and there are more than a chunk."""
    images = torch.zeros(120, 1, 2, 2, dtype=torch.float64)
    assert map_images.dead_share(toy.pixel_cnn(), images) == 0.5
    images[position] = 1
    assert map_images.dead_share(toy.pixel_cnn(), images) == 0


def test_a_map_with_one_positive_pixel_is_not_dead() -> None:
    image = torch.tensor([[[[0.0, 0.0], [0.0, 0.1]]]], dtype=toy.DTYPE)
    assert map_images.dead_share(toy.pixel_cnn(), image) == 0


def test_leaky_units_are_dead_where_they_only_leak() -> None:
    linear = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    leaky = nn.Sequential(linear, nn.LeakyReLU())
    assert map_images.dead_share(leaky, torch.tensor([[1.0], [2.0]])) == 0.5
    assert map_images.dead_share(leaky, torch.tensor([[1.0], [-2.0]])) == 0


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"images of \(4, 2\) do not fit into \(3, 3\)"):
        map_images.pad_to(torch.zeros(1, 1, 4, 2), 3, 3)
    image, label = torch.zeros(1, 1, 28, 28), torch.tensor([0])
    with pytest.raises(ValueError, match="layer 'conv7' does not exist"):
        map_images.map_training_set(base_cnn(), image, label, "conv7")
