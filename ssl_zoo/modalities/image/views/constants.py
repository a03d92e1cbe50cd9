"""Small tensors that are the same in every step, made once a device: a copy to a GPU would make the host wait."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

Plain = tuple[float, ...] | tuple[bool, ...]


@lru_cache(maxsize=256)
def constant(values: Plain, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a tensor `(len(values),)` that no caller may change."""
    with torch.inference_mode(False):
        return torch.tensor(values, device=device, dtype=dtype)
