"""Image files to tensors: whatever Pillow opens becomes uint8 `(C, H, W)` with one or three channels.

What is decided here, once for all sources:
- transparency is composited over white, as a viewer shows it (what lies under it is arbitrary);
- 16-bit grey is scaled to 8 bit by the range of the type, not clipped and not stretched to the image's own range;
- the EXIF orientation is applied;
- of an animation, the first frame is taken.
"""

from __future__ import annotations

import io
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ssl_zoo.data.source import BadSample
from ssl_zoo.errors import UserError

EXTENSIONS = frozenset(
    ".png .apng .jpg .jpeg .jpe .jfif .bmp .dib .gif .tif .tiff .webp .ppm .pgm .pbm .pnm .tga "
    ".jp2 .j2k .j2c .jpf .jpx".split()
)
"""File names that end so, in any case, are taken for images."""

_MODES = {1: "L", 3: "RGB"}


def check_channels(channels: int) -> None:
    """Refuse what images cannot be converted to.

    Raises:
        UserError: `channels` is neither 1 nor 3.
    """
    if channels not in _MODES:
        raise UserError(f"image sources give 1 channel (grey) or 3 (RGB), not {channels}: set channels to 1 or 3.")


def decode(data: bytes | BinaryIO, channels: int, name: str) -> Tensor:
    """Return an encoded image as uint8 `(channels, H, W)`.

    Args:
        data: the bytes of an image file, or the file opened for reading.
        channels: 1 or 3.
        name: what to call the image when it cannot be read.

    Raises:
        BadSample: it is no image, or damaged.
    """
    if data == b"":
        raise BadSample(name, "the file is empty")
    try:
        with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
            return to_tensor(image, channels)
    except UnidentifiedImageError:
        raise BadSample(name, "not an image that Pillow can read") from None
    except Exception as error:  # decoders raise anything for damaged data: OSError, SyntaxError, struct.error, ...
        raise BadSample(name, f"damaged image ({error or type(error).__name__})") from error


def to_tensor(image: Image.Image, channels: int) -> Tensor:
    """Return a Pillow image as uint8 `(channels, H, W)`.

    Raises:
        ValueError: its pixels have no known range (floats, or integers beyond 16 bit).
    """
    image = ImageOps.exif_transpose(image)
    if image.mode in ("F", "I") or image.mode.startswith("I;"):
        grey = _to_8_bit(image)
        return grey.expand(channels, -1, -1).contiguous()
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    pixels = torch.from_numpy(np.array(image.convert(_MODES[channels])))  # (H, W) or (H, W, 3)
    return pixels[None] if channels == 1 else pixels.permute(2, 0, 1).contiguous()


def _to_8_bit(image: Image.Image) -> Tensor:
    """Return an image of 16-bit grey, which Pillow may hold in 32 bit, as uint8 `(1, H, W)`."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range; save as 8 or 16 bit")
    pixels = np.array(image).astype(np.int64)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError("32-bit pixels beyond the range 0..65535; save as 8 or 16 bit")
    return torch.from_numpy(((pixels * 255 + 32767) // 65535).astype(np.uint8))[None]
