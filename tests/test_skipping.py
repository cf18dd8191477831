"""Random skipping: shares per class and epoch, and seeds."""

import pytest
import torch
from torch import Tensor

from fmlib.skipping import RandomSkip

N = 4000
IMAGES = torch.zeros(2 * N, 1, 1, 1)
LABELS = torch.arange(2).repeat(N)


def _kept_share(kept: Tensor, label: int) -> float:
    return kept[label == LABELS].double().mean().item()


def test_shares_follow_class_and_epoch() -> None:
    """Within 5 standard deviations of the binomial; the last row stays in force."""
    policy = RandomSkip([[0.0, 0.3], [1.0, 0.8]], seed=0)
    for rates in ([0.0, 0.3], [1.0, 0.8], [1.0, 0.8]):
        policy.start_epoch()
        assert policy.report() == {"rate": rates}
        kept = policy.keep(IMAGES, LABELS)
        assert kept.dtype == torch.bool
        assert kept.shape == LABELS.shape
        for label, rate in enumerate(rates):
            margin = 5 * (rate * (1 - rate) / N) ** 0.5
            assert abs(_kept_share(kept, label) - (1 - rate)) <= margin


def test_seed_decides_the_draws() -> None:
    def draw(seed: int) -> Tensor:
        policy = RandomSkip([[0.5, 0.5]], seed)
        policy.start_epoch()
        first = policy.keep(IMAGES, LABELS)
        policy.after_step(IMAGES, LABELS, first)
        second = policy.keep(IMAGES, LABELS)
        assert not torch.equal(first, second)
        return torch.cat((first, second))

    before = torch.random.get_rng_state()
    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    "rates", [[], [[]], [[0.5], [0.5, 0.5]], [[1.5]], [[0.5], [-0.1]], [[float("nan")]]]
)
def test_refusals(rates: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"give rows of equally many shares in \[0, 1\]"):
        RandomSkip(rates, seed=0)
