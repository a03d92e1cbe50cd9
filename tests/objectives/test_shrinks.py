"""Terms that say `shrinks` are solved by embeddings that shrink to one point, and no others are."""

import pytest
import torch

from ssl_zoo import registry
from ssl_zoo.methods.build import build
from tests.tiny import small


def pair_terms():
    own = [
        name for name in registry.names("term") if not name.endswith("/*")
    ]  # of others: tests/objectives/test_lightly.py
    terms = [(name, registry.build("term", name, {}, dim=12)) for name in own]
    terms.append(("mse, normalised", registry.build("term", "mse", {"normalise": True})))
    return [(name, term) for name, term in terms if term.inputs == "pair"]


@pytest.mark.parametrize("name, term", pair_terms(), ids=lambda x: x if isinstance(x, str) else "")
def test_a_pair_term_says_whether_shrinking_solves_it(name, term):
    g = torch.Generator().manual_seed(0)
    p, t = torch.randn(16, 12, generator=g), torch.randn(16, 12, generator=g)
    term.eval()
    solved = abs(float(term(1e-3 * p, 1e-3 * t))) < 1e-4 * abs(float(term(p, t)))
    assert term.shrinks == solved


@pytest.mark.parametrize(
    "method, overrides, shrinks",
    [
        ("vicreg", [], True),
        ("vicreg", ["objective.mse.weight=0"], False),
        ("vicreg", ["objective=[mse, negative_cosine]"], False),
        ("vicregl", [], True),
        ("lejepa", [], True),
        ("byol", [], False),
        ("simsiam_variance", [], False),
        ("barlow_twins", [], False),
        ("dino", [], False),
        ("mmcr", [], False),
    ],
)
def test_an_objective_shrinks_where_all_that_pulls_does(method, overrides, shrinks):
    assert build(small(method, overrides)).objective.shrinks is shrinks
