"""From a split to batches for the optimizer: a stream that is a pure function of (seed, step).

Which samples step `s` sees follows from the permutation of its epoch, and what is random in its views from a generator
named by `s`. So the stream is the same bit for bit with any number of workers, and from any first step, in the middle
of an epoch too: all that a resumed run needs of the loader is the list of the samples that it could not read.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from typing import Literal

import numpy.random  # noqa: F401 - torch seeds it in each worker, where a first import would run beside another thread
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ssl_zoo import rng
from ssl_zoo.data.bad_samples import Budget
from ssl_zoo.data.held import KeptSplit, LargeSplit
from ssl_zoo.data.micro_batches import Bad, Draws, Reader, Request
from ssl_zoo.data.raw_batch import RawBatch as RawBatch
from ssl_zoo.data.replacements import MOST, Replacements
from ssl_zoo.data.source import Split, ViewPolicy
from ssl_zoo.data.workers import check_travels
from ssl_zoo.errors import UserError

Join = Callable[[list[Bad]], list[list[Bad]]]
"""Takes a list of one process, and returns those of all by rank; all of them call it."""

FORKS = sys.platform == "linux"
"""Whether worker processes are forked; elsewhere the data are sent to them, pickled."""


class Loader:
    """Reads batches of a split, in worker processes if asked.

    Args:
        split: the samples.
        policy: the view policy: `draw` and `collate` are called here, perhaps in a worker.
        batch_size: samples of one optimizer step.
        seed: of the run.
        num_workers: processes that read and collate; 0 does it in this one.
        accumulate: micro-batches that a batch is cut into; divides `batch_size`.
        on_error: `raise` stops at the first sample that cannot be read; `skip` reads another in its place, see
            `ssl_zoo.data.replacements`, so that all batches have the same size.
        bad_budget: with `skip`, the largest fraction of the split that may be bad, 0..1.
        pin_memory: put batches into page-locked memory, for a faster copy to a GPU.
        rank: of `num_ranks` processes this one, from 0. Each takes its own part of every micro-batch; together they
            are the samples and views of one process.
        num_ranks: processes that train together; divides a micro-batch.
        draws: what the method draws for a micro-batch on the host, perhaps in a worker.
        join: with `skip` and several processes, what tells each of the bad samples of all others, in every step; None
            leaves each with its own.

    Attributes:
        steps_per_epoch: whole batches in the split, or in what its `draws` take for an epoch; the few samples that
            remain differ between epochs.

    Raises:
        UserError: fewer samples than a batch, or a batch that `accumulate` and `num_ranks` do not divide.
    """

    def __init__(
        self,
        split: Split,
        policy: ViewPolicy,
        *,
        batch_size: int,
        seed: int,
        num_workers: int = 0,
        accumulate: int = 1,
        on_error: Literal["raise", "skip"] = "raise",
        bad_budget: float = 0.001,
        pin_memory: bool = False,
        rank: int = 0,
        num_ranks: int = 1,
        draws: Draws | None = None,
        join: Join | None = None,
    ) -> None:
        check_divides(batch_size, accumulate, num_ranks)
        num = len(split) if split.draws is None else split.draws.num
        self.steps_per_epoch = num // batch_size
        if not self.steps_per_epoch:
            raise UserError(
                f"the data have {num} samples, fewer than one batch of {batch_size}: "
                f"lower batch_size to at most {num} or give more data."
            )
        if num_workers and not FORKS:
            check_travels(split)
        held = split.stacked or isinstance(split, (KeptSplit, LargeSplit))  # without bad samples
        skips = on_error == "skip" and not held
        replacements = Replacements(split, seed, batch_size, self.steps_per_epoch) if skips else None
        self._reader = Reader(split, policy, seed, batch_size, draws, replacements)
        self._num_workers, self._accumulate, self._pin_memory = num_workers, accumulate, pin_memory
        self._rank, self._num_ranks = rank, num_ranks
        self._join = join if skips and num_ranks > 1 else None
        self._budget, self._settled = Budget(len(split), on_error, bad_budget), 0

    @property
    def bad(self) -> dict[str, str]:
        """Name -> reason of the samples that could not be read so far, in all processes; each once."""
        return self._budget.bad

    def draw_by(self, draws: Draws | None) -> None:
        """Let another method draw in the steps that are asked for from now on."""
        self._reader = replace(self._reader, draws=draws)

    def state(self) -> dict[str, str]:
        """Return the bad samples up to the last step that was yielded, for a checkpoint; see `load`."""
        return dict(islice(self.bad.items(), self._settled))

    def load(self, state: Mapping[str, str]) -> None:
        """Go on with the bad samples that a resumed run has met."""
        self._budget.bad, self._settled = dict(state), len(state)

    def iterate(self, start_step: int, stop_step: int) -> Iterator[list[RawBatch]]:
        """Yield the micro-batches of optimizer steps `start_step` to `stop_step` - 1, a list per step.

        Workers live as long as the iterator: ask for all steps of a run at once, not epoch by epoch. Closing the
        iterator, or dropping it, ends them.

        Raises:
            UserError: a sample cannot be read, or more than the budget allows, in all processes together.
        """
        stream = self._stream(start_step, stop_step)
        try:
            for step in range(start_step, stop_step):
                batches = [next(stream) for _ in range(self._accumulate)]
                self._check(batches, step)
                yield batches
        finally:
            del stream  # the last reference: its workers are stopped and joined

    def _check(self, batches: list[RawBatch], step: int) -> None:
        """Count the bad samples of a step in all processes, in the order of their places in the batch.

        Raises:
            UserError: they are too many, a place was left without a sample, or the view policy refuses the samples.
        """
        bad = [batch.bad for batch in batches]
        for parts in zip(*([bad] if self._join is None else self._join(bad)), strict=True):  # of a micro-batch
            for name, reason in chain(*parts):
                self._budget.add(name, reason)
        for batch in batches:
            if batch.error:
                raise UserError(batch.error)
            if not len(batch.index):
                raise UserError(
                    f"a place of the batch of step {step} stays empty: neither its sample nor any of {MOST} others can "
                    f"be read{self._budget.example()}."
                )
        self._settled = len(self.bad)

    def _stream(self, start_step: int, stop_step: int) -> Iterator[RawBatch]:
        with _sigterm_blocked(), _sigchld_kept(), warnings.catch_warnings():
            # Python >= 3.12 warns of any fork in a process with threads. These workers take no lock that torch's
            # threads hold.
            warnings.filterwarnings("ignore", message=".*use of fork", category=DeprecationWarning)
            # The number of workers is bounded by `choose_workers`, which also warns.
            warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
            return iter(
                DataLoader(
                    self._reader,
                    batch_size=None,  # a request is a micro-batch already
                    sampler=self._requests(start_step, stop_step),
                    num_workers=self._num_workers,
                    # Forked workers share the split's memory with this process, and find the parts a user registered.
                    multiprocessing_context="fork" if self._num_workers and FORKS else None,
                    worker_init_fn=_init_worker,
                    pin_memory=self._pin_memory,
                    # Seeds what third-party code in a worker draws without a generator; without it, the DataLoader
                    # takes a number from the global generator, and the run would depend on how often it is restarted.
                    generator=rng.generator(self._reader.seed, "workers", start_step),
                )
            )

    def _requests(self, start_step: int, stop_step: int) -> Iterator[Request]:
        size = self._reader.batch_size // self._accumulate
        for step in range(start_step, stop_step):
            epoch, place = divmod(step, self.steps_per_epoch)
            if step == start_step or place == 0:
                batch_at = _order(self._reader.split, self._reader.seed, epoch, self._reader.batch_size)
            batch = batch_at(place)
            own = size // self._num_ranks
            for first in range(self._rank * own, len(batch), size):
                yield Request(step, first, batch[first : first + own].tolist())


def _order(split: Split, seed: int, epoch: int, batch_size: int) -> Callable[[int], Tensor]:
    """Return a function that gives the samples of a batch of an epoch, by its place there."""
    if split.blocks is not None:
        return split.blocks.order(seed, epoch, batch_size).batch
    generator = rng.generator(seed, "order", epoch)
    order = torch.randperm(len(split), generator=generator) if split.draws is None else split.draws.order(generator)
    return lambda place: order[place * batch_size :][:batch_size]


def check_divides(batch_size: int, accumulate: int, num_ranks: int) -> None:
    """Make sure that a batch can be cut into equal parts, for accumulation and for processes.

    Raises:
        UserError: it cannot; the message names the nearest sizes that can.
    """
    if batch_size % accumulate:
        raise UserError(f"batch_size: {batch_size} cannot be cut into accumulate: {accumulate} equal parts.")
    parts = accumulate * num_ranks
    if batch_size % parts:
        less, more = batch_size // parts * parts, (batch_size // parts + 1) * parts
        raise UserError(
            f"training.batch_size: {batch_size} cannot be cut into equal parts for {num_ranks} processes"
            + (f" and training.accumulate={accumulate}" if accumulate > 1 else "")
            + f"; use {f'{less} or {more}' if less else more}."
        )


@contextmanager
def _sigterm_blocked() -> Iterator[None]:
    """Block SIGTERM while workers are forked: their threads inherit the mask, and `_obey` receives the signal."""
    if not hasattr(signal, "sigwaitinfo"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _sigchld_kept() -> Iterator[None]:
    """Keep the handler of SIGCHLD: torch's raises wherever the program is when a worker is lost, in a write too.

    Without it torch finds a lost worker within 5 s, where it waits for the next batch.
    """
    before = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, before)


def _init_worker(worker: int) -> None:
    """Keep signals from ending a worker process, unless its parent sends them.

    Ctrl-C and a scheduler's SIGTERM reach the whole process group. What follows from them is for the main process to
    decide: it saves, and then ends its workers. A worker that died of the signal would break the run before that.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        threading.Thread(target=_obey, args=(os.getppid(),), daemon=True).start()


def _obey(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
