"""Mean average precision against scikit-learn, chance against its formula and against random orders."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import normalize

from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.features import Features
from ssl_zoo.evaluation.protocols.label_retrieval import LabelRetrieval, average_precision, expected_by_chance


def features(num: int, seed: int, classes: int = 4) -> Features:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (num,), generator=generator)
    return Features(torch.randn(num, 5, generator=generator) + 1.5 * torch.eye(5)[y], y)


def expected(queries: Features, bank: Features, itself: bool) -> float:
    """scikit-learn's average precision of each query, by hand."""
    cosines = normalize(queries.x.double().numpy()) @ normalize(bank.x.double().numpy()).T
    found = []
    for i, scores in enumerate(cosines):
        keep = np.arange(len(scores)) != i if itself else np.ones(len(scores), dtype=bool)
        right = (bank.labels == queries.labels[i]).numpy()[keep]
        if right.any():
            found.append(average_precision_score(right, scores[keep]))
    return float(np.mean(found))


def test_map_is_scikit_learns() -> None:
    train, test = features(80, 0), features(50, 1)
    assert LabelRetrieval()(train, test)["map"] == pytest.approx(expected(test, test, True), abs=1e-12)
    assert LabelRetrieval(bank="train")(train, test)["map"] == pytest.approx(expected(test, train, False), abs=1e-12)


def test_equal_scores_count_together() -> None:
    scores = torch.tensor([[0.5, 0.9, 0.5, 0.1, 0.9, 0.5]], dtype=torch.float64)
    for right in ([[True, False, False, True, True, False]], [[False, False, True, True, False, True]]):
        ours = average_precision(scores, torch.tensor(right)).item()
        assert ours == pytest.approx(average_precision_score(right[0], scores[0].numpy()))


def test_separated_classes_are_all_found_and_constant_features_give_their_share() -> None:
    y = torch.arange(40) % 4
    assert LabelRetrieval()(Features(torch.eye(4)[y], y), Features(torch.eye(4)[y], y))["map"] == 1
    same = Features(torch.ones(40, 3), y)
    assert LabelRetrieval()(same, same)["map"] == pytest.approx(9 / 39)


def test_chance_is_the_mean_over_random_orders() -> None:
    right = torch.arange(12) < 4
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(20_000, 12, generator=generator, dtype=torch.float64)
    simulated = average_precision(scores, right.expand(len(scores), -1)).mean().item()
    assert expected_by_chance(torch.tensor([4]), 12).item() == pytest.approx(simulated, abs=0.005)
    assert expected_by_chance(torch.tensor([1]), 3).item() == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert expected_by_chance(torch.tensor([7]), 7).item() == pytest.approx(1)


def test_queries_with_nothing_to_find_are_left_out() -> None:
    x, y = torch.eye(5), torch.tensor([0, 0, 1, 2, 3])
    assert LabelRetrieval()(Features(x, y), Features(x, y))["map"] == pytest.approx(1 / 4)  # four equal strangers
    with pytest.raises(UserError, match="no sample of test"):
        LabelRetrieval()(Features(x, y), Features(x, torch.arange(5)))
