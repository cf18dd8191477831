"""The experiments of chapter 02: their controls, and that they are what their names say."""

from typing import get_args

import pytest
import torch

from fmlib import chapters
from fmlib.caching import PRESETS, PRINTED, RELEASED, CacheConfig
from fmlib.experiments import caching
from fmlib.experiments.caching import CachingSettings, Point, train_once
from fmlib.skipping import RandomSkip
from fmlib.training import TrainConfig, fit
from tests import toy

POINT = Point(batch_size=50, epochs=2, seed=3)


@pytest.fixture(scope="module")
def settings() -> CachingSettings:
    """Settings of the chapter, small enough for tests."""
    found = chapters.settings("caching", "smoke", short_runs=[100, 50, 1, 2], batch_sizes=[25])
    assert isinstance(found, CachingSettings)
    return found


def test_walk_changes_one_option_at_a_time_and_ends_at_the_released_reading() -> None:
    config = PRINTED
    for option in caching.WALK:
        changed = config.model_copy(update={option: getattr(RELEASED, option)})
        before, after = config.model_dump(), changed.model_dump()
        assert [name for name in before if before[name] != after[name]] == [option]
        config = changed
    assert config == RELEASED


def test_alternatives_are_all_other_values_of_all_options() -> None:
    expected = {
        (name, value)
        for name, field in CacheConfig.model_fields.items()
        for value in get_args(field.annotation)
        if value != getattr(RELEASED, name)
    }
    expected |= {("layer", "conv2"), ("layer", "both"), ("remember", 1)}
    assert set(caching.ALTERNATIVES) == expected
    assert len(caching.ALTERNATIVES) == len(expected)


def test_readings_start_from_plain_training_and_the_preset(settings: CachingSettings) -> None:
    """A reading that skips nothing trains as without a cache, seed by seed."""
    walk = caching.walk(settings, settings.load())
    assert [(r.option, r.value) for r in walk[:2]] == [("", ""), ("", "printed")]
    assert [r.option for r in walk[2:]] == list(caching.WALK)
    plain, printed = walk[:2]
    assert [run.skipped(-1) for run in printed.runs] == [0, 0]
    assert [r.test_accuracy for r in plain.runs] == [r.test_accuracy for r in printed.runs]
    assert plain.runs[0].history.epochs[0].loss != plain.runs[1].history.epochs[0].loss


def test_a_point_means_the_same_weights_and_batches(settings: CachingSettings) -> None:
    """Random skipping at rates of zero, and a cache without hits, are plain training."""
    dataset = settings.load()
    plain = train_once(settings, dataset, POINT, None)
    nothing = train_once(settings, dataset, POINT, [[0.0] * 10])
    never = train_once(settings, dataset, POINT, PRESETS["printed"])
    losses = [[e.loss for e in run.history.epochs] for run in (plain, nothing, never)]
    assert losses[0] == losses[1] == losses[2]
    assert plain.test_accuracy == nothing.test_accuracy == never.test_accuracy


def test_random_skipping_at_rate_one_trains_on_nothing() -> None:
    model, images = toy.pixel_cnn(), toy.random_images(6, size=2)
    policy = RandomSkip([[1.0, 1.0]], seed=0)
    (epoch,) = fit(model, images, toy.random_labels(6), TrainConfig(epochs=1), policy=policy).epochs
    assert (epoch.trained, epoch.steps) == (0, 0)
    assert toy.unchanged(model, toy.snapshot(toy.pixel_cnn()))


def test_skip_rates_are_shares_per_class_and_epoch(settings: CachingSettings) -> None:
    cached = train_once(settings, settings.load(), POINT, RELEASED).history
    rates = caching.skip_rates(cached)
    for row, epoch in zip(rates, cached.epochs, strict=True):
        skipped = [round(r * n) for r, n in zip(row, epoch.seen_per_class, strict=True)]
        assert tuple(skipped) == epoch.skipped_per_class
    assert sum(map(sum, rates)) > 0


def test_stages_show_one_image_of_every_class_there_is(settings: CachingSettings) -> None:
    dataset = settings.load()
    found = caching.stages(settings, dataset)
    assert len(found) == settings.stage_seeds
    for stage in (found[0].early, found[0].late):
        assert stage.labels.tolist() == dataset.test_labels.unique().tolist()
        assert stage.similarity.shape == (len(stage.labels), dataset.n_classes)
        assert stage.threshold.shape == stage.own.shape == (dataset.n_classes,)
    anatomy = found[0].anatomy
    assert torch.equal(anatomy.image, dataset.test_images[0])
    mean, deviation = anatomy.maps.mean(dim=(1, 2)).abs(), anatomy.maps.std(dim=(1, 2))
    torch.testing.assert_close(anatomy.vector, torch.stack((mean, deviation), dim=1))


def test_the_cached_vector_of_another_reading_is_shown_too(settings: CachingSettings) -> None:
    other = settings.model_copy(update={"options": {"vector": "product"}, "layer": "both"})
    found = caching.stages(other.model_copy(update={"stage_seeds": 1}), settings.load())
    assert found[0].anatomy.parts == ("product",)
    assert found[0].anatomy.vector.shape == (15, 1)


def test_exits_at_each_layer_against_the_whole_network(settings: CachingSettings) -> None:
    """Accuracies follow from each other: the cache names the hits, the network all others."""
    for rows in caching.exits(settings, settings.load()):
        assert [r.layer for r in rows] == ["conv1", "pool1", "act1", "conv2", "pool2", "act2"]
        assert len({r.network for r in rows}) == 1
        for row in rows:
            gained = row.hits / 100 * (row.precision - row.network_on_hits)
            assert row.accuracy == pytest.approx(row.network + gained)
            assert 0 <= row.saved < row.hits
        assert rows[0].saved / rows[0].hits > rows[3].saved / rows[3].hits


def test_missing_classes_are_simulated_as_often_as_computed(settings: CachingSettings) -> None:
    """Four standard errors of a share."""
    for row in caching.missing_class(settings, settings.load()):
        error = (row.exact * (1 - row.exact) / row.draws) ** 0.5
        assert abs(row.simulated - row.exact) <= 4 * error


def test_input_scales_differ_in_nothing_else(settings: CachingSettings) -> None:
    dataset = settings.load()
    found = caching.input_scales(settings, dataset)
    assert [scaled.input_scale for scaled in found] == ["255", "unit", "standardized"]
    released = caching.short_runs(settings, dataset, None, epochs=1 + settings.short.epochs)
    assert [r.test_accuracy for r in found[0].plain] == [r.test_accuracy for r in released]
