"""Arrays that `numpy.save` wrote, as images: `(C, H, W)`, `(H, W, C)`, or `(H, W)` for one channel."""

from __future__ import annotations

import io
import math
from typing import Literal

import numpy as np

from ssl_zoo.modalities.image.header import Header
from ssl_zoo.modalities.image.stored import NotUnderstood

MAGIC = b"\x93NUMPY"
MOST = 32
"""Where the channels are to be found, an axis of at most this length is theirs and a longer one is not."""

Axes = Literal["auto", "CHW", "HWC"]


def is_npy(content: bytes) -> bool:
    """Return whether bytes begin as an array of `numpy.save`."""
    return content.startswith(MAGIC)


def open_npy(content: bytes, channels: int | None, axes: Axes) -> Header:
    """Open an array by its header alone.

    Args:
        content: the file.
        channels: that are asked for; None where they are to be found.
        axes: order of the axes; `auto` takes the one end of the shape that has the channels.

    Raises:
        NotUnderstood: it is no array of numbers, ends early, or its shape does not tell where the channels are.
    """
    stream = io.BytesIO(content)
    read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(stream)[0]
    if version not in read:
        raise NotUnderstood(f"an array of format {version}; save it with numpy.save")
    shape, fortran, dtype = read[version](stream)
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise NotUnderstood(f"an array of {dtype}; save integers or floats")
    start = stream.tell()
    if 0 in shape:
        raise NotUnderstood(f"an array of shape {shape}, without a value")
    if math.prod(shape) * dtype.itemsize > len(content) - start:
        raise NotUnderstood(f"an array of shape {shape} and type {dtype}, and the file ends before its values do")
    place = channel_axis(shape, channels, axes)

    def pixels() -> np.ndarray:
        flat: np.ndarray = np.frombuffer(content, dtype, math.prod(shape), start)
        array = flat.reshape(shape, order="F" if fortran else "C")
        return array[None] if place is None else np.moveaxis(array, place, 0)

    sides = [side for axis, side in enumerate(shape) if axis != place]
    return Header(1 if place is None else shape[place], sides[0], sides[1], dtype, pixels)


def channel_axis(shape: tuple[int, ...], channels: int | None, axes: Axes) -> int | None:
    """Return the axis of the channels of an array of this shape; None where there is none.

    Args:
        shape: of the array.
        channels: that are asked for; None where they are to be found.
        axes: order of the axes; `auto` takes the one end of the shape that has the channels.

    Raises:
        NotUnderstood: it does not tell.
    """
    if len(shape) == 2:
        return None
    if len(shape) != 3:
        raise NotUnderstood(f"an array of shape {shape}; save (channels, height, width)")
    if axes != "auto":
        return axes.index("C")
    ends = [axis for axis in (0, 2) if (shape[axis] == channels if channels is not None else shape[axis] <= MOST)]
    if len(ends) == 1:
        return ends[0]
    advice = "set data.decode.npy_axes to CHW or HWC"
    if ends or channels is None:
        raise NotUnderstood(f"an array of shape {shape}, whose channels may come first or last; {advice}")
    raise NotUnderstood(f"an array of shape {shape}, with {channels} channels neither first nor last; {advice}")
