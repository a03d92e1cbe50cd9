"""The contract of parts, and their state: what moves, when, and that a checkpoint holds all of it."""

import copy

import pytest
import torch
from torch import Tensor, nn

from ssl_zoo.objectives.objective import Objective
from ssl_zoo.parts import Memo, Part, Pending, Running, StepCounter, Term, after_step
from ssl_zoo.registry import PartFailed


def test_mix_has_the_gradient_of_the_batchs_share_and_does_not_move() -> None:
    running = Running(torch.tensor([1.0, 2.0]), keep=0.75)
    batch = torch.tensor([5.0, 6.0], requires_grad=True)
    mixed = running.mix(batch)
    assert mixed.tolist() == [0.75 * 1 + 0.25 * 5, 0.75 * 2 + 0.25 * 6]
    mixed.sum().backward()
    assert batch.grad is not None and batch.grad.tolist() == [0.25, 0.25]
    assert running.value.tolist() == [1.0, 2.0]
    running.advance()
    torch.testing.assert_close(running.value, mixed.detach())


def test_accumulated_batches_are_mixed_with_the_same_old_value_and_move_it_once() -> None:
    running = Running(torch.zeros(1), keep=0.5)
    assert running.mix(torch.tensor([2.0])).item() == running.mix(torch.tensor([2.0])).item() == 1.0
    running.mix(torch.tensor([8.0]))
    running.advance()
    torch.testing.assert_close(running.value, torch.tensor([0.5 * (2 + 2 + 8) / 3]))
    before = running.value.clone()
    running.advance()
    assert torch.equal(running.value, before)


def test_evaluation_mixes_but_leaves_no_trace() -> None:
    running = Running(torch.ones(1), keep=0.5).eval()
    assert running.mix(torch.tensor([3.0])).item() == 2.0
    running.advance()
    assert running.value.item() == 1.0


def test_the_value_is_the_whole_state_between_steps() -> None:
    one, other = Running(torch.zeros(2), 0.9), Running(torch.zeros(2), 0.9)
    one.mix(torch.ones(2))
    one.advance()
    assert list(one.state_dict()) == ["value"]
    other.load_state_dict(one.state_dict())
    for running in (one, other):
        running.mix(torch.full((2,), 3.0))
        running.advance()
    assert torch.equal(one.value, other.value)


def test_pending_is_taken_once_in_order_and_without_a_graph() -> None:
    pending = Pending()
    assert pending.take() == []
    x = torch.ones(1, requires_grad=True)
    pending.note(2 * x)
    pending.note(3 * x)
    first, second = pending.take()
    assert (first.item(), second.item()) == (2.0, 3.0) and not first.requires_grad
    assert pending.take() == []


def counting() -> tuple[list[Tensor], Memo]:
    calls: list[Tensor] = []

    def double(x: Tensor) -> Tensor:
        calls.append(x)
        return 2 * x

    return calls, Memo(double, most=3)


def test_a_memo_computes_once_per_tensor_and_step() -> None:
    calls, memo = counting()
    a, b = torch.ones(2), torch.ones(2)
    assert memo(a) is memo(a) and memo(b) is not memo(a) and len(calls) == 2
    memo.advance()
    memo(a)
    assert len(calls) == 3


def test_a_memo_keeps_the_latest_and_no_more() -> None:
    calls, memo = counting()
    old, *new = (torch.ones(2) for _ in range(4))
    for x in (old, *new, *new):
        memo(x)
    assert len(calls) == 4
    memo(old)
    assert len(calls) == 5


def test_a_part_advances_the_state_inside_it_and_a_plain_module_has_none() -> None:
    class Counting(Part):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.ModuleList([StepCounter(), StepCounter()])

    class Plain(nn.Module):
        seen = 0.0

        def after_step(self, progress: float) -> None:
            self.seen = progress

    part, plain = Counting(), Plain()
    after_step([part, nn.Linear(2, 2), plain], 0.25)
    assert [int(counter) for counter in part.inner] == [1, 1] and plain.seen == 0.25
    resumed = Counting()
    resumed.load_state_dict(part.state_dict())
    assert [int(counter) for counter in resumed.inner] == [1, 1]


@pytest.mark.parametrize("inputs", [None, "views"])
def test_a_term_states_what_it_is_called_with(inputs: str | None) -> None:
    class Vague(Term):
        def forward(self, z: list[Tensor]) -> Tensor:
            return z[0].mean()

    term = Vague()
    if inputs:
        term.inputs = inputs  # type: ignore[assignment]
    with pytest.raises(PartFailed, match="term 'vague': .*: inputs = 'pair' | 'set' | 'globals'"):
        Objective([("vague", 1.0, term)])


def test_a_plain_module_is_no_term() -> None:
    with pytest.raises(PartFailed, match=r"term 'linear': is a Linear, and must be a ssl_zoo\.parts\.Term"):
        Objective([("linear", 1.0, nn.Linear(2, 2))])  # type: ignore[list-item]


def test_a_counter_is_read_once_and_again_where_others_have_written() -> None:
    counter, other = StepCounter(), StepCounter()
    assert int(counter) == 0
    for _ in range(3):
        counter.advance()
    assert int(counter) == int(counter.steps) == 3
    other.load_state_dict(counter.state_dict())
    assert int(other) == 3
    counter.steps.fill_(7)
    assert int(counter) == 7
    counter.advance()
    assert int(copy.deepcopy(counter)) == int(counter.double()) == 8
