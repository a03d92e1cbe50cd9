"""The encoder `text_transformer`: a small transformer over token ids."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from ssl_zoo.batch import InputSpec, View
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.text.encoders.pooling import mean_over_tokens, shares, vocabulary_of
from ssl_zoo.modalities.transformer import Block, divide
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
    ) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"encoder text_transformer: heads: {divide(width, heads)}.")
        vocabulary, length = vocabulary_of(spec, "text_transformer"), max(view.shape[0] for view in spec.views)
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=0)
        self.positions = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.out_dim = width
        self.apply(_start)

    def _contextual(self, x: Tensor) -> Tensor:
        """Return the features of each place `(B, L, width)` of ids `(B, L)`, those of padding among them."""
        real = x != 0
        # A text of padding alone must see something: a softmax over nothing is not a number.
        seen = real | (~real.any(dim=1, keepdim=True))
        h = self.embedding(x) + self.positions.weight[: x.shape[1]]
        for block in self.blocks:
            h, _ = block(h, seen)
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


def _start(module: nn.Module) -> None:
    """Initialise as BERT does: normal values of standard deviation 0.02, no bias (Devlin et al. 2019)."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        nn.init.zeros_(module.weight[module.padding_idx].detach())
