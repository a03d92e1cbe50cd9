"""Video files: checked and opened here, decoded when frames are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO

import torch
from pydantic import Field
from torch import Tensor

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.modalities.video import readers
from ssl_zoo.modalities.video.containers import missing_bytes
from ssl_zoo.modalities.video.footage import TOLERANCE, Clip, Footage, chunks, kept_size, made_smaller
from ssl_zoo.modalities.video.readers import MAX_PIXELS, Reader, ReaderName

EXTENSIONS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"})
"""File names that end so, in any case, are taken for videos: formats whose completeness is checked."""

MAX_FRAMES = 200_000
KEEP_BYTES = 2**28
"""A video whose frames would take more than this in memory is kept as its file."""

Most = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Decoding:
    """Decoding of videos by the options of `data.decode`; see `VideoModality`.

    Attributes:
        channels: 3, or 1 for grey.
        side: largest short side of the frames, in pixels; None keeps them as they are.
        reader: the library.
        max_frames: a video of more is refused.
        max_pixels: a video of larger frames is refused.
    """

    channels: int = 3
    side: int | None = None
    reader: ReaderName = "auto"
    max_frames: int = MAX_FRAMES
    max_pixels: int = MAX_PIXELS

    def open(self, data: bytes | BinaryIO, name: str) -> Video:
        """Return an encoded video, checked and not decoded.

        Args:
            data: of the file, or the file opened for reading.
            name: of the sample, for messages.

        Raises:
            BadSample: it is no video, cut short, or larger than allowed.
        """
        content = data if isinstance(data, bytes) else data.read()
        return Video(content, name, self, self.checked(content, name))

    def checked(self, content: bytes, name: str) -> Reader:
        """Open a reader and compare what it found with what the file states."""
        if not content:
            raise BadSample(name, "the file is empty")
        if missing := missing_bytes(content):
            raise BadSample(
                name, f"it is cut short: {missing} of the {len(content) + missing} bytes that it states are missing"
            )
        found = readers.open_reader(content, name, self.reader, self.max_pixels)
        if found.num_frames > self.max_frames:
            raise BadSample(
                name,
                f"{found.num_frames} frames, more than the {self.max_frames} that are allowed; raise the limit with "
                f"-s data.decode.max_frames={found.num_frames}",
            )
        if not found.end > found.begin:
            raise BadSample(name, f"its {found.num_frames} frames have no times that ascend")
        return found


class Video(Footage):
    """An encoded video: `at` and `shown` decode what they are asked for, and keep nothing.

    Args:
        data: of the file.
        name: of the sample.
        decoding: its options.
        reader: an open one, for the first use; later ones open another, as this may be kept for long, in processes
            that are forked.
    """

    def __init__(self, data: bytes, name: str, decoding: Decoding, reader: Reader) -> None:
        self.data, self.name, self.decoding = data, name, decoding
        self._reader: Reader | None = reader
        self.num_frames, self.stated, self.duration = reader.num_frames, reader.stated, reader.end - reader.begin
        self.whole, self.nbytes = (reader.height, reader.width), len(data)
        self.size = kept_size(*self.whole, decoding.side)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the open reader, which belongs to its process."""
        return {**self.__dict__, "_reader": None}

    def _opened(self) -> Reader:
        reader, self._reader = self._reader, None
        return reader if reader is not None else self.decoding.checked(self.data, self.name)

    def closed(self) -> Video:
        """Close the reader, and return this; see `Footage`."""
        self._reader = None
        return self

    def at(self, index: Sequence[int]) -> Tensor:
        """See `Footage`."""
        reader = self._opened()
        with readers.reading(self.name):
            parts = [self._kept(reader.at([index[i] for i in part])[0]) for part in chunks(len(index), *self.whole)]
        return torch.cat(parts)

    def shown(self, seconds: Sequence[float]) -> Tensor:
        """See `Footage`."""
        reader = self._opened()
        asked = [reader.begin + each + TOLERANCE for each in seconds]
        with readers.reading(self.name):
            parts = [self._kept(reader.shown([asked[i] for i in part])) for part in chunks(len(asked), *self.whole)]
        return torch.cat(parts)

    def _kept(self, frames: Tensor) -> Tensor:
        return made_smaller(frames, self.decoding.side, self.decoding.channels)

    def decoded(self) -> Clip:
        """See `Footage`."""
        reader = self._opened()
        frames = torch.empty((self.num_frames, self.decoding.channels, *self.size), dtype=torch.uint8)
        times = torch.empty(self.num_frames, dtype=torch.float64)
        with readers.reading(self.name):
            for part in chunks(self.num_frames, *self.whole):
                whole, times[part.start : part.stop] = reader.at(part)
                frames[part.start : part.stop] = self._kept(whole)
        return Clip(frames, times, reader.end, self.name)

    def some(self, most: int) -> Tensor:
        """See `Footage`."""
        reader, step = self._opened(), -(-self.num_frames // most)
        taken = []
        with readers.reading(self.name):
            for part in chunks(self.num_frames, *self.whole):
                whole = reader.at(part)[0][-part.start % step :: step]
                taken += [self._kept(whole)] if len(whole) else []
        return torch.cat(taken)
