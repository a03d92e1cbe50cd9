"""The colour jitter as one affine map of the channels a sample: much faster than the changes one by one.

Brightness, contrast and saturation are affine in the pixel's channels, given the image's mean; so is a turn of the
hue if it is a rotation about the grey axis. Their product in each sample's own order is one matrix of the pixel and one
of the mean, in closed form: brightness is a factor of all, contrast adds a grey, and greys are left alone by a turn.
Taking the colour out (`grey`) is one more factor. Two things differ from doing them one by one, as torchvision does and
`ssl_zoo.modalities.image.colour`: values are kept in [0, 1] once at the end, not after each change, and the hue turns
on a circle where HSV's is a hexagon (equal at multiples of a third of the circle).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ssl_zoo.modalities.image.colour import GREY_WEIGHTS
from ssl_zoo.modalities.image.constants import constant

_NEUTRAL = (1.0, 1.0, 1.0, 0.0)
"""Factors that change nothing."""


def _turns(angle: Tensor) -> Tensor:
    """Return rotations about the grey axis `(B, 3, 3)` by a fraction `(B,)` of the circle (Rodrigues' formula)."""
    cos, sin = torch.cos(2 * math.pi * angle), torch.sin(2 * math.pi * angle)
    same, up, down = (1 + 2 * cos) / 3, (1 - cos) / 3 + sin / math.sqrt(3), (1 - cos) / 3 - sin / math.sqrt(3)
    rows = [same, down, up, up, same, down, down, up, same]
    return torch.stack(rows, dim=1).view(-1, 3, 3)


def colour_maps(
    factors: Tensor, order: Tensor, chosen: Tensor, used: tuple[bool, ...], grey: Tensor | None, channels: int
) -> Tensor:
    """Return the maps `(B, C, 2 C)` of a colour jitter and of the loss of colour.

    The first C columns are applied to a pixel, the others to the mean of its image: contrast changes both.

    Args:
        factors: of brightness, contrast, saturation, and the turn of the hue, `(B, 4)`.
        order: a permutation of 0..3 a sample, `(B, 4)`: which change comes when.
        chosen: which samples are jittered, bool `(B,)`; the others keep their colours.
        used: which of the four changes are wanted at all.
        grey: which samples lose their colour, bool `(B,)`, or None.
        channels: of the images; if they are not three, there is no saturation, hue or colour to lose.
    """
    device, dtype = factors.device, factors.dtype
    wanted = constant(used, device, torch.bool) & chosen[:, None]
    bright, contrast, saturation, turn = torch.where(wanted, factors, constant(_NEUTRAL, device, dtype)).unbind(1)
    weights = constant(GREY_WEIGHTS if channels == 3 else (1 / channels,) * channels, device, dtype)
    if channels == 3:
        place = order.argsort(dim=1)  # when each change comes
        pixels, seen, kept = _saturated_and_turned(saturation, turn, place, weights)
    else:
        pixels = torch.eye(channels, device=device, dtype=dtype).expand(len(factors), -1, -1)
        seen, kept = weights.expand(len(factors), -1), torch.ones_like(bright)
    # Brightness is a factor of all; contrast is one of the pixel, and adds the grey mean of what it finds.
    of_mean = (bright * (1 - contrast) * kept)[:, None] * seen
    made = torch.cat([(bright * contrast)[:, None, None] * pixels, of_mean[:, None].expand_as(pixels)], dim=2)
    if grey is not None and channels == 3:
        made = torch.where(grey[:, None, None], weights @ made[:, None], made)
    return made


def _saturated_and_turned(saturation: Tensor, turn: Tensor, place: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    """Put saturation and hue together, in each sample's order.

    Args:
        saturation: factors `(B,)`.
        turn: of the hue, `(B,)`.
        place: when brightness, contrast, saturation and hue come, `(B, 4)`.
        weights: of the grey value, `(3,)`.

    Returns:
        The map `(B, 3, 3)` of both; the weights `(B, 3)` of the grey value after what comes before contrast; and the
        factor `(B,)` by which what comes after contrast changes a grey.
    """
    turns, rest, total = _turns(turn), 1 - saturation, weights.sum()
    saturated_first = (place[:, 2] < place[:, 3])[:, None]
    before_contrast = place[:, 2:] < place[:, 1:2]  # of saturation and hue
    turned = (weights[:, None] * turns).sum(dim=1)  # the grey value after a turn, of the pixel before
    blended = torch.where(saturated_first, weights, turned)
    pixels = saturation[:, None, None] * turns + (rest[:, None] * blended)[:, None]  # a turn keeps greys
    after_turn = torch.where(before_contrast[:, 1:], turned, weights)
    both = before_contrast.all(dim=1, keepdim=True) & saturated_first
    blend = torch.where(both, weights, after_turn)
    saturated = saturation[:, None] * after_turn + (rest * total)[:, None] * blend
    seen = torch.where(before_contrast[:, :1], saturated, after_turn)
    kept = torch.where(before_contrast[:, 0], 1, saturation + rest * total)
    return pixels, seen, kept


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
    of_pixel, of_mean = colour_maps(factors, order, chosen, used, grey, x.shape[1]).chunk(2, dim=2)
    maps = torch.cat([of_pixel, of_mean @ x.mean(dim=(2, 3))[:, :, None]], dim=2)
    planes = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
    return apply_maps(maps, planes.flatten(2), x.new_zeros(()), x.new_ones(())).view_as(x)
