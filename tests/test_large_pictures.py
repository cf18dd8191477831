"""Recorded pictures of a large network: what is trained, what is kept, PNG files in base64."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from fmlib import models, records
from fmlib.experiments import large_pictures
from fmlib.experiments.feature_evolution import LARGE
from fmlib.experiments.grids import EXPERIMENTS
from fmlib.experiments.large_pictures import PUBLISHED_CLASSES, Pictures, PicturesRun, Start
from fmlib.records import path_of
from fmlib.visualization.activation_maximization import maximize
from fmlib.visualization.units import Unit
from tests import made_up, toy

QUICK = LARGE.model_copy(update={"steps": 1, "step": 1.0})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of three images of 32x32 pixels; pictures are made in one step."""
    generator = torch.Generator().manual_seed(0)
    for split in ("train", "val"):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(3):
                pixels = torch.randint(256, (32, 32, 3), generator=generator).to(torch.uint8)
                Image.fromarray(pixels.numpy()).save(tmp_path / split / name / f"{number}.png")
    monkeypatch.setattr(large_pictures, "LARGE", QUICK)
    return tmp_path


def tiny(folder: Path, start: Start, **values: Any) -> PicturesRun:
    sizes = {"n_train": 6, "n_test": 4, "epochs": 2, "shown_epochs": (1, 2), "batch_size": 3}
    given = {"dataset": f"image-folder:{folder}", "seed": 0, **sizes, **values}
    return PicturesRun(start=start, precision="float64", **given)


def imagenet_of(model: nn.Sequential, patch: pytest.MonkeyPatch) -> None:
    """Let this be ImageNet's network."""
    patch.setattr(models, "imagenet", lambda name, dtype: model.to(dtype))


def test_a_training_is_recorded_with_its_pictures(folder: Path) -> None:
    run = tiny(folder, "scratch")
    found = run.run()
    assert (found.class_names, found.epochs) == (("a", "b"), (1, 2))
    assert len(found.accuracies) == 2
    for rows in (found.activations, found.probabilities, found.pictures):
        assert [len(row) for row in rows] == [2, 2]
    assert len(found.variation) == len(found.confusion) == 2
    assert large_pictures.picture_of(found.pictures[0][1]).shape == (3, 80, 80)
    path = made_up.write(folder / "results", "large_pictures", run, found)
    assert records.read(path).result == found
    assert path.name.startswith("squeezenet-scratch-seed-0-")


def test_pictures_of_further_seeds_are_not_kept(folder: Path) -> None:
    found = tiny(folder, "scratch", seed=1, epochs=1, shown_epochs=(1,)).run()
    assert found.pictures == ()
    assert [len(row) for row in found.activations] == [2]


def test_fine_tuning_starts_from_imagenets_weights(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = models.squeezenet(n_classes=1000, seed=9, dtype=torch.float64)
    imagenet_of(whole, monkeypatch)
    started: list[dict[str, torch.Tensor]] = []

    def fit(model: nn.Module, *_: object, **further: Any) -> Any:
        started.append(toy.snapshot(model))
        further["after_epoch"](1, model)
        return type("History", (), {"test_accuracies": [50.0]})

    monkeypatch.setattr(large_pictures, "fit", fit)
    for start in ("fine-tuned", "scratch"):
        tiny(folder, start, epochs=1, shown_epochs=(1,)).run()
    given = whole.state_dict()
    tuned, scratch = started
    assert tuned["fc.bias"].shape == (2,)
    own = [name for name in given if not name.startswith(("fc.", "scale."))]
    assert all(torch.equal(tuned[name], given[name]) for name in own)
    assert not any(torch.equal(scratch[name], given[name]) for name in own if "weight" in name)


def test_imagenets_network_shows_the_classes_of_the_paper(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models.squeezenet(n_classes=1000, seed=9, dtype=torch.float64)
    imagenet_of(model, monkeypatch)
    found = tiny(folder, "imagenet", epochs=0, shown_epochs=(0,)).run()
    assert (found.class_names, found.accuracies) == (tuple(PUBLISHED_CLASSES), ())
    units = [Unit("fc", number) for number in (31, 130, 736, 933)]
    expected = maximize(model, units, (3, 32, 32), QUICK, 0)
    assert found.epochs == (0,)
    assert found.activations == (tuple(expected.activations.tolist()),)
    assert isinstance(found, Pictures)


def test_it_is_trained_by_adam() -> None:
    config = PicturesRun(start="scratch", seed=0).train_config(1, 2, 3)
    assert (config.optimizer, config.learning_rate) == ("adam", 3e-4)


# --- PNG files ----------------------------------------------------------------------------


def test_a_picture_of_256_levels_comes_back_as_it_was() -> None:
    generator = torch.Generator().manual_seed(0)
    picture = torch.randint(256, (3, 9, 16), generator=generator).double() / 255
    picture[0, 0, :2] = torch.tensor([0.0, 1.0])
    text = large_pictures.png(picture)
    assert text.isascii()
    assert torch.equal(large_pictures.picture_of(text), picture)
    assert torch.equal(large_pictures.picture_of(large_pictures.png(picture.float())), picture)


def test_small_pictures_are_stretched_and_80_pixels_wide() -> None:
    """Levels 0.4 and 0.6 reach 0 and 1; grey stays grey."""
    pictures = torch.full((2, 3, 160, 240), 0.5, dtype=torch.float64)
    pictures[0, :, :, :120], pictures[0, :, :, 120:] = 0.4, 0.6
    found = large_pictures.small(pictures)
    assert found.shape == (2, 3, 80, 80)
    assert torch.allclose(found[0, :, :, 0], torch.zeros(3, 80, dtype=torch.float64))
    assert torch.allclose(found[0, :, :, 79], torch.ones(3, 80, dtype=torch.float64))
    assert torch.allclose(found[1], torch.full_like(found[1], 0.5))


def test_the_grid_has_three_seeds_of_two_starts_and_imagenet_once() -> None:
    runs = [run for run in EXPERIMENTS["large_pictures"].grid() if isinstance(run, PicturesRun)]
    assert len(runs) == 3 * 2 + 1
    assert len({path_of("large_pictures", run) for run in runs}) == len(runs)
    starts = [run.start for run in runs]
    assert [starts.count(start) for start in large_pictures.STARTS] == [3, 3, 1]
    assert all(run.shown_epochs[-1] == run.epochs for run in runs)
