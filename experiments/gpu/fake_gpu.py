"""A CUDA device that is not there: what a computation would ask of one is noted, and nothing is computed.

Tensors on `cuda:0` have shapes, types and devices, but no numbers (torch: `FakeTensorMode`); those on the CPU are real.
So the framework's own code runs, with the branches for CUDA, and one sees how many kernels it launches, where the host
would wait for the device, and whether two steps launch the same ones. Time and memory are not seen.

    with FakeGpu() as gpu:
        gpu.place(method)
        method(batch_on(gpu.device)).loss.backward()
    gpu.waits, gpu.kernels, gpu.operations

The autograd engine and torch's autocast ask a tensor for its device in C++, where a fake tensor may answer as it likes.
Where nodes of the graph are made and in the backward pass it answers `meta`: the engine would look for the streams of
a GPU. Everywhere else it answers `cuda:0`, so that autocast casts and kernels are chosen as on a GPU. What is missing
without a GPU: fused attention, for which torch takes the plain formula (about a dozen kernels more per block).
"""

from __future__ import annotations

import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from experiments.gpu.operations import GPU, Operation, launches_of, leaves_of, places, waits
from experiments.gpu.stand_ins import OF_CUDA

MISSING = ""
"""Why a fake device cannot be had with this torch; empty where it can."""

try:  # private names: what is missing in another release is a reason to skip, not an error
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
    from torch.autograd.graph import get_gradient_edge
    from torch.autograd.variable import Variable

    _FOREACH = [
        import_module(name)._foreach_supported_types for name in ("torch.optim.optimizer", "torch.utils._foreach_utils")
    ]
    _ENGINE, _DEVICE = Variable._execution_engine, torch.ops.prim.device.default
except (ImportError, AttributeError) as error:
    MISSING = f"torch {torch.__version__} lacks what a fake device needs: {error}"
if torch.cuda.is_available():
    MISSING = "there is a real GPU"

META, CPU = torch.device("meta"), torch.device("cpu")


class _Engine:
    """The autograd engine, with a note of when it runs."""

    def __init__(self) -> None:
        self.runs = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(_ENGINE, name)

    def run_backward(self, *args: Any, **kwargs: Any) -> Any:
        """Run a backward pass; see torch's."""
        self.runs += 1
        try:
            return _ENGINE.run_backward(*args, **kwargs)
        finally:
            self.runs -= 1


class FakeGpu(TorchDispatchMode):
    """A context in which `cuda:0` is there, and what is asked of it is noted.

    Args:
        value: what every number that is read from the device is.

    Attributes:
        device: `cuda:0`.
        operations: on the device, in order.
        waits: where the host would wait for the device: the operation, and the line of the caller.

    Raises:
        AssertionError: in the context, for a CPU generator that is to fill a tensor on the device.
        RuntimeError: in the context, for an operation on tensors of two devices (from torch).
    """

    device = GPU

    def __init__(self, value: int = 1) -> None:
        assert not MISSING, MISSING
        super().__init__()
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        self.value, self.operations, self.waits, self._part = value, list[Operation](), list[str](), ""
        self._engine, self._applying = _Engine(), 0
        self._placed: dict[int, tuple[Tensor, Any]] = {}
        self._new: dict[int, Tensor] = {}  # results whose nodes in the graph are about to be made
        self._changed: dict[int, Tensor] = {}  # the same of tensors changed in place

    @property
    def kernels(self) -> Counter[str]:
        """How many kernels were launched, by the name of the operation without its overload."""
        counts = Counter[str]()
        for each in self.operations:
            if each.launches:
                counts[each.name.partition(".")[0]] += each.launches
        return counts

    def kernels_of(self, part: str) -> int:
        """Return how many kernels were launched in a part."""
        return sum(each.launches for each in self.operations if each.part == part)

    def clear(self) -> None:
        """Forget what was noted."""
        self.operations, self.waits = [], []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Name the operations of the context."""
        before, self._part = self._part, name
        try:
            yield
        finally:
            self._part = before

    def place(self, module: nn.Module) -> nn.Module:
        """Move a module to the device if it is elsewhere, and make the nodes that collect its gradients; return it.

        Without it, autocast does not cast the weights.
        """
        if any(weight.device != self.device for weight in module.parameters()):
            module.to(self.device)
        self._applying += 1
        with torch.enable_grad():
            for weight in module.parameters():
                if weight.requires_grad:
                    self._placed[id(weight)] = (weight, get_gradient_edge(weight))
        self._applying -= 1
        return module

    def __enter__(self) -> FakeGpu:
        """Make the device."""
        self._stack = ExitStack()
        enter = self._stack.enter_context
        forget_constants()
        for known in _FOREACH:  # optimizers take lists of plain tensors alone
            known.append(FakeTensor)
            self._stack.callback(known.remove, FakeTensor)
        enter(patch.object(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False))
        for name, value in OF_CUDA.items():
            enter(patch.object(torch.cuda, name, value))
        enter(patch.object(Variable, "_execution_engine", self._engine))
        enter(patch.object(torch.autograd.Function, "apply", _applied(self)))
        enter(patch.object(FakeTensor, "record_stream", lambda x, stream: None))
        enter(patch.object(FakeTensor, "data_ptr", lambda x: id(x)))  # where it lies: each has memory of its own
        self._stack.callback(forget_constants)
        # Its own reads one number after the other.
        enter(patch.object(FakeTensor, "tolist", lambda x: x.cpu().tolist()))
        enter(self.fake)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """Remove the device."""
        super().__exit__(*error)
        self._stack.close()
        self._placed.clear()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """See torch: called for every operation."""
        kwargs = kwargs or {}
        if func is _DEVICE:
            return self._answer(args[0])
        leaves = list(leaves_of((args, kwargs)))
        fakes = [x for x in leaves if isinstance(x, FakeTensor)]
        if not fakes and not any(isinstance(x, torch.device) and x.type != "cpu" for x in leaves):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        if any(isinstance(x, torch.device) and x == META for x in leaves):
            args, kwargs = tree_map(lambda x: GPU if isinstance(x, torch.device) and x == META else x, (args, kwargs))
        generators = [x for x in leaves if isinstance(x, torch.Generator)]
        assert all(x.device.type != "cpu" for x in generators), f"a CPU generator for a tensor on the GPU: {func}"
        name = func._overloadpacket.__name__
        if waits(name, args, kwargs, leaves):
            self.waits.append(f"{name} at {_caller()}")
        result = self._result(func, name, args, kwargs)
        self._note(func, name, args, leaves, list(leaves_of(result)))
        return result

    def _result(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name == "_local_scalar_dense":
            kind = torch.tensor(0, dtype=args[0].dtype).item().__class__
            return kind(self.value)
        if name == "_fused_sgd_":  # in place, and torch has no formula for its shapes
            return None
        if name == "nonzero":  # as if all were true
            return args[0].new_empty((args[0].numel(), args[0].ndim), dtype=torch.int64)
        if name in ("index", "index_put", "index_put_"):
            args = (args[0], [place for each in args[1] for place in places(each)], *args[2:])
        result = func(*args, **kwargs)  # by `fake`, which is next
        if kwargs.get("device", GPU).type == "cpu" and isinstance(result, FakeTensor):
            with unset_fake_temporarily():
                return torch.full(result.shape, self.value, dtype=result.dtype)
        if name == "copy_" and not isinstance(args[0], FakeTensor):
            with unset_fake_temporarily():
                return args[0].fill_(self.value)
        return result

    def _note(self, func: Any, name: str, args: tuple[Any, ...], leaves: list[Any], results: list[Any]) -> None:
        made = [x for x in results if isinstance(x, Tensor)]
        given = [x for x in leaves if isinstance(x, Tensor)]
        tensors = tuple((str(x.dtype).removeprefix("torch."), tuple(x.shape)) for x in given + made)
        numbers = ", ".join(str(x) for x in leaves if not isinstance(x, Tensor))
        launches = launches_of(func, name, args, results)
        overload = f"{name}.{func._overloadname}"
        self.operations.append(Operation(self._part, overload, tensors, numbers, launches))
        self._new, self._changed = {}, {}
        if torch.is_grad_enabled() and any(x.requires_grad for x in given):
            before = {id(x) for x in given}
            self._new = {id(x): x for x in made if id(x) not in before}
            changed = [x for x in made if id(x) in before]
            changed += [x._base for x in changed if x._base is not None]
            self._changed = {id(x): x for x in changed}

    def _answer(self, x: Tensor) -> torch.device:
        """Return what C++ is told of a tensor's device."""
        if not isinstance(x, FakeTensor):
            return x.device
        if x.fake_device.type == "cpu":
            return CPU
        if self._engine.runs or id(x) in self._changed:
            self._changed.pop(id(x), None)
            return META
        if id(x) in self._new and x.grad_fn is None and not x.requires_grad:
            return META
        if self._applying and torch.is_grad_enabled() and id(x) not in self._placed:
            return META  # the node of a `torch.autograd.Function`, or one of `place`
        if x.requires_grad and x.is_leaf and id(x) not in self._placed:
            return META  # its node that collects gradients
        return GPU


def _applied(gpu: FakeGpu) -> Any:
    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        gpu._applying += 1
        try:
            return super(torch.autograd.Function, cls).apply(*args, **kwargs)
        finally:
            gpu._applying -= 1

    return classmethod(apply)


def _caller() -> str:
    """Return the innermost line outside torch, as `file.py:12`."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if "torch" not in path.parts and path != Path(__file__):
            return f"{path.name}:{frame.lineno}"
    return "torch"


def forget_constants() -> None:
    """Empty the caches of ssl_zoo's functions: constants of a fake device are of no use on another."""
    for name, module in list(sys.modules.items()):
        if name.startswith("ssl_zoo."):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear") and hasattr(value, "__wrapped__"):
                    value.cache_clear()


def _fault() -> str:
    """Return why this torch cannot take a step on a fake device; empty where it can."""
    layer = nn.Linear(2, 2)
    try:
        with FakeGpu() as gpu:
            gpu.place(layer)
            layer(torch.zeros(2, 2, device=GPU)).sum().backward()
    except RuntimeError as error:  # torch 2.6 looks for a driver
        return f"torch {torch.__version__} cannot compute on a fake device: {str(error).partition('.')[0]}"
    return ""


MISSING = MISSING or _fault()
