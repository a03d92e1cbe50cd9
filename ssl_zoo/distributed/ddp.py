"""Data parallelism: each process trains the whole method on its own samples, and gradients are averaged."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from inspect import signature
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from ssl_zoo.batch import Batch, StepOutput
from ssl_zoo.distributed.precision import Precision
from ssl_zoo.distributed.strategy import Unsharded
from ssl_zoo.registry import register


@register("strategy", "ddp")
class Replicated(Unsharded):
    """Each process trains the whole method on its share of the batch (torch's DistributedDataParallel).

    Args:
        device: of this process.
        precision: of the arithmetic.
        num_processes: with one process nothing has to be averaged, and the method stays as it is.
    """

    def __init__(self, device: torch.device, precision: Precision, num_processes: int):
        super().__init__(device, precision)
        self.num_processes = num_processes
        self.wrapped: DistributedDataParallel | None = None  # from the first batch on, which shows how to wrap

    def forward_backward(self, batch: Batch, num_parts: int, last: bool) -> StepOutput:
        """See `Strategy.forward_backward`."""
        if self.num_processes == 1:
            return super().forward_backward(batch, num_parts, last)
        if self.wrapped is None:
            self.wrapped = self._wrap(batch)
        with nullcontext() if last else self.wrapped.no_sync():
            output = self.precision.forward(self.wrapped, batch)
            self.precision.backward(output.loss / num_parts)
        return output

    def _wrap(self, batch: Batch) -> DistributedDataParallel:
        # Buffers are equal in all processes by construction, or (`norm: local`) each process's own: never broadcast.
        known = signature(DistributedDataParallel).parameters
        buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # its older name
        options: dict[str, Any] = {buffers: False, "find_unused_parameters": self._has_unused(batch)}
        options["gradient_as_bucket_view"] = True  # gradients lie where they are averaged, and are not copied there
        devices = None if self.device.type == "cpu" else [self.device.index]
        return DistributedDataParallel(self.method, device_ids=devices, **options)

    def _has_unused(self, batch: Batch) -> bool:
        """Return whether the loss of a batch misses a trainable parameter.

        DistributedDataParallel waits for the gradient of every parameter, unless it looks in each step for those that
        get none, which takes time. A recipe may have them: a head that no term looks at, or a part that is frozen in
        the first steps. A copy of the method is tried, so that its running statistics are moved once and not twice,
        and random numbers are drawn anew, so that a resumed run, which tries again, draws the same ones in its steps.
        """
        trial = copy.deepcopy(self.method)
        weights = [weight for weight in trial.parameters() if weight.requires_grad]
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            loss = self.precision.forward(trial, batch).loss
            gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        return any(gradient is None for gradient in gradients)
