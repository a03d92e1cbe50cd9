"""Decoding of recordings: WAV by this package, other formats by soundfile; one channel, at one rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, BinaryIO, Literal

import numpy as np
import torch
from pydantic import Field

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.modalities.audio import compressed, riff
from ssl_zoo.modalities.audio.resample import resample
from ssl_zoo.modalities.audio.sound import FULL, Sound

EXTENSIONS = frozenset({".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff"})
Channel = Literal["mean", "left", "right"] | Annotated[int, Field(ge=1)]
HIGHEST_RATE = 768_000
"""Samples per second; no file in use has more."""

MOST_CHANNELS = 64
_BYTES_PER_SECOND = 1_000_000
"""Of an encoded file, at most: two channels of 32 bits at 96 kHz are 768,000."""


@dataclass(frozen=True)
class Decoding:
    """How files become recordings of one channel.

    Attributes:
        sample_rate: that recordings are brought to; None leaves them as they are.
        channel: `mean` of all channels, `left` or `right`, or a number from 1. The one channel of a mono file is taken
            for `mean`, `left` and `right`.
        max_seconds: a longer recording is refused.
    """

    sample_rate: int | None = None
    channel: Channel = "mean"
    max_seconds: float = 600.0

    @property
    def max_bytes(self) -> int:
        """The largest file that is read."""
        return int(_BYTES_PER_SECOND * self.max_seconds) + 2**20

    def decode(self, data: bytes | BinaryIO, name: str) -> Sound:
        """Return an encoded recording, decoded.

        Args:
            data: the file, or its bytes.
            name: of the sample, for messages.

        Raises:
            BadSample: it cannot be decoded, is cut short, empty, too long, or has values that are not finite.
        """
        values, rate, _, _ = self._read(data, name)
        return self.resampled(Sound(torch.from_numpy(values), rate))

    def resampled(self, sound: Sound) -> Sound:
        """Return a recording at `sample_rate`, where one is asked for."""
        rate = self.sample_rate or sound.rate
        if rate == sound.rate:
            return sound
        return Sound(resample(sound.part(0, len(sound)), sound.rate, rate), rate)

    def remarks(self, data: bytes | BinaryIO, name: str) -> tuple[str, ...]:
        """Return notes on how a recording is understood.

        Raises:
            BadSample: as `decode`.
        """
        values, rate, channels, notes = self._read(data, name)
        if channels > 1:
            which = f"the {self.channel}" if isinstance(self.channel, str) else f"number {self.channel}"
            notes.append(f"{channels} channels, of which {which} is taken")
        if self.sample_rate not in (None, rate):
            notes.append(f"resampled from {rate} to {self.sample_rate} Hz")
        if not values.any():
            notes.append("silence: all values are 0")
        return tuple(notes)

    def _read(self, data: bytes | BinaryIO, name: str) -> tuple[np.ndarray, int, int, list[str]]:
        """Return the values `(n,)`, the rate, the number of channels in the file, and notes."""
        content = data if isinstance(data, bytes) else data.read(self.max_bytes + 1)
        notes: list[str] = []
        try:
            values, rate, channels = self._of_wav(content, notes) if riff.is_wav(content) else self._of_other(content)
        except ValueError as error:  # a UserError that names a missing package is one, too
            if type(error) is not ValueError:
                raise
            raise BadSample(name, str(error)) from error
        if not len(values):
            raise BadSample(name, "it holds no sound: its length is 0")
        if values.dtype == np.float32 and not np.isfinite(values).all():
            place = int(np.argmin(np.isfinite(values)))
            raise BadSample(name, f"a value is not finite (nan or inf), at {place / rate:.3f} s")
        return values, rate, channels, notes

    def _of_wav(self, content: bytes, notes: list[str]) -> tuple[np.ndarray, int, int]:
        wav = riff.read_header(content)
        if wav.missing:
            raise ValueError(wav.missing)
        if not wav.plain:
            return compressed.decode(content, f"WAV (codec {wav.codec}, {wav.bits} bits)", self._check, self._one)
        self._check(wav.channels, wav.rate, wav.num_frames / wav.rate)
        if wav.stated is None:
            notes.append("its header leaves its length open: read to the end of the file")
        frames = wav.frames()
        if self.channel != "mean" or wav.channels == 1:
            place = self._place(wav.channels)
            return wav.numbers(frames[:, place : place + 1])[:, 0], wav.rate, wav.channels
        parts = [self._one(wav.numbers(frames[i : i + 2**18])) for i in range(0, len(frames), 2**18)]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32), wav.rate, wav.channels

    def _of_other(self, content: bytes) -> tuple[np.ndarray, int, int]:
        if not content:
            raise ValueError("the file is empty")
        kind = compressed.kind_of(content)
        if not kind:
            raise ValueError("it is no WAV, FLAC, OGG, MP3 or AIFF file")
        return compressed.decode(content, kind, self._check, self._one)

    def _check(self, channels: int, rate: int, seconds: float) -> None:
        """Refuse what is too large to be decoded."""
        if not 0 < rate <= HIGHEST_RATE or channels > MOST_CHANNELS:
            raise ValueError(f"its header states {channels} channels at {rate} Hz")
        if seconds > self.max_seconds:
            raise ValueError(
                f"it lasts {seconds:.1f} s or more, and {self.max_seconds:g} s are allowed; raise "
                "data.decode.max_seconds"
            )

    def _place(self, channels: int) -> int:
        """Return the index of the chosen channel."""
        if isinstance(self.channel, int):
            if self.channel > channels:
                raise ValueError(
                    f"it has {channels} channel{'s' if channels > 1 else ''}, and data.decode.channel is {self.channel}"
                )
            return self.channel - 1
        return 1 if self.channel == "right" and channels > 1 else 0

    def _one(self, frames: np.ndarray) -> np.ndarray:
        """Return one channel `(n,)` of frames `(n, channels)`: one of them as it is, or the mean as float32."""
        channels = frames.shape[1]
        if self.channel != "mean" or channels == 1:
            return np.ascontiguousarray(frames[:, self._place(channels)])
        mean = frames.mean(axis=1, dtype=np.float64)
        return (mean / FULL if frames.dtype == np.int16 else mean).astype(np.float32)
