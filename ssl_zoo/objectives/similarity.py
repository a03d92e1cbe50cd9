"""Pair terms that pull a prediction to its target: `negative_cosine`, `softmax_cross_entropy`, `mse`, `smooth_l1`."""

from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ssl_zoo.parts import Term
from ssl_zoo.registry import register


def negative_cosine(p: Tensor, t: Tensor) -> Tensor:
    """Return D(p, t) = - p/|p| . t/|t|, mean over the batch (Chen & He 2021, equation 1).

    Args:
        p: predictions `(..., B, D)`.
        t: targets `(..., B, D)`.

    Returns:
        `(...)`, in [-1, 1].
    """
    return -F.cosine_similarity(p, t, dim=-1).mean(dim=-1)


@register("term", "negative_cosine")
class NegativeCosine(Term):
    """D(p, t) = - cos(p, t), mean over the batch (SimSiam, equation 1)."""

    inputs = "pair"
    per_sample = True
    batched = True

    def forward(self, p: Tensor, t: Tensor) -> Tensor:
        """Return the value `(...)` for p and t `(..., B, D)`."""
        return negative_cosine(p, t)


def softmax_cross_entropy(p: Tensor, t: Tensor) -> Tensor:
    """Return D(p, t) = - softmax(t) . log softmax(p) over the channels, mean over the batch (SimSiam, section 4.5).

    Args:
        p: predictions `(..., B, D)`.
        t: targets `(..., B, D)`.

    Returns:
        `(...)`.
    """
    return -(t.softmax(dim=-1) * p.log_softmax(dim=-1)).sum(dim=-1).mean(dim=-1)


@register("term", "softmax_cross_entropy")
class SoftmaxCrossEntropy(Term):
    """Cross-entropy between the softmaxes of t and p over the channels (SimSiam, section 4.5)."""

    inputs = "pair"
    per_sample = True
    batched = True

    def forward(self, p: Tensor, t: Tensor) -> Tensor:
        """Return the value `(...)` for p and t `(..., B, D)`."""
        return softmax_cross_entropy(p, t)


def squared_error(p: Tensor, t: Tensor, normalise: bool = False, over: Literal["mean", "sum"] = "mean") -> Tensor:
    """Return |p - t|^2 `(...)`, mean over the batch.

    Args:
        p: predictions `(..., B, D)`.
        t: targets `(..., B, D)`.
        normalise: bring both to unit length first; with `over="sum"` the value is then 2 - 2 cos(p, t) (BYOL, eq. 2).
        over: `mean` or `sum` over the dimensions.
    """
    if normalise:
        p, t = F.normalize(p, dim=-1), F.normalize(t, dim=-1)
    error = (p - t).square()
    return error.mean(dim=(-2, -1)) if over == "mean" else error.sum(dim=-1).mean(dim=-1)


@register("term", "mse")
class MSE(Term):
    """Squared error: VICReg's invariance by default, BYOL's loss with `normalise: true, over: sum`.

    Args:
        normalise: bring p and t to unit length first.
        over: `mean` (VICReg's code) or `sum` (BYOL) over the dimensions.
    """

    inputs = "pair"
    per_sample = True
    batched = True

    def __init__(self, *, normalise: bool = False, over: Literal["mean", "sum"] = "mean"):
        super().__init__()
        self.normalise, self.over = normalise, over
        self.shrinks = not normalise

    def forward(self, p: Tensor, t: Tensor) -> Tensor:
        """Return the value `(...)` for p and t `(..., B, D)`."""
        return squared_error(p, t, self.normalise, self.over)


@register("term", "smooth_l1")
class SmoothL1(Term):
    """Absolute error, squared where it is small: mean over the dimensions (data2vec, 2202.03555, section 3.4; V-JEPA).

    d^2 / (2 beta) where d = |p - t| is below beta, and d - beta / 2 elsewhere.

    Args:
        beta: where the square ends; 0 is the absolute error.
    """

    inputs = "pair"
    per_sample = True
    batched = True
    shrinks = True

    def __init__(self, *, beta: Annotated[float, Field(ge=0)] = 1.0):
        super().__init__()
        self.beta = beta

    def forward(self, p: Tensor, t: Tensor) -> Tensor:
        """Return the value `(...)` for p and t `(..., B, D)`."""
        return F.smooth_l1_loss(p, t, reduction="none", beta=self.beta).mean(dim=(-2, -1))
