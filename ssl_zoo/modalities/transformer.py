"""Transformers over the places of a view: sine-cosine positions, blocks, and the encoders that are made of them.

`PatchTransformer` cuts a view into patches by a convolution whose stride is its kernel, along all axes of the view.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_zoo.batch import InputSpec, View
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.patches import patches_left_over

_CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def positions(grid: Sequence[int], width: int, like: Tensor) -> Tensor:
    """Return fixed sine-cosine positions of the places of a grid `(N, width)` (Vaswani et al. 2017, section 3.5).

    Each axis has an equal share of the dimensions, an even number, sines first; dimensions that are left over are 0.
    Their mean over the grid is subtracted: on small grids most cosines are near 1 everywhere, and all tokens would
    start alike. A bias can put it back.

    Args:
        grid: places along each axis; N is their product.
        width: of the tokens.
        like: a tensor whose type and device the result has.
    """
    half, full = width // (2 * len(grid)), torch.promote_types(like.dtype, torch.float32)
    rate = 10000.0 ** (-torch.arange(half, dtype=full, device=like.device) / max(half, 1))
    along = [torch.arange(side, dtype=full, device=like.device) for side in grid]
    places = torch.cartesian_prod(*along).view(-1, len(grid))  # (N, axes)
    angles = places[:, :, None] * rate  # (N, axes, half)
    encoded = torch.cat([angles.sin(), angles.cos()], dim=2).flatten(1)
    return F.pad(encoded - encoded.mean(dim=0), (0, width - encoded.shape[1])).to(like.dtype)


def take_places(x: Tensor, places: Tensor) -> Tensor:
    """Return the tokens at places `(B, K)` of x `(B, N, D)` or `(N, D)`: `(B, K, D)`; a place of -1 is padding."""
    x = x.expand(len(places), *x.shape[-2:])
    return x.gather(1, places.clamp_min(0)[:, :, None].expand(-1, -1, x.shape[2]))


class Block(nn.Module):
    """A transformer block, norms first: self-attention, then two linear layers with a GELU between them.

    Args:
        width: of the tokens.
        heads: of the attention; they divide the width.
        ratio: width of the hidden layer, as a multiple of the tokens' width.
    """

    def __init__(self, width: int, heads: int, ratio: float = 4.0):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        inner = round(ratio * width)
        self.mlp = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))

    def forward(self, x: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the tokens `(B, N, D)` after the block, and what its linear layers added to them.

        Args:
            x: tokens `(B, N, D)`.
            valid: `(B, N)`, which of them are tokens and not padding; padding is not attended to.
        """
        x = x + self.out(self._attend(self.norm1(x), valid))
        added = self.mlp(self.norm2(x))
        return x + added, added

    def _attend(self, x: Tensor, valid: Tensor | None) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, heads, N, D / heads)
        mask = None if valid is None else valid[:, None, None, :]
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


def initialise(module: nn.Module) -> None:
    """Give linear layers Xavier's uniform weights (Glorot & Bengio 2010), which suit any width, and biases of 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)


class PatchTransformer(nn.Module):
    """An encoder that cuts a view into patches, adds their fixed positions, and has no class token.

    Its features are the mean of the tokens, so that views of any size that the patches divide are taken.

    Args:
        name: of the encoder, for messages.
        spec: of the views: `(C, *sides)`.
        patch: sides of a patch, one per axis of the views.
        width: of the tokens and the features.
        depth: number of blocks.
        heads: of the attention in each block.
        keys: options of the view policies that set the sides, one per axis, for messages; `size` where there is none.

    Raises:
        UserError: views of another number of axes, patches that do not divide them, or heads that do not divide the
            width.
    """

    def __init__(
        self,
        name: str,
        spec: InputSpec,
        patch: Sequence[int],
        width: int,
        depth: int,
        heads: int,
        keys: Sequence[str] | None = None,
    ):
        super().__init__()
        self.name, self.patch, self.out_dim = name, tuple(patch), width
        self._keys = keys or ["size"] * len(self.patch)
        if width % heads:
            raise UserError(f"encoder {name}: heads: {divide(width, heads)}.")
        for view in spec.views:
            if len(view.shape) != len(self.patch) + 1:
                raise UserError(
                    f"encoder {name}: takes views of {len(self.patch) + 1} axes, channels first, and not {view.shape}; "
                    "use an encoder of their modality."
                )
            self._check_sides(view.shape[1:], "local_" if view.role == "local" else "")
        self.cut = _CONVOLUTIONS[len(self.patch)](spec.channels, width, self.patch, stride=self.patch)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        initialise(self)
        nn.init.normal_(self.cut.weight, std=(spec.channels * math.prod(self.patch)) ** -0.5)  # as large as positions
        nn.init.zeros_(self.cut.bias)

    def _check_sides(self, sides: Sequence[int], role: str = "") -> None:
        for side, patch, key in zip(sides, self.patch, self._keys, strict=True):
            if side % patch:
                raise UserError(patches_left_over(f"views.{role}{key}", side, patch, self.name))

    def _start(
        self, view: View, keep: Tensor | None = None, fill: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the tokens before the first block, and which of them are no padding."""
        x = view.tensor
        self._check_sides(x.shape[2:])
        tokens = self.cut(x).flatten(2).transpose(1, 2)  # (B, N, D)
        grid = self.grid(view)
        where = positions(grid, self.out_dim, tokens)
        if keep is None:
            return tokens + where, None
        if fill is None:
            return take_places(tokens + where, keep), keep >= 0
        # One more place than there are takes what padding writes.
        seen = torch.zeros(len(x), math.prod(grid) + 1, dtype=torch.bool, device=x.device)
        seen.scatter_(1, keep.where(keep >= 0, math.prod(grid)), True)
        return torch.where(seen[:, :-1, None], tokens, fill.to(tokens.dtype)) + where, None

    def grid(self, view: View) -> tuple[int, ...]:
        """Return the number of patches along each axis of a view."""
        return tuple(side // patch for side, patch in zip(view.tensor.shape[2:], self.patch, strict=True))

    def tokens(
        self, view: View, keep: Tensor | None = None, fill: Tensor | None = None
    ) -> tuple[Tensor, tuple[int, ...]]:
        """Return the tokens of a view and their grid; see `ssl_zoo.batch.Encoder`.

        Args:
            view: of images, clips or the like.
            keep: places `(B, K)` that are visible, -1 for padding; the others are left out before the first block.
            fill: a token `(out_dim,)` that the other places hold instead; none is then left out.

        Returns:
            Tokens `(B, N, out_dim)`, or `(B, K, out_dim)` in the order of `keep`, and the grid of the whole view.
        """
        x, valid = self._start(view, keep, fill)
        for block in self.blocks:
            x, _ = block(x, valid)
        return self.norm(x), self.grid(view)

    def layers(self, view: View, num: int) -> list[Tensor]:
        """Return what the linear layers of each of the last `num` blocks add to the tokens, `(B, N, out_dim)` each.

        Raises:
            UserError: it has fewer blocks.
        """
        if num > len(self.blocks):
            raise UserError(f"encoder {self.name}: has {len(self.blocks)} blocks, not {num}; ask for fewer.")
        x, _ = self._start(view)
        added = []
        for block in self.blocks:
            x, more = block(x)
            added.append(more)
        return added[-num:]

    def forward(self, x: Tensor) -> Tensor:
        """Return the features `(B, out_dim)` of views `(B, C, *sides)`."""
        return self.tokens(View(x))[0].mean(dim=1)


def divide(width: int, heads: int) -> str:
    """Say that heads do not divide a width, and which numbers near them do."""
    fits = [number for number in range(1, width + 1) if width % number == 0]
    near = sorted(sorted(fits, key=lambda number: abs(number - heads))[:2])
    return f"{heads} do not divide the width of {width}; use {' or '.join(map(str, near))}"
