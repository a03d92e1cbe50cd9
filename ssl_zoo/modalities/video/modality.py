"""The modality `video`: files that FFmpeg decodes become clips of frames `(C, T, H, W)`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, BinaryIO

from pydantic import Field
from torch import Tensor

from ssl_zoo.batch import InputSpec
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.defaults import Defaults, Given
from ssl_zoo.data.source import Modality
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.video import readers
from ssl_zoo.modalities.video.decode import EXTENSIONS, KEEP_BYTES, MAX_FRAMES, Decoding, Most, Video
from ssl_zoo.modalities.video.defaults import video_defaults
from ssl_zoo.modalities.video.footage import Footage
from ssl_zoo.modalities.video.readers import MAX_PIXELS, ReaderName
from ssl_zoo.registry import register

MARGIN = 8 / 7
"""Short side of the frames that are kept, over the size of the views: 128 for views of 112 pixels, 256 for 224."""

_SOME, _VALUES = 32, 2**24
"""Largest number of frames of a video whose values count for statistics, and about that of the values."""


@register("modality", "video")
class VideoModality(Modality):
    """Videos without their sound: MP4, MOV, Matroska, WebM and AVI files.

    Only the frames that a view shows are decoded, by torchcodec or PyAV. Where all frames of all videos fit in memory,
    at their kept size, they are decoded once.

    Args:
        spec: of the views: 3 channels (RGB) or 1 (grey).
        reader: the library that decodes; `auto` takes torchcodec, or PyAV (`av`) where torchcodec is not installed or
            finds no FFmpeg. On damaged files they may differ.
        short_side: frames of a larger short side are made smaller before anything else is done with them, in pixels;
            None takes 8/7 of the views' size.
        max_frames: a video of more frames is refused.
        max_pixels: a video with more pixels in a frame is refused.

    Raises:
        UserError: other channels.
    """

    axes = "frames x height x width"
    studies = ("video", "masked", "cifar10")
    extensions = EXTENSIONS
    columns = ("video", "clip")
    any_size = True

    def __init__(
        self,
        spec: InputSpec,
        *,
        reader: ReaderName = "auto",
        short_side: Annotated[int, Field(ge=8)] | None = None,
        max_frames: Most = MAX_FRAMES,
        max_pixels: Most = MAX_PIXELS,
    ) -> None:
        super().__init__(spec)
        if spec.channels not in (1, 3):
            raise UserError(f"videos give 1 channel (grey) or 3 (RGB), not {spec.channels}: set views.channels.")
        sides = spec.sides[1:]
        if short_side is None and sides:
            short_side = round(max(sides) * MARGIN)
        self.decoding = Decoding(spec.channels, short_side, reader, max_frames, max_pixels)

    def decode(self, data: bytes | BinaryIO, name: str) -> Video:
        """Return an encoded video, opened and checked, not decoded; see `Decoding.open`."""
        return self.decoding.open(data, name)

    def from_item(self, value: Any, name: str) -> Footage:
        """Return a video in an item of a Python data set: the bytes of a file, or `footage.Clip` with its frames.

        Raises:
            BadSample: it is neither, or cannot be decoded.
        """
        if isinstance(value, (bytes, Footage)):
            return self.decode(value, name) if isinstance(value, bytes) else value
        raise BadSample(
            name, f"a {type(value).__name__}; give the bytes of a video file, or ssl_zoo.modalities.video.footage.Clip"
        )

    def kept(self, sample: Footage) -> Footage:
        """Return a video with its frames decoded, or as it is where they would take more than 256 MiB."""
        needed = sample.num_frames * self.spec.channels * sample.size[0] * sample.size[1]
        return sample.decoded() if needed <= KEEP_BYTES else sample.closed()

    def nbytes(self, sample: Footage) -> int:
        """Return the bytes of a video in memory."""
        return sample.nbytes

    def values(self, sample: Footage) -> Tensor:
        """Return the values of up to 32 frames `(C, n)`, 0 to 1; all frames are decoded, so that damage is found."""
        fit = _VALUES // (self.spec.channels * sample.size[0] * sample.size[1])
        return sample.some(min(_SOME, max(1, fit))).transpose(0, 1).flatten(1).double() / 255

    def describe(self, sample: Footage) -> str:
        """Return the number of frames and their size as they are stored, such as `50x240x320`."""
        return f"{sample.num_frames}x{sample.whole[0]}x{sample.whole[1]}"

    def remarks(self, data: bytes | BinaryIO, name: str) -> tuple[str, ...]:
        """Return notes on the number of frames, and on the reader where it is the second choice."""
        try:
            video = self.decode(data, name)
        except UserError:  # raised again where it is read
            return ()
        found = []
        asked = self.spec.views[0].shape[1] if len(self.spec.views[0].shape) == 4 else 0
        if video.num_frames < asked:
            found.append(f"fewer than the {asked} frames of a view; views.short says what it shows")
        if video.stated and video.stated > video.num_frames:
            found.append("the header states more frames than are shown, as in files that were trimmed without decoding")
        if self.decoding.reader == "auto" and readers.chosen("auto") == "av":
            found.append("read by PyAV, since torchcodec is not installed or finds no FFmpeg")
        return tuple(found)

    def defaults(self, samples: Iterable[Footage], given: Given) -> Defaults:
        """Return the settings of a first recipe on some videos; see `video_defaults`."""
        return video_defaults(samples, given)
