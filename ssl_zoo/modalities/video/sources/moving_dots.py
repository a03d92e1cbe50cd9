"""The source `moving_dots`: example clips whose class is the direction of motion, made in memory; see `made`."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from ssl_zoo.data.source import Split
from ssl_zoo.modalities.video import made
from ssl_zoo.modalities.video.footage import Clip, made_smaller
from ssl_zoo.modalities.video.modality import VideoModality
from ssl_zoo.registry import register


@register("source", "moving_dots")
class MovingDots:
    """Clips of dots that all move up, down, left or right, each for a short time; made on the spot, needs no download.

    No single frame shows the class, nor does nearness in pixels.

    Args:
        modality: of videos.
        num: clips of all classes and both splits; every fourth one of a class is for the test split.
    """

    modality = "video"
    splits = ("train", "test")
    notes = ()

    def __init__(self, modality: VideoModality, *, num: Annotated[int, Field(ge=16)] = 640) -> None:
        self._modality, self._num = modality, num

    def split(self, name: str) -> MovingDotsSplit:
        """Return the split of that name."""
        chosen = [i for i in range(self._num) if (made.split_of(i) == "test") == (name == "test")]
        return MovingDotsSplit(chosen, self._modality)


class MovingDotsSplit(Split):
    """Clips by their numbers, made one by one."""

    def __init__(self, numbers: list[int], modality: VideoModality) -> None:
        self._numbers, self._modality, self._steps = numbers, modality, list(made.CLASSES.values())
        self.class_names = list(made.CLASSES)
        self.labels = torch.tensor(numbers) % len(self._steps)

    def __len__(self) -> int:
        return len(self._numbers)

    def read(self, i: int) -> Clip:
        """Return clip `i`."""
        number, decoding = self._numbers[i], self._modality.decoding
        frames = torch.from_numpy(made.dots(number, self._steps[number % len(self._steps)])).permute(0, 3, 1, 2)
        times = torch.arange(made.NUM_FRAMES, dtype=torch.float64) / made.RATE
        kept = made_smaller(frames, decoding.side, decoding.channels)
        return Clip(kept, times, made.NUM_FRAMES / made.RATE, self.name(i))

    def name(self, i: int) -> str:
        """Return the number of clip `i`."""
        return f"clip {self._numbers[i]}"
