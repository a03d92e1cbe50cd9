"""Randomness as a function of (seed, stream, counters), never of history.

Whatever is random in a run takes a generator from here, named by what it is for and by where in the run it is used. A
run that is resumed, or that has another number of loader workers, therefore draws the same numbers.
"""

import hashlib

import torch


def derive(seed: int, stream: str, *counters: int) -> int:
    """Return a 63-bit seed for one use of randomness, such as `derive(0, "views", step)`."""
    key = ":".join([str(seed), stream, *map(str, counters)]).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") >> 1


def generator(seed: int, stream: str, *counters: int) -> torch.Generator:
    """Return a CPU generator seeded by `derive` with the same arguments."""
    return torch.Generator().manual_seed(derive(seed, stream, *counters))
