"""An experiment whose runs take no time, in a module that every process can import."""

import sys
import time
from functools import partial
from typing import Self

import torch

from fmlib import cli
from fmlib.data import Dataset
from fmlib.experiments import grids
from fmlib.experiments.common import Result, RunConfig

NAME = "tiny"
"""Name of the experiment."""


class TinyResult(Result):
    """Numbers that follow from the seed, but for `seconds`."""

    test_accuracy: float
    losses: tuple[float, ...]
    seconds: float


class TinyRun(RunConfig):
    """Waits, then gives numbers; a second one needs the accuracy of the first one of its seed."""

    dataset: str = "mnist"
    n_train: int = 4
    n_test: int = 4
    precision: str = "float64"  # type: ignore[assignment]
    pause: float = 0
    n_losses: int = 3
    second: bool = False
    accuracy: float | None = None
    error: str | None = None

    @property
    def label(self) -> str:
        """First or second."""
        return "second" if self.second else "first"

    @property
    def cost(self) -> float:
        """All are alike."""
        return 1

    @property
    def source(self) -> Self | None:
        """The first run of the same seed."""
        if not self.second or self.accuracy is not None:
            return None
        return self.model_copy(update={"second": False})

    def completed(self, source: TinyResult) -> Self:
        """This run, knowing the first one's accuracy."""
        return self.model_copy(update={"accuracy": source.test_accuracy})

    def load(self) -> Dataset:
        """Eight black images."""
        images, labels = torch.zeros(4, 1, 2, 2), torch.zeros(4, dtype=torch.int64)
        return Dataset("mnist", images, labels, images, labels, ("0",), "none", "nowhere")

    def run(self) -> TinyResult:
        """Wait, fail if asked to, and give the numbers."""
        started = time.perf_counter()
        time.sleep(self.pause)
        if self.error is not None:
            raise ValueError(self.error)
        losses = tuple(1 / (self.seed + n + 1) for n in range(self.n_losses))
        accuracy = (self.accuracy or 0) / 2 + 90 + self.seed % 7
        seconds = time.perf_counter() - started
        return TinyResult(test_accuracy=accuracy, losses=losses, seconds=seconds)


def grid(seeds: int = 3, **values: object) -> list[RunConfig]:
    """A first and a second run for every seed."""
    return [
        TinyRun.model_validate({"seed": seed, "second": second, **values})
        for second in (False, True)
        for seed in range(seeds)
    ]


def experiment(seeds: int = 3, **values: object) -> grids.Experiment:
    """The experiment with a grid of that many seeds."""
    return grids.Experiment(TinyRun, TinyResult, partial(grid, seeds, **values))


def main() -> None:
    """`fmlib` with this experiment: number of seeds, pause and losses of a run, then arguments."""
    seeds, pause, n_losses, *arguments = sys.argv[1:]
    grids.EXPERIMENTS[NAME] = experiment(int(seeds), pause=float(pause), n_losses=int(n_losses))
    cli.main(arguments)
