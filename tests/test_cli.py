"""The command line: its lists, how values are written, and one line for each mistake."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fmlib import chapters, cli

Given = dict[str, object]


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """The command line's answer to SIGTERM goes with it."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Given, Path]]:
    """What would have been run; the settings are checked as ever."""
    made: list[tuple[str, Given, Path]] = []

    def execute(name: str, given: Given, out: Path) -> None:
        values: dict[str, Any] = {"profile": "quick", **given}
        chapters.settings(name, **values)
        made.append((name, given, out))

    monkeypatch.setattr(chapters, "execute", execute)
    return made


def run(*arguments: str) -> int:
    """The exit status of `fmlib` with these arguments."""
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    return int(caught.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name a chapter: exploration, caching"),
        (["nosuch"], "chapter 'nosuch' does not exist; choose one of exploration"),
        (["--list", "nosuch"], "chapter 'nosuch' does not exist; choose one of exploration"),
        (
            ["caching", "-p", "profile", "huge"],
            "profile 'huge' does not exist; choose one of smoke",
        ),
        (["caching", "-p", "profile", "[1]"], "profile [1] does not exist; choose one of smoke"),
        (["caching", "-p", "colour", "3"], "no parameter 'colour'; it has profile, dataset"),
        (["caching", "-p", "name", "3"], "no parameter 'name'; it has profile, dataset"),
        (["caching", "-p", "epochs"], "'epochs' has no value; write -p epochs VALUE"),
        (["caching", "-p"], "-p needs a name and a value"),
        (["caching", "-p", "=3"], "-p needs a name and a value"),
        (["caching", "-p", "epochs", "-1"], "epochs is -1: input should be greater"),
        (["caching", "-p", "epochs=-1"], "epochs is -1: input should be greater"),
        (["caching", "-p", "epochs", "many"], "epochs is 'many': input should be a valid integer"),
        (["caching", "-p", "epochs", "{[]: 1}"], "epochs is '{[]: 1}': input should be"),
        (["adversarial_robustness", "-p", "epsilons", "-1"], "epsilons is -1: input should be"),
        (["adversarial_robustness", "-p", "epsilons", "[-1]"], "epsilons.0 is -1: input should"),
        (["caching", "-p", "dataset", "image-folder:nowhere"], "nowhere/train does not exist"),
        (["caching", "-p", "dataset", f"image-folder:{'x' * 300}"], "File name too long"),
        (["caching", "-p", "dataset", "image-folder:~nobody-has-this"], "/train does not exist"),
    ],
)
def test_mistakes_are_answered_in_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("run", *arguments) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("fmlib: ")
    assert words in error
    assert error.count("\n") == 1
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "caching", "--nosuch"], "No such option: --nosuch"),
        (["run", "caching", "--out"], "'--out' requires an argument"),
        (["run", "caching", "extra"], "Got unexpected extra argument"),
        (["run", "--list=yes"], "'--list' does not take a value"),
        (["caching"], "No such command 'caching'"),
        (["--nosuch"], "No such option: --nosuch"),
    ],
)
def test_wrong_usage_is_answered_in_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("fmlib: ")
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["--help"], ["run", "--help"]])
def test_help_is_shown_if_asked_or_if_there_is_nothing_else(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 0
    out, error = capsys.readouterr()
    assert "Usage: fmlib" in out
    assert error == ""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("64", 64),
        ("0.5", 0.5),
        ("[32, 128]", [32, 128]),
        ("fashion-mnist", "fashion-mnist"),
        ("None", None),
        ("a=b", "a=b"),
        ("-1", -1),
    ],
)
@pytest.mark.parametrize("flag", ["-p", "--parameter"])
def test_values_are_written_as_in_python(flag: str, text: str, value: object) -> None:
    [joined] = cli._join_values([flag, "name", text])[1:]
    assert cli._parameter(joined) == ("name", value)
    assert cli._parameter(cli._join_values([flag, f"name={text}"])[1]) == ("name", value)


def test_parameters_and_output_reach_the_run(
    calls: list[tuple[str, Given, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["-p", "batch_sizes", "[8, 16]", "-p", "dataset=fashion-mnist"]
    assert run("run", "caching", *sizes, "--out", "there/out.ipynb", "-p", "seeds", "1") == 0
    given: Given = {"batch_sizes": [8, 16], "dataset": "fashion-mnist", "seeds": 1}
    assert calls == [("caching", given, Path("there/out.ipynb"))]
    assert capsys.readouterr().out == "there/out.ipynb\n"


def test_output_goes_to_runs_unless_named(calls: list[tuple[str, Given, Path]]) -> None:
    assert run("run", "exploration", "-p", "profile", "smoke") == 0
    [(_, _, out)] = calls
    assert out.parent == Path("runs")
    assert out.match("exploration-????????-??????-??????.ipynb")


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        (chapters.ChapterError("caching failed"), 1, "fmlib: caching failed\n"),
        (chapters.ChapterError("two\n lines"), 1, "fmlib: two lines\n"),
        (
            PermissionError(13, "Permission denied", "a"),
            2,
            "fmlib: [Errno 13] Permission denied: 'a'\n",
        ),
        (KeyboardInterrupt(), 130, ""),
        (SystemExit(143), 143, ""),
    ],
)
def test_whatever_ends_a_run_has_a_status_and_one_line_at_most(
    error: BaseException,
    status: int,
    shown: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(name: str, given: Given, out: Path) -> None:
        raise error

    monkeypatch.setattr(chapters, "execute", fail)
    assert run("run", "caching") == status
    assert capsys.readouterr() == ("", shown)


def test_list_shows_each_parameter_of_each_chapter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run("run", "--list") == 0
    out, error = capsys.readouterr()
    assert error == ""
    for name in chapters.CHAPTERS:
        shown = out.split(f"fmlib run {name} ")[1].split("fmlib run")[0]
        for row in chapters.parameters(name):
            default = list(row.default) if isinstance(row.default, tuple) else row.default
            assert f" {row.name} " in shown
            assert str(default) in shown
            assert row.meaning[:60] in shown


def test_list_shows_one_chapter_if_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("run", "caching", "--list") == 0
    out = capsys.readouterr().out
    assert "reading" in out
    assert "epsilons" not in out
