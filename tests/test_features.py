"""Feature maps and vectors: worked by hand, and against plain loops."""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from fmlib import features
from fmlib.models import base_cnn, fashion_cnn
from tests import toy

HAND_MAP = torch.tensor([[[[1.0, -2.0], [3.0, -6.0]]]], dtype=torch.float64)


def _moments_by_loop(one_map: NDArray[np.float64], moments: str) -> tuple[float, float]:
    """Mean and deviation of one map (P, Q), pixel by pixel, as the names in the paper say."""
    signed = moments == "released"
    p, q = one_map.shape
    values = [one_map[x, y] if signed else abs(one_map[x, y]) for x in range(p) for y in range(q)]
    mean = sum(values) / (p * q)
    squares = sum((value - mean) ** 2 for value in values)
    deviation = {
        "released": math.sqrt(squares / (p * q - 1)),
        "printed": math.sqrt(squares) / (p * q),
        "standard": math.sqrt(squares / (p * q)),
    }
    return abs(mean), deviation[moments]


def _vector_by_loop(maps: NDArray[np.float64], moments: str, vector: str) -> list[list[float]]:
    rows = []
    for image in maps:
        row: list[float] = []
        for one_map in image:
            mean, deviation = _moments_by_loop(one_map, moments)
            row += {
                "pairs": [mean, deviation],
                "product": [mean * deviation],
                "mean": [mean],
                "deviation": [deviation],
            }[vector]
        rows.append(row)
    return rows


def test_maps_of_the_toy_network_by_hand() -> None:
    image = torch.arange(36, dtype=torch.float64).reshape(1, 1, 6, 6) / 36
    maps = features.feature_maps(toy.diagonal_cnn(), image, ["conv1", "pool1", "conv2"])
    assert maps["conv1"].shape == (1, 2, 5, 5)
    assert torch.allclose(maps["conv1"][0, 0], torch.tensor(-7 / 36, dtype=torch.float64))
    assert maps["conv1"][0, 1, 0, 0].item() == pytest.approx(7 / 36)  # 0 + 7
    assert maps["conv1"][0, 1, 1, 1].item() == pytest.approx(21 / 36)  # 7 + 14
    assert maps["pool1"][0, 1, 0, 0].item() == pytest.approx(21 / 36)
    assert maps["conv2"][0, 0, 0, 0].item() == pytest.approx(21 / 36)  # ReLU cut -7 to 0
    assert maps["conv2"][0, 1, 0, 0].item() == pytest.approx(42 / 36)


def test_maps_do_not_depend_on_the_chunk() -> None:
    images = toy.random_images(7)
    whole = features.feature_maps(toy.diagonal_cnn(), images, ["conv1"])["conv1"]
    for chunk in (1, 2, 3):
        part = features.feature_maps(toy.diagonal_cnn(), images, ["conv1"], chunk)["conv1"]
        assert torch.equal(part, whole)


def test_extractor_sees_current_weights_and_leaves_the_model_alone() -> None:
    model = toy.diagonal_cnn().train()
    before = toy.snapshot(model)
    extract = features.extractor(model, ["conv1"])
    image = toy.random_images(1)
    old = extract(image)["conv1"].detach()
    assert toy.unchanged(model, before)
    assert toy.hook_count(model) == 0
    assert model.training
    with torch.no_grad():
        model.get_parameter("conv1.weight").mul_(2)
    assert torch.equal(extract(image)["conv1"], 2 * old)


def test_extractor_works_without_the_scaling_layer() -> None:
    model = toy.diagonal_cnn()
    image = toy.random_images(2)
    maps = features.feature_maps(model[1:], image, ["conv1"])["conv1"]
    assert torch.equal(maps, features.feature_maps(model, image, ["conv1"])["conv1"])


def test_maps_carry_no_gradient() -> None:
    maps = features.feature_maps(toy.diagonal_cnn(), toy.random_images(1), ["conv1"])["conv1"]
    assert not maps.requires_grad


def test_moments_of_a_2x2_map_by_hand() -> None:
    """Signed 1, -2, 3, -6: mean -1, squares 4+1+16+25 = 46; absolute: mean 3, squares 14."""
    expected = {
        "released": (1.0, math.sqrt(46 / 3)),
        "printed": (3.0, math.sqrt(14) / 4),
        "standard": (3.0, math.sqrt(14 / 4)),
    }
    assert expected.keys() == features.MOMENTS.keys()
    for name, (mean, deviation) in expected.items():
        found = features.MOMENTS[name](HAND_MAP)
        assert found[0].item() == pytest.approx(mean, rel=1e-14)
        assert found[1].item() == pytest.approx(deviation, rel=1e-14)


def test_patch_statistics_of_two_pixels_by_hand() -> None:
    """Pixels 1 and 3 times 2 plus 5: maps 7 and 11, mean 9, variance ((-2)² + 2²) / (2 - 1)."""
    conv = nn.Conv2d(1, 1, 1, dtype=torch.float64)
    nn.init.constant_(conv.weight, 2)
    nn.init.constant_(conv.bias, 5)  # type: ignore[arg-type]
    statistics = features.patch_statistics(conv, torch.tensor([[[[1.0, 3.0]]]]).double())
    assert statistics.tolist() == [[2.0, 2.0]]
    mean, deviation = features.moments_from_patches(conv, statistics)
    assert mean.item() == 9
    assert deviation.item() == pytest.approx(8**0.5)


@pytest.mark.parametrize(
    ("kernel", "options"),
    [(1, {}), (5, {}), ((2, 3), {}), (3, {"stride": 2}), (3, {"padding": (2, 1)}),
     (5, {"bias": False}), (3, {"stride": (1, 2), "padding": 1})],
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 3])
def test_moments_from_patches_are_those_of_the_maps(
    kernel: Any, options: dict[str, Any], channels: int
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, 4, kernel, dtype=torch.float64, **options)
    images = torch.rand(70, channels, 9, 8, dtype=torch.float64)
    expected = features.released_moments(conv(images).detach())
    found = features.moments_from_patches(conv, features.patch_statistics(conv, images))
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-12, atol=1e-13)


def test_a_blank_image_has_no_deviation() -> None:
    conv = nn.Conv2d(1, 3, 5, dtype=torch.float64)
    blank = torch.full((1, 1, 9, 9), 0.3, dtype=torch.float64)
    _, deviation = features.moments_from_patches(conv, features.patch_statistics(conv, blank))
    assert deviation.abs().max() < 1e-7


@pytest.mark.parametrize(
    "layer",
    [nn.Linear(4, 2), nn.Conv2d(2, 2, 3, groups=2), nn.Conv2d(1, 2, 3, dilation=2),
     nn.Conv2d(1, 2, 3, padding="same"), nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect")],
)  # fmt: skip
def test_other_layers_have_no_patch_statistics(layer: nn.Module) -> None:
    assert not features.has_patch_statistics(layer)
    assert features.has_patch_statistics(nn.Conv2d(1, 2, 3, padding=1, stride=2))


def test_energy_is_the_sum_of_absolute_values() -> None:
    assert features.energy(HAND_MAP).tolist() == [[12.0]]
    maps = toy.random_images(3) - 0.5
    expected = [[sum(abs(v) for v in image.flatten().tolist())] for image in maps]
    assert features.energy(maps).tolist() == [pytest.approx(row) for row in expected]


@pytest.mark.parametrize("moments", ["released", "printed", "standard"])
@pytest.mark.parametrize("vector", ["pairs", "product", "mean", "deviation"])
def test_vectors_against_a_plain_loop(moments: str, vector: str) -> None:
    maps = (toy.random_images(6) - 0.4).reshape(2, 3, 6, 6)[:, :, :, :4]  # (2, 3, 6, 4)
    found = features.feature_vectors(maps, moments, vector)
    expected = np.array(_vector_by_loop(maps.numpy(), moments, vector))
    assert found.shape == ((2, 6) if vector == "pairs" else (2, 3))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_default_vector_is_the_released_one() -> None:
    maps = toy.random_images(4).reshape(2, 2, 6, 6) - 0.5
    expected = features.feature_vectors(maps, "released", "pairs")
    assert torch.equal(features.feature_vectors(maps), expected)


def test_cosine_similarity_by_hand() -> None:
    queries = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    cached = torch.tensor([[2.0, 0.0], [0.0, 5.0], [-3.0, -4.0]], dtype=torch.float64)
    found = features.cosine_similarity(queries, cached)
    assert found[0].tolist() == pytest.approx([0.6, 0.8, -1.0])
    assert found[1].isnan().all()


def test_activation_after_skips_pooling() -> None:
    base, fashion = base_cnn(activation="leaky_relu"), fashion_cnn()
    assert features.activation_after(base, "conv1") is base.get_submodule("act1")
    assert features.activation_after(base, "conv2") is base.get_submodule("act2")
    assert features.activation_after(fashion, "conv2") is fashion.get_submodule("act2")


LAYERS = "scale, conv1, pool1, act1, conv2, flatten, fc1, log_softmax"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m: features.extractor(m, ["conv9"]),
            f"'conv9' does not exist; choose from {LAYERS}",
        ),
        (lambda m: features.activation_after(m, "conv2"), "no activation follows layer 'conv2'"),
        (lambda m: features.feature_vectors(HAND_MAP, "odd"), "moments 'odd' is not known; choose"),
        (lambda m: features.feature_vectors(HAND_MAP, vector="x"), "vector 'x' is not known"),
    ],
)
def test_refusals(call: Callable[[nn.Module], Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call(toy.diagonal_cnn())
