"""Signs of gradient masking, seen where gradients are hidden alone; recorded attacks."""

from collections import OrderedDict
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from fmlib import chapters
from fmlib.experiments import adversarial_robustness
from fmlib.experiments.adversarial_robustness import (
    VICTIMS,
    Attacks,
    AttacksRun,
    Own,
    Perturbation,
    Robustness,
    RobustnessRun,
    Trained,
    Victim,
)
from fmlib.experiments.feature_map_regularization import MODELS
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


# --- recorded attacks ---------------------------------------------------------------------

SMALL: dict[str, Any] = {
    "dataset": "mnist", "n_train": 100, "n_test": 40, "n_held_out": 30, "seed": 1,
    "precision": "float64", "input_scale": "unit", "learning_rate": 0.1, "batch_size": 10,
    "epochs": 2, "map_epochs": 1, "map_images": 4, "n_attacked": 20, "pgd_steps": 10,
    "restarts": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def attacked() -> Attacks:
    """A tiny recorded run."""
    return AttacksRun(epsilons=(0.1,), curve=(0.05, 1.0), queries=20, **SMALL).run()


def test_recorded_attacks_meet_the_models_of_figure_10(attacked: Attacks) -> None:
    """Base model, map model and control are those of the other recorded runs of that seed."""
    other = RobustnessRun(epsilons=(0.05, 1.0), **SMALL).run()
    assert tuple(attacked.test_accuracy) == MODELS
    for name in VICTIMS:
        assert attacked.test_accuracy[name] == other.test_accuracy[name]
    compared = [j for j in attacked.judgements if not j.perturbation.startswith("own")]
    assert len(compared) == 1 + 2 * 2
    for judgement in compared:
        outcome = other.outcome(judgement.perturbation, judgement.eps)
        assert judgement.n == outcome.n == 30
        for name in VICTIMS:
            assert judgement.accuracy[name] == outcome.accuracy[name]
        assert judgement.only["base"]["maps"] == outcome.only_base
        assert judgement.only["maps"]["base"] == outcome.only_maps
    assert attacked.chance == other.chance
    assert attacked.divergences == {}


def test_each_model_is_attacked_by_itself(attacked: Attacks) -> None:
    found = {(j.perturbation, j.eps): j for j in attacked.judgements}
    own = [key for key in found if key[0].startswith("own")]
    assert own == [
        *(("own fgsm", 0.05), ("own fgsm", 1.0), ("own restarts", 0.1), ("own squares", 0.1))
    ]
    assert found["own squares", 0.1].n == found["own restarts", 0.1].n == 20
    for eps in (0.05, 1.0):
        by_base = found["fgsm on base", eps]
        assert found["own fgsm", eps].accuracy["base"] == by_base.accuracy["base"]
    for name in MODELS:
        assert found["own fgsm", 0.05].accuracy[name] <= found["unchanged", 0.0].accuracy[name]


def test_counts_of_images_that_one_model_alone_gets_right_add_up(attacked: Attacks) -> None:
    for judgement in attacked.judgements:
        right = {name: share * judgement.n / 100 for name, share in judgement.accuracy.items()}
        for one, others in judgement.only.items():
            assert list(others) == [name for name in MODELS if name != one]
            for other, count in others.items():
                both = right[one] - count
                assert both == pytest.approx(right[other] - judgement.only[other][one])
                assert -1e-9 <= both <= judgement.n


def test_only_by_hand() -> None:
    one, other = torch.tensor([True, True, False, True]), torch.tensor([True, False, True, False])
    assert adversarial_robustness._only(one, other) == 2
    assert adversarial_robustness._only(other, one) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_attacked": 31}, "n_attacked is 31; give at most n_held_out = 30"),
        ({"map_images": 101}, "map_images is 101; give at most n_train = 100"),
        ({"curve": (1.5,)}, "less than or equal to 1"),
    ],
)
def test_recorded_attacks_refuse(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AttacksRun.model_validate({**SMALL, **values})


# --- growing eps --------------------------------------------------------------------------


def test_a_sweep_turns_answers_where_eps_outgrows_the_margin() -> None:
    """Rows of 0.7 and 0.3 change places at eps 0.2, by a gradient that the other model reverses."""
    open_one, reverse = toy.linear_net(ROWS), toy.linear_net(ROWS[::-1])
    images, labels = half_bright(4)
    models: dict[Victim, nn.Sequential] = {"base": open_one, "maps": reverse}
    trained = Trained(models, images, labels, dict.fromkeys(models, 0.0), None)
    found = adversarial_robustness.sweep(trained, images, labels, 0.3)
    assert found.epsilons[:3] == (0.0, 0.01, 0.02)
    assert found.epsilons[-1] == 0.3
    right = found.seen["base", "base"] == labels[:, None]
    assert right[:, :20].all()
    assert not right[:, 21:].any()
    assert (found.signs["base"] == -found.signs["maps"]).all()
    assert (found.seen["maps", "base"] == labels[:, None]).all()
    assert (found.seen["base", "maps"] != found.seen["base", "base"])[:, :20].all()
    # Class sums are +-0.8 at first and sure to 1 / (1 + exp(-1.6)).
    first = torch.full((4,), 1.6, dtype=toy.DTYPE).sigmoid()
    assert found.sure["base", "base"][:, 0] == pytest.approx(first)


def test_the_examples_of_the_chapter_are_those_of_the_sweep() -> None:
    settings = chapters.settings("adversarial_robustness", "smoke", queries=1)
    trained = adversarial_robustness.train(settings, seed=0)
    found = adversarial_robustness._examples(trained, settings, seed=0)
    assert torch.equal(found.sweep.images, found.images[0])
    eps = found.sweep.epsilons.index(max(settings.epsilons))
    rows: dict[Victim, str] = {"base": "FGSM by base model", "maps": "FGSM by map model"}
    for model in rows:
        assert torch.equal(found.sweep.seen["base", model][:, 0], found.predictions[model][0])
    for source, row in rows.items():
        for judge in rows:
            seen = found.sweep.seen[source, judge][:, eps]
            assert torch.equal(seen, found.predictions[judge][found.kinds.index(row)])
