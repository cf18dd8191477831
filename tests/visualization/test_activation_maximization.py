"""Gradient ascent: by hand on linear units, one by one as in a batch, filters, what is refused."""

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage
from torch import Tensor, nn

from fmlib import torchvision_compat as torchvision_compat  # must precede torchvision
from fmlib.models import base_cnn, compact_cnn, scale_layer
from fmlib.visualization.activation_maximization import (
    PUBLISHED,
    SMALL,
    Ascent,
    AscentConfig,
    binomial_blur,
    maximize,
    median_filter,
)
from fmlib.visualization.pictures import total_variation
from fmlib.visualization.units import Unit
from tests import toy

# isort: split
from torchvision.models import squeezenet1_1

PLAIN = AscentConfig(median=1, noise=0.0, steps=1, step=0.1)
NET = [[3.0, -4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
GREY_SHAPE = (1, 2, 2)


def changed(config: AscentConfig, **settings: Any) -> AscentConfig:
    return AscentConfig.model_validate(config.model_dump() | settings)


def linear(config: AscentConfig, index: int = 0) -> Ascent:
    """The ascent on a class of the linear network, from grey."""
    return maximize(toy.linear_net(NET), [Unit("fc1", index)], GREY_SHAPE, config, seed=0)


def values(found: Ascent) -> list[float]:
    listed: list[float] = found.pictures.flatten().tolist()
    return listed


# --- steps ---------------------------------------------------------------------------------


def test_a_step_has_the_given_length_along_the_gradient() -> None:
    """The weights 3, -4 have length 5; the logit is then 3 x 0.56 - 4 x 0.42."""
    found = linear(PLAIN)
    assert values(found) == pytest.approx([0.56, 0.42, 0.5, 0.5])
    assert found.activations.tolist() == [pytest.approx(0.0, abs=1e-9)]
    assert found.probabilities.tolist() == [pytest.approx(0.5)]


def test_a_linear_unit_ends_at_its_weights_signs() -> None:
    """Where a weight is 0 the pixel stays grey; the logit is 3, of the other class 0."""
    found = linear(changed(PLAIN, steps=30))
    assert values(found) == [1.0, 0.0, 0.5, 0.5]
    assert found.activations.tolist() == [3.0]
    assert found.probabilities.tolist() == [pytest.approx(1 / (1 + np.exp(-3.0)))]


def test_adams_first_step_moves_every_pixel_as_far() -> None:
    found = linear(changed(PLAIN, optimizer="adam", step=0.02))
    assert values(found) == pytest.approx([0.52, 0.48, 0.5, 0.5])


def test_a_gradient_of_zero_moves_nothing() -> None:
    """The second class has no weights at all."""
    found = linear(changed(PLAIN, steps=3), index=1)
    assert values(found) == [0.5] * 4
    assert linear(changed(PLAIN, optimizer="adam"), index=1).pictures.eq(0.5).all()


def test_decay_takes_a_share_of_the_distance_to_grey_after_the_step() -> None:
    found = linear(changed(PLAIN, decay=0.25))
    assert values(found) == pytest.approx([0.545, 0.44, 0.5, 0.5])


def test_penalties_settle_where_they_balance_the_gradient() -> None:
    """Maximum of 3a - 4b - 5 distance², with and without half the total variation.

    Without: 0.3 and -0.4 from grey.  With it both of a's differences draw it down by 0.5 each and
    both of b's draw it up, which leaves slopes of 2 and -3; c and d are drawn to a and to b, and
    to each other as strongly.
    """
    adam = changed(PLAIN, optimizer="adam", steps=250, step=0.01, l2=5.0)
    assert values(linear(adam)) == pytest.approx([0.8, 0.1, 0.5, 0.5], abs=2e-3)
    found = values(linear(changed(adam, variation=0.5)))
    assert found == pytest.approx([0.7, 0.2, 0.5, 0.5], abs=0.01)


def test_what_is_maximized_is_the_objective_of_the_settings() -> None:
    """Finite differences of activation - 0.3 variation - 0.2 distance² point along the step."""
    model, unit = compact_cnn((1, 8, 8), dtype=torch.float64), Unit("fc", 3)
    regularized = changed(PLAIN, noise=0.1, variation=0.3, l2=0.2, step=1e-6)
    # a step of nothing shows the start
    start = maximize(model, [unit], (1, 8, 8), changed(regularized, step=1e-300), 0).pictures

    def objective(picture: Tensor) -> float:
        logit = model[:-1](picture)[0, 3]
        penalty = 0.3 * 64 * total_variation(picture)[0] + 0.2 * (picture - 0.5).square().sum()
        return float(logit - penalty)

    slopes = torch.zeros(64, dtype=torch.float64)
    with torch.no_grad():
        for pixel in range(64):
            nudge = torch.zeros(64, dtype=torch.float64)
            nudge[pixel] = 1e-6
            up, down = (objective(start + s * nudge.reshape(1, 1, 8, 8)) for s in (1, -1))
            slopes[pixel] = (up - down) / 2e-6
    moved = (maximize(model, [unit], (1, 8, 8), regularized, 0).pictures - start).flatten() / 1e-6
    torch.testing.assert_close(moved, slopes / slopes.norm(), rtol=1e-4, atol=1e-6)


def test_shifted_and_mirrored_pictures_spread_what_the_unit_sees() -> None:
    """A unit that sees one pixel is shown others of the same picture there."""
    row = [[1.0] + [0.0] * 24, [0.0] * 25]
    config = changed(PLAIN, steps=40, step=0.05, shift=1)
    found = maximize(toy.linear_net(row), [Unit("fc1", 0)], (1, 5, 5), config, seed=0)
    near = torch.zeros(5, 5, dtype=torch.bool)
    near[[[0], [1], [4]], [0, 1, 4]] = True  # up to one pixel away, across the edges
    assert ((found.pictures[0, 0] > 0.5) == near).all()
    flipped = maximize(
        toy.linear_net(row), [Unit("fc1", 0)], (1, 5, 5), changed(config, shift=0, flip=True), 0
    )
    assert (flipped.pictures[0, 0] > 0.5).nonzero().tolist() == [[0, 0], [0, 4]]


# --- units ---------------------------------------------------------------------------------

MIXED = [
    Unit("fc", 1),
    Unit("conv2", 7),
    Unit("fc", 0),
    Unit("conv3", 5, (1, 2)),
    Unit("conv3", 5),
    Unit("log_softmax", 2),
]
SETTINGS = {
    "published": changed(PUBLISHED, steps=9),
    "small": changed(SMALL, steps=12),
    "everything": changed(SMALL, steps=12, median=3, blur=5, decay=0.01, optimizer="gradient"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_units_of_a_batch_find_what_they_find_alone(name: str) -> None:
    model, config = compact_cnn((3, 16, 16), dtype=torch.float64), SETTINGS[name]
    together = maximize(model, MIXED, (3, 16, 16), config, seed=4)
    for number, unit in enumerate(MIXED):
        alone = maximize(model, [unit], (3, 16, 16), config, seed=4)
        for mine, its in zip(alone, together, strict=True):
            assert torch.allclose(mine[0], its[number], rtol=0, atol=1e-12, equal_nan=True)


def test_more_units_than_are_computed_at_a_time() -> None:
    model, config = compact_cnn((1, 8, 8), dtype=torch.float64), changed(SMALL, steps=3, shift=1)
    units = [Unit("conv3", index) for index in range(40)]
    found = maximize(model, units, (1, 8, 8), config, seed=0)
    last = maximize(model, units[-1:], (1, 8, 8), config, seed=0)
    assert torch.allclose(found.pictures[-1:], last.pictures, rtol=0, atol=1e-12)
    assert len(found.activations) == 40


def test_reached_values_are_those_of_the_pictures() -> None:
    model = compact_cnn((3, 16, 16), dtype=torch.float64)
    found = maximize(model, MIXED, (3, 16, 16), SETTINGS["small"], seed=0)
    with torch.no_grad():
        conv2 = model[:5](found.pictures)
        conv3 = model[5:8](conv2)
        logits = model[8:-1](conv3)
        shares = logits.softmax(dim=1)
    expected = [
        logits[0, 1],
        conv2[1, 7].mean(),
        logits[2, 0],
        conv3[3, 5, 1, 2],
        conv3[4, 5].mean(),
        shares[5, 2].log(),
    ]
    torch.testing.assert_close(found.activations, torch.stack(expected))
    nan = torch.tensor(torch.nan, dtype=torch.float64)
    probabilities = torch.stack([shares[0, 1], nan, shares[2, 0], nan, nan, shares[5, 2]])
    torch.testing.assert_close(found.probabilities, probabilities, equal_nan=True)


def test_ascent_raises_the_activation_of_every_kind_of_unit() -> None:
    model = compact_cnn((3, 16, 16), dtype=torch.float64)
    for config in (PUBLISHED, SMALL):
        start = maximize(model, MIXED, (3, 16, 16), changed(config, steps=1, step=1e-300), seed=0)
        found = maximize(model, MIXED, (3, 16, 16), changed(config, variation=0, l2=0), seed=0)
        assert (found.activations > start.activations).all()
        assert found.pictures.min() >= 0
        assert found.pictures.max() <= 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_grey_digits_in_both_precisions(dtype: torch.dtype) -> None:
    found = maximize(
        base_cnn(dtype=dtype), [Unit("fc2", 3), Unit("conv1", 2)], (1, 28, 28), PUBLISHED, seed=1
    )
    assert found.pictures.shape == (2, 1, 28, 28)
    assert {part.dtype for part in found} == {dtype}
    assert found.probabilities.isnan().tolist() == [False, True]


def test_a_picture_wider_than_high() -> None:
    found = maximize(compact_cnn((3, 8, 16)), [Unit("fc", 0)], (3, 8, 16), PUBLISHED, seed=1)
    assert found.pictures.shape == (1, 3, 8, 16)


# --- seeds ---------------------------------------------------------------------------------


def test_the_start_depends_on_seed_and_unit_and_not_on_the_weights() -> None:
    still = changed(PUBLISHED, steps=1, step=1e-300, median=1)
    first, later = (compact_cnn((3, 8, 8), seed=s, dtype=torch.float64) for s in (0, 1))
    units = [Unit("fc", 0), Unit("fc", 1), Unit("conv1", 0), Unit("conv1", 0, (0, 1))]
    start = maximize(first, units, (3, 8, 8), still, seed=0).pictures
    assert torch.equal(start, maximize(later, units, (3, 8, 8), still, seed=0).pictures)
    assert len({tuple(picture.flatten().tolist()) for picture in start}) == 4
    assert not torch.equal(start, maximize(first, units, (3, 8, 8), still, seed=1).pictures)
    assert start.std().item() == pytest.approx(PUBLISHED.noise, rel=0.1)
    assert start.mean().item() == pytest.approx(0.5, abs=0.01)


def test_the_same_seed_gives_the_same_pictures_and_draws_nothing_else() -> None:
    model = compact_cnn((3, 8, 8), dtype=torch.float64)
    config = changed(SMALL, steps=5)
    state = torch.get_rng_state()
    first, second, other = (
        maximize(model, [Unit("fc", 0)], (3, 8, 8), config, seed).pictures for seed in (3, 3, 4)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


# --- models --------------------------------------------------------------------------------


def test_the_model_stays_as_it_was() -> None:
    model = compact_cnn((3, 8, 8))
    before = toy.snapshot(model)
    maximize(model, [Unit("fc", 0), Unit("act1", 0)], (3, 8, 8), changed(PUBLISHED, steps=2), 0)
    assert toy.unchanged(model, before)
    assert toy.hook_count(model) == 0
    assert model.training
    assert all(w.requires_grad and w.grad is None for w in model.parameters())


def ends_in_relu(bias: float) -> nn.Sequential:
    """A network as SqueezeNet's end: convolution to classes, in-place ReLU, mean of each map."""
    convolution = nn.Conv2d(1, 2, 1, dtype=torch.float64)
    nn.init.constant_(convolution.weight, 1.0)
    nn.init.constant_(convolution.get_parameter("bias"), bias)
    layers = OrderedDict(
        scale=scale_layer("unit", torch.float64),
        classifier=nn.Sequential(
            nn.Dropout(), convolution, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1))
        ),
        flatten=nn.Flatten(),
    )
    return nn.Sequential(layers)


def test_before_a_last_relu_there_is_a_gradient_and_behind_it_none() -> None:
    """All pixels together are a step of length 0.1 on four pixels: 0.05 each."""
    model = ends_in_relu(bias=-2.0)
    before = maximize(model, [Unit("classifier.1", 1)], GREY_SHAPE, PLAIN, seed=0)
    assert values(before) == pytest.approx([0.55] * 4)
    assert before.activations.tolist() == [pytest.approx(-1.45)]
    behind = maximize(model, [Unit("classifier.2", 1)], GREY_SHAPE, PLAIN, seed=0)
    assert values(behind) == [0.5] * 4
    assert behind.activations.tolist() == [0.0]


def test_layers_that_hold_class_units() -> None:
    """Those from the last weights on, and those that contain them."""
    model = ends_in_relu(bias=0.0)
    names = ["classifier.1", "classifier.2", "classifier.3", "classifier", "flatten"]
    found = maximize(model, [Unit(name, 0) for name in names], GREY_SHAPE, PLAIN, seed=0)
    assert found.probabilities.tolist() == [pytest.approx(0.5)] * 5
    inputs = maximize(model, [Unit("classifier.0", 0)], GREY_SHAPE, PLAIN, seed=0)
    assert inputs.probabilities.isnan().all()


def test_a_network_without_classes_has_no_probabilities() -> None:
    found = maximize(toy.diagonal_cnn()[:5], [Unit("conv2", 0)], (1, 6, 6), PLAIN, seed=0)
    assert found.probabilities.isnan().all()


def test_squeezenet_of_torchvision() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = squeezenet1_1(num_classes=5).double()
    units = [Unit("classifier.1", 4), Unit("features.3.squeeze", 2, (3, 3))]
    found = maximize(model, units, (3, 48, 48), changed(PUBLISHED, steps=5), seed=0)
    still = changed(PUBLISHED, steps=1, step=1e-300)
    start = maximize(model, units, (3, 48, 48), still, seed=0)
    assert (found.activations > start.activations).all()
    assert found.probabilities.isnan().tolist() == [False, True]
    assert all(layer.inplace for layer in model.modules() if isinstance(layer, nn.ReLU))


# --- filters -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("shape", [(2, 3, 9, 6), (1, 1, 3, 4)])
def test_median_filter_is_scipys(size: int, shape: tuple[int, ...]) -> None:
    pictures = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pictures = (pictures * 20).round() / 20  # with equal values
    expected = ndimage.median_filter(pictures.numpy(), size=(1, 1, size, size), mode="mirror")
    assert np.array_equal(median_filter(pictures, size).numpy(), expected)


@pytest.mark.parametrize(("taps", "weights"), [(3, [1, 2, 1]), (5, [1, 4, 6, 4, 1])])
def test_blur_is_scipys_with_binomial_weights(taps: int, weights: list[float]) -> None:
    pictures = torch.rand(
        2, 3, 7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    expected = pictures.numpy()
    for axis in (2, 3):
        share = np.array(weights) / sum(weights)
        expected = ndimage.convolve1d(expected, share, axis=axis, mode="mirror")
    np.testing.assert_allclose(binomial_blur(pictures, taps).numpy(), expected, atol=1e-14)
    assert binomial_blur(pictures, 1) is pictures


@pytest.mark.parametrize(("steps", "times"), [(1, 0), (2, 1), (3, 1), (4, 2)])
def test_filters_are_applied_every_so_many_steps(steps: int, times: int) -> None:
    """Steps of no length: only the filters change the starting noise."""
    model = compact_cnn((1, 8, 8), dtype=torch.float64)

    def still(**settings: Any) -> Tensor:
        config = changed(PLAIN, noise=0.05, steps=steps, step=1e-300, **settings)
        return maximize(model, [Unit("fc", 0)], (1, 8, 8), config, seed=0).pictures

    noise = still()
    medians, blurs = noise, noise
    for _ in range(times):
        medians, blurs = median_filter(medians, 5), binomial_blur(blurs, 3)
    assert torch.equal(still(median=5, median_every=2), medians)
    assert torch.equal(still(blur=3, blur_every=2), blurs)
    assert torch.equal(medians, noise) == torch.equal(blurs, noise) == (times == 0)


# --- refusals ------------------------------------------------------------------------------


def test_presets_are_what_they_are_called() -> None:
    assert (PUBLISHED.median, PUBLISHED.median_every, PUBLISHED.optimizer) == (5, 4, "gradient")
    assert (SMALL.variation, SMALL.l2, SMALL.shift, SMALL.median) == (0.03, 0.05, 3, 1)
    with pytest.raises(ValidationError, match="frozen"):
        SMALL.steps = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 0},
        {"step": 0},
        {"median": 4},
        {"blur": 2},
        {"shift": -1},
        {"decay": 1.1},
        {"x": 1},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(settings))):
        AscentConfig(**settings)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (PUBLISHED, "median is 5, but pictures are 2x2; give at most 3"),
        (changed(PLAIN, blur=5), "blur is 5, but pictures are 2x2; give at most 3"),
        (changed(PLAIN, shift=2), "shift is 2, but pictures are 2x2; give 0 to 1"),
    ],
)
def test_settings_beyond_the_picture_are_refused(config: AscentConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        linear(config)


def test_units_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="layer 'fc1' has units 0 to 1"):
        linear(PLAIN, index=2)
    with pytest.raises(ValueError, match="give at least one"):
        maximize(toy.linear_net(NET), [], GREY_SHAPE, PLAIN, seed=0)
