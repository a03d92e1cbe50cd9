"""The training loop. Its method is a module that it trains, its strategy knows devices and processes.

All that the next step depends on is the strategy's state (weights, buffers, optimizer) and the step's number: learning
rate, randomness and data are functions of it. That makes a resumed run equal to one that was never stopped.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from ssl_zoo.batch import Batch, StepOutput
from ssl_zoo.data import RawBatch
from ssl_zoo.distributed import collectives
from ssl_zoo.distributed.shards import read_whole
from ssl_zoo.distributed.strategy import Strategy
from ssl_zoo.errors import NotFinite
from ssl_zoo.errors import TrainingFailed as TrainingFailed
from ssl_zoo.optim.param_groups import freeze, set_decay
from ssl_zoo.rng import derive
from ssl_zoo.training.cuda_graph import GraphedStep

MOST_SKIPPED = 50
"""Steps in a row that fp16's loss scaler may skip. It halves its scale each time and starts at 2^16; where 2^-34 is too
large a scale still, it is the network and not the scale that overflows."""

_NEVER = 2**62

MicroStep = Callable[[Any, int, bool], StepOutput]
"""(micro-batch, how many there are in the step, whether it is the last) -> output; gradients are added."""


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
    """An optimizer step as hooks see it: its number (from 1), and what the last micro-batch gave.

    With several processes, loss, terms and embeddings are those of this process's own samples. `moved` is False where
    fp16's loss scaler skipped the step because a number overflowed; that is no failure.
    """

    number: int
    lr: float
    loss: Tensor
    terms: dict[str, Tensor]
    output: StepOutput
    moved: bool = True


class Trained(Protocol):
    """A method as the loop sees it; its forward and backward passes are the strategy's business."""

    def train(self, mode: bool = True) -> Any:
        """Enter training mode."""
        ...

    def after_step(self, progress: float) -> None:
        """Let the parts that follow the training move: once per optimizer step, `progress` in [0, 1]."""
        ...


@dataclass
class Trainer:
    """Trains a method.

    Args:
        strategy: of the devices and processes; it has prepared the method.
        method: what is trained.
        optimizer: from the strategy; its groups carry `lr_scale` and `constant`.
        schedule: step -> factor on the learning rate.
        lr: the full learning rate.
        total_steps: optimizer steps of the whole run.
        seed: of the run.
        to_batch: turns what the loader gives into a `Batch` on the device.
        clip_grad: largest norm of the gradient, or None.
        graphed: makes views and does the strategy's `forward_backward` in one recorded graph; None: one by one.
        report: prints a sentence for the user.

    Attributes:
        whole: whether the state is that after `step` steps; False within a step, and after one that broke off.
    """

    strategy: Strategy
    method: Trained
    optimizer: torch.optim.Optimizer
    schedule: Callable[[int], float]
    lr: float
    total_steps: int
    seed: int
    to_batch: Callable[[RawBatch], Batch]
    clip_grad: float | None = None
    graphed: GraphedStep | None = None
    report: Callable[[str], None] = warnings.warn
    step: int = 0
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.whole, self._skipped = True, 0
        self._first_bad = torch.tensor(_NEVER, device=self.device)

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return self.strategy.device

    def run(self, batches: Iterable[list[RawBatch]], after_step: Callable[[Step], bool]) -> None:
        """Take one optimizer step per list of micro-batches, until they end or `after_step` returns True.

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
            if self.graphed is not None:
                step = self.take_step(micro_batches, len(micro_batches), self.graphed)
            else:
                step = self.take_step(map(self.to_batch, micro_batches), len(micro_batches))
            if self._skipped >= MOST_SKIPPED:
                self.check()
            if self.graphed is not None and self.graphed.news:
                self.report(self.graphed.news.pop())
            stop = after_step(step)
            self.clock.data += arrived - started
            self.clock.train += time.perf_counter() - started
            if stop:
                break

    def take_step(self, batches: Iterable[Any], num_parts: int, forward_backward: MicroStep | None = None) -> Step:
        """Take one optimizer step.

        Args:
            batches: its micro-batches, in training mode; each is asked for when the one before is done with.
            num_parts: how many they are.
            forward_backward: what takes a micro-batch; None is the strategy's, which takes a `Batch`.
        """
        self.whole, forward_backward = False, forward_backward or self.strategy.forward_backward
        # Dropout and the like: each process has its own samples, so each draws its own numbers.
        seed = derive(self.seed, "model", self.step, *([collectives.rank()] if collectives.rank() else []))
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would format a traceback for the GPUs, too
        else:
            torch.manual_seed(seed)
        lr = self._set_lr()
        losses, terms = [], []
        for number, batch in enumerate(batches, start=1):
            output = forward_backward(batch, num_parts, number == num_parts)
            losses.append(output.loss.detach())
            terms.append({name: value.detach() for name, value in output.terms.items()})
        freeze(self.optimizer.param_groups, self.step)
        moved = self.strategy.step(self.clip_grad)
        self.step += 1
        if moved:
            self.method.after_step(self.step / self.total_steps)
        loss = torch.stack(losses).mean()
        self._note(loss, moved)
        self.whole = True
        mean_terms = {name: torch.stack([each[name] for each in terms]).mean() for name in terms[0]}
        return Step(self.step, lr, loss, mean_terms, output, moved)

    def _note(self, loss: Tensor, moved: bool) -> None:
        """Note a step that was skipped or whose loss is not finite, on the device, so that nobody waits for it."""
        self._skipped = 0 if moved else self._skipped + 1
        if moved:
            self._first_bad = torch.minimum(self._first_bad, torch.where(loss.isfinite(), _NEVER, self.step))

    @property
    def first_bad(self) -> Tensor:
        """The number of the first step whose loss was not finite, on the device; 2^62 where there was none."""
        return self._first_bad

    def check(self, first_bad: float | None = None) -> None:
        """Make sure that the loss has been finite in all steps so far, and that fp16 has not skipped all of the last.

        Args:
            first_bad: the first step whose loss was not finite in any process, where that has been read; None reads
                that of this process.

        Raises:
            NotFinite: it has not.
        """
        if (first := int(self._first_bad if first_bad is None else first_bad)) < _NEVER:
            raise NotFinite(f"the loss is not finite at step {first}; {NotFinite.advice}")
        if self._skipped >= MOST_SKIPPED:
            raise NotFinite(
                f"fp16 has overflowed in each of the last {self._skipped} steps, to {self.step}; {NotFinite.advice}"
            )

    @property
    def _groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    def _set_lr(self) -> float:
        lr = self.lr * self.schedule(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = (self.lr if group["constant"] else lr) * group["lr_scale"]
        set_decay(self.optimizer.param_groups, self.step, self.total_steps)
        return lr

    def state(self) -> dict[str, Any]:
        """Return all that the next step depends on: tensors and plain values. All processes must call it."""
        return {
            "step": self.step,
            **self.strategy.state(),
            "seconds": {"train": self.clock.train, "data": self.clock.data},
        }

    def load(self, state: dict[str, Any]) -> None:
        """Resume from what `state` returned, strictly; weight decay is this recipe's, as the learning rate is."""
        keys = ("weight_decay", "decay")
        own: list[dict[str, Any]] = [{key: group[key] for key in keys if key in group} for group in self._groups]
        self.strategy.load(state if getattr(self.strategy, "loads_parts", False) else read_whole(state))
        for group, kept in zip(self._groups, own, strict=True):
            group.update(kept)
        self.step = state["step"]
        self.clock = Clock(**state["seconds"])
