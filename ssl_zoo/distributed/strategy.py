"""Strategies: how a method is trained on the devices of a run.

A strategy wraps the method, averages gradients, takes the optimizer's step, and owns the state of all three. The
training loop asks it and knows nothing else of devices and processes. A new one is one file with a class that keeps
the contract `Strategy`, registered as a part of kind `strategy`; a recipe names it by `training.strategy`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim import Optimizer

from ssl_zoo import registry
from ssl_zoo.batch import Batch, StepOutput
from ssl_zoo.distributed.precision import Precision
from ssl_zoo.distributed.shards import read_whole

MakeOptimizer = Callable[[nn.Module], Optimizer]


class Strategy(Protocol):
    """The contract of a strategy.

    It is built with those of the positional parameters `device`, `precision` (a `Precision`) and `num_processes` that
    it names. All processes call the same methods in the same order, so each method may exchange messages.

    Attributes:
        device: where the views of a batch have to be.
        loads_parts: optional; whether `load` takes the tensors of a checkpoint of parts before they are read, as
            `ssl_zoo.distributed.shards.Stored`. A strategy without it is given whole tensors.
        has_whole_state: whether `state` needs no other process, so that one can save what is done after it has lost
            the others.
    """

    device: torch.device
    has_whole_state: bool

    def prepare(self, method: nn.Module, make_optimizer: MakeOptimizer) -> Optimizer:
        """Put a method on its devices, and return its optimizer.

        Args:
            method: changed in place; its parameters may become shards of what they were.
            make_optimizer: builds the optimizer from the method; called once the parameters are what they will be.
        """
        ...

    def forward_backward(self, batch: Batch, num_parts: int, last: bool) -> StepOutput:
        """Return what the method gives for a micro-batch, and add its gradients to those of the step.

        Args:
            batch: this process's samples.
            num_parts: micro-batches of the step; the loss is divided by it before the backward pass.
            last: whether this is the last of them; after it the gradients are the mean over all processes.
        """
        ...

    def step(self, max_norm: float | None) -> bool:
        """Take an optimizer step and clear the gradients; False if it was skipped, as fp16's loss scaler does.

        Args:
            max_norm: largest norm of the gradient of the whole method, or None.
        """
        ...

    def state(self) -> dict[str, Any]:
        """Return the state after a step: plain tensors and values that do not depend on the strategy.

        Returns:
            `method` and `optimizer`, as one process without a strategy would give them by `state_dict`, and
            `precision`. The first process saves it; in the others it may be empty. Tensors may be spread over the
            processes (torch's DTensor), the same ones in each of them: each then saves its parts, and what is loaded
            later is whole.
        """
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Take the state that `state` of any strategy returned, strictly; each process is given all of it.

        All processes call it together.
        """
        ...

    def gathered(self, encoder: nn.Module) -> nn.Module:
        """Return a part of the method with whole weights on `device`, for evaluation and export.

        The first process uses it; in the others it may be anything.
        """
        ...


class Unsharded:
    """Base of strategies in which each process holds the whole method.

    Args:
        device: of this process.
        precision: of the arithmetic.
    """

    has_whole_state = loads_parts = True
    method: nn.Module
    optimizer: Optimizer

    def __init__(self, device: torch.device, precision: Precision):
        self.device, self.precision = device, precision

    def prepare(self, method: nn.Module, make_optimizer: MakeOptimizer) -> Optimizer:
        """See `Strategy.prepare`."""
        self.method = method.to(self.device)
        self.optimizer = make_optimizer(method)
        return self.optimizer

    def forward_backward(self, batch: Batch, num_parts: int, last: bool) -> StepOutput:
        """See `Strategy.forward_backward`."""
        output = self.precision.forward(self.method, batch)
        self.precision.backward(output.loss / num_parts)
        return output

    def step(self, max_norm: float | None) -> bool:
        """See `Strategy.step`."""
        return self.precision.step(self.optimizer, max_norm)

    def state(self) -> dict[str, Any]:
        """See `Strategy.state`."""
        return {
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.precision.state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """See `Strategy.load`."""
        state = read_whole({key: state[key] for key in ("method", "optimizer", "precision")})
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.precision.load(state["precision"])

    def gathered(self, encoder: nn.Module) -> nn.Module:
        """See `Strategy.gathered`."""
        return encoder


@registry.register("strategy", "auto")
def auto(device: torch.device, precision: Precision, num_processes: int) -> Strategy:
    """`single` for one process, `ddp` for several."""
    name = "ddp" if num_processes > 1 else "single"
    strategy: Strategy = registry.build(
        "strategy", name, device=device, precision=precision, num_processes=num_processes
    )
    return strategy
