"""Which frames a clip shows: at random times, or evenly spaced ones; of videos that are shorter than a clip, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.modalities.video.footage import Footage

Short = Literal["repeat", "loop", "refuse"]


@dataclass(frozen=True)
class Timing:
    """The frames of a clip, counted in seconds, or where there is no rate, in frames.

    Attributes:
        num_frames: of a clip.
        rate: frames per second of a clip; None takes the frames of the file.
        stride: where there is no rate, the distance from one frame to the next, in frames of the file.
        within: largest distance in seconds between the starts of clips of one video; None for any.
        short: what a clip shows that is longer than its video: the last frame again (`repeat`), the video again
            (`loop`); or that is an error (`refuse`).
    """

    num_frames: int
    rate: float | None
    stride: int
    within: float | None
    short: Short

    @property
    def _step(self) -> float:
        return self.stride if self.rate is None else 1 / self.rate

    def _total(self, footage: Footage) -> float:
        """Return the length of a video, in frames or in seconds."""
        return footage.num_frames if self.rate is None else footage.duration

    def _room(self, footage: Footage) -> float:
        """Return how late a clip may start, in frames or in seconds."""
        if self.rate is None:
            return max(0, footage.num_frames - 1 - (self.num_frames - 1) * self.stride)
        return max(0.0, footage.duration - self.num_frames / self.rate)

    def _place(self, u: float, room: float) -> float:
        return min(int(u * (room + 1)), room) if self.rate is None else u * room

    def at_random(self, footage: Footage, window: float, places: Sequence[float]) -> list[float]:
        """Return where clips start, in frames or in seconds.

        Args:
            footage: the video.
            window: a uniform number, for the part of the video in which all clips start.
            places: a uniform number for each clip, for its place in that part.
        """
        room = self._room(footage)
        apart = room
        if self.within is not None:
            per_second = footage.num_frames / footage.duration if self.rate is None else 1.0
            apart = min(room, self.within * per_second)
            apart = int(apart) if self.rate is None else apart
        first = self._place(window, room - apart)
        return [first + self._place(u, apart) for u in places]

    def evenly(self, footage: Footage, num: int) -> list[float]:
        """Return where evenly spaced clips start, from the first frame to the last; one is in the middle."""
        room = self._room(footage)
        starts = [room / 2] if num == 1 else [room * i / (num - 1) for i in range(num)]
        return [float(int(each)) for each in starts] if self.rate is None else starts

    def read(self, footage: Footage, starts: Sequence[float]) -> Tensor:
        """Return the frames of clips, uint8 `(num, T, C, h, w)`, decoded at once.

        Raises:
            BadSample: a frame cannot be decoded, or the video is shorter than a clip, and that is refused.
        """
        total, last = self._total(footage), (self.num_frames - 1) * self._step
        if self.short == "refuse" and last >= total:
            raise BadSample(footage.name, self._too_short(footage))
        times = [start + i * self._step for start in starts for i in range(self.num_frames)]
        if self.short == "loop":
            times = [each % total if last >= total else each for each in times]
        if self.rate is None:
            frames = footage.at([min(int(each), footage.num_frames - 1) for each in times])
        else:
            frames = footage.shown(times)
        return frames.unflatten(0, (len(starts), self.num_frames))

    def _too_short(self, footage: Footage) -> str:
        if self.rate is None:
            least = (self.num_frames - 1) * self.stride + 1
            return (
                f"{footage.num_frames} frames, fewer than the {least} of a clip ({self.num_frames}, {self.stride} "
                "apart); lower views.num_frames or views.stride, or set views.short=repeat"
            )
        needed = self.num_frames / self.rate
        return (
            f"{footage.duration:.3g} seconds, shorter than the {needed:.3g} of a clip ({self.num_frames} frames, "
            f"{self.rate:g} per second); lower views.num_frames, raise views.rate, or set views.short=repeat"
        )

    def boxes(self, footage: Footage, starts: Sequence[float]) -> Tensor:
        """Return start and extent of clips as fractions of the video, `(num, 2)`."""
        total = self._total(footage)
        start = torch.tensor(starts, dtype=torch.float64).clamp(max=total)
        extent = torch.clamp(total - start, max=self.num_frames * self._step)
        return (torch.stack([start, extent], dim=1) / total).float()
