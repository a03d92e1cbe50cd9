"""The encoder `bag_of_words`: the mean of learned vectors, one per token."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from ssl_zoo.batch import InputSpec
from ssl_zoo.modalities.text.encoders.pooling import mean_over_tokens, vocabulary_of
from ssl_zoo.registry import register

Width = Annotated[int, Field(ge=1)]


@register("encoder", "bag_of_words")
class BagOfWords(nn.Module):
    """A learned vector per token, averaged over those that are no padding; optional layers follow. Order is not seen.

    Args:
        spec: of the views, for their vocabulary.
        width: of the vectors.
        hidden: widths of linear layers after the mean, with a ReLU before each; the last is the width of the features.

    Shapes: `(B, L)` int64 -> `(B, out_dim)`. Without `hidden`, a text of padding alone gives zeros.

    Raises:
        UserError: the views are no token ids.
    """

    def __init__(
        self,
        spec: InputSpec,
        *,
        width: Width = 256,
        hidden: list[Width] = [],  # noqa: B006 - never mutated
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_of(spec, "bag_of_words"), width, padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)  # of length 1: steps of the usual rates then turn them
        nn.init.zeros_(self.embedding.weight[0].detach())
        layers: list[nn.Module] = []
        for inputs, outputs in zip([width, *hidden], hidden, strict=False):
            layers += [nn.ReLU(), nn.Linear(inputs, outputs)]
        self.layers = nn.Sequential(*layers)
        self.out_dim = hidden[-1] if hidden else width

    def forward(self, x: Tensor) -> Tensor:
        """Return the features `(B, out_dim)` of token ids `(B, L)`."""
        return self.layers(mean_over_tokens(x, self.embedding(x)))
