"""The loader's stream is a pure function of (seed, step), whatever reads it."""

import multiprocessing
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from ssl_zoo import rng
from ssl_zoo.data import BadSample, Loader, MemorySplit, RawBatch
from ssl_zoo.data.draws import Draws
from ssl_zoo.data.source import Split, ViewPolicy
from ssl_zoo.errors import UserError


class Samples(Split):
    """Samples read one by one; sample i is an image full of i, of a size that depends on i."""

    def __init__(self, num: int, bad: tuple[int, ...] = ()) -> None:
        self.num, self.bad_ones = num, bad

    def __len__(self) -> int:
        return self.num

    def read(self, i: int) -> Tensor:
        if i in self.bad_ones:
            raise BadSample(self.name(i), "damaged")
        return torch.full((1, 4 + i % 3, 5), i, dtype=torch.uint8)

    def name(self, i: int) -> str:
        return f"{i}.png"


class Cut(ViewPolicy):
    """A policy that draws two numbers a sample and cuts a list of samples to one size."""

    def draw(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        return {"u": torch.rand(num, 2, generator=generator)}

    def collate(self, samples: Tensor | list[Tensor], params: dict[str, Tensor]) -> dict[str, Tensor]:
        if isinstance(samples, Tensor):
            return {"image": samples, **params}
        return {"cut": torch.stack([sample[:, :4, :4] for sample in samples]), **params}


class Globals(Cut):
    """A careless policy: it draws from the generators that a process has."""

    def collate(self, samples: Tensor | list[Tensor], params: dict[str, Tensor]) -> dict[str, Tensor]:
        beta = torch.distributions.Beta(2.0, 3.0).sample((4,))
        return {"torch": torch.rand(4), "numpy": torch.from_numpy(np.random.rand(4)), "beta": beta}


class Whoami(Cut):
    def collate(self, samples: Tensor | list[Tensor], params: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"process": torch.tensor(os.getpid()), "threads": torch.tensor(torch.get_num_threads())}


class Broken(Samples):
    def read(self, i: int) -> Tensor:
        raise OSError("the disk is gone")


def memory(num: int) -> MemorySplit:
    return MemorySplit(torch.arange(num, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4).contiguous())


def make(split=None, **options) -> Loader:
    return Loader(split or Samples(22), options.pop("policy", Cut()), **{"batch_size": 6, "seed": 3, **options})


def stream(loader: Loader, start: int, stop: int) -> list[list[RawBatch]]:
    return list(loader.iterate(start, stop))


def same(a: list[list[RawBatch]], b: list[list[RawBatch]]) -> bool:
    flat_a, flat_b = ([batch for step in steps for batch in step] for steps in (a, b))
    return len(flat_a) == len(flat_b) and all(
        torch.equal(x.index, y.index)
        and x.bad == y.bad
        and x.payload.keys() == y.payload.keys()
        and all(torch.equal(x.payload[key], y.payload[key]) for key in x.payload)
        for x, y in zip(flat_a, flat_b, strict=True)
    )


@pytest.mark.parametrize("split", [Samples(22), memory(22)], ids=["files", "memory"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_stream_is_the_same_for_any_workers_and_from_any_first_step(split, accumulate):
    whole = stream(make(split, accumulate=accumulate), 0, 8)  # 3 steps per epoch: into the third one
    assert len(whole) == 8 and all(len(step) == accumulate for step in whole)
    assert same(whole, stream(make(split, accumulate=accumulate, num_workers=2), 0, 8))
    for start in (1, 3, 5):  # mid-epoch, at its start, in the next one
        assert same(whole[start:], stream(make(split, accumulate=accumulate), start, 8))
    assert same(whole[4:7], stream(make(split, accumulate=accumulate, num_workers=2), 4, 7))


def test_stream_depends_on_the_seed_alone_and_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = stream(make(num_workers=2), 0, 4)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(99)
    assert same(first, stream(make(), 0, 4))
    assert not same(first, stream(make(seed=4), 0, 4))


def test_an_epoch_is_a_prefix_of_its_permutation():
    loader = make()
    assert loader.steps_per_epoch == 3
    steps = stream(loader, 0, 9)
    epochs = [torch.cat([batch.index for step in steps[e : e + 3] for batch in step]) for e in (0, 3, 6)]
    for e, seen in enumerate(epochs):
        assert torch.equal(seen, torch.randperm(22, generator=rng.generator(3, "order", e))[:18])
    assert not any(torch.equal(a, b) for a, b in pairwise(epochs))


def test_samples_belong_to_their_index():
    for step in stream(make(num_workers=2), 0, 3):
        for batch in step:
            assert torch.equal(batch.payload["cut"][:, 0, 0, 0].long(), batch.index)


def test_micro_batches_together_are_the_batch():
    for whole, parts in zip(stream(make(), 0, 4), stream(make(accumulate=3), 0, 4), strict=True):
        assert torch.equal(torch.cat([part.index for part in parts]), whole[0].index)
        for key, value in whole[0].payload.items():
            assert torch.equal(torch.cat([part.payload[key] for part in parts]), value)


def test_parameters_are_the_policys_draw_for_the_step():
    for number, [batch] in enumerate(stream(make(), 0, 4)):
        assert torch.equal(batch.payload["u"], Cut().draw(rng.generator(3, "views", number), 6)["u"])


def test_random_streams_differ_by_worker_by_epoch_and_by_restart():  # T35
    def drawn(start: int, stop: int) -> dict[str, Tensor]:
        batches = [batch for [batch] in make(policy=Globals(), num_workers=2).iterate(start, stop)]
        return {key: torch.stack([batch.payload[key] for batch in batches]) for key in batches[0].payload}

    first, again, later = drawn(0, 6), drawn(0, 6), drawn(6, 12)
    for key, values in first.items():
        assert torch.equal(values, again[key])
        together = torch.cat([values, later[key]])
        assert len(together.unique(dim=0)) == 12


def test_fewer_samples_than_a_batch_is_an_error_with_both_numbers():  # T19
    with pytest.raises(UserError, match=r"22 samples, fewer than one batch of 23"):
        make(batch_size=23)
    assert make(batch_size=22).steps_per_epoch == 1
    with pytest.raises(UserError, match=r"6 cannot be cut into accumulate: 4"):
        make(accumulate=4)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_bad_sample_stops_the_stream_and_is_named(num_workers):
    with pytest.raises(UserError, match=r"cannot read 7\.png: damaged"):
        stream(make(Samples(22, bad=(7,)), num_workers=num_workers), 0, 4)


def test_a_bad_sample_is_replaced_by_a_rule_of_seed_and_place_alone():  # T38
    split, options = Samples(22, bad=(3, 7)), {"on_error": "skip", "bad_budget": 0.1}
    loader = make(split, **options)
    steps = stream(loader, 0, 12)
    assert loader.bad == {"3.png": "damaged", "7.png": "damaged"} == loader.state()
    assert same(steps, stream(make(split, num_workers=2, **options), 0, 12))
    replaced = set()
    for [batch], [clean] in zip(steps, stream(make(), 0, 12), strict=True):
        good = ~torch.isin(clean.index, torch.tensor([3, 7]))
        assert len(batch.index) == 6 and not torch.isin(batch.index, torch.tensor([3, 7])).any()
        assert torch.equal(batch.index[good], clean.index[good])
        assert torch.equal(batch.payload["u"], clean.payload["u"])
        assert torch.equal(batch.payload["cut"][:, 0, 0, 0].long(), batch.index)
        replaced |= set(batch.index[~good].tolist())
    assert len(replaced) > 3  # not one for all
    parts = [stream(make(split, accumulate=3, rank=rank, num_ranks=2, **options), 0, 12) for rank in (0, 1)]
    for [batch], *ranks in zip(steps, *parts, strict=True):
        micro = [part for pair in zip(*ranks, strict=True) for part in pair]
        assert torch.equal(torch.cat([part.index for part in micro]), batch.index)
        assert [each for part in micro for each in part.bad] == batch.bad
    again = make(split, **options | {"bad_budget": 0.15})
    again.load({"21.png": "damaged before"})
    assert same(steps[5:], stream(again, 5, 12)) and list(again.state())[0] == "21.png"


def test_a_replacement_is_of_the_same_source_where_each_has_a_share():
    split = Samples(22, bad=(3, 7, 15))
    split.draws = Draws(torch.arange(22) // 11, (12, 6))
    loader = make(split, on_error="skip", bad_budget=0.2)
    for epoch in range(3):
        index = torch.cat([batch.index for [batch] in stream(loader, 3 * epoch, 3 * epoch + 3)])
        assert int((index < 11).sum()) == 12 and int((index > 10).sum()) == 6
    assert len(loader.bad) == 3


def test_too_many_bad_samples_are_an_error_with_counts():
    with pytest.raises(UserError, match=r"3 of 22 samples cannot be read and data\.bad_budget=0\.1 allows 2, for"):
        stream(make(Samples(22, bad=(3, 7, 11)), on_error="skip", bad_budget=0.1), 0, 12)


def test_the_state_of_a_failed_step_is_that_of_the_step_before():
    loader = make(Samples(22, bad=(3, 7, 11)), on_error="skip", bad_budget=0.1)
    with pytest.raises(UserError):
        stream(loader, 0, 12)
    assert len(loader.bad) == 3 and len(loader.state()) < 3


def test_a_place_without_a_readable_sample_is_an_error():
    with pytest.raises(
        UserError, match=r"a place of the batch of step 0 stays empty: .* for example \d+\.png: damaged"
    ):
        stream(make(Samples(22, bad=tuple(range(22))), on_error="skip", bad_budget=1.0), 0, 1)


def test_other_errors_of_a_worker_are_not_swallowed():
    with pytest.raises(OSError, match="the disk is gone"):
        stream(make(Broken(22), num_workers=1), 0, 1)


def started(loader: Loader, stop: int) -> tuple[Iterator[list[RawBatch]], list[RawBatch], list]:
    """Return the iterator after its first step, that step, and the worker processes that it started."""
    before = set(multiprocessing.active_children())
    steps = loader.iterate(0, stop)
    first = next(steps)
    return steps, first, [child for child in multiprocessing.active_children() if child not in before]


def gone(processes: list) -> bool:
    deadline = time.monotonic() + 10
    while any(process.is_alive() for process in processes) and time.monotonic() < deadline:
        processes[0].join(0.1)
    return not any(process.is_alive() for process in processes)


def test_workers_end_when_the_iteration_is_closed_early():
    steps, _, workers = started(make(num_workers=2), 1000)
    assert len(workers) == 2
    steps.close()
    assert gone(workers)


def test_workers_survive_signals_that_are_not_their_parents():
    """Ctrl-C and a scheduler's SIGTERM reach all processes of a run; what to do is for the main one."""
    steps, first, workers = started(make(num_workers=2), 40)
    seen = [first, next(steps)]  # one of each worker: both run
    for worker in workers:
        os.kill(worker.pid, signal.SIGINT)
        subprocess.run(["kill", "-TERM", str(worker.pid)], check=True)
    seen += list(steps)
    assert same(seen, stream(make(), 0, 40))
    assert gone(workers)


def test_workers_obey_their_parents_sigterm():
    """Else a process that exits in the middle of an iteration would wait for its workers for ever."""
    steps, _, [worker] = started(make(num_workers=1), 1000)
    worker.terminate()
    worker.join(10)
    assert worker.exitcode == 0
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        list(steps)


def test_workers_are_other_processes_with_one_thread_each():
    batches = [batch for [batch] in make(policy=Whoami(), num_workers=2).iterate(0, 6)]
    processes = {int(batch.payload["process"]) for batch in batches}
    assert len(processes) == 2 and os.getpid() not in processes
    assert all(int(batch.payload["threads"]) == 1 for batch in batches)
