"""What changes in parameter groups during a run, beside the learning rate: frozen beginnings, weight decay."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

Groups = list[dict[str, Any]]


def plan(groups: Groups, steps_per_epoch: int, decay: float = 0.0, final_decay: float | None = None) -> Groups:
    """Return the groups with what `freeze` and `set_decay` look at, in optimizer steps.

    Args:
        groups: as `parameter_groups` made them.
        steps_per_epoch: optimizer steps of an epoch.
        decay: the optimizer's weight decay at the start.
        final_decay: the same at the end of the run, for groups that have no weight decay of their own; None keeps it.
    """
    planned = []
    for group in groups:
        more: dict[str, Any] = {"frozen_steps": round(group.get("frozen_epochs", 0.0) * steps_per_epoch)}
        if final_decay is not None and "weight_decay" not in group:
            more["decay"] = (decay, final_decay)
        planned.append({**{key: value for key, value in group.items() if key != "frozen_epochs"}, **more})
    return planned


def freeze(groups: Iterable[dict[str, Any]], step: int) -> None:
    """Drop the gradients of groups that are frozen at optimizer step `step`, from 0: the optimizer passes them over."""
    for group in groups:
        if step < group.get("frozen_steps", 0):
            for parameter in group["params"]:
                parameter.grad = None


def set_decay(groups: Iterable[dict[str, Any]], step: int, total_steps: int) -> None:
    """Set the weight decay of step `step`, from 0: half a cosine from the first to the last, where it changes."""
    for group in groups:
        if "decay" in group:
            start, end = group["decay"]
            progress = step / max(1, total_steps - 1)
            group["weight_decay"] = end + (start - end) * (1 + math.cos(math.pi * min(1.0, progress))) / 2
