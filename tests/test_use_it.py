"""A reader's own network and loop: what the page about them shows, and what may go wrong."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib import CacheConfig, FeatureCache, TrainConfig, chapters, features, fgsm, fit
from tests import toy
from tests.test_run_chapters import PLAIN_KERNELS, TWO_THREADS, python

PAGE = chapters.BOOK / chapters.PAGES["use_it"]


def read_code() -> list[dict[str, Any]]:
    """The code cells of the page."""
    cells = json.loads(PAGE.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def printed(path: Path) -> list[str]:
    """What the cells of a notebook printed."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return ["".join(output["text"]) for output in outputs]


class Own(nn.Module):
    """A network as readers have them: layers in layers, batch statistics, dropout, logits."""

    def __init__(self, slope: float = 0.0) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.LeakyReLU(slope), nn.Dropout(0.5)
        )
        self.classifier = nn.Linear(3 * 4 * 4, 2)
        self.double()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 2) of images (N, 1, 6, 6)."""
        logits: Tensor = self.classifier(self.features(images).flatten(1))
        return logits


class Branching(Own):
    """A network that looks at its images before it decides what to compute."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 2) of images (N, 1, 6, 6)."""
        return super().forward(images if images.sum() > 0 else -images)


# --- the page ----------------------------------------------------------------------------


def test_page_needs_fewer_than_40_lines_of_code() -> None:
    lines = [line for cell in read_code() for line in cell["source"] if line.strip()]
    assert 20 < len(lines) < 40


def test_page_is_committed_with_the_outputs_of_one_whole_run() -> None:
    cells = read_code()
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output.get("name") for cell in cells for output in cell["outputs"]}
    assert kinds == {"stdout"}


def test_page_skips_images_and_its_attack_does_more_than_chance() -> None:
    text = "\n".join(printed(PAGE))
    skipped = [int(number) for number in re.findall(r"(\d+) of 1400 skipped", text)]
    assert len(skipped) == 4
    assert all(0 < number < 1400 for number in skipped)
    plain, noise, attacked = map(float, re.findall(r"([\d.]+) % right", text))
    assert plain > 80
    assert attacked < noise - 10


@pytest.mark.slow
def test_digits_of_the_page_do_not_depend_on_threads_and_kernels(tmp_path: Path) -> None:
    for name, environment in (("plain", PLAIN_KERNELS), ("native", TWO_THREADS)):
        out = tmp_path / f"{name}.ipynb"
        python(environment, "-m", "fmlib", "run", "use_it", "--out", str(out))
        assert printed(out) == printed(PAGE)


# --- a network of one's own --------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_maps_are_those_of_evaluation_and_looking_changes_nothing(training: bool) -> None:
    net = Own().train(training)
    net.features[1].eval()  # a layer that its owner has frozen
    modes = [module.training for module in net.modules()]
    before, images = toy.snapshot(net), toy.random_images(5)
    maps = features.feature_maps(net, images, ["features.1", "features.3"])
    assert toy.unchanged(net, before)
    assert [module.training for module in net.modules()] == modes
    with torch.no_grad():
        expected = net.eval().features[:2](images)
        assert torch.equal(maps["features.1"], expected)
        assert torch.equal(maps["features.3"], net.features(images))


def test_activation_is_found_within_a_layer() -> None:
    net = Own()
    assert features.activation_after(net, "features.0") is net.features[2]
    assert features.activation_after(nn.Sequential(net, nn.ReLU()), "0") is not net.features[2]


def test_cache_in_a_loop_of_ones_own_only_looks_at_the_network() -> None:
    torch.manual_seed(0)
    net, images, labels = Own(), toy.random_images(24), toy.random_labels(24)
    config = CacheConfig(layer="features.0", activation="after")
    cache = FeatureCache(net, 2, config, image_shape=(1, 6, 6))
    skipped = 0
    for batch in torch.arange(24).split(8):
        before = toy.snapshot(net)
        kept = cache.keep(images[batch], labels[batch])
        assert toy.unchanged(net, before)
        assert net.training
        loss = F.cross_entropy(net(images[batch][kept]), labels[batch][kept])
        loss.backward()
        before = toy.snapshot(net)
        cache.after_step(images[batch], labels[batch], kept)
        assert toy.unchanged(net, before)
        skipped += int((~kept).sum())
    assert skipped > 0
    assert sum(x or 0 for x in cache.report()["hits"]) == skipped


def test_a_network_that_cannot_be_traced_says_what_to_do() -> None:
    net = Branching()
    with pytest.raises(ValueError, match=r"cannot be traced to features\.0 .*give the part of it"):
        FeatureCache(net, 2, CacheConfig(layer="features.0"), image_shape=(1, 6, 6))
    FeatureCache(net.features, 2, CacheConfig(layer="0"), image_shape=(1, 6, 6))


def test_attacks_refuse_logits() -> None:
    net, images, labels = Own(), 5 * toy.random_images(4), toy.random_labels(4)
    with pytest.raises(ValueError, match=r"no log-probabilities.*LogSoftmax\(dim=1\)"):
        fgsm(net, images, labels, 0.1)
    assert fgsm(nn.Sequential(net, nn.LogSoftmax(dim=1)), images, labels, 0.1).shape == images.shape


def test_training_on_logits_ends_with_a_reason() -> None:
    images, labels = toy.random_images(24), toy.random_labels(24)
    config = TrainConfig(epochs=20, batch_size=8)
    with pytest.raises(ValueError, match=r"below 0.*LogSoftmax\(dim=1\)"):
        fit(Own(), images, labels, config)
    fit(nn.Sequential(Own(), nn.LogSoftmax(dim=1)), images, labels, config)
