"""The training loop, over Lightning Fabric. It knows nothing about self-supervised learning.

All that the next step depends on is the state (weights, buffers, optimizer) and the step's number: learning rate,
randomness and data are functions of it. That is what makes a resumed run equal to one that was never stopped.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from ssl_zoo.batch import StepOutput
from ssl_zoo.data import RawBatch
from ssl_zoo.distributed import collectives
from ssl_zoo.errors import NotFinite
from ssl_zoo.errors import TrainingFailed as TrainingFailed
from ssl_zoo.hardware import Replicas
from ssl_zoo.methods.method import Method
from ssl_zoo.optim.param_groups import freeze, set_decay
from ssl_zoo.rng import derive

MOST_SKIPPED = 50
"""Steps in a row that fp16's loss scaler may skip. It halves its scale each time and starts at 2^16; where 2^-34 is too
large a scale still, it is the network and not the scale that overflows."""

_NEVER = 2**62


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
    """What a hook gets after an optimizer step: its number (from 1), and what the last micro-batch gave.

    With several processes, loss, terms and embeddings are those of this process's own samples. `moved` is False where
    fp16's loss scaler skipped the step because a number overflowed; that is no failure.
    """

    number: int
    lr: float
    loss: Tensor
    terms: dict[str, Tensor]
    output: StepOutput
    moved: bool = True


@dataclass
class Trainer:
    """Trains a method.

    Args:
        fabric: device, precision and processes.
        method: the module; its `forward(batch)` gives the loss, `after_step(progress)` follows each optimizer step.
        optimizer: its groups carry `lr_scale` and `constant`.
        schedule: step -> factor on the learning rate.
        lr: the full learning rate.
        total_steps: optimizer steps of the whole run.
        seed: of the run.
        to_batch: turns what the loader gives into a `Batch` on the device.
        clip_grad: largest norm of the gradient, or None.

    Attributes:
        whole: whether the state is that after `step` steps; False within a step, and after one that broke off.
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
        self.method.to(self.fabric.device)
        self.module: nn.Module | None = None  # the method as the fabric wraps it, from the first step on
        self.whole, self._skipped = True, 0
        self._first_bad = torch.tensor(_NEVER, device=self.fabric.device)
        self.optimizer = cast(torch.optim.Optimizer, self.fabric.setup_optimizers(self.optimizer))

    def run(self, batches: Iterable[list[RawBatch]], after_step: Callable[[Step], bool]) -> None:
        """Take one optimizer step a list of micro-batches, until they end or `after_step` says stop.

        Args:
            batches: of the steps from `self.step` on.
            after_step: called after each step; True ends the training.
        """
        self.method.train()
        stream = iter(batches)
        while True:
            started = time.perf_counter()
            micro_batches = next(stream, None)
            arrived = time.perf_counter()
            if micro_batches is None:
                break
            step = self._step(micro_batches)
            if self._skipped >= MOST_SKIPPED:
                self.check()
            stop = after_step(step)
            self.clock.data += arrived - started
            self.clock.train += time.perf_counter() - started
            if stop:
                break

    def _step(self, micro_batches: list[RawBatch]) -> Step:
        self.whole = False
        if self.module is None:
            self.module = self._wrap(micro_batches[0])
        # Dropout and the like: each process has its own samples, so each draws its own numbers.
        torch.manual_seed(derive(self.seed, "model", self.step, *([collectives.rank()] if collectives.rank() else [])))
        lr = self._set_lr()
        losses, terms = [], []
        for number, raw in enumerate(micro_batches, start=1):
            with self._gradients_stay(self.module, number < len(micro_batches)):
                output = self.module(self.to_batch(raw))
                self.fabric.backward(output.loss / len(micro_batches))
            losses.append(output.loss.detach())
            terms.append({name: value.detach() for name, value in output.terms.items()})
        freeze(self.optimizer.param_groups, self.step)
        if self.clip_grad is not None:
            self.fabric.clip_gradients(self.module, self.optimizer, max_norm=self.clip_grad, error_if_nonfinite=False)
        moved = self._optimizer_step()
        self.step += 1
        if moved:
            self.method.after_step(self.step / self.total_steps)
        mean_terms = {name: torch.stack([each[name] for each in terms]).mean() for name in terms[0]}
        loss = torch.stack(losses).mean()
        if moved:  # noted on the device, which nobody waits for: see `check`
            step = torch.where(loss.isfinite(), _NEVER, self.step)
            self._first_bad = torch.minimum(self._first_bad, step)
        self._skipped = 0 if moved else self._skipped + 1
        self.whole = True
        return Step(self.step, lr, loss, mean_terms, output, moved)

    def check(self, everywhere: bool = False) -> None:
        """Make sure that the loss has been finite in all steps so far, and that fp16 has not skipped all of the last.

        Args:
            everywhere: ask all processes, and not only this one; all of them must ask.

        Raises:
            NotFinite: it has not.
        """
        if (first := int(collectives.least(self._first_bad) if everywhere else self._first_bad)) < _NEVER:
            raise NotFinite(f"the loss is not finite at step {first}; {NotFinite.advice}")
        if self._skipped >= MOST_SKIPPED:
            raise NotFinite(
                f"fp16 has overflowed in each of the last {self._skipped} steps, to {self.step}; {NotFinite.advice}"
            )

    def _wrap(self, raw: RawBatch) -> nn.Module:
        """Return the method set up for its device and processes.

        Several processes wait for the gradient of every parameter, unless they are told to look for those that get none
        in each step, which takes time. Whether there are any is found out on a copy of the method: a recipe may carry a
        head that no term looks at, or a part that is frozen in the first steps.
        """
        if isinstance(self.fabric.strategy, Replicas):
            trial = copy.deepcopy(self.method)
            weights = [weight for weight in trial.parameters() if weight.requires_grad]
            batch = self.fabric.strategy.precision.convert_input(self.to_batch(raw))
            with self.fabric.autocast():
                loss = trial(batch).loss
            gradients = torch.autograd.grad(loss, weights, allow_unused=True)
            self.fabric.strategy.has_unused = any(gradient is None for gradient in gradients)
        return self.fabric.setup_module(self.method)

    def _gradients_stay(self, module: Any, stay: bool) -> AbstractContextManager[None]:
        """A context for a forward and backward pass: gradients stay here for now, or are averaged over processes."""
        if collectives.num_processes() == 1:
            return nullcontext()
        return self.fabric.no_backward_sync(module, enabled=stay)

    def _set_lr(self) -> float:
        lr = self.lr * self.schedule(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = (self.lr if group["constant"] else lr) * group["lr_scale"]
        set_decay(self.optimizer.param_groups, self.step, self.total_steps)
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
