"""Image files to tensors: what Pillow opens of the formats below becomes uint8 `(C, H, W)` with one or three channels.

What is decided here, once for all sources:
- transparency is composited over white, as a viewer shows it (what lies under it is arbitrary);
- values of more than 8 bits are scaled by the range of their type, or by `value_range`: see `stored`;
- the EXIF orientation is applied where it can be read; no other metadata matters, however odd;
- of several pages or frames the first is taken, of more bands than RGB the first three: see `Decoding.remarks`;
- colour profiles are not applied; CMYK is converted as Adobe's programs write it (inverted in JPEG);
- an image is decoded whole, at its full size, in the memory of one picture: JPEG's faster decoding at a half or a
  quarter of the size gives other pixels, and what is trained on would depend on the size of the views.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, BinaryIO

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from pydantic import Field
from torch import Tensor

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.remarks import remarks_on
from ssl_zoo.modalities.image.stored import (
    COLOUR,
    NotUnderstood,
    Stored,
    ValueRange,
    describe,
    joined,
    to_8_bit,
    to_lower_bytes,
)

EXTENSIONS = frozenset(
    ".png .apng .jpg .jpeg .jpe .jfif .bmp .dib .gif .tif .tiff .webp .ppm .pgm .pbm .pnm .tga "
    ".jp2 .j2k .j2c .jpf .jpx".split()
)
"""File names that end so, in any case, are taken for images."""

FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "TGA")
"""Formats that are read, whatever the file name. Others that Pillow knows start programs (EPS) or are no images."""

MAX_PIXELS = 100_000_000
"""An image of more pixels than this is refused unless `max_pixels` allows it. It takes 7 bytes per pixel to decode."""

BYTES_PER_PIXEL = 8
"""An encoded image may have this many bytes for each pixel that is allowed: what RGBA of 16 bits has uncompressed."""

MaxPixels = Annotated[int, Field(ge=1)]

_MODES = {1: "L", 3: "RGB"}
_BLOCK = 2**22
"""Pixels that are converted at a time, so that a large image takes little more than its own memory."""


def check_channels(channels: int, what: str) -> None:
    """Refuse what pictures cannot be converted to.

    Args:
        channels: of the views.
        what: gives the pictures, for the message.

    Raises:
        UserError: `channels` is neither 1 nor 3.
    """
    if channels not in _MODES:
        raise UserError(f"{what} gives 1 channel (grey) or 3 (RGB), not {channels}: set views.channels to 1 or 3.")


@dataclass(frozen=True)
class Decoding:
    """Decoding of images by the options of `data.decode`.

    Args:
        channels: 1 (grey) or 3 (RGB).
        value_range: the values that become 0 and 255, of images with more than 8 bits or signed values; None takes the
            range of their type.
        max_pixels: an image of more pixels is refused, and an encoded one of more than 8 bytes for each of these.

    Raises:
        UserError: other channels, or a range that is empty.
    """

    channels: int
    value_range: ValueRange | None = None
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        check_channels(self.channels, "the decoding of pictures")
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            low, high = self.value_range
            raise UserError(
                f"data.decode.value_range: [{low:g}, {high:g}] is empty; give the value of black, then that of white."
            )

    @property
    def max_bytes(self) -> int:
        """The largest size of an encoded image, in bytes."""
        return BYTES_PER_PIXEL * self.max_pixels

    def decode(self, data: bytes | BinaryIO, name: str) -> Tensor:
        """Return an encoded image as uint8 `(channels, H, W)`.

        Args:
            data: the bytes of an image file, or the file opened for reading.
            name: what to call the image when it cannot be read.

        Raises:
            BadSample: it is no image, damaged, too large, or its pixels have no known range.
        """
        if data == b"":
            raise BadSample(name, "the file is empty")
        stream = io.BytesIO(data) if isinstance(data, bytes) else data
        with self.reading(name), Image.open(stream, formats=FORMATS) as image:
            self._check_size(image, name)
            stored = describe(image)
            if stored.deep and image.mode in COLOUR:
                image.load()
                with Image.open(stream, formats=FORMATS) as again:
                    return self._tensor(image, stored, again if to_lower_bytes(again) else None)
            return self._tensor(image, stored)

    def to_tensor(self, image: Image.Image) -> Tensor:
        """Return a Pillow image as uint8 `(channels, H, W)`.

        Raises:
            ValueError: its pixels have no known range.
        """
        return self._tensor(image, describe(image))

    def remarks(self, data: bytes | BinaryIO, name: str) -> tuple[str, ...]:
        """Return notes on how an image that can be read is understood; most often none."""
        try:
            stream = io.BytesIO(data) if isinstance(data, bytes) else data
            with self.reading(name), Image.open(stream, formats=FORMATS) as image:
                return tuple(remarks_on(image, self.value_range))
        except BadSample:  # raised again where it is read
            return ()

    @contextmanager
    def reading(self, name: str) -> Iterator[None]:
        """Turn what goes wrong in Pillow into a `BadSample`, and leave its warnings and its own limit out."""
        before = Image.MAX_IMAGE_PIXELS
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.MAX_IMAGE_PIXELS = -(-self.max_pixels // 2)  # it refuses twice that
            try:
                yield
            except UserError:  # a BadSample, or a package that is not installed
                raise
            except Image.DecompressionBombError as error:
                raise self._too_large(name, *re.findall(r"\d+", str(error))[:1]) from None
            except UnidentifiedImageError:
                raise BadSample(name, f"not an image that Pillow can read as {', '.join(FORMATS)}") from None
            except NotUnderstood as error:
                raise BadSample(name, str(error)) from None
            except Exception as error:  # decoders raise anything for damaged data: OSError, SyntaxError, struct.error
                raise BadSample(name, f"damaged image ({error or type(error).__name__})") from error
            finally:
                Image.MAX_IMAGE_PIXELS = before

    def _check_size(self, image: Image.Image, name: str) -> None:
        pixels = image.width * image.height
        if pixels > self.max_pixels:
            raise self._too_large(name, str(pixels))

    def _too_large(self, name: str, pixels: str = "many") -> BadSample:
        enough = pixels if pixels.isdigit() else "N"
        return BadSample(
            name,
            f"{pixels} pixels, more than the {self.max_pixels} that are allowed; raise the limit with "
            f"-s data.decode.max_pixels={enough}",
        )

    def _tensor(self, image: Image.Image, stored: Stored, lower: Image.Image | None = None) -> Tensor:
        image.load()
        if image.mode == "LAB":
            raise NotUnderstood("CIELAB pixels; save as RGB")
        width, height = image.size
        orientation = _orientation(image)
        shape = (width, height) if orientation >= 5 else (height, width)
        result = np.empty((self.channels, *shape), np.uint8)
        target = _as_stored(result, orientation)
        rows = max(1, _BLOCK // width)
        for start in range(0, height, rows):
            stop = min(start + rows, height)
            box = (0, start, width, stop)
            block = image if rows >= height else image.crop(box)
            below = lower if lower is None or rows >= height else lower.crop(box)
            pixels = _pixels(block, below, stored, self.channels, self.value_range)
            target[:, start:stop] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        return torch.from_numpy(result)


def decode(data: bytes | BinaryIO, channels: int, name: str) -> Tensor:
    """Return an encoded image as uint8 `(channels, H, W)`, as `Decoding` does without options."""
    return Decoding(channels).decode(data, name)


def _pixels(
    image: Image.Image, lower: Image.Image | None, stored: Stored, channels: int, value_range: ValueRange | None
) -> np.ndarray:
    """Return the pixels of a part of an image, uint8 `(H, W)` or `(H, W, channels)`; see `_tensor`."""
    if stored.deep and len(image.getbands()) == 1:
        return to_8_bit(np.asarray(image), stored, value_range)
    if stored.deep and image.mode in COLOUR:
        upper = np.asarray(image)
        colour = to_8_bit(joined(upper, lower), stored, value_range)
        image = Image.fromarray(np.concatenate([colour, upper[..., 3:]], axis=2))
    if image.mode == "La":
        image = image.convert("LA")  # Pillow converts it to nothing else
    if image.has_transparency_data and stored.transparent:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image if image.mode == _MODES[channels] else image.convert(_MODES[channels]))


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8: 1 where there is none, or the metadata are damaged."""
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # metadata raise anything; the picture is sound all the same
        return 1
    return value if value in range(1, 9) else 1


def _as_stored(shown: np.ndarray, orientation: int) -> np.ndarray:
    """Return a view `(C, H, W)` of an upright image whose pixels lie as the file has them."""
    if orientation >= 5:
        shown = shown.transpose(0, 2, 1)
    down = -1 if orientation in (3, 4, 6, 7) else 1
    right = -1 if orientation in (2, 3, 7, 8) else 1
    return shown[:, ::down, ::right]
