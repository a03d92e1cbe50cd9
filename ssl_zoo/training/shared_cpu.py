"""Threads on a CPU that other processes use too.

torch's threads wait for each other after each operation. OpenMP lets them spin for some milliseconds before they sleep,
which is quickest where each thread has a core of its own. Where two processes share the cores, a spinning thread holds
the core that the thread it waits for needs, and both processes slow down many times. How long they spin is read from
the environment when torch is loaded. The number of threads is never changed: sums would be rounded in another order.
"""

from __future__ import annotations

import os

SPINS = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0"}
"""Settings of GNU's and of Intel's OpenMP, by which threads spin for microseconds."""


def sleep_soon() -> None:
    """Let threads that wait sleep soon; to be called before torch is loaded. What the environment says stays."""
    if not any(name in os.environ for name in ("OMP_WAIT_POLICY", *SPINS)):
        os.environ.update(SPINS)


def sleeps_soon() -> bool:
    """Return whether the environment asks for it."""
    return os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive" or any(
        os.environ.get(name) == value for name, value in SPINS.items()
    )
