"""The pairings `to_mean` and `cross_modal`."""

import pytest
import torch
from torch import Tensor

from ssl_zoo.batch import View
from ssl_zoo.errors import UserError
from ssl_zoo.pairing.view_pairs import AllPairs, CrossModal, MeanOfOthers, OneWay, ToMean
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


def test_views_of_other_members_are_predicted_and_no_others() -> None:
    z = embeddings(3)
    views = [View(x, member) for x, member in zip(z, ("image", "image", "text"), strict=True)]
    pairs, scale = CrossModal()(z, z, views)
    assert scale == 1 / 4
    assert [(p is z[i], t is z[j]) for (p, t), (i, j) in zip(pairs, [(0, 2), (1, 2), (2, 0), (2, 1)], strict=True)] == [
        (True, True)
    ] * 4
    (pair,) = CrossModal(reduce="sum")(z, [None, z[1], None], views).pairs
    assert pair[0] is z[2] and pair[1] is z[1]
    with pytest.raises(UserError, match="pairing cross_modal: all views are of image"):
        CrossModal()(z[:2], z[:2], views[:2])


def test_a_predictor_per_direction_is_asked_for_the_member_of_the_target() -> None:
    z = embeddings(2)
    views = [View(z[0], "image"), View(z[1], "text")]
    p = [{"text": z[0] + 1, "sound": z[0] + 2}, {"image": z[1] + 3}]
    assert [
        pair[0] is expected
        for pair, expected in zip(AllPairs()(p, z, views).pairs, (p[0]["text"], p[1]["image"]), strict=True)
    ] == [True, True]
    for pairing in (ToMean(), MeanOfOthers()):
        with pytest.raises(UserError, match="a predictor per direction predicts one member"):
            pairing(p, z, views)
    with pytest.raises(UserError, match="for which a predictor per direction has no prediction"):
        AllPairs()(p, z, [View(z[0], "image"), View(z[1], "image")])


def test_one_way_takes_pairs_of_neighbouring_views() -> None:
    p, t = [torch.randn(3, 4) for _ in range(4)], [torch.randn(3, 4) for _ in range(4)]
    found = paired(OneWay(pairs=2), p, t)
    assert found.scale == 0.5 and len(found.pairs) == 2
    for (x, y), i in zip(found.pairs, (0, 2), strict=True):
        assert x is p[i] and y is t[i + 1]
    with pytest.raises(UserError, match=r"2 pairs take 4 views.*views\.num_views to 4"):
        paired(OneWay(pairs=2), p[:3], t[:3])
