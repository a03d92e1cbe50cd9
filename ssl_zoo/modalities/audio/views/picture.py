"""Spectrograms as pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

_COLOURS = ((68, 1, 84), (71, 45, 123), (59, 82, 139), (44, 114, 142), (33, 145, 140), (40, 174, 128), (94, 201, 98),
            (173, 220, 48), (253, 231, 37))  # fmt: skip
"""Viridis at equal distances (S. van der Walt and N. Smith, CC0): equal steps look equal, in grey too."""


def coloured(x: Tensor, low: float, high: float) -> Tensor:
    """Return values `(...)` as colours `(3, ...)`, uint8, from dark blue at `low` to yellow at `high`."""
    colours = torch.tensor(_COLOURS, dtype=torch.float32)
    at = ((x - low) / max(high - low, 1e-9)).clamp(0, 1) * (len(colours) - 1)
    left = at.floor().long().clamp(max=len(colours) - 2)
    mixed = torch.lerp(colours[left], colours[left + 1], (at - left)[..., None])
    return mixed.round().to(torch.uint8).movedim(-1, 0)


def rows(columns: Sequence[Tensor], least: int = 64, gap: int = 2) -> Tensor:
    """Return a grid `(3, H, W)`, uint8: a row per sample, low frequencies at the bottom.

    Args:
        columns: spectrograms `(B, 1, F, T)`; the first decides about each row's colours: its 2nd percentile is dark,
            its largest value bright.
        least: pixels; lower ones are enlarged to at least this height.
        gap: pixels between them.
    """
    zoom = max(1, -(-least // columns[0].shape[2]))
    made = []
    for spectrograms in zip(*columns, strict=True):
        low, high = spectrograms[0].quantile(0.02).item(), spectrograms[0].max().item()
        tiles = [coloured(x[0].flip(0), low, high) for x in spectrograms]
        large = [tile.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2) for tile in tiles]
        made.append(torch.cat([pad(tile, (gap, gap, gap, gap), value=255) for tile in large], dim=2))
    return torch.cat(made, dim=1)
