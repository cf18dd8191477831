"""Evidence of records made by hand: numbers worked out on paper, and what is left out."""

import math
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from fmlib import evidence
from fmlib.caching import RELEASED
from fmlib.experiments.adversarial_robustness import FGSM_ON
from fmlib.experiments.grids import MAP_WAYS
from tests import recorded

# Multiply-adds of the base CNN on one image of 28x28 pixels, forwards: 15 maps of 24x24 from
# 5x5 pixels; 30 maps of 8x8 from 15 maps of 5x5; 480 to 64; 64 to 10.
CONV1 = 15 * 24 * 24 * 25
FORWARD = CONV1 + 30 * 8 * 8 * 15 * 25 + 480 * 64 + 64 * 10
# A step goes forwards, to the gradients of the weights, and to those of every input but the first.
STEP = 2 * FORWARD + (FORWARD - CONV1)


def caching(folder: Path, *records: recorded.Made) -> pd.DataFrame:
    """The evidence of the given records alone."""
    recorded.write_all(records, folder)
    return evidence.caching(folder)


def test_costs_of_plain_epochs_by_hand(tmp_path: Path) -> None:
    table = caching(tmp_path, recorded.caching(0, accuracies=[50.0, 80.0]))
    assert table["epoch"].tolist() == [1, 2]
    assert table["last"].tolist() == [False, True]
    assert table["steps"].tolist() == [15, 30]
    assert table["images"].tolist() == [60_000, 120_000]
    assert table["operations"].tolist() == [60_000 * STEP, 120_000 * STEP]
    assert table["test_accuracy"].tolist() == [50.0, 80.0]
    assert math.isnan(table["train_accuracy"][0])
    assert table["train_accuracy"][1] == 81.0


def test_costs_of_a_cached_epoch_add_the_first_convolution_of_what_is_scored(
    tmp_path: Path,
) -> None:
    """All but the first batch are looked up; those trained on are scored once more."""
    table = caching(tmp_path, recorded.caching(0, "cached", [50.0], skipped=20_000))
    [row] = table.to_dict("records")
    looked_up = 60_000 - 4096
    assert row["operations"] == 40_000 * STEP + (looked_up + 40_000) * CONV1
    assert [row[name] for name in ("seen", "trained", "skipped")] == [60_000, 40_000, 20_000]


def test_runs_at_random_score_nothing(tmp_path: Path) -> None:
    table = caching(tmp_path, recorded.caching(0, "random", [50.0], skipped=20_000))
    assert table["operations"].tolist() == [40_000 * STEP]


def test_a_rule_that_goes_by_losses_scores_by_forward_passes(tmp_path: Path) -> None:
    recorded.write_all([recorded.selective(0)], tmp_path)
    [row] = evidence.skipping(tmp_path).to_dict("records")
    assert row["condition"] == "selective_backprop"
    assert row["operations"] == 40_000 * STEP + 60_000 * FORWARD
    assert row["seconds"] == 2.0


def test_variants_name_what_their_cache_does_otherwise(tmp_path: Path) -> None:
    other = RELEASED.model_copy(update={"hit": "below", "reset": "never"})
    clothes = recorded.variant(1, dataset="fashion-mnist")
    recorded.write_all([recorded.variant(0, cache=other), clothes], tmp_path)
    table = evidence.caching_variants(tmp_path)
    found = table[table["last"]].set_index("seed").sort_index()
    assert found["reading"].tolist() == ["hit below, reset never", "released"]
    assert found["dataset"].tolist() == ["mnist", "fashion-mnist"]
    assert found["input_scale"].tolist() == ["released"] * 2


def test_caches_without_their_threshold_are_kept_apart_and_others_left_out(
    tmp_path: Path,
) -> None:
    other = RELEASED.model_copy(update={"reset": "never"})
    table = caching(
        tmp_path,
        recorded.caching(0, "cached", [50.0]),
        recorded.caching(0, "cached", [60.0], cache=recorded.NEAREST),
        recorded.caching(0, "cached", [70.0], cache=other),
    )
    found = dict(zip(table["condition"], table["test_accuracy"], strict=True))
    assert found == {"cached": 50.0, "nearest": 60.0}
    assert evidence.final(table, 4096, "cached") == {0: 50.0}


def test_runs_with_several_threads_and_small_runs_are_no_evidence(tmp_path: Path) -> None:
    table = caching(
        tmp_path,
        recorded.caching(0),
        recorded.caching(1, threads=2),
        recorded.caching(2, n_train=3000),
    )
    assert set(table["seed"]) == {0}


def test_runs_on_another_device_stand_in_a_table_of_their_own(tmp_path: Path) -> None:
    recorded.write_all(
        [recorded.caching(0), recorded.caching(0, "cached", device="cuda"),
         recorded.caching(1, device="cuda")],
        tmp_path,
    )  # fmt: skip
    cpu, cuda = (evidence.caching(tmp_path, device) for device in ("cpu", "cuda"))
    assert [(row.seed, row.condition) for row in cpu.itertuples() if row.last] == [(0, "plain")]
    assert set(cuda["seed"]) == {0, 1}
    # So the cached run on the graphics card has no plain run to be paired with.
    assert evidence.final_differences(cpu, 4096, "cached", "plain") == {}
    assert evidence.final_differences(cuda, 4096, "cached", "plain") == {}


def test_deleted_records_are_gone_at_once(tmp_path: Path) -> None:
    paths = recorded.write_all([recorded.caching(seed) for seed in range(3)], tmp_path)
    assert len(evidence.final(evidence.caching(tmp_path), 4096, "plain")) == 3
    paths[1].unlink()
    table = evidence.caching(tmp_path)
    assert evidence.final(table, 4096, "plain") == {0: 80.0, 2: 80.0}
    assert set(table["path"]) == {str(path.relative_to(tmp_path)) for path in paths[::2]}


def test_an_edited_record_is_no_evidence(tmp_path: Path) -> None:
    [path] = recorded.write_all([recorded.caching(0)], tmp_path)
    path.write_text(path.read_text().replace("80.0", "99.0"))
    assert evidence.caching(tmp_path).empty


@pytest.mark.parametrize(
    "read",
    [evidence.caching, evidence.further_training, evidence.robustness, evidence.attacks,
     evidence.exploration, evidence.stages, evidence.undefined_losses, evidence.map_ways,
     evidence.deciles, evidence.embeddings, evidence.evolution, evidence.evolution_looks,
     evidence.large_networks, evidence.seeing, evidence.map_convergence,
     evidence.moved_probability, evidence.seen_by_epoch, evidence.inverted, evidence.inversion,
     evidence.dissected, evidence.dissected_kinds, evidence.combined, evidence.by_chance,
     evidence.ablation, evidence.ablation_by_epoch, evidence.transfers, evidence.overlaps],
)  # fmt: skip
def test_without_records_there_are_columns_and_no_rows(read: object, tmp_path: Path) -> None:
    assert callable(read)
    table = read(tmp_path / "nowhere")
    assert table.empty
    assert [*table][:: len(table.columns) - 1] == ["seed", "path"]


def test_diverged_runs_are_counted_without_a_number(tmp_path: Path) -> None:
    table = caching(
        tmp_path,
        recorded.caching(0, accuracies=[50.0, 80.0]),
        recorded.caching(1, accuracies=[50.0, 9.8], diverged=True),
        recorded.caching(0, "cached", accuracies=[50.0, 81.5]),
        recorded.caching(1, "cached", accuracies=[50.0, 82.0]),
        recorded.caching(2, "cached", accuracies=[50.0, 83.0]),
    )
    assert evidence.final(table, 4096, "plain") == {0: 80.0, 1: None}
    gains = evidence.final_differences(table, 4096, "cached", "plain")
    assert gains == {0: 1.5, 1: None}  # seed 2 has no pair


def test_by_seed_refuses_two_numbers_of_one_seed(tmp_path: Path) -> None:
    table = caching(tmp_path, recorded.caching(0))
    with pytest.raises(ValueError, match="several rows of one seed"):
        evidence.by_seed(table, "test_accuracy")
    assert evidence.by_seed(table, "test_accuracy", epoch=1) == {0: 50.0}
    assert evidence.by_seed(table, "train_accuracy", epoch=1) == {}


def test_differences_are_of_the_same_seed() -> None:
    found = evidence.differences({0: 5.0, 1: 7.0, 2: None, 4: 1.0}, {4: 3.0, 2: 1.0, 0: 4.0})
    assert found == {0: 1.0, 2: None, 4: -2.0}


def test_further_training_by_hand(tmp_path: Path) -> None:
    recorded.write_all(
        [recorded.maps(1), recorded.maps(1, "originals"), recorded.maps(2, "originals"),
         recorded.maps(3, diverged=True)],
        tmp_path,
    )  # fmt: skip
    table = evidence.further_training(tmp_path)
    models = {
        model: evidence.of_model(table, "mnist", 64, model)
        for model in ("base", "maps", "originals")
    }
    assert {m: evidence.outcomes(rows, "test") for m, rows in models.items()} == {
        "base": {1: 89.0, 2: 90.0, 3: 91.0},
        "maps": {1: 70.0, 3: None},
        "originals": {1: 90.0, 2: 91.0},
    }
    assert evidence.outcomes(models["maps"], "gap") == {1: 1.0, 3: None}
    assert models["maps"]["tests"].tolist()[0] == [50.0, 70.0]
    # Of the maps whose correlation is defined, 0.2 and 0.4 without a blur, 0.5 and 0.7 with it.
    assert table["sharp"].tolist() == pytest.approx([0.3] * 4)
    assert table["blurred"].tolist() == pytest.approx([0.6] * 4)
    assert evidence.of_model(table, "fashion-mnist", 64, "base").empty


def test_further_training_by_epoch_begins_at_the_base_model(tmp_path: Path) -> None:
    recorded.write_all([recorded.maps(1), recorded.maps(2, diverged=True)], tmp_path)
    table = evidence.further_training(tmp_path)
    found = evidence.further_by_epoch(table, "mnist", 64, "maps")
    assert found == {0: {1: 89.0}, 1: {1: 50.0}, 2: {1: 70.0}}
    assert evidence.further_by_epoch(table, "mnist", 256, "maps") == {}


def ways(folder: Path) -> pd.DataFrame:
    """Two seeds, the second without its copy on maps."""
    recorded.write_all([recorded.ways(1), recorded.ways(2, diverged=("each_map",))], folder)
    return evidence.map_ways(folder)


def test_ways_by_hand(tmp_path: Path) -> None:
    table = ways(tmp_path)
    ends = {way: evidence.of_way(table, way) for way in ("base", "each_map", "blurred")}
    assert {way: evidence.outcomes(rows, "test") for way, rows in ends.items()} == {
        "base": {1: 89.0, 2: 90.0},
        "each_map": {1: 70.0, 2: None},
        "blurred": {1: 88.0, 2: 89.0},
    }
    assert evidence.outcomes(ends["blurred"], "gap") == {1: 6.0, 2: 6.0}
    assert evidence.outcomes(ends["each_map"], "on_made") == {1: 60.0, 2: None}
    assert ends["blurred"]["sigma"].tolist() == [1.5, 1.5]
    assert evidence.of_way(table, "sum_map").empty


def test_ways_are_compared_by_seed(tmp_path: Path) -> None:
    table = ways(tmp_path)
    less = evidence.way_differences(table, "each_map", "originals", "test")
    assert less == {1: -20.0, 2: None}
    gaps = evidence.way_differences(table, "originals", "base", "gap")
    assert gaps == {1: 4.0, 2: 4.0}  # 95 - 89 less 90 - 88


def test_ways_by_epoch_begin_at_the_base_models_of_those_that_came_through(tmp_path: Path) -> None:
    table = ways(tmp_path)
    found = evidence.way_by_epoch(table, "each_map")
    assert found == {0: {1: 89.0}, 1: {1: 51.0}, 2: {1: 70.0}}
    assert evidence.way_by_epoch(table, "blurred")[1] == {1: 51.0, 2: 52.0}
    assert evidence.way_by_epoch(table, "sum_map") == {}


def test_ways_that_are_compared_are_recorded() -> None:
    pairs = evidence.WAY_PAIRS
    assert {way for pair in pairs for way in pair} == {"base", *MAP_WAYS}
    assert all(way != other for way, other in pairs)
    assert len(set(pairs)) == len(pairs)


def test_robustness_by_hand(tmp_path: Path) -> None:
    lost = recorded.without_map_model(recorded.robustness(1))
    recorded.write_all([recorded.robustness(0), lost], tmp_path)
    table = evidence.robustness(tmp_path)
    own = FGSM_ON["maps"]
    assert evidence.judged(table, "unchanged", 0.0, "base") == {0: 60.0, 1: 61.0}
    assert evidence.judged(table, "test", 0.0, "maps") == {0: 55.0, 1: None}
    assert evidence.judged(table, own, 0.15, "maps") == {0: 10.0, 1: None}
    assert evidence.judged(table, own, 0.15, "twin") == {0: 60.0, 1: None}
    assert evidence.judged(table, "pgd on twin", 0.25, "twin") == {0: 30.0, 1: 31.0}
    assert evidence.judged(table, own, 0.5, "twin") == {}


def test_attacks_of_models_by_themselves_by_hand(tmp_path: Path) -> None:
    made = [recorded.attacks(0), recorded.attacks(1, ["maps"]), recorded.attacks(2, ["blurred"])]
    recorded.write_all([*made, recorded.attacks(0, input_scale="255")], tmp_path)
    table = evidence.attacks(tmp_path)
    gentle, other = (table[table["input_scale"] == scale] for scale in ("unit", "255"))
    judged = partial(evidence.judged, gentle)
    assert judged("test", 0.0, "base") == {0: 65.0, 1: 66.0, 2: 67.0}
    assert judged("test", 0.0, "maps") == {0: 55.0, 1: None, 2: 57.0}
    assert judged("own restarts", 0.25, "blurred") == {0: 50.0, 1: 51.0, 2: None}
    assert judged("own squares", 0.15, "untrained") == {0: 60.0, 1: 51.0, 2: 42.0}
    # The map model at place 1 is compared with the base model at 0 and the blurred at 3.
    assert judged("own fgsm", 1.0, "base", "alone") == {0: 1.0, 1: None, 2: 3.0}
    assert judged("own fgsm", 1.0, "base", "maps_alone") == {0: 10.0, 1: None, 2: 12.0}
    assert judged("own fgsm", 1.0, "blurred", "alone") == {0: 31.0, 1: None, 2: None}
    assert judged("own fgsm", 1.0, "maps", "alone") == dict.fromkeys(range(3))
    assert set(table[table["perturbation"] == "own squares"]["n"]) == {500}
    assert evidence.judged(other, "unchanged", 0.0, "originals") == {0: 70.0}
    with pytest.raises(ValueError, match="several rows of one seed"):
        evidence.judged(table, "unchanged", 0.0, "originals")


def test_exploration_by_hand(tmp_path: Path) -> None:
    recorded.write_all([recorded.exploration(0), recorded.exploration(1, diverged=1)], tmp_path)
    table = evidence.exploration(tmp_path)
    found = {
        quantity: evidence.outcomes(rows, "value") for quantity, rows in table.groupby("quantity")
    }
    assert found["PCA"] == {0: 40.0, 1: 41.0}
    assert found["the outlying: control"] == {0: 80.0, 1: None}
    assert found["trend train"] == {0: 0.9, 1: None}


def test_deciles_by_hand(tmp_path: Path) -> None:
    recorded.write_all([recorded.exploration(0), recorded.exploration(1, diverged=1)], tmp_path)
    table = evidence.deciles(tmp_path)
    assert len(table) == 2 * 2 * 10
    last = table[table["decile"] == 10]
    assert evidence.outcomes(last, "wrong", split="test") == {0: pytest.approx(1.8), 1: None}
    assert evidence.outcomes(last, "wrong", split="train") == {0: pytest.approx(0.9), 1: None}


def test_embeddings_by_hand(tmp_path: Path) -> None:
    recorded.write_all([recorded.embeddings(0), recorded.embeddings(1)], tmp_path)
    table = evidence.embeddings(tmp_path)
    assert set(table["images"]) == {70_000}
    assert evidence.by_seed(table, "value", quantity="t-SNE") == {0: 96.0, 1: 97.0}


def test_stages_name_the_least_similar(tmp_path: Path) -> None:
    recorded.write_all([recorded.stages(0, lowest=0.7)], tmp_path)
    early, late = evidence.stages(tmp_path).to_dict("records")
    assert (early["stage"], early["lowest"], early["image"], early["own"]) == ("early", 0.7, 1, 0)
    assert late["lowest"] == pytest.approx(0.97)


def test_undefined_losses_say_what_had_no_base_model(tmp_path: Path) -> None:
    records = [recorded.undefined_losses(0), recorded.undefined_losses(1, base=False)]
    recorded.write_all(records, tmp_path)
    table = evidence.undefined_losses(tmp_path)
    at = table[(table["learning_rate"] == 0.1) & (table["images"] == "maps before")]
    assert at["undefined"].tolist() == [True, None]
    assert table[table["images"] == "originals"]["undefined"].tolist()[:2] == [False, False]


def test_courses_by_hand(tmp_path: Path) -> None:
    recorded.write_all([recorded.evolution(1), recorded.evolution(0, "harder", (40.0,))], tmp_path)
    table = evidence.evolution(tmp_path)
    scratch = table[table["course"] == "scratch"]
    assert scratch["epoch"].tolist() == [1, 2, 3]
    assert scratch["accuracy"].tolist() == [61, 81, 91]
    assert scratch["loss"].tolist() == [1, 1 / 2, 1 / 3]
    assert set(scratch["train_accuracy"]) == {96}
    assert set(scratch["images"]) == {4000}
    assert evidence.by_seed(table, "accuracy", course="harder") == {0: 40}


def test_looks_of_courses_by_hand(tmp_path: Path) -> None:
    """Small sizes count: all images of the chapter travel in the package."""
    few = recorded.evolution(0, images=400, confusion=(None, 0.1, 0.2, 0.3), published={
        "confusion": (0.9,) * 4
    })  # fmt: skip
    recorded.write_all([few, recorded.evolution(0, images=399)], tmp_path)
    table = evidence.evolution_looks(tmp_path)
    assert len(table) == 2 * 4
    small = table[table["regularizer"] == "small"]
    assert math.isnan(small["accuracy"].tolist()[0])
    assert small["accuracy"].tolist()[1:] == [60, 80, 90]
    assert small["variation"].tolist() == [0.1, 0.2, 0.4, 0.8]
    assert evidence.outcomes(small, "confusion", epoch=0) == {0: None}
    assert evidence.by_seed(table, "confusion", regularizer="published", epoch=3) == {0: 0.9}
    assert list(table)[6:-1] == list(evidence.LOOKS)


def test_large_networks_by_hand(tmp_path: Path) -> None:
    """The last of two epochs; ImageNet's network was not trained."""
    made = [recorded.pictures(0), recorded.pictures(4), recorded.pictures(0, "imagenet", (0,))]
    recorded.write_all(made, tmp_path)
    table = evidence.large_networks(tmp_path)
    scratch = table[table["start"] == "scratch"]
    assert evidence.by_seed(scratch, "accuracy") == {0: 51, 4: 51}
    assert evidence.by_seed(scratch, "activation") == {0: 3, 4: 4}
    assert evidence.by_seed(scratch, "probability") == {0: 0.625, 4: 0.625}
    assert evidence.by_seed(scratch, "variation") == {0: 0.2, 4: 0.2}
    assert evidence.by_seed(scratch, "confusion") == {0: 0.4, 4: 0.4}
    assert evidence.outcomes(table, "accuracy", start="imagenet") == {0: None, 4: None}


def test_large_pictures_are_those_of_the_first_seed(tmp_path: Path) -> None:
    assert evidence.large_pictures(tmp_path) == {}
    recorded.write_all([recorded.pictures(0), recorded.pictures(1, "fine-tuned")], tmp_path)
    found = evidence.large_pictures(tmp_path)
    assert {start: list(by_epoch) for start, by_epoch in found.items()} == {"scratch": [1, 2]}
    last = found["scratch"][2]
    assert last.shape == (4, 3, 80, 80)
    levels = [one.unique().tolist() for one in last]
    assert levels == [[pytest.approx((10 + number) / 255)] for number in range(4)]


def test_numbers_of_a_network_looked_into_by_hand(tmp_path: Path) -> None:
    recorded.write_all([recorded.seeing(0), recorded.seeing(1, centre=(0.0, 0.0, 7.0))], tmp_path)
    table = evidence.seeing(tmp_path)
    found = {name: evidence.by_seed(rows, "value") for name, rows in table.groupby("quantity")}
    known = {name: values[0] for name, values in found.items()}
    assert found["accuracy"] == {0: 80, 1: 81}
    assert found["centre"] == {0: 3, 1: 7}
    assert (known["activity"], known["activity untrained"], known["border"]) == (30, 20, 1)
    assert (known["purity act3"], known["purity untrained act3"]) == (80, 47)
    assert (known["moved scaling act1"], known["moved rotation fc"]) == (0.9, 0.3)
    assert known["moved untrained scaling fc"] == 0.7
    assert (known["part left sleeve fc"], known["random toe act3"]) == (0.2, 0.5)
    assert (known["dead 11x11, stride 4"], known["accuracy 7x7, stride 2"]) == (20, 75)
    assert (known["gradient: conv1"], known["deconvnet: twin"]) == (0.1, 0.6)
    assert (known["deconvnet: shuffled"], known["deconvnet: edges"]) == (0.3, -0.1)
    assert len(found) == 5 + 2 * 3 + 2 * 3 * 2 + 5 * 2 * 2 + 2 * 4 + 2 * 5


def test_numbers_of_inversion_and_dissection_by_hand(tmp_path: Path) -> None:
    recorded.write_all([recorded.inversion(0), recorded.dissection(0)], tmp_path)
    table = evidence.inverted(tmp_path)
    found = evidence.by_seed(table, "error", way="up-convolution", layer="act3", when="before")
    assert found == {0: pytest.approx(30)}
    assert set(table["when"]) == {"before", "after"}
    assert len(table) == 2 * 4 * 2
    plain = evidence.inversion(tmp_path).set_index("quantity")["value"]
    assert plain.to_dict() == {"accuracy": 80, "mean image": pytest.approx(70)}
    units = evidence.dissected(tmp_path)
    assert evidence.by_seed(units, "iou", state="untrained", layer="act1") == {0: 8}
    kinds = evidence.dissected_kinds(tmp_path)
    chosen = {"state": "trained", "layer": "act2", "category": "shape"}
    assert evidence.by_seed(kinds, "share", **chosen) == {0: 25}
    combined = evidence.combined(tmp_path)
    chosen = {"state": "trained", "layer": "act2", "category": "all"}
    assert evidence.by_seed(combined, "combined", **chosen) == {0: 9}
    assert set(combined["category"]) == {"all", "colour"}
    assert evidence.by_seed(evidence.by_chance(tmp_path), "share", images=20) == {0: 17}


def test_convergence_and_probability_by_hand(tmp_path: Path) -> None:
    recorded.write_all([recorded.seeing(0)], tmp_path)
    table = evidence.map_convergence(tmp_path)
    assert evidence.by_seed(table, "correlation", layer="act2", epoch=4) == {0: 0.6}
    assert len(table) == 3 * 3
    table = evidence.seen_by_epoch(tmp_path)
    chosen = partial(evidence.by_seed, table, "value")
    assert chosen(measure="moved", line="fc", epoch=4) == {0: 0.4}
    assert chosen(measure="hidden", line="border hidden", epoch=4) == {0: 1.5}
    assert chosen(measure="parts", line="fc", epoch=0) == {0: -0.1}
    assert len(table) == 2 * 3 + 2 * 3 + 2 * 2
    table = evidence.moved_probability(tmp_path)
    chosen = partial(evidence.by_seed, table, "probability")
    assert chosen(transformation="scaling", amount=1) == {0: 0.9}
    assert chosen(transformation="rotation", amount=0) == {0: 0.9}
    assert chosen(transformation="rotation", amount=180) == {0: 0.4}
    assert len(table) == 11 + 7 + 12
