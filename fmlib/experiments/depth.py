"""Beyond the chapters: the cache at every depth, at test time and in a deeper network."""

import math
from typing import Any, Self

from pydantic import model_validator
from torch import nn

from fmlib.caching import RELEASED
from fmlib.data import Dataset
from fmlib.experiments.caching import CachingRun, ExitLayer, exits_of
from fmlib.experiments.common import Count, Result, RunConfig
from fmlib.models import ModelName
from fmlib.training import fit


class ExitsRun(RunConfig):
    """One recorded network, trained plainly, with an exit at every layer (park2019)."""

    network: ModelName = "base_cnn"
    batch_size: Count = 64
    epochs: Count = 5

    @property
    def label(self) -> str:
        """Dataset, number of images and network."""
        return f"{self.dataset}-{self.n_train}-{self.network.replace('_', '-')}"

    @property
    def cost(self) -> float:
        """Images trained on, twice in the deeper network; the exits take as long as 7 epochs."""
        return (2 if self.network == "deep_cnn" else 1) * (self.epochs + 7) * self.n_train

    def run(self) -> "Exits":
        """Train, and try every layer that has maps."""
        dataset = self.load()
        model = self.model(dataset, self.seed, self.network)
        config = self.train_config(self.epochs, self.batch_size, self.seed)
        fit(model, dataset.train_images, dataset.train_labels, config)
        found = exits_of(model, dataset)
        return Exits(network=found[0].network, exits={row.layer: _recorded(row) for row in found})


class RecordedExit(Result):
    """What `fmlib.experiments.caching.ExitLayer` says but times; None where there is no hit."""

    hits: float
    precision: float | None
    network_on_hits: float | None
    accuracy: float
    nearest: float
    saved: float


class Exits(Result):
    """Accuracy of a network without exits in percent, and the exits by layer, the first first."""

    network: float
    exits: dict[str, RecordedExit]


def _recorded(row: ExitLayer) -> RecordedExit:
    numbers = {name: getattr(row, name) for name in RecordedExit.model_fields}
    return RecordedExit.model_validate(
        {name: None if math.isnan(value) else value for name, value in numbers.items()}
    )


class DepthRun(CachingRun):
    """One recorded training of a deeper network: plain, or as the cache of one layer skips.

    A cached run compares the maps of `layer` as released; a random one skips at its rates.
    """

    network: ModelName = "deep_cnn"
    layer: str | None = None

    @model_validator(mode="after")
    def _one_layer(self) -> Self:
        if (self.layer is None) != (self.condition == "plain"):
            raise ValueError("a cached or random run has a layer, and a plain one has none")
        if self.cache is not None and self.cache.layer != self.layer:
            raise ValueError(f"layer is {self.layer!r}, the cache's {self.cache.layer!r}")
        return self

    @property
    def label(self) -> str:
        """As of all runs with a cache, and the layer."""
        return super().label if self.layer is None else f"{super().label}-{self.layer}"

    @property
    def cost(self) -> float:
        """Images trained on; in this network they take longer, with look-ups longer still."""
        return (4 if self.condition == "cached" else 2.5) * super().cost

    @property
    def source(self) -> Self | None:
        """The cached run whose rates a run without rates needs."""
        if self.condition != "random" or self.rates is not None:
            return None
        cache = RELEASED.model_copy(update={"layer": self.layer})
        return self.model_copy(update={"condition": "cached", "cache": cache})

    def model(
        self,
        dataset: Dataset,
        seed: int,
        network: ModelName | None = None,
        channels: int | None = None,
        **options: Any,
    ) -> nn.Sequential:
        """As of all runs, of this run's network."""
        return super().model(dataset, seed, network or self.network, channels, **options)
