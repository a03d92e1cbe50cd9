"""Randomness as a function of (seed, stream, counters), never of history.

Whatever is random in a run takes a generator from here, named by what it is for and by where in the run it is used. A
run that is resumed, or that has another number of loader workers, therefore draws the same numbers.
"""

import hashlib
import math

import torch
from torch import Tensor


def derive(seed: int, stream: str, *counters: int) -> int:
    """Return a 63-bit seed for one use of randomness, such as `derive(0, "views", step)`."""
    key = ":".join([str(seed), stream, *map(str, counters)]).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") >> 1


def generator(seed: int, stream: str, *counters: int) -> torch.Generator:
    """Return a CPU generator seeded by `derive` with the same arguments."""
    return torch.Generator().manual_seed(derive(seed, stream, *counters))


def hashed_uniform(key: int | Tensor, step: int | Tensor, index: Tensor, num: int) -> Tensor:
    """Return numbers in [0, 1) that are a function of (key, step, index) alone, whatever else is in the batch.

    SplitMix64's finaliser (Steele, Lea & Flood 2014) over a counter, once per argument, in 64-bit integers that wrap
    around: the same on every device, and nothing waits for the device.

    Args:
        key: of the stream, such as `derive(seed, "masks")`, or the same as an int64 tensor `()`.
        step: number of optimizer steps, an int or an integer tensor `()`.
        index: `(B,)`, integers: which sample.
        num: numbers per sample.

    Returns:
        `(B, num)`, float32, multiples of 2^-24.
    """
    whole = _signed(key) if isinstance(key, int) else key
    state = _mix(whole + _GOLDEN * torch.as_tensor(step, dtype=torch.int64, device=index.device))
    state = _mix(state + _GOLDEN * (index.to(torch.int64) + 1))  # (B,)
    state = _mix(state[:, None] + _GOLDEN * torch.arange(1, num + 1, device=index.device))
    return _shifted(state, 40).to(torch.float32) * 2.0**-24


def hashed_normal(key: int | Tensor, step: int | Tensor, index: Tensor, num: int) -> Tensor:
    """Return standard normal numbers `(B, num)`, float32, of magnitude below 6; see `hashed_uniform`.

    By the transform of Box and Muller (1958), so that devices agree up to the rounding of their logarithms.
    """
    first, second = hashed_uniform(key, step, index, 2 * num).chunk(2, dim=1)
    return (-2 * torch.log1p(-first)).sqrt() * (2 * math.pi * second).cos()


def hashed_order(key: int | Tensor, step: Tensor, num: int) -> Tensor:
    """Return the numbers below `num` in random order, on the device of `step`; see `hashed_uniform`."""
    index = torch.arange(num, device=step.device)
    return hashed_uniform(key, step, index, 1)[:, 0].argsort(stable=True)


def draws_on_host(device: torch.device) -> bool:
    """Return whether numbers for a device come from torch's CPU generator; else from a hash, on the device itself.

    A generator's numbers would have to be copied, and the device would wait for them in every step. A comparison of
    devices replaces this function, so that both draw alike.
    """
    return device.type == "cpu"


def _signed(x: int) -> int:
    """Return a 64-bit pattern as the signed integer of the same bits, which torch's int64 takes."""
    return (x + 2**63) % 2**64 - 2**63


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Shift the bits of int64 to the right, zeros coming in: torch's own shift copies the sign."""
    return (x >> bits) & (2 ** (64 - bits) - 1)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shifted(x, 30)) * _FIRST
    x = (x ^ _shifted(x, 27)) * _SECOND
    return x ^ _shifted(x, 31)


_GOLDEN, _FIRST, _SECOND = (_signed(x) for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
