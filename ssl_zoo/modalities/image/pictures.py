"""PNG of 8 and 16 bits by imagecodecs, and pictures of 8 bits in the other formats by Pillow: bands as they are stored.

torchvision reads PNG of 16 bits exactly, too, but a damaged one ends the process. Pillow would cut 16 bits to 8.
"""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image

from ssl_zoo.errors import needs
from ssl_zoo.modalities.image.header import Header
from ssl_zoo.modalities.image.stored import NotUnderstood, describe

PNG = b"\x89PNG\r\n\x1a\n"
_BANDS = {0: 1, 2: 3, 4: 2, 6: 4}
"""Colour type of a PNG -> values per pixel; type 3 is a palette."""

_MODES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
_FORMATS = ("JPEG", "BMP", "DIB", "GIF", "WEBP", "PPM", "JPEG2000", "TGA")


def is_png(content: bytes) -> bool:
    """Return whether bytes begin as a PNG."""
    return content.startswith(PNG)


def open_png(content: bytes) -> Header:
    """Open a PNG by its header alone.

    Raises:
        UserError: imagecodecs is not installed.
        NotUnderstood: a palette, fewer than 8 bits, or no header.
    """
    if len(content) < 33 or content[12:16] != b"IHDR":
        raise NotUnderstood("a PNG without a header")
    width, height, bits, colour = struct.unpack(">IIBB", content[16:26])
    if colour not in _BANDS or bits not in (8, 16):
        raise NotUnderstood("a PNG with a palette, or of less than 8 bits; save it as grey or RGB")
    needs("imagecodecs", "'ssl_zoo[tiff]'", "a PNG of other than 1 or 3 channels, or with its type kept,")
    bands = _BANDS[colour]

    def pixels() -> np.ndarray:
        import imagecodecs

        array: np.ndarray = imagecodecs.png_decode(content)
        array = array[..., None] if array.ndim == 2 else array
        if array.shape != (height, width, bands):
            raise NotUnderstood("a PNG with one colour for transparent; save it with an alpha channel, or without")
        return array.transpose(2, 0, 1)

    dtype = np.dtype(np.uint8 if bits == 8 else np.uint16)
    transparent = bands in (2, 4)
    return Header(bands, height, width, dtype, pixels, _exif_orientation(content), False, bits == 8 or transparent)


def open_picture(content: bytes) -> Header:
    """Open a file of another format by its header alone.

    Args:
        content: the file.

    Raises:
        NotUnderstood: it is not of 8 bits a band.
        Exception: whatever Pillow raises for what it cannot read.
    """
    image = Image.open(io.BytesIO(content), formats=_FORMATS)
    stored = describe(image)
    if image.mode not in _MODES or stored.deep:
        raise NotUnderstood(f"{image.format} of mode {image.mode}; save it as TIFF, PNG or NPY")
    bands = _MODES[image.mode]

    def pixels() -> np.ndarray:
        array = np.asarray(image)
        return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)

    num = getattr(image, "n_frames", 1)
    remarks = (f"{num} frames, of which the first is used",) if num > 1 else ()
    orientation = image.getexif().get(0x0112, 1)
    return Header(bands, image.height, image.width, np.dtype(np.uint8), pixels, orientation, False, True, remarks)


def _exif_orientation(png: bytes) -> int:
    """Return the orientation that the metadata of a PNG state; 1 where there is none, or they are damaged."""
    place = 8
    while place + 8 <= len(png):
        size, name = struct.unpack(">I4s", png[place : place + 8])
        if name == b"eXIf":
            exif = Image.Exif()
            try:
                exif.load(png[place + 8 : place + 8 + size])
                value = exif.get(0x0112, 1)
            except Exception:  # metadata raise anything; the picture is sound all the same
                return 1
            return value if value in range(1, 9) else 1
        if name == b"IEND":
            break
        place += 12 + size
    return 1
