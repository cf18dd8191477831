"""Policies that skip images by other rules than the cache: its controls."""

import torch
from torch import Tensor

from fmlib.training import Report


class RandomSkip:
    """Skip each image with the probability of its class in the current epoch.

    The control for any rule that skips a share of the images (random per class: that rule's
    share of every class in every epoch).  A policy for `fmlib.training.fit`.

    Args:
        rates: one row per epoch of skipping probabilities per class, each in [0, 1].
        seed: seed of the draws.
    """

    def __init__(self, rates: list[list[float]], seed: int) -> None:
        known = len({len(row) for row in rates}) == 1 and rates[0]
        if not known or any(not 0 <= rate <= 1 for row in rates for rate in row):
            raise ValueError(f"rates are {rates}; give rows of equally many shares in [0, 1]")
        self._rates = torch.tensor(rates, dtype=torch.float64)  # (epochs, classes)
        self._generator = torch.Generator().manual_seed(seed)
        self._epoch = -1

    def start_epoch(self) -> None:
        """Go on to the rates of the next epoch; the last ones stay in force."""
        self._epoch = min(self._epoch + 1, len(self._rates) - 1)

    def keep(self, images: Tensor, labels: Tensor, index: Tensor | None = None) -> Tensor:
        """Boolean mask (N,) that is True for the images to train on."""
        batch = labels if index is None else labels[index]
        rate = self._rates[self._epoch][batch.cpu()]
        draw = torch.rand(len(batch), generator=self._generator, dtype=torch.float64)
        return (draw >= rate).to(labels.device)

    def after_step(
        self, images: Tensor, labels: Tensor, kept: Tensor, index: Tensor | None = None
    ) -> None:
        """Nothing is learnt from a step."""

    def report(self) -> Report:
        """The rates of the current epoch, per class."""
        return {"rate": list(self._rates[self._epoch].tolist())}
