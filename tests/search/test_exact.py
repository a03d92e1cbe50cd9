"""Exact neighbours in blocks against numpy's, of all pairs at once."""

import numpy as np
import pytest

from ssl_zoo.search import exact
from ssl_zoo.search.exact import nearest


@pytest.mark.parametrize(("queries", "block"), [(2048, 16384), (7, 300), (60, 11)])
def test_the_nearest_are_numpys_whatever_the_blocks(unit, monkeypatch, queries, block) -> None:
    monkeypatch.setattr(exact, "QUERIES", queries)
    monkeypatch.setattr(exact, "BLOCK", block)
    some = unit[:60]
    cosines = some.astype(np.float64) @ unit.T.astype(np.float64)
    for own in (False, True):
        if own:
            cosines[np.arange(60), np.arange(60)] = -np.inf
        order = np.argsort(-cosines, axis=1)[:, :9]
        blocks = list(nearest(some, unit, 9)) if not own else list(nearest(unit[:60], unit, 9, own=True))
        assert [start for start, _, _ in blocks] == list(range(0, 60, queries))
        places = np.concatenate([place.numpy() for _, place, _ in blocks])
        assert np.array_equal(places, order)
        found = np.concatenate([cosine.numpy() for _, _, cosine in blocks])
        np.testing.assert_allclose(found, np.take_along_axis(cosines, order, 1), atol=1e-6)


def test_of_equal_samples_the_first_comes_first_and_there_are_no_more_than_exist(monkeypatch) -> None:
    monkeypatch.setattr(exact, "BLOCK", 2)
    x = np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (5, 1))
    (_, places, cosines), = nearest(x, x, 9, own=True)  # fmt: skip
    assert places.tolist() == [[j for j in range(5) if j != i] for i in range(5)] and bool((cosines == 1).all())
