"""Audits: recorded runs are made again, and records are compared with each other.

What must agree depends on the arithmetic.  Dataset: the same, by checksum.  In float64: every
number of the result but times; whole numbers and words are equal, other numbers equal to 1e-9
of their size.  (Other machines agree to about 1e-12; one image classified otherwise moves an
accuracy by 1e-4 of its size.)  In float32 another machine rounds otherwise, and training
amplifies that: there the headline numbers lie in a band that is derived from other records.
"""

import fnmatch
import math
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from fmlib.recording import Failed
from fmlib.records import Record
from fmlib.stats import difference_limit, prediction_interval

AnyRecord = Record[Any, Any]

TIMES = "seconds"
RELATIVE, ABSOLUTE = 1e-9, 1e-12
SHOWN = 5
FEWEST_SEEDS, FEWEST_PAIRS = 3, 2
VARIED = {"seed", "threads", "rates", "skip_rate", "budget"}
"""Settings in which siblings may differ; all but the first two are the seed's cached run's."""

FURTHER_HEADLINES = ("test_accuracy",)
HEADLINES = {
    "caching": ("test_accuracy",),
    "caching_variants": ("test_accuracy",),
    "skipping": ("test_accuracy",),
    "adversarial_robustness": ("test_accuracy.*",),
    "feature_map_regularization": ("base.test", "after.test"),
    "exploration": ("neighbours.*", "nearest_centroid", "accuracies.test images, all.*"),
    "cache_stages": ("late.threshold.*",),
    "undefined_losses": ("trials.*.negative_share",),
    "map_ways": ("base.test", "trained.*.after.test"),
    "attacks": ("test_accuracy.*",),
    "embeddings": ("neighbours.*",),
    "early_exits": ("network", "exits.*.accuracy"),
    "cache_depth": ("test_accuracy",),
    "feature_evolution": ("accuracies.*",),
    "seeing": ("accuracies.*", "purity.*"),
    "inversion": ("accuracies.*",),
    "dissection": ("accuracies.*", "units.trained.*.significant"),
    "similarity": ("test_accuracies.*",),
    "similar_caches": ("test_accuracy", "skipped", "nearest"),
    "resnet_similarity": ("test_accuracies.*",),
    "large_pictures": ("accuracies.*",),
    "photographs": ("seen.*.probabilities.*",),
    "ablation": ("train_accuracy", "test_accuracy"),
    "transfer": ("features.*", "pixels.*", "scratch.*"),
    "overlaps": (),
}
"""Patterns of the numbers, 0 to 100, that float32 records of an experiment are judged by."""


class Band(NamedTuple):
    """Where a number is expected, and what says so."""

    low: float
    high: float
    basis: str


Verdict = Literal["same", "within", "no band", "unusual", "outside", "differs", "failed"]
BAD: tuple[Verdict, ...] = ("outside", "differs", "failed")


class Finding(NamedTuple):
    """What is said about one quantity of a record."""

    path: Path
    quantity: str
    recorded: object
    made: object
    band: Band | None
    verdict: Verdict


def choose(
    found: dict[Path, AnyRecord], names: list[str], sample: int | None, seed: int | None
) -> list[AnyRecord]:
    """Records of these names, and of them or of all a sample; two unless anything is given.

    Args:
        found: records by path.
        names: names of files, with or without folder or suffix, or shell patterns.
        sample: how many at most; those of a device that is not here are left out.
        seed: of the draw; None: another one each time.
    """
    if names:
        chosen = [r for path, r in found.items() if any(matches(path, name) for name in names)]
    else:
        here = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
        chosen = [record for record in found.values() if record.config.device in here]
        sample = 2 if sample is None else sample
    if sample is None or sample >= len(chosen):
        return chosen
    return random.Random(seed).sample(chosen, sample)


def matches(path: Path, name: str) -> bool:
    """Whether a name or shell pattern is that of a file, with or without folder or suffix."""
    known = str(path), str(path.with_suffix("")), path.name, path.stem
    return any(fnmatch.fnmatchcase(one, name) for one in known)


class Member(NamedTuple):
    """What is compared of a float32 record; `image` is what one test image weighs, in percent."""

    seed: int
    threads: int
    image: float
    values: dict[str, float]


Families = dict[str, list[Member]]
"""Records that differ only in the settings `VARIED`, by what they share."""


def group(records: Iterable[AnyRecord]) -> Families:
    """Records by family."""
    families: Families = {}
    for record in records:
        families.setdefault(_family(record), []).append(_member(record))
    return families


def _family(record: AnyRecord) -> str:
    return f"{record.experiment} {record.config.model_dump_json(exclude=VARIED)}"


def _member(record: AnyRecord) -> Member:
    config = record.config
    return Member(config.seed, config.threads, 100 / config.n_test, headline(record))


def compare(record: AnyRecord, made: AnyRecord | Failed, families: Families) -> list[Finding]:
    """What a new run says about a record, and what records of other seeds say about it."""
    if isinstance(made, Failed):
        return [Finding(record.path, made.reason, None, None, None, "failed")]
    before, after = numbers(record), numbers(made)
    differing = [key for key in before | after if not _agree(before.get(key), after.get(key))]
    found = []
    if record.config.precision == "float32":
        differing = [key for key in differing if key == "dataset"]
        found = [_within(record, key, after.get(key), families) for key in headline(record)]
    elif not differing:
        found = [Finding(record.path, f"{len(before)} values", None, None, None, "same")]
    for key in differing[:SHOWN]:
        values = before.get(key), after.get(key)
        found.append(Finding(record.path, key, *values, None, "differs"))
    if rest := differing[SHOWN:]:
        found.append(Finding(record.path, f"{len(rest)} more", None, None, None, "differs"))
    return found + unusual([record], families)


def numbers(record: AnyRecord) -> dict[str, object]:
    """Every number and word of a result but times, by its place, and the dataset's checksum."""
    content = {"dataset": record.provenance.dataset_sha256, **record.result.model_dump(mode="json")}
    return dict(_leaves(content))


def _leaves(value: object, place: tuple[str, ...] = ()) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, part in value.items():
            if key != TIMES:
                yield from _leaves(part, (*place, str(key)))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _leaves(part, (*place, str(number)))
    else:
        yield ".".join(place), value


def _agree(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return one == other


def headline(record: AnyRecord) -> dict[str, float]:
    """The numbers that a float32 record is judged by, mostly final accuracies on test images."""
    patterns = HEADLINES.get(record.experiment, FURTHER_HEADLINES)
    return {
        key: value
        for key, value in numbers(record).items()
        if isinstance(value, float) and any(fnmatch.fnmatchcase(key, one) for one in patterns)
    }


def unusual(records: Iterable[AnyRecord], families: Families) -> list[Finding]:
    """Headline numbers outside the band of other seeds; they may be honest."""
    found = []
    for record in records:
        member = _member(record)
        for key, value in member.values.items():
            band = by_seeds(member, key, families[_family(record)])
            if band is not None and not band.low <= value <= band.high:
                found.append(Finding(record.path, key, value, None, band, "unusual"))
    return found


def _within(record: AnyRecord, key: str, made: object, families: Families) -> Finding:
    member, family = _member(record), families[_family(record)]
    bands = [way(member, key, family) for way in (by_seeds, by_rounding)]
    band = min(filter(None, bands), key=lambda band: band.high - band.low, default=None)
    verdict: Verdict = "no band"
    if member.values[key] == made:
        verdict = "same"
    elif not isinstance(made, float):
        verdict = "differs"
    elif band is not None:
        verdict = "within" if band.low <= made <= band.high else "outside"
    return Finding(record.path, key, member.values[key], made, band, verdict)


def by_seeds(member: Member, key: str, family: list[Member]) -> Band | None:
    """Prediction interval (99.9 %) for one further seed; None with fewer than three others.

    Every other seed counts once, with as many threads as the member where there is a choice.
    The band reaches at least one test image beyond the values.
    """
    others = [other for other in family if other.seed != member.seed and key in other.values]
    others.sort(key=lambda other: other.threads == member.threads)
    values = list({other.seed: other.values[key] for other in others}.values())
    if len(values) < FEWEST_SEEDS:
        return None
    low, high = prediction_interval(values)
    low, high = min(low, min(values) - member.image), max(high, max(values) + member.image)
    return Band(max(low, 0), min(high, 100), f"{len(values)} other seeds")


def by_rounding(member: Member, key: str, family: list[Member]) -> Band | None:
    """How far rounding alone takes a number (99.9 %); None with fewer than two pairs.

    A pair are two records of one other seed with different numbers of threads, which differ in
    nothing but the order in which sums are rounded.  The band is at least one test image wide
    to each side of the recorded number.
    """
    by_seed: dict[int, dict[int, float]] = {}
    for other in family:
        if other.seed != member.seed and key in other.values:
            by_seed.setdefault(other.seed, {})[other.threads] = other.values[key]
    pairs = [list(values.values())[:2] for values in by_seed.values() if len(values) > 1]
    if len(pairs) < FEWEST_PAIRS:
        return None
    differences = [one - other for one, other in pairs]
    half = max(difference_limit(differences), member.image)
    middle = member.values[key]
    return Band(middle - half, middle + half, f"{len(differences)} pairs of threads")
