"""Reader of labelled images in the layout of Broden (Bau et al. 2017).

A folder with `index.csv`, a row per image: `image`, `split`, the sizes `ih`, `iw` of the image and
`sh`, `sw` of its masks, and a column per category (`color`, `object`, `part`, `material`, `scene`,
`texture`) that holds, separated by semicolons, files of masks or numbers of concepts that hold of
the whole image; and `label.csv`, a row per concept: `number`, `name` and `category`.  Files lie in
`images`.  A mask's pixel has the number R + 256 G of a concept, 0 for none.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

from fmlib.visualization.concepts import Concept, Labelled

CATEGORIES = ("color", "object", "part", "material", "scene", "texture")
NEEDED = ("image", "split", "ih", "iw", "sh", "sw")
UNUSED = Concept("-", "")
"""Stands for numbers that `label.csv` leaves out."""


class BrodenImages:
    """Labelled images of a folder, read batch by batch whenever they are iterated.

    Args:
        folder: the folder, such as that of Broden 1 at 224 pixels.
        split: `train` or `val`, or whatever `index.csv` calls them; None: all images.
        categories: those whose masks are read; None: all that the file has.
        count: at most so many images, the first ones; None: all.
        batch_size: images of a batch, at least 1.
        dtype: type of the images.

    Raises:
        FileNotFoundError: a folder without these files.
        ValueError: columns, splits or categories that are missing; images or masks of several
            sizes.
    """

    def __init__(
        self,
        folder: Path,
        split: str | None = None,
        categories: Sequence[str] | None = None,
        count: int | None = None,
        batch_size: int = 32,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if batch_size < 1 or (count is not None and count < 1):
            raise ValueError(f"batch_size is {batch_size} and count {count}; give at least 1")
        self._images, self._dtype, self._batch_size = folder / "images", dtype, batch_size
        rows = _read(folder / "index.csv", NEEDED)
        self.categories = _categories(rows[0], categories)
        self._rows = _of_split(rows, split)[:count]
        self._size = _one_size(self._rows, "ih", "iw")
        self._mask_size = _one_size(self._rows, "sh", "sw")
        self.concepts = _concepts(_read(folder / "label.csv", ("number", "name", "category")))

    def __len__(self) -> int:
        """Number of images."""
        return len(self._rows)

    def __iter__(self) -> Iterator[Labelled]:
        """The batches, in the order of `index.csv`."""
        for start in range(0, len(self._rows), self._batch_size):
            rows = self._rows[start : start + self._batch_size]
            images = torch.stack([self._image(row) for row in rows])
            layers = [self._layers(row) for row in rows]
            most = max(len(one) for one in layers)
            padded = [F.pad(one, (0, 0, 0, 0, 0, most - len(one))) for one in layers]
            yield Labelled(images, torch.stack(padded))

    def _image(self, row: dict[str, str]) -> Tensor:
        """One image (3, ih, iw) in [0, 1]."""
        pixels = self._pixels(row["image"], self._size)
        return torch.from_numpy(pixels).permute(2, 0, 1).to(self._dtype) / 255

    def _layers(self, row: dict[str, str]) -> Tensor:
        """Labels (L, sh, sw) of one image; one layer of zeros if it has none."""
        layers = [torch.zeros(self._mask_size, dtype=torch.long)]
        for category in self.categories:
            for entry in filter(None, row[category].split(";")):
                layers.append(self._layer(entry, row["image"]))
        return torch.stack(layers[1:] or layers)

    def _layer(self, entry: str, image: str) -> Tensor:
        if entry.isdigit():
            layer = torch.full(self._mask_size, int(entry))
        else:
            pixels = torch.from_numpy(self._pixels(entry, self._mask_size)).long()
            layer = pixels[..., 0] + 256 * pixels[..., 1]
        if layer.max() > len(self.concepts):
            raise ValueError(
                f"{entry} of {image} has the concept {int(layer.max())}, but label.csv has numbers "
                f"up to {len(self.concepts)}"
            )
        return layer

    def _pixels(self, name: str, size: tuple[int, int]) -> Any:
        """Pixels (h, w, 3) of a file."""
        path = self._images / name
        try:
            with Image.open(path) as opened:
                pixels = np.array(opened.convert("RGB"))
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{path} is missing, which index.csv names") from error
        except (UnidentifiedImageError, OSError) as error:
            raise ValueError(f"{path} cannot be read as an image; replace it") from error
        if pixels.shape[:2] != size:
            raise ValueError(
                f"{path} has {pixels.shape[0]}x{pixels.shape[1]} pixels, but index.csv says "
                f"{size[0]}x{size[1]}"
            )
        return pixels


def _read(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a table that must have these columns."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing; give a folder in Broden's layout, with index.csv, label.csv and "
            "images"
        )
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    missing = [name for name in needed if not rows or name not in rows[0]]
    if missing:
        raise ValueError(f"{path} has no rows, or no columns {', '.join(missing)}; add them")
    return rows


def _categories(row: dict[str, str], wanted: Sequence[str] | None) -> tuple[str, ...]:
    known = tuple(name for name in CATEGORIES if name in row)
    chosen = known if wanted is None else tuple(wanted)
    if not chosen or not set(chosen) <= set(known):
        raise ValueError(
            f"categories is {', '.join(chosen) or 'empty'}; index.csv has "
            f"{', '.join(known) or 'none'}"
        )
    return chosen


def _of_split(rows: list[dict[str, str]], split: str | None) -> list[dict[str, str]]:
    known = sorted({row["split"] for row in rows})
    if split is not None and split not in known:
        raise ValueError(f"split is {split!r}; index.csv has {', '.join(known)}")
    return [row for row in rows if split in (None, row["split"])]


def _one_size(rows: list[dict[str, str]], height: str, width: str) -> tuple[int, int]:
    sizes = {(int(row[height]), int(row[width])) for row in rows}
    if len(sizes) > 1:
        some = ", ".join(f"{h}x{w}" for h, w in sorted(sizes)[:3])
        raise ValueError(
            f"index.csv has several sizes in {height} and {width} ({some}); give one of each"
        )
    return sizes.pop()


def _concepts(rows: list[dict[str, str]]) -> tuple[Concept, ...]:
    """Concepts by number; of several categories, `part(3);object(12)`, the most frequent one."""
    found = {int(row["number"]): Concept(row["name"], _category(row["category"])) for row in rows}
    return tuple(found.get(number, UNUSED) for number in range(1, max(found) + 1))


def _category(text: str) -> str:
    counted = re.findall(r"([^;()]+)(?:\((\d+)\))?", text)
    return max(counted, key=lambda one: int(one[1] or 0))[0].strip() if counted else ""
