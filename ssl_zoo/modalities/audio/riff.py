"""WAV files: their header, and their values where these are stored as plain numbers.

The standard library's `wave` reads fewer kinds, and like every other reader takes a file that is cut short for a short
one; so the header is read here, and its length compared with what is there.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
_MOST_CHUNKS = 10_000
_UNKNOWN = 0x7FFFF000
"""Programs that write to a pipe cannot know the length, and state this much or more."""


@dataclass(frozen=True)
class Wav:
    """A WAV file, its header read.

    Attributes:
        codec: number of the way that values are stored.
        channels: at least 1.
        rate: samples per second.
        bits: of a stored value.
        bytes_per_second: as stated.
        data: the stored values that are there.
        stated: the bytes of them that the header states; None where it leaves that open.
    """

    codec: int
    channels: int
    rate: int
    bits: int
    bytes_per_second: int
    data: memoryview
    stated: int | None

    @property
    def plain(self) -> bool:
        """Whether `frames` reads it."""
        return (self.codec, self.bits) in _READERS

    @property
    def missing(self) -> str:
        """What is missing of it; empty where nothing is."""
        if self.stated is None or len(self.data) >= self.stated:
            return ""
        have, whole = (size / self.bytes_per_second for size in (len(self.data), self.stated))
        return f"it is cut short: its header states {whole:.2f} s, and {have:.2f} s are there"

    @property
    def num_frames(self) -> int:
        """Number of values of each channel, for plain ones."""
        return len(self.data) // (self.channels * self.bits // 8)

    def frames(self) -> np.ndarray:
        """Return the values `(num_frames, channels)`, as they are stored or, of 24 bits, their bytes as a last axis."""
        width = self.channels * self.bits // 8
        stored = np.frombuffer(self.data, np.uint8, self.num_frames * width).reshape(-1, self.channels, self.bits // 8)
        return stored if self.bits == 24 else stored.view(_READERS[self.codec, self.bits][0])[..., 0]

    def numbers(self, frames: np.ndarray) -> np.ndarray:
        """Return some of the frames as int16 where that holds them, else as float32 from -1 to 1."""
        return _READERS[self.codec, self.bits][1](frames)


def _of_24_bits(stored: np.ndarray) -> np.ndarray:
    padded = np.zeros((*stored.shape[:-1], 4), np.uint8)
    padded[..., 1:] = stored
    return padded.view("<i4")[..., 0].astype(np.float32) / np.float32(2**31)


_READERS: dict[tuple[int, int], tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    (PCM, 8): ("u1", lambda x: (x.astype(np.int16) - 128) * np.int16(256)),
    (PCM, 16): ("<i2", lambda x: x.astype(np.int16)),
    (PCM, 24): ("", _of_24_bits),
    (PCM, 32): ("<i4", lambda x: x.astype(np.float32) / np.float32(2**31)),
    (FLOAT, 32): ("<f4", lambda x: x.astype(np.float32)),
    (FLOAT, 64): ("<f8", lambda x: x.astype(np.float32)),
}
"""(codec, bits) -> type of the stored values, and what makes numbers of them."""


def is_wav(content: bytes) -> bool:
    """Return whether a file begins as a WAV does."""
    return content[:4] == b"RIFF" and content[8:12] == b"WAVE"


def read_header(content: bytes) -> Wav:
    """Return a WAV file, its header read and checked.

    Raises:
        ValueError: it is damaged.
    """
    fields: tuple[int, ...] | None = None
    place = 12
    for _ in range(_MOST_CHUNKS):
        if place + 8 > len(content):
            break
        kind, size = struct.unpack_from("<4sI", content, place)
        place += 8
        if kind == b"fmt ":
            fields = _format(content[place : place + min(size, 40)])
        elif kind == b"data":
            if fields is None:
                raise ValueError("its header does not say how its values are stored")
            codec, channels, rate, bytes_per_second, bits = fields
            stated = None if size >= _UNKNOWN and place + size > len(content) else size
            return Wav(codec, channels, rate, bits, bytes_per_second, memoryview(content)[place : place + size], stated)
        place += size + size % 2
    raise ValueError("it has a header and no sound: it may be cut short")


def _format(chunk: bytes) -> tuple[int, int, int, int, int]:
    """Return codec, channels, rate, bytes per second and bits."""
    if len(chunk) < 16:
        raise ValueError("its header is cut short")
    codec, channels, rate, bytes_per_second, block, bits = struct.unpack_from("<HHIIHH", chunk)
    if codec == EXTENSIBLE and len(chunk) >= 26:
        (codec,) = struct.unpack_from("<H", chunk, 24)
    if not channels or not rate or not bytes_per_second:
        raise ValueError(f"its header states {channels} channels at {rate} Hz")
    if codec in (PCM, FLOAT) and block != channels * bits // 8:
        raise ValueError(f"its header states {channels} channels of {bits} bits in {block} bytes")
    return codec, channels, rate, bytes_per_second, bits
