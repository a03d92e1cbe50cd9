"""The attentive probe: the function of multi-head attention, places that a mean hides, and what it may depend on."""

import pytest
import torch
from torch import nn

from ssl_zoo.evaluation.features import Features, Tokens
from ssl_zoo.evaluation.protocols.attentive import Attentive, AttentiveProbe
from ssl_zoo.evaluation.protocols.linear import Linear

PROBE = Attentive(epochs=10, lrs=[3e-3, 1e-2], batch_size=32)


def hidden_places(num: int, seed: int) -> Tokens:
    """Tokens of two classes with equal means: one token points to the class, another one away from it."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(num, 6, 8, generator=g)
    y = torch.arange(num) % 2
    sign = (2.0 * y - 1)[:, None]
    place = torch.randint(0, 5, (num,), generator=g)
    rows = torch.arange(num)
    x[rows, place, 0], x[rows, place, 1] = 4.0, 4 * sign[:, 0]  # the marked place says the class
    x[rows, place + 1, 0], x[rows, place + 1, 1] = -4.0, -4 * sign[:, 0]
    return Tokens(x, y)


def test_it_is_multi_head_attention_with_a_learnt_query() -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, bias=False, batch_first=True)
    query, x = torch.randn(1, 1, 8), torch.randn(5, 7, 8)
    probe = AttentiveProbe(8, 3, heads=2)
    q, k, v = attention.in_proj_weight.split(8)
    with torch.no_grad():
        attention.out_proj.weight.copy_(torch.eye(8))
        for head in range(2):
            part = slice(4 * head, 4 * head + 4)
            probe.query[head] = (q[part] @ query.flatten()) @ k[part] / 4**0.5
            probe.value[head] = v[part].T
    expected = attention(query.expand(5, 1, 8), x, x)[0][:, 0]
    torch.testing.assert_close(probe.pool(x), expected)


def test_it_finds_what_the_mean_hides() -> None:
    train, test = hidden_places(200, 0), hidden_places(100, 1)
    means = [Features(part.x.mean(dim=1), part.y) for part in (train, test)]
    assert PROBE(train, test)["top1"] > 0.9
    assert Linear(epochs=15)(*means)["top1"] < 0.7


def test_it_is_a_function_of_its_seed_and_moves_nothing() -> None:
    train, test = hidden_places(60, 0), hidden_places(30, 1)
    before, state = train.x.clone(), torch.get_rng_state()
    first = PROBE(train, test)
    torch.rand(1)
    assert PROBE(train, test) == first
    assert torch.equal(train.x, before)
    torch.set_rng_state(state)
    PROBE(train, test)
    assert torch.equal(torch.get_rng_state(), state)


def test_labels_of_the_test_have_no_part_in_any_choice() -> None:
    """Every sample is judged alone: its verdict does not depend on the others' labels."""
    train, test = hidden_places(60, 0), hidden_places(30, 1)
    flipped = Tokens(test.x, 1 - test.labels)
    assert PROBE(train, flipped)["top1"] == pytest.approx(1 - PROBE(train, test)["top1"])


def test_a_width_that_heads_do_not_divide_and_classes_that_start_elsewhere() -> None:
    x = torch.randn(40, 3, 9) + 3 * (torch.arange(40) % 2)[:, None, None]
    tokens = Tokens(x, 5 + torch.arange(40) % 2)
    assert PROBE(tokens, tokens)["top1"] == 1.0
