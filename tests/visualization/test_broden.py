"""The reader of Broden's layout, on a tiny folder that is made here."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fmlib.visualization.broden import CATEGORIES, BrodenImages
from fmlib.visualization.concepts import Concept
from fmlib.visualization.dissection import dissect
from tests import toy

COLUMNS = ("image", "split", "ih", "iw", "sh", "sw", *CATEGORIES)
LABELS = [
    (1, "wall", "object(5)"), (2, "red-c", "color(9)"), (3, "wheel", "part(2);object(1)"),
    (300, "street-s", "scene(4)"),
]  # fmt: skip


def write_png(path: Path, pixels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)


def write_mask(path: Path, labels: Any) -> None:
    """Labels as R + 256 G."""
    numbers = np.asarray(labels)
    write_png(path, np.stack((numbers % 256, numbers // 256, 0 * numbers), axis=-1))


def write_table(path: Path, columns: Any, rows: Any) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images of 4x4 pixels with masks of 2x2; two are for training."""
    images = tmp_path / "images"
    for at, level in enumerate((0, 51, 255)):
        write_png(images / f"a/{at}.png", np.full((4, 4, 3), level))
    write_mask(images / "a/0_object.png", [[1, 0], [3, 1]])
    write_mask(images / "a/0_part.png", [[3, 300], [0, 0]])
    write_mask(images / "a/0_part2.png", [[0, 0], [3, 0]])
    write_mask(images / "a/1_color.png", [[2, 2], [0, 2]])
    rows = [
        ("a/0.png", "train", 4, 4, 2, 2, "", "a/0_object.png", "a/0_part.png;a/0_part2.png", "",
         "300", ""),
        ("a/1.png", "val", 4, 4, 2, 2, "a/1_color.png", "", "", "", "", ""),
        ("a/2.png", "train", 4, 4, 2, 2, "", "", "", "", "", ""),
    ]  # fmt: skip
    write_table(tmp_path / "index.csv", COLUMNS, rows)
    write_table(tmp_path / "label.csv", ("number", "name", "category"), LABELS)
    return tmp_path


def test_images_and_masks_are_read(folder: Path) -> None:
    images = BrodenImages(folder, batch_size=2)
    assert len(images) == 3
    first, second = images
    assert first.images.shape == (2, 3, 4, 4)
    assert first.images[1].unique().tolist() == [pytest.approx(0.2)]
    assert second.images.unique().tolist() == [1.0]
    assert first.labels[0].tolist() == [
        [[1, 0], [3, 1]],  # object
        [[3, 300], [0, 0]],  # the part's two masks: 300 = 44 + 256
        [[0, 0], [3, 0]],
        [[300, 300], [300, 300]],  # the scene holds of the whole image
    ]
    assert first.labels[1, 0].tolist() == [[2, 2], [0, 2]]
    assert first.labels[1, 1:].max() == 0
    assert second.labels.shape == (1, 1, 2, 2)
    assert second.labels.max() == 0


def test_concepts_have_the_category_that_they_are_of_most_often(folder: Path) -> None:
    concepts = BrodenImages(folder).concepts
    assert len(concepts) == 300
    assert concepts[0] == Concept("wall", "object")
    assert concepts[2] == Concept("wheel", "part")
    assert concepts[299] == Concept("street-s", "scene")
    assert concepts[10] == Concept("-", "")


def test_a_split_a_category_and_a_count_can_be_chosen(folder: Path) -> None:
    assert len(BrodenImages(folder, "train")) == 2
    assert len(BrodenImages(folder, "train", count=1)) == 1
    (batch,) = BrodenImages(folder, "val", ["color"])
    assert batch.labels.tolist() == [[[[2, 2], [0, 2]]]]


def test_its_images_can_be_dissected(folder: Path) -> None:
    images = BrodenImages(folder, batch_size=3, dtype=torch.float64)
    grey = toy.pixel_cnn()
    grey.conv1 = torch.nn.Conv2d(3, 2, 1, dtype=torch.float64)
    found = dissect(grey, "conv1", images, share=0.4, shuffles=2)
    assert found.iou.shape == (2, 300)
    assert found.shuffled.shape == (2, 2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"split": "test"}, "split is 'test'; index.csv has train, val"),
        ({"categories": ["colour"]}, "categories is colour; index.csv has color, object"),
        ({"categories": []}, "categories is empty"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"count": 0}, "count 0; give at least 1"),
    ],
)
def test_what_is_not_there_is_refused(folder: Path, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BrodenImages(folder, **given)


def test_broken_folders_are_refused_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"index.csv is missing; give a folder in Broden"):
        BrodenImages(tmp_path / "nowhere")
    write_mask(folder / "images/a/1_color.png", [[0, 0], [0, 301]])
    with pytest.raises(ValueError, match=r"1_color.png of a/1.png has the concept 301"):
        list(BrodenImages(folder))
    write_mask(folder / "images/a/1_color.png", [[0, 0, 0]])
    with pytest.raises(ValueError, match=r"has 1x3 pixels, but index.csv says 2x2"):
        list(BrodenImages(folder))
    (folder / "images/a/1_color.png").write_text("no picture")
    with pytest.raises(ValueError, match="cannot be read as an image"):
        list(BrodenImages(folder))
    (folder / "images/a/1_color.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1_color.png is missing, which index.csv names"):
        list(BrodenImages(folder))


def test_tables_without_columns_or_of_several_sizes_are_refused(folder: Path) -> None:
    write_table(folder / "label.csv", ("number", "name"), [(1, "wall")])
    with pytest.raises(ValueError, match=r"label.csv has no rows, or no columns category"):
        BrodenImages(folder)
    rows = [("a/0.png", "train", 4, 4, 2, 2), ("a/1.png", "train", 8, 4, 2, 2)]
    write_table(folder / "index.csv", COLUMNS, [(*row, *[""] * 6) for row in rows])
    with pytest.raises(ValueError, match="several sizes in ih and iw"):
        BrodenImages(folder)
