"""Measured rows: their record, how records are merged and written, their table and picture."""

import hashlib
import os
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmarks.cases import ROOT, Sizes
from benchmarks.measure import Machine, Pair, Seconds, alternate, machine, ratio, seconds
from benchmarks.rows import MINUTES, SPECS, Spec, Unit
from fmlib import figures

FOLDER = ROOT / "benchmarks"
PAGE_FOLDER = ROOT / "book" / "_benchmarks"

Tick = Callable[[], object]


class Row(BaseModel):
    """One measured ratio: `spread` is its lowest and highest value over the pairs.

    Reached means a median ratio of at most `wanted` and what else the bound says; None where
    nothing is wanted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    against: str
    ratio: float = Field(gt=0)
    spread: tuple[float, float]
    wanted: float | None
    stretch: float | None
    bound: str
    reached: bool | None
    pairs: int = Field(ge=1)
    unit: Unit
    wall: Seconds
    cpu: Seconds
    note: str
    machine: Machine
    date: date


class Results(BaseModel):
    """All rows, in the order of the table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: tuple[Row, ...] = ()


def measure(spec: Spec, sizes: Sizes, pairs: int, tick: Tick = lambda: None) -> Row:
    """Measure a row; rows that do not take minutes are done once beforehand, to warm up."""
    case = spec.case(sizes)
    if pairs > MINUTES:
        alternate(case.subject, case.other, 1)
    found = alternate(case.subject, case.other, pairs, tick)
    note, holds = case.verdict()
    return row(spec, found, note, holds)


def row(spec: Spec, pairs: list[Pair], note: str, holds: bool) -> Row:
    """The record of measured pairs."""
    middle, lowest, highest = ratio(pairs)
    return Row(
        name=spec.name,
        against=spec.against,
        ratio=middle,
        spread=(lowest, highest),
        wanted=spec.wanted,
        stretch=spec.stretch,
        bound=spec.bound_text,
        reached=None if spec.wanted is None else middle <= spec.wanted and holds,
        pairs=len(pairs),
        unit=spec.unit,
        wall=seconds(pairs, "wall"),
        cpu=seconds(pairs, "cpu"),
        note=note,
        machine=machine(),
        date=date.today(),
    )


def read(path: Path) -> Results:
    """The results of a file; none if there is no such file.

    Raises:
        ValueError: the file does not hold results.
    """
    if not path.exists():
        return Results()
    try:
        return Results.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path} holds no results ({place}: {first['msg']}); delete it") from None


def merge(old: Results, new: Iterable[Row]) -> Results:
    """Results with new rows in the place of old ones of the same name, in the table's order."""
    found = {row.name: row for row in (*old.rows, *new)}
    return Results(rows=tuple(found[spec.name] for spec in SPECS if spec.name in found))


def write(results: Results, folder: Path) -> None:
    """Write `results.json` and `results.md` to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "results.json", f"{results.model_dump_json(indent=1)}\n".encode())
    _write(folder / "results.md", markdown(results).encode())


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".fmlib-{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


# --- tables and text -----------------------------------------------------------------------


def ratio_table(results: Results) -> str:
    """The rows as a Markdown table: ratios, and what must be reached."""
    return _table(
        {
            "#": _numbers(results),
            "Measured": [row.name for row in results.rows],
            "Ratio": [_ratio(row) for row in results.rows],
            "Bound": [row.bound for row in results.rows],
            "Met": [REACHED[row.reached] for row in results.rows],
        }
    )


def seconds_table(results: Results) -> str:
    """The rows' median seconds as a Markdown table: what is measured / against what."""
    return _table(
        {
            "#": _numbers(results),
            "Measured": [row.name for row in results.rows],
            "n": [str(row.pairs) for row in results.rows],
            "Wall time (s)": [_seconds(row.wall) for row in results.rows],
            "CPU time (s)": [_seconds(row.cpu) for row in results.rows],
        }
    )


def _numbers(results: Results) -> list[str]:
    return [str(number) for number in range(1, len(results.rows) + 1)]


def _table(columns: dict[str, list[str]]) -> str:
    return str(pd.DataFrame(columns).to_markdown(index=False, disable_numparse=True))


def _number(value: float) -> str:
    """Two digits after the point, three if the number is small."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _ratio(row: Row) -> str:
    lowest, highest = map(_number, row.spread)
    return f"{_number(row.ratio)} ({lowest}–{highest})"


REACHED = {True: "yes", False: "no", None: "–"}


def _seconds(found: Seconds) -> str:
    """Two times of three digits, with a dash for what was not timed."""
    times = found.subject, found.other
    return " / ".join(
        "–" if time is None else f"{time:.3g}" if time < 100 else f"{time:.0f}" for time in times
    )


def notes(results: Results) -> str:
    """What each row is measured against, and its note, as a numbered list."""
    return "\n".join(
        f"{number}. Against {row.against}. {row.note}" for number, row in enumerate(results.rows, 1)
    )


def machines(results: Results) -> str:
    """Which rows were measured on which machine, and when."""
    found: dict[tuple[Machine, str], list[str]] = {}
    for number, row in enumerate(results.rows, 1):
        found.setdefault((row.machine, row.date.isoformat()), []).append(str(number))
    return "\n".join(
        f"- {m.processor}; {m.cores} cores, {m.threads} used by PyTorch; {m.memory_gb} GB; "
        f"{m.system}; Python {m.python}, PyTorch {m.torch}; {day}: "
        f"row{'s' * (len(numbers) > 1)} {', '.join(numbers)}"
        for (m, day), numbers in found.items()
    )


def counts(results: Results) -> str:
    """How many rows reach their bounds, and which fall short."""
    bound = [row for row in results.rows if row.reached is not None]
    short = [row.name for row in bound if not row.reached]
    said = f"{len(bound) - len(short)} of {len(bound)} rows with a bound reach it"
    return f"{said}; these fall short: {'; '.join(short)}." if short else f"{said}."


RATIOS_CAPTION = (
    "Ratios: median (lowest–highest) of pairs measured alternately, as many as the next table "
    "says; beside a bound in brackets what is hoped for"
)
SECONDS_CAPTION = (
    "Seconds of both, medians of n pairs: what is measured / against what, scaled as the ratio is; "
    "the ratio above is the median of the pairs' ratios, not the ratio of these medians"
)


def markdown(results: Results) -> str:
    """The results as a page of their own."""
    parts = (
        "# Benchmarks",
        "Written by `make bench`; the book's page on benchmarks explains them.",
        counts(results),
        f"{RATIOS_CAPTION}:",
        ratio_table(results),
        f"{SECONDS_CAPTION}:",
        seconds_table(results),
        *_lists(results),
    )
    return "\n\n".join(parts) + "\n"


def _lists(results: Results) -> tuple[str, ...]:
    return "Notes, by row:", notes(results), "Measured on:", machines(results)


# --- the book's page -----------------------------------------------------------------------


def write_page(results: Results, folder: Path = PAGE_FOLDER) -> None:
    """Write what the book's page includes: picture, tables, notes, machines."""
    folder.mkdir(parents=True, exist_ok=True)
    _draw(results, folder / "ratios.png")
    _write(folder / "results.md", page(results).encode())


_FIGURE = """\
```{{figure}} _benchmarks/ratios.png
:name: fig-benchmarks
:width: 100%
:alt: {alt}

Measured ratios. Dot: median; line through it: lowest to highest of the pairs; bar: the bound, which
the ratio must not exceed. The axis is logarithmic: left of 1 what is measured takes less than what
it is measured against.
```"""


def page(results: Results) -> str:
    """Picture and tables as directives of the book, notes and machines as lists."""
    parts = (
        counts(results),
        _FIGURE.format(alt=description(results)),
        _directive(RATIOS_CAPTION, "tab-benchmarks", ratio_table(results)),
        _directive(SECONDS_CAPTION, "tab-benchmarks-seconds", seconds_table(results)),
        *_lists(results),
    )
    return "\n\n".join(parts) + "\n"


def _directive(caption: str, name: str, body: str) -> str:
    return f":::{{table}} {caption}\n:name: {name}\n\n{body}\n:::"


def description(results: Results) -> str:
    """What is seen in the picture, for those who do not see it, in one line."""
    ratios = [row.ratio for row in results.rows]
    if not ratios:
        return "An empty picture: nothing has been measured."
    return (
        f"{len(ratios)} dots on a logarithmic axis, one for each row of the next table, from "
        f"{_number(min(ratios))} to {_number(max(ratios))}, and bars at the bounds. "
        f"{counts(results)}"
    ).replace("`", "")


def _draw(results: Results, path: Path) -> None:
    """The picture, with the checksum of what it shows."""
    plt.switch_backend("Agg")
    figures.use_style()
    figures.benchmark_ratios(
        [row.name.replace("`", "") for row in results.rows],
        [row.ratio for row in results.rows],
        [row.spread for row in results.rows],
        [row.wanted for row in results.rows],
        [row.reached for row in results.rows],
    )
    part = path.with_name(f".fmlib-{os.getpid()}.part")
    plt.savefig(part, format="png", dpi=200, metadata={"Description": digest(results)})
    plt.close()
    part.replace(path)


def digest(results: Results) -> str:
    """Checksum of results, by which a picture is known to show them."""
    return hashlib.sha256(results.model_dump_json().encode()).hexdigest()
