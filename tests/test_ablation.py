"""Networks without layers and transfer as experiments: what is refused, splits, recorded runs."""

import math
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from fmlib import chapters, data, records
from fmlib.data import OTHER_CLASSES, SHOWN_CLASSES
from fmlib.experiments import ablation, transfer
from fmlib.experiments.ablation import VARIANTS, WAYS, AblationRun, Variant
from fmlib.experiments.grids import EXPERIMENTS
from fmlib.experiments.transfer import OverlapsRun, TransferRun, TransferSettings
from fmlib.models import parameter_count
from fmlib.recipe import centre, train
from fmlib.records import path_of
from fmlib.training import evaluate
from fmlib.transfer import Nearest, balanced, fit_softmax, layer_features
from tests import made_up, toy

TINY: dict[str, Any] = {
    "n_train": 60, "n_test": 40, "n_validation": 20, "batch_size": 20, "epochs": 1,
    "n_pretraining": 40, "layers": ("pool5", "act7"), "sizes": (2, 4), "scratch_steps": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def settings() -> TransferSettings:
    found: TransferSettings = chapters.settings(
        "ablation_and_transfer", "smoke", **TINY, n_compared=50
    )
    return found


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"variants": ["full", "no 9"]}, ["variants.1 is 'no 9'", "no 3, 4"]),
        ({"layers": ["pool9"]}, ["layers holds 'pool9', which zf_cnn does not have", "pool5"]),
        ({"layers": []}, ["layers is []", "at least 1"]),
        ({"sizes": [20, 5]}, ["sizes is [20, 5]; give ascending numbers from 1 to"]),
        ({"sizes": [5, 5000]}, ["sizes is [5, 5000]", "training images of the smallest class"]),
        ({"n_pretraining": 10**6}, ["n_train is 1000020"]),
        ({"pretraining": "cifar100"}, ["dataset 'cifar100' is not known"]),
        ({"network": "resnet"}, ["network is 'resnet'"]),
        ({"network": "base_cnn"}, ["layers holds 'pool5', which base_cnn does not have", "act3"]),
        ({"n_validation": 0}, ["n_validation is 0", "greater than or equal to 1"]),
        ({"n_train": 10**6}, ["n_train is 1000020"]),
    ],
)
def test_what_cannot_run_is_refused(given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        chapters.settings("ablation_and_transfer", "smoke", **{**TINY, **given})
    if not {"n_train", "n_pretraining"} & set(given):  # the full data may be there
        assert [word for word in words if word not in str(caught.value)] == []
    assert "\n" not in str(caught.value)


def test_digits_run_too() -> None:
    grey = {**TINY, "dataset": "mnist", "pretraining": "fashion-mnist", "augment": False}
    found = chapters.settings("ablation_and_transfer", "smoke", **grey, n_compared=50)
    assert found.recipe().crop == 1
    model = found.model(found.load(), 0)
    assert model(torch.zeros(1, 1, 28, 28, dtype=torch.float64)).shape == (1, 10)


def test_pretraining_images_take_the_shape_of_the_others() -> None:
    """Grey is the mean of the colours; of 2x2 pixels blown up the corners stay."""
    colours = torch.tensor([0.0, 0.3, 0.6]).reshape(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert transfer.shaped(colours, (1, 2, 2)).flatten().tolist() == pytest.approx([0.3] * 4)
    grey = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).reshape(1, 1, 2, 2)
    found = transfer.shaped(grey, (3, 4, 4))
    assert found.shape == (1, 3, 4, 4)
    assert found[0, :, 0, 0].tolist() == [0] * 3
    assert found[0, :, 0, 3].tolist() == [1] * 3
    assert transfer.shaped(grey, (1, 2, 2)) is grey
    settings = chapters.settings(
        "ablation_and_transfer", "smoke", **{**TINY, "pretraining": "mnist"}, n_compared=50
    )
    assert settings.load_source().train_images.shape == (60, 3, 32, 32)


# --- networks ------------------------------------------------------------------------------


def test_every_variant_is_as_described() -> None:
    full = VARIANTS["full"]
    for name, layers in VARIANTS.items():
        left_out = {field[-1] for field, width in layers._asdict().items() if not width}
        assert left_out == set(name.removeprefix("no ").split(", ") if name[:2] == "no" else [])
    widened = VARIANTS["3, 4, 5 widened"]
    assert [*widened[2:5]] == [64, 128, 64]
    assert VARIANTS["6, 7 halved"][5:] == (192, 192)
    assert VARIANTS["6, 7 doubled"][5:] == (768, 768)
    assert VARIANTS["3, 4, 5 widened, 6, 7 doubled"] == (*widened[:5], 768, 768)
    assert VARIANTS.keys() == set(get_args(Variant))
    assert full[:2] == widened[:2]


def test_linear_layers_hold_most_parameters() -> None:
    parameters, linear = ablation.variant_parameters("full", (3, 28, 28), 4)
    assert (parameters, linear) == (314_724, 258_816)
    assert ablation.variant_parameters("no 6, 7", (3, 28, 28), 4)[1] == 0


def test_validation_images_are_not_trained_on(settings: TransferSettings) -> None:
    dataset = settings.load()
    assert len(dataset.train_images) == 80
    parts = ablation.split(dataset, 20)
    assert torch.equal(parts.images, dataset.train_images[:60])
    assert torch.equal(parts.validation[0], dataset.train_images[60:])
    assert torch.equal(parts.validation[1], dataset.train_labels[60:])


def test_networks_of_one_seed_begin_alike(settings: TransferSettings) -> None:
    dataset = settings.load()
    first, second = (
        settings.model(dataset, 4, "zf_cnn", layers=VARIANTS[name]).state_dict()
        for name in ("full", "no 7")
    )
    for name in ("conv1.weight", "conv5.weight", "fc6.weight"):
        assert torch.equal(first[name], second[name])


def test_a_variant_is_trained_by_the_recipe(settings: TransferSettings) -> None:
    dataset, recipe = settings.load(), settings.recipe()
    found = ablation.train_variant(settings, VARIANTS["no 6, 7"], 3)
    model = settings.model(dataset, 3, "zf_cnn", layers=VARIANTS["no 6, 7"])
    own, validation = dataset.train_images[:60], dataset.train_images[60:]
    labels = dataset.train_labels
    train(model, own, labels[:60], recipe, 3, (validation, labels[60:]))
    assert toy.unchanged(found.model, model.state_dict())
    test = evaluate(model, centre(dataset.test_images, 7 / 8), dataset.test_labels)
    assert found.test_accuracy == test
    assert found.train_accuracy == evaluate(model, centre(own, 7 / 8), labels[:60])
    assert found.parameters == parameter_count(model)
    assert (found.rates, found.renormalized) == ([0.01], 0)
    assert found.seconds > 0


def test_ways_change_what_they_say(settings: TransferSettings) -> None:
    own = settings.recipe()
    for way, changed in WAYS.items():
        given = settings.recipe(way).model_dump()
        assert {k: v for k, v in given.items() if v != getattr(own, k)} == changed


def test_untrained_networks_are_random_features_with_a_softmax(settings: TransferSettings) -> None:
    dataset = settings.load()
    found = ablation.untrained(settings, 3)
    model = settings.model(dataset, 3, "zf_cnn")
    own, test = (
        layer_features(model, centre(images, 7 / 8), ["act7"])["act7"]
        for images in (dataset.train_images[:60], dataset.test_images)
    )
    softmax = fit_softmax(own, dataset.train_labels[:60])
    assert found.test_accuracy == softmax.accuracy(test, dataset.test_labels)
    assert found.parameters == 4 * 384 + 4


def test_planted_duplicates_are_marked() -> None:
    images, others = (torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(s))
                      for s in (0, 1))  # fmt: skip
    others[3] = 0.1 + 0.5 * images[2]
    assert ablation.duplicates(images, others).tolist() == [False, False, True, False]


# --- transfer ------------------------------------------------------------------------------


def test_softmaxes_are_trained_on_the_drawn_images_of_each_size(settings: TransferSettings) -> None:
    dataset, model = settings.load(), settings.model(settings.load_source(), 1)
    found = transfer.softmaxes(settings, model, ["act7"], 5)["act7"]
    places = balanced(dataset.train_labels[:60], 4, 5)
    own, test = (
        layer_features(model, centre(images, 7 / 8), ["act7"])["act7"]
        for images in (dataset.train_images[places], dataset.test_images)
    )
    softmax = fit_softmax(own, dataset.train_labels[places])
    assert len(found) == 2
    assert found[1] == softmax.accuracy(test, dataset.test_labels)


def test_the_untrained_network_is_the_trained_one_before(settings: TransferSettings) -> None:
    networks, accuracy = transfer.source_networks(settings, 2)
    fresh = settings.model(settings.load_source(), 2)
    assert toy.unchanged(networks["untrained"], fresh.state_dict())
    assert not toy.unchanged(networks["trained"], fresh.state_dict())
    assert 0 <= accuracy <= 100
    assert settings.load_source().class_names == tuple(OTHER_CLASSES.split(":")[1].split(","))


def test_networks_from_scratch_take_as_many_steps_at_least(
    settings: TransferSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """8 images are one step an epoch, so 3 epochs; 60 in steps of 20 are three, so 1."""
    epochs: list[tuple[int, int]] = []

    def note(model: Any, images: torch.Tensor, labels: Any, recipe: Any, seed: int) -> None:
        epochs.append((len(images), recipe.epochs))

    monkeypatch.setattr(transfer, "train", note)
    transfer.from_scratch(settings, 2, 0)
    transfer.from_scratch(settings, 11, 0)
    assert epochs == [(8, 3), (44, 1)]


def test_pairs_of_sets_and_counts_by_hand() -> None:
    found = transfer.Shared(
        "a", torch.zeros(4, 1, 2, 2), torch.zeros(9, 1, 2, 2),
        Nearest(torch.tensor([8, 1, 2, 3]), torch.tensor([0.86, 0.95, 0.2, 0.99])),
    )  # fmt: skip
    assert found.counts() == {0.8: 3, 0.85: 3, 0.9: 2, 0.95: 2, 0.98: 1}
    assert found.closest(2) == [(3, 3), (1, 1)]


def test_test_images_are_compared_with_training_images(settings: TransferSettings) -> None:
    found = {one.name: one for one in transfer.shared(settings, 50, 30)}
    dtype = torch.float64
    shown = data.load(SHOWN_CLASSES, 50, 30, dtype=dtype)
    other = data.load(OTHER_CLASSES, 50, 1, dtype=dtype)
    one = found["CIFAR-10, six other classes"]
    assert torch.equal(one.images, shown.test_images)
    assert torch.equal(one.others, other.train_images)
    assert torch.equal(found["CIFAR-10, four classes"].others, shown.train_images)
    assert found["MNIST"].images.shape == (30, 1, 28, 28)


# --- recorded runs ------------------------------------------------------------------------

SMALL = {name: TINY[name] for name in ("n_train", "n_test", "n_validation", "batch_size", "epochs")}


@pytest.mark.parametrize("way", ["recipe", "untrained"])
def test_a_recorded_network_has_the_numbers_of_the_live_one(
    way: ablation.Way, settings: TransferSettings, tmp_path: Path
) -> None:
    run = AblationRun(**SMALL, seed=3, precision="float64", variant="full", way=way)
    found = run.run()
    if way == "untrained":
        assert found.test_accuracy == ablation.untrained(settings, 3).test_accuracy
        assert found.seconds is None
    else:
        live = ablation.train_variant(settings, VARIANTS["full"], 3)
        assert found.test_accuracy == live.test_accuracy
        assert found.accuracy_without_duplicates == found.test_accuracy
        assert (found.duplicates, found.rates) == (0, (0.01,))
        assert len(found.losses) == len(found.validation) == 1
    path = made_up.write(tmp_path, "ablation", run, found)
    assert records.read(path).result == found
    assert path.name.startswith("full-seed-3" if way == "recipe" else "full-untrained-seed-3")


def test_accuracy_without_duplicates_leaves_them_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40 test images the first ten are marked: the other 30 are evaluated."""
    run = AblationRun(**SMALL, seed=0)
    monkeypatch.setattr(ablation, "duplicates", lambda images, others: torch.arange(40) < 10)
    seen: list[int] = []

    def note(model: Any, images: torch.Tensor, labels: torch.Tensor) -> float:
        seen.append(len(images))
        return evaluate(model, images, labels)

    monkeypatch.setattr(ablation, "evaluate", note)
    assert run.run().duplicates == 10
    assert seen == [60, 40, 30]


def test_a_recorded_transfer_has_the_numbers_of_the_live_one(
    settings: TransferSettings, tmp_path: Path
) -> None:
    run = TransferRun(**TINY, seed=settings.seed, precision="float64")
    found = run.run()
    live = transfer.transferred(settings, settings.seed, jobs=1)
    assert found.features == live.features
    assert (found.pixels, found.source_accuracy) == (live.pixels, live.source_accuracy)
    assert found.scratch == tuple(one.test_accuracy for one in live.scratch)
    assert [*found.features] == ["trained", "untrained"]
    assert [len(values) for values in found.features["trained"].values()] == [2, 2]
    assert all(math.isfinite(value) for value in found.pixels)
    path = made_up.write(tmp_path, "transfer", run, found)
    assert records.read(path).result == found
    assert path.name.startswith("cifar10-to-cifar10-seed-0-")


def test_recorded_overlaps_have_the_live_counts(settings: TransferSettings, tmp_path: Path) -> None:
    run = OverlapsRun(n_train=50, n_test=30, seed=0, precision="float64")
    found = run.run()
    for one in transfer.shared(settings, 50, 30):
        assert found.counts[one.name] == {str(t): count for t, count in one.counts().items()}
    assert set(found.n_test.values()) == {30}
    path = made_up.write(tmp_path, "overlaps", run, found)
    assert records.read(path).result == found


def test_grids_have_five_seeds() -> None:
    runs = EXPERIMENTS["ablation"].grid()
    assert len(runs) == 5 * (len(VARIANTS) + len(WAYS) - 1)
    assert len({path_of("ablation", run) for run in runs}) == len(runs)
    moves = EXPERIMENTS["transfer"].grid()
    assert {run.label for run in moves} == {*transfer.TRANSFER_NAMES}
    assert len({path_of("transfer", run) for run in moves}) == 15
    assert [run.label for run in EXPERIMENTS["overlaps"].grid()] == ["bundled-6000"]
    assert all(run.cost > 0 for run in (*runs, *moves, *EXPERIMENTS["overlaps"].grid()))
