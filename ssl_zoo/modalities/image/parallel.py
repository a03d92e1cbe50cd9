"""Jobs side by side on a CPU, one thread each.

Torch spreads every operation over all threads, and they wait for each other after each. For many short operations, jobs
that need not wait scale better, and do not stall where other programs use the processor too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch


def side_by_side(jobs: Sequence[Callable[[], None]]) -> None:
    """Run jobs on as many threads as torch may use, without gradients. Each job's operations run on its own thread."""
    threads = min(torch.get_num_threads(), len(jobs))
    if threads < 2:
        for job in jobs:
            job()
        return

    def alone(job: Callable[[], None]) -> None:
        with torch.no_grad():
            job()

    num = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(alone, jobs))
    finally:
        torch.set_num_threads(num)  # a thread's number is its own, but it is also what later threads begin with
