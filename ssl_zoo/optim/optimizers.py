"""Optimizers of torch: `sgd`, `adam`, `adamw`. The trainer sets the learning rate at every step.

On CUDA they are torch's fused ones, which take a step of all parameters in one to three kernels.
"""

from typing import Annotated, Any

import torch
from pydantic import Field

from ssl_zoo.distributed.shards import is_sharded
from ssl_zoo.registry import register

Fraction = Annotated[float, Field(ge=0, lt=1)]
Decay = Annotated[float, Field(ge=0)]


def own_keys(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the groups without `adapt`, which only LARS reads."""
    return [{key: value for key, value in group.items() if key != "adapt"} for group in groups]


HOW = ("fused", "foreach", "capturable")
"""Keys of a group that say how a step is computed, not what it is: they are of the device, and not of a checkpoint."""


def fusable(groups: list[dict[str, Any]]) -> bool:
    """Return whether all parameters are plain tensors of floating-point numbers on CUDA, and no DTensors."""
    weights = [weight for group in groups for weight in group["params"]]
    return bool(weights) and all(
        weight.device.type == "cuda" and weight.is_floating_point() and not is_sharded(weight) for weight in weights
    )


def _keep_how(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Take from a checkpoint all but `HOW`, which may be of another device."""
    mine = [{key: group[key] for key in HOW if key in group} for group in optimizer.param_groups]
    theirs = state["param_groups"]
    if len(mine) != len(theirs):
        return state  # torch says so
    return {**state, "param_groups": [{**group, **how} for group, how in zip(theirs, mine, strict=True)]}


def _prepared(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    optimizer.register_load_state_dict_pre_hook(_keep_how)
    return optimizer


@register("optimizer", "sgd")
def sgd(groups: list[dict[str, Any]], *, momentum: Fraction = 0.9, weight_decay: Decay = 0.0) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum.

    Args:
        groups: parameter groups.
        momentum: in [0, 1).
        weight_decay: L2 penalty, where a group does not set its own.
    """
    fused = fusable(groups) or None
    made = torch.optim.SGD(own_keys(groups), lr=0.0, momentum=momentum, weight_decay=weight_decay, fused=fused)
    if fused and momentum:
        # Torch leaves it uninitialised where fp16's loss scaler skips the first step.
        for group in made.param_groups:
            for weight in group["params"]:
                made.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    return _prepared(made)


@register("optimizer", "adamw")
def adamw(groups: list[dict[str, Any]], *, weight_decay: Decay = 0.01) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv 1711.05101).

    Args:
        groups: parameter groups.
        weight_decay: decoupled, where a group does not set its own.
    """
    fused = fusable(groups) or None
    return _prepared(torch.optim.AdamW(own_keys(groups), lr=0.0, weight_decay=weight_decay, fused=fused))


@register("optimizer", "adam")
def adam(groups: list[dict[str, Any]], *, weight_decay: Decay = 0.0) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba 2015, arXiv 1412.6980), with weight decay as an L2 penalty.

    Args:
        groups: parameter groups.
        weight_decay: L2 penalty, where a group does not set its own.
    """
    fused = fusable(groups) or None
    return _prepared(torch.optim.Adam(own_keys(groups), lr=0.0, weight_decay=weight_decay, fused=fused))
