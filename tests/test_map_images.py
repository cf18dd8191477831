"""Feature maps as images: order, padding, labels."""

import pytest
import torch
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


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"images of \(4, 2\) do not fit into \(3, 3\)"):
        map_images.pad_to(torch.zeros(1, 1, 4, 2), 3, 3)
    image, label = torch.zeros(1, 1, 28, 28), torch.tensor([0])
    with pytest.raises(ValueError, match="layer 'conv7' does not exist"):
        map_images.map_training_set(base_cnn(), image, label, "conv7")
