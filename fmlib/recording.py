"""Making the records that are missing: what is left of a grid, and the processes that do it."""

import os
import platform
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import torch

from fmlib.experiments.common import RunConfig
from fmlib.experiments.grids import EXPERIMENTS
from fmlib.records import RESULTS, Found, Provenance, Record, path_of, read_all, write

_ROOT = Path(__file__).parent.parent
_PACKAGES = ("torch", "torchvision", "numpy", "fmlib")


class State(NamedTuple):
    """How far an experiment is recorded on a device.

    `waiting` runs need the result of another one first; `outside` are records of no run of the
    grid.
    """

    found: Found
    recorded: list[Record[Any, Any]]
    missing: list[RunConfig]
    waiting: list[RunConfig]
    outside: list[Path]


def state(experiment: str, device: str = "cpu", results: Path = RESULTS) -> State:
    """Compare an experiment's grid with its records."""
    found = read_all(experiment, results)
    taken = {*found.records, *found.older, *found.unreadable}
    recorded, missing, waiting = [], [], []
    for planned in EXPERIMENTS[experiment].grid():
        config = planned.model_copy(update={"device": device})
        if (source := config.source) is not None:
            needed = found.records.get(path_of(experiment, source))
            if needed is None:
                waiting.append(config)
                continue
            config = config.completed(needed.result)
        path = path_of(experiment, config)
        if path in found.records:
            recorded.append(found.records[path])
        elif path not in taken:
            missing.append(config)
    known = {record.path for record in recorded}
    same = [p for p, r in found.records.items() if r.config.device == device]
    return State(found, recorded, missing, waiting, [p for p in same if p not in known])


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


def make(experiment: str, config: RunConfig, made_by: Code) -> Record[Any, Any]:
    """Make one run with its number of threads, and its record."""
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        dataset = config.load()
        started, wall, cpu = datetime.now(UTC), time.perf_counter(), time.process_time()
        result = config.run()
        provenance = Provenance(
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
    kind = EXPERIMENTS[experiment]
    typed: Any = Record[kind.config, kind.result]  # type: ignore[name-defined]
    record: Record[Any, Any] = typed(
        experiment=experiment, config=config, result=result, provenance=provenance
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


def make_all(
    experiment: str, configs: list[RunConfig], jobs: int, scheduler: str | None = None
) -> Iterator[Record[Any, Any]]:
    """Records of runs as they are done, by so many processes or by a cluster's workers.

    Args:
        experiment: its name.
        configs: runs that need no other.
        jobs: processes on this machine.
        scheduler: address of a Dask scheduler, such as `tcp://host:8786`; its workers then do
            the runs, and `jobs` does not matter.
    """
    made_by = code()
    calls = (joblib.delayed(make)(experiment, config, made_by) for config in configs)
    if scheduler is None:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # several processes share the cores
        with joblib.parallel_config("loky", inner_max_num_threads=1):
            yield from joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")(calls)
        return
    from distributed import Client

    with Client(scheduler), joblib.parallel_config("dask"):
        yield from joblib.Parallel(return_as="generator_unordered")(calls)


def record(
    experiment: str,
    *,
    jobs: int,
    device: str = "cpu",
    scheduler: str | None = None,
    results: Path = RESULTS,
) -> Iterator[Record[Any, Any]]:
    """Make and write what is missing of an experiment, one record after the other.

    Runs that wait for others are made once these are there.
    """
    while missing := state(experiment, device, results).missing:
        for made in make_all(experiment, missing, jobs, scheduler):
            write(made, results)
            yield made
