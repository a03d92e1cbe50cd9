"""From cut clips to views: flip, blur and colour, each the same for all frames of a clip.

A clip's frames are one long image here: one affine map of the colours, made with the mean of the whole clip, and one
kernel of the blur. So nothing flickers that does not flicker in the video.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_zoo.modalities.image.views import geometry
from ssl_zoo.modalities.image.views.blur import blur_some
from ssl_zoo.modalities.image.views.colour_matrix import recolour


@dataclass(frozen=True)
class Changes:
    """What is done to each clip of a batch: tensors `(B, ...)`. None: applied to no clip.

    Attributes:
        flip: which clips are mirrored, bool.
        blur: which are blurred, bool.
        sigma: of the blur, in pixels.
        jitter: whose colours are jittered, bool.
        grey: which lose their colour, bool.
        factors: of brightness, contrast and saturation, and the turn of the hue, `(B, 4)`.
        order: when each of the four comes, a permutation of 0..3, `(B, 4)`.
    """

    flip: Tensor | None
    blur: Tensor | None
    sigma: Tensor
    jitter: Tensor | None
    grey: Tensor | None
    factors: Tensor
    order: Tensor


def render(cut: Tensor, changes: Changes, used: tuple[bool, ...], radius: int) -> Tensor:
    """Return clips in [0, 1], float32 `(B, C, T, S, S)`.

    Args:
        cut: uint8 `(B, C, T, S, S)`, at the size of the views.
        changes: of each clip.
        used: whether brightness, contrast, saturation and hue are changed at all.
        radius: of the blur's kernel in pixels.
    """
    num, channels, length, height, width = cut.shape
    x = cut.float() / 255
    if changes.flip is not None:
        x = torch.where(changes.flip.view(-1, 1, 1, 1, 1), x.flip(4), x)
    if changes.blur is not None:
        frames = x.view(num, channels * length, height, width)
        blur_some(frames, changes.blur, geometry.half_kernels(changes.sigma, radius))
    if changes.jitter is not None or changes.grey is not None:
        nobody = torch.zeros(num, dtype=torch.bool, device=x.device)
        jitter = nobody if changes.jitter is None else changes.jitter
        tall = x.view(num, channels, length * height, width)
        x = recolour(tall, changes.factors, changes.order, jitter, used, changes.grey).view_as(x)
    return x
