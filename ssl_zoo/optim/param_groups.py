"""Parameter groups: what differs between parameters, and what changes in them during a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

from ssl_zoo.distributed.batch_norm import GlobalBatchNorm
from ssl_zoo.errors import UserError, suggest
from ssl_zoo.optim.group_rules import Group
from ssl_zoo.optim.schedules import half_cosine

NORMS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, GlobalBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.LayerNorm, nn.GroupNorm),
)
KINDS = ("bias", "norm")
Groups = list[dict[str, Any]]


def _prefixes(name: str) -> Iterator[str]:
    """Yield `a`, `a.b` and so on for a name `a.b.c`: the modules that a parameter is inside of."""
    parts = name.split(".")
    for length in range(1, len(parts)):
        yield ".".join(parts[:length])


def _traits(module: nn.Module) -> Iterator[tuple[str, nn.Parameter, set[str]]]:
    """Yield each trainable parameter once, with the words that select it."""
    seen: set[int] = set()
    for owner_name, owner in module.named_modules():
        for name, parameter in owner.named_parameters(prefix=owner_name, recurse=False):
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            words = set(_prefixes(name))
            if isinstance(owner, NORMS):
                words.add("norm")
            elif name.endswith("bias"):
                words.add("bias")
            yield name, parameter, words


def parameter_groups(module: nn.Module, rules: tuple[Group, ...]) -> Groups:
    """Sort a module's trainable parameters into groups for an optimizer.

    Args:
        module: the method; its direct children are the components.
        rules: in the recipe's order.

    Returns:
        One dict per group: `params`, `names`, `lr_scale`, `constant` and, where a rule sets it, `weight_decay`,
        `adapt`, `frozen_epochs`.

    Raises:
        UserError: a rule names something that is neither a component, nor a module inside one, nor `bias` nor `norm`.
    """
    known = {name for name, _ in module.named_children()} | set(KINDS)
    inside = {prefix for name, _ in module.named_parameters() for prefix in _prefixes(name)}
    for i, rule in enumerate(rules):
        for word in rule.of:
            if word not in known and word not in inside:
                near = known | {prefix for prefix in inside if prefix.count(".") <= 1}
                raise UserError(f"training.groups.{i}.of: no parameters are called {word!r}{suggest(word, near)}")
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for name, parameter, words in _traits(module):
        settings: dict[str, Any] = {"lr_scale": 1.0, "constant": False}
        for rule in rules:
            if words.isdisjoint(rule.of):
                continue
            chosen = rule.model_dump(exclude_unset=True, exclude={"of", "schedule"})
            settings |= {key: value for key, value in chosen.items() if value is not None}
            if "schedule" in rule.model_fields_set:
                settings["constant"] = rule.schedule == "constant"
        group = groups.setdefault(tuple(sorted(settings.items())), {**settings, "params": [], "names": []})
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def plan(groups: Groups, steps_per_epoch: int, decay: float = 0.0, final_decay: float | None = None) -> Groups:
    """Return the groups with the keys that `freeze` and `set_decay` read, in optimizer steps.

    Args:
        groups: those of `parameter_groups`.
        steps_per_epoch: optimizer steps per epoch.
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
    """Drop the gradients of groups that are frozen at step `step`, from 0, so that the optimizer skips them."""
    for group in groups:
        if step < group.get("frozen_steps", 0):
            for parameter in group["params"]:
                parameter.grad = None


def set_decay(groups: Iterable[dict[str, Any]], step: int, total_steps: int) -> None:
    """Set the weight decay of step `step`, from 0, where it changes: half a cosine from its first to its last value."""
    for group in groups:
        if "decay" in group:
            start, end = group["decay"]
            progress = step / max(1, total_steps - 1)
            group["weight_decay"] = end + (start - end) * half_cosine(min(1.0, progress))
