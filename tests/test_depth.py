"""The cache at every depth: exits of a trained network, and training a deeper one."""

from typing import Any

import pytest

from fmlib import chapters
from fmlib.caching import RELEASED, CacheConfig
from fmlib.experiments import caching
from fmlib.experiments.caching import CachingRun, CachingSettings
from fmlib.experiments.depth import DepthRun, ExitsRun, RecordedExit, _recorded
from fmlib.experiments.grids import EXPERIMENTS
from fmlib.records import path_of
from fmlib.training import History

TINY: dict[str, Any] = {
    "dataset": "mnist", "n_train": 200, "n_test": 60, "precision": "float64",
    "batch_size": 50, "epochs": 2, "seed": 0,
}  # fmt: skip


# --- exits --------------------------------------------------------------------------------


def test_recorded_exits_are_those_of_the_chapter() -> None:
    """The same network, layers and numbers, but for the times."""
    settings = chapters.settings(
        "caching", "smoke", n_train=200, n_test=60, short_runs=[100, 50, 1, 1],
        batch_sizes=[50], sweep_epochs=2,
    )  # fmt: skip
    assert isinstance(settings, CachingSettings)
    [expected] = caching.exits(settings, settings.load())
    found = ExitsRun(**TINY).run()
    assert list(found.exits) == [row.layer for row in expected]
    assert found.network == expected[0].network
    for row in expected:
        recorded = found.exits[row.layer].model_dump()
        assert recorded == {name: getattr(row, name) for name in RecordedExit.model_fields}


def test_exits_of_the_deeper_network() -> None:
    found = ExitsRun(**TINY, network="deep_cnn", input_scale="standardized").run()
    assert list(found.exits) == [
        f"{kind}{n}" for n in range(1, 5) for kind in ("conv", "pool", "act")
    ]
    assert 0 <= found.exits["conv4"].saved <= 100


def test_without_hits_there_is_no_precision() -> None:
    nan = float("nan")
    row = caching.ExitLayer("conv1", 0.0, nan, nan, 90.0, 90.0, 30.0, 0.0, 1.1)
    assert _recorded(row) == RecordedExit(
        hits=0, precision=None, network_on_hits=None, accuracy=90, nearest=30, saved=0
    )


# --- depth --------------------------------------------------------------------------------


def run(condition: str, layer: str | None = None, **values: Any) -> DepthRun:
    """A tiny run; a cached one as released."""
    cache = CacheConfig(layer=layer) if condition == "cached" and layer else None
    return DepthRun.model_validate(
        {**TINY, "condition": condition, "layer": layer, "cache": cache, **values}
    )


def without_seconds(history: History) -> Any:
    """All that a history says but times."""
    return [epoch.model_dump(exclude={"seconds"}) for epoch in history.epochs]


def test_with_the_base_network_and_its_first_layer_it_is_the_cache_of_figure_7() -> None:
    expected = CachingRun(**TINY, condition="cached", cache=RELEASED).run()
    found = run("cached", "conv1", network="base_cnn").run()
    assert without_seconds(found.history) == without_seconds(expected.history)
    assert found.test_accuracy == expected.test_accuracy


def test_every_layer_of_the_deeper_network_skips_otherwise_and_trains_the_same_network() -> None:
    histories = {layer: run("cached", layer).run().history for layer in ("conv1", "conv4")}
    hits = [[epoch.skipped_per_class for epoch in history.epochs] for history in histories.values()]
    assert hits[0] != hits[1]
    plain = run("plain").run().history
    nothing = run("random", "conv4", rates=((0.0,) * 10,)).run().history
    assert [e.loss for e in nothing.epochs] == [e.loss for e in plain.epochs]


def test_a_random_run_waits_for_the_cached_run_of_its_layer() -> None:
    waiting = run("random", "conv3")
    assert waiting.source == run("cached", "conv3")
    made = run("cached", "conv3").run()
    ready = waiting.completed(made)
    assert ready.source is None
    assert ready.rates == tuple(map(tuple, caching.skip_rates(made.history)))
    assert run("plain").source is run("cached", "conv3").source is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"condition": "plain", "layer": "conv1"}, "a plain one has none"),
        ({"condition": "random", "layer": None}, "random run has a layer"),
        ({"condition": "cached", "layer": None, "cache": RELEASED}, "cached or random run has"),
        ({"condition": "cached", "layer": "conv2", "cache": RELEASED}, "the cache's 'conv1'"),
        ({"condition": "cached", "layer": "conv2"}, "a cached run has a cache"),
    ],
)
def test_combinations_that_mean_nothing_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DepthRun.model_validate({**TINY, **values})


# --- grids --------------------------------------------------------------------------------


FURTHER = ("map_ways", "attacks", "embeddings", "early_exits", "cache_depth")


@pytest.mark.parametrize("name", FURTHER)
def test_no_run_of_a_grid_is_there_twice_and_sources_are_there(name: str) -> None:
    kind = EXPERIMENTS[name]
    runs = kind.grid()
    paths = {path_of(name, one) for one in runs}
    assert len(paths) == len(runs)
    assert {type(one) for one in runs} == {kind.config}
    sources = [one.source for one in runs]
    assert all(path_of(name, source) in paths for source in sources if source is not None)


def test_the_deeper_network_is_recorded_with_its_first_and_last_convolution() -> None:
    runs = [one for one in EXPERIMENTS["cache_depth"].grid() if isinstance(one, DepthRun)]
    layers = {(one.condition, one.layer) for one in runs}
    convolutions = ("conv1", "conv4")
    assert layers == {("plain", None)} | {
        (condition, layer) for condition in ("cached", "random") for layer in convolutions
    }
    assert len(runs) == 5 * len(layers)
