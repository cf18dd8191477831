"""Made-up records, so small that their means can be worked out in one's head."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from fmlib import records
from fmlib.caching import RELEASED
from fmlib.experiments.adversarial_robustness import Outcome, Robustness, RobustnessRun, Victim
from fmlib.experiments.caching import CachingRun, RecordedStage, RecordedStages, Run, StagesRun
from fmlib.experiments.common import Result, RunConfig
from fmlib.experiments.exploration import Exploration, ExplorationRun
from fmlib.experiments.feature_map_regularization import (
    Accuracy,
    FurtherTraining,
    MapRun,
    Trial,
    Trials,
    UndefinedLossRun,
)
from fmlib.training import Divergence, EpochResult, History

PROVENANCE = records.Provenance(
    started="2026-01-02T03:04:05+00:00",
    wall_seconds=36.0,
    cpu_seconds=35.0,
    system="Linux",
    processor="a processor",
    versions={"torch": "1"},
    dataset_sha256="0",
    commit="1234567890",
    clean_tree=True,
)


def write(results: Path, experiment: str, config: RunConfig, result: Result) -> Path:
    """A record of such a run, where such records lie."""
    made: records.Record[Any, Any] = records.Record(
        experiment=experiment, config=config, result=result, provenance=PROVENANCE
    )
    return records.write(made, results)


def history(
    tests: Sequence[float], trained: int = 60_000, looked_up: int = 0, undefined: bool = False
) -> History:
    """An epoch of two steps for each test accuracy, always as many images trained on."""
    hits = float(60_000 - trained)
    report: dict[str, list[float | None]] = {
        "hits": [hits],
        "misses": [looked_up - hits],
        "trained": [float(trained)],
    }
    epochs = [
        EpochResult(
            epoch=number,
            loss=1.0,
            test_accuracy=test,
            seen=60_000,
            trained=trained,
            seen_per_class=(60_000,),
            skipped_per_class=(60_000 - trained,),
            steps=2,
            seconds=1.0,
            policy=report if looked_up else {},
        )
        for number, test in enumerate(tests, start=1)
    ]
    stop = Divergence(epoch=len(epochs), step=1, loss="nan") if undefined else None
    return History(epochs=tuple(epochs), divergence=stop)


def caching(
    results: Path,
    condition: str,
    seed: int,
    tests: Sequence[float],
    size: int = 4096,
    trained: int = 60_000,
) -> Path:
    """A run of Fig. 7 or 8; condition `nearest` is the cache without its threshold."""
    cached = condition in ("cached", "nearest")
    nearest = RELEASED.model_copy(update={"hit": "nearest"})
    config = CachingRun(
        dataset="mnist",
        n_train=60_000,
        batch_size=size,
        seed=seed,
        condition="cached" if cached else condition,  # type: ignore[arg-type]
        cache=(nearest if condition == "nearest" else RELEASED) if cached else None,
        rates=((0.3,),) if condition == "random" else None,
    )
    done = history(tests, trained, 60_000 if cached else 0)
    return write(
        results, "caching", config, Run(history=done, train_accuracy=99.0, test_accuracy=tests[-1])
    )


def further(
    results: Path,
    images: str,
    seed: int,
    *,
    row: tuple[str, int] = ("mnist", 64),
    base: tuple[float, float] = (99.0, 98.0),
    after: tuple[float, float] = (95.0, 94.0),
    tests: Sequence[float] = (94.0,),
    blurred: float = 0.9,
    sharp: float = 0.6,
    undefined: bool = False,
) -> Path:
    """A run of Fig. 9: accuracies as (train, test), blurs of two sizes."""
    config = MapRun(
        dataset=row[0],
        n_train=60_000,
        batch_size=row[1],
        seed=seed,
        network="base_cnn",
        epochs=1,
        map_epochs=1,
        map_images=60,
        images=images,  # type: ignore[arg-type]
    )
    result = FurtherTraining(
        base=Accuracy(train=base[0], test=base[1]),
        base_history=history([base[1]]),
        after=Accuracy(train=after[0], test=after[1]),
        history=history(tests, undefined=undefined),
        on_maps=90.0,
        negative_share=0.6,
        likeness={"0": [sharp, None], "1": [blurred, blurred], "2": [0.1, 0.1]},
    )
    return write(results, "feature_map_regularization", config, result)


def robustness(
    results: Path, seed: int, accuracies: dict[tuple[str, float], dict[str, float]]
) -> Path:
    """A run of Fig. 10: accuracies by perturbation and eps, then by model; 0 where not given."""
    victims: dict[Victim, float] = dict.fromkeys(get_args(Victim), 0.0)
    outcomes = [
        Outcome(
            perturbation=kind,
            eps=eps,
            n=10,
            accuracy=victims | by_victim,
            only_base=0,
            only_maps=0,
        )
        for (kind, eps), by_victim in accuracies.items()
    ]
    result = Robustness(
        seed=seed,
        test_accuracy=dict.fromkeys(victims, 98.0),
        outcomes=tuple(outcomes),
        no_gradient={},
        chance=11.0,
    )
    config = RobustnessRun(dataset="mnist", n_train=50_000, seed=seed)
    return write(results, "adversarial_robustness", config, result)


def exploration(
    results: Path,
    seed: int,
    *,
    pca: float = 40.0,
    tsne: float = 90.0,
    centroid: float = 82.0,
    trend: float = 0.9,
    without: float = 70.0,
    control: float = 80.0,
) -> Path:
    """A look at the data; `without` and `control` are accuracies on every group of images."""
    groups = ("training images, outlying tenth", "test images, outlying tenth")
    result = Exploration(
        neighbours={"PCA": pca, "t-SNE": tsne},
        nearest_centroid=centroid,
        error_rates={"train": [1.0], "test": [1.0]},
        trends={"train": trend, "test": trend},
        accuracies={group: {"no outliers": without, "control": control} for group in groups},
        diverged=0,
    )
    config = ExplorationRun(dataset="mnist", n_train=60_000, seed=seed)
    return write(results, "exploration", config, result)


def stages(results: Path, seed: int, least: int) -> Path:
    """A cache, early and late, in which one of three classes is least similar to its vector."""
    similarity: list[list[float | None]] = [
        [0.8 if row == column == least else 0.9 for column in range(3)] for row in range(3)
    ]
    stage = RecordedStage(similarity=similarity, threshold=[0.5, None, 0.5])
    config = StagesRun(dataset="mnist", n_train=60_000, batch_size=64, seed=seed)
    return write(results, "cache_stages", config, RecordedStages(early=stage, late=stage))


def undefined_losses(
    results: Path,
    seed: int,
    activation: str,
    undefined: dict[str, bool],
    gradient: dict[str, float] | None = None,
) -> Path:
    """Short trainings at one rate, by the images trained on."""
    trials = [
        Trial(
            activation=activation,
            input_scale="released",
            images=images,
            seed=seed,
            learning_rate=0.01,
            gradient=(gradient or {}).get(images),
            history=history([1.0], undefined=ended),
        )
        for images, ended in undefined.items()
    ]
    config = UndefinedLossRun(
        dataset="mnist",
        n_train=60_000,
        activation=activation,  # type: ignore[arg-type]
        seed=seed,
    )
    return write(results, "undefined_losses", config, Trials(trials=tuple(trials)))
