"""Perturbations: by hand on a linear network, against captum, and what must stay as it was."""

from collections.abc import Callable

import pytest
import torch
from captum.robust import FGSM
from torch import Tensor, nn

from fmlib import attacks
from fmlib.models import base_cnn, scale_layer
from tests import toy

# Two classes, four pixels: the loss of class 0 has the gradient (1 - p0)(row 1 - row 0).
NET = [[1.0, -2.0, 0.0, 5.0], [0.0, 0.0, 0.0, 0.0]]
PIXELS = torch.tensor([0.5, 0.95, 0.3, 0.05], dtype=torch.float64).reshape(1, 1, 2, 2)


@pytest.mark.parametrize(
    ("label", "signs", "attacked"),
    [(0, [-1, 1, 0, -1], [0.4, 1.0, 0.3, 0.0]), (1, [1, -1, 0, 1], [0.6, 0.85, 0.3, 0.15])],
)
def test_fgsm_by_hand(label: int, signs: list[float], attacked: list[float]) -> None:
    model, labels = toy.linear_net(NET), torch.tensor([label])
    assert attacks.gradient_sign(model, PIXELS, labels).flatten().tolist() == signs
    found = attacks.fgsm(model, PIXELS, labels, 0.1)
    assert found.shape == PIXELS.shape
    assert found.flatten().tolist() == pytest.approx(attacked)


def test_released_perturbation_by_hand() -> None:
    """255 x is 0, 0.5, 76.5 and 0.1; the signs are -, +, 0, -; what exceeds 1 becomes 1."""
    pixels = torch.tensor([0.0, 0.5 / 255, 0.3, 0.1 / 255], dtype=torch.float64)
    images = pixels.reshape(1, 1, 2, 2)
    model, labels = toy.linear_net(NET), torch.tensor([0])
    found = attacks.released_perturbation(model, images, labels, 0.25)
    assert (255 * found).flatten().tolist() == pytest.approx([0.0, 0.75, 1.0, 0.0])
    control = attacks.released_perturbation(model, images, labels, 0.0)
    assert (255 * control).flatten().tolist() == pytest.approx([0.0, 0.5, 1.0, 0.1])


def _unit_base() -> tuple[nn.Sequential, Tensor, Tensor]:
    """The base network fed 0..1, which does not saturate its softmax, and seven images."""
    return (
        base_cnn(dtype=torch.float64, seed=2, scale=scale_layer("unit", torch.float64)),
        toy.random_images(7, size=28),
        toy.random_labels(7, 10),
    )


@pytest.mark.parametrize("eps", [0.05, 0.25])
def test_fgsm_equals_captum(eps: float) -> None:
    model, images, labels = _unit_base()
    loss = nn.NLLLoss(reduction="none")
    reference = FGSM(model, loss_func=loss, lower_bound=0.0, upper_bound=1.0)
    reference.zero_thresh = 0.0  # by default captum leaves gradients below 1e-6 alone
    expected = reference.perturb(images.clone().requires_grad_(), epsilon=eps, target=labels)
    assert torch.equal(attacks.fgsm(model, images, labels, eps), expected)


def test_fgsm_raises_the_loss_and_noise_does_less() -> None:
    model, images, labels = _unit_base()

    def loss(pixels: Tensor) -> float:
        return nn.functional.nll_loss(model(pixels), labels).item()

    attacked = loss(attacks.fgsm(model, images, labels, 0.02))
    noisy = loss(attacks.sign_noise(images, 0.02, seed=0))
    assert attacked > noisy
    assert attacked > loss(images)


def test_eps_0_is_the_identity() -> None:
    model, images, labels = _unit_base()
    assert torch.equal(attacks.fgsm(model, images, labels, 0.0), images)
    assert torch.equal(attacks.sign_noise(images, 0.0, seed=0), images)


@pytest.mark.parametrize("eps", [1 / 255, 0.15, 1.0])
def test_within_eps_and_within_the_range_of_pixels(eps: float) -> None:
    model, images, labels = _unit_base()
    for found in (attacks.fgsm(model, images, labels, eps), attacks.sign_noise(images, eps, 0)):
        assert (found - images).abs().max().item() <= eps + 1e-15
        assert found.min().item() >= 0
        assert found.max().item() <= 1
        assert (found != images).any()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("attack", [attacks.fgsm, attacks.released_perturbation])
def test_nothing_else_changes(
    attack: Callable[[nn.Module, Tensor, Tensor, float], Tensor], training: bool
) -> None:
    model, images, labels = _unit_base()
    model.train(training)
    torch.autograd.backward(nn.functional.nll_loss(model(images), labels))
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    weights, pixels = toy.snapshot(model), images.clone()
    found = attack(model, images, labels, 0.1)
    assert toy.unchanged(model, weights)
    after = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(after) == 8
    assert all(torch.equal(old, new) for old, new in zip(gradients, after, strict=True))
    assert torch.equal(images, pixels)
    assert model.training is training
    assert not found.requires_grad
    assert not images.requires_grad
    assert toy.hook_count(model) == 0


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_parts_of_a_batch_agree(chunk: int) -> None:
    model, images, labels = _unit_base()
    whole = attacks.gradient_sign(model, images, labels)
    assert torch.equal(attacks.gradient_sign(model, images, labels, chunk), whole)


def test_sign_noise_is_seeded_and_balanced() -> None:
    images = torch.full((4, 1, 50, 50), 0.5, dtype=torch.float64)
    before = torch.random.get_rng_state()
    found = attacks.sign_noise(images, 0.1, seed=1)
    assert torch.equal(found, attacks.sign_noise(images, 0.1, seed=1))
    assert not torch.equal(found, attacks.sign_noise(images, 0.1, seed=2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert sorted(set(found.flatten().tolist())) == pytest.approx([0.4, 0.6])
    assert abs((found > 0.5).double().mean().item() - 0.5) < 0.025  # 5 deviations of 10,000 draws


@pytest.mark.parametrize("eps", [-1.0, 2.0, float("nan")])
@pytest.mark.parametrize(
    "attack",
    [
        lambda eps: attacks.fgsm(toy.linear_net(NET), PIXELS, torch.tensor([0]), eps),
        lambda eps: attacks.released_perturbation(
            toy.linear_net(NET), PIXELS, torch.tensor([0]), eps
        ),
        lambda eps: attacks.sign_noise(PIXELS, eps, 0),
    ],
)
def test_refusals(attack: Callable[[float], Tensor], eps: float) -> None:
    with pytest.raises(ValueError, match=f"eps is {eps}; give a number from 0 to 1"):
        attack(eps)
