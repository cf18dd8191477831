"""Policies that skip images by other rules than the cache: its controls and its peers.

Each takes part in the same training: the same batches and as many steps, smaller by the images
that it leaves out.  All draws are by a generator of the policy's own.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib.models import chunk_size
from fmlib.training import Policy, Report


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


def random_skip(rate: float, n_classes: int, seed: int) -> RandomSkip:
    """Skip every image with the same probability in every epoch (Okanovic et al. 2024).

    Repeated random sampling draws a new subset in every epoch, the control that thirty methods
    of choosing images were measured by.
    """
    return RandomSkip([[rate] * n_classes], seed)


class Budget:
    """Train on all images until so many have been trained on, then on none.

    The control for skipping that spends as many images in their plain order: fewer steps of
    full batches, the last one cut short.

    Args:
        images: images to train on, at least one.
    """

    def __init__(self, images: int) -> None:
        if images < 1:
            raise ValueError(f"images is {images}; give a whole number from 1")
        self._left = images

    def start_epoch(self) -> None:
        """The budget is that of all epochs."""

    def keep(self, images: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        """Boolean mask (B,) that is True for the images within the budget."""
        kept = torch.arange(len(index), device=index.device) < self._left
        self._left -= int(kept.sum())
        return kept

    def after_step(self, images: Tensor, labels: Tensor, kept: Tensor, index: Tensor) -> None:
        """Nothing is learnt from a step."""

    def report(self) -> Report:
        """Nothing that the counts of the epoch do not say."""
        return {}


class _Around:
    """Does what another policy does; the base of controls that change one thing about it."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def start_epoch(self) -> None:
        """Pass it on."""
        self.policy.start_epoch()

    def keep(self, images: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        """Boolean mask (B,), that of the other policy."""
        return self.policy.keep(images, labels, index)

    def after_step(self, images: Tensor, labels: Tensor, kept: Tensor, index: Tensor) -> None:
        """Pass it on."""
        self.policy.after_step(images, labels, kept, index)

    def report(self) -> Report:
        """What the other policy reports, by its own reckoning."""
        return self.policy.report()


class Permuted(_Around):
    """Another policy decides how many images of a batch are left out, chance decides which.

    The other policy learns from the images that are in fact trained on.

    Args:
        policy: the other policy, such as a `fmlib.caching.FeatureCache` that remembers nothing.
        seed: seed of the permutations.
    """

    def __init__(self, policy: Policy, seed: int) -> None:
        super().__init__(policy)
        self._generator = torch.Generator().manual_seed(seed)

    def keep(self, images: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        """Boolean mask (B,), that of the other policy in another order."""
        kept = self.policy.keep(images, labels, index)
        order = torch.randperm(len(kept), generator=self._generator)
        return kept[order.to(kept.device)]


class ShuffledLabels(_Around):
    """Another policy is given labels that are permuted once over the whole training set.

    Training itself uses the true ones.  What the other policy reports by class is by class of
    the labels it was given.

    Args:
        policy: the other policy.
        n_images: images of the training set.
        seed: seed of the permutation.
    """

    def __init__(self, policy: Policy, n_images: int, seed: int) -> None:
        super().__init__(policy)
        self._order = torch.randperm(n_images, generator=torch.Generator().manual_seed(seed))

    def keep(self, images: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        """Boolean mask (B,), that of the other policy for the permuted labels."""
        return self.policy.keep(images, self._shuffled(labels), index)

    def after_step(self, images: Tensor, labels: Tensor, kept: Tensor, index: Tensor) -> None:
        """Pass it on with the permuted labels."""
        self.policy.after_step(images, self._shuffled(labels), kept, index)

    def _shuffled(self, labels: Tensor) -> Tensor:
        if len(labels) != len(self._order):
            raise ValueError(
                f"there are {len(labels)} labels; give those of all {len(self._order)} images"
            )
        return labels[self._order.to(labels.device)]


class ScoreOnly(_Around):
    """Another policy does all its work, and nothing is left out: the cost of its rule alone.

    The other policy learns as if its images had been left out.
    """

    _kept: Tensor

    def keep(self, images: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        """Boolean mask (B,) that is True everywhere."""
        self._kept = self.policy.keep(images, labels, index)
        return torch.ones_like(self._kept)

    def after_step(self, images: Tensor, labels: Tensor, kept: Tensor, index: Tensor) -> None:
        """Pass it on with the other policy's own mask."""
        self.policy.after_step(images, labels, self._kept, index)


class SelectiveBackprop:
    """Keep an image with a probability that grows with the rank of its loss (Jiang et al. 2019).

    The probability is F(loss) to the power `beta`, F the share of the most recent losses, those
    of the batch included, that are lower: 1 / (1 + beta) of the images are kept on average.  The
    losses come from a forward pass of the whole batch before the step, which is the cost of this
    rule; `scored` in the report counts the images.  Jiang et al. gather kept images until they
    fill a batch; here batches shrink, as those of all other policies do.

    Args:
        model: the network in training, returns log-probabilities (N, classes); only looked at.
        n_classes: number of classes.
        seed: seed of the draws.
        beta: above 0; larger ones leave out more.
        history: number of losses that are remembered; 1024 in the code of Jiang et al.
    """

    def __init__(
        self, model: nn.Module, n_classes: int, seed: int, beta: float = 1.0, history: int = 1024
    ) -> None:
        if not (beta > 0 and math.isfinite(beta)):
            raise ValueError(f"beta is {beta}; give a finite number above 0")
        if history < 1:
            raise ValueError(f"history is {history}; give a whole number from 1")
        self._model, self._beta, self._history = model, beta, history
        self._recent = next(model.parameters()).new_zeros(0)
        self._scored = torch.zeros(n_classes, dtype=torch.long)
        self._generator = torch.Generator().manual_seed(seed)

    def start_epoch(self) -> None:
        """Count anew; the losses stay."""
        self._scored.zero_()

    def keep(self, images: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        """Boolean mask (B,) that is True for the images to train on."""
        losses = _losses(self._model, images, labels, index)
        self._scored += labels[index].bincount(minlength=len(self._scored)).cpu()
        self._recent = torch.cat((self._recent, losses))[-self._history :]
        lower = torch.searchsorted(self._recent.sort().values, losses)
        probability = (lower.double() / len(self._recent)) ** self._beta
        draw = torch.rand(len(index), generator=self._generator, dtype=torch.float64)
        return draw.to(index.device) < probability

    def after_step(self, images: Tensor, labels: Tensor, kept: Tensor, index: Tensor) -> None:
        """Nothing is learnt from a step."""

    def report(self) -> Report:
        """Images of this epoch whose loss was computed only to decide about them, per class."""
        return {"scored": [float(count) for count in self._scored.tolist()]}


@torch.no_grad()
def _losses(model: nn.Module, images: Tensor, labels: Tensor, index: Tensor) -> Tensor:
    """Negative log-likelihoods (B,) of the images at these positions (B,)."""
    parts = index.split(chunk_size(images))
    return torch.cat([F.nll_loss(model(images[p]), labels[p], reduction="none") for p in parts])


class InfoBatch:
    """Leave out a random share of the images of low loss and weigh their rest up (Qin et al. 2024).

    At the start of an epoch, every image whose last known loss is below the mean of all is left
    out with probability `ratio`; the losses of those that stay are multiplied by
    1 / (1 - ratio).  The last epochs train on all images.  The losses are those of the training
    itself, without a further pass.  Qin et al. fill up the batches with other images, so that
    an epoch has fewer steps of full batches; here batches shrink, and the sum of the weighted
    losses is divided by the size of the whole batch: either way an epoch's gradients add up
    to those of plain training on average.

    Args:
        n_images: images of the training set.
        epochs: epochs of the training.
        seed: seed of the draws.
        ratio: share of the images below the mean that are left out, in [0, 1).
        delta: share of the epochs, in [0, 1], after which nothing is left out any more.
    """

    def __init__(
        self, n_images: int, epochs: int, seed: int, ratio: float = 0.5, delta: float = 0.875
    ) -> None:
        if not 0 <= ratio < 1:
            raise ValueError(f"ratio is {ratio}; give a share from 0, below 1")
        if not 0 <= delta <= 1:
            raise ValueError(f"delta is {delta}; give a share from 0 to 1")
        self._ratio, self._last_epoch, self._epoch = ratio, delta * epochs, 0
        self._known = torch.full((n_images,), torch.inf, dtype=torch.float64)
        self._kept = torch.ones(n_images, dtype=torch.bool)
        self._weight = torch.ones(n_images, dtype=torch.float64)
        self._share = 1.0  # of the batch that is kept
        self._generator = torch.Generator().manual_seed(seed)

    def start_epoch(self) -> None:
        """Draw which images the epoch leaves out."""
        self._epoch += 1
        low = self._known < self._known.mean()
        if self._epoch > self._last_epoch:
            low = torch.zeros_like(low)
        draw = torch.rand(len(low), generator=self._generator, dtype=torch.float64)
        self._kept = ~low | (draw >= self._ratio)
        self._weight = torch.ones_like(self._weight).masked_fill(low, 1 / (1 - self._ratio))

    def keep(self, images: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        """Boolean mask (B,) that is True for the images to train on."""
        kept = self._kept[index.cpu()]
        self._share = kept.double().mean().item()
        return kept.to(index.device)

    def weigh(self, losses: Tensor, index: Tensor) -> Tensor:
        """Remember the losses (M,) of the images at these positions (M,), and weigh them."""
        self._known[index.cpu()] = losses.detach().double().cpu()
        return losses * (self._share * self._weight[index.cpu()]).to(losses)

    def after_step(self, images: Tensor, labels: Tensor, kept: Tensor, index: Tensor) -> None:
        """Everything was learnt from the losses."""

    def report(self) -> Report:
        """Nothing that the counts of the epoch do not say."""
        return {}
