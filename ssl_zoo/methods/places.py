"""Places of a view: where they lie in the sample, and which place of one view matches which of another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def centres(box: Tensor, grid: Sequence[int]) -> Tensor:
    """Return where the cells of a view's grid lie in the sample.

    Args:
        box: of the view, `(B, 3, d)`: see `View.aux`.
        grid: cells along each of the d axes.

    Returns:
        Positions of the centres along each axis, as fractions of the sample, in the order of the flattened grid,
        `(B, N, d)`; mirrored axes are undone.
    """
    along = []
    for axis, num in enumerate(grid):
        start, extent, mirrored = (x[:, None] for x in box[:, :, axis].float().unbind(dim=1))
        centre = (torch.arange(num, device=box.device) + 0.5) / num
        centre = torch.where(mirrored > 0.5, 1 - centre, centre)  # (B, num)
        shape = [-1, *(num if other == axis else 1 for other in range(len(grid)))]
        along.append((start + extent * centre).view(shape).expand(-1, *grid))
    return torch.stack(along, dim=-1).flatten(1, -2)


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
