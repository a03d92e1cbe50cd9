"""Small tensors that are the same in every step."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=256)
def constant(
    values: tuple[float, ...] | tuple[bool, ...], device: torch.device, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return a tensor `(len(values),)` that no caller may change, made once per device.

    A copy to a GPU in every step would make the host wait.
    """
    with torch.inference_mode(False):
        return torch.tensor(values, device=device, dtype=dtype)
