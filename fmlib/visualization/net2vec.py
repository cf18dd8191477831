"""Net2Vec: concepts as combinations of a layer's units (Fong and Vedaldi 2018).

masum2022, section III-C.  The units' cut maps, as in network dissection, are weighted and added
up; where the sum's sigmoid is above one half, there the concept is said to be.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib.visualization.concepts import Concept, LabelledImages
from fmlib.visualization.dissection import (
    SHARE,
    levels,
    masks,
    memberships,
    overlaps,
    present,
    without_repeats,
)

SHARES = (0.005, 0.01, 0.02, 0.05, 0.1)
"""Shares of activations among which a single unit may choose its own."""
STEPS = 40
"""Most steps of the search for weights (L-BFGS; the problem is convex)."""
RIDGE = 1e-6
"""Weight of the weights' squares, so that the best ones are finite."""


class Combinations(NamedTuple):
    """Each concept by a combination of units and by the best single one; IoU on new images.

    The best unit, weights and cuts are found on the training images; all numbers (K,) are the
    intersection over union, 0 to 1, on the validation images.

    Attributes:
        layer: its name.
        concepts: the concepts, K of them.
        weights: (K, units) of the combinations.
        units: (K,) number of the best single unit.
        single: of that unit, cut at the usual share of its activations.
        combined: of the combination, cut at one half.
        single_free: of the unit and share that are best together.
        combined_free: of the combination, cut where it is best, not below one half.
    """

    layer: str
    concepts: tuple[Concept, ...]
    weights: Tensor
    units: Tensor
    single: Tensor
    combined: Tensor
    single_free: Tensor
    combined_free: Tensor


def combine(
    model: nn.Module,
    layer: str,
    train: LabelledImages,
    validation: LabelledImages,
    *,
    share: float = SHARE,
    shares: Sequence[float] = SHARES,
) -> Combinations:
    """Learn a combination of units for each concept, and compare (Fong and Vedaldi 2018).

    Pixels where no unit is active have the sum 0 and are left out of the training, to which they
    would add nothing; the rest of the training images' pixels is kept in memory.

    Args:
        model, layer, share: as for `fmlib.visualization.dissection.dissect`.
        train, validation: labelled images of the same concepts.
        shares: those that a single unit may choose among.

    Raises:
        ValueError: as for `dissect`, or sets that name other concepts.
    """
    concepts = tuple(train.concepts)
    if tuple(validation.concepts) != concepts:
        raise ValueError("train and validation name different concepts; give sets of the same")
    seen = levels(model, layer, train)
    cuts = seen.upper(share).values
    rows, fresh = (active_pixels(model, layer, images, cuts) for images in (train, validation))
    weights = fit(rows)
    place = _best_cut(rows, weights)
    single, single_free, units = _singles(
        model, layer, train, validation, [seen.upper(one).values for one in (share, *shares)]
    )
    zero = torch.zeros_like(place)
    return Combinations(
        layer, concepts, weights, units, single, _iou(fresh, weights, zero), single_free,
        _iou(fresh, weights, place),
    )  # fmt: skip


class Pixels(NamedTuple):
    """Pixels where at least one unit is active, M of them, and counts over all pixels.

    Attributes:
        active: (M, units) which units are.
        labels: (M, K) which concepts are there.
        counted: (M, K) whether the image has a label of the concept's category.
        concept: (K,) pixels of each concept.
        total: (K,) pixels of images with a label of its category.
    """

    active: Tensor
    labels: Tensor
    counted: Tensor
    concept: Tensor
    total: Tensor


def active_pixels(
    model: nn.Module, layer: str, images: LabelledImages, thresholds: Tensor
) -> Pixels:
    """All pixels of some images where a unit of a layer is active, from `thresholds` (units,) on.

    Errors as for `fmlib.visualization.dissection.dissect`.
    """
    members = memberships(images.concepts)
    found = []
    for batch, active in masks(model, layer, images, thresholds):
        labels = without_repeats(batch.labels)
        there = present(labels, members)  # (n, K)
        image, row, column = active.any(dim=1).nonzero(as_tuple=True)
        named = F.one_hot(labels[image, :, row, column], len(members) + 1).amax(dim=1)[:, 1:]
        found.append(
            Pixels(
                active[image, :, row, column],
                named.bool(),
                there[image],
                labels.flatten().bincount(minlength=len(members) + 1)[1:],
                there.sum(dim=0) * labels.shape[2] * labels.shape[3],
            )
        )
    return Pixels(
        *(torch.cat(parts) for parts in list(zip(*found, strict=True))[:3]),
        *(torch.stack(parts).sum(dim=0) for parts in list(zip(*found, strict=True))[3:]),
    )


def fit(rows: Pixels) -> Tensor:
    """Weights (K, units) of least binary cross-entropy (Fong and Vedaldi 2018).

    Pixels of a concept count as much more as it is rare: its share of the pixels weighs the
    others.
    """
    share = rows.concept.double() / rows.total.clamp_min(1)  # (K,)
    active = rows.active.double()
    positive = (1 - share) * (rows.labels & rows.counted)  # (M, K)
    negative = share * (~rows.labels & rows.counted)
    weights = torch.zeros(active.shape[1], len(share), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights], lr=1, max_iter=STEPS, history_size=10, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        sums = active @ weights  # (M, K)
        losses = positive * F.softplus(-sums) + negative * F.softplus(sums)
        found = losses.sum() / max(1, len(active)) + RIDGE * weights.square().sum()
        found.backward()
        return found

    optimizer.step(loss)
    return weights.detach().T.contiguous()


def _best_cut(rows: Pixels, weights: Tensor) -> Tensor:
    """From which sum on each concept's mask fits best, (K,), at least 0 (one half of a sigmoid)."""
    sums = rows.active.double() @ weights.T  # (M, K)
    cuts = []
    for k in range(len(weights)):
        known = rows.counted[:, k] & (sums[:, k] > 0)
        ordered, order = sums[known, k].sort(descending=True, stable=True)
        both = rows.labels[known, k][order].cumsum(dim=0)
        union = torch.arange(1, len(both) + 1) + rows.concept[k] - both
        last = torch.ones_like(ordered, dtype=torch.bool)
        last[:-1] = ordered[1:] < ordered[:-1]  # equal sums are taken together
        iou = both / union.clamp_min(1) * last
        cuts.append(ordered[iou.argmax()].item() if len(iou) else 0.0)
    return torch.tensor(cuts, dtype=torch.float64)


def _iou(rows: Pixels, weights: Tensor, cuts: Tensor) -> Tensor:
    """Intersection over union (K,) of combinations, cut at these sums if these are positive."""
    sums = rows.active.double() @ weights.T  # (M, K)
    chosen = (sums > 0) & (sums >= cuts) & rows.counted
    both = (chosen & rows.labels).sum(dim=0)
    union = chosen.sum(dim=0) + rows.concept - both
    return both.double() / union.clamp_min(1)


def _singles(
    model: nn.Module,
    layer: str,
    train: LabelledImages,
    validation: LabelledImages,
    thresholds: Sequence[Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """IoU (K,) of the best unit at the first level and at its own, and that unit's number (K,).

    Chosen on the training images, measured on the others.
    """
    found, fresh = (
        torch.stack(
            [overlaps(model, layer, images, level)[0].iou(images.concepts) for level in thresholds]
        )
        for images in (train, validation)
    )  # fmt: skip  (levels, units, K) each
    units = found[0].argmax(dim=0)  # (K,)
    single = fresh[0].gather(0, units[None])[0]
    best = found.flatten(0, 1).argmax(dim=0)  # (K,)
    return single, fresh.flatten(0, 1).gather(0, best[None])[0], units
