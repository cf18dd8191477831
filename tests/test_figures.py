"""Figures of results made by hand: drawn without a warning, labelled, told apart."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.text import Text

from fmlib import evidence, figures, published
from fmlib.experiments.caching import Comparison
from fmlib.experiments.exploration import OutlierRun
from fmlib.experiments.feature_evolution import Shown
from fmlib.experiments.feature_map_regularization import Row
from fmlib.experiments.grids import MAP_WAYS
from fmlib.figures.feature_evolution import square
from tests import looked, recorded, results


@pytest.fixture(autouse=True)
def no_window() -> Iterator[None]:
    """Draw into memory, and leave no figure behind."""
    plt.switch_backend("Agg")
    with plt.rc_context({"figure.constrained_layout.use": True}):
        yield
    plt.close("all")


def draw(figure: Callable[[], None]) -> list[Axes]:
    """The axes of the one figure that is drawn; a warning is an error here."""
    figure()
    assert len(plt.get_fignums()) == 1
    plt.gcf().canvas.draw()
    return plt.gcf().axes


def legends(axes: list[Axes]) -> list[list[str]]:
    """The texts of all legends: those of panels, then those of the whole figure."""
    found = [ax.get_legend() for ax in axes] + list(plt.gcf().legends)
    return [[text.get_text() for text in one.get_texts()] for one in found if one is not None]


def two_seeds() -> list[Comparison]:
    """Comparisons of one batch size."""
    return [results.comparison(50, seed) for seed in range(2)]


def sweep() -> list[Comparison]:
    """Comparisons of two batch sizes and two seeds."""
    return [results.comparison(size, seed, tested=False) for size in (32, 64) for seed in (0, 1)]


def fig9() -> list[Row]:
    """Two rows of Fig. 9 with two seeds."""
    rows = (0, 64, "mnist"), (2, 256, "fashion-mnist")
    return [results.row(n, seed, size, name) for n, size, name in rows for seed in (0, 1)]


def outlier_runs() -> list[OutlierRun]:
    """Two pairs of networks."""
    return [results.outlier_run(seed) for seed in range(2)]


CONDITIONS = ["plain", "cached", "random skipping"]
MODELS = ["base model", "map model", "control: originals"]
CONTROLS = ["control: blurred originals", "control: untrained maps"]
EPS = "ε (pixels of 0 to 1)"


@pytest.mark.parametrize(
    ("figure", "labels", "titles", "quantities"),
    [
        (
            lambda: figures.errors_by_decile(outlier_runs()),
            [("decile of the distance from the centroid (1: nearest)", "wrong answers (%)")],
            ["this run, n = 2"],
            ["training images", "test images"],
        ),
        (
            lambda: figures.left_out(outlier_runs()),
            [("", "accuracy (%)")],
            ["this run, n = 2"],
            ["outlying tenth left out", "control: random tenth left out"],
        ),
        (
            lambda: figures.accuracy_by_epoch(two_seeds()),
            [("epoch", "test accuracy (%)"), ("epoch", "")],
            ["published, batch 4096", "this run, batch 50, n = 2"],
            CONDITIONS,
        ),
        (
            lambda: figures.skipped_by_epoch(two_seeds()),
            [("epoch", "images skipped (%)")],
            ["this run, n = 2"],
            ["published, batch 4096", "cached"],
        ),
        (
            lambda: figures.accuracy_by_batch_size(sweep()),
            [("batch size (images)", "test accuracy (%)"), ("batch size (images)", "")],
            ["published, 60,000 images", "this run, n = 2"],
            CONDITIONS,
        ),
        (
            lambda: figures.similarity_stages(results.stages(), ["0", "1"]),
            [("", "cosine similarity"), ("class of the cached vector", "cosine similarity")],
            ["very early", "at the end of training"],
            ["image, at its own class", "threshold of the class"],
        ),
        (
            lambda: figures.input_scales(results.scaled()),
            [("epoch", "test accuracy (%)"), ("epoch", "")],
            ["0 to 255, n = 2", "0 to 1, n = 2"],
            ["plain", "cached"],
        ),
        (
            lambda: figures.exits(results.exits()),
            [("layer at which images may leave", "images (%)")],
            ["this run, n = 2"],
            [
                "images that leave early",
                "of them named right",
                "named right of all, with exits",
                "named right of all, without exits",
            ],
        ),
        (
            lambda: figures.map_training(fig9()),
            [("accuracy (%)", ""), ("accuracy (%)", "")],
            ["mnist\nbatch 64, n = 2", "fashion-mnist\nbatch 256, n = 2"],
            ["train", "test"],
        ),
        (
            lambda: figures.map_training_by_epoch(fig9()),
            [("epoch", "test accuracy (%)"), ("epoch", "")],
            ["mnist\nbatch 64, n = 2", "fashion-mnist\nbatch 256, n = 2"],
            [
                "map model",
                "control: originals",
                "control: blurred originals",
                "control: untrained maps",
            ],
        ),
        (
            lambda: figures.undefined_losses(results.trials(0), 2.3),
            [
                ("values below zero (share)", "mean loss, last epoch"),
                ("dead units (share)", ""),
                ("first step / weights", ""),
            ],
            ["", "", ""],
            ["originals", "maps: undefined or above 100", "guessing"],
        ),
        (
            lambda: figures.robustness([results.robustness(seed) for seed in (0, 1)], [0.1, 0.5]),
            [("", "accuracy (%)"), ("", ""), (EPS, "accuracy (%)"), (EPS, "")],
            [
                "sign noise",
                "FGSM by base model",
                "FGSM by map model",
                "FGSM by control: originals",
            ],
            [*(f"{model}, n = 2" for model in MODELS), "by its own gradient"],
        ),
    ],
    ids=[
        "errors",
        "left-out",
        "fig-7",
        "fig-7-hits",
        "fig-8",
        "fig-5-6",
        "scales",
        "exits",
        "fig-9",
        "fig-9-epochs",
        "undefined",
        "fig-10",
    ],
)
def test_axes_say_what_they_show(
    figure: Callable[[], None],
    labels: list[tuple[str, str]],
    titles: list[str],
    quantities: list[str],
) -> None:
    axes = draw(figure)
    assert [(ax.get_xlabel(), ax.get_ylabel()) for ax in axes] == labels
    assert [ax.get_title() for ax in axes] == titles
    assert legends(axes) == [quantities]


def test_a_map_stands_with_the_numbers_that_enter_the_vector() -> None:
    axes = draw(lambda: figures.vector_anatomy(results.stages().anatomy))
    titles = [ax.get_title() for ax in axes if ax.get_title()]
    assert titles == ["image", "0: 0, 0.2", "1: 0.4, 0.6", "2: 0.8, 1"]
    assert [ax.get_ylabel() for ax in axes if ax.get_ylabel()] == [
        "mean of the map",
        "deviation of the map",
    ]


def test_similarities_include_every_point_and_threshold() -> None:
    for found in (results.stages(0.2), results.stages(0.9999)):
        draw_stages = partial(figures.similarity_stages, found, ["0", "1"])
        upper, lower = draw(draw_stages)
        for ax, stage in ((upper, found.early), (lower, found.late)):
            bottom, top = ax.get_ylim()
            assert bottom < min(stage.similarity.min().item(), stage.threshold.min().item())
            assert stage.similarity.max().item() < top <= 1
        plt.close("all")


def test_curves_are_the_means_over_seeds() -> None:
    _, right = draw(lambda: figures.accuracy_by_epoch(two_seeds()))
    means = {str(line.get_label()): line for line in right.lines if line.get_linewidth() == 2}
    assert np.asarray(means["cached"].get_ydata()).tolist() == [50.5, 82.5]
    assert np.asarray(means["random skipping"].get_xdata()).tolist() == [1, 2]
    assert len(right.lines) == 3 * (2 + 1)


def test_curves_of_figure_10_begin_with_unchanged_images() -> None:
    runs = [results.robustness(seed) for seed in (0, 2)]
    for number, ax in enumerate(draw(lambda: figures.robustness(runs, [0.1, 0.5]))):
        drawn = [line for line in ax.lines if len(np.asarray(line.get_xdata())) == 3]
        assert [np.asarray(line.get_xdata()).tolist() for line in drawn] == 3 * [[0, 0.1, 0.5]]
        assert [np.asarray(line.get_ydata()).tolist() for line in drawn] == [
            [86, 41, 41], [76, 31, 31], [96, 51, 51]
        ]  # fmt: skip
        # The first panel is noise; in each other one model is attacked by its own gradient.
        assert [line.get_linestyle() == "-" for line in drawn] == [
            model == number - 1 for model in range(3)
        ]
        points = [np.asarray(line.get_ydata()).tolist() for line in ax.lines if line not in drawn]
        assert points[:6] == [[85, 87], [40, 42], [40, 42], [75, 77], [30, 32], [30, 32]]


def test_a_diverged_map_model_is_missing_from_the_curves_of_figure_10() -> None:
    run = results.robustness(0).model_copy(update={"maps_divergence": results.DIVERGENCE})
    panels = draw(lambda: figures.robustness([run], [0.1]))
    lines = [[np.asarray(line.get_ydata()) for line in ax.lines] for ax in panels]
    means = [[y for y in panel if len(y) == 2] for panel in lines]
    missing = [[bool(np.isnan(y[-1])) for y in panel] for panel in means]
    assert missing == [[False, True, False]] * 2 + [[True] * 3] + [[False, True, False]]


def test_models_that_diverged_are_not_drawn() -> None:
    rows = [results.row(0, 0), results.diverged_row(0, 1)]
    [ax] = draw(lambda: figures.map_training(rows))
    points = [np.asarray(line.get_xdata()).tolist() for line in ax.lines][::2]
    assert points[:6] == [[90, 91], [88, 89], [70], [69], [95, 96], [89, 90]]
    names = [label.get_text().replace("\n", " ") for label in ax.get_yticklabels()]
    assert names == [figures.NAMES[model] for model in results.ACCURACIES]


def test_curves_of_map_training_begin_at_the_base_model() -> None:
    rows = [results.row(0, 0), results.row(0, 1), results.diverged_row(0, 2)]
    [ax] = draw(lambda: figures.map_training_by_epoch(rows))
    curves = {str(line.get_label()): line for line in ax.lines if line.get_linewidth() == 2}
    assert np.asarray(curves["map model"].get_xdata()).tolist() == [0, 1, 2]
    assert np.asarray(curves["map model"].get_ydata()).tolist() == [88.5, 50, 69.5]
    assert np.asarray(curves["control: originals"].get_ydata()).tolist() == [89, 50, 90]


def test_undefined_losses_are_crosses_at_the_top() -> None:
    lost, fine = results.trials(0)[2], results.trials(0)[0]
    assert fine.history is not None
    huge = fine.history.epochs[0].model_copy(update={"loss": 1e9})
    far = fine.model_copy(update={"history": fine.history.model_copy(update={"epochs": (huge,)})})
    axes = draw(lambda: figures.undefined_losses([fine, lost, far], guess=2.3))
    drawn = [
        [(*np.ravel(line.get_xdata()), *np.ravel(line.get_ydata()), line.get_marker())
         for line in ax.lines[:3]]
        for ax in axes
    ]  # fmt: skip
    assert drawn[0] == [(0, 1, "^"), (0.6, 100, "x"), (0, 100, "x")]
    assert drawn[1] == [(0.25, 1, "^"), (0.25, 100, "x"), (0.25, 100, "x")]
    assert drawn[2] == [(0.005, 1, "^"), (2, 100, "x"), (0.005, 100, "x")]


def test_figure_10_of_an_eps_that_was_not_measured_is_refused() -> None:
    with pytest.raises(ValueError, match=r"eps 0\.3 was not measured"):
        figures.robustness([results.robustness(0)], [0.3])


@pytest.mark.parametrize(
    ("figure", "count"),
    [
        (lambda names: figures.centroids(results.distances(), names), 2),
        (
            lambda names: figures.outliers(
                results.distances(), results.dataset().train_images, names
            ),
            2 * 3,
        ),
        (
            lambda names: figures.embeddings(
                {"PCA": results.embedding(43.6), "t-SNE": results.embedding(90.0)}, names
            ),
            2,
        ),
        (lambda names: figures.perturbed_examples(results.examples(), names), 2 * 3),
        (lambda names: figures.perturbed_by_epsilon(results.sweep(), names, columns=3), 3 * 3),
    ],
    ids=["fig-1", "fig-2", "fig-3", "fig-10-examples", "fig-sizes"],
)
def test_class_names_are_drawn_as_plain_text(
    figure: Callable[[tuple[str, ...]], None], count: int
) -> None:
    axes = draw(lambda: figure(results.EVIL))
    assert len(axes) == count
    texts = [text for ax in axes for text in (ax.title, ax.yaxis.label, *ax.texts)]
    shown = re.sub(r"\s", "", "".join(text.get_text() for text in texts))
    for name in results.EVIL:
        assert re.sub(r"\s", "", name.replace("$", r"\$")) in shown


def test_a_growing_perturbation_is_drawn_with_both_answers() -> None:
    axes = draw(lambda: figures.perturbed_by_epsilon(results.sweep(), ("a", "b"), 1, 3))
    assert [ax.get_title() for ax in axes] == ["a | a", "a | a", "b | a"]
    assert [ax.get_xlabel() for ax in axes] == ["ε = 0.00", "ε = 0.10", "ε = 0.20"]
    first, _, last = (np.asarray(ax.images[0].get_array()) for ax in axes)
    assert last - first == pytest.approx(0.2 * np.ones((4, 4)))


def test_the_cache_by_epoch_has_a_line_for_each_class() -> None:
    left, right = draw(lambda: figures.cache_by_epoch(results.cached_run(), results.EVIL))
    drawn = [np.asarray(line.get_ydata()).tolist() for line in (*left.lines[:2], *right.lines)]
    assert drawn == [[0.25, 0.75], [0.99, 0.999], [50, 50], [0, 0]]
    [kinds, names] = legends([left, right])
    assert kinds == ["threshold", "similarity"]
    assert "".join(names[0].split()) == "".join(results.EVIL[0].split())


def test_a_map_of_images_covers_none_with_another() -> None:
    images = results.images(6, 1, 4, 4)
    [ax] = draw(lambda: figures.image_map(results.embedding(0.0), images, size=0.3))
    centres = [np.reshape(image.get_extent(), (2, 2)).mean(axis=1) for image in ax.images]
    assert 1 < len(centres) < 6
    for number, one in enumerate(centres):
        assert all(np.abs(one - other).max() >= 0.3 - 1e-9 for other in centres[:number])


def test_a_long_class_name_takes_four_lines_at_most() -> None:
    lines = figures.style.wrapped("a very long name of a class " * 9).splitlines()
    assert len(lines) == 4
    assert lines[-1].endswith("…")
    assert max(map(len, lines)) <= 12


def test_embeddings_name_axes_and_accuracy() -> None:
    [ax] = draw(lambda: figures.embeddings({"PCA": results.embedding(43.6)}, ("a", "b", "none")))
    assert ax.get_title() == "PCA: class named right 44 %"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("first coordinate", "second coordinate")
    assert [text.get_text() for text in ax.texts] == ["a", "b"]  # a class without points has none


def test_outliers_carry_their_distances() -> None:
    images = results.dataset().train_images
    axes = draw(lambda: figures.outliers(results.distances(), images, ("a", "b")))
    assert [ax.get_title() for ax in axes] == [
        "centroid",
        "0.400",
        "0.300",
        "centroid",
        "0.700",
        "",
    ]
    assert [axes[0].get_ylabel(), axes[3].get_ylabel()] == ["a", "b"]


def test_labels_are_moved_apart() -> None:
    places, least = np.array([[0.0, 0.0], [0.01, 0.0], [5.0, 5.0]]), np.array([1.0, 2.0])
    moved = figures.style.apart(places, least)
    assert np.linalg.norm((moved[1] - moved[0]) / least) == pytest.approx(1, abs=1e-3)
    assert moved[2].tolist() == [5, 5]


def test_errors_by_decile_are_drawn_for_each_seed_and_their_mean() -> None:
    [ax] = draw(lambda: figures.errors_by_decile(outlier_runs()))
    means = {str(line.get_label()): line for line in ax.lines if line.get_linewidth() == 2}
    assert np.asarray(means["training images"].get_ydata()).tolist() == [
        decile + 0.5 for decile in range(10)
    ]
    assert np.asarray(means["test images"].get_xdata()).tolist() == list(range(1, 11))
    assert np.asarray(means["test images"].get_ydata())[-1] == 18.5
    assert len(ax.lines) == 2 * (2 + 1)


def test_what_was_left_out_is_drawn_open() -> None:
    [ax] = draw(lambda: figures.left_out(outlier_runs()))
    drawn = [line for line in ax.lines if len(np.asarray(line.get_ydata()))]
    points = [line for line in drawn if line.get_marker() != "None"]
    found = [(np.asarray(line.get_ydata()).tolist(), line.get_fillstyle()) for line in points]
    assert found == [
        ([60, 61], "none"),
        ([97, 97], "full"),
        ([80, 81], "full"),
        ([95, 95], "none"),
    ]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["the outlying", "the random"]


def test_feature_maps_have_one_scale_with_white_at_zero() -> None:
    axes = draw(lambda: figures.feature_maps(results.maps(), "conv1", columns=2))
    assert len(axes) == 2 * 3
    assert [ax.get_ylabel() for ax in axes] == [""] * 4 + ["activation"] * 2
    assert [ax.get_ylim() for ax in axes[4:]] == [(-0.5, 0.5), (-2.0, 2.0)]
    for ax, limit in zip(axes[1:4:2], (0.5, 2.0), strict=True):
        [image] = ax.images
        low, high = image.get_clim()
        assert (low, high) == pytest.approx((-limit, limit))
        pixels = image.get_array()
        assert pixels is not None
        assert pixels.shape == (2 * 4 + 1, 2 * 4 + 1)
        assert image.get_cmap().name == "RdBu_r"


def test_colours_and_markers_tell_quantities_apart() -> None:
    together = (
        ("plain", "cached", "random"),
        tuple(results.ACCURACIES),
        ("base", *MAP_WAYS),
        recorded.MODELS,
        ("train", "test"),
        ("no outliers", "control"),
    )
    for group in together:
        assert len({to_hex(figures.PALETTE[name]) for name in group}) == len(group)
        assert len({figures.MARKERS[name] for name in group}) == len(group)
        assert len({figures.NAMES[name] for name in group}) == len(group)
    assert figures.PALETTE.keys() == figures.MARKERS.keys() == figures.NAMES.keys()
    palette = {to_hex(colour) for colour in sns.color_palette("colorblind")}
    assert {to_hex(colour) for colour in figures.PALETTE.values()} <= palette


def test_benchmark_ratios_tell_apart_what_reached_its_bound() -> None:
    [ax] = draw(
        lambda: figures.benchmark_ratios(
            ["fast", "slow", "free"],
            [0.5, 2.0, 1.0],
            [(0.4, 0.6), (1.5, 2.5), (1.0, 1.0)],
            [0.8, 1.2, None],
            [True, False, None],
        )
    )
    assert ax.get_xscale() == "log"
    assert [text.get_text() for text in ax.get_yticklabels()] == ["fast", "slow", "free"]
    drawn = {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in ax.get_lines()}
    assert drawn["reached"] == [[0.5, 0.0]]
    assert drawn["fell short"] == [[2.0, 1.0]]
    assert drawn["no bound"] == [[1.0, 2.0]]
    assert legends([ax]) == [["reached", "fell short", "no bound", "bound"]]


# --- recorded runs -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of two seeds of everything that is drawn, and a third whose training diverged."""
    made = [recorded.caching(2, "plain", [50.0, 9.8], diverged=True)]
    for seed in range(2):
        made += [
            recorded.caching(seed, "plain", [50.0 + seed, 80.0 + seed]),
            recorded.caching(seed, "cached", [60.0 + seed, 84.0 + seed], skipped=15_000),
            recorded.caching(seed, "random", [55.0 + seed, 79.0 + seed], skipped=15_000),
            recorded.robustness(seed),
            recorded.attacks(seed, ["untrained"] * seed),
            recorded.maps(seed, diverged=seed == 1),
            recorded.maps(seed, "originals"),
            recorded.maps(seed, batch_size=256, diverged=seed == 1),
            recorded.maps(seed, "originals", batch_size=256),
            recorded.ways(seed, diverged=("each_map",) if seed == 1 else ()),
            recorded.exploration(seed, diverged=seed),
        ]
    path = tmp_path_factory.mktemp("results")
    recorded.write_all(made, path)
    return path


def points(ax: Axes, size: float) -> list[tuple[float, float]]:
    """Places of all points of a size; 7 are means, 12 published numbers."""
    lines = [line for line in ax.lines if line.get_markersize() == size]
    return [(float(x), float(y)) for line in lines for x, y in np.asarray(line.get_xydata())]


RECORDED: list[tuple[Callable[[Path], None], list[str], list[str]]] = [
    (
        lambda path: figures.recorded_spread(evidence.caching(path)),
        ["batch 4096, n = 3", "after the last epoch"],
        [
            "recorded: plain, each seed",
            "published: plain",
            "published: cached",
            "published, after the last epoch",
        ],
    ),
    (
        lambda path: figures.recorded_by_cost(evidence.caching(path)),
        ["", "", ""],
        ["plain, n = 2 (1 diverged)", "cached, n = 2", "random skipping, n = 2"],
    ),
    (
        lambda path: figures.recorded_batch_sizes(evidence.caching(path)),
        ["cached\n− plain", "cached\n− random skipping", "random skipping\n− plain"],
        ["published", "recorded: mean, 95 % interval, n = 2"],
    ),
    (
        lambda path: figures.recorded_map_training(evidence.further_training(path)),
        ["mnist\nbatch 64", "mnist\nbatch 256", "fashion-mnist\nbatch 256"] + [""] * 3,
        ["published"],
    ),
    (
        lambda path: figures.recorded_further_training(evidence.further_training(path)),
        [
            "mnist, batch 64\nmaps: n = 1 (1 diverged)\noriginals: n = 2",
            "mnist, batch 256\nmaps: n = 1 (1 diverged)\noriginals: n = 2",
            "fashion-mnist, batch 256\nmaps: n = 0\noriginals: n = 0",
        ],
        ["map model", "control: originals"],
    ),
    (
        lambda path: figures.recorded_robustness(evidence.robustness(path)),
        [f"{kind} by {model}, n = 2" for kind in ("PGD", "FGSM") for model in MODELS[:2]],
        [
            "base model, n = 2",
            "map model, each seed, n = 2",
            "control: originals, n = 2",
            "first twin, n = 2",
            "second twin, n = 2",
            "by its own gradient",
        ],
    ),
    (
        lambda path: figures.recorded_own_attacks(evidence.attacks(path)),
        ["FGSM by base model", "FGSM, each by itself", "random signs"],
        [
            *(f"{model}, n = 2" for model in (*MODELS, CONTROLS[0])),
            "control: untrained maps, n = 1 (1 diverged)",
            "by its own gradient",
        ],
    ),
    (
        lambda path: figures.recorded_own_differences(evidence.attacks(path)),
        ["recorded"],
        [
            *(f"− {name}, n = 2" for name in (MODELS[0], MODELS[2], CONTROLS[0])),
            "− control: untrained maps, n = 1 (1 diverged)",
        ],
    ),
    (
        lambda path: figures.recorded_released(evidence.robustness(path)),
        ["recorded"],
        [
            "guessing among ten classes",
            *(f"{model}, n = 2" for model in (*MODELS, "first twin", "second twin")),
            "published, in its model's colour",
        ],
    ),
]


@pytest.mark.parametrize(("figure", "titles", "quantities"), RECORDED)
def test_figures_of_records_say_what_they_show(
    figure: Callable[[Path], None], titles: list[str], quantities: list[str], folder: Path
) -> None:
    axes = draw(lambda: figure(folder))
    assert [ax.get_title() for ax in axes] == titles
    assert legends(axes)[0] == quantities
    assert axes[0].get_ylabel() or axes[0].get_yticklabels()[0].get_text()
    assert axes[-1].get_xlabel() or axes[-1].get_xticklabels()[0].get_text()


@pytest.mark.parametrize("figure", [figure for figure, *_ in RECORDED])
def test_without_records_the_published_numbers_are_drawn_alone(
    figure: Callable[[Path], None], tmp_path: Path
) -> None:
    draw(lambda: figure(tmp_path))


NAMED = [
    (
        lambda path: figures.recorded_ways_by_epoch(
            evidence.map_ways(path), evidence.further_training(path)
        ),
        [
            "as released\n0 to 255, rate 0.01, n = 2\nmap model: n = 1 (1 diverged)",
            "gentler\n0 to 1, rate 0.1, n = 2\neach map: n = 1 (1 diverged)",
        ],
        [["maps", "originals"], [*MAP_WAYS]],
    ),
    (
        lambda path: figures.recorded_errors_by_decile(evidence.deciles(path)),
        ["recorded, n = 1 (1 diverged)"],
        [["train", "test"]],
    ),
]
"""Figures whose lines have their names beside them instead of in a legend."""


@pytest.mark.parametrize(("figure", "titles", "quantities"), NAMED)
def test_lines_are_named_at_their_ends(
    figure: Callable[[Path], None], titles: list[str], quantities: list[list[str]], folder: Path
) -> None:
    axes = draw(lambda: figure(folder))
    assert [ax.get_title() for ax in axes] == titles
    assert all(ax.get_xlabel() for ax in axes)
    assert axes[0].get_ylabel()
    for ax, names in zip(axes, quantities, strict=True):
        found = [re.sub(r"\s", " ", text.get_text()) for text in ax.texts]
        assert found == [figures.NAMES[name] for name in names]
        boxes = [Text.get_window_extent(text) for text in ax.texts]
        heights = sorted((box.y0, box.y1) for box in boxes)
        assert all(upper[0] > lower[1] for lower, upper in pairwise(heights))


@pytest.mark.parametrize("figure", [figure for figure, *_ in NAMED])
def test_without_records_no_line_is_named(figure: Callable[[Path], None], tmp_path: Path) -> None:
    axes = draw(lambda: figure(tmp_path))
    assert not any(ax.texts for ax in axes)


def test_recorded_ways_begin_at_their_base_models(folder: Path) -> None:
    found = evidence.map_ways(folder), evidence.further_training(folder)
    axes = draw(lambda: figures.recorded_ways_by_epoch(*found))
    for ax, name in zip(axes, ("map model", "each map"), strict=True):
        drawn = {
            str(line.get_label()).partition(", n =")[0]: np.asarray(line.get_xydata()).tolist()
            for line in ax.lines
        }
        assert drawn[name] == [[0, 88], [1, 50], [2, 69]]
        assert [y for _, y in drawn["control: originals"]][::2] == [88.5, 89.5]


def test_ways_stand_at_their_differences(folder: Path) -> None:
    """The control is compared with the base model alone; one training on maps diverged."""
    axes = draw(lambda: figures.recorded_way_differences(evidence.map_ways(folder)))
    test, gap = ([(x, round(y)) for x, y in points(ax, 7)] for ax in axes)
    assert test == [
        *((-19, 0), (-20, 0), (-11, 1), (-12, 1), (2, 2), (1, 2), (1, 3)),
        *((-1, 4), (-2, 4), (-27, 5), (-28, 5)),
    ]
    assert gap[-3:] == [(0, 4), (-3, 5), (-7, 5)]
    assert axes[0].get_title() == "n = 2"
    names = [re.sub(r"\s", " ", label.get_text()) for label in axes[0].get_yticklabels()]
    assert names == [figures.NAMES[way] for way in MAP_WAYS]
    assert [ax.get_xlabel() for ax in axes] == [
        "test accuracy (points)", "train − test gap (points)"
    ]  # fmt: skip
    assert legends(axes) == [["− base model", "− control: originals"]]


def test_every_recorded_seed_of_plain_training_is_a_line(folder: Path) -> None:
    left, right = draw(lambda: figures.recorded_spread(evidence.caching(folder)))
    curves = [np.asarray(line.get_ydata()).tolist() for line in left.lines]
    assert curves[:3] == [[50.0, 80.0], [51.0, 81.0], [50.0, 9.8]]
    assert curves[-3:-1] == [published.FIG7[name].tolist() for name in ("plain", "cached")]
    assert points(right, 7) == [(0, 80.5), (1, 84.5), (2, 79.5)]
    assert [y for _, y in points(right, 12)] == [91.8, 94.2]
    assert [text.get_text() for text in right.texts] == ["91.8", "94.2"]
    names = [label.get_text() for label in right.get_xticklabels()]
    assert names == ["plain\nn = 2 (1 diverged)", "cached\nn = 2", "random\nskipping\nn = 2"]


def test_rules_stand_at_their_difference_from_plain(tmp_path: Path) -> None:
    made = [recorded.caching(0), recorded.caching(1, accuracies=[50.0, 81.0])]
    made += [recorded.selective(0), recorded.caching(0, "cached", [60.0, 78.0])]
    recorded.write_all(made, tmp_path)
    left, right = draw(lambda: figures.recorded_rules(evidence.rules(tmp_path)))
    names = [label.get_text() for label in left.get_yticklabels()]
    rows = {name.replace("\n", " "): row for row, name in enumerate(names)}
    assert points(left, 7) == [(-2, rows["cached"]), (-30, rows["selective backprop"])]
    assert points(right, 7) == []


def test_accuracy_stands_over_what_was_spent(folder: Path) -> None:
    axes = draw(lambda: figures.recorded_by_cost(evidence.caching(folder)))
    labels = [re.sub(r"\s", " ", ax.get_xlabel()) for ax in axes]
    assert labels == ["steps", "images trained on (thousands)", "multiply-adds (10¹²)"]
    steps, images, operations = (
        [np.asarray(line.get_xydata()).tolist() for line in ax.lines] for ax in axes
    )
    assert steps == [
        [[15, 50.5], [30, 80.5]], [[15, 60.5], [30, 84.5]], [[15, 55.5], [30, 79.5]]
    ]  # fmt: skip
    assert [[x for x, _ in line] for line in images] == [[60, 120], [45, 90], [45, 90]]
    plain, cached, random = (line[0][0] for line in operations)
    assert random < cached < plain  # scoring costs a part of what skipping saves


def test_differences_are_drawn_at_their_batch_size(folder: Path) -> None:
    axes = draw(lambda: figures.recorded_batch_sizes(evidence.caching(folder)))
    assert [points(ax, 7) for ax in axes] == [[(7, 4)], [(7, 5)], [(7, -1)]]
    gains = published.FIG8["cached_test"] - published.FIG8["plain_test"]
    assert points(axes[0], 12) == [*enumerate(gains)]
    assert points(axes[1], 12) == []
    sizes = [label.get_text() for label in axes[0].get_xticklabels()]
    assert sizes == ["32", "64", "128", "256", "512", "1024", "2048", "4096"]


def test_seeds_are_counted_by_batch_size(tmp_path: Path) -> None:
    """Two pairs at two sizes; three at another one, of which one diverged."""
    made = []
    for size, count in ((32, 2), (64, 2), (4096, 3)):
        for seed in range(count):
            made.append(recorded.caching(seed, batch_size=size, diverged=seed == 2))
            made.append(recorded.caching(seed, "cached", batch_size=size))
    recorded.write_all(made, tmp_path)
    axes = draw(lambda: figures.recorded_batch_sizes(evidence.caching(tmp_path)))
    counts = "n = 2, batch 4096: n = 2 (1 diverged)"
    assert legends(axes) == [["published", f"recorded: mean, 95 % interval, {counts}"]]


def test_recorded_rows_of_figure_9(folder: Path) -> None:
    table = evidence.further_training(folder)
    axes = draw(lambda: figures.recorded_map_training(table))
    assert [y for _, y in points(axes[0], 7)] == [88.5, 69.0, 89.5]
    assert [y for _, y in points(axes[3], 7)] == [2.0, 1.0, 6.0]
    assert [y for _, y in points(axes[0], 12)] == [98.13, 94.34]
    assert [y for _, y in points(axes[4], 12)] == pytest.approx([0.11, -0.18])


def test_recorded_further_training_begins_at_the_base_model(folder: Path) -> None:
    table = evidence.further_training(folder)
    ax, *_ = draw(lambda: figures.recorded_further_training(table))
    drawn = {str(line.get_label()): line for line in ax.lines if line.get_linewidth() == 2}
    assert np.asarray(drawn["map model"].get_ydata()).tolist() == [88, 50, 69]
    assert np.asarray(drawn["control: originals"].get_ydata()).tolist() == [88.5, 50, 89.5]


def test_recorded_attacks_begin_with_unchanged_images(folder: Path) -> None:
    axes = draw(lambda: figures.recorded_robustness(evidence.robustness(folder)))
    base, first, second = (axes[0].lines[number] for number in range(3))
    assert np.asarray(base.get_xdata()).tolist() == [0, 0.05, 0.15, 0.25]
    assert np.asarray(base.get_ydata()).tolist() == [60.5, 10.5, 10.5, 10.5]
    assert np.asarray(first.get_ydata()).tolist() == [50, 20, 20, 20]
    assert np.asarray(second.get_ydata()).tolist() == [51, 21, 21, 21]
    full = [[line.get_linestyle() == "-" for line in ax.lines[:6]] for ax in axes]
    assert full == [[True, *5 * [False]], [False, True, True, *3 * [False]]] * 2


def test_the_clamp_alone_has_no_published_number(folder: Path) -> None:
    [ax] = draw(lambda: figures.recorded_released(evidence.robustness(folder)))
    means = points(ax, 7)
    assert [y for _, y in means] == [40.5, 30.5, 50.5, 60.5, 70.5] * 3
    assert [round(x) for x, _ in means] == [0] * 5 + [1] * 5 + [2] * 5
    known = points(ax, 12)
    assert [y for _, y in known] == [28.09, 26.74, 10.76, 23.82]
    assert [round(x) for x, _ in known] == [1, 1, 2, 2]


def test_own_attacks_begin_with_unchanged_images_and_end_at_one(folder: Path) -> None:
    axes = draw(lambda: figures.recorded_own_attacks(evidence.attacks(folder)))
    full = [[line.get_linestyle() == "-" for line in ax.lines[1:6]] for ax in axes]
    assert full == [[True, *4 * [False]], 5 * [True], 5 * [False]]
    for ax in axes:
        curves = [np.asarray(line.get_ydata()).tolist() for line in ax.lines[1:6]]
        assert np.asarray(ax.lines[1].get_xdata()).tolist() == [0, 0.15, 0.25, 1]
        assert curves[0] == [60.5, 40.5, 40.5, 40.5]
        assert curves[-1] == [90, 70, 70, 70]  # one of the two diverged
        assert ax.get_xlabel() == EPS


def test_differences_under_attack_stand_in_a_row_per_attack(folder: Path) -> None:
    [ax] = draw(lambda: figures.recorded_own_differences(evidence.attacks(folder)))
    means = points(ax, 7)
    assert len(means) == 9 * 4
    assert [round(y) for _, y in means[::4]] == list(range(9))
    assert [x for x, _ in means[:4]] == [-10, -20, -30, -40]
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert (labels[0], labels[-1]) == ("unchanged", "Square Attack, each by itself, ε = 0.25")


def test_intervals_are_drawn_around_their_means() -> None:
    _, (left, right) = plt.subplots(1, 2)
    figures.style.mean_and_interval(left, 3.0, {0: 1.0, 1: 2.0, 2: 6.0, 3: None}, "plain")
    [[(x, low), (_, high)]] = left.collections[0].get_paths()[0].to_polygons(closed_only=False)
    assert x == 3
    assert 1 <= low < 3 < high <= 6
    figures.style.mean_and_interval(right, 3.0, {0: None}, "plain")
    assert not right.has_data()


def test_a_table_of_something_else_is_refused() -> None:
    with pytest.raises(KeyError, match="condition"):
        figures.recorded_spread(pd.DataFrame({"batch_size": [4096]}))


# --- chapters 05 and 06 ------------------------------------------------------------------


def test_four_pictures_stand_clockwise_from_the_upper_left() -> None:
    """Each picture has a white line about it."""
    levels = torch.tensor([0.1, 0.2, 0.3, 0.4])
    found = square(levels.reshape(4, 1, 1, 1).expand(-1, 3, 2, 2))
    assert found.shape == (3, 8, 8)
    centres = found[:, [1, 1, 6, 6], [1, 6, 6, 1]]
    assert torch.equal(centres, levels.expand(3, 4))
    assert (found[:, 0] == 1).all()
    assert (found[:, 3:5] == 1).all()


def test_other_numbers_of_pictures_stand_row_by_row() -> None:
    """Five fill a grid of two rows and three columns, but for the last place."""
    levels = torch.arange(5) / 10
    found = square(levels.reshape(5, 1, 1, 1))
    assert found.shape == (1, 6, 9)
    assert torch.equal(found[0, 1::3, 1::3].flatten(), torch.cat((levels, torch.ones(1))))
    assert square(levels[:1].reshape(1, 1, 1, 1)).shape == (1, 3, 3)


def courses() -> list[Shown]:
    """Two courses, the first one with both regularizers."""
    return [looked.shown("scratch"), looked.shown("frozen", (70.0, 75.0))]


CLASSES = ("frog", "ship")
LOOKED: list[tuple[Callable[[], None], list[str], list[str], list[str]]] = [
    (
        lambda: figures.evolution({"small": looked.gallery((0, 1, 3)), "b": looked.gallery((0,))}),
        ["before", "epoch 1", "epoch 3", "before", "", ""],
        ["small", "", "", "b", "", ""],
        [],
    ),
    (
        lambda: figures.last_pictures(courses(), CLASSES, "small"),
        [*CLASSES, "", ""],
        ["from scratch", "", "pretrained,\nconvolutions\nfrozen", ""],
        [],
    ),
    (
        lambda: figures.course_accuracy([*courses(), looked.shown("harder")]),
        [""],
        ["validation accuracy (%)"],
        ["from scratch", "pretrained, convolutions frozen"],
    ),
    (
        lambda: figures.looks_by_epoch({"small": [], "published": []}, ["variation", "conviction"]),
        ["total variation", "judge's probability (%)"],
        ["", ""],
        ["for small pictures", "as published"],
    ),
    (
        lambda: figures.top_nine(looked.maps(), CLASSES),
        ["map 2: 9 of 9 frog", "map 0: 5 of 9 frog", "", ""] * 2,
        [
            *("act1\nprojections", "", "image patches", ""),
            *("act3\nprojections", "", "image patches", ""),
        ],
        [],
    ),
    (
        lambda: figures.map_evolution([looked.map_by_epoch()]),
        ["before", "epoch 1", "", ""],
        ["act1,\nmap 7", "", "its image", ""],
        [],
    ),
    (
        lambda: figures.convergence(looked.network(), {"act1": [0.5, 1.0], "act3": [0.1, 1.0]}),
        [""],
        ["correlation with the last epoch"],
        ["act1", "act3"],
    ),
    (
        lambda: figures.invariance(looked.invariances()),
        [""] * 6,
        ["distance, different\nimages = 1", "", "", "probability of\nthe true class", "", ""],
        ["act1", "fc"],
    ),
    (
        lambda: figures.parts(looked.corresponding()),
        [
            *("T-shirt/top:\nleft sleeve", "Pullover:\ncollar", "Trouser: left\nleg"),
            *("Ankle boot:\nshaft", "Sneaker: toe"),
        ],
        [""] * 5,
        [],
    ),
    (
        lambda: figures.correspondence(looked.corresponding()),
        ["act3", "fc"],
        ["Hamming distance\n(share of features)", ""],
        ["random places, one draw each", "the part"],
    ),
    (lambda: figures.first_filters(looked.first_layers()), [""] * 16, [""] * 16, []),
    (
        lambda: figures.sanity(looked.sanity()),
        [""],
        ["rank correlation with\nthe trained network"],
        ["gradient", "deconvnet"],
    ),
]


@pytest.mark.parametrize(("figure", "titles", "labels", "quantities"), LOOKED)
def test_figures_of_the_new_chapters_say_what_they_show(
    figure: Callable[[], None], titles: list[str], labels: list[str], quantities: list[str]
) -> None:
    axes = draw(figure)
    assert [ax.get_title() for ax in axes] == titles
    assert [ax.get_ylabel() for ax in axes] == labels
    assert legends(axes) == ([quantities] if quantities else [])


def test_what_is_seen_by_epoch_has_a_panel_per_measure() -> None:
    axes = draw(lambda: figures.seen_by_epoch(pd.DataFrame(looked.at_epochs())))
    assert [ax.get_title().split()[0] for ax in axes] == ["distance", "fall", "Hamming"]
    assert legends(axes) == [["act1", "fc"], ["centre hidden", "border hidden"], ["act3"]]
    first = np.asarray(axes[0].lines[0].get_xydata()).tolist()
    assert first == [[0, 0.6], [1, 0.5]]


def test_occlusion_stands_beside_the_image_with_the_classes_predicted() -> None:
    axes = draw(
        lambda: figures.occlusion(results.images(2, 3, 8, 8), looked.occluded(), results.EVIL)
    )
    titles = [ax.get_title() for ax in axes[:5]]
    assert titles[0] == "image"
    assert titles[2:] == ["logit", "probability", "predicted class"]
    assert all(ax.get_ylabel() for ax in axes[:10:5])
    [names] = legends(axes)
    assert len(names) == 2
    assert "\\$" in names[1]
    predicted = np.asarray(axes[4].images[0].get_array())
    assert (predicted[0, 0] == axes[4].lines[0].get_color()).all()
    assert (predicted[1, 1] == axes[4].lines[1].get_color()).all()


def test_filters_of_both_networks_stand_under_their_sizes() -> None:
    draw(lambda: figures.first_filters(looked.first_layers()))
    titles = [part.get_suptitle() for part in plt.gcf().subfigs]
    assert titles == ["11×11, stride 4", "7×7, stride 2"]


def test_checked_layers_stand_in_order_and_the_twin_beside() -> None:
    [ax] = draw(lambda: figures.sanity(looked.sanity()))
    names = [text.get_text().replace("\n", " ") for text in ax.get_xticklabels()]
    assert names == ["none", "fc", "conv1 and above", "another network", "shuffled labels"]
    first, twin, shuffled = (np.asarray(line.get_xydata()).tolist() for line in ax.lines[:3])
    assert first == [[0, 1], [1, 0.6], [2, 0.1]]
    assert [twin, shuffled] == [[[3.2, 0.5]], [[4.2, 0.25]]]


@pytest.fixture(scope="module")
def looks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of what chapters 05 and 06 record."""
    path = tmp_path_factory.mktemp("looks")
    for seed in range(2):
        made = [recorded.evolution(seed), recorded.evolution(seed, images=400)]
        made += [recorded.evolution(seed, "harder"), recorded.seeing(seed)]
        recorded.write_all([*made, recorded.pictures(seed)], path)
    return path


def overfitting(path: Path) -> None:
    epochs, found = evidence.evolution(path), evidence.evolution_looks(path)
    figures.recorded_overfitting(epochs[epochs["images"] == 400], found[found["images"] == 400])


def at_full_size(path: Path) -> pd.DataFrame:
    found = evidence.evolution_looks(path)
    return found[found["images"] == 4000]


LOOKS_RECORDED: list[tuple[Callable[[Path], None], list[str], list[str]]] = [
    (
        lambda path: figures.recorded_course_accuracy(
            evidence.evolution(path),
            4000,
            {"scratch": published.PUNJABI_TABLE1, "pretrained": published.PUNJABI_TABLE2},
        ),
        ["from scratch", "pretrained on other classes"],
        ["from scratch, n = 2", "published (VGG-16)"],
    ),
    (
        lambda path: figures.recorded_looks(at_full_size(path), ["variation", "confusion"]),
        ["total variation", "confusion (correlation)"],
        [
            f"{figures.NAMES[course]}{', n = 2' * (course in ('scratch', 'harder'))}"
            for course in ("scratch", "pretrained", "frozen", "harder", "simplified")
        ],
    ),
    (overfitting, ["n = 2", ""], ["for small pictures, n = 2", "as published, n = 2"]),
    (
        lambda path: figures.recorded_pictures(evidence.large_pictures(path)),
        ["epoch 1", "epoch 2"],
        [],
    ),
    (
        lambda path: figures.recorded_convergence(evidence.map_convergence(path)),
        ["n = 2"],
        ["act1", "act2", "act3"],
    ),
    (
        lambda path: figures.recorded_probability(evidence.moved_probability(path)),
        ["", "", ""],
        [],
    ),
]


@pytest.mark.parametrize(("figure", "titles", "quantities"), LOOKS_RECORDED)
def test_recorded_looks_say_what_they_show(
    figure: Callable[[Path], None], titles: list[str], quantities: list[str], looks: Path
) -> None:
    axes = draw(lambda: figure(looks))
    assert [ax.get_title() for ax in axes] == titles
    assert (legends(axes) or [[]])[0] == quantities
    assert axes[0].get_ylabel() or axes[0].get_title()


@pytest.mark.parametrize("figure", [figure for figure, *_ in LOOKS_RECORDED])
def test_without_records_of_looks_nothing_fails(
    figure: Callable[[Path], None], tmp_path: Path
) -> None:
    draw(lambda: figure(tmp_path))


def test_recorded_probabilities_stand_at_their_amounts(looks: Path) -> None:
    axes = draw(lambda: figures.recorded_probability(evidence.moved_probability(looks)))
    drawn = [dict(np.asarray(ax.lines[0].get_xydata()).tolist()) for ax in axes]
    assert (drawn[0][0], drawn[0][8]) == (0.9, 0.8)
    assert (drawn[1][1], drawn[1][0.5]) == (0.9, 0.8)
    assert (drawn[2][0], drawn[2][180]) == pytest.approx((0.9, 0.4))
    assert [ax.get_xlabel() for ax in axes] == [
        *("moved down by (pixels)", "enlarged by the factor", "turned by (degrees)"),
    ]


def test_published_accuracies_are_stars(looks: Path) -> None:
    printed = {"scratch": published.PUNJABI_TABLE1, "pretrained": published.PUNJABI_TABLE2}
    axes = draw(lambda: figures.recorded_course_accuracy(evidence.evolution(looks), 4000, printed))  # type: ignore[arg-type]
    for ax, values in zip(axes, printed.values(), strict=True):
        assert points(ax, 12) == [*values.items()]
