"""The pairing `to_mean`."""

import pytest
import torch
from torch import Tensor

from ssl_zoo.pairing.view_pairs import ToMean
from tests.tiny import paired


def embeddings(num: int) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(5, 4, generator=g, dtype=torch.float64).requires_grad_() for _ in range(num)]


def test_every_view_meets_the_mean_of_all_targets_its_own_among_them() -> None:
    z = embeddings(3)
    pairs, scale = paired(ToMean(), z, z)
    assert scale == 1 / 3 and [p is x for (p, _), x in zip(pairs, z, strict=True)] == [True] * 3
    for _, t in pairs:
        torch.testing.assert_close(t, (z[0] + z[1] + z[2]) / 3, rtol=1e-12, atol=0)


def test_gradient_flows_through_the_view_and_through_the_mean() -> None:
    z = embeddings(2)
    pairs, _ = paired(ToMean(reduce="sum"), z, z)
    sum((p - t).square().sum() for p, t in pairs).backward()
    # with m = (a + b)/2 the sum of squares is |a - b|^2 / 2, whose gradient for a is a - b
    torch.testing.assert_close(z[0].grad, (z[0] - z[1]).detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(z[1].grad, (z[1] - z[0]).detach(), rtol=1e-12, atol=0)


def test_views_that_are_no_target_are_left_out_of_the_mean_but_are_compared_with_it() -> None:
    z = embeddings(3)
    pairs, scale = paired(ToMean(reduce="sum"), z, [z[0], z[1], None])
    assert len(pairs) == 3 and scale == 1.0
    torch.testing.assert_close(pairs[2][1], (z[0] + z[1]) / 2, rtol=1e-12, atol=0)


def test_normalise_takes_the_mean_of_directions() -> None:
    z = embeddings(2)
    (_, t), *_ = paired(ToMean(normalise=True), z, z)[0]
    expected = torch.stack([torch.stack([row / row.norm() for row in x]) for x in z]).mean(0)
    torch.testing.assert_close(t, expected, rtol=1e-12, atol=0)
    scaled = paired(ToMean(normalise=True), [5 * z[0], z[1]], [5 * z[0], z[1]])[0][0][1]
    torch.testing.assert_close(scaled, expected, rtol=1e-12, atol=0)


def test_no_target_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="a view that is a target"):
        paired(ToMean(), embeddings(1), [None])
