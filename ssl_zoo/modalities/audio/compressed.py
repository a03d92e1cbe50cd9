"""Files that soundfile decodes: FLAC, OGG, MP3, AIFF, and WAV of other codecs than plain numbers."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np

from ssl_zoo.errors import needs

_AT_ONCE = 2**18
"""Frames that are decoded at a time: of several channels, only what is made of them is kept."""

_UNKNOWN = 2**40
"""Frames; a length above this is none."""

_BEGINNINGS = {b"fLaC": "FLAC", b"OggS": "OGG", b"FORM": "AIFF", b"ID3": "MP3", b"RIFF": "WAV"}
_INTEGERS = ("PCM_16", "PCM_S8", "PCM_U8")


def kind_of(content: bytes) -> str:
    """Return the format of a file by its first bytes, such as FLAC; empty where it is none of these."""
    for beginning, kind in _BEGINNINGS.items():
        if content.startswith(beginning):
            return kind
    is_frame = len(content) > 1 and content[0] == 0xFF and content[1] & 0xE6 == 0xE2  # MPEG audio, layer III
    return "MP3" if is_frame else ""


def decode(
    content: bytes, kind: str, check: Callable[[int, int, float], None], pick: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, int, int]:
    """Return the values `(n,)` of a file, its rate and its number of channels.

    Args:
        content: the file.
        kind: its format, for messages.
        check: refuses (channels, rate, seconds).
        pick: makes one channel `(n,)` of several `(n, channels)`, int16 or float32.

    Raises:
        ValueError: it cannot be decoded, or is cut short.
        UserError: soundfile is not installed.
    """
    needs("soundfile", "'ssl_zoo[audio]'", f"reading {kind} files")
    import soundfile

    if kind == "OGG":
        _check_pages(content)
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            stated = file.frames if 0 < file.frames < _UNKNOWN else None
            check(file.channels, file.samplerate, (stated or 0) / file.samplerate)
            dtype = "int16" if file.subtype in _INTEGERS else "float32"
            parts = []
            for num, part in _blocks(file, dtype):
                check(file.channels, file.samplerate, num / file.samplerate)
                parts.append(pick(part))
            rate, channels = file.samplerate, file.channels
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise ValueError(f"it is no {kind} file that can be decoded ({_in_words(error)})") from error
    found = sum(map(len, parts))
    if stated is not None and found < stated:
        raise ValueError(
            f"it is cut short: its header states {stated / rate:.2f} s, and {found / rate:.2f} s can be decoded"
        )
    return np.concatenate(parts) if parts else np.zeros(0, np.float32), rate, channels


def _blocks(file: object, dtype: str) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the number of frames so far, and those of a block `(n, channels)`."""
    reader: object = file
    num = 0
    while len(part := reader.read(_AT_ONCE, dtype=dtype, always_2d=True)):  # type: ignore[attr-defined]
        num += len(part)
        yield num, part


def _check_pages(content: bytes) -> None:
    """Refuse an OGG file whose last page is not whole: decoders leave it out without a word.

    Raises:
        ValueError: it is not.
    """
    last = content.rfind(b"OggS")
    segments = content[last + 27 : last + 27 + (content[last + 26] if last + 26 < len(content) else 1)]
    if last + 26 >= len(content) or len(segments) < content[last + 26]:
        raise ValueError("it is cut short: its last page is not whole")
    if last + 27 + len(segments) + sum(segments) > len(content):
        raise ValueError("it is cut short: its last page is not whole")


def _in_words(error: Exception) -> str:
    """Return the message of libsndfile without the name of the file, which is an object in memory."""
    return str(getattr(error, "error_string", error)).rstrip(".").removeprefix("Error : ")
