"""Perturbations of images: pure functions of pixels in [0, 1].

What a network is fed is decided by its own first layer, so eps always speaks of [0, 1].
Model mode, weights and inputs are left unchanged.
"""

from bisect import bisect_right
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib.models import chunk_size
from fmlib.training import evaluating, predict


def gradient_sign(
    model: nn.Module, images: Tensor, labels: Tensor, chunk: int | None = None
) -> Tensor:
    """Sign of the loss's gradient with respect to the pixels.

    Args:
        model: returns log-probabilities (N, classes).
        images: (N, C, H, W) in [0, 1].
        labels: (N,) true classes.
        chunk: images computed at a time; None: `fmlib.models.chunk_size`.

    Returns:
        (N, C, H, W) of -1, 0 and 1.

    Raises:
        ValueError: a model that does not return log-probabilities.
    """
    signs: list[Tensor] = []
    chunk = chunk or chunk_size(images)
    with evaluating(model):
        for part, target in zip(images.split(chunk), labels.split(chunk), strict=True):
            pixels = part.detach().clone().requires_grad_()
            outputs = model(pixels)  # (n, classes)
            if not signs:
                check_log_probabilities(outputs)
            loss = F.nll_loss(outputs, target, reduction="sum")
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


def pgd(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    eps: float,
    *,
    step: float,
    steps: int,
    start: Tensor | None = None,
) -> Tensor:
    """Projected gradient descent (Madry et al. 2018, section 2.1): many small FGSM steps.

    Args:
        model, images, labels, eps: as for `fgsm`.
        step: change of a pixel in one step, as a share of eps.
        steps: number of gradients taken, at least 1.
        start: (N, C, H, W) within eps of the images; None starts at the images.

    Returns:
        (N, C, H, W) within eps of the images and within [0, 1], where the last step leads.
    """
    check_eps(eps)
    check_at_least_1(steps=steps)
    low, high = (images - eps).clamp_min(0), (images + eps).clamp_max(1)
    found = images if start is None else start
    for _ in range(steps):
        moved = found + step * eps * gradient_sign(model, found, labels)
        found = moved.clamp(low, high)
    return found


def restarted_pgd(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    eps: float,
    *,
    step: float,
    steps: int,
    restarts: int,
    seed: int,
) -> Tensor:
    """For each image the first to mislead the model: FGSM, `pgd`, PGD from random starts.

    So it misleads wherever these do; what nothing misleads is where the last path led.

    Args:
        model, images, labels, eps, step, steps: as for `pgd`.
        restarts: random starts, uniform within eps of the image, at least 1.
        seed: draws the starts; an image's starts do not depend on the other images' fate.

    Returns:
        (N, C, H, W) within eps of the images and within [0, 1].
    """
    check_at_least_1(restarts=restarts)
    path = partial(pgd, model, eps=eps, step=step, steps=steps)
    found = fgsm(model, images, labels, eps)
    draw = torch.Generator().manual_seed(seed)
    for restart in range(restarts + 1):
        noise = 2 * torch.rand(images.shape, generator=draw, dtype=torch.float64) - 1
        start = (images + eps * noise.to(images)).clamp(0, 1) if restart else images
        right = predict(model, found) == labels  # (N,)
        if right.any():
            found[right] = path(images[right], labels[right], start=start[right])
    return found


SMALLER_SQUARES = (0.001, 0.005, 0.02, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Shares of the queries after which a square's area is halved (Andriushchenko et al. 2020)."""
LEAST_GAIN = 1e-9
"""What a margin has to fall by, so that rounding decides nothing."""


def square_attack(
    model: nn.Module, images: Tensor, labels: Tensor, eps: float, *, queries: int, seed: int
) -> Tensor:
    """Square Attack (Andriushchenko et al. 2020, section 3): random search without gradients.

    The first query moves every column of pixels by +eps or -eps, each further one a random
    square; what lowers an image's margin is kept, and a misled image is left alone.

    Args:
        model, images, labels, eps: as for `fgsm`; the model is only asked for its outputs.
        queries: perturbations tried on each image, at least 1.
        seed: draws them; an image's draws do not depend on the other images' fate.

    Returns:
        (N, C, H, W) within eps of the images and within [0, 1].
    """
    check_eps(eps)
    check_at_least_1(queries=queries)
    draw = torch.Generator().manual_seed(seed)
    n, channels, height, width = images.shape
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    found, best = images.clone(), margins(model, images, labels)
    for query in range(queries):
        area = 0.8 * 0.5 ** bisect_right(SMALLER_SQUARES, query / queries) * height * width
        side = min(max(round(area**0.5), 1), height, width)
        top, left = (
            torch.randint(size - side + 1, (n, 1, 1, 1), generator=draw) for size in (height, width)
        )
        inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
        shape = (n, channels, 1, 1 if query else width)
        signs = 2 * torch.randint(2, shape, generator=draw) - 1
        inside, signs = inside.to(images.device), signs.to(images)
        right = (best >= 0).nonzero().flatten()
        if len(right) == 0:
            break
        tried = add_signs(images[right], signs[right], eps)
        if query:
            tried = torch.where(inside[right], tried, found[right])
        reached = margins(model, tried, labels[right])
        better = reached < best[right] - LEAST_GAIN
        found[right[better]], best[right[better]] = tried[better], reached[better]
    return found


@torch.no_grad()
def margins(model: nn.Module, images: Tensor, labels: Tensor, chunk: int | None = None) -> Tensor:
    """Log-probability of the true class minus the largest other one, (N,); below 0 if misled.

    Takes the arguments of `gradient_sign`.
    """
    with evaluating(model):
        parts = images.split(chunk or chunk_size(images))
        outputs = torch.cat([model(part) for part in parts])  # (N, classes)
    true = labels[:, None]
    others = outputs.scatter(1, true, -torch.inf).amax(1)
    return outputs.gather(1, true).squeeze(1) - others  # (N,)


def released_perturbation(model: nn.Module, images: Tensor, labels: Tensor, eps: float) -> Tensor:
    """What the released evaluation of anand2022, Figure 10, does to images.

    It adds eps times the gradient's sign to pixels of 0..255 and clamps to [0, 1], so that
    every inked pixel becomes 1 of 255.  With eps = 0 only the clamp is left: its control.

    Returns:
        (N, C, H, W), clamp(255 images + eps sign, 0, 1) / 255.
    """
    return add_signs_as_released(images, gradient_sign(model, images, labels), eps)


def add_signs_as_released(images: Tensor, signs: Tensor, eps: float) -> Tensor:
    """The released counterpart of `add_signs`: clamp(255 images + eps signs, 0, 1) / 255."""
    check_eps(eps)
    return (255 * images + eps * signs).clamp(0, 1) / 255


def check_log_probabilities(outputs: Tensor) -> None:
    """Refuse a model's outputs (N, classes) if they are something else, such as logits.

    Undefined ones pass: they say that a training has diverged.
    """
    totals = outputs.detach().exp().sum(dim=1)
    if ((totals - 1).abs() > 0.1).any():
        raise ValueError(
            "the model's outputs are no log-probabilities: the probabilities of an image add up to "
            f"{totals.max().item():.3g}; let the model end in nn.LogSoftmax(dim=1)"
        )


def check_eps(eps: float) -> float:
    """Return eps if it lies in [0, 1], else raise ValueError."""
    if not 0 <= eps <= 1:
        raise ValueError(f"eps is {eps}; give a number from 0 to 1, in the unit of the pixels")
    return eps


def check_at_least_1(**counts: int) -> None:
    """Raise ValueError if one of the named counts is below 1."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} is {count}; give a whole number from 1")
