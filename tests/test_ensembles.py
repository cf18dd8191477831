"""Models trained at once, against each of them trained alone."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fmlib.caching import CacheConfig, FeatureCache
from fmlib.ensembles import fit_many
from fmlib.models import base_cnn, scale_layer
from fmlib.skipping import RandomSkip
from fmlib.training import History, Policy, Report, TrainConfig, fit
from tests import toy

SEEDS = (3, 0, 11)
IMAGES, LABELS = toy.random_images(23, size=16), toy.random_labels(23, 3)
TEST = toy.random_images(30, seed=5, size=16), toy.random_labels(30, 3)
CONFIG = TrainConfig(epochs=3, batch_size=8, learning_rate=0.05, micro_batch=5)
MakePolicy = Callable[[nn.Module, int], Policy]


def _models(**settings: Any) -> list[nn.Module]:
    """One network per seed; 23 images in batches of 8 leave 7 for the last step of an epoch."""
    unit = scale_layer("unit", torch.float64)
    chosen: dict[str, Any] = {"dtype": torch.float64, "scale": unit} | settings
    return [base_cnn((1, 16, 16), 3, seed=seed, **chosen) for seed in SEEDS]


def _assert_close(found: object, expected: object) -> None:
    """Equal numbers up to rounding, and everything else equal, in nested records."""
    if isinstance(expected, dict) and isinstance(found, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            _assert_close(found[key], expected[key])
    elif isinstance(expected, list | tuple) and isinstance(found, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            _assert_close(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-9)
    else:
        assert found == expected


def _assert_equal_to_serial(
    config: TrainConfig,
    make_policy: MakePolicy | None = None,
    images: Tensor = IMAGES,
) -> list[History]:
    """Train at once and one by one; weights, histories and policies must agree."""
    at_once, alone = _models(), _models()
    policies, serial = (
        [make_policy(m, s) for m, s in zip(models, SEEDS, strict=True)] if make_policy else None
        for models in (at_once, alone)
    )
    found = fit_many(at_once, images, LABELS, config, SEEDS, policies=policies, test=TEST)
    for i, (model, seed) in enumerate(zip(alone, SEEDS, strict=True)):
        expected = fit(
            model,
            images,
            LABELS,
            config.model_copy(update={"seed": seed}),
            policy=serial[i] if serial else None,
            test=TEST,
        )
        without = {"epochs": {"__all__": {"seconds"}}}
        _assert_close(found[i].model_dump(exclude=without), expected.model_dump(exclude=without))
        for name, weights in model.state_dict().items():
            torch.testing.assert_close(
                at_once[i].state_dict()[name], weights, rtol=1e-9, atol=1e-12
            )
    return found


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("micro_batch", [5, 50])
def test_each_model_is_trained_as_alone(momentum: float, micro_batch: int) -> None:
    update = {"momentum": momentum, "micro_batch": micro_batch}
    histories = _assert_equal_to_serial(CONFIG.model_copy(update=update))
    assert [epoch.steps for epoch in histories[0].epochs] == [3, 3, 3]
    losses = [history.epochs[-1].loss for history in histories]
    assert len(set(losses)) == len(SEEDS)


def test_one_model_and_the_configs_seed() -> None:
    """Only `seeds` orders the batches."""
    (model, *_), (alone, *_) = _models(), _models()
    fit_many([model], IMAGES, LABELS, CONFIG.model_copy(update={"seed": 99}), [3])
    fit(alone, IMAGES, LABELS, CONFIG.model_copy(update={"seed": 3}))
    for name, weights in alone.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], weights, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_random_skips_are_those_of_each_model_alone(momentum: float) -> None:
    """At these rates the three models keep different numbers of images, and sometimes none."""
    histories = _assert_equal_to_serial(
        CONFIG.model_copy(update={"momentum": momentum, "batch_size": 3}),
        lambda model, seed: RandomSkip([[0.2, 0.5, 0.7], [0.9, 0.8, 0.9]], seed),
    )
    assert len({epoch.skipped for history in histories for epoch in history.epochs}) > 3
    assert any(epoch.steps < 8 for history in histories for epoch in history.epochs)


def test_nothing_is_trained_when_everything_is_skipped() -> None:
    models, before = _models(), [toy.snapshot(model) for model in _models()]
    policies = [RandomSkip([[1.0] * 3], seed) for seed in SEEDS]
    histories = fit_many(models, IMAGES, LABELS, CONFIG, SEEDS, policies=policies)
    assert all(toy.unchanged(m, b) for m, b in zip(models, before, strict=True))
    for history in histories:
        assert history.divergence is None
        assert [(epoch.trained, epoch.steps, epoch.loss) for epoch in history.epochs] == [
            (0, 0, None)
        ] * 3


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_caches_see_the_current_weights_of_their_models(momentum: float) -> None:
    """Two classes, so that no first batch lacks one; hits depend on the weights of every step."""
    config = CacheConfig(missing_class="ignore", hit="nearest")
    histories = _assert_equal_to_serial(
        CONFIG.model_copy(update={"momentum": momentum}),
        lambda model, seed: FeatureCache(model, 3, config, image_shape=(1, 16, 16)),
    )
    hits = [sum(h or 0 for h in epoch.policy["hits"]) for epoch in histories[0].epochs]
    assert all(0 < epoch_hits < len(IMAGES) for epoch_hits in hits)


def test_some_models_may_train_on_all_images() -> None:
    models, alone = _models(), _models()
    rates = [[0.6, 0.1, 0.4]]
    policies = [None, RandomSkip(rates, seed=1), None]
    fit_many(models, IMAGES, LABELS, CONFIG, SEEDS, policies=policies)
    for model, seed, policy in zip(alone, SEEDS, (None, RandomSkip(rates, 1), None), strict=True):
        fit(model, IMAGES, LABELS, CONFIG.model_copy(update={"seed": seed}), policy=policy)
    for one, other in zip(models, alone, strict=True):
        for name, weights in other.state_dict().items():
            torch.testing.assert_close(one.state_dict()[name], weights, rtol=1e-9, atol=1e-12)


class SkipsUndefined(RandomSkip):
    """Skips three in ten images, and every undefined one; the second model only for an epoch."""

    def __init__(self, seed: int) -> None:
        super().__init__([[0.3] * 3], seed)
        self.careful, self.epochs, self.steps = seed != SEEDS[1], 0, 0

    def start_epoch(self) -> None:
        super().start_epoch()
        self.epochs += 1

    def keep(self, images: Tensor, labels: Tensor, index: Tensor | None = None) -> Tensor:
        kept = super().keep(images, labels, index)
        defined = images[index].isfinite().all(dim=(1, 2, 3))
        return kept & defined if self.careful or self.epochs == 1 else kept

    def after_step(
        self, images: Tensor, labels: Tensor, kept: Tensor, index: Tensor | None = None
    ) -> None:
        self.steps += 1

    def report(self) -> Report:
        return {"steps": [float(self.steps)]}


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_a_diverging_model_stops_where_it_would_alone(momentum: float) -> None:
    images = IMAGES.clone()
    images[::6] = torch.nan
    histories = _assert_equal_to_serial(
        CONFIG.model_copy(update={"momentum": momentum}),
        lambda model, seed: SkipsUndefined(seed),
        images=images,
    )
    stops = [history.divergence and history.divergence.epoch for history in histories]
    assert stops == [None, 2, None]
    assert [len(history.epochs) for history in histories] == [3, 2, 3]


def test_an_undefined_image_that_is_skipped_harms_nobody() -> None:
    """Class 2 is NaN; two models skip it, and the third one trains on it and stops at once."""
    images = IMAGES.clone()
    images[LABELS == 2] = torch.nan
    models, before = _models(), toy.snapshot(_models()[2])
    policies = [RandomSkip([[0.0, 0.0, float(skip)]], seed=0) for skip in (1, 1, 0)]
    histories = fit_many(models, images, LABELS, CONFIG, SEEDS, policies=policies)
    assert [history.divergence is None for history in histories] == [True, True, False]
    assert toy.unchanged(models[2], before)
    assert all(weights.isfinite().all() for m in models[:2] for weights in m.parameters())
    alone = _models()[0]
    policy = RandomSkip([[0.0, 0.0, 1.0]], seed=0)
    fit(alone, images, LABELS, CONFIG.model_copy(update={"seed": SEEDS[0]}), policy=policy)
    for name, weights in alone.state_dict().items():
        torch.testing.assert_close(models[0].state_dict()[name], weights, rtol=1e-9, atol=1e-12)


def test_models_own_their_weights_afterwards() -> None:
    """A saved model must not carry the others' weights with it."""
    models = _models()
    fit_many(models, IMAGES, LABELS, CONFIG, SEEDS)
    for model in models:
        for weights in model.parameters():
            assert weights.untyped_storage().nbytes() == weights.nbytes
            assert weights.grad is None
            assert weights.requires_grad


def test_the_global_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    fit_many(_models(), IMAGES, LABELS, CONFIG, SEEDS)
    assert torch.equal(torch.random.get_rng_state(), before)


ONE = _models()[0]


@pytest.mark.parametrize(
    ("models", "images", "seeds", "policies", "message"),
    [
        (
            _models(),
            IMAGES,
            [1, 2],
            None,
            "3 different models, 2 seeds and 3 policies; give as many",
        ),
        (
            _models(),
            IMAGES,
            SEEDS,
            [None],
            "3 different models, 3 seeds and 1 policies; give as many",
        ),
        (
            [],
            IMAGES,
            [],
            None,
            "0 different models, 0 seeds and 0 policies; give as many of each, at",
        ),
        ([ONE, ONE], IMAGES, [1, 2], None, "1 different models, 2 seeds and 2 policies"),
        ([ONE, *_models(activation="leaky_relu")[:1]], IMAGES, [1, 2], None, "models differ in"),
        ([ONE, *_models(dtype=torch.float32)[:1]], IMAGES, [1, 2], None, "models differ in"),
        ([ONE, base_cnn((1, 16, 16), 4)], IMAGES, [1, 2], None, "models differ in layers"),
        (_models(), IMAGES[:2], SEEDS, None, "there are 2 images and 23 labels; give as many"),
    ],
)
def test_refusals(
    models: list[nn.Module],
    images: Tensor,
    seeds: list[int],
    policies: list[Policy | None] | None,
    message: str,
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        fit_many(models, images, LABELS, CONFIG, seeds, policies=policies)
