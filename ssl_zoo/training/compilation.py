"""`training.compile`: torch compiles the networks of a method, the target network's too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from ssl_zoo.distributed.blocks import blocks

NETWORKS = ("encoder", "projector", "predictor", "local_projector")
"""Attributes of a method, or of its target network, that hold a network."""

MOST_FORMS = 64
"""Forms of one function that torch compiles before it calls the plain one: views of several sizes, with and without
gradient, in training and in evaluation, for the networks of all members."""


def compile_networks(method: nn.Module, **options: Any) -> list[str]:
    """Have torch compile encoder and heads of a method and of its target network, when they are first called.

    `Module.compile` works in place: weights keep their names, and a copy of a module is not compiled. The blocks of an
    encoder are compiled as well, for methods that call its `tokens`, `layers` or `encode` and not the module itself; in
    an encoder that is called as a whole they are part of it.

    Args:
        method: changed in place.
        **options: of `torch.compile`.

    Returns:
        The names of the networks.
    """
    import torch._dynamo

    config: Any = torch._dynamo.config
    limit = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"  # its name before torch 2.7
    setattr(config, limit, max(MOST_FORMS, getattr(config, limit)))
    found = dict(_networks(method))
    for module in found.values():
        module.compile(**options)
        for block in blocks(module):
            block.compile(**options)
    return list(found)


def _networks(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield (name, network), and none that is inside of another."""
    for name, child in module.named_children():
        where = f"{path}.{name}" if path else name
        if name not in NETWORKS:
            yield from _networks(child, where)
        elif any(True for _ in child.parameters()):
            yield where, child
