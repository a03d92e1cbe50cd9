"""Storage of pixels in image files, where Pillow's mode leaves it open: bits, sign, white-is-zero, bands, pages.

The rules for values of more than 8 bits, and signed ones, are here:
- `value_range` states the values of black and white, in the file's own numbers; what lies beyond is cut off;
- without it, the range is that of the type: 0..65535 for 16 bits, 0..4095 for 12, 0..32767 for signed 16 where no value
  is negative. It is not stretched to the image's own range: images would lose their brightness to each other;
- where the type states no range (negative values, 32 bits, floats), an image is not understood, and refused;
- where a TIFF states white-is-zero, the result is inverted.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

ValueRange = tuple[float, float]
"""The values that are shown as black and as white."""

_FORMAT, _PHOTOMETRIC, _BITS, _SAMPLES, _EXTRA, _SUBFILE = 339, 262, 258, 277, 338, 254
"""TIFF tags: SampleFormat, PhotometricInterpretation, BitsPerSample, SamplesPerPixel, ExtraSamples, NewSubfileType."""

_KINDS: dict[int, Literal["unsigned", "signed", "float"]] = {1: "unsigned", 2: "signed", 3: "float"}


class NotUnderstood(ValueError):
    """A sound image whose pixels mean nothing certain; the message names a remedy."""


@dataclass(frozen=True)
class Stored:
    """Storage of the pixels of an image file.

    Attributes:
        bits: of a value.
        kind: of a value.
        white_is_zero: whether small values are bright, in a way that Pillow leaves to its user.
        bands: values per pixel.
        used: those of them that are read: colours, and the transparency.
        transparent: whether a fourth band (or a second one of grey) is known to be the transparency.
        top: the largest value of a PPM, which Pillow has scaled to 16 bits; None for other files.
    """

    bits: int = 8
    kind: Literal["unsigned", "signed", "float"] = "unsigned"
    white_is_zero: bool = False
    bands: int = 0
    used: int = 0
    transparent: bool = True
    top: int | None = None

    @property
    def deep(self) -> bool:
        """Whether values are other than the unsigned 8 bits that Pillow reads well."""
        return self.bits > 8 or self.kind != "unsigned"

    @property
    def type(self) -> str:
        """The name of the type of the values, such as `signed 16-bit`."""
        return "floating-point" if self.kind == "float" else f"{'signed ' * (self.kind == 'signed')}{self.bits}-bit"

    @property
    def range(self) -> ValueRange | None:
        """The range of the type where that is the range of the image, else None."""
        if self.top is not None:
            return 0, self.top
        if self.kind == "float" or self.bits > 16:
            return None
        return 0, 2 ** (self.bits - (self.kind == "signed")) - 1


def describe(image: Image.Image) -> Stored:
    """Return how the pixels of an image are stored; of one that was opened from a file, before it is loaded."""
    tags = getattr(image, "tag_v2", None)
    if tags is not None:
        return _of_tiff(image, tags)
    raw = raw_mode(image)
    if image.mode == "F":
        return Stored(32, "float")
    if image.mode == "I" and image.format == "PPM":
        return Stored(16, top=next((part for part in _args(image) if isinstance(part, int) and part > 255), 65535))
    if ";16" in raw or image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return Stored(16)
    if image.mode.startswith("I"):
        return Stored(32, "signed")
    return Stored()


def _of_tiff(image: Image.Image, tags: Any) -> Stored:
    def first(tag: int, default: int) -> int:
        value = tags.get(tag, default)
        return int(value[0] if isinstance(value, tuple) else value)

    bands = first(_SAMPLES, 1)
    extra = tags.get(_EXTRA, ())
    extra = extra if isinstance(extra, tuple) else (extra,)
    transparent = bool(set(extra) & {1, 2, 999})  # 999: what Corel Draw writes
    # Pillow takes a fourth band without a stated meaning for the transparency; it may be infrared just as well.
    used = len(image.getbands()) - (image.mode in ("RGBA", "LA", "PA") and not transparent)
    kind = _KINDS.get(first(_FORMAT, 1), "unsigned")
    inverted = first(_PHOTOMETRIC, 1) == 0 and (image.mode == "F" or image.mode.startswith("I"))
    return Stored(first(_BITS, 1), kind, inverted, bands, used, transparent)


def _args(image: Image.Image) -> tuple[Any, ...]:
    tiles = getattr(image, "tile", None)
    if not tiles:
        return ()
    args = tiles[0][3]
    return args if isinstance(args, tuple) else (args,)


def raw_mode(image: Image.Image) -> str:
    """Return what Pillow calls the layout of the pixels in the file, of an image that is not loaded yet."""
    args = _args(image)
    return args[0] if args and isinstance(args[0], str) else ""


COLOUR = ("RGB", "RGBA")
"""Pillow's modes in which it gives the upper bytes of colours of 16 bits."""

_OTHER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def lower_mode(raw: str) -> str | None:
    """Return the layout by which Pillow reads the lower bytes of 16-bit colours, where `raw` gives it the upper ones.

    It is that of the other byte order. None where Pillow has none.
    """
    known = raw[:-1] in ("RGB;16", "RGBA;16", "RGBX;16") and raw[-1] in _OTHER
    return raw[:-1] + _OTHER[raw[-1]] if known else None


def to_lower_bytes(image: Image.Image) -> bool:
    """Let a colour image of 16 bits, not loaded yet, be read by the lower byte of each value; return whether it can."""
    args = lower_mode(raw_mode(image))
    if args is None:
        return False
    tiles = []
    opened: Any = image  # of a file, which has tiles; Pillow's types know the base class alone
    for tile in opened.tile:
        make = getattr(type(tile), "_make", tuple)  # a plain tuple before Pillow 11
        tiles.append(make((*tile[:3], (args, *tile[3][1:]) if isinstance(tile[3], tuple) else args)))
    opened.tile = tiles
    return True


def joined(upper: np.ndarray, lower: Image.Image | None) -> np.ndarray:
    """Return 16-bit colours `(H, W, 3)`, without transparency, from their bytes.

    Where the lower bytes are not to be had, the upper ones stand for both: so 0 and 65535 are reached.
    """
    below = upper if lower is None else np.asarray(lower)
    return upper[..., :3] * np.uint16(256) + below[..., :3]


def values_of(pixels: np.ndarray, stored: Stored) -> np.ndarray:
    """Return pixels as Pillow gives them in the file's own numbers."""
    if stored.kind == "signed" and stored.bits == 8:
        return pixels.view(np.int8)
    if stored.kind == "unsigned" and stored.bits == 32 and pixels.dtype == np.int32:
        return pixels.view(np.uint32)
    if stored.top is not None:
        return np.rint(pixels * (stored.top / 65535))
    return pixels


def to_8_bit(pixels: np.ndarray, stored: Stored, value_range: ValueRange | None) -> np.ndarray:
    """Return pixels of any type as uint8, by `value_range` or by the range of the type.

    Raises:
        NotUnderstood: neither gives their range.
    """
    values = values_of(pixels, stored)
    advice = (
        "give the values of black and white by -s 'data.decode.value_range=[MIN, MAX]', or save as 8 or unsigned 16 bit"
    )
    if stored.kind == "float" and np.isnan(values).any():
        raise NotUnderstood("pixels that are no numbers (NaN); replace them by a value")
    if value_range is None:
        value_range = stored.range
        if value_range is None:
            raise NotUnderstood(f"{stored.type} pixels have no known range; {advice}")
        if stored.kind == "signed" and values.min() < 0:
            least = values.min()
            raise NotUnderstood(f"{stored.type} pixels with negative values ({least}) have no known range; {advice}")
    low, high = value_range
    scaled = (np.clip(values.astype(np.float64), low, high) - low) * (255 / (high - low))
    result = (scaled + 0.5).astype(np.uint8)
    return 255 - result if stored.white_is_zero else result
