"""Parameter groups: which parameters have another learning rate, schedule or weight decay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from ssl_zoo.errors import UserError, suggest
from ssl_zoo.optim.group_rules import Group

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
KINDS = ("bias", "norm")


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


def parameter_groups(module: nn.Module, rules: tuple[Group, ...]) -> list[dict[str, Any]]:
    """Sort a module's trainable parameters into groups for an optimizer.

    Args:
        module: the method; its direct children are the components.
        rules: in the recipe's order.

    Returns:
        One dict a group: `params`, `names`, `lr_scale`, `constant` and, where a rule sets it, `weight_decay`, `adapt`,
        `frozen_epochs`.

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
