"""Images in Python data sets: pictures of Pillow, tensors and arrays, converted as those of files are."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ssl_zoo.modalities.image.bands import Bands
from ssl_zoo.modalities.image.decode import Decoding
from ssl_zoo.modalities.image.npy import Axes, channel_axis
from ssl_zoo.modalities.image.stored import NotUnderstood, Stored, to_8_bit

_PHOTOGRAPH = (1, 3, 4)
"""Channels that an array of a photograph may have: grey, RGB, RGB with transparency."""


def image_of(value: Any, decoding: Decoding | Bands, axes: Axes = "auto") -> Tensor:
    """Return an image `(C, H, W)`, as `decoding` makes them of files.

    Where pictures are converted to grey or RGB of 8 bits, floats are from 0 to 1, and unsigned integers of 16 bits have
    the range of their type, unless `data.decode.value_range` states another one.

    Args:
        value: a picture of Pillow; or a tensor or an array `(C, H, W)`, `(H, W, C)` or `(H, W)`.
        decoding: of the modality.
        axes: order of the axes; `auto` takes the one end of the shape that can be channels.

    Raises:
        NotUnderstood: it is none of these, or has values or channels without a meaning.
    """
    is_picture = isinstance(value, Image.Image)
    if is_picture and isinstance(decoding, Decoding):
        return decoding.to_tensor(value)
    if isinstance(value, Tensor):
        array = _numpy(value)
    elif is_picture or isinstance(value, np.ndarray):
        array = np.asarray(value)
    else:
        raise NotUnderstood(f"a {type(value).__name__}; give a picture of Pillow, a tensor, an array or encoded bytes")
    if array.dtype.kind not in "biuf" or 0 in array.shape:
        raise NotUnderstood(f"{array.dtype} of shape {array.shape}; give integers or floats (channels, height, width)")
    if isinstance(decoding, Bands):
        return _bands(array, decoding, axes)
    pixels = _at_the_end(array, axes)
    return decoding.to_tensor(_picture(_eight_bits(pixels, decoding)))


def _numpy(value: Tensor) -> np.ndarray:
    value = value.detach().cpu()
    return (value.float() if value.dtype in (torch.float16, torch.bfloat16) else value).numpy()


def _bands(array: np.ndarray, decoding: Bands, axes: Axes) -> Tensor:
    place = channel_axis(array.shape, decoding.channels, axes)
    pixels = array[None] if place is None else np.moveaxis(array, place, 0)
    if len(pixels) != decoding.channels:
        raise NotUnderstood(f"it has {len(pixels)} channels, not the {decoding.channels} of views.channels")
    return torch.from_numpy(np.require(decoding.converted(pixels), requirements=["C", "W"]))


def _at_the_end(array: np.ndarray, axes: Axes) -> np.ndarray:
    """Return an array `(H, W, C)`, C one of 1, 3 and 4."""
    if array.ndim == 2:
        return array[..., None]
    if array.ndim == 3:
        able = [axis for axis in (0, 2) if array.shape[axis] in _PHOTOGRAPH]
        if axes != "auto":
            able = [axis for axis in able if axis == axes.index("C")]
        if len(able) == 2:
            raise NotUnderstood(
                f"shape {array.shape}, whose channels may come first or last; set data.decode.npy_axes to CHW or HWC"
            )
        if able:
            return np.moveaxis(array, able[0], 2)
    raise NotUnderstood(
        f"shape {array.shape}, which has no axis of 1, 3 or 4 channels; give (channels, height, width), and set "
        "views.channels for images of other channels"
    )


def _eight_bits(pixels: np.ndarray, decoding: Decoding) -> np.ndarray:
    """Return pixels as uint8."""
    kind, bits = pixels.dtype.kind, 8 * pixels.dtype.itemsize
    if kind == "b":
        return pixels * np.uint8(255)
    if decoding.value_range is not None:
        of = {"u": "unsigned", "i": "signed", "f": "float"}[kind]
        return to_8_bit(pixels, Stored(bits, of), decoding.value_range)  # type: ignore[arg-type]
    if kind == "f":
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0 and high <= 1):  # false for nan
            raise NotUnderstood(
                f"floats from {low:.4g} to {high:.4g}, where 0 to 1 is meant; leave Normalize out, since the views "
                "normalise, or set data.decode.value_range=[MIN, MAX], or data.decode.dtype=float32, which keeps them"
            )
        return (pixels * 255 + 0.5).astype(np.uint8)
    if pixels.dtype == np.uint8:
        return pixels
    if kind == "u" and bits == 16:
        return to_8_bit(pixels, Stored(16, "unsigned"), None)
    raise NotUnderstood(
        f"{pixels.dtype} values, which have no known range; give uint8, or set data.decode.value_range=[MIN, MAX]"
    )


def _picture(pixels: np.ndarray) -> Image.Image:
    channels = pixels.shape[2]
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if channels == 1 else pixels))
