"""Two things measured alternately in one run, and the ratio of the one to the other."""

import os
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar

import torch
from pydantic import BaseModel, ConfigDict

Result = TypeVar("Result")


class Sample(NamedTuple):
    """One measurement: the number that the ratio is made of, wall time and CPU time in seconds."""

    value: float
    wall: float
    cpu: float


Measure = Callable[[], Sample]
"""Does the thing once and says what it took."""
Pair = tuple[Sample, Sample]


def clock(call: Callable[[], Result]) -> tuple[Sample, Result]:
    """What a call took and returned; the value is wall time, CPU time has ended children in it."""
    cpu, wall = _cpu_seconds(), time.perf_counter()
    result = call()
    wall, cpu = time.perf_counter() - wall, _cpu_seconds() - cpu
    return Sample(wall, wall, cpu), result


def _cpu_seconds() -> float:
    kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return sum(sum(resource.getrusage(kind)[:2]) for kind in kinds)


def timed(call: Callable[[], object]) -> Measure:
    """A measure of a call's wall time."""
    return lambda: clock(call)[0]


def scaled(sample: Sample, factor: float) -> Sample:
    """A measurement times a factor."""
    return Sample(*(factor * number for number in sample))


def added(one: Sample, other: Sample) -> Sample:
    """The sum of two measurements."""
    return Sample(*(sum(numbers) for numbers in zip(one, other, strict=True)))


def limit(value: float) -> Measure:
    """A given number in the place of a measurement."""
    return lambda: Sample(value, 0.0, 0.0)


def alternate(
    subject: Measure, other: Measure, pairs: int, tick: Callable[[], object] = lambda: None
) -> list[Pair]:
    """Measure two things in turn, the order reversed from pair to pair; `tick` follows each."""
    found = []
    for number in range(pairs):
        if number % 2:
            second, first = other(), subject()
        else:
            first, second = subject(), other()
        found.append((first, second))
        tick()
    return found


class Ratio(NamedTuple):
    """Median, lowest and highest of the pairs' ratios."""

    median: float
    lowest: float
    highest: float


def ratio(pairs: list[Pair]) -> Ratio:
    """First value of each pair divided by its second."""
    ratios = [subject.value / other.value for subject, other in pairs]
    return Ratio(median(ratios), min(ratios), max(ratios))


class Seconds(BaseModel):
    """Median seconds of the thing measured and of what it is measured against, if that has any."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: float
    other: float | None


def seconds(pairs: list[Pair], kind: str) -> Seconds:
    """Median times of a kind, `wall` or `cpu`."""
    subject, other = (median(getattr(pair[side], kind) for pair in pairs) for side in (0, 1))
    return Seconds(subject=subject, other=other or None)


class Machine(BaseModel):
    """What a row was measured on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    processor: str
    cores: int
    threads: int
    memory_gb: float
    system: str
    python: str
    torch: str


def machine() -> Machine:
    """This machine, with PyTorch's present number of threads."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        memory_gb=round(memory / 1e9, 1),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        torch=torch.__version__,
    )


def _processor() -> str:
    """The processor's name and its widest vector instructions that PyTorch uses."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or "unknown"
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"
