"""VISReg's terms: values by hand, an oracle written from the paper, gradients at collapse, and lightly's loss."""

from statistics import NormalDist

import pytest
import torch
from torch import Tensor, nn

from ssl_zoo.objectives.sliced_characteristic import SlicedCharacteristic
from ssl_zoo.objectives.sliced_wasserstein import (
    Centre,
    SlicedWasserstein,
    UnitScale,
    centre,
    gaussian_quantiles,
    sliced_wasserstein,
    unit_scale,
)

TERMS = [Centre(), UnitScale(), SlicedWasserstein(slices=8)]


def embeddings(num: int = 2, batch: int = 9, dim: int = 4) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    return [2 + 3 * torch.randn(batch, dim, generator=g, dtype=torch.float64) for _ in range(num)]


def test_scale_and_centre_by_hand() -> None:
    z = torch.tensor([[0.0, 1.0], [4.0, 1.0 + 1.0]])  # means 2 and 1.5; biased deviations 2 and 0.5
    assert unit_scale(z).item() == pytest.approx(((1 - 2) ** 2 + (1 - 0.5) ** 2) / 2)
    assert centre(z).item() == pytest.approx((2**2 + 1.5**2) / 2)


def test_shape_by_hand() -> None:
    # (-1, 0, 1) has biased deviation sqrt(2/3): standardised +-1.224745; the quantiles of 1/4 and 3/4 are +-0.674490
    z = torch.tensor([[1.0], [-1.0], [0.0]], dtype=torch.float64)
    value = sliced_wasserstein(z, torch.ones(1, 1, dtype=torch.float64))
    assert value.item() == pytest.approx(2 * (1.2247448714 - 0.6744897502) ** 2 / 3, rel=1e-9)


def test_quantiles_are_the_standard_librarys() -> None:
    expected = [NormalDist().inv_cdf(i / 8) for i in range(1, 8)]
    assert gaussian_quantiles(7, torch.zeros((), dtype=torch.float64)).tolist() == pytest.approx(expected, abs=1e-12)


def test_shape_against_the_paper_and_its_gradient_leaves_the_scale_alone() -> None:
    z = embeddings()[0].requires_grad_()
    a = torch.nn.functional.normalize(torch.randn(4, 6, dtype=torch.float64), dim=0)
    value = sliced_wasserstein(z, a)
    sigma = z.std(dim=0, correction=0).detach()
    quantiles = torch.tensor([NormalDist().inv_cdf(i / 10) for i in range(1, 10)], dtype=torch.float64)
    total = 0.0
    for k in range(6):
        projected = ((z - z.mean(dim=0)) / sigma) @ a[:, k]
        total = total + ((projected.sort().values - quantiles) ** 2).mean()
    expected = total / 6
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
    mine, theirs = (torch.autograd.grad(v, z, retain_graph=True)[0] for v in (value, expected))
    torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-12)


def test_shape_ignores_scale_and_shift() -> None:
    z = embeddings()[0]
    a = torch.nn.functional.normalize(torch.randn(4, 6, dtype=torch.float64), dim=0)
    torch.testing.assert_close(sliced_wasserstein(5 * z - 7, a), sliced_wasserstein(z, a), rtol=1e-9, atol=0)


def test_near_collapse_the_scale_pushes_where_the_characteristic_function_does_not() -> None:
    """The paper's claim (figure 2): at collapse SIGReg's gradient fades and that of the scale does not."""
    gradients = {}
    for name, term in (("scale", UnitScale()), ("sigreg", SlicedCharacteristic(slices=16, times_samples=False))):
        z = (1e-3 * embeddings(1)[0]).requires_grad_()
        term([z]).backward()
        gradients[name] = z.grad.norm().item()
    assert gradients["scale"] > 100 * gradients["sigreg"] > 0


def test_agrees_with_lightly(monkeypatch: pytest.MonkeyPatch) -> None:
    from lightly.loss import visreg_loss

    z = torch.stack([x.float() for x in embeddings(batch=32)])
    torch.testing.assert_close(UnitScale()(list(z)), visreg_loss.visreg_scale_loss(z))
    torch.testing.assert_close(Centre()(list(z)), visreg_loss.visreg_center_loss(z))
    term = SlicedWasserstein(slices=16)
    drawn = term.directions(z[0])
    monkeypatch.setattr(visreg_loss.torch, "randn", lambda *_, **__: drawn.clone())
    theirs = visreg_loss.visreg_shape_loss(z, num_slices=16, eps=1e-8)
    monkeypatch.undo()
    torch.testing.assert_close(term(list(z)), theirs, rtol=1e-4, atol=1e-6)


def test_gradient_of_the_shape_in_float64_with_the_scale_held() -> None:
    z = embeddings(1, batch=5, dim=3)[0]
    a = torch.nn.functional.normalize(torch.randn(3, 2, dtype=torch.float64), dim=0)
    sigma = z.std(dim=0, correction=0)
    points = z.clone().requires_grad_()
    sliced_wasserstein(points, a).backward()

    def held(x: Tensor) -> Tensor:
        ordered = (((x - x.mean(dim=0)) / sigma) @ a).sort(dim=0).values
        return (ordered - gaussian_quantiles(len(x), x)[:, None]).square().mean()

    step = 1e-6
    for i, j in ((0, 0), (3, 2)):
        bump = torch.zeros_like(z)
        bump[i, j] = step
        slope = (held(z + bump) - held(z - bump)) / (2 * step)
        assert points.grad[i, j].item() == pytest.approx(slope.item(), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("term", TERMS)
def test_a_dead_dimension_gives_finite_loss_and_gradient(term: nn.Module) -> None:
    z = [torch.cat([x[:, :3], torch.ones(9, 1, dtype=x.dtype)], dim=1).requires_grad_() for x in embeddings()]
    value = term(z)
    value.backward()
    assert value.isfinite() and all(x.grad.isfinite().all() for x in z)
