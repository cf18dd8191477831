"""The networks: their sizes by hand, their seeds, their first layer."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fmlib import models
from fmlib.models import (
    base_cnn,
    compact_cnn,
    deep_cnn,
    fashion_cnn,
    layer_table,
    multiply_adds,
    parameter_count,
    scale_layer,
)
from tests import toy


def test_layer_table_of_base_cnn() -> None:
    assert layer_table(base_cnn(), (1, 28, 28)) == [
        ("scale", "Scale", (1, 28, 28)),
        ("conv1", "Conv2d", (15, 24, 24)),
        ("pool1", "MaxPool2d", (15, 12, 12)),
        ("act1", "ReLU", (15, 12, 12)),
        ("conv2", "Conv2d", (30, 8, 8)),
        ("pool2", "MaxPool2d", (30, 4, 4)),
        ("act2", "ReLU", (30, 4, 4)),
        ("flatten", "Flatten", (480,)),
        ("fc1", "Linear", (64,)),
        ("act3", "ReLU", (64,)),
        ("fc2", "Linear", (10,)),
        ("log_softmax", "LogSoftmax", (10,)),
    ]


def test_layer_table_of_fashion_cnn() -> None:
    table = layer_table(fashion_cnn(dtype=torch.float64), (1, 28, 28))
    shapes = {name: shape for name, _, shape in table}
    assert [kind for _, kind, _ in table].count("ReLU") == 2
    assert shapes["conv1"] == (32, 28, 28)
    assert shapes["pool1"] == (32, 14, 14)
    assert shapes["conv2"] == (64, 12, 12)
    assert shapes["pool2"] == (64, 6, 6)
    assert (shapes["flatten"], shapes["fc1"], shapes["fc2"]) == ((2304,), (600,), (120,))
    assert shapes["log_softmax"] == (10,)


def test_layer_table_of_deep_cnn() -> None:
    """Every block halves height and width: 32, 16, 8, 4, 2."""
    shapes = {name: shape for name, _, shape in layer_table(deep_cnn(), (3, 32, 32))}
    blocks = zip((1, 2, 3, 4), (16, 32, 64, 64), (32, 16, 8, 4), strict=True)
    for number, maps, size in blocks:
        assert shapes[f"conv{number}"] == (maps, size, size)
        half = (maps, size // 2, size // 2)
        assert shapes[f"pool{number}"] == shapes[f"act{number}"] == half
    assert (shapes["flatten"], shapes["fc1"], shapes["fc2"]) == ((256,), (64,), (10,))


def test_multiply_adds_of_deep_cnn_by_hand() -> None:
    costs = [cost for cost in multiply_adds(deep_cnn(), (3, 32, 32)) if cost]
    assert costs == [
        *(1024 * 16 * 3 * 9, 256 * 32 * 16 * 9, 64 * 64 * 32 * 9, 16 * 64 * 64 * 9),
        *(256 * 64, 64 * 10),
    ]


def test_multiply_adds_by_hand() -> None:
    conv1, conv2 = 24 * 24 * 15 * 25, 8 * 8 * 30 * 15 * 25
    expected = [0, conv1, 0, 0, conv2, 0, 0, 0, 480 * 64, 0, 64 * 10, 0]
    assert multiply_adds(base_cnn(), (1, 28, 28)) == expected


def test_parameter_counts_by_hand() -> None:
    base = (15 * 25 + 15) + (30 * 15 * 25 + 30) + (480 * 64 + 64) + (64 * 10 + 10)
    fashion = (32 * 9 + 32) + (64 * 32 * 9 + 64) + (2304 * 600 + 600) + (600 * 120 + 120) + 1210
    deep = 9 * (3 * 16 + 16 * 32 + 32 * 64 + 64 * 64) + 16 + 32 + 64 + 64 + 256 * 64 + 64 + 650
    compact = 9 * (3 * 24 + 24 * 32 + 32 * 64) + 24 + 32 + 64 + 64 * 16 * 10 + 10
    assert parameter_count(deep_cnn()) == deep
    assert parameter_count(compact_cnn()) == compact == 36_362
    assert parameter_count(base_cnn()) == base == 43_104
    assert parameter_count(fashion_cnn()) == fashion == 1_475_146


@pytest.mark.parametrize(
    ("build", "shape", "flat"),
    [
        (base_cnn, (3, 32, 32), 30 * 5 * 5),
        (base_cnn, (1, 16, 20), 30 * 1 * 2),
        (fashion_cnn, (3, 32, 32), 64 * 7 * 7),
        (fashion_cnn, (2, 8, 13), 64 * 1 * 2),
        (compact_cnn, (1, 28, 28), 64 * 3 * 3),
        (deep_cnn, (1, 28, 28), 64 * 1 * 1),
        (deep_cnn, (2, 16, 47), 64 * 1 * 2),
    ],
)
def test_other_image_sizes(
    build: Callable[..., nn.Sequential], shape: tuple[int, int, int], flat: int
) -> None:
    model = build(shape, 4)
    out = model(torch.rand(3, *shape, generator=torch.Generator().manual_seed(0)))
    assert ("flatten", "Flatten", (flat,)) in layer_table(model, shape)
    assert out.shape == (3, 4)
    assert torch.allclose(out.exp().sum(dim=1), torch.ones(3))


@pytest.mark.parametrize("build", [base_cnn, fashion_cnn, deep_cnn, compact_cnn])
def test_seed_decides_the_weights(build: Callable[..., nn.Sequential]) -> None:
    first = toy.snapshot(build(seed=3))
    assert toy.unchanged(build(seed=3), first)
    assert not torch.equal(build(seed=4).state_dict()["conv1.weight"], first["conv1.weight"])


@pytest.mark.parametrize("build", [base_cnn, fashion_cnn, deep_cnn, compact_cnn])
def test_global_generator_is_untouched(build: Callable[..., nn.Sequential]) -> None:
    before = torch.random.get_rng_state()
    build(seed=5)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_weights_are_drawn_in_float64() -> None:
    """Weights drawn in float32 and widened would all survive the way back."""
    weights = base_cnn(dtype=torch.float64).state_dict()
    assert {value.dtype for value in weights.values()} == {torch.float64}
    for name in ("conv1.weight", "conv2.bias", "fc1.weight", "fc2.bias"):
        assert (weights[name].float().double() != weights[name]).any()


def test_default_initialization_is_pytorchs() -> None:
    """Uniform within 1/sqrt(fan-in), as in the released code."""
    weights = base_cnn(seed=1).state_dict()
    for layer, fan_in in (("conv1", 25), ("conv2", 375), ("fc1", 480), ("fc2", 64)):
        bound = fan_in**-0.5
        assert 0.9 * bound < weights[f"{layer}.weight"].abs().max().item() <= bound


def test_leaky_relu_on_request() -> None:
    kinds = [kind for _, kind, _ in layer_table(base_cnn(activation="leaky_relu"), (1, 28, 28))]
    assert kinds.count("LeakyReLU") == 3
    assert "ReLU" not in kinds


def test_without_scale_the_rest_takes_scaled_images() -> None:
    """`model[1:]` on 255 x is `model` on x."""
    model = base_cnn(dtype=torch.float64)
    images = toy.random_images(2, size=28)
    assert torch.equal(model[1:](images * 255), model(images))


@pytest.mark.parametrize(("input_scale", "factor"), [("255", 255.0), ("unit", 1.0)])
def test_fixed_scales(input_scale: models.InputScale, factor: float) -> None:
    images = toy.random_images(2)
    assert torch.equal(scale_layer(input_scale, torch.float64)(images), images * factor)


def test_standardized_gives_mean_0_and_deviation_1_per_channel() -> None:
    images = torch.cat((toy.random_images(8), 0.1 * toy.random_images(8, seed=1)), dim=1)
    scaled: Tensor = scale_layer("standardized", torch.float64, images)(images)
    assert torch.allclose(scaled.mean(dim=(0, 2, 3)), torch.zeros(2, dtype=torch.float64))
    assert torch.allclose(scaled.std(dim=(0, 2, 3)), torch.ones(2, dtype=torch.float64))


def test_standardized_constant_images_stay_finite() -> None:
    images = torch.full((2, 1, 3, 3), 0.5)
    assert scale_layer("standardized", torch.float32, images)(images).isfinite().all()


def test_default_scales_of_the_networks() -> None:
    assert base_cnn().state_dict()["scale.factor"].item() == 255
    assert fashion_cnn().state_dict()["scale.factor"].item() == 1
    assert deep_cnn().state_dict()["scale.factor"].item() == 1
    unit = base_cnn(scale=scale_layer("unit", torch.float32))
    assert unit.state_dict()["scale.factor"].item() == 1


@pytest.mark.parametrize(
    ("build", "arguments", "message"),
    [
        (base_cnn, {"image_shape": (1, 15, 28)}, "images are 15x28; base_cnn needs at least 16x16"),
        (fashion_cnn, {"image_shape": (1, 28, 7)}, "images are 28x7; fashion_cnn needs at least"),
        (
            compact_cnn,
            {"image_shape": (3, 7, 32)},
            "images are 7x32; compact_cnn needs at least 8x8",
        ),
        (deep_cnn, {"image_shape": (3, 32, 15)}, "images are 32x15; deep_cnn needs at least 16x16"),
        (base_cnn, {"activation": "tanh"}, "activation 'tanh' is not known; choose one of"),
        (scale_layer, {"input_scale": "256"}, "input_scale '256' is not known; choose one of 255"),
        (scale_layer, {"input_scale": "standardized"}, "'standardized' needs images"),
    ],
)
def test_refusals(build: Callable[..., object], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        build(dtype=torch.float32, **arguments)


def test_diagonal_toy_network_by_hand() -> None:
    """The toy networks of the other tests are what their docstrings say."""
    image = torch.zeros(1, 1, 6, 6, dtype=torch.float64)
    image[0, 0, 0, 0] = 1.0  # both maps are 1 at (0, 0), and so after pooling
    logits = toy.diagonal_cnn()[:-1](image)
    assert torch.equal(logits, torch.tensor([[4.0, 2.0]], dtype=torch.float64))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_pooling_is_pytorchs_in_every_layout(layout: torch.memory_format) -> None:
    """Outputs and gradients, ties included: the first of equal values gets the gradient."""
    maps = torch.randint(0, 3, (2, 3, 6, 6)).double().to(memory_format=layout)
    mine, theirs = (maps.clone().requires_grad_() for _ in range(2))
    pooled, expected = models.MaxPool2d(2)(mine), nn.MaxPool2d(2)(theirs)
    assert torch.equal(pooled, expected)
    weights = torch.rand(pooled.shape, dtype=torch.float64)
    (pooled * weights).sum().backward()
    (expected * weights).sum().backward()
    assert torch.equal(mine.grad, theirs.grad)  # type: ignore[arg-type]


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 64), (torch.float64, 32)], ids=str)
def test_chunks_hold_equally_many_bytes(dtype: torch.dtype, size: int) -> None:
    assert models.chunk_size(torch.zeros(1, dtype=dtype)) == size
