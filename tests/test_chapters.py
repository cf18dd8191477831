"""Chapters: their parameters, what is refused, how they are run, how they are built up."""

import errno
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import papermill
import pytest
from PIL import Image

from fmlib import chapters
from fmlib.chapters import CHAPTERS, ChapterError

# isort: split
from torchvision import datasets

NAMES = list(CHAPTERS)
EXPLORE, CACHE, MAPS, ROBUST, *VISUAL = NAMES


@pytest.fixture
def no_full_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither full datasets nor a network to fetch them from."""

    def download(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setenv("FMLIB_DATA", str(tmp_path))
    for kind in ("MNIST", "FashionMNIST", "CIFAR10"):
        monkeypatch.setattr(datasets, kind, download)


def read(name: str) -> list[dict[str, Any]]:
    """The cells of a chapter's committed notebook, their source as one text."""
    cells = json.loads(CHAPTERS[name].path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in cells]


def tags(cell: dict[str, Any]) -> list[str]:
    """The tags of a cell."""
    return list(cell["metadata"].get("tags", []))


# --- parameters and profiles -------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_parameters_cell_agrees_with_the_settings(name: str) -> None:
    found = papermill.inspect_notebook(CHAPTERS[name].path)
    expected = chapters.parameters(name)
    assert list(found) == ["profile", *CHAPTERS[name].settings.model_fields]
    assert list(found) == [parameter.name for parameter in expected]
    for parameter in expected:
        row = found[parameter.name]
        assert row["inferred_type_name"] == parameter.type, parameter
        assert row["default"] == ('"quick"' if parameter.name == "profile" else "None"), parameter
        assert row["help"] == parameter.meaning, parameter
        assert len(parameter.meaning) >= 10, parameter


@pytest.mark.parametrize("name", NAMES)
def test_the_cell_after_the_parameters_passes_each_of_them_on(name: str) -> None:
    cells = [cell for cell in read(name) if cell["cell_type"] == "code"]
    assert [tags(cell) for cell in cells].count(["parameters"]) == 1
    assert tags(cells[0]) == ["parameters"]
    assert f'chapters.settings(\n    "{name}",' in cells[1]["source"]
    passed = re.findall(r"^    (\w+)=(\w+),$", cells[1]["source"], re.M)
    fields = ["profile", *CHAPTERS[name].settings.model_fields]
    assert passed == [(field, field) for field in fields]


@pytest.mark.parametrize("profile", ["smoke", "quick"])
@pytest.mark.parametrize("name", NAMES)
def test_profiles_need_no_full_data(name: str, profile: str, no_full_data: None) -> None:
    settings = chapters.settings(name, profile)
    assert settings.model_dump() == CHAPTERS[name].profiles[profile]


@pytest.mark.parametrize("name", NAMES)
def test_profiles_give_each_field_a_value(name: str) -> None:
    chapter = CHAPTERS[name]
    assert list(chapter.profiles) == ["smoke", "quick", "paper"]
    for values in chapter.profiles.values():
        assert list(values) == list(chapter.settings.model_fields)
        chapter.settings.model_validate(values)
    if name not in VISUAL:  # their papers do not say how many
        assert chapter.profiles["paper"]["n_test"] == 10_000


def test_given_values_replace_the_profile_and_none_does_not() -> None:
    found = chapters.settings(CACHE, "smoke", batch_sizes=[8, 16], epochs=None, layer="both")
    assert (found.batch_sizes, found.epochs, found.layer) == ((8, 16), 2, "both")
    assert chapters.settings(EXPLORE, "smoke", classes=[0, 9], perplexity=5).classes == (0, 9)


# --- refusals ----------------------------------------------------------------------------

# chapter, given values, what the message has to say: the parameter, and what is possible
REFUSALS: list[tuple[str, dict[str, object], list[str]]] = [
    ("regularization", {}, ["chapter 'regularization'", *NAMES]),
    (CACHE, {"profile": "huge"}, ["profile 'huge'", "smoke, quick, paper"]),
    (CACHE, {"profile": ["quick"]}, ["profile ['quick']", "smoke, quick, paper"]),
    (CACHE, {"colour": 1}, ["no parameter 'colour'", "batch_sizes", "reading"]),
    (CACHE, {"name": 1}, ["no parameter 'name'", "it has profile, dataset"]),
    (CACHE, {"dataset": "imagenet"}, ["dataset 'imagenet'", "mnist, fashion-mnist, cifar10"]),
    (CACHE, {"dataset": "image-folder:"}, ["dataset 'image-folder:'", "image-folder:PATH"]),
    (CACHE, {"dataset": 3}, ["dataset is 3", "string"]),
    (CACHE, {"batch_size": 0}, ["batch_size is 0", "greater than or equal to 1"]),
    (CACHE, {"epochs": -1}, ["epochs is -1", "greater than or equal to 1"]),
    (CACHE, {"epochs": "3"}, ["epochs is '3'", "valid integer"]),
    (CACHE, {"epochs": 2.5}, ["epochs is 2.5", "valid integer"]),
    (CACHE, {"seeds": True}, ["seeds is True", "valid integer"]),
    (CACHE, {"epochs": 0, "seeds": 0}, ["epochs is 0", "seeds is 0", "; "]),
    (CACHE, {"learning_rate": 0}, ["learning_rate is 0", "greater than 0"]),
    (CACHE, {"learning_rate": math.nan}, ["learning_rate is nan", "finite"]),
    (CACHE, {"learning_rate": math.inf}, ["learning_rate is inf", "finite"]),
    (CACHE, {"learning_rate": True}, ["learning_rate is True", "valid number"]),
    (CACHE, {"input_scale": 255}, ["input_scale is 255", "'released', '255', 'unit'"]),
    (CACHE, {"batch_sizes": []}, ["batch_sizes is []", "at least 1"]),
    (CACHE, {"batch_sizes": 64}, ["batch_sizes is 64", "tuple"]),
    (CACHE, {"batch_sizes": [32, 0]}, ["batch_sizes.1 is 0", "greater than or equal to 1"]),
    (CACHE, {"reading": "mine"}, ["reading is 'mine'", "'released' or 'printed'"]),
    (CACHE, {"layer": "conv9"}, ["layer 'conv9'", "conv1", "conv2", "both"]),
    (CACHE, {"layer": "fc1"}, ["layer 'fc1'", "conv1", "conv2"]),
    (CACHE, {"options": {"epsilon": 1}}, ["options holds epsilon = 1", "threshold, update"]),
    (CACHE, {"options": {"hit": "never"}}, ["options holds hit = 'never'", "'above', 'below'"]),
    (CACHE, {"options": {"remember": -1}}, ["options holds remember = -1", "greater than"]),
    (CACHE, {"options": {"layer": "fc1"}}, ["layer 'fc1'", "conv1", "both"]),
    (CACHE, {"options": ["hit"]}, ["options is ['hit']", "dictionary"]),
    (CACHE, {"short_runs": [100, 25, 1]}, ["short_runs.3", "required"]),
    (CACHE, {"short_runs": [100, 0, 1, 1]}, ["short_runs.1 is 0", "greater than or equal to 1"]),
    (CACHE, {"short_runs": [201, 25, 1, 1]}, ["short_runs asks for 201", "n_train = 200"]),
    (CACHE, {"stage_seeds": 0}, ["stage_seeds is 0", "greater than or equal to 1"]),
    (MAPS, {"layer": "both"}, ["layer 'both'", "act2"]),
    (MAPS, {"epochs": [1]}, ["different lengths", "'epochs': 1", "one entry per row"]),
    (MAPS, {"map_images": [4, 101, 2]}, ["map_images holds 101", "n_train = 100"]),
    (MAPS, {"networks": ["base_cnn"]}, ["different lengths", "'networks': 1", "one entry per row"]),
    (MAPS, {"networks": ["base_cnn", "resnet", "base_cnn"]},
     ["networks.1 is 'resnet'", "'base_cnn' or 'fashion_cnn'"]),
    (MAPS, {"networks": "base_cnn"}, ["networks is 'base_cnn'", "tuple"]),
    (MAPS, {"layer": "pool2"}, ["no activation follows layer 'pool2'", "an earlier layer"]),
    (MAPS, {"study_images": 101}, ["study_images holds 101", "n_train = 100"]),
    (MAPS, {"study_test_images": 51}, ["study_test_images holds 51", "n_test = 50"]),
    (MAPS, {"study_batch_size": 0}, ["study_batch_size is 0", "greater than or equal to 1"]),
    (MAPS, {"nan_scales": []}, ["nan_scales is []", "at least 1"]),
    (MAPS, {"nan_scales": ["unit", 255]}, ["nan_scales.1 is 255", "'released', '255', 'unit'"]),
    (MAPS, {"nan_learning_rates": [0.1, 0]}, ["nan_learning_rates.1 is 0", "greater than 0"]),
    (MAPS, {"nan_learning_rates": [math.inf]}, ["nan_learning_rates.0 is inf", "finite"]),
    (ROBUST, {"map_images": 201}, ["map_images is 201", "n_train = 200"]),
    (ROBUST, {"layer": "both"}, ["layer 'both'", "act2"]),
    (ROBUST, {"epsilons": [-1]}, ["epsilons.0 is -1", "greater than or equal to 0"]),
    (ROBUST, {"epsilons": [0.1, 1.5]}, ["epsilons.1 is 1.5", "less than or equal to 1"]),
    (ROBUST, {"epsilons": [math.nan]}, ["epsilons.0 is nan", "less than or equal to 1"]),
    (ROBUST, {"epsilons": []}, ["epsilons is []", "at least 1"]),
    (ROBUST, {"curve": [0.1, 1.01]}, ["curve.1 is 1.01", "less than or equal to 1"]),
    (ROBUST, {"curve": [-0.1]}, ["curve.0 is -0.1", "greater than or equal to 0"]),
    (ROBUST, {"curve": []}, ["curve is []", "at least 1"]),
    (ROBUST, {"n_attacked": 101}, ["n_attacked is 101", "n_held_out = 100"]),
    (ROBUST, {"n_attacked": 0}, ["n_attacked is 0", "greater than or equal to 1"]),
    (ROBUST, {"pgd_steps": 0}, ["pgd_steps is 0", "greater than or equal to 1"]),
    (ROBUST, {"pgd_step": 0.0}, ["pgd_step is 0", "greater than 0"]),
    (ROBUST, {"pgd_step": math.nan}, ["pgd_step is nan", "2"]),
    (ROBUST, {"pgd_step": 2.5}, ["pgd_step is 2.5", "less than or equal to 2"]),
    (ROBUST, {"pgd_steps": 3}, ["pgd_steps x pgd_step is 0.75", "at least 1"]),
    (ROBUST, {"restarts": 0}, ["restarts is 0", "greater than or equal to 1"]),
    (ROBUST, {"queries": 0}, ["queries is 0", "greater than or equal to 1"]),
    (ROBUST, {"queries": 0.5}, ["queries is 0.5", "valid integer"]),
    (EXPLORE, {"classes": [3, 11]}, ["classes holds 11", "0 to 9"]),
    (EXPLORE, {"classes": [-1]}, ["classes.0 is -1", "greater than or equal to 0"]),
    (EXPLORE, {"n_train": 4, "n_embedded": 4, "perplexity": 1, "neighbours": 2, "classes": [3]},
     ["classes holds 3", "choose from 0, 1, 4, 5"]),
    (EXPLORE, {"n_embedded": 10, "perplexity": 1, "neighbours": 2}, ["n_embedded is 10", "more"]),
    (EXPLORE, {"n_embedded": 301}, ["n_embedded is 301", "n_train = 300"]),
    (EXPLORE, {"n_train": 300, "n_outliers": 30}, ["n_outliers is 30", "at most 29", "class 7"]),
    (EXPLORE, {"n_outliers": 35, "classes": [3]}, ["n_outliers is 35", "at most 34", "class 3"]),
    (EXPLORE, {"n_train": 30, "n_embedded": 30, "perplexity": 1, "n_outliers": 1, "classes": [1]},
     ["n_train is 30", "more", "some class has 10"]),
    (EXPLORE, {"n_test": 20}, ["n_test is 20", "more", "some class has 10"]),
    (EXPLORE, {"seeds": 0}, ["seeds is 0", "greater than or equal to 1"]),
    (EXPLORE, {"perplexity": 67}, ["perplexity is 67", "below a third of n_embedded = 200"]),
    (EXPLORE, {"perplexity": math.nan}, ["perplexity is nan", "greater than 0"]),
    (EXPLORE, {"neighbours": 101}, ["neighbours is 101", "at most half of n_embedded = 200"]),
    (EXPLORE, {"seed": 2**32}, ["seed is 4294967296", "less than 4294967296"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "words"), REFUSALS)
def test_impossible_values_are_refused(
    name: str, given: dict[str, Any], words: list[str], no_full_data: None
) -> None:
    with pytest.raises(ValueError) as caught:
        chapters.settings(name, **{"profile": "smoke", **given})
    message = str(caught.value)
    assert [word for word in words if word not in message] == []
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        (CACHE, {"n_train": 12_001}, ["mnist", "12,000 + 2,000", "MNIST/raw"]),
        (CACHE, {"n_test": 2001, "dataset": "fashion-mnist"}, ["fashion-mnist", "12,000 + 2,000"]),
        (ROBUST, {"n_held_out": 11_801}, ["mnist", "12,000 + 2,000"]),
        (MAPS, {"n_train": 12_001}, ["mnist", "12,000 + 2,000"]),
        (CACHE, {"dataset": "cifar10", "n_train": 10_001}, ["cifar10", "CIFAR10/cifar-10-batches"]),
        (CACHE, {"dataset": "image-folder:nowhere"}, ["nowhere/train", "val/"]),
        (CACHE, {"profile": "paper"}, ["mnist", "FMLIB_DATA"]),
    ],
)
def test_absent_data_is_named_with_its_remedy(
    name: str, given: dict[str, Any], words: list[str], no_full_data: None
) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        chapters.settings(name, **{"profile": "smoke", **given})
    assert [word for word in words if word not in str(caught.value)] == []


# As many images as the smallest profile of chapter 02 asks for, in two classes.
PHOTOS = [f"train/{c}/{k}" for c in "ab" for k in range(100)]
PHOTOS += [f"val/{c}/{k}" for c in "ab" for k in range(50)]


def write_images(root: Path, *files: str, size: tuple[int, int] = (16, 16), mode: str = "L") -> str:
    """Black images of a size (width, height); returns the dataset's name."""
    for name in files or PHOTOS:
        file = root / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size).save(file)
    return f"image-folder:{root}"


@pytest.mark.parametrize("share", [(15, 16), (40, 15), (1, 1)])
@pytest.mark.parametrize("name", NAMES)
def test_images_too_small_for_the_network_are_refused(
    name: str, share: tuple[int, int], tmp_path: Path
) -> None:
    """Sizes in sixteenths of the smallest that is possible."""
    files = [f"{split}/{c}/{k}" for split in ("train", "val") for c in "ab" for k in range(200)]
    least = 8 if name in VISUAL and name != "convolutional_similarity" else 16
    size = max(1, share[0] * least // 16), max(1, share[1] * least // 16)
    dataset = write_images(tmp_path, *files, size=size)
    words = rf"images are {size[1]}x{size[0]}; .* at least {least}x{least}"
    with pytest.raises(ValueError, match=words):
        chapters.settings(name, "smoke", dataset=dataset)


def empty(folder: Path) -> None:
    """Remove the files of a folder."""
    for file in folder.iterdir():
        file.unlink()


# what is done to a good folder, and what the message has to say
BAD_FOLDERS: list[tuple[Callable[[Path], object], list[str]]] = [
    (lambda root: shutil.rmtree(root), ["train does not exist", "one folder of images per class"]),
    (lambda root: shutil.rmtree(root / "val"), ["val does not exist", "train/ and val/"]),
    (lambda root: shutil.rmtree(root / "val/b"), ["['a', 'b'], val/ has ['a']", "the same"]),
    (lambda root: (root / "train/c").mkdir(), ["['a', 'b', 'c'], val/ has ['a', 'b']"]),
    (lambda root: empty(root / "val/b"), ["val/b holds no image", ".png"]),
    (lambda root: (root / "train/b/1.png").rename(root / "train/b/1.tif"), ["199 such images"]),
    (lambda root: (root / "train/b/1.png").unlink(), ["n_train is 200", "at most 199"]),
    (lambda root: (root / "val/b/1.png").unlink(), ["n_test is 100", "at most 99"]),
    (lambda root: (root / "val/b/1.png").write_text("<html>"), ["1.png cannot be read as an"]),
    (lambda root: (root / "val/b/1.png").write_bytes(b""), ["1.png cannot be read as an image"]),
    (lambda root: write_images(root, "train/a/3", size=(16, 17)), ["different sizes", "resize"]),
    (lambda root: write_images(root, "train/a/3", mode="RGB"), ["channel counts", "resize"]),
    (lambda root: write_images(root, *PHOTOS[200:], size=(17, 16)), ["differ in size"]),
]


@pytest.mark.parametrize(("spoil", "words"), BAD_FOLDERS)
def test_unusable_folders_of_images_are_refused(
    spoil: Callable[[Path], object], words: list[str], tmp_path: Path
) -> None:
    dataset = write_images(tmp_path / "photos")
    assert chapters.settings(CACHE, "smoke", dataset=dataset).load().class_names == ("a", "b")
    spoil(tmp_path / "photos")
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        chapters.settings(CACHE, "smoke", dataset=dataset)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "\n" not in str(caught.value)


# --- how the notebooks are built up ------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_short_and_between_text(name: str) -> None:
    cells = read(name)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [c["id"] for c in code if len(c["source"].splitlines()) > 25] == []
    assert [c["id"] for c in code if not c["source"].strip()] == []
    # The cell of parameters, which is read as a table, does not count.
    kinds = "".join(cell["cell_type"][0] for cell in cells if tags(cell) != ["parameters"])
    assert "ccc" not in kinds
    assert kinds.startswith("m")
    assert kinds.endswith("m")


@pytest.mark.parametrize("name", NAMES)
def test_cells_have_ids_of_their_own(name: str) -> None:
    ids = [cell.get("id", "") for cell in read(name)]
    assert all(ids)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", NAMES)
def test_figures_have_name_caption_and_description(name: str) -> None:
    drawn = [c for c in read(name) if re.search(r"^figures\.(?!use_style)", c["source"], re.M)]
    assert drawn
    labels = []
    for cell in drawn:
        myst = cell["metadata"]["mystnb"]
        labels.append(myst["figure"]["name"])
        assert len(myst["figure"]["caption"]) >= 20, cell["id"]
        assert len(myst["image"]["alt"]) >= 20, cell["id"]
        assert myst["image"]["alt"] != myst["figure"]["caption"], cell["id"]
    assert all(re.fullmatch(r"fig-[\w-]+", label) for label in labels)
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("name", NAMES)
def test_tables_are_shown_as_markdown_of_the_book(name: str) -> None:
    shown = [c for c in read(name) if c["cell_type"] == "code" and "tables.show(" in c["source"]]
    assert shown
    for cell in shown:
        assert cell["metadata"]["mystnb"] == {"markdown_format": "myst"}, cell["id"]
        assert len(re.findall(r'"tab-[\w-]+"', cell["source"])) == 1, cell["id"]


# --- running -----------------------------------------------------------------------------

PARAMETERS = "epochs: int = None  # epochs"


def write_notebook(path: Path, *sources: str) -> None:
    """A notebook of code cells; the first holds its parameters."""
    cells: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "id": f"id{number}",
            "metadata": {"tags": ["parameters"]} if number == 0 else {},
            "execution_count": None,
            "outputs": [],
            "source": source,
        }
        for number, source in enumerate((PARAMETERS, *sources))
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}}
    path.write_text(json.dumps(notebook | {"nbformat": 4, "nbformat_minor": 5}))


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands in for book/; the notebook of chapter 02 is to be written there."""
    folder = tmp_path / "book"
    folder.mkdir()
    monkeypatch.setattr(chapters, "BOOK", folder)
    return folder


def execute(out: Path, **given: object) -> None:
    """Run the stand-in for chapter 02."""
    chapters.execute(CACHE, {"profile": "smoke", **given}, out)


def test_execute_writes_the_same_notebook_each_time(book: Path, tmp_path: Path) -> None:
    write_notebook(book / "02_caching.ipynb", "import os; print(epochs, os.getcwd())")
    outs = [tmp_path / "runs" / f"{number}.ipynb" for number in range(2)]
    for out in outs:
        execute(out, epochs=3)
    text = json.loads(outs[0].read_text())["cells"][-1]["outputs"][0]["text"]
    assert text == [f"3 {os.getcwd()}\n"]  # where relative paths of a user lead
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert [path.name for path in sorted(outs[0].parent.iterdir())] == ["0.ipynb", "1.ipynb"]
    assert outs[0].stat().st_mode & 0o777 == (book / "02_caching.ipynb").stat().st_mode & 0o777


def test_a_failing_cell_leaves_its_notebook_beside_an_untouched_one(
    book: Path, tmp_path: Path
) -> None:
    write_notebook(book / "02_caching.ipynb", "print('before')", "1 / 0", "print('after')")
    out = tmp_path / "out.ipynb"
    out.write_text("an earlier run")
    with pytest.raises(ChapterError, match=r"^ZeroDivisionError: .*out\.failed\.ipynb"):
        execute(out)
    assert out.read_text() == "an earlier run"
    failed = (tmp_path / "out.failed.ipynb").read_text()
    assert '"before\\n"' in failed
    assert '"after\\n"' not in failed
    assert {path.name for path in tmp_path.iterdir()} == {"book", "out.ipynb", "out.failed.ipynb"}


def test_a_dying_process_leaves_nothing(book: Path, tmp_path: Path) -> None:
    write_notebook(book / "02_caching.ipynb", "import os; os._exit(9)")
    with pytest.raises(ChapterError, match="process died"):
        execute(tmp_path / "out.ipynb")
    assert [path.name for path in tmp_path.iterdir()] == ["book"]


def test_settings_are_checked_before_anything_is_written(book: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="epochs is 0"):
        execute(tmp_path / "runs" / "out.ipynb", epochs=0)
    assert [path.name for path in tmp_path.iterdir()] == ["book"]


def test_a_missing_notebook_is_named(book: Path, tmp_path: Path) -> None:
    with pytest.raises(ChapterError, match=r"02_caching\.ipynb does not exist.*checkout"):
        execute(tmp_path / "out.ipynb")


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("file/out.ipynb", "out.ipynb cannot be written ("),
        ("folder", "folder is a folder or device; name the notebook"),
        (".", " is a folder or device"),
        ("taken.ipynb", "taken.ipynb is a folder or device"),
        ("/dev/null", "/dev/null is a folder or device"),
        ("/proc/out.ipynb", "/proc/out.ipynb cannot be written (No such file or directory)"),
        ("/proc/sys/new/out.ipynb", "out.ipynb cannot be written ("),
        (f"{'x' * 300}.ipynb", "xxx.ipynb cannot be written (File name too long)"),
        (f"{'x' * 245}.ipynb", "xxx.ipynb cannot be written (File name too long)"),
        (f"{'x/' * 3000}out.ipynb", "out.ipynb cannot be written (File name too long)"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_the_run(
    out: str, words: str, book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_notebook(book / "02_caching.ipynb", "raise AssertionError('must not start')")
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "taken.failed.ipynb").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ChapterError) as caught:
        execute(Path(out))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_may_not_be_written_is_refused_before_the_run(
    book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what the system answers then, since for its superuser no folder is read-only."""

    def refuse(**_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    write_notebook(book / "02_caching.ipynb", "raise AssertionError('must not start')")
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(ChapterError, match=r"out\.ipynb cannot be written \(Permission denied\)"):
        execute(tmp_path / "out.ipynb")


def test_a_disk_that_is_full_at_the_end_leaves_an_earlier_output_whole(
    book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(part: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_notebook(book / "02_caching.ipynb", "pass")
    out = tmp_path / "out.ipynb"
    out.write_text("an earlier run")
    monkeypatch.setattr(Path, "replace", fill)
    with pytest.raises(ChapterError, match=r"out\.ipynb cannot be written \(No space left"):
        execute(out)
    assert out.read_text() == "an earlier run"
    assert {path.name for path in tmp_path.iterdir()} == {"book", "out.ipynb"}


def test_the_kernel_says_nothing_on_the_terminal(
    book: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    late = "import logging\nlogging.getLogger('tornado.general').error('a socket is closed')"
    write_notebook(book / "02_caching.ipynb", "print('shown in the notebook')", late)
    execute(tmp_path / "out.ipynb")
    assert capfd.readouterr() == ("", "")
    assert json.loads((tmp_path / "out.ipynb").read_text())["cells"][-1]["outputs"] == []


def test_a_relative_folder_of_images_is_found_from_where_the_user_is(
    book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_notebook(book / "02_caching.ipynb", "import os; print(os.listdir('photos'))")
    write_images(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    execute(Path("out.ipynb"), dataset="image-folder:photos")
    assert "'train'" in Path("out.ipynb").read_text()


def _executed(run: int) -> dict[str, Any]:
    """A notebook as papermill leaves it; times, process and patch version depend on the run."""
    times = {"start_time": f"2020-01-01T00:00:0{run}", "duration": 0.1 + run}
    cell: dict[str, Any] = {
        "cell_type": "code",
        "id": f"{run:08x}",
        "metadata": {
            "papermill": times,
            "execution": {"iopub.execute_input": f"2020-01-01T00:00:0{run}Z"},
            "tags": [],
        },
        "execution_count": 1,
        "outputs": [{"output_type": "stream", "name": "stdout", "text": ["93.1 % – ε\n"]}],
        "source": ["print(accuracy)"],
    }
    tagged = cell | {"metadata": {**cell["metadata"], "tags": ["summary"]}}
    language = {"name": "python", "version": f"3.11.{run}", "pygments_lexer": "ipython3"}
    metadata = {"papermill": times, "language_info": language, "kernelspec": {"name": "python3"}}
    return {"cells": [cell, tagged], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def test_scrub_removes_what_differs_between_equal_runs(tmp_path: Path) -> None:
    paths = [tmp_path / f"{run}.ipynb" for run in range(2)]
    for run, path in enumerate(paths):
        path.write_text(json.dumps(_executed(run)))
        chapters.scrub(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    found = json.loads(paths[0].read_text(encoding="utf-8"))
    assert found["metadata"] == {
        "kernelspec": {"name": "python3"},
        "language_info": {"name": "python", "pygments_lexer": "ipython3"},
    }
    assert [cell["metadata"] for cell in found["cells"]] == [{}, {"tags": ["summary"]}]
    assert [cell["id"] for cell in found["cells"]] == ["cell-0", "cell-1"]
    assert found["cells"][0]["outputs"] == _executed(0)["cells"][0]["outputs"]


def test_scrub_joins_what_was_printed_in_a_row(tmp_path: Path) -> None:
    path = tmp_path / "run.ipynb"
    notebook = _executed(0)
    printed = {"output_type": "stream", "name": "stdout"}
    picture = {"output_type": "display_data", "data": {}, "metadata": {}}
    notebook["cells"][0]["outputs"] = [
        *(printed | {"text": ["1\n"]}, printed | {"text": ["2\n", "3"]}, picture),
        *(printed | {"text": ["1\n"]}, printed | {"name": "stderr", "text": ["1\n"]}),
    ]
    path.write_text(json.dumps(notebook))
    chapters.scrub(path)
    outputs = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["outputs"]
    assert [output.get("text") for output in outputs] == [
        ["1\n", "2\n", "3"],
        None,
        ["1\n"],
        ["1\n"],
    ]


def test_scrub_keeps_results_that_differ(tmp_path: Path) -> None:
    path = tmp_path / "run.ipynb"
    changed = _executed(0)
    changed["cells"][0]["outputs"][0]["text"] = ["93.2 %\n"]
    path.write_text(json.dumps(changed))
    chapters.scrub(path)
    assert "93.2 %" in path.read_text(encoding="utf-8")


# --- what the pages say ------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_provenance_names_what_the_book_does_at_another_size_than_the_paper(name: str) -> None:
    page = json.loads((chapters.BOOK / "provenance.ipynb").read_text(encoding="utf-8"))
    text = "\n".join("".join(cell["source"]) for cell in page["cells"])
    [section] = re.findall(rf"^In {{doc}}`{CHAPTERS[name].path.stem}`:$(.*?)^#", text, re.M | re.S)
    quick, paper = (CHAPTERS[name].profiles[profile] for profile in ("quick", "paper"))
    differing = [field for field in quick if quick[field] != paper[field]]
    assert [field for field in differing if f"`{field}`" not in section] == []


def test_commands_in_the_text_name_chapters_and_parameters_that_exist() -> None:
    pages = [chapters.README, *chapters.BOOK.glob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    text += "\n".join(cell["source"] for name in NAMES for cell in read(name))
    commands = re.findall(r"(?:fmlib run|papermill book/\d\d_)\s*(\w+)(.*)", text)
    assert len(commands) >= 5
    for name, rest in commands:
        known = ["profile", *CHAPTERS[name].settings.model_fields]
        assert [key for key in re.findall(r"-p (\w+)", rest) if key not in known] == []


def test_readme_shows_the_committed_results() -> None:
    """The README's table is what `make chapters` writes."""
    start, end = chapters._HEADLINE
    shown = chapters.README.read_text(encoding="utf-8").split(start)[1].split(end)[0]
    assert shown.strip() == chapters.headline().strip()
    assert len(shown.splitlines()) > 10
