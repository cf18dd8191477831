"""Deconvnet: by hand, against autograd with overridden ReLUs, against captum."""

import copy
from typing import Any

import pytest
import torch
from captum.attr import Deconvolution
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib.models import Scale, base_cnn, compact_cnn, deep_cnn
from fmlib.visualization.deconvnet import project, unpool
from fmlib.visualization.receptive_field import patch, receptive_field
from fmlib.visualization.units import Unit
from tests.toy import hook_count, snapshot, unchanged

# isort: split
from torchvision.models import squeezenet1_1

DTYPE = torch.float64


def random_images(channels: int, *plane: int, count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, channels, *plane, generator=generator, dtype=DTYPE)


def filters(*rows: list[list[float]]) -> nn.Conv2d:
    """A convolution of one channel with the given filters and a bias."""
    weight = torch.tensor(rows, dtype=DTYPE)[:, None]  # (maps, 1, rows, columns)
    layer = nn.Conv2d(1, len(weight), weight.shape[2:], dtype=DTYPE)  # type: ignore[arg-type]
    layer.weight.data = weight
    return layer


# --- by hand -------------------------------------------------------------------------------

FILTER = [[1.0, -2.0], [3.0, 4.0]]


def test_a_filter_is_projected_as_the_filter_times_the_activation() -> None:
    model, images = nn.Sequential(filters(FILTER)), random_images(1, 5, 6)
    with torch.no_grad():
        strength = model(images)[:, 0, 2, 3]
    projected = project(model, images, Unit("0", 0, (2, 3)))
    expected = torch.zeros_like(images)
    expected[:, 0, 2:4, 3:5] = strength[:, None, None] * torch.tensor(FILTER, dtype=DTYPE)
    assert torch.allclose(projected, expected, rtol=1e-14, atol=0)


def test_unpooling_puts_values_where_the_maxima_were() -> None:
    image = torch.tensor([[1.0, 5, 2, 0], [0, 3, 1, 7], [0, 0, 0, 4], [9, 0, 0, 0]], dtype=DTYPE)
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False, dtype=DTYPE), nn.MaxPool2d(2))
    nn.init.ones_(model.get_parameter("0.weight"))
    places = {(0, 0): (0, 1), (0, 1): (1, 3), (1, 0): (3, 0), (1, 1): (2, 3)}
    for position, place in places.items():
        expected = torch.zeros(4, 4, dtype=DTYPE)
        expected[place] = image[place]
        projected = project(model, image[None, None], Unit("1", 0, position))
        assert torch.equal(projected[0, 0], expected)


def test_a_map_without_position_stands_for_its_first_maximum() -> None:
    image = torch.tensor([[1.0, 5, 2], [0, 3, 5], [5, 0, 0]], dtype=DTYPE)
    model = nn.Sequential(filters([[2.0]]))
    nn.init.zeros_(model[0].get_parameter("bias"))
    both = torch.stack([image, image.flip(0)])[:, None]  # (2, 1, 3, 3)
    projected = project(model, both, Unit("0", 0))
    assert projected.nonzero().tolist() == [[0, 0, 0, 1], [1, 0, 0, 0]]
    assert projected[0, 0, 0, 1] == 2 * 2 * 5


def test_what_overlapping_windows_unpool_adds_up() -> None:
    maps = torch.tensor([[0.0, 1, 0, 0, 2], [0, 0, 9, 0, 0], [0, 3, 0, 0, 0]], dtype=DTYPE)
    pooled, switches = F.max_pool2d(maps[None, None], 3, stride=2, return_indices=True)
    assert pooled.tolist() == [[[[9, 9]]]]
    signal = torch.tensor([[[[10.0, 5.0]]]], dtype=DTYPE)
    found = unpool(signal, switches, torch.Size((1, 1, 3, 5)))
    expected = torch.zeros(3, 5, dtype=DTYPE)
    expected[1, 2] = 15
    assert torch.equal(found[0, 0], expected)
    overwriting = F.max_unpool2d(signal, switches, [3, 3], [2, 2], output_size=[3, 5])
    assert overwriting.max() < 15


def test_reconstructions_are_rectified_at_the_relu_and_not_before_or_behind() -> None:
    """Two maps of one pixel, x and 2x, rectified, then 3a - 4b + 10: only a remains going back."""
    model = nn.Sequential(filters([[1.0]], [[2.0]]), nn.ReLU(), nn.Conv2d(2, 1, 1, dtype=DTYPE))
    nn.init.zeros_(model[0].get_parameter("bias"))
    model[2].weight.data = torch.tensor([3.0, -4.0], dtype=DTYPE).reshape(
        1, 2, 1, 1
    )  # (1, 2, 1, 1)
    nn.init.constant_(model[2].get_parameter("bias"), 10)
    images = torch.tensor([1.0, 3.0], dtype=DTYPE).reshape(2, 1, 1, 1)  # (2, 1, 1, 1)
    projected = project(model, images, Unit("2", 0))
    strong, negative = 10 - 5 * 1, 10 - 5 * 3
    assert projected.flatten().tolist() == [strong * 3 * 1, negative * -4 * 2]


def test_linear_layers_and_scaling_are_undone_as_factors() -> None:
    scale = Scale(torch.tensor([2.0, 5.0], dtype=DTYPE), torch.tensor([7.0, 7.0], dtype=DTYPE))
    model = nn.Sequential(scale, nn.Flatten(), nn.Linear(4, 2, dtype=DTYPE))
    model[2].weight.data = torch.tensor([[0.0, 0, 0, 0], [1, 2, 3, 4]], dtype=DTYPE)
    images = random_images(2, 1, 2, count=2)
    strength = model(images)[:, 1].detach()
    projected = project(model, images, Unit("2", 1))
    expected = strength[:, None] * torch.tensor([2.0, 4, 15, 20], dtype=DTYPE)
    assert torch.allclose(projected.flatten(1), expected, rtol=1e-14, atol=0)


# --- against autograd ----------------------------------------------------------------------


class _Override(torch.autograd.Function):
    """ReLU whose backward rectifies the gradient instead of following the activation."""

    @staticmethod
    def forward(context: Any, maps: Tensor) -> Tensor:
        return maps.relu()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient.relu()


class _Relu(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        output: Tensor = _Override.apply(maps)  # type: ignore[no-untyped-call]
        return output


def each_maps_strongest(model: nn.Module, images: Tensor, layer: str) -> Tensor:
    """What each map, or unit, of a layer shows at most for each image, (N, maps)."""
    outputs: list[Tensor] = []
    looked_at = model.get_submodule(layer)
    handle = looked_at.register_forward_hook(lambda *given: outputs.append(given[2].clone()))
    model.eval()(images)
    handle.remove()
    return outputs[0].reshape(*outputs[0].shape[:2], -1).amax(dim=2)  # (N, maps)


def overridden(model: nn.Module, images: Tensor, layer: str, index: int) -> Tensor:
    """Deconvnet by autograd, of the strongest activation in each image."""
    other = copy.deepcopy(model)
    for parent in list(other.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.ReLU):
                setattr(parent, name, _Relu())
    pixels = images.clone().requires_grad_()
    strongest = each_maps_strongest(other, pixels, layer)[:, index]
    [found] = torch.autograd.grad(strongest, pixels, strongest.detach())
    return found


def like_alexnet() -> nn.Sequential:
    """Large strides that do not divide, overlapping pools, ReLU in place, dropout, padding."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 7, stride=4, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        nn.Conv2d(6, 8, 3, padding=1, groups=2),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.AdaptiveAvgPool2d((3, 2)),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(48, 20),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(20, 5),
    ).to(DTYPE)  # fmt: skip


def uneven() -> nn.Sequential:
    """Windows of all kinds that differ in rows and columns."""
    return nn.Sequential(
        nn.Conv2d(2, 4, (4, 3), padding="same"),
        nn.ReLU(),
        nn.AvgPool2d((3, 2), stride=(2, 3), padding=1, ceil_mode=True),
        nn.Conv2d(4, 4, (2, 3), stride=(3, 2), padding=(0, 2), dilation=(2, 1)),
        nn.ReLU(),
        nn.MaxPool2d(2, stride=1, dilation=2),
        nn.AvgPool2d(2, padding=1, count_include_pad=False),
        nn.Conv2d(4, 3, 1),
    ).to(DTYPE)


def seeded(build: Any, *args: Any, **options: Any) -> nn.Module:
    """A network with weights drawn by a seed of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        model: nn.Module = build(*args, **options).to(DTYPE)
    return model


NETWORKS = {
    "compact": (compact_cnn((3, 32, 32), dtype=DTYPE), (3, 32, 32)),
    "base": (base_cnn((1, 28, 29), dtype=DTYPE), (1, 28, 29)),
    "deep": (deep_cnn((3, 35, 32), dtype=DTYPE), (3, 35, 32)),
    "alexnet": (seeded(like_alexnet), (3, 61, 66)),
    "uneven": (seeded(uneven), (2, 31, 37)),
    "squeezenet": (seeded(squeezenet1_1, weights=None), (3, 64, 64)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize(
    ("network", "layers"),
    [
        ("compact", ["conv1", "act1", "pool1", "conv3", "pool3", "fc"]),
        ("base", ["conv1", "pool1", "act1", "act2", "fc1", "act3", "fc2"]),
        ("deep", ["pool2", "conv4", "fc2"]),
        ("alexnet", ["2", "5", "7", "8", "14"]),
        ("uneven", ["0", "2", "3", "5", "6", "7"]),
        ("squeezenet", ["features.4", "features.7.squeeze", "features.12", "classifier"]),
    ],
)
def test_the_pass_back_equals_autograd_with_overridden_relus(
    network: str, layers: list[str]
) -> None:
    model, shape = NETWORKS[network]
    images = random_images(*shape, count=2)
    for layer in layers:
        index = int(each_maps_strongest(model, images, layer).sum(0).argmax())
        found = project(model, images, Unit(layer, index))
        expected = overridden(model, images, layer, index)
        size = expected.abs().max().item()
        assert size > 0
        assert (found - expected).abs().max().item() <= 1e-12 * max(size, 1)


def test_projections_lie_within_the_receptive_field() -> None:
    model, _ = NETWORKS["squeezenet"]
    images = random_images(3, 96, 96, count=1)
    for index in (5, 70, 130, 180):
        field = receptive_field(model, "features.6", index)
        projected = project(model, images, Unit("features.6", index, (6, 3)))
        inside = torch.zeros_like(projected)
        inside[:, :, *patch(field, (6, 3), (3, 96, 96))] = 1
        assert torch.equal(projected, projected * inside)


# --- against captum ------------------------------------------------------------------------


HOOKS = "ignore:Setting backward hooks"


def captum_deconvolution(model: nn.Module, images: Tensor, target: int) -> Tensor:
    pixels = images.clone().requires_grad_()
    found: Tensor = Deconvolution(model).attribute(pixels, target)
    return found.detach()


class Reused(nn.Module):
    """One ReLU used everywhere, as a module or as a function."""

    def __init__(self, *, function: bool, inplace: bool) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 5, 3)
        self.relu, self.flatten, self.fc = nn.ReLU(inplace), nn.Flatten(), nn.Linear(45, 4)
        self.function = function

    def forward(self, images: Tensor) -> Tensor:
        relu = F.relu if self.function else self.relu
        output: Tensor = self.fc(self.flatten(relu(self.conv2(relu(self.conv1(images))))))
        return output


def compare(model: nn.Module, layer: str, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Errors of captum's projections times the activations, per positive and per other one."""
    images = random_images(*shape)
    model.eval()
    outputs = model(images).detach()
    good, bad = [], []
    for index in range(outputs.shape[1]):
        ours = project(model, images, Unit(layer, index))
        theirs = captum_deconvolution(model, images, index) * outputs[:, index, None, None, None]
        errors = (ours - theirs).flatten(1).abs().amax(1) / ours.flatten(1).abs().amax(1)
        good.append(errors[outputs[:, index] > 0])
        bad.append(errors[outputs[:, index] <= 0])
    return torch.cat(good), torch.cat(bad)


@pytest.mark.filterwarnings(HOOKS)
def test_captum_agrees_on_positive_activations_if_relus_are_modules() -> None:
    for inplace in (False, True):
        model = seeded(Reused, function=False, inplace=inplace)
        positive, other = compare(model, "fc", (1, 7, 7))
        assert len(positive) > 0
        assert positive.max() <= 1e-12
        assert len(other) > 0
        assert other.min() > 0.1
    for model, layer, shape in (
        (compact_cnn(dtype=DTYPE)[:-1], "fc", (3, 32, 32)),
        (base_cnn(dtype=DTYPE)[:-1], "fc2", (1, 28, 28)),
        (seeded(like_alexnet), "14", (3, 61, 66)),
    ):
        positive, _ = compare(model, layer, shape)
        assert len(positive) > 0
        assert positive.max() <= 1e-12


@pytest.mark.filterwarnings(HOOKS)
def test_captum_passes_functional_relus_by() -> None:
    module, function = (
        seeded(Reused, function=function, inplace=False) for function in (False, True)
    )
    images = random_images(1, 7, 7)
    for index in range(4):
        unit = Unit("fc", index)
        assert torch.equal(project(module, images, unit), project(function, images, unit))
    positive, _ = compare(function, "fc", (1, 7, 7))
    assert positive.min() > 0.1


# --- what is left as it was, and what is refused -------------------------------------------


def test_each_image_may_have_its_own_unit_and_chunks_do_not_matter() -> None:
    model, images = compact_cnn(dtype=DTYPE), random_images(3, 32, 32, count=5)
    units = [Unit("conv2", index, (index, 3)) for index in range(5)]
    together = project(model, images, units, chunk=2)
    for number, unit in enumerate(units):
        one = project(model, images[number : number + 1], unit)
        assert torch.allclose(together[number], one[0], rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_of_the_model_changes(dtype: torch.dtype) -> None:
    model = seeded(like_alexnet).to(dtype).train()
    before, images = snapshot(model), random_images(3, 61, 66).to(dtype)
    pixels = images.clone()
    projected = project(model, images, Unit("14", 2))
    assert projected.dtype == dtype
    assert projected.shape == images.shape
    assert not projected.requires_grad
    assert torch.equal(images, pixels)
    assert unchanged(model, before)
    assert hook_count(model) == 0
    assert model.training
    assert all(layer.inplace for layer in model.modules() if isinstance(layer, nn.ReLU))
    assert all(weight.requires_grad for weight in model.parameters())


IMAGES = torch.zeros(2, 1, 28, 28)


@pytest.mark.parametrize(
    ("images", "units", "message"),
    [
        (IMAGES, Unit("log_softmax", 0), "layer 'log_softmax' is LogSoftmax, which a deconvnet"),
        (IMAGES, Unit("conv1", 15), "index is 15, but layer 'conv1' has units 0 to 14"),
        (IMAGES, [Unit("conv1", 0)], "there are 1 units for 2 images; give one unit, or one for"),
        (IMAGES, [Unit("conv1", 0), Unit("conv2", 0)], "the units are of layers conv1, conv2"),
        (IMAGES[:0], Unit("conv1", 0), r"images have the shape \(0, 1, 28, 28\)"),
        (IMAGES[0], Unit("conv1", 0), r"give \(N, C, H, W\)"),
        (IMAGES.double(), Unit("conv1", 0), r"images are torch\.float64, but the model is"),
    ],
)
def test_what_cannot_be_projected_is_refused(
    images: Tensor, units: Unit | list[Unit], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        project(base_cnn(), images, units)


def test_leaky_rectification_is_refused() -> None:
    with pytest.raises(ValueError, match="'act1' is LeakyReLU, which a deconvnet cannot undo"):
        project(base_cnn(activation="leaky_relu"), IMAGES, Unit("conv2", 0))
