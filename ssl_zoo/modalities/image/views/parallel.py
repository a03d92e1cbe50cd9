"""Jobs side by side on a CPU, one thread each.

Torch spreads every operation over all threads, and they wait for each other after each. Where an operation is too
small or too plain to be spread, such as the resize of one image, whole jobs scale better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

import torch

_threads: ContextVar[int] = ContextVar("threads", default=1)


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "views")


@contextmanager
def one_thread(wanted: bool = True) -> Iterator[None]:
    """Run torch's operations on this thread alone, so that the others are free for `side_by_side`.

    A thread that took part in an operation waits for the next one in a loop, for some milliseconds (as libgomp does),
    which would cost the jobs a processor.

    Args:
        wanted: False changes nothing.
    """
    threads = torch.get_num_threads()
    if threads == 1 or not wanted:
        yield
        return
    token = _threads.set(threads)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _threads.reset(token)


def free_threads() -> int:
    """Return how many threads jobs may take: in `one_thread`, as many as torch had before it; elsewhere, one."""
    return _threads.get()


def side_by_side(jobs: Sequence[Callable[[], None]]) -> None:
    """Run jobs on as many threads as `free_threads` says, this one included."""
    threads = min(free_threads(), len(jobs))
    inference = torch.is_inference_mode_enabled()
    waiting = iter(jobs)  # a step of an iterator is one step of the interpreter: no job is taken twice

    def work() -> None:
        for job in waiting:
            job()

    def alone() -> None:
        torch.set_num_threads(1)  # of this thread, as are these modes
        with torch.inference_mode(inference), torch.no_grad():
            work()

    others = [_pool(threads - 1).submit(alone) for _ in range(threads - 1)]
    try:
        work()
    finally:
        for other in others:
            other.result()
