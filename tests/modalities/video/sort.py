"""What the registry-wide contract tests need to know of videos."""

import torch

from ssl_zoo.batch import InputSpec, ViewSpec
from ssl_zoo.modalities.video.footage import Clip
from ssl_zoo.rng import generator
from tests.contract import Sort


def clips(num: int, channels: int) -> list[Clip]:
    """Return videos in memory, 12 frames of 16 x 20 pixels at 8 frames per second."""
    frames = torch.randint(0, 256, (num, 12, channels, 16, 20), dtype=torch.uint8, generator=generator(0, "clips"))
    times = torch.arange(12, dtype=torch.float64) / 8
    return [Clip(each, times, 1.5, f"clip {i}") for i, each in enumerate(frames)]


def spec_of_clips(channels: int = 3, num_frames: int = 8, size: int = 16) -> InputSpec:
    return InputSpec("video", (ViewSpec("global", (channels, num_frames, size, size)),) * 2)


SORT = Sort(
    spec_of_clips(),
    clips,
    {"clips": {"size": 12, "num_frames": 4}},
    bad=(b"", b"\x00\xff\xfe no sample", b"\x1a\x45\xdf\xa3", b"RIFF\x00\x00\x00\x00AVI ", b"\x00\x00\x00\x18ftypisom"),
)
