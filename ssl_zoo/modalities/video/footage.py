"""Samples of the modality: a video that is decoded where it is asked for frames, and one whose frames are in memory.

Both give the same frames, bit for bit: a frame is brought to its kept size on its own, whichever way it comes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

TOLERANCE = 1e-3
"""Seconds that a frame may come later than it is asked for: Matroska stores times in whole milliseconds."""

CHUNK = 2**26
"""Bytes of whole frames that are decoded at a time, before they are made smaller."""

GREY_WEIGHTS = (0.299, 0.587, 0.114)


class Footage(ABC):
    """A video, as its view policy sees it.

    Attributes:
        name: of the sample, for messages.
        num_frames: how many it has.
        duration: in seconds, from the first frame until the last is no longer shown.
        size: (height, width) of the frames that it gives, in pixels.
        whole: (height, width) of the frames as they are stored.
        nbytes: in memory, as it is.
    """

    name: str
    num_frames: int
    duration: float
    size: tuple[int, int]
    whole: tuple[int, int]
    nbytes: int

    @abstractmethod
    def at(self, index: Sequence[int]) -> Tensor:
        """Return frames by their numbers, uint8 `(n, C, h, w)`.

        Raises:
            BadSample: one cannot be decoded.
        """

    @abstractmethod
    def shown(self, seconds: Sequence[float]) -> Tensor:
        """Return the frames shown at some times after the first, uint8 `(n, C, h, w)`.

        Raises:
            BadSample: one cannot be decoded.
        """

    @abstractmethod
    def decoded(self) -> Clip:
        """Return all frames, in memory.

        Raises:
            BadSample: one cannot be decoded.
        """

    def closed(self) -> Footage:
        """Return it as it can be kept for long, in processes that are forked."""
        return self

    def some(self, most: int) -> Tensor:
        """Decode all frames, and return at most so many evenly spaced ones of them, uint8 `(n, C, h, w)`.

        Raises:
            BadSample: one cannot be decoded.
        """
        step = -(-self.num_frames // most)
        return torch.cat([self.at(part)[-part.start % step :: step] for part in chunks(self.num_frames, *self.whole)])


class Clip(Footage):
    """A video in memory.

    Args:
        frames: uint8 `(N, C, h, w)`.
        times: of the frames, float64 `(N,)`, in seconds, ascending.
        end: the time at which the last frame is no longer shown.
        name: of the sample.
    """

    def __init__(self, frames: Tensor, times: Tensor, end: float, name: str = "a clip") -> None:
        self.frames, self.times, self.name = frames, times.double(), name
        self.num_frames, self.duration = len(frames), end - float(times[0])
        self.size = self.whole = (frames.shape[2], frames.shape[3])
        self.nbytes = frames.nbytes + self.times.nbytes

    def decoded(self) -> Clip:
        """See `Footage`."""
        return self

    def at(self, index: Sequence[int]) -> Tensor:
        """See `Footage`."""
        return self.frames[list(index)]

    def shown(self, seconds: Sequence[float]) -> Tensor:
        """See `Footage`."""
        return self.at(numbers_at(self.times, seconds))


def numbers_at(times: Tensor, seconds: Sequence[float]) -> list[int]:
    """Return the numbers of the frames that are shown at some times after the first.

    Args:
        times: of all frames, float64 `(N,)`, ascending.
        seconds: beyond the ends they mean the ends.
    """
    asked = torch.tensor([float(times[0]) + each + TOLERANCE for each in seconds], dtype=torch.float64)
    return (torch.searchsorted(times, asked, right=True) - 1).clamp(0, len(times) - 1).tolist()


def kept_size(height: int, width: int, side: int | None) -> tuple[int, int]:
    """Return the size of a frame whose short side is at most `side`; None keeps all."""
    short = min(height, width)
    if side is None or short <= side:
        return height, width
    return tuple(side if each == short else round(each * side / short) for each in (height, width))  # type: ignore[return-value]


def made_smaller(frames: Tensor, side: int | None, channels: int) -> Tensor:
    """Return frames as they are kept, uint8 `(n, C, h, w)`.

    Args:
        frames: uint8 `(n, 3, H, W)`, or of `channels`.
        side: largest short side in pixels; the resize is bilinear, antialiased.
        channels: 3, or 1 for grey (ITU-R BT.601).
    """
    size = kept_size(frames.shape[2], frames.shape[3], side)
    x = frames.contiguous()
    if size != tuple(x.shape[2:]):
        x = F.interpolate(x, size, mode="bilinear", antialias=True)
    if channels == x.shape[1]:
        return x
    weights = torch.tensor(GREY_WEIGHTS).view(3, 1, 1)
    return (x.float() * weights).sum(dim=1, keepdim=True).round_().clamp_(0, 255).to(torch.uint8)


def chunks(num: int, height: int, width: int) -> Iterator[range]:
    """Yield the numbers of frames of a size that are decoded together."""
    step = max(1, CHUNK // (3 * height * width))
    for start in range(0, num, step):
        yield range(start, min(start + step, num))
