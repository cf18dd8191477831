"""Convolutional Similarity: against plain loops, by hand, its gradients, and what is refused."""

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib import similarity
from fmlib.models import base_cnn, compact_cnn
from fmlib.similarity import Channels, Pairs

PAIRS: tuple[Pairs, ...] = ("adjacent", "all")
CHANNELS: tuple[Channels, ...] = ("each", "all", "summed")
OPTIONS = list(product(PAIRS, CHANNELS, (False, True)))


def random_weights(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def correlation(
    first: list[list[float]], second: list[list[float]], down: int, right: int
) -> float:
    """R(s) of two kernels, added up number by number."""
    height, width = len(first), len(first[0])
    return sum(
        first[i][j] * second[i + down][j + right]
        for i, j in product(range(height), range(width))
        if 0 <= i + down < height and 0 <= j + right < width
    )


def by_loops(weight: Tensor, pairs: Pairs, channels: Channels, unit_norm: bool) -> float:
    """Convolutional Similarity by loops over pairs of filters, channels and shifts."""
    if unit_norm:
        weight = torch.stack([one / one.norm() for one in weight])
    count, depth, height, width = weight.shape
    shifts = list(product(range(1 - height, height), range(1 - width, width)))
    kernels: list[list[list[list[float]]]] = weight.tolist()
    total = 0.0
    for f in range(count):
        for g in range(f + 1, count if pairs == "all" else min(f + 2, count)):
            for down, right in shifts:
                found = {
                    (c, d): correlation(kernels[f][c], kernels[g][d], down, right)
                    for c, d in product(range(depth), repeat=2)
                    if channels == "all" or c == d
                }
                values = [sum(found.values())] if channels == "summed" else found.values()
                total += sum(value**2 for value in values)
    return total


@pytest.mark.parametrize(("pairs", "channels", "unit_norm"), OPTIONS)
@pytest.mark.parametrize("shape", [(5, 2, 3, 3), (2, 4, 2, 3), (4, 1, 1, 5), (3, 3, 1, 1)])
def test_every_form_is_that_of_plain_loops(
    shape: tuple[int, ...], pairs: Pairs, channels: Channels, unit_norm: bool
) -> None:
    weight = random_weights(*shape)
    found = similarity.convolutional_similarity(weight, pairs, channels, unit_norm).item()
    assert found == pytest.approx(by_loops(weight, pairs, channels, unit_norm), rel=1e-12)


def test_released_form_is_that_of_a_grouped_convolution() -> None:
    weight = random_weights(6, 3, 5, 5)
    count = 5 * 3
    responses = F.conv2d(
        weight[:-1].reshape(1, count, 5, 5),
        weight[1:].reshape(count, 1, 5, 5),
        padding=4,
        groups=count,
    )
    found = similarity.convolutional_similarity(weight).item()
    assert found == pytest.approx(responses.square().sum().item(), rel=1e-12)


@pytest.mark.parametrize(("pairs", "channels", "unit_norm"), OPTIONS)
def test_gradients_are_those_of_finite_differences(
    pairs: Pairs, channels: Channels, unit_norm: bool
) -> None:
    weight = random_weights(4, 2, 2, 3).requires_grad_()
    for measure in (
        similarity.convolutional_similarity,
        similarity.norm_products,
        similarity.scale_free,
    ):
        assert torch.autograd.gradcheck(
            lambda w, measure=measure: measure(w, pairs, channels, unit_norm), weight
        )


def test_gradients_of_the_other_measures() -> None:
    weight = random_weights(4, 2, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(similarity.kernel_cosine, weight)
    assert torch.autograd.gradcheck(similarity.map_cosine, weight)
    planes = weight[0].detach().requires_grad_(), weight[1].detach().requires_grad_()
    assert torch.autograd.gradcheck(similarity.cross_correlation, planes)


# --- by hand -------------------------------------------------------------------------------


def kernels(*values: list[float]) -> Tensor:
    """One channel, kernels of one row."""
    return torch.tensor(values, dtype=torch.float64)[:, None, None]


def test_by_hand() -> None:
    weight = kernels([1, 2], [3, -1], [0, 2])
    # (1, 2) and (3, -1): shift -1 gives 2·3 = 6, 0 gives 3 - 2 = 1, 1 gives -1; squares 38.
    # (3, -1) and (0, 2): 0, -2, 6; squares 40.  (1, 2) and (0, 2): 0, 4, 2; squares 20.
    assert similarity.convolutional_similarity(weight).item() == pytest.approx(78)
    assert similarity.convolutional_similarity(weight, "all").item() == pytest.approx(98)
    assert similarity.norm_products(weight).item() == pytest.approx(5 * 10 + 10 * 4)
    assert similarity.norm_products(weight, "all").item() == pytest.approx(90 + 5 * 4)
    assert similarity.scale_free(weight).item() == pytest.approx(78 / 90)
    assert similarity.cross_correlation(weight[0], weight[1]).tolist() == [[[[6, 1, -1]]]]
    assert similarity.cross_correlation(weight[0], weight[1], (0, 0)).tolist() == [[[[1]]]]


def test_orthogonal_kernels_can_be_similar() -> None:
    edges = kernels([1, -1, 0, 0], [0, 0, 1, -1])  # the same edge at two places
    assert similarity.kernel_cosine(edges).item() == 0
    assert similarity.scale_free(edges).item() == pytest.approx((1 + 4 + 1) / 4)
    apart = kernels([1, 0], [0, 1])
    assert similarity.kernel_cosine(apart).item() == 0
    assert similarity.scale_free(apart).item() == pytest.approx(1)


def test_cosines_of_kernels_and_maps() -> None:
    weight = kernels([3, 4], [4, 3], [0, 0])
    assert similarity.kernel_cosine(weight).item() == pytest.approx(0.96**2 / 3)
    assert similarity.kernel_cosine(weight, "adjacent").item() == pytest.approx(0.96**2 / 2)
    maps = torch.stack((weight[:, 0], -2 * weight[:, 0]))
    assert similarity.map_cosine(maps).tolist() == pytest.approx([0.96 / 3, 0.96 / 3])


@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_scales_change_the_loss_and_not_the_scale_free_value(seed: int, factor: float) -> None:
    weight = random_weights(3, 2, 3, 3, seed=seed)
    loss = similarity.convolutional_similarity(weight)
    assert torch.allclose(similarity.convolutional_similarity(factor * weight), factor**4 * loss)
    assert torch.allclose(similarity.scale_free(factor * weight), similarity.scale_free(weight))
    factors = torch.tensor([factor, 1, 1 / factor], dtype=torch.float64).reshape(-1, 1, 1, 1)
    unit = similarity.scale_free(weight, unit_norm=True)
    assert torch.allclose(similarity.scale_free(factors * weight, unit_norm=True), unit)


def test_random_kernels_have_a_scale_free_value_of_one() -> None:
    weight = random_weights(64, 32, 3, 3)
    for pairs, channels in product(PAIRS, CHANNELS):
        assert similarity.scale_free(weight, pairs, channels).item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("pairs", PAIRS)
def test_a_single_filter_and_filters_of_zeros_have_no_similarity(
    pairs: Pairs, channels: Channels
) -> None:
    for weight in (random_weights(1, 2, 3, 3), torch.zeros(3, 2, 3, 3)):
        weight.requires_grad_()
        for unit_norm in (False, True):
            value = similarity.scale_free(weight, pairs, channels, unit_norm)
            value.backward()
            assert value.item() == 0
            assert weight.grad is not None
            assert weight.grad.isfinite().all()
        assert similarity.kernel_cosine(weight, pairs).item() == 0


def test_product_of_maps_is_that_of_correlations_with_full_padding() -> None:
    image = random_weights(3, 9, 8, seed=1)
    weight = random_weights(2, 3, 3, 2)
    maps = F.conv2d(image[None], weight, padding=(2, 1))[0]
    own = similarity.cross_correlation(image, image, (2, 1))
    both = similarity.cross_correlation(weight[0], weight[1])
    assert own.shape == both.shape == (3, 3, 5, 3)
    assert (maps[0] * maps[1]).sum().item() == pytest.approx((both * own).sum().item(), rel=1e-12)


def test_channels_of_a_cross_correlation_by_loops() -> None:
    first, second = random_weights(2, 3, 4), random_weights(3, 3, 4, seed=1)
    found = similarity.cross_correlation(first, second)
    for c, d, down, right in product(range(2), range(3), range(-2, 3), range(-3, 4)):
        expected = correlation(first[c].tolist(), second[d].tolist(), down, right)
        assert found[c, d, down + 2, right + 3].item() == pytest.approx(expected, rel=1e-12)


# --- models --------------------------------------------------------------------------------


def test_layers_are_added_up_and_shrinking_is_told_from_dissimilarity() -> None:
    model = base_cnn(dtype=torch.float64)
    layers = similarity.convolutions(model)
    assert list(layers) == ["conv1", "conv2"]
    each = [similarity.convolutional_similarity(layer.weight) for layer in layers.values()]
    assert torch.allclose(similarity.model_similarity(model), each[0] + each[1])
    before = similarity.decompose(model)
    with torch.no_grad():
        for layer in layers.values():
            layer.weight /= 10
    after = similarity.decompose(model)
    assert after.loss == pytest.approx(before.loss / 10**4)
    assert after.scale_free == pytest.approx(before.scale_free)
    assert before.loss == pytest.approx(before.norms * before.scale_free)


def test_groups_are_not_paired() -> None:
    grouped = nn.Conv2d(4, 6, 3, groups=2, dtype=torch.float64)
    halves = grouped.weight.chunk(2)
    expected = sum(similarity.convolutional_similarity(half).item() for half in halves)
    assert similarity.model_similarity(grouped).item() == pytest.approx(expected)
    assert similarity.model_similarity(nn.Conv2d(4, 4, 3, groups=4)).item() == 0


def test_initialization_lowers_the_loss_and_touches_convolutions_alone() -> None:
    model = base_cnn(dtype=torch.float64)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses = similarity.initialize(model, 30)
    assert len(losses) == 31
    assert losses[-1] < losses[0] / 2
    assert losses[-1] == pytest.approx(similarity.model_similarity(model).item())
    changed = [n for n, value in model.state_dict().items() if not torch.equal(value, before[n])]
    assert changed == ["conv1.weight", "conv2.weight"]
    assert all(weight.grad is None for weight in model.parameters())


def test_initialization_is_adam_on_the_loss_alone() -> None:
    model, other = compact_cnn(dtype=torch.float64), compact_cnn(dtype=torch.float64)
    similarity.initialize(model, 3, learning_rate=0.01)
    optimizer = torch.optim.Adam(other.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        similarity.model_similarity(other).backward()
        optimizer.step()
    assert torch.allclose(model.get_parameter("conv3.weight"), other.get_parameter("conv3.weight"))


def test_no_iterations_change_nothing() -> None:
    model = base_cnn()
    before = model.get_parameter("conv1.weight").clone()
    assert len(similarity.initialize(model, 0)) == 1
    assert torch.equal(model.get_parameter("conv1.weight"), before)


def test_regularizer_is_one_line_of_a_loop() -> None:
    model, images = base_cnn(), torch.rand(4, 1, 28, 28)
    loss = F.nll_loss(model(images), torch.tensor([0, 1, 2, 3])) + similarity.regularizer(model)
    loss.backward()
    expected = 0.001 * similarity.model_similarity(model)
    assert torch.allclose(similarity.regularizer(model), expected)


def test_measures_of_a_layer_on_images() -> None:
    model = base_cnn(dtype=torch.float64)
    with torch.no_grad():
        model.get_parameter("conv1.weight")[:5] = 0
        model.get_parameter("conv1.bias")[:5] = -1
    images = torch.rand(70, 1, 28, 28, dtype=torch.float64)
    assert similarity.dead_share(model, images, "act1") == pytest.approx(100 / 3)
    assert similarity.dead_share(model, images, "conv1") == pytest.approx(100 / 3)
    maps = model[:2](images)
    found = similarity.layer_map_cosine(model, images, "conv1")
    assert found.item() == pytest.approx(similarity.map_cosine(maps).mean().item(), rel=1e-12)
    found.backward()
    assert model.get_parameter("conv1.weight").grad is not None


# --- refusals ------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 3, 5), (4, 3, 2, 2, 2), (4,)])
def test_kernels_of_other_dimensions_are_refused(shape: tuple[int, ...]) -> None:
    for measure in (
        similarity.convolutional_similarity,
        similarity.scale_free,
        similarity.norm_products,
        similarity.kernel_cosine,
    ):
        with pytest.raises(ValueError, match=r"give those of a two-dimensional convolution"):
            measure(torch.zeros(shape))


def test_unknown_options_are_refused() -> None:
    weight = torch.zeros(2, 1, 3, 3)
    with pytest.raises(ValueError, match="pairs 'some' is not known; choose one of adjacent, all"):
        similarity.convolutional_similarity(weight, "some")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="channels 'no' is not known; choose one of each, all"):
        similarity.scale_free(weight, channels="no")  # type: ignore[arg-type]


def test_models_without_such_convolutions_are_refused() -> None:
    with pytest.raises(ValueError, match="layer '1' is a Conv1d"):
        similarity.model_similarity(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv1d(1, 2, 3)))
    with pytest.raises(ValueError, match="the model has no Conv2d layer"):
        similarity.initialize(nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"iterations": -1}, "iterations is -1 and learning_rate 0.002; give a whole number"),
        ({"learning_rate": 0.0}, "learning_rate 0.0"),
        ({"pairs": "both"}, "pairs 'both' is not known"),
    ],
)
def test_impossible_initializations_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        similarity.initialize(base_cnn(), **values)  # type: ignore[arg-type]


def test_negative_factors_and_planes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="beta is -1; give a number of at least 0"):
        similarity.regularizer(base_cnn(), beta=-1)
    with pytest.raises(ValueError, match=r"shapes are \(1, 2, 3\) and \(1, 3, 2\)"):
        similarity.cross_correlation(torch.zeros(1, 2, 3), torch.zeros(1, 3, 2))


def test_layers_without_maps_are_refused() -> None:
    model, images = base_cnn(), torch.rand(2, 1, 28, 28)
    for measure in (similarity.layer_map_cosine, similarity.dead_share):
        with pytest.raises(ValueError, match="layer 'fc1' has no feature maps"):
            measure(model, images, "fc1")
        with pytest.raises(ValueError, match="layer 'conv9' does not exist"):
            measure(model, images, "conv9")
