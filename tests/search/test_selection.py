"""The choice of samples: in closed form on a line, by scikit-learn's clusters, and its promise against every choice."""

from itertools import combinations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances

from ssl_zoo.search import selection
from ssl_zoo.search.selection import k_centre, k_means


def test_points_on_a_line_are_halved(monkeypatch) -> None:
    """From the middle to the ends, then to the middles of what is left: the first of equally far ones."""
    monkeypatch.setattr(selection, "BLOCK", 4)
    x = np.arange(9, dtype=np.float32)[:, None]
    assert k_centre(x, 9) == [4, 0, 8, 2, 6, 1, 3, 5, 7]


def test_the_radius_is_at_most_twice_the_smallest_of_all_choices() -> None:
    x = np.random.default_rng(1).normal(size=(11, 2))
    distances = pairwise_distances(x)
    best = min(distances[:, list(some)].min(axis=1).max() for some in combinations(range(11), 3))
    chosen = k_centre(x, 3)
    assert len(set(chosen)) == 3 and distances[:, chosen].min(axis=1).max() <= 2 * best


def test_equal_samples_are_each_chosen_once() -> None:
    x = np.zeros((4, 2), dtype=np.float32)
    assert sorted(k_centre(x, 4)) == sorted(k_means(x, 4)) == [0, 1, 2, 3] and len(set(k_means(x, 3))) == 3


def test_one_sample_of_each_cluster_the_nearest_to_its_centre(monkeypatch) -> None:
    monkeypatch.setattr(selection, "BLOCK", 50)
    source = np.random.default_rng(2)
    places = np.array([[0, 0], [9, 0], [0, 9], [9, 9], [20, 20]])
    sizes = [50, 40, 30, 20, 10]
    x = np.concatenate([at + source.normal(size=(n, 2)) for at, n in zip(places, sizes, strict=True)]).astype("f4")
    chosen = k_means(x, 5, seed=3)
    truth = KMeans(5, n_init=5, random_state=0).fit(x)
    expected = [int(np.linalg.norm(x - centre, axis=1).argmin()) for centre in truth.cluster_centers_]
    assert set(chosen) == set(expected)
    assert [int(np.searchsorted(np.cumsum(sizes), i, side="right")) for i in chosen] == [0, 1, 2, 3, 4]
    monkeypatch.setattr(selection, "WHOLE", 0)  # as of many samples: batches end near the centres, not on them
    near = pairwise_distances(x[k_means(x, 5, seed=3)], x[expected])
    assert near.min(axis=1).max() < 2 and sorted(near.argmin(axis=1)) == [0, 1, 2, 3, 4]
    assert k_means(x, 5, seed=3) == k_means(x, 5, seed=3) and len(set(k_means(x, 60))) == 60


@pytest.mark.parametrize("choose", [k_centre, k_means])
@pytest.mark.parametrize("num", [0, 4])
def test_more_than_there_are_cannot_be_chosen(choose, num) -> None:
    with pytest.raises(ValueError, match="of 3 samples"):
        choose(np.eye(3), num)
