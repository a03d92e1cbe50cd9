"""Places of a feature map: where they lie in the sample, and which place of one view matches which of another."""

from __future__ import annotations

import torch
from torch import Tensor


def centres(geometry: Tensor, height: int, width: int) -> Tensor:
    """Return where the cells of a view's feature map lie in the sample.

    Args:
        geometry: of the view, `(B, 5)`: see `View`.
        height: of the feature map, in cells.
        width: of the feature map, in cells.

    Returns:
        Vertical and horizontal position of the centre of each cell, row by row, as fractions of the sample,
        `(B, height * width, 2)`; the mirror image of a flipped view is undone.
    """
    top, left, tall, wide, flipped = (x[:, None] for x in geometry.float().unbind(dim=1))
    down = (torch.arange(height, device=geometry.device) + 0.5) / height
    right = (torch.arange(width, device=geometry.device) + 0.5) / width
    right = torch.where(flipped > 0.5, 1 - right, right)  # (B, width)
    y = (top + tall * down)[:, :, None].expand(-1, -1, width)
    x = (left + wide * right)[:, None, :].expand(-1, height, -1)
    return torch.stack([y, x], dim=-1).flatten(1, 2)


def match(ours: Tensor, theirs: Tensor, num: int | None = None) -> tuple[Tensor, Tensor]:
    """Pair places of one view with their nearest places of another.

    Args:
        ours: points `(B, N, K)`.
        theirs: points `(B, M, K)`.
        num: keep the `num` places of ours whose nearest is nearest; None or more than there are keeps all.

    Returns:
        Indices `(B, num)` into ours, ascending, and the matches' indices into theirs.
    """
    with torch.no_grad():
        distance, nearest = torch.cdist(ours, theirs).min(dim=2)
        if num is None or num >= distance.shape[1]:
            kept = torch.arange(distance.shape[1], device=ours.device).expand_as(nearest)
        else:
            kept = distance.topk(num, dim=1, largest=False).indices.sort(dim=1).values
        return kept, nearest.gather(1, kept)


def take(x: Tensor, index: Tensor) -> Tensor:
    """Return the places `index` `(B, K)` of x `(B, N, C)`: `(B, K, C)`."""
    return x.gather(1, index[:, :, None].expand(-1, -1, x.shape[2]))
