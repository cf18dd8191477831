"""Tables of results made by hand: formats, columns, and a dash where nothing is published."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from IPython.display import Markdown

from fmlib import evidence, tables
from fmlib.experiments import feature_evolution
from fmlib.experiments.adversarial_robustness import VICTIMS
from fmlib.experiments.caching import MissingClass, Reading
from fmlib.experiments.feature_map_regularization import WayRun
from fmlib.tables import adversarial_robustness, cells, skipping
from fmlib.tables.feature_map_regularization import SETS
from tests import looked, recorded, results

DASH, EVIL = "–", results.EVIL[0]
NOWHERE = Path("no such folder")
"""Where nothing is recorded."""


def rows(table: pd.DataFrame, *columns: str) -> list[list[str]]:
    """Some columns of a table, row by row."""
    return [[str(value) for value in row] for row in table[list(columns)].to_numpy().tolist()]


# --- formats -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "digits", "expected"),
    [
        ([], 1, DASH),
        ([81.25], 1, "81.2"),
        ([1.0, 2.0, 6.0], 1, "3.0 (1.0–6.0)"),
        ([1.0, 2.0, 6.0], 2, "3.00 (1.00–6.00)"),
        ([41_867, 38_753], 0, "40,310 (38,753–41,867)"),
        ([5.0, 5.0], 1, "5.0 (5.0–5.0)"),
    ],
)
def test_spread_by_hand(values: Sequence[float], digits: int, expected: str) -> None:
    assert tables.spread(values, digits) == expected


@pytest.mark.parametrize(
    ("values", "reference", "expected"),
    [
        ([3.0], [1.0], "+2.0"),
        ([1.0], [3.0], "−2.0"),
        ([3.0, 4.0, 2.0], [1.0, 5.0, 2.0], "+0.3 (−1.0 to +2.0)"),
        ([3.0, None], [1.0, 5.0], "+2.0 (1 of 2 diverged)"),
        ([None], [1.0], "– (1 of 1 diverged)"),
    ],
)
def test_difference_is_paired_and_signed(
    values: list[float | None], reference: list[float | None], expected: str
) -> None:
    assert tables.difference(values, reference) == expected


@pytest.mark.parametrize(
    ("outcomes", "digits", "sign", "expected"),
    [
        ({}, 1, "", DASH),
        ({3: 81.25}, 1, "", "81.2"),
        ({3: -0.04}, 1, "", "0.0"),
        ({3: -0.04}, 1, "+", "+0.0"),
        ({0: 5.0, 1: 5.0}, 1, "", "5.0 (5.0 to 5.0)"),
        ({0: -0.5, 1: -0.5, 2: None}, 1, "+", "−0.5 (−0.5 to −0.5)"),
        ({0: 1234.0, 1: None}, 0, "+", "+1,234"),
        ({0: None}, 1, "", DASH),
    ],
)
def test_intervals_by_hand(
    outcomes: dict[int, float | None], digits: int, sign: str, expected: str
) -> None:
    assert tables.interval(outcomes, digits, sign) == expected


def test_recorded_runs_are_counted_and_those_that_diverged() -> None:
    lost: dict[int, float | None] = {0: 1.0, 1: 9.0, 2: 2.0, 3: None}
    assert evidence.counted(lost) == "3 (1 diverged)"
    assert cells.middle(lost) == "2.0"
    assert evidence.counted({}) == "0"
    assert cells.middle({0: None}) == DASH


def test_an_interval_lies_around_the_mean_of_what_was_recorded() -> None:
    text = tables.interval({seed: float(value) for seed, value in enumerate((1, 2, 3, 4, 10))})
    found = re.fullmatch(r"4\.0 \((.*) to (.*)\)", text)
    assert found is not None
    low, high = map(float, found.groups())
    assert 1 < low < 4 < high < 10


@pytest.mark.parametrize("ulp", [-1e-14, 1e-14])
def test_the_last_bit_of_a_mean_does_not_move_a_digit(ulp: float) -> None:
    assert tables.interval({0: 93.45 + ulp}) == tables.interval({0: 93.45})


def test_difference_needs_pairs() -> None:
    with pytest.raises(ValueError, match="shorter"):
        tables.difference([1.0, 2.0], [1.0])


MARKUP = (
    "`x`", "[a](javascript:b)", "{{c}}", "\\", "a_b&", "~~x~~", "a\nb", ":name: c", "#", '"',
    "https://a.example", "www.a.example", "a@b.example",
)  # fmt: skip


@pytest.mark.parametrize("text", [*results.EVIL, *MARKUP])
def test_names_from_outside_are_only_text(text: str) -> None:
    plain = cells.plain_text(text)
    left = re.sub(r"&#\d+;", "", plain)
    assert [character for character in "<>|$`*_[]{}\\&" if character in left] == []
    assert re.search(r"""[~\n@.:#"!]""", left) is None
    assert re.sub(r"&#(\d+);", lambda code: chr(int(code[1])), plain) == text


def test_a_dataset_is_named_in_text_that_is_only_text() -> None:
    named = replace(results.dataset(), name="image-folder:<b>", origin="by hand")
    assert tables.source(named) == "image-folder&#58;&#60;b&#62; (by hand)"


def test_ordinary_names_stay_as_they_are() -> None:
    assert cells.plain_text("T-shirt/top, Äpfel (2)") == "T-shirt/top, Äpfel (2)"


def test_show_gives_a_captioned_numbered_table(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Markdown] = []
    monkeypatch.setattr(cells, "display", shown.append)
    tables.show(pd.DataFrame({"ε": ["0.10"], "n": ["1,000"]}), "A caption.", "tab-a")
    [markdown] = shown
    lines = str(markdown.data).splitlines()
    assert lines[:3] == [":::{table} A caption.", ":name: tab-a", ""]
    assert lines[-1] == ":::"
    body = [re.sub(r"[\s-]", "", line) for line in lines[3:-1]]
    assert body == ["|ε|n|", "|:|:|", "|0.10|1,000|"]


def test_lines_break_between_a_number_and_its_range() -> None:
    table = pd.DataFrame({"Recorded, n = 5": ["1.0 (−2.0 to +4.0), n = 5", "two (or more) words"]})
    text = cells.markdown(table)
    assert "Recorded, n\u00a0=\u00a05" in text
    assert "1.0 (−2.0\u00a0to\u00a0+4.0), n\u00a0=\u00a05" in text
    assert "two (or more) words" in text


# --- chapter 01 --------------------------------------------------------------------------


def test_class_sizes() -> None:
    table = tables.class_sizes(results.dataset())
    assert list(table) == ["Class", "Name", "Training images", "Test images"]
    assert rows(table, "Class", "Training images", "Test images") == [
        ["0", "4", "1"],
        ["1", "2", "2"],
    ]
    assert "<" not in table.to_markdown()
    assert table.to_markdown(index=False).count("|") == 5 * 4  # no name adds a column


def test_outlier_distances() -> None:
    table = tables.outlier_distances(results.distances(), results.dataset())
    assert list(table) == ["Class", "Median", "95 % quantile", "Farthest images"]
    assert rows(table, "Median", "95 % quantile", "Farthest images") == [
        ["0.200", "0.385", "0.400, 0.300"],
        ["0.500", "0.690", "0.700"],
    ]
    assert "<" not in table.to_markdown()


def test_separation_begins_with_chance() -> None:
    nothing = evidence.exploration(NOWHERE), evidence.embeddings(NOWHERE)
    table = tables.separation(43.21, 90.0, 11.0, *nothing)
    assert list(table)[1:] == [
        "Recorded, n = 0, samples: accuracy (%)",
        "Recorded, n = 0, all images: accuracy (%)",
        "This run: accuracy (%)",
    ]
    assert rows(table, *table) == [
        ["always the most frequent class", DASH, DASH, "11.0"],
        ["PCA, 2 coordinates", DASH, DASH, "43.2"],
        ["t-SNE, 2 coordinates", DASH, DASH, DASH],
        ["all pixels", DASH, DASH, "90.0"],
    ]


def explorations(folder: Path) -> pd.DataFrame:
    """Two recorded seeds; a network of the second one diverged."""
    recorded.write_all([recorded.exploration(0), recorded.exploration(1, diverged=1)], folder)
    return evidence.exploration(folder)


def test_separation_of_recorded_embeddings(tmp_path: Path) -> None:
    samples = explorations(tmp_path)
    recorded.write_all([recorded.embeddings(0)], tmp_path)
    table = tables.separation(43.21, 90.0, 11.0, samples, evidence.embeddings(tmp_path))
    assert table["Recorded, n = 2, samples: accuracy (%)"].tolist() == [
        DASH,
        "40.5 (40.0 to 41.0)",
        "90.5 (90.0 to 91.0)",
        DASH,
    ]
    assert table["Recorded, n = 1, all images: accuracy (%)"].tolist() == [
        DASH,
        "42.0",
        "96.0",
        DASH,
    ]


OUTLIER_RUNS = [results.outlier_run(seed) for seed in range(3)]


def test_errors_by_decile() -> None:
    table = tables.errors_by_decile(OUTLIER_RUNS)
    assert list(table)[2:] == [
        "This run, n = 3: training, wrong (%)",
        "Test images",
        "This run: test, wrong (%)",
        "This run: test − training (points)",
    ]
    found = rows(table, *table)
    assert found[0] == [
        "1", "10 (10–10)", "1.0 (0.0–2.0)", "1,000", "1.0 (0.0–2.0)", "+0.0 (+0.0 to +0.0)",
    ]  # fmt: skip
    assert found[9] == [
        "10", "13 (12–14)", "10.0 (9.0–11.0)", "1,000", "19.0 (18.0–20.0)", "+9.0 (+9.0 to +9.0)",
    ]  # fmt: skip
    ones = "1.00 (1.00–1.00)"
    assert found[10] == ["rank correlation", "", ones, "", ones, ""]


def test_recorded_errors_by_decile(tmp_path: Path) -> None:
    """A network of the second of two seeds diverged."""
    looks = explorations(tmp_path)
    table = tables.recorded_errors_by_decile(evidence.deciles(tmp_path), looks)
    assert list(table) == [
        "Decile",
        "Recorded, n = 1 (1 diverged): training, wrong (%)",
        "test, wrong (%)",
        "test − training (points)",
    ]
    found = rows(table, *table)
    assert found[0] == ["1", "0.00", "0.00", "+0.00"]
    assert found[9] == ["10", "0.90", "1.80", "+0.90"]
    assert found[10] == ["rank correlation", "0.90", "1.00", ""]


def test_without_records_every_decile_has_a_dash() -> None:
    nothing = evidence.deciles(NOWHERE), evidence.exploration(NOWHERE)
    table = tables.recorded_errors_by_decile(*nothing)
    found = rows(table, *table)
    assert found[3] == ["4", DASH, DASH, DASH]
    assert len(found) == 11


def test_left_out() -> None:
    table = tables.left_out(OUTLIER_RUNS, evidence.exploration(NOWHERE))
    assert list(table)[2:] == ["Trained", "Recorded, n = 0", "This run, n = 3"]
    assert rows(table, *table) == [
        ["the outlying", "1,200", "without outliers", DASH, "61.0 (60.0–62.0)"],
        ["", "", "control", DASH, "81.0 (80.0–82.0)"],
        ["", "", "control − without (points)", DASH, "+20.0 (+20.0 to +20.0)"],
        ["the random", "12", "without outliers", DASH, "97.0 (97.0–97.0)"],
        ["", "", "control", DASH, "95.0 (95.0–95.0)"],
        ["", "", "control − without (points)", DASH, "−2.0 (−2.0 to −2.0)"],
    ]


def test_left_out_in_recorded_runs(tmp_path: Path) -> None:
    table = tables.left_out(OUTLIER_RUNS, explorations(tmp_path))
    known = table["Recorded, n = 1 (1 diverged)"].tolist()
    assert known == ["60.0", "80.0", "+20.0", "97.0", "95.0", "−2.0"]


def test_exploration_summary(tmp_path: Path) -> None:
    table = tables.exploration_summary(OUTLIER_RUNS, evidence.exploration(NOWHERE))
    assert list(table) == ["Quantity", "Published", "Authors' log", "Recorded", "This run"]
    assert rows(table, "Published", "Recorded", "This run") == [
        [DASH, DASH, "1.00 (1.00–1.00), n = 3"],
        [DASH, DASH, "1.00 (1.00–1.00), n = 3"],
        [DASH, DASH, "61.0 (60.0–62.0), n = 3"],
        [DASH, DASH, "+20.0 (+20.0 to +20.0), n = 3"],
        [DASH, DASH, "−2.0 (−2.0 to −2.0), n = 3"],
    ]
    assert "accuracy on the random: with" in table["Quantity"].iloc[-1]
    recorded.write_all([recorded.exploration(seed) for seed in range(2)], tmp_path)
    table = tables.exploration_summary(OUTLIER_RUNS, evidence.exploration(tmp_path))
    assert table["Recorded"].tolist() == [
        "0.90 (0.90 to 0.90), n = 2",
        "1.00 (1.00 to 1.00), n = 2",
        "60.5 (60.0 to 61.0), n = 2",
        "+20.5 (+20.0 to +21.0), n = 2",
        "−2.0 (−2.0 to −2.0), n = 2",
    ]


# --- chapter 02 --------------------------------------------------------------------------

RUNS = [results.comparison(50, seed) for seed in range(2)]


def test_caching_accuracy() -> None:
    table = tables.caching_accuracy(RUNS)
    assert rows(table, *table) == [
        ["1", "11.0", "25.3", "50.5 (50.0–51.0)", "50.5 (50.0–51.0)", "50.5 (50.0–51.0)"],
        ["2", "12.7", "62.1", "80.5 (80.0–81.0)", "82.5 (82.0–83.0)", "79.5 (79.0–80.0)"],
    ]
    assert list(table)[3] == "This run, n = 2: plain"


def test_epochs_beyond_the_published_ones_have_a_dash() -> None:
    run = RUNS[0].plain.model_copy(update={"history": results.history([60.0] * 11, 0)})
    table = tables.caching_accuracy([RUNS[0].model_copy(update={"plain": run})])
    assert rows(table, *table)[-1] == ["11", DASH, DASH, "60.0", DASH, DASH]


def test_caching_hits() -> None:
    table = tables.caching_hits(RUNS[:1], evidence.caching(NOWHERE))
    assert rows(table, *table) == [
        ["1", "30.2", "41,867", DASH, "25.0", "75", "75"],
        ["2", "32.3", "40,624", DASH, "25.0", "75", "75"],
    ]


def caching_records(folder: Path) -> list[Path]:
    """Plain 50, 80; cached 60, 83, skipping a fourth; random 55, 79 % (plus the seed); two seeds.

    At batch 64 a pair of runs: cached 2 points below plain; at 4096 one cache has no threshold.
    """
    made = []
    for seed in range(2):
        made += [
            recorded.caching(seed, "plain", [50.0 + seed, 80.0 + seed]),
            recorded.caching(seed, "cached", [60.0 + seed, 83.0 + seed], skipped=15_000),
            recorded.caching(seed, "random", [55.0 + seed, 79.0 + seed], skipped=15_000),
            recorded.caching(seed, "cached", [9.0, 9.0], cache=recorded.NEAREST),
        ]
    made.append(recorded.caching(0, "plain", [97.0, 98.0], batch_size=64))
    made.append(recorded.caching(0, "cached", [95.0, 96.0], batch_size=64))
    return recorded.write_all(made, folder)


def test_recorded_hits(tmp_path: Path) -> None:
    caching_records(tmp_path)
    table = tables.caching_hits(RUNS[:1], evidence.caching(tmp_path))
    assert table["Recorded, n = 2: skipped (%)"].tolist() == ["25.0 (25.0 to 25.0)"] * 2


def test_recorded_caching(tmp_path: Path) -> None:
    paths = caching_records(tmp_path)
    table = tables.recorded_caching(evidence.caching(tmp_path))
    heads = [f"Recorded, n = 2: {name}" for name in ("plain", "cached", "random skipping")]
    assert list(table) == ["Epoch", "Published: plain", "Published: cached", *heads]
    assert rows(table, *table)[:3] == [
        ["1", "11.0", "25.3", "50.5 (50.0 to 51.0)", "60.5 (60.0 to 61.0)", "55.5 (55.0 to 56.0)"],
        ["2", "12.7", "62.1", "80.5 (80.0 to 81.0)", "83.5 (83.0 to 84.0)", "79.5 (79.0 to 80.0)"],
        ["3", "18.6", "72.6", *(3 * [DASH])],
    ]
    paths[0].unlink()
    table = tables.recorded_caching(evidence.caching(tmp_path))
    assert list(table)[3:5] == ["Recorded, n = 1: plain", "Recorded, n = 2: cached"]
    assert rows(table, *table)[0][3:5] == ["51.0", "60.5 (60.0 to 61.0)"]


def test_recorded_caching_of_a_run_that_diverged(tmp_path: Path) -> None:
    lost = recorded.caching(1, "plain", [52.0, 9.8], diverged=True)
    recorded.write_all([recorded.caching(0), lost], tmp_path)
    table = tables.recorded_caching(evidence.caching(tmp_path))
    assert table["Recorded, n = 1 (1 diverged): plain"].tolist()[:2] == ["50.0", "80.0"]


def test_recorded_spread_ranks_the_published_among_the_seeds(tmp_path: Path) -> None:
    plain = [recorded.caching(s, accuracies=[10.0 + s, 62.1]) for s in range(3)]
    cached = [recorded.caching(s, "cached", [25.0 + s, 62.0 + s]) for s in range(2)]
    recorded.write_all(plain + cached, tmp_path)
    table = tables.recorded_spread(evidence.caching(tmp_path))
    assert list(table)[1] == "Recorded, n = 3: plain, lowest to highest"
    assert rows(table, *table)[:2] == [
        ["1", "10.0 to 12.0", "11.0", "1 of 3", "25.3", "3 of 3", "1 of 2"],  # above means above
        ["2", "62.1 to 62.1", "12.7", "0 of 3", "62.1", "0 of 3", "1 of 2"],
    ]
    assert rows(table, *table)[2] == ["3", DASH, "18.6", DASH, "72.6", DASH, DASH]


def test_recorded_batch_sizes(tmp_path: Path) -> None:
    caching_records(tmp_path)
    table = tables.recorded_batch_sizes(evidence.caching(tmp_path))
    assert len(table) == 16
    assert rows(table, *table)[2:4] == [
        ["64", "train", "98.20", "94.71", "1, 1, 0", "99.0", "97.0", DASH],
        ["", "test", "97.63", "93.71", "1, 1, 0", "98.0", "96.0", DASH],
    ]
    assert rows(table, *table)[14][0] == "4096"
    assert rows(table, *table)[15][4:] == [
        "2", "80.5 (80.0 to 81.0)", "83.5 (83.0 to 84.0)", "79.5 (79.0 to 80.0)",
    ]  # fmt: skip


def test_recorded_differences_are_paired_by_seed(tmp_path: Path) -> None:
    caching_records(tmp_path)
    table = tables.recorded_differences(evidence.caching(tmp_path))
    assert list(table)[1:] == [
        "Published: cached − plain",
        "n",
        "Recorded: cached − plain",
        "Recorded: cached − random skipping",
        "Recorded: random skipping − plain",
        "Recorded: epochs without a hit",
    ]
    found = rows(table, *table)
    assert found[0] == ["32", "+0.25", "0", *(4 * [DASH])]
    assert found[1] == ["64", "−3.92", "1, 0, 0", "−2.0, median −2.0", DASH, DASH, "2 of 2"]
    assert found[7] == [
        "4096", "+2.38", "2", "+3.0 (+3.0 to +3.0), median +3.0",
        "+4.0 (+4.0 to +4.0), median +4.0", "−1.0 (−1.0 to −1.0), median −1.0", "0 of 4",
    ]  # fmt: skip


def test_caching_seconds() -> None:
    measured = pd.DataFrame(
        [("cached run, authors' settings", 0.8, 0.75, 0.9, 3), ("another", 2.0, 2.0, 2.0, 7)],
        columns=["name", "ratio", "low", "high", "n"],
    )
    table = tables.caching_seconds(RUNS[:1], measured)
    assert "Benchmarks, n = 3: ratio" in table
    assert rows(table, *table) == [
        ["plain", "18.0", "1.00", "1.00", "2.00", "1.00"],
        ["cached", "26.0", "1.44", "0.80 (0.75–0.90)", "3.00", "1.50"],
        ["random skipping", DASH, DASH, DASH, "1.00", "0.50"],
    ]
    none = tables.caching_seconds(RUNS[:1], measured[1:])
    assert set(none["Benchmarks: ratio"]) == {DASH}


def test_batch_sizes() -> None:
    sweep = [results.comparison(size, 0, tested=False) for size in (100, 32)]
    table = tables.batch_sizes(sweep)
    assert rows(table, *table) == [
        ["32", "train", "99.32", "99.685", "6 of 10", "81.0", "83.0", "80.0", "2 of 2"],
        ["32", "test", "98.52", "98.77", "6 of 10", "80.0", "82.0", "79.0", "2 of 2"],
        ["100", "train", DASH, DASH, DASH, "81.0", "83.0", "80.0", "0 of 2"],
        ["100", "test", DASH, DASH, DASH, "80.0", "82.0", "79.0", "0 of 2"],
    ]


def test_recorded_threshold(tmp_path: Path) -> None:
    """With it 25 % are skipped and accuracy ends at 83 and 84; without it nothing, 9 %."""
    caching_records(tmp_path)
    table = tables.recorded_threshold(evidence.caching(tmp_path))
    assert rows(table, *table) == [
        ["4096", "2", "25.0 (25.0 to 25.0)", "0.0 (0.0 to 0.0)", "−25.0 (−25.0 to −25.0)",
         "−74.5 (−75.0 to −74.0)"],
    ]  # fmt: skip


def test_caching_summary(tmp_path: Path) -> None:
    sweep = [results.comparison(size, 0, tested=False) for size in (32, 100)]
    table = tables.caching_summary(RUNS, sweep, evidence.caching(NOWHERE))
    assert list(table) == ["Quantity", "Published", "Authors' log", "Recorded", "This run"]
    assert rows(table, "Published", "Authors' log", "This run") == [
        ["91.8", "91.78", "80.5 (80.0–81.0), n = 2"],
        ["94.2", "94.16", "82.5 (82.0–83.0), n = 2"],
        [DASH, DASH, "79.5 (79.0–80.0), n = 2"],
        ["+2.4", "+2.38", "+2.0 (+2.0 to +2.0), n = 2"],
        [DASH, DASH, "+3.0 (+3.0 to +3.0), n = 2"],
        ["34.0", DASH, "25.0 (25.0–25.0), n = 2"],
        ["3 of 8", DASH, "2 of 2"],
    ]
    assert set(table["Recorded"]) == {DASH}
    recorded.write_all([recorded.caching(s, "plain", [70.0] * 10) for s in (2, 3)], tmp_path)
    recorded.write_all(
        [recorded.caching(2, "cached", [60.0] * 9 + [70.0], skipped=15_000),
         recorded.caching(2, "random", [66.0] * 10),
         recorded.caching(0, "plain", [98.0], batch_size=64),
         recorded.caching(0, "cached", [97.0], batch_size=64)],
        tmp_path,
    )  # fmt: skip
    table = tables.caching_summary(RUNS, sweep, evidence.caching(tmp_path))
    assert table["Recorded"].tolist() == [
        "70.0 (70.0 to 70.0), n = 2", "70.0, n = 1", "66.0, n = 1",
        "+0.0, n = 1", "+4.0, n = 1", "25.0, n = 1", "1 of 2",
    ]  # fmt: skip


def test_readings_against_the_row_before_and_against_the_first() -> None:
    found = results.readings()
    for against in ("previous", "first"):
        table = tables.readings(found, against)
        assert rows(table, "Option", "Set to") == [
            [DASH, "no cache"],
            [DASH, "printed"],
            ["hit", "above"],
        ]
        assert table["This run, n = 2: skipped, last epoch (%)"].tolist()[1:] == [
            "0.0 (0.0–0.0)",
            "25.0 (20.0–30.0)",
        ]
        assert table["This run: change of that share (points)"].tolist() == [
            DASH,
            "+0.0 (+0.0 to +0.0)",
            "+25.0 (+20.0 to +30.0)",
        ]
        assert table["This run: test accuracy (%)"].tolist()[-1] == "72.0 (70.0–74.0)"
    third = [*found, found[2]._replace(option="reset")]
    assert [
        tables.readings(third, against)["This run: change of that share (points)"].tolist()[-1]
        for against in ("previous", "first")
    ] == ["+0.0 (+0.0 to +0.0)", "+25.0 (+20.0 to +30.0)"]


def test_similarity_stages_name_the_lowest() -> None:
    live = [results.stages(), results.stages(lowest=0.7)]
    table = tables.similarity_stages(live, evidence.stages(NOWHERE))
    assert list(table)[2:] == [
        "Recorded, n = 0: batch 64", "Recorded, n = 0: batch 4096", "This run, n = 2, by seed"
    ]  # fmt: skip
    assert table["Published"].tolist() == ["0.861", "0.957", *("1" * 3), DASH, "1", DASH, "no"]
    assert set(table["Recorded, n = 0: batch 64"]) == {DASH}
    assert table["This run, n = 2, by seed"].tolist() == [
        "0.750 (0.700–0.800)", "0.975 (0.970–0.980)", *(2 * ["1, 1"]), *(4 * ["0, 0"]), "0 of 2",
    ]  # fmt: skip


def test_similarity_stages_of_recorded_runs(tmp_path: Path) -> None:
    made = [recorded.stages(0), recorded.stages(1, lowest=0.7), recorded.stages(0, 4096, 0.2)]
    recorded.write_all(made, tmp_path)
    table = tables.similarity_stages([results.stages()], evidence.stages(tmp_path))
    assert table["Recorded, n = 2: batch 64"].tolist() == [
        "0.750 (0.700 to 0.800)", "0.975 (0.970 to 0.980)",
        "1, 1", "1, 1", "0, 0", "0, 0", DASH, DASH, "0 of 2",
    ]  # fmt: skip
    assert table["Recorded, n = 1: batch 4096"].tolist()[:2] == ["0.200", "0.920"]


def test_missing_class_by_batch_size() -> None:
    found = [MissingClass(32, 0.3142, 0.31, 1000), MissingClass(48, 1.5e-9, 0.0, 1000)]
    table = tables.missing_class(found)
    assert rows(table, *table) == [
        ["32", "6 of 10", "31.4", "31.00 (1,000 draws)"],
        ["48", DASH, "1.5e-07", "0.00 (1,000 draws)"],
    ]


def test_missing_class_effect_counts_epochs_without_a_hit() -> None:
    found = [results.readings()[0], Reading("", "released", results.readings()[2].runs)]
    table = tables.missing_class_effect(found)
    assert rows(table, *table) == [
        ["no cache", "2 of 2, 2 of 2", "0.0 (0.0–0.0)", "81.0 (80.0–82.0)"],
        ["as released", "0 of 2, 0 of 2", "25.0 (20.0–30.0)", "72.0 (70.0–74.0)"],
    ]


def test_input_scales_pair_cached_with_plain() -> None:
    table = tables.input_scales(results.scaled())
    assert rows(table, *table)[0] == [
        "255",
        "81.0 (80.0–82.0)",
        "76.0 (75.0–77.0)",
        "−5.0 (−5.0 to −5.0)",
        "20.0 (20.0–20.0)",
    ]


def test_exits_by_layer() -> None:
    table = tables.exits(results.exits())
    assert rows(table, "Layer", "leave (%)", "precision (%)") == [
        ["conv1", "50.0 (50.0–50.0)", "40.5 (40.0–41.0)"],
        ["conv2", "30.0 (30.0–30.0)", "80.5 (80.0–81.0)"],
    ]
    timed = tables.exits(results.exits(), timed=True)
    assert list(timed) == ["Layer", "seconds, ratio to no exits"]
    assert timed.iloc[1].tolist() == ["conv2", "1.10 (1.10–1.10)"]


def test_recorded_rules_are_paired_with_plain_and_cached_runs(tmp_path: Path) -> None:
    caching_records(tmp_path)  # plain 80 and 81, cached 83 and 84 at the end, 25 % skipped
    recorded.write_all([recorded.selective(0)], tmp_path)  # 50, a third skipped
    table = skipping.recorded_rules(evidence.rules(tmp_path), 4096)
    found = {row[0]: row[1:] for row in rows(table, *table)}
    assert found["plain"][:4] == ["1", "0.0", "80.0", DASH]  # the other seed is not selective's
    assert found["selective backprop"] == [
        "1", "33.3", "50.0", "−30.0, median −30.0", "−33.0, median −33.0",
    ]  # fmt: skip
    assert found["InfoBatch"] == ["0", *(4 * [DASH])]


def test_what_a_rule_had_spent_when_it_got_to_an_accuracy(tmp_path: Path) -> None:
    """Plain runs end their second epoch at 80 and 81, after 30 steps and 120,000 images."""
    caching_records(tmp_path)
    table = skipping.recorded_until(evidence.rules(tmp_path), 4096, accuracy=81)
    found = {row[0]: row[1:5] for row in rows(table, *table)}
    assert found["plain"] == ["1 of 2", "2.0", "30.0", "120.0"]
    steps, images = "30.0 (30.0 to 30.0)", "90.0 (90.0 to 90.0)"
    assert found["cached"] == ["2 of 2", "2.0 (2.0 to 2.0)", steps, images]
    assert found["random skipping, each class at the cache's rate"] == ["0 of 2", DASH, DASH, DASH]


# --- chapter 03 --------------------------------------------------------------------------


def test_map_training() -> None:
    table = tables.map_training([results.row(0, 0), results.row(1, 0, 100, EVIL)])
    found = rows(table, *table)
    assert found[:5] == [
        ["mnist, batch 64", "base model", "98.98", "98.13", "90.0", "88.0", "2.0"],
        ["", "map model", "94.24", "94.34", "70.0", "69.0", "1.0"],
        ["", "control: originals", DASH, DASH, "95.0", "89.0", "6.0"],
        ["", "control: blurred originals", DASH, DASH, "93.0", "87.0", "6.0"],
        ["", "control: untrained maps", DASH, DASH, "60.0", "61.0", "−1.0"],
    ]
    assert {tuple(row[2:4]) for row in found[5:]} == {(DASH, DASH)}
    assert "<" not in table.to_markdown()


@pytest.mark.parametrize(
    ("number", "size", "dataset", "name", "known"),
    [
        (0, 64, "mnist", "mnist, batch 64", ["−3.79", "−0.95"]),
        (1, 64, "mnist", "mnist, batch 256 (this run: 64)", ["−5.59", "−0.29"]),
        (2, 256, "fashion-mnist", "fashion-mnist, batch 256", ["+1.10", "−1.81"]),
        (0, 256, "fashion-mnist", "fashion-mnist, batch 256", [DASH, DASH]),
        (3, 64, "mnist", "mnist, batch 64", [DASH, DASH]),
    ],
)
def test_map_training_summary(
    number: int, size: int, dataset: str, name: str, known: list[str]
) -> None:
    """Published numbers stand beside the row in the same place, if it is of the same dataset."""
    runs = [results.row(number, seed, size, dataset) for seed in range(2)]
    table = tables.map_training_summary(runs, evidence.further_training(NOWHERE))
    assert rows(table, "Published", "Recorded", "This run") == [
        [known[0], DASH, "−19.0 (−19.0 to −19.0), n = 2"],
        [known[1], DASH, "−1.0 (−1.0 to −1.0), n = 2"],
        [DASH, DASH, "−20.0 (−20.0 to −20.0), n = 2"],
        [DASH, DASH, "−5.0 (−5.0 to −5.0), n = 2"],
    ]
    [first, *_, last] = table["Quantity"]
    assert first == f"Fig. 9, {name}: map model − base model, test accuracy (points)"
    assert last == f"Fig. 9, {name}: map model − control: originals, train − test gap (points)"


def further(folder: Path) -> pd.DataFrame:
    """Recorded at batch 64: two seeds, the second without its map model; at 256 one map model."""
    recorded.write_all(
        [recorded.maps(0), recorded.maps(0, "originals"), recorded.maps(1, diverged=True),
         recorded.maps(1, "originals"), recorded.maps(0, batch_size=256)],
        folder,
    )  # fmt: skip
    return evidence.further_training(folder)


def test_recorded_map_training(tmp_path: Path) -> None:
    table = tables.recorded_map_training(further(tmp_path))
    heads = ("test", "train − test")
    assert list(table)[2:4] == [f"Published: {head}" for head in heads]
    assert list(table)[4:] == ["n", *(f"Recorded: {head}" for head in heads)]
    assert rows(table, *table) == [
        ["mnist, batch 64", "base model", "98.13", "0.85",
         "2", "88.5 (88.0 to 89.0)", "2.0 (2.0 to 2.0)"],
        ["", "map model", "94.34", "−0.10", "1 (1 diverged)", "69.0", "1.0"],
        ["", "control: originals", DASH, DASH, "2", "89.5 (89.0 to 90.0)", "6.0 (6.0 to 6.0)"],
        ["mnist, batch 256", "base model", "96.34", "0.11", "1", "88.0", "2.0"],
        ["", "map model", "90.75", "−0.18", "1", "69.0", "1.0"],
        ["", "control: originals", DASH, DASH, "0", DASH, DASH],
        ["fashion-mnist, batch 256", "base model", "71.60", "1.29", "0", DASH, DASH],
        ["", "map model", "72.70", "−0.52", "0", DASH, DASH],
        ["", "control: originals", DASH, DASH, "0", DASH, DASH],
    ]  # fmt: skip


def test_recorded_rows_of_figure_9_stand_beside_live_ones_of_another_size(tmp_path: Path) -> None:
    """The first row is published, and recorded, at batch 64, whatever is run live."""
    table = tables.map_training_summary([results.row(0, 0, 16)], further(tmp_path))
    assert table["Recorded"].tolist() == [
        f"{number}, n = 1 (1 diverged)" for number in ("−19.0", "−1.0", "−20.0", "−5.0")
    ]
    table = tables.map_training_summary([results.row(1, 0, 16)], further(tmp_path / "again"))
    assert table["Recorded"].tolist() == ["−19.0, n = 1", "−1.0, n = 1", DASH, DASH]


def test_models_that_diverged_are_counted_and_left_out() -> None:
    table = tables.map_training([results.row(0, 0), results.diverged_row(0, 1)])
    found = rows(table, *table)
    assert found[1][-3:] == [f"{x} 1 of 2 diverged" for x in ("70.0", "69.0", "1.0")]
    assert "diverged" not in "".join(map("".join, found[:1] + found[2:]))
    table = tables.map_training([results.diverged_row(0, 0, "untrained")])
    assert rows(table, *table)[4][-3:] == 3 * [f"{DASH} 1 of 1 diverged"]


def test_ways() -> None:
    runs = [run for seed in range(2) for run in results.ways(seed)]
    table = tables.ways(runs)
    assert list(table)[2:4] == ["Kept weights: on originals", "Kept weights: on maps"]
    assert rows(table, *table) == [
        ["none: base model", DASH, "90.5 (90.0–91.0)", DASH, DASH, DASH],
        ["originals", DASH, *(2 * ["91.5 (91.0–92.0)", DASH])],
        ["each map", "before", *(2 * ["80.5 (80.0–81.0)", "60.5 (60.0–61.0)"])],
        ["channels", "after", *(2 * [DASH, "70.5 (70.0–71.0)"])],
    ]


def test_ways_that_diverged_are_counted() -> None:
    lost = WayRun(way="sum_map", after=True, fresh=False, seed=0)
    fine = lost.model_copy(update={"fresh": True, "on_originals": 50.0, "on_maps": 40.0})
    table = tables.ways([lost, fine])
    gone = f"{DASH} 1 of 1 diverged"
    assert rows(table, *table) == [["sum map", "after", gone, gone, "50.0", "40.0"]]


def recorded_ways(folder: Path) -> pd.DataFrame:
    """Two seeds, the second without its copy on maps."""
    recorded.write_all([recorded.ways(0), recorded.ways(1, diverged=("each_map",))], folder)
    return evidence.map_ways(folder)


def test_recorded_ways(tmp_path: Path) -> None:
    table = tables.recorded_ways(recorded_ways(tmp_path))
    heads = ["Trained on", "n", "Recorded: test", "on images made alike", "train − test"]
    assert list(table) == heads
    alike, gap = "60.0 (60.0 to 60.0)", "6.00 (6.00 to 6.00)"
    assert rows(table, *table) == [
        ["none: base model", "2", "88.5 (88.0 to 89.0)", DASH, "2.00 (2.00 to 2.00)"],
        ["each map", "1 (1 diverged)", "69.0", "60.0", "1.00"],
        ["each map, after ReLU", "2", "77.5 (77.0 to 78.0)", alike, "3.00 (3.00 to 3.00)"],
        ["mean of the maps", "2", "90.5 (90.0 to 91.0)", alike, "2.00 (2.00 to 2.00)"],
        ["control: originals", "2", "89.5 (89.0 to 90.0)", DASH, gap],
        ["control: blurred originals", "2", "87.5 (87.0 to 88.0)", alike, gap],
        ["control: untrained maps", "2", "61.5 (61.0 to 62.0)", alike, "−1.00 (−1.00 to −1.00)"],
    ]


def test_recorded_way_differences(tmp_path: Path) -> None:
    table = tables.recorded_way_differences(recorded_ways(tmp_path))
    found = {first: rest for first, *rest in rows(table, *table)}
    assert len(found) == len(evidence.WAY_PAIRS)
    assert found["each map − control: originals"] == ["1 (1 diverged)", "−20.00", "−5.00"]
    assert found["control: blurred originals − control: originals"] == [
        "2",
        "−2.00 (−2.00 to −2.00)",
        "+0.00 (+0.00 to +0.00)",
    ]


def test_without_records_every_way_has_a_dash() -> None:
    for table in (tables.recorded_ways, tables.recorded_way_differences):
        found = table(evidence.map_ways(NOWHERE))
        assert set(found["n"]) == {"0"}
        assert {cell for row in found.iloc[:, 2:].to_numpy() for cell in row} == {DASH}


TRIALS = [trial for seed in range(2) for trial in results.trials(seed)]


def test_undefined_starts_have_a_value_per_seed() -> None:
    table = tables.undefined_starts(TRIALS)
    assert list(table)[-1] == "First step at 0.01 / weights"
    assert rows(table, *table) == [
        ["relu", "255", "originals", "0%, 0%", "25%, 25%", "0.5, 0.5", "4, 4", "0.005, 0.005"],
        ["relu", "255", "maps before", "60%, 60%", "25%, 25%", "0.5, 0.5", "1.6e+03, 1.6e+03",
         "2, 2"],
        ["leaky_relu", "255", "originals", *(5 * ["–, –"])],
    ]  # fmt: skip


def test_undefined_losses_say_where() -> None:
    table = tables.undefined_losses(TRIALS)
    assert list(table)[3:] == [
        f"{what} at {rate}" for rate in ("0.01", "0.1") for what in ("Last loss", "Dead units")
    ]
    assert rows(table, *table) == [
        ["relu", "255", "originals", *(2 * ["1, 1", "50%, 50%"])],
        ["relu", "255", "maps before", *(2 * ["nan (2:7), nan (2:7)", "50%, 50%"])],
        ["leaky_relu", "255", "originals", *(4 * ["–, –"])],
    ]


def test_recorded_undefined_losses(tmp_path: Path) -> None:
    """Of two, Wilson's interval is 0 to 66 % for none, 34 to 100 % for both."""
    made = [recorded.undefined_losses(seed, base=seed < 2) for seed in range(3)]
    recorded.write_all(made, tmp_path)
    table = tables.recorded_undefined_losses(evidence.undefined_losses(tmp_path))
    none, both = "0 of 2 (0 to 66 %)", "2 of 2 (34 to 100 %)"
    assert rows(table, *table) == [
        ["relu", "originals", none, none, "1.5", "1 of 3"],
        ["relu", "maps before", none, both, "15", "1 of 3"],
        *(["relu", images, *(4 * [DASH])] for images in SETS[2:]),
        *(["leaky_relu", images, *(4 * [DASH])] for images in SETS[:3]),
    ]


# --- chapter 04 --------------------------------------------------------------------------

ROBUST = [results.robustness(0)]


def robust(folder: Path) -> pd.DataFrame:
    """Two recorded seeds; the map model of the second one diverged."""
    lost = recorded.without_map_model(recorded.robustness(1))
    recorded.write_all([recorded.robustness(0), lost], folder)
    return evidence.robustness(folder)


def test_clean_accuracy(tmp_path: Path) -> None:
    table = tables.clean_accuracy(ROBUST, 11.5, evidence.robustness(NOWHERE))
    assert rows(table, *table) == [
        ["base model", "0", DASH, DASH, "80.0", "85.0"],
        ["map model", "0", DASH, DASH, "70.0", "75.0"],
        ["control: originals", "0", DASH, DASH, "90.0", "95.0"],
        ["first twin", "0", *(4 * [DASH])],
        ["second twin", "0", *(4 * [DASH])],
        ["always the most frequent class", DASH, DASH, DASH, "11.5", DASH],
    ]
    table = tables.clean_accuracy(ROBUST, 11.5, robust(tmp_path))
    assert rows(table, "n", "Recorded: test", "Recorded: held-out")[:2] == [
        ["2", "65.5 (65.0 to 66.0)", "60.5 (60.0 to 61.0)"],
        ["1 (1 diverged)", "55.0", "50.0"],
    ]


def test_released_robustness_begins_with_the_clamp_alone(tmp_path: Path) -> None:
    table = tables.released_robustness(ROBUST, evidence.robustness(NOWHERE))
    found = rows(table, *table)
    assert len(found) == 3 * 5
    assert found[:4] == [
        ["0 (clamp alone)", "base model", DASH, "0", DASH, "40.0"],
        ["", "map model", DASH, "0", DASH, "30.0"],
        ["", "control: originals", DASH, "0", DASH, "50.0"],
        ["", "first twin", DASH, "0", DASH, DASH],
    ]
    assert [row[:3] for row in found[10:12]] == [
        ["0.25", "base model", "10.76"],
        ["", "map model", "23.82"],
    ]
    table = tables.released_robustness(ROBUST, robust(tmp_path))
    assert table["n"].tolist()[:2] == ["2", "1 (1 diverged)"]
    assert table["Recorded"].tolist()[:2] == ["40.5 (40.0 to 41.0)", "30.0"]
    assert table["Recorded"].tolist()[5] == DASH  # eps 0.1 is not recorded


def test_recorded_attacks_mark_who_is_attacked_by_its_own_gradient(tmp_path: Path) -> None:
    table = tables.recorded_attacks(robust(tmp_path), "PGD")
    heads = ("base model", "map model", "control: originals", "first twin", "second twin")
    counts = ("2", "1 (1 diverged)", "2", "2", "2")
    assert list(table) == [
        "Perturbation",
        "ε",
        *(f"Recorded, n = {n}: {head}" for n, head in zip(counts, heads, strict=True)),
    ]
    found = rows(table, *table)
    assert [row[:2] for row in found[::3]] == [[f"PGD by {head}", "0.05"] for head in heads]
    assert found[0][2:4] == ["10 (10 to 11) †", "20"]
    assert found[3][2:5] == ["30", "0 †", "40"]
    marked = [["†" in cell for cell in row[2:]] for row in found[::3]]
    assert marked == [[judged == source for judged in range(5)] for source in range(5)]
    table = tables.recorded_attacks(evidence.robustness(tmp_path), "FGSM")
    assert len(table) == 3 * 6
    assert rows(table, *table)[0][:3] == ["random sign noise", "0.05", "40 (40 to 41)"]
    assert "†" not in "".join(rows(table, *table)[0])
    empty = tables.recorded_attacks(evidence.robustness(NOWHERE), "PGD")
    assert {cell for row in rows(empty, *empty) for cell in row[2:]} == {DASH}


def test_attacks_mark_who_is_attacked_by_its_own_gradient() -> None:
    table = tables.attacks([results.robustness(0, (0.1,))])
    assert rows(table, *table) == [
        ["random sign noise", "0.1", "40.0", "30.0", "50.0"],
        ["FGSM by base model", "0.1", "40.0 white-box", "30.0", "50.0"],
        ["FGSM by map model", "0.1", "40.0", "30.0 white-box", "50.0"],
        ["FGSM by control", "0.1", "40.0", "30.0", "50.0 white-box"],
    ]


OWN_ATTACKS = [
    ["unchanged", "0"],
    *(
        [name, eps]
        for name in (
            "random sign noise",
            "FGSM by base model",
            "FGSM, each by its own gradient",
            "PGD with restarts, each by its own gradient",
            "Square Attack, each by its own outputs",
        )
        for eps in ("0.15", "0.25")
    ),
]


CONTROLS = ("originals", "blurred originals", "untrained maps")


def test_recorded_own_attacks(tmp_path: Path) -> None:
    recorded.write_all([recorded.attacks(0), recorded.attacks(1, ["maps"])], tmp_path)
    table = tables.recorded_own_attacks(evidence.attacks(tmp_path))
    models = ("base model", "map model", *(f"control: {name}" for name in CONTROLS))
    counts = ("2", "1 (1 diverged)", "2", "2", "2")
    heads = [f"Recorded, n = {n}: {model}" for n, model in zip(counts, models, strict=True)]
    assert list(table) == ["Perturbation", "ε", "Images", *heads]
    assert rows(table, "Perturbation", "ε") == OWN_ATTACKS
    assert table["Images"].tolist() == 7 * ["10,000"] + 4 * ["500"]
    found = rows(table, *heads)
    assert found[0][:3] == ["60.5 (60.0 to 61.0)", "50.0", "70.5 (70.0 to 71.0)"]
    assert found[5][1] == "30.0"
    # A strong attack costs ten, and of the untrained maps' second seed ten more.
    assert found[7][-1] == "55.5 (51.0 to 60.0)"
    empty = tables.recorded_own_attacks(evidence.attacks(NOWHERE))
    assert {cell for row in rows(empty, *empty) for cell in row[2:]} == {DASH}


def test_recorded_own_differences_are_paired_by_seed(tmp_path: Path) -> None:
    made = [recorded.attacks(0), recorded.attacks(1), recorded.attacks(2, ["maps"])]
    recorded.write_all([*made, recorded.attacks(3, ["untrained"])], tmp_path)
    table = tables.recorded_own_differences(evidence.attacks(tmp_path))
    heads = [f"Recorded: − {name}" for name in ("base model", *(f"control: {c}" for c in CONTROLS))]
    assert list(table) == ["Perturbation", "ε", "Images", "n", *heads]
    assert rows(table, "Perturbation", "ε") == OWN_ATTACKS
    assert table["n"][0] == "3 (1 diverged), 3 (1 diverged), 3 (1 diverged), 2 (2 diverged)"
    same = [f"{gain} ({gain} to {gain})" for gain in ("−10.0", "−20.0", "−30.0", "−40.0")]
    found = rows(table, *heads)
    assert found[0] == same
    # By a strong attack the untrained maps' model of seed 1 has 10 less; seeds 2 and 3 are lost.
    assert found[10] == [*same[:3], "−35.0 (−40.0 to −30.0)"]


def test_recorded_paired_images(tmp_path: Path) -> None:
    """1 against 10, 12 in 2048: p = 0.012; 5 against 14: p = 0.064."""
    made = [recorded.attacks(0), recorded.attacks(4), recorded.attacks(2, ["maps"])]
    recorded.write_all(made, tmp_path)
    table = tables.recorded_paired_images(evidence.attacks(tmp_path))
    assert [*table][2:] == [
        "Images",
        "Recorded: only base model right",
        "only map model right",
        "p < 0.05, by who is ahead (seeds)",
    ]
    assert rows(table, "Perturbation", "ε") == OWN_ATTACKS
    assert rows(table, *table)[10][2:] == ["500", "1, 5", "10, 14", "base 0, maps 1, of 2"]
    # 41 and 45 against 14 and 18.
    other = tables.recorded_paired_images(evidence.attacks(tmp_path), "untrained")
    assert rows(other, *other)[0][3:] == ["41, 45", "14, 18", "untrained 2, maps 0, of 2"]
    empty = tables.recorded_paired_images(evidence.attacks(NOWHERE))
    assert rows(empty, *empty)[0][2:] == [DASH] * 4


def test_own_attacks_leave_out_eps_1() -> None:
    table = tables.own_attacks([results.robustness(0, (0.1,))])
    assert rows(table, *table) == [
        ["FGSM, each by its own gradient", "0.1", "40.0", "30.0", "50.0"],
        ["PGD, one path, each by its own gradient", "0.1", "35.0", "25.0", "45.0"],
        ["PGD with restarts, each by its own gradient", "0.1", "34.0", "24.0", "44.0"],
        ["Square Attack, each by its own outputs", "0.1", "38.0", "22.0", "48.0"],
    ]


def test_masking_says_yes_where_the_first_number_exceeds_the_second() -> None:
    runs = [results.robustness(seed) for seed in (0, 5)]
    runs[1] = runs[1].model_copy(update={"no_gradient": dict.fromkeys(VICTIMS, 0.0)})
    table = tables.masking(runs, 0.1)
    assert len(table) == 6 * 3
    seen = {(row[0], row[1]): row[2:] for row in rows(table, *table) if row[-1] != "no"}
    names = {str(sign): name for sign, name in adversarial_robustness.SIGNS_OF_MASKING.items()}
    # FGSM by another model leaves each as many as FGSM by itself: equal is not more.
    assert seen == {
        (names["gradient-free"], "map model"): [
            "26.5 (24.0–29.0)", "24.5 (22.0–27.0)", "yes, 2 of 2"
        ],
        (names["no gradient"], "control: originals"): [
            "1.2 (0.0–2.5)", "0.0 (0.0–0.0)", "yes, 1 of 2"
        ],
        **{
            (names[sign], model): [a, "35.0 (35.0–35.0)", found]
            for sign, model, a, found in (
                ("eps 1", "base model", "42.5 (40.0–45.0)", "yes, 2 of 2"),
                ("eps 1", "control: originals", "52.5 (50.0–55.0)", "yes, 2 of 2"),
                ("eps 1 iterated", "base model", "36.5 (34.0–39.0)", "yes, 1 of 2"),
                ("eps 1 iterated", "control: originals", "46.5 (44.0–49.0)", "yes, 2 of 2"),
            )
        },
    }  # fmt: skip


def test_paired_images_count_seed_by_seed() -> None:
    """7 against 2: twice (1 + 9 + 36) of 512; 7 against 3: twice (1 + 10 + 45 + 120) of 1024."""
    table = tables.paired_images([results.robustness(seed, (0.1,)) for seed in (0, 1)])
    assert rows(table, "Perturbation", "ε", "Images")[:4] == [
        ["unchanged", "0", "1,200"],
        ["as released", "0", "1,200"],
        ["as released", "0.1", "1,200"],
        ["random sign noise", "0.1", "1,200"],
    ]
    assert len(table) == 1 + 2 + 4 + 4
    assert set(table["Images"][7:]) == {"40"}
    counts = rows(table, "Only base right", "Only maps right", "p")
    assert counts == len(table) * [["7, 7", "2, 3", "0.180, 0.344"]]


def test_paired_images_of_a_tiny_p() -> None:
    run = results.robustness(0)
    outcomes = tuple(o.model_copy(update={"only_base": 40}) for o in run.outcomes)
    table = tables.paired_images([run.model_copy(update={"outcomes": outcomes})])
    assert set(table["p"]) == {"<0.001"}


def test_what_needs_a_diverged_map_model_is_a_dash() -> None:
    run = results.robustness(0, (0.1,))
    runs = [run.model_copy(update={"maps_divergence": results.DIVERGENCE})]
    gone = f"{DASH} 1 of 1 diverged"
    clean = tables.clean_accuracy(runs, 11.5, evidence.robustness(NOWHERE))
    assert rows(clean, *clean)[1] == ["map model", "0", DASH, DASH, gone, gone]
    attacked = rows(tables.attacks(runs), *tables.attacks(runs))
    assert [[gone in value for value in row[2:]] for row in attacked] == [
        [False, True, False],
        [False, True, False],
        [True, True, True],
        [False, True, False],
    ]
    masked = tables.masking(runs, 0.1)
    assert rows(masked, *masked)[1][1:] == ["map model", DASH, DASH, DASH]
    paired = tables.paired_images(runs)
    assert rows(paired, *paired)[0] == ["unchanged", "0", DASH, DASH, DASH, DASH]


def test_transfer_from_a_diverged_map_model_is_no_sign() -> None:
    """FGSM by the map model leaves the base model 40, by the control 41, by itself 40.5 %."""
    run = results.robustness(0, (0.1,))
    own, control = ({"base": value, "maps": 0.0, "originals": 0.0} for value in (40.5, 41.0))
    new = {"fgsm on base": own, "fgsm on originals": control}
    outcomes = tuple(
        o.model_copy(update={"accuracy": new.get(o.perturbation, o.accuracy)}) for o in run.outcomes
    )
    run = run.model_copy(update={"outcomes": outcomes})
    assert run.masking("base", 0.1)["transfer"] == (40.5, 40.0)
    diverged = run.model_copy(update={"maps_divergence": results.DIVERGENCE})
    assert diverged.masking("base", 0.1)["transfer"] == (40.5, 41.0)


def test_robustness_summary(tmp_path: Path) -> None:
    """Recorded, at 0.25: by the base model 30 - 20, by the map model 10 - 40, by their own PGD."""
    table = tables.robustness_summary(ROBUST, robust(tmp_path))
    assert list(table) == ["Quantity", "Published", "Authors' log", "Recorded", "This run"]
    assert [row[0].split(": ")[0] for row in rows(table, "Quantity")] == [
        "Fig. 10, as released, clamp alone",
        "Fig. 10, as released, ε = 0.1",
        "Fig. 10, as released, ε = 0.25",
        "FGSM by base model, ε = 0.1",
        "FGSM by base model, ε = 0.25",
        "FGSM by map model, ε = 0.1",
        "FGSM by map model, ε = 0.25",
        "PGD with restarts, each by its own gradient, ε = 0.1",
        "PGD with restarts, each by its own gradient, ε = 0.25",
    ]
    assert table["Published"].tolist() == [DASH, DASH, "+13.06", *6 * [DASH]]
    lost = ", n = 1 (1 diverged)"
    assert table["Recorded"].tolist() == [
        f"−10.0{lost}", DASH, f"−10.0{lost}", DASH, f"+10.0{lost}", DASH, f"−30.0{lost}",
        DASH, f"−10.0{lost}",
    ]  # fmt: skip
    assert set(table["This run"]) == {"−10.0, n = 1"}


# --- chapters 05 and 06 ------------------------------------------------------------------


def test_evolution_accuracy_beside_the_printed_epochs(tmp_path: Path) -> None:
    recorded.write_all([recorded.evolution(0), recorded.evolution(2)], tmp_path)
    epochs = evidence.evolution(tmp_path)
    shown = [looked.shown("scratch"), looked.shown("pretrained")]
    table = tables.evolution_accuracy("scratch", epochs, 4000, shown)
    assert list(table) == ["Epoch", "Published", "Recorded, n = 2", "This run"]
    assert table.to_numpy().tolist()[:3] == [
        ["1", "60", "61.0 (60.0 to 62.0)", "60.0"],
        ["2", "80", "81.0 (80.0 to 82.0)", "80.0"],
        ["4", "83", DASH, DASH],
    ]
    other = tables.evolution_accuracy("pretrained", epochs, 4000, [])
    assert rows(other, "Epoch", "Published", "Recorded, n = 0", "This run")[0] == [
        *("1", "59", DASH, DASH),
    ]


def test_courses() -> None:
    table = tables.courses([looked.shown("frozen")])
    assert table.to_numpy().tolist() == [
        ["pretrained, convolutions frozen", "2", "100", "95.0", "80.0"]
    ]


def test_what_pictures_reach() -> None:
    looks = [dict(recorded.LOOKS, epoch=0), dict(recorded.LOOKS, epoch=3, high_frequency=None)]
    found = [feature_evolution.Looks.model_validate(one) for one in looks]
    table = tables.reached({"published": found})
    assert table.to_numpy().tolist() == [
        ["as published", "0", "5.0", "0.60", "0.200", "0.100", "50"],
        ["as published", "3", "5.0", "0.60", "0.200", "0.100", DASH],
    ]


def test_judgements_before_and_after_training(tmp_path: Path) -> None:
    """Before, the second class's picture is taken for the first; runs on few images stand apart."""
    agreement = (10.0, 20.0, 30.0, 40.0)
    few = recorded.evolution(0, images=400, agreement=agreement)
    recorded.write_all([recorded.evolution(s) for s in (0, 1)] + [few], tmp_path)
    looks = evidence.evolution_looks(tmp_path)
    table = tables.judgements([looked.shown("scratch")], looked.judging(), looks)
    assert rows(table, "Regularizer", "Epoch", "Recorded: agrees (%)", "probability (%)") == [
        [name, epoch, "50.0 (50.0 to 50.0), n = 2", probability]
        for name in ("for small pictures", "as published")
        for epoch, probability in (("before", "50"), ("2", "100"))
    ]
    assert table["This run: agrees (%)"].tolist()[:2] == [
        "50 (7 to 93), 4 pictures",
        "100 (40 to 100), 4 pictures",
    ]
    nothing = tables.judgements(
        [looked.shown("harder")], looked.judging(), evidence.evolution_looks(NOWHERE)
    )
    assert nothing["Recorded: agrees (%)"].tolist() == [DASH, DASH]


def test_recorded_complexity(tmp_path: Path) -> None:
    """Total variation doubles three times from 0.1; courses without records have dashes."""
    recorded.write_all([recorded.evolution(seed) for seed in (0, 1)], tmp_path)
    table = tables.recorded_complexity(evidence.evolution_looks(tmp_path))
    assert list(table) == [
        *("Course", "Regularizer", "n", "total variation", "high frequencies (%)"),
        *("compressed (bytes)", "confusion", "judge's probability (%)"),
    ]
    numbers = [0.8, 50.0, 2000, 0.3, 40.0]
    forms = (".3f", ".1f", ",.0f", ".2f", ".1f")
    written = [format(value, form) for value, form in zip(numbers, forms, strict=True)]
    assert table.to_numpy().tolist()[0] == [
        *("from scratch", "for small pictures", "2"),
        *(f"{text} ({text} to {text})" for text in written),
    ]
    assert table.to_numpy().tolist()[-1][2:] == ["0", *[DASH] * 5]
    assert len(table) == 5 * 2


def test_evolution_summary(tmp_path: Path) -> None:
    made = recorded.evolution(0, agreement=(10.0, 20.0, 30.0, 40.0))
    recorded.write_all([made, recorded.evolution(1, images=400)], tmp_path)
    shown = [looked.shown("scratch", (85.0, 80.0)), looked.shown("harder")]
    found = evidence.evolution(tmp_path), evidence.evolution_looks(tmp_path)
    table = tables.evolution_summary(shown, looked.judging(), *found, 4000)
    lines = rows(table, "Quantity", "Published", "Recorded", "This run")
    assert lines[:2] == [
        ["best validation accuracy, from scratch (%)", "93", "90.0, n = 1", "85.0"],
        ["best validation accuracy, pretrained on other classes (%)", "96", DASH, DASH],
    ]
    assert lines[2][1:] == [DASH, "40.0, n = 1", "100"]
    assert lines[3][1:] == [DASH, DASH, "100"]
    assert set(table["Authors' log"]) == {DASH}


def test_recorded_large(tmp_path: Path) -> None:
    recorded.write_all([recorded.pictures(0), recorded.pictures(0, "imagenet", (0,))], tmp_path)
    table = tables.recorded_large(evidence.large_networks(tmp_path))
    assert sorted(table.to_numpy().tolist()) == [
        ["imagenet", "1", DASH, "3.0", "0.62", "0.100", "0.20"],
        ["scratch", "1", "51.0", "3.0", "0.62", "0.200", "0.40"],
    ]
    assert tables.recorded_large(evidence.large_networks(NOWHERE)).empty


@pytest.fixture
def seen(tmp_path: Path) -> pd.DataFrame:
    """One seed's numbers."""
    recorded.write_all([recorded.seeing(0)], tmp_path)
    return evidence.seeing(tmp_path)


NOTHING_SEEN = evidence.seeing(NOWHERE)


def test_purity(seen: pd.DataFrame) -> None:
    table = tables.purity(looked.maps(), seen)
    assert table.to_numpy().tolist() == [
        ["act1", "2 of 3", "50.0", "45.0", "50.0", "45.0"],
        ["act3", "2 of 3", "80.0", "47.0", "90.0", "46.0"],
    ]
    assert list(table)[2] == "Recorded, n = 1: in one class (%)"
    empty = tables.purity(looked.maps(), NOTHING_SEEN)
    assert rows(empty, "before training (%)") == [[DASH], [DASH]]


def test_moved(seen: pd.DataFrame) -> None:
    table = tables.moved(looked.invariances(), seen)
    assert table.to_numpy().tolist()[:2] == [
        ["translation", "−2, −1, 1, 2", "act1", "90.0", "75.0"],
        ["translation", "−2, −1, 1, 2", "fc", "30.0", "25.0"],
    ]
    assert len(table) == 6


def test_occluded(seen: pd.DataFrame) -> None:
    table = tables.occluded(looked.occluded(), seen)
    assert list(table) == ["Hidden", "Recorded, n = 1: fall of the logit", "This run, 2 images"]
    assert table.to_numpy().tolist() == [["centre", "3.00", "4.00"], ["border", "1.00", "1.00"]]


def test_correspondence(seen: pd.DataFrame) -> None:
    table = tables.correspondence(looked.corresponding(), seen)
    assert table.to_numpy().tolist()[:2] == [
        ["T-shirt/top: left sleeve", "act3", "40.0", "50.0", "20.0", "35.0"],
        ["T-shirt/top: left sleeve", "fc", "20.0", "30.0", "20.0", "35.0"],
    ]
    assert len(table) == 10


def test_first_layers(seen: pd.DataFrame) -> None:
    """Of random filters 15/16 of the power is aliased by a stride of 4, 3/4 by one of 2."""
    table = tables.first_layers(looked.first_layers(), seen)
    assert table.to_numpy().tolist() == [
        ["11×11, stride 4", "test accuracy", "70.0", "70.0", DASH],
        ["11×11, stride 4", "dead maps", "20.0", "20.0", DASH],
        ["11×11, stride 4", "power at middle frequencies", "40.0", "40.0", "50.0"],
        ["11×11, stride 4", "power that the stride aliases", "90.0", "90.0", "93.8"],
        ["7×7, stride 2", "test accuracy", "75.0", "75.0", DASH],
        ["7×7, stride 2", "dead maps", "5.0", "5.0", DASH],
        ["7×7, stride 2", "power at middle frequencies", "50.0", "50.0", "50.0"],
        ["7×7, stride 2", "power that the stride aliases", "60.0", "60.0", "75.0"],
    ]


def test_sanity_checks(seen: pd.DataFrame) -> None:
    table = tables.sanity(looked.sanity(), seen)
    assert table.to_numpy().tolist()[5:] == [
        ["deconvnet", "fc and all above drawn anew", "0.70", "0.70"],
        ["deconvnet", "conv1 and all above drawn anew", "0.30", "−0.30"],
        ["deconvnet", "a network trained apart", "0.60", "0.60"],
        ["deconvnet", "a network of shuffled labels", "0.30", "0.30"],
        ["deconvnet", "an edge detector", "−0.10", "−0.10"],
    ]


def test_seeing_summary(seen: pd.DataFrame) -> None:
    arguments = looked.maps(), looked.invariances(), looked.occluded()
    table = tables.seeing_summary(*arguments, seen)
    assert rows(table, "Recorded", "This run") == [
        ["+30.0, n = 1", "+40.0"],
        ["+60.0, n = 1", "+50.0"],
        ["+60.0, n = 1", "+50.0"],
        ["+2.00, n = 1", "+3.00"],
    ]
    assert set(table["Published"]) == {DASH}
    assert set(tables.seeing_summary(*arguments, NOTHING_SEEN)["Recorded"]) == {DASH}
