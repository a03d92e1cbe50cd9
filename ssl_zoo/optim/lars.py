"""The optimizer `lars` (You, Gitman & Ginsburg 2017, arXiv 1708.03888)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from ssl_zoo.optim.optimizers import Decay, Fraction
from ssl_zoo.registry import register


class LARS(torch.optim.Optimizer):
    """Momentum SGD whose step is scaled layer by layer to the norm of the weights.

    g <- g + wd w;  g <- trust |w| / |g| g  (where the group adapts);  v <- momentum v + g;  w <- w - lr v.
    The order is that of the code of Barlow Twins and VICReg. Weight decay and adaptation are switched separately.

    Args:
        groups: parameter groups; `adapt: False` in one leaves its layers unscaled.
        momentum: in [0, 1).
        weight_decay: L2 penalty, where a group does not set its own.
        trust: the trust coefficient, eta.
        clip: bound the rate of each layer by the learning rate.
    """

    def __init__(
        self, groups: list[dict[str, Any]], momentum: float, weight_decay: float, trust: float, clip: bool = False
    ):
        defaults = {"lr": 0.0, "momentum": momentum, "weight_decay": weight_decay, "trust": trust, "adapt": True}
        self.clip = clip
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch types it by overloads
        """Take one step; `closure` is called first, with gradients on, as in torch's optimizers."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        # One weight at a time: the ratio is a tensor per layer, which torch's multi-tensor functions take on their slow
        # path only, and reading it as a number would make a GPU wait at each layer.
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is not None:
                    self._update(w, w.grad, group)
        return loss

    def _update(self, w: Tensor, g: Tensor, group: dict[str, Any]) -> None:
        g = g.add(w, alpha=group["weight_decay"])
        if group["adapt"]:
            size, slope = w.norm(), g.norm()
            ratio = group["trust"] * size / slope
            if self.clip:
                ratio = (ratio / group["lr"]).clamp(max=1) if group["lr"] else torch.ones_like(size)
            g = g * torch.where((size > 0) & (slope > 0), ratio, torch.ones_like(size))
        state = self.state[w]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(w)
        v = state["momentum_buffer"].mul_(group["momentum"]).add_(g)
        w.add_(v, alpha=-group["lr"])


@register("optimizer", "lars")
def lars(
    groups: list[dict[str, Any]],
    *,
    momentum: Fraction = 0.9,
    weight_decay: Decay = 0.0,
    trust: Annotated[float, Field(gt=0)] = 0.001,
    clip: bool = False,
) -> torch.optim.Optimizer:
    """Layer-wise adaptive SGD for large batches (LARS).

    Args:
        groups: parameter groups.
        momentum: in [0, 1).
        weight_decay: L2 penalty, where a group does not set its own.
        trust: the trust coefficient, eta.
        clip: the rate of a layer is the smaller of lr and trust |w| / |g|, not their product (solo-learn, EMP-SSL).
    """
    return LARS(groups, momentum, weight_decay, trust, clip)
