"""Datasets: what is bundled, what is read from disk, what is refused.

Full datasets are looked for in the folder that FMLIB_DATA names; where there is none the
tests that compare with them are skipped.  All other tests write their own small files.
"""

import gzip
import hashlib
import io
import os
import re
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.error import URLError

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from fmlib import data  # declares what torchvision needs before it is imported

# isort: split
from torchvision import datasets

Bytes = NDArray[np.uint8]

FULL = Path(os.environ.get("FMLIB_DATA", ""))
HAS_FULL = "FMLIB_DATA" in os.environ and (FULL / "MNIST" / "raw").is_dir()
needs_full = pytest.mark.skipif(
    not HAS_FULL, reason="FMLIB_DATA does not name a folder with MNIST/raw; set it to compare"
)
FIRST_LABELS = {"mnist": [5, 0, 4, 1, 9], "fashion-mnist": [9, 0, 0, 3, 0]}


def _bytes(*shape: int, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# --- bundled subsets ---------------------------------------------------------------------


@pytest.mark.parametrize("name", FIRST_LABELS)
def test_bundled_subset(name: str) -> None:
    found = data.load(name, 12_000, 2_000)
    assert found.train_images.shape == (12_000, 1, 28, 28)
    assert found.test_images.shape == (2_000, 1, 28, 28)
    for images, labels in (
        (found.train_images, found.train_labels),
        (found.test_images, found.test_labels),
    ):
        assert images.dtype == torch.float32
        assert labels.dtype == torch.int64
        assert labels.shape == images.shape[:1]
        assert (images.min().item(), images.max().item()) == (0, 1)
        assert set(labels.tolist()) == set(range(10))
    assert found.train_labels[:5].tolist() == FIRST_LABELS[name]
    assert (found.name, found.origin) == (name, "bundled subset")
    assert (found.n_classes, found.image_shape) == (10, (1, 28, 28))
    assert len(found.class_names) == 10


def test_bundled_colour_images() -> None:
    """Four classes have 2,000 + 500 images, the six others 1,000 + 100."""
    shown = data.load(data.SHOWN_CLASSES, 8000, 2000)
    assert shown.class_names == ("frog", "bird", "ship", "automobile")
    assert shown.train_labels.bincount().tolist() == [2000] * 4
    assert shown.test_labels.bincount().tolist() == [500] * 4
    assert shown.origin == "bundled subset (lossy JPEG)"
    others = data.load(data.OTHER_CLASSES, 6000, 600)
    assert others.train_labels.bincount().tolist() == [1000] * 6
    assert others.test_labels.bincount().tolist() == [100] * 6
    assert {*shown.class_names, *others.class_names} == set(data.OBJECTS)


def test_decoded_colour_images_are_the_same_everywhere() -> None:
    """An image library that decodes JPEG otherwise would change every number of the pages."""
    checksum = data.load(data.SHOWN_CLASSES, 8000, 2000).checksum
    assert checksum == "825c67097c7e5b6147c77021d8c044168666d1c91fc931ec496ac9453e73d7c4"


def test_some_classes_are_numbered_in_the_order_given() -> None:
    whole, some = data.load("mnist", 12_000, 2_000), data.load("mnist:7,3", 500, 100)
    assert some.class_names == ("7", "3")
    for number, digit in enumerate((7, 3)):
        found = some.train_images[some.train_labels == number]
        assert torch.equal(found, whole.train_images[whole.train_labels == digit][: len(found)])
    assert some.train_labels[:8].tolist() == [1, 1, 1, 0, 1, 0, 1, 0]


def test_counts_take_the_first_images_in_order() -> None:
    few, more = data.load("mnist", 5, 3), data.load("mnist", 40, 7)
    assert torch.equal(few.train_images, more.train_images[:5])
    assert torch.equal(few.train_labels, more.train_labels[:5])
    assert torch.equal(few.test_images, more.test_images[:3])
    assert few.test_labels.tolist() == [7, 2, 1]


def test_checksum_is_of_exactly_the_pixels_and_labels() -> None:
    found = data.load("mnist", 5, 3)
    parts = (found.train_images, found.train_labels, found.test_images, found.test_labels)
    scale = (255, 1, 255, 1)
    content = b"".join(
        (part.double() * factor).round().to(torch.uint8).numpy().tobytes()
        for part, factor in zip(parts, scale, strict=True)
    )
    assert found.checksum == hashlib.sha256(content).hexdigest()
    assert data.load("mnist", 5, 3, dtype=torch.float64).checksum == found.checksum
    others = [data.load("mnist", 6, 3), data.load("mnist", 5, 4), data.load("fashion-mnist", 5, 3)]
    assert len({found.checksum, *(other.checksum for other in others)}) == 4


def test_float64_images_are_drawn_from_bytes_without_float32_between() -> None:
    images = data.load("mnist", 20, 1, dtype=torch.float64).train_images
    assert images.dtype == torch.float64
    assert torch.equal(images, (images * 255).round() / 255)


def test_chance_is_the_share_of_the_most_frequent_class() -> None:
    found = data.load("mnist", 1, 10)
    assert found.test_labels.tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert found.chance == 20


def test_stratified_subset_has_the_shares_of_the_whole() -> None:
    whole, part = (
        data.load("mnist", 12_000, 2_000),
        data.load("mnist", 1_200, 200, stratified_seed=0),
    )
    for all_labels, labels in (
        (whole.train_labels, part.train_labels),
        (whole.test_labels, part.test_labels),
    ):
        expected = all_labels.bincount().double() / 10
        assert (labels.bincount(minlength=10) - expected).abs().max().item() <= 1
        assert int(labels.bincount().sum()) == len(all_labels) // 10


def test_stratified_seed_is_used() -> None:
    first, again, other = (data.load("mnist", 300, 50, stratified_seed=s) for s in (1, 1, 2))
    assert torch.equal(first.train_images, again.train_images)
    assert first.checksum == again.checksum
    assert first.checksum != other.checksum
    assert not torch.equal(first.train_images, data.load("mnist", 300, 50).train_images)


@pytest.mark.parametrize(
    ("name", "n_train", "n_test", "message"),
    [
        (
            "mnits",
            5,
            5,
            "'mnits' is not known; choose one of mnist, fashion-mnist, cifar10",
        ),
        ("image-folder:", 5, 5, "dataset 'image-folder:' is not known"),
        ("cifar100:cat", 5, 5, "dataset 'cifar100:cat' is not known; choose one of mnist"),
        ("cifar10:cat,tiger", 5, 5, "names the classes cat, tiger; choose different ones of air"),
        ("cifar10:cat,cat", 5, 5, "names the classes cat, cat; choose different ones of airplane"),
        ("mnist:", 5, 5, "names the classes ; choose different ones of 0, 1, 2, 3"),
        ("mnist", 0, 5, "n_train is 0; give at least 1, or None"),
        ("mnist", 5, -2, "n_test is -2; give at least 1, or None"),
    ],
)
def test_impossible_requests(name: str, n_train: int, n_test: int, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        data.load(name, n_train, n_test)


def test_altered_bundled_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    packed = bytearray((data._BUNDLED / "mnist.npz.xz").read_bytes())
    packed[1000] ^= 1
    (tmp_path / "mnist.npz.xz").write_bytes(packed)
    monkeypatch.setattr(data, "_BUNDLED", tmp_path)
    with pytest.raises(ValueError, match=r"mnist\.npz\.xz was altered .* reinstall fmlib"):
        data.load("mnist", 5, 5)


# --- idx files ---------------------------------------------------------------------------


def _idx(values: Bytes) -> bytes:
    """The idx format: type, number of axes, big-endian sizes, bytes."""
    sizes = np.array(values.shape, dtype=">i4").tobytes()
    return bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()


@pytest.fixture
def idx_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A data folder with a small MNIST (7 + 4 images), half of it gzipped; returns raw/."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    md5 = {}
    for seed, (split, count) in enumerate((("train", 7), ("t10k", 4))):
        images, labels = _bytes(count, 28, 28, seed=seed), _bytes(count, seed=seed) % 10
        for file, values in (
            (f"{split}-images-idx3-ubyte", images),
            (f"{split}-labels-idx1-ubyte", labels),
        ):
            content = _idx(values)
            md5[file] = hashlib.md5(content, usedforsecurity=False).hexdigest()
            if split == "train":
                (raw / f"{file}.gz").write_bytes(gzip.compress(content))
            else:
                (raw / file).write_bytes(content)
    monkeypatch.setitem(data._IDX_MD5, "mnist", md5)
    monkeypatch.setenv("FMLIB_DATA", str(tmp_path))
    monkeypatch.setattr(datasets, "MNIST", _no_network)
    return raw


def _no_network(root: str, *, train: bool, download: bool) -> None:
    """Stands in for torchvision's class on a machine without a network."""
    assert download
    raise URLError(f"no route to the mirror of {root}, train={train}")


def test_full_dataset_is_read_packed_or_not(idx_folder: Path) -> None:
    found = data.load("mnist")
    assert found.origin == str(idx_folder)
    assert np.array_equal((found.train_images * 255).round().numpy(), _bytes(7, 1, 28, 28))
    assert np.array_equal((found.test_images * 255).round().numpy(), _bytes(4, 1, 28, 28, seed=1))
    assert found.train_labels.tolist() == (_bytes(7) % 10).tolist()
    assert found.test_labels.tolist() == (_bytes(4, seed=1) % 10).tolist()


def test_request_that_fits_is_served_from_the_bundled_subset(idx_folder: Path) -> None:
    """Whether or not the full data is present."""
    assert data.load("mnist", 5, 3).train_labels.tolist() == FIRST_LABELS["mnist"]
    assert data.load("mnist", 5).train_labels.tolist() == (_bytes(7) % 10).tolist()[:5]


def test_more_images_than_there_are(idx_folder: Path) -> None:
    message = "n_train is 12001, but mnist has 7 such images; give at most 7"
    with pytest.raises(ValueError, match=message):
        data.load("mnist", 12_001, 1)


def _truncate(packed: bytes) -> bytes:
    return packed[: len(packed) // 2]


def _alter_deflated(packed: bytes) -> bytes:
    """An impossible block type at the start of the compressed data."""
    return packed[:10] + b"\xff" + packed[11:]


def _alter_inside(packed: bytes) -> bytes:
    content = bytearray(gzip.decompress(packed))
    content[100] ^= 1
    return gzip.compress(bytes(content))


def _foreign(packed: bytes) -> bytes:
    return gzip.compress(_idx(_bytes(7, 28, 28, seed=9)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_truncate, "is not a whole gzip file"),
        (_alter_deflated, "is not a whole gzip file"),
        (lambda packed: b"<html>", "is not a whole gzip file"),
        (_alter_inside, "is truncated, altered or another file"),
        (_foreign, "is truncated, altered or another file"),
    ],
)
def test_damaged_idx_file_is_refused_by_name(
    idx_folder: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    file = idx_folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(ValueError, match=f"{re.escape(str(file))} {message}.*delete it"):
        data.load("mnist")


@pytest.mark.parametrize("length", [0, 10])
def test_truncated_unpacked_idx_file_is_refused(idx_folder: Path, length: int) -> None:
    file = idx_folder / "t10k-labels-idx1-ubyte"
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(ValueError, match="is truncated, altered or another file"):
        data.load("mnist")


@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError("all mirrors failed")])
@pytest.mark.parametrize(
    ("name", "class_name"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")]
)
def test_missing_full_dataset_offline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, class_name: str, error: Exception
) -> None:
    """One sentence names the folder, the files and both remedies."""

    def fail(root: str, **settings: bool) -> None:
        assert root == str(tmp_path)
        raise error

    monkeypatch.setenv("FMLIB_DATA", str(tmp_path))
    monkeypatch.setattr(datasets, class_name, fail)
    with pytest.raises(FileNotFoundError) as caught:
        data.load(name)
    message = str(caught.value)
    assert "\n" not in message
    assert ". " not in message
    for part in (
        f"{name} is not in {tmp_path}",
        f"{class_name}/raw/",
        "FMLIB_DATA",
        "12,000 + 2,000",
    ):
        assert part in message
    assert caught.value.__cause__ is error


def test_missing_full_dataset_is_downloaded(
    idx_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchvision's class is asked for both halves, and what it leaves is checked and read."""
    stored = {file: file.read_bytes() for file in idx_folder.iterdir()}
    for file in stored:
        file.unlink()
    asked = []

    def download(root: str, *, train: bool, download: bool) -> None:
        asked.append((root, train, download))
        for file, content in stored.items():
            if ("train" in file.name) == train:
                file.write_bytes(content)

    monkeypatch.setattr(datasets, "MNIST", download)
    assert len(data.load("mnist").test_labels) == 4
    root = str(idx_folder.parent.parent)
    assert asked == [(root, True, True), (root, False, True)]


def test_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FMLIB_DATA", str(tmp_path))
    assert data.data_folder() == tmp_path
    monkeypatch.delenv("FMLIB_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data.data_folder() == tmp_path / "cache" / "fmlib"


# --- full datasets -----------------------------------------------------------------------


@needs_full
@pytest.mark.parametrize("name", FIRST_LABELS)
def test_bundled_images_are_the_first_of_the_full_set(name: str) -> None:
    full, bundled = data.load(name), data.load(name, 12_000, 2_000)
    assert (len(full.train_labels), len(full.test_labels)) == (60_000, 10_000)
    assert full.origin != bundled.origin
    assert torch.equal(full.train_images[:12_000], bundled.train_images)
    assert torch.equal(full.train_labels[:12_000], bundled.train_labels)
    assert torch.equal(full.test_images[:2_000], bundled.test_images)
    assert torch.equal(full.test_labels[:2_000], bundled.test_labels)


@needs_full
@pytest.mark.parametrize("name", [data.SHOWN_CLASSES, data.OTHER_CLASSES, "cifar10"])
def test_bundled_colour_images_are_the_first_of_the_full_set(name: str) -> None:
    full, bundled = data.load(name), data.load(name, 6000, 600)
    assert len(full.train_labels) == 5000 * full.n_classes
    assert full.origin != bundled.origin
    assert torch.equal(full.train_images[:6000], bundled.train_images)
    assert torch.equal(full.train_labels[:6000], bundled.train_labels)
    assert torch.equal(full.test_images[:600], bundled.test_images)
    assert torch.equal(full.test_labels[:600], bundled.test_labels)


@needs_full
@pytest.mark.parametrize(
    ("file", "md5"),
    [
        ("train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb"),
        ("train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624"),
        ("t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea"),
        ("t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637"),
    ],
)
def test_md5_of_unpacked_mnist(file: str, md5: str) -> None:
    packed, plain = FULL / "MNIST" / "raw" / f"{file}.gz", FULL / "MNIST" / "raw" / file
    content = plain.read_bytes() if plain.is_file() else gzip.decompress(packed.read_bytes())
    assert hashlib.md5(content, usedforsecurity=False).hexdigest() == md5
    assert data._IDX_MD5["mnist"][file] == md5


# --- CIFAR-10 ----------------------------------------------------------------------------


@pytest.fixture
def cifar_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty CIFAR10 folder."""
    monkeypatch.setenv("FMLIB_DATA", str(tmp_path))
    (tmp_path / "CIFAR10").mkdir()
    return tmp_path / "CIFAR10"


def _cifar_rows(seed: int) -> Bytes:
    """Ten thousand rows of a label and 3 x 32 x 32 bytes, most of them zero."""
    rows = np.zeros((10_000, 3073), np.uint8)
    rows[:, 0] = _bytes(10_000, seed=seed) % 10
    rows[:20, 1:] = _bytes(20, 3072, seed=seed)
    return rows


def test_cifar10_binary_round_trip(cifar_folder: Path) -> None:
    folder = cifar_folder / "cifar-10-batches-bin"
    folder.mkdir()
    for number in range(1, 6):
        (folder / f"data_batch_{number}.bin").write_bytes(_cifar_rows(number).tobytes())
    (folder / "test_batch.bin").write_bytes(_cifar_rows(0).tobytes())
    found = data.load("cifar10", 10_010, 5)
    assert found.image_shape == (3, 32, 32)
    assert found.origin == str(folder)
    assert found.class_names[0] == "airplane"
    pixels = (found.train_images * 255).round().numpy()
    assert np.array_equal(pixels[:20].reshape(20, -1), _cifar_rows(1)[:20, 1:])
    assert np.array_equal(pixels[10_000:].reshape(10, -1), _cifar_rows(2)[:10, 1:])
    assert found.train_labels[10_000:].tolist() == _cifar_rows(2)[:10, 0].tolist()
    assert found.test_labels.tolist() == _cifar_rows(0)[:5, 0].tolist()


@pytest.mark.parametrize("size", [None, 0, 3073 * 9_999])
def test_cifar10_batch_of_wrong_size_is_refused(cifar_folder: Path, size: int | None) -> None:
    folder = cifar_folder / "cifar-10-batches-bin"
    folder.mkdir()
    if size is not None:
        (folder / "data_batch_1.bin").write_bytes(bytes(size))
    message = rf"data_batch_1\.bin has {size or 0} bytes instead of 30730000"
    with pytest.raises(ValueError, match=message):
        data.load("cifar10")


@pytest.mark.parametrize("place", ["CIFAR10/cifar-10-batches-py", "cifar-10-batches-py"])
def test_pickled_cifar10_is_refused(cifar_folder: Path, place: str) -> None:
    (cifar_folder.parent / place).mkdir()
    with pytest.raises(ValueError, match="pickled files, which are never opened here; use the bin"):
        data.load("cifar10")


def test_missing_cifar10_names_the_folder(cifar_folder: Path) -> None:
    message = f"cifar10 is not in {cifar_folder.parent} .*CIFAR10/cifar-10-batches-bin"
    with pytest.raises(FileNotFoundError, match=message):
        data.load("cifar10")


def _write_jpegs(path: Path, names: list[str]) -> None:
    """A tar of grey-level JPEG files; image k has the value 10 k everywhere."""
    with tarfile.open(path, "w:xz") as tar:
        for k, name in enumerate(names):
            file = io.BytesIO()
            Image.new("RGB", (32, 32), (10 * k,) * 3).save(file, "JPEG", quality=95)
            entry = tarfile.TarInfo(name)
            entry.size = file.tell()
            file.seek(0)
            tar.addfile(entry, file)


def test_cifar10_jpegs_are_interleaved_over_classes(
    cifar_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cifar_folder / "cifar10-jpeg.tar.xz"
    files = ("train/cat/0001", "train/cat/0002", "train/airplane/0002", "train/airplane/0001")
    _write_jpegs(path, [f"c/{name}.jpg" for name in (*files, "test/truck/0001")])
    with pytest.raises(ValueError, match=r"cifar10-jpeg\.tar\.xz is truncated, altered or another"):
        data.load("cifar10")
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(data, "_CIFAR10_JPEG_MD5", md5)
    found = data.load("cifar10")
    assert found.train_labels.tolist() == [0, 3, 0, 3]
    assert found.test_labels.tolist() == [9]
    values = (found.train_images[:, 0, 0, 0] * 255).round().tolist()
    assert values == pytest.approx([30, 0, 20, 10], abs=2)
    assert "lossy JPEG" in found.origin


# --- image folders -----------------------------------------------------------------------


def _write_images(root: Path, files: dict[str, Bytes]) -> str:
    """Write arrays (H, W) or (H, W, 3) as PNG files; returns the dataset's name."""
    for name, pixels in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    return f"image-folder:{root}"


GREY = {
    "train/zebra/a.png": _bytes(4, 5, seed=0),
    "train/ant/b.png": _bytes(4, 5, seed=1),
    "train/ant/c.PNG": _bytes(4, 5, seed=2),
    "val/ant/a.png": _bytes(4, 5, seed=3),
    "val/zebra/a.png": _bytes(4, 5, seed=4),
}


def test_grey_image_folder(tmp_path: Path) -> None:
    """Classes in the order of their names; images interleaved over classes, then by name."""
    found = data.load(_write_images(tmp_path, GREY))
    assert found.class_names == ("ant", "zebra")
    assert found.image_shape == (1, 4, 5)
    assert found.train_labels.tolist() == [0, 1, 0]
    assert found.test_labels.tolist() == [0, 1]
    pixels = (found.train_images[:, 0] * 255).round().numpy()
    for image, name in zip(pixels, ("ant/b.png", "zebra/a.png", "ant/c.PNG"), strict=True):
        assert np.array_equal(image, GREY[f"train/{name}"])
    assert found.origin == str(tmp_path)


def test_colour_image_folder(tmp_path: Path) -> None:
    """RGB becomes three channels first."""
    files = {
        f"{split}/{c}/1.png": _bytes(3, 2, 3, seed=7) for split in ("train", "val") for c in "ab"
    }
    found = data.load(_write_images(tmp_path, files), 2, 1)
    assert found.image_shape == (3, 3, 2)
    pixels = (found.train_images[0] * 255).round().numpy()
    assert np.array_equal(pixels.transpose(1, 2, 0), files["train/a/1.png"])
    assert len(found.test_labels) == 1


def test_class_name_is_plain_text(tmp_path: Path) -> None:
    odd = "<img onerror=alert(1)>"
    files = {f"{split}/{odd}/1.png": _bytes(2, 2) for split in ("train", "val")}
    assert data.load(_write_images(tmp_path, files)).class_names == (odd,)


def test_class_name_that_is_no_unicode_is_shown_with_marks_for_its_bytes(tmp_path: Path) -> None:
    """Such as a folder from an archive in another encoding."""
    name = b"caf\xe9"
    for split in (b"train", b"val"):
        folder = os.fsencode(tmp_path) + b"/" + split + b"/" + name
        os.makedirs(folder)
        Image.fromarray(_bytes(2, 2)).save(Path(os.fsdecode(folder)) / "1.png")
    assert data.load(f"image-folder:{tmp_path}").class_names == ("caf\ufffd",)


def test_hidden_folders_and_files_are_no_part_of_an_image_folder(tmp_path: Path) -> None:
    """What notebooks and file managers leave behind."""
    name = _write_images(tmp_path, GREY)
    expected = data.load(name)
    (tmp_path / "train/.ipynb_checkpoints").mkdir()
    (tmp_path / "val/.cache").mkdir()
    (tmp_path / "train/ant/._b.png").write_bytes(b"resource fork")
    (tmp_path / "train/ant/notes.txt").write_text("no image")
    found = data.load(name)
    assert (found.class_names, found.checksum) == (expected.class_names, expected.checksum)


def test_home_folder_may_be_written_as_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_images(tmp_path / "photos", GREY)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.load("image-folder:~/photos").origin == str(tmp_path / "photos")


BLUE, WHITE, HALF_RED = (0, 0, 255), (255, 255, 255), (255, 0, 0, 128)


def _palette_image() -> Image.Image:
    """A blue pixel, and one that is transparent."""
    image = Image.new("P", (2, 1))
    image.putpalette([*BLUE, 1, 2, 3])
    image.putpixel((1, 0), 1)
    image.info["transparency"] = 1
    return image


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(np.array([[0, 128, 129, 257, 65535]], np.uint16)), [0, 0, 1, 1, 255]),
        (Image.fromarray(np.array([[True, False]])), [255, 0]),
        (Image.fromarray(np.array([[[9, 255], [9, 0], [55, 51]]], np.uint8)), [9, 255, 215]),
        (_palette_image(), [BLUE, WHITE]),
        (Image.new("RGBA", (1, 1), (*BLUE, 255)), [BLUE]),
        (Image.new("RGBA", (1, 1), (*BLUE, 0)), [WHITE]),
        (Image.new("RGBA", (1, 1), HALF_RED), [(255, 127, 127)]),
    ],
    ids=["16 bits", "1 bit", "grey, alpha", "palette", "opaque", "transparent", "half"],
)
def test_other_kinds_of_pixels_become_bytes_of_grey_or_rgb(
    image: Image.Image, expected: list[Any], tmp_path: Path
) -> None:
    """16 bits are rounded to 8; what is transparent becomes white."""
    image.save(tmp_path / "a.png")
    pixels = data._read_image(tmp_path / "a.png")  # (C, 1, W)
    assert pixels.dtype == np.uint8
    assert pixels[:, 0].T.tolist() == [list(np.atleast_1d(pixel)) for pixel in expected]


FORMATS = {"png": "RGBA", "gif": "P", "jpg": "RGB", "bmp": "P", "webp": "RGB"}


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_damaged_image_is_read_or_refused(suffix: str, tmp_path: Path, draw: Any) -> None:
    """Whatever bytes are changed or cut off: there is no other error, and no flood of pixels."""
    file = tmp_path / f"a.{suffix}"
    Image.fromarray(_bytes(9, 8, 3)).convert(FORMATS[suffix]).save(file)
    content = bytearray(file.read_bytes())
    places = st.integers(0, len(content) - 1)
    for place, value in draw.draw(st.dictionaries(places, st.integers(0, 255), max_size=4)).items():
        content[place] = value
    file.write_bytes(content[: draw.draw(st.just(len(content)) | places)])
    with mock.patch.object(Image, "MAX_IMAGE_PIXELS", 1000), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        message = ""
        try:
            assert data._read_image(file).size <= 3 * 2000
        except ValueError as error:
            message = str(error)
    assert message in ("", f"{file} cannot be read as an image; remove or replace it")


def test_checksum_of_an_image_folder_follows_its_pixels(tmp_path: Path) -> None:
    name = _write_images(tmp_path, GREY)
    before = data.load(name).checksum
    _write_images(tmp_path, {"val/ant/a.png": _bytes(4, 5, seed=9)})
    assert data.load(name).checksum != before


def _broken(tmp_path: Path, kept: int) -> None:
    file = tmp_path / "train/ant/b.png"
    file.write_bytes(file.read_bytes()[:kept])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: _broken(root, 4), r"b\.png cannot be read as an image; remove or replace"),
        (lambda root: _broken(root, 50), r"b\.png cannot be read as an image; remove or replace"),
        (lambda root: (root / "train/ant/d.png").mkdir(), r"d\.png cannot be read as an image"),
        (lambda root: _write_images(root, {"train/ant/d.png": _bytes(4, 6)}), "different sizes"),
        (lambda root: _write_images(root, {"train/ant/d.png": _bytes(4, 5, 3)}), "channel counts"),
        (
            lambda root: _write_images(root, {"val/bee/a.png": _bytes(4, 5)}),
            r"val/ has \['ant', 'b",
        ),
        (lambda root: (root / "val/ant/a.png").unlink(), "val/ant holds no image"),
        (
            lambda root: _write_images(
                root, {f"val/{c}/a.png": _bytes(8, 8) for c in ("ant", "zebra")}
            ),
            "images of train/ and val/ differ in size",
        ),
    ],
)
def test_unusable_image_folders(tmp_path: Path, spoil: Callable[[Path], Any], message: str) -> None:
    name = _write_images(tmp_path, GREY)
    spoil(tmp_path)
    with pytest.raises(ValueError, match=message):
        data.load(name)


def test_an_image_folder_without_classes_is_refused(tmp_path: Path) -> None:
    """Images right inside train/ and val/, or hidden folders, make no class."""
    name = _write_images(tmp_path, {f"{split}/a.png": _bytes(4, 5) for split in ("train", "val")})
    (tmp_path / "train/.ipynb_checkpoints").mkdir()
    with pytest.raises(ValueError, match=r"train/ has the class folders \[\], val/ has \[\]"):
        data.load(name)


def test_more_images_than_the_folder_holds(tmp_path: Path) -> None:
    name = _write_images(tmp_path, GREY)
    with pytest.raises(ValueError, match=r"n_test is 3, but .* has 2 such images; give at most 2"):
        data.load(name, 3, 3)


def test_missing_parts_of_an_image_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="train does not exist; an image folder has train/"):
        data.load(f"image-folder:{tmp_path}")
    (tmp_path / "train").mkdir()
    with pytest.raises(FileNotFoundError, match="val does not exist"):
        data.load(f"image-folder:{tmp_path}")
    (tmp_path / "val").mkdir()
    with pytest.raises(ValueError, match="both need the same, at least one"):
        data.load(f"image-folder:{tmp_path}")


def test_at_most_256_classes(tmp_path: Path) -> None:
    """Labels are stored as bytes."""
    for split in ("train", "val"):
        for k in range(257):
            (tmp_path / split / str(k)).mkdir(parents=True)
    with pytest.raises(ValueError, match="has 257 class folders; 256 is the most"):
        data.load(f"image-folder:{tmp_path}")


# --- weights of networks -------------------------------------------------------------------


def test_weights_are_read_from_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32, whatever they were stored in."""
    monkeypatch.setenv("FMLIB_DATA", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)
    weights = {"features.0.weight": torch.tensor([[1.5, -2.0]]).half(), "bias": torch.ones(2)}
    for name, file in (("squeezenet", "squeezenet1_1.pth"), ("vgg16", "vgg16.pth")):
        torch.save(weights, tmp_path / file)
        found = data.imagenet_weights(name)
        assert {key: value.tolist() for key, value in found.items()} == {
            "features.0.weight": [[1.5, -2.0]],
            "bias": [1.0, 1.0],
        }
        assert {value.dtype for value in found.values()} == {torch.float32}


def test_absent_weights_are_downloaded_into_a_folder_that_may_be_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(url: str, path: str, *, progress: bool) -> None:
        assert re.fullmatch(r"https://download\.pytorch\.org/.*squeezenet1_1-\w+\.pth", url)
        assert not progress
        torch.save({"bias": torch.ones(3)}, path)

    monkeypatch.setenv("FMLIB_DATA", str(tmp_path / "new" / "folder"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    assert data.imagenet_weights("squeezenet")["bias"].tolist() == [1, 1, 1]
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)
    assert data.imagenet_weights("squeezenet")["bias"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("error", [URLError("no network"), OSError("full"), RuntimeError("hash")])
def test_weights_that_cannot_be_had_are_named_with_the_remedy(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FMLIB_DATA", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", mock.Mock(side_effect=error))
    message = (
        f"the weights of vgg16 are not in {tmp_path} and could not be downloaded; "
        "put vgg16.pth there, or set FMLIB_DATA to a folder that has it"
    )
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(message)}$"):
        data.imagenet_weights("vgg16")


def _saved(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>not found</html>",
        bytes(range(256)),
        _saved({"bias": torch.ones(100)})[:-200],
        _saved([torch.ones(2)]),
        _saved({"bias": 3}),
        _saved(Path("code")),
    ],
    ids=["empty", "text", "bytes", "cut off", "list", "no tensor", "object"],
)
def test_a_file_without_weights_is_refused(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing in it is run, either."""
    path = tmp_path / "vgg16.pth"
    path.write_bytes(content)
    monkeypatch.setenv("FMLIB_DATA", str(tmp_path))
    message = f"{path} holds no weights of a network; delete it"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        data.imagenet_weights("vgg16")
