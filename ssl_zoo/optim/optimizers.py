"""Optimizers of torch: `sgd`, `adam`, `adamw`. The trainer sets the learning rate at every step."""

from typing import Annotated, Any

import torch
from pydantic import Field

from ssl_zoo.registry import register

Fraction = Annotated[float, Field(ge=0, lt=1)]
Decay = Annotated[float, Field(ge=0)]


def own_keys(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the groups without `adapt`, which only LARS reads."""
    return [{key: value for key, value in group.items() if key != "adapt"} for group in groups]


@register("optimizer", "sgd")
def sgd(groups: list[dict[str, Any]], *, momentum: Fraction = 0.9, weight_decay: Decay = 0.0) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum.

    Args:
        groups: parameter groups.
        momentum: in [0, 1).
        weight_decay: L2 penalty, where a group does not set its own.
    """
    return torch.optim.SGD(own_keys(groups), lr=0.0, momentum=momentum, weight_decay=weight_decay)


@register("optimizer", "adamw")
def adamw(groups: list[dict[str, Any]], *, weight_decay: Decay = 0.01) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv 1711.05101).

    Args:
        groups: parameter groups.
        weight_decay: decoupled, where a group does not set its own.
    """
    return torch.optim.AdamW(own_keys(groups), lr=0.0, weight_decay=weight_decay)


@register("optimizer", "adam")
def adam(groups: list[dict[str, Any]], *, weight_decay: Decay = 0.0) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba 2015, arXiv 1412.6980), with weight decay as an L2 penalty.

    Args:
        groups: parameter groups.
        weight_decay: L2 penalty, where a group does not set its own.
    """
    return torch.optim.Adam(own_keys(groups), lr=0.0, weight_decay=weight_decay)
