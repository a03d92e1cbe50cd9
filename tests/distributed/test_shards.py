"""Each process takes its part of every micro-batch; together they see the samples and views of one process."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ssl_zoo.data import Loader, MemorySplit, RawBatch, Strings
from ssl_zoo.data.source import ViewPolicy
from ssl_zoo.errors import UserError

SIZE, NUM = 12, 40


class Shift(ViewPolicy):
    """A view is the sample plus a number of its own."""

    def draw(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        return {"shift": torch.rand(num, generator=generator)}

    def collate(self, samples: Tensor, params: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"view": samples[:, 0, 0, 0] + params["shift"]}


def batches(rank: int, num_ranks: int, accumulate: int = 1) -> list[list[RawBatch]]:
    data = torch.arange(NUM, dtype=torch.uint8).view(NUM, 1, 1, 1)
    split = MemorySplit(data, None, None, Strings(map(str, range(NUM))), {})
    loader = Loader(split, Shift(), batch_size=SIZE, seed=5, accumulate=accumulate, rank=rank, num_ranks=num_ranks)
    return list(loader.iterate(2, 8))


@pytest.mark.parametrize("accumulate", (1, 2))
@pytest.mark.parametrize("num_ranks", (2, 3))
def test_the_parts_are_the_batch_of_one_process(num_ranks: int, accumulate: int) -> None:
    whole = batches(0, 1, accumulate)
    parts = [batches(rank, num_ranks, accumulate) for rank in range(num_ranks)]
    for step, micro_batches in enumerate(whole):
        for number, expected in enumerate(micro_batches):
            found = [part[step][number] for part in parts]
            assert torch.equal(torch.cat([each.index for each in found]), expected.index)
            assert torch.equal(torch.cat([each.payload["view"] for each in found]), expected.payload["view"])
            assert {len(each.index) for each in found} == {SIZE // accumulate // num_ranks}


def test_a_batch_that_processes_cannot_share_is_refused() -> None:
    with pytest.raises(
        UserError, match="12 cannot be cut into equal parts for 4 processes and .*accumulate=2; use 8 or 16"
    ):
        batches(0, 4, accumulate=2)
