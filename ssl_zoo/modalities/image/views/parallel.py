"""Jobs side by side on a CPU, one thread each.

Torch spreads every operation over all threads, and they wait for each other after each. Where an operation is too
small or too plain to be spread, such as the resize of one image, whole jobs scale better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "views")


def in_turn(jobs: Sequence[Callable[[], None]]) -> None:
    """Run one job after the other."""
    for job in jobs:
        job()


def side_by_side(jobs: Sequence[Callable[[], None]]) -> None:
    """Run jobs on as many threads as torch may use, without gradients. Each job's operations run on its own thread."""
    threads = torch.get_num_threads()
    if threads < 2 or len(jobs) < 2:
        return in_turn(jobs)

    def alone(job: Callable[[], None]) -> None:
        torch.set_num_threads(1)  # of this thread, but also of threads that begin later
        with torch.no_grad():
            job()

    try:
        list(_pool(threads).map(alone, jobs))
    finally:
        torch.set_num_threads(threads)
