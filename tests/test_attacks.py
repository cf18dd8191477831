"""Perturbations: by hand on a linear network, against captum, and what must stay as it was."""

from collections.abc import Callable

import pytest
import torch
from captum.robust import FGSM, PGD
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fmlib import attacks, data
from fmlib.models import base_cnn, scale_layer
from fmlib.training import TrainConfig, fit, predict
from tests import toy

Attack = Callable[[nn.Module, Tensor, Tensor, float], Tensor]
# Every attack that stays within eps, by name; those with settings of their own have small ones.
ATTACKS: dict[str, Attack] = {
    "fgsm": attacks.fgsm,
    "pgd": lambda model, images, labels, eps: attacks.pgd(
        model, images, labels, eps, step=0.4, steps=3
    ),
    "restarted_pgd": lambda model, images, labels, eps: attacks.restarted_pgd(
        model, images, labels, eps, step=0.4, steps=3, restarts=2, seed=0
    ),
    "square_attack": lambda model, images, labels, eps: attacks.square_attack(
        model, images, labels, eps, queries=12, seed=0
    ),
    "sign_noise": lambda _, images, __, eps: attacks.sign_noise(images, eps, seed=0),
}

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


@pytest.mark.parametrize("name", ATTACKS)
def test_eps_0_is_the_identity(name: str) -> None:
    model, images, labels = _unit_base()
    assert torch.equal(ATTACKS[name](model, images, labels, 0.0), images)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("eps", [1 / 255, 0.15, 1.0])
def test_within_eps_and_within_the_range_of_pixels(name: str, eps: float) -> None:
    model, images, labels = _unit_base()
    found = ATTACKS[name](model, images, labels, eps)
    _check_range(found, images, eps)
    assert (found != images).any()


def _check_range(found: Tensor, images: Tensor, eps: float) -> None:
    assert found.shape == images.shape
    assert (found - images).abs().max().item() <= eps + 1e-15
    assert found.min().item() >= 0
    assert found.max().item() <= 1


@pytest.mark.parametrize("name", ATTACKS)
@given(
    eps=st.floats(0, 1),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
    seed=st.integers(0, 1000),
)
@settings(max_examples=30, deadline=None)
def test_any_images_stay_within_eps_and_the_range(
    name: str, eps: float, shape: tuple[int, int, int, int], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    # A third of the pixels are 0 and a third are 1, as in pictures of ink.
    images = (3 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1).clamp(0, 1)
    rows = torch.randn(3, images[0].numel(), generator=generator, dtype=torch.float64)
    labels = torch.randint(3, shape[:1], generator=generator)
    found = ATTACKS[name](toy.linear_net(rows.tolist()), images, labels, eps)
    _check_range(found, images, eps)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("attack", [*ATTACKS.values(), attacks.released_perturbation])
def test_nothing_else_changes(attack: Attack, training: bool) -> None:
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
        lambda eps: attacks.released_perturbation(
            toy.linear_net(NET), PIXELS, torch.tensor([0]), eps
        ),
        *(
            lambda eps, attack=attack: attack(toy.linear_net(NET), PIXELS, torch.tensor([0]), eps)
            for attack in ATTACKS.values()
        ),
    ],
)
def test_refusals(attack: Callable[[float], Tensor], eps: float) -> None:
    with pytest.raises(ValueError, match=f"eps is {eps}; give a number from 0 to 1"):
        attack(eps)


# --- projected gradient descent ----------------------------------------------------------


def _captum(model: nn.Module) -> PGD:
    reference = PGD(model, nn.NLLLoss(reduction="none"), lower_bound=0.0, upper_bound=1.0)
    reference.fgsm.zero_thresh = 0.0  # by default captum leaves gradients below 1e-6 alone
    return reference


@pytest.mark.parametrize(("steps", "expected"), [(1, [0.44, 1, 0.3, 0]), (2, [0.4, 1, 0.3, 0])])
def test_pgd_by_hand(steps: int, expected: list[float]) -> None:
    """Pixels 0.5, 0.95, 0.3 and 0.05 with signs -, +, 0, -; 0.5 - 2 x 0.06 is beyond eps."""
    model, labels = toy.linear_net(NET), torch.tensor([0])
    found = attacks.pgd(model, PIXELS, labels, 0.1, step=0.6, steps=steps)
    assert found.flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize(("eps", "step", "steps"), [(0.1, 0.3, 7), (0.25, 1.2, 4)])
@pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients")
def test_pgd_equals_captum(eps: float, step: float, steps: int) -> None:
    model, images, labels = _unit_base()
    expected = _captum(model).perturb(
        images.clone(), radius=eps, step_size=step * eps, step_num=steps, target=labels
    )
    found = attacks.pgd(model, images, labels, eps, step=step, steps=steps)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    once = attacks.pgd(model, images, labels, eps, step=1, steps=1)
    torch.testing.assert_close(once, attacks.fgsm(model, images, labels, eps), rtol=0, atol=1e-15)


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Sequential, Tensor, Tensor]:
    """A network that knows digits a little, and 60 images that it was not trained on."""
    mnist = data.load("mnist", 460, 1, dtype=torch.float64)
    images, labels = mnist.train_images, mnist.train_labels
    model = base_cnn(dtype=torch.float64, seed=0, scale=scale_layer("unit", torch.float64))
    fit(model, images[:400], labels[:400], TrainConfig(epochs=6, batch_size=10, learning_rate=0.1))
    return model, images[400:], labels[400:]


def _right(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return predict(model, images) == labels


@pytest.mark.parametrize("eps", [0.05, 0.1, 0.2])
def test_restarted_pgd_misleads_wherever_fgsm_and_one_path_do(
    trained: tuple[nn.Sequential, Tensor, Tensor], eps: float
) -> None:
    model, images, labels = trained
    after = {name: _right(model, f(*trained, eps), labels) for name, f in ATTACKS.items()}
    assert not (after["restarted_pgd"] & ~after["fgsm"]).any()
    assert not (after["restarted_pgd"] & ~after["pgd"]).any()
    assert after["restarted_pgd"].sum() < _right(model, images, labels).sum()
    if eps == 0.1:  # where there is room on both sides
        assert 0 < after["restarted_pgd"].sum() < after["fgsm"].sum()


def test_a_random_start_leaves_a_flat_spot() -> None:
    """Class 1 begins at 0.6: at 0.5 there is no gradient, though 0.8 would mislead."""
    model = toy.pixel_cnn(slopes=(0, 1), shifts=(0.05, -0.6))
    images, labels = toy.flat_images(0.5, 0.5, 0.5), torch.tensor([0, 0, 0])
    flat = (attacks.fgsm(model, images, labels, 0.3), ATTACKS["pgd"](model, images, labels, 0.3))
    assert all(torch.equal(found, images) for found in flat)
    found = attacks.restarted_pgd(model, images, labels, 0.3, step=0.3, steps=6, restarts=5, seed=0)
    assert predict(model, found).tolist() == [1, 1, 1]


# --- without gradients -------------------------------------------------------------------


def test_margins_by_hand() -> None:
    """Log-softmax keeps differences: the outputs are those of the linear layer, shifted."""
    model = toy.linear_net([[1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 3]])
    images = torch.tensor([[0.5, 0.1, 0.0, 0.0], [0.5, 0.4, 0.0, 1.0]], dtype=torch.float64)
    images = images.reshape(2, 1, 2, 2)  # outputs 0.5, 0.2, 0 and 0.5, 0.8, 3
    found = attacks.margins(model, images, torch.tensor([0, 1]))
    assert found.tolist() == pytest.approx([0.5 - 0.2, 0.8 - 3])
    parts = attacks.margins(model, images, torch.tensor([0, 1]), chunk=1)
    assert torch.equal(parts, found)


class _OutputsOnly(nn.Module):
    """A network that refuses to be differentiated."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.seen = 0

    def forward(self, images: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        assert not images.requires_grad
        self.seen += len(images)
        outputs = self.network(images)
        assert isinstance(outputs, Tensor)
        return outputs


def test_square_attack_asks_for_outputs_only_and_leaves_misled_images_alone(
    trained: tuple[nn.Sequential, Tensor, Tensor],
) -> None:
    network, images, labels = trained
    model = _OutputsOnly(network)
    with pytest.raises(AssertionError):
        attacks.fgsm(model, images, labels, 0.3)
    model.seen = 0
    found = attacks.square_attack(model, images, labels, 0.3, queries=100, seed=0)
    before, after = (_right(network, each, labels) for each in (images, found))
    assert torch.equal(found[~before], images[~before])
    assert not (after & ~before).any()
    assert after.sum() < before.sum() / 2
    assert len(images) + 100 * after.sum() <= model.seen < len(images) + 100 * before.sum()


def test_square_attack_never_raises_a_margin(
    trained: tuple[nn.Sequential, Tensor, Tensor],
) -> None:
    model, images, labels = trained
    last = attacks.margins(model, images, labels)
    for queries in (1, 5, 25):
        found = attacks.square_attack(model, images, labels, 0.05, queries=queries, seed=3)
        margins = attacks.margins(model, found, labels)
        assert (margins <= attacks.margins(model, images, labels)).all()
        assert margins.mean() < last.mean()
        last = margins


def test_the_first_query_moves_whole_columns() -> None:
    images = torch.full((6, 2, 3, 4), 0.5, dtype=torch.float64)
    model = toy.linear_net([[1.0] * 24, [0.5] * 24])  # any darkening lowers the margin
    found = attacks.square_attack(model, images, torch.zeros(6).long(), 0.25, queries=1, seed=0)
    moved = found[(found != images).flatten(1).any(1)]
    assert len(moved) >= 1
    assert torch.equal(moved, moved[:, :, :1].expand_as(moved))
    assert set(moved.flatten().tolist()) == {0.25, 0.75}


def test_an_image_is_attacked_alike_whatever_happens_to_the_others(
    trained: tuple[nn.Sequential, Tensor, Tensor],
) -> None:
    """With wrong labels the other images need no attack and leave the search at once."""
    model, images, labels = trained
    alone = labels.clone()
    alone[1:] = (predict(model, images)[1:] + 1) % 10
    for name in ("restarted_pgd", "square_attack"):
        together = ATTACKS[name](model, images, labels, 0.03)
        apart = ATTACKS[name](model, images, alone, 0.03)
        assert torch.equal(together[0], apart[0]), name
        assert not torch.equal(together[0], images[0]), name


def test_random_searches_are_seeded(trained: tuple[nn.Sequential, Tensor, Tensor]) -> None:
    before = torch.random.get_rng_state()

    def search(seed: int) -> tuple[Tensor, Tensor]:
        pgd = attacks.restarted_pgd(*trained, 0.03, step=0.3, steps=2, restarts=1, seed=seed)
        return pgd, attacks.square_attack(*trained, 0.03, queries=5, seed=seed)

    for first, again, other in zip(search(1), search(1), search(2), strict=True):
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("attack", "name"),
    [
        (lambda m, x, y: attacks.pgd(m, x, y, 0.1, step=1.0, steps=0), "steps"),
        (
            lambda m, x, y: attacks.restarted_pgd(
                m, x, y, 0.1, step=1.0, steps=1, restarts=0, seed=0
            ),
            "restarts",
        ),
        (lambda m, x, y: attacks.square_attack(m, x, y, 0.1, queries=0, seed=0), "queries"),
    ],
)
def test_counts_below_1_are_refused(
    attack: Callable[[nn.Module, Tensor, Tensor], Tensor], name: str
) -> None:
    with pytest.raises(ValueError, match=f"^{name} is 0; give a whole number from 1$"):
        attack(toy.linear_net(NET), PIXELS, torch.tensor([0]))
