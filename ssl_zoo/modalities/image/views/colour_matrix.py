"""The colour jitter as one affine map of the channels per sample: much faster than the changes one by one.

Brightness, contrast and saturation are affine in the pixel's channels, given the image's mean; so is a turn of the
hue if it is a rotation about the grey axis. Their product in each sample's own order is one matrix of the pixel and one
of the mean, in closed form: brightness is a factor of all, contrast adds a grey, and greys are left alone by a turn.
Taking the colour out (`grey`) is one more factor. Two things differ from doing them one by one, as torchvision does
(`colour_exact`): values are kept in [0, 1] once at the end, not after each change, and the hue turns
on a circle where HSV's is a hexagon (equal at multiples of a third of the circle).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ssl_zoo.modalities.image.views.constants import constant

GREY_WEIGHTS = (0.2989, 0.587, 0.114)
"""Luma weights of red, green and blue, as in torchvision."""

_NEUTRAL = (1.0, 1.0, 1.0, 0.0)
"""Factors that change nothing."""


def hue_rotations(angle: Tensor) -> Tensor:
    """Return rotations about the grey axis `(3, 3, B)` by a fraction `(B,)` of the circle (Rodrigues' formula)."""
    cos, sin = torch.cos(2 * math.pi * angle), torch.sin(2 * math.pi * angle)
    same, middle, half = (1 + 2 * cos) / 3, (1 - cos) / 3, sin / math.sqrt(3)
    up, down = middle + half, middle - half
    return torch.stack([same, down, up, up, same, down, down, up, same]).view(3, 3, -1)


def colour_maps(
    factors: Tensor, order: Tensor, chosen: Tensor, used: tuple[bool, ...], grey: Tensor | None, channels: int
) -> Tensor:
    """Return the maps `(C, 2 C, B)` of a colour jitter and of the loss of colour.

    The first C columns are applied to a pixel, the others to the mean of its image: contrast changes both. Samples
    come last here: the arithmetic on so small matrices runs along the longest dimension then.

    Args:
        factors: of brightness, contrast, saturation, and the turn of the hue, `(B, 4)`.
        order: a permutation of 0..3 per sample, `(B, 4)`: which change comes when.
        chosen: which samples are jittered, bool `(B,)`; the others keep their colours.
        used: which of the four changes are wanted at all.
        grey: which samples lose their colour, bool `(B,)`, or None.
        channels: of the images; if they are not three, there is no saturation, hue or colour to lose. Contrast is about
            the grey mean of an image of one or three channels, and about each channel's own mean of others, which may
            be measured in other units each.
    """
    device, dtype, num = factors.device, factors.dtype, len(factors)
    wanted = constant(used, device, torch.bool)[:, None] & chosen
    bright, contrast, saturation, turn = torch.where(wanted, factors.T, constant(_NEUTRAL, device, dtype)[:, None])
    if channels not in (1, 3):
        same = torch.eye(channels, device=device, dtype=dtype)[..., None]
        return torch.cat([bright * contrast * same, bright * (1 - contrast) * same], dim=1)
    weights = constant(GREY_WEIGHTS if channels == 3 else (1.0,), device, dtype)
    if channels == 3:
        place = order.T.argsort(dim=0)  # when each change comes
        pixels, seen, kept = _saturated_and_turned(saturation, turn, place, weights)
    else:
        pixels = torch.eye(channels, device=device, dtype=dtype)[..., None].expand(-1, -1, num)
        seen, kept = weights[:, None].expand(-1, num), torch.ones_like(bright)
    # Brightness is a factor of all; contrast is one of the pixel, and adds the grey mean of what it finds.
    of_mean = bright * (1 - contrast) * kept * seen
    made = torch.cat([bright * contrast * pixels, of_mean.expand_as(pixels)], dim=1)
    if grey is not None and channels == 3:
        made = torch.where(grey, _seen_grey(made, weights), made)
    return made


def _seen_grey(maps: Tensor, weights: Tensor) -> Tensor:
    """Return the weights `(N, B)` of the grey value of what maps `(3, N, B)` make."""
    return (weights @ maps.flatten(1)).view(maps.shape[1:])


def _saturated_and_turned(saturation: Tensor, turn: Tensor, place: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    """Put saturation and hue together, in each sample's order.

    Args:
        saturation: factors `(B,)`.
        turn: of the hue, `(B,)`.
        place: when brightness, contrast, saturation and hue come, `(4, B)`.
        weights: of the grey value, `(3,)`.

    Returns:
        The map `(3, 3, B)` of both; the weights `(3, B)` of the grey value after what comes before contrast; and the
        factor `(B,)` by which what comes after contrast changes a grey.
    """
    turns, rest, total = hue_rotations(turn), 1 - saturation, weights.sum()
    saturated_first = place[2] < place[3]
    saturated_early, turned_early = place[2:] < place[1]  # before contrast
    turned, straight = _seen_grey(turns, weights), weights[:, None]  # the grey value after a turn, of the pixel before
    blended = torch.where(saturated_first, straight, turned)
    pixels = saturation * turns + rest * blended  # a turn keeps greys
    after_turn = torch.where(turned_early, turned, straight)
    blend = torch.where(saturated_early & turned_early & saturated_first, straight, after_turn)
    saturated = saturation * after_turn + rest * total * blend
    seen = torch.where(saturated_early, saturated, after_turn)
    kept = torch.where(saturated_early, 1, saturation + rest * total)
    return pixels, seen, kept


def affine_maps(maps: Tensor, white: float, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Return colour maps as maps from levels to normalised values.

    Args:
        maps: what `colour_maps` returned, `(C, 2 C, B)`; overwritten.
        white: the level that counts as 1.
        mean: subtracted from the channels, `(C, 1)`.
        std: divided by, `(C, 1)`.

    Returns:
        Affine maps of a pixel, `(B, C, C + 1)`; and maps of the mean of its image, `(B, C, C)`, which are added to
        their last column.
    """
    of_pixel, of_mean = maps.div_((white * std)[..., None]).chunk(2, dim=1)
    shift = (-mean / std)[..., None].expand(-1, -1, maps.shape[2])
    affine = torch.cat([of_pixel, shift], dim=1).permute(2, 0, 1).contiguous()
    return affine, of_mean.permute(2, 0, 1).contiguous()


def apply_maps(maps: Tensor, planes: Tensor, bounds: tuple[Tensor, Tensor] | None, out: Tensor | None = None) -> Tensor:
    """Return the pixels that affine maps make of others.

    Args:
        maps: `(B, C, C + 1)`.
        planes: channels `(B, C, N)`, or those and a last one of ones `(B, C + 1, N)`.
        bounds: least and greatest values, `(C, 1)` or of one number, in which results are kept; None bounds none.
        out: `(B, C, N)`, contiguous, to write to.
    """
    channels = maps.shape[1]
    if planes.shape[1] == channels:
        made = torch.baddbmm(maps[..., channels:], maps[..., :channels], planes, out=out)
    else:
        made = torch.bmm(maps, planes, out=out)
    if bounds is None:
        return made
    low, high = bounds
    return torch.minimum(torch.maximum(made, low, out=made), high, out=made)  # much faster than clamp_ with tensors


def recolour(
    x: Tensor, factors: Tensor, order: Tensor, chosen: Tensor, used: tuple[bool, ...], grey: Tensor | None
) -> Tensor:
    """Return images `(B, C, H, W)` in [0, 1] with the changes of `colour_maps`, in [0, 1]."""
    of_pixel, of_mean = colour_maps(factors, order, chosen, used, grey, x.shape[1]).permute(2, 0, 1).chunk(2, dim=2)
    maps = torch.cat([of_pixel, of_mean @ x.mean(dim=(2, 3))[:, :, None]], dim=2)
    planes = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
    return apply_maps(maps, planes.flatten(2), (x.new_zeros(()), x.new_ones(()))).view_as(x)
