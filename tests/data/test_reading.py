"""How a split is read: chosen by measuring, and said."""

import time

import pytest
import torch

from ssl_zoo.data import MemorySplit, choose_reading
from ssl_zoo.data.source import BadSample


class Slow:
    """Samples that take a while; one of them is bad."""

    labels = class_names = None

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


class Pass:
    """A policy that only passes samples on."""

    def draw(self, generator, num):
        return {"u": torch.rand(num, generator=generator)}

    def collate(self, samples, params):
        return {"image": samples[0], **params}


def test_samples_in_memory_are_read_without_workers():
    split = MemorySplit(torch.zeros(64, 3, 128, 128, dtype=torch.uint8))
    found = choose_reading(split, Pass(), "auto")
    assert found.num_workers == 0 and found.note == "data: 3 MiB in memory; no workers"
    assert choose_reading(split, Pass(), 2).num_workers == 2


def test_samples_that_take_a_while_are_read_by_workers():
    before = torch.get_num_threads()
    split = Slow(1e-3)
    found = choose_reading(split, Pass(), "auto")
    assert found.num_workers == max(1, min(8, before)) and torch.get_num_threads() == before
    assert found.note.startswith("data: read in every epoch anew, ") and " ms a sample; " in found.note
    assert len(split.reads) <= 20 and max(split.reads) > 90  # some, spread over the split


@pytest.mark.parametrize("asked, workers", [("auto", 0), (1, 1)])
def test_samples_that_are_there_at_once_need_no_workers_and_a_number_is_taken(monkeypatch, asked, workers):
    monkeypatch.setattr("ssl_zoo.data.reading.CHEAP", 10.0)
    found = choose_reading(Slow(0.0), Pass(), asked)
    assert found.num_workers == workers
    assert ("no workers" if workers == 0 else "1 worker,") in found.note
