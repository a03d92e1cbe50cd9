"""The held-out part is stratified, disjoint and the same every time."""

import torch

from ssl_zoo.evaluation.holdout import holdout


def test_every_class_gives_its_share_and_keeps_one():
    y = torch.tensor([0] * 10 + [1] * 50 + [2] * 2 + [3])[
        torch.randperm(63, generator=torch.Generator().manual_seed(0))
    ]
    kept, held = holdout(y, 0.2, seed=0)
    assert torch.equal(torch.cat([kept, held]).sort().values, torch.arange(63))
    assert torch.bincount(y[held], minlength=4).tolist() == [2, 10, 1, 0]


def test_it_is_a_function_of_the_seed():
    y = torch.arange(100) % 5
    assert torch.equal(holdout(y, 0.2, seed=1)[1], holdout(y, 0.2, seed=1)[1])
    assert not torch.equal(holdout(y, 0.2, seed=1)[1], holdout(y, 0.2, seed=2)[1])
