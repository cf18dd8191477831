"""Perturbations of images: pure functions of pixels in [0, 1].

What a network is fed is decided by its own first layer, so eps always speaks of [0, 1].
Model mode, weights and inputs are left unchanged.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib.models import CHUNK
from fmlib.training import evaluating


def gradient_sign(model: nn.Module, images: Tensor, labels: Tensor, chunk: int = CHUNK) -> Tensor:
    """Sign of the loss's gradient with respect to the pixels.

    Args:
        model: returns log-probabilities (N, classes).
        images: (N, C, H, W) in [0, 1].
        labels: (N,) true classes.
        chunk: images computed at a time.

    Returns:
        (N, C, H, W) of -1, 0 and 1.
    """
    signs = []
    with evaluating(model):
        for part, target in zip(images.split(chunk), labels.split(chunk), strict=True):
            pixels = part.detach().clone().requires_grad_()
            loss = F.nll_loss(model(pixels), target, reduction="sum")
            signs.append(torch.autograd.grad(loss, pixels)[0].sign())
    return torch.cat(signs)


def fgsm(model: nn.Module, images: Tensor, labels: Tensor, eps: float) -> Tensor:
    """Fast gradient sign method (Goodfellow et al. 2015; anand2022, 6.2).

    Args:
        model, images, labels: as for `gradient_sign`.
        eps: largest change of a pixel, in the unit of the pixels, 0 to 1.

    Returns:
        (N, C, H, W) within eps of the images and within [0, 1].
    """
    return add_signs(images, gradient_sign(model, images, labels), eps)


def add_signs(images: Tensor, signs: Tensor, eps: float) -> Tensor:
    """Move every pixel by eps in the direction of its sign, within [0, 1].

    Takes images (N, C, H, W) in [0, 1], signs of the same shape (-1, 0 or 1) and eps from 0 to 1.
    """
    check_eps(eps)
    return (images + eps * signs).clamp(0, 1)


def sign_noise(images: Tensor, eps: float, seed: int) -> Tensor:
    """Change every pixel by +eps or -eps at random: the control for an attack of equal eps.

    Takes images (N, C, H, W) in [0, 1] and returns the same shape, within [0, 1].
    """
    generator = torch.Generator().manual_seed(seed)
    positive = torch.randint(0, 2, images.shape, generator=generator).to(images)
    return add_signs(images, 2 * positive - 1, eps)


def released_perturbation(model: nn.Module, images: Tensor, labels: Tensor, eps: float) -> Tensor:
    """What the released evaluation of anand2022, Figure 10, does to images.

    It adds eps times the gradient's sign to pixels of 0..255 and clamps to [0, 1], so that
    every inked pixel becomes 1 of 255.  With eps = 0 only the clamp is left: its control.

    Returns:
        (N, C, H, W): clamp(255 images + eps sign, 0, 1) / 255.
    """
    return add_signs_as_released(images, gradient_sign(model, images, labels), eps)


def add_signs_as_released(images: Tensor, signs: Tensor, eps: float) -> Tensor:
    """The released counterpart of `add_signs`: clamp(255 images + eps signs, 0, 1) / 255."""
    check_eps(eps)
    return (255 * images + eps * signs).clamp(0, 1) / 255


def check_eps(eps: float) -> float:
    """Return eps if it lies in [0, 1], else raise ValueError."""
    if not 0 <= eps <= 1:
        raise ValueError(f"eps is {eps}; give a number from 0 to 1, in the unit of the pixels")
    return eps
