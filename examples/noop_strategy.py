"""The strategy `noop`: all calls are handed on to another strategy, as the frame for one of your own.

ssl-zoo train digits/simsiam --import noop_strategy -s training.strategy=noop        (in the folder examples/)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ssl_zoo import registry
from ssl_zoo.batch import Batch, StepOutput
from ssl_zoo.distributed.precision import Precision
from ssl_zoo.distributed.strategy import MakeOptimizer, Strategy


@registry.register("strategy", "noop")
class NoOp:
    """Another strategy, unchanged. See `ssl_zoo.distributed.strategy.Strategy` for what each method has to do.

    Args:
        device: of this process.
        precision: of the arithmetic.
        num_processes: that train together.
        inner: the strategy that does the work.
    """

    def __init__(self, device: torch.device, precision: Precision, num_processes: int, *, inner: str = "auto") -> None:
        self.inner: Strategy = registry.build(
            "strategy", inner, device=device, precision=precision, num_processes=num_processes
        )
        self.device, self.has_whole_state = self.inner.device, self.inner.has_whole_state

    def prepare(self, method: nn.Module, make_optimizer: MakeOptimizer) -> Optimizer:
        """Put a method on its devices, and return its optimizer."""
        return self.inner.prepare(method, make_optimizer)

    def forward_backward(self, batch: Batch, num_parts: int, last: bool) -> StepOutput:
        """Return what the method gives for a micro-batch, and add its gradients to those of the step."""
        return self.inner.forward_backward(batch, num_parts, last)

    def step(self, max_norm: float | None) -> bool:
        """Take an optimizer step and clear the gradients; False if it was skipped."""
        return self.inner.step(max_norm)

    def state(self) -> dict[str, Any]:
        """Return the state after a step, as one process would have it."""
        return self.inner.state()

    def load(self, state: Mapping[str, Any]) -> None:
        """Take the state that `state` of any strategy returned."""
        self.inner.load(state)

    def gathered(self, encoder: nn.Module) -> nn.Module:
        """Return a part of the method with whole weights, for evaluation and export."""
        return self.inner.gathered(encoder)
