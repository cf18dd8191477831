"""Times of one epoch of training: `python -m benchmarks.epoch tutorial 64 60000`.

A process of its own, since `fmlib.training.fit` changes how its process handles memory, which
would speed up what it is measured against.
"""

import sys
from collections.abc import Callable

import torch

from benchmarks import peers
from benchmarks.measure import clock
from benchmarks.training import TrainingSet, network, train, training_set
from fmlib import models

WARM_UP = 1_000  # images


def library(train_set: TrainingSet, batch_size: int) -> None:
    """By the library, on standardized images as in the tutorial."""
    scale = models.scale_layer("standardized", torch.float32, train_set.images)
    train(network(train_set, scale=scale), train_set, batch_size)


def tutorial(train_set: TrainingSet, batch_size: int) -> None:
    """By the usual tutorial loop, which standardizes each image."""
    loader = peers.tutorial_loader(*train_set, batch_size)
    peers.tutorial_epoch(peers.usual(network(train_set))[1:], loader)


def in_memory(train_set: TrainingSet, batch_size: int) -> None:
    """By the same loop on tensors in memory."""
    peers.in_memory_epoch(peers.usual(network(train_set)), *train_set, batch_size)


WAYS: dict[str, Callable[[TrainingSet, int], None]] = {
    "library": library,
    "tutorial": tutorial,
    "in_memory": in_memory,
}


def main(way: str, batch_size: str, images: str) -> None:
    """Warm up on a few images, train for one epoch, and print its wall and CPU time."""
    train_set, epoch = training_set(int(images)), WAYS[way]
    epoch(TrainingSet(*(part[:WARM_UP] for part in train_set)), int(batch_size))
    sample, _ = clock(lambda: epoch(train_set, int(batch_size)))
    print(sample.wall, sample.cpu)


if __name__ == "__main__":
    main(*sys.argv[1:])
