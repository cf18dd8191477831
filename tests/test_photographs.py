"""Two photographs seen by a large network: with random weights, at a small size."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image
from torch import nn

from fmlib import auditing, evidence, figures, models, recording, records, tables
from fmlib.experiments import photographs
from fmlib.experiments.grids import EXPERIMENTS
from fmlib.experiments.large_pictures import picture_of
from fmlib.experiments.photographs import Box, Photographs, PhotographsRun, at_most, square_of
from fmlib.records import Record, read
from tests import toy

RUN = PhotographsRun(
    seed=0, precision="float64", layers=("features.3", "features.12"), side=64, square=32, stride=16
)


def random_network(name: str, dtype: torch.dtype) -> nn.Sequential:
    """The network without ImageNet's weights."""
    assert name == "squeezenet"
    return models.squeezenet(dtype=dtype, seed=3)


@pytest.fixture(scope="module")
def record() -> Record[PhotographsRun, Photographs]:
    """The run made with random weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "imagenet", random_network)
        return recording.make(
            recording.Planned("photographs", RUN), recording.Code("commit", clean_tree=True)
        )


@pytest.fixture
def no_window() -> Iterator[None]:
    """Draw into memory, and leave no figure behind."""
    plt.switch_backend("Agg")
    with plt.rc_context({"figure.constrained_layout.use": True}):
        yield
    plt.close("all")


# --- photographs ---------------------------------------------------------------------------


def test_photographs_are_those_of_scikit_learn() -> None:
    dataset = RUN.load()
    assert dataset.class_names == ("flower", "china")
    assert dataset.test_images.dtype == torch.float64
    content = b""
    for name, image in zip(dataset.class_names, dataset.test_images, strict=True):
        pixels = load_sample_image(f"{name}.jpg")
        assert np.array_equal((255 * image).round().permute(1, 2, 0).numpy(), pixels)
        content += pixels.tobytes()
    assert dataset.checksum == hashlib.sha256(content + bytes([0, 1])).hexdigest()
    assert all("CC BY 2.0, https://" in photographs.CREDITS[name] for name in dataset.class_names)


def test_the_middle_is_cut_out_and_resized() -> None:
    """Of 2x6 pixels columns 2 and 3 are left; one pixel of them is their mean."""
    images = torch.arange(12, dtype=torch.float64).reshape(1, 1, 2, 6) / 12
    assert torch.equal(square_of(images, 2), images[..., 2:4])
    assert torch.equal(square_of(images.mT, 2), images.mT[..., 2:4, :])
    assert square_of(images, 1).item() == pytest.approx((2 + 3 + 8 + 9) / 4 / 12)


def test_pictures_are_reduced_and_never_enlarged() -> None:
    pictures = toy.random_images(1, size=6)
    assert torch.equal(at_most(pictures[0], 6), pictures[0])
    assert at_most(pictures[0], 4).shape == (1, 4, 4)
    assert at_most(pictures[0][:, :2], 4).shape == (1, 2, 4)


def test_class_names_are_those_of_imagenet() -> None:
    names = photographs.class_names("squeezenet")
    assert len(names) == 1000
    assert [names[number] for number in (31, 130, 933)] == ["tree frog", "flamingo", "cheeseburger"]


# --- the run -------------------------------------------------------------------------------


def test_classes_are_the_most_probable_ones(record: Record[PhotographsRun, Photographs]) -> None:
    model = random_network("squeezenet", torch.float64).eval()
    images = square_of(RUN.load().test_images, 64)
    names = photographs.class_names("squeezenet")
    with torch.no_grad():
        probabilities = model(images).exp()
    for seen, expected in zip(record.result.seen, probabilities, strict=True):
        order = expected.argsort(descending=True)[:3].tolist()
        assert seen.classes == tuple(names[number] for number in order)
        assert seen.probabilities == pytest.approx(expected[order].tolist())


def test_occlusion_maps_are_those_of_the_hidden_photographs(
    record: Record[PhotographsRun, Photographs],
) -> None:
    """The square of half the side stands at nine places, each worked out by itself."""
    model = random_network("squeezenet", torch.float64).eval()
    images = square_of(RUN.load().test_images, 64)
    names = photographs.class_names("squeezenet")
    for seen, image in zip(record.result.seen, images, strict=True):
        number, named = names.index(seen.classes[0]), []
        for row in range(3):
            for column in range(3):
                hidden = image.clone()
                hidden[:, 16 * row : 16 * row + 32, 16 * column : 16 * column + 32] = 0.5
                with torch.no_grad():
                    logits = model[:-1](hidden[None])[0]
                logit, probability = logits[number], logits.softmax(0)[number]
                found = seen.occluded
                assert found.logit[row][column] == pytest.approx(logit.item(), abs=5.1e-5)
                assert found.probability[row][column] == pytest.approx(
                    probability.item(), abs=5.1e-5
                )
                named.append(names[int(logits.argmax())])
        assert seen.occluded.predictions == {name: named.count(name) for name in named}
        whole, rows = seen.occluded.logit_whole, seen.occluded.logit
        assert seen.occluded.centre == pytest.approx(whole - rows[1][1], abs=1e-4)
        border = (sum(map(sum, rows)) - rows[1][1]) / 8
        assert seen.occluded.border == pytest.approx(whole - border, abs=1e-4)


def test_projections_are_of_the_strongest_activation(
    record: Record[PhotographsRun, Photographs],
) -> None:
    model = random_network("squeezenet", torch.float64).eval()
    images = square_of(RUN.load().test_images, 64)
    with torch.no_grad():
        features = model.get_submodule("features")
        assert isinstance(features, nn.Sequential)
        maps = features[:4](model[0](images))  # features.3: (2, maps, P, Q)
    for seen, image, output in zip(record.result.seen, images, maps, strict=True):
        first, last = seen.projections
        assert first.activation == pytest.approx(output.max().item())
        assert output[first.feature_map].max() == output.max()
        top, left, bottom, right = first.box.edges
        assert first.box.height in (7, 15)  # a fire module joins 1x1 and 3x3 filters
        patch = picture_of(first.patch)
        inside = [max(top, 0), min(bottom, 64), max(left, 0), min(right, 64)]
        expected = image[:, inside[0] : inside[1], inside[2] : inside[3]]
        within = patch[:, inside[0] - top : inside[1] - top, inside[2] - left : inside[3] - left]
        assert torch.allclose(within, expected, atol=0.5 / 255 + 1e-9)
        assert picture_of(first.projection).shape == patch.shape
        assert last.box == Box(0, 0, 64, 64)  # sees more than the image


def test_the_record_comes_back_from_its_file(
    record: Record[PhotographsRun, Photographs], tmp_path: Path
) -> None:
    path = records.write(record, tmp_path)
    again = read(path)
    assert again == record
    assert isinstance(again.result.seen[0].projections[0].box, Box)
    assert again.provenance.dataset_sha256 == RUN.load().checksum
    assert evidence.photographs(tmp_path) == record.result.seen
    assert evidence.photographs(tmp_path, "cuda") == ()


def test_the_audit_looks_at_probabilities(record: Record[PhotographsRun, Photographs]) -> None:
    names = {f"seen.{photo}.probabilities.{rank}" for photo in range(2) for rank in range(3)}
    assert auditing.headline(record).keys() == names


def test_missing_weights_are_found_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setenv("FMLIB_DATA", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    with pytest.raises(FileNotFoundError, match="weights of squeezenet are not in"):
        recording.check_here([recording.Planned("photographs", RUN)])
    torch.save({"weight": torch.zeros(1)}, tmp_path / "squeezenet1_1.pth")
    recording.check_here([recording.Planned("photographs", RUN)])


def test_the_grid_has_one_run_of_all_places() -> None:
    [run] = EXPERIMENTS["photographs"].grid()
    assert run.cost == 2 * 25**2
    assert run.label == "squeezenet"


# --- figure and table ------------------------------------------------------------------------


@pytest.mark.usefixtures("no_window")
def test_the_figure_names_classes_layers_and_logits(
    record: Record[PhotographsRun, Photographs],
) -> None:
    figures.photographs(record.result.seen)
    plt.gcf().canvas.draw()
    axes = plt.gcf().axes
    assert len(axes) == 2 * 2 * 3 + 2  # and the colour bars
    seen = record.result.seen[0]
    assert seen.classes[0] in axes[0].get_title().replace("\n", " ")
    assert axes[1].get_title() == f"features.3,\nmap {seen.projections[0].feature_map}"
    assert len(axes[0].patches) == 2
    labels = [ax.get_xlabel().replace("\n", " ") for ax in axes[-2:]]
    assert labels == [f"logit of {one.classes[0]}" for one in record.result.seen]


@pytest.mark.usefixtures("no_window")
def test_without_a_record_an_empty_figure_is_drawn(tmp_path: Path) -> None:
    figures.photographs(evidence.photographs(tmp_path))
    plt.gcf().canvas.draw()


def test_the_table_has_a_row_for_each_photograph(
    record: Record[PhotographsRun, Photographs],
) -> None:
    table = tables.photographs(record.result.seen)
    assert table["Photograph"].tolist() == ["flower", "china"]
    counts = [
        sum(int(part.rsplit(" ", 1)[1]) for part in cell.split(", "))
        for cell in table["Class named, at so many places"]
    ]
    assert counts == [9, 9]
    assert len(tables.photographs(())) == 0
