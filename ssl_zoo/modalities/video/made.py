"""Example clips: dots that all move one way, each for a short time (a random-dot kinematogram).

Which way is the class, and no single frame shows it. A dot lives for some frames and then begins anew elsewhere, with
another size and shade, so that two clips from different times of a video have nothing in common but the motion.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ssl_zoo import rng
from ssl_zoo.errors import needs
from ssl_zoo.modalities.video.readers import INSTALL

CLASSES = {"down": (1, 0), "left": (0, -1), "right": (0, 1), "up": (-1, 0)}
"""Name of each class, and its step along (height, width)."""

SIZE, RATE, NUM_FRAMES = 48, 16, 32
NUM_DOTS, LIFE = 24, 10
"""Dots of a clip, and frames that one of them lives."""

PARTS = {"views": {"name": "clips", "size": 32, "rate": 16.0}, "encoder": {"name": "tiny_r2plus1d"}}
"""What `ssl-zoo bench data` measures on them."""

BIT_RATE = 600_000
"""Bits per second: enough for the codec to lose little."""

HELD_OUT = 4
"""Every fourth clip of a class is in the test split."""


def write_examples(folder: Path, num: int) -> None:
    """Write clips as `train/CLASS/NUMBER.mp4` and `test/CLASS/NUMBER.mp4`: 48 x 48 pixels, 2 seconds.

    Args:
        folder: to write to; it is made.
        num: clips of all classes together. The first ones are the same for any number.

    Raises:
        UserError: PyAV, which encodes them, is not installed.
    """
    needs("av", INSTALL, "writing example clips")
    names = list(CLASSES)
    for number in range(num):
        name, of_class = names[number % len(names)], number // len(names)
        path = folder / split_of(number) / name / f"{of_class:04d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, dots(number, CLASSES[name]))


def split_of(number: int) -> str:
    """Return the split of a clip, `train` or `test`."""
    return "test" if number // len(CLASSES) % HELD_OUT == HELD_OUT - 1 else "train"


def dots(number: int, step: tuple[int, int]) -> np.ndarray:
    """Return the frames of a clip, uint8 `(T, H, W, 3)`: dots on a plane that is closed in itself.

    Args:
        number: of the clip; all that is random in it follows from this.
        step: along height and width, that of the class.
    """
    drawn = np.random.default_rng(rng.derive(0, "example clips", number))
    speed, lives = drawn.uniform(0.8, 1.6), NUM_FRAMES // LIFE + 2
    age = np.arange(NUM_FRAMES)[:, None] + drawn.integers(0, LIFE, NUM_DOTS)  # (T, dots)
    life, dot = age // LIFE, np.arange(NUM_DOTS)
    start = drawn.uniform(0, SIZE, (lives, NUM_DOTS, 2))[life, dot]
    radius = drawn.uniform(1, 3, (lives, NUM_DOTS))[life, dot]
    shade = drawn.uniform(90, 255, (lives, NUM_DOTS))[life, dot]
    centre = start + (age % LIFE)[..., None] * speed * np.array(step)
    away = (np.arange(SIZE) - centre[..., None] + SIZE / 2) % SIZE - SIZE / 2  # (T, dots, 2, SIZE)
    squared = (away**2).astype(np.float32)
    pictures = np.full((NUM_FRAMES, SIZE, SIZE), 30, np.float32)
    for i in dot:
        distance = np.sqrt(squared[:, i, 0, :, None] + squared[:, i, 1, None, :])
        over = np.clip(radius[:, i, None, None] + 0.5 - distance, 0, 1)
        pictures += (shade[:, i, None, None] - pictures) * over
    return pictures.round().astype(np.uint8)[..., None].repeat(3, axis=3)


def write_video(path: Path, frames: np.ndarray, rate: int = RATE, codec: str = "mpeg4", **options: Any) -> None:
    """Encode frames, uint8 `(T, H, W, 3)`, at a constant rate.

    Args:
        path: whose ending names the container.
        frames: height and width must be even.
        rate: frames per second.
        codec: FFmpeg's name of the encoder.
        **options: of the encoder.
    """
    import av

    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream(codec, rate=Fraction(rate))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.bit_rate = "yuv420p", BIT_RATE
        stream.options = {key: str(value) for key, value in options.items()}
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
