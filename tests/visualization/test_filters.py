"""Filters: their size, looks and frequencies, all worked out by hand or by another way."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fmlib.models import compact_cnn
from fmlib.training import TrainConfig, fit
from fmlib.visualization.filters import (
    Renormalizing,
    aliased_share,
    band_shares,
    dead_share,
    filter_pictures,
    frequency_profile,
    map_maxima,
    midrange_share,
    renormalize,
)
from tests import toy


def _layer(*filters: Tensor, stride: int = 1) -> nn.Conv2d:
    """A convolution with the given filters (in, kh, kw) and no bias."""
    weight = torch.stack(filters).double()
    maps, channels, height, width = weight.shape
    layer = nn.Conv2d(
        channels, maps, (height, width), stride=stride, bias=False, dtype=torch.float64
    )
    with torch.no_grad():
        layer.weight.copy_(weight)
    return layer


def _cosine(size: int, waves: int) -> Tensor:
    """So many whole waves along the columns, (1, size, size)."""
    wave = torch.cos(2 * math.pi * waves * torch.arange(size, dtype=torch.float64) / size)
    return wave.expand(1, size, size)


def _checkerboard(size: int) -> Tensor:
    places = torch.arange(size)
    return (1.0 - 2 * ((places[:, None] + places) % 2))[None]  # (1, size, size)


RANDOM = toy.random_images(5, size=7).reshape(5, 1, 7, 7) - 0.5


def test_renormalize_by_hand() -> None:
    """RMS 5 of (3, 4, sqrt 50, 5) becomes 2, that is times 0.4; RMS 1 and 2 stay."""
    large = torch.tensor([3.0, 4.0, 50**0.5, 5.0]).reshape(1, 2, 2)
    layer = _layer(large, torch.ones(1, 2, 2), torch.full((1, 2, 2), 2.0))
    assert renormalize(layer, 2.0) == 1
    assert layer.weight[0].flatten().tolist() == pytest.approx([1.2, 1.6, 8**0.5, 2.0])
    assert (layer.weight[1] == 1).all()
    assert (layer.weight[2] == 2).all()
    assert layer.weight.requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_renormalized_filters_stay(dtype: torch.dtype, scale: float, seed: int) -> None:
    """None is scaled twice; whichever was below the radius is the same bit for bit."""
    layer = compact_cnn(seed=seed, dtype=dtype).get_submodule("conv1")
    weight = layer.get_parameter("weight").detach()
    weight[::2] *= scale
    before = weight.clone()
    rms = before.double().square().mean(dim=(1, 2, 3)).sqrt()
    radius = rms.median().item() * 1.001
    assert renormalize(layer, radius) == (rms > radius).sum()
    assert renormalize(layer, radius) == 0
    small = rms < radius
    assert torch.equal(weight[small], before[small])
    after = weight.double().square().mean(dim=(1, 2, 3)).sqrt()
    assert after[~small].tolist() == pytest.approx([radius] * int((~small).sum()), rel=1e-6)


def test_training_with_renormalization_keeps_every_filter_small() -> None:
    """All 24 filters are drawn too large, with an RMS of about 0.19."""
    model, radius = compact_cnn((1, 8, 8), 2, dtype=torch.float64), 0.03
    first, second = (model.get_parameter(f"conv{n}.weight") for n in (1, 2))
    before = second.detach().clone()
    policy = Renormalizing(model.get_submodule("conv1"), radius)
    images, labels = toy.random_images(8, size=8), toy.random_labels(8)
    config = TrainConfig(epochs=2, batch_size=4, learning_rate=0.1)
    history = fit(model, images, labels, config, policy=policy)
    assert first.square().mean(dim=(1, 2, 3)).sqrt().max().item() <= radius * (1 + 1e-12)
    assert before.square().mean(dim=(1, 2, 3)).sqrt().max().item() > radius
    assert second.detach().square().mean(dim=(1, 2, 3)).sqrt().max().item() > radius
    counts = [epoch.policy["renormalized"][0] or 0 for epoch in history.epochs]
    assert 24 <= counts[0] <= 48
    assert counts[1] < 48
    assert [epoch.trained for epoch in history.epochs] == [8, 8]


def test_pictures_by_hand() -> None:
    layer = _layer(torch.tensor([[[4.0, -2.0]]]), torch.tensor([[[0.0, 1.0]]]))
    assert filter_pictures(layer).flatten().tolist() == [1.0, 0.25, 0.5, 0.625]
    assert filter_pictures(layer, stretch=True).flatten().tolist() == [1.0, 0.25, 0.5, 1.0]
    blank = filter_pictures(_layer(torch.zeros(1, 2, 2)), stretch=True)
    assert (blank == 0.5).all()


def test_dead_maps_by_hand() -> None:
    """Maps x, x/50, -x of pixels up to 0.5: the largest activations are 0.5, 0.01 and -0.1."""
    layer = _layer(*(torch.full((1, 1, 1), factor) for factor in (1.0, 0.02, -1.0)))
    model = nn.Sequential(layer, nn.ReLU(inplace=True))
    images = toy.flat_images(0.1, 0.3, 0.5)
    assert map_maxima(model, images, "0", chunk=2).tolist() == pytest.approx([0.5, 0.01, -0.1])
    assert dead_share(model, images, "0") == pytest.approx(1 / 3)
    assert dead_share(model, images, "0", share=0.03) == pytest.approx(2 / 3)
    assert dead_share(model, images, "1", share=0) == pytest.approx(1 / 3)
    assert dead_share(model, -images, "0", share=0.5) == pytest.approx(2 / 3)  # map 2: 0.5


def test_maps_that_never_act_are_all_dead() -> None:
    model = nn.Sequential(_layer(torch.full((1, 1, 1), -1.0)))
    assert dead_share(model, toy.flat_images(0.2, 0.6), "0") == 1.0
    linear = toy.linear_net([[1.0, 0, 0, 0], [-1.0, 0, 0, 0]])
    assert dead_share(linear, toy.flat_images(0.2), "fc1") == 0.5


def test_looking_at_dead_maps_changes_nothing() -> None:
    model = compact_cnn((1, 8, 8), 2, dtype=torch.float64).train()
    before = toy.snapshot(model)
    dead_share(model, toy.random_images(3, size=8), "conv2")
    assert toy.unchanged(model, before)
    assert model.training
    assert toy.hook_count(model) == 0


def test_profile_of_constant_checkerboard_and_cosine() -> None:
    layer = _layer(torch.full((1, 8, 8), 3.0), _checkerboard(8), _cosine(8, 1), _cosine(8, 3))
    frequencies, power = frequency_profile(layer)
    assert frequencies.tolist() == [0, 1 / 8, 2 / 8, 3 / 8, 4 / 8]
    expected = torch.zeros(4, 5, dtype=torch.float64)
    expected[range(4), [0, 4, 1, 3]] = 1
    assert torch.allclose(power, expected, atol=1e-12)


def test_profile_of_a_sum_and_of_channels() -> None:
    """A cosine of amplitude a has the power a²/2, a mean of m the power m²; channels add up."""
    both = 1.0 + 2 * _cosine(5, 2)  # 1 : 2
    layer = _layer(torch.cat((both, torch.ones(1, 5, 5))))  # 2 : 2
    frequencies, power = frequency_profile(layer)
    assert frequencies.tolist() == [0, 0.2, 0.4]
    assert power[0].tolist() == pytest.approx([0.5, 0, 0.5])


def test_profile_of_filters_that_are_not_square() -> None:
    layer = _layer(torch.tensor([[[1.0, -1.0, 1.0, -1.0], [1.0, -1.0, 1.0, -1.0]]]))
    frequencies, power = frequency_profile(layer)
    assert frequencies.tolist() == [0, 0.25, 0.5]
    assert power[0].tolist() == pytest.approx([0, 0, 1])


def test_band_shares_of_two_weights_by_hand() -> None:
    """|1 ± exp(-2πif)|² = 2 ± 2 cos 2πf; of 2, it has 1/2 ± 1/π below 1/4."""
    layer = _layer(torch.tensor([[[1.0, 1.0]]]), torch.tensor([[[1.0, -1.0]]]))
    low, high = (0.5 * (1 / 2 + sign / math.pi) for sign in (1, -1))  # 1/2 for the single row
    shares = band_shares(layer, [0, 0.25, 0.5])
    assert shares.flatten().tolist() == pytest.approx([low, 1 - low, high, 1 - high])


def test_aliased_checkerboard_by_hand() -> None:
    """Of 2x2 weights of alternating sign, (1/2 - 1/π)² is not aliased by a stride of 2."""
    layer = _layer(_checkerboard(2), torch.ones(1, 2, 2), stride=2)
    expected = [1 - (0.5 - 1 / math.pi) ** 2, 1 - (0.5 + 1 / math.pi) ** 2]
    assert aliased_share(layer).tolist() == pytest.approx(expected)
    assert aliased_share(layer, stride=1).tolist() == pytest.approx([0, 0], abs=1e-15)
    rows_only = [1 - (0.5 - 1 / math.pi), 1 - (0.5 + 1 / math.pi)]
    assert aliased_share(layer, stride=(2, 1)).tolist() == pytest.approx(rows_only)


def test_a_single_weight_passes_every_frequency_alike() -> None:
    layer = _layer(torch.ones(1, 1, 1), stride=4)
    assert band_shares(layer, [0, 0.125, 0.375, 0.5]).tolist() == [[0.0625, 0.5, 0.4375]]
    assert midrange_share(layer).tolist() == [0.5]
    assert aliased_share(layer).tolist() == [1 - 1 / 16]


def test_bands_equal_a_fine_fourier_transform() -> None:
    """The mean of |W|² over 1,024² frequencies within the band, up to the grid's coarseness."""
    layer, size = _layer(*RANDOM), 1024
    power = torch.fft.fft2(RANDOM[:, 0], s=(size, size)).abs().square()
    places = torch.fft.fftfreq(size, dtype=torch.float64).abs()
    larger = torch.maximum(places[:, None], places)
    edges = [0, 0.1, 0.25, 0.5]
    shares = band_shares(layer, edges)
    assert torch.allclose(shares.sum(dim=1), torch.ones(5, dtype=torch.float64))
    for band, (low, high) in enumerate(pairwise(edges)):
        inside = (larger >= low) & (larger < high)
        expected = (power * inside).sum(dim=(1, 2)) / power.sum(dim=(1, 2))
        assert torch.allclose(shares[:, band], expected, atol=4e-3)


def test_a_cosine_lies_in_the_band_of_its_frequency() -> None:
    """The larger the filter, the more of the power: 16 pixels resolve 1/16."""
    middle, low = _layer(_cosine(16, 4)), _layer(_cosine(16, 1))
    assert midrange_share(middle).item() > 0.85
    assert midrange_share(low).item() < 0.2
    assert aliased_share(middle, stride=4).item() > 0.9
    assert aliased_share(low, stride=4).item() < 0.2


@given(scale=st.floats(0.01, 100), sign=st.sampled_from([1, -1]), turns=st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_shares_do_not_depend_on_scale_sign_and_orientation(
    scale: float, sign: int, turns: int
) -> None:
    changed = _layer(*(sign * scale * RANDOM.rot90(turns, (2, 3))), stride=2)
    layer = _layer(*RANDOM, stride=2)
    for measure in (midrange_share, aliased_share):
        assert torch.allclose(measure(changed), measure(layer))
    assert torch.allclose(frequency_profile(changed).power, frequency_profile(layer).power)


def test_random_weights_have_the_shares_of_the_areas() -> None:
    """Of 2,000 filters, within 5 standard errors; so sizes can be compared."""
    for size in (3, 7):
        generator = torch.Generator().manual_seed(size)
        weight = torch.randn(2000, 1, size, size, generator=generator, dtype=torch.float64)
        for measure, expected in (
            (midrange_share(_layer(*weight)), 0.5),
            (aliased_share(_layer(*weight, stride=2)), 0.75),
        ):
            assert abs(measure.mean() - expected) < 5 * measure.std() / 2000**0.5


def test_types_are_kept_and_a_filter_of_zeros_has_no_share() -> None:
    single = nn.Conv2d(3, 4, 5)
    for found in (midrange_share(single), filter_pictures(single), *frequency_profile(single)):
        assert found.dtype == torch.float32
        assert not found.requires_grad
    zeros = _layer(torch.zeros(1, 3, 3), torch.ones(1, 3, 3))
    assert midrange_share(zeros).isnan().tolist() == [True, False]
    assert frequency_profile(zeros).power.isnan().all(dim=1).tolist() == [True, False]


def test_what_cannot_be_used_is_refused() -> None:
    layer, images = _layer(torch.ones(1, 2, 2)), toy.flat_images(0.5)
    for radius in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="give a number above 0"):
            renormalize(layer, radius)
        with pytest.raises(ValueError, match="give a number above 0"):
            Renormalizing(layer, radius)
    with pytest.raises(ValueError, match="ReLU has no Conv2d"):
        renormalize(nn.ReLU(), 1.0)
    with pytest.raises(ValueError, match="ReLU has no Conv2d"):
        Renormalizing(nn.ReLU(), 1.0)
    with pytest.raises(ValueError, match="the layer is a Linear; give a Conv2d"):
        filter_pictures(nn.Linear(2, 2))
    for function in (frequency_profile, midrange_share, aliased_share):
        with pytest.raises(ValueError, match=r"has dilation \(2, 2\)"):
            function(nn.Conv2d(1, 1, 3, dilation=2))
    for edges in ([0.1], [0.2, 0.1], [-0.1, 0.2], [0, 0.6]):
        with pytest.raises(ValueError, match="give two or more that ascend"):
            band_shares(layer, edges)
    with pytest.raises(ValueError, match="give whole numbers from 1"):
        aliased_share(layer, stride=0)
    with pytest.raises(ValueError, match="share is 1"):
        dead_share(nn.Sequential(layer), images, "0", share=1)
    with pytest.raises(ValueError, match="there are no images"):
        dead_share(nn.Sequential(layer), images[:0], "0")
    with pytest.raises(ValueError, match="layer 'conv' does not exist"):
        dead_share(nn.Sequential(layer), images, "conv")
