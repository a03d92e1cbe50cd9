"""The running statistic that moves once per optimizer step."""

import torch

from ssl_zoo.objectives.running import Running


def test_mix_has_the_gradient_of_the_batchs_share_and_does_not_move() -> None:
    running = Running(torch.tensor([1.0, 2.0]), keep=0.75)
    batch = torch.tensor([5.0, 6.0], requires_grad=True)
    mixed = running.mix(batch)
    assert mixed.tolist() == [0.75 * 1 + 0.25 * 5, 0.75 * 2 + 0.25 * 6]
    mixed.sum().backward()
    assert batch.grad is not None and batch.grad.tolist() == [0.25, 0.25]
    assert running.value.tolist() == [1.0, 2.0]
    running.commit()
    torch.testing.assert_close(running.value, mixed.detach())


def test_accumulated_batches_are_mixed_with_the_same_old_value_and_move_it_once() -> None:
    running = Running(torch.zeros(1), keep=0.5)
    assert running.mix(torch.tensor([2.0])).item() == running.mix(torch.tensor([2.0])).item() == 1.0
    running.mix(torch.tensor([8.0]))
    running.commit()
    torch.testing.assert_close(running.value, torch.tensor([0.5 * (2 + 2 + 8) / 3]))
    before = running.value.clone()
    running.commit()
    assert torch.equal(running.value, before)


def test_evaluation_mixes_but_leaves_no_trace() -> None:
    running = Running(torch.ones(1), keep=0.5).eval()
    assert running.mix(torch.tensor([3.0])).item() == 2.0
    running.commit()
    assert running.value.item() == 1.0


def test_the_value_is_the_whole_state_between_steps() -> None:
    one, other = Running(torch.zeros(2), 0.9), Running(torch.zeros(2), 0.9)
    one.mix(torch.ones(2))
    one.commit()
    assert list(one.state_dict()) == ["value"]
    other.load_state_dict(one.state_dict())
    for running in (one, other):
        running.mix(torch.full((2,), 3.0))
        running.commit()
    assert torch.equal(one.value, other.value)
