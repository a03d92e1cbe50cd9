"""DirectPred and DirectCopy: the matrices of the papers, which correlation they come from, and when they move."""

import pytest
import torch
from torch import Tensor

from ssl_zoo.heads.direct import DirectCopy, DirectPred, root_spectrum


def batches(num: int = 3, batch: int = 9, dim: int = 4) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(batch, dim, generator=g, dtype=torch.float64) for _ in range(num)]


def test_golden_matrix() -> None:
    # s = (16, 4, 0): s / max s = (1, 1/4, 0), roots (1, 1/2, 0), plus eps 0.1
    correlation = torch.diag(torch.tensor([4.0, 16.0, 0.0], dtype=torch.float64))
    expected = torch.diag(torch.tensor([0.6, 1.1, 0.1], dtype=torch.float64))
    torch.testing.assert_close(root_spectrum(correlation, 0.1), expected)


def test_directpred_is_the_matrix_root_plus_eps() -> None:
    z = batches()[0]
    f = z.T @ z / 9
    top = torch.linalg.eigvalsh(f)[-1]
    w = root_spectrum(f, 0.3) - 0.3 * torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(w @ w, f / top, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [DirectPred, DirectCopy])
def test_rho_weighs_the_old_correlation_and_the_first_is_taken_whole(kind: type) -> None:
    head = kind(4, rho=0.3, eps=0.1).double()
    x, y, u = batches()
    assert torch.equal(head(x), x)  # the identity, until the end of the first step
    head(y)
    head.after_step(0.1)
    first = (x.T @ x + y.T @ y) / 18
    torch.testing.assert_close(head.correlation, first)
    head(u)
    head.after_step(0.2)
    expected = 0.3 * first + 0.7 * u.T @ u / 9
    torch.testing.assert_close(head.correlation, expected)
    w = expected + 0.1 * torch.eye(4, dtype=torch.float64) if kind is DirectCopy else root_spectrum(expected, 0.1)
    torch.testing.assert_close(head(x), x @ w.T)


def test_every_fifth_step_and_never_in_evaluation() -> None:
    head = DirectCopy(4, every=5).double()
    seen = []
    for x in batches(7):
        head(x)
        head.after_step(0.0)
        seen.append(head.weight.clone())
    assert all(torch.equal(seen[0], w) for w in seen[:5]) and not torch.equal(seen[4], seen[5])
    head.eval()
    before = head.correlation.clone()
    head(batches()[0])
    head.after_step(0.0)
    assert torch.equal(head.correlation, before)


def test_nothing_is_trained_and_a_checkpoint_holds_all() -> None:
    head, other = DirectPred(4).double(), DirectPred(4).double()
    assert not list(head.parameters())
    head(batches()[0])
    head.after_step(0.0)
    other.load_state_dict(head.state_dict())
    for h in (head, other):
        h(batches()[1])
        h.after_step(0.1)
    assert torch.equal(head.weight, other.weight) and torch.equal(head.correlation, other.correlation)


def test_gradient_passes_through_to_z() -> None:
    head = DirectPred(4).double()
    head(batches()[0])
    head.after_step(0.0)
    z = batches()[1].requires_grad_()
    head(z).sum().backward()
    torch.testing.assert_close(z.grad, head.weight.sum(dim=0).expand(9, 4))


@pytest.mark.parametrize("kind", [DirectPred, DirectCopy])
def test_collapsed_and_half_precision_inputs_give_finite_predictors(kind: type) -> None:
    head = kind(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        head(torch.zeros(8, 4))
        head.after_step(0.0)
        assert head.weight.isfinite().all()
        p = head(1000 * torch.randn(8, 4).bfloat16())
    head.after_step(0.1)
    assert p.isfinite().all() and head.correlation.dtype == torch.float32 and head.weight.isfinite().all()
