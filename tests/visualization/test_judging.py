"""The judge: what it says by hand, for logits and log-probabilities."""

import math

import pytest
import torch
from torch import Tensor, nn

from fmlib.models import compact_cnn
from fmlib.visualization.judging import judge
from tests import toy

NET = [[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]


def test_judgement_by_hand() -> None:
    """Logit 4 x for class 0 and 0 for class 1; the probability of class 0 is 1/(1 + e^-4x)."""
    values = [0.5, 0.25, -0.5, 1.0]
    found = judge(toy.linear_net(NET), toy.flat_images(*values), torch.tensor([0, 1, 1, 0]))
    assert found.predicted.tolist() == [0, 0, 1, 0]
    first = torch.sigmoid(4 * torch.tensor(values, dtype=torch.float64))
    expected = [first[0], 1 - first[1], 1 - first[2], first[3]]
    assert found.probability.tolist() == pytest.approx([p.item() for p in expected])
    assert (found.agreement, found.n) == (75.0, 4)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(0, 4, 0, 1 - 0.025 ** (1 / 4)), (4, 4, 0.025 ** (1 / 4), 1), (1, 1, 0.025, 1)],
)
def test_interval_by_hand(right: int, n: int, low: float, high: float) -> None:
    """All right: the share p that all n are right with a chance of 2.5 % is 0.025^(1/n)."""
    labels = torch.tensor([0] * right + [1] * (n - right))
    found = judge(toy.linear_net(NET), toy.flat_images(*[0.5] * n), labels)
    assert (found.low, found.high) == pytest.approx((100 * low, 100 * high))


def test_interval_of_a_middling_share_leaves_two_and_a_half_percent_on_either_side() -> None:
    labels = torch.tensor([0] * 7 + [1] * 3)
    found = judge(toy.linear_net(NET), toy.flat_images(*[0.5] * 10), labels)

    def upper_tail(p: float, least: int) -> float:
        return sum(math.comb(10, k) * p**k * (1 - p) ** (10 - k) for k in range(least, 11))

    assert upper_tail(found.low / 100, 7) == pytest.approx(0.025, rel=1e-5)
    assert 1 - upper_tail(found.high / 100, 8) == pytest.approx(0.025, rel=1e-5)


def test_logits_and_log_probabilities_are_judged_alike() -> None:
    model = compact_cnn((1, 8, 8), 3, dtype=torch.float64)
    pictures, labels = toy.random_images(5, size=8), toy.random_labels(5, 3)
    with_softmax, logits = judge(model, pictures, labels), judge(model[:-1], pictures, labels)
    assert torch.equal(with_softmax.predicted, logits.predicted)
    assert torch.allclose(with_softmax.probability, logits.probability)


def test_pictures_of_another_type_are_judged_and_nothing_changes() -> None:
    model = nn.Sequential(nn.Dropout(0.9), compact_cnn((1, 8, 8), 3)).train()
    before = toy.snapshot(model)
    pictures, labels = toy.random_images(5, size=8), toy.random_labels(5, 3)
    first, second = judge(model, pictures, labels), judge(model, pictures, labels, chunk=2)
    assert first.probability.dtype == torch.float32
    assert torch.allclose(first.probability, second.probability)
    assert not first.probability.requires_grad
    assert toy.unchanged(model, before)
    assert model.training


@pytest.mark.parametrize(
    ("pictures", "labels", "message"),
    [
        (toy.flat_images(0.1, 0.2), torch.tensor([0]), "2 pictures and 1 labels"),
        (toy.flat_images(), torch.tensor([], dtype=torch.long), "0 pictures and 0 labels"),
        (toy.flat_images(0.1), torch.tensor([2]), "contain 2, but the model has classes 0 to 1"),
        (toy.flat_images(0.1), torch.tensor([-1]), "contain -1, but"),
        (toy.random_images(1), torch.tensor([0]), "takes no pictures of 1x6x6"),
    ],
)
def test_bad_input_is_refused(pictures: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        judge(toy.linear_net(NET), pictures, labels)
