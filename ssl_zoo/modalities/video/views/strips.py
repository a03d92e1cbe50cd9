"""Pictures of clips: film strips."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

SHOWN = 4
"""Frames of a strip."""


def strip(clip: Tensor, zoom: int) -> Tensor:
    """Return some frames of a clip, uint8 `(C, T, S, S)`, side by side: `(3, H, W)`."""
    length = clip.shape[1]
    chosen = [i * (length - 1) // max(1, min(SHOWN, length) - 1) for i in range(min(SHOWN, length))]
    frames = clip[:, chosen].repeat_interleave(zoom, 2).repeat_interleave(zoom, 3)
    spaced = pad(frames, (0, 1), value=255)  # a white line after each
    return spaced.transpose(1, 2).flatten(2)[..., :-1].expand(3, -1, -1)


def strips(columns: Sequence[Tensor], least: int = 48, gap: int = 2) -> Tensor:
    """Return a row for each sample: the strips of its clips in each column, uint8 `(3, H, W)`.

    Args:
        columns: uint8 `(B, C, T, S, S)` each.
        least: small frames are enlarged to at least this many pixels.
        gap: pixels around a strip.
    """
    zoom = max(1, -(-least // columns[0].shape[-1]))
    rows = []
    for clips in zip(*columns, strict=True):
        rows.append(torch.cat([pad(strip(clip, zoom), (gap,) * 4, value=255) for clip in clips], dim=2))
    return torch.cat(rows, dim=1)
