"""The per-class feature cache of anand2022, section 5, as a policy for any training loop.

The paper as printed and the code its authors released contradict each other; `PRINTED` and
`RELEASED` are the two readings, and every option in which they differ can be set alone.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import comb
from typing import Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from fmlib.features import (
    VECTORS,
    activation_after,
    cosine_similarity,
    extractor,
    feature_vectors,
    has_patch_statistics,
    moments_from_patches,
    patch_statistics,
)
from fmlib.models import ImageShape, chunk_size
from fmlib.training import Report


class CacheConfig(BaseModel):
    """One reading of the caching method; the defaults are the released code.

    Attributes:
        layer: layer whose maps are compared; `both` puts conv1 and conv2 side by side.
        activation: take the maps before or after the activation that follows the layer.
        vector: what is kept of mean and deviation (`fmlib.features.VECTORS`).
        moments: how mean and deviation are taken (`fmlib.features.MOMENTS`).
        hit: an image whose nearest cached vector is that of its own class is a hit if its
            similarity is at least (`above`) or at most (`below`) the class's threshold, or
            in any case (`nearest`).
        threshold: `running`, mean of single images' similarity to the cached vector before
            its update, undefined ones counted as 0; `exact_mean`, the same after the
            update; `printed`, similarity of the class's mean vector after the update,
            accumulated as if it were one image of a whole batch.
        update: `exact` mean of all member vectors, or `printed`, the class's mean vector
            accumulated as if it were one image of a whole batch.
        members: which images update the cache: those trained on, or all.
        reset: empty the cache at every epoch, or never.
        missing_class: `released`, no look-up before class 0 was seen, and a class missing
            from the first batch has an undefined vector that wins every comparison;
            `ignore`, a class without a vector cannot win.
        timing: `two_pass` updates with vectors of the weights after the step, `one_pass`
            with those of the look-up.
        remember: a hit is skipped for so many of its next visits too, without a look-up; on
            those visits the image takes no part in the cache.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layer: str = "conv1"
    activation: Literal["before", "after"] = "before"
    vector: Literal["pairs", "product", "mean", "deviation"] = "pairs"
    moments: Literal["released", "printed", "standard"] = "released"
    hit: Literal["above", "below", "nearest"] = "above"
    threshold: Literal["running", "exact_mean", "printed"] = "running"
    update: Literal["exact", "printed"] = "exact"
    members: Literal["kept", "all"] = "kept"
    reset: Literal["epoch", "never"] = "epoch"
    missing_class: Literal["released", "ignore"] = "released"
    timing: Literal["two_pass", "one_pass"] = "two_pass"
    remember: int = Field(default=0, ge=0)


RELEASED = CacheConfig()
"""The reading of the released code."""
PRINTED = CacheConfig(
    layer="both",
    vector="product",
    moments="printed",
    hit="below",
    threshold="printed",
    update="printed",
    members="all",
    reset="never",
    missing_class="ignore",
)
"""The reading of the paper as printed."""
PRESETS = {"released": RELEASED, "printed": PRINTED}
"""The two readings by name."""


class Batch(NamedTuple):
    """The members of one batch, as the cache is updated with them."""

    vectors: Tensor  # (M, D) feature vectors of the members
    labels: Tensor  # (M,) their classes
    sums: Tensor  # (classes, D) sum of their vectors per class
    new: Tensor  # (classes,) members per class
    offered: int  # images of the batch, members or not


def _batch(vectors: Tensor, labels: Tensor, n_classes: int, offered: int) -> Batch:
    sums = vectors.new_zeros(n_classes, vectors.shape[1]).index_add_(0, labels, vectors)
    new = labels.bincount(minlength=n_classes).to(vectors.dtype)
    return Batch(vectors, labels, sums, new, offered)


def _exact_update(vector: Tensor, count: Tensor, offered: Tensor, batch: Batch) -> Tensor:
    """Mean vector of all members so far."""
    return (vector * count[:, None] + batch.sums) / (count + batch.new)[:, None]


def _printed_update(vector: Tensor, count: Tensor, offered: Tensor, batch: Batch) -> Tensor:
    """(V n + V_new) / (n + b) with V_new the class's mean vector (anand2022, 5.1)."""
    return (vector * offered + batch.sums / batch.new[:, None]) / (offered + batch.offered)


def _mean_of_singles(threshold: Tensor, reference: Tensor, count: Tensor, batch: Batch) -> Tensor:
    """Mean over all members so far of the cosine with their class's vector, 0/0 taken as 0."""
    own = cosine_similarity(batch.vectors, reference).gather(1, batch.labels[:, None])[:, 0]
    sums = torch.zeros_like(threshold).index_add_(0, batch.labels, own.nan_to_num(nan=0.0))
    return (threshold.nan_to_num(nan=0.0) * count + sums) / (count + batch.new)


def _running_threshold(
    threshold: Tensor, old: Tensor, new: Tensor, count: Tensor, offered: Tensor, batch: Batch
) -> Tensor:
    """Against the vectors before their update, so that a first batch counts as zeros."""
    return _mean_of_singles(threshold, old, count, batch)


def _exact_mean_threshold(
    threshold: Tensor, old: Tensor, new: Tensor, count: Tensor, offered: Tensor, batch: Batch
) -> Tensor:
    """Against the vectors after their update."""
    return _mean_of_singles(threshold, new, count, batch)


def _printed_threshold(
    threshold: Tensor, old: Tensor, new: Tensor, count: Tensor, offered: Tensor, batch: Batch
) -> Tensor:
    """(e n + e_new) / (n + b), e_new the cosine of two mean vectors (anand2022, 5.2)."""
    means = batch.sums / batch.new[:, None]
    similarity = cosine_similarity(means, new).diagonal()
    return (threshold * offered + similarity) / (offered + batch.offered)


HITS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "above": torch.ge,
    "below": torch.le,
    "nearest": lambda similarity, threshold: ~similarity.isnan(),
}
"""Which images are hits, from similarities to their own class and its thresholds, both (N,)."""
UPDATES = {"exact": _exact_update, "printed": _printed_update}
THRESHOLDS = {
    "running": _running_threshold,
    "exact_mean": _exact_mean_threshold,
    "printed": _printed_threshold,
}


def _find_hits(
    config: CacheConfig, similarities: Tensor, labels: Tensor, threshold: Tensor
) -> Tensor:
    """Which images are hits: nearest class is the true one, and the threshold agrees."""
    undefined = torch.inf if config.missing_class == "released" else -torch.inf
    nearest = similarities.nan_to_num(nan=undefined).argmax(dim=1)
    own = similarities.gather(1, labels[:, None])[:, 0]
    return HITS[config.hit](own, threshold[labels]) & (nearest == labels)


def _take_over(config: CacheConfig, rule: str, count: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """New values, or old ones for classes that the batch does not hold.

    As released, a mean over images is taken for every class: 0/0 where none was ever seen.
    """
    if config.missing_class == "released" and rule != "printed":
        return new
    present = count > 0
    return torch.where(present[:, None] if new.ndim == 2 else present, new, old)


def _updated(
    config: CacheConfig,
    vector: Tensor,
    threshold: Tensor,
    count: Tensor,
    offered: Tensor,
    batch: Batch,
) -> tuple[Tensor, Tensor]:
    """Vectors and thresholds after a batch."""
    mean = UPDATES[config.update](vector, count, offered, batch)
    new = _take_over(config, config.update, batch.new, mean, vector)
    limit = THRESHOLDS[config.threshold](threshold, vector, new, count, offered, batch)
    return new, _take_over(config, config.threshold, batch.new, limit, threshold)


_TALLIES = ("seen", "looked_up", "hits", "similarity", "remembered")


def vector_function(
    model: nn.Module, config: CacheConfig, known: Tensor | None = None
) -> Callable[..., Tensor]:
    """What turns images (N, C, H, W) into feature vectors (N, D) under a model's current weights.

    Only layer, activation, vector and moments of the reading matter (anand2022, 5.1).  A
    second argument, positions (B,), asks for the vectors (B, D) of these images only; if
    `known` is given, they are positions in it, and where its patch statistics tell the vectors
    no maps are computed; the images are then not looked at.  That takes D (D + 3) / 2 numbers
    of memory an image, D the numbers in a patch.
    """
    layers = ["conv1", "conv2"] if config.layer == "both" else [config.layer]
    extract = extractor(model, layers)
    acts = [
        activation_after(model, layer) if config.activation == "after" else nn.Identity()
        for layer in layers
    ]
    of_known = None if known is None else _patch_function(model, config, known)

    @torch.no_grad()
    def vectors(images: Tensor, index: Tensor | None = None) -> Tensor:
        if of_known is not None and index is not None:
            return of_known(index)
        chosen = torch.arange(len(images)) if index is None else index
        parts = []
        for part in chosen.split(chunk_size(images)):
            maps = zip(acts, extract(images[part]).values(), strict=True)
            parts.append([feature_vectors(a(m), config.moments, config.vector) for a, m in maps])
        return torch.cat([torch.cat(part, dim=1) for part in parts])

    return vectors


def _patch_function(
    model: nn.Module, config: CacheConfig, images: Tensor
) -> Callable[[Tensor], Tensor] | None:
    """Vectors by position from `fmlib.features.patch_statistics`, None where they do not tell.

    They do for the released moments, before the activation, of a convolution that no layer
    with weights precedes.
    """
    names = [name for name, _ in model.named_children()]
    if not isinstance(model, nn.Sequential) or config.layer not in names:
        return None
    before, layer = model[: names.index(config.layer)], model[names.index(config.layer)]
    if config.moments != "released" or config.activation != "before":
        return None
    if not has_patch_statistics(layer) or any(True for _ in before.parameters()):
        return None
    size = layer.weight[0].numel()
    statistics = images.new_empty(len(images), size * (size + 3) // 2)
    chunk = chunk_size(images)
    for part, rows in zip(images.split(chunk), statistics.split(chunk), strict=True):
        rows.copy_(patch_statistics(layer, before(part)))
    return lambda index: VECTORS[config.vector](*moments_from_patches(layer, statistics[index]))


class FeatureCache(nn.Module):
    """One mean feature vector and one threshold per class; skips images that match them.

    A policy for `fmlib.training.fit`; in any other training loop it is three lines more::

        cache = FeatureCache(model, n_classes=10)
        for epoch in range(epochs):
            cache.start_epoch()                              # 1
            for images, labels in batches:
                kept = cache.keep(images, labels)            # 2
                loss = F.nll_loss(model(images[kept]), labels[kept])
                optimizer.zero_grad(); loss.backward(); optimizer.step()
                cache.after_step(images, labels, kept)       # 3

    Args:
        model: the network in training, any with named layers that `fmlib.features.extractor`
            takes; it is only looked at.
        n_classes: number of classes.
        config: the reading of the method.
        image_shape: channels, height and width, needed for other images than 28x28 grey ones
            where `images` are not given.
        images: (N, C, H, W) the training set, if `keep` and `after_step` are given the very same
            and positions in it; to remember hits, and for speed (`vector_function`).

    `state_dict` holds vectors, counts, thresholds and the epoch's tallies.
    """

    vector: Tensor  # (classes, D) mean feature vectors
    threshold: Tensor  # (classes,) similarities
    count: Tensor  # (classes,) images behind each vector
    offered: Tensor  # () images of all batches since the reset
    seen: Tensor  # (classes,) images of this epoch
    looked_up: Tensor  # (classes,) of them compared with the cache
    hits: Tensor  # (classes,) of them found
    similarity: Tensor  # (classes,) sum over looked-up images of that to their own class
    remembered: Tensor  # (classes,) images of this epoch skipped without a look-up
    resting: Tensor  # (N,) visits for which an image of the training set will still be skipped
    _choose = staticmethod(_find_hits)

    def __init__(
        self,
        model: nn.Module,
        n_classes: int = 10,
        config: CacheConfig = RELEASED,
        image_shape: ImageShape = (1, 28, 28),
        images: Tensor | None = None,
    ) -> None:
        super().__init__()
        if config.remember and images is None:
            raise ValueError("images is None; to remember hits give the whole training set")
        self.config = config
        self.vectors = vector_function(model, config, images)
        self._looked_up_vectors: Tensor | None = None
        self._awake = torch.zeros(0, dtype=torch.bool)  # (B,) batch's images that do not rest
        like = next(model.parameters()).detach()
        shape = image_shape if images is None else images.shape[1:]
        size = self.vectors(like.new_zeros(1, *shape)).shape[1]
        self.register_buffer("vector", like.new_zeros(n_classes, size))
        self.register_buffer("offered", like.new_zeros(()))
        n_images = 0 if images is None else len(images)
        self.register_buffer("resting", like.new_zeros(n_images, dtype=torch.long))
        for name in ("threshold", "count", *_TALLIES):
            self.register_buffer(name, like.new_zeros(n_classes))

    def start_epoch(self) -> None:
        """Clear the epoch's tallies, and the cache itself if the reading resets it."""
        for tally in _TALLIES:
            getattr(self, tally).zero_()
        if self.config.reset == "epoch":
            for state in (self.vector, self.threshold, self.count, self.offered):
                state.zero_()

    @torch.no_grad()
    def keep(self, images: Tensor, labels: Tensor, index: Tensor | None = None) -> Tensor:
        """Look up a batch before the step.

        Takes images (N, C, H, W), labels (N,) and the batch's positions in them (B,), by default
        all; returns a boolean mask (B,), False for the images to be left out of the step.
        """
        index = self._positions(labels, index)
        labels = labels[index]  # (B,)
        self.seen += self._per_class(labels)
        self._awake = awake = torch.ones_like(labels, dtype=torch.bool)
        if self.config.remember:
            awake &= self.resting[index] == 0
        kept = awake.clone()
        kept[awake] = ~self._look_up(images, labels[awake], index[awake])
        if self.config.remember:
            self.remembered += self._per_class(labels[~awake])
            self.resting[index[~awake]] -= 1
            self.resting[index[awake & ~kept]] = self.config.remember
        return kept

    def _look_up(self, images: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        """Which images of a batch (B,) are hits; none before the cache is ready."""
        ready = bool(self.count[0] if self.config.missing_class == "released" else self.count.any())
        one_pass = self.config.timing == "one_pass"
        vectors = self.vectors(images, index) if len(labels) and (ready or one_pass) else None
        self._looked_up_vectors = vectors if one_pass else None
        if not ready or vectors is None:
            return torch.zeros_like(labels, dtype=torch.bool)
        similarities = cosine_similarity(vectors, self.vector)  # (B, classes)
        hit = self._choose(self.config, similarities, labels, self.threshold)
        self.looked_up += self._per_class(labels)
        self.hits += self._per_class(labels[hit])
        self.similarity.index_add_(0, labels, similarities.gather(1, labels[:, None])[:, 0])
        return hit

    @torch.no_grad()
    def after_step(
        self, images: Tensor, labels: Tensor, kept: Tensor, index: Tensor | None = None
    ) -> None:
        """Update vectors and thresholds; takes what `keep` took, and its mask."""
        index, awake = self._positions(labels, index), self._awake
        members = kept if self.config.members == "kept" else awake
        if not members.any():
            self.offered += awake.sum()
            return
        found = self._looked_up_vectors
        vectors = self.vectors(images, index[members]) if found is None else found[members[awake]]
        batch = _batch(vectors, labels[index[members]], len(self.count), int(awake.sum()))
        state = _updated(self.config, self.vector, self.threshold, self.count, self.offered, batch)
        self.vector, self.threshold = state
        self.count += batch.new
        self.offered += batch.offered

    def _positions(self, labels: Tensor, index: Tensor | None) -> Tensor:
        if index is None and len(self.resting):
            raise ValueError("index is None; a cache made with images needs positions in them")
        return torch.arange(len(labels), device=labels.device) if index is None else index

    def report(self) -> Report:
        """Per class, of this epoch: hits, misses, images trained, threshold, mean similarity.

        Misses were looked up, `remembered` images skipped without; None: an undefined number.
        """
        numbers = {
            "hits": self.hits,
            "misses": self.looked_up - self.hits,
            "remembered": self.remembered,
            "trained": self.seen - self.hits - self.remembered,
            "threshold": self.threshold,
            "similarity": self.similarity / self.looked_up,
        }
        return {
            name: [None if x != x else x for x in values.tolist()]
            for name, values in numbers.items()
        }

    def _per_class(self, labels: Tensor) -> Tensor:
        return labels.bincount(minlength=len(self.count)).to(self.count.dtype)


class InvertedCache(FeatureCache):
    """A cache that leaves out the least similar images: a control for what similarity tells.

    Of each class in each batch it leaves out as many images as `FeatureCache` would with the
    same vectors and thresholds, those least similar to the cached vector of their class.  The
    number is kept class by class because classes differ in how similar their images are: the
    least similar ones of a whole batch would be those of a few classes.  Where more than half
    of a class are hits, some images would be left out by either rule.  `hits` counts the images
    left out.
    """

    @staticmethod
    def _choose(
        config: CacheConfig, similarities: Tensor, labels: Tensor, threshold: Tensor
    ) -> Tensor:
        hit = _find_hits(config, similarities, labels, threshold)
        own = similarities.gather(1, labels[:, None])[:, 0]
        least = torch.zeros_like(hit)
        for label in labels[hit].unique():
            members = (labels == label).nonzero()[:, 0]
            rising = members[own[members].argsort(stable=True)]
            least[rising[: hit[members].sum()]] = True
        return least


def missing_class_probability(class_sizes: Sequence[int], batch_size: int) -> float:
    """Probability that a batch drawn at random misses some class; exact up to one rounding.

    With the released reading such a first batch switches the cache off for the epoch.

    Args:
        class_sizes: images of each class.
        batch_size: images drawn without replacement, at most all of them.
    """
    signed = {0: 1}  # images of a set of classes: sets of even size less those of odd size
    for size in class_sizes:
        for total, count in list(signed.items()):
            signed[total + size] = signed.get(total + size, 0) - count
    images = sum(class_sizes)
    if not 0 <= batch_size <= images:
        raise ValueError(f"batch_size is {batch_size}; give 0 to {images}, the number of images")
    complete = sum(count * comb(images - total, batch_size) for total, count in signed.items())
    return float(1 - Fraction(complete, comb(images, batch_size)))


class Exits(NamedTuple):
    """What a cache at test time does with images: nearest class (N,) and whether it is a hit."""

    nearest: Tensor
    hit: Tensor


def class_vectors(vectors: Tensor, labels: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
    """Mean vector of each class and the mean similarity of its members to it (park2019).

    Takes vectors (N, D) and labels (N,); returns (classes, D) and (classes,).
    """
    batch = _batch(vectors, labels, n_classes, len(labels))
    means = batch.sums / batch.new[:, None]
    zeros = torch.zeros_like(batch.new)
    return means, _mean_of_singles(zeros, means, zeros, batch)


def early_exits(vectors: Tensor, means: Tensor, thresholds: Tensor) -> Exits:
    """Images that may leave the network early: near enough to their nearest class (park2019).

    Takes vectors (N, D), and means and thresholds as `class_vectors` returns them.
    """
    similarity, nearest = cosine_similarity(vectors, means).nan_to_num(-torch.inf).max(dim=1)
    return Exits(nearest, similarity >= thresholds[nearest])
