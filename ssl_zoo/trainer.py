"""The training loop, over Lightning Fabric. It knows nothing about self-supervised learning.

All that the next step depends on is the state (weights, buffers, optimizer) and the step's number: learning rate,
randomness and data are functions of it. That is what makes a resumed run equal to one that was never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from ssl_zoo.data import RawBatch
from ssl_zoo.method import Method, StepOutput
from ssl_zoo.rng import derive


class TrainingFailed(RuntimeError):
    """The run cannot go on, for a reason that is not the user's input: one sentence."""


@dataclass
class Clock:
    """Seconds spent: in the loop, waiting for data in it, and in steps of earlier processes of the same run."""

    train: float = 0.0
    data: float = 0.0

    @property
    def data_fraction(self) -> float:
        """The part of the time that was spent waiting for data."""
        return self.data / self.train if self.train else 0.0


@dataclass(frozen=True)
class Step:
    """What a hook gets after an optimizer step: its number (from 1), and what the last micro-batch gave."""

    number: int
    lr: float
    loss: Tensor
    terms: dict[str, Tensor]
    output: StepOutput


@dataclass
class Trainer:
    """Trains a method.

    Args:
        fabric: device and precision.
        method: the module; its `forward(batch)` gives the loss, `after_step(progress)` follows each optimizer step.
        optimizer: its groups carry `lr_scale` and `constant`.
        schedule: step -> factor on the learning rate.
        lr: the full learning rate.
        total_steps: optimizer steps of the whole run.
        seed: of the run.
        to_batch: turns what the loader gives into a `Batch` on the device.
        clip_grad: largest norm of the gradient, or None.
    """

    fabric: Fabric
    method: Method
    optimizer: torch.optim.Optimizer
    schedule: Callable[[int], float]
    lr: float
    total_steps: int
    seed: int
    to_batch: Callable[[RawBatch], Any]
    clip_grad: float | None = None
    step: int = 0
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.module = self.fabric.setup_module(self.method)
        self.optimizer = self.fabric.setup_optimizers(self.optimizer)

    def run(self, batches: Iterable[list[RawBatch]], after_step: Callable[[Step], bool]) -> None:
        """Take one optimizer step a list of micro-batches, until they end or `after_step` says stop.

        Args:
            batches: of the steps from `self.step` on.
            after_step: called after each step; True ends the training.
        """
        self.module.train()
        stream = iter(batches)
        while True:
            started = time.perf_counter()
            micro_batches = next(stream, None)
            arrived = time.perf_counter()
            if micro_batches is None:
                break
            step = self._step(micro_batches)
            stop = after_step(step)
            self.clock.data += arrived - started
            self.clock.train += time.perf_counter() - started
            if stop:
                break

    def _step(self, micro_batches: list[RawBatch]) -> Step:
        torch.manual_seed(derive(self.seed, "model", self.step))  # dropout and the like
        lr = self._set_lr()
        losses, terms = [], []
        for raw in micro_batches:
            output = self.module(self.to_batch(raw))
            self.fabric.backward(output.loss / len(micro_batches))
            losses.append(output.loss.detach())
            terms.append({name: value.detach() for name, value in output.terms.items()})
        if self.clip_grad is not None:
            self.fabric.clip_gradients(self.module, self.optimizer, max_norm=self.clip_grad, error_if_nonfinite=False)
        moved = self._optimizer_step()
        self.step += 1
        if moved:
            self.method.after_step(self.step / self.total_steps)
        mean_terms = {name: torch.stack([each[name] for each in terms]).mean() for name in terms[0]}
        return Step(self.step, lr, torch.stack(losses).mean(), mean_terms, output)

    def _set_lr(self) -> float:
        lr = self.lr * self.schedule(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = (self.lr if group["constant"] else lr) * group["lr_scale"]
        return lr

    def _optimizer_step(self) -> bool:
        """Step and clear the gradients; False if a loss scaler (fp16) skipped the step because of an overflow."""
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        before = scaler.get_scale() if scaler is not None else 0.0
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return scaler is None or scaler.get_scale() >= before

    def state(self) -> dict[str, Any]:
        """Return all that the next step depends on: tensors and plain values."""
        return {
            "step": self.step,
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "seconds": {"train": self.clock.train, "data": self.clock.data},
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned, strictly."""
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.step = state["step"]
        self.clock = Clock(**state["seconds"])
