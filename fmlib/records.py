"""One JSON file per recorded run: what was run, what came out, and how it was made.

Files are written whole or not at all and validated when they are read; one that cannot be read
is named and left alone.  Means and intervals are computed from them whenever they are needed.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from fmlib.experiments.common import Result, RunConfig
from fmlib.experiments.grids import EXPERIMENTS

SCHEMA_VERSION = 1
RESULTS = Path(__file__).parent.parent / "results"

Config = TypeVar("Config", bound=RunConfig)
Outcome = TypeVar("Outcome", bound=Result)


class Provenance(BaseModel):
    """How and where a run was made; seconds are those of the run alone, data read before it.

    `processor` names the graphics card where one computed.  `clean_tree` says whether the code
    was that of the commit; both are None outside of a checkout.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    started: str
    wall_seconds: float
    cpu_seconds: float
    system: str
    processor: str
    versions: dict[str, str]
    dataset_sha256: str
    commit: str | None
    clean_tree: bool | None


class Record(BaseModel, Generic[Config, Outcome]):
    """One recorded run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION
    experiment: str
    config: Config
    result: Outcome
    provenance: Provenance

    @property
    def path(self) -> Path:
        """Where the record lies, below the folder of results."""
        return path_of(self.experiment, self.config)


def path_of(experiment: str, config: RunConfig) -> Path:
    """Where the record of a run lies, below the folder of results.

    The last part of its name is a hash of all settings that differ from their defaults.
    """
    settings = json.dumps(config.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
    return Path(experiment) / f"{config.label}-seed-{config.seed}-{digest}.json"


def _content_hash(content: dict[str, Any]) -> str:
    """SHA-256 of everything in a record but the hash itself."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, allow_nan=False).encode()).hexdigest()


def write(record: Record[Any, Any], results: Path = RESULTS) -> Path:
    """Write a record, whole or not at all.

    Raises:
        FileExistsError: there is such a file; records are never overwritten.
        ValueError: the result holds an undefined or infinite number, for which JSON has no word.
    """
    path = results / record.path
    if path.exists():
        raise FileExistsError(f"{path} exists; records are never overwritten")
    content = record.model_dump(mode="json")
    content["sha256"] = _content_hash(content)
    write_whole(path, _text(content))
    return path


def _text(content: dict[str, Any]) -> str:
    """The one way to write a record: a line for each of its parts."""
    lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def write_whole(path: Path, text: str) -> None:
    """Write a text whole or not at all; being killed leaves at most `.fmlib-PID.part` beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".fmlib-{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


class Unreadable(ValueError):
    """A file that is no record of ours, or no longer; the message says why."""


class Older(Unreadable):
    """A record of an older schema."""


def read(path: Path) -> Record[Any, Any]:
    """Read and check one record.

    Raises:
        Unreadable: it is no record, was edited, or does not lie under its own name.
        Older: it was written by an older version of this package.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
    except OSError as error:
        raise Unreadable(f"cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"is no JSON text ({error})") from error
    if not isinstance(content, dict) or content.get("experiment") not in tuple(EXPERIMENTS):
        raise Unreadable("is no record of this package")
    _check_version(content.get("schema_version"))
    try:
        whole = content.get("sha256") == _content_hash(content) and text == _text(content)
    except (ValueError, RecursionError):  # Python reads NaN, for which JSON has no word
        whole = False
    if not whole:
        raise Unreadable("was edited: its hash does not fit its content")
    del content["sha256"]
    kind = EXPERIMENTS[content["experiment"]]
    try:
        typed: Any = Record[kind.config, kind.result]  # type: ignore[name-defined]
        record: Record[Any, Any] = typed.model_validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise Unreadable(f"is not valid ({place}: {first['msg']})") from error
    if record.path != Path(*path.parts[-2:]):
        raise Unreadable(f"lies under a foreign name; its own is {record.path}")
    return record


def _check_version(version: object) -> None:
    if type(version) is not int or version > SCHEMA_VERSION:
        raise Unreadable(f"has schema {version!r}; this package reads schema {SCHEMA_VERSION}")
    if version < SCHEMA_VERSION:
        raise Older(f"has schema {version}, older than {SCHEMA_VERSION}")


class Found(NamedTuple):
    """The records of an experiment by path below the results' folder, and the other files."""

    records: dict[Path, Record[Any, Any]]
    older: dict[Path, str]
    unreadable: dict[Path, str]


def read_all(experiment: str, results: Path = RESULTS) -> Found:
    """Every record of an experiment, in the order of their names; the rest with its reason."""
    found = Found({}, {}, {})
    for path in sorted((results / experiment).glob("*.json")):
        try:
            found.records[path.relative_to(results)] = read(path)
        except Older as error:
            found.older[path.relative_to(results)] = str(error)
        except Unreadable as error:
            found.unreadable[path.relative_to(results)] = str(error)
    return found
