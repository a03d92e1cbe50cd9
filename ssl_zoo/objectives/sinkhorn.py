"""The pair term `sinkhorn_cross_entropy` of SwAV: predict the other view's balanced assignment to prototypes."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ssl_zoo.parts import Memo, Term
from ssl_zoo.registry import register

Positive = Annotated[float, Field(gt=0)]
MOST_TARGETS = 8
"""Targets whose distribution is remembered: more than a forward pass has global views."""


def sinkhorn(scores: Tensor, eps: float = 0.05, iterations: int = 3) -> Tensor:
    """Return soft assignments of samples to prototypes that use all prototypes equally (SwAV, equation 3).

    exp(scores / eps), its columns and rows scaled in turn to sum to 1/K and 1/B; computed on logarithms, so that no
    score overflows.

    Args:
        scores: `(B, K)`, similarity of each sample to each prototype.
        eps: the smaller, the sharper the assignment.
        iterations: rounds of scaling; each ends with the rows.

    Returns:
        `(B, K)`; each row sums to 1.
    """
    batch, num = scores.shape
    log = scores / eps
    log = log - log.logsumexp(dim=(0, 1), keepdim=True)
    for _ in range(iterations):
        log = log - log.logsumexp(dim=0, keepdim=True) - math.log(num)
        log = log - log.logsumexp(dim=1, keepdim=True) - math.log(batch)
    return (log + math.log(batch)).exp()


def cross_entropy(p: Tensor, code: Tensor, temperature: float) -> Tensor:
    """Return - code . log softmax(p / temperature), mean over the batch; p and code are `(B, K)`."""
    return -(code * (p / temperature).log_softmax(dim=1)).sum(dim=1).mean()


@register("term", "sinkhorn_cross_entropy")
class SinkhornCrossEntropy(Term):
    """Cross-entropy with the balanced codes of the target (Caron et al. 2020, SwAV, arXiv 2006.09882, equation 2).

    p and t are scores of prototypes. The codes are computed from t over the whole batch, without gradient; that they
    use all prototypes equally is what prevents collapse.

    Args:
        temperature: of the prediction's softmax.
        eps: of the codes.
        iterations: of Sinkhorn's scaling.
    """

    inputs = "pair"

    def __init__(
        self, *, temperature: Positive = 0.1, eps: Positive = 0.05, iterations: Annotated[int, Field(ge=1)] = 3
    ):
        super().__init__()
        self.temperature, self.eps, self.iterations = temperature, eps, iterations
        self.cluster_temperature = temperature
        self._codes = Memo(self._code, most=MOST_TARGETS)

    @torch.no_grad()
    def _code(self, t: Tensor) -> Tensor:
        return sinkhorn(t, self.eps, self.iterations)

    def forward(self, p: Tensor, t: Tensor) -> Tensor:
        """Return the scalar for the scores p and t `(B, K)`."""
        return cross_entropy(p, self._codes(t), self.temperature)
