"""The networks: their sizes by hand, their seeds, their first layer."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fmlib import data, models
from fmlib.models import (
    ZfLayers,
    base_cnn,
    class_layer,
    compact_cnn,
    deep_cnn,
    fashion_cnn,
    layer_table,
    multiply_adds,
    parameter_count,
    resnet18,
    scale_layer,
    squeezenet,
    vgg16,
    with_weights,
    zf_cnn,
)
from tests import toy

# isort: split
from torchvision import models as torchvision_models


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


def test_layers_of_zf_cnn() -> None:
    """28 pixels are halved three times, to 14, 7 and 3."""
    shapes = {name: shape for name, _, shape in layer_table(zf_cnn(n_classes=4), (3, 28, 28))}
    assert shapes["conv1"] == shapes["act1"] == (16, 28, 28)
    assert (shapes["pool1"], shapes["conv2"], shapes["pool2"]) == (
        (16, 14, 14), (32, 14, 14), (32, 7, 7),
    )  # fmt: skip
    assert (shapes["conv3"], shapes["act4"], shapes["conv5"]) == ((48, 7, 7),) * 2 + ((32, 7, 7),)
    assert (shapes["pool5"], shapes["flatten"]) == ((32, 3, 3), (288,))
    assert (shapes["act6"], shapes["dropout7"], shapes["fc8"]) == ((384,), (384,), (4,))


CONV1, CONV2 = 16 * 3 * 25 + 16, 32 * 16 * 9 + 32
CONV3, CONV4, CONV5 = 48 * 32 * 9 + 48, 48 * 48 * 9 + 48, 32 * 48 * 9 + 32
FC6, FC7, FC8 = 288 * 384 + 384, 384 * 384 + 384, 384 * 4 + 4
ZF = CONV1 + CONV2 + CONV3 + CONV4 + CONV5 + FC6 + FC7 + FC8


@pytest.mark.parametrize(
    ("layers", "parameters"),
    [
        (ZfLayers(), ZF),
        (ZfLayers().without("fc7"), ZF - FC7),
        # The softmax then sees the 288 numbers of the last pooling.
        (ZfLayers().without("fc6", "fc7"), ZF - FC6 - FC7 - FC8 + 288 * 4 + 4),
        # The fifth convolution then sees the 32 maps of the second.
        (ZfLayers().without("conv3", "conv4"), ZF - CONV3 - CONV4 - 32 * 16 * 9),
        (ZfLayers().without("conv3"), ZF - CONV3 - 48 * 16 * 9),
        (
            ZfLayers().without("conv3", "conv4", "fc6", "fc7"),
            CONV1 + CONV2 + 32 * 32 * 9 + 32 + 288 * 4 + 4,
        ),
        (
            ZfLayers().scaled(2, "fc6", "fc7"),
            ZF - FC6 - FC7 - FC8 + 288 * 768 + 768 + 768 * 768 + 768 + 768 * 4 + 4,
        ),
        (
            ZfLayers().scaled(0.5, "fc6", "fc7"),
            ZF - FC6 - FC7 - FC8 + 288 * 192 + 192 + 192 * 192 + 192 + 192 * 4 + 4,
        ),
        (
            ZfLayers(conv3=64, conv4=128, conv5=64),
            CONV1 + CONV2 + 64 * 32 * 9 + 64 + 128 * 64 * 9 + 128 + 64 * 128 * 9 + 64
            + 576 * 384 + 384 + FC7 + FC8,
        ),
    ],
)  # fmt: skip
def test_parameters_without_layers_and_with_wider_ones(layers: ZfLayers, parameters: int) -> None:
    model = zf_cnn((3, 28, 28), 4, layers=layers)
    assert parameter_count(model) == parameters
    assert model(torch.zeros(2, 3, 28, 28)).shape == (2, 4)
    left_out = [name for name, width in layers._asdict().items() if not width]
    assert {name for name, _ in model.named_children()}.isdisjoint(left_out)


def test_layers_that_do_not_exist_cannot_be_removed() -> None:
    with pytest.raises(ValueError, match="layer 'fc8' does not exist; choose from conv1, conv2"):
        ZfLayers().without("fc8")


@pytest.mark.parametrize(("scale", "expected"), [(0.01, 0.01), (None, (2 / 288) ** 0.5)])
def test_first_weights_of_zf_cnn(scale: float | None, expected: float) -> None:
    """Of a layer with 288 inputs and 110,592 weights; biases are 0."""
    weights = zf_cnn(weight_scale=scale, dtype=torch.float64).state_dict()
    assert weights["fc6.weight"].std().item() == pytest.approx(expected, rel=0.01)
    assert abs(weights["fc6.weight"].mean().item()) < 0.02 * expected
    assert weights["fc6.bias"].abs().max().item() == 0
    assert weights["fc8.weight"].std().item() == pytest.approx(0.01, rel=0.05)


def test_signals_keep_their_size_or_vanish_by_the_first_weights() -> None:
    """With deviation 0.01 the last hidden features hardly depend on the image."""
    images = torch.randn(20, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    spread = {}
    for scale in (None, 0.01):
        model = zf_cnn(weight_scale=scale)
        with torch.no_grad(), models.evaluating(model):
            spread[scale] = model[:-2](images).std(dim=0).mean().item()
    assert spread[None] > 0.05
    assert spread[0.01] < 1e-5


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
        (zf_cnn, (3, 28, 28), 32 * 3 * 3),
        (zf_cnn, (1, 8, 23), 32 * 1 * 2),
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


@pytest.mark.parametrize("build", [base_cnn, fashion_cnn, deep_cnn, compact_cnn, zf_cnn, resnet18])
def test_seed_decides_the_weights(build: Callable[..., nn.Sequential]) -> None:
    first = toy.snapshot(build(seed=3))
    assert toy.unchanged(build(seed=3), first)
    assert not torch.equal(build(seed=4).state_dict()["conv1.weight"], first["conv1.weight"])


@pytest.mark.parametrize("build", [base_cnn, fashion_cnn, deep_cnn, compact_cnn, zf_cnn, resnet18])
def test_global_generator_is_untouched(build: Callable[..., nn.Sequential]) -> None:
    before = torch.random.get_rng_state()
    build(seed=5)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_resnet18_is_torchvisions_but_for_its_beginning() -> None:
    theirs = torchvision_models.resnet18(num_classes=10)
    shapes = {name: value.shape for name, value in theirs.state_dict().items()}
    shapes["conv1.weight"] = torch.Size((64, 3, 3, 3))
    model = resnet18()
    own = {name: v.shape for name, v in model.state_dict().items() if name[:6] != "scale."}
    assert own == shapes
    weights = {
        name: v for name, v in model.state_dict().items() if name[:6] not in ("scale.", "conv1.")
    }
    theirs.load_state_dict(weights, strict=False)
    with torch.no_grad():
        begun = model[:4](torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
        stages = [theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4, theirs.avgpool]
        expected = nn.Sequential(*stages, nn.Flatten(), theirs.fc)(begun).log_softmax(dim=1)
        assert torch.allclose(model[4:](begun), expected)


def test_resnet18_of_other_widths() -> None:
    model = resnet18((1, 28, 28), 4, width=8, dtype=torch.float64)
    rows = {name: shape for name, _, shape in layer_table(model.eval(), (1, 28, 28))}
    assert rows["layer1"] == (8, 28, 28)
    assert rows["layer4"] == (64, 4, 4)
    assert rows["log_softmax"] == (4,)
    assert parameter_count(resnet18(width=32)) == pytest.approx(2.8e6, rel=0.01)


def test_compact_network_of_other_widths() -> None:
    rows = layer_table(compact_cnn(widths=(2, 3, 5)), (3, 32, 32))
    assert [row.shape[0] for row in rows if row.kind == "Conv2d"] == [2, 3, 5]


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
        (resnet18, {"image_shape": (3, 32, 7)}, "images are 32x7; resnet18 needs at least 8x8"),
        (resnet18, {"width": 0}, "width is 0; give a whole number from 1"),
        (deep_cnn, {"image_shape": (3, 32, 15)}, "images are 32x15; deep_cnn needs at least 16x16"),
        (zf_cnn, {"image_shape": (3, 28, 7)}, "images are 28x7; zf_cnn needs at least 8x8"),
        (zf_cnn, {"layers": ZfLayers(conv2=0)}, "from 1 for conv1, conv2 and conv5"),
        (zf_cnn, {"layers": ZfLayers(fc6=-1)}, "give numbers from 0"),
        (zf_cnn, {"dropout": 1.0}, "dropout is 1.0; give a share from 0 to below 1"),
        (zf_cnn, {"weight_scale": 0.0}, "weight_scale is 0.0; give a number above 0, or None"),
        (base_cnn, {"activation": "tanh"}, "activation 'tanh' is not known; choose one of"),
        (squeezenet, {"image_shape": (3, 31, 64)}, "images are 3x31x64; squeezenet needs three"),
        (squeezenet, {"image_shape": (1, 64, 64)}, "images are 1x64x64; squeezenet needs three"),
        (vgg16, {"image_shape": (3, 64, 31)}, "3x64x31; vgg16 needs three channels and at least"),
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


# --- large networks, and weights from elsewhere --------------------------------------------


def theirs(name: models.LargeName, weights: dict[str, Tensor], n_classes: int) -> nn.Module:
    """torchvision's network with these weights, by our names; they are shared, not copied."""
    build = {"squeezenet": torchvision_models.squeezenet1_1, "vgg16": torchvision_models.vgg16}
    last = {"squeezenet": "classifier.1.", "vgg16": "classifier.6."}[name]
    with torch.device("meta"):
        model: nn.Module = build[name](num_classes=n_classes)
    named = {key.replace("fc.", last): value for key, value in weights.items()}
    model.load_state_dict(
        {key: value for key, value in named.items() if key[:6] != "scale."}, assign=True
    )
    return model.eval()


MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels, as torchvision's documentation gives them."""


def normalized(images: Tensor) -> Tensor:
    """Images as torchvision's networks are fed."""
    mean, deviation = (images.new_tensor(v).reshape(3, 1, 1) for v in (MEAN, DEVIATION))
    return (images - mean) / deviation


def colour_images(count: int, size: int) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_squeezenet_is_torchvisions_without_its_last_relu() -> None:
    model, images = squeezenet((3, 64, 64), 7, seed=2).eval(), colour_images(2, 64)
    expected: Any = theirs("squeezenet", model.state_dict(), 7)
    with torch.no_grad():
        found, with_relu = model(images), expected(normalized(images))
        expected.classifier[2] = nn.Identity()
        logits = expected(normalized(images))
    assert torch.allclose(found, logits.log_softmax(dim=1), atol=1e-5)
    assert not torch.allclose(with_relu, logits, atol=1e-5)


@pytest.fixture(scope="module")
def large() -> nn.Sequential:
    """VGG-16, once for all tests that need one: it takes half a gigabyte."""
    return vgg16(seed=1).eval()


def test_vgg16_is_torchvisions(large: nn.Sequential) -> None:
    images = colour_images(1, 32)
    expected = theirs("vgg16", large.state_dict(), 1000)
    with torch.no_grad():
        logits = expected(normalized(images))
        assert torch.allclose(large(images), logits.log_softmax(dim=1), atol=1e-5)


def test_parameter_counts_of_large_networks(large: nn.Sequential) -> None:
    """SqueezeNet has 50 times fewer weights than AlexNet's 61 million; VGG-16's are published."""
    fire = [(64, 16, 64), (128, 16, 64), (128, 32, 128), (256, 32, 128), (256, 48, 192)]
    fire += [(384, 48, 192), (384, 64, 256), (512, 64, 256)]
    counts = [i * s + s + s * e + e + 9 * s * e + e for i, s, e in fire]
    assert parameter_count(squeezenet()) == 9 * 3 * 64 + 64 + sum(counts) + 513 * 1000 == 1_235_496
    assert parameter_count(squeezenet(n_classes=4)) == 1_235_496 - 513 * 996
    assert parameter_count(large) == 138_357_544


def test_large_networks_end_in_one_number_per_class() -> None:
    model = squeezenet((3, 32, 48), 5, dtype=torch.float64)
    table = layer_table(model.eval(), (3, 32, 48))
    assert [row.name for row in table] == [
        *("scale", "features", "dropout", "fc", "pool", "flatten", "log_softmax"),
    ]
    assert table[-1].shape == (5,)
    assert {value.dtype for value in model.state_dict().values()} == {torch.float64}


def test_seed_decides_the_weights_of_squeezenet_alone() -> None:
    before = torch.random.get_rng_state()
    first = toy.snapshot(squeezenet(n_classes=2, seed=3))
    assert toy.unchanged(squeezenet(n_classes=2, seed=3), first)
    assert not toy.unchanged(squeezenet(n_classes=2, seed=4), first)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_class_layer_is_the_last_with_weights(large: nn.Sequential) -> None:
    assert [class_layer(build()) for build in (base_cnn, fashion_cnn, deep_cnn, compact_cnn)] == [
        *("fc2", "fc3", "fc2", "fc"),
    ]
    assert class_layer(squeezenet(n_classes=2)) == class_layer(large) == "fc"
    assert class_layer(nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.ReLU())) == "0.0"
    with pytest.raises(ValueError, match="no layer with weights, and so none of logits"):
        class_layer(nn.Sequential(nn.ReLU()))


def test_with_weights_copies_all_but_the_last_layer_and_the_scale() -> None:
    images = torch.cat([toy.random_images(4, seed=seed, size=8) for seed in range(3)], dim=1)
    other = compact_cnn(
        (3, 8, 8), 6, seed=1, dtype=torch.float64,
        scale=scale_layer("standardized", torch.float64, images),
    )  # fmt: skip
    model = compact_cnn((3, 8, 8), 4, seed=2, dtype=torch.float64)
    before, given = toy.snapshot(model), toy.snapshot(other)
    assert with_weights(model, other.state_dict()) is model
    for name, value in model.state_dict().items():
        own = name.startswith(("fc.", "scale."))
        assert torch.equal(value, before[name] if own else given[name]), name
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1)
    assert toy.unchanged(other, given)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            lambda: compact_cnn((1, 8, 8)),
            "layer conv1.weight has (24, 3, 3, 3) numbers, they (24, ",
        ),
        (lambda: base_cnn((3, 16, 16)), "layer conv1.weight has (24, 3, 3, 3) numbers, they (15, "),
        (lambda: nn.Linear(2, 2), "layer conv1.weight has (24, 3, 3, 3) numbers, they have none"),
    ],
)
def test_weights_that_do_not_fit_are_refused(other: Callable[[], nn.Module], message: str) -> None:
    model = compact_cnn((3, 8, 8))
    with pytest.raises(ValueError, match=re.escape(f"the weights given do not fit: {message}")):
        with_weights(model, other().state_dict())


def by_their_names(model: nn.Module, last: str) -> dict[str, Tensor]:
    """The weights of a large network of ours by torchvision's names."""
    weights = model.state_dict().items()
    return {key.replace("fc.", last): value for key, value in weights if key[:6] != "scale."}


def test_imagenet_squeezenet_has_the_weights_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may lie there in half precision."""
    source = squeezenet(seed=5)
    weights = {k: v.half() for k, v in by_their_names(source, "classifier.1.").items()}
    torch.save(weights, tmp_path / "squeezenet1_1.pth")
    monkeypatch.setenv("FMLIB_DATA", str(tmp_path))
    found = models.imagenet("squeezenet", torch.float64).state_dict()
    assert {value.dtype for value in found.values()} == {torch.float64}
    for name, value in source.state_dict().items():
        rounded = value if name.startswith("scale.") else value.half()
        assert torch.allclose(found[name], rounded.double(), rtol=1e-6), name


def test_imagenet_vgg16_takes_torchvisions_names(
    large: nn.Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = by_their_names(large, "classifier.6.")
    with torch.device("meta"):
        assert weights.keys() == torchvision_models.vgg16().state_dict().keys()
    monkeypatch.setitem(models.NETWORKS, "vgg16", lambda **_: large)
    monkeypatch.setattr(data, "imagenet_weights", lambda name: weights)
    assert models.imagenet("vgg16") is large


@pytest.mark.parametrize("spoil", ["less", "more", "other size"])
def test_weights_of_another_network_are_refused(
    spoil: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = by_their_names(squeezenet(), "classifier.1.")
    first = next(iter(weights))
    if spoil == "less":
        del weights[first]
    else:
        weights["features.0.more" if spoil == "more" else first] = torch.zeros(2)
    torch.save(weights, tmp_path / "squeezenet1_1.pth")
    monkeypatch.setenv("FMLIB_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=r"^the file of the weights of squeezenet in .* others; "):
        models.imagenet("squeezenet")


def test_small_networks_have_no_imagenet_weights() -> None:
    name: Any = "compact_cnn"
    with pytest.raises(ValueError, match="weights of 'compact_cnn'; choose one of squeezenet, vgg"):
        models.imagenet(name)
