"""The modality `image`: files that Pillow reads become uint8 `(C, H, W)`."""

from __future__ import annotations

from typing import BinaryIO

from torch import Tensor

from ssl_zoo.batch import InputSpec
from ssl_zoo.data.source import Modality
from ssl_zoo.modalities.image.decode import EXTENSIONS, MAX_PIXELS, Decoding, MaxPixels
from ssl_zoo.modalities.image.stored import ValueRange
from ssl_zoo.registry import register


@register("modality", "image")
class ImageModality(Modality):
    """Photographs and other images, grey or RGB, converted to the channels of the views.

    In parquet files they are in a column `image` or `img`.

    Args:
        spec: of the views: 1 channel (grey) or 3 (RGB).
        value_range: the values that are black and white in images of more than 8 bits or with signs, such as [0, 4095];
            None takes the range of their type.
        max_pixels: an image of more pixels is refused, and a file of more than 8 bytes for each of these.

    Raises:
        UserError: other channels, or a range that is empty.
    """

    axes = "height x width"
    extensions = EXTENSIONS
    columns = ("image", "img")
    size_option = "data.decode.max_pixels"

    def __init__(
        self, spec: InputSpec, *, value_range: ValueRange | None = None, max_pixels: MaxPixels = MAX_PIXELS
    ) -> None:
        super().__init__(spec)
        self.decoding = Decoding(spec.channels, value_range, max_pixels)
        self.max_bytes = self.decoding.max_bytes

    def decode(self, data: bytes | BinaryIO, name: str) -> Tensor:
        """Return an encoded image as uint8 `(C, H, W)`; see `Decoding.decode`."""
        return self.decoding.decode(data, name)

    def remarks(self, data: bytes | BinaryIO, name: str) -> tuple[str, ...]:
        """Return notes on how an encoded image is understood; see `Decoding.remarks`."""
        return self.decoding.remarks(data, name)
