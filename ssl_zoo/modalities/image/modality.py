"""The modality `image`: pictures become uint8 `(C, H, W)`, grey or RGB; images of other channels keep their type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, BinaryIO, Literal

from torch import Tensor

from ssl_zoo.batch import InputSpec
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.defaults import Defaults, Given
from ssl_zoo.data.source import Modality
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.bands import Bands, open_image
from ssl_zoo.modalities.image.decode import EXTENSIONS, MAX_PIXELS, Decoding, MaxPixels
from ssl_zoo.modalities.image.defaults import blown_up, image_defaults
from ssl_zoo.modalities.image.items import image_of
from ssl_zoo.modalities.image.likeness import ImageLikeness
from ssl_zoo.modalities.image.npy import Axes
from ssl_zoo.modalities.image.stored import ValueRange
from ssl_zoo.modalities.image.units import white
from ssl_zoo.registry import register

_ARRAYS = frozenset({".npy"})


@register("modality", "image")
class ImageModality(Modality):
    """Photographs, converted to grey or RGB of 8 bits; or images of any channels and type, as they are stored.

    In parquet files they are in a column `image` or `img`. Arrays (`.npy`) are read where types are kept.

    Args:
        spec: of the views: 1 channel (grey), 3 (RGB), or as many as the images have.
        dtype: of the decoded values. `auto` converts to uint8 where the views have 1 or 3 channels, and is `stored`
            otherwise: the type of the file, or float32 where that is neither uint8 nor uint16. `uint8` takes the upper
            bits; `uint16` and `float32` hold all of them. But for `auto`, an image must have the channels of the views.
        value_range: the values that are black and white in images of more than 8 bits or with signs, such as [0, 4095],
            where they become uint8; None takes the range of their type.
        max_pixels: an image of more pixels is refused, and one of more than 8 bytes for each of these.
        npy_axes: order of the axes of arrays; `auto` takes the first or last for the channels, whichever has as many.

    Raises:
        UserError: a range that is empty, or for values that are kept.
    """

    axes = "height x width"
    studies = ("cifar10", "masked")
    extensions = EXTENSIONS
    more_extensions = _ARRAYS
    columns = ("image", "img")
    size_option = "data.decode.max_pixels"

    def __init__(
        self,
        spec: InputSpec,
        *,
        dtype: Literal["auto", "stored", "uint8", "uint16", "float32"] = "auto",
        value_range: ValueRange | None = None,
        max_pixels: MaxPixels = MAX_PIXELS,
        npy_axes: Axes = "auto",
    ) -> None:
        super().__init__(spec)
        self.decoding: Decoding | Bands
        if spec.channels in (1, 3) and dtype in ("auto", "uint8"):
            self.decoding = Decoding(spec.channels, value_range, max_pixels)
        else:
            self.extensions = EXTENSIONS | _ARRAYS
            kept = "stored" if dtype == "auto" else dtype
            self.decoding = Bands(spec.channels, kept, value_range, max_pixels, npy_axes)
        self._npy_axes = npy_axes
        self.max_bytes = self.decoding.max_bytes

    def decode(self, data: bytes | BinaryIO, name: str) -> Tensor:
        """Return an encoded image `(C, H, W)`; see `Decoding.decode` and `Bands.decode`."""
        return self.decoding.decode(data, name)

    def from_item(self, value: Any, name: str) -> Tensor:
        """Return an image in an item of a Python data set; see `items.image_of`.

        Raises:
            BadSample: it is none, or has other channels or values than are wanted.
        """
        if isinstance(value, bytes):
            return self.decode(value, name)
        with Decoding(3, max_pixels=self.decoding.max_pixels).reading(name):
            return image_of(value, self.decoding, self._npy_axes)

    def remarks(self, data: bytes | BinaryIO, name: str) -> tuple[str, ...]:
        """Return notes on how an encoded image is understood; see `Decoding.remarks` and `Bands.remarks`."""
        return self.decoding.remarks(data, name)

    def values(self, sample: Tensor) -> Tensor:
        """Return the values of an image `(C, H * W)`, float64: integers from 0 to 1, floats as they are."""
        return sample.flatten(1).double() / white(sample.dtype)

    def likeness(self) -> ImageLikeness:
        """Return the comparison of pictures by their pixels."""
        return ImageLikeness(self)

    def stored_channels(self, data: bytes, name: str) -> int | None:
        """Return the channels of an encoded image; None of a photograph, which is converted to those of the views.

        Raises:
            BadSample: it cannot be read, or does not tell.
        """
        try:
            with Decoding(3, max_pixels=self.decoding.max_pixels).reading(name):
                header = open_image(data, None, self._npy_axes)
        except BadSample:
            raise
        except UserError:  # a package is missing; where it is needed, that is said
            return None
        return None if header.photograph else header.channels

    def defaults(self, samples: Iterable[Tensor], given: Given) -> Defaults:
        """Return the settings of a first recipe on some images; see `image_defaults`."""
        return image_defaults(samples, given)

    def misfit(self, sample: Tensor) -> str:
        """Return that an image is much smaller than the views, where it is."""
        return blown_up(sample, max(self.spec.sides)) if self.spec.sides else ""
