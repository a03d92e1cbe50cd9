"""A recording in memory, and as a WAV file."""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass

import torch
from torch import Tensor

FULL = 2**15
"""What 16-bit values are divided by: they are from -1 to below 1."""


@dataclass(frozen=True, eq=False)
class Sound:
    """A recording of one channel.

    Attributes:
        wave: `(n,)`, n at least 1: int16 where the file holds no more than that, which are 32768 times the values; else
            float32, from -1 to 1 unless the file goes beyond.
        rate: samples per second.
    """

    wave: Tensor
    rate: int

    def __len__(self) -> int:
        return len(self.wave)

    @property
    def nbytes(self) -> int:
        """Its size in memory, in bytes."""
        return self.wave.nbytes

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.wave) / self.rate

    def part(self, start: int, stop: int) -> Tensor:
        """Return the samples from `start` to before `stop`, as float32."""
        part = self.wave[start:stop]
        return part / FULL if part.dtype == torch.int16 else part


def wav_bytes(sound: Sound, seconds: float) -> bytes:
    """Return the beginning of a recording as a WAV file of 16 bits; louder values than 1 are clipped.

    Args:
        sound: the recording.
        seconds: at most so many.
    """
    part = sound.part(0, max(1, int(seconds * sound.rate)))
    values = (part.double() * FULL).round().clamp(-FULL, FULL - 1).to(torch.int16).numpy().astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(sound.rate)
        writer.writeframes(values.tobytes())
    return file.getvalue()
