"""The step as a CUDA graph: views, forward and backward pass, recorded once and from then on launched as one.

The processor launches about a thousand kernels per step, and with small batches that takes longer than their work. A
graph repeats recorded kernels with the same arguments on the same memory. So what changes from step to step is outside
of it: the inputs are copied to where it reads them, the seed is set before it is launched, and the optimizer and
`after_step`, whose rates are Python numbers, follow it. `docs/decisions/0011-the-step-on-a-gpu.md` has the rules for
parts.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from ssl_zoo.batch import Batch, StepOutput
from ssl_zoo.data import RawBatch
from ssl_zoo.errors import UserError
from ssl_zoo.recipe.sections import Training
from ssl_zoo.training.python_state import difference, python_state

WARM_UP = 3
"""Steps that are taken kernel by kernel first: caches are filled, cuDNN times its algorithms, the step is watched."""

WATCHED = 2
"""The step that is watched: the first one makes what later ones use again."""

T = TypeVar("T")


class Recorder(Protocol):
    """What records operations and repeats them; `CudaRecorder`, or a stand-in where there is no GPU."""

    def run(self, function: Callable[[], T]) -> T:
        """Call a function where it is going to be recorded."""
        ...

    def watch(self, function: Callable[[], T]) -> tuple[T, list[str]]:
        """Call a function as `run` does; return its result and where it waited for the device."""
        ...

    def record(self, function: Callable[[], T]) -> T:
        """Record a function, and return what it returns: tensors that `replay` fills."""
        ...

    def replay(self) -> None:
        """Repeat what was recorded."""
        ...


class CudaRecorder:
    """`torch.cuda.CUDAGraph` and the stream that it is recorded on.

    Args:
        device: a CUDA device.
    """

    def __init__(self, device: torch.device):
        self.device = device

    @cached_property
    def stream(self) -> torch.cuda.Stream:
        """What is recorded runs here."""
        return torch.cuda.Stream(self.device)

    @cached_property
    def graph(self) -> torch.cuda.CUDAGraph:
        """What was recorded."""
        return torch.cuda.CUDAGraph()

    def run(self, function: Callable[[], T]) -> T:
        """Call a function on the stream: autograd ties the gradient of a weight to the stream that first used it."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            result = function()
        current.wait_stream(self.stream)
        return result

    def watch(self, function: Callable[[], T]) -> tuple[T, list[str]]:
        """See `Recorder.watch`; torch warns of each call that waits."""
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                result = self.run(function)
            finally:
                torch.cuda.set_sync_debug_mode(before)
        return result, [f"{w.filename}:{w.lineno}" for w in caught if "called a synchronizing" in str(w.message)]

    def record(self, function: Callable[[], T]) -> T:
        """See `Recorder.record`. Other threads, such as the one that pins memory, may go on meanwhile."""
        with torch.cuda.graph(self.graph, stream=self.stream, capture_error_mode="thread_local"):
            return function()

    def replay(self) -> None:
        """See `Recorder.replay`."""
        self.graph.replay()


class GraphedStep:
    """Views, forward and backward pass of a micro-batch, after some steps by a recorded graph.

    The gradients are what the strategy's `forward_backward` gives, in `weight.grad`. Of one micro-batch per step the
    graph writes them; of several it adds them, and they are set to zero before the first.

    Args:
        to_batch: makes the views of what the loader gives.
        forward_backward: of the strategy.
        modules: all that takes part; no attribute of theirs may change in the step.
        device: where it computes.
        recorder: of the device.
        required: whether it is an error that the step cannot be recorded; else it is taken kernel by kernel.
        move: copies what the loader gives to the device while that computes the step before; from there it is copied
            once more, to where the graph reads it. None copies it there at once.

    Attributes:
        problem: why the step cannot be recorded; empty while nothing is known of one.
        news: the sentence that says so, until it has been printed.
        recorded: whether it is.
    """

    def __init__(
        self,
        to_batch: Callable[[RawBatch], Batch],
        forward_backward: Callable[[Batch, int, bool], StepOutput],
        modules: Iterable[nn.Module],
        device: torch.device,
        recorder: Recorder,
        required: bool = False,
        move: Callable[[RawBatch], RawBatch] | None = None,
    ):
        self._to_batch, self._forward_backward, self._modules = to_batch, forward_backward, list(modules)
        self._device, self._recorder, self._required, self._move = device, recorder, required, move
        self.problem, self.recorded = "", False
        self.news: list[str] = []
        self._number, self._first = 0, True  # of the step, from 1; whether the next micro-batch is the first of one
        self._state: dict[str, object] = {}
        self._layouts: list[object] = []  # of the micro-batches so far
        self._inputs: RawBatch | None = None
        self._gradients: list[tuple[nn.Parameter, Tensor]] = []

    def __call__(self, raw: RawBatch, num_parts: int, last: bool) -> StepOutput:
        """Return what the method gives for a micro-batch, and add its gradients to those of the step.

        Raises:
            UserError: the step cannot be recorded, and `required`.
        """
        first, self._first = self._first, last
        self._number += first
        if not self.problem and self._number > WARM_UP:
            return self._replayed(raw, num_parts, first)
        self._layouts += [] if self.problem else [raw.layout]
        if not self.problem and first and self._number == WATCHED:
            output = self._watched(raw, num_parts, last)
        else:
            output = self._recorder.run(lambda: self._eager(raw, num_parts, last))
        if last and num_parts > 1 and self._number == WARM_UP:
            self._gradients = [(w, torch.zeros_like(w)) for w in self._weights() if w.grad is not None]
        return output

    def _weights(self) -> Iterator[nn.Parameter]:
        for module in self._modules:
            yield from module.parameters()

    def _eager(self, raw: RawBatch, num_parts: int, last: bool) -> StepOutput:
        output = self._forward_backward(self._to_batch(raw), num_parts, last)
        return replace(output, loss=output.loss.detach(), terms=_detached(output.terms))

    def _watched(self, raw: RawBatch, num_parts: int, last: bool) -> StepOutput:
        """Take the second step kernel by kernel, and look whether a graph would repeat all of it."""
        before = python_state(self._modules)
        output, waits = self._recorder.watch(lambda: self._eager(raw, num_parts, last))
        self._state = python_state(self._modules)
        changed = difference(before, self._state)
        if waits:
            self._refuse(f"it waits for the device (at {waits[0]})")
        elif changed:
            self._refuse(f"{changed} changes in the forward pass, which a graph does not repeat")
        return output

    def _refuse(self, problem: str) -> None:
        self.problem = problem
        self.news = [f"training.cuda_graph: no CUDA graph: {problem}"]
        if self._required:
            raise UserError(f"training.cuda_graph: the step cannot be recorded: {problem}; set it to auto or off.")

    def _replayed(self, raw: RawBatch, num_parts: int, first: bool) -> StepOutput:
        """Take a step by the graph, which is recorded where there is none yet."""
        if not self.recorded:
            changed = difference(self._state, python_state(self._modules))
            if changed:  # in `after_step`: the graph would go on with what it is now
                self._refuse(f"{changed} changes from step to step, which a graph does not see")
            elif raw.layout not in self._layouts:
                self._refuse("each step has inputs of another shape, as where masks hide more or fewer places")
            if self.problem:
                return self._recorder.run(lambda: self._eager(raw, num_parts, True))
        if num_parts > 1:
            self._attach(clear=first)
        if self.recorded and not self._fill(raw):
            return self._recorder.run(lambda: self._eager(raw, num_parts, True))
        if not self.recorded:
            self._record(raw, num_parts)
        self._recorder.replay()
        self._attach()
        return _copied(self._output)

    def _record(self, raw: RawBatch, num_parts: int) -> None:
        self._inputs = inputs = raw.moved(lambda x: x.to(self._device, copy=True))
        self._output: StepOutput = self._recorder.record(lambda: self._eager(inputs, num_parts, True))
        if num_parts == 1:
            self._gradients = [(weight, weight.grad) for weight in self._weights() if weight.grad is not None]
        self.recorded = True

    def _fill(self, raw: RawBatch) -> bool:
        """Copy a micro-batch to where the graph reads it; False where it has other shapes."""
        inputs = self._inputs
        assert inputs is not None
        if raw.layout != inputs.layout:
            return False
        inputs.take(raw if self._move is None else self._move(raw))
        return True

    def _attach(self, clear: bool = False) -> None:
        """Put the memory that the graph writes gradients to back into the weights, from which the optimizer took it."""
        for weight, gradient in self._gradients:
            weight.grad = gradient
        if clear:
            torch._foreach_zero_([gradient for _, gradient in self._gradients])


def reason_against(training: Training, device: torch.device, num_processes: int) -> str:
    """Return why the steps of a run are not recorded; empty where nothing speaks against it.

    Args:
        training: of the recipe.
        device: of the run.
        num_processes: that train together.
    """
    if device.type != "cuda":
        return "it computes on no CUDA device"
    if num_processes > 1:
        return f"{num_processes} processes train together, whose messages are not recorded"
    if training.strategy.name not in ("auto", "single"):
        return f"the strategy {training.strategy.name} is not known to allow it"
    if training.gradient_checkpointing:
        return "gradient_checkpointing reads the state of random numbers in the step"
    return ""


def _detached(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in terms.items()}


def _copied(output: StepOutput) -> StepOutput:
    """Return a copy of what a graph has given, which its next launch overwrites."""
    names, tokens = list(output.terms), output.tokens or []
    old = [output.loss, *output.terms.values(), *output.embeddings, *tokens, *output.features]
    new = [torch.empty_like(x) for x in old]
    torch._foreach_copy_(new, old)
    left = iter(new)

    def take(number: int) -> list[Tensor]:
        return [next(left) for _ in range(number)]

    return StepOutput(
        loss=next(left),
        terms=dict(zip(names, take(len(names)), strict=True)),
        embeddings=take(len(output.embeddings)),
        members=output.members,
        tokens=None if output.tokens is None else take(len(tokens)),
        features=take(len(output.features)),
    )
