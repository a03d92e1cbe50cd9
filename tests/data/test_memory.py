"""Decoding a split once into one tensor."""

import pytest
import torch
from torch import Tensor

from ssl_zoo.data import BadSample, MemorySplit, load
from ssl_zoo.data import memory as module
from ssl_zoo.data.source import Split
from ssl_zoo.errors import UserError


class Files(Split):
    """Sample i is an image full of i; some are of another size, some are bad."""

    class_names = ["even", "odd"]

    def __init__(self, num: int, odd_size: tuple[int, ...] = (), bad: tuple[int, ...] = ()) -> None:
        self.num, self.odd_size, self.bad_ones = num, odd_size, bad
        self.labels = torch.arange(num) % 2
        self.reads = 0

    def __len__(self) -> int:
        return self.num

    def read(self, i: int) -> Tensor:
        self.reads += 1
        if i in self.bad_ones:
            raise BadSample(self.name(i), "damaged")
        return torch.full((3, 4, 5 if i in self.odd_size else 4), i % 256, dtype=torch.uint8)

    def name(self, i: int) -> str:
        return f"{i}.png"


@pytest.mark.parametrize("cache", ["auto", "memory"])
def test_samples_of_one_size_become_one_tensor(cache):
    split = load(Files(50), cache)
    assert isinstance(split, MemorySplit) and split.data.shape == (50, 3, 4, 4) and split.data.dtype == torch.uint8
    assert torch.equal(split.read_batch(torch.tensor([7, 3])), torch.stack([split.read(7), split.read(3)]))
    assert torch.equal(split.data[:, 0, 0, 0], torch.arange(50, dtype=torch.uint8))
    assert split.name(7) == "7.png" and torch.equal(split.labels, torch.arange(50) % 2)
    assert split.class_names == ["even", "odd"] and split.bad == {}
    assert load(split) is split


@pytest.mark.parametrize("odd_size", [(0,), (37,), (49,)])
def test_auto_leaves_samples_of_several_sizes_where_they_are(odd_size):
    files = Files(50, odd_size)
    assert load(files) is files


def test_memory_says_which_samples_differ_in_size():
    with pytest.raises(UserError, match=r"37\.png is 3x4x5 and 0\.png is 3x4x4"):
        load(Files(50, (37,)), "memory")


def test_auto_leaves_what_does_not_fit_after_a_few_samples(monkeypatch):
    files = Files(5000)
    monkeypatch.setattr(module, "AUTO_BYTES", 5000 * 48 - 1)
    assert load(files) is files and files.reads < 20
    monkeypatch.setattr(module, "AUTO_BYTES", 5000 * 48)
    assert isinstance(load(files), MemorySplit)


def test_none_reads_nothing():
    files = Files(50, bad=(1,))
    assert load(files, "none") is files and files.reads == 0


def test_bad_samples_are_dropped_with_their_labels_and_named():
    split = load(Files(50, bad=(0, 13)), on_error="skip", bad_budget=0.04)
    assert len(split) == 48 and split.bad == {"0.png": "damaged", "13.png": "damaged"}
    kept = torch.tensor([i for i in range(50) if i not in (0, 13)])
    assert torch.equal(split.data[:, 0, 0, 0].long(), kept) and torch.equal(split.labels, kept % 2)
    assert [split.name(i) for i in (0, 12, 47)] == ["1.png", "14.png", "49.png"]


def test_bad_samples_are_errors_by_default_and_beyond_the_budget():
    with pytest.raises(UserError, match=r"cannot read 13\.png: damaged"):
        load(Files(50, bad=(13,)))
    with pytest.raises(UserError, match=r"2 of 50 samples .* allows 1"):
        load(Files(50, bad=(13, 14)), on_error="skip", bad_budget=0.02)
    with pytest.raises(UserError, match=r"none of the 5 samples could be read"):
        load(Files(5, bad=tuple(range(5))), on_error="skip", bad_budget=1.0)
