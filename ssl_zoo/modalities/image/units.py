"""Units of images: `mean` and `std` of the views are of values from 0 to 1, or of floats as they are."""

from __future__ import annotations

import torch

TOPS = {torch.uint8: 255.0, torch.uint16: 65535.0}
"""Type of integers -> the value that is 1."""

DTYPES = (*TOPS, torch.float32)
"""Types that images may have."""


def top(dtype: torch.dtype) -> float:
    """Return the value that is 1 in images of a type."""
    return TOPS.get(dtype, 1.0)


def has_range(dtype: torch.dtype) -> bool:
    """Return whether images of a type have values from 0 to `top` only."""
    return dtype in TOPS
