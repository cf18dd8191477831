"""Measures of pictures (N, C, H, W) in [0, 1], and their contrast for display.

They say how noisy a picture is, how strong, and how much pictures of different classes have in
common: what is judged by eye in punjabi2017, section V.
"""

import zlib

import torch
from torch import Tensor

GREY = 0.5
SHOWN = 0.98
"""Share of the values of a set that `stretched` shows without clipping them."""


def total_variation(pictures: Tensor) -> Tensor:
    """Absolute differences of neighbours, one to the right and one below, mean over all pixels.

    Channels count as pixels: of (N, C, H, W) the differences are added up and divided by C H W.
    Can be differentiated; returns (N,).
    """
    right = (pictures[..., 1:] - pictures[..., :-1]).abs().sum(dim=(1, 2, 3))
    below = (pictures[..., 1:, :] - pictures[..., :-1, :]).abs().sum(dim=(1, 2, 3))
    return (right + below) / pictures[0].numel()


@torch.no_grad()
def high_frequency_share(pictures: Tensor) -> Tensor:
    """Share of the power at more than a quarter of the sampling frequency along either axis.

    The power is that of the discrete Fourier transform of each channel, its mean left out; a
    quarter of the sampling frequency is a period of four pixels.  White noise of 32x32 pixels
    has 0.72.  Takes (N, C, H, W) and returns (N,), NaN for a picture of constant channels.
    """
    rows, columns = (torch.fft.fftfreq(size, device=pictures.device) for size in pictures.shape[2:])
    high = (rows.abs()[:, None] > 0.25) | (columns.abs() > 0.25)  # (H, W)
    spectrum = torch.fft.fft2(pictures - pictures[..., :1, :1])  # so that a constant is 0
    power = spectrum.abs().square().sum(dim=1)  # (N, H, W)
    power[:, 0, 0] = 0
    share: Tensor = power[:, high].sum(dim=1) / power.sum(dim=(1, 2))
    return share


def compressed_bytes(pictures: Tensor) -> Tensor:
    """Bytes that each picture takes when compressed by zlib at its highest level.

    The picture is rounded to 256 levels and written channel after channel, row after row.  It
    measures how little of the picture repeats earlier parts of it: flat areas and repeated
    patterns take few bytes, noise as many as it has values.  To compare pictures of one shape
    by; other implementations of zlib may need some bytes more or less.

    Takes (N, C, H, W) and returns whole numbers (N,).
    """
    levels = (255 * pictures.detach()).round().to("cpu", torch.uint8).contiguous()
    sizes = [len(zlib.compress(picture.numpy().tobytes(), level=9)) for picture in levels]
    return torch.tensor(sizes)


def contrast(pictures: Tensor) -> Tensor:
    """Standard deviation of all values of each picture about their mean, at most 0.5.

    Takes (N, C, H, W) and returns (N,).
    """
    return pictures.flatten(1).std(dim=1, correction=0)


def stretched(pictures: Tensor) -> Tensor:
    """Pictures for display: differences from grey enlarged, by one factor for all of them.

    The factor makes the distance from grey (0.5) that 98 % of all values keep within the whole
    range; what lies beyond is clipped.  So grey stays grey, and the strengths of the pictures of
    a set can still be compared.  Takes (N, C, H, W) and returns the same shape, in [0, 1].
    """
    distances = (pictures - GREY).abs().flatten()
    reach = distances.kthvalue(max(1, round(SHOWN * len(distances)))).values
    if reach == 0:
        return pictures.clone()
    return (GREY + (pictures - GREY) * (GREY / reach)).clamp(0, 1)


def similarity(pictures: Tensor) -> Tensor:
    """Pearson correlation of every two pictures, over all their values.

    Takes (N, C, H, W) and returns (N, N) from -1 to 1, NaN where a picture is constant.
    """
    flat = pictures.flatten(1)
    shifted = flat - flat[:, :1]  # so that a constant is 0
    centred = shifted - shifted.mean(dim=1, keepdim=True)
    directions: Tensor = centred / centred.norm(dim=1, keepdim=True)
    return directions @ directions.T


def confusion(pictures: Tensor) -> float:
    """How much pictures of different classes look alike: their mean `similarity`.

    The confusion of features that punjabi2017, section V-B, finds by eye when a network
    overfits.  Takes one picture of each class, (classes, C, H, W).

    Raises:
        ValueError: fewer than two pictures.
    """
    if len(pictures) < 2:
        raise ValueError(f"there is {len(pictures)} picture to compare; give at least two")
    others = ~torch.eye(len(pictures), dtype=torch.bool, device=pictures.device)
    return similarity(pictures)[others].mean().item()
