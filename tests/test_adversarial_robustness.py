"""The signs of gradient masking: seen on a network that hides its gradients, and on it alone."""

from collections import OrderedDict
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from fmlib import chapters
from fmlib.experiments import adversarial_robustness
from fmlib.experiments.adversarial_robustness import (
    Own,
    Perturbation,
    Robustness,
    Trained,
    Victim,
)
from fmlib.tables import masking
from fmlib.tables.adversarial_robustness import SIGNS_OF_MASKING
from tests import toy

ROWS = [[1.0, 1.0, -1.0, -1.0], [-1.0, -1.0, 1.0, 1.0]]


class Round(nn.Module):
    """Rounds every pixel to 0 or 1; its derivative is zero wherever it exists."""

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) of zeros and ones."""
        return images.round()


def half_bright(count: int) -> tuple[Tensor, Tensor]:
    """Images of 2x2 pixels: the upper row is brighter than the lower (class 0), or darker."""
    labels = torch.arange(count) % 2
    upper = torch.where(labels == 0, 0.7, 0.3).to(toy.DTYPE).reshape(-1, 1, 1, 1)
    images = torch.cat([upper, 1 - upper], dim=2).repeat(1, 1, 1, 2)  # (N, 1, 2, 2)
    return images, labels


@pytest.fixture(scope="module")
def run() -> Robustness:
    """A network that rounds first in the place of the base model, beside two that do not."""
    open_one = toy.linear_net(ROWS)
    hidden = nn.Sequential(OrderedDict(round=Round(), **dict(open_one.named_children())))
    models: dict[Victim, nn.Sequential] = {"base": hidden, "maps": open_one, "originals": open_one}
    settings = chapters.settings(
        "adversarial_robustness", "smoke", epsilons=[0.25], curve=[0.1], queries=50, restarts=1
    )
    clean: dict[Victim, float] = dict.fromkeys(models, 100.0)
    trained = Trained(models, *half_bright(20), clean, None)
    return adversarial_robustness.measure(trained, settings, seed=0)


def test_hidden_gradients_look_like_robustness_to_every_gradient(run: Robustness) -> None:
    gradients: tuple[Perturbation, ...] = ("fgsm on base", "own fgsm", "own pgd")
    for attack in gradients:
        assert run.accuracy(attack, 0.25, "base") == 100
    assert run.accuracy("own squares", 0.25, "base") == 0
    assert run.accuracy("fgsm on maps", 0.25, "base") == 0
    for attack in get_args(Own):
        assert run.accuracy(attack, 0.25, "maps") == 0


def test_masking_is_seen_where_gradients_are_hidden_and_only_there(run: Robustness) -> None:
    assert run.masking("base", 0.25) == {
        "iterated": (100, 100),
        "transfer": (100, 0),
        "gradient-free": (run.accuracy("own restarts", 0.25, "base"), 0),
        "no gradient": (100, 0),
        "eps 1": (100, 50),
        "eps 1 iterated": (run.accuracy("own restarts", 1.0, "base"), 50),
    }
    table = masking([run], 0.25)
    seen = table[table["Seen"] != "no"]
    assert set(seen["Seen"]) == {"yes, 1 of 1"}
    assert set(seen["Model"]) == {"base model"}
    # One path of PGD is no weaker than FGSM: neither moves at all.
    names = [name for sign, name in SIGNS_OF_MASKING.items() if sign != "iterated"]
    assert seen["Sign of masking"].tolist() == names


def test_one_model_alone_right_is_counted_image_by_image(run: Robustness) -> None:
    outcome = run.outcome("fgsm on base", 0.25)
    assert (outcome.n, outcome.only_base, outcome.only_maps) == (20, 0, 0)
    outcome = run.outcome("own fgsm", 0.25)
    assert (outcome.n, outcome.only_base, outcome.only_maps) == (20, 20, 0)
