"""Orthogonal kernels and decorrelated maps: by hand, gradients, refusals."""

import pytest
import torch

from fmlib.decorrelation import (
    decov,
    orthogonality_regularizer,
    soft_orthogonality,
)
from fmlib.models import base_cnn


def test_orthogonality_by_hand() -> None:
    weight = torch.tensor([[3.0, 4.0], [8.0, 6.0], [-4.0, 3.0]])[:, None, None]
    # cosines 0.96 of the first two, 0 and -0.28 with the third; each pair stands twice
    assert soft_orthogonality(weight).item() == pytest.approx(2 * (0.96**2 + 0.28**2))
    assert soft_orthogonality(5 * weight).item() == pytest.approx(2 * (0.96**2 + 0.28**2))


def test_covariances_by_hand() -> None:
    maps = torch.tensor([[[[1.0, 3.0]], [[0.0, 4.0]], [[5.0, 5.0]]]])
    # deviations -1, 1 and -2, 2 and 0, 0: the covariance of the first two is 2
    assert decov(maps).item() == pytest.approx(4)


def test_gradients_are_those_of_finite_differences() -> None:
    values = torch.rand(3, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(soft_orthogonality, values)
    assert torch.autograd.gradcheck(decov, values)


def test_regularizers_add_up_layers() -> None:
    model = base_cnn(dtype=torch.float64)
    weights = model.get_parameter("conv1.weight"), model.get_parameter("conv2.weight")
    expected = sum(soft_orthogonality(weight) for weight in weights)
    assert torch.allclose(orthogonality_regularizer(model, 2.0), 2 * torch.as_tensor(expected))


def test_negative_factors_are_refused() -> None:
    with pytest.raises(ValueError, match="beta is -1; give a number of at least 0"):
        orthogonality_regularizer(base_cnn(), -1)
