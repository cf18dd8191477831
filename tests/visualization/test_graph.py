"""Following a network's operations: what is found, computed and counted, and what is refused."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib.features import feature_maps
from fmlib.models import compact_cnn
from fmlib.visualization.graph import IMAGE, held_values, image_shape, run, shapes, trace
from fmlib.visualization.units import undisturbed

# isort: split
from torchvision.models import squeezenet1_1


class Functional(nn.Module):
    """Two branches side by side, with functions in the place of layers and a ReLU used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3, padding=1)
        self.second = nn.Conv2d(1, 3, 1)
        self.last = nn.Linear(5, 2)
        self.act = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.cat([self.act(self.first(images)), F.relu(self.second(images))], 1)
        maps = F.max_pool2d(self.act(maps), 3, stride=2, ceil_mode=True)
        maps = F.adaptive_avg_pool2d(F.avg_pool2d(maps, 2), 1)
        return F.log_softmax(self.last(F.dropout(maps.flatten(1), training=self.training)), dim=1)


class Calls(nn.Module):
    """A convolution and then any function."""

    def __init__(self, function: Callable[[Tensor], Tensor], **options: str) -> None:
        super().__init__()
        self.conv, self.end = nn.Conv2d(1, 2, 3, padding=1, **options), nn.Identity()  # type: ignore[arg-type]
        self.unused, self.function = nn.ReLU(), function

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.end(self.function(self.conv(images)))
        return output


def test_a_layer_is_reached_by_the_layers_before_it() -> None:
    steps = trace(compact_cnn(), "pool1")
    assert [step.layer_name for step in steps] == ["scale", "conv1", "act1", "pool1"]
    assert [step.inputs for step in steps] == [(IMAGE,), ("scale",), ("conv1",), ("act1",)]


def test_branches_and_functions_are_followed_and_compute_what_the_model_computes() -> None:
    model = Functional()
    images = torch.rand(2, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    steps = trace(model, "last")
    assert [step.layer_name for step in steps if len(step.inputs) == 2] == ["cat"]
    with torch.no_grad(), undisturbed(model):
        assert torch.equal(run(steps, images).log_softmax(1), model(images))


def test_a_container_stands_for_what_it_returns() -> None:
    model = squeezenet1_1(weights=None).eval()
    images = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    for layer in ("features.3", "features.4.squeeze", "features", "classifier"):
        expected = feature_maps(model, images, [layer])[layer]
        with torch.no_grad(), undisturbed(model):
            assert torch.equal(run(trace(model, layer), images), expected)


@pytest.mark.parametrize(
    ("model", "layer", "message"),
    [
        (compact_cnn(), "conv9", "layer 'conv9' does not exist; choose from scale, conv1"),
        (Functional(), "act", "layer 'act' is called 2 times"),
        (Calls(torch.sigmoid), "end", "'sigmoid' is a function, which cannot be followed"),
        (Calls(torch.relu), "unused", "layer 'unused' is called 0 times"),
        (Calls(lambda x: torch.cat([x, x], 2)), "end", "'cat' is Module, which cannot"),
        (Calls(lambda x: x if x.sum() > 0 else -x), "end", "the model cannot be traced"),
        (Calls(torch.relu, padding_mode="reflect"), "end", "'conv' pads by 'reflect'"),
        (nn.Sequential(nn.Sequential(), nn.ReLU()), "0", "only passes on the image"),
        (nn.Sequential(nn.Conv2d(1, 1, 1), nn.Sigmoid()), "1", "'1' is Sigmoid, which cannot"),
    ],
)
def test_what_cannot_be_followed_is_refused(model: nn.Module, layer: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trace(model, layer)


def test_operations_behind_the_layer_do_not_matter() -> None:
    assert [step.layer_name for step in trace(Calls(torch.sigmoid), "conv")] == ["conv"]


@pytest.mark.parametrize("images", [torch.zeros(3, 8, 8), torch.zeros(0, 3, 8, 8)])
def test_images_of_another_shape_are_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"give \(N, C, H, W\)"):
        image_shape(compact_cnn(), images)


def test_images_of_another_precision_are_refused() -> None:
    assert image_shape(compact_cnn(), torch.zeros(2, 3, 8, 9)) == (3, 8, 9)
    with pytest.raises(ValueError, match=r"images are torch\.float64, but the model is"):
        image_shape(compact_cnn(), torch.zeros(2, 3, 8, 9, dtype=torch.float64))


def test_numbers_held_are_counted_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2))
    steps = trace(model, "2")
    found = shapes(model, steps, (1, 6, 6))
    assert list(found.values()) == [(1, 6, 6), (2, 4, 4), (2, 4, 4), (2, 2, 2)]
    image, maps, pooled, windows = 36, 32, 8, 9 * 16
    convolution = image + maps + image + windows
    assert held_values(steps, found) == convolution
    pooling = steps[2]._replace(inputs=(IMAGE,))
    places = 2 * pooled  # of 8 bytes
    sizes = {IMAGE: (2, 4, 4), pooling.name: (2, 2, 2)}
    assert held_values([pooling], sizes) == maps + pooled + maps + places
