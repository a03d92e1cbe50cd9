"""Sharded data parallelism: each process keeps a part of the weights, of their gradients and of the optimizer's state.

torch's `fully_shard` does it (FSDP2; Zhao et al. 2023, arXiv 2304.11277). The whole method is one unit, and each block
and large linear layer (`ssl_zoo.distributed.units`) one inside it. A unit's weights are gathered before it computes, in
half precision where it computes in that, and freed again after it. Of its gradients, each process gets the mean over
all processes in float32, for the part that it keeps. Buffers, such as running statistics, are whole and equal in all
processes.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from ssl_zoo.batch import Batch, StepOutput
from ssl_zoo.distributed import collectives, one_pass
from ssl_zoo.distributed.batch_norm import to_plain
from ssl_zoo.distributed.precision import Precision
from ssl_zoo.distributed.shards import Stored, fill, map_leaves, spread_like, whole
from ssl_zoo.distributed.strategy import MakeOptimizer, Unsharded
from ssl_zoo.distributed.units import Unit, units
from ssl_zoo.errors import UserError
from ssl_zoo.registry import register


class _Root(nn.Module):
    """A method with an output in which `fully_shard` finds the loss: it does not look into objects of other classes."""

    def __init__(self, method: nn.Module):
        super().__init__()
        self.method = method

    def forward(self, batch: Batch) -> tuple[Tensor, StepOutput]:
        output: StepOutput = self.method(batch)
        return output.loss, output


@register("strategy", "fsdp")
class FullyShard(Unsharded):
    """Each process keeps a part of the weights, gradients and optimizer state (torch's fully_shard, FSDP2).

    The losses are those of one process, as with `ddp`, in half precision too: the weights that autocast would round are
    gathered as rounded ones, and gradients are averaged in float32.

    Args:
        device: of this process.
        precision: of the arithmetic.
        num_processes: with one process there is nothing to share out, and the method stays as it is.
        reshard_after_forward: free a unit's weights after each forward pass and gather them again for the backward
            pass; false keeps them to the end of the step, which takes their memory, and gathers them once in it.
        copies: how many times the weights are kept, each time by an equal part of the processes; more of them need
            more memory and exchange weights among fewer processes, such as those of one machine.
        gather_half: in bf16 and fp16, gather the weights of linear layers and convolutions as such; false gathers
            float32, for encoders that compute with them outside of autocast.
        offload: keep the parts of weights, gradients and optimizer state in the memory of the CPU, which then takes the
            optimizer's steps; weights are copied to the GPU each time before they are gathered.

    Raises:
        UserError: the processes cannot be divided into so many parts, fp16 with `offload`, or a torch whose
            `fully_shard` needs a GPU.
    """

    def __init__(
        self,
        device: torch.device,
        precision: Precision,
        num_processes: int,
        *,
        reshard_after_forward: bool = True,
        copies: Annotated[int, Field(ge=1)] = 1,
        gather_half: bool = True,
        offload: bool = False,
    ):
        super().__init__(device, precision)
        if num_processes > 1 and num_processes % copies:
            raise UserError(
                f"training.strategy.copies: {num_processes} processes cannot be divided into {copies} equal parts; "
                f"give a number that divides {num_processes}."
            )
        if offload and precision.name == "fp16":
            raise UserError(
                "training.strategy.offload: not with training.precision=fp16, whose loss scaler looks for overflows on "
                "the GPU; use bf16, or offload=false."
            )
        # torch 2.6's fully_shard records events on streams of the device, and those of a CPU cannot do it there.
        if num_processes > 1 and device.type == "cpu" and not hasattr(torch.cpu.Stream, "record_event"):
            raise UserError(
                f"training.strategy: fsdp on a CPU needs a torch after {torch.__version__}; upgrade it, or use ddp."
            )
        self.num_processes, self.copies, self.offload = num_processes, copies, offload
        self.reshard_after_forward = reshard_after_forward
        self.has_whole_state = num_processes == 1
        self._half = precision.half if gather_half else None
        self._root: Any = None  # of several processes
        self._units: list[Unit] = []
        self._kept: list[Any] = []
        self._plain: dict[int, nn.Module] = {}

    @property
    def notes(self) -> list[str]:
        """What the user should know before the first step."""
        if self.num_processes == 1:
            kept = "on its device, without offload" if self.offload else "as single does"
            return [f"fsdp: one process keeps everything, {kept}"]
        notes = [] if self._units else ["fsdp: the method has no blocks, so that all weights are gathered at once"]
        if self._half is not None:
            every = sum(weight.numel() for weight in self.method.parameters())
            mine = sum(weight.numel() for unit in self._units if unit.is_rounded for weight in _rounded(unit))
            name = str(self._half).removeprefix("torch.")
            notes.append(f"fsdp: {mine / every:.1%} of the weights are gathered as {name}, the others as float32")
        if self.offload and self.device.type == "cpu":
            notes.append("fsdp: offload has nothing to do on a CPU")
        return notes

    def prepare(self, method: nn.Module, make_optimizer: MakeOptimizer) -> Optimizer:
        """See `Strategy.prepare`.

        Raises:
            UserError: a parameter without dimensions, which has no parts.
        """
        if self.num_processes > 1:
            self._shard(method)
            if self.offload:  # all else is on the device already
                self.method, self.optimizer = method, make_optimizer(method)
                return self.optimizer
        return super().prepare(method, make_optimizer)

    def _shard(self, method: nn.Module) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard

        for name, weight in method.named_parameters():
            if not weight.ndim:
                raise UserError(
                    f"training.strategy: fsdp cannot divide {name}, a parameter without dimensions; make it one of "
                    "shape (1,), or use ddp."
                )
            weight.data = weight.data.contiguous()  # others cannot be divided; channels last is the views' business
        self._plain = _without_weights(method)
        shape = (self.copies, self.num_processes // self.copies) if self.copies > 1 else (self.num_processes,)
        names = ("copies", "parts")[-len(shape) :]
        mesh = init_device_mesh(self.device.type, shape, mesh_dim_names=names)
        one_pass.allow(method)
        self._units = list(units(method))
        _expect_views([unit.module for unit in self._units])
        self._root = _Root(method)
        on_cuda = self.device.type == "cuda"
        policy = CPUOffloadPolicy(pin_memory=on_cuda) if self.offload else OffloadPolicy()
        for unit in self._units:
            self._shard_unit(unit, mesh=mesh, offload_policy=policy)
        fully_shard(self._root, mesh=mesh, offload_policy=policy)
        self._prefetch()

    def _shard_unit(self, unit: Unit, **how: Any) -> None:
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        policy, module = MixedPrecisionPolicy(), cast(Any, unit.module)
        if self._half is not None and unit.is_rounded:
            policy = MixedPrecisionPolicy(self._half, torch.float32, cast_forward_inputs=False)
            if unit.norms:  # few numbers, which are gathered once in a step, before the unit begins
                first: Any = unit.norms[0]
                fully_shard(first if len(unit.norms) == 1 else list(unit.norms), reshard_after_forward=False, **how)
                self._kept.append(first)
        fully_shard(module, reshard_after_forward=self.reshard_after_forward, mp_policy=policy, **how)
        if not self.reshard_after_forward:
            self._kept.append(module)

    def _prefetch(self) -> None:
        """Name what is gathered ahead in the backward pass: by itself torch takes blocks of a target network too."""
        for each in self._kept:
            each.set_reshard_after_backward(False)
        all_units: list[Any] = [unit.module for unit in self._units]
        trained = [unit for unit in all_units if any(p.requires_grad for p in unit.parameters())]
        if len(trained) < len(self._units):
            for before, unit in zip(trained, [*trained[1:], self._root], strict=True):
                unit.set_modules_to_backward_prefetch([before])

    def forward_backward(self, batch: Batch, num_parts: int, last: bool) -> StepOutput:
        """See `Strategy.forward_backward`."""
        if self._root is None:
            return super().forward_backward(batch, num_parts, last)
        self._root.set_requires_gradient_sync(last)
        output = self.precision.forward(self._step, batch)
        self.precision.backward(output.loss / num_parts)
        for each in self._kept if last else ():
            each.reshard()
        return output

    def _step(self, batch: Batch) -> StepOutput:
        loss, output = self._root(batch)
        return replace(output, loss=loss)

    def state(self) -> dict[str, Any]:
        """See `Strategy.state`."""
        if self._root is not None:
            self._reshard()
        return super().state()

    def load(self, state: Mapping[str, Any]) -> None:
        """See `Strategy.load`."""
        if self._root is not None:
            wanted: list[tuple[Stored, Tensor]] = []
            method, optimizer = self._method_state(state, wanted), self._optimizer_state(state, wanted)
            fill(wanted)
            state = {**state, "method": method, "optimizer": optimizer}
        super().load(state)

    def _method_state(self, state: Mapping[str, Any], wanted: list[tuple[Stored, Tensor]]) -> dict[str, Any]:
        weights = dict(self.method.named_parameters(remove_duplicate=False))
        return {name: _spread(value, weights.get(name), wanted) for name, value in state["method"].items()}

    def _optimizer_state(self, state: Mapping[str, Any], wanted: list[tuple[Stored, Tensor]]) -> dict[str, Any]:
        weights = dict(enumerate(weight for group in self.optimizer.param_groups for weight in group["params"]))

        def spread(value: Any, weight: Tensor | None) -> Any:
            return map_leaves(value, (Tensor, Stored), lambda x: _spread(x, weight, wanted))

        known = state["optimizer"]["state"].items()
        return {**state["optimizer"], "state": {i: spread(value, weights.get(i)) for i, value in known}}

    def gathered(self, encoder: nn.Module) -> nn.Module:
        """See `Strategy.gathered`."""
        if self._root is None:
            return super().gathered(encoder)
        self._reshard()
        plain = copy.deepcopy(encoder, dict(self._plain))
        for mine, theirs in zip(plain.modules(), encoder.modules(), strict=True):
            for name, weight in theirs.named_parameters(recurse=False):
                value = whole(weight.detach())  # all processes take part, and the first one keeps it
                if collectives.rank() == 0:
                    setattr(mine, name, nn.Parameter(value.to(self.device), weight.requires_grad))
            for name, value in theirs.named_buffers(recurse=False):
                setattr(mine, name, value.clone())
        to_plain(plain)
        return plain

    def _reshard(self) -> None:
        """Free the whole weights, so that the method holds its parts."""
        for each in (*(unit.module for unit in self._units), *self._kept, self._root):
            each.reshard()


def _spread(value: Any, like: Tensor | None, wanted: list[tuple[Stored, Tensor]]) -> Any:
    """Return a tensor spread as another is, if that has its shape; of a stored one, add this process's part to wanted.

    Numbers of another shape stay whole, for `load_state_dict` to refuse them or to know what they are.
    """
    like = like if like is not None and like.shape == value.shape else None
    if isinstance(value, Stored):
        wanted.append((value, value.empty(like)))
        return wanted[-1][1]
    return value if like is None else spread_like(value, like)


def _rounded(unit: Unit) -> list[Tensor]:
    """Return the weights of a unit that are gathered in half precision."""
    apart = {id(weight) for norm in unit.norms for weight in norm.parameters()}
    return [weight for weight in unit.module.parameters() if id(weight) not in apart]


def _expect_views(modules: list[nn.Module]) -> None:
    """Keep torch from warning of views that units of this package and of torch return; none is changed in place."""
    own = {type(each).__name__ for each in modules if type(each).__module__.startswith(("ssl_zoo.", "torch.nn."))}
    if own:
        kinds = "|".join(map(re.escape, sorted(own)))
        warnings.filterwarnings("ignore", rf"FSDP2-wrapped module \(FSDP({kinds})\) returned a view", UserWarning)


def _without_weights(method: nn.Module) -> dict[int, nn.Module]:
    """Return, by the identity of each module, one like it without the numbers of its parameters.

    Modules that are divided cannot be copied any more.
    """
    outlines: dict[int, Any] = {
        id(weight): nn.Parameter(torch.empty_like(weight, device="meta"), weight.requires_grad)
        for weight in method.parameters()
    }
    copied = copy.deepcopy(method, outlines)
    return {id(module): like for module, like in zip(method.modules(), copied.modules(), strict=True)}
