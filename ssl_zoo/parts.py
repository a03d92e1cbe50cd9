"""Part: the contract of a method's parts, and the state that they keep from one optimizer step to the next.

Encoders and heads may be any torch module. Targets, pairings and terms derive from the base of their kind, and so does
every part that has state. With accumulation a step has several forward passes: `forward` therefore only notes what it
sees, and `after_step` moves the state, once per optimizer step.

What `forward` notes, it writes into a buffer, never into a Python object: a CUDA graph that replays a forward pass
repeats the work of the device and none of Python's. `after_step` and the optimizer are outside the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ssl_zoo.batch import Pairs, View

Inputs = Literal["pair", "set", "globals"]

Prediction = Tensor | Mapping[str, Tensor]
"""p `(B, D)` of a view; of a predictor per direction, {member that it predicts: p}."""


@runtime_checkable
class FollowsTraining(Protocol):
    """A module that is moved once per optimizer step."""

    def after_step(self, progress: float) -> None:
        """Move; `progress` is the part of the run that is done, in [0, 1]."""


def after_step(parts: Iterable[nn.Module], progress: float) -> None:
    """Move those of the parts that follow the training; a head may be any module, and most have nothing to move."""
    for part in parts:
        if isinstance(part, FollowsTraining):
            part.after_step(progress)


class Part(nn.Module):
    """A part of a method. Whatever `State` it holds moves by itself; other state moves in its own `after_step`.

    Attributes:
        depends_on_length: whether its state after some steps depends on the planned length of the run; a part that
            moves in its own `after_step` and does not say so (None) may.
    """

    depends_on_length: bool | None = None

    def after_step(self, progress: float) -> None:
        """Move the state: once per optimizer step, `progress` being the part of the run that is done, in [0, 1]."""
        for module in self.modules():
            if isinstance(module, State):
                module.advance()


class Head(Part):
    """A projector or predictor, `(B, in_dim)` -> `(B, out_dim)`: the base of heads with state."""

    in_dim: int
    out_dim: int


class Target(Part):
    """The other branch: which embeddings are predicted, and how gradient is kept out of them."""

    def forward(self, views: Sequence[View], z: Sequence[Tensor]) -> list[Tensor | None]:
        """Return t `(B, D)` per view, None where a view is no target; z `(B, D)` are the online embeddings."""
        raise NotImplementedError


class Pairing(Part):
    """The choice of which prediction is compared with which target.

    Attributes:
        needs_members: whether it compares views of different members, so that samples have to be mappings.
    """

    needs_members: bool = False

    def forward(self, p: Sequence[Prediction], t: Sequence[Tensor | None], views: Sequence[View]) -> Pairs:
        """Return the pairs of predictions p and targets t.

        Args:
            p: one entry per view; of a predictor per direction, {member: prediction of its views}.
            t: one entry per view; None where a view is no target.
            views: what they are of: their roles, and the members of samples that are mappings.
        """
        raise NotImplementedError


class Term(Part):
    """A term of the objective: a formula of the embeddings of the whole batch, which returns a scalar.

    Attributes:
        inputs: what it is called with: `pair`, each (p, t) of the pairing; `set`, the list of z of all views;
            `globals`, the list of z of the global views.
        batched: it may be given all at once, for which few kernels are launched. A pair term then takes p and t
            `(num, B, D)` too, and returns the value of each pair, `(num,)`; a set term takes z as one tensor
            `(V, B, D)` too. A pair term has to be `per_sample`.
        per_sample: it is a mean over samples, and needs no other process's batch: the average over processes is the
            same.
        shrinks: a pair term that is a distance in the units of z, so that embeddings which shrink to one point solve
            it. Where all pair terms do, the collapse guard judges the scale of z too.
        cluster_temperature: where p are scores of clusters, the temperature of their softmax; else None. The collapse
            guard then judges how many clusters are in use.
        notes: sentences for the user that `ssl-zoo check` prints.
    """

    inputs: Inputs
    batched: bool = False
    per_sample: bool = False
    shrinks: bool = False
    cluster_temperature: float | None = None
    notes: tuple[str, ...] = ()


class State(nn.Module):
    """State that moves once per optimizer step: `Part.after_step` advances every one inside the part."""

    def advance(self) -> None:
        """Move by one optimizer step."""
        raise NotImplementedError


class Pending:
    """Tensors that forward passes note for the end of the optimizer step: where their number or shape may change.

    Between steps nothing is pending, so that a checkpoint needs none of it. No CUDA graph can hold a part that
    uses it.
    """

    def __init__(self) -> None:
        self._noted: list[Tensor] = []

    def note(self, x: Tensor) -> None:
        """Keep a tensor, without its graph."""
        self._noted.append(x.detach())

    def take(self) -> list[Tensor]:
        """Return what was noted since the last call, in order."""
        noted, self._noted = self._noted, []
        return noted


class StepMean(nn.Module):
    """The mean of what the forward passes of one optimizer step note, in buffers that no checkpoint needs.

    Between steps nothing is noted.

    Args:
        like: a tensor of the shape and type of what is noted.
    """

    total: Tensor
    count: Tensor

    def __init__(self, like: Tensor):
        super().__init__()
        self.register_buffer("total", torch.zeros_like(like), persistent=False)
        self.register_buffer("count", like.new_zeros(()), persistent=False)

    @torch.no_grad()
    def note(self, x: Tensor) -> None:
        """Add a tensor, without its graph."""
        self.total += x.to(self.total.dtype)
        self.count += 1

    @torch.no_grad()
    def take(self) -> tuple[Tensor, Tensor]:
        """Return the mean of what was noted since the last call, and 1, or 0 where that was nothing; both tensors."""
        mean, noted = self.total / self.count.clamp(min=1), self.count.clamp(max=1)
        torch._foreach_zero_([self.total, self.count])
        return mean, noted


class Running(State):
    """A running mean of batch statistics, as a buffer.

    `mix` gives the statistic that includes the current batch, with gradient through the batch's share; `advance` makes
    the move final. Where several batches are accumulated for one optimizer step, all are mixed with the same old
    value, and the running mean moves towards the mean of their statistics.

    Args:
        value: the statistic before the first step.
        keep: the weight of the old value, in [0, 1].
    """

    value: Tensor

    def __init__(self, value: Tensor, keep: float):
        super().__init__()
        self.keep = keep
        self.register_buffer("value", value)
        self.step = StepMean(value)

    def note(self, batch: Tensor) -> None:
        """Note a batch's statistic where the module is in training."""
        if self.training:
            self.step.note(batch)

    def mix(self, batch: Tensor) -> Tensor:
        """Return keep * value + (1 - keep) * batch, and note the batch's statistic."""
        self.note(batch)
        return self.keep * self.value + (1 - self.keep) * batch

    @torch.no_grad()
    def advance(self) -> None:
        """Move towards the mean of what was noted; without any, stay."""
        mean, noted = self.step.take()
        self.value.lerp_(mean, noted * (1 - self.keep))


class StepCounter(State):
    """The number of optimizer steps so far, as a buffer: draws that are a function of it resume where they were.

    `int` of it reads the device only where the buffer was written to by others, as after a checkpoint is loaded. A
    forward pass on a GPU uses `steps`: a number would be the same whenever a CUDA graph is replayed.
    """

    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self._read: tuple[Tensor, int, int] | None = None  # the buffer, its version, its value

    def __int__(self) -> int:
        """Return the number of steps."""
        if not self._is_read():
            self._read = (self.steps, self.steps._version, int(self.steps))
        assert self._read is not None
        return self._read[2]

    def _is_read(self) -> bool:
        return self._read is not None and self._read[0] is self.steps and self._read[1] == self.steps._version

    def advance(self) -> None:
        """Count a step."""
        done = int(self) if self._is_read() else None
        self.steps += 1
        self._read = None if done is None else (self.steps, self.steps._version, done + 1)


class Memo(State):
    """A function of a tensor that is computed once per tensor: pairs share their targets.

    Tensors are known by identity, not by value. The objective forgets them at the end of its forward pass.

    Args:
        function: tensor -> tensor.
        most: values that are kept, the latest ones; a term that is called by itself, without an objective, then holds
            no more. None keeps all.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], most: int | None = None):
        super().__init__()
        self._function, self._most = function, most
        self._known: dict[int, tuple[Tensor, Tensor]] = {}  # the argument is kept, so that no other gets its id

    def forward(self, x: Tensor) -> Tensor:
        """Return the function's value for `x`."""
        if id(x) not in self._known:
            if len(self._known) == self._most:
                del self._known[next(iter(self._known))]
            self._known[id(x)] = (x, self._function(x))
        return self._known[id(x)][1]

    def advance(self) -> None:
        """Forget the tensors."""
        self._known.clear()
