"""The training recipe: crops and flips, annealing on a plateau, and training, by hand."""

import pytest
import torch
from torch import Tensor, nn

from fmlib import models, recipe
from fmlib.recipe import PUBLISHED, SMALL, Augmentation, Plateau, Recipe
from fmlib.training import TrainConfig, fit
from tests import toy

COUNTING = torch.arange(16.0).reshape(1, 1, 4, 4)
"""Pixel (i, j) is 4 i + j."""
CORNERS = ([0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15], [5, 6, 9, 10])
"""Its crops of 2x2: the four corners and the middle."""
MIRRORED = ([1, 0, 5, 4], [3, 2, 7, 6], [9, 8, 13, 12], [11, 10, 15, 14], [6, 5, 10, 9])


@pytest.mark.parametrize(
    ("side", "share", "crop"),
    [(256, 224 / 256, 224), (32, 7 / 8, 28), (28, 7 / 8, 24), (5, 1.0, 5), (3, 0.1, 1)],
)
def test_side_of_crops(side: int, share: float, crop: int) -> None:
    assert recipe.crop_side(side, share) == crop


def test_the_ten_crops_by_hand() -> None:
    found = recipe.ten_crops(COUNTING, 0.5)
    assert found.shape == (1, 10, 1, 2, 2)
    assert found.flatten(2)[0].tolist() == [*map(list, CORNERS), *map(list, MIRRORED)]
    assert recipe.centre(COUNTING, 0.5).flatten().tolist() == CORNERS[-1]
    assert torch.equal(recipe.centre(COUNTING, 1.0), COUNTING)


def test_augmentation_draws_each_of_the_ten_about_as_often() -> None:
    """Of 2,000 draws each way has 200 in the mean, with a deviation of 13."""
    images = COUNTING.expand(2000, -1, -1, -1)
    made = Augmentation(0.5, flips=True, seed=0)(images).flatten(1).int().tolist()
    counts = [made.count(list(way)) for way in (*CORNERS, *MIRRORED)]
    assert sum(counts) == 2000
    assert min(counts) > 140
    assert max(counts) < 260


def test_augmentation_goes_by_its_seed_and_can_do_nothing() -> None:
    images = toy.random_images(20)
    first, same, other = (Augmentation(0.5, True, seed)(images) for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(Augmentation(1.0, False, 0)(images), images)


def test_crops_without_flips_are_no_mirror_images() -> None:
    images = COUNTING.expand(200, -1, -1, -1)
    made = Augmentation(0.5, flips=False, seed=0)(images).flatten(1).int().tolist()
    assert {tuple(one) for one in made} == {tuple(one) for one in CORNERS}


def test_annealing_by_hand() -> None:
    """Best 50; 50 and 49 are no better: the rate falls.  Then 51 is, and two epochs are not."""
    schedule = Plateau(patience=2, factor=0.1)
    assert [schedule(one) for one in (40, 50, 50, 49, 51, 51, 50)] == [1, 1, 1, 0.1, 1, 1, 0.1]


def test_the_wait_starts_anew_after_the_rate_was_lowered() -> None:
    schedule = Plateau(patience=2, factor=0.5)
    assert [schedule(10) for _ in range(6)] == [1, 1, 0.5, 1, 0.5, 1]


def test_the_rate_is_lowered_at_the_latest_time_if_it_never_was() -> None:
    rising = [10, 20, 30, 40, 50]
    schedule = Plateau(patience=2, factor=0.1, latest=3)
    assert [schedule(one) for one in rising] == [1, 1, 0.1, 1, 1]
    lowered = Plateau(patience=1, factor=0.1, latest=3)
    assert [lowered(one) for one in (10, 10, 20, 30)] == [1, 0.1, 1, 1]
    unknown = Plateau(patience=1, factor=0.1, latest=2)
    assert [unknown(None) for _ in range(4)] == [1, 0.1, 1, 1]


def test_the_latest_time_is_a_share_of_the_epochs() -> None:
    """Three quarters of 8 are 6: the last two epochs have a tenth of the rate."""
    config = SMALL.model_copy(update={"epochs": 8, "learning_rate": 0.01})
    rates = recipe.learning_rates(config, [*range(8)])
    assert rates == pytest.approx([0.01] * 6 + [0.001] * 2)


def test_learning_rates_of_the_epochs() -> None:
    """A rate that is lowered after an epoch holds from the next."""
    config = SMALL.model_copy(update={"patience": 1, "learning_rate": 0.01})
    rates = recipe.learning_rates(config, [50, 60, 60, 59, 70])
    assert rates == pytest.approx([0.01, 0.01, 0.01, 0.001, 0.0001])


def test_the_published_settings() -> None:
    found = PUBLISHED.model_dump()
    assert found.pop("patience") > 0
    assert found == {
        "epochs": 70, "batch_size": 128, "learning_rate": 0.01, "momentum": 0.9, "dropout": 0.5,
        "weight_scale": 0.01, "crop": 0.875, "flips": True, "factor": 0.1, "radius": 0.1,
        "latest": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "wrong", [{"crop": 0.0}, {"crop": 1.1}, {"dropout": 1.0}, {"factor": 1.0}, {"patience": 0},
              {"radius": 0.0}, {"momentum": 1.0}, {"rate": 0.1}],
)  # fmt: skip
def test_what_is_no_recipe_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Recipe.model_validate(wrong)


# --- training ------------------------------------------------------------------------------

TINY = SMALL.model_copy(update={"epochs": 3, "batch_size": 4, "crop": 0.8, "learning_rate": 0.1})


def network(dropout: float = 0.5) -> nn.Sequential:
    layers = models.ZfLayers(2, 2, 0, 0, 2, 4, 4)
    return models.zf_cnn((1, 8, 8), 2, dtype=torch.float64, layers=layers, dropout=dropout)


def trained(config: Recipe, seed: int = 0, **options: tuple[Tensor, Tensor]) -> nn.Sequential:
    model = network()
    images, labels = toy.random_images(12, size=10), toy.random_labels(12)
    recipe.train(model, images, labels, config, seed, **options)
    return model


def test_training_goes_by_its_seed_and_leaves_the_global_generator() -> None:
    """Dropout draws from the global generator, which is set for the training only."""
    before = torch.random.get_rng_state()
    first, same, other = (trained(TINY, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert toy.unchanged(first, same.state_dict())
    assert not toy.unchanged(first, other.state_dict())


def test_a_plain_recipe_trains_as_fit_does() -> None:
    plain = TINY.model_copy(update={"crop": 1.0, "flips": False, "radius": None, "latest": None})
    images, labels = toy.random_images(12, size=8), toy.random_labels(12)
    first, second = network(0.0), network(0.0)
    recipe.train(first, images, labels, plain, 5)
    config = TrainConfig(epochs=3, batch_size=4, learning_rate=0.1, momentum=0.9, seed=5)
    fit(second, images, labels, config)
    assert toy.unchanged(first, second.state_dict())


@pytest.mark.parametrize(("radius", "least", "most"), [(0.05, 0.04, 0.0500001), (None, 0.2, 9)])
def test_filters_stay_within_the_radius(radius: float | None, least: float, most: float) -> None:
    model = trained(TINY.model_copy(update={"radius": radius}))
    filters = [layer.weight.detach() for layer in model if isinstance(layer, nn.Conv2d)]
    largest = max(w.square().mean(dim=(1, 2, 3)).sqrt().max().item() for w in filters)
    assert least < largest < most


def test_validation_images_are_cropped_and_lower_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network takes 8x8 pixels of 10x10; at a rate of next to nothing nothing improves."""
    told: list[float] = []

    class Noting(Plateau):
        def __call__(self, accuracy: float | None) -> float:
            told.append(super().__call__(accuracy))
            return told[-1]

    monkeypatch.setattr(recipe, "Plateau", Noting)
    images, labels = toy.random_images(12, size=10), toy.random_labels(12)
    config = TINY.model_copy(update={"patience": 1, "learning_rate": 1e-9})
    history = recipe.train(network(), images, labels, config, 0, (images[:4], labels[:4]))
    assert len(set(history.test_accuracies)) == 1
    assert told == [1, 0.1, 0.1]


def test_without_validation_images_there_is_no_accuracy() -> None:
    model, images, labels = network(), toy.random_images(12, size=10), toy.random_labels(12)
    history = recipe.train(model, images, labels, TINY, 0)
    assert [epoch.test_accuracy for epoch in history.epochs] == [None] * 3


def test_the_schedule_multiplies_the_rate_of_the_next_steps() -> None:
    """At rate 0 after the first epoch, later epochs change nothing."""
    images, labels = toy.random_images(4, size=2), toy.random_labels(4)
    weights = []
    for epochs in (1, 3):
        model = toy.linear_net([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]])
        config = TrainConfig(epochs=epochs, batch_size=2, learning_rate=0.1)
        fit(model, images, labels, config, test=(images, labels), schedule=lambda _: 0.0)
        weights.append(model.state_dict())
    assert torch.equal(weights[0]["fc1.weight"], weights[1]["fc1.weight"])


def test_images_are_augmented_in_training_only() -> None:
    """Images that become 0 teach nothing but biases, of which there are none."""
    images, labels = toy.random_images(4, size=2), toy.random_labels(4)
    model = toy.linear_net([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]])
    before = toy.snapshot(model)
    seen: list[int] = []

    def blank(part: Tensor) -> Tensor:
        seen.append(len(part))
        return torch.zeros_like(part)

    config = TrainConfig(epochs=2, batch_size=3)
    fit(model, images, labels, config, test=(images, labels), augment=blank)
    assert toy.unchanged(model, before)
    assert seen == [3, 1, 3, 1]
