"""Images of any number of channels, with the type of their values kept: uint8, uint16 or float32 `(C, H, W)`.

What is decided here:
- channels are those of the file, neither converted nor composited: 4 channels are four bands, alpha or not;
- values are kept, or scaled by the range of their type: 65535 of uint16 is 255 of uint8 and 1 of float32. Signed
  integers, those of 32 bits and floats have no such range: they become float32 as they are;
- a value that is no finite number makes the image unreadable;
- where a file states white-is-zero, integers are inverted; its orientation is applied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
import torch
from torch import Tensor

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.decode import BYTES_PER_PIXEL, Decoding
from ssl_zoo.modalities.image.header import Header, upright
from ssl_zoo.modalities.image.npy import Axes, is_npy, open_npy
from ssl_zoo.modalities.image.pictures import is_png, open_picture, open_png
from ssl_zoo.modalities.image.stored import NotUnderstood, Stored, ValueRange, to_8_bit
from ssl_zoo.modalities.image.tiff import is_tiff, open_tiff

Kept = Literal["stored", "uint8", "uint16", "float32"]


@dataclass(frozen=True)
class Bands:
    """Decoding with channels as stored, by the options of `data.decode`.

    Args:
        channels: that an image must have.
        dtype: of the result; `stored` is that of the file, or float32 where it is neither uint8 nor uint16.
        value_range: the values that become 0 and 255, for `dtype` uint8 alone; None takes the range of the type.
        max_pixels: an image of more pixels is refused, and one of more than 8 bytes for each of these.
        npy_axes: order of the axes of arrays; see `npy.open_npy`.

    Raises:
        UserError: a range that is empty, or for values that are kept.
    """

    channels: int
    dtype: Kept
    value_range: ValueRange | None
    max_pixels: int
    npy_axes: Axes = "auto"

    def __post_init__(self) -> None:
        Decoding(3, self.value_range)  # checks it
        if self.value_range is not None and self.dtype != "uint8":
            raise UserError(
                "data.decode.value_range: is the range that becomes 8 bits, and here values are kept; leave it out and "
                "give views.mean and views.std, or set data.decode.dtype=uint8."
            )

    @property
    def max_bytes(self) -> int:
        """The largest size of an image, encoded or decoded, in bytes."""
        return BYTES_PER_PIXEL * self.max_pixels

    @property
    def _photographs(self) -> Decoding:
        return Decoding(3, max_pixels=self.max_pixels)

    def decode(self, data: bytes | BinaryIO, name: str) -> Tensor:
        """Return an encoded image `(channels, H, W)`.

        Args:
            data: the bytes of an image file, or the file opened for reading.
            name: what to call the image when it cannot be read.

        Raises:
            BadSample: it is no image, damaged, too large, of other channels, or has values without a meaning.
            UserError: it needs a package that is not installed.
        """
        content = data if isinstance(data, bytes) else data.read()
        with self._photographs.reading(name):
            header = open_image(content, self.channels, self.npy_axes)
            self._check(header, name)
            stored = header.read()
            wanted = (header.channels, header.height, header.width)
            if stored.shape != wanted:
                raise NotUnderstood(f"pixels of shape {stored.shape}, where its header states {wanted}")
            pixels = self.converted(upright(stored, header.orientation), header.white_is_zero)
        return torch.from_numpy(np.require(pixels, requirements=["C", "W"]))

    def remarks(self, data: bytes | BinaryIO, name: str) -> tuple[str, ...]:
        """Return notes on how an image that can be read is understood; most often none."""
        content = data if isinstance(data, bytes) else data.read()
        try:
            with self._photographs.reading(name):
                return open_image(content, self.channels, self.npy_axes).remarks
        except BadSample:  # raised again where it is read
            return ()

    def _check(self, header: Header, name: str) -> None:
        pixels, found = header.height * header.width, header.channels
        if pixels > self.max_pixels or header.nbytes > self.max_bytes:
            enough = max(pixels, -(-header.nbytes // BYTES_PER_PIXEL))
            raise BadSample(
                name,
                f"{header.height} x {header.width} pixels of {found} channels and {header.dtype.itemsize} bytes, more "
                f"than are allowed; raise the limit with -s data.decode.max_pixels={enough}",
            )
        if found != self.channels:
            pages = "; ".join(header.remarks)
            raise BadSample(
                name,
                f"it has {found} channel{'s' * (found > 1)}{f' ({pages})' if pages else ''}, not the {self.channels} "
                "of views.channels",
            )

    def converted(self, pixels: np.ndarray, white_is_zero: bool = False) -> np.ndarray:
        """Return pixels `(C, H, W)` of any type as `dtype`.

        Raises:
            NotUnderstood: a value is not finite, or the type has no range where one is needed.
        """
        if pixels.dtype.kind == "b":
            pixels = pixels * np.uint8(255)
        bits = 8 * pixels.dtype.itemsize
        ranged = pixels.dtype.kind == "u" and bits <= 16
        if white_is_zero:
            if not ranged:
                raise NotUnderstood("white is zero, of values without a range; save it with black as zero")
            pixels = np.iinfo(pixels.dtype).max - pixels
        dtype: Kept = self.dtype
        if dtype == "stored":
            dtype = ("uint8" if bits == 8 else "uint16") if ranged else "float32"
        if dtype == "float32":
            return _float32(pixels, np.float32(2**bits - 1) if ranged else None)
        if dtype == "uint8" and (bits > 8 or not ranged or self.value_range is not None):
            return to_8_bit(pixels, Stored(bits, _KINDS[pixels.dtype.kind]), self.value_range)
        if not ranged:
            raise NotUnderstood(f"{pixels.dtype} values have no range; set data.decode.dtype to stored or float32")
        if dtype == "uint16" and bits == 8:
            return pixels * np.uint16(257)
        return pixels.astype(dtype, copy=False)  # in this machine's byte order


_KINDS: dict[str, Literal["unsigned", "signed", "float"]] = {"u": "unsigned", "i": "signed", "f": "float"}


def _float32(pixels: np.ndarray, top: np.float32 | None) -> np.ndarray:
    """Return pixels `(C, H, W)` as float32, divided by `top`.

    Raises:
        NotUnderstood: a value is not finite.
    """
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf, which is refused
        made: np.ndarray = pixels.astype(np.float32)
    if top is not None:
        return made / top
    wrong = ~np.isfinite(made)
    if wrong.any():
        channel, row, column = np.argwhere(wrong)[0].tolist()
        raise NotUnderstood(
            f"{int(wrong.sum())} of {made.size} values are no finite numbers (NaN, infinite, or too large for float32),"
            f" the first in channel {channel + 1} at row {row + 1}, column {column + 1}; replace them by a value"
        )
    return made


def open_image(content: bytes, channels: int | None, npy_axes: Axes = "auto") -> Header:
    """Open an image by its header alone.

    Args:
        content: the file.
        channels: that are asked for; None where they are to be found.
        npy_axes: order of the axes of arrays.

    Raises:
        NotUnderstood: it has no clear meaning.
        UserError: it needs a package that is not installed.
        Exception: whatever a reader raises for what it cannot read.
    """
    if not content:
        raise NotUnderstood("the file is empty")
    if is_npy(content):
        return open_npy(content, channels, npy_axes)
    if is_tiff(content):
        return open_tiff(content, channels)
    if is_png(content):
        return open_png(content)
    return open_picture(content)
