"""The training loop, against NumPy and against itself cut in other ways."""

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fmlib import data, models
from fmlib.caching import FeatureCache
from fmlib.models import base_cnn, scale_layer
from fmlib.skipping import RandomSkip
from fmlib.training import (
    Divergence,
    History,
    TrainConfig,
    evaluate,
    evaluating,
    fit,
    predict,
)
from tests import toy

SMALL = ("base_cnn", "fashion_cnn", "deep_cnn", "compact_cnn")
"""Networks that take digits; in float32 the last one's rounding is amplified too much."""
ROWS = [[0.1, -0.2, 0.3, 0.0], [0.0, 0.2, -0.1, 0.1], [0.3, 0.1, 0.0, -0.3]]


def _without_seconds(history: History) -> dict[str, Any]:
    return history.model_dump(exclude={"epochs": {"__all__": {"seconds", "policy"}}})


def _sgd_by_numpy(
    images: NDArray[np.float64], labels: NDArray[np.int64], config: TrainConfig
) -> tuple[NDArray[np.float64], list[float]]:
    """Weights and mean losses per epoch of softmax regression, its gradient written out."""
    weights, velocity = np.array(ROWS), np.zeros((3, 4))
    order, losses = torch.Generator().manual_seed(config.seed), []
    for _ in range(config.epochs):
        positions = torch.randperm(len(labels), generator=order).numpy()
        steps = []
        for start in range(0, len(labels), config.batch_size):
            chosen = positions[start : start + config.batch_size]
            x, y = images[chosen], labels[chosen]
            p = np.exp(x @ weights.T)
            p /= p.sum(axis=1, keepdims=True)
            steps.append(-np.log(p[np.arange(len(y)), y]).mean())
            p[np.arange(len(y)), y] -= 1
            velocity = config.momentum * velocity + p.T @ x / len(y)
            weights = weights - config.learning_rate * velocity
        losses.append(float(np.mean(steps)))
    return weights, losses


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_against_numpy(momentum: float) -> None:
    """Weights and losses of three epochs with a short last batch."""
    config = TrainConfig(epochs=3, batch_size=4, learning_rate=0.5, momentum=momentum, seed=2)
    images, labels = toy.random_images(10, size=2), toy.random_labels(10, 3)
    model = toy.linear_net(ROWS)
    history = fit(model, images, labels, config)
    weights, losses = _sgd_by_numpy(images.flatten(1).numpy(), labels.numpy(), config)
    np.testing.assert_allclose(model.state_dict()["fc1.weight"].numpy(), weights, rtol=1e-12)
    assert [epoch.loss for epoch in history.epochs] == pytest.approx(losses, rel=1e-12)
    assert [epoch.steps for epoch in history.epochs] == [3, 3, 3]
    assert [epoch.epoch for epoch in history.epochs] == [1, 2, 3]


def test_penalty_is_lowered_beside_the_loss_once_a_step() -> None:
    """One step on a penalty of the weights and images, its gradient by hand."""
    images, labels = toy.random_images(4, size=2), toy.random_labels(4, 3)
    plain, penalized = toy.linear_net(ROWS), toy.linear_net(ROWS)
    config = TrainConfig(epochs=1, batch_size=4, learning_rate=0.5, micro_batch=2)
    seen = []

    def penalty(model: nn.Module, batch: Tensor) -> Tensor:
        seen.append(len(batch))
        return 3 * model.get_parameter("fc1.weight").square().sum() / 2

    history = fit(plain, images, labels, config)
    assert fit(penalized, images, labels, config, penalty=penalty).epochs[0].loss == (
        history.epochs[0].loss
    )
    assert seen == [4]
    expected = plain.get_parameter("fc1.weight") - 0.5 * 3 * torch.tensor(ROWS).double()
    torch.testing.assert_close(penalized.get_parameter("fc1.weight"), expected)


def test_micro_batches_equal_whole_batches() -> None:
    images, labels = toy.random_images(20, size=28), toy.random_labels(20, 10)
    whole, parts = base_cnn(dtype=torch.float64), base_cnn(dtype=torch.float64)
    config = TrainConfig(epochs=2, batch_size=8, learning_rate=1e-4)
    expected = fit(whole, images, labels, config)
    found = fit(parts, images, labels, config.model_copy(update={"micro_batch": 3}))
    for name, value in whole.state_dict().items():
        assert torch.allclose(parts.state_dict()[name], value, rtol=0, atol=1e-12)
    for one, other in zip(found.epochs, expected.epochs, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-12)


def test_seed_decides_the_history() -> None:
    images, labels = toy.random_images(12), toy.random_labels(12)

    def run(seed: int) -> dict[str, Any]:
        config = TrainConfig(epochs=2, batch_size=5, seed=seed)
        model = toy.diagonal_cnn()
        return _without_seconds(fit(model, images, labels, config, test=(images, labels)))

    assert run(0) == run(0)
    assert run(0) != run(1)


def test_training_learns_and_leaves_the_global_generator_alone() -> None:
    """Two classes that differ in one pixel are told apart; chance is about 50 %."""
    images = toy.random_images(40, size=2)
    labels = (images[:, 0, 0, 0] > 0.5).long()
    model, before = toy.linear_net([[0.0] * 4] * 2), torch.random.get_rng_state()
    config = TrainConfig(epochs=300, batch_size=10, learning_rate=1.0)
    history = fit(model, images - 0.5, labels, config, test=(images - 0.5, labels))
    assert history.test_accuracies[-1] >= 95
    assert torch.equal(torch.random.get_rng_state(), before)


def test_counts_per_class() -> None:
    images, labels = toy.random_images(5), torch.tensor([0, 1, 1, 2, 1])
    model = toy.linear_net([[0.0] * 36] * 3)
    (epoch,) = fit(model, images, labels, TrainConfig(epochs=1, batch_size=2)).epochs
    assert epoch.seen_per_class == (1, 3, 1)
    assert epoch.skipped_per_class == (0, 0, 0)
    assert (epoch.seen, epoch.trained, epoch.skipped, epoch.steps) == (5, 5, 0, 3)
    assert epoch.test_accuracy is None
    assert epoch.policy == {}
    assert epoch.seconds > 0


def test_accuracy_is_counted_over_images() -> None:
    """256 right and 44 wrong are 85.3 %; the mean over chunks of 256 would be 50 %."""
    model = toy.linear_net([[1, 1, 1, 1], [-1, -1, -1, -1]])
    labels = torch.zeros(300, dtype=torch.long)
    labels[256:] = 1
    images = torch.ones(300, 1, 2, 2, dtype=torch.float64)
    assert evaluate(model, images, labels) == pytest.approx(100 * 256 / 300, rel=1e-15)


def test_predictions_do_not_depend_on_the_chunk() -> None:
    images = toy.random_images(9)
    whole = predict(toy.diagonal_cnn(), images)
    assert set(whole.tolist()) == {0, 1}
    for chunk in (1, 2, 4):
        assert torch.equal(predict(toy.diagonal_cnn(), images, chunk), whole)


class FailsAt(nn.Module):
    """Multiplies by NaN or infinity at one forward pass and keeps the weights it had then."""

    def __init__(self, model: nn.Module, call: int, factor: float) -> None:
        super().__init__()
        self.model, self.call, self.factor = model, call, factor
        self.calls, self.weights = 0, dict[str, Tensor]()

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        if self.calls != self.call:
            return torch.as_tensor(self.model(images))
        self.weights = toy.snapshot(self.model)
        return torch.as_tensor(self.model(images) * self.factor)


def _losses_of_a_plain_loop(
    model: nn.Module, images: Tensor, labels: Tensor, config: TrainConfig
) -> list[float]:
    """Whole batches, contiguous memory, one step after another."""
    order = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=config.learning_rate)
    losses = []
    for _ in range(config.epochs):
        found = []
        for batch in torch.randperm(len(images), generator=order).split(config.batch_size):
            optimizer.zero_grad()
            loss = nn.functional.nll_loss(model(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        losses.append(sum(found) / len(found))
    return losses


@pytest.mark.parametrize(
    ("network", "dtype", "tolerance"),
    [
        *((name, torch.float64, 1e-11) for name in SMALL),
        *((name, torch.float32, 1e-3) for name in SMALL[:3]),
    ],
    ids=str,
)
def test_fit_equals_a_plain_loop_over_whole_batches(
    network: models.ModelName, dtype: torch.dtype, tolerance: float
) -> None:
    """Micro-batches, memory layout and pooling change nothing but the rounding."""
    digits = data.load("mnist", 300, 10, dtype=dtype)
    images, labels = digits.train_images, digits.train_labels
    fast, plain = (
        models.NETWORKS[network](digits.image_shape, dtype=dtype, scale=scale_layer("unit", dtype))
        for _ in range(2)
    )
    for name, layer in list(plain.named_children()):
        if isinstance(layer, nn.MaxPool2d):
            setattr(plain, name, nn.MaxPool2d(2))
    nn.utils.convert_conv2d_weight_memory_format(plain, torch.contiguous_format)
    config = TrainConfig(epochs=2, batch_size=130, learning_rate=0.1)
    expected = _losses_of_a_plain_loop(plain, images, labels, config)
    found = fit(fast, images, labels, config)
    assert [e.loss for e in found.epochs] == pytest.approx(expected, rel=tolerance)
    for mine, theirs in zip(fast.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(mine, theirs, rtol=tolerance, atol=tolerance / 10)


def test_bf16_is_near_float32_and_only_for_it() -> None:
    digits = data.load("mnist", 200, 10, dtype=torch.float32)
    images, labels = digits.train_images, digits.train_labels
    config = TrainConfig(epochs=1, batch_size=100, learning_rate=0.1)
    exact, rough = (
        fit(models.base_cnn(scale=scale_layer("unit", torch.float32)), images, labels, c)
        .epochs[0]
        .loss
        for c in (config, config.model_copy(update={"bf16": True}))
    )
    assert exact != rough
    assert rough == pytest.approx(exact, rel=1e-2)
    with pytest.raises(ValueError, match=r"bf16 is for float32 .* torch.float64"):
        fit(models.base_cnn(), images.double(), labels, config.model_copy(update={"bf16": True}))


@pytest.mark.parametrize("micro_batch", [1, 2, 256])
@pytest.mark.parametrize(("factor", "loss"), [(float("nan"), "nan"), (float("inf"), "inf")])
def test_divergence_says_where_and_leaves_the_weights(
    micro_batch: int, factor: float, loss: str
) -> None:
    """12 images in batches of 4; the third batch of the second epoch fails."""
    batch_passes = -(-4 // micro_batch)
    model = FailsAt(toy.diagonal_cnn(), call=5 * batch_passes + 1, factor=factor)
    config = TrainConfig(epochs=4, batch_size=4, micro_batch=micro_batch)
    images, labels = toy.random_images(12), toy.random_labels(12)
    history = fit(model, images, labels, config)
    assert history.divergence == Divergence(epoch=2, step=3, loss=loss)
    assert [epoch.loss is None for epoch in history.epochs] == [False, True]
    assert toy.unchanged(model.model, model.weights)


def test_no_divergence_by_default() -> None:
    images, labels = toy.random_images(4), toy.random_labels(4)
    assert fit(toy.diagonal_cnn(), images, labels, TrainConfig(epochs=1)).divergence is None


def test_random_skip_at_rate_0_equals_no_policy() -> None:
    images, labels = toy.random_images(12), toy.random_labels(12)
    config = TrainConfig(epochs=2, batch_size=5)
    plain, skipping = toy.diagonal_cnn(), toy.diagonal_cnn()
    expected = fit(plain, images, labels, config, test=(images, labels))
    policy = RandomSkip([[0.0, 0.0]], seed=0)
    found = fit(skipping, images, labels, config, policy=policy, test=(images, labels))
    assert _without_seconds(found) == _without_seconds(expected)
    assert toy.unchanged(skipping, toy.snapshot(plain))
    assert [epoch.policy for epoch in found.epochs] == [{"rate": [0.0, 0.0]}] * 2


def test_random_skip_at_rate_1_trains_nothing() -> None:
    images, labels = toy.random_images(12), toy.random_labels(12)
    model, before = toy.diagonal_cnn(), toy.snapshot(toy.diagonal_cnn())
    policy = RandomSkip([[1.0, 1.0]], seed=0)
    history = fit(model, images, labels, TrainConfig(epochs=2, batch_size=5), policy=policy)
    assert toy.unchanged(model, before)
    for epoch in history.epochs:
        assert (epoch.seen, epoch.trained, epoch.skipped, epoch.steps) == (12, 0, 12, 0)
        assert epoch.skipped_per_class == epoch.seen_per_class
        assert epoch.loss is None
    assert history.divergence is None


class KeepClass:
    """Keeps one class only and writes down what it was told."""

    def __init__(self, label: int) -> None:
        self.label = label
        self.calls: list[str] = []

    def start_epoch(self) -> None:
        self.calls.append("start")

    def keep(self, images: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        self.calls.append(f"keep {len(index)} of {len(images)}")
        return labels[index] == self.label

    def after_step(self, images: Tensor, labels: Tensor, kept: Tensor, index: Tensor) -> None:
        assert torch.equal(kept, labels[index] == self.label)
        self.calls.append(f"after {len(index)} of {len(images)}")

    def report(self) -> dict[str, list[float | None]]:
        return {"calls": [float(len(self.calls))]}


def test_policy_is_asked_and_told() -> None:
    """Training on one class alone equals a fit of a data set of that class."""
    images, labels = toy.random_images(6), torch.tensor([1, 0, 1, 1, 0, 1])
    masked, alone = toy.diagonal_cnn(), toy.diagonal_cnn()
    policy = KeepClass(1)
    (epoch,) = fit(
        masked, images, labels, TrainConfig(epochs=1, batch_size=6), policy=policy
    ).epochs
    fit(alone, images[labels == 1], labels[labels == 1], TrainConfig(epochs=1, batch_size=6))
    assert policy.calls == ["start", "keep 6 of 6", "after 6 of 6"]
    assert epoch.policy == {"calls": [3.0]}
    assert (epoch.trained, epoch.skipped_per_class) == (4, (2, 0))
    for name, value in alone.state_dict().items():
        assert torch.allclose(masked.state_dict()[name], value, rtol=0, atol=1e-14)


class Doubling(KeepClass):
    """Also doubles every loss and writes it down."""

    def __init__(self, label: int, count: int) -> None:
        super().__init__(label)
        self.losses = torch.full((count,), torch.nan, dtype=torch.float64)
        self.parts: list[int] = []

    def weigh(self, losses: Tensor, index: Tensor) -> Tensor:
        self.losses[index] = losses.detach()
        self.parts.append(len(index))
        return 2 * losses


def test_a_weighing_policy_sees_the_losses_and_changes_the_gradient() -> None:
    """Doubled losses are a doubled learning rate; the losses are those before the step."""
    images, labels = toy.random_images(8), torch.tensor([1, 0, 1, 1, 0, 1, 1, 0])
    doubled, faster = toy.diagonal_cnn(), toy.diagonal_cnn()
    before = nn.functional.nll_loss(toy.diagonal_cnn()(images), labels, reduction="none").detach()
    policy = Doubling(1, 8)
    config = TrainConfig(epochs=1, batch_size=8, micro_batch=2, learning_rate=0.1)
    (epoch,) = fit(doubled, images, labels, config, policy=policy).epochs
    twice = config.model_copy(update={"learning_rate": 0.2})
    (other,) = fit(faster, images, labels, twice, policy=KeepClass(1)).epochs
    for name, value in faster.state_dict().items():
        assert torch.allclose(doubled.state_dict()[name], value, rtol=0, atol=1e-14)
    assert other.loss is not None
    assert epoch.loss == pytest.approx(2 * other.loss, rel=1e-12)
    assert policy.parts == [2, 2, 1]
    assert policy.losses.isnan().tolist() == [label == 0 for label in labels.tolist()]
    kept = labels == 1
    torch.testing.assert_close(policy.losses[kept], before[kept], rtol=1e-12, atol=0)


def test_no_hooks_are_left() -> None:
    model = toy.diagonal_cnn()
    cache = FeatureCache(model, 2, image_shape=(1, 6, 6))
    images, labels = toy.random_images(6), toy.random_labels(6)
    fit(model, images, labels, TrainConfig(epochs=1), policy=cache, test=(images, labels))
    assert toy.hook_count(model) == 0


@pytest.mark.parametrize("training", [True, False])
def test_evaluating_restores_every_layers_mode(training: bool) -> None:
    model = toy.diagonal_cnn().train(training)
    model.get_submodule("act1").train(not training)
    with evaluating(model):
        assert not any(layer.training for layer in model.modules())
    modes = {name: layer.training for name, layer in model.named_children()}
    assert modes.pop("act1") is not training
    assert set(modes.values()) == {training}
    assert model.training is training


def test_evaluating_restores_the_mode_after_an_error() -> None:
    model = toy.diagonal_cnn().train()
    with pytest.raises(KeyError), evaluating(model):
        raise KeyError("stop")
    assert model.training


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"momentum": 1.0},
        {"momentum": -0.1},
        {"seed": -1},
        {"micro_batch": 0},
        {"batchsize": 64},
        {"epochs": "many"},
    ],
)
def test_config_refuses(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        TrainConfig.model_validate(settings)


def test_config_has_the_papers_defaults_and_is_frozen() -> None:
    config = TrainConfig()
    assert (config.epochs, config.batch_size, config.learning_rate) == (10, 64, 0.01)
    assert config.momentum == 0
    with pytest.raises(ValueError, match="frozen"):
        config.epochs = 3  # type: ignore[misc]


def test_refusals() -> None:
    model, images = toy.diagonal_cnn(), toy.random_images(3)
    with pytest.raises(ValueError, match="there are 3 images and 2 labels"):
        fit(model, images, torch.tensor([0, 1]), TrainConfig())
    with pytest.raises(ValueError, match="there are 0 images and 0 labels; give as many, at lea"):
        fit(model, images[:0], torch.tensor([], dtype=torch.long), TrainConfig())
    with pytest.raises(ValueError, match=re.escape("device 'tpu' is not available; choose")):
        fit(model, images, torch.tensor([0, 1, 0]), TrainConfig(device="tpu"))
    with pytest.raises(ValueError, match="there are no images to evaluate"):
        evaluate(model, images[:0], torch.tensor([], dtype=torch.long))


def test_first_step_of_adam_by_hand() -> None:
    """Adam's first step has the length of its rate in every weight, whatever the gradient."""
    images, labels = toy.random_images(4, size=2), toy.random_labels(4, 3)
    model = toy.linear_net(ROWS)
    before = model.get_parameter("fc1.weight").detach().clone()
    fit(model, images, labels, TrainConfig(epochs=1, learning_rate=0.01, optimizer="adam"))
    step = (model.get_parameter("fc1.weight").detach() - before).abs()
    assert torch.allclose(step, torch.full_like(step, 0.01), rtol=1e-4)


def test_first_step_of_adadelta_by_hand() -> None:
    """Zeiler 2012: the first step is g sqrt(1e-6) / sqrt(0.1 g² + 1e-6), near sqrt(1e-5)."""
    images, labels = toy.random_images(4, size=2), toy.random_labels(4, 3)
    model = toy.linear_net(ROWS)
    before = model.get_parameter("fc1.weight").detach().clone()
    fit(model, images, labels, TrainConfig(epochs=1, learning_rate=1.0, optimizer="adadelta"))
    step = (model.get_parameter("fc1.weight").detach() - before).abs()
    assert (step < 1e-5**0.5).all()
    assert step.max().item() == pytest.approx(1e-5**0.5, rel=0.01)


def test_momentum_is_for_sgd_alone() -> None:
    images, labels = toy.random_images(4, size=2), toy.random_labels(4, 3)
    config = TrainConfig(momentum=0.9, optimizer="adam")
    with pytest.raises(ValueError, match=r"momentum is 0\.9, which adam does not take"):
        fit(toy.linear_net(ROWS), images, labels, config)


def test_weights_without_gradients_stay() -> None:
    images, labels = toy.random_images(8), toy.random_labels(8)
    model = toy.diagonal_cnn()
    model.get_submodule("conv1").requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit(model, images, labels, TrainConfig(epochs=1, batch_size=4, optimizer="adam"))
    after = model.state_dict()
    assert torch.equal(after["conv1.weight"], before["conv1.weight"])
    assert not torch.equal(after["fc1.weight"], before["fc1.weight"])


def test_every_epoch_is_looked_at_and_changes_nothing() -> None:
    images, labels = toy.random_images(12), toy.random_labels(12)
    config = TrainConfig(epochs=3, batch_size=5, learning_rate=0.1)
    alone, watched = toy.diagonal_cnn(), toy.diagonal_cnn()
    seen: list[tuple[int, float]] = []
    expected = fit(alone, images, labels, config)
    found = fit(
        watched,
        images,
        labels,
        config,
        after_epoch=lambda epoch, model: seen.append((epoch, evaluate(model, images, labels))),
    )
    assert _without_seconds(found) == _without_seconds(expected)
    assert [epoch for epoch, _ in seen] == [1, 2, 3]
    assert seen[-1][1] == evaluate(alone, images, labels)


def test_memory_of_predictions_does_not_grow_with_the_images() -> None:
    """In a process of its own: 1,500 more colour images, 25 MB of outputs a chunk of 32."""
    code = (
        "import resource, torch\n"
        "from fmlib.models import compact_cnn\n"
        "from fmlib.training import TrainConfig, fit, predict\n"
        "images = torch.rand(2000, 3, 32, 32, dtype=torch.float64)\n"
        "model = compact_cnn(dtype=torch.float64)\n"
        "fit(model, images[:64], torch.arange(64) % 10, TrainConfig(epochs=1))\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "predict(model, images[:500])\n"
        "before = peak()\n"
        "predict(model, images)\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 100  # MB
