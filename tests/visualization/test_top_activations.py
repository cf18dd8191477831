"""Strongest activations and their projections, against everything computed at once."""

import pytest
import torch
from torch import Tensor, nn

from fmlib.features import feature_maps
from fmlib.models import base_cnn, compact_cnn
from fmlib.visualization.deconvnet import project
from fmlib.visualization.graph import held_values, shapes, trace
from fmlib.visualization.top_activations import (
    MEMORY,
    Top,
    top_activations,
    top_projections,
)
from fmlib.visualization.units import Unit
from tests.toy import DTYPE, flat_images, pixel_cnn, snapshot, unchanged

# isort: split
from torchvision.models import squeezenet1_1


@pytest.fixture(scope="module")
def model() -> nn.Sequential:
    """A network with random weights."""
    return compact_cnn((3, 16, 20), dtype=DTYPE)


@pytest.fixture(scope="module")
def images() -> Tensor:
    """40 images that differ in contrast."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(40, 3, 16, 20, generator=generator, dtype=DTYPE)
    return drawn * torch.rand(40, 1, 1, 1, generator=generator, dtype=DTYPE)


def plain(maps: Tensor, index: int, k: int) -> list[tuple[float, int, tuple[int, int]]]:
    """Value, image and position of a map's strongest activations, sorted in a loop."""
    found = []
    for number, plane in enumerate(maps[:, index]):
        places = [(r, c) for r in range(plane.shape[0]) for c in range(plane.shape[1])]
        position = max(places, key=lambda at: plane[at].item())  # the first of equal ones
        found.append((plane[position].item(), number, position))
    return sorted(found, key=lambda entry: -entry[0])[:k]  # stable


def entries(top: Top, place: int) -> list[tuple[float, int, tuple[int, int]]]:
    assert top.positions is not None
    return [
        (value, number, (row, column))
        for value, number, (row, column) in zip(
            top.values[place].tolist(),
            top.images[place].tolist(),
            top.positions[place].tolist(),
            strict=True,
        )
    ]


@pytest.mark.parametrize("layer", ["conv1", "act2", "pool3"])
@pytest.mark.parametrize("size", [7, 40])
def test_streams_give_what_all_images_at_once_give(
    model: nn.Sequential, images: Tensor, layer: str, size: int
) -> None:
    maps = feature_maps(model, images, [layer], chunk=40)[layer]
    top = top_activations(model, iter(images.split(size)), layer, [5, 2], k=4)
    for place, index in enumerate((5, 2)):
        for found, wanted in zip(entries(top, place), plain(maps, index, 4), strict=True):
            assert found[0] == pytest.approx(wanted[0], rel=1e-12)
            assert found[1:] == wanted[1:]


def test_hand_made_images_come_by_brightness_and_equal_ones_in_their_order() -> None:
    """Map 0 is the image, map 1 is 1 minus the image, each of one value."""
    images = flat_images(0.5, 0.25, 0.75, 0.5, 0.125)
    top = top_activations(pixel_cnn(), images.split(2), "act1", [0, 1], k=3)
    assert top.values.tolist() == [[0.75, 0.5, 0.5], [0.875, 0.75, 0.5]]
    assert top.images.tolist() == [[2, 0, 3], [4, 1, 0]]
    assert top.positions is not None
    assert top.positions.eq(0).all()
    assert top.unit(1, 2) == Unit("act1", 1, (0, 0))


def test_fewer_images_give_fewer_activations_one_each(model: nn.Sequential, images: Tensor) -> None:
    top = top_activations(model, [images[:2], images[:0], images[2:3]], "conv1", [0])
    assert top.values.shape == (1, 3)
    assert sorted(top.images[0].tolist()) == [0, 1, 2]


def test_classes_have_no_position(model: nn.Sequential, images: Tensor) -> None:
    top = top_activations(model, images.split(9), "fc", [3, 4], k=2)
    logits = feature_maps(model, images, ["fc"])["fc"]
    assert top.positions is None
    assert top.images[1].tolist() == logits[:, 4].argsort(descending=True)[:2].tolist()
    assert top.unit(1, 0) == Unit("fc", 4)
    [_, shown] = top_projections(model, images.split(9), top)
    assert torch.equal(shown.patches, images[top.images[1]])
    assert shown.inside.all()


# --- memory --------------------------------------------------------------------------------


def counting(model: nn.Module) -> tuple[list[int], torch.utils.hooks.RemovableHandle]:
    """A list that grows by the number of images of each call of the first convolution."""
    sizes: list[int] = []
    convolution = model.get_submodule("conv1")
    return sizes, convolution.register_forward_hook(lambda *given: sizes.append(len(given[2])))


def test_memory_decides_how_many_images_are_computed_together(
    model: nn.Sequential, images: Tensor
) -> None:
    steps = trace(model, "conv2")
    found = shapes(model, steps, (3, 16, 20))
    each = 8 * (held_values(steps, found) + 32 * 8 * 10)
    expected = top_activations(model, images.split(40), "conv2", [1])
    for count in (1, 3):
        sizes, handle = counting(model)
        top = top_activations(model, images.split(40), "conv2", [1], memory=each * (count + 1) - 1)
        handle.remove()
        assert max(sizes) == count
        assert torch.equal(top.images, expected.images)
    with pytest.raises(ValueError, match=f"one image takes {each:,} up to layer 'conv2'; give"):
        top_activations(model, images.split(40), "conv2", [1], memory=each - 1)


def test_projecting_counts_switches_too(model: nn.Sequential, images: Tensor) -> None:
    steps = trace(model, "conv2")
    found = shapes(model, steps, (3, 16, 20))
    each = 8 * (held_values(steps, found) + 32 * 8 * 10) + 8 * 24 * 8 * 10
    top = top_activations(model, images.split(40), "conv2", [1])
    sizes, handle = counting(model)
    top_projections(model, images.split(40), top, memory=2 * each)
    handle.remove()
    assert max(sizes) == 2
    with pytest.raises(ValueError, match=f"one image takes {each:,}"):
        top_projections(model, images.split(40), top, memory=each - 1)


# --- projections and patches ---------------------------------------------------------------


def test_projections_and_patches_are_cut_from_the_same_places(
    model: nn.Sequential, images: Tensor
) -> None:
    """Units of conv2 see 8 pixels, the first from -3 on and each next one 2 further."""
    top = top_activations(model, images.split(11), "conv2", [4, 0], k=5)
    shown = top_projections(model, images.split(13), top)
    assert [part.patches.shape for part in shown] == [(5, 3, 8, 8)] * 2
    for place, index in enumerate((4, 0)):
        for rank, (_, number, (row, column)) in enumerate(entries(top, place)):
            unit = Unit("conv2", index, (row, column))
            whole = project(model, images[number : number + 1], unit)[0]
            for y in range(8):
                for x in range(8):
                    at = (2 * row - 3 + y, 2 * column - 3 + x)
                    inside = 0 <= at[0] < 16 and 0 <= at[1] < 20
                    assert shown[place].inside[rank, y, x] == inside
                    pixel = images[number, :, *at] if inside else torch.zeros(3, dtype=DTYPE)
                    value = whole[:, *at] if inside else torch.zeros(3, dtype=DTYPE)
                    assert torch.equal(shown[place].patches[rank, :, y, x], pixel)
                    assert torch.allclose(shown[place].projections[rank, :, y, x], value)
    assert any((~part.inside).any() for part in shown)


def test_nothing_of_a_projection_is_cut_off(model: nn.Sequential, images: Tensor) -> None:
    top = top_activations(model, [images], "pool2", [0, 1, 2], k=3)
    for place, part in enumerate(top_projections(model, [images], top)):
        for rank in range(3):
            number = int(top.images[place, rank])
            whole = project(model, images[number : number + 1], top.unit(place, rank))
            assert torch.allclose(part.projections[rank].sum(), whole.sum(), atol=1e-14)


def test_fields_larger_than_the_image_show_all_of_it_and_maps_may_differ_in_field() -> None:
    network = squeezenet1_1(weights=None).eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 3, 20, 64, generator=generator)
    top = top_activations(network, [images], "features.4", [0, 127], k=2)
    one, three = top_projections(network, [images], top)
    assert one.patches.shape == (2, 3, 15, 15)
    assert three.patches.shape == (2, 3, 20, 23)


def test_nothing_of_the_model_changes(model: nn.Sequential, images: Tensor) -> None:
    before = snapshot(model)
    model.train()
    top = top_activations(model, images.split(10), "act3", [0])
    top_projections(model, images.split(10), top)
    assert unchanged(model, before)
    assert model.training
    assert all(weight.requires_grad for weight in model.parameters())
    assert not top.values.requires_grad


# --- refusals ------------------------------------------------------------------------------

IMAGES = torch.zeros(2, 1, 28, 28)


@pytest.mark.parametrize(
    ("batches", "layer", "maps", "k", "message"),
    [
        ([IMAGES], "conv1", [0], 0, "k is 0; give a whole number from 1"),
        ([IMAGES], "conv1", [], 9, "give at least one"),
        ([IMAGES], "conv1", [15], 9, "index is 15, but layer 'conv1' has units 0 to 14"),
        ([IMAGES], "conv9", [0], 9, "layer 'conv9' does not exist"),
        ([], "conv1", [0], 9, "there are no images to look at"),
        ([IMAGES[:0]], "conv1", [0], 9, "there are no images to look at"),
        ([IMAGES, IMAGES[..., 1:]], "conv1", [0], 9, "give images of one size"),
        ([IMAGES.double()], "conv1", [0], 9, r"images are torch\.float64, but the model"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    batches: list[Tensor], layer: str, maps: list[int], k: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        top_activations(base_cnn(), batches, layer, maps, k)


def test_other_images_than_those_searched_are_refused_where_it_shows() -> None:
    top = top_activations(base_cnn(), [IMAGES, IMAGES + 1], "conv1", [0])
    with pytest.raises(ValueError, match="up to number 3, which the batches do not reach"):
        top_projections(base_cnn(), [IMAGES], top)
    probabilities = top_activations(base_cnn(), [IMAGES], "log_softmax", [0])
    with pytest.raises(ValueError, match="'log_softmax' is LogSoftmax, which a deconvnet"):
        top_projections(base_cnn(), [IMAGES], probabilities, MEMORY)
