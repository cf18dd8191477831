"""What the papers print and the authors logged, each number once, with its figure or table.

Accuracies are in percent.
"""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

_AUTHORS_LOG = Path(__file__).parent / "bundled" / "authors_caching_log.csv"


class Similarities(NamedTuple):
    """anand2022, Figures 5 and 6, read off the pictures: the lowest cosine that is drawn.

    `image` is the class of the image it belongs to, `cached` that of the cached vector.
    """

    lowest: float
    image: int
    cached: int


class TrainTest(NamedTuple):
    """Accuracies on training and test images."""

    train: float
    test: float

    @property
    def gap(self) -> float:
        """Train minus test accuracy in points."""
        return self.train - self.test


class Fig9Row(NamedTuple):
    """One row of anand2022, Figure 9: the base model, then the same trained on its maps."""

    dataset: str
    batch_size: int
    base: TrainTest
    maps: TrainTest


FIG5 = Similarities(0.861, image=1, cached=1)
FIG6 = Similarities(0.957, image=1, cached=0)

FIG7 = pd.DataFrame(
    {
        "plain": (11, 12.7, 18.6, 34.3, 67.1, 82.5, 85.2, 85.6, 91.2, 91.8),
        "cached": (25.3, 62.1, 72.6, 85.9, 90, 91.6, 92.9, 93.7, 94.2, 94.2),
        "hits": (18133, 19376, 19675, 20413, 20711, 20851, 20947, 21197, 21247, 21181),
        "trained": (41867, 40624, 40325, 39587, 39289, 39149, 39053, 38803, 38753, 38819),
    },
    index=pd.RangeIndex(1, 11, name="epoch"),
)
"""anand2022, Figure 7: MNIST at batch size 4096.  By epoch: test accuracy of plain and of
cached training, images skipped (hits) and images trained on in the latter."""

FIG8 = pd.DataFrame(
    {
        "plain_train": (99.32, 98.20, 99.20, 98.44, 95.46, 97.41, 93.17, 91.24),
        "plain_test": (98.52, 97.63, 98.07, 97.92, 94.85, 97.33, 93.10, 91.78),
        "cached_train": (99.685, 94.71, 97.59, 96.01, 90.55, 94.57, 94.52, 94.17),
        "cached_test": (98.77, 93.71, 96.49, 95.30, 90.42, 94.04, 94.58, 94.16),
    },
    index=pd.Index((32, 64, 128, 256, 512, 1024, 2048, 4096), name="batch_size"),
)
"""anand2022, Figure 8: MNIST, accuracies after training, by batch size."""

FIG9 = (
    Fig9Row("mnist", 64, TrainTest(98.98, 98.13), TrainTest(94.24, 94.34)),
    Fig9Row("mnist", 256, TrainTest(96.45, 96.34), TrainTest(90.57, 90.75)),
    # The batch size of this row is not printed; the released code used 256.
    Fig9Row("fashion-mnist", 256, TrainTest(72.89, 71.6), TrainTest(72.18, 72.7)),
)

FIG10 = pd.DataFrame(
    {"base": (28.09, 10.76), "maps": (26.74, 23.82)}, index=pd.Index((0.15, 0.25), name="eps")
)
"""anand2022, Figure 10: accuracy of both models on perturbed images, by eps."""


def authors_log() -> pd.DataFrame:
    """Every epoch that the authors logged for their caching runs, in the file's order.

    Columns: batch_size, training (`plain` or `cached`), epoch, test_accuracy, hits and trained
    (NaN in plain training), seconds, and what else they logged.
    """
    log = _read_log()
    return log[log["epoch"].str.isdigit()].astype({"epoch": int})


def authors_final() -> pd.DataFrame:
    """Accuracies after the last epoch in the authors' log: columns final_train, final_test.

    The index is (batch_size, training).
    """
    log = _read_log()
    last = log[log["epoch"].str.startswith("final_")]
    return last.pivot(index=["batch_size", "training"], columns="epoch", values="test_accuracy")


def _read_log() -> pd.DataFrame:
    return pd.read_csv(_AUTHORS_LOG)


PUNJABI_TABLE1 = {1: 60, 2: 80, 4: 83, 6: 88, 8: 89, 12: 90, 13: 91, 18: 92, 23: 93}
"""punjabi2017, Table 1: VGG-16 on four classes of ImageNet, weights drawn at random.  By epoch:
validation accuracy; only epochs after which it had risen are printed."""

PUNJABI_TABLE2 = {1: 59, 2: 89, 6: 91, 7: 95, 8: 96, 14: 96, 20: 93}
"""punjabi2017, Table 2: the same, pretrained on ImageNet."""

ZF_IMAGENET = {
    "difference from Krizhevsky's error, at most (%)": 1.0,
    "top-5 error below that of Krizhevsky's single model (points)": 1.7,
    "top-5 error of several models (%)": 14.8,
}
"""masum2022, VIII-A: Zeiler and Fergus's results on ImageNet 2012."""
