"""Fixtures shared by all tests."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def own_parts(monkeypatch) -> None:
    """What a test registers is forgotten after it."""
    from ssl_zoo import registry

    for kind in registry.PACKAGES:
        registry.names(kind)  # found now, so that they are among those that stay
    monkeypatch.setattr(registry, "_ENTRIES", {kind: dict(known) for kind, known in registry._ENTRIES.items()})


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the checkout; tests that need it are skipped where it is absent."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"needs the real data sets of {path.parent.name}/{path.name} beside the checkout")
    return path


@pytest.fixture(scope="session")
def digits():
    """Train and test `Features`: the 64 pixels of scikit-learn's digits, the first 1,200 and the other 597."""
    import torch
    from sklearn.datasets import load_digits

    from ssl_zoo.evaluation.features import Features

    bunch = load_digits()
    x, y = torch.tensor(bunch.data, dtype=torch.float32), torch.tensor(bunch.target)
    return Features(x[:1200], y[:1200]), Features(x[1200:], y[1200:])
