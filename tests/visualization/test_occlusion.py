"""Occlusion maps: by hand on a network that looks at one pixel, against loops and captum."""

from typing import Any, cast

import pytest
import torch
from captum.attr import Occlusion
from torch import Tensor, nn

from fmlib.models import base_cnn, compact_cnn
from fmlib.visualization.occlusion import covered, occluded_copies, occlusion
from fmlib.visualization.responses import images_at_a_time, scores_layer
from fmlib.visualization.units import probabilities
from tests import toy

DOUBLE = torch.float64


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = DOUBLE) -> Tensor:
    """Pixels drawn uniformly from [0, 1]."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def spot_cnn(row: int, column: int, height: int, width: int) -> nn.Sequential:
    """Score 0 is 3 times one pixel of a grey image, score 1 is 1; map 1 is twice the image."""
    maps = nn.Conv2d(1, 2, 1, dtype=DOUBLE)
    linear = nn.Linear(2 * height * width, 2, dtype=DOUBLE)
    with torch.no_grad():
        maps.weight.copy_(torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1))
        maps.get_parameter("bias").zero_()
        linear.weight.zero_()
        linear.weight[0, row * width + column] = 3
        linear.get_parameter("bias").copy_(torch.tensor([0.0, 1.0]))
    return nn.Sequential(maps, nn.Flatten(), linear, nn.LogSoftmax(dim=1))


# --- by hand -----------------------------------------------------------------------------


def test_the_map_changes_exactly_where_the_square_covers_the_pixel() -> None:
    """Pixel (2, 3) of 5x6: squares of 2 at rows 1, 2 and columns 2, 3 cover it."""
    image = torch.zeros(1, 5, 6, dtype=DOUBLE)
    image[0, 2, 3] = 1
    found = occlusion(spot_cnn(2, 3, 5, 6), image, "0", square=2, stride=1)
    assert found.target == 0
    covers = torch.zeros(4, 5, dtype=torch.bool)
    covers[1:3, 2:4] = True
    logit = torch.where(covers, 1.5, 3.0).to(DOUBLE)
    assert torch.equal(found.occluded.logit, logit)
    torch.testing.assert_close(found.occluded.probability, (logit - 1).sigmoid())
    assert (found.occluded.prediction == 0).all()
    assert float(found.unoccluded.logit) == 3
    assert torch.equal(found.drop("logit"), 1.5 * covers.to(DOUBLE))
    # the pixel itself: all four squares; its neighbour (1, 3): the two at row 1 of four
    mean = found.per_pixel("logit")
    assert mean[2, 3] == 1.5
    assert mean[1, 3] == 0.75
    assert (mean[0] == 0).all()
    assert (mean[:, 0] == 0).all()


def test_a_black_square_changes_the_prediction_and_the_activity() -> None:
    """Map 1 sums up to twice the pixels: 2 of the bright one, and 0.4 of another one."""
    image = torch.zeros(1, 4, 4, dtype=DOUBLE)
    image[0, 1, 1], image[0, 3, 3] = 1, 0.2
    found = occlusion(spot_cnn(1, 1, 4, 4), image, "0", square=2, stride=2, fill=0)
    assert found.occluded.prediction.tolist() == [[1, 0], [0, 0]]
    assert found.feature_map == 1
    assert float(found.unoccluded.activity) == pytest.approx(2.4)
    assert found.occluded.activity.flatten().tolist() == pytest.approx([0.4, 2.4, 2.4, 2.0])
    assert found.drop("activity").flatten().tolist() == pytest.approx([2.0, 0, 0, 0.4])
    other = occlusion(spot_cnn(1, 1, 4, 4), image, "0", square=2, stride=2, fill=0, target=1)
    assert (other.occluded.logit == 1).all()
    assert other.drop("probability")[0, 0] < 0


@pytest.mark.parametrize(
    ("size", "square", "stride", "expected"),
    [
        (4, 2, 2, ["1100", "0011"]),
        (5, 2, 2, ["11000", "00110", "00001"]),  # the last one reaches beyond the edge
        (5, 3, 2, ["11100", "00111"]),
        (3, 3, 1, ["111"]),
    ],
)
def test_positions_by_hand(size: int, square: int, stride: int, expected: list[str]) -> None:
    rows = ["".join(map(str, row)) for row in covered(size, square, stride).long().tolist()]
    assert rows == expected


def test_the_square_takes_the_given_value_or_the_mean_of_each_channel() -> None:
    image = drawn(2, 4, 5)
    [grey] = occluded_copies(image, 3, 2, 0.25)
    [mean] = occluded_copies(image, 3, 2, "mean")
    assert grey.shape == mean.shape == (4, 2, 4, 5)
    assert (grey[3, :, 2:, 2:] == 0.25).all()
    for channel in range(2):
        expected = image[channel].mean().expand(2, 3)
        torch.testing.assert_close(mean[3, channel, 2:, 2:], expected)
    assert torch.equal(mean[3, :, :2], image[:, :2])
    assert torch.equal(mean[3, :, 2:, :2], image[:, 2:, :2])


# --- independent references --------------------------------------------------------------

CASES = [
    (3, 24, 17, 5, 3),
    (3, 16, 16, 4, 4),
    (3, 17, 24, 8, 5),
    (3, 24, 17, 17, 9),
    (1, 9, 8, 1, 1),
    (1, 28, 28, 7, 6),
    (1, 13, 21, 6, 6),
]


def _model_and_image(channels: int, height: int, width: int) -> tuple[nn.Sequential, Tensor]:
    model = compact_cnn((channels, height, width), dtype=DOUBLE, seed=height)
    return model, drawn(channels, height, width, seed=width)


@pytest.mark.parametrize(("channels", "height", "width", "square", "stride"), CASES)
@pytest.mark.parametrize("measured", ["logit", "probability"])
def test_means_per_pixel_equal_captum(
    measured: str, channels: int, height: int, width: int, square: int, stride: int
) -> None:
    """Captum computes as we do, but rounds its sums to float32 in the end."""
    model, image = _model_and_image(channels, height, width)
    found = occlusion(model, image, "conv2", square=square, stride=stride, target=4, fill=0.3)
    last = nn.Identity() if measured == "logit" else nn.Softmax(dim=1)
    [expected] = Occlusion(nn.Sequential(*list(model.children())[:-1], last)).attribute(
        image[None],
        (channels, square, square),
        strides=(channels, stride, stride),
        baselines=0.3,
        target=4,
        perturbations_per_eval=16,
    )
    ours = found.per_pixel(cast(Any, measured)).expand(channels, -1, -1)
    assert expected.abs().max() > 1e-6
    torch.testing.assert_close(ours, expected.to(DOUBLE), rtol=3e-7, atol=1e-13)


def test_a_mean_square_equals_captum_with_that_baseline() -> None:
    model, image = _model_and_image(3, 16, 20)
    found = occlusion(model, image, "conv2", square=6, stride=4, fill="mean")
    baseline = image.mean(dim=(1, 2), keepdim=True).expand_as(image)[None]
    [expected] = Occlusion(model[:-1]).attribute(
        image[None], (3, 6, 6), strides=(3, 4, 4), baselines=baseline, target=found.target
    )
    ours = found.per_pixel("logit").expand(3, -1, -1)
    torch.testing.assert_close(ours, expected.to(DOUBLE), rtol=3e-7, atol=1e-13)


@pytest.mark.parametrize(("channels", "height", "width", "square", "stride"), CASES[::3])
def test_maps_equal_those_of_a_loop_over_positions(
    channels: int, height: int, width: int, square: int, stride: int
) -> None:
    model, image = _model_and_image(channels, height, width)
    found = occlusion(model, image, "conv2", square=square, stride=stride)
    rows, columns = found.occluded.logit.shape
    assert (rows - 2) * stride + square < height <= (rows - 1) * stride + square
    sums, counts = torch.zeros(2, height, width, dtype=DOUBLE)
    strongest = int(model[:5](image[None])[0].sum(dim=(1, 2)).argmax())
    for i in range(rows):
        for j in range(columns):
            part = slice(i * stride, i * stride + square), slice(j * stride, j * stride + square)
            copy = image.clone()
            copy[:, *part] = 0.5
            with torch.no_grad():
                scores, maps = model[:-1](copy[None])[0], model[:5](copy[None])[0]
            shares = probabilities(scores[None])[0]
            for name, expected in (
                ("logit", scores[found.target]),
                ("probability", shares[found.target]),
                ("activity", maps[strongest].sum()),
                ("prediction", scores.argmax()),
            ):
                torch.testing.assert_close(getattr(found.occluded, name)[i, j], expected)
            sums[part] += found.unoccluded.logit - scores[found.target]
            counts[part] += 1
    torch.testing.assert_close(found.per_pixel("logit"), sums / counts, rtol=0, atol=1e-13)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_the_chunk_changes_nothing(chunk: int) -> None:
    model, image = _model_and_image(3, 16, 16)
    expected = occlusion(model, image, "conv1", square=5, stride=3)
    found = occlusion(model, image, "conv1", square=5, stride=3, chunk=chunk)
    for measured in ("probability", "logit", "activity", "prediction"):
        torch.testing.assert_close(
            getattr(found.occluded, measured), getattr(expected.occluded, measured)
        )


def test_larger_images_are_taken_fewer_at_a_time() -> None:
    images = torch.zeros(1, 3, 32, 32)
    assert images_at_a_time(images) == 4 * images_at_a_time(torch.zeros(1, 3, 64, 64)) == 64
    assert images_at_a_time(torch.zeros(1, 3, 500, 500, dtype=DOUBLE)) == 1
    copies = list(occluded_copies(drawn(1, 64, 64, dtype=torch.float32), 8, 8))
    assert [len(part) for part in copies] == [16, 16, 16, 16]


# --- other networks ----------------------------------------------------------------------


def test_grey_images_in_single_precision() -> None:
    model = base_cnn(seed=1)
    image = drawn(1, 28, 28, dtype=torch.float32)
    found = occlusion(model, image, "conv2", square=8, stride=4)
    assert found.occluded.probability.shape == found.occluded.activity.shape == (6, 6)
    with torch.no_grad():
        expected = probabilities(model(image[None]))[0]
    torch.testing.assert_close(found.unoccluded.probability, expected[found.target])
    assert found.target == int(expected.argmax())


def _ending(*last: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), *last).double()


@pytest.mark.parametrize(
    "last",
    [
        (nn.Flatten(), nn.Linear(64, 3)),
        (nn.Flatten(), nn.Linear(64, 3), nn.LogSoftmax(dim=1)),
        (nn.Flatten(), nn.Linear(64, 3), nn.Softmax(dim=1)),
        (nn.Conv2d(4, 3, 1), nn.AdaptiveAvgPool2d(1)),
    ],
)
def test_scores_are_those_before_any_softmax(last: tuple[nn.Module, ...]) -> None:
    with torch.random.fork_rng(devices=[]):
        model = _ending(*last)
    image = drawn(1, 6, 6)
    found = occlusion(model, image, "0", square=3, stride=2)
    end = -1 if isinstance(model[-1], nn.Softmax | nn.LogSoftmax) else None
    with torch.no_grad():
        scores = model[:end](image[None]).flatten()
        maps = model[:1](image[None])[0].sum(dim=(1, 2))  # before the ReLU writes over it
    torch.testing.assert_close(found.unoccluded.logit, scores[found.target])
    torch.testing.assert_close(found.unoccluded.probability, scores.softmax(0)[found.target])
    torch.testing.assert_close(found.unoccluded.activity, maps.max())
    assert scores_layer(model) == str(len(model) - (1 if end is None else 2))


def test_nothing_of_the_model_is_changed() -> None:
    model = compact_cnn((3, 16, 16), dtype=DOUBLE)
    before, image = toy.snapshot(model), drawn(3, 16, 16)
    kept = image.clone()
    found = occlusion(model, image, "conv1", square=4, stride=4)
    assert toy.unchanged(model, before)
    assert toy.hook_count(model) == 0
    assert model.training
    assert all(weight.requires_grad for weight in model.parameters())
    assert torch.equal(image, kept)
    assert not found.occluded.logit.requires_grad


# --- refusals ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"square": 9}, "^square is 9, but the image has 8 rows and 10 columns; give 1 to 8"),
        ({"square": 0}, "^square is 0"),
        ({"stride": 0}, "^stride is 0; give 1 to 4 pixels"),
        ({"stride": 5}, "^stride is 5; give 1 to 4 pixels"),
        ({"target": 10}, "^target is 10, but the model has classes 0 to 9$"),
        ({"target": -1}, "^target is -1"),
        ({"layer": "conv9"}, "^layer 'conv9' does not exist; choose from scale, conv1"),
        ({"layer": "fc"}, "^layer 'fc' has no feature maps; choose .* conv1, conv2, conv3$"),
        ({"fill": 1.5}, "^fill is 1.5; give a value from 0 to 1"),
        ({"fill": "median"}, "^fill is 'median'"),
        ({"image": drawn(1, 3, 8, 10)}, r"shape \(1, 3, 8, 10\); give \(C, H, W\)"),
        ({"image": drawn(3, 8, 10).float()}, "float32, but the model is torch.float64"),
        ({"image": drawn(3, 9, 16)}, "takes no images of 3x9x16"),
    ],
)
def test_mistakes_are_refused(settings: dict[str, Any], message: str) -> None:
    model = compact_cnn((3, 8, 10), dtype=DOUBLE)
    arguments: dict[str, Any] = {"image": drawn(3, 8, 10), "layer": "conv1", "square": 4}
    with pytest.raises(ValueError, match=message):
        occlusion(model, **(arguments | {"stride": 2} | settings))


class _Backwards(nn.Module):
    """Lists its last layer first."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(16, 3, dtype=DOUBLE)
        self.conv = nn.Conv2d(1, 1, 1, dtype=DOUBLE)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.last(self.conv(images).flatten(1))
        return scores


def test_a_model_that_lists_another_layer_last_is_refused() -> None:
    with pytest.raises(ValueError, match="layer 'conv' does not give the model's scores"):
        occlusion(_Backwards(), drawn(1, 4, 4), "conv", square=2, stride=2)
