"""Sanity checks: methods whose dependence on the model is known, and measures by loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch import Tensor, nn

from fmlib.models import compact_cnn
from fmlib.visualization import saliency, sanity
from tests import toy


def _compact() -> nn.Sequential:
    return compact_cnn((1, 16, 16), 3, dtype=torch.float64)


IMAGES = toy.random_images(6, size=16)
LABELS = toy.random_labels(6, 3)


def _first_response(model: nn.Module, images: Tensor) -> Tensor:
    """The first map of the first convolution."""
    response: Tensor = model.get_submodule("conv1")(images)[:, 0].detach()
    return response


def _drawn(model: nn.Module, other: nn.Module) -> list[str]:
    """Names of the weights by which two models differ."""
    after = other.state_dict()
    return [n for n, value in model.state_dict().items() if not torch.equal(value, after[n])]


def test_weights_are_drawn_from_the_output_down_to_a_layer_or_alone() -> None:
    model = _compact()
    before = toy.snapshot(model)
    assert sanity.weighted_layers(model) == ["fc", "conv3", "conv2", "conv1"]
    assert _drawn(model, sanity.randomized(model, "fc", 7)) == ["fc.weight", "fc.bias"]
    down = sanity.randomized(model, "conv2", 7)
    names = [f"{layer}.{kind}" for layer in ("conv2", "conv3", "fc") for kind in ("weight", "bias")]
    assert _drawn(model, down) == names
    assert _drawn(model, sanity.randomized(model, "conv2", 7, alone=True)) == names[:2]
    assert toy.unchanged(model, before)


def test_upper_layers_are_drawn_alike_however_far_down_one_goes() -> None:
    model = _compact()
    state = torch.random.get_rng_state()
    conv3, everything = (sanity.randomized(model, layer, 7) for layer in ("conv3", "conv1"))
    assert _drawn(conv3, everything) == ["conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"]
    assert _drawn(everything, sanity.randomized(model, "conv1", 7)) == []
    assert len(_drawn(everything, sanity.randomized(model, "conv1", 8))) == 8
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_seed_does_not_draw_what_the_same_seed_made_the_network_with() -> None:
    """Else a first layer would be drawn as what it was trained from."""
    for seed in (0, 1):
        drawn = sanity.randomized(compact_cnn(seed=seed), "conv1", seed, alone=True)
        weight = compact_cnn(seed=seed).get_parameter("conv1.weight")
        assert not torch.equal(drawn.get_parameter("conv1.weight"), weight)


def test_drawn_weights_have_the_default_distribution() -> None:
    """Uniform within 1/sqrt(fan-in), whatever the trained weights were."""
    model = _compact()
    with torch.no_grad():
        model.get_parameter("fc.weight").fill_(9)
    bound = 1 / (64 * 2 * 2) ** 0.5
    drawn = sanity.randomized(model, "fc", 0).get_parameter("fc.weight")
    assert 0.95 * bound < drawn.abs().max() <= bound
    assert drawn.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


def test_a_method_that_ignores_the_model_does_not_depend_on_it() -> None:
    found = sanity.checks(lambda _, images: sanity.edges(images), _compact(), IMAGES, seeds=(0, 1))
    assert found.dependence() == found.dependence("fc", absolute=False) == (0, 0, 0)
    assert list(found.layers) == ["fc", "conv3", "conv2", "conv1"]
    for measures in found.layers.values():
        for measure in measures:
            assert measure.shape == (2, 6)
            assert torch.allclose(measure, torch.ones_like(measure))
    assert found.others == {}


def test_the_response_of_the_first_layer_depends_on_it_alone() -> None:
    """Random filters answer noise without relation: the mean of 72 correlations is near 0."""
    found = sanity.checks(_first_response, _compact(), IMAGES, seeds=range(12))
    for layer in ("fc", "conv3", "conv2"):
        assert (found.layers[layer].rank == 1).all()
    assert found.dependence("conv2").value == 0
    assert found.dependence(absolute=False).value == pytest.approx(1, abs=0.25)
    assert found.dependence(absolute=False).over_seeds > 0.1
    alone = sanity.checks(_first_response, _compact(), IMAGES, seeds=[0], alone=True)
    assert (alone.layers["conv1"].rank < 0.99).all()


def test_gradient_of_a_linear_network_by_hand() -> None:
    """Before and after it is the row of the class, for any image."""
    model = toy.linear_net([[1.0, -2.0, 0.0, 5.0], [3.0, 0.0, 1.0, 0.5]])
    images, labels = toy.flat_images(0.3, 0.6), torch.tensor([0, 1])
    found = sanity.checks(
        lambda model, images: saliency.gradient(model, images, labels), model, images, seeds=(4,)
    )
    models = model, sanity.randomized(model, "fc1", 4)
    rows, drawn = (network.get_parameter("fc1.weight") for network in models)
    for label in (0, 1):
        before, after = (w[label].detach().numpy() for w in (rows, drawn))
        measures = found.layers["fc1"]
        assert measures.rank[0, label].item() == pytest.approx(spearmanr(before, after)[0])
        expected = spearmanr(np.abs(before), np.abs(after))[0]
        assert measures.absolute_rank[0, label].item() == pytest.approx(expected)
    value, over_images, over_seeds = found.dependence()
    assert value == pytest.approx(1 - found.layers["fc1"].absolute_rank.mean().item())
    assert not math.isnan(over_images)
    assert math.isnan(over_seeds)


def test_another_model_stands_beside_the_trained_one() -> None:
    other = compact_cnn((1, 16, 16), 3, seed=5, dtype=torch.float64)
    found = sanity.checks(_first_response, _compact(), IMAGES, seeds=(0,), others={"a": other})
    expected = sanity.similarity(
        _first_response(_compact(), IMAGES), _first_response(other, IMAGES)
    )
    for measure, same in zip(found.others["a"], expected, strict=True):
        assert torch.equal(measure, same)


def test_dependence_by_hand() -> None:
    ranks = torch.tensor([[1.0, 0.0], [0.5, -0.5]])  # distances 0, 1 and 0.5, 1.5
    found = sanity.dependence(ranks)
    assert found.value == 0.75
    assert found.over_images == pytest.approx(1 / 2**0.5)  # 0.25 and 1.25
    assert found.over_seeds == pytest.approx(0.5 / 2**0.5)  # 0.5 and 1


def test_rank_correlation_by_hand() -> None:
    """1, 2, 3, 4 beside 1, 3, 2, 4: one minus 6 · 2 / (4 · 15)."""
    first = torch.tensor([[1.0, 2, 3, 4], [1, 2, 3, 4], [7, 7, 7, 7], [7, 7, 7, 7]])
    second = torch.tensor([[1.0, 3, 2, 4], [40, 3, 2, 1], [5, 5, 5, 5], [1, 2, 3, 4]])
    found = sanity.rank_correlation(first, second)
    assert found.tolist() == pytest.approx([0.8, -1, 1, 0])


@given(st.integers(0, 1000), st.integers(2, 9))
@settings(max_examples=25, deadline=None)
def test_rank_correlation_equals_scipy_with_ties(seed: int, values: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randint(values, (2, 4, 1, 5, 5), generator=generator).double()
    found = sanity.rank_correlation(first, second)
    expected = [
        spearmanr(a.numpy(), b.numpy())[0]
        for a, b in zip(first.flatten(1), second.flatten(1), strict=True)
    ]
    assert found.tolist() == pytest.approx(expected)


def _ssim_by_loops(first: Tensor, second: Tensor, span: float) -> float:
    """Wang et al.'s formula, window by window and pixel by pixel."""
    rows, columns = (min(11, size) for size in first.shape)
    weights = {
        (i, j): math.exp(-((i - (rows - 1) / 2) ** 2 + (j - (columns - 1) / 2) ** 2) / (2 * 1.5**2))
        for i in range(rows)
        for j in range(columns)
    }
    total, values = sum(weights.values()), []
    for top in range(first.shape[0] - rows + 1):
        for left in range(first.shape[1] - columns + 1):
            x = {at: first[top + at[0], left + at[1]].item() for at in weights}
            y = {at: second[top + at[0], left + at[1]].item() for at in weights}
            mx = sum(w * x[at] for at, w in weights.items()) / total
            my = sum(w * y[at] for at, w in weights.items()) / total
            vx = sum(w * (x[at] - mx) ** 2 for at, w in weights.items()) / total
            vy = sum(w * (y[at] - my) ** 2 for at, w in weights.items()) / total
            both = sum(w * (x[at] - mx) * (y[at] - my) for at, w in weights.items()) / total
            c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
            values.append(
                (2 * mx * my + c1) * (2 * both + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
            )
    return sum(values) / len(values)


@pytest.mark.parametrize("size", [(13, 14), (5, 12), (4, 4)])
@pytest.mark.parametrize("span", [1.0, 2.0])
def test_ssim_equals_loops(size: tuple[int, int], span: float) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, 2, 3, *size, generator=generator, dtype=torch.float64)
    second = (first + second) / 2
    found = sanity.ssim(first, second, span)
    expected = [
        sum(_ssim_by_loops(first[n, c], second[n, c], span) for c in range(3)) / 3 for n in range(2)
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-9)


def test_similarity_of_signs_and_scales() -> None:
    """Reversed signs are opposite pictures of the same absolute values; scale does not matter."""
    pictures = toy.random_images(3, size=12) - 0.5
    ones = torch.ones(3, dtype=torch.float64)
    for factor in (7, -7):
        found = sanity.similarity(pictures, factor * pictures)
        assert torch.allclose(found.rank, ones if factor > 0 else -ones)
        assert torch.allclose(found.ssim, ones) == (factor > 0)
        for measure in (found.absolute_rank, found.absolute_ssim):
            assert torch.allclose(measure, ones)
    flat = sanity.similarity(pictures[:, 0], pictures[:, 0])
    assert torch.allclose(flat.ssim, ones)
    blank = sanity.similarity(torch.zeros_like(pictures), torch.zeros_like(pictures))
    assert all((measure == 1).all() for measure in blank)


def test_edges_by_hand() -> None:
    """A ramp of 0.1 a pixel, halved at the border; a step of 1 is seen as 1/2 from both sides."""
    ramp = 0.1 * torch.arange(5.0, dtype=torch.float64).expand(1, 1, 4, 5)
    expected = torch.tensor([0.05, 0.1, 0.1, 0.1, 0.05], dtype=torch.float64)
    for turned, rotate in ((ramp, False), (ramp.mT, True)):
        found = sanity.edges(turned)[0]
        assert torch.allclose(found.T if rotate else found, expected.expand(4, 5))
    step = (torch.arange(6) > 2).double().expand(1, 1, 3, 6)
    assert sanity.edges(step)[0, 1].tolist() == pytest.approx([0, 0, 0.5, 0.5, 0, 0])
    colours = torch.cat((3 * ramp, 4 * ramp), dim=1)
    assert torch.allclose(sanity.edges(colours)[0], 5 * expected.expand(4, 5))
    assert sanity.edges(toy.flat_images(0.7)).max() < 1e-15


def test_magnitude_adds_up_the_channels() -> None:
    pictures = torch.tensor([[1.0, -2.0], [-3.0, 0.5]]).reshape(1, 2, 1, 2)
    assert sanity.magnitude(pictures).tolist() == [[[4.0, 2.5]]]


def test_bad_input_is_refused() -> None:
    model = _compact()
    with pytest.raises(ValueError, match="'act1' has no weights to draw; choose from fc, conv3"):
        sanity.randomized(model, "act1", 0)
    with pytest.raises(ValueError, match="ReLU has no layer with weights"):
        sanity.randomized(nn.ReLU(), "0", 0)
    with pytest.raises(ValueError, match="seeds is empty"):
        sanity.checks(_first_response, model, IMAGES, seeds=())
    with pytest.raises(ValueError, match=r"returns \(6, 3\) for 6 images"):
        sanity.checks(lambda model, images: model(images), model, IMAGES)
    with pytest.raises(ValueError, match=r"returns \(5, 1, 16, 16\) for 6 images"):
        sanity.checks(lambda _, images: images[:5], model, IMAGES)
    with pytest.raises(ValueError, match=r"shapes \(6, 1, 16, 16\) and \(6, 16, 16\)"):
        sanity.similarity(IMAGES, IMAGES[:, 0])
    with pytest.raises(ValueError, match="NaN or infinite"):
        sanity.similarity(IMAGES, IMAGES / 0)
