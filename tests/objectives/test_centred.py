"""DINO's loss: golden numbers, the paper's formula over three steps, the paths of centre and temperature, lightly."""

import math

import pytest
import torch
from torch import Tensor

from ssl_zoo.batch import View
from ssl_zoo.objectives.centred import CentredCrossEntropy
from ssl_zoo.objectives.objective import Objective
from ssl_zoo.pairing.view_pairs import AllPairs
from tests.tiny import paired


def outputs(num: int = 4, batch: int = 6, dim: int = 5, seed: int = 0) -> list[Tensor]:
    g = torch.Generator().manual_seed(seed)
    return [0.2 * torch.randn(batch, dim, generator=g, dtype=torch.float64) for _ in range(num)]


def test_golden_number() -> None:
    # t / 0.04 = (ln 3, 0): softmax (3/4, 1/4); p = 0: softmax (1/2, 1/2)
    t = torch.tensor([[0.04 * math.log(3), 0.0]])
    assert CentredCrossEntropy(2)(torch.zeros(1, 2), t).item() == pytest.approx(math.log(2))
    # with the centre at t itself, the target is uniform; p / 0.1 = (ln 2, 0): softmax (2/3, 1/3)
    term = CentredCrossEntropy(2)
    term.centre.value.copy_(t[0])
    p = torch.tensor([[0.1 * math.log(2), 0.0]])
    assert term(p, t).item() == pytest.approx(-(math.log(2 / 3) + math.log(1 / 3)) / 2)


def test_three_steps_are_the_papers() -> None:
    """Two global and two local views, the student's and the teacher's outputs apart; the paper's algorithm 1."""
    term = CentredCrossEntropy(5).double()
    objective = Objective([("loss", 1.0, term)])
    c = torch.zeros(5, dtype=torch.float64)
    for step in range(3):
        p = [x.requires_grad_() for x in outputs(4, seed=step)]
        t = outputs(2, seed=100 + step)
        value = objective(paired(AllPairs(), p, [*t, None, None]), p, [View(x) for x in p])["loss"]
        losses = []
        for j, teacher in enumerate(t):
            target = torch.softmax((teacher - c) / 0.04, dim=1)
            for i, student in enumerate(p):
                if i != j:
                    losses.append(-(target * torch.log_softmax(student / 0.1, dim=1)).sum(dim=1).mean())
        expected = torch.stack(losses).mean()
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
        for mine, theirs in zip(torch.autograd.grad(value, p), torch.autograd.grad(expected, p), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-12)
        c = 0.9 * c + 0.1 * torch.cat(t).mean(dim=0)
        term.after_step((step + 1) / 3)
        torch.testing.assert_close(term.centre.value, c, rtol=1e-10, atol=1e-14)


def test_with_accumulation_the_centre_moves_once_a_step() -> None:
    term = CentredCrossEntropy(5).double()
    first, second = outputs(2)
    term(first, first)
    term(second, second)
    assert term.centre.value.abs().max() == 0
    term.after_step(0.1)
    torch.testing.assert_close(term.centre.value, 0.1 * torch.cat([first, second]).mean(dim=0))
    term.after_step(0.2)  # a step without a forward: nothing to follow
    torch.testing.assert_close(term.centre.value, 0.1 * torch.cat([first, second]).mean(dim=0))


def test_evaluation_leaves_the_centre_alone() -> None:
    term = CentredCrossEntropy(5).double().eval()
    term(*outputs(2))
    term.after_step(0.5)
    assert term.centre.value.abs().max() == 0


@pytest.mark.parametrize(("progress", "expected"), [(0.0, 0.04), (0.05, 0.055), (0.1, 0.07), (1.0, 0.07)])
def test_temperature_rises_linearly_and_stays(progress: float, expected: float) -> None:
    term = CentredCrossEntropy(5, target_temperature=0.07, warmup=0.1)
    term.after_step(progress)
    assert term.sharpness().item() == pytest.approx(expected)
    other = CentredCrossEntropy(5, target_temperature=0.07, warmup=0.1)
    other.load_state_dict(term.state_dict())
    assert other.sharpness() == term.sharpness()


def test_agrees_with_lightly() -> None:
    from lightly.loss import DINOLoss

    p, t = [x.float() for x in outputs(2)], [x.float() for x in outputs(2, seed=7)]
    theirs = DINOLoss(output_dim=5, warmup_teacher_temp_epochs=1)
    term = CentredCrossEntropy(5)
    objective = Objective([("loss", 1.0, term)])
    for _ in range(2):  # the second time with a centre
        value = objective(paired(AllPairs(), p, t), p, [View(x) for x in p])["loss"]
        torch.testing.assert_close(value, theirs(t, p, teacher_temp=0.04), rtol=1e-5, atol=0)
        term.after_step(0.5)
    torch.testing.assert_close(term.centre.value, theirs.center.flatten(), rtol=1e-5, atol=1e-8)


def test_gradients_in_float64_and_none_to_the_target() -> None:
    p, t = (x.requires_grad_() for x in outputs(2))
    term = CentredCrossEntropy(5).double()
    term(p, t).backward()
    assert p.grad is not None and t.grad is None
    assert torch.autograd.gradcheck(lambda x: CentredCrossEntropy(5).double()(x, t), (p,))


def test_a_dead_dimension_gives_finite_loss_and_gradient() -> None:
    p, t = (torch.cat([x[:, :4], torch.ones(6, 1, dtype=x.dtype)], dim=1) for x in outputs(2))
    p.requires_grad_()
    value = CentredCrossEntropy(5).double()(p, t)
    value.backward()
    assert value.isfinite() and p.grad.isfinite().all()
