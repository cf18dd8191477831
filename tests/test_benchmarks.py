"""Benchmarks: measuring by hand-made times, records and their merging, what is refused."""

import json
import os
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from statistics import median

import pytest
import torch
from PIL import Image

from benchmarks import __main__ as program
from benchmarks import cases, measure, peers, report, rows, similar, top
from benchmarks.measure import Pair, Sample
from benchmarks.training import (
    SKIPS,
    FixedSkips,
    TrainingSet,
    network,
    sweep_run,
    train,
    training_set,
)
from fmlib import published
from fmlib.experiments.common import parallel
from fmlib.features import feature_vectors
from fmlib.similarity import convolutional_similarity

# isort: split
from torchvision import datasets

FIRST, SECOND, THIRD = rows.SPECS[:3]


def pairs(*values: tuple[float, float]) -> list[Pair]:
    """Measured pairs whose CPU time is twice the wall time."""
    return [(Sample(a, a, 2 * a), Sample(b, b, 2 * b)) for a, b in values]


def record(spec: rows.Spec, value: float, holds: bool = True) -> report.Row:
    """A row whose three pairs have the ratio `value`, half of it and twice of it."""
    return report.row(spec, pairs((value, 1), (value, 2), (4 * value, 2)), "A note.", holds)


# --- measuring -----------------------------------------------------------------------------


def test_ratio_is_the_median_of_the_pairs_ratios_not_the_ratio_of_medians() -> None:
    measured = pairs((1, 2), (8, 4), (3, 1))  # 0.5, 2, 3; the medians are 3 and 2
    assert measure.ratio(measured) == (2.0, 0.5, 3.0)


def test_seconds_are_medians_of_each_side() -> None:
    measured = pairs((1, 2), (8, 4), (3, 1))
    assert measure.seconds(measured, "wall") == measure.Seconds(subject=3, other=2)
    assert measure.seconds(measured, "cpu") == measure.Seconds(subject=6, other=4)


def test_a_limit_is_measured_against_but_takes_no_time() -> None:
    measured = measure.alternate(lambda: Sample(3, 3, 1), measure.limit(300), pairs=2)
    assert measure.ratio(measured).median == 0.01
    assert measure.seconds(measured, "wall") == measure.Seconds(subject=3, other=None)


def test_two_things_are_measured_in_turn_in_changing_order() -> None:
    calls = []

    def thing(name: str, value: float) -> measure.Measure:
        return lambda: calls.append(name) or Sample(value, 0, 0)  # type: ignore[func-returns-value]

    ticks: list[int] = []
    found = measure.alternate(thing("a", 1), thing("b", 2), 3, lambda: ticks.append(1))
    assert calls == ["a", "b", "b", "a", "a", "b"]
    assert [(subject.value, other.value) for subject, other in found] == [(1, 2)] * 3
    assert len(ticks) == 3


def test_samples_are_scaled_and_added() -> None:
    assert measure.scaled(Sample(1, 2, 3), 2) == Sample(2, 4, 6)
    assert measure.added(Sample(1, 2, 3), Sample(10, 20, 30)) == Sample(11, 22, 33)


def test_waiting_is_wall_time_and_no_cpu_time() -> None:
    sample, result = measure.clock(lambda: time.sleep(0.2) or "done")  # type: ignore[func-returns-value]
    assert result == "done"
    assert sample.value == sample.wall >= 0.2
    assert sample.cpu < 0.1


def test_cpu_time_includes_that_of_ended_children() -> None:
    loop = "import time\nwhile time.process_time() < 0.3: pass"
    sample, _ = measure.clock(lambda: subprocess.run([sys.executable, "-c", loop], check=True))
    assert sample.cpu >= 0.3


def test_machine_is_described() -> None:
    found = measure.machine()
    assert found.cores >= 1
    assert found.threads == torch.get_num_threads()
    assert found.memory_gb > 0
    assert all([found.processor, found.system, found.python, found.torch])


# --- records -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "holds", "reached"),
    [(0.4, True, True), (0.39, True, False), (0.4, False, False), (None, True, None)],
)
def test_a_row_reaches_its_bound_if_its_median_does_and_its_conditions_hold(
    wanted: float | None, holds: bool, reached: bool | None
) -> None:
    row = record(FIRST._replace(wanted=wanted), 0.4, holds)
    assert (row.ratio, row.spread, row.pairs) == (0.4, (0.2, 0.8), 3)
    assert row.reached is reached


def test_new_rows_replace_old_ones_in_the_order_of_the_table() -> None:
    gone = record(FIRST._replace(name="no longer measured"), 1)
    old = report.Results(rows=(record(THIRD, 0.3), record(FIRST, 0.1), gone))
    merged = report.merge(old, [record(FIRST, 0.2), record(SECOND, 0.2)])
    assert [(row.name, row.ratio) for row in merged.rows] == [
        (FIRST.name, 0.2),
        (SECOND.name, 0.2),
        (THIRD.name, 0.3),
    ]


def test_written_results_are_read_back_and_nothing_else_is_left(tmp_path: Path) -> None:
    results = report.Results(rows=(record(FIRST, 0.1),))
    report.write(results, tmp_path / "new")
    assert report.read(tmp_path / "new/results.json") == results
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == [
        "results.json",
        "results.md",
    ]
    assert report.read(tmp_path / "results.json").rows == ()


@pytest.mark.parametrize("content", ["", "{", '{"rows": [{}]}', '{"rows": 1}', '{"lines": []}'])
def test_a_file_that_holds_no_results_is_refused_by_name(content: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"results\.json holds no results"):
        report.read(path)


def test_tables_show_ratio_spread_bound_and_who_fell_short() -> None:
    results = report.Results(rows=(record(FIRST, 0.4), record(SECOND, 0.6)))
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in report.ratio_table(results).splitlines()
    ]
    assert lines[0] == ["#", "Measured", "Ratio", "Bound", "Met"]
    assert lines[2][2:] == ["0.40 (0.20–0.80)", "≤ 0.40", "yes"]
    assert lines[3][2:] == ["0.60 (0.30–1.20)", "≤ 0.40", "no"]
    assert report.counts(results) == (
        f"1 of 2 rows with a bound reach it; these fall short: {SECOND.name}."
    )
    assert report.notes(results).splitlines()[0] == f"1. Against {FIRST.against}. A note."
    [*_, last] = report.seconds_table(results).splitlines()
    assert [cell.strip() for cell in last.strip("|").split("|")][2:4] == ["3", "0.6 / 2"]


def test_machines_are_listed_with_their_rows() -> None:
    row = record(FIRST, 0.1)
    later = row.model_copy(update={"date": date(2001, 2, 3)})
    listed = report.machines(report.Results(rows=(row, later, row))).splitlines()
    assert [line.split(": ")[1] for line in listed] == ["rows 1, 3", "row 2"]
    assert "2001-02-03" in listed[1]


# --- the table of rows ---------------------------------------------------------------------


def test_rows_are_chosen_by_name_in_the_order_of_the_table() -> None:
    assert rows.specs([THIRD.name, FIRST.name]) == [FIRST, THIRD]
    assert rows.specs([]) == list(rows.SPECS)


def test_names_are_unique_and_stretches_are_harder_than_bounds() -> None:
    assert len({spec.name for spec in rows.SPECS}) == len(rows.SPECS)
    for spec in rows.SPECS:
        assert spec.pairs >= 3
        if spec.stretch is not None and spec.wanted is not None:
            assert 0 < spec.stretch < spec.wanted


def test_bounds_are_said_in_words_or_figures() -> None:
    assert FIRST.bound_text == "≤ 0.40"
    assert FIRST._replace(stretch=0.3).bound_text == "≤ 0.40 (0.30)"
    assert FIRST._replace(bound="≥ 20× faster").bound_text == "≥ 20× faster"
    assert FIRST._replace(wanted=None).bound_text == "reported"


# --- the command line ----------------------------------------------------------------------


def run(*arguments: str) -> int:
    """Exit status of `python -m benchmarks`."""
    with pytest.raises(SystemExit) as ended:
        program.main(list(arguments))
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "no such row"], ["there is no row 'no such row'", FIRST.name]),
        (["--short"], ["--short", "--out"]),
        (["--shrt"], ["--shrt"]),
        (["--threads", "-1"], ["--threads"]),
    ],
)
def test_mistakes_are_answered_by_one_sentence(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.count("\n") == 1
    assert [word for word in words if word not in error] == []


def test_missing_data_is_named_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def download(*_: object, **__: object) -> None:
        raise OSError("no network")

    training_set.cache_clear()
    monkeypatch.setenv("FMLIB_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(datasets, "MNIST", download)
    assert run("--only", FIRST.name, "--out", str(tmp_path / "out")) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "benchmarks: the full dataset mnist is not in" in last
    assert "FMLIB_DATA" in last
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_short_form_runs_and_writes_valid_results(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--short", "--out", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "FMLIB_DATA": str(tmp_path / "no data")}
    done = subprocess.run(
        command, cwd=cases.ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    results = report.Results.model_validate_json((tmp_path / "results.json").read_bytes())
    assert [row.name for row in results.rows] == [s.name for s in rows.SPECS if s.in_short]
    assert {row.pairs for row in results.rows} == {1}
    assert (tmp_path / "page" / "ratios.png").stat().st_size > 0


# --- what is measured ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def small() -> TrainingSet:
    """300 images."""
    return training_set(300)


@pytest.mark.parametrize(
    ("name", "hits", "remembered"),
    [("released", 100, 0), ("one pass", 100, 0), ("remembered", 50, 50)],
)
def test_exactly_a_third_is_skipped_in_every_epoch(
    name: str, hits: int, remembered: int, small: TrainingSet
) -> None:
    model = network(small)
    cache = FixedSkips(model, small, SKIPS[name])
    history = train(model, small, 50, cache, epochs=3)
    assert [epoch.skipped for epoch in history.epochs] == [100] * 3
    for epoch in history.epochs:
        assert sum(x or 0 for x in epoch.policy["remembered"]) == remembered
        assert epoch.skipped - remembered == hits


def test_drawn_skips_leave_the_caches_work_to_be_done(small: TrainingSet) -> None:
    model = network(small)
    cache = FixedSkips(model, small, SKIPS["released"])
    train(model, small, 50, cache)
    assert cache.looked_up.sum() == 250  # all but the first batch
    assert cache.count.sum() == 200  # those trained on
    assert cache.vector.abs().sum() > 0


def test_operations_of_a_training_step_are_counted_by_hand(small: TrainingSet) -> None:
    conv1, conv2, fc1, fc2 = 15 * 25 * 24**2, 30 * 15 * 25 * 8**2, 480 * 64, 64 * 10
    inputs = conv2 + fc1 + fc2  # the images need no gradient
    expected = 2 * (2 * (conv1 + conv2 + fc1 + fc2) + inputs)
    assert cases.training_operations(network(small)) == expected


def test_a_run_of_the_sweep_trains_on_all_its_images() -> None:
    assert sweep_run((300, 64, 1, 2)) == 5  # steps of an epoch


def test_interrupted_measuring_keeps_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(spec: rows.Spec, *_: object) -> report.Row:
        if spec is SECOND:
            raise KeyboardInterrupt
        return record(spec, 0.1)

    monkeypatch.setattr(report, "measure", measured)
    assert run("--short", "--out", str(tmp_path)) == 130
    results = report.read(tmp_path / "results.json")
    assert [row.name for row in results.rows] == [FIRST.name]
    assert (tmp_path / "page" / "results.md").read_text("utf-8") == report.page(results)


def test_tutorial_loop_gets_the_images_that_the_library_standardizes(small: TrainingSet) -> None:
    loader = peers.tutorial_loader(*small, batch_size=300)
    images, labels = next(iter(loader))
    assert images.shape == (300, 1, 28, 28)
    assert torch.equal(labels.bincount(), small.labels.bincount())
    expected = (small.images - peers.MEAN) / peers.DEVIATION
    torch.testing.assert_close(images.sum(), expected.sum())


@pytest.mark.parametrize("shape", [(5, 3, 3, 3), (2, 1, 2, 4)])
def test_peers_all_pairs_are_the_librarys(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = convolutional_similarity(weight, "all")
    torch.testing.assert_close(peers.all_pairs_by_convolution(weight), expected, rtol=1e-12, atol=0)


def test_measured_similarities_agree_and_name_their_sizes() -> None:
    case = similar.all_pairs(256, cases.SHORT)
    assert case.subject().wall > 0
    assert case.verdict().holds
    assert "16 filters of 16 channels" in case.verdict().note
    step = similar.regularized_step("all", 2, cases.SHORT)
    assert "8 images of 32×32 a step; value and gradient of all 20" in step.verdict().note


def test_peers_compute_what_the_library_computes(small: TrainingSet) -> None:
    with torch.no_grad():
        maps = network(small)[:2](small.images[:3])
    ours = feature_vectors(maps)
    torch.testing.assert_close(peers.vectors_by_torch(maps), ours)
    by_map = torch.from_numpy(peers.vectors_by_map(maps.numpy())).flatten(1)
    torch.testing.assert_close(by_map, ours, check_dtype=False)


def test_units_climbed_together_and_alone_give_the_same_pictures() -> None:
    case = cases.ascents(3, cases.SHORT)
    assert min(case.subject().value, case.other().value) > 0
    note, holds = case.verdict()
    assert holds
    assert "3 steps; the pictures agree within 1e-12." in note


def test_the_usual_network_computes_the_same_in_pytorchs_own_way(small: TrainingSet) -> None:
    ours, usual = network(small), peers.usual(network(small))
    torch.testing.assert_close(usual(small.images[:5]), ours(small.images[:5]))
    assert type(usual.pool1) is torch.nn.MaxPool2d
    assert all(weights.is_contiguous() for weights in usual.parameters())
    assert not ours.get_parameter("conv2.weight").is_contiguous()


def test_ratio_of_the_authors_times_is_that_of_their_logs_medians() -> None:
    log = published.authors_log()
    log = log[log["batch_size"] == 4096]
    cached, plain = (log.loc[log["training"] == name, "seconds"] for name in ("cached", "plain"))
    assert cases.authors_ratio(4096) == median(cached) / median(plain)
    assert round(cases.authors_ratio(4096), 2) == 1.44


def test_searched_images_come_in_batches_and_are_the_same_each_time() -> None:
    first, second = list(top.batches(250)), list(top.batches(250))
    assert [len(batch) for batch in first] == [100, 100, 50]
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
    assert not torch.equal(first[0], first[1])
    sizes = (3 * 32 + 32) * 1024 + (32 + 4 * 64) * 256  # conv1 to act2, then pool2 to act4
    assert top.maps_bytes(10) == 4 * 10 * sizes


def test_rise_of_memory_is_measured_against_the_limit_given() -> None:
    memory = 32_000_000
    case = cases.top_memory(memory, cases.SHORT)
    sample = case.subject()
    assert sample.value > 0
    assert case.other().value == memory
    assert case.verdict().note.startswith(f"{sample.value / 1e9:.2f} GB, 100 random images, 64")


# --- work by several processes -------------------------------------------------------------


def _square_and_threads(number: int) -> tuple[int, int]:
    return number**2, torch.get_num_threads()


@pytest.mark.parametrize("jobs", [1, 2])
def test_parallel_results_are_in_order_and_by_one_thread(jobs: int) -> None:
    before = torch.get_num_threads()
    assert parallel(_square_and_threads, [3, 1, 2], jobs) == [(9, 1), (1, 1), (4, 1)]
    assert torch.get_num_threads() == before


def test_parallel_refuses_fewer_than_one_job() -> None:
    with pytest.raises(ValueError, match="jobs is 0"):
        parallel(_square_and_threads, [1], 0)


# --- the committed results -----------------------------------------------------------------


def test_committed_results_are_those_of_the_table_and_of_the_page() -> None:
    results = report.read(report.FOLDER / "results.json")
    assert [row.name for row in results.rows] == [spec.name for spec in rows.SPECS]
    for row, spec in zip(results.rows, rows.SPECS, strict=True):
        assert row.pairs == spec.pairs
        assert (row.wanted, row.stretch) == (spec.wanted, spec.stretch)
        assert (row.against, row.bound) == (spec.against, spec.bound_text)
    assert (report.FOLDER / "results.md").read_text("utf-8") == report.markdown(results)
    assert (report.PAGE_FOLDER / "results.md").read_text("utf-8") == report.page(results)
    with Image.open(report.PAGE_FOLDER / "ratios.png") as picture:
        assert picture.info["Description"] == report.digest(results)


def test_committed_results_have_what_others_read() -> None:
    listed = json.loads((report.FOLDER / "results.json").read_text("utf-8"))["rows"]
    for row in listed:
        assert {"name", "ratio", "spread", "wanted", "reached"} <= row.keys()
