"""The blocks of a network: what is recomputed in the backward pass, and what is gathered at a time by `fsdp`."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn


def blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the blocks inside a module, in its order.

    A block is a module with submodules that stands in a `Sequential` or `ModuleList` and holds no block: a residual
    block, a transformer's layer.
    """
    for child in module.children():
        inner = list(blocks(child))
        if not inner and isinstance(module, (nn.Sequential, nn.ModuleList)) and any(True for _ in child.children()):
            yield child
        yield from inner
