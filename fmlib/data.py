"""Datasets as tensors in [0, 1]: bundled subsets, full sets on disk, image folders.

Every request that fits into the bundled subsets is served from them, whether or not the
full sets are present, so that the same call gives the same numbers everywhere.
"""

import gzip
import hashlib
import io
import lzma
import os
import pickle
import tarfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fmlib import torchvision_compat as torchvision_compat  # must precede torchvision

Arrays = tuple[NDArray[np.uint8], NDArray[np.uint8]]

DIGITS = tuple("0123456789")
GARMENTS = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
OBJECTS = (
    "airplane", "automobile", "bird", "cat", "deer",
    "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
CLASS_NAMES = {"mnist": DIGITS, "fashion-mnist": GARMENTS, "cifar10": OBJECTS}
"""The classes of each dataset, in the order of their numbers."""
FOLDER_PREFIX = "image-folder:"
SHOWN_CLASSES = "cifar10:frog,bird,ship,automobile"
"""The four classes of the bundled CIFAR-10 subset with most images."""
OTHER_CLASSES = "cifar10:airplane,cat,deer,dog,horse,truck"
"""The six others."""

_BUNDLED = Path(__file__).parent / "bundled"
_BUNDLED_SHA256 = {
    "mnist": "ec4da605a97588c26b316926b41e91de00c41989db653e991c7ee23fda28798a",
    "fashion-mnist": "518f8741264245fcebb714e816b6844ecb7e279c1869b9f563d9589c5e8222b8",
    "cifar10": "9ca9655721ff833328207d482724b4ad934d88e43a683494ea914c66cc7390ac",
}
_BUNDLED_COUNTS = {
    "mnist": "12,000 + 2,000",
    "fashion-mnist": "12,000 + 2,000",
    "cifar10": "10,000 + 1,000",
    SHOWN_CLASSES: "8,000 + 2,000",
}
_IDX_FOLDER = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
_IDX_MD5 = {
    "mnist": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
}
_CIFAR10_JPEG_MD5 = "da7e69f9db4b94974a17d6fec79953df"
_CIFAR10_BATCH_BYTES = 10_000 * (1 + 3 * 32 * 32)
_IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")


@dataclass(frozen=True)
class Dataset:
    """Training and test images of one dataset.

    Images have shape (N, C, H, W) and lie in [0, 1]; labels have shape (N,) and are class
    numbers.  `checksum` is the SHA-256 of exactly these pixels and labels; `origin` says
    where they were read from.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]
    checksum: str
    origin: str

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        _, channels, height, width = self.train_images.shape
        return channels, height, width

    @property
    def chance(self) -> float:
        """Accuracy in percent of always naming the most frequent class of the test set."""
        return 100 * self.test_labels.bincount().max().item() / len(self.test_labels)

    def to(self, device: str) -> "Dataset":
        """The same images and labels on a device, such as `cuda`."""
        return replace(
            self,
            train_images=self.train_images.to(device),
            train_labels=self.train_labels.to(device),
            test_images=self.test_images.to(device),
            test_labels=self.test_labels.to(device),
        )


def data_folder() -> Path:
    """Folder of the full datasets: `FMLIB_DATA`, or fmlib's folder in the user's cache."""
    if folder := os.environ.get("FMLIB_DATA"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fmlib"


_WEIGHTS = {
    "squeezenet": ("squeezenet1_1", "SqueezeNet1_1_Weights"),
    "vgg16": ("vgg16", "VGG16_Weights"),
}


_NO_WEIGHTS = (
    *(OSError, RuntimeError, pickle.UnpicklingError),  # no file of torch's
    *(AttributeError, EOFError, LookupError, TypeError, ValueError),  # or something else in it
)
"""What reading a file may raise that is not a dictionary of tensors."""


def imagenet_weights(name: str) -> dict[str, Tensor]:
    """torchvision's weights of a network trained on ImageNet, by name; never unpickled.

    They are read from the data folder (`squeezenet1_1.pth`, `vgg16.pth`), and else downloaded
    by torchvision.

    Args:
        name: `squeezenet` (1.1) or `vgg16`.

    Raises:
        FileNotFoundError: neither there nor to be downloaded.
        ValueError: a file that does not hold weights.
    """
    from torchvision import models

    file, kind = _WEIGHTS[name]
    path = data_folder() / f"{file}.pth"
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            url = getattr(models, kind).DEFAULT.url
            torch.hub.download_url_to_file(url, str(path), progress=False)
        except (OSError, RuntimeError) as error:
            raise FileNotFoundError(
                f"the weights of {name} are not in {data_folder()} and could not be downloaded; "
                f"put {path.name} there, or set FMLIB_DATA to a folder that has it"
            ) from error
    try:
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return {key: value.float() for key, value in weights.items()}
    except _NO_WEIGHTS as error:
        raise ValueError(f"{path} holds no weights of a network; delete it") from error


def check_name(name: str) -> str:
    """Return `name` if a dataset has that name, else raise ValueError with the choices."""
    if name.startswith(FOLDER_PREFIX) and name != FOLDER_PREFIX:
        return name
    whole, *chosen = name.split(":", maxsplit=1)
    if whole not in CLASS_NAMES:
        choices = ", ".join([*CLASS_NAMES, f"{FOLDER_PREFIX}PATH"])
        raise ValueError(f"dataset {name!r} is not known; choose one of {choices}")
    classes = chosen[0].split(",") if chosen else CLASS_NAMES[whole]
    if len(set(classes)) < len(classes) or not set(classes) <= set(CLASS_NAMES[whole]):
        raise ValueError(
            f"dataset {name!r} names the classes {', '.join(classes)}; choose different ones of "
            f"{', '.join(CLASS_NAMES[whole])}"
        )
    return name


def _classes(name: str) -> list[int]:
    """Numbers, in the whole dataset, of the classes that a name chooses, in its order."""
    whole, *chosen = name.split(":", maxsplit=1)
    if not chosen:
        return list(range(len(CLASS_NAMES[whole])))
    return [CLASS_NAMES[whole].index(known) for known in chosen[0].split(",")]


def _chosen(arrays: Arrays, classes: Sequence[int]) -> Arrays:
    """The images of some classes, numbered anew in the order given."""
    images, labels = arrays
    number = np.full(256, 255, np.uint8)
    number[list(classes)] = range(len(classes))
    kept = number[labels] < 255
    return images[kept], number[labels[kept]]


def load(
    name: str,
    n_train: int | None = None,
    n_test: int | None = None,
    *,
    stratified_seed: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Dataset:
    """Load the first images of a dataset, in the original order.

    Args:
        name: `mnist`, `fashion-mnist`, `cifar10` or `image-folder:PATH`; some classes of one of
            the first three as in `cifar10:frog,ship`, numbered in that order.
        n_train: number of training images; None for all of the full dataset.
        n_test: number of test images; None for all of the full dataset.
        stratified_seed: draw a subset with the dataset's class shares by this seed instead
            of taking the first images.
        dtype: floating-point type of the images.

    Returns:
        A `Dataset` with images in [0, 1].

    Raises:
        ValueError: an unknown name, more images than there are, or a file that is not
            what its checksum says.
        FileNotFoundError: the full dataset is needed, absent and cannot be downloaded.
    """
    check_name(name)
    for parameter, count in (("n_train", n_train), ("n_test", n_test)):
        if count is not None and count < 1:
            raise ValueError(f"{parameter} is {count}; give at least 1, or None for all images")
    train, test, class_names, origin = _read(name, n_train, n_test, stratified_seed is None)
    train = _subset(train, n_train, "n_train", name, stratified_seed)
    test = _subset(test, n_test, "n_test", name, stratified_seed)
    return Dataset(
        name=name,
        train_images=_to_unit(train[0], dtype),
        train_labels=torch.from_numpy(train[1].astype(np.int64)),
        test_images=_to_unit(test[0], dtype),
        test_labels=torch.from_numpy(test[1].astype(np.int64)),
        class_names=class_names,
        checksum=hashlib.sha256(b"".join(a.tobytes() for a in (*train, *test))).hexdigest(),
        origin=origin,
    )


def _read(
    name: str, n_train: int | None, n_test: int | None, first: bool
) -> tuple[Arrays, Arrays, tuple[str, ...], str]:
    """Training arrays, test arrays, class names and origin, from the nearest source.

    They hold at least as many images as asked for, or all; if the `first` ones are meant, no more
    than these need be read.
    """
    if name.startswith(FOLDER_PREFIX):
        return _read_image_folder(Path(os.path.expanduser(name.removeprefix(FOLDER_PREFIX))))
    whole, classes = name.split(":", maxsplit=1)[0], _classes(name)
    names = tuple(CLASS_NAMES[whole][number] for number in classes)
    if whole in _BUNDLED_SHA256 and n_train is not None and n_test is not None:
        read = _read_bundled_jpeg if whole == "cifar10" else _read_bundled
        file = _BUNDLED / f"{whole}.npz.xz", _BUNDLED_SHA256[whole]
        train, test = (
            read(file, split, tuple(classes), count if first else None)
            for split, count in (("train", n_train), ("test", n_test))
        )
        if n_train <= len(train[1]) and n_test <= len(test[1]):
            return train, test, names, BUNDLED_ORIGINS[whole]
    train, test, origin = READERS[whole](whole)
    if len(classes) < len(CLASS_NAMES[whole]) or classes != sorted(classes):
        train, test = _chosen(train, classes), _chosen(test, classes)
    return train, test, names, origin


def _to_unit(pixels: NDArray[np.uint8], dtype: torch.dtype) -> Tensor:
    """Bytes of shape (N, C, H, W) as floats in [0, 1]."""
    copy = torch.tensor(np.ascontiguousarray(pixels))  # files are read as read-only arrays
    return copy.to(dtype).div_(255)


def _subset(
    arrays: Arrays, count: int | None, parameter: str, name: str, stratified_seed: int | None
) -> Arrays:
    """The first `count` images, or a stratified draw of that many."""
    images, labels = arrays
    if count is None:
        return images, labels
    if count > len(labels):
        raise ValueError(
            f"{parameter} is {count}, but {name} has {len(labels)} such images; "
            f"give at most {len(labels)}"
        )
    if stratified_seed is None:
        return images[:count], labels[:count]
    chosen = _stratified_indices(labels, count, stratified_seed)
    return images[chosen], labels[chosen]


def _stratified_indices(labels: NDArray[np.uint8], count: int, seed: int) -> NDArray[np.int64]:
    """Sorted positions of `count` images with class shares as in `labels`.

    Positions are shuffled within each class, ranked by the share of their class already
    taken, and the first `count` in that ranking are kept.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        rank[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.sort(np.argsort(rank, kind="stable")[:count])


BundledFile = tuple[Path, str]
"""A file of the package, and its SHA-256."""

BUNDLED_ORIGINS = {
    "mnist": "bundled subset",
    "fashion-mnist": "bundled subset",
    "cifar10": "bundled subset (lossy JPEG)",
}


@lru_cache(maxsize=3)
def _unpack(path: Path, sha256: str) -> dict[str, NDArray[np.uint8]]:
    """A subset that travels in the package; unpacked once, its arrays are not to be changed."""
    packed = path.read_bytes()
    if hashlib.sha256(packed).hexdigest() != sha256:
        raise ValueError(f"{path} was altered (its checksum differs); reinstall fmlib")
    with np.load(io.BytesIO(lzma.decompress(packed)), allow_pickle=False) as arrays:
        return dict(arrays)


def _read_bundled(
    file: BundledFile, split: str, classes: tuple[int, ...], count: int | None
) -> Arrays:
    """All images of the classes; MNIST and Fashion-MNIST are bundled as pixels."""
    packed = _unpack(*file)
    arrays = packed[f"{split}_images"], packed[f"{split}_labels"]
    return arrays if classes == tuple(range(10)) else _chosen(arrays, classes)


@lru_cache(maxsize=6)
def _read_bundled_jpeg(
    file: BundledFile, split: str, classes: tuple[int, ...], count: int | None
) -> Arrays:
    """The first `count` images of the classes, or all that come before one class ends.

    CIFAR-10 is bundled as JPEG files, whose common header is kept once.
    """
    from PIL import Image

    packed = _unpack(*file)
    labels, lengths = packed[f"{split}_labels"], packed[f"{split}_lengths"]
    each = min((labels == number).sum() for number in classes)
    complete = np.flatnonzero(np.isin(labels, classes))[: each * len(classes)]
    members = complete[:count]
    ends = lengths.cumsum(dtype=np.int64)
    header, scans = packed["header"].tobytes(), packed[f"{split}_scans"].tobytes()
    images = np.empty((len(members), 3, 32, 32), np.uint8)
    for row, member in enumerate(members):
        scan = scans[ends[member] - lengths[member] : ends[member]]
        with Image.open(io.BytesIO(header + scan)) as image:
            images[row] = np.asarray(image).transpose(2, 0, 1)  # (3, 32, 32)
    return _chosen((images, labels[members]), classes)


def _read_idx_dataset(name: str) -> tuple[Arrays, Arrays, str]:
    """MNIST or Fashion-MNIST in full, downloaded by torchvision where they are missing."""
    folder = data_folder() / _IDX_FOLDER[name] / "raw"
    if not all(_find_idx(folder, file) for file in _IDX_MD5[name]):
        _download_idx(name)
    files = [_read_idx(folder, file, md5) for file, md5 in _IDX_MD5[name].items()]
    return _idx_arrays(*files[:2]), _idx_arrays(*files[2:]), str(folder)


def _find_idx(folder: Path, file: str) -> Path | None:
    """The unpacked or gzipped idx file, if there is one."""
    return next((p for p in (folder / file, folder / f"{file}.gz") if p.is_file()), None)


def _read_idx(folder: Path, file: str, md5: str) -> bytes:
    """Unpacked content of an idx file; ValueError if it is truncated, altered or foreign."""
    path = _find_idx(folder, file)
    assert path is not None, "presence was checked before reading"
    content = path.read_bytes()
    try:
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a whole gzip file ({error}); delete it") from error
    _check_md5(path, content, md5)
    return content


def _idx_arrays(images: bytes, labels: bytes) -> Arrays:
    """Images (N, 1, H, W) and labels (N,) after the headers of 16 and 8 bytes."""
    count, height, width = np.frombuffer(images, ">i4", 3, offset=4)
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(count, 1, height, width)
    return pixels, np.frombuffer(labels, np.uint8, offset=8)


def _check_md5(path: Path, content: bytes, expected: str) -> None:
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != expected:
        raise ValueError(
            f"{path} is truncated, altered or another file (md5 of its content {found}, "
            f"expected {expected}); delete it and load again"
        )


def _download_idx(name: str) -> None:
    """Fetch a dataset with torchvision's own class, or say how to do without."""
    from torchvision import datasets

    try:
        for train in (True, False):
            getattr(datasets, _IDX_FOLDER[name])(str(data_folder()), train=train, download=True)
    except (OSError, RuntimeError) as error:
        raise _missing(name, f"{_IDX_FOLDER[name]}/raw/*-ubyte.gz") from error


def _missing(name: str, layout: str) -> FileNotFoundError:
    subsets = " or ".join(f"{key} ({count} images)" for key, count in _BUNDLED_COUNTS.items())
    return FileNotFoundError(
        f"the full dataset {name} is not in {data_folder()} and could not be downloaded; put "
        f"{layout} there (or set FMLIB_DATA to a folder that has it), or ask for no more "
        f"images than the bundled subsets hold: {subsets}"
    )


def _read_cifar10(name: str) -> tuple[Arrays, Arrays, str]:
    """CIFAR-10 from its binary version or from a tar of JPEG files; never from pickles."""
    folder = data_folder() / "CIFAR10"
    binary, jpeg = folder / "cifar-10-batches-bin", folder / "cifar10-jpeg.tar.xz"
    if binary.is_dir():
        train = [_read_cifar10_batch(binary / f"data_batch_{i}.bin") for i in range(1, 6)]
        images, labels = zip(*train, strict=True)
        test = _read_cifar10_batch(binary / "test_batch.bin")
        return (np.concatenate(images), np.concatenate(labels)), test, str(binary)
    if jpeg.is_file():
        return *_read_cifar10_jpeg(jpeg), f"{jpeg} (lossy JPEG)"
    if any((parent / "cifar-10-batches-py").exists() for parent in (folder, data_folder())):
        raise ValueError(
            "cifar-10-batches-py holds pickled files, which are never opened here; "
            "use the binary version of CIFAR-10 (cifar-10-batches-bin)"
        )
    raise _missing(name, "CIFAR10/cifar-10-batches-bin or CIFAR10/cifar10-jpeg.tar.xz")


def _read_cifar10_batch(path: Path) -> Arrays:
    content = path.read_bytes() if path.is_file() else b""
    if len(content) != _CIFAR10_BATCH_BYTES:
        raise ValueError(
            f"{path} has {len(content)} bytes instead of {_CIFAR10_BATCH_BYTES}; unpack the "
            "binary version of CIFAR-10 again"
        )
    rows = np.frombuffer(content, np.uint8).reshape(10_000, -1)  # (10000, 1 + 3072)
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]


def _read_cifar10_jpeg(path: Path) -> tuple[Arrays, Arrays]:
    """Decode the tar of JPEG files; images are interleaved over classes by their number."""
    from PIL import Image

    _check_md5(path, path.read_bytes(), _CIFAR10_JPEG_MD5)
    found: dict[str, list[tuple[str, int, NDArray[np.uint8]]]] = {"train": [], "test": []}
    with tarfile.open(path, "r:xz") as tar:
        for member in tar:
            if member.isfile() and (file := tar.extractfile(member)):
                _, split, class_name, number = member.name.split("/")
                with Image.open(file) as image:
                    pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)  # (3, 32, 32)
                found[split].append((number, OBJECTS.index(class_name), pixels))
    train, test = (_stack(found[split]) for split in ("train", "test"))
    return train, test


def _stack(entries: list[tuple[str, int, NDArray[np.uint8]]]) -> Arrays:
    entries.sort(key=lambda entry: entry[:2])
    images = np.stack([pixels for *_, pixels in entries])  # (N, C, H, W)
    return images, np.array([label for _, label, _ in entries], np.uint8)


READERS: dict[str, Callable[[str], tuple[Arrays, Arrays, str]]] = {
    "mnist": _read_idx_dataset,
    "fashion-mnist": _read_idx_dataset,
    "cifar10": _read_cifar10,
}
"""What reads each dataset in full and returns training and test arrays and their origin.

Arrays are images (N, C, H, W), 0 to 255, and labels (N,), both of bytes.
"""


def _read_image_folder(root: Path) -> tuple[Arrays, Arrays, tuple[str, ...], str]:
    """`train/` and `val/` with one folder per class; all images of one size."""
    names, others = (_class_folders(root / split) for split in ("train", "val"))
    if not names or names != others:
        raise ValueError(
            f"{root}: train/ has the class folders {names}, val/ has {others}; "
            "both need the same, at least one"
        )
    if len(names) > 256:
        raise ValueError(f"{root} has {len(names)} class folders; 256 is the most")
    train, test = (_read_class_folders(root / split, names) for split in ("train", "val"))
    if train[0].shape[1:] != test[0].shape[1:]:
        raise ValueError(f"{root}: images of train/ and val/ differ in size; resize them")
    shown = (name.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for name in names)
    return train, test, tuple(shown), str(root)


def _class_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted, without hidden ones (.ipynb_checkpoints)."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} does not exist; an image folder has train/ and val/, each with one "
            "folder of images per class"
        )
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")


def _read_class_folders(folder: Path, names: list[str]) -> Arrays:
    entries = []
    for label, name in enumerate(names):
        seen = (p for p in (folder / name).iterdir() if p.name[0] != ".")
        files = sorted(p for p in seen if p.suffix.lower() in _IMAGE_SUFFIXES)
        if not files:
            raise ValueError(f"{folder / name} holds no image ({', '.join(_IMAGE_SUFFIXES)})")
        entries += [(f"{rank:09d}", label, _read_image(file)) for rank, file in enumerate(files)]
    if len(shapes := {pixels.shape for *_, pixels in entries}) > 1:
        raise ValueError(
            f"{folder} holds images of different sizes or channel counts "
            f"{sorted(shapes)}; resize them to one"
        )
    return _stack(entries)


def _read_image(file: Path) -> NDArray[np.uint8]:
    """One image as (C, H, W): grey images keep one channel, all others become RGB.

    Where it is transparent it becomes white, as on a page; 16 bits are rounded to 8.
    """
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode.startswith("I"):  # grey levels of 16 bits
                return np.rint(np.asarray(image) / 257).astype(np.uint8)[None]  # (1, H, W)
            mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
            page = Image.new("RGBA", image.size, "white")
            page.alpha_composite(image.convert("RGBA"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file} cannot be read as an image; remove or replace it") from error
    pixels = np.asarray(page.convert(mode))
    return pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)  # (C, H, W)
