"""The optimizer `adam` and the schedule `drops`, by hand."""

import pytest
import torch
from torch import nn

from ssl_zoo.optim.adam import adam
from ssl_zoo.optim.drops import drops


def test_adams_weight_decay_is_inside_the_gradient() -> None:
    w = nn.Parameter(torch.tensor([2.0, -3.0]))
    optimizer = adam([{"params": [w], "adapt": False}], weight_decay=0.5)
    optimizer.param_groups[0]["lr"] = 0.1
    w.grad = torch.zeros(2)
    optimizer.step()  # g = 0.5 w; the first step of Adam is lr * sign(g)
    torch.testing.assert_close(w.data, torch.tensor([1.9, -2.9]), rtol=0, atol=1e-6)


def test_the_rate_drops_before_the_end_after_a_warmup() -> None:
    schedule = drops(100, 10, before_end=[5.0, 2.5], factor=0.2, warmup_epochs=1.0)
    values = [schedule(step) for step in range(100)]
    assert values[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert values[10:50] == [1.0] * 40
    assert values[50:75] == pytest.approx([0.2] * 25) and values[75:] == pytest.approx([0.04] * 25)


def test_without_warmup_and_in_a_run_shorter_than_the_drops() -> None:
    assert drops(10, 10, before_end=[0.5])(0) == 1.0
    assert drops(10, 10, before_end=[50.0, 25.0])(0) == pytest.approx(0.04)
