"""What the header of an image says, and the way to its pixels: common to the readers of TIFF, PNG and NPY."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Header:
    """An image that was opened and not decoded.

    Attributes:
        channels: values per pixel.
        height: in pixels.
        width: in pixels.
        dtype: of the values.
        read: decodes the pixels, `(channels, height, width)`, before `orientation`.
        orientation: as in EXIF, 1 to 8; 1 is upright.
        white_is_zero: whether small values are bright.
        photograph: whether it is a grey or colour picture of 8 bits, which may have transparency.
        remarks: notes on how it is understood.
        more: bytes that decoding takes beside those of the pixels.
    """

    channels: int
    height: int
    width: int
    dtype: np.dtype
    read: Callable[[], np.ndarray]
    orientation: int = 1
    white_is_zero: bool = False
    photograph: bool = False
    remarks: tuple[str, ...] = ()
    more: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes that decoding takes."""
        return self.height * self.width * self.channels * self.dtype.itemsize + self.more


def upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    """Return pixels `(C, H, W)` as they are shown, a view of those as they are stored.

    Args:
        stored: `(C, H, W)`.
        orientation: as in EXIF, 1 to 8.
    """
    down = -1 if orientation in (3, 4, 6, 7) else 1
    right = -1 if orientation in (2, 3, 7, 8) else 1
    flipped = stored[:, ::down, ::right]
    return flipped.transpose(0, 2, 1) if orientation >= 5 else flipped
