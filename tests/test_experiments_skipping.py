"""The recorded controls and peers of the cache: what they are given, and that each can be made."""

from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pytest

from fmlib import recording, records
from fmlib.caching import PRINTED, RELEASED, CacheConfig
from fmlib.experiments import grids
from fmlib.experiments.caching import CachingRun, Run
from fmlib.experiments.skipping import OF_THE_CACHE, RULE_NAMES, Rule, SkippingRun

SMALL: dict[str, Any] = {
    "dataset": "mnist", "n_train": 300, "n_test": 50, "batch_size": 100, "epochs": 3, "seed": 2,
    "learning_rate": 0.1, "input_scale": "unit", "precision": "float64",
}  # fmt: skip
GIVEN: dict[Rule, dict[str, Any]] = {
    "one_rate": {"skip_rate": 0.4},
    "stopped": {"budget": 450},
    **{rule: {"cache": RELEASED} for rule in OF_THE_CACHE},
    "selective_backprop": {"beta": 0.5},
    "infobatch": {},
}


def _run(rule: Rule, **values: Any) -> SkippingRun:
    return SkippingRun(rule=rule, **(SMALL | GIVEN[rule] | values))


@pytest.fixture(scope="module")
def made() -> dict[str, Run]:
    """A small run of each rule, and the plain and the cached run beside them."""
    plain = CachingRun(**SMALL, condition="plain").run()
    cached = CachingRun(**SMALL, condition="cached", cache=RELEASED).run()
    runs: dict[str, Run] = {rule: _run(rule).run() for rule in get_args(Rule)}
    return {"plain": plain, "cached": cached, **runs}


def _skipped(run: Run) -> list[int]:
    return [epoch.skipped for epoch in run.history.epochs]


def _losses(run: Run) -> list[float | None]:
    return [epoch.loss for epoch in run.history.epochs]


def test_every_rule_has_a_name_and_a_run(made: dict[str, Run]) -> None:
    assert RULE_NAMES.keys() == GIVEN.keys() == set(get_args(Rule))
    for rule, run in made.items():
        assert run.history.divergence is None, rule
        assert [epoch.seen for epoch in run.history.epochs] == [300] * 3, rule
        assert run.test_accuracy == run.history.test_accuracies[-1], rule


def test_runs_start_from_the_same_weights_and_batches(made: dict[str, Run]) -> None:
    """A cache finds nothing in its first batch, and InfoBatch leaves nothing out of an epoch."""
    assert _losses(made["scored"]) == _losses(made["plain"])
    assert _losses(made["infobatch"])[0] == pytest.approx(_losses(made["plain"])[0], rel=1e-12)
    assert _losses(made["stopped"])[0] == _losses(made["plain"])[0]
    for rule in ("permuted", "inverted"):
        assert _skipped(made[rule])[0] > 0
        assert _losses(made[rule]) != _losses(made["cached"])


def test_what_is_left_out(made: dict[str, Run]) -> None:
    """A budget of 450 ends half-way; 0.4 of 300 within five standard deviations."""
    assert _skipped(made["scored"]) == [0, 0, 0]
    assert _skipped(made["stopped"]) == [0, 150, 300]
    assert all(abs(count - 120) <= 43 for count in _skipped(made["one_rate"]))
    assert _skipped(made["infobatch"])[::2] == [0, 0]
    assert _skipped(made["infobatch"])[1] > 0
    assert sum(_skipped(made["shuffled_labels"])) < sum(_skipped(made["cached"])) / 2
    scored = made["selective_backprop"].history.epochs[0].policy["scored"]
    assert sum(count or 0 for count in scored) == 300


def test_a_rule_around_the_cache_reports_its_hits(made: dict[str, Run]) -> None:
    for rule in ("permuted", "inverted", "shuffled_labels"):
        for epoch in made[rule].history.epochs:
            assert sum(value or 0 for value in epoch.policy["hits"]) == epoch.skipped


@pytest.mark.parametrize(
    ("rule", "values", "message"),
    [
        ("permuted", {"cache": None}, "have a cache, and no other rule has"),
        ("infobatch", {"cache": RELEASED}, "have a cache, and no other rule has"),
        ("scored", {"cache": CacheConfig(remember=1)}, "set the cache's remember to 0"),
        ("selective_backprop", {"beta": None}, "selective_backprop has a beta"),
        ("one_rate", {"beta": 1.0}, "selective_backprop has a beta"),
        ("selective_backprop", {"beta": 0.0}, "greater than 0"),
        ("infobatch", {"skip_rate": 0.3}, "only one_rate has a skip_rate"),
        ("one_rate", {"skip_rate": 1.1}, "less than or equal to 1"),
        ("one_rate", {"budget": 3}, "only stopped has a budget"),
        ("stopped", {"budget": 0}, "greater than or equal to 1"),
        ("stopped", {"rule": "guessed"}, "Input should be 'one_rate'"),
    ],
)
def test_runs_that_make_no_sense_are_refused(
    rule: Rule, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SkippingRun.model_validate(SMALL | {"rule": rule} | GIVEN[rule] | values)


@pytest.mark.parametrize("rule", ["one_rate", "stopped"])
def test_rates_and_budgets_are_those_of_the_cached_run(made: dict[str, Run], rule: Rule) -> None:
    waiting = _run(rule, skip_rate=None, budget=None)
    assert waiting.source == CachingRun(**SMALL, condition="cached", cache=RELEASED)
    done = waiting.completed(made["cached"])
    assert done.source is None
    assert SkippingRun.model_validate(done.model_dump()) == done
    left_out = sum(_skipped(made["cached"]))
    assert 0 < left_out < 900
    if rule == "stopped":
        assert done.budget == 900 - left_out
        assert sum(e.trained for e in done.run().history.epochs) == done.budget
    else:
        assert done.skip_rate == pytest.approx(left_out / 900, rel=1e-12)


def test_other_rules_wait_for_nothing() -> None:
    for rule in set(get_args(Rule)) - {"one_rate", "stopped"}:
        assert _run(rule).source is None


# --- the grids -----------------------------------------------------------------------------


def test_every_rule_is_recorded_for_five_seeds_and_has_partners() -> None:
    runs = [run for run in grids.skipping_grid() if isinstance(run, SkippingRun)]
    counts = Counter((run.batch_size, run.rule) for run in runs)
    assert set(counts.values()) == {5}
    assert {rule for _, rule in counts} == set(get_args(Rule))
    assert len({records.path_of("skipping", run) for run in runs}) == len(runs)
    partners = {records.path_of("caching", run) for run in grids.caching_grid()}
    for run in runs:
        assert run.n_train == 60_000
        for condition, cache in (("plain", None), ("cached", RELEASED)):
            shared = run.model_dump(include={"dataset", "n_train", "batch_size", "seed"})
            partner = CachingRun.model_validate({**shared, "condition": condition, "cache": cache})
            assert records.path_of("caching", partner) in partners
        if run.source is not None:
            assert records.path_of("caching", run.source) in partners


def test_variants_are_other_than_the_runs_of_the_figures() -> None:
    runs = [run for run in grids.caching_variants_grid() if isinstance(run, CachingRun)]
    assert len({records.path_of("caching_variants", run) for run in runs}) == len(runs)
    assert not {*runs} & {*grids.caching_grid()}
    assert Counter(run.seed for run in runs) == dict.fromkeys(range(5), len(runs) // 5)
    walked = [
        run.cache
        for run in runs
        if run.cache and (run.dataset, run.batch_size, run.seed) == ("mnist", 4096, 0)
    ]
    assert walked[0] == PRINTED
    assert len(walked) == 9
    assert RELEASED not in walked
    fed = {(r.input_scale, r.learning_rate) for r in runs if r.dataset == "mnist" and not r.cache}
    assert len(fed) == 5
    fashion = Counter(run.condition for run in runs if run.dataset == "fashion-mnist")
    assert fashion == {"plain": 15, "cached": 15, "random": 15}


# --- a run that waits for one of another experiment ------------------------------------------


def _grid(monkeypatch: pytest.MonkeyPatch, name: str, *runs: Any) -> None:
    kind = grids.EXPERIMENTS[name]._replace(grid=lambda: list(runs))
    monkeypatch.setitem(grids.EXPERIMENTS, name, kind)


def test_a_run_waits_for_a_record_of_another_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded in one go, whichever experiment comes first; an edited source is none."""
    waiting = _run("stopped", budget=None)
    cached = CachingRun(**SMALL, condition="cached", cache=RELEASED)
    _grid(monkeypatch, "skipping", waiting)
    _grid(monkeypatch, "caching", cached)
    found = recording.state("skipping", results=tmp_path)
    assert [run.config for run in found.waiting] == [waiting]
    assert found.runs == 1
    with recording.workers(jobs=1):
        made = list(recording.record(["skipping", "caching"], results=tmp_path))
    assert not any(isinstance(one, recording.Failed) for one in made)
    assert [one.experiment for one in made if isinstance(one, records.Record)] == [
        "caching",
        "skipping",
    ]
    [record] = recording.state("skipping", results=tmp_path).recorded
    assert record.result.history.epochs[0].skipped == 0
    source = tmp_path / records.path_of("caching", cached)
    source.write_text(source.read_text().replace("300", "301"))
    assert len(recording.state("skipping", results=tmp_path).waiting) == 1


def test_a_variant_waits_for_one_of_its_own_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = CachingRun(**SMALL, condition="random")
    assert random.source is not None
    _grid(monkeypatch, "caching_variants", random.source, random)
    _grid(monkeypatch, "caching", random.source)
    with recording.workers(jobs=1):
        list(recording.record(["caching"], results=tmp_path))
        assert len(recording.state("caching_variants", results=tmp_path).waiting) == 1
        list(recording.record(["caching_variants"], results=tmp_path))
    assert len(recording.state("caching_variants", results=tmp_path).recorded) == 2
