"""The command line: its lists, how values are written, and one line for each mistake."""

import re
from pathlib import Path
from typing import Any

import pytest

from fmlib import chapters, cli

Given = dict[str, object]


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
        (["run", "caching", "extra"], "unexpected extra argument"),
        (["caching"], "No such command 'caching'"),
    ],
)
def test_wrong_usage_is_named(
    arguments: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(*arguments) == 2
    error = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().err)  # without colours
    assert words in error
    assert "Traceback" not in error


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
    assert out.match("exploration-????????-??????.ipynb")


def test_a_chapter_that_fails_exits_with_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(name: str, given: Given, out: Path) -> None:
        raise chapters.ChapterError(f"{name} failed")

    monkeypatch.setattr(chapters, "execute", fail)
    assert run("run", "caching") == 1
    assert capsys.readouterr().err == "fmlib: caching failed\n"


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
