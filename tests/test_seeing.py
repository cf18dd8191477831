"""Looks into a trained network: what is refused, measures by hand, and recorded runs."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from fmlib import chapters, data, records
from fmlib.experiments import looks, seeing
from fmlib.experiments.grids import EXPERIMENTS
from fmlib.experiments.looks import Network
from fmlib.experiments.seeing import PARTS, SeeingRun, SeeingSettings
from fmlib.records import path_of
from fmlib.training import History, fit, predict
from fmlib.visualization.correspondence import Box, box_masks
from fmlib.visualization.invariance import Invariance
from fmlib.visualization.occlusion import OcclusionMaps, Response
from fmlib.visualization.top_activations import Top, top_activations
from tests import looked, made_up, toy

TINY: dict[str, Any] = {
    "dataset": "cifar10:frog,ship",
    "n_train": 60, "n_test": 40, "batch_size": 20, "epochs": 2, "shown_epochs": (0, 1),
    "n_looked": 3, "square": 16, "stride": 8, "n_garments": 60, "garment_epochs": 1, "draws": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def settings() -> SeeingSettings:
    found: SeeingSettings = chapters.settings("what_feature_maps_see", "smoke", **TINY)
    return found


@pytest.fixture(scope="module")
def network(settings: SeeingSettings) -> Network:
    return looks.train(settings, 0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"layers": ["act1", "fc"]}, ["layers holds 'fc', which has no feature maps", "pool3"]),
        ({"layers": ["act9", "act1"]}, ["layers holds 'act9'", "choose of scale, conv1"]),
        ({"layers": ["act1"]}, ["layers is ['act1']", "at least 2"]),
        ({"shown_epochs": [1, 0]}, ["shown_epochs is [1, 0]; give ascending", "epochs = 1"]),
        ({"shown_epochs": [0, 5]}, ["shown_epochs is [0, 5]", "from 0 to epochs = 1"]),
        ({"square": 33}, ["square is 33 and stride 8", "at most 32 pixels"]),
        ({"square": 8, "stride": 9}, ["square is 8 and stride 9", "at most the square"]),
        ({"network": "resnet"}, ["network is 'resnet'"]),
        ({"dataset": "cifar10:frog,tiger"}, ["names the classes frog, tiger"]),
        ({"draws": 0}, ["draws is 0", "greater than or equal to 1"]),
    ],
)
def test_what_cannot_be_looked_at_is_refused(given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        chapters.settings("what_feature_maps_see", "smoke", **given)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "\n" not in str(caught.value)


# --- measures by hand ---------------------------------------------------------------------


def test_purity_by_hand() -> None:
    """Two of three in class 1; all in class 0; a map that nothing excites has none."""
    labels = torch.tensor([0, 0, 1, 1, 2, 0])
    images = torch.tensor([[2, 3, 4], [0, 1, 5], [0, 1, 2]])
    values = torch.tensor([[3.0, 2.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    found = looks.purity(Top("act1", (0, 1, 2), values, images, None), labels)
    assert found[:2].tolist() == pytest.approx([200 / 3, 100])
    assert found[2].isnan()


def occluded(logits: list[list[float]], whole: float = 5.0) -> OcclusionMaps:
    """Logits by the square's place, and that of the image itself."""
    by_place = torch.tensor(logits)
    places, image = (Response(x, x, x, x) for x in (by_place, torch.tensor(whole)))
    return OcclusionMaps(places, image, 0, "act3", 0, 8, 2, (32, 32))


def test_fall_by_hand() -> None:
    """Hiding the middle takes 4 of 5, each of the eight other places 1."""
    found = looks.fall(occluded([[4.0, 4.0, 4.0], [4.0, 1.0, 4.0], [4.0, 4.0, 4.0]]))
    assert (found.centre, found.border) == (4, 1)


@pytest.mark.parametrize(
    ("size", "inside"),
    [(3, [1]), (4, [1, 2]), (5, [1, 2, 3]), (6, [2, 3]), (13, [4, 5, 6, 7, 8])],
)
def test_the_middle_third_leaves_as_much_on_both_sides(size: int, inside: list[int]) -> None:
    assert looks._middle(size).nonzero()[:, 0].tolist() == inside


def test_largest_fall_of_activity_by_hand() -> None:
    """From 5 down to 1 is 80 %, down to 4 is 20 %."""
    maps = [occluded([[4.0, 1.0]]), occluded([[4.0, 5.0]])]
    assert seeing._activity(maps) == pytest.approx(50)


def test_moved_apart_by_hand() -> None:
    """Means 2 and 4 of two images at the amounts chosen, beside 6 between images."""
    distances = torch.tensor([[1.0, 3.0], [0.0, 0.0], [5.0, 3.0]])
    found = Invariance("translation", (-1, 0, 1), {"act1": distances}, {"act1": 6.0}, distances)
    assert looks.moved_apart(found, (-1, 1)) == {"act1": pytest.approx(0.5)}
    assert looks.moved_apart(found, (1,)) == {"act1": pytest.approx(4 / 6)}


def test_correlation_of_maps_by_hand() -> None:
    """The same up to scale is 1, the opposite -1; a map that is constant does not count."""
    first = toy.random_images(2).expand(-1, 3, -1, -1).clone()
    second = torch.stack((3 * first[:, 0] + 1, -first[:, 1], torch.ones(2, 6, 6)), dim=1)
    assert looks._map_correlation(first[:, :1], second[:, :1]) == pytest.approx(1)
    assert looks._map_correlation(first[:, 1:2], second[:, 1:2]) == pytest.approx(-1)
    assert looks._map_correlation(first, second) == pytest.approx(0)


def test_correlation_is_over_images_and_positions() -> None:
    first, second = (toy.random_images(3, seed=seed) for seed in range(2))
    expected = torch.corrcoef(torch.stack((first.flatten(), second.flatten())))[0, 1]
    assert looks._map_correlation(first, second) == pytest.approx(expected.item())


# --- networks -----------------------------------------------------------------------------


def test_a_network_is_kept_before_and_after_training(network: Network) -> None:
    assert network.snapshots.epochs == (0, 1, 2)
    assert len(network.history.test_accuracies) == 2
    assert toy.unchanged(network.model, network.snapshots.model(2).state_dict())


def test_the_twin_is_trained_alike_from_another_seed(
    settings: SeeingSettings, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeing, "parallel", lambda function, tasks, jobs: [*map(function, tasks)])
    (first, twin, shuffled), garments = seeing.networks(settings)
    assert toy.unchanged(first.model, network.model.state_dict())
    fresh = settings.model(settings.load(), seeing.TWIN_SEED)
    assert toy.unchanged(twin.snapshots.model(0), fresh.state_dict())
    other = settings.model(settings.load(), seeing.SHUFFLED_SEED)
    assert toy.unchanged(shuffled.snapshots.model(0), other.state_dict())
    assert len(shuffled.history.epochs) == seeing.SHUFFLED_PASSES * settings.epochs
    assert garments.snapshots.epochs == (0, 1)


def test_shuffled_labels_are_those_of_other_images(
    settings: SeeingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    dealt: list[torch.Tensor] = []

    def note(model: Any, images: torch.Tensor, labels: torch.Tensor, config: Any) -> History:
        dealt.append(labels)
        return fit(model, images, labels, config)

    monkeypatch.setattr(seeing, "SHUFFLED_IMAGES", 40)
    monkeypatch.setattr(seeing, "fit", note)
    seeing.train_on_shuffled(settings, 0)
    own = settings.load().train_labels[:40]
    assert torch.equal(dealt[0].sort().values, own.sort().values)
    assert (dealt[0] != own).any()


def test_images_that_are_named_right_come_in_their_order(
    settings: SeeingSettings, network: Network
) -> None:
    dataset = settings.load()
    images, labels = looks.right_images(network.model, dataset, 1000)
    right = predict(network.model, dataset.test_images) == dataset.test_labels
    assert torch.equal(images, dataset.test_images[right])
    assert torch.equal(labels, dataset.test_labels[right])
    assert len(looks.right_images(network.model, dataset, 2)[0]) == 2


def test_maps_shown_are_from_the_purest_to_the_least(
    settings: SeeingSettings, network: Network
) -> None:
    dataset = settings.load()
    images, labels = dataset.test_images, dataset.test_labels
    for one in looks.shown_maps(network, images, labels, ("act1", "act2"), 3):
        pure = one.purity[list(one.maps)]
        known = one.purity[one.purity.isfinite()]
        assert [pure[0], pure[2]] == [known.max(), known.min()]
        assert pure[0] >= pure[1] >= pure[2]
        assert one.classes.shape == one.values.shape == (3, 9)
        counts = [classes.bincount().max().item() / 9 * 100 for classes in one.classes]
        assert counts == pytest.approx(pure.tolist())
        assert [len(found.patches) for found in one.projections] == [9] * 3


def test_maps_by_epoch_show_the_strongest_image(settings: SeeingSettings, network: Network) -> None:
    images = settings.load().test_images[:10]
    found = looks.map_by_epoch(network, images, "act1", 3)
    assert found.epochs == (0, 1, 2)
    assert found.projections.shape == found.images.shape == (3, 3, 32, 32)
    for epoch, image in zip(found.epochs, found.images, strict=True):
        top = top_activations(network.snapshots.model(epoch), [images], "act1", [3], 1)
        assert torch.equal(image, images[top.images[0, 0]])


def test_maps_converge_to_those_of_the_last_epoch(
    settings: SeeingSettings, network: Network
) -> None:
    found = looks.convergence(network, settings.load().test_images[:10], ["act1", "act3"])
    assert list(found) == ["act1", "act3"]
    for values in found.values():
        assert len(values) == 3
        assert values[-1] == pytest.approx(1)
        assert max(values[:-1]) < 1


def test_parts_are_hidden_in_five_images_of_their_garment(settings: SeeingSettings) -> None:
    trained = seeing.train_on_garments(settings, seed=3)
    by_epoch = seeing.corresponding(settings, 3, trained.snapshots)
    assert list(by_epoch) == [0, 1]
    found = by_epoch[1]
    garments = data.load("fashion-mnist", 60, 1000, dtype=torch.float64)
    assert [one.part for one in found] == list(PARTS)
    for one in found:
        label = garments.class_names.index(one.part.garment)
        assert torch.equal(one.images, garments.test_images[garments.test_labels == label][:5])
        assert list(one.layers) == ["act3", "fc"]
        for measured in one.layers.values():
            assert len(measured.random) == settings.draws
            assert 0 <= measured.part.mean <= 1


def test_other_places_hide_as_much_and_are_the_same_in_all_images() -> None:
    """A bright square of 2x2 in the corner of one image, of 4x4 in the corner of the other."""
    images = torch.zeros(2, 1, 6, 6)
    images[0, 0, :2, :2] = 1
    images[1, 0, :4, :4] = 1
    masks = box_masks(Box(3, 3, 2, 2), images)  # hides one bright pixel
    found = seeing.elsewhere(images, masks, draws=40, seed=0)
    assert len(found) == 40
    for moved in found:
        assert torch.equal(moved[0], moved[1])
        assert moved[0].sum() == 4
        assert (images[:, 0] * moved).sum() >= 1
    assert len({tuple(moved[0].flatten().tolist()) for moved in found}) > 5


def test_agreement_by_hand() -> None:
    """Random parts differ in 35 % on average, the part in 20 %, for all parts."""
    assert seeing.agreement(looked.corresponding()) == {
        layer: pytest.approx(0.15) for layer in ("act3", "fc")
    }


def test_looks_by_epoch_are_those_of_each_network(
    settings: SeeingSettings, network: Network
) -> None:
    images, labels = looks.right_images(network.model, settings.load(), 2)
    parts = {0: looked.corresponding(), 1: looked.corresponding()}
    found = seeing.by_epoch(settings, network, images, labels, parts)
    assert {(one.measure, one.line, one.epoch) for one in found} == {
        *(("moved", layer, epoch) for layer in ("act1", "fc") for epoch in (0, 1, 2)),
        *(("hidden", f"{place} hidden", e) for place in ("centre", "border") for e in (0, 1, 2)),
        *(("parts", layer, epoch) for layer in ("act3", "fc") for epoch in (0, 1)),
    }
    values = {(one.measure, one.line): one.value for one in found if one.epoch == 0}
    fresh = settings.model(settings.load(), 0)
    moved = looks.invariances(fresh, images, labels, "act1", looks.SMALL_MOVES)["translation"]
    apart = looks.moved_apart(moved, looks.SMALL_MOVES["translation"])
    assert {layer: values["moved", layer] for layer in apart} == pytest.approx(apart)
    falls = [looks.fall(one) for one in looks.occlusions(fresh, images, labels, "act3", 16, 8)]
    assert values["hidden", "border hidden"] == pytest.approx(
        (falls[0].border + falls[1].border) / 2
    )


@pytest.mark.parametrize(("kernel", "stride", "side"), [(11, 4, 16), (7, 2, 32)])
def test_networks_of_other_first_layers_take_64_pixels(
    kernel: int, stride: int, side: int, settings: SeeingSettings
) -> None:
    dataset = settings.load()
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    before = torch.random.get_rng_state()
    model = seeing.strided_cnn(dataset, images, kernel, stride, 0, torch.float64)
    again = seeing.strided_cnn(dataset, images, kernel, stride, 0, torch.float64)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert toy.unchanged(again, model.state_dict())
    assert model[:2](images).shape == (2, 24, side, side)
    assert model(images).shape == (2, 2)
    assert model.state_dict()["conv1.weight"].shape == (24, 3, kernel, kernel)


# --- recorded runs ------------------------------------------------------------------------


def test_a_recorded_look_has_the_numbers_of_the_live_one(
    settings: SeeingSettings, network: Network, tmp_path: Path
) -> None:
    run = SeeingRun(**TINY, seed=0, precision="float64")
    found = run.run()
    dataset = settings.load()
    assert list(found.accuracies) == network.history.test_accuracies
    assert found.shown_epochs == (0, 1, 2)
    images, labels = looks.right_images(network.model, dataset, 3)
    tested = dataset.test_images, dataset.test_labels
    for shown in looks.shown_maps(network, *tested, settings.layers, settings.maps_shown):
        assert found.purity[shown.layer] == shown.purity.nanmean().item()
        assert found.purity_untrained[shown.layer] == shown.untrained
    assert {layer: list(values) for layer, values in found.convergence.items()} == (
        looks.convergence(network, images, settings.layers)
    )
    moved = looks.invariances(network.model, images, labels, "act1")
    for name, one in moved.items():
        apart = looks.moved_apart(one, looks.SMALL_MOVES[name])
        assert {layer: values[-1] for layer, values in found.moved[name].items()} == apart
        assert list(found.probability[name]) == one.probability.mean(dim=1).tolist()
    hidden = looks.occlusions(network.model, images, labels, "act3", 16, 8)
    falls = [looks.fall(one) for one in hidden]
    assert found.centre[-1] == pytest.approx(sum(one.centre for one in falls) / 3)
    assert found.border[-1] == pytest.approx(sum(one.border for one in falls) / 3)
    assert [len(found.centre), len(found.border), len(found.agreement)] == [3, 3, 2]
    assert 0 <= found.shuffled_learnt <= 100
    assert found.activity == seeing._activity(hidden)
    assert list(found.parts) == [part.name for part in PARTS]
    assert list(found.first_layers) == ["11x11, stride 4", "7x7, stride 2"]
    assert list(found.sanity) == [
        *("gradient", "guided backpropagation", "deconvnet", "edge detector"),
    ]
    edges = found.sanity["edge detector"]
    assert [*edges.layers.values(), edges.twin, edges.shuffled, edges.edges] == pytest.approx(
        [1] * 7
    )
    assert all(
        math.isfinite(value)
        for one in found.moved.values()
        for values in one.values()
        for value in values
    )
    path = made_up.write(tmp_path, "seeing", run, found)
    assert records.read(path).result == found
    assert path.name.startswith("compact-cnn-60-seed-0-")


def test_the_grid_has_five_seeds() -> None:
    runs = [run for run in EXPERIMENTS["seeing"].grid() if isinstance(run, SeeingRun)]
    assert [run.seed for run in runs] == list(range(5))
    assert len({path_of("seeing", run) for run in runs}) == 5
    assert runs[0].cost > 0
