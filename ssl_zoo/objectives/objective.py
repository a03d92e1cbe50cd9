"""The objective: a list of weighted terms, computed in float32 outside autocast.

A term is a module with `takes = "pair"`, called as `term(p, t)` for each pair, or `takes = "set"`, called as `term(z)`
with the embeddings of all views. Either returns a scalar.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from ssl_zoo.pairing.basic import Pairs


class Term(Protocol):
    """What a term is: `takes` says whether it is called with (p, t) or with the list of all z."""

    takes: Literal["pair", "set"]

    def __call__(self, *embeddings: Tensor | Sequence[Tensor]) -> Tensor:
        """Return a scalar."""


def _full(x: Tensor) -> Tensor:
    """Half precision becomes float32; float64 stays, so that gradients can be checked."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class Objective(nn.Module):
    """Weighted sum of terms.

    Args:
        terms: (name, weight, term) of each; a name that comes twice gets a number.
    """

    def __init__(self, terms: Sequence[tuple[str, float, nn.Module]]):
        super().__init__()
        self.terms = nn.ModuleDict()
        self.weights: dict[str, float] = {}
        for name, weight, term in terms:
            same = sum(key.rpartition("_")[0] == name or key == name for key in self.weights)
            key = f"{name}_{same + 1}" if same else name
            self.terms[key] = term
            self.weights[key] = weight

    def forward(self, pairs: Pairs, z: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return {name: weighted scalar}; the loss is their sum.

        Args:
            pairs: what the pairing chose, each p and t `(B, D)`.
            z: embeddings of all views, each `(B, D)`.
        """
        with torch.autocast(z[0].device.type, enabled=False):
            matched = [(_full(p), _full(t)) for p, t in pairs.pairs]
            z = [_full(x) for x in z]
            values = {}
            for name, term in self.terms.items():
                if term.takes == "pair":
                    value = pairs.scale * sum(term(p, t) for p, t in matched)
                else:
                    value = term(z)
                values[name] = self.weights[name] * value
            return values
