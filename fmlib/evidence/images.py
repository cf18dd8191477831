"""Recorded looks at the images (chapter 01)."""

from pathlib import Path

import pandas as pd

from fmlib.evidence.reading import Rows, table_of
from fmlib.experiments.exploration import (
    Embeddings,
    EmbeddingsRun,
    Exploration,
    ExplorationRun,
)
from fmlib.records import RESULTS, Record


def exploration(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """Fig. 1 to 3, a row per quantity: accuracies in percent, rank correlations from -1 to 1.

    Quantities: `PCA` and `t-SNE` (neighbours name the class), `nearest centroid`, `trend train`
    and `trend test` (of error rate and decile), and `GROUP: NETWORK` for the accuracy of both
    networks on each group of images (`fmlib.experiments.exploration.OutlierRun`).  What comes of
    a pair of networks of which one diverged says so in `diverged`.
    """
    return table_of("exploration", _looks, "quantity diverged value", results, device)


def _looks(record: Record[ExplorationRun, Exploration]) -> Rows:
    found = record.result
    images: dict[str, float] = {**found.neighbours, "nearest centroid": found.nearest_centroid}
    networks: dict[str, float] = {f"trend {split}": trend for split, trend in found.trends.items()}
    for group, accuracies in found.accuracies.items():
        networks |= {f"{group}: {network}": value for network, value in accuracies.items()}
    for values, diverged in ((images, False), (networks, found.diverged > 0)):
        for quantity, value in values.items():
            yield {"quantity": quantity, "diverged": diverged, "value": value}


def deciles(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """A row per decile of the distance to the centroid, 1 the nearest, and `split`, train or test.

    `wrong` is the control's error rate in percent; `diverged` is as in `exploration`.
    """
    return table_of("exploration", _deciles, "split decile diverged wrong", results, device)


def _deciles(record: Record[ExplorationRun, Exploration]) -> Rows:
    for split, rates in record.result.error_rates.items():
        for decile, rate in enumerate(rates, 1):
            yield {
                "split": split,
                "decile": decile,
                "diverged": record.result.diverged > 0,
                "wrong": rate,
            }


def embeddings(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """Fig. 3 with all images, a row per embedding: how often in percent neighbours name the class.

    `quantity` and `value` are as in `exploration`, `images` is the number embedded.
    """
    return table_of("embeddings", _embeddings, "quantity images value", results, device)


def _embeddings(record: Record[EmbeddingsRun, Embeddings]) -> Rows:
    images = record.config.n_train + record.config.n_test
    for quantity, value in record.result.neighbours.items():
        yield {"quantity": quantity, "images": images, "value": value}
