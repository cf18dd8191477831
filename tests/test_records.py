"""Records: one file per run, whole or not at all, and nothing else is taken for one."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fmlib import records
from fmlib.caching import RELEASED
from fmlib.experiments import grids
from fmlib.experiments.caching import CachingRun, Run
from fmlib.records import Provenance, Record, path_of, read, read_all, write
from fmlib.training import Divergence, EpochResult, History
from tests.tiny_experiment import NAME, TinyResult, TinyRun, experiment

PROVENANCE = Provenance(
    started="2022-04-15T12:00:00+00:00",
    wall_seconds=1.5,
    cpu_seconds=1.0,
    system="Linux",
    processor="a processor",
    versions={"python": "3.11.7"},
    dataset_sha256="0" * 64,
    commit=None,
    clean_tree=None,
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny experiment is one of those there are."""
    monkeypatch.setitem(grids.EXPERIMENTS, NAME, experiment())


def record_of(seed: int = 0, accuracy: float = 90.5) -> Record[TinyRun, TinyResult]:
    """A record of the tiny experiment."""
    return Record[TinyRun, TinyResult](
        experiment=NAME,
        config=TinyRun(seed=seed),
        result=TinyResult(test_accuracy=accuracy, losses=(0.1, 2.0, 1e-300), seconds=0.25),
        provenance=PROVENANCE,
    )


def test_names_are_the_labels_seed_and_settings_and_never_change() -> None:
    """Files recorded once are found for ever; these two names were given by the first version."""
    plain = CachingRun(dataset="mnist", n_train=60_000, batch_size=4096, condition="plain", seed=0)
    cached = plain.model_copy(update={"condition": "cached", "cache": RELEASED})
    folder = Path("caching")
    assert path_of("caching", plain) == folder / "mnist-60000-batch-4096-plain-seed-0-8721cf3a.json"
    assert (
        path_of("caching", cached) == folder / "mnist-60000-batch-4096-cached-seed-0-49d72e91.json"
    )


def test_every_committed_record_is_still_read() -> None:
    found = [read_all(name) for name in grids.EXPERIMENTS]
    assert [(one.older, one.unreadable) for one in found] == [({}, {})] * len(found)
    assert sum(len(one.records) for one in found) == len(list(records.RESULTS.glob("*/*")))


def test_every_setting_that_is_not_its_default_changes_the_name() -> None:
    names = [
        path_of(NAME, TinyRun.model_validate({"seed": 0, **values}))
        for values in (
            *({}, {"threads": 2}, {"device": "cuda"}, {"learning_rate": 0.1}, {"n_test": 5}),
            *({"precision": "float32"}, {"accuracy": 0.1}, {"accuracy": math.nextafter(0.1, 1)}),
        )
    ]
    assert len(set(names)) == len(names)
    assert path_of(NAME, TinyRun(seed=0, threads=1)) == names[0]


def test_a_file_has_a_line_for_each_part_and_typed_numbers(tmp_path: Path) -> None:
    path = write(record_of(), tmp_path)
    assert path == tmp_path / record_of().path
    lines = path.read_text().splitlines()
    keys = ["schema_version", "experiment", "config", "result", "provenance", "sha256"]
    assert [line.split('"')[1] for line in lines[1:-1]] == keys
    assert lines[4] == (
        '"result": {"test_accuracy": 90.5, "losses": [0.1, 2.0, 1e-300], "seconds": 0.25},'
    )


def test_a_record_is_never_overwritten(tmp_path: Path) -> None:
    path = write(record_of(), tmp_path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"seed-0-\w+.json exists; records are never overw"):
        write(record_of(accuracy=1.0), tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_without_a_word_in_json_are_refused(value: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(record_of(accuracy=value), tmp_path)
    assert list(tmp_path.rglob("*")) == []


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        write(record_of(), tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# --- what is written is read ---------------------------------------------------------------

number = st.floats(allow_nan=False, allow_infinity=False)
count = st.integers(0, 10**12)
counts = st.lists(count, max_size=3).map(tuple)
epoch = st.builds(
    EpochResult,
    epoch=count,
    loss=st.none() | number,
    test_accuracy=st.none() | number,
    seen=count,
    trained=count,
    seen_per_class=counts,
    skipped_per_class=counts,
    steps=count,
    seconds=number,
    policy=st.dictionaries(st.text(), st.lists(st.none() | number, max_size=3), max_size=2),
)
history = st.builds(
    History,
    epochs=st.lists(epoch, max_size=2).map(tuple),
    divergence=st.none() | st.builds(Divergence, epoch=count, step=count, loss=st.text()),
)
caching_record = st.builds(
    Record[CachingRun, Run],
    experiment=st.just("caching"),
    config=st.builds(
        CachingRun,
        dataset=st.sampled_from(["mnist", "fashion-mnist", "cifar10"]),
        n_train=st.integers(1, 10**6),
        learning_rate=st.floats(1e-300, 1e300),
        seed=count,
        precision=st.sampled_from(["float32", "float64"]),
        batch_size=st.integers(1, 10**6),
        condition=st.just("random"),
        rates=st.none() | st.lists(st.lists(number).map(tuple), max_size=3).map(tuple),
    ),
    result=st.builds(Run, history=history, train_accuracy=st.none() | number, test_accuracy=number),
    provenance=st.builds(
        Provenance,
        **{name: st.text() for name in ("started", "system", "processor", "dataset_sha256")},
        wall_seconds=number,
        cpu_seconds=number,
        versions=st.dictionaries(st.text(), st.text(), max_size=3),
        commit=st.none() | st.text(),
        clean_tree=st.none() | st.booleans(),
    ),
)


@given(record=caching_record)
@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_read_is_what_was_written(record: Record[Any, Any], tmp_path: Path) -> None:
    path = write(record, tmp_path)
    found = read(path)
    path.unlink()
    assert found == record
    assert found.model_dump_json() == record.model_dump_json()  # also -0.0, and 1 against 1.0


# --- what is no record ---------------------------------------------------------------------


def test_every_edit_of_one_character_is_noticed(tmp_path: Path) -> None:
    path = write(record_of(), tmp_path)
    text = path.read_text()
    assert read(path) == record_of()
    for place, character in enumerate(text):
        for other in {"", "7", character + "0"} - {character}:
            path.write_text(text[:place] + other + text[place + 1 :])
            with pytest.raises(records.Unreadable):
                read(path)


def content_of(path: Path) -> dict[str, Any]:
    """The file's parts but for the hash."""
    content: dict[str, Any] = json.loads(path.read_text())
    del content["sha256"]
    return content


def sign(path: Path, content: dict[str, Any]) -> None:
    """Write parts with the hash that fits them."""
    path.write_text(records._text(content | {"sha256": records._content_hash(content)}))


@pytest.mark.parametrize(
    ("part", "value", "reason"),
    [
        ("schema_version", 2, "has schema 2; this package reads schema 1"),
        ("schema_version", "1", "has schema '1'; this package reads schema 1"),
        ("schema_version", True, "has schema True; this package reads schema 1"),
        ("schema_version", None, "has schema None; this package reads schema 1"),
        ("experiment", "cooking", "is no record of this package"),
        ("experiment", ["tiny"], "is no record of this package"),
        ("experiment", None, "is no record of this package"),
        ("experiment", "caching", "is not valid (config.batch_size: Field required)"),
        ("config", {"seed": 0, "threads": 0}, "is not valid (config.threads: Input should be gre"),
        ("config", {"seed": 0.0}, "is not valid (config.seed: Input should be a valid integer"),
        ("config", {"seed": 0, "colour": 1}, "is not valid (config.colour: Extra inputs"),
        ("config", {"seed": 1}, "lies under a foreign name; its own is tiny/first-seed-1-"),
        ("result", {}, "is not valid (result.test_accuracy: Field required)"),
        ("provenance", None, "is not valid (provenance: Input should be an object)"),
        ("colour", 1, "is not valid (colour: Extra inputs are not permitted)"),
    ],
)
def test_a_signed_file_is_no_record_if_its_parts_are_not(
    part: str, value: object, reason: str, tmp_path: Path
) -> None:
    path = write(record_of(), tmp_path)
    sign(path, content_of(path) | {part: value})
    with pytest.raises(records.Unreadable) as caught:
        read(path)
    assert str(caught.value).startswith(reason)
    assert not isinstance(caught.value, records.Older)


def test_an_older_schema_is_told_apart(tmp_path: Path) -> None:
    path = write(record_of(), tmp_path)
    sign(path, content_of(path) | {"schema_version": 0})
    with pytest.raises(records.Older, match="has schema 0, older than 1"):
        read(path)


FOREIGN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is no JSON text"),
    "truncated": (b'{"schema_version": 1, "experi', "is no JSON text"),
    "binary": (b"\x80\x04\x95\xff\x00", "is no JSON text"),
    "list": (b"[1, 2]", "is no record of this package"),
    "number": (b"1", "is no record of this package"),
    "another": (b'{"name": "package", "version": 1}', "is no record of this package"),
    "bottomless": (b"[" * 100_000, "is no JSON text"),
    "undefined": (
        b'{"schema_version": 1, "experiment": "tiny", "result": NaN, "sha256": ""}',
        "was edited: its hash does not fit its content",
    ),
    "unsigned": (
        b'{"schema_version": 1, "experiment": "tiny"}',
        "was edited: its hash does not fit its content",
    ),
}


def put_foreign_files(folder: Path) -> dict[Path, bytes]:
    """One file of each kind, and what is in them."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {folder / f"{name}.json": content for name, (content, _) in FOREIGN.items()}
    for path, content in files.items():
        path.write_bytes(content)
    return files


def test_foreign_files_are_named_with_a_reason_and_left_alone(tmp_path: Path) -> None:
    own = write(record_of(), tmp_path)
    files = put_foreign_files(tmp_path / NAME)
    (tmp_path / NAME / "folder.json").mkdir()
    (tmp_path / NAME / "nowhere.json").symlink_to("nowhere")
    found = read_all(NAME, tmp_path)
    assert found.records == {own.relative_to(tmp_path): record_of()}
    assert found.older == {}
    reasons = {path.stem: reason for path, reason in found.unreadable.items()}
    assert reasons.pop("folder") == "cannot be read (Is a directory)"
    assert reasons.pop("nowhere") == "cannot be read (No such file or directory)"
    assert reasons.keys() == FOREIGN.keys()
    for name, (_, reason) in FOREIGN.items():
        assert reasons[name].startswith(reason)
    assert {path: path.read_bytes() for path in files} == files


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    path = write(record_of(), tmp_path)
    monkeypatch.setattr(Path, "read_text", refuse)
    found = read_all(NAME, tmp_path)
    assert found.unreadable == {path.relative_to(tmp_path): "cannot be read (Permission denied)"}


@pytest.mark.parametrize(
    "place", ["tiny/other.json", "caching/{name}", "tiny/first-seed-0-00000000.json"]
)
def test_a_record_elsewhere_is_none(place: str, tmp_path: Path) -> None:
    path = write(record_of(), tmp_path)
    moved = tmp_path / place.format(name=path.name)
    moved.parent.mkdir(exist_ok=True)
    path.rename(moved)
    [(found, reason)] = read_all(moved.parent.name, tmp_path).unreadable.items()
    assert found == moved.relative_to(tmp_path)
    assert reason == f"lies under a foreign name; its own is {record_of().path}"


def test_what_a_killed_process_leaves_is_not_looked_at(tmp_path: Path) -> None:
    path = write(record_of(), tmp_path)
    path.rename(path.with_name(".fmlib-1.part"))
    assert read_all(NAME, tmp_path) == ({}, {}, {})


def test_an_experiment_without_a_folder_has_no_records(tmp_path: Path) -> None:
    assert read_all(NAME, tmp_path) == ({}, {}, {})
