"""Recordings at another rate, by a windowed sinc."""

from __future__ import annotations

from math import ceil, gcd, pi

import torch
from torch import Tensor

ZEROS = 6
"""Zero crossings of the sinc on each side."""

ROLLOFF = 0.99
"""Fraction of the lower half rate up to which frequencies are kept."""

_AT_ONCE = 2**20
"""Values that are multiplied at once, which bounds the memory."""


def resample(x: Tensor, rate: int, new_rate: int) -> Tensor:
    """Return a recording at another rate: a sinc with a squared-cosine window, low-pass below the lower half rate.

    Sample j of the result lies at time j / new_rate. The filter is polyphase: the weights repeat after
    new_rate / gcd(rate, new_rate) samples. See Smith, Digital Audio Resampling (2002), chapter on the window method.

    Args:
        x: float32 `(n,)`.
        rate: of x, per second.
        new_rate: of the result.

    Returns:
        `(ceil(n * new_rate / rate),)`.
    """
    if rate == new_rate:
        return x
    common = gcd(rate, new_rate)
    old, new = rate // common, new_rate // common
    scale = ROLLOFF * min(old, new) / old  # of the sinc, in samples of x
    half = ceil(ZEROS / scale)
    taps = torch.arange(-half, half + 1)
    num = -(-len(x) * new // old)
    padded = torch.nn.functional.pad(x, (half, half + 1))
    weights = _weights(torch.arange(min(new, num)) * old % new, new, taps, scale)
    parts = []
    for index in torch.arange(num).split(max(1, _AT_ONCE // len(taps))):
        around = padded[(index * old // new)[:, None] + taps + half]
        parts.append((around * weights[index % new]).sum(dim=1))
    return torch.cat(parts)


def _weights(phases: Tensor, new: int, taps: Tensor, scale: float) -> Tensor:
    """Return the filter of each phase, `(phases, taps)`."""
    t = ((taps - phases[:, None].double() / new) * scale).clamp(-ZEROS, ZEROS)
    return (torch.sinc(t) * torch.cos(pi * t / ZEROS / 2).square() * scale).float()
