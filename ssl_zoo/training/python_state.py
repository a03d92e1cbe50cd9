"""What modules hold in Python and where their tensors lie: what a recorded graph neither changes nor sees change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

_TORCH = frozenset(vars(nn.Module())) - {"training", "_buffers", "_parameters"}
"""Attributes that every module has, and torch's own business."""

_DEEPEST, _LONGEST = 4, 1000


def python_state(modules: Iterable[nn.Module]) -> dict[str, object]:
    """Return {dotted name: value} of the attributes of modules and of all in them; of tensors, where they lie.

    A module may name attributes that are left out, in a class attribute `caches`: what is in them is computed anew
    anyway, and nothing else reads it.
    """
    found: dict[str, object] = {}
    for module in modules:
        for path, each in module.named_modules():
            caches = getattr(each, "caches", ())
            for name, value in vars(each).items():
                if name in ("_buffers", "_parameters"):
                    found |= {_joined(path, key): _plain(x) for key, x in value.items()}
                elif name not in _TORCH and name not in caches:
                    found[_joined(path, name)] = _plain(value)
    return found


def difference(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """Return the name of an attribute that two states differ in; empty where there is none."""
    return next((name for name in {**before, **after} if before.get(name) != after.get(name)), "")


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _plain(value: Any, depth: int = 0) -> object:
    """Return something that compares equal as long as the value is the same, without its tensors' contents."""
    if isinstance(value, Tensor):
        return value.data_ptr(), value.shape
    if isinstance(value, torch.Generator):
        return bytes(value.get_state().tolist()) if value.device.type == "cpu" else id(value)
    if isinstance(value, (nn.Module, type, FunctionType, MethodType)) or depth == _DEEPEST:
        return id(value)
    if isinstance(value, Mapping):
        return tuple((_plain(k, depth + 1), _plain(x, depth + 1)) for k, x in list(value.items())[:_LONGEST])
    if isinstance(value, (list, tuple, set, frozenset)):
        return len(value), tuple(_plain(x, depth + 1) for x in list(value)[:_LONGEST])
    if hasattr(value, "__dict__") and not callable(value):
        return _plain(vars(value), depth + 1)
    return value if isinstance(value, (bool, int, float, complex, str, bytes, type(None))) else id(value)
