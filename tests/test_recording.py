"""Recording: what is missing of a grid, how a run becomes a record, and whatever may go wrong."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGKILL
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
import torch

from fmlib import data, recording
from fmlib.experiments import grids
from fmlib.experiments.caching import CachingRun
from fmlib.experiments.common import RunConfig
from fmlib.records import Record, path_of, read_all, write
from tests import tiny_experiment
from tests.test_kill import hear_interrupts, wait_for
from tests.test_records import put_foreign_files, sign
from tests.tiny_experiment import NAME, TinyRun

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> list[TinyRun]:
    """The tiny experiment with three seeds is one of those there are; its runs."""
    return install(monkeypatch)


def install(monkeypatch: pytest.MonkeyPatch, seeds: int = 3, **values: object) -> list[TinyRun]:
    """Let the tiny experiment have a grid of that many seeds."""
    monkeypatch.setitem(grids.EXPERIMENTS, NAME, tiny_experiment.experiment(seeds, **values))
    return [run for run in tiny_experiment.grid(seeds, **values) if isinstance(run, TinyRun)]


def record_all(results: Path) -> list[Record[Any, Any] | recording.Failed]:
    """Record the tiny experiment in this process."""
    with recording.workers(jobs=1):
        return list(recording.record([NAME], results=results))


def numbers(results: Path) -> dict[Path, tuple[Any, Any]]:
    """Configuration and result of every record, without times."""
    found = read_all(NAME, results)
    assert (found.older, found.unreadable) == ({}, {})
    return {
        path: (record.config, record.result.model_copy(update={"seconds": 0}))
        for path, record in found.records.items()
    }


# --- what is missing -----------------------------------------------------------------------


def test_at_first_everything_is_missing_or_waits(tiny: list[TinyRun], tmp_path: Path) -> None:
    found = recording.state(NAME, results=tmp_path / "nowhere")
    assert [*found.recorded, *found.blocked, *found.outside] == []
    assert [run.config for run in found.missing] == tiny[:3]
    assert [run.config for run in found.waiting] == tiny[3:]
    assert found.runs == 6


def test_a_waiting_run_is_completed_by_the_result_it_waits_for(
    tiny: list[TinyRun], tmp_path: Path
) -> None:
    write(recording.make(recording.Planned(NAME, tiny[1]), recording.code()), tmp_path)
    found = recording.state(NAME, results=tmp_path)
    assert [record.config for record in found.recorded] == [tiny[1]]
    completed = tiny[4].model_copy(update={"accuracy": 91.0})
    assert [run.config for run in found.missing] == [tiny[0], tiny[2], completed]
    assert [run.config for run in found.waiting] == [tiny[3], tiny[5]]


def test_records_of_another_device_do_not_count(tiny: list[TinyRun], tmp_path: Path) -> None:
    record_all(tmp_path)
    found = recording.state(NAME, "cuda", tmp_path)
    assert [*found.recorded, *found.outside] == []
    assert [run.config.device for run in found.missing] == ["cuda"] * 3
    assert len(recording.state(NAME, "cpu", tmp_path).recorded) == 6


def test_records_of_no_run_are_outside(
    tiny: list[TinyRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_all(tmp_path)
    install(monkeypatch, seeds=2)
    found = recording.state(NAME, results=tmp_path)
    assert [record.config.seed for record in found.recorded] == [0, 1, 0, 1]
    assert [path.name[:12] for path in found.outside] == ["first-seed-2", "second-seed-"]
    assert found.missing == found.waiting == []


def test_a_file_that_is_no_record_blocks_its_run(tiny: list[TinyRun], tmp_path: Path) -> None:
    older, edited = (tmp_path / path_of(NAME, run) for run in tiny[:2])
    edited.parent.mkdir()
    sign(older, {"schema_version": 0, "experiment": NAME})
    edited.write_text("")
    before = older.read_bytes()
    assert [run.config for run in recording.state(NAME, results=tmp_path).blocked] == tiny[:2]
    made = record_all(tmp_path)
    assert [record.config for record in made if isinstance(record, Record)] == [
        tiny[2],
        tiny[5].model_copy(update={"accuracy": 92.0}),
    ]
    assert older.read_bytes() == before
    assert edited.read_bytes() == b""
    assert len(recording.state(NAME, results=tmp_path).waiting) == 2


# --- from a run to its record --------------------------------------------------------------


def test_all_are_recorded_and_none_twice(tiny: list[TinyRun], tmp_path: Path) -> None:
    made = record_all(tmp_path)
    assert [record.config.second for record in made if isinstance(record, Record)] == [
        *(False, False, False),
        *(True, True, True),
    ]
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    assert len(files) == 6
    assert record_all(tmp_path) == []
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == files


def test_foreign_files_are_left_alone(tiny: list[TinyRun], tmp_path: Path) -> None:
    files = put_foreign_files(tmp_path / NAME)
    assert len(record_all(tmp_path)) == 6
    assert {path: path.read_bytes() for path in files} == files


def test_a_run_that_fails_does_not_end_the_others(
    tiny: list[TinyRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tiny[1].model_copy(update={"error": "no such thing"})
    grid: list[RunConfig] = [tiny[0], bad, *tiny[2:]]
    kind = grids.EXPERIMENTS[NAME]
    monkeypatch.setitem(grids.EXPERIMENTS, NAME, kind._replace(grid=lambda: grid))
    made = record_all(tmp_path)
    [failed] = [outcome for outcome in made if isinstance(outcome, recording.Failed)]
    assert failed.run.config == bad
    assert failed.reason == "ValueError: no such thing"
    assert len(made) == 5
    found = recording.state(NAME, results=tmp_path)
    assert [record.config.seed for record in found.recorded] == [0, 2, 0, 2]


def test_a_mistake_in_the_code_is_not_hidden(
    tiny: list[TinyRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistake(self: TinyRun) -> None:
        raise TypeError("a mistake")

    monkeypatch.setattr(TinyRun, "run", mistake)
    with pytest.raises(TypeError, match="a mistake"):
        record_all(tmp_path)


def test_a_result_that_cannot_be_written_is_a_failure(
    tiny: list[TinyRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(self: TinyRun) -> tiny_experiment.TinyResult:
        accuracy = float("nan") if self.seed == 1 else 50.0
        return tiny_experiment.TinyResult(test_accuracy=accuracy, losses=(), seconds=0)

    monkeypatch.setattr(TinyRun, "run", run)
    made = record_all(tmp_path)
    [failed] = [outcome for outcome in made if isinstance(outcome, recording.Failed)]
    assert failed.run.config == tiny[1]
    assert "not JSON compliant" in failed.reason
    assert len(made) == 5


def test_a_record_made_by_another_command_meanwhile_is_kept(
    tiny: list[TinyRun], tmp_path: Path
) -> None:
    first = recording.Planned(NAME, tiny[0])
    with recording.workers(jobs=1):
        outcomes = recording.record([NAME], results=tmp_path)
        next(outcomes)
        other = write(recording.make(first._replace(config=tiny[1]), recording.code()), tmp_path)
        before = other.read_bytes()
        assert len(list(outcomes)) == 5
    assert other.read_bytes() == before
    assert len(recording.state(NAME, results=tmp_path).recorded) == 6


def test_a_record_says_how_it_was_made() -> None:
    config = CachingRun(
        dataset="mnist",
        n_train=100,
        n_test=50,
        batch_size=50,
        epochs=1,
        condition="plain",
        seed=3,
        threads=2,
        precision="float64",
    )
    threads = torch.get_num_threads()
    made = recording.make(recording.Planned("caching", config), recording.Code("abc", True))
    assert torch.get_num_threads() == threads
    assert made.config == config
    assert made.result == config.run().model_copy(update={"history": made.result.history})
    how = made.provenance
    assert (how.commit, how.clean_tree) == ("abc", True)
    assert how.dataset_sha256 == data.load("mnist", 100, 50).checksum
    assert how.versions.keys() == {"python", "torch", "torchvision", "numpy", "fmlib"}
    assert how.versions["torch"] == torch.__version__
    assert 0 < how.wall_seconds < 60
    assert how.started.endswith("+00:00")


def test_threads_are_those_of_the_run_and_go_back(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def run(self: TinyRun) -> None:
        seen.append(torch.get_num_threads())
        raise ValueError("enough")

    monkeypatch.setattr(TinyRun, "run", run)
    threads = torch.get_num_threads()
    with pytest.raises(ValueError, match="enough"):
        recording.make(recording.Planned(NAME, TinyRun(seed=0, threads=3)), recording.code())
    assert seen == [3]
    assert torch.get_num_threads() == threads


def test_the_state_of_the_code_is_that_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    monkeypatch.setattr(recording, "_ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert recording.code() == (None, None)
    git("init")
    (tmp_path / "fmlib").mkdir()
    (tmp_path / "fmlib" / "a.py").write_text("1")
    git("add", ".")
    git("commit", "-m", "first")
    assert recording.code() == (git("rev-parse", "HEAD"), True)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.json").write_text("1")
    assert recording.code().clean_tree
    (tmp_path / "fmlib" / "a.py").write_text("2")
    assert recording.code() == (git("rev-parse", "HEAD"), False)


# --- what cannot work is refused before anything runs ---------------------------------------


def planned(**values: object) -> list[recording.Planned]:
    """A plain run of caching."""
    config = {"dataset": "mnist", "n_train": 100, "batch_size": 50, "condition": "plain", "seed": 0}
    return [recording.Planned("caching", CachingRun.model_validate(config | values))]


def test_missing_data_is_found_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FMLIB_DATA", str(tmp_path))
    monkeypatch.setattr("torchvision.datasets.MNIST", refuse_download)
    recording.check_here(planned(n_train=12_000, n_test=2000))
    with pytest.raises(FileNotFoundError, match=f"mnist is not in {tmp_path} and could not be"):
        recording.check_here(planned(n_train=60_000))


def refuse_download(*_: object, **__: object) -> None:
    """There is no network."""
    raise RuntimeError("no network")


def test_a_device_that_is_not_there_is_found_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device 'cuda' is not available; choose one of cpu"):
        recording.check_here(planned(device="cuda"))


def test_a_folder_that_cannot_be_written_is_found_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"file/caching cannot be written \(Not a directory\)"):
        recording.check_folders(planned(), tmp_path / "file")
    recording.check_folders(planned(), tmp_path / "new")
    assert list((tmp_path / "new" / "caching").iterdir()) == []


def test_a_scheduler_needs_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"pip install 'fmlib\[cluster\]'"):
        recording.workers(jobs=1, scheduler="tcp://127.0.0.1:1").__enter__()


@pytest.mark.parametrize("scheduler", ["", "here", "tcp://127.0.0.1", "http://127.0.0.1:1"])
def test_an_address_that_is_none_is_refused(scheduler: str) -> None:
    with pytest.raises(ValueError, match=f"no Dask scheduler answers at {scheduler} \\("):
        recording.workers(jobs=1, scheduler=scheduler).__enter__()


def test_a_scheduler_that_does_not_answer_is_refused_within_seconds() -> None:
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"answers at tcp://127\.0\.0\.1:1 \(Timed"):
        recording.workers(jobs=1, scheduler="tcp://127.0.0.1:1").__enter__()
    assert time.monotonic() - started < 15


class Cluster:
    """Stands in for a client of workers with so many threads."""

    def __init__(self, *threads: int) -> None:
        self.threads = threads

    def wait_for_workers(self, count: int, timeout: float) -> None:
        """Fail at once where one would wait in vain."""
        if len(self.threads) < count:
            raise TimeoutError

    def ncores(self) -> dict[str, int]:
        """Threads by worker."""
        return {str(number): threads for number, threads in enumerate(self.threads)}


@pytest.mark.parametrize(
    ("threads", "words"),
    [
        ((), "tcp://a has fewer than two workers"),
        ((1,), "tcp://a has fewer than two workers"),
        ((1, 2), "start the workers with --nthreads 1"),
        ((1, 1), None),
    ],
)
def test_workers_that_would_not_do_are_refused(threads: tuple[int, ...], words: str | None) -> None:
    if words is None:
        recording._check_workers("tcp://a", Cluster(*threads))
        return
    with pytest.raises(ValueError, match=words):
        recording._check_workers("tcp://a", Cluster(*threads))


@pytest.fixture
def heard() -> Iterator[None]:
    """Ctrl-C is heard, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_waits_until_all_have_started(heard: None) -> None:
    masks = []

    def start_and_interrupt() -> None:
        with recording._interrupts_wait():
            signal.raise_signal(signal.SIGINT)
            code = "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []))"
            masks.append(subprocess.check_output([sys.executable, "-c", code]))

    with pytest.raises(KeyboardInterrupt):
        start_and_interrupt()
    assert b"SIGINT" in masks[0]  # a process started meanwhile never hears it


def test_without_an_interrupt_nothing_is_raised(heard: None) -> None:
    with recording._interrupts_wait():
        pass


def test_ignored_interrupts_stay_ignored(heard: None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with recording._interrupts_wait():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)


# --- killed processes, and those of a cluster ------------------------------------------------


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `fmlib` with a tiny experiment of some size, as leader of a group of processes."""
    started = []

    def run(seeds: int, pause: float, n_losses: int, *arguments: str) -> "subprocess.Popen[str]":
        code = "from tests import tiny_experiment; tiny_experiment.main()"
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(seeds), str(pause), str(n_losses), *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=hear_interrupts,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if group(process.pid):
            os.killpg(process.pid, SIGKILL)
        process.communicate()


def group(leader: int) -> list[psutil.Process]:
    """Processes that still run in a group."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def computing(leader: int) -> list[psutil.Process]:
    """Those that make runs for the command."""
    return [p for p in group(leader) if any("popen_loky" in word for word in command(p))]


def command(process: psutil.Process) -> list[str]:
    """Words that a process was started with; none if it has ended meanwhile."""
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


def wait_for_more(results: Path) -> None:
    """Return when the next record is there."""
    before = len(list(results.rglob("*.json")))
    wait_for(lambda: len(list(results.rglob("*.json"))) > before)


def uninterrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seeds: int, pause: float, n_losses: int
) -> dict[Path, tuple[Any, Any]]:
    """What a recording in this process gives, pauses left out but in the settings."""
    install(monkeypatch, seeds, pause=pause, n_losses=n_losses)
    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", lambda _: None)
        record_all(tmp_path / "whole")
    return numbers(tmp_path / "whole")


@pytest.mark.slow
def test_a_recording_killed_ten_times_ends_like_one_that_was_not(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, results = (60, 0.01, 3000), tmp_path / "killed"
    arguments = "record", NAME, "--jobs", "1", "--results", str(results)
    whole = uninterrupted(tmp_path, monkeypatch, *size)
    draw, left = random.Random(2022), []
    for _ in range(10):
        process = start(*size, *arguments)
        wait_for_more(results)
        time.sleep(draw.uniform(0, 0.1))
        process.kill()
        process.communicate()
        assert process.returncode == -SIGKILL
        left.append(len(numbers(results)))  # no broken file
    assert left == sorted(set(left))
    process = start(*size, *arguments)
    out, _ = process.communicate()
    assert (out, process.returncode) == ("120 of 120 runs are recorded\n", 0)
    assert numbers(results) == whole


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "moment"),
    [(signal.SIGINT, "first"), *((n, "midway") for n in (signal.SIGINT, signal.SIGTERM, SIGKILL))],
)
def test_processes_end_with_the_command(
    number: signal.Signals, moment: str, start: Start, tmp_path: Path
) -> None:
    process = start(50, 0.2, 3, "record", NAME, "--jobs", "2", "--results", str(tmp_path))
    wait_for(lambda: len(computing(process.pid)) == 2)
    if moment == "midway":
        wait_for_more(tmp_path)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    out, error = process.communicate(timeout=60)
    wait_for(lambda: not group(process.pid), 20)
    expected = {signal.SIGINT: 130, signal.SIGTERM: 143, SIGKILL: -9}
    assert (out, process.returncode) == ("", expected[number])
    count = len(numbers(tmp_path))
    assert (moment == "midway") <= count < 100
    said = f"fmlib: stopped; {count} of 100 runs are recorded, the same command goes on"
    shown = [line for line in error.splitlines() if line and " |" not in line]  # but for the bar
    assert shown == [said] * (number == signal.SIGINT)


@pytest.mark.slow
def test_a_process_that_dies_ends_the_command_and_breaks_nothing(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (6, 0.3, 3)
    arguments = "record", NAME, "--jobs", "2", "--results", str(tmp_path / "killed")
    process = start(*size, *arguments)
    wait_for_more(tmp_path / "killed")
    random.Random(2022).choice(computing(process.pid)).kill()
    out, error = process.communicate(timeout=60)
    assert (out, process.returncode) == ("", 1)
    assert "Traceback" not in error
    count = len(numbers(tmp_path / "killed"))
    assert error.splitlines()[-1] == (
        "fmlib: a process died, perhaps for want of memory; "
        f"{count} of 12 runs are recorded, the same command goes on"
    )
    wait_for(lambda: not group(process.pid), 20)
    process = start(*size, *arguments)
    assert process.communicate(timeout=60)[0] == "12 of 12 runs are recorded\n"
    whole = uninterrupted(tmp_path, monkeypatch, *size)
    assert numbers(tmp_path / "killed") == whole


def start_dask(part: str, *arguments: str) -> "subprocess.Popen[bytes]":
    """A scheduler or a worker, as the command `dask` starts it."""
    command = [sys.executable, "-m", f"distributed.cli.dask_{part}", *arguments]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=ROOT, stdout=quiet, stderr=quiet)


@pytest.mark.slow
def test_runs_of_a_cluster_s_worker_that_dies_are_made_by_the_other(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, results = (10, 0.3, 3), tmp_path / "cluster"
    address = tmp_path / "scheduler.json"
    local = "--host", "127.0.0.1", "--no-dashboard"
    file = "--scheduler-file", str(address)
    dask = [start_dask("scheduler", *local, "--port", "0", *file)]
    try:
        options = *local, *file, "--nthreads", "1", "--no-nanny", "--local-directory", str(tmp_path)
        dask += [start_dask("worker", *options) for _ in range(2)]
        wait_for(address.exists)
        scheduler = json.loads(address.read_text())["address"]
        arguments = "record", NAME, "--scheduler", scheduler, "--results", str(results)
        process = start(*size, *arguments)
        wait_for_more(results)
        dask[1].kill()
        out, _ = process.communicate(timeout=60)
        assert (out, process.returncode) == ("20 of 20 runs are recorded\n", 0)
    finally:
        for part in dask:
            part.kill()
            part.wait()
    assert numbers(results) == uninterrupted(tmp_path, monkeypatch, *size)
