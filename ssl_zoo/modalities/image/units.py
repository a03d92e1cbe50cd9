"""Units of images: `mean` and `std` of the views are of values from 0 to 1, or of floats as they are."""

from __future__ import annotations

import torch

WHITES = {torch.uint8: 255.0, torch.uint16: 65535.0}
"""Type of integers -> the value that is 1."""

DTYPES = (*WHITES, torch.float32)
"""Types that images may have."""


def white(dtype: torch.dtype) -> float:
    """Return the value that is 1 in images of a type."""
    return WHITES.get(dtype, 1.0)


def has_range(dtype: torch.dtype) -> bool:
    """Return whether images of a type have values from 0 to `white`."""
    return dtype in WHITES
