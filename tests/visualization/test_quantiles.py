"""Streaming quantiles: by hand, the bound against sorting everything, and any order alike."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fmlib.visualization.quantiles import StreamingQuantiles, Thresholds


def counted(values: Tensor, parts: int = 1, bins: int = 2**14) -> StreamingQuantiles:
    found = StreamingQuantiles(len(values), bins)
    for part in values.chunk(parts, dim=1):
        found.add(part)
    return found


def exact(values: Tensor, share: float) -> Tensor:
    """Least of the numbers that at most the share of them is above: the level lies beyond it."""
    at_most = int(share * values.shape[1] + 1e-9)
    return values.sort(dim=1, descending=True).values[:, at_most]


def check_bound(values: Tensor, share: float, found: Thresholds, bins: int) -> None:
    """At most the share reaches the level, and one bin further down more than that does."""
    above = (values >= found.values[:, None]).double().mean(dim=1)
    assert torch.equal(above, found.above.double())
    assert (above <= share).all()
    below = (values >= (found.values - found.width)[:, None]).double().mean(dim=1)
    assert (below > share).all()
    assert (found.values - exact(values, share) <= found.width).all()
    assert (found.values > exact(values, share)).all()
    largest = values.abs().amax(dim=1).clamp_min(2.0**-1001)  # half of the narrowest range
    assert (found.width <= 4 / bins * largest).all()


def test_by_hand() -> None:
    """Numbers 1 to 8 in bins of 2 * 16 / 16 = 2: two of eight reach 8 or 6; at most 2 may."""
    values = torch.arange(1.0, 9.0)[None]
    found = counted(values, bins=16).upper(0.25)
    assert found.width.tolist() == [2.0]
    assert found.values.tolist() == [8.0]  # 6, 7 and 8 reach 6, which are too many
    assert found.above.tolist() == [0.125]


def test_numbers_below_the_narrowest_range_share_its_bins() -> None:
    """The range of 2^-1000 in 16 bins of 2^-1003; 2^-1020 lies in the first one above zero."""
    values = torch.tensor([[2.0**-1020, 0.0]], dtype=torch.float64)
    found = counted(values, bins=16).upper(0.5)
    assert (found.values.item(), found.width.item()) == (2.0**-1003, 2.0**-1003)
    check_bound(values, 0.5, found, 16)


@pytest.mark.parametrize("share", [0.005, 0.1, 0.5])
@pytest.mark.parametrize("bins", [64, 2**14])
def test_the_bound_holds_against_sorting(share: float, bins: int) -> None:
    """Numbers of many sizes, after ReLU too, in 37 parts."""
    drawn = torch.randn(4, 20_000, generator=torch.Generator().manual_seed(0)).double()
    values = drawn * torch.tensor([1.0, 1e-6, 1e5, 1.0])[:, None]
    values[3] = values[3].exp()
    check_bound(values, share, counted(values, 37, bins).upper(share), bins)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=40),
    st.floats(0.01, 0.99),
    st.integers(1, 5),
)
def test_the_bound_holds_for_any_numbers(numbers: list[float], share: float, parts: int) -> None:
    values = torch.tensor([numbers], dtype=torch.float64)
    check_bound(values, share, counted(values, parts, 16).upper(share), 16)


@settings(max_examples=40, deadline=None)
@given(st.permutations([0.0, 1e-3, 5.0, -7.5, 100.0, 3e4, 0.5, 0.5]), st.integers(1, 8))
def test_order_and_parts_make_no_difference(numbers: list[float], parts: int) -> None:
    values = torch.tensor([numbers], dtype=torch.float64)
    one, other = counted(values, parts, 64), counted(values.sort().values, 1, 64)
    assert torch.equal(one._counts, other._counts)
    for found, expected in zip(one.upper(0.3), other.upper(0.3), strict=True):
        assert torch.equal(found, expected)


def test_a_unit_that_is_always_zero_is_never_above_its_level() -> None:
    found = counted(torch.zeros(1, 100)).upper(0.005)
    assert found.values.item() > 0
    assert found.above.item() == 0


def test_a_unit_that_is_seldom_active_gets_a_level_just_above_zero() -> None:
    values = torch.zeros(1, 1000)
    values[0, :3] = 8.0
    found = counted(values).upper(0.005)
    assert 0 < found.values.item() <= 8 * 4 / 2**14
    assert found.above.item() == pytest.approx(0.003)


def test_memory_is_that_of_the_bins() -> None:
    found = StreamingQuantiles(3, 64)
    for number in range(50):
        found.add(torch.full((3, 100), float(number)))
    assert found._counts.shape == (3, 64)
    assert found.seen == 5000
    assert int(found._counts.sum()) == 15_000


def test_what_cannot_be_counted_is_refused() -> None:
    found = StreamingQuantiles(2)
    with pytest.raises(ValueError, match="no numbers have been added"):
        found.upper(0.1)
    with pytest.raises(ValueError, match=r"shape \(3, 4\); give \(2, n\)"):
        found.add(torch.ones(3, 4))
    with pytest.raises(ValueError, match="NaN or infinite"):
        found.add(torch.full((2, 1), torch.nan))
    found.add(torch.ones(2, 0))
    found.add(torch.ones(2, 1))
    for share in (0.0, 1.0, -1.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            found.upper(share)
    for bins in (0, 2, 6, 100):
        with pytest.raises(ValueError, match="power of two"):
            StreamingQuantiles(1, bins)
