"""Videos that tests read: written by PyAV, whose wheel has its own FFmpeg, so that no test needs one of the system."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ssl_zoo import registry
from ssl_zoo.modalities.video.decode import Decoding
from ssl_zoo.modalities.video.footage import Clip
from ssl_zoo.modalities.video.readers import chosen
from tests.modalities.video.sort import spec_of_clips

av: Any = pytest.importorskip("av", reason="videos are written by PyAV")


def _torchcodec() -> bool:
    try:
        return chosen("torchcodec") == "torchcodec"
    except ValueError:
        return False


READERS = [*(["torchcodec"] if _torchcodec() else []), "av"]
"""The readers that can be tested here: torchcodec needs FFmpeg's libraries."""


def pattern(num: int, height: int = 40, width: int = 48) -> np.ndarray:
    """Return frames `(num, height, width, 3)` of which no two are alike: a slope whose place and shade move."""
    down, right = np.mgrid[:height, :width]
    frames = [np.stack([(down * 4 + 9 * i) % 256, (right * 3 + 5 * i) % 256, np.full_like(down, 2 * i)], 2)
              for i in range(num)]  # fmt: skip
    return np.stack(frames).astype(np.uint8)


def write(path: Path, frames: np.ndarray, stamps: list[int] | None = None, codec: str = "mpeg4", rate: int = 10,
          **options: Any) -> Path:  # fmt: skip
    """Encode frames; `stamps` are their times in thousandths of a second, for a frame rate that varies."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=Fraction(rate))
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.options = {key: str(value) for key, value in options.items()}
        base = Fraction(1, 1000)
        if stamps is not None:
            stream.codec_context.time_base = base
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if stamps is not None:
                frame.pts, frame.time_base = stamps[number], base
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def sequential(path: Path) -> tuple[Tensor, list[float]]:
    """Return all frames of a file, uint8 `(N, 3, H, W)`, and their times: one after the other, by PyAV alone."""
    frames, times = [], []
    with av.open(str(path)) as file:
        for frame in file.decode(video=0):
            frames.append(torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1))
            times.append(float(frame.pts * frame.time_base))
    return torch.stack(frames), times


def opened(path: Path, reader: Any = "auto", **options: Any) -> Any:
    """Return a file as a sample."""
    return Decoding(reader=reader, **options).open(path.read_bytes(), path.name)


def modality(channels: int = 3, size: int = 16, **options: Any) -> Any:
    """Return the modality of videos, for views of a size."""
    return registry.build("modality", "video", options, spec=spec_of_clips(channels, 8, size))


def policy(**options: Any) -> Any:
    """Return the view policy, with small clips where nothing else is said."""
    return registry.build("views", "clips", {"num_frames": 4, "size": 12, "rate": None, **options})


def clip(num: int = 20, height: int = 16, width: int = 20, fps: float = 10, channels: int = 3) -> Clip:
    """Return a video in memory, whose frame `i` has the value `10 i` everywhere."""
    values = (10 * torch.arange(num)).to(torch.uint8).view(-1, 1, 1, 1)
    times = torch.arange(num, dtype=torch.float64) / fps
    return Clip(values.expand(-1, channels, height, width).contiguous(), times, num / fps, "a clip")


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of videos of 30 frames: `even.mp4`, `.mkv`, `.avi`, and `uneven.mkv`, whose frame rate varies."""
    folder = tmp_path_factory.mktemp("videos")
    frames = pattern(30)
    for ending in ("mp4", "mkv", "avi"):
        write(folder / f"even.{ending}", frames, g=7, bf=0 if ending == "avi" else 2)
    stamps = np.cumsum([0] + [40 if i % 5 else 230 for i in range(29)]).tolist()
    write(folder / "uneven.mkv", frames, stamps, g=7)
    return folder
