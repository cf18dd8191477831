"""Audits: what is compared, with what band, and that an altered record is found."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fmlib import auditing, recording, records
from fmlib.auditing import Member, by_rounding, by_seeds, choose, compare, group, matches, unusual
from fmlib.data import SHOWN_CLASSES
from fmlib.experiments import caching, grids
from fmlib.experiments.ablation import AblationRun
from fmlib.experiments.adversarial_robustness import AttacksRun, RobustnessRun
from fmlib.experiments.depth import DepthRun, ExitsRun
from fmlib.experiments.dissection import DissectionRun
from fmlib.experiments.exploration import EmbeddingsRun, ExplorationRun
from fmlib.experiments.feature_evolution import EvolutionRun
from fmlib.experiments.feature_map_regularization import MODELS, MapRun, UndefinedLossRun, WaysRun
from fmlib.experiments.inversion import InversionRun
from fmlib.experiments.large_pictures import PicturesRun
from fmlib.experiments.seeing import SeeingRun
from fmlib.experiments.similarity import CachedRun, ResNetRun, SimilarityRun
from fmlib.experiments.skipping import SkippingRun
from fmlib.experiments.transfer import OverlapsRun, TransferRun
from fmlib.records import Record
from fmlib.training import History
from tests import tiny_experiment
from tests.test_cli import run
from tests.test_records import PROVENANCE, content_of, record_of, sign
from tests.tiny_experiment import NAME, TinyResult, TinyRun

AnyRecord = Record[Any, Any]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny experiment is one of those there are."""
    monkeypatch.setitem(grids.EXPERIMENTS, NAME, tiny_experiment.experiment())


def changed(record: AnyRecord, **values: object) -> AnyRecord:
    """A record with other values in its result."""
    return record.model_copy(update={"result": record.result.model_copy(update=values)})


def single(accuracy: float, seed: int = 0, **values: object) -> AnyRecord:
    """A float32 record."""
    usual = {"seed": seed, "precision": "float32", "n_test": 1000}
    config = TinyRun.model_validate(usual | values)
    return Record[TinyRun, TinyResult](
        experiment=NAME,
        config=config,
        result=TinyResult(test_accuracy=accuracy, losses=(1.0,), seconds=1.0),
        provenance=PROVENANCE,
    )


# --- float64: every number -------------------------------------------------------------------


def test_numbers_are_all_but_times_and_the_dataset() -> None:
    assert auditing.numbers(record_of()) == {
        "dataset": "0" * 64,
        "test_accuracy": 90.5,
        "losses.0": 0.1,
        "losses.1": 2.0,
        "losses.2": 1e-300,
    }


def test_times_are_left_out_wherever_they_stand() -> None:
    config = caching.CachingRun(
        dataset="mnist", n_train=20, n_test=20, batch_size=10, condition="plain", seed=0, epochs=2
    )
    made = recording.make(recording.Planned("caching", config), recording.Code(None, None))
    names = auditing.numbers(made)
    assert not any("seconds" in name for name in names)
    expected = {"history.epochs.1.loss", "history.epochs.0.seen_per_class.9", "test_accuracy"}
    assert expected <= names.keys()


@pytest.mark.parametrize(
    ("values", "differing"),
    [
        ({}, []),
        ({"seconds": 99.0}, []),
        ({"test_accuracy": 90.5 * (1 + 1e-10)}, []),
        ({"test_accuracy": 90.5 * (1 + 1e-8)}, ["test_accuracy"]),
        ({"test_accuracy": 90.51}, ["test_accuracy"]),
        ({"losses": (0.1, 2.0, 0.0)}, []),
        ({"losses": (0.1, 2.0 + 1e-8, 1e-300)}, ["losses.1"]),
        ({"losses": (0.1, 2.0)}, ["losses.2"]),
        ({"losses": (0.1, 2.0, 1e-300, 5.0)}, ["losses.3"]),
    ],
)
def test_a_float64_record_must_agree_in_every_number(
    values: dict[str, object], differing: list[str]
) -> None:
    record = record_of()
    found = compare(record, changed(record, **values), group([record]))
    if differing:
        assert [(one.quantity, one.verdict) for one in found] == [(differing[0], "differs")]
    else:
        assert [(one.quantity, one.verdict) for one in found] == [("5 values", "same")]
    assert all(one.path == record.path for one in found)


def test_counts_and_words_must_be_equal() -> None:
    assert auditing._agree(3, 3)
    assert not auditing._agree(10**12, 10**12 + 1)
    assert auditing._agree("nan", "nan")
    assert not auditing._agree(None, 0.0)
    assert not auditing._agree(0.0, None)


def test_many_differences_are_counted() -> None:
    record = changed(record_of(), losses=tuple(map(float, range(8))))
    made = changed(record, losses=tuple(map(float, range(1, 9))))
    found = compare(record, made, group([record]))
    assert [one.quantity for one in found] == [*(f"losses.{n}" for n in range(5)), "3 more"]
    assert (found[0].recorded, found[0].made) == (0.0, 1.0)


def test_other_data_is_a_difference() -> None:
    for record in (record_of(), single(90.0)):
        other = PROVENANCE.model_copy(update={"dataset_sha256": "1" * 64})
        made = record.model_copy(update={"provenance": other})
        bad = [one for one in compare(record, made, group([record])) if one.verdict == "differs"]
        assert [(one.quantity, one.made) for one in bad] == [("dataset", "1" * 64)]


def test_a_run_that_fails_confirms_nothing() -> None:
    failed = recording.Failed(recording.Planned(NAME, TinyRun(seed=0)), "ValueError: no")
    [found] = compare(record_of(), failed, {})
    assert (found.quantity, found.verdict) == ("ValueError: no", "failed")


# --- float32: bands --------------------------------------------------------------------------


def members(*values: float, threads: int = 1, image: float = 0.01) -> list[Member]:
    """One member for each value, with seeds from 0."""
    return [Member(seed, threads, image, {"a": value}) for seed, value in enumerate(values)]


def test_a_band_of_seeds_by_hand() -> None:
    """Student's t with 3 degrees of freedom is 12.924 at 0.9995; s of 90 .. 93 is sqrt(5/3)."""
    family = members(95, 90, 91, 92, 93)
    band = by_seeds(family[0], "a", family)
    assert band is not None
    half = 12.924 * math.sqrt(5 / 3) * math.sqrt(1 + 1 / 4)
    assert band.low == pytest.approx(91.5 - half, rel=1e-4)
    assert band.high == 100  # no accuracy is higher
    assert band.basis == "4 other seeds"


def test_a_band_needs_three_other_seeds() -> None:
    assert by_seeds(members(1, 2, 3)[0], "a", members(1, 2, 3)) is None
    assert by_seeds(members(1, 2, 3, 4)[0], "a", members(1, 2, 3, 4)) is not None


def test_equal_seeds_leave_a_band_of_one_image() -> None:
    family = members(50, 50, 50, 50, image=0.5)
    band = by_seeds(family[0], "a", family)
    assert band == (49.5, 50.5, "3 other seeds")


def test_each_seed_counts_once_with_the_same_threads() -> None:
    one, two = members(10, 20, 30, 40), members(11, 21, 31, 41, threads=2)
    expected = by_seeds(one[0], "a", one)
    assert by_seeds(one[0], "a", one + two) == expected
    assert by_seeds(one[0], "a", two + one) == expected
    assert by_seeds(two[0], "a", two + one) == by_seeds(two[0], "a", two)


def test_a_band_of_rounding_by_hand() -> None:
    """Differences 3 and 4: t with 2 degrees of freedom, 31.599, times sqrt(12.5) around 60."""
    one, two = members(60, 53, 54), members(99, 50, 50, threads=2)
    band = by_rounding(one[0], "a", one + two)
    assert band is not None
    half = 31.599 * math.sqrt(12.5)
    assert (band.low, band.high) == pytest.approx((60 - half, 60 + half), rel=1e-4)
    assert band.basis == "2 pairs of threads"


def test_a_band_of_rounding_needs_two_pairs_of_other_seeds() -> None:
    one, two = members(60, 53, 54), members(99, 50, threads=2)
    assert by_rounding(one[0], "a", one + two) is None
    assert by_rounding(one[2], "a", one + two) is not None


def test_equal_threads_are_no_pair() -> None:
    one = members(60, 53, 54)
    assert by_rounding(one[0], "a", one + members(60, 50, 50)) is None


def test_equal_pairs_leave_a_band_of_one_image() -> None:
    one, two = members(60, 53, 54, image=1), members(60, 53, 54, threads=2, image=1)
    assert by_rounding(one[0], "a", one + two) == (59, 61, "2 pairs of threads")


@pytest.mark.parametrize(
    ("made", "verdict"),
    [(90.0, "same"), (90.4, "within"), (89.0, "within"), (60.0, "outside"), (None, "differs")],
)
def test_a_float32_record_must_lie_in_the_band(made: float | None, verdict: str) -> None:
    others = [single(90.0 + seed / 10, seed) for seed in range(5)]
    again = single(90.0) if made is None else single(made)
    if made is None:
        again = changed(again, test_accuracy=None)
    [found] = compare(others[0], again, group(others))
    assert (found.quantity, found.recorded, found.made) == ("test_accuracy", 90.0, made)
    assert found.verdict == verdict
    assert (verdict in auditing.BAD) == (verdict in ("outside", "differs"))


def test_the_narrower_band_is_taken() -> None:
    seeds = [single(90.0 + 5 * seed, seed) for seed in range(2)]
    seeds += [single(80.0 - seed, seed) for seed in range(2, 6)]
    [found] = compare(seeds[0], single(91.0), group(seeds))
    assert found.band is not None
    assert found.band.basis == "5 other seeds"
    pairs = [changed(one, test_accuracy=one.result.test_accuracy + 0.01) for one in seeds]
    pairs = [
        one.model_copy(update={"config": one.config.model_copy(update={"threads": 2})})
        for one in pairs
    ]
    [found] = compare(seeds[0], single(91.0), group(seeds + pairs))
    assert found.band is not None
    assert found.band.basis == "5 pairs of threads"
    assert found.verdict == "outside"


@pytest.mark.parametrize(
    "other", [{"n_train": 5}, {"learning_rate": 0.1}, {"device": "cuda"}, {"precision": "float64"}]
)
def test_records_that_differ_in_more_than_the_seed_are_no_family(other: dict[str, object]) -> None:
    record = single(90.0)
    others = [single(90.0, seed, **other) for seed in range(1, 6)]
    [found] = compare(record, single(91.0), group([record, *others]))
    assert (found.band, found.verdict) == (None, "no band")
    assert found.verdict not in auditing.BAD


def test_rates_of_random_skipping_do_not_separate_seeds() -> None:
    runs = [
        caching.CachingRun(
            dataset="mnist", n_train=9, batch_size=3, condition="random", seed=s, rates=((s / 9,),)
        )
        for s in range(3)
    ]
    result = caching.Run(history=History(epochs=()), train_accuracy=None, test_accuracy=9.0)
    kind = Record[caching.CachingRun, caching.Run]
    made = [
        kind(experiment="caching", config=run, result=result, provenance=PROVENANCE) for run in runs
    ]
    assert [len(family) for family in group(made).values()] == [3]


@pytest.mark.parametrize(("rule", "given"), [("one_rate", "skip_rate"), ("stopped", "budget")])
def test_what_is_taken_from_a_cached_run_does_not_separate_seeds(rule: str, given: str) -> None:
    values = {"dataset": "mnist", "n_train": 9, "batch_size": 3, "rule": rule}
    numbers = [0.3, 0.4, 0.5] if given == "skip_rate" else [3, 4, 5]
    result = caching.Run(history=History(epochs=()), train_accuracy=None, test_accuracy=9.0)
    made = [
        Record[SkippingRun, caching.Run](
            experiment="skipping",
            config=SkippingRun.model_validate({**values, given: number, "seed": seed}),
            result=result,
            provenance=PROVENANCE,
        )
        for seed, number in enumerate(numbers)
    ]
    assert [len(family) for family in group(made).values()] == [3]


def test_unusual_records_are_named_whether_better_or_worse() -> None:
    usual = [single(90.0 + seed / 10, seed) for seed in range(6)]
    assert unusual(usual, group(usual)) == []
    for accuracy in (70.0, 99.0):
        odd = [*usual, single(accuracy, 6)]
        found = [one for one in unusual(odd, group(odd)) if one.path == odd[-1].path]
        assert [(one.quantity, one.recorded, one.verdict) for one in found] == [
            ("test_accuracy", accuracy, "unusual")
        ]
        [again, note] = compare(odd[-1], odd[-1], group(odd))
        assert (again.verdict, note.verdict) == ("same", "unusual")
    assert "unusual" not in auditing.BAD


# --- which numbers are headlines -------------------------------------------------------------


def small(kind: type[Any], **values: object) -> Any:
    """The smallest run of a kind."""
    return kind.model_validate(
        {"dataset": "mnist", "n_train": 20, "n_test": 20, "seed": 0, **values}
    )


def test_every_experiment_has_headlines() -> None:
    """Numbers that say how a run ended, accuracies on test images where there are any."""
    train = {"batch_size": 10, "epochs": 1}
    maps = {**train, "map_epochs": 1, "map_images": 2}
    attacked = {"n_held_out": 5, "n_attacked": 2, "pgd_steps": 10, "restarts": 1}
    colours = {**train, "dataset": SHOWN_CLASSES, "shown_epochs": (0, 1), "n_test": 40}
    inverted = {**colours, "n_inverted": 1, "steps": 1, "n_decoder": 20, "decoder_epochs": 1}
    layers = {**train, "dataset": SHOWN_CLASSES, "n_test": 40, "n_validation": 20, "n_train": 40}
    moved = {"n_pretraining": 20, "layers": ("act7",), "sizes": (2,), "scratch_steps": 1}
    configs = {
        "caching": small(caching.CachingRun, **train, condition="plain"),
        "caching_variants": small(caching.CachingRun, **train, condition="plain"),
        "skipping": small(SkippingRun, **train, rule="infobatch"),
        "feature_map_regularization": small(MapRun, **maps, network="base_cnn", images="maps"),
        "adversarial_robustness": small(RobustnessRun, **maps, **attacked),
        "exploration": small(ExplorationRun, **train, n_train=100, n_embedded=100, perplexity=5),
        "cache_stages": small(caching.StagesRun, **train),
        "undefined_losses": small(UndefinedLossRun, images=2, batch_size=10, activation="relu"),
        "map_ways": small(WaysRun, **maps, ways=("originals", "mean_map after")),
        "attacks": small(AttacksRun, **maps, **attacked, queries=2),
        "embeddings": small(EmbeddingsRun, n_train=100, perplexity=5, neighbours=3),
        "early_exits": small(ExitsRun, **train),
        "cache_depth": small(DepthRun, **train, condition="plain"),
        "feature_evolution": small(EvolutionRun, **colours, judge_epochs=1, course="frozen"),
        "seeing": small(SeeingRun, **colours, n_looked=4, n_garments=60, draws=2),
        "inversion": small(InversionRun, **inverted),
        "dissection": small(DissectionRun, **colours, n_concepts=20, n_combined=20),
        "similarity": small(SimilarityRun, **train, condition="decov", iterations=2),
        "similar_caches": small(CachedRun, **train, iterations=2),
        "resnet_similarity": small(ResNetRun, **train, width=2, iterations=2),
        "large_pictures": small(PicturesRun, **colours, start="scratch"),
        "ablation": small(AblationRun, **layers),
        "transfer": small(TransferRun, **layers, **moved),
        "overlaps": small(OverlapsRun, dataset=SHOWN_CLASSES),
    }
    twins = "twin", "other twin"
    expected = {
        "caching": {"test_accuracy"},
        "caching_variants": {"test_accuracy"},
        "skipping": {"test_accuracy"},
        "feature_map_regularization": {"base.test", "after.test"},
        "adversarial_robustness": {
            f"test_accuracy.{name}" for name in ("base", "maps", "originals", *twins)
        },
        "exploration": {
            *("nearest_centroid", "neighbours.PCA", "neighbours.t-SNE"),
            *(f"accuracies.test images, all.{name}" for name in ("no outliers", "control")),
        },
        "cache_stages": {f"late.threshold.{digit}" for digit in range(10)},
        "undefined_losses": {f"trials.{number}.negative_share" for number in range(10)},
        "map_ways": {
            *("base.test", "trained.originals.after.test"),
            "trained.mean_map after.after.test",
        },
        "attacks": {f"test_accuracy.{name}" for name in MODELS},
        "embeddings": {"neighbours.PCA", "neighbours.t-SNE"},
        "early_exits": {
            "network",
            *(f"exits.{kind}{n}.accuracy" for kind in ("conv", "pool", "act") for n in (1, 2)),
        },
        "cache_depth": {"test_accuracy"},
        "feature_evolution": {"accuracies.0"},
        "seeing": {"accuracies.0", *(f"purity.act{n}" for n in (1, 2, 3))},
        "inversion": {"accuracies.0"},
        "dissection": {"accuracies.0", *(f"units.trained.act{n}.significant" for n in (1, 2, 3))},
        "similarity": {"test_accuracies.0"},
        "similar_caches": {"nearest", "skipped", "test_accuracy"},
        "resnet_similarity": {"test_accuracies.0"},
        "large_pictures": {"accuracies.0"},
        "ablation": {"train_accuracy", "test_accuracy"},
        "transfer": {
            *("features.trained.act7.0", "features.untrained.act7.0", "pixels.0", "scratch.0"),
        },
        "overlaps": set(),  # they are in double precision, and compared as a whole
    }
    further = {NAME, "photographs"}  # the latter needs weights, and has a test of its own
    assert configs.keys() == grids.EXPERIMENTS.keys() - further
    for name, config in configs.items():
        made = recording.make(recording.Planned(name, config), recording.Code(None, None))
        assert auditing.headline(made).keys() == expected[name], name


# --- which records ---------------------------------------------------------------------------


def found(count: int, **values: object) -> dict[Path, AnyRecord]:
    """Records by path."""
    made = [single(90.0, seed, **values) for seed in range(count)]
    return {record.path: record for record in made}


def test_names_are_names_or_patterns_with_or_without_folder() -> None:
    path = Path("caching/mnist-3000-batch-200-plain-seed-0-cef50572.json")
    for name in (
        *(str(path), path.name, path.stem, "mnist-3000-*", "*", "caching/*", "*seed-0*"),
        "caching/mnist-3000-batch-200-plain-seed-0-cef50572",
    ):
        assert matches(path, name)
    for name in ("mnist-3000-", "caching", "MNIST-3000-*", "tiny/*", ""):
        assert not matches(path, name)


def test_two_are_drawn_unless_something_is_given() -> None:
    known = found(6)
    assert len(choose(known, [], None, None)) == 2
    assert len(choose(known, [], 4, None)) == 4
    assert len(choose(known, [], 40, None)) == 6
    assert choose(known, ["first-seed-3*"], None, None) == [list(known.values())[3]]
    assert len(choose(known, ["*"], None, None)) == 6
    assert len(choose(known, ["*"], 3, None)) == 3


def test_a_sample_is_drawn_by_its_seed() -> None:
    known = found(50)
    draws = [[r.config.seed for r in choose(known, [], 3, seed)] for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    assert len(set(draws[0])) == 3


def test_records_of_a_device_that_is_not_here_are_not_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = found(2) | found(5, device="cuda")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert {r.config.device for r in choose(known, [], 9, None)} == {"cpu"}
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert {r.config.device for r in choose(known, [], 9, None)} == {"cpu", "cuda"}


# --- the command -----------------------------------------------------------------------------


@pytest.fixture
def results(tmp_path: Path) -> Iterator[Path]:
    """Six honest records of the tiny experiment, the only one."""
    others = dict(grids.EXPERIMENTS)
    grids.EXPERIMENTS.clear()
    grids.EXPERIMENTS[NAME] = tiny_experiment.experiment()
    with recording.workers(jobs=1):
        assert len(list(recording.record([NAME], results=tmp_path))) == 6
    yield tmp_path
    grids.EXPERIMENTS.clear()
    grids.EXPERIMENTS.update(others)


def audit(results: Path, *arguments: str) -> int:
    """The exit status of `fmlib audit` in this process."""
    return run("audit", *arguments, "--jobs", "1", "--results", str(results))


def test_honest_records_are_confirmed(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit(results, "*") == 0
    out = capsys.readouterr().out
    assert out.count("same") == 6
    assert out.endswith("6 of 6 records recomputed: none differs\n")
    assert audit(results) == 0
    assert capsys.readouterr().out.endswith("2 of 6 records recomputed: none differs\n")


def test_a_forged_record_is_found(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its hash fits, its accuracy does not."""
    path = sorted((results / NAME).glob("first-seed-1-*"))[0]
    content = content_of(path)
    content["result"]["test_accuracy"] += 0.01
    sign(path, content)
    records.read(path)
    assert audit(results, "first-*") == 1
    out, error = capsys.readouterr()
    [row] = [line.split() for line in out.splitlines() if "differs" in line]
    assert row == [path.stem, "test_accuracy", "91.01", "91", "differs"]
    assert error.splitlines()[-1] == f"fmlib: not confirmed: {path.relative_to(results)}"
    assert audit(results, "second-seed-0-*") == 0


def test_a_run_that_fails_is_shown(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: TinyRun) -> None:
        raise ValueError("of [bold]")

    monkeypatch.setattr(TinyRun, "run", fail)
    monkeypatch.setenv("COLUMNS", "120")  # so that no cell of the table is broken
    assert audit(results, "first-seed-0-*") == 1
    assert "ValueError: of [bold]" in capsys.readouterr().out


def test_an_edited_record_is_found_whatever_is_made_again(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sorted((results / NAME).glob("first-seed-1-*"))[0]
    path.write_text(path.read_text().replace("91.0", "97.0"))
    for names in ([], ["second-seed-0-*"], [path.name]):
        assert audit(results, *names) == 1
        out, error = capsys.readouterr()
        name = path.relative_to(results)
        assert f"{name} was edited: its hash does not fit its content" in out
        assert error.splitlines()[-1] == f"fmlib: not confirmed: {name}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["first-seed-9-*"], "matches 'first-seed-9-*'; see fmlib status"),
        (["--experiment", "cooking"], "experiment 'cooking' does not exist; choose all or one of"),
        (["--sample", "0"], "Invalid value for '--sample'"),
        (["first-*", "nosuch"], "matches 'nosuch'; see fmlib status"),
    ],
)
def test_audits_of_nothing_are_refused_in_one_line(
    arguments: list[str],
    words: str,
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(TinyRun, "run", None)  # nothing runs
    assert audit(results, *arguments) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert words in error
    assert error.count("\n") == 1


def test_an_empty_folder_has_nothing_to_audit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit(tmp_path) == 2
    assert "no record in" in capsys.readouterr().err


def test_records_without_others_are_said_to_be_compared_with_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records.write(single(90.0), tmp_path)
    monkeypatch.setattr(TinyRun, "run", lambda self: single(91.0).result)
    assert audit(tmp_path, "first-*") == 1  # the dataset of the record is another one
    honest = recording.make(recording.Planned(NAME, single(90.0, 1).config), recording.code())
    records.write(changed(honest, test_accuracy=90.0), tmp_path)
    capsys.readouterr()
    assert audit(tmp_path, "first-seed-1-*") == 0
    out = capsys.readouterr().out
    assert "no band" in out
    assert out.endswith(
        "1 of 2 records recomputed: none differs, 1 for want of others not compared\n"
    )


def test_status_names_unusual_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(6):
        records.write(single(90.0 + seed / 10, seed), tmp_path)
    records.write(single(11.5, 6), tmp_path)
    assert run("status", NAME, "--results", str(tmp_path)) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "unlike" in line]
    [line] = [line for line in lines if "seed-6" in line]
    assert line.startswith(f"{single(11.5, 6).path} has test_accuracy 11.5, unlike 88.86 to 91.64 ")
    assert line.endswith("(6 other seeds)")


@pytest.mark.slow
def test_real_records_are_confirmed_and_an_altered_one_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The small float64 runs of chapter 02, by two processes; one hit more is found."""
    small = [run for run in grids.EXPERIMENTS["caching"].grid() if run.precision == "float64"]
    kind = grids.EXPERIMENTS["caching"]
    monkeypatch.setitem(grids.EXPERIMENTS, "caching", kind._replace(grid=lambda: small))
    arguments = "--jobs", "2", "--results", str(tmp_path)
    assert run("record", "caching", *arguments) == 0
    assert run("audit", "mnist-3000-*", *arguments) == 0
    out = capsys.readouterr().out
    assert out.count("same") == len(small) == len(list(tmp_path.rglob("*.json")))
    path = next((tmp_path / "caching").glob("*-cached-seed-1-*"))
    content = content_of(path)
    content["result"]["history"]["epochs"][1]["skipped_per_class"][3] += 1
    sign(path, content)
    assert run("audit", path.name, *arguments) == 1
    out, error = capsys.readouterr()
    assert "history.epochs.1.skipped_per_class.3" in out
    assert error.splitlines()[-1] == f"fmlib: not confirmed: caching/{path.name}"
