"""The cache: against the authors' own loop, and on networks small enough to follow by hand.

The small network of these tests has the maps x and 1 - x.  With the mean of each map as
vector an image of equal pixels m has the vector (m, 1 - m): 4/7 makes the cosines 0.8 and
0.6 with (1, 0) and (0, 1), 3/7 the other way round.
"""

import io
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib import caching, data
from fmlib.caching import (
    PRESETS,
    PRINTED,
    RELEASED,
    CacheConfig,
    FeatureCache,
    InvertedCache,
    class_vectors,
    early_exits,
    missing_class_probability,
)
from fmlib.features import feature_vectors
from fmlib.models import base_cnn
from fmlib.training import TrainConfig, fit
from tests import toy

REFERENCE = json.loads((Path(__file__).parent / "authors_loop_reference.json").read_text())
WHITE, BLACK, LIGHT, DARK = 1.0, 0.0, 4 / 7, 3 / 7
SMALL = CacheConfig(vector="mean", moments="standard")


def _cache(model: nn.Module | None = None, **options: Any) -> FeatureCache:
    """A cache of two classes on the small network."""
    config = CacheConfig.model_validate(SMALL.model_dump() | options)
    return FeatureCache(model or toy.pixel_cnn(), 2, config, image_shape=(1, 2, 2))


def _show(cache: FeatureCache, pixels: list[float], labels: list[int]) -> list[bool]:
    """Offer one batch of equal images without a step; returns what the cache keeps."""
    images, targets = toy.flat_images(*pixels), torch.tensor(labels)
    kept = cache.keep(images, targets)
    cache.after_step(images, targets, kept)
    return [bool(k) for k in kept]


def _started(**options: Any) -> FeatureCache:
    """A cache that has seen one white image of class 0 and one black image of class 1."""
    cache = _cache(**options)
    cache.start_epoch()
    assert _show(cache, [WHITE, BLACK], [0, 1]) == [True, True]
    return cache


# --- the authors' loop -------------------------------------------------------------------


def _reference_model() -> nn.Sequential:
    """Weights as the reference file says: uniform within 1/sqrt(fan-in), numpy's seed 7."""
    model, rng, fan_in = base_cnn(dtype=torch.float64), np.random.default_rng(7), 0
    with torch.no_grad():
        for value in model.parameters():
            fan_in = value[0].numel() if value.ndim > 1 else fan_in
            drawn = rng.uniform(-1, 1, tuple(value.shape)) / np.sqrt(fan_in)
            value.copy_(torch.from_numpy(drawn))
    return model


def _assert_state(cache: FeatureCache, call: dict[str, Any]) -> None:
    """Thresholds, counts and norms of cached vectors; null in the file is NaN."""
    found = {
        "threshold": cache.threshold,
        "count": cache.count,
        "vector_norm": cache.vector.norm(dim=1),
    }
    for name, value in found.items():
        recorded = [float("nan") if x is None else x for x in call[name]]
        expected = torch.tensor(recorded, dtype=torch.float64)
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=0, equal_nan=True)


@pytest.mark.parametrize(("case", "n_train"), [(0, 3000), (1, 480)], ids=["batch300", "batch16"])
def test_released_preset_does_what_the_authors_loop_did(case: int, n_train: int) -> None:
    """The second case has a class without an image in the first batch, so NaN all along."""
    reference = REFERENCE["cases"][case]
    setup = reference["setup"]
    digits = data.load("mnist", n_train, 10, dtype=torch.float64)
    model = _reference_model()
    cache = FeatureCache(model, config=RELEASED)
    optimizer = torch.optim.SGD(model.parameters(), lr=setup["lr"])
    calls = iter(reference["calls"])
    trained = []
    for _ in range(setup["epochs"]):
        cache.start_epoch()
        for images, labels in zip(
            digits.train_images.tensor_split(n_train // setup["batch"]),
            digits.train_labels.tensor_split(n_train // setup["batch"]),
            strict=True,
        ):
            kept = cache.keep(images, labels)
            optimizer.zero_grad()
            torch.autograd.backward(F.nll_loss(model(images[kept]), labels[kept]))
            optimizer.step()
            cache.after_step(images, labels, kept)
            trained.append(int(kept.sum()))
            _assert_state(cache, next(calls))
    assert trained == reference["trained"]
    assert next(calls, None) is None
    found = {name: value.norm().item() for name, value in model.named_parameters()}
    assert found == pytest.approx(reference["final_weight_norms"], rel=1e-9)


def test_reference_cases_differ_in_what_matters() -> None:
    """One case skips images, the other holds NaN and skips none."""
    skipping, undefined = REFERENCE["cases"]
    assert min(skipping["trained"]) < skipping["setup"]["batch"]
    assert set(undefined["trained"]) == {undefined["setup"]["batch"]}
    assert None in undefined["calls"][-1]["vector_norm"]


# --- the look-up by hand -----------------------------------------------------------------


def test_look_up_and_update_by_hand() -> None:
    cache = _started()
    assert cache.vector.tolist() == [[1, 0], [0, 1]]
    assert cache.threshold.tolist() == [0, 0]  # 0/0 of the first batch is counted as 0
    assert cache.count.tolist() == [1, 1]
    # 4/7 of class 0 is nearest to class 0; 3/7 to class 1.
    assert _show(cache, [LIGHT, DARK, DARK], [0, 0, 1]) == [False, True, False]
    # Class 0: mean of (1, 0) and (3/7, 4/7); threshold (1*0 + 0.6)/2 before the update.
    assert cache.vector.flatten().tolist() == pytest.approx([5 / 7, 2 / 7, 0, 1])
    assert cache.threshold.tolist() == pytest.approx([0.3, 0])
    assert cache.count.tolist() == [2, 1]


def test_report_by_hand() -> None:
    cache = _cache()
    cache.start_epoch()
    assert cache.report()["similarity"] == [None, None]
    _show(cache, [WHITE, BLACK], [0, 1])
    _show(cache, [LIGHT, DARK, DARK], [0, 0, 1])
    report = cache.report()
    numbers = {"hits", "misses", "remembered", "trained", "threshold", "similarity"}
    assert report.keys() == numbers
    assert report["hits"] == [1, 1]
    assert report["misses"] == [1, 0]
    assert report["trained"] == [2, 1]
    assert report["threshold"] == pytest.approx([0.3, 0])
    assert report["similarity"] == pytest.approx([(0.8 + 0.6) / 2, 0.8])


@pytest.mark.parametrize(
    ("hit", "threshold", "skipped"),
    [
        ("above", 0.7, True),
        ("above", 0.9, False),
        ("below", 0.7, False),
        ("below", 0.9, True),
        ("nearest", 0.7, True),
        ("nearest", 0.9, True),
    ],
)
def test_hit_rules(hit: str, threshold: float, skipped: bool) -> None:
    """The cosine is 0.8; an image nearest to the other class is kept in any case."""
    cache = _started(hit=hit)
    cache.threshold.fill_(threshold)
    assert _show(cache, [LIGHT, DARK], [0, 0]) == [not skipped, True]


@pytest.mark.parametrize("hit", ["above", "below"])
def test_similarity_equal_to_the_threshold_is_a_hit(hit: str) -> None:
    """As released and as printed: at least, and at most."""
    cache = _started(hit=hit)
    cache.threshold.fill_(1.0)
    assert _show(cache, [WHITE], [0]) == [False]


def test_members_all_update_with_hits_too() -> None:
    cache = _started(members="all")
    _show(cache, [LIGHT, DARK, DARK], [0, 0, 1])
    assert cache.vector.flatten().tolist() == pytest.approx([2 / 3, 1 / 3, 3 / 14, 11 / 14])
    assert cache.threshold.tolist() == pytest.approx([(0.8 + 0.6) / 3, 0.8 / 2])
    assert cache.count.tolist() == [3, 2]


def test_exact_mean_threshold_uses_the_vectors_after_their_update() -> None:
    cache = _started(threshold="exact_mean")
    assert cache.threshold.tolist() == [1, 1]
    _show(cache, [DARK], [0])  # the vector becomes (5/7, 2/7)
    cosine = (3 * 5 + 4 * 2) / (5 * 29**0.5)
    assert cache.threshold.tolist() == pytest.approx([(1 + cosine) / 2, 1])


def test_printed_update_and_threshold_by_hand() -> None:
    """A batch's mean vector and its cosine count as one image, yet are divided by all."""
    cache = _cache(update="printed", threshold="printed", missing_class="ignore")
    cache.start_epoch()
    _show(cache, [WHITE, WHITE, BLACK, BLACK], [0, 0, 1, 1])
    assert cache.vector.tolist() == [[0.25, 0], [0, 0.25]]  # (V 0 + V_new)/(0 + 4)
    assert cache.threshold.tolist() == [0.25, 0.25]  # (e 0 + 1)/(0 + 4)
    _show(cache, [BLACK, WHITE], [0, 0])  # kept: the first, (0, 1)
    assert cache.vector[0].tolist() == pytest.approx([1 / 6, 1 / 6])
    assert cache.threshold[0].item() == pytest.approx((4 * 0.25 + 0.5**0.5) / 6)
    assert cache.vector[1].tolist() == [0, 0.25]  # no image of class 1: as it was
    assert cache.offered.item() == 6


def test_printed_threshold_is_far_below_any_similarity() -> None:
    """One cosine of at most 1 per batch is divided by its 50 images, so `below` never hits."""
    digits = data.load("mnist", 300, 1)
    cache = FeatureCache(base_cnn(), config=PRINTED)
    cache.start_epoch()
    for images, labels in zip(
        digits.train_images.split(50), digits.train_labels.split(50), strict=True
    ):
        kept = cache.keep(images, labels)
        cache.after_step(images, labels, kept)
        assert kept.all()
        assert cache.threshold.max().item() <= 1 / 50 + 1e-6
    assert (cache.similarity / cache.looked_up).min().item() > 0.5


def test_printed_threshold_falls_as_batches_grow() -> None:
    cache = _cache(threshold="printed", update="printed", members="all", missing_class="ignore")
    cache.start_epoch()
    found = []
    for size in (1, 2, 4):
        _show(cache, [WHITE] * size, [0] * size)
        found.append(cache.threshold[0].item())
    assert found == pytest.approx([1, 2 / 3, 3 / 7])


# --- classes without an image ------------------------------------------------------------


@pytest.mark.parametrize(("missing_class", "kept"), [("released", True), ("ignore", False)])
@pytest.mark.parametrize("hit", ["above", "nearest"])
def test_class_missing_from_the_first_batch(missing_class: str, kept: bool, hit: str) -> None:
    """As released its vector is 0/0 and wins every comparison, so nothing is skipped."""
    cache = _cache(missing_class=missing_class, hit=hit)
    cache.start_epoch()
    _show(cache, [WHITE], [0])
    assert cache.vector[1].isnan().all() == kept
    assert _show(cache, [LIGHT, DARK], [0, 1]) == [kept, True]
    assert _show(cache, [WHITE, BLACK], [0, 1]) == [kept, kept]
    cache.start_epoch()
    _show(cache, [WHITE, BLACK], [0, 1])
    assert _show(cache, [LIGHT, DARK], [0, 1]) == [False, False]


@pytest.mark.parametrize(("missing_class", "kept"), [("released", True), ("ignore", False)])
def test_no_look_up_before_class_0_was_seen(missing_class: str, kept: bool) -> None:
    cache = _cache(missing_class=missing_class)
    cache.start_epoch()
    _show(cache, [BLACK], [1])
    assert _show(cache, [BLACK], [1]) == [kept]
    assert cache.looked_up.tolist() == [0, 0 if kept else 1]


def test_class_absent_from_a_later_batch_keeps_its_entry() -> None:
    """For every way of updating, with both rules for missing classes."""
    for missing_class in ("released", "ignore"):
        for update in ("exact", "printed"):
            for threshold in ("running", "exact_mean", "printed"):
                cache = _started(
                    missing_class=missing_class, update=update, threshold=threshold, members="all"
                )
                vector, value = cache.vector[1].clone(), cache.threshold[1].clone()
                _show(cache, [DARK], [0])
                assert torch.equal(cache.vector[1], vector)
                assert torch.equal(cache.threshold[1], value)


@pytest.mark.parametrize(("members", "count", "mean"), [("kept", 1, 1), ("all", 2, 11 / 14)])
def test_batch_of_hits_only(members: str, count: int, mean: float) -> None:
    """There is no step, and only members of the batch enter the cache; so too within `fit`."""
    by_hand, fitted = (_started(members=members, reset="never") for _ in range(2))
    assert _show(by_hand, [LIGHT, DARK], [0, 1]) == [False, False]
    model = toy.pixel_cnn()
    images, labels = toy.flat_images(LIGHT, DARK), torch.tensor([0, 1])
    fit(model, images, labels, TrainConfig(epochs=1), policy=fitted)
    assert toy.unchanged(model, toy.snapshot(toy.pixel_cnn()))
    for cache in (by_hand, fitted):
        assert cache.count.tolist() == [count, count]
        assert cache.offered.item() == 4
        assert cache.vector.diagonal().tolist() == pytest.approx([mean, mean])


# --- layers, moments, time ---------------------------------------------------------------


def test_activation_after_rectifies_the_maps() -> None:
    """The maps x and -x of a white image: means of absolute values (1, 1), after ReLU (1, 0)."""
    for activation, vector in (("before", [1, 1]), ("after", [1, 0])):
        cache = _cache(toy.pixel_cnn(shifts=(0, 0)), activation=activation)
        cache.start_epoch()
        _show(cache, [WHITE], [0])
        assert cache.vector[0].tolist() == vector


def test_layer_both_puts_two_layers_side_by_side() -> None:
    for layer, vector in (("conv1", [1, 0]), ("conv2", [2, 0]), ("both", [1, 0, 2, 0])):
        cache = _started(layer=layer)
        assert cache.vector[0].tolist() == vector


def test_one_pass_updates_with_the_vectors_of_the_look_up() -> None:
    """The weights are doubled between look-up and update; a reset cache sees it or not."""
    for timing, factor in (("one_pass", 1), ("two_pass", 2)):
        model = toy.pixel_cnn()
        cache = _cache(model, timing=timing)
        cache.start_epoch()
        images, labels = toy.flat_images(WHITE, BLACK), torch.tensor([0, 1])
        kept = cache.keep(images, labels)
        with torch.no_grad():
            for parameter in model.get_submodule("conv1").parameters():
                parameter.mul_(2)
        cache.after_step(images, labels, kept)
        assert cache.vector.tolist() == [[factor, 0], [0, factor]]


def test_reset() -> None:
    """Tallies start anew with every epoch; vectors only if the reading resets them."""
    for reset, count in (("epoch", [0, 0]), ("never", [2, 1])):
        cache = _started(reset=reset)
        _show(cache, [LIGHT, DARK, DARK], [0, 0, 1])
        cache.start_epoch()
        assert cache.count.tolist() == count
        assert cache.vector.any().item() == any(count)
        assert cache.threshold.any().item() == any(count)
        assert cache.offered.item() == (5 if any(count) else 0)
        for tally in (cache.seen, cache.looked_up, cache.hits, cache.similarity):
            assert not tally.any()


# --- vectors without maps -----------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{}, {"vector": "product"}, {"timing": "one_pass", "members": "all"}, {"hit": "nearest"}],
)
def test_a_cache_that_knows_the_training_set_decides_as_one_that_does_not(
    options: dict[str, str],
) -> None:
    """Two runs of two epochs: patch statistics stand for the maps, to float64 rounding."""
    digits = data.load("mnist", 300, 10, dtype=torch.float64)
    images, labels = digits.train_images, digits.train_labels
    config = CacheConfig.model_validate(options)
    histories, caches = [], []
    for known in (None, images):
        model = base_cnn(dtype=torch.float64)
        caches.append(FeatureCache(model, 10, config, images=known))
        settings_ = TrainConfig(epochs=2, batch_size=100, seed=1)
        histories.append(fit(model, images, labels, settings_, policy=caches[-1]))
    for one, other in zip(histories[0].epochs, histories[1].epochs, strict=True):
        assert one.skipped_per_class == other.skipped_per_class
        assert one.loss == pytest.approx(other.loss, rel=1e-11)
    assert histories[0].epochs[1].skipped > 0
    assert torch.allclose(caches[0].vector, caches[1].vector, rtol=1e-11)
    assert torch.allclose(caches[0].threshold, caches[1].threshold, rtol=1e-11)


@pytest.mark.parametrize(
    ("options", "calls"),
    [({}, 0), ({"moments": "standard"}, 1), ({"activation": "after"}, 1), ({"layer": "conv2"}, 1)],
)
def test_maps_are_computed_only_where_patches_do_not_tell(
    options: dict[str, str], calls: int
) -> None:
    model = base_cnn(dtype=torch.float64)
    images = torch.rand(5, 1, 28, 28, dtype=torch.float64)
    config = CacheConfig.model_validate(options)
    vectors = caching.vector_function(model, config, images)
    expected = caching.vector_function(model, config)(images[[3, 1]])
    with patch("fmlib.caching.feature_vectors", wraps=feature_vectors) as spy:
        found = vectors(images, torch.tensor([3, 1]))
    assert spy.call_count == calls
    assert torch.allclose(found, expected, rtol=1e-12)


def test_shape_is_that_of_the_training_set() -> None:
    images = torch.rand(4, 3, 20, 24, dtype=torch.float64)
    model = base_cnn((3, 20, 24), dtype=torch.float64)
    cache = FeatureCache(model, images=images)
    assert cache.keep(images, torch.arange(4), torch.tensor([2, 0])).tolist() == [True, True]


# --- remembered hits ----------------------------------------------------------------------


def _set(count: int) -> Tensor:
    """A training set of so many images; what is in them is given at each visit."""
    return toy.flat_images(*[WHITE] * count)


def _visit(cache: FeatureCache, pixels: list[float], labels: list[int]) -> list[bool]:
    """As `_show`, for images that stand in the training set in this order."""
    images, targets = toy.flat_images(*pixels), torch.tensor(labels)
    places = torch.arange(len(labels))
    kept = cache.keep(images, targets, places)
    cache.after_step(images, targets, kept, places)
    return [bool(k) for k in kept]


@pytest.mark.parametrize("timing", ["two_pass", "one_pass"])
@pytest.mark.parametrize("members", ["kept", "all"])
def test_a_hit_is_skipped_for_its_next_visits_without_a_look_up(timing: str, members: str) -> None:
    """Two visits: a hit rests for two more epochs, even from a first batch, then is seen anew."""
    config = SMALL.model_copy(update={"remember": 2, "timing": timing, "members": members})
    cache = FeatureCache(toy.pixel_cnn(), 2, config, image_shape=(1, 2, 2), images=_set(3))
    pixels, labels = [WHITE, BLACK, LIGHT], [0, 1, 0]
    cache.start_epoch()
    assert _visit(cache, pixels[:2], labels[:2]) == [True, True]
    assert _visit(cache, pixels, labels) == [False, False, False]
    assert cache.resting.tolist() == [2, 2, 2]
    counted = [1, 1] if members == "kept" else [3, 2]
    assert cache.count.tolist() == counted
    for rest in (1, 0):
        cache.start_epoch()
        assert _visit(cache, pixels, labels) == [False, False, False]
        assert cache.resting.tolist() == [rest, rest, rest]
        assert cache.report()["remembered"] == [2, 1]
        assert cache.report()["hits"] == cache.report()["trained"] == [0, 0]
        assert cache.count.tolist() == [0, 0]
    cache.start_epoch()
    assert _visit(cache, pixels, labels) == [True, True, True]
    assert cache.count.tolist() == [2, 1]


def test_resting_images_take_no_part_in_their_batch() -> None:
    """A batch of one resting and one other image does what the other alone would do."""
    options = {"update": "printed", "threshold": "printed", "missing_class": "ignore"}
    for members in ("kept", "all"):
        config = CacheConfig.model_validate(
            SMALL.model_dump() | options | {"members": members, "remember": 1}
        )
        mixed, alone = (
            FeatureCache(toy.pixel_cnn(), 2, config, image_shape=(1, 2, 2), images=_set(2))
            for _ in range(2)
        )
        mixed.resting[0] = 1
        assert _visit(mixed, [WHITE, BLACK], [0, 1]) == [False, True]
        assert _visit(alone, [BLACK], [1]) == [True]
        for name in ("vector", "threshold", "count", "offered"):
            assert torch.equal(getattr(mixed, name), getattr(alone, name)), name


def test_remembering_needs_positions() -> None:
    config = SMALL.model_copy(update={"remember": 1})
    cache = FeatureCache(toy.pixel_cnn(), 2, config, image_shape=(1, 2, 2), images=_set(2))
    with pytest.raises(ValueError, match="index is None"):
        cache.keep(toy.flat_images(WHITE), torch.tensor([0]))


# --- inverted ----------------------------------------------------------------------------


def _started_inverted() -> InvertedCache:
    """An inverted cache after one white image of class 0 and one black image of class 1."""
    cache = InvertedCache(toy.pixel_cnn(), 2, SMALL, image_shape=(1, 2, 2))
    cache.start_epoch()
    assert _show(cache, [WHITE, BLACK], [0, 1]) == [True, True]
    return cache


def test_an_inverted_cache_leaves_out_the_least_similar_of_each_class() -> None:
    """Two of three images of class 0 are hits, one of two of class 1.

    The dark image of class 0 is nearest to class 1, so no hit, and least similar to its own
    class; the white one of class 1 likewise.
    """
    pixels, labels = [WHITE, LIGHT, DARK, BLACK, WHITE], [0, 0, 0, 1, 1]
    plain, inverted = _started(), _started_inverted()
    assert _show(plain, pixels, labels) == [False, False, True, False, True]
    assert _show(inverted, pixels, labels) == [True, False, False, True, False]
    assert inverted.report()["hits"] == plain.report()["hits"] == [2.0, 1.0]
    assert inverted.report()["trained"] == plain.report()["trained"] == [2.0, 2.0]


def test_an_inverted_cache_is_updated_by_what_it_keeps() -> None:
    """The class's vector stays white: the dark image is left out and the white one kept."""
    cache = _started_inverted()
    assert _show(cache, [WHITE, DARK], [0, 0]) == [True, False]
    assert cache.count.tolist() == [2, 1]
    assert cache.vector[0].tolist() == [1.0, 0.0]


def test_an_inverted_cache_leaves_out_nothing_where_the_cache_would_not() -> None:
    """The first batch, and a batch whose images are all nearest to the other class."""
    cache = _started_inverted()
    assert _show(cache, [DARK, BLACK, LIGHT], [0, 0, 1]) == [True] * 3


@pytest.mark.parametrize("batch_size", [25, 100])
def test_an_inverted_cache_leaves_out_as_many_and_no_more_similar_ones(batch_size: int) -> None:
    """On digits, from the same state: as many of each class, and none above one that stays."""
    digits = data.load("mnist", 400, 10, dtype=torch.float64)
    model = base_cnn(dtype=torch.float64)
    plain, inverted = FeatureCache(model), InvertedCache(model)
    skipped = 0
    for images, labels in zip(
        digits.train_images.split(batch_size), digits.train_labels.split(batch_size), strict=True
    ):
        inverted.load_state_dict(plain.state_dict())
        kept, other = plain.keep(images, labels), inverted.keep(images, labels)
        assert torch.equal(
            labels[kept].bincount(minlength=10), labels[other].bincount(minlength=10)
        )
        own = F.cosine_similarity(plain.vectors(images), plain.vector[labels])
        for label in labels[~other].unique():
            mine = labels == label
            assert (own[mine & ~other][:, None] <= own[mine & other]).all()
            skipped += int((mine & ~other).sum())
        plain.after_step(images, labels, kept)
    assert skipped > 50


# --- against a model of dictionaries ------------------------------------------------------

RELEASED_MEAN = ("released", "exact")
Pairs = dict[int, tuple[float, float]]


class Dictionaries:
    """The same rules for vectors (m, 1 - m), in plain Python: an entry per class that has one.

    `unsure` is set where a decision hangs on the last bits of a similarity.
    """

    def __init__(self, config: CacheConfig, n_classes: int) -> None:
        self.config, self.n_classes = config, n_classes
        self.resting: dict[int, int] = {}
        self.unsure = False
        self.clear()

    def clear(self) -> None:
        self.vector: Pairs = {}
        self.threshold: dict[int, float] = {}
        self.count = dict.fromkeys(range(self.n_classes), 0)
        self.offered = 0

    def start_epoch(self) -> None:
        if self.config.reset == "epoch":
            self.clear()

    def keep(self, index: list[int], pixels: list[float], labels: list[int]) -> list[bool]:
        released = self.config.missing_class == "released"
        ready = self.count[0] > 0 if released else any(self.count.values())
        kept, self.awake = [], []
        for i, pixel, label in zip(index, pixels, labels, strict=True):
            if self.resting.get(i, 0):
                self.resting[i] -= 1
                kept.append(False)
                self.awake.append(False)
                continue
            hit = ready and self._is_hit((pixel, 1 - pixel), label)
            if hit:
                self.resting[i] = self.config.remember
            kept.append(not hit)
            self.awake.append(True)
        return kept

    def _is_hit(self, vector: tuple[float, float], label: int) -> bool:
        similar = {c: _cosine(vector, v) for c, v in self.vector.items()}
        undefined = len(similar) < self.n_classes or any(v != v for v in similar.values())
        if (undefined and self.config.missing_class == "released") or label not in similar:
            return False
        own = similar[label]
        others = [value for c, value in similar.items() if c != label]
        self.unsure |= any(abs(own - value) < 1e-9 for value in others)
        self.unsure |= abs(own - self.threshold[label]) < 1e-9
        if others and max(others) > own:
            return False
        above = own >= self.threshold[label]
        return {"above": above, "below": not above, "nearest": True}[self.config.hit]

    def update(self, pixels: list[float], labels: list[int], kept: list[bool]) -> None:
        use = kept if self.config.members == "kept" else self.awake
        members = [(p, c) for p, c, u in zip(pixels, labels, use, strict=True) if u]
        size = sum(self.awake)
        if not members:
            self.offered += size
            return
        for c in range(self.n_classes):
            self._update_class(c, [(p, 1 - p) for p, label in members if label == c], size)
        self.offered += size

    def _update_class(self, c: int, new: list[tuple[float, float]], size: int) -> None:
        old, n = self.vector.get(c), self.count[c]
        if new:
            mean = (sum(v[0] for v in new) / len(new), sum(v[1] for v in new) / len(new))
            start, had = old or (0.0, 0.0), self.offered if self.config.update == "printed" else n
            weight, total = (1, size) if self.config.update == "printed" else (len(new), len(new))
            self.vector[c] = (
                (start[0] * had + mean[0] * weight) / (had + total),
                (start[1] * had + mean[1] * weight) / (had + total),
            )
            self.threshold[c] = self._threshold(c, new, old, mean, size)
        elif old is None and (self.config.missing_class, self.config.update) == RELEASED_MEAN:
            self.vector[c] = (math.nan, math.nan)
        self.count[c] += len(new)

    def _threshold(
        self,
        c: int,
        new: list[tuple[float, float]],
        old: tuple[float, float] | None,
        mean: tuple[float, float],
        size: int,
    ) -> float:
        before, n = self.threshold.get(c, 0.0), self.count[c]
        if self.config.threshold == "printed":
            similarity = _cosine(mean, self.vector[c])
            return (before * self.offered + similarity) / (self.offered + size)
        against = old if self.config.threshold == "running" else self.vector[c]
        own = [0.0 if against is None else _cosine(v, against) for v in new]
        own = [0.0 if value != value else value for value in own]
        return (before * n + sum(own)) / (n + len(new))


def _cosine(a: tuple[float, float], b: tuple[float, float]) -> float:
    length = math.hypot(*a) * math.hypot(*b)
    return (a[0] * b[0] + a[1] * b[1]) / length if length else math.nan


DECISIONS = ("hit", "threshold", "update", "members", "reset", "missing_class", "timing")
SWITCHES = [
    SMALL.model_copy(update={name: value})
    for name in DECISIONS
    for value in get_args(CacheConfig.model_fields[name].annotation)
]
TOY_PRINTED = PRINTED.model_copy(update={"layer": "conv1", "vector": "mean", "moments": "standard"})
CONFIGS = st.one_of(
    st.sampled_from([SMALL, TOY_PRINTED, *SWITCHES]),
    st.builds(
        CacheConfig,
        vector=st.just("mean"),
        moments=st.just("standard"),
        remember=st.integers(0, 2),
        **{name: st.sampled_from(get_args(CacheConfig.model_fields[name].annotation))
           for name in DECISIONS},
    ),
)  # fmt: skip
POOL = st.lists(
    st.tuples(st.floats(0.01, 0.99), st.integers(0, 2)), min_size=3, max_size=10, unique=True
)


@settings(deadline=None)
@given(config=CONFIGS, pool=POOL, data_=st.data())
def test_cache_does_what_a_model_of_dictionaries_does(
    config: CacheConfig, pool: list[tuple[float, int]], data_: st.DataObject
) -> None:
    """Random images, batches and epochs; all options that decide, alone and together."""
    everything, classes = toy.flat_images(*[p for p, _ in pool]), torch.tensor([c for _, c in pool])
    cache = FeatureCache(_PIXELS, 3, config, image_shape=(1, 2, 2), images=everything)
    model = Dictionaries(config, 3)
    batch = st.lists(st.integers(0, len(pool) - 1), min_size=1, max_size=6, unique=True)
    for batches in data_.draw(st.lists(st.lists(batch, max_size=4), max_size=3), label="epochs"):
        cache.start_epoch()
        model.start_epoch()
        for index in batches:
            pixels, labels = [pool[i][0] for i in index], [pool[i][1] for i in index]
            kept = cache.keep(everything, classes, torch.tensor(index))
            expected = model.keep(index, pixels, labels)
            assume(not model.unsure)
            assert kept.tolist() == expected
            cache.after_step(everything, classes, kept, torch.tensor(index))
            model.update(pixels, labels, expected)
            _assert_agree(cache, model)


def _assert_agree(cache: FeatureCache, model: Dictionaries) -> None:
    assert cache.count.tolist() == list(model.count.values())
    assert cache.offered.item() == model.offered
    for c, vector in model.vector.items():
        assert cache.vector[c].tolist() == pytest.approx(list(vector), nan_ok=True, abs=1e-12)
    for c, threshold in model.threshold.items():
        assert cache.threshold[c].item() == pytest.approx(threshold, nan_ok=True, abs=1e-12)


_PIXELS = toy.pixel_cnn()


# --- a class missing from a batch, by probability -----------------------------------------


def test_missing_class_probability_by_hand() -> None:
    """Of 2 + 1 images two are drawn: the single one is left out once in three times."""
    assert missing_class_probability([2, 1], 2) == pytest.approx(1 / 3)
    assert missing_class_probability([2, 1], 1) == 1
    assert missing_class_probability([2, 1], 3) == 0
    assert missing_class_probability([3, 0], 3) == 1


@given(
    sizes=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    share=st.floats(0, 1),
)
def test_missing_class_probability_equals_counting_all_batches(
    sizes: list[int], share: float
) -> None:
    labels = [c for c, size in enumerate(sizes) for _ in range(size)]
    batch = round(share * len(labels))
    batches = list(itertools.combinations(labels, batch))
    missing = sum(len(set(drawn)) < len(sizes) for drawn in batches)
    assert missing_class_probability(sizes, batch) == pytest.approx(missing / len(batches))


def test_missing_class_probability_of_mnist_by_batch_size() -> None:
    """With ten equal classes about ten times 0.9^b; impossible sizes are refused."""
    found = [missing_class_probability([6000] * 10, b) for b in (9, 32, 64, 4096)]
    assert found[0] == 1
    assert found[1] == pytest.approx(0.31, abs=0.02)
    assert found[2] == pytest.approx(10 * 0.9**64, rel=0.02)
    assert found[3] < 1e-180
    with pytest.raises(ValueError, match="batch_size is 4; give 0 to 3"):
        missing_class_probability([2, 1], 4)


# --- at test time -------------------------------------------------------------------------


def test_class_vectors_and_early_exits_by_hand() -> None:
    """Members (1, 0) and (0, 1) of class 0 have the mean (1/2, 1/2), each at 45 degrees."""
    vectors = torch.tensor([[1.0, 0], [0, 1], [0, 2]], dtype=torch.float64)
    means, thresholds = class_vectors(vectors, torch.tensor([0, 0, 1]), 3)
    assert means[:2].tolist() == [[0.5, 0.5], [0, 2]]
    assert thresholds[:2].tolist() == pytest.approx([0.5**0.5, 1])
    assert means[2].isnan().all()  # a class without members is never the nearest
    queries = torch.tensor([[3.0, 2], [9, 1], [0, 5], [1, 4]], dtype=torch.float64)
    exits = early_exits(queries, means, thresholds)
    assert exits.nearest.tolist() == [0, 0, 1, 1]
    assert exits.hit.tolist() == [True, True, True, False]


# --- state, model, loop ------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_saved_state_continues_identically(preset: str) -> None:
    """The state goes through a file in the middle of an epoch."""
    digits = data.load("mnist", 400, 1)
    batches = list(zip(digits.train_images.split(100), digits.train_labels.split(100), strict=True))
    model = base_cnn()

    def run(cache: FeatureCache, start: int, stop: int) -> list[Tensor]:
        masks = []
        for images, labels in batches[start:stop]:
            masks.append(cache.keep(images, labels))
            cache.after_step(images, labels, masks[-1])
        return masks

    first, second = (FeatureCache(model, config=PRESETS[preset]) for _ in range(2))
    first.start_epoch()
    run(first, 0, 2)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    for one, other in zip(run(first, 2, 4), run(second, 2, 4), strict=True):
        assert torch.equal(one, other)
    assert first.report() == second.report()
    assert first.count.sum().item() > 0
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value)


def test_state_holds_the_cache_and_not_the_model() -> None:
    model = base_cnn()
    cache = FeatureCache(model)
    state = {"vector", "threshold", "count", "offered", "resting"}
    tallies = {"seen", "looked_up", "hits", "similarity", "remembered"}
    assert cache.state_dict().keys() == state | tallies
    assert list(cache.parameters()) == []
    assert cache.vector.shape == (10, 30)
    assert toy.hook_count(model) == 0


def test_looking_changes_nothing_in_the_model() -> None:
    model = toy.pixel_cnn().train()
    before = toy.snapshot(model)
    cache = _cache(model)
    _show(cache, [WHITE, BLACK], [0, 1])
    _show(cache, [LIGHT, DARK], [0, 1])
    assert toy.unchanged(model, before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training


@pytest.mark.parametrize("timing", ["two_pass", "one_pass"])
def test_fit_with_the_cache_equals_the_loop_of_the_docstring(timing: str) -> None:
    digits = data.load("mnist", 600, 1, dtype=torch.float64)
    images, labels = digits.train_images, digits.train_labels
    config = CacheConfig.model_validate({"timing": timing})
    model = base_cnn(dtype=torch.float64)
    training = TrainConfig(epochs=1, batch_size=200, seed=3)
    (epoch,) = fit(
        model, images, labels, training, policy=FeatureCache(model, config=config)
    ).epochs
    by_hand = base_cnn(dtype=torch.float64)
    cache = FeatureCache(by_hand, config=config)
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.01)
    cache.start_epoch()
    for batch in torch.randperm(600, generator=torch.Generator().manual_seed(3)).view(3, 200):
        kept = cache.keep(images[batch], labels[batch])
        loss = F.nll_loss(by_hand(images[batch][kept]), labels[batch][kept])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        cache.after_step(images[batch], labels[batch], kept)
    for name, value in by_hand.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-9, atol=1e-12)
    assert 0 < epoch.skipped < 400
    assert epoch.skipped == sum(hits or 0 for hits in epoch.policy["hits"])
    assert list(epoch.skipped_per_class) == epoch.policy["hits"] == cache.report()["hits"]
    assert epoch.trained == sum(n or 0 for n in epoch.policy["trained"])


# --- options -----------------------------------------------------------------------------

OPTIONS = [
    (name, value)
    for name, field in CacheConfig.model_fields.items()
    for value in get_args(field.annotation)
] + [("layer", "conv2"), ("layer", "both")]


@pytest.mark.parametrize(("name", "value"), OPTIONS)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_option_can_be_set_alone(preset: str, name: str, value: str) -> None:
    """Three batches that hold every class: a mask for each, defined numbers at the end."""
    config = CacheConfig.model_validate(PRESETS[preset].model_dump() | {name: value})
    assert getattr(config, name) == value
    cache = FeatureCache(toy.pixel_cnn((1, 2)), 2, config, image_shape=(1, 2, 2))
    images, labels = toy.random_images(30, size=2), torch.arange(2).repeat(15)
    cache.start_epoch()
    for part, targets in zip(images.split(10), labels.split(10), strict=True):
        kept = cache.keep(part, targets)
        assert kept.dtype == torch.bool
        assert kept.shape == (10,)
        cache.after_step(part, targets, kept)
    assert cache.vector.isfinite().all()
    assert cache.threshold.isfinite().all()
    assert sum(cache.looked_up.tolist()) == 20
    sums = [sum(cache.report()[key][k] or 0 for key in ("hits", "trained")) for k in range(2)]
    assert sums == [15, 15]


def test_presets_differ_in_all_that_the_paper_prints_otherwise() -> None:
    released, printed = RELEASED.model_dump(), PRINTED.model_dump()
    assert {name for name in released if released[name] == printed[name]} == {
        "activation",
        "timing",
        "remember",
    }
    assert PRESETS == {"released": RELEASED, "printed": PRINTED}


@pytest.mark.parametrize(
    "options",
    [{name: "other"} for name, _ in dict(OPTIONS).items() if name != "layer"]
    + [{"epsilon": 0.5}, {"remember": -1}, {"remember": 0.5}],
)
def test_unknown_values_and_names_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        CacheConfig.model_validate(options)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: _cache(layer="conv3"), "layer 'conv3' does not exist; choose from scale, conv1"),
        (lambda: _cache(layer="flatten", activation="after"), "no activation follows layer"),
        (lambda: _cache(remember=1), "images is None"),
    ],
)
def test_impossible_layers_are_refused(build: Callable[[], FeatureCache], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
