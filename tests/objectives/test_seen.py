"""Views and pairs that are given to a term at once: the same values and gradients as one after the other."""

import pytest
import torch
from torch import Tensor

from ssl_zoo import registry
from ssl_zoo.batch import Pairs, View
from ssl_zoo.objectives.objective import Objective
from ssl_zoo.parts import Term
from tests.contract import build_term, rows

BATCHED = [name for name in registry.members("term") if build_term(name, 6, 24).batched]


def value_and_gradients(term: Term, batched: bool, dtype: torch.dtype, to_mean: bool) -> tuple[Tensor, list[Tensor]]:
    term.batched = batched
    z = [rows(24, 6, seed, dtype=torch.float32).to(dtype).requires_grad_() for seed in range(4)]
    mean = torch.stack(z).mean(dim=0)
    pairs = Pairs([(x, mean) for x in z] if to_mean else [(z[0], z[1]), (z[1], z[2]), (z[3], z[0])], 0.5)
    value = Objective([("term", 2.0, term)])(pairs, z, [View(x) for x in z])["term"]
    value.backward()
    return value, [x.grad for x in z if x.grad is not None]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", BATCHED)
def test_all_at_once_is_one_after_the_other(name: str, dtype: torch.dtype) -> None:
    """In float64 to its rounding; in bfloat16 a gradient is rounded where it is added up, so that order matters."""
    term = build_term(name, 6, 24)
    half = dtype == torch.bfloat16
    for to_mean in (False, True) if term.inputs == "pair" else (False,):
        value, gradients = value_and_gradients(term, True, dtype, to_mean)
        expected, others = value_and_gradients(term, False, dtype, to_mean)
        torch.testing.assert_close(value, expected, rtol=1e-5 if half else 1e-12, atol=0)
        assert len(gradients) == len(others) == 4
        for one, other in zip(gradients, others, strict=True):
            torch.testing.assert_close(one, other, rtol=2e-2 if half else 1e-9, atol=1e-3 if half else 1e-12)


def test_what_is_batched() -> None:
    assert len(BATCHED) >= 14
    for name in BATCHED:
        term = build_term(name, 6, 24)
        assert term.inputs != "pair" or term.per_sample, name
