"""Softmaxes on frozen features against an independent one, and shared images found by hand."""

import re

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from fmlib import transfer
from fmlib.features import feature_maps
from fmlib.transfer import PIXELS, balanced, fit_softmax, layer_features, nearest, overlaps
from tests import toy


def clouds(count: int = 60, dimensions: int = 5, classes: int = 3) -> tuple[Tensor, Tensor]:
    """Points around one centre per class, which overlap."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, dimensions, generator=draw, dtype=torch.float64)
    points = centres[labels] + torch.randn(count, dimensions, generator=draw, dtype=torch.float64)
    return points, labels


# --- features ------------------------------------------------------------------------------


def test_features_are_the_layers_outputs_flattened() -> None:
    model, images = toy.diagonal_cnn(), toy.random_images(7)
    before, hooks = toy.snapshot(model), toy.hook_count(model)
    found = layer_features(model, images, [PIXELS, "conv1", "fc1"], chunk=3)
    assert list(found) == [PIXELS, "conv1", "fc1"]
    assert torch.equal(found[PIXELS], images.flatten(1))
    assert torch.equal(found["conv1"], feature_maps(model, images, ["conv1"])["conv1"].flatten(1))
    assert found["fc1"].shape == (7, 2)
    assert toy.unchanged(model, before)
    assert toy.hook_count(model) == hooks


def test_features_that_cannot_be_taken_are_refused() -> None:
    model = toy.diagonal_cnn()
    with pytest.raises(ValueError, match=r"layer 'conv9' does not exist; choose from scale, conv1"):
        layer_features(model, toy.random_images(2), ["conv9"])
    with pytest.raises(ValueError, match="no images"):
        layer_features(model, toy.random_images(0), ["conv1"])


def test_balanced_draws_are_even_nested_and_seeded() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 0, 2, 2, 2, 1])
    small, large = (balanced(labels, size, 3) for size in (1, 3))
    assert labels[large].bincount().tolist() == [3, 3, 3]
    assert set(small.tolist()) < set(large.tolist())
    assert torch.equal(large, balanced(labels, 3, 3))
    drawn = {tuple(balanced(labels, 1, seed).tolist()) for seed in range(10)}
    assert len(drawn) > 3


@pytest.mark.parametrize("size", [0, 3])
def test_more_images_than_a_class_has_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=rf"per_class is {size}; give 1 to 2"):
        balanced(torch.tensor([0, 0, 0, 1, 1]), size, 0)


# --- softmax -------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "dimensions"), [(60, 5), (12, 80)])
def test_softmax_is_scikit_learns(count: int, dimensions: int) -> None:
    """Also where rows are fewer than features, so that it is solved in the space they span."""
    points, labels = clouds(count, dimensions)
    found = fit_softmax(points, labels, penalty=0.5)
    scaled = (points - points.mean(dim=0)) / found.size
    assert scaled.square().sum(dim=1).mean().item() == pytest.approx(1)
    reference = LogisticRegression(C=1 / 0.5, tol=1e-10, max_iter=10_000)
    reference.fit(scaled.numpy(), labels.numpy())
    assert found.weight.numpy() == pytest.approx(reference.coef_, abs=2e-2)
    expected = reference.predict_proba(scaled.numpy())
    assert found.logits(points).softmax(dim=1).numpy() == pytest.approx(expected, abs=2e-3)


def test_softmax_is_the_minimum_by_automatic_differentiation() -> None:
    points, labels = clouds()
    found = fit_softmax(points, labels, penalty=0.3)
    weight, bias = (one.clone().requires_grad_() for one in (found.weight, found.bias))
    logits = (points - found.mean) / found.size @ weight.T + bias
    loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    (loss + 0.15 * weight.square().sum()).backward()
    for one in (weight, bias):
        assert one.grad is not None
        assert one.grad.abs().max().item() / len(points) < 2e-5


def test_two_classes_by_hand() -> None:
    """Two points at -1 and 1: weights (-w, w), and the loss's slope is 0 where w is."""
    found = fit_softmax(torch.tensor([[3.0], [5.0]]), torch.tensor([0, 1]), penalty=1.0)
    w = found.weight[1].item()
    assert found.weight[0].item() == pytest.approx(-w)
    assert (found.mean.item(), found.size) == (4, 1)
    assert 2 * w == pytest.approx(2 * 2 / (1 + np.exp(2 * w)), abs=1e-4)
    assert (
        found.accuracy(torch.tensor([[0.0], [9.0], [8.0], [1.0]]), torch.tensor([0, 1, 0, 0])) == 75
    )


def test_scale_and_shift_of_the_features_do_not_matter() -> None:
    points, labels = clouds()
    first, second = fit_softmax(points, labels), fit_softmax(1000 * points.float() - 7, labels)
    moved = second.logits(1000 * points.float() - 7)
    assert first.logits(points).numpy() == pytest.approx(moved.numpy(), abs=1e-3)


def test_more_images_make_weights_larger() -> None:
    """The penalty is a fixed prior: with each image four times it weighs a quarter."""
    points, labels = clouds()
    once, four = fit_softmax(points, labels), fit_softmax(points.repeat(4, 1), labels.repeat(4))
    quarter = fit_softmax(points, labels, transfer.PENALTY / 4)
    assert four.weight.norm() > once.weight.norm()
    assert four.logits(points).numpy() == pytest.approx(quarter.logits(points).numpy(), abs=1e-2)


@pytest.mark.parametrize(
    ("features", "labels", "penalty", "words"),
    [
        (torch.ones(3, 2), torch.tensor([0, 1]), 1.0, "features have shape (3, 2) and labels (2,)"),
        (torch.ones(0, 2), torch.tensor([], dtype=torch.long), 1.0, "at least one"),
        (torch.ones(2, 2), torch.tensor([0, 0]), 1.0, "of a single class"),
        (torch.ones(2, 2), torch.tensor([0, 1]), 0.0, "penalty is 0.0; give a number above 0"),
        (torch.full((2, 2), torch.nan), torch.tensor([0, 1]), 1.0, "not finite"),
    ],
)
def test_what_no_softmax_can_be_trained_on_is_refused(
    features: Tensor, labels: Tensor, penalty: float, words: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        fit_softmax(features, labels, penalty)


def test_features_that_are_all_alike_leave_the_biases() -> None:
    found = fit_softmax(torch.ones(3, 2), torch.tensor([0, 1, 1]))
    assert found.weight.abs().max().item() < 1e-6
    assert found.accuracy(torch.ones(3, 2), torch.tensor([0, 1, 1])) == pytest.approx(200 / 3)


# --- shared images -------------------------------------------------------------------------


def colours(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, 8, 8, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("chunk", [1, 3, 500])
def test_planted_duplicates_are_found_and_nothing_else(chunk: int) -> None:
    """One darker, one with less contrast; unrelated images of 192 numbers correlate at most 0.3."""
    images, others = colours(10, 0), colours(15, 1)
    others[4] = 0.3 * images[7]
    others[12] = 0.4 + 0.2 * images[2]
    found = overlaps(images, others, 0.9, chunk)
    assert sorted(found.pairs.tolist()) == [[2, 12], [7, 4]]
    assert found.correlations.tolist() == pytest.approx([1, 1])


def test_correlation_by_hand_and_by_numpy() -> None:
    """(0, 1, 2, 3) and (0, 2, 1, 3): products of deviations 4, squares 5 and 5."""
    first = torch.tensor([0.0, 1, 2, 3]).reshape(1, 1, 2, 2)
    second = torch.tensor([0.0, 2, 1, 3]).reshape(1, 1, 2, 2)
    assert overlaps(first, second, 0.5).correlations.tolist() == pytest.approx([0.8])
    assert len(overlaps(first, second, 0.81).pairs) == 0
    images, others = colours(3, 0), colours(4, 1)
    expected = np.corrcoef(images.flatten(1).numpy(), others.flatten(1).numpy())[:3, 3:]
    found = nearest(images, others, chunk=2)
    assert found.correlations.numpy() == pytest.approx(expected.max(axis=1))
    assert found.others.tolist() == expected.argmax(axis=1).tolist()


def test_a_negative_is_no_duplicate() -> None:
    images = colours(2, 0)
    assert len(overlaps(images, 1 - images, 0.5).pairs) == 0


def test_pairs_within_a_set_are_found_once_each() -> None:
    images = colours(6, 0)
    images[4] = 0.5 * images[1]
    for chunk in (2, 5, 6):
        assert overlaps(images, None, 0.9, chunk).pairs.tolist() == [[1, 4]]


def test_the_most_alike_come_first() -> None:
    images = colours(3, 0)
    noise = colours(3, 1) - 0.5
    others = (
        images + torch.tensor([0.3, 0.0, 0.1], dtype=torch.float64)[:, None, None, None] * noise
    )
    found = overlaps(images, others, 0.8)
    assert found.pairs.tolist() == [[1, 1], [2, 2], [0, 0]]
    assert found.correlations.diff().max().item() < 0


def test_images_without_contrast_are_like_none() -> None:
    flat = torch.full((1, 3, 8, 8), 0.1)
    assert len(overlaps(flat, torch.cat((flat, 2 * flat)), 0.01).pairs) == 0
    assert nearest(flat, flat).correlations.tolist() == [0]


def test_no_more_than_a_chunk_of_either_set_is_compared_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that the memory does not grow with the sets' product."""
    sizes: list[int] = []
    real = transfer._normalized

    def note(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return real(images)

    monkeypatch.setattr(transfer, "_normalized", note)
    images = torch.rand(1000, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    for compare in (lambda: overlaps(images, images, 1.0, chunk=250),
                    lambda: nearest(images, images, chunk=250)):  # fmt: skip
        sizes.clear()
        compare()
        assert set(sizes) == {250}


@pytest.mark.parametrize(
    ("images", "others", "threshold", "chunk", "words"),
    [
        (colours(2, 0), torch.rand(2, 1, 8, 8), 0.9, 5, "images are 3x8x8, the others 1x8x8"),
        (colours(2, 0), torch.rand(2, 3, 9, 8), 0.9, 5, "resize them to one shape"),
        (colours(2, 0)[0], colours(2, 0)[0], 0.9, 5, "channels, height and width"),
        (colours(0, 0), colours(2, 0), 0.9, 5, "has no images"),
        (colours(2, 0), colours(2, 0), 0.0, 5, "threshold is 0.0; give a number above 0"),
        (colours(2, 0), colours(2, 0), 1.01, 5, "threshold is 1.01"),
        (colours(2, 0), colours(2, 0), 0.9, 0, "chunk is 0; give a whole number from 1"),
    ],
)
def test_sets_that_cannot_be_compared_are_refused(
    images: Tensor, others: Tensor, threshold: float, chunk: int, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        overlaps(images, others, threshold, chunk)


def test_no_comparison_without_images() -> None:
    with pytest.raises(ValueError, match="no images"):
        nearest(colours(1, 0), colours(0, 0))
