"""BatchNorm over all processes: `norm: global` of a recipe.

The papers of most methods normalise by the statistics of the whole batch. With one process that is what plain BatchNorm
does; with several it sees its own shard only. The layer here computes with the kernels of torch's SyncBatchNorm, which
are for CUDA, or with those of `batch_norm_kernels` for a CPU; so a run is the same on every device, and its gradients
are those of one process. A layer exchanges numbers twice: mean and deviation `(2, C)` of each process in the forward
pass, and the sums of two gradients `(2, C)` in the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # no public name for what BatchNorm1d, 2d and 3d share

from ssl_zoo.distributed import batch_norm_kernels, collectives
from ssl_zoo.errors import UserError

PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class GlobalBatchNorm(_BatchNorm):
    """BatchNorm by the mean and variance of the batches of all processes, which must be of one shape.

    It has the parameters, buffers and names of the plain layer that `to_global` made it of, and is that layer exactly
    in evaluation mode and with one process.

    Attributes:
        num_views: equal parts of the batch that are normalised one after the other, each by its own statistics; see
            `ssl_zoo.distributed.one_pass`.
    """

    plain: type[_BatchNorm]
    num_views = 1

    def _check_input_dim(self, input: Tensor) -> None:
        self.plain._check_input_dim(self, input)

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised batch; input is `(B, C)` or `(B, C, ...)`, B the samples of this process."""
        if self.num_views == 1:
            return self._normalised(input)
        return torch.cat([self._normalised(view) for view in input.chunk(self.num_views)])

    def _normalised(self, input: Tensor) -> Tensor:
        uses_batch = self.training or self.running_mean is None
        if not uses_batch or collectives.num_processes() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        running = (self.running_mean, self.running_var) if self.training else (None, None)
        counts = self._counts(input, input.numel() // input.shape[1])
        y: Tensor = _Normalise.apply(input, self.weight, self.bias, *running, self._momentum(), self.eps, counts)
        return y

    def _momentum(self) -> float:
        """Count the batch; return the part of the running statistics that it replaces."""
        if not self.training or self.num_batches_tracked is None:
            return 0.0
        self.num_batches_tracked.add_(1)
        return 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum

    def _counts(self, input: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return the values of a channel in each process `(k,)`, as the kernels take them: float, and int32.

        They are kept, since they are the same in every step.
        """
        size = collectives.num_processes()
        key = (size, count, input.device, input.dtype)
        known = vars(self).get("_known_counts")
        if known is None or known[0] != key:
            wide = torch.promote_types(input.dtype, torch.float32)
            made = torch.full((size,), count, dtype=wide, device=input.device)
            known = vars(self)["_known_counts"] = (key, made, made.int())
        return known[1], known[2]


class _Normalise(torch.autograd.Function):
    """BatchNorm by the statistics of the batches of all processes, as torch's SyncBatchNorm computes it.

    The gradient is that of the sum of the losses of all processes.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
        running_var: Tensor | None, momentum: float, eps: float, counts: tuple[Tensor, Tensor],
    ) -> Tensor:  # fmt: skip
        """Return the normalised x, and move the running statistics."""
        # torch has kernels for CUDA alone; the choice is made once, so that both passes have the same.
        kernels: Any
        x, kernels = _dense(x), torch if x.is_cuda else batch_norm_kernels
        shards = collectives.gather(torch.stack(kernels.batch_norm_stats(x, eps))[None])  # (k, 2, C)
        means, invstds = shards.unbind(dim=1)
        # The first argument only says in which precision the rest is.
        mean, invstd = kernels.batch_norm_gather_stats_with_counts(
            means, means, invstds, running_mean, running_var, momentum, eps, counts[0]
        )
        ctx.kernels = kernels
        ctx.save_for_backward(x, weight, mean, invstd, counts[1])
        y: Tensor = kernels.batch_norm_elemt(x, weight, bias, mean, invstd, eps)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Return the gradients of x, weight and bias; those of the latter are of the own samples."""
        x, weight, mean, invstd, counts = ctx.saved_tensors
        grad, kernels = _dense(grads[0]), ctx.kernels
        needs = ctx.needs_input_grad[:3]
        *sums, of_weight, of_bias = kernels.batch_norm_backward_reduce(grad, x, mean, invstd, weight, *needs)
        of_x = None
        if needs[0]:
            both = torch.stack(sums)
            dist.all_reduce(both)
            of_x = kernels.batch_norm_backward_elemt(grad, x, mean, invstd, weight, *both.unbind(), counts)
        found = [of_x, of_weight if needs[1] else None, of_bias if needs[2] else None]
        return *found, None, None, None, None, None


def _dense(x: Tensor) -> Tensor:
    """Return x as the kernels take it: channels last where it is so, else contiguous."""
    kept = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.dim())
    return x if kept is not None and x.is_contiguous(memory_format=kept) else x.contiguous()


def to_global(module: nn.Module) -> None:
    """Turn all BatchNorm layers inside a module into `GlobalBatchNorm`, in place.

    Each layer stays the object it was, with its parameters, buffers and hooks: only its class changes, so that all that
    refers to it (an optimizer, the target network) still does. torch's SyncBatchNorm is left as it is.

    Raises:
        UserError: a subclass of BatchNorm that does more than normalise, which cannot be turned.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, (GlobalBatchNorm, nn.SyncBatchNorm)) or not isinstance(layer, _BatchNorm):
            continue
        if type(layer) not in PLAIN:
            raise UserError(
                f"norm: {name} is a {type(layer).__name__}, which cannot see the batches of other processes; "
                "use norm=local, one process, or an encoder with plain BatchNorm."
            )
        vars(layer)["plain"] = type(layer)
        layer.__class__ = GlobalBatchNorm


def to_plain(module: nn.Module) -> None:
    """Turn all `GlobalBatchNorm` inside a module back into the layers they were, in place."""
    for layer in module.modules():
        if isinstance(layer, GlobalBatchNorm):
            layer.__class__ = vars(layer).pop("plain")
            vars(layer).pop("_known_counts", None)
            vars(layer).pop("num_views", None)
