"""The layers of any encoder in order, and a learning rate for each: the nearer to the input, the lower.

Howard & Ruder 2018 (arXiv 1801.06146, section 3.2) call it discriminative fine-tuning; the rates fall by a constant
factor from layer to layer, as in BEiT (arXiv 2106.08254, appendix) and later fine-tuning of vision transformers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
"""Modules that only hold others: each of what they hold is a layer."""

Layer = list[tuple[str, nn.Parameter]]


def layers(encoder: nn.Module) -> list[Layer]:
    """Return the weights of an encoder's layers, from its input to its output.

    The layers are its children in the order in which they were set, and where a child only holds others
    (`nn.Sequential`, `nn.ModuleList`), what it holds. An encoder that has a single child is looked into. Weights of the
    encoder itself, such as a class token, belong to the first layer; a layer of vectors alone, such as a norm after a
    convolution, belongs to the one before it. A residual or transformer block stays whole.
    """
    inner, prefix = _inside(encoder)
    found: list[Layer] = []
    own = list(inner.named_parameters(prefix=prefix, recurse=False))
    seen = {id(weight) for _, weight in own}
    for every in _expanded(inner, prefix):
        layer = [(name, weight) for name, weight in every if id(weight) not in seen]  # weights may be shared
        seen |= {id(weight) for _, weight in layer}
        if not layer:
            continue
        if found and all(weight.ndim <= 1 for _, weight in layer):
            found[-1] += layer
        else:
            found.append(layer)
    if own and found:
        found[0] = [*own, *found[0]]
    elif own:
        found = [own]
    return found


def _inside(encoder: nn.Module) -> tuple[nn.Module, str]:
    """Return the first module, from outside, that has weights of its own or several children with weights."""
    module, prefix = encoder, ""
    while True:
        children = [(name, child) for name, child in module.named_children() if any(True for _ in child.parameters())]
        if len(children) != 1 or any(True for _ in module.parameters(recurse=False)):
            return module, prefix
        name, module = children[0]
        prefix = f"{prefix}.{name}" if prefix else name


def _expanded(module: nn.Module, prefix: str) -> Iterator[Layer]:
    for name, child in module.named_children():
        place = f"{prefix}.{name}" if prefix else name
        if isinstance(child, CONTAINERS):
            yield from _expanded(child, place)
        elif layer := list(child.named_parameters(prefix=place)):
            yield layer


def rate_groups(encoder: nn.Module, head: nn.Module, lr: float, decay: float, weight_decay: float) -> list[Any]:
    """Return the parameter groups of an optimizer, with `full`, the full learning rate of each.

    Of n layers, the i-th from the input (from 0) has `lr * decay ** (n - i)`, and the head has `lr`. Vectors, which are
    biases and the scales of norms, have no weight decay.

    Args:
        encoder: its trainable weights are sorted by `layers`.
        head: the classifier.
        lr: the head's learning rate.
        decay: factor from a layer to the one before it, 0 to 1.
        weight_decay: of matrices and kernels.
    """
    found = layers(encoder)
    num, groups = len(found), []
    for i, layer in enumerate([*found, list(head.named_parameters(prefix="head"))]):
        full = lr * decay ** (num - i)
        for vectors in (False, True):
            weights = [weight for _, weight in layer if (weight.ndim <= 1) == vectors and weight.requires_grad]
            if weights:
                own_decay = 0.0 if vectors else weight_decay
                groups.append({"params": weights, "lr": full, "full": full, "weight_decay": own_decay})
    return groups
