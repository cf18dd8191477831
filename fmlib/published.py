"""What the papers print and the authors logged, each number once, with its figure or table.

Accuracies are in percent.
"""

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

_AUTHORS_LOG = Path(__file__).parent / "bundled" / "authors_caching_log.csv"


class Similarities(NamedTuple):
    """anand2022, Figures 5 and 6, read off the pictures: the lowest cosine that is drawn.

    `image` is the class of the image it belongs to, `cached` that of the cached vector.
    """

    lowest: float
    image: int
    cached: int


class Fig7(NamedTuple):
    """anand2022, Figure 7: MNIST at batch size 4096, one value per epoch 1 to 10."""

    plain_accuracy: tuple[float, ...]
    cached_accuracy: tuple[float, ...]
    hits: tuple[int, ...]
    trained: tuple[int, ...]


class Fig8(NamedTuple):
    """anand2022, Figure 8: MNIST, one value per batch size, after training."""

    batch_sizes: tuple[int, ...]
    plain_train: tuple[float, ...]
    plain_test: tuple[float, ...]
    cached_train: tuple[float, ...]
    cached_test: tuple[float, ...]


class Fig9Row(NamedTuple):
    """One row of anand2022, Figure 9: the base model, then the same trained on its maps."""

    dataset: str
    batch_size: int
    base_train: float
    base_test: float
    maps_train: float
    maps_test: float


class Fig10Row(NamedTuple):
    """One row of anand2022, Figure 10: accuracy on perturbed images."""

    eps: float
    base: float
    maps: float


FIG5 = Similarities(0.861, image=1, cached=1)
FIG6 = Similarities(0.957, image=1, cached=0)

FIG7 = Fig7(
    plain_accuracy=(11, 12.7, 18.6, 34.3, 67.1, 82.5, 85.2, 85.6, 91.2, 91.8),
    cached_accuracy=(25.3, 62.1, 72.6, 85.9, 90, 91.6, 92.9, 93.7, 94.2, 94.2),
    hits=(18133, 19376, 19675, 20413, 20711, 20851, 20947, 21197, 21247, 21181),
    trained=(41867, 40624, 40325, 39587, 39289, 39149, 39053, 38803, 38753, 38819),
)

FIG8 = Fig8(
    batch_sizes=(32, 64, 128, 256, 512, 1024, 2048, 4096),
    plain_train=(99.32, 98.20, 99.20, 98.44, 95.46, 97.41, 93.17, 91.24),
    plain_test=(98.52, 97.63, 98.07, 97.92, 94.85, 97.33, 93.10, 91.78),
    cached_train=(99.685, 94.71, 97.59, 96.01, 90.55, 94.57, 94.52, 94.17),
    cached_test=(98.77, 93.71, 96.49, 95.30, 90.42, 94.04, 94.58, 94.16),
)

FIG9 = (
    Fig9Row("mnist", 64, 98.98, 98.13, 94.24, 94.34),
    Fig9Row("mnist", 256, 96.45, 96.34, 90.57, 90.75),
    # The batch size of this row is not printed; the released code used 256.
    Fig9Row("fashion-mnist", 256, 72.89, 71.6, 72.18, 72.7),
)

FIG10 = (Fig10Row(0.15, 28.09, 26.74), Fig10Row(0.25, 10.76, 23.82))


class LogEpoch(NamedTuple):
    """One epoch of the authors' released log; hits and trained are None in plain training."""

    batch_size: int
    training: str
    epoch: int
    test_accuracy: float
    hits: int | None
    trained: int | None
    seconds: float


class LogFinal(NamedTuple):
    """Accuracies after the last epoch in the authors' released log."""

    batch_size: int
    training: str
    train_accuracy: float
    test_accuracy: float


def _rows() -> list[dict[str, str]]:
    with _AUTHORS_LOG.open(newline="") as file:
        return list(csv.DictReader(file))


def _count(text: str) -> int | None:
    return int(float(text)) if text else None


@cache
def authors_log() -> tuple[LogEpoch, ...]:
    """Every epoch that the authors logged for their caching runs, in the file's order."""
    return tuple(
        LogEpoch(
            int(row["batch_size"]),
            row["training"],
            int(row["epoch"]),
            float(row["test_accuracy"]),
            _count(row["hits"]),
            _count(row["trained"]),
            float(row["seconds"]),
        )
        for row in _rows()
        if row["epoch"].isdigit()
    )


@cache
def authors_final() -> dict[tuple[int, str], LogFinal]:
    """Final accuracies of the authors' log, by batch size and training (`plain`, `cached`)."""
    found: dict[tuple[int, str], dict[str, float]] = {}
    for row in _rows():
        if row["epoch"].startswith("final_"):
            key = int(row["batch_size"]), row["training"]
            found.setdefault(key, {})[row["epoch"]] = float(row["test_accuracy"])
    return {
        key: LogFinal(*key, values["final_train"], values["final_test"])
        for key, values in found.items()
    }
