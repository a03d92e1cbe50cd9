"""The number of workers: chosen by timing reads, and logged."""

import re
import time

import pytest
import torch

from ssl_zoo.data import Loader, MemorySplit, choose_workers, load
from ssl_zoo.data import workers as reading
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.skipping import SkippingSplit
from ssl_zoo.data.source import Split, ViewPolicy


class Slow(Split):
    """Samples that take a while; one of them is bad."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.reads = seconds, []

    def __len__(self) -> int:
        return 100

    def read(self, i: int) -> torch.Tensor:
        self.reads.append(i)
        until = time.perf_counter() + self.seconds
        while time.perf_counter() < until:
            pass
        if i == 0:
            raise BadSample("the first", "damaged")
        return torch.zeros(3, 4, 4 + i, dtype=torch.uint8)

    def name(self, i: int) -> str:
        return str(i)


class Pass(ViewPolicy):
    """A policy that only passes samples on."""

    def draw(self, generator, num):
        return {"u": torch.rand(num, generator=generator)}

    def collate(self, samples, params):
        return {"image": samples[0], **params}


def test_samples_in_memory_are_read_without_workers():
    split = MemorySplit(torch.zeros(64, 3, 128, 128, dtype=torch.uint8))
    found = choose_workers(split, Pass(), "auto")
    assert found.num_workers == 0 and found.note == "data: 3 MiB in memory; no workers"
    assert choose_workers(split, Pass(), 2).num_workers == 2


def test_samples_that_take_a_while_are_read_by_workers():
    before = torch.get_num_threads()
    split = Slow(1e-3)
    found = choose_workers(split, Pass(), "auto")
    assert found.num_workers == max(1, min(16, before)) and torch.get_num_threads() == before
    assert found.note.startswith("data: read in every epoch, ") and " ms per sample; " in found.note
    assert len(split.reads) <= 20 and max(split.reads) > 90  # some, spread over the split


@pytest.mark.parametrize("asked, workers", [("auto", 0), (1, 1)])
def test_samples_that_are_there_at_once_need_no_workers_and_a_number_is_taken(monkeypatch, asked, workers):
    monkeypatch.setattr("ssl_zoo.data.workers.CHEAP", 10.0)
    found = choose_workers(Slow(0.0), Pass(), asked)
    assert found.num_workers == workers
    assert ("no workers" if workers == 0 else "1 worker,") in found.note


@pytest.mark.parametrize("asked", [100_000, 10**30])
def test_more_workers_than_the_cpus_can_use_are_cut_to_a_number_and_that_is_said(asked):
    for split in (Slow(0.0), MemorySplit(torch.zeros(8, 3, 4, 4, dtype=torch.uint8))):
        found = choose_workers(split, Pass(), asked)
        assert 8 <= found.num_workers < 100_000
        assert f"{found.num_workers} workers (data.num_workers={asked} is more than " in found.note
    assert choose_workers(Slow(0.0), Pass(), 8).num_workers == 8


def test_workers_beyond_the_cpus_do_not_warn_with_file_and_line():
    num = reading.MOST_PER_CPU + 1  # warnings are errors here
    split = MemorySplit(torch.zeros(8, 3, 4, 4, dtype=torch.uint8))
    assert len(list(Loader(split, Pass(), batch_size=4, seed=0, num_workers=num).iterate(0, 1))) == 1


@pytest.mark.parametrize("seconds, text", [(0.77, "770 ms"), (0.0123, "12 ms"), (0.0029, "2.9 ms"), (4e-6, "0.004 ms")])
def test_times_are_written_as_plain_numbers(monkeypatch, seconds, text):
    monkeypatch.setattr(reading, "_measure", lambda split, policy: reading._Probe(seconds, 100, 100))
    assert f"{text} per sample; " in choose_workers(Slow(0.0), Pass(), 1).note


def test_the_memory_that_reading_takes_is_told_and_advice_where_it_is_not_there(monkeypatch):
    """The largest sample that is looked at is 3 x 4 x 100 values; `Pass` keeps that and a number."""
    split = Slow(0.0)
    expected = 2 * 3 * 2**20 * (1200 + 4) / 2**30  # workers, batches, samples; one whole sample is nothing beside them
    found = choose_workers(split, Pass(), 2, batch_size=2**20)
    assert found.note.endswith(f", about {expected:.1f} GiB for reading")
    monkeypatch.setattr(reading, "free_bytes", lambda: 2**30)
    advice = "more than the 1.0 GiB that are free: lower data.num_workers or training.batch_size"
    assert choose_workers(split, Pass(), 2, batch_size=2**20).note.endswith(advice)


def test_auto_takes_no_more_workers_than_fit_in_half_of_what_is_free(monkeypatch):
    monkeypatch.setattr(reading.torch, "get_num_threads", lambda: 6)
    monkeypatch.setattr(reading.torch, "set_num_threads", lambda num: None)
    monkeypatch.setattr(reading, "HOLD_BYTES", 0)
    monkeypatch.setattr(reading, "_measure", lambda split, policy: reading._Probe(1.0, 300, 0))  # 1000 bytes each
    for free, workers in ((12_000, 6), (6_000, 3), (100, 1)):
        monkeypatch.setattr(reading, "free_bytes", lambda free=free: free)
        found = choose_workers(Slow(0.0), Pass(), "auto", batch_size=4)
        assert found.num_workers == workers and ("would not fit in memory" in found.note) == (workers < 6)


def test_processes_of_torchrun_share_the_cpus_among_their_workers(monkeypatch):
    monkeypatch.setattr(reading, "_measure", lambda split, policy: reading._Probe(1.0, 300, 0))
    monkeypatch.setattr(reading.torch, "get_num_threads", lambda: 1)  # what torchrun sets
    for cpus, processes, workers in ((48, 4, 12), (256, 4, 16), (2, 8, 1)):
        monkeypatch.setattr(reading.os, "sched_getaffinity", lambda pid, cpus=cpus: range(cpus), raising=False)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        assert choose_workers(Slow(0.0), Pass(), "auto").num_workers == workers


class Stack(Slow):
    """Samples of one size; every second one has pages, and one has a name that no terminal takes."""

    def __init__(self) -> None:
        super().__init__(0.0)

    def read(self, i: int) -> torch.Tensor:
        return torch.zeros(3, 4, 4, dtype=torch.uint8)

    def remarks(self, i: int) -> tuple[str, ...]:
        return ("5 pages, of which the first is used",) if i % 4 == 0 else ()

    def name(self, i: int) -> str:
        return f"{i}\n.tif"


@pytest.mark.parametrize(
    "open", [lambda s: s, lambda s: SkippingSplit(s, 0.1), load], ids=["files", "skipping", "memory"]
)
def test_remarks_on_the_samples_that_are_looked_at_are_told(open):
    first, *more = choose_workers(open(Stack()), Pass(), 0).note.splitlines()
    assert first.startswith("data: ")
    [line] = more
    assert re.fullmatch(
        r"data: 9 of 17 samples: 5 pages, of which the first is used; for example 0\\n\.tif "
        r"\(`ssl-zoo data check` counts all\)",
        line,
    )
