"""The command line: `fmlib run`, `record`, `status`, `audit` and `claims`."""

import ast
import os
import signal
import sys
from concurrent.futures import BrokenExecutor
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import joblib
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tqdm import tqdm

from fmlib import auditing, chapters, claims, evidence_tables, recording, records
from fmlib.experiments import grids

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def _app() -> None:
    """Run the chapters of the book with your own parameters, and record runs."""


@app.command()
def run(
    chapter: Annotated[
        str | None, typer.Argument(help=f"One of {', '.join(chapters.CHAPTERS)}.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            "--parameter",
            metavar="NAME VALUE",
            help="A parameter of the chapter; may be given several times.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the executed notebook goes; default: in runs/.")
    ] = None,
    show_list: Annotated[
        bool, typer.Option("--list", help="List the chapters, their parameters and defaults.")
    ] = False,
) -> None:
    """Run a chapter and write the executed notebook.

    Values are written as in Python: 64, 0.25, [32, 128], fashion-mnist.
    """
    if show_list:
        _print_parameters([chapter] if chapter else list(chapters.CHAPTERS))
        return
    if chapter is None:
        raise ValueError(f"name a chapter: {', '.join(chapters.CHAPTERS)}")
    given = dict(_parameter(text) for text in parameter or [])
    target = out or Path("runs") / f"{chapter}-{datetime.now():%Y%m%d-%H%M%S-%f}.ipynb"
    chapters.execute(chapter, given, target)
    typer.echo(target)


DeviceOption = Annotated[Literal["cpu", "cuda"], typer.Option(help="What computes.")]
ResultsOption = Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of the records.")]


@app.command()
def record(
    experiment: Annotated[
        str, typer.Argument(help=f"One of {', '.join(grids.EXPERIMENTS)}, or all.")
    ],
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Processes; default: one per core, with cuda a single one."),
    ] = None,
    device: DeviceOption = "cpu",
    scheduler: Annotated[
        str | None, typer.Option(help="A Dask scheduler whose workers compute: tcp://HOST:8786.")
    ] = None,
    results: ResultsOption = records.RESULTS,
) -> None:
    """Make the records that are missing; may be stopped and started again at any time."""
    names = _experiments(experiment)
    states = [recording.state(name, device, results) for name in names]
    _show_problems(states, err=True)
    runs = [run for state in states for run in state.missing]
    recording.check_folders(runs, results)
    if scheduler is None:
        recording.check_here(runs)
    failed: list[recording.Failed] = []
    ended, code = "", 0
    try:
        if runs:
            with recording.workers(jobs or _cores(device), scheduler):
                _follow(recording.record(names, device, results), states, failed)
    except KeyboardInterrupt:
        ended, code = "stopped", 130
    except BrokenExecutor as error:
        ended, code = str(error), 1
    total = sum(state.runs for state in states)
    done = sum(len(recording.state(name, device, results).recorded) for name in names)
    said = f"{done} of {total} runs are recorded"
    if ended:
        raise typer.Exit(_fail(f"{ended}; {said}, the same command goes on", code))
    if done < total:
        reasons = "".join(f"; {run.path} failed: {reason}" for run, reason in failed)
        raise typer.Exit(_fail(said + (reasons or "; see fmlib status"), 1))
    typer.echo(said)


def _cores(device: str) -> int:
    return int(joblib.cpu_count()) if device == "cpu" else 1


def _follow(
    outcomes: recording.Outcomes, states: list[recording.State], failed: list[recording.Failed]
) -> None:
    """Show how many runs are recorded, and the time left judged by their costs."""
    done, total = sum(len(s.recorded) for s in states), sum(s.runs for s in states)
    spent = sum(_whole(made.config.cost) for s in states for made in s.recorded)
    left = sum(_whole(run.config.cost) for s in states for run in (*s.missing, *s.waiting))
    bar = _bar(f"{done} of {total} runs", spent + left, spent)
    with closing(outcomes), bar:
        for outcome in outcomes:
            if isinstance(outcome, recording.Failed):
                failed.append(outcome)
                continue
            done += 1
            bar.set_description_str(f"{done} of {total} runs", refresh=False)
            bar.update(_whole(outcome.config.cost))


def _whole(amount: float) -> int:
    """An amount of work in thousandths, which add up to one total in whatever order they come."""
    return round(1000 * amount)


def _bar(text: str, total: int, initial: int = 0) -> "tqdm[NoReturn]":
    """Progress through some amount of work; off a terminal it is renewed once a minute."""
    return tqdm(
        desc=text,
        total=total,
        initial=initial,
        bar_format="{desc} |{bar}| {percentage:.0f} %, {elapsed} passed, {remaining} left",
        smoothing=0,
        mininterval=0.1 if sys.stderr.isatty() else 60,
    )


@app.command()
def status(
    experiment: Annotated[
        str, typer.Argument(help=f"One of {', '.join(grids.EXPERIMENTS)}, or all.")
    ] = "all",
    device: DeviceOption = "cpu",
    results: ResultsOption = records.RESULTS,
) -> None:
    """Count the records there are and those that are missing, and name the files to look at.

    Waiting: needs the result of another run first.  Older: of an older schema.  Outside: of no
    run of the grid.  Records that are unlike those of other seeds are named; they may be honest.
    """
    names = _experiments(experiment)
    states = {name: recording.state(name, device, results) for name in names}
    counts = ("recorded", "missing", "waiting", "older", "unreadable", "outside")
    table = Table("experiment", box=None, pad_edge=False, collapse_padding=True)
    for count in counts:
        table.add_column(count, justify="right")
    for name, state in states.items():
        parts = state.recorded, state.missing, state.waiting, *state.found[1:], state.outside
        table.add_row(name, *(str(len(part)) for part in parts))
    Console().print(table)
    _show_problems(list(states.values()))
    for path in (path for state in states.values() for path in state.outside):
        typer.echo(f"{path} is of no run of the grid")
    found = [record for state in states.values() for record in state.found.records.values()]
    counted = [record for record in found if record.config.device == device]
    for one in auditing.unusual(counted, auditing.group(counted)):
        typer.echo(f"{one.path} has {one.quantity} {_text(one.recorded)}, unlike {_text(one.band)}")


@app.command()
def audit(
    name: Annotated[
        list[str] | None,
        typer.Argument(help="Names of records, or patterns such as 'mnist-3000-*'; default: all."),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="How many at most; 2 where no name is given.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of the sample; default: another one each time.")
    ] = None,
    experiment: Annotated[
        str, typer.Option(help=f"One of {', '.join(grids.EXPERIMENTS)}, or all.")
    ] = "all",
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; default: all cores.")] = None,
    results: ResultsOption = records.RESULTS,
) -> None:
    """Recompute records and compare; the exit status is 1 if a record is not confirmed.

    In float64 all numbers must agree, in float32 final accuracies must lie in the band that
    records of other seeds, or of other numbers of threads, let expect.
    """
    found = [records.read_all(one, results) for one in _experiments(experiment)]
    problems = {path: reason for one in found for path, reason in one.unreadable.items()}
    known = {path: record for one in found for path, record in one.records.items()}
    for pattern in name or ["*"]:
        if not any(auditing.matches(path, pattern) for path in (*known, *problems)):
            raise ValueError(f"no record in {results} matches {pattern!r}; see fmlib status")
    chosen = auditing.choose(known, name or [], sample, seed)
    made = _recompute(chosen, jobs)
    families = auditing.group(known.values())
    findings = [f for r in chosen for f in auditing.compare(r, made[r.path], families)]
    if findings:
        _print_findings(findings)
    for path, reason in problems.items():
        typer.echo(f"{path} {reason}")
    wrong = {*problems, *(one.path for one in findings if one.verdict in auditing.BAD)}
    if wrong:
        raise typer.Exit(_fail(f"not confirmed: {', '.join(map(str, sorted(wrong)))}", 1))
    alone = len({one.path for one in findings if one.verdict == "no band"})
    rest = f", {alone} for want of others not compared" if alone else ""
    typer.echo(f"{len(chosen)} of {len(known)} records recomputed: none differs{rest}")


@app.command("claims")
def show_claims(
    chapter: Annotated[
        str | None, typer.Argument(help=f"One of {', '.join(chapters.CHAPTERS)}; default: all.")
    ] = None,
    results: ResultsOption = records.RESULTS,
) -> None:
    """Judge the paper's claims from the records; the book says what is behind each verdict."""
    if chapter is not None:
        chapters.chapter(chapter)
    verdicts = evidence_tables.verdicts(claims.judge(chapter, results))
    table = Table(*verdicts.columns, box=None, pad_edge=False)
    for row in verdicts.itertuples(index=False):
        table.add_row(*(escape(str(cell).replace("*", "")) for cell in row), end_section=True)
    Console().print(table)


def _recompute(
    chosen: list[auditing.AnyRecord], jobs: int | None
) -> dict[Path, auditing.AnyRecord | recording.Failed]:
    """New runs by the path of their records, with the time left judged by the recorded times."""
    runs = [recording.Planned(record.experiment, record.config) for record in chosen]
    recording.check_here(runs)
    took = {record.path: _whole(record.provenance.wall_seconds) for record in chosen}
    made: dict[Path, auditing.AnyRecord | recording.Failed] = {}
    with (
        recording.workers(min(jobs or joblib.cpu_count(), max(len(runs), 1))),
        closing(recording.make_all(runs)) as outcomes,
        _bar(f"0 of {len(runs)} runs", sum(took.values())) as bar,
    ):
        for outcome in outcomes:
            path = outcome.run.path if isinstance(outcome, recording.Failed) else outcome.path
            made[path] = outcome
            bar.set_description_str(f"{len(made)} of {len(runs)} runs", refresh=False)
            bar.update(took[path])
    return made


def _print_findings(findings: list[auditing.Finding]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("record", "quantity", "recorded", "recomputed", "band", "verdict"):
        table.add_column(heading, overflow="fold")
    shown = set()
    for path, *cells in findings:
        table.add_row("" if path in shown else path.stem, *(escape(_text(cell)) for cell in cells))
        shown.add(path)
    wide = not (sys.stdout.isatty() or "COLUMNS" in os.environ)  # a file has room for long names
    Console(width=160 if wide else None).print(table)


def _text(value: object) -> str:
    if isinstance(value, auditing.Band):
        return f"{value.low:.2f} to {value.high:.2f} ({value.basis})"
    if isinstance(value, float):
        return f"{value:.12g}"
    return "" if value is None else str(value)


def _show_problems(states: list[recording.State], err: bool = False) -> None:
    """A line for each file that is no record, and why."""
    for state in states:
        for path, reason in (state.found.older | state.found.unreadable).items():
            typer.echo(f"{path} {reason}; it is left alone", err=err)


def _experiments(name: str) -> list[str]:
    if name != "all" and name not in grids.EXPERIMENTS:
        raise ValueError(
            f"experiment {name!r} does not exist; choose all or one of "
            f"{', '.join(grids.EXPERIMENTS)}"
        )
    return list(grids.EXPERIMENTS) if name == "all" else [name]


def _parameter(text: str) -> tuple[str, object]:
    """`name=value` as name and value; a value that is no Python literal is text."""
    name, separator, value = text.partition("=")
    if not name:
        raise ValueError("-p needs a name and a value: -p NAME VALUE")
    if not separator:
        raise ValueError(f"parameter {name!r} has no value; write -p {name} VALUE")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError):
        return name, value


def _print_parameters(names: list[str]) -> None:
    console = Console()
    for name in names:
        table = Table("parameter", "type", "default", "meaning", title=f"fmlib run {name}")
        for row in chapters.parameters(name):
            default = list(row.default) if isinstance(row.default, tuple) else row.default
            table.add_row(row.name, row.type, str(default), row.meaning)
        console.print(table)


def _join_values(arguments: list[str]) -> list[str]:
    """Rewrite `-p NAME VALUE` as `-p NAME=VALUE`, so that a value may begin with a dash."""
    joined, rest = [], iter(arguments)
    for argument in rest:
        joined.append(argument)
        if argument in ("-p", "--parameter"):
            name = next(rest, "")
            value = None if "=" in name else next(rest, None)
            joined.append(name if value is None else f"{name}={value}")
    return joined


def main(arguments: list[str] | None = None) -> None:
    """Entry point: a user's mistake is answered by one sentence and exit status 2."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the chapter's process ends
    given = sys.argv[1:] if arguments is None else arguments
    try:
        status = app(_join_values(given or ["--help"]), prog_name="fmlib", standalone_mode=False)
    except typer.TyperException as error:
        status = _fail(error.format_message(), 2)
    except (ValueError, OSError) as error:
        status = _fail(error, 2)
    except (chapters.ChapterError, BrokenExecutor) as error:
        status = _fail(error, 1)
    sys.exit(status)


def _fail(error: object, status: int) -> int:
    print("fmlib:", " ".join(str(error).split()), file=sys.stderr)
    return status
