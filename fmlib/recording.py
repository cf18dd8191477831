"""Making the records that are missing: what is left of a grid, and the processes that do it."""

import asyncio
import os
import platform
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Generator, Iterator
from concurrent.futures import BrokenExecutor, CancelledError
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import torch

from fmlib.experiments.common import Result, RunConfig
from fmlib.experiments.grids import EXPERIMENTS
from fmlib.records import (
    RESULTS,
    Found,
    Provenance,
    Record,
    Unreadable,
    path_of,
    read,
    read_all,
    write,
)
from fmlib.training import check_device

_ROOT = Path(__file__).parent.parent
_PACKAGES = ("torch", "torchvision", "numpy", "fmlib")


class Planned(NamedTuple):
    """A run to be made."""

    experiment: str
    config: RunConfig

    @property
    def path(self) -> Path:
        """Where its record will lie, below the folder of results."""
        return path_of(self.experiment, self.config)


class Failed(NamedTuple):
    """A run that could not be made or written, and why."""

    run: Planned
    reason: str


Outcomes = Generator[Record[Any, Any] | Failed, None, None]


class State(NamedTuple):
    """How far an experiment is recorded on a device.

    `blocked` runs have a file that is no record; `waiting` ones need the result of another run
    first; `outside` are records of no run of the grid.
    """

    found: Found
    recorded: list[Record[Any, Any]]
    missing: list[Planned]
    blocked: list[Planned]
    waiting: list[Planned]
    outside: list[Path]

    @property
    def runs(self) -> int:
        """Number of runs in the grid."""
        return len([*self.recorded, *self.missing, *self.blocked, *self.waiting])


def state(experiment: str, device: str = "cpu", results: Path = RESULTS) -> State:
    """Compare an experiment's grid with its records."""
    found = read_all(experiment, results)
    recorded: list[Record[Any, Any]] = []
    missing: list[Planned] = []
    blocked: list[Planned] = []
    waiting: list[Planned] = []
    for config in EXPERIMENTS[experiment].grid():
        run = Planned(experiment, config.model_copy(update={"device": device}))
        if (source := run.config.source) is not None:
            if (needed := _needed(experiment, source, found, results)) is None:
                waiting.append(run)
                continue
            run = Planned(experiment, run.config.completed(needed.result))
        if run.path in found.records:
            recorded.append(found.records[run.path])
        elif run.path in found.older or run.path in found.unreadable:
            blocked.append(run)
        else:
            missing.append(run)
    known = {record.path for record in recorded}
    same = [path for path, record in found.records.items() if record.config.device == device]
    outside = [path for path in same if path not in known]
    return State(found, recorded, missing, blocked, waiting, outside)


def _needed(
    experiment: str, source: RunConfig, found: Found, results: Path
) -> Record[Any, Any] | None:
    """The record that a run of an experiment waits for, of its own or of another one."""
    if isinstance(source, EXPERIMENTS[experiment].config):
        return found.records.get(path_of(experiment, source))
    other = next(name for name, kind in EXPERIMENTS.items() if kind.config is type(source))
    try:
        return read(results / path_of(other, source))
    except Unreadable:
        return None


class Code(NamedTuple):
    """The commit that the package was imported from, and whether nothing was changed since."""

    commit: str | None
    clean_tree: bool | None


def code() -> Code:
    """The state of the checkout, records and notebooks aside; (None, None) outside of one."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(_ROOT), *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "fmlib", "requirements.txt")
        return Code(git("rev-parse", "HEAD"), not changed)
    except (OSError, subprocess.CalledProcessError):
        return Code(None, None)


def make(run: Planned, made_by: Code) -> Record[Any, Any]:
    """Make one run with its number of threads, and its record."""
    return _record(run, *_measure(run.config, made_by))


def _measure(config: RunConfig, made_by: Code) -> tuple[Result, Provenance]:
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        dataset = config.load()
        started, wall, cpu = datetime.now(UTC), time.perf_counter(), time.process_time()
        result = config.run()
        return result, Provenance(
            started=started.isoformat(timespec="seconds"),
            wall_seconds=round(time.perf_counter() - wall, 2),
            cpu_seconds=round(time.process_time() - cpu, 2),
            system=platform.platform(),
            processor=_processor(config.device),
            versions={"python": platform.python_version()} | {p: version(p) for p in _PACKAGES},
            dataset_sha256=dataset.checksum,
            commit=made_by.commit,
            clean_tree=made_by.clean_tree,
        )
    finally:
        torch.set_num_threads(threads)


def _record(run: Planned, result: Result, provenance: Provenance) -> Record[Any, Any]:
    typed: Any = Record[type(run.config), type(result)]  # type: ignore[misc]
    record: Record[Any, Any] = typed(
        experiment=run.experiment, config=run.config, result=result, provenance=provenance
    )
    return record


def _processor(device: str) -> str:
    """Name of what computes."""
    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def check_here(runs: list[Planned]) -> None:
    """Refuse runs that this machine cannot make, before any of them starts.

    Raises:
        ValueError: a device that is not there, or files that are not the dataset's.
        FileNotFoundError: a dataset that is not there, or weights that a run begins with.
    """
    configs = [run.config for run in runs]
    for device in {config.device for config in configs}:
        check_device(device)
    needed = {(type(c), c.dataset, c.images_needed(), c.n_test): c for c in configs}
    for config in needed.values():
        config.check_data()


def check_folders(runs: list[Planned], results: Path) -> None:
    """Refuse, with ValueError, runs whose records could not be written."""
    for folder in {(results / run.path).parent for run in runs}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise ValueError(f"{folder} cannot be written ({error.strerror})") from error


@contextmanager
def workers(jobs: int, scheduler: str | None = None) -> Iterator[None]:
    """Have `make_all` and `record` compute by processes of this machine or a cluster's workers.

    Args:
        jobs: processes on this machine; one is this process itself.
        scheduler: address of a Dask scheduler, such as `tcp://host:8786`; its workers then do
            the runs, and `jobs` does not matter.

    Raises:
        ValueError, OSError: there is no such scheduler, it has workers of several threads, or
            `distributed` is not installed.
    """
    if scheduler is None:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # several processes share the cores
        os.environ["PYTHONWARNINGS"] = _without_leaks(os.environ.get("PYTHONWARNINGS", ""))
        start = {"initializer": _end_with, "initargs": (os.getpid(),)}
        with joblib.parallel_config("loky", n_jobs=jobs, inner_max_num_threads=1, **start):
            yield
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError("a scheduler needs Dask: pip install 'fmlib[cluster]'") from error
    try:
        asyncio.run(_reach(scheduler))
    except (MemoryError, OSError, TypeError, ValueError) as error:
        raise ValueError(f"no Dask scheduler answers at {scheduler} ({error})") from error
    with Client(scheduler, set_as_default=False) as client:
        _check_workers(scheduler, client)
        with joblib.parallel_config("dask", client=client):
            yield


def _without_leaks(given: str) -> str:
    """Warnings without those of joblib's helper process that cleans up after a killed one."""
    quiet = "ignore::UserWarning:joblib.externals.loky.backend.resource_tracker"
    return given if quiet in given else ",".join(filter(None, (given, quiet)))


async def _reach(scheduler: str) -> None:
    """Connect once: a client that meets something else than a scheduler cannot be closed."""
    from distributed.comm.core import connect
    from distributed.security import Security

    options = Security().get_connection_args("client")
    await (await connect(scheduler, timeout=5, **options)).close()


def _check_workers(scheduler: str, client: Any) -> None:
    try:
        client.wait_for_workers(2, timeout=10)
    except TimeoutError as error:
        raise ValueError(
            f"{scheduler} has fewer than two workers, and joblib would compute here instead; start "
            "more, or give --jobs rather than --scheduler"
        ) from error
    if any(threads > 1 for threads in client.ncores().values()):
        raise ValueError(
            f"a worker of {scheduler} would make several runs at once in one process, where they "
            "disturb each other; start the workers with --nthreads 1"
        )


def make_all(runs: list[Planned]) -> Outcomes:
    """Records of runs that need the result of no other, as they are done.

    Closing the iterator ends the processes.

    Raises:
        BrokenExecutor: a process died, or the scheduler.
    """
    made_by = code()
    calls = [joblib.delayed(_attempt)(run, made_by) for run in runs]
    with warnings.catch_warnings(), ExitStack() as stack:
        # joblib warns about what is meant here: leaving early, and processes that make room.
        warnings.filterwarnings("ignore", category=UserWarning, module="joblib")
        parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1)
        try:
            with _interrupts_wait():
                outcomes = stack.enter_context(closing(parallel(calls)))
                if joblib.effective_n_jobs(None) > 1:
                    # Joblib's thread takes the first runs; ended now, it would fail.
                    time.sleep(0.2)
            for outcome in outcomes:
                yield outcome if isinstance(outcome, Failed) else _record(*outcome)
        except BrokenExecutor as error:
            raise BrokenExecutor("a process died, perhaps for want of memory") from error
        except CancelledError as error:
            raise BrokenExecutor("the scheduler is gone") from error


def _attempt(run: Planned, made_by: Code) -> tuple[Planned, Result, Provenance] | Failed:
    """What a worker does; anything that data and numbers can do to a run does not end the rest."""
    try:
        return run, *_measure(run.config, made_by)
    except (ArithmeticError, MemoryError, OSError, RuntimeError, ValueError) as error:
        return Failed(run, f"{type(error).__name__}: {error}")


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Let Ctrl-C take effect only afterwards, and never in the processes started here.

    They are ended by this one; half-started ones would complain on the user's terminal.
    """
    number, heard = signal.SIGINT, []
    if signal.getsignal(number) is not signal.default_int_handler or os.name != "posix":
        yield
        return
    resource_tracker.ensure_running()  # Python's helper, whose start would lift the mask
    signal.signal(number, lambda *_: heard.append(number))  # another thread may be sent it
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {number})  # processes inherit it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(number, signal.default_int_handler)
        if heard:
            raise KeyboardInterrupt


def _end_with(parent: int) -> None:
    """Let this process end soon after its parent, even one that was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def record(experiments: list[str], device: str = "cpu", results: Path = RESULTS) -> Outcomes:
    """Make and write what is missing of some experiments, one record after the other.

    Runs that wait for others are made once these are there.

    Raises:
        BrokenExecutor: a process died, or the scheduler.
    """
    failed: set[Path] = set()
    while runs := [
        run
        for name in experiments
        for run in state(name, device, results).missing
        if run.path not in failed
    ]:
        for made in make_all(runs):
            outcome = made if isinstance(made, Failed) else _write(made, results)
            if isinstance(outcome, Failed):
                failed.add(outcome.run.path)
            yield outcome


def _write(made: Record[Any, Any], results: Path) -> Record[Any, Any] | Failed:
    try:
        write(made, results)
    except FileExistsError:
        pass  # another command has made the same record meanwhile
    except ValueError as error:
        return Failed(Planned(made.experiment, made.config), f"ValueError: {error}")
    return made
