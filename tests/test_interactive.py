"""Data of interactive figures: the numbers by hand, their size, and names that look like markup."""

import importlib.util
import io
import json
import math
from base64 import b64decode
from types import ModuleType
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fmlib import interactive, load
from fmlib.experiments.adversarial_robustness import Sweep, Victim
from fmlib.experiments.exploration import Embedding
from fmlib.exploration import named_by_neighbours
from tests import results
from tests.website import ROOT

HOSTILE = ("</script><img src=x onerror=alert(1)>", "<!-- & -->", "]]>\u2028'\"")
MOST = 300_000
"""Characters that the data of one page may have."""


@pytest.fixture(scope="module")
def extension() -> ModuleType:
    """The part of the book's pages."""
    spec = importlib.util.spec_from_file_location("pages", ROOT / "book/_ext/interactive.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def embedding(count: int, n_classes: int = 2) -> Embedding:
    """Points at random, classes in turn."""
    points = np.random.default_rng(0).normal(size=(count, 2))
    return Embedding(points, torch.arange(count) % n_classes, 50.0)


def opened(sprite: str) -> Image.Image:
    """A sprite as it is drawn."""
    return Image.open(io.BytesIO(b64decode(sprite)))


# --- numbers by hand ----------------------------------------------------------------------


def test_pixels_are_bytes_row_by_row() -> None:
    image = torch.tensor([[[0.0, 1.0], [0.2, 2.0]], [[0.6, -1.0], [0.4, 0.8]]], dtype=torch.float64)
    expected = [0, 255, 51, 255, 153, 0, 102, 204]
    assert list(b64decode(interactive.pixels(image))) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_levels_of_an_image_file_come_out_as_they_were(dtype: torch.dtype) -> None:
    levels = torch.arange(256, dtype=dtype).reshape(1, 16, 16)
    for shift in (0, 1e-7, -1e-7):  # as rounding on another processor might
        found = b64decode(interactive.pixels(levels / 255 + shift))
        assert list(found) == list(range(256))


def test_signs_are_letters() -> None:
    assert interactive.signs(torch.tensor([[-1.0, 0.0], [1.0, -0.0]])) == "-0+0"


def test_perturbations_say_what_each_model_sees_and_how_surely() -> None:
    found = interactive.perturbations(results.sweep(), ("a", "b"))
    assert found["kind"] == "perturbation"
    assert found["models"] == ["base model", "map model"]
    assert found["shape"] == [1, 4, 4]
    assert found["epsilons"] == [0.0, 0.1, 0.2]
    assert [image["label"] for image in found["images"]] == [0, 1, 0]
    first = found["images"][0]
    assert list(b64decode(first["pixels"])) == [round(255 * k / 47) for k in range(16)]
    by_base, by_maps = first["by"]
    assert by_base["signs"] == "+" * 16
    assert by_maps["signs"] == "-" * 16
    assert by_base["seen"] == [[0, 0, 1], [0, 0, 0]]
    assert by_maps["seen"] == [[0, 0, 0], [0, 0, 0]]
    assert by_base["percent"] == [[99, 75, 50], [99, 75, 50]]


def test_a_diverged_model_has_no_probabilities() -> None:
    whole = results.sweep()
    lost = {pair: torch.full((3, 3), math.nan) for pair in whole.sure}
    found = interactive.perturbations(whole._replace(sure=lost), ("a", "b"))
    assert found["images"][0]["by"][0]["percent"] == [[None] * 3] * 2
    assert "null" in interactive.written(found)


def test_the_cache_is_told_epoch_by_epoch() -> None:
    found = interactive.cache_by_epoch(results.cached_run(), ("a", "b"))
    assert found["epochs"] == [
        {"threshold": [0.25, 0.5], "similarity": [0.99, 0.9877], "skipped": [30, 0]}
        | {"seen": [60, 40]},
        {"threshold": [0.75, None], "similarity": [0.999, None], "skipped": [30, 0]}
        | {"seen": [60, 40]},
    ]


def test_places_fill_a_square_and_point_down() -> None:
    points = np.array([[0.0, 0.0], [4.0, 0.0], [2.0, 2.0]])
    labels = torch.tensor([0, 1, 1])
    images = results.images(3, 1, 4, 4)
    found = interactive.image_map(
        Embedding(points, labels, 0.0), images, labels.flip(0), ("a", "b")
    )
    assert found["places"] == [[0, 750], [1000, 750], [500, 250]]
    assert found["labels"] == [0, 1, 1]
    assert found["named"] == [1, 1, 0]


def test_points_in_one_place_are_no_error() -> None:
    same = Embedding(np.ones((3, 2)), torch.zeros(3, dtype=torch.long), 0.0)
    found = interactive.image_map(same, results.images(3, 1, 4, 4), same.labels, ("a",))
    assert found["places"] == [[500, 500]] * 3


def test_a_sprite_holds_grey_images_row_by_row() -> None:
    images = torch.arange(5, dtype=torch.float64).reshape(5, 1, 1, 1).expand(5, 1, 2, 3) / 15
    sheet = opened(interactive.sprite(images))
    assert sheet.size == (9, 6)
    levels = np.asarray(sheet.convert("L"))[::2, ::3]
    assert levels.tolist() == [[0, 17, 34], [51, 68, 0], [0, 0, 0]]


def test_a_sprite_holds_colour_images() -> None:
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 2, 2)
    sheet = opened(interactive.sprite(torch.cat((red, 1 - red)))).convert("RGB")
    assert sheet.size == (4, 4)
    assert sheet.getpixel((0, 0)) == (255, 0, 0)
    assert sheet.getpixel((2, 0)) == (0, 255, 255)


def test_neighbours_name_a_point_without_asking_itself() -> None:
    points = np.array([[0.0, 0.0], [1.0, 0.0], [2.1, 0.0], [10.0, 0.0], [11.0, 0.0]])
    labels = torch.tensor([1, 0, 0, 2, 2])
    assert named_by_neighbours(points, labels, 1).tolist() == [0, 1, 0, 2, 2]
    assert named_by_neighbours(points, labels, 2).tolist() == [0, 0, 0, 0, 0]


# --- size ---------------------------------------------------------------------------------


def bundled(name: str, count: int) -> tuple[Tensor, Tensor]:
    """Images and labels of a dataset that the package holds."""
    dataset = load(name, count, 10)
    return dataset.train_images, dataset.train_labels


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_a_map_of_a_thousand_images_is_light(name: str) -> None:
    images, labels = bundled(name, 1500)
    found = embedding(1500)._replace(labels=labels)
    payload = interactive.image_map(found, images, labels, [str(k) for k in range(10)])
    expected = 1000 if name == "mnist" else 500
    assert len(payload["labels"]) == len(payload["places"]) == len(payload["named"]) == expected
    assert len(interactive.written(payload)) < MOST


def test_heavy_images_are_fewer() -> None:
    noise = torch.rand(1000, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = embedding(1000)
    payload = interactive.image_map(found, noise, found.labels, ("a", "b"))
    assert 100 < len(payload["labels"]) < 1000
    assert len(payload["sprite"]) <= interactive.MOST_SPRITE
    assert opened(payload["sprite"]).width == 32 * math.ceil(math.sqrt(len(payload["labels"])))


def test_perturbations_are_light() -> None:
    images, labels = bundled("mnist", 8)
    pair: tuple[Victim, ...] = ("base", "maps")
    steps = torch.zeros(8, 31, dtype=torch.long)
    found = Sweep(
        images,
        labels,
        tuple(k / 100 for k in range(31)),
        {name: images.sign() for name in pair},
        {(a, b): steps for a in pair for b in pair},
        {(a, b): steps.double() for a in pair for b in pair},
    )
    text = interactive.written(interactive.perturbations(found, [str(k) for k in range(10)]))
    assert len(text) < 50_000


# --- text that cannot be taken for markup --------------------------------------------------


@pytest.fixture(params=["perturbation", "cache", "map"])
def hostile(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Data of each kind, with class names that look like markup."""
    found = embedding(4)
    images = results.images(4, 1, 4, 4)
    return {
        "perturbation": interactive.perturbations(results.sweep(), HOSTILE),
        "cache": interactive.cache_by_epoch(results.cached_run(), HOSTILE),
        "map": interactive.image_map(found, images, found.labels, HOSTILE),
    }[request.param]


def test_hostile_names_come_through_and_are_no_markup(hostile: dict[str, Any]) -> None:
    text = interactive.written(hostile)
    assert markup_in(text) == []
    assert json.loads(text) == hostile
    assert json.loads(text)["classes"] == list(HOSTILE)


def markup_in(text: str) -> list[str]:
    """Characters that HTML would take for more than text."""
    return [character for character in text if character in "<>&\u2028"]


def test_the_page_does_not_trust_the_notebook(extension: ModuleType) -> None:
    script = extension.as_script('a" onload="alert(1)', json.dumps({"classes": HOSTILE}))
    start = '<script type="application/json" data-figure="a&quot; onload=&quot;alert(1)">'
    assert script.startswith(start)
    assert script.endswith("</script>")
    data = script.removeprefix(start).removesuffix("</script>")
    assert markup_in(data) == []
    assert json.loads(data) == {"classes": list(HOSTILE)}


def test_data_that_are_no_json_stop_the_build(extension: ModuleType) -> None:
    with pytest.raises(json.JSONDecodeError):
        extension.as_script("fig", "</script>")


def test_library_and_pages_agree_on_the_type(extension: ModuleType) -> None:
    assert extension.MIME == interactive.MIME


def test_lines_keep_images_apart() -> None:
    lines = interactive.written(interactive.perturbations(results.sweep(), ("a", "b"))).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        '{"kind"', '"classes"', '"models"', '"shape"', '"epsilons"', '"images"',
        '{"label"', '{"label"', '{"label"',
    ]  # fmt: skip


def test_numbers_that_json_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        interactive.written({"a": math.nan})
    assert interactive.rounded([math.nan, math.inf, None, 0.12345, 2], 3) == [
        None, None, None, 0.123, 2,
    ]  # fmt: skip


# --- display ------------------------------------------------------------------------------


def test_show_displays_the_picture_with_its_data(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(interactive, "display", lambda data, **how: shown.append((data, how)))
    plt.switch_backend("Agg")
    plt.figure(figsize=(2, 1), dpi=100).add_subplot()
    interactive.show({"kind": "cache"})
    assert plt.get_fignums() == []
    [(data, how)] = shown
    assert set(data) == {"image/png", "text/plain", interactive.MIME}
    assert data["text/plain"] == "<Figure size 200x100 with 1 Axes>"
    assert data[interactive.MIME] == '{"kind":"cache"}'
    size = how["metadata"]["image/png"]
    assert opened(data["image/png"]).width == pytest.approx(2 * size["width"], abs=1)
    assert how["raw"] is True
