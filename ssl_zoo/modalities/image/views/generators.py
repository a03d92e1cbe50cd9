"""The generators of the process that transforms of other libraries draw from: torch's, Python's and NumPy's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_generators(seed: int) -> None:
    """Seed the generators of torch (on the CPU), Python and NumPy."""
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed all GPUs too
    random.seed(seed)
    np.random.seed(seed % 2**32)


@contextmanager
def kept_generators() -> Iterator[None]:
    """Restore the generators of torch (on the CPU), Python and NumPy at the end."""
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])
