"""Controls and peers of the cache: their rules by hand, their shares, and their seeds."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fmlib.caching import FeatureCache
from fmlib.skipping import (
    Budget,
    InfoBatch,
    Permuted,
    RandomSkip,
    ScoreOnly,
    SelectiveBackprop,
    ShuffledLabels,
    random_skip,
)
from fmlib.training import Report, TrainConfig, Weighing, fit
from tests import toy

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


def test_one_rate_is_that_of_every_class_and_epoch() -> None:
    policy, same = random_skip(0.3, 2, seed=4), RandomSkip([[0.3, 0.3]], seed=4)
    for _ in range(2):
        policy.start_epoch()
        same.start_epoch()
        assert policy.report() == {"rate": [0.3, 0.3]}
        assert torch.equal(policy.keep(IMAGES, LABELS), same.keep(IMAGES, LABELS))


# --- a budget ------------------------------------------------------------------------------


def test_a_budget_is_spent_in_order_and_over_all_epochs() -> None:
    """Five images of four a batch: the second batch is cut short, and no epoch renews it."""
    policy, images, labels = Budget(5), toy.random_images(8), toy.random_labels(8)
    found = []
    for _ in range(2):
        policy.start_epoch()
        for batch in torch.arange(8).split(4):
            found.append(policy.keep(images, labels, batch).tolist())
    assert found == [[True] * 4, [True, False, False, False], [False] * 4, [False] * 4]


def test_a_budget_trains_as_plainly_as_long_as_it_lasts() -> None:
    """Epochs of 6, 6 and 2 images; of 20, 6 are left for the second."""
    images, labels = toy.random_images(14), toy.random_labels(14)
    config = TrainConfig(epochs=2, batch_size=6)
    stopped, plain = toy.diagonal_cnn(), toy.diagonal_cnn()
    found = fit(stopped, images, labels, config, policy=Budget(20)).epochs
    expected = fit(plain, images, labels, config).epochs
    assert [(e.trained, e.steps) for e in found] == [(14, 3), (6, 1)]
    assert found[0].loss == expected[0].loss
    whole = toy.diagonal_cnn()
    everything = fit(whole, images, labels, config, policy=Budget(28)).epochs
    assert [e.loss for e in everything] == [e.loss for e in expected]
    assert toy.unchanged(whole, toy.snapshot(plain))


def test_an_empty_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="images is 0; give a whole number from 1"):
        Budget(0)


# --- around another policy -----------------------------------------------------------------


class Scripted:
    """Leaves out every third position and writes down what it was told."""

    def __init__(self) -> None:
        self.starts = 0
        self.labels: list[Tensor] = []
        self.masks: list[Tensor] = []

    def start_epoch(self) -> None:
        self.starts += 1

    def keep(self, images: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        self.labels.append(labels)
        return index % 3 != 0

    def after_step(self, images: Tensor, labels: Tensor, kept: Tensor, index: Tensor) -> None:
        self.labels.append(labels)
        self.masks.append(kept)

    def report(self) -> Report:
        return {"starts": [float(self.starts)]}


CONTROLS: dict[str, Callable[[Scripted], Permuted | ShuffledLabels | ScoreOnly]] = {
    "permuted": lambda policy: Permuted(policy, seed=1),
    "shuffled labels": lambda policy: ShuffledLabels(policy, 30, seed=1),
    "score only": ScoreOnly,
}


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_pass_on_what_they_do_not_change(name: str) -> None:
    inner = Scripted()
    policy = CONTROLS[name](inner)
    policy.start_epoch()
    images, labels = torch.zeros(30, 1, 1, 1), toy.random_labels(30)
    kept = policy.keep(images, labels, torch.arange(30))
    policy.after_step(images, labels, kept, torch.arange(30))
    assert (inner.starts, len(inner.labels), len(inner.masks)) == (1, 2, 1)
    assert policy.report() == {"starts": [1.0]}
    assert not isinstance(policy, Weighing)


def _permuted_masks(seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """Masks of ten batches of 12, and what the policy within was told afterwards."""
    inner = Scripted()
    policy = Permuted(inner, seed)
    images, labels = torch.zeros(120, 1, 1, 1), toy.random_labels(120)
    masks = []
    for batch in torch.arange(120).split(12):
        masks.append(policy.keep(images, labels, batch))
        policy.after_step(images, labels, masks[-1], batch)
    return masks, inner.masks


def test_permuted_masks_leave_out_as_many_others() -> None:
    """Eight of twelve stay in every batch; which ones changes, and the seed decides it."""
    masks, told = _permuted_masks(seed=0)
    assert [int(mask.sum()) for mask in masks] == [8] * 10
    assert len({tuple(mask.tolist()) for mask in masks}) > 5
    assert all(mask is other for mask, other in zip(masks, told, strict=True))
    again, others = (torch.stack(_permuted_masks(seed)[0]) for seed in (0, 1))
    assert torch.equal(torch.stack(masks), again)
    assert not torch.equal(again, others)


def test_every_place_of_a_batch_is_left_out_as_often() -> None:
    """A third of 3000 masks each, within five standard deviations of the binomial."""
    policy, labels = Permuted(Scripted(), seed=2), torch.zeros(6, dtype=torch.long)
    images, batch = torch.zeros(6, 1, 1, 1), torch.arange(6)
    kept = torch.stack([policy.keep(images, labels, batch) for _ in range(3000)]).double()
    margin = 5 * (2 / 9 / 3000) ** 0.5
    assert (kept.mean(dim=0) - 2 / 3).abs().max() <= margin


def test_shuffled_labels_are_one_permutation_of_all_labels() -> None:
    """The labels 0 to 29 are their own positions, so that the permutation can be read off."""
    inner, labels = Scripted(), torch.arange(30)
    policy, images = ShuffledLabels(inner, 30, seed=3), torch.zeros(30, 1, 1, 1)
    for batch in torch.arange(30).split(10):
        kept = policy.keep(images, labels, batch)
        policy.after_step(images, labels, kept, batch)
    assert len(inner.labels) == 6
    assert all(torch.equal(given, inner.labels[0]) for given in inner.labels)
    assert not torch.equal(inner.labels[0], labels)
    assert torch.equal(inner.labels[0].sort().values, labels)
    assert torch.equal(torch.cat(inner.masks), torch.arange(30) % 3 != 0)


def test_shuffled_labels_need_those_of_the_whole_training_set() -> None:
    policy = ShuffledLabels(Scripted(), 30, seed=3)
    with pytest.raises(ValueError, match="there are 10 labels; give those of all 30 images"):
        policy.keep(torch.zeros(10, 1, 1, 1), torch.zeros(10).long(), torch.arange(10))


def test_scoring_leaves_nothing_out_and_the_other_policy_does_not_notice() -> None:
    inner = Scripted()
    policy, images, labels = ScoreOnly(inner), torch.zeros(6, 1, 1, 1), toy.random_labels(6)
    kept = policy.keep(images, labels, torch.arange(6))
    assert kept.tolist() == [True] * 6
    policy.after_step(images, labels, kept, torch.arange(6))
    assert inner.masks[0].tolist() == [False, True, True, False, True, True]


def test_scoring_with_a_cache_is_plain_training() -> None:
    """To the last bit, although the cache has hits."""
    images, labels = toy.random_images(40), toy.random_labels(40)
    config = TrainConfig(epochs=2, batch_size=10)
    scored, plain = toy.diagonal_cnn(), toy.diagonal_cnn()
    policy = ScoreOnly(FeatureCache(scored, 2, images=images))
    found = fit(scored, images, labels, config, policy=policy)
    expected = fit(plain, images, labels, config)
    assert [e.loss for e in found.epochs] == [e.loss for e in expected.epochs]
    assert [e.skipped for e in found.epochs] == [0, 0]
    assert toy.unchanged(scored, toy.snapshot(plain))
    assert all(sum(value or 0 for value in e.policy["hits"]) > 0 for e in found.epochs)


# --- selective backprop --------------------------------------------------------------------


class PixelLoss(nn.Module):
    """The loss of an image of one pixel is that pixel; all are of class 0."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        return -self.factor * images.flatten(1)


def _selected(policy: SelectiveBackprop, losses: list[float]) -> Tensor:
    images = torch.tensor(losses, dtype=torch.float64).reshape(-1, 1, 1, 1)
    labels = torch.zeros(len(losses), dtype=torch.long)
    return policy.keep(images, labels, torch.arange(len(losses)))


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_selective_backprop_by_hand(beta: float) -> None:
    """Four losses are remembered.

    Of 1, 3, 2, 4, a share of 0, 2/4, 1/4, 3/4 is lower than each.  After the batch 2.5, 2.5, 0.5
    those remembered are 4, 2.5, 2.5, 0.5: shares 1/4, 1/4, 0.
    """
    policy = SelectiveBackprop(PixelLoss(), 1, seed=7, beta=beta, history=4)
    generator = torch.Generator().manual_seed(7)
    for losses, lower in (([1, 3, 2, 4], [0, 0.5, 0.25, 0.75]), ([2.5, 2.5, 0.5], [0.25, 0.25, 0])):
        draws = torch.rand(len(losses), generator=generator, dtype=torch.float64)
        expected = [d < share**beta for d, share in zip(draws.tolist(), lower, strict=True)]
        assert _selected(policy, [float(loss) for loss in losses]).tolist() == expected


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_selective_backprop_keeps_high_losses(beta: float) -> None:
    """1 / (1 + beta) of all, within 5 standard deviations; more of the higher half."""
    policy = SelectiveBackprop(PixelLoss(), 1, seed=0, beta=beta, history=8000)
    losses = torch.rand(8000, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    kept = _selected(policy, losses.tolist())
    share = 1 / (1 + beta)
    assert abs(kept.double().mean().item() - share) <= 5 * (share * (1 - share) / 8000) ** 0.5
    high = losses > 0.5
    assert kept[high].double().mean() > kept[~high].double().mean() + 0.2


def test_selective_backprop_counts_what_it_scored_and_leaves_the_model_alone() -> None:
    images, labels = toy.random_images(9), torch.tensor([0, 1, 1, 0, 1, 1, 1, 0, 1])
    model = toy.diagonal_cnn()
    policy = SelectiveBackprop(model, 2, seed=0)
    policy.start_epoch()
    for batch in torch.arange(9).split(4):
        policy.keep(images, labels, batch)
    assert policy.report() == {"scored": [3.0, 6.0]}
    policy.start_epoch()
    assert policy.report() == {"scored": [0.0, 0.0]}
    assert toy.unchanged(model, toy.snapshot(toy.diagonal_cnn()))
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("beta", [0.0, -1.0, math.inf, math.nan])
def test_selective_backprop_refuses_a_beta_that_is_no_power(beta: float) -> None:
    with pytest.raises(ValueError, match=f"beta is {beta}; give a finite number above 0"):
        SelectiveBackprop(PixelLoss(), 1, seed=0, beta=beta)


def test_selective_backprop_refuses_to_remember_nothing() -> None:
    with pytest.raises(ValueError, match="history is 0; give a whole number from 1"):
        SelectiveBackprop(PixelLoss(), 1, seed=0, history=0)


# --- InfoBatch -----------------------------------------------------------------------------

LOSSES = torch.tensor([1.0, 6.0, 3.0, 2.0], dtype=torch.float64)
"""Their mean is 3, so that the first and the last are low; the third is not below it."""
ALL = torch.arange(4)


def _epoch(policy: InfoBatch, losses: Tensor = LOSSES) -> tuple[Tensor, Tensor]:
    """An epoch of one batch: the mask, and what is averaged over the images kept."""
    policy.start_epoch()
    kept = policy.keep(torch.zeros(4, 1, 1, 1), torch.zeros(4).long(), ALL)
    return kept, policy.weigh(losses[kept], ALL[kept])


def test_infobatch_by_hand() -> None:
    """A quarter of the two low images is left out; what stays of them counts 4/3.

    The mean over k of 4 images is multiplied by k / 4: a sum over the batch divided by its size.
    """
    policy = InfoBatch(4, epochs=8, seed=6, ratio=0.25)
    draws = torch.Generator().manual_seed(6)
    for epoch in range(1, 9):
        draw = torch.rand(4, generator=draws, dtype=torch.float64)
        kept, weighed = _epoch(policy)
        expected = [True, True, True, True]
        weight = torch.ones(4, dtype=torch.float64)
        if 2 <= epoch <= 7:  # nothing is known in the first; 0.875 of eight epochs are seven
            expected = [bool(draw[0] >= 0.25), True, True, bool(draw[3] >= 0.25)]
            weight = torch.tensor([4 / 3, 1, 1, 4 / 3], dtype=torch.float64)
        assert kept.tolist() == expected
        torch.testing.assert_close(weighed, (weight * LOSSES)[kept] * sum(expected) / 4)


def test_infobatch_remembers_the_loss_of_an_image_left_out() -> None:
    """The one image below the mean can be left out of two epochs in a row; others never are."""
    policy = InfoBatch(4, epochs=100, seed=0, ratio=0.5)
    _epoch(policy)
    fallen = torch.tensor([1.0, 1.5, 1.5, 1.5], dtype=torch.float64)
    left_out = torch.stack([~_epoch(policy, fallen)[0] for _ in range(60)])
    assert 15 < left_out[:, 0].sum() < 45
    assert (left_out[1:, 0] & left_out[:-1, 0]).any()
    assert not left_out[:, 1:3].any()


def test_infobatch_expects_the_plain_mean_loss() -> None:
    """Unbiased: the mean over 4000 epochs, within five standard errors."""
    policy = InfoBatch(4, epochs=10_000, seed=1)
    _epoch(policy)
    means = torch.stack([_epoch(policy)[1].mean() for _ in range(4000)])
    assert means.std() > 0.1
    assert (means.mean() - LOSSES.mean()).abs() <= 5 * means.std() / 4000**0.5


def test_infobatch_that_leaves_nothing_out_is_plain_training() -> None:
    images, labels = toy.random_images(20), toy.random_labels(20)
    config = TrainConfig(epochs=3, batch_size=6, micro_batch=4)
    weighed, plain = toy.diagonal_cnn(), toy.diagonal_cnn()
    policy = InfoBatch(20, epochs=3, seed=0, ratio=0)
    found = fit(weighed, images, labels, config, policy=policy)
    expected = fit(plain, images, labels, config)
    assert [e.loss for e in found.epochs] == pytest.approx([e.loss for e in expected.epochs])
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(weighed.state_dict()[name], value, rtol=1e-12, atol=1e-14)


def test_infobatch_leaves_out_in_training_between_the_first_and_the_last_epochs() -> None:
    """Eight epochs: none is left out in the first and in the eighth, some in the others."""
    images, labels = toy.random_images(60), toy.random_labels(60)
    policy = InfoBatch(60, epochs=8, seed=0)
    history = fit(
        toy.diagonal_cnn(), images, labels, TrainConfig(epochs=8, batch_size=20), policy=policy
    )
    skipped = [epoch.skipped for epoch in history.epochs]
    assert skipped[0] == skipped[7] == 0
    assert all(5 <= count <= 40 for count in skipped[1:7])
    assert [epoch.policy for epoch in history.epochs] == [{}] * 8


@pytest.mark.parametrize("ratio", [-0.1, 1.0, math.nan])
def test_infobatch_refuses_a_ratio_that_leaves_nothing(ratio: float) -> None:
    with pytest.raises(ValueError, match=f"ratio is {ratio}; give a share from 0, below 1"):
        InfoBatch(4, epochs=1, seed=0, ratio=ratio)


@pytest.mark.parametrize("delta", [-0.1, 1.1, math.nan])
def test_infobatch_refuses_a_delta_that_is_no_share(delta: float) -> None:
    with pytest.raises(ValueError, match=f"delta is {delta}; give a share from 0 to 1"):
        InfoBatch(4, epochs=1, seed=0, delta=delta)
