"""What `fsdp` gathers at a time: blocks, and the large linear layers outside them, which are those of heads.

A unit's weights may be gathered in the precision that autocast computes in: those of linear layers and convolutions,
which it would round to that precision anyway. The weights of norms stay float32, and so does a block with any other
parameter, since autocast adds and multiplies such ones in float32.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase  # no public name for what batch and instance norms share

from ssl_zoo.distributed.blocks import blocks

LARGE = 2**22
"""Weights from which on a linear layer is a unit of its own; 16 MiB in float32."""

_NORMS: Any = (_NormBase, nn.LayerNorm, nn.GroupNorm, *([nn.RMSNorm] if hasattr(nn, "RMSNorm") else []))
_ROUNDED = {
    getattr(nn, name).forward
    for name in ("Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")
}


@dataclass(frozen=True)
class Unit:
    """A module whose weights are gathered before it computes.

    Attributes:
        module: what is called.
        norms: its norms with weights, which are gathered apart where the others are rounded.
        is_rounded: whether autocast rounds all weights but those of the norms, so that rounding them first changes
            nothing.
    """

    module: nn.Module
    norms: tuple[nn.Module, ...]
    is_rounded: bool


def units(method: nn.Module) -> Iterator[Unit]:
    """Yield the units inside a method, in its order; what is in none of them belongs to the whole method."""
    whole = {id(block): block for block in blocks(method)}
    inside = {id(module) for block in whole.values() for module in block.modules()}
    layers = {id(layer) for layer in _large_layers(method)} - inside
    for module in method.modules():
        if id(module) in whole or id(module) in layers:
            yield _unit(module)


def _large_layers(method: nn.Module) -> Iterator[nn.Module]:
    """Yield the large linear layers of each `Sequential`, which calls them; others may be read and not called."""
    used = Counter(id(weight) for module in method.modules() for weight in module.parameters(recurse=False))
    for module in method.modules():
        if isinstance(module, nn.Sequential):
            for layer in module:
                weights = list(layer.parameters(recurse=False))
                if _is_rounded(layer) and sum(x.numel() for x in weights) >= LARGE:
                    if all(used[id(weight)] == 1 for weight in weights):
                        yield layer


def _unit(module: nn.Module) -> Unit:
    owners = [each for each in module.modules() if any(True for _ in each.parameters(recurse=False))]
    norms = [each for each in owners if isinstance(each, _NORMS)]
    others = [each for each in owners if not isinstance(each, _NORMS)]
    return Unit(module, tuple(norms), bool(others) and all(map(_is_rounded, others)))


def _is_rounded(module: nn.Module) -> bool:
    """Return whether autocast rounds all weights of a layer: of a linear one or a convolution that computes as such."""
    names = {name for name, _ in module.named_parameters(recurse=False)}
    return type(module).forward in _ROUNDED and names <= {"weight", "bias"} and not hasattr(module, "parametrizations")
