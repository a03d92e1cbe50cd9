"""The arithmetic of a training step: autocast for half precision, and the loss scaler that fp16 needs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ssl_zoo.batch import Batch, StepOutput
from ssl_zoo.distributed.shards import whole


class Precision:
    """Forward and backward passes and optimizer steps in one precision.

    Weights, gradients and the optimizer's state are float32 in all of them.

    Args:
        name: `fp32`, or `tf32`, which `ssl_zoo.hardware.arithmetic` sets; or `bf16` or `fp16`, in which torch's
            autocast computes what is safe there, fp16 with a loss that is scaled so that small gradients are not lost.
        device: where it computes.

    Attributes:
        half: the type that autocast computes in, or None.
    """

    def __init__(self, name: Literal["fp32", "tf32", "bf16", "fp16"], device: torch.device):
        self.name, self.device = name, device
        self.half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(name)
        self._scaler = torch.amp.GradScaler(device.type) if name == "fp16" else None
        self._scale = 0.0 if self._scaler is None else self._scaler.get_scale()

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context for a forward pass."""
        return nullcontext() if self.half is None else torch.autocast(self.device.type, dtype=self.half)

    def forward(self, method: Callable[[Batch], StepOutput], batch: Batch) -> StepOutput:
        """Return what a method gives for a batch; loss and terms are in float32 where autocast computes."""
        with self.autocast():
            output = method(batch)
        if self.half is None:
            return output
        return replace(
            output,
            loss=output.loss.float(),
            terms={name: value.float() for name, value in output.terms.items()},
        )

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss, times the loss scale, to those of the parameters."""
        (loss if self._scaler is None else self._scaler.scale(loss)).backward()

    def step(self, optimizer: Optimizer, max_norm: float | None) -> bool:
        """Clip the gradients, take a step and clear them.

        Args:
            optimizer: of the parameters.
            max_norm: largest norm of all gradients together, or None.

        Returns:
            False where fp16 has overflowed and the step was skipped, so that the next one has half the loss scale.
        """
        if max_norm is not None:
            if self._scaler is not None:
                self._scaler.unscale_(optimizer)
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            norm = whole(nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None]))
            nn.utils.clip_grads_with_norm_(weights, max_norm, norm)
        if self._scaler is None:
            optimizer.step()
            moved = True
        else:
            moved = self._scaled_step(self._scaler, optimizer)
        optimizer.zero_grad(set_to_none=True)
        return moved

    def _scaled_step(self, scaler: torch.amp.GradScaler, optimizer: Optimizer) -> bool:
        """Take a step unless a gradient has overflowed; the one number that the processor waits for says which."""
        taken: list[bool] = []
        hook = optimizer.register_step_post_hook(lambda *_: taken.append(True))
        try:
            scaler.step(optimizer)
        finally:
            hook.remove()
        scaler.update()
        if not getattr(optimizer, "_step_supports_amp_scaling", False):
            return bool(taken)
        # A fused optimizer is always called and skips the step on the device; the scale has fallen then.
        before, self._scale = self._scale, scaler.get_scale()
        return self._scale >= before

    def state(self) -> dict[str, Any]:
        """Return the loss scaler's state; empty where there is none."""
        return {} if self._scaler is None else self._scaler.state_dict()

    def load(self, state: dict[str, Any]) -> None:
        """Take the state that `state` returned."""
        if self._scaler is not None:
            self._scaler.load_state_dict(state)
            self._scale = self._scaler.get_scale()
