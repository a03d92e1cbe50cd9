"""Weighted kNN against the formula in loops."""

import numpy as np
import pytest
import torch

from ssl_zoo import registry
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.features import Features
from ssl_zoo.evaluation.protocols.knn import KNN, classify


def by_loops(bank, labels, queries, k, temperature, num_classes):
    """Wu et al. 2018: class c gets the sum of exp(s_i / tau) over those of the k nearest that are of class c."""
    guesses = []
    for query in queries:
        similarity = [query @ x / (np.linalg.norm(query) * np.linalg.norm(x)) for x in bank]
        votes = np.zeros(num_classes)
        for i in np.argsort(similarity)[::-1][:k]:
            votes[labels[i]] += np.exp(similarity[i] / temperature)
        guesses.append(votes.argmax())
    return np.array(guesses)


@pytest.mark.parametrize("k, temperature", [(1, 0.1), (7, 0.1), (20, 0.07), (30, 1.0), (500, 0.1)])
def test_equals_the_formula_in_loops(k, temperature):
    rng = np.random.default_rng(0)
    bank, queries = rng.normal(size=(60, 5)), rng.normal(size=(40, 5))
    labels, answers = rng.integers(0, 4, 60), rng.integers(0, 4, 40)
    guesses = by_loops(bank, labels, queries, min(k, 60), temperature, 4)
    train = Features(torch.tensor(bank).float(), torch.tensor(labels))
    test = Features(torch.tensor(queries).float(), torch.tensor(answers))
    assert KNN(k=k, temperature=temperature)(train, test) == {
        "top1": pytest.approx((guesses == answers).mean()),
        "k": min(k, 60),
    }


def test_blocks_of_queries_change_nothing(monkeypatch, digits):
    train, test = digits
    whole = KNN()(train, test)
    monkeypatch.setattr("ssl_zoo.evaluation.protocols.knn._BLOCK", 100)
    assert KNN()(train, test) == whole


def test_low_temperature_does_not_overflow():
    bank, labels = torch.eye(3), torch.tensor([0, 1, 2])
    assert classify(bank, bank, labels, 3, 1e-3, 3).tolist() == [0, 1, 2]


def test_constant_features_give_a_number_not_an_error():
    features = Features(torch.zeros(20, 4), torch.arange(20) % 2)
    assert 0 <= KNN(k=5)(features, features)["top1"] <= 1


def test_options_are_checked_by_the_registry():
    assert registry.check("protocol", "knn", {}) == {
        "k": "auto", "temperature": 0.1, "candidates": [1, 5, 10, 20, 50, 100, 200], "held_out": 0.2, "seed": 0,
    }  # fmt: skip
    with pytest.raises(UserError, match="k: 0 is not possible"):
        registry.build("protocol", "knn", {"k": 0})
    with pytest.raises(UserError, match="k: 'best' is not possible, it should .* or be 'auto'"):
        registry.build("protocol", "knn", {"k": "best"})
