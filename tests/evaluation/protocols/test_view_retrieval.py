"""The protocol `view_retrieval` against a plain computation."""

import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity

from ssl_zoo import registry


class Given:
    """Features of views that are known."""

    def __init__(self, x):
        self.x = x

    def features(self, samples, views):
        return self.x[:samples, :views]


def measured(x, **options):
    return registry.build("protocol", "view_retrieval", options)(None, Given(x))


def test_both_directions_against_sklearn():
    source = torch.Generator().manual_seed(0)
    x = torch.randn(50, 1, 8, generator=source) + 0.7 * torch.randn(50, 2, 8, generator=source)
    ranks = []
    for one, other in ((0, 1), (1, 0)):
        cosines = cosine_similarity(x[:, one].double(), x[:, other].double())
        order = (-cosines).argsort(axis=1)
        ranks.append(torch.tensor([list(row).index(i) + 1 for i, row in enumerate(order)]).double())
    found = measured(x)
    assert found["r1"] == pytest.approx(torch.cat(ranks).eq(1).double().mean().item())
    assert found["r5"] == pytest.approx(torch.cat(ranks).le(5).double().mean().item())
    assert found["median_rank"] == pytest.approx(sum(rank.quantile(0.5).item() for rank in ranks) / 2)
    assert 0 < found["r1"] < found["r5"] < 1 and found["num"] == 50
    assert (found["r1_chance"], found["r5_chance"], found["median_rank_chance"]) == (0.02, 0.1, 25.5)


def test_a_constant_encoder_reaches_chance_and_equal_views_are_found():
    constant = measured(torch.ones(40, 2, 8))
    for name in ("r1", "r5", "median_rank"):
        assert constant[name] == pytest.approx(constant[f"{name}_chance"])
    source = torch.Generator().manual_seed(0)
    assert measured(torch.randn(40, 1, 8, generator=source).repeat(1, 2, 1), samples=30)["r1"] == 1.0
