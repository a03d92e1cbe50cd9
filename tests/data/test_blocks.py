"""The order of an epoch in blocks: every sample once, from any step, and each block for one of k processes."""

import itertools
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import Tensor

from ssl_zoo.data import Loader
from ssl_zoo.data.blocks import Blocks
from ssl_zoo.data.memory import load
from ssl_zoo.data.source import Split, ViewPolicy


class Numbers(Split):
    """Sample i is the number i, in blocks of seven."""

    def __init__(self, num: int, streams: int = 4, held: int = 3) -> None:
        self._num = num
        sizes = np.full(-(-num // 7), 7)
        sizes[-1] -= int(sizes.sum()) - num
        self.blocks = Blocks(sizes, streams, held)

    def __len__(self) -> int:
        return self._num

    def read(self, i: int) -> Tensor:
        return torch.tensor([i])


class Plain(ViewPolicy):
    def draw(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        return {"u": torch.rand(num, generator=generator)}

    def collate(self, samples: list[Tensor], params: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"x": samples if isinstance(samples, Tensor) else torch.stack(list(samples)), **params}


def make(split: Split, **options) -> Loader:
    return Loader(split, Plain(), **{"batch_size": 24, "seed": 5, **options})


def indices(loader: Loader, start: int, stop: int) -> list[Tensor]:
    return [torch.cat([batch.index for batch in step]) for step in loader.iterate(start, stop)]


@pytest.mark.parametrize(
    "sizes, streams, held, batch",
    [
        ([50], 16, 2, 7),
        ([3] * 40, 16, 2, 24),
        ([9, 1, 30, 2] * 20, 5, 3, 32),
        ([1] * 30, 16, 1, 30),
        ([4] * 9, 3, 8, 1),
    ],
)
def test_each_sample_comes_once_and_the_rest_is_another_in_each_epoch(sizes, streams, held, batch):
    blocks, num = Blocks(np.array(sizes), streams, held), sum(sizes)
    epochs = []
    for epoch in range(3):
        order = blocks.order(1, epoch, batch)
        seen = torch.cat([order.batch(place) for place in range(num // batch)])
        assert seen.dtype == torch.int64 and len(seen) == num // batch * batch == len(seen.unique())
        assert 0 <= int(seen.min()) and int(seen.max()) < num
        epochs.append(seen)
    for one, two in itertools.pairwise(epochs):
        assert not torch.equal(one, two)
    if num % batch:
        left = [set(range(num)) - set(seen.tolist()) for seen in epochs]
        assert left[0] != left[1] or left[1] != left[2]


def test_a_batch_is_a_function_of_its_place():
    blocks = Blocks(np.array([11, 4, 8] * 30), 6, 2)
    whole = [blocks.order(0, 2, 40).batch(place) for place in range(17)]
    for place in (16, 3, 9, 9):
        assert torch.equal(blocks.order(0, 2, 40).batch(place), whole[place])
    assert not torch.equal(blocks.order(1, 2, 40).batch(0), whole[0])


def test_few_blocks_are_read_at_a_time_and_each_by_one_of_k_processes():
    """Streams share a block where one ends and the next begins; else each is read once, in one go."""
    sizes = np.full(400, 10)
    blocks, batch = Blocks(sizes, 16, 2), 64
    order = blocks.order(0, 0, batch)
    steps = [order.batch(place).numpy() // 10 for place in range(4000 // batch)]
    for k in (1, 2, 4, 8, 16):
        own = batch // k
        reads = 0
        for rank in range(k):
            held: OrderedDict[int, None] = OrderedDict()
            for step in steps:
                mine = set(step[rank * own : (rank + 1) * own].tolist())
                assert len(mine) <= blocks.most_held(k) <= 16 // k * 3 + 1
                reads += len(mine - held.keys())
                for block in sorted(mine, key=lambda each: each not in held):
                    held[block] = None
                    held.move_to_end(block)
                while len(held) > blocks.most_held(k):
                    held.popitem(last=False)
        assert 390 <= reads <= 400 + 16 + 1


def test_a_batch_mixes_many_blocks():
    blocks = Blocks(np.full(400, 10), 16, 2)
    batch = blocks.order(0, 0, 64).batch(10).numpy() // 10
    assert len(set(batch.tolist())) >= 24 and np.abs(np.diff(np.sort(batch))).max() > 20


@pytest.mark.parametrize("accumulate", [1, 2])
def test_k_processes_workers_and_any_first_step_give_the_same_samples(accumulate):
    split = Numbers(500)
    whole = indices(make(split), 0, 45)  # 20 steps an epoch
    parts = [indices(make(split, accumulate=accumulate), 0, 45)]
    for k in (2, 4):
        ranks = [list(make(split, accumulate=accumulate, rank=r, num_ranks=k).iterate(0, 45)) for r in range(k)]
        joined = [[torch.cat([rank[step][m].index for rank in ranks]) for m in range(accumulate)] for step in range(45)]
        parts.append([torch.cat(each) for each in joined])
    parts.append(indices(make(split, accumulate=accumulate, num_workers=2), 0, 45))
    for found in parts:
        assert all(torch.equal(*pair) for pair in zip(whole, found, strict=True))
    for start in (7, 20, 33):
        assert all(torch.equal(*pair) for pair in zip(whole[start:], indices(make(split), start, 45), strict=True))


def test_the_order_in_memory_is_the_order_on_the_disk():
    """So that a run may be resumed with another `data.cache`."""
    split = Numbers(200)
    loaded = load(split, "memory")
    assert loaded.stacked
    assert all(torch.equal(*pair) for pair in zip(indices(make(split), 0, 9), indices(make(loaded), 0, 9), strict=True))


def test_a_split_that_lost_samples():
    blocks = Blocks(np.array([3, 2, 4]), 2, 2)
    left = blocks.of([0, 2, 5, 6, 7, 8])
    assert left is not None and left.sizes.tolist() == [2, 4] and (left.streams, left.held) == (2, 2)
    assert blocks.of([]) is None
