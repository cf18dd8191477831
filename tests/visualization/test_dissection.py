"""Dissection: a planted unit is found and a shuffled one rejected; counts by hand; memory."""

import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from fmlib.models import compact_cnn
from fmlib.visualization.concepts import Concept, ConceptImages, Labelled
from fmlib.visualization.dissection import (
    Dissection,
    _weights,
    dissect,
    enlarger,
    levels,
    memberships,
    overlaps,
    present,
    without_repeats,
)
from fmlib.visualization.quantiles import Thresholds

DOUBLE = torch.float64


@dataclass(frozen=True)
class Given:
    """Labelled images in memory."""

    batches: tuple[Labelled, ...]
    concepts: Sequence[Concept]

    def __iter__(self) -> Iterator[Labelled]:
        return iter(self.batches)


def colour_cnn() -> nn.Sequential:
    """Unit 0 is red minus green and blue, unit 1 the brightness, unit 2 always 0."""
    layer = nn.Conv2d(3, 3, 1, bias=False, dtype=DOUBLE)
    weights = [[1.0, -0.5, -0.5], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights)[:, :, None, None])
    return nn.Sequential(layer, nn.ReLU())


def test_a_planted_unit_is_found_and_a_shuffled_one_rejected() -> None:
    images = ConceptImages(400, seed=0, dtype=DOUBLE)
    found = dissect(colour_cnn(), "1", images)
    red = found.concepts.index(Concept("red", "colour"))
    assert found.labels[0] == Concept("red", "colour")
    assert found.iou[0, red] > 0.5  # all of its pixels are red, 0.5 of 0.8 percent
    assert found.p_values[0].item() == pytest.approx(1 / 20)
    assert found.shuffled[:, 0].max() < 0.04
    assert found.labels[1].name in ("white", "yellow")
    assert found.best[2] == 0
    assert found.p_values[2] == 1


def test_the_label_of_a_unit_that_looks_at_other_images_is_no_better_than_chance() -> None:
    """The same unit, its images paired with the masks of the next ones."""
    (batch,) = ConceptImages(100, seed=0, dtype=DOUBLE)
    wrong = Labelled(batch.images, batch.labels.roll(40, dims=0))
    found = dissect(colour_cnn(), "1", Given((wrong,), ConceptImages(1, 0).concepts))
    assert found.best[0] < 0.1
    assert found.p_values[0] > 0.05


def small(labels: list[list[list[int]]], values: list[list[list[float]]]) -> Given:
    """Grey images with one layer of labels of two concepts of one category."""
    images = torch.tensor(values, dtype=DOUBLE)[:, None]
    return Given(
        (Labelled(images, torch.tensor(labels)[:, None]),),
        (Concept("a", "kind"), Concept("b", "kind")),
    )


def identity() -> nn.Sequential:
    layer = nn.Conv2d(1, 1, 1, bias=False, dtype=DOUBLE)
    with torch.no_grad():
        layer.weight.fill_(1)
    return nn.Sequential(layer)


def test_overlaps_by_hand() -> None:
    """Active: 1 pixel of a and 1 of b in the first image, 1 of none in the second.

    The third image has no label, so that its activity does not count.  a: 1 of 2 + 3 - 1 = 4;
    b: 1 of 1 + 3 - 1 = 3.
    """
    images = small(
        [[[1, 1], [2, 0]], [[0, 0], [0, 0]], [[0, 0], [0, 0]]],
        [[[0.9, 0.1], [0.9, 0.1]], [[0.1, 0.1], [0.1, 0.1]], [[0.9, 0.9], [0.1, 0.1]]],
    )
    labelled = images.batches[0]
    labelled.labels[1, 0, 1, 1] = 2
    labelled.images[1, 0, 0, 0] = 0.9
    (found,) = overlaps(identity(), "0", images, torch.tensor([0.5]))
    assert found.both.tolist() == [[1, 1]]
    assert found.active.tolist() == [[3, 3]]
    assert found.concept.tolist() == [2, 2]
    assert found.iou(images.concepts).tolist() == [[1 / 4, 1 / 4]]


def test_shifted_overlaps_by_hand() -> None:
    """The first image's active pixel lies on the second image's b, and the other way about."""
    images = small([[[1, 0]], [[2, 0]]], [[[0.9, 0.1]], [[0.1, 0.9]]])
    own, other = overlaps(identity(), "0", images, torch.tensor([0.5]), [0, 1])
    assert own.both.tolist() == [[1, 0]]
    assert other.both.tolist() == [[0, 1]]
    assert own.active.tolist() == other.active.tolist() == [[2, 2]]


def test_a_concept_in_two_layers_of_a_pixel_counts_once() -> None:
    labels = torch.tensor([[[[1, 2]], [[1, 0]], [[2, 2]]]])  # (1, 3, 1, 2)
    found = without_repeats(labels)
    assert found.flatten().bincount(minlength=3)[1:].tolist() == [1, 2]


def test_categories_present_by_hand() -> None:
    concepts = (Concept("a", "one"), Concept("b", "two"), Concept("c", "one"))
    labels = torch.tensor([[[[1, 0]]], [[[2, 2]]], [[[0, 0]]]])
    assert present(labels, memberships(concepts)).tolist() == [
        [True, False, True], [False, True, False], [False, False, False],
    ]  # fmt: skip


def test_interpolation_by_hand() -> None:
    """Two values, at pixels 0.5 and 2.5 of four (2x2 pooling): pixel 1 lies a quarter on."""
    found = _weights(0.5, 2, 2, 4, 4)
    assert found.tolist() == [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]
    halved = _weights(0.5, 2, 2, 4, 2)  # the mask's pixels lie at 0.5 and 2.5
    assert halved.tolist() == [[1, 0], [0, 1]]


def test_maps_behind_pooling_are_enlarged_as_by_interpolate() -> None:
    """Where padding keeps sizes, centres lie as `align_corners=False` has them."""
    model = compact_cnn((3, 32, 32), 4, dtype=DOUBLE)
    (batch,) = ConceptImages(2, 0, block=2, dtype=DOUBLE)
    maps = torch.rand(2, 5, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    expected = nn.functional.interpolate(maps, (32, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(enlarger(model, "act3", batch, (8, 8))(maps), expected)


def test_levels_are_those_of_all_activations() -> None:
    images = ConceptImages(60, seed=1, block=25, dtype=DOUBLE)
    found = levels(colour_cnn(), "1", images).upper(0.005)
    every = torch.cat([colour_cnn()(batch.images) for batch in images]).transpose(0, 1).flatten(1)
    exact = every.sort(dim=1, descending=True).values[:, int(0.005 * every.shape[1])]
    assert (found.values[:2] - exact[:2] <= found.width[:2]).all()
    assert (found.values > exact).all()


def test_p_values_by_hand() -> None:
    """Two of three pairings are as good as 0.2: (1 + 2) / (1 + 3)."""
    level = Thresholds(*torch.ones(3, 1))
    shuffled = torch.tensor([[0.2], [0.1], [0.3]])
    found = Dissection("act1", (Concept("a", ""),) * 2, level, torch.tensor([[0.1, 0.2]]), shuffled)
    assert found.p_values.tolist() == [0.75]


def test_nothing_of_the_model_changes() -> None:
    model = compact_cnn((3, 32, 32), 4)
    model.train()
    dissect(model, "act3", ConceptImages(40, 0, block=20), shuffles=2)
    assert model.training
    assert all(weight.requires_grad for weight in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_other_networks_can_be_dissected() -> None:
    """AlexNet's strides and paddings put centres elsewhere."""
    from torchvision.models import alexnet

    model = alexnet(weights=None, num_classes=3)
    found = dissect(model, "features.3", ConceptImages(4, 0, side=64, block=4), shuffles=1)
    assert found.iou.shape == (192, 21)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("fc", "layer 'fc' has no maps"),
        ("act9", "layer 'act9' does not exist; choose from"),
    ],
)
def test_layers_without_maps_are_refused(layer: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dissect(compact_cnn((3, 32, 32), 4), layer, ConceptImages(20, 0, block=20), shuffles=1)


def test_small_batches_and_other_types_are_refused() -> None:
    model = compact_cnn((3, 32, 32), 4)
    with pytest.raises(ValueError, match="a batch has 10 images, too few to pair each with 19"):
        dissect(model, "act1", ConceptImages(110, 0))
    with pytest.raises(ValueError, match=r"float64.*convert one"):
        dissect(model, "act1", ConceptImages(20, 0, block=20, dtype=DOUBLE))
    with pytest.raises(ValueError, match="there are no images"):
        dissect(model, "act1", Given((), ()))


def held(model: nn.Module, count: int) -> int:
    """Largest memory of tensors alive at once while so many images are dissected, in bytes."""
    most, images = 0, ConceptImages(count, 0, block=50)

    class Watched:
        concepts = images.concepts

        def __iter__(self) -> Iterator[Labelled]:
            nonlocal most
            for batch in images:
                yield batch
                most = max(most, alive())

    dissect(model, "act1", Watched(), shuffles=3)
    return most


def alive() -> int:
    """Bytes of all tensors there are, each memory counted once."""
    import gc

    stores = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in gc.get_objects()
        if type(tensor) is Tensor
    }
    return sum(stores.values())


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    """Tensors alive between batches: as many bytes for 600 images as for 100."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
    model = nn.Sequential(*model)
    model.add_module("act1", nn.Identity())
    few, many = held(model, 100), held(model, 600)
    assert few > 0
    assert many <= few * 1.05


def test_python_memory_does_not_grow_either() -> None:
    model = colour_cnn()
    peaks = []
    for count in (100, 100, 500):  # the first pays for what is made once
        tracemalloc.start()
        dissect(model, "1", ConceptImages(count, 0, block=50, dtype=DOUBLE), shuffles=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < peaks[1] + 200_000
