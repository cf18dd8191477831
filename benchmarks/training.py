"""Training as it is measured: plainly, and with a cache that skips a given share.

Processes that train import this module and little else.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fmlib import data, models
from fmlib.caching import RELEASED, CacheConfig, FeatureCache
from fmlib.training import History, Policy, TrainConfig, fit

N_CLASSES = 10
IMAGE_SHAPE = (1, 28, 28)


class TrainingSet(NamedTuple):
    """Images (N, 1, 28, 28) in [0, 1] and labels (N,)."""

    images: Tensor
    labels: Tensor


@lru_cache(maxsize=2)
def training_set(count: int, dtype: torch.dtype = torch.float32) -> TrainingSet:
    """The first training images of MNIST."""
    dataset = data.load("mnist", count, 1, dtype=dtype)
    return TrainingSet(dataset.train_images, dataset.train_labels)


def network(train: TrainingSet, **options: Any) -> nn.Sequential:
    """The base CNN with fresh weights, in the precision of the images."""
    return models.base_cnn(IMAGE_SHAPE, N_CLASSES, dtype=train.images.dtype, **options)


def train(
    model: nn.Module,
    train: TrainingSet,
    batch_size: int,
    policy: Policy | None = None,
    epochs: int = 1,
    seed: int = 0,
) -> History:
    """Train with the library; a run that diverges is no measurement."""
    config = TrainConfig(epochs=epochs, batch_size=batch_size, seed=seed)
    history = fit(model, train.images, train.labels, config, policy=policy)
    if history.divergence is not None:
        raise ValueError(f"the measured training diverged: {history.divergence}")
    return history


def sweep_run(run: tuple[int, int, int, int]) -> int:
    """Train on so many images with a batch size, a seed and epochs; returns the steps of one."""
    images, batch_size, seed, epochs = run
    train_set = training_set(images)
    model = network(train_set, seed=seed)
    return train(model, train_set, batch_size, epochs=epochs, seed=seed).epochs[0].steps


def cache_arguments(train: TrainingSet, config: CacheConfig, *, by_position: bool = True) -> Any:
    """What a cache is made with after the model; without `by_position` it knows no images."""
    return N_CLASSES, config, IMAGE_SHAPE, train.images if by_position else None


class Skips(NamedTuple):
    """A reading, and the shares of all images that are hits and that rest from earlier ones."""

    config: CacheConfig
    hits: float
    resting: float = 0.0


SKIPS = {
    "released": Skips(RELEASED, hits=1 / 3),
    "one pass": Skips(CacheConfig(timing="one_pass"), hits=1 / 3),
    # Of 5/6 that are looked up a fifth are hits; as many rest: the state that lasts.
    "remembered": Skips(CacheConfig(remember=1), hits=1 / 6, resting=1 / 6),
}


class FixedSkips(FeatureCache):
    """Does all the work of a cache, then skips drawn images in the place of its own hits.

    An epoch skips a third of the images exactly, none in the first batch, which finds an empty
    cache.  With `by_position` the cache is given the training images beforehand.
    """

    def __init__(
        self, model: nn.Module, train: TrainingSet, skips: Skips, *, by_position: bool = True
    ) -> None:
        n = len(train.images)
        super().__init__(model, *cache_arguments(train, skips.config, by_position=by_position))
        self._draw = torch.Generator().manual_seed(0)
        self._n, self._hits = n, round(n * skips.hits)
        resting = torch.randperm(n, generator=self._draw)[: round(n * skips.resting)]
        self.resting[resting] = 1

    def start_epoch(self) -> None:
        """Begin the epoch's draws too."""
        super().start_epoch()
        self._hits_left = self._hits
        self._awake_left = self._n - int(self.resting.count_nonzero())

    def _look_up(self, *batch: Any) -> Tensor:
        looked_up = self.looked_up.sum()
        hit = super()._look_up(*batch)
        drawn, count = torch.zeros_like(hit), 0
        if self.looked_up.sum() > looked_up:
            count = round(self._hits_left * len(hit) / self._awake_left)
            drawn[torch.randperm(len(hit), generator=self._draw)[:count]] = True
        self._hits_left -= count
        self._awake_left -= len(hit)
        return drawn
