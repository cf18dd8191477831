"""The command line: `fmlib run`."""

import ast
import os
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from fmlib import chapters, recording, records
from fmlib.experiments import grids
from fmlib.training import check_device

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def _app() -> None:
    """Run the chapters of the book with your own parameters."""


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


@app.command()
def record(
    experiment: Annotated[
        str, typer.Argument(help=f"One of {', '.join(grids.EXPERIMENTS)}, or all.")
    ],
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes of one thread each; default: all cores.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    scheduler: Annotated[
        str | None, typer.Option(help="A Dask scheduler, such as tcp://host:8786.")
    ] = None,
    results: Annotated[Path, typer.Option(help="Folder of the records.")] = records.RESULTS,
) -> None:
    """Make the records that are missing; may be stopped and started again at any time."""
    check_device(device)
    for name in _experiments(experiment):
        found = recording.state(name, device, results)
        left = sum(config.cost for config in (*found.missing, *found.waiting))
        for path, reason in (found.found.older | found.found.unreadable).items():
            typer.echo(f"{path} {reason}; it is left alone, and its run is not made", err=True)
        bar = tqdm(total=left, desc=name, unit="image", unit_scale=True, smoothing=0)
        with bar:
            for made in recording.record(
                name,
                jobs=jobs or os.cpu_count() or 1,
                device=device,
                scheduler=scheduler,
                results=results,
            ):
                bar.set_postfix_str(made.path.name)
                bar.update(made.config.cost)


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
    except chapters.ChapterError as error:
        status = _fail(error, 1)
    sys.exit(status)


def _fail(error: object, status: int) -> int:
    print("fmlib:", " ".join(str(error).split()), file=sys.stderr)
    return status
