"""The encoder `text_transformer`: a small transformer over token ids."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ssl_zoo.batch import InputSpec, View
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.text.encoders.pooling import mean_over_tokens, shares, vocabulary_of
from ssl_zoo.registry import register

Count = Annotated[int, Field(ge=1)]


@register("encoder", "text_transformer")
class TextTransformer(nn.Module):
    """Pre-norm transformer with learned positions that sees no padding; the mean over tokens that are none.

    Args:
        spec: of the views, for their vocabulary and length.
        width: of the features; a multiple of `heads`.
        depth: number of blocks.
        heads: of the attention.
        ratio: width of the hidden layer of a block, as a multiple of `width`.
        dropout: probability that a value of a block's output is dropped.

    Shapes: `(B, L)` int64 -> `(B, width)`, for texts of up to the views' length. A text of padding alone gives zeros.

    Raises:
        UserError: the views are no token ids, or `heads` does not divide `width`.
    """

    def __init__(
        self,
        spec: InputSpec,
        *,
        width: Count = 128,
        depth: Count = 4,
        heads: Count = 4,
        ratio: Annotated[float, Field(gt=0)] = 4.0,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"encoder.heads: {heads} does not divide encoder.width, {width}.")
        vocabulary, length = vocabulary_of(spec, "text_transformer"), max(view.shape[0] for view in spec.views)
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=0)
        self.positions = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads, int(width * ratio), dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.out_dim = width
        self.apply(_start)

    def _contextual(self, x: Tensor) -> Tensor:
        """Return the features of each place `(B, L, width)` of ids `(B, L)`, those of padding among them."""
        real = x != 0
        # A text of padding alone must see something: a softmax over nothing is not a number.
        seen = (real | (~real.any(dim=1, keepdim=True)))[:, None, None, :]
        h = self.embedding(x) + self.positions.weight[: x.shape[1]]
        for block in self.blocks:
            h = block(h, seen)
        return self.norm(h)

    def tokens(self, view: View) -> tuple[Tensor, tuple[int, ...]]:
        """Return the features of places `(B, L, width)` and their grid `(L,)`; their mean is the features.

        Those of padding are 0, and the others are scaled by the number of places over that of tokens, so that the mean
        over all places is that over the tokens.
        """
        x = view.tensor
        return self._contextual(x) * shares(x) * x.shape[1], (x.shape[1],)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features `(B, width)` of token ids `(B, L)`."""
        return mean_over_tokens(x, self._contextual(x))


class Block(nn.Module):
    """Attention and a hidden layer, each added to what it is given, after a LayerNorm.

    Args:
        width: of the features.
        heads: of the attention.
        hidden: width of the hidden layer.
        dropout: of the output of both.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return the features `(B, L, width)` of the next block; `seen` `(B, 1, 1, L)` is what attention may see."""
        batch, length, width = x.shape
        parts = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2).reshape(x.shape)
        x = x + self.dropout(self.projection(mixed))
        return x + self.dropout(self.mlp(self.norm2(x)))


def _start(module: nn.Module) -> None:
    """Initialise as BERT does: normal values of standard deviation 0.02, no bias (Devlin et al. 2019)."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        nn.init.zeros_(module.weight[module.padding_idx].detach())
