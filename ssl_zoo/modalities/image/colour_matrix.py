"""The colour jitter as one affine map of the channels a sample: much faster than the changes one by one.

Brightness, contrast and saturation are affine in the pixel's channels, given the image's mean; so is a turn of the
hue if it is a rotation about the grey axis. Their product in each sample's own order is one 3 x 4 matrix, and taking
the colour out (`grey`) is one more factor. Two things differ from doing them one by one, as torchvision does and
`ssl_zoo.modalities.image.colour`: values are kept in [0, 1] once at the end, not after each change, and the hue turns
on a circle where HSV's is a hexagon (equal at multiples of a third of the circle).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ssl_zoo.modalities.image.colour import GREY_WEIGHTS
from ssl_zoo.modalities.image.constants import constant


def _turns(angle: Tensor) -> Tensor:
    """Return rotations about the grey axis `(B, 3, 3)` by a fraction `(B,)` of the circle (Rodrigues' formula)."""
    cos, sin = torch.cos(2 * math.pi * angle), torch.sin(2 * math.pi * angle)
    same, up, down = (1 + 2 * cos) / 3, (1 - cos) / 3 + sin / math.sqrt(3), (1 - cos) / 3 - sin / math.sqrt(3)
    rows = [same, down, up, up, same, down, down, up, same]
    return torch.stack(rows, dim=1).view(-1, 3, 3)


def colour_maps(
    mean: Tensor, factors: Tensor, order: Tensor, chosen: Tensor, used: tuple[bool, ...], grey: Tensor | None
) -> Tensor:
    """Return the maps `(B, C, C + 1)`, the last column being added, of a colour jitter and of the loss of colour.

    Args:
        mean: of each channel of each image, `(B, C)`, in [0, 1].
        factors: of brightness, contrast, saturation, and the turn of the hue, `(B, 4)`.
        order: a permutation of 0..3 a sample, `(B, 4)`: which change comes when.
        chosen: which samples are jittered, bool `(B,)`; the others keep their colours.
        used: which of the four changes are wanted at all.
        grey: which samples lose their colour, bool `(B,)`, or None.
    """
    num, channels = mean.shape
    device, dtype = mean.device, mean.dtype
    colour = channels == 3
    weights = constant(GREY_WEIGHTS if colour else (1 / channels,) * channels, device, dtype)
    eye = torch.eye(channels, device=device, dtype=dtype)
    wanted = constant(used, device, torch.bool) & chosen[:, None]
    factors = torch.where(wanted, factors, constant((1.0, 1.0, 1.0, 0.0), device, factors.dtype))
    scaled = factors[:, :3, None, None] * eye  # (B, 3, C, C)
    last = [scaled[:, 2] + (1 - factors[:, 2, None, None]) * weights, _turns(factors[:, 3])] if colour else [eye, eye]
    every = torch.stack([scaled[:, 0], scaled[:, 1], *(each.expand(num, -1, -1) for each in last)], dim=1)
    steps = every[torch.arange(num, device=device)[:, None], order]  # (B, 4, C, C), in each sample's order
    blended = torch.where(order == 1, 1 - factors[:, 1, None], 0)  # how much of the grey mean contrast adds, and when
    # What has been made so far of the colours, of what is added, and of the image's mean: columns C, 1 and 1.
    state = torch.cat([eye.expand(num, -1, -1), mean.new_zeros(num, channels, 1), mean[..., None]], dim=2)
    for turn in range(order.shape[1]):
        level = state[:, :, -1] @ weights  # the grey mean of the image so far
        state = torch.bmm(steps[:, turn], state)
        state[:, :, channels:] += (blended[:, turn] * level)[:, None, None]
    maps = state[:, :, :-1]
    if grey is not None and colour:
        maps = torch.where(grey[:, None, None], weights @ maps[:, None], maps)
    return maps


def apply_maps(maps: Tensor, planes: Tensor, low: Tensor, high: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the pixels that affine maps make of others, kept in bounds.

    Args:
        maps: `(B, C, C + 1)`.
        planes: `(B, C + 1, N)`, channels and a last one of ones.
        low: least values, `(C, 1)` or of one number.
        high: greatest values.
        out: `(B, C, N)`, contiguous, to write to.
    """
    made = torch.bmm(maps, planes, out=out)
    return torch.minimum(torch.maximum(made, low, out=made), high, out=made)  # much faster than clamp_ with tensors


def recolour(
    x: Tensor, factors: Tensor, order: Tensor, chosen: Tensor, used: tuple[bool, ...], grey: Tensor | None
) -> Tensor:
    """Return images `(B, C, H, W)` in [0, 1] with the changes of `colour_maps`, in [0, 1]."""
    maps = colour_maps(x.mean(dim=(2, 3)), factors, order, chosen, used, grey)
    planes = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
    return apply_maps(maps, planes.flatten(2), x.new_zeros(()), x.new_ones(())).view_as(x)
