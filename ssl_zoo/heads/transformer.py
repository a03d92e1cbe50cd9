"""The head `transformer`: predicts the tokens of hidden places from those of visible ones (I-JEPA, V-JEPA)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from ssl_zoo.errors import UserError
from ssl_zoo.modalities.transformer import Block, divide, initialise, positions, take_places
from ssl_zoo.parts import Head
from ssl_zoo.registry import register

Count = Annotated[int, Field(ge=1)]


@register("head", "transformer")
class TokenPredictor(Head):
    """A narrow transformer over visible tokens and, in each hidden place, a learned token with the place's position.

    The predictor of I-JEPA (arXiv 2301.08243, section 3, "Prediction") and of V-JEPA (arXiv 2404.08471). Called as
    any head, it takes each row as a sequence of one token.

    Args:
        in_dim: width of the encoder's tokens, and of those that it predicts.
        width: of its own tokens; null takes the encoder's.
        depth: number of blocks.
        heads: of the attention; they divide the width.

    Raises:
        UserError: heads that do not divide the width.
    """

    def __init__(self, in_dim: int, *, width: Count | None = None, depth: Count = 2, heads: Count = 2):
        super().__init__()
        width = in_dim if width is None else width
        if width % heads:
            raise UserError(f"head transformer: heads: {divide(width, heads)}.")
        self.in_dim = self.out_dim = in_dim
        self.enter = nn.Linear(in_dim, width)
        self.mask_token = nn.Parameter(torch.empty(width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.leave = nn.Linear(width, in_dim)
        initialise(self)
        nn.init.normal_(self.mask_token, std=0.02)

    def predict(self, tokens: Tensor, keep: Tensor, places: Tensor, grid: Sequence[int]) -> Tensor:
        """Return predictions of the tokens at places.

        Args:
            tokens: of the visible places, `(B, K, in_dim)`.
            keep: the visible places `(B, K)`, -1 for padding.
            places: what is predicted, `(B, M)`, -1 for padding.
            grid: places along each axis of the view.

        Returns:
            `(B, M, in_dim)`.
        """
        x = self.enter(tokens)
        where = positions(grid, x.shape[2], x)
        x = x + take_places(where, keep)
        asked = self.mask_token.to(x.dtype) + take_places(where, places)
        x = self._blocks(torch.cat([x, asked], dim=1), torch.cat([keep, places], dim=1) >= 0)
        return self.leave(x[:, keep.shape[1] :])

    def _blocks(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        for block in self.blocks:
            x, _ = block(x, valid)
        return self.norm(x)

    def forward(self, x: Tensor) -> Tensor:
        """Return `(B, in_dim)` of rows `(B, in_dim)`, each by itself."""
        return self.leave(self._blocks(self.enter(x)[:, None])[:, 0])
