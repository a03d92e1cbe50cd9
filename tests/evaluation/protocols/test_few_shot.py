"""Few-shot accuracy against brute force, and draws that no representation can influence."""

import numpy as np
import pytest
import torch

from ssl_zoo.evaluation.features import Features
from ssl_zoo.evaluation.labels import Labels
from ssl_zoo.evaluation.protocols.few_shot import FewShot, draw


def test_a_draw_has_so_many_labels_of_each_class():
    y = torch.tensor([0] * 30 + [4] * 12 + [2] * 50)
    index = draw(y, 10, seed=0, number=3)
    assert torch.bincount(y[index]).tolist() == [10, 0, 10, 0, 10]
    assert len(index.unique()) == 30
    assert torch.equal(index, draw(y, 10, seed=0, number=3))
    assert not torch.equal(index, draw(y, 10, seed=0, number=4))
    assert not torch.equal(index, draw(y, 10, seed=1, number=3))


def test_equals_brute_force_over_the_same_draws(digits):
    train, test = digits
    test = test.take(torch.arange(100))
    scores = []
    for number in range(5):
        index = draw(train.y, 3, 0, number)
        bank, labels = train.x[index].numpy(), train.y[index].numpy()
        hits = 0
        for query, answer in zip(test.x.numpy(), test.y.numpy(), strict=True):
            cosine = [query @ x / (np.linalg.norm(query) * np.linalg.norm(x)) for x in bank]
            hits += labels[np.argmax(cosine)] == answer
        scores.append(hits / len(test))
    result = FewShot(labels=3, draws=5)(train, test)
    assert result["top1"] == pytest.approx(np.mean(scores), abs=1e-6)
    assert result["std"] == pytest.approx(np.std(scores, ddof=1), abs=1e-6)


def test_several_counts_are_each_measured_and_the_largest_has_the_plain_names(digits):
    train, test = digits
    one, two, three = (FewShot(labels=num, draws=3)(train, test) for num in (1, 5, 10))
    found = FewShot(labels=[10, 1, 5], draws=3)(train, test)
    assert found == {
        **three, "top1_1": one["top1"], "std_1": one["std"], "top1_5": two["top1"], "std_5": two["std"]
    }  # fmt: skip


def test_draws_do_not_depend_on_the_features(digits):
    """Features under a rotation have the same cosines, so on the same draws the same result."""
    train, test = digits
    rotation = torch.linalg.qr(torch.randn(64, 64, generator=torch.Generator().manual_seed(0))).Q
    turned = [Features(part.x @ rotation, part.y) for part in (train, test)]
    plain, rotated = FewShot(draws=10)(train, test), FewShot(draws=10)(*turned)
    assert plain["top1"] == pytest.approx(rotated["top1"], abs=1e-3)


def test_more_neighbours_vote():
    x = torch.tensor([[1.0, 0.0], [0.9, 0.3], [0.85, 0.35], [-1.0, 0.1]])
    train = Features(x, torch.tensor([0, 1, 1, 0]))
    query = Features(torch.tensor([[1.0, 0.05]]), torch.tensor([1]))
    assert FewShot(labels=2, draws=2, neighbours=1)(train, query)["top1"] == 0
    assert FewShot(labels=2, draws=2, neighbours=3)(train, query)["top1"] == 1


def test_a_rare_class_gives_all_it_has_and_is_named():
    train = Features(torch.randn(14, 3), torch.tensor([0] * 12 + [1] * 2))
    labels = Labels(train.labels, None, ["cat", "dog"])
    assert FewShot().notes(train.labels, labels) == [
        "few_shot: 1 of 2 classes have fewer than 10 labelled samples (dog; the fewest 2): all of them are used"
    ]
    assert FewShot(labels=2).notes(train.labels, labels) == []
    assert 0 <= FewShot(draws=2)(train, train)["top1"] <= 1  # and warns of nothing


def test_ids_of_many_digits_take_no_memory():
    x, y = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2
    dense, sparse = Features(x, y), Features(x, torch.where(y == 0, 7, 10**12))
    assert FewShot(draws=3)(dense, dense) == FewShot(draws=3)(sparse, sparse)
