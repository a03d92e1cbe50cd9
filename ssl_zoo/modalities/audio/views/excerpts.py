"""Excerpts of recordings, of one length: cut from longer ones, around which shorter ones are filled up."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from ssl_zoo.modalities.audio.sound import Sound

Padding = Literal["zeros", "repeat"]


def first_sample(num: int, length: int, place: float) -> int:
    """Return where an excerpt starts; below 0 where the recording is shorter than the excerpt.

    Args:
        num: samples of the recording.
        length: samples of the excerpt.
        place: 0 is the earliest place of the excerpt, 1 (excluded) the latest; of a short recording, its latest and its
            earliest place in the excerpt.
    """
    room = num - length
    return min(int(place * (room + 1)), room) if room >= 0 else max(-int(place * (1 - room)), room)


def excerpt(sound: Sound, start: int, length: int, padding: Padding) -> Tensor:
    """Return `length` samples of a recording from `start` on, as float32.

    Args:
        sound: the recording.
        start: of the excerpt; at or below 0 where the recording is shorter.
        length: of the excerpt.
        padding: what is before and after a shorter recording: silence, or the recording again.
    """
    if start >= 0 and start + length <= len(sound):
        return sound.part(start, start + length)
    whole = sound.part(0, len(sound))
    if padding == "repeat":
        return whole[torch.arange(start, start + length) % len(sound)]
    return pad(whole, (-start, length - len(sound) + start))


def place_in(num: int, start: int, length: int) -> tuple[float, float]:
    """Return start and extent of an excerpt, as fractions of the recording; it may go beyond on both sides."""
    return start / num, length / num
