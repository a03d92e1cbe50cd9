"""The k of kNN: chosen for each representation on held-out train samples, as loops over the formula choose it."""

import numpy as np
import pytest
import torch

from ssl_zoo.evaluation.features import Features
from ssl_zoo.evaluation.holdout import holdout
from ssl_zoo.evaluation.protocols.knn import KNN


def accuracy(bank, labels, queries, answers, k, temperature=0.1):
    """The weighted vote of Wu et al. 2018, section 3.4, query by query."""
    bank, queries = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (bank, queries))
    hits = 0
    for query, answer in zip(queries, answers, strict=True):
        cosine = bank @ query
        nearest = np.argsort(-cosine)[:k]
        votes = {c: np.exp(cosine[nearest][labels[nearest] == c] / temperature).sum() for c in np.unique(labels)}
        hits += max(votes, key=votes.get) == answer
    return hits / len(queries)


def clusters(noise: float, num: int, seed: int, classes: tuple[int, ...] = (0, 1, 2, 3)) -> Features:
    """Overlapping clusters, so that many neighbours are better than one, or clear ones."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, len(classes), num)
    x = np.eye(6)[y] + noise * rng.normal(size=(num, 6))
    return Features(torch.tensor(x), torch.tensor(classes)[torch.tensor(y)])


@pytest.mark.parametrize("noise", [0.05, 0.5, 1.0])
def test_k_is_the_best_on_the_held_out_part_and_the_test_is_used_once(noise):
    train, test = clusters(noise, 200, 0), clusters(noise, 80, 1)
    candidates = [1, 5, 10, 50, 100]
    kept, held = holdout(train.y, 0.2, 0, "knn_holdout")
    bank, labels, queries, answers = (t.numpy() for t in (train.x[kept], train.y[kept], train.x[held], train.y[held]))
    on_held_out = [accuracy(bank, labels, queries, answers, k) for k in candidates]
    k = candidates[int(np.argmax(on_held_out))]  # the first of equals
    expected = accuracy(train.x.numpy(), train.y.numpy(), test.x.numpy(), test.y.numpy(), k)
    assert KNN(candidates=candidates)(train, test) == {"top1": pytest.approx(expected), "k": k}


def test_representations_get_different_k():
    chosen = [KNN()(clusters(noise, 1000, 0), clusters(noise, 50, 1))["k"] for noise in (0.05, 1.0)]
    assert chosen[0] == 1 and chosen[1] > 10


def test_test_labels_have_no_part_in_the_choice():
    train, test = clusters(0.5, 200, 0), clusters(0.5, 80, 1)
    other = Features(test.x, (test.y + 1) % 4)
    assert KNN()(train, test)["k"] == KNN()(train, other)["k"]


def test_only_what_the_bank_allows():
    train, test = clusters(1.0, 30, 0), clusters(1.0, 30, 1)
    assert KNN()(train, test)["k"] <= 24
    assert KNN(candidates=[50, 100])(train, test)["k"] <= 24
    assert KNN(k=500)(train, test)["k"] == 30


def test_classes_of_one_sample_leave_the_smallest_k():
    train = Features(torch.eye(4), torch.arange(4))
    assert KNN()(train, train) == {"top1": 1.0, "k": 1}


def test_ids_of_many_digits_take_no_memory():
    ids = (3, 10**9, 10**12, 7)
    train, test = clusters(0.5, 100, 0, ids), clusters(0.5, 40, 1, ids)
    dense = [clusters(0.5, 100, 0, (0, 2, 3, 1)), clusters(0.5, 40, 1, (0, 2, 3, 1))]
    assert KNN()(train, test) == KNN()(*dense)
