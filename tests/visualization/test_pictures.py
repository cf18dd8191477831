"""Measures of pictures: by hand on a few pixels, and how they order pictures."""

import zlib
from math import cos, nan, pi, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fmlib.visualization.pictures import (
    compressed_bytes,
    confusion,
    contrast,
    high_frequency_share,
    similarity,
    stretched,
    total_variation,
)

RAMP = torch.tensor([[0.0, 0.25], [0.5, 1.0]], dtype=torch.float64)[None, None]


def noise(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def wave(period: float, size: int = 16) -> Tensor:
    """A picture (1, 1, size, size) that changes along its rows only."""
    row = [0.5 + 0.4 * cos(2 * pi * x / period) for x in range(size)]
    return torch.tensor(row, dtype=torch.float64).expand(1, 1, size, size)


def test_total_variation_by_hand() -> None:
    """Right 0.25 and 0.5, below 0.5 and 0.75, over four pixels; a second flat channel halves it."""
    assert total_variation(RAMP).tolist() == [0.5]
    assert total_variation(torch.cat((RAMP, RAMP * 0 + 0.3), dim=1)).tolist() == [0.25]


def test_total_variation_has_the_gradient_of_its_signs() -> None:
    pictures = RAMP.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(total_variation(pictures).sum(), pictures)
    assert gradient.flatten().tolist() == [-0.5, 0.0, 0.0, 0.5]  # -2, 1 - 1, 1 - 1 and 2 quarters


def test_contrast_by_hand() -> None:
    """Mean 0.4375; the squares of the deviations add up to 0.546875."""
    assert contrast(RAMP).item() == pytest.approx(sqrt(0.546875 / 4))
    assert contrast((RAMP > 0.3).double()).item() == 0.5


@pytest.mark.parametrize(
    ("period", "share"), [(16, 0.0), (4, 0.0), (16 / 5, 1.0), (2, 1.0)], ids=str
)
def test_a_wave_is_high_if_its_period_is_below_four_pixels(period: float, share: float) -> None:
    pictures = wave(period)
    assert high_frequency_share(pictures).item() == pytest.approx(share, abs=1e-12)
    assert high_frequency_share(pictures.mT).item() == pytest.approx(share, abs=1e-12)


def test_power_of_waves_and_channels_adds_up() -> None:
    """Amplitudes 1 (low) and 2 (high): four fifths; with a third channel of 1 (low): 4 of 6."""
    low, high = wave(16) - 0.5, wave(2) - 0.5
    both = low + sqrt(2) * high  # the power of the highest frequency is not shared by two
    assert high_frequency_share(both).item() == pytest.approx(4 / 5)
    assert high_frequency_share(torch.cat((both, low), dim=1)).item() == pytest.approx(4 / 6)


def test_white_noise_has_nearly_the_share_of_its_frequencies() -> None:
    """Of 32 x 32 frequencies 17 x 17 are low, one of them the mean."""
    share = high_frequency_share(noise(200, 1, 32, 32)).mean().item()
    assert share == pytest.approx(1 - (17 * 17 - 1) / (32 * 32 - 1), abs=0.005)


def test_a_constant_picture_has_no_frequencies() -> None:
    flat = torch.tensor([0.3, 0.1], dtype=torch.float64).reshape(1, 2, 1, 1).expand(1, 2, 7, 7)
    assert high_frequency_share(flat).isnan().tolist() == [True]


def test_compressed_bytes_are_those_of_the_levels() -> None:
    """0.25 and 0.5 of 255 are 63.75 and 127.5, which rounds to the even 128."""
    assert compressed_bytes(RAMP).tolist() == [len(zlib.compress(bytes([0, 64, 128, 255]), 9))]


def test_patterns_take_fewer_bytes_than_noise() -> None:
    flat, random = torch.full((1, 3, 32, 32), 0.3), noise(1, 3, 32, 32)
    sizes = compressed_bytes(torch.cat((flat, wave(4, 32).expand(1, 3, 32, 32), random)))
    assert sizes[0] < sizes[1] < 100
    assert sizes[2] >= 3 * 32 * 32  # nothing to be saved


def test_stretching_by_hand() -> None:
    """Of 100 values, 98 keep 0.1 from grey: they fill the range, and two are clipped."""
    pictures = torch.full((1, 1, 10, 10), 0.5, dtype=torch.float32)
    pictures[0, 0, 0] = torch.tensor([0.4, 0.6, 0.55, 0.45, 0.9, 0.0] + 4 * [0.5])
    found = stretched(pictures)[0, 0, 0].tolist()
    assert found == pytest.approx([0.0, 1.0, 0.75, 0.25, 1.0, 0.0] + 4 * [0.5], abs=1e-6)


def test_all_pictures_of_a_set_are_stretched_alike() -> None:
    weak, strong = 0.5 + 0.01 * (RAMP - 0.5), 0.5 + 0.1 * (RAMP - 0.5)
    found = stretched(torch.cat((weak, strong))) - 0.5
    assert torch.allclose(10 * found[0], found[1])
    assert found[1].abs().max() == 0.5


def test_grey_stays_grey() -> None:
    grey = torch.full((2, 1, 3, 3), 0.5)
    assert torch.equal(stretched(grey), grey)


@given(scale=st.floats(1e-6, 1), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_stretching_keeps_the_side_of_grey_and_the_range(scale: float, seed: int) -> None:
    pictures = 0.5 + scale * (noise(2, 1, 5, 5, seed=seed) - 0.5)
    found = stretched(pictures)
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal((found - 0.5).sign(), (pictures - 0.5).sign())
    assert ((found - 0.5).abs() >= (pictures - 0.5).abs() * (1 - 1e-9)).all()


def test_similarity_by_hand() -> None:
    """A picture, twice as strong, its negative, and one at right angles to it."""
    picture = torch.tensor([0.4, 0.4, 0.6, 0.6], dtype=torch.float64)
    other = torch.tensor([0.4, 0.6, 0.4, 0.6], dtype=torch.float64)
    listed = [picture, 2 * picture - 0.3, 1 - picture, other]
    found = similarity(torch.stack(listed).reshape(4, 1, 2, 2))
    expected = [[1, 1, -1, 0], [1, 1, -1, 0], [-1, -1, 1, 0], [0, 0, 0, 1]]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_similarity_is_numpys_correlation() -> None:
    pictures = noise(5, 3, 4, 6)
    expected = np.corrcoef(pictures.flatten(1).numpy())
    np.testing.assert_allclose(similarity(pictures).numpy(), expected, atol=1e-14)


def test_a_constant_picture_is_like_none() -> None:
    pictures = torch.cat((RAMP, torch.full_like(RAMP, 0.1)))
    assert similarity(pictures).nan_to_num(nan=9).tolist() == [[pytest.approx(1), 9], [9, 9]]
    assert confusion(pictures) == pytest.approx(nan, nan_ok=True)


def test_confusion_by_hand() -> None:
    """Three pictures: two alike, one their negative: pairs 1, -1 and -1."""
    assert confusion(torch.cat((RAMP, RAMP, 1 - RAMP))) == pytest.approx(-1 / 3)


def test_one_picture_has_nothing_to_be_confused_with() -> None:
    with pytest.raises(ValueError, match="there is 1 picture to compare; give at least two"):
        confusion(RAMP)
