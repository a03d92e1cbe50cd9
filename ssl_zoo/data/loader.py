"""From a split to batches for the optimizer: a stream that is a pure function of (seed, step).

Which samples step `s` sees follows from the permutation of its epoch, and what is random in its views from a generator
named by `s`. So the stream is the same bit for bit with any number of workers, and from any first step, in the middle
of an epoch too: a resumed run needs no state of the loader.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ssl_zoo import rng
from ssl_zoo.data.bad_samples import BadSample, Budget
from ssl_zoo.data.cutter import Cutter
from ssl_zoo.data.held import KeptSplit, LargeSplit
from ssl_zoo.data.raw_batch import RawBatch as RawBatch
from ssl_zoo.data.source import Samples, Split, ViewPolicy
from ssl_zoo.data.workers import check_travels
from ssl_zoo.errors import UserError

FORKS = sys.platform == "linux"
"""Whether worker processes are forked; elsewhere the data are sent to them, pickled."""

Draws = Callable[[int, Tensor], dict[str, Tensor]]
"""(optimizer step, positions of samples in the split `(B,)`) -> what a method draws for them; see `Method.draws`."""


@dataclass(frozen=True)
class _Request:
    """A micro-batch that a worker is to make: its optimizer step, and the samples in it."""

    step: int
    first: int  # position of the micro-batch's first sample in the batch
    indices: list[int]


@dataclass(frozen=True)
class _Reader(Dataset[RawBatch]):
    """Answers requests; this is what lives in a worker process."""

    split: Split
    policy: ViewPolicy
    seed: int
    batch_size: int
    draws: Draws | None

    def __getitem__(self, request: _Request) -> RawBatch:
        # Drawn for the whole batch and then chosen from: neither the number of micro-batches nor a sample left out
        # changes what is drawn for the others.
        drawn = self.policy.draw(rng.generator(self.seed, "views", request.step), self.batch_size)
        nothing = torch.empty(0, dtype=torch.int64)
        try:
            kept, samples, bad = self._read(request, drawn)
            if not kept:
                return RawBatch({}, nothing, bad)
            rows = torch.tensor(kept) + request.first
            payload = self.policy.collate(samples, {key: value[rows] for key, value in drawn.items()})
        except UserError as error:
            return RawBatch({}, nothing, [], str(error))
        index = torch.tensor(request.indices)[kept]
        return RawBatch(payload, index, bad, drawn={} if self.draws is None else self.draws(request.step, index))

    def _read(self, request: _Request, drawn: dict[str, Tensor]) -> tuple[list[int], Samples, list[tuple[str, str]]]:
        """Return the places in the request that could be read, their samples or cuts, and those that could not."""
        if self.split.stacked:
            return list(range(len(request.indices))), self.split.read_batch(torch.tensor(request.indices)), []
        cutter, kept, bad = Cutter(self.policy, drawn), [], []
        for place, i in enumerate(request.indices):
            try:
                cutter.add(self.split.read(i), request.first + place)
            except BadSample as error:
                bad.append((error.name, error.reason))
                continue
            kept.append(place)
        return kept, cutter.finish(), bad


class Loader:
    """Reads batches of a split, in worker processes if asked.

    Args:
        split: the samples.
        policy: the view policy: `draw` and `collate` are called here, perhaps in a worker.
        batch_size: samples of one optimizer step.
        seed: of the run.
        num_workers: processes that read and collate; 0 does it in this one.
        accumulate: micro-batches that a batch is cut into; divides `batch_size`.
        on_error: `raise` stops at the first sample that cannot be read; `skip` leaves it out of its batch, which is
            then smaller (another in its place would be seen twice).
        bad_budget: with `skip`, the largest fraction of the split that may be bad, 0..1.
        pin_memory: put batches into page-locked memory, for a faster copy to a GPU.
        rank: of `num_ranks` processes this one, from 0. Each takes its own part of every micro-batch; together they
            are the samples and views of one process.
        num_ranks: processes that train together; divides a micro-batch.
        draws: what the method draws for a micro-batch on the host, perhaps in a worker.

    Attributes:
        steps_per_epoch: whole batches in the split, or in what its `draws` take for an epoch; the few samples that
            remain differ between epochs.
        one_size: whether all micro-batches have the same number of samples; with `skip` of what is read during the
            training they may not.

    Raises:
        UserError: fewer samples than a batch, a batch that `accumulate` and `num_ranks` do not divide, or `skip` where
            it would leave the processes with parts of different size.
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
    ) -> None:
        check_divides(batch_size, accumulate, num_ranks)
        held = split.stacked or isinstance(split, (KeptSplit, LargeSplit))
        if num_ranks > 1 and on_error == "skip" and not held:
            raise UserError(
                f"data.on_error: skip would leave {num_ranks} processes with batches of different size, as the samples "
                "are read during training; use data.cache=memory, which reads them before, or data.on_error=raise."
            )
        num = len(split) if split.draws is None else split.draws.num
        self.steps_per_epoch = num // batch_size
        if not self.steps_per_epoch:
            raise UserError(
                f"the data have {num} samples, fewer than one batch of {batch_size}: "
                f"lower batch_size to at most {num} or give more data."
            )
        self.one_size = held or on_error == "raise"
        if num_workers and not FORKS:
            check_travels(split)
        self._reader = _Reader(split, policy, seed, batch_size, draws)
        self._num_workers, self._accumulate, self._pin_memory = num_workers, accumulate, pin_memory
        self._rank, self._num_ranks = rank, num_ranks
        self._budget = Budget(len(split), on_error, bad_budget)

    @property
    def bad(self) -> dict[str, str]:
        """Name -> reason of the samples that could not be read so far."""
        return self._budget.bad

    def draw_by(self, draws: Draws | None) -> None:
        """Let another method draw in the steps that are asked for from now on."""
        self._reader = replace(self._reader, draws=draws)

    def iterate(self, start_step: int, stop_step: int) -> Iterator[list[RawBatch]]:
        """Yield the micro-batches of optimizer steps `start_step` to `stop_step` - 1, a list per step.

        Workers live as long as the iterator: ask for all steps of a run at once, not epoch by epoch. Closing the
        iterator, or dropping it, ends them.

        Raises:
            UserError: a sample cannot be read, or more than the budget allows.
        """
        stream = self._stream(start_step, stop_step)
        try:
            for step in range(start_step, stop_step):
                yield [self._checked(next(stream), step) for _ in range(self._accumulate)]
        finally:
            del stream  # the last reference: its workers are stopped and joined

    def _checked(self, batch: RawBatch, step: int) -> RawBatch:
        if batch.error:
            raise UserError(batch.error)
        for name, reason in batch.bad:
            self._budget.add(name, reason)
        if not len(batch.index):
            raise UserError(f"no sample of a batch of step {step} can be read{self._budget.example()}.")
        return batch

    def _stream(self, start_step: int, stop_step: int) -> Iterator[RawBatch]:
        with _sigterm_blocked(), warnings.catch_warnings():
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

    def _requests(self, start_step: int, stop_step: int) -> Iterator[_Request]:
        size = self._reader.batch_size // self._accumulate
        for step in range(start_step, stop_step):
            epoch, place = divmod(step, self.steps_per_epoch)
            if step == start_step or place == 0:
                batch_at = _order(self._reader.split, self._reader.seed, epoch, self._reader.batch_size)
            batch = batch_at(place)
            own = size // self._num_ranks
            for first in range(self._rank * own, len(batch), size):
                yield _Request(step, first, batch[first : first + own].tolist())


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
