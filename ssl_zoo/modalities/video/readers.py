"""The two libraries that decode video, behind one interface: torchcodec, and PyAV where that cannot be used.

Both number the frames in the order in which they are shown, and both are exact: torchcodec only in its mode `exact`
(`approximate` returns wrong frames, without an error, where the frame rate varies), PyAV by decoding from the key frame
before and comparing time stamps, never by seeking to a time computed from a rate.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from math import inf, nextafter
from typing import Any, Literal, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.errors import UserError, needs

ReaderName = Literal["auto", "torchcodec", "av"]
INSTALL = "'ssl_zoo[video]'"

MAX_PIXELS = 2**25
"""Of a frame; 8K video has as many."""


class Reader(Protocol):
    """An open video. Errors of its library leave it as they are; see `reading`.

    Attributes:
        num_frames: that can be shown, counted in the file.
        stated: the number of frames that the header states, or None.
        begin: time of the first frame, in seconds.
        end: time at which the last frame is no longer shown, in seconds.
        height: of a frame as it is shown, in pixels.
        width: of a frame as it is shown, in pixels.
    """

    num_frames: int
    stated: int | None
    begin: float
    end: float
    height: int
    width: int

    def at(self, index: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return frames uint8 `(n, 3, H, W)` and their times float64 `(n,)`, in the order that is asked for."""

    def shown(self, seconds: Sequence[float]) -> Tensor:
        """Return the frames that are shown at some times, uint8 `(n, 3, H, W)`; times beyond the ends mean the ends."""


def chosen(asked: ReaderName) -> str:
    """Return the reader to use, `torchcodec` or `av`.

    Raises:
        UserError: it is not installed, or torchcodec finds no FFmpeg.
    """
    if asked == "av":
        needs("av", INSTALL, "the video reader av (PyAV)")
        return "av"
    if asked == "torchcodec":
        needs("torchcodec", INSTALL, "the video reader torchcodec")
        if not _torchcodec_works():
            raise UserError(
                "data.decode.reader: torchcodec finds no FFmpeg that it can use; install it (Debian: apt install "
                "ffmpeg), or use data.decode.reader=av."
            )
        return "torchcodec"
    if find_spec("torchcodec") is not None and _torchcodec_works():
        return "torchcodec"
    needs("av", INSTALL, "reading videos")
    return "av"


@cache
def _torchcodec_works() -> bool:
    try:
        import torchcodec.decoders  # noqa: F401 - it loads the libraries of FFmpeg
    except Exception:  # whatever the loader of libraries raises
        return False
    return True


def open_reader(data: bytes, name: str, reader: ReaderName = "auto", max_pixels: int = MAX_PIXELS) -> Reader:
    """Open an encoded video.

    Args:
        data: of the file.
        name: of the sample, for messages.
        reader: the library.
        max_pixels: of a frame; compared with what the header states, before a frame is decoded.

    Raises:
        BadSample: it is no video, has no frames, or larger ones.
        UserError: there is no library to read it.
    """
    library = chosen(reader)
    with reading(name):
        return TorchcodecReader(data, max_pixels) if library == "torchcodec" else AvReader(data, max_pixels)


class Refused(ValueError):
    """A file that is not read, with the reason."""


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn what goes wrong in a library into a `BadSample`."""
    try:
        yield
    except UserError:
        raise
    except Refused as error:
        raise BadSample(name, str(error)) from None
    except MemoryError:
        raise BadSample(name, "decoding it needs more memory than there is") from None
    except Exception as error:  # the libraries raise RuntimeError, ValueError, IndexError and errors of their own
        raise BadSample(name, f"damaged video, or none ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """Return an error's own words: torchcodec puts lines of its C++ code around them."""
    text = str(error).split("\n")[0] or type(error).__name__
    return re.sub(r"^.*\.(cpp|h):\d+, ", "", text).rstrip(". ")


NO_VIDEO = "there is no video in it, though perhaps sound"
NO_FRAMES = "its video has no frames"


def _check_pixels(height: int, width: int, allowed: int) -> None:
    if height * width > allowed:
        raise Refused(
            f"frames of {height}x{width} pixels, more than the {allowed} that are allowed; raise the limit with "
            f"-s data.decode.max_pixels={height * width}"
        )


class TorchcodecReader:
    """Reads by torchcodec, in the mode `exact`; see `Reader`."""

    def __init__(self, data: bytes, max_pixels: int = MAX_PIXELS) -> None:
        from torchcodec.decoders import VideoDecoder

        try:
            self._decoder: Any = VideoDecoder(data, seek_mode="exact")
        except ValueError as error:
            if "video stream" in str(error):
                raise Refused(NO_VIDEO) from None
            raise
        found: Any = self._decoder.metadata
        if not found.num_frames_from_content:
            raise Refused(NO_FRAMES)
        self.num_frames, self.stated = int(found.num_frames_from_content), found.num_frames_from_header
        self.begin, self.end = float(found.begin_stream_seconds), float(found.end_stream_seconds)
        self.height, self.width = int(found.height), int(found.width)
        _check_pixels(self.height, self.width, max_pixels)

    def at(self, index: Sequence[int]) -> tuple[Tensor, Tensor]:
        """See `Reader`."""
        made = self._decoder.get_frames_at(list(index))
        return made.data, made.pts_seconds.double()

    def shown(self, seconds: Sequence[float]) -> Tensor:
        """See `Reader`."""
        last = nextafter(self.end, -inf)
        return self._decoder.get_frames_played_at([min(max(each, self.begin), last) for each in seconds]).data


class AvReader:
    """Reads by PyAV, from the key frame before what is asked for; see `Reader`."""

    def __init__(self, data: bytes, max_pixels: int = MAX_PIXELS) -> None:
        import av

        self._file = cast(Any, av.open(io.BytesIO(data)))
        if not self._file.streams.video:
            raise Refused(NO_VIDEO)
        self._stream = self._file.streams.video[0]
        _check_pixels(self._stream.height, self._stream.width, max_pixels)
        # Else FFmpeg fills what it cannot decode with something like it, and says so nowhere but in its log.
        self._stream.codec_context.options = {"err_detect": "explode"}
        packets = [packet for packet in self._file.demux(self._stream) if packet.size and not packet.is_discard]
        if not packets:
            raise Refused(NO_FRAMES)
        base = float(self._stream.time_base)
        stamps = [packet.pts for packet in packets]
        # Without time stamps, or with two that are equal, frames are counted from the first, at the average rate.
        self._counted = None in stamps or len(set(stamps)) < len(stamps)
        if self._counted:
            step = 1 / float(self._stream.average_rate or 1) / base
            self._stamps: list[float] = [number * step for number in range(len(packets))]
            self._keys: list[float] = []
        else:
            self._stamps = sorted(stamps)
            self._keys = sorted(packet.pts for packet in packets if packet.is_keyframe)
            step = self._stamps[-1] - self._stamps[-2] if len(stamps) > 1 else 1
            step = max(packets, key=lambda packet: packet.pts).duration or step
        self._times = np.array(self._stamps, dtype=np.float64) * base
        self.num_frames, self.stated = len(packets), self._stream.frames or None
        self.begin, self.end = float(self._times[0]), (self._stamps[-1] + step) * base
        self.height, self.width = self._decoded([0])[0].shape[1:]

    def at(self, index: Sequence[int]) -> tuple[Tensor, Tensor]:
        """See `Reader`."""
        wanted = [range(self.num_frames)[each] for each in index]
        frames = self._decoded(sorted(set(wanted)))
        return torch.stack([frames[each] for each in wanted]), torch.from_numpy(self._times[wanted])

    def shown(self, seconds: Sequence[float]) -> Tensor:
        """See `Reader`."""
        found = np.searchsorted(self._times, np.array(seconds), side="right") - 1
        return self.at(found.clip(0, self.num_frames - 1).tolist())[0]

    def _decoded(self, wanted: Sequence[int]) -> dict[int, Tensor]:
        """Return frames by their numbers, which are given in ascending order."""
        found: dict[int, Tensor] = {}
        for start, group in groupby(wanted, self._start):
            left = self._collect(start, list(group), found)
            if left and start:  # after a key frame there may be frames that need what is before it
                left = self._collect(0, left, found)
            if left:
                raise ValueError(f"frame {left[0] + 1} of {self.num_frames} cannot be decoded")
        return found

    def _collect(self, start: int, wanted: list[int], found: dict[int, Tensor]) -> list[int]:
        """Decode from a key frame on and add the frames that are wanted; return the numbers of those not met."""
        for number, frame in self._from(start):
            if number in wanted:
                found[number] = self._picture(frame)
            if number >= wanted[-1]:
                break
        return [number for number in wanted if number not in found]

    def _start(self, number: int) -> int:
        """Return the number of the key frame before a frame; 0 for the first frame."""
        place = int(np.searchsorted(self._keys, self._stamps[number], side="right")) - 1
        return 0 if place < 0 else int(np.searchsorted(self._stamps, self._keys[place]))

    def _from(self, start: int) -> Iterator[tuple[int, Any]]:
        """Decode from a key frame on; yield frames with their numbers."""
        offset = self._stamps[start] if start else min(0, self._stamps[0])
        self._file.seek(int(offset), stream=self._stream, backward=True)
        numbers = {stamp: number for number, stamp in enumerate(self._stamps)}
        for count, frame in enumerate(self._file.decode(self._stream)):
            if frame.is_corrupt:
                raise ValueError("a frame is damaged")
            number = count if self._counted else numbers.get(frame.pts)
            if number is not None and number < self.num_frames:
                yield number, frame

    def _picture(self, frame: Any) -> Tensor:
        """Return a frame as uint8 `(3, H, W)`, turned as its file asks for."""
        picture = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
        quarter = round((getattr(frame, "rotation", 0) or 0) / 90) % 4
        return torch.rot90(picture, quarter, (1, 2)) if quarter else picture
