"""The command line: its lists, how values are written, and one line for each mistake."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fmlib import chapters, cli
from fmlib.claims import CLAIMS
from fmlib.experiments import grids
from fmlib.records import path_of
from tests import tiny_experiment
from tests.tiny_experiment import NAME, TinyRun

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


# --- records -------------------------------------------------------------------------------


@pytest.fixture
def tiny() -> Iterator[list[Path]]:
    """The tiny experiment is the only one; the names of its first runs."""
    others = dict(grids.EXPERIMENTS)
    grids.EXPERIMENTS.clear()
    grids.EXPERIMENTS[NAME] = tiny_experiment.experiment()
    yield [path_of(NAME, run) for run in tiny_experiment.grid() if run.source is None]
    grids.EXPERIMENTS.clear()
    grids.EXPERIMENTS.update(others)


def test_record_makes_what_is_missing_and_says_so(
    tiny: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = "record", "all", "--jobs", "1", "--results", str(tmp_path)
    assert run(*arguments) == 0
    out, error = capsys.readouterr()
    assert out == "6 of 6 runs are recorded\n"
    assert error.count("\n") == 1
    assert len(error.split("\r")) <= 4  # off a terminal, not a line for each run
    assert run(*arguments) == 0
    assert capsys.readouterr() == ("6 of 6 runs are recorded\n", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cooking"], "experiment 'cooking' does not exist; choose all or one of tiny"),
        (["tiny", "--jobs", "0"], "Invalid value for '--jobs'"),
        (["tiny", "--device", "tpu"], "'tpu' is not one of 'cpu', 'cuda'"),
        (["tiny", "--device", "cuda"], "device 'cuda' is not available; choose one of cpu"),
        (["tiny", "--scheduler", "here"], "no Dask scheduler answers at here (missing port"),
        (["tiny", "--results", "{file}"], "file/tiny cannot be written (Not a directory)"),
        (["tiny", "extra"], "Got unexpected extra argument"),
    ],
)
def test_what_cannot_be_recorded_is_refused_in_one_line(
    arguments: list[str],
    words: str,
    tiny: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(TinyRun, "run", None)  # nothing runs
    (tmp_path / "file").write_text("")
    given = [argument.format(file=tmp_path / "file") for argument in arguments]
    where = [] if "--results" in given else ["--results", str(tmp_path)]
    assert run("record", *given, *where) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("fmlib: ")
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "stopped; 1 of 6 runs are recorded, the same command goes on"),
        (
            ValueError("too\n hot"),
            1,
            "4 of 6 runs are recorded; {name} failed: ValueError: too hot",
        ),
        (SystemExit(143), 143, None),
    ],
)
def test_whatever_ends_a_recording_has_a_status_and_one_line(
    raised: BaseException,
    status: int,
    said: str | None,
    tiny: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = TinyRun.run

    def sometimes(self: TinyRun) -> tiny_experiment.TinyResult:
        if self.seed == 1:
            raise raised
        return whole(self)

    monkeypatch.setattr(TinyRun, "run", sometimes)
    arguments = "record", NAME, "--jobs", "1", "--results", str(tmp_path)
    assert run(*arguments) == status
    out, error = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in error
    shown = [line for line in error.splitlines() if line.startswith("fmlib:")]
    assert shown == ([] if said is None else [f"fmlib: {said.format(name=tiny[1])}"])
    monkeypatch.setattr(TinyRun, "run", whole)
    assert run(*arguments) == 0
    assert capsys.readouterr().out == "6 of 6 runs are recorded\n"


def test_files_that_are_no_records_are_named_and_block_their_runs(
    tiny: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / tiny[1]
    broken.parent.mkdir()
    broken.write_text("[]")
    assert run("record", NAME, "--jobs", "1", "--results", str(tmp_path)) == 1
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith(f"{tiny[1]} is no record of this package; it is left alone\n")
    assert error.endswith("fmlib: 4 of 6 runs are recorded; see fmlib status\n")
    assert broken.read_text() == "[]"


def rows(out: str) -> list[list[str]]:
    """The words of each line."""
    return [line.split() for line in out.splitlines()]


def test_status_counts_and_names(
    tiny: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("record", NAME, "--jobs", "1", "--results", str(tmp_path)) == 0
    (tmp_path / tiny[0]).write_text("[]")
    (tmp_path / tiny[2]).unlink()
    capsys.readouterr()
    for experiments in ([], ["all"], [NAME]):
        assert run("status", *experiments, "--results", str(tmp_path)) == 0
        out, error = capsys.readouterr()
        heading, counts, *named = rows(out)
        words = ["recorded", "missing", "waiting", "older", "unreadable", "outside"]
        assert heading == ["experiment", *words]
        assert counts == [NAME, "2", "1", "2", "0", "1", "2"]
        assert [line[0] for line in named] == [
            str(tiny[0]),
            *(
                str(path.relative_to(tmp_path))
                for path in sorted(tmp_path.rglob("second-seed-[02]*"))
            ),
        ]
        assert error == ""


def test_status_of_another_device_counts_only_its_records(
    tiny: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("record", NAME, "--jobs", "1", "--results", str(tmp_path)) == 0
    capsys.readouterr()
    assert run("status", "--device", "cuda", "--results", str(tmp_path)) == 0
    assert rows(capsys.readouterr().out)[1:] == [[NAME, "0", "3", "3", "0", "0", "0"]]


def test_status_of_no_experiment_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status", "cooking") == 2
    assert f"choose all or one of {', '.join(grids.EXPERIMENTS)}" in capsys.readouterr().err


def test_the_table_of_the_real_experiments_fits_a_narrow_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run("status", "--results", str(tmp_path)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(grids.EXPERIMENTS)
    assert max(map(len, lines)) <= 80


def test_claims_are_listed_with_their_verdicts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        cli.main(["claims", "exploration", "--results", str(tmp_path)])
    assert not ended.value.code
    shown = capsys.readouterr().out
    assert shown.count("inconclusive") == sum(c.chapter == "exploration" for c in CLAIMS)
    assert "t-SNE separates the classes better than PCA." in shown


def test_claims_of_a_chapter_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["claims", "maps"])
    assert ended.value.code == 2
    assert "chapter 'maps' does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("order", [(0.1, 0.2, 0.3), (0.3, 0.2, 0.1)])
def test_a_bar_is_full_in_whatever_order_work_is_done(order: tuple[float, ...]) -> None:
    """Of 0.1 + 0.2 + 0.3 the sum depends on the order, and tqdm warns of more than all."""
    with cli._bar("work", sum(cli._whole(amount) for amount in (0.3, 0.2, 0.1))) as bar:
        for amount in order:
            bar.update(cli._whole(amount))
        assert bar.n == bar.total == 600
