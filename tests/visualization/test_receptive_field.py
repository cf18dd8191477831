"""Receptive fields: by hand, of SqueezeNet's branches, and against gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fmlib.models import base_cnn, compact_cnn
from fmlib.visualization.receptive_field import (
    WHOLE_IMAGE,
    Field,
    patch,
    receptive_field,
    receptive_fields,
)

# isort: split
from torchvision.models import squeezenet1_1

Pair = tuple[int, int]


def test_three_layers_by_hand() -> None:
    """Rows and columns go their own ways.

    Rows: 3 with padding 1 sees -1 to 1 a unit, pooling 2 of these -1 to 2, every second; of the
    last, 2 units 3 apart: -1 to 8.  Columns: 5, 2 apart, 0 to 4; pooling 3 of these 0 to 8, every
    second, so 4 apart; the last keeps one.
    """
    model = nn.Sequential(
        nn.Conv2d(1, 2, (3, 5), stride=(1, 2), padding=(1, 0)),
        nn.MaxPool2d((2, 3), stride=2),
        nn.Conv2d(2, 2, (2, 1), dilation=(3, 1)),
    )
    assert receptive_field(model, "0") == Field((3, 5), (1, 2), (-1, 0))
    assert receptive_field(model, "1") == Field((4, 9), (2, 4), (-1, 0))
    field = receptive_field(model, "2", 1)
    assert field == Field((10, 9), (2, 4), (-1, 0))
    assert field.start((2, 1)) == (3, 4)
    assert field.centre((2, 1)) == (7.5, 8)


def test_pooling_may_be_dilated_and_padded() -> None:
    model = nn.Sequential(nn.MaxPool2d(3, 2, padding=1, dilation=2), nn.AvgPool2d(2, padding=1))
    assert receptive_field(model, "0") == Field((5, 5), (2, 2), (-1, -1))
    assert receptive_field(model, "1") == Field((7, 7), (4, 4), (-3, -3))


def test_padding_to_the_same_size_is_one_less_before_an_even_kernel() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, (4, 3), padding="same"))
    assert receptive_field(model, "0") == Field((4, 3), (1, 1), (-1, -1))


@pytest.mark.parametrize(
    ("layer", "one", "three"),
    [("4", 15, 23), ("7", 47, 63), ("10", 111, 143), ("12", 175, 207)],
)
def test_halves_of_the_fire_modules(layer: str, one: int, three: int) -> None:
    fields = receptive_fields(squeezenet1_1(weights=None), f"features.{layer}")
    half = len(fields) // 2
    assert {field.size for field in fields[:half]} == {(one, one)}
    assert {field.size for field in fields[half:]} == {(three, three)}
    assert {field.centre((0, 0)) for field in fields} == {fields[0].centre((0, 0))}


@pytest.mark.parametrize(("layer", "stride", "first"), [("2", 4, 3), ("5", 8, 7), ("8", 16, 15)])
def test_centres_behind_the_pools_of_squeezenet(layer: str, stride: int, first: int) -> None:
    field = receptive_field(squeezenet1_1(weights=None), f"features.{layer}")
    for row, column in ((0, 0), (1, 2), (3, 1)):
        expected = (stride * row + first, stride * column + first)
        assert field.centre((row, column)) == expected


def test_all_maps_together_see_what_one_of_them_sees() -> None:
    model = squeezenet1_1(weights=None)
    assert receptive_field(model, "features.4") == receptive_field(model, "features.4", 127)
    assert receptive_field(model, "features.4", 0).size == (15, 15)


def test_groups_see_their_own_maps_only() -> None:
    class Grouped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.small, self.large = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 3, padding=1)
            self.grouped = nn.Conv2d(4, 6, 1, groups=2)

        def forward(self, images: Tensor) -> Tensor:
            both = torch.cat([self.small(images), self.large(images)], dim=1)
            output: Tensor = self.grouped(both)
            return output

    sizes = [field.size for field in receptive_fields(Grouped(), "grouped")]
    assert sizes == [(1, 1)] * 3 + [(3, 3)] * 3


def test_linear_layers_and_global_pooling_see_the_whole_image() -> None:
    for layer in ("fc1", "act3", "fc2", "log_softmax"):
        assert receptive_field(base_cnn(), layer, 3) == WHOLE_IMAGE
    network = squeezenet1_1(weights=None)
    assert receptive_field(network, "classifier.3", 999) == WHOLE_IMAGE
    assert receptive_field(network, "classifier") == WHOLE_IMAGE
    layers = nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout()
    assert receptive_field(nn.Sequential(*layers, nn.Linear(8, 3)), "4") == WHOLE_IMAGE
    assert patch(WHOLE_IMAGE, (9, 9), (3, 20, 30)) == (slice(0, 20), slice(0, 30))
    with pytest.raises(ValueError, match="sees the whole image"):
        WHOLE_IMAGE.centre((0, 0))


def test_windows_of_adaptive_pooling_are_those_of_the_images_size() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.AdaptiveAvgPool2d((2, 3)))
    field = receptive_field(model, "1", image_shape=(1, 10, 14))  # maps of 8x12
    assert field == Field((6, 6), (4, 4))
    with pytest.raises(ValueError, match="depend on the image's size; give image_shape"):
        receptive_field(model, "1")
    with pytest.raises(ValueError, match="maps of 9x12 do not divide into 2x3"):
        receptive_field(model, "1", image_shape=(1, 11, 14))


@pytest.mark.parametrize(
    ("layer", "channel", "message"),
    [
        ("conv9", None, "layer 'conv9' does not exist"),
        ("conv1", 24, "channel is 24, but layer 'conv1' has 0 to 23"),
        ("scale", -1, "channel is -1, but layer 'scale' has 0 to 2"),
        ("flatten", None, "layer 'flatten' makes units of single positions"),
    ],
)
def test_units_without_a_field_are_refused(layer: str, channel: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        receptive_field(compact_cnn(), layer, channel)


def test_maps_that_move_on_differently_are_refused_together() -> None:
    class Uneven(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fine, self.coarse = nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 1, stride=3)
            self.end = nn.Identity()

        def forward(self, images: Tensor) -> Tensor:  # equally many units on images of 3x3
            both = torch.cat([self.fine(images), self.coarse(images)], dim=1)
            output: Tensor = self.end(both)
            return output

    assert receptive_field(Uneven(), "end", 1) == Field((1, 1), (3, 3))
    with pytest.raises(ValueError, match=r"\[\(1, 1\), \(3, 3\)\] pixels apart"):
        receptive_field(Uneven(), "end")


def test_patches_end_at_the_border() -> None:
    field = Field((5, 7), (2, 3), (-2, -3))
    assert patch(field, (0, 0), (1, 10, 12)) == (slice(0, 3), slice(0, 4))
    assert patch(field, (2, 2), (1, 10, 12)) == (slice(2, 7), slice(3, 10))
    assert patch(field, (4, 4), (1, 10, 12)) == (slice(6, 10), slice(9, 12))
    for position in ((6, 0), (0, 5), (-1, 0)):
        with pytest.raises(ValueError, match=r"no unit there sees an image of 10x12 pixels"):
            patch(field, position, (1, 10, 12))


# --- against gradients ---------------------------------------------------------------------

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def windows(draw: st.DrawFn) -> nn.Module:
    """A convolution with positive weights or an average pooling, of any geometry."""
    kernel, stride = draw(pairs), draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    if draw(st.booleans()):
        padding = draw(st.tuples(st.integers(0, kernel[0] // 2), st.integers(0, kernel[1] // 2)))
        return nn.AvgPool2d(kernel, stride, padding, ceil_mode=draw(st.booleans()))
    padding, dilation = draw(st.tuples(st.integers(0, 2), st.integers(0, 2))), draw(pairs)
    layer = nn.Conv2d(1, 1, kernel, stride, padding, dilation, bias=False, dtype=torch.float64)
    nn.init.ones_(layer.weight)
    return layer


def seen(model: nn.Module, images: Tensor, row: int, column: int) -> tuple[slice, slice] | None:
    """Bounding box of the pixels on which a unit of a network's only map depends."""
    pixels = images.requires_grad_()
    [gradient] = torch.autograd.grad(model(pixels)[0, 0, row, column], pixels)
    places = gradient[0, 0].nonzero()
    if len(places) == 0:
        return None
    first, last = places.amin(dim=0).tolist(), places.amax(dim=0).tolist()
    return slice(first[0], last[0] + 1), slice(first[1], last[1] + 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(windows(), min_size=1, max_size=3), st.data())
def test_gradients_lie_within_the_field_and_fill_it(
    layers: list[nn.Module], data: st.DataObject
) -> None:
    model = nn.Sequential(*layers)
    field = receptive_field(model, str(len(layers) - 1))
    images = torch.ones(1, 1, 110, 105, dtype=torch.float64)
    rows, columns = model(images).shape[2:]
    position = data.draw(st.tuples(st.integers(0, rows - 1), st.integers(0, columns - 1)))
    middle = rows // 2, columns // 2
    assert seen(model, images, *middle) == patch(field, middle, (1, 110, 105))
    found = seen(model, images, *position)
    if found is not None:  # a unit may see nothing but padding
        box = patch(field, position, (1, 110, 105))
        assert all(a.start >= b.start and a.stop <= b.stop for a, b in zip(found, box, strict=True))
