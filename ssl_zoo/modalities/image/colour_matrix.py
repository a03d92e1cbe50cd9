"""The colour jitter as one affine map of the channels a sample: much faster than the changes one by one.

Brightness, contrast and saturation are affine in the pixel's channels, given the image's mean; so is a turn of the hue
if it is a rotation about the grey axis. Their product in each sample's own order is one 3 x 4 matrix, and taking the
colour out (`grey`) is one more factor. Two things differ from doing them one by one (`ssl_zoo.modalities.image.colour`,
torchvision's semantics): values are kept in [0, 1] once at the end, not after each change, and the hue turns on a circle
where HSV's is a hexagon (equal at multiples of a third of the circle).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ssl_zoo.modalities.image.colour import GREY_WEIGHTS


def _weights(x: Tensor) -> Tensor:
    """Return what each channel counts in the grey value, `(C,)`."""
    return x.new_tensor(GREY_WEIGHTS) if x.shape[1] == 3 else x.new_full((x.shape[1],), 1 / x.shape[1])


def _turns(angle: Tensor) -> Tensor:
    """Return rotations about the grey axis `(B, 3, 3)` by a fraction `(B,)` of the circle (Rodrigues' formula)."""
    cos, sin = torch.cos(2 * math.pi * angle), torch.sin(2 * math.pi * angle)
    same, up, down = (1 + 2 * cos) / 3, (1 - cos) / 3 + sin / math.sqrt(3), (1 - cos) / 3 - sin / math.sqrt(3)
    rows = [same, down, up, up, same, down, down, up, same]
    return torch.stack(rows, dim=1).view(-1, 3, 3)


def jitter_matrices(
    mean: Tensor, factors: Tensor, order: Tensor, chosen: Tensor, used: tuple[bool, ...], weights: Tensor
) -> Tensor:
    """Return the maps `(B, C, C + 1)`, the last column being added, of a colour jitter in each sample's order.

    Args:
        mean: of each channel of each image, `(B, C)`.
        factors: of brightness, contrast, saturation, and the turn of the hue, `(B, 4)`.
        order: a permutation of 0..3 a sample, `(B, 4)`: which change comes when.
        chosen: which samples are changed, bool `(B,)`; the others get the identity.
        used: which of the four changes are wanted at all.
        weights: of the channels in the grey value, `(C,)`.
    """
    num, channels = mean.shape
    eye = torch.eye(channels, device=mean.device, dtype=mean.dtype)
    linear = eye.expand(num, -1, -1)
    shift = mean.new_zeros(num, channels)
    colour = channels == 3
    neutral = factors.new_tensor([1.0, 1.0, 1.0, 0.0])
    wanted = torch.tensor(used, device=mean.device) & chosen[:, None]
    factors = torch.where(wanted, factors, neutral)
    grey = weights.expand(channels, -1)  # 1 w^T
    scaled = factors[:, :3, None, None] * eye  # (B, 3, C, C)
    changes = [scaled[:, 0], scaled[:, 1]]
    if colour:
        changes += [scaled[:, 2] + (1 - factors[:, 2, None, None]) * grey, _turns(factors[:, 3])]
    every = torch.stack(changes, dim=1)  # (B, 2 or 4, C, C)
    for turn in order.unbind(dim=1):
        step = every[torch.arange(num, device=mean.device), turn.clamp(max=len(changes) - 1)]
        if not colour:
            step = torch.where((turn < 2)[:, None, None], step, eye)
        level = ((linear @ mean[..., None]).squeeze(2) + shift) @ weights  # the grey mean of the image so far
        added = torch.where(turn == 1, (1 - factors[:, 1]) * level, torch.zeros_like(level))
        linear = step @ linear
        shift = (step @ shift[..., None]).squeeze(2) + added[:, None]
    return torch.cat([linear, shift[..., None]], dim=2)


def recolour(
    x: Tensor, factors: Tensor, order: Tensor, chosen: Tensor, used: tuple[bool, ...], grey: Tensor | None
) -> Tensor:
    """Return images with the jitter's changes, and without colour where `grey` says so, in [0, 1].

    Args:
        x: images `(B, C, H, W)` in [0, 1].
        factors: as in `jitter_matrices`, and so are `order`, `chosen` and `used`.
        order: see there.
        chosen: see there.
        used: see there.
        grey: which samples lose their colour, bool `(B,)`, or None.
    """
    weights = _weights(x)
    maps = jitter_matrices(x.mean(dim=(2, 3)), factors, order, chosen, used, weights)
    if grey is not None and x.shape[1] == 3:
        flat = weights.expand(3, -1) @ maps
        maps = torch.where(grey[:, None, None], flat, maps)
    return torch.baddbmm(maps[..., -1:], maps[..., :-1], x.flatten(2)).view_as(x).clamp_(0, 1)
