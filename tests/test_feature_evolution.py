"""Courses of training, pictures of their classes by epoch, and what they are measured by."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from fmlib import chapters, data, records
from fmlib.experiments import feature_evolution as evolution
from fmlib.experiments.feature_evolution import (
    COURSES,
    Course,
    EvolutionRun,
    EvolutionSettings,
    Gallery,
    Trained,
)
from fmlib.experiments.grids import EXPERIMENTS, FEW_IMAGES
from fmlib.records import path_of
from fmlib.visualization.activation_maximization import SMALL, AscentConfig
from tests import made_up, toy

TINY: dict[str, Any] = {
    "dataset": "cifar10:frog,ship",
    "pretraining": "cifar10:cat,dog,truck",
    "harder": "cifar10:ship,cat,frog",
    "n_train": 40, "n_test": 20, "n_pretraining": 30, "batch_size": 20,
    "epochs": 2, "pretraining_epochs": 1, "shown_epochs": (0, 1),
}  # fmt: skip
STILL = AscentConfig(steps=1, step=1e-9, median=1)
"""Pictures stay at the noise that they start from."""


@pytest.fixture(scope="module")
def settings() -> EvolutionSettings:
    found: EvolutionSettings = chapters.settings(
        "feature_evolution", "smoke", courses=list(COURSES), **TINY
    )
    return found


@pytest.fixture(scope="module")
def trained(settings: EvolutionSettings) -> dict[Course, Trained]:
    """Every course of the tiny settings."""
    return {course: evolution.train(settings, course, 0) for course in COURSES}


def weights(one: Trained, epoch: int) -> dict[str, Tensor]:
    return one.snapshots.model(epoch).state_dict()


def alike(first: dict[str, Tensor], second: dict[str, Tensor]) -> list[str]:
    """Layers whose weights are the same."""
    same = [name for name in first if torch.equal(first[name], second[name])]
    return sorted({name.split(".")[0] for name in same if name.split(".")[0] != "scale"})


CONVOLUTIONS = ["conv1", "conv2", "conv3"]


# --- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"shown_epochs": [1, 0]}, ["shown_epochs is [1, 0]; give ascending", "epochs = 1"]),
        ({"shown_epochs": [0, 0]}, ["shown_epochs is [0, 0]; give ascending"]),
        ({"shown_epochs": [0, 2]}, ["shown_epochs is [0, 2]", "from 0 to epochs = 1"]),
        ({"shown_epochs": []}, ["shown_epochs is []", "at least 1"]),
        ({"shown_epochs": [-1]}, ["shown_epochs.0 is -1", "greater than or equal to 0"]),
        ({"courses": []}, ["courses is []", "at least 1"]),
        ({"courses": ["easier"]}, ["courses.0 is 'easier'", "'scratch', 'pretrained', 'frozen'"]),
        ({"network": "resnet"}, ["network is 'resnet'", "'squeezenet' or 'vgg16'"]),
        (
            {"network": "squeezenet", "dataset": "mnist:1,2", "courses": ["scratch"]},
            ["images are 1x28x28; squeezenet needs three channels"],
        ),
        (
            {"pretraining": "imagenet"},
            ["pretraining is 'imagenet', but network is 'compact_cnn'", "squeezenet, vgg16"],
        ),
        ({"pretraining": "cifar"}, ["dataset 'cifar' is not known; choose one of"]),
        (
            {"pretraining": "mnist"},
            ["images of pretraining are 1x28x28, those of dataset 3x32x32", "one size"],
        ),
        ({"harder": "cifar100"}, ["dataset 'cifar100' is not known"]),
        ({"harder": "image-folder:photos"}, ["harder is an image folder; choose a dataset"]),
        ({"harder": "cifar10:frog,bird,ship"}, ["lacks classes of cifar10:frog,bird,ship,auto"]),
        ({"harder": data.SHOWN_CLASSES}, ["has no more than these; choose a larger set"]),
        ({"dataset": "cifar10:frog,frog"}, ["names the classes frog, frog"]),
        ({"starts": 0}, ["starts is 0", "greater than or equal to 1"]),
    ],
)
def test_what_cannot_be_shown_is_refused(given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        chapters.settings("feature_evolution", "smoke", **given)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "\n" not in str(caught.value)


def test_only_what_the_courses_need_is_checked() -> None:
    unused = {"pretraining": "mnist", "harder": "image-folder:nowhere"}
    found = chapters.settings("feature_evolution", "smoke", courses=["scratch"], **unused)
    assert found.courses == ("scratch",)


# --- courses ------------------------------------------------------------------------------


def test_frozen_convolutions_stay(trained: dict[Course, Trained]) -> None:
    frozen, tuned = trained["frozen"], trained["pretrained"]
    assert alike(weights(frozen, 0), weights(frozen, 2)) == CONVOLUTIONS
    assert alike(weights(tuned, 0), weights(tuned, 2)) == []
    assert alike(weights(tuned, 0), weights(frozen, 0)) == [*CONVOLUTIONS, "fc"]


def test_pretrained_courses_start_from_the_weights_of_the_pretraining(
    settings: EvolutionSettings, trained: dict[Course, Trained]
) -> None:
    dataset = settings.load()
    given = evolution._pretrained(settings, "pretrained", dataset, 0)
    fresh = settings.model(dataset, 0).state_dict()
    start = weights(trained["pretrained"], 0)
    assert given["fc.bias"].shape == (3,)  # cats, dogs and trucks
    without_head = {name: value for name, value in given.items() if name[:3] != "fc."}
    assert alike(without_head, start) == CONVOLUTIONS
    assert alike(fresh, start) == ["fc"]
    assert torch.equal(fresh["scale.shift"], start["scale.shift"])  # of the images shown
    assert alike(fresh, weights(trained["scratch"], 0)) == [*CONVOLUTIONS, "fc"]


def test_simplified_starts_where_the_harder_task_ends(trained: dict[Course, Trained]) -> None:
    harder = weights(trained["harder"], 1)
    without_head = {name: value for name, value in harder.items() if name[:3] != "fc."}
    assert alike(without_head, weights(trained["simplified"], 0)) == CONVOLUTIONS


def test_units_are_the_classes_shown_by_the_numbers_of_the_task(
    trained: dict[Course, Trained],
) -> None:
    """Frog and ship are 0 and 1, and of ship, cat and frog 2 and 0."""
    units = {name: [(u.layer, u.index) for u in one.units] for name, one in trained.items()}
    assert units.pop("harder") == [("fc", 2), ("fc", 0)]
    assert list(units.values()) == 4 * [[("fc", 0), ("fc", 1)]]


def test_epochs_and_images_of_the_courses(trained: dict[Course, Trained]) -> None:
    """As many of each class in the harder task; the last epoch is always kept."""
    lengths = {name: len(one.history.test_accuracies) for name, one in trained.items()}
    assert lengths == dict.fromkeys(COURSES, 2) | {"harder": 1}
    seen = {name: one.history.epochs[-1].seen for name, one in trained.items()}
    assert seen == dict.fromkeys(COURSES, 40) | {"harder": 60}
    epochs = {name: one.snapshots.epochs for name, one in trained.items()}
    assert epochs == dict.fromkeys(COURSES, (0, 1, 2)) | {"harder": (0, 1)}
    assert all(0 <= one.train_accuracy <= 100 for one in trained.values())


def test_optimizer_is_that_of_the_paper(settings: EvolutionSettings) -> None:
    assert settings.train_config(1, 2, 3).optimizer == "adadelta"


# --- pictures -----------------------------------------------------------------------------


def test_pictures_start_from_the_same_noise_at_every_epoch(
    trained: dict[Course, Trained],
) -> None:
    found = evolution.gallery(trained["scratch"], (3, 32, 32), STILL, [0, 1])
    assert found.epochs == (0, 1, 2)
    assert found.pictures.shape == (3, 2, 2, 3, 32, 32)
    assert found.activations.shape == found.probabilities.shape == (3, 2, 2)
    assert torch.allclose(found.pictures, found.pictures[:1].expand_as(found.pictures), atol=1e-6)
    first = found.pictures[0].flatten(0, 1)  # (starts and classes, 3, 32, 32)
    assert all(
        not torch.allclose(first[i], first[j], atol=1e-3) for i in range(4) for j in range(i)
    )
    assert (found.activations[0] != found.activations[2]).all()


def test_pictures_of_some_epochs_are_those_of_the_whole(trained: dict[Course, Trained]) -> None:
    whole = evolution.gallery(trained["harder"], (3, 32, 32), STILL, [4])
    end = evolution.gallery(trained["harder"], (3, 32, 32), STILL, [4], epochs=(1,))
    assert end.epochs == (1,)
    assert torch.equal(end.pictures[0], whole.pictures[1])
    assert torch.equal(end.activations[0], whole.activations[1])


def test_both_regularizers_of_the_first_course_and_starts_at_both_ends(
    settings: EvolutionSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = SMALL.model_copy(update={"steps": 2})
    monkeypatch.setattr(evolution, "SMALL", quick)
    monkeypatch.setattr(evolution, "REGULARIZERS", {"small": quick, "published": STILL})
    chosen = settings.model_copy(update={"courses": ("scratch", "frozen"), "starts": 2})
    scratch, frozen = evolution.courses(chosen, jobs=1)
    assert (scratch.course, frozen.course) == ("scratch", "frozen")
    assert (list(scratch.galleries), list(frozen.ends)) == (["small", "published"], ["small"])
    whole, ends = scratch.galleries["small"], scratch.ends["small"]
    assert (whole.epochs, whole.pictures.shape[:3]) == ((0, 1, 2), (3, 1, 2))
    assert (ends.epochs, ends.pictures.shape[:3]) == ((0, 2), (2, 2, 2))
    assert torch.equal(ends.pictures[:, 0], whole.pictures[::2, 0])


def test_large_networks_are_shown_as_published() -> None:
    assert evolution._regularizers("squeezenet", "scratch") == {"published": evolution.LARGE}
    assert evolution.LARGE.median == 5


# --- the judge, and measures --------------------------------------------------------------


def judge_is_fed(settings: EvolutionSettings, patch: pytest.MonkeyPatch) -> tuple[Tensor, Any]:
    """Images that the judge is trained on, and its settings."""
    fed: list[tuple[Tensor, Any]] = []
    patch.setattr(evolution, "fit", lambda m, images, labels, config: fed.append((images, config)))
    model = evolution.trained_judge(settings, 3, epochs=4)
    fresh = settings.model(settings.load(), evolution.JUDGE_SEED + 3)
    assert toy.unchanged(model, toy.snapshot(fresh))
    return fed[0]


def test_the_judge_is_trained_on_other_images(
    settings: EvolutionSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, config = judge_is_fed(settings, monkeypatch)
    more = data.load(settings.dataset, 80, 1, dtype=torch.float64).train_images
    assert torch.equal(images, more[40:])
    assert (config.epochs, config.seed) == (4, evolution.JUDGE_SEED + 3)


def test_where_there_are_no_other_images_the_judge_has_the_same(
    settings: EvolutionSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, (split, name) in enumerate((s, c) for s in ("train", "val") for c in "ab"):
        (tmp_path / split / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (number, 50, 60)).save(tmp_path / split / name / "a.png")
    few = {"dataset": f"image-folder:{tmp_path}", "n_train": 2, "n_test": 1}
    folder = settings.model_copy(update=few)
    images, _ = judge_is_fed(folder, monkeypatch)
    assert torch.equal(images, folder.load().train_images)


def brighter_pixel() -> nn.Sequential:
    """For images (1, 2, 2): class 0 if the first pixel is brighter than the second one, else 1."""
    return toy.linear_net([[10, 0, 0, 0], [0, 10, 0, 0]])


def test_looks_by_hand() -> None:
    """Two starts of two classes; the second start's picture of class 1 is taken for class 0."""
    first, second = [[1.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]
    pictures = torch.tensor([[[first], [second]], [[first], [first]]], dtype=torch.float64)
    numbers = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    [found] = evolution.looks(
        Gallery((5,), pictures[None], numbers[None], numbers[None] / 10), brighter_pixel()
    )
    assert (found.epoch, found.agreement) == (5, 75)
    assert [found.activation, found.probability] == pytest.approx([3, 0.3])
    sure = 1 / (1 + math.exp(-10))
    assert found.conviction == pytest.approx(100 * (3 * sure + 1 - sure) / 4)
    # Differences 1 to the right and 1 below of four pixels; deviation of one 1 and three 0.
    assert found.variation == pytest.approx(2 / 4)
    assert found.contrast == pytest.approx(math.sqrt(3) / 4)
    # A 1 in different places correlates with -1/3, in the same place with 1.
    assert found.confusion == pytest.approx((1 - 1 / 3) / 2)


def test_of_pictures_that_are_constant_some_numbers_are_unknown() -> None:
    blank = torch.full((1, 1, 2, 1, 2, 2), 0.5, dtype=torch.float64)
    [found] = evolution.looks(
        Gallery((0,), blank, torch.zeros(1, 1, 2), torch.zeros(1, 1, 2)), brighter_pixel()
    )
    assert found.confusion is found.high_frequency is None
    assert (found.variation, found.contrast) == (0, 0)


@pytest.mark.parametrize(("value", "known"), [(0.5, 0.5), (math.nan, None), (math.inf, None)])
def test_undefined_numbers_become_none(value: float, known: float | None) -> None:
    assert evolution.known_or_none(value) == known


# --- recorded runs ------------------------------------------------------------------------


@pytest.mark.parametrize("course", ["scratch", "harder"])
def test_a_recorded_course_has_the_numbers_of_the_live_one(
    course: Course,
    settings: EvolutionSettings,
    trained: dict[Course, Trained],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evolution, "REGULARIZERS", {"small": STILL, "published": STILL})
    run = EvolutionRun(**TINY, course=course, seed=0, precision="float64", judge_epochs=1, starts=2)
    found, live = run.run(), trained[course]
    assert list(found.accuracies) == live.history.test_accuracies
    assert list(found.losses) == [epoch.loss for epoch in live.history.epochs]
    assert found.train_accuracy == live.train_accuracy
    judging = evolution.trained_judge(settings, 0, epochs=1)
    pictures = evolution.gallery(live, (3, 32, 32), STILL, range(2))
    assert list(found.looks["small"]) == evolution.looks(pictures, judging)
    path = made_up.write(tmp_path, "feature_evolution", run, found)
    assert records.read(path).result == found
    assert records.read(path).config == run


def test_the_grid_has_every_course_and_one_on_few_images() -> None:
    runs = [run for run in EXPERIMENTS["feature_evolution"].grid() if isinstance(run, EvolutionRun)]
    assert len(runs) == 5 * (len(COURSES) + 1)
    assert len({path_of("feature_evolution", run) for run in runs}) == len(runs)
    kinds = {(run.course, run.n_train) for run in runs}
    assert kinds == {(course, 4000) for course in COURSES} | {("scratch", FEW_IMAGES)}
    assert all(run.shown_epochs[-1] == run.epochs for run in runs)
    assert all(run.source is None and run.cost > 0 for run in runs)
