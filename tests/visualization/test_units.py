"""Units of a network: what exists, what a unit shows, and that looking changes nothing."""

import pytest
import torch
from torch import nn

from fmlib.features import extractor
from fmlib.models import base_cnn, compact_cnn
from fmlib.visualization.units import (
    Unit,
    activations,
    check_units,
    output_shapes,
    probabilities,
    undisturbed,
)


def test_shapes_of_the_compact_network() -> None:
    shapes = output_shapes(compact_cnn(), ["conv1", "pool3", "fc"], (3, 32, 32))
    assert shapes == {"conv1": (24, 32, 32), "pool3": (64, 4, 4), "fc": (10,)}


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        (Unit("conv9", 0), "layer 'conv9' does not exist; choose from scale, conv1"),
        (Unit("conv1", 15), "index is 15, but layer 'conv1' has units 0 to 14"),
        (Unit("conv1", -1), "index is -1, but layer 'conv1' has units 0 to 14"),
        (Unit("fc2", 3, (0, 0)), "layer 'fc2' has no maps; give none"),
        (Unit("conv1", 3, (24, 0)), "have 24 rows and 24 columns"),
    ],
)
def test_units_that_do_not_exist_are_refused(unit: Unit, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_units(base_cnn(), [unit], (1, 28, 28))


def test_no_unit_and_images_of_a_foreign_size_are_refused() -> None:
    with pytest.raises(ValueError, match="give at least one"):
        check_units(base_cnn(), [], (1, 28, 28))
    with pytest.raises(ValueError, match="takes no images of 3x28x28"):
        check_units(base_cnn(), [Unit("conv1", 0)], (3, 28, 28))


def test_each_unit_is_read_from_its_own_image() -> None:
    output = torch.arange(24.0).reshape(2, 3, 2, 2)
    units = [Unit("conv", 1), Unit("conv", 2, (1, 0))]
    assert activations(output, units).tolist() == [5.5, 22.0]  # mean of 4..7, then one number
    assert activations(output[:, :, 0, 0], units).tolist() == [4.0, 20.0]


def test_probabilities_of_logits_and_of_log_probabilities_agree() -> None:
    logits = torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.float64)
    assert torch.allclose(probabilities(logits), probabilities(logits.log_softmax(dim=1)))


def test_looking_restores_mode_gradients_and_in_place_layers() -> None:
    convolution = nn.Conv2d(1, 2, 1)
    nn.init.ones_(convolution.weight)
    bias = nn.init.zeros_(convolution.get_parameter("bias")).requires_grad_(False)
    model = nn.Sequential(convolution, nn.ReLU(inplace=True), nn.Dropout(0.5))
    image = torch.full((1, 1, 2, 2), -1.0)
    extract = extractor(model, ["0", "1"])
    with undisturbed(model):
        outputs = extract(image)
        assert not convolution.weight.requires_grad
        assert not model.training
    assert (outputs["0"] == -1).all()
    assert (outputs["1"] == 0).all()
    assert model.training
    assert model[1].inplace is True
    assert convolution.weight.requires_grad
    assert not bias.requires_grad
