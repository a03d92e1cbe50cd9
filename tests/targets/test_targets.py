"""Targets: where t comes from, when the moving average moves, what happens to BatchNorm's buffers."""

import copy
import math

import pytest
import torch
from torch import nn

from ssl_zoo.batch import View
from ssl_zoo.methods.branch import Branch
from ssl_zoo.targets.ema import EMA
from ssl_zoo.targets.stop_gradient import Shared, StopGradient


def branch() -> Branch:
    torch.manual_seed(0)
    return Branch(nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5)), nn.Linear(5, 4))


def views(num: int = 2) -> list[View]:
    g = torch.Generator().manual_seed(0)
    return [View(torch.randn(6, 3, 2, 2, generator=g)) for _ in range(num)]


def test_shared_is_z_and_stop_gradient_is_z_without_gradient() -> None:
    z = branch()(views())
    assert all(t is x for t, x in zip(Shared()(views(), z), z, strict=True))
    stopped = StopGradient()(views(), z)
    assert all(torch.equal(t, x) and not t.requires_grad for t, x in zip(stopped, z, strict=True))


@pytest.mark.parametrize("make", [lambda b: Shared(), lambda b: StopGradient(), lambda b: EMA(b)])
def test_local_views_are_no_target(make) -> None:  # noqa: ANN001
    online = branch()
    seen = [*views(2), View(views(3)[2].data, role="local", is_target=False)]
    t = make(online)(seen, online(seen))
    assert t[2] is None and t[0].shape == t[1].shape == (6, 4)


def test_ema_moves_by_one_minus_tau() -> None:
    online = branch()
    target = EMA(online, momentum=0.9, schedule="constant")
    before = copy.deepcopy(target.network)
    with torch.no_grad():
        for p in online.parameters():
            p.add_(1.0)
    target.after_step(0.5)
    for new, old, follows in zip(target.network.parameters(), before.parameters(), online.parameters(), strict=True):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * follows)
    assert not any(p.requires_grad for p in target.parameters())


@pytest.mark.parametrize("progress", [0.0, 0.25, 0.5, 1.0])
def test_cosine_rate_is_byols(progress: float) -> None:
    expected = 1 - (1 - 0.99) * (math.cos(math.pi * progress) + 1) / 2
    assert EMA(branch(), momentum=0.99).tau(progress) == pytest.approx(expected, abs=1e-15)
    assert EMA(branch(), momentum=0.99).tau(0) == pytest.approx(0.99)
    assert EMA(branch(), momentum=0.99).tau(1) == pytest.approx(1.0)


def test_linear_rate_ends_at_one() -> None:
    rates = [EMA(branch(), momentum=0.9, schedule="linear").tau(progress) for progress in (0.0, 0.5, 1.0)]
    assert rates == pytest.approx([0.9, 0.95, 1.0])


def test_momentum_of_one_never_moves_and_of_zero_copies() -> None:
    online = branch()
    fixed, copying = EMA(online, momentum=1.0, schedule="constant"), EMA(online, momentum=0.0, schedule="constant")
    first = copy.deepcopy(fixed.network.state_dict())
    with torch.no_grad():
        for p in online.parameters():
            p.mul_(2.0)
    fixed.after_step(0.1)
    copying.after_step(0.1)
    assert all(torch.equal(v, first[k]) for k, v in fixed.network.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(copying.network.parameters(), online.parameters(), strict=True))


@pytest.mark.parametrize("policy", ["own", "copy", "ema"])
def test_policy_for_batch_norm_buffers(policy: str) -> None:
    online = branch()
    target = EMA(online, momentum=0.9, schedule="constant", buffers=policy)
    online(views())  # moves the online statistics
    mine = target.network.encoder[2]
    before = mine.running_mean.clone()
    target.after_step(0.0)
    theirs = online.encoder[2].running_mean
    expected = {"own": before, "copy": theirs, "ema": 0.9 * before + 0.1 * theirs}[policy]
    torch.testing.assert_close(mine.running_mean, expected)


def test_own_buffers_follow_the_targets_own_passes() -> None:
    online = branch()
    target = EMA(online, buffers="own").train()
    before = target.network.encoder[2].running_mean.clone()
    target(views(), [])
    assert not torch.equal(target.network.encoder[2].running_mean, before)


def test_the_online_network_is_not_registered_twice() -> None:
    online = branch()
    assert len(list(EMA(online).parameters())) == len(list(online.parameters()))


def test_the_ema_network_has_no_dropout_and_no_stochastic_depth() -> None:
    class DropPath(nn.Module):
        drop_prob = 0.0

        def __init__(self) -> None:
            super().__init__()
            self.drop_prob = 0.5

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * (torch.rand(len(x), 1) > self.drop_prob)

    online = Branch(nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Dropout(0.5), DropPath()), nn.Linear(5, 4))
    target = EMA(online).train()
    first, again = (target(views(), [])[0] for _ in range(2))
    assert torch.equal(first, again)
    assert online.encoder[2].p == online.encoder[3].drop_prob == 0.5
