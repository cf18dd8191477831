"""What Convolutional Similarity is compared with: orthogonal kernels and decorrelated feature maps.

Each term is added to the loss of a training step, and is differentiable.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib.similarity import convolutions


def soft_orthogonality(weight: Tensor) -> Tensor:
    """Squared distance of the filters' cosines from those of orthogonal ones (Bansal et al. 2018).

    It is ‖W Wᵀ - I‖² with each filter (channels, height, width) as a row of norm 1 of W, so that
    norms do not count.  Takes weights (filters, channels, height, width) and returns a number.
    """
    rows = F.normalize(weight.flatten(1), dim=1)  # (filters, channels h w)
    return (rows @ rows.T - torch.eye(len(rows)).to(rows)).square().sum()


def orthogonality_regularizer(model: nn.Module, beta: float) -> Tensor:
    """`beta` times the sum of `soft_orthogonality` over the model's Conv2d layers.

    Raises:
        ValueError: a negative `beta`, a model without Conv2d layers.
    """
    if not beta >= 0:
        raise ValueError(f"beta is {beta}; give a number of at least 0")
    layers = convolutions(model).values()
    return beta * torch.stack([soft_orthogonality(layer.weight) for layer in layers]).sum()


def decov(maps: Tensor) -> Tensor:
    """DeCov of feature maps: half the sum of squared covariances of different maps.

    Cogswell et al. (2016), with every position of every image as a sample.  Takes maps
    (N, maps, P, Q), as `fmlib.features.extractor` gives them with their gradients, and returns a
    number.
    """
    values = maps.transpose(0, 1).flatten(1)  # (maps, N P Q)
    values = values - values.mean(dim=1, keepdim=True)
    covariances = values @ values.T / values.shape[1]
    return (covariances.square().sum() - covariances.diagonal().square().sum()) / 2
