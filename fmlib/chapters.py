"""The book's chapters: their settings, and the one way to run a notebook."""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from fmlib import claims, evidence_tables
from fmlib.experiments.adversarial_robustness import RobustnessSettings
from fmlib.experiments.caching import CachingSettings
from fmlib.experiments.common import PROFILES, Settings
from fmlib.experiments.dissection import InversionSettings
from fmlib.experiments.exploration import ExplorationSettings
from fmlib.experiments.feature_evolution import EvolutionSettings
from fmlib.experiments.feature_map_regularization import RegularizationSettings
from fmlib.experiments.seeing import SeeingSettings
from fmlib.experiments.similarity import SimilaritySettings
from fmlib.experiments.transfer import TransferSettings
from fmlib.records import write_whole

BOOK = Path(__file__).parent.parent / "book"


class Chapter(NamedTuple):
    """A notebook of the book and the class of its settings."""

    notebook: str
    settings: type[Settings]

    @property
    def path(self) -> Path:
        """The committed notebook."""
        return BOOK / self.notebook

    @property
    def profiles(self) -> dict[str, dict[str, object]]:
        """Every setting's value in each profile."""
        return {name: self.settings.profile(name) for name in PROFILES}


CHAPTERS = {
    "exploration": Chapter("01_exploration.ipynb", ExplorationSettings),
    "caching": Chapter("02_caching.ipynb", CachingSettings),
    "feature_map_regularization": Chapter(
        "03_feature_map_regularization.ipynb", RegularizationSettings
    ),
    "adversarial_robustness": Chapter("04_adversarial_robustness.ipynb", RobustnessSettings),
    "feature_evolution": Chapter("05_feature_evolution.ipynb", EvolutionSettings),
    "what_feature_maps_see": Chapter("06_what_feature_maps_see.ipynb", SeeingSettings),
    "inversion_and_dissection": Chapter("07_inversion_and_dissection.ipynb", InversionSettings),
    "ablation_and_transfer": Chapter("08_ablation_and_transfer.ipynb", TransferSettings),
    "convolutional_similarity": Chapter("09_convolutional_similarity.ipynb", SimilaritySettings),
}


PAGES = {
    "what_we_found": "what_we_found.ipynb",
    "claims": "claims.ipynb",
    "provenance": "provenance.ipynb",
    "use_it": "use_it.ipynb",
}
"""Notebooks without parameters: what the records say, their making, and a loop of one's own."""


class ChapterError(Exception):
    """A chapter could not be run; the message is one sentence for its user."""


def chapter(name: str) -> Chapter:
    """The chapter of that name, or ValueError with the names there are."""
    if name not in CHAPTERS:
        raise ValueError(f"chapter {name!r} does not exist; choose one of {', '.join(CHAPTERS)}")
    return CHAPTERS[name]


def settings(name: str, /, profile: str = "quick", **parameters: object) -> Any:
    """A chapter's settings: the profile's values, replaced where a parameter is not None.

    Args:
        name: chapter, such as `caching`.
        profile: `smoke` (tests), `quick` (the committed book) or `paper` (the paper's sizes).
        parameters: values by name; None stands for the profile's value.

    Returns:
        The chapter's frozen settings, checked against the dataset.

    Raises:
        ValueError: an unknown chapter, profile or parameter, a value of the wrong type or
            out of range, a layer or class that does not exist.
        FileNotFoundError: a dataset that is not there.
    """
    chosen = chapter(name)
    if profile not in tuple(chosen.profiles):  # a tuple, since a given value may be a list
        raise ValueError(
            f"profile {profile!r} does not exist; choose one of {', '.join(chosen.profiles)}"
        )
    known = chosen.settings.model_fields
    if unknown := [key for key in parameters if key not in known]:
        raise ValueError(
            f"chapter {name} has no parameter {', '.join(map(repr, unknown))}; it has profile, "
            f"{', '.join(known)}"
        )
    given = {key: value for key, value in parameters.items() if value is not None}
    try:
        return chosen.settings.model_validate({**chosen.profiles[profile], **given}).check()
    except ValidationError as error:
        first = {e["loc"][:1]: e for e in reversed(error.errors())}
        raise ValueError("; ".join(map(_sentence, reversed(first.values())))) from None


def _sentence(error: Any) -> str:
    """One of pydantic's findings in words: parameter, value, what is possible."""
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return str(message)
    name = ".".join(map(str, error["loc"]))
    return f"{name} is {error['input']!r}: {message[0].lower()}{message[1:]}"


class Parameter(NamedTuple):
    """A parameter of a chapter: its type, its value in the profile `quick`, its meaning."""

    name: str
    type: str
    default: object
    meaning: str


def parameters(name: str) -> list[Parameter]:
    """A chapter's parameters, as `fmlib run --list` shows them."""
    profiles = chapter(name).profiles
    rows = [Parameter("profile", "str", "quick", f"set of values: {', '.join(profiles)}")]
    for field, info in chapter(name).settings.model_fields.items():
        default = profiles["quick"][field]
        kind = {tuple: "list", type(None): "str"}.get(type(default), type(default).__name__)
        rows.append(Parameter(field, kind, default, info.description or ""))
    return rows


def execute(name: str, given: Mapping[str, object], out: Path) -> None:
    """Run a chapter's notebook with parameters and write it to `out`, whole or not at all.

    Args:
        name: chapter.
        given: parameters by name; they are checked before anything starts.
        out: where the executed notebook goes; its folder is made if it is missing.

    Raises:
        ValueError, FileNotFoundError: as `settings`.
        ChapterError: the notebook cannot be read or written, or a cell failed; then the
            notebook up to that cell lies beside `out` as `NAME.failed.ipynb`.
    """
    source = _checked(name, given)
    if not source.is_file():
        raise ChapterError(f"{source} does not exist; fmlib runs chapters from a checkout")
    failed = out.parent / f"{out.stem}.failed.ipynb"
    with _writing(out):  # what cannot be written is refused before the run rather than after it
        if any(path.exists() and not path.is_file() for path in (out, failed)):
            raise ChapterError(f"{out} is a folder or device; name the notebook to be written")
        out.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out.parent).close()
    with tempfile.TemporaryDirectory(prefix="fmlib-") as folder:
        draft = Path(folder) / "draft.ipynb"
        try:
            _execute(source, draft, given)
        except _CellFailed as error:
            _write(failed, draft.read_text(encoding="utf-8"))
            raise ChapterError(f"{error} (see {failed})") from error
        scrub(draft)
        _write(out, draft.read_text(encoding="utf-8"))


def _checked(name: str, given: Mapping[str, object]) -> Path:
    """The notebook of a chapter or page, if it takes these parameters."""
    if name in PAGES:
        if given:
            raise ValueError(f"{name} has no parameters; it was given {', '.join(given)}")
        return BOOK / PAGES[name]
    settings(name, **{"profile": "quick", **given})  # type: ignore[arg-type]
    return chapter(name).path


def _write(path: Path, text: str) -> None:
    with _writing(path):
        write_whole(path, text)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ChapterError(f"{path} cannot be written ({error.strerror})") from error


class _CellFailed(Exception):
    """A cell of a notebook raised; the message is the exception's kind and text."""


# Else warnings of the notebook's process go to the user's terminal: ipykernel's, and those of
# tornado about sockets that ipykernel has closed already when it ends.
_QUIET = [
    "--log-level=CRITICAL",
    "--IPKernelApp.exec_lines=__import__('logging').getLogger('tornado').setLevel('CRITICAL')",
]


def _execute(source: Path, draft: Path, given: Mapping[str, object]) -> None:
    # Imported here: every chapter imports this module, and none of them needs papermill.
    import papermill
    from papermill.exceptions import PapermillExecutionError

    try:
        papermill.execute_notebook(
            source,
            draft,
            parameters=dict(given),
            kernel_name="python3",
            progress_bar=False,
            request_save_on_cell_execute=False,
            extra_arguments=_QUIET,
        )
    except PapermillExecutionError as error:
        raise _CellFailed(f"{error.ename}: {error.evalue}") from error
    except RuntimeError as error:  # of nbclient
        reason = "the chapter's process died, perhaps for want of memory"
        raise ChapterError(f"{reason} ({error})") from error


def scrub(path: Path) -> None:
    """Remove from an executed notebook what differs from run to run though no result does."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["metadata"].pop("papermill", None)
    language = notebook["metadata"].get("language_info", {})
    notebook["metadata"]["language_info"] = {
        key: value for key, value in language.items() if key in ("name", "pygments_lexer")
    }
    for number, cell in enumerate(notebook["cells"]):
        cell["id"] = f"cell-{number}"
        for key in ("papermill", "execution"):
            cell["metadata"].pop(key, None)
        if "outputs" in cell:
            cell["outputs"] = _joined(cell["outputs"])
        if not cell["metadata"].get("tags", True):
            del cell["metadata"]["tags"]
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")


def _joined(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Outputs with what was printed in a row in one: in how many parts it came depends on time."""
    joined: list[dict[str, Any]] = []
    for output in outputs:
        if joined and "name" in output and output["name"] == joined[-1].get("name"):
            joined[-1]["text"] = [*joined[-1]["text"], *output["text"]]
        else:
            joined.append(output)
    return joined


README = BOOK.parent / "README.md"
_HEADLINE = ("<!-- headline: written by `make chapters` -->\n", "<!-- end of headline -->\n")


def headline() -> str:
    """The verdicts on all claims: by paper how many of each, and one Markdown table."""
    judged = claims.judge()
    parts = []
    for paper in claims.PAPERS:
        own = [one for one in judged if one.claim.paper == paper]
        table = evidence_tables.verdicts(own)
        rows = str(table.to_markdown(index=False, disable_numparse=True)).splitlines()
        narrow = (re.sub(r"(?<=\| ) +| +(?= \|)|-(?=-{3})", "", row) for row in rows)
        parts += [f"**{paper}.** {evidence_tables.tally(own)}", "", *narrow, ""]
    return "\n".join(parts)


def write_headline() -> None:
    """Renew the README's table of verdicts."""
    start, end = _HEADLINE
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(start)
    after = rest.split(end)[1]
    _write(README, f"{before}{start}\n{headline()}\n{end}{after}")
