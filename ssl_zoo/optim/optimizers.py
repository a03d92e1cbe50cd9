"""Optimizers from torch: `sgd` and `adamw`. The learning rate is set at every step by the trainer."""

from typing import Annotated, Any

import torch
from pydantic import Field

from ssl_zoo.registry import register

Fraction = Annotated[float, Field(ge=0, lt=1)]
Decay = Annotated[float, Field(ge=0)]


def own_keys(groups: list[dict[str, Any]], refused: tuple[str, ...] = ("adapt",)) -> list[dict[str, Any]]:
    """Return the groups without the keys that only another optimizer reads."""
    return [{key: value for key, value in group.items() if key not in refused} for group in groups]


@register("optimizer", "sgd")
def sgd(
    groups: list[dict[str, Any]], *, momentum: Fraction = 0.9, weight_decay: Decay = 0.0, nesterov: bool = False
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum.

    Args:
        groups: parameter groups.
        momentum: in [0, 1).
        weight_decay: L2 penalty, where a group does not set its own.
        nesterov: Nesterov's momentum.
    """
    return torch.optim.SGD(own_keys(groups), lr=0.0, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)


@register("optimizer", "adamw")
def adamw(
    groups: list[dict[str, Any]], *, beta1: Fraction = 0.9, beta2: Fraction = 0.999, weight_decay: Decay = 0.01
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv 1711.05101).

    Args:
        groups: parameter groups.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        weight_decay: decoupled, where a group does not set its own.
    """
    return torch.optim.AdamW(own_keys(groups), lr=0.0, betas=(beta1, beta2), weight_decay=weight_decay)
