"""The pair term `centred_cross_entropy` of DINO: predict a centred and sharpened target distribution."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ssl_zoo.distributed import collectives
from ssl_zoo.objectives.sinkhorn import MOST_TARGETS, cross_entropy
from ssl_zoo.parts import Memo, Running, Term
from ssl_zoo.registry import register

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


@register("term", "centred_cross_entropy")
class CentredCrossEntropy(Term):
    """- softmax((t - c) / tau_t) . log softmax(p / tau) (Caron et al. 2021, DINO, arXiv 2104.14294, eq. 1 and 4).

    The centre c is a moving average of the mean target over the batch. Centring keeps one dimension from taking all,
    the low target temperature keeps the targets from becoming uniform; either alone collapses (section 5.3).

    Args:
        dim: width of p and t.
        temperature: of the prediction.
        target_temperature: of the target, after its warm-up.
        first_target_temperature: of the target, at the start.
        warmup: part of the run, 0..1, in which it goes linearly from the first to the last.
        momentum: weight of the old centre, once per optimizer step.
    """

    inputs = "pair"
    per_sample = True  # given the centre, it is a mean over samples; the centre's own mean is taken over processes
    progress: Tensor

    def __init__(
        self,
        dim: int,
        *,
        temperature: Positive = 0.1,
        target_temperature: Positive = 0.04,
        first_target_temperature: Positive = 0.04,
        warmup: Fraction = 0.0,
        momentum: Fraction = 0.9,
    ):
        super().__init__()
        self.temperature, self.warmup = temperature, warmup
        self.depends_on_length = warmup > 0
        self.cluster_temperature = temperature
        self.first, self.last = first_target_temperature, target_temperature
        self.centre = Running(torch.zeros(dim), momentum)
        self.register_buffer("progress", torch.zeros(()))
        self._targets = Memo(self._target, most=MOST_TARGETS)

    def sharpness(self) -> Tensor:
        """Return the target's temperature at this point of the run."""
        done = (self.progress / self.warmup).clamp(max=1) if self.warmup else torch.ones_like(self.progress)
        return self.first + (self.last - self.first) * done

    @torch.no_grad()
    def _target(self, t: Tensor) -> Tensor:
        if self.training:
            self.centre.note(collectives.mean(t.mean(dim=0)))
        return ((t - self.centre.value.to(t.dtype)) / self.sharpness().to(t.dtype)).softmax(dim=1)

    def forward(self, p: Tensor, t: Tensor) -> Tensor:
        """Return the scalar for p and t `(B, D)`."""
        return cross_entropy(p, self._targets(t), self.temperature)

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Move the centre towards the mean of the step's targets, and note how far the run is."""
        super().after_step(progress)
        self.progress.fill_(progress)
