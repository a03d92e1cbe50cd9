"""Colour changes of image batches in [0, 1], with parameters per sample; semantics of torchvision's float tensors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

GREY_WEIGHTS = (0.2989, 0.587, 0.114)
"""Luma weights of red, green and blue, as in torchvision."""


def _per_sample(values: Tensor, x: Tensor) -> Tensor:
    return values.to(x.dtype).view(-1, 1, 1, 1)


def _blend(x: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """Return factor x + (1 - factor) other, kept in [0, 1]."""
    return torch.lerp(other.expand_as(x), x, _per_sample(factor, x)).clamp(0, 1)


def luma(x: Tensor) -> Tensor:
    """Return the grey image `(B, 1, H, W)`; images of one channel are grey already."""
    if x.shape[1] == 1:
        return x
    weights = x.new_tensor(GREY_WEIGHTS).view(1, 3, 1, 1)
    return (x * weights).sum(dim=1, keepdim=True)


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    """Multiply each image `(B, C, H, W)` by its factor `(B,)`."""
    return (x * _per_sample(factor, x)).clamp(0, 1)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    """Blend each image with the mean of its grey version; factor `(B,)`, 1 leaves it."""
    grey = luma(x) if x.shape[1] == 3 else x
    return _blend(x, grey.mean(dim=(1, 2, 3), keepdim=True), factor)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    """Blend each image with its grey version; factor `(B,)`, 1 leaves it."""
    return _blend(x, luma(x), factor) if x.shape[1] == 3 else x


def hue(x: Tensor, factor: Tensor) -> Tensor:
    """Turn the hue of each image by a fraction `(B,)` of the circle, through HSV, exactly as torchvision."""
    if x.shape[1] != 3:
        return x
    largest, _ = x.max(dim=1)
    smallest, _ = x.min(dim=1)
    chroma = largest - smallest
    flat = chroma == 0
    divisor = torch.where(flat, torch.ones_like(chroma), chroma)
    red, green, blue = x.unbind(dim=1)
    rc, gc, bc = (largest - red) / divisor, (largest - green) / divisor, (largest - blue) / divisor
    is_red, is_green = largest == red, (largest == green) & (largest != red)
    angle = torch.where(is_red, bc - gc, torch.where(is_green, 2 + rc - bc, 4 + gc - rc)) / 6
    angle = torch.where(flat, torch.zeros_like(angle), angle)
    turned = (angle + factor.to(x.dtype).view(-1, 1, 1)) % 1
    # Each channel is v - c max(0, min(k, 4 - k, 1)) with k = (n + 6 h) mod 6, n = 5, 3, 1 (HSV to RGB without cases).
    k = (x.new_tensor([5.0, 3.0, 1.0]).view(1, 3, 1, 1) + 6 * turned[:, None]) % 6
    return largest[:, None] - chroma[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)


JITTERS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (brightness, contrast, saturation, hue)
"""The four changes of a colour jitter, in the order of `factors`."""


def jitter(x: Tensor, factors: Tensor, order: Tensor, chosen: Tensor, used: tuple[bool, ...]) -> Tensor:
    """Change brightness, contrast, saturation and hue of some images, in an order of their own.

    Args:
        x: images `(B, C, H, W)` in [0, 1].
        factors: of brightness, contrast, saturation, and the turn of the hue, `(B, 4)`.
        order: a permutation of 0..3 a sample, `(B, 4)`: which change comes when.
        chosen: which samples are changed, bool `(B,)`.
        used: which of the four changes are wanted at all.
    """
    x = x.clone()
    for turn in range(len(JITTERS)):
        for number, change in enumerate(JITTERS):
            if used[number]:
                index = torch.nonzero(chosen & (order[:, turn] == number)).squeeze(1)
                x[index] = change(x[index], factors[index, number])
    return x


def grey(x: Tensor, chosen: Tensor) -> Tensor:
    """Take the colour out of some images; chosen is bool `(B,)`."""
    if x.shape[1] != 3:
        return x
    return torch.where(chosen.view(-1, 1, 1, 1), luma(x), x)


def solarise(x: Tensor, chosen: Tensor, threshold: float) -> Tensor:
    """Invert the pixels at or above a threshold in [0, 1] in some images; chosen is bool `(B,)`."""
    return torch.where(chosen.view(-1, 1, 1, 1) & (x >= threshold), 1 - x, x)
