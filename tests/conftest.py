"""Fixtures shared by all tests."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LONGEST = (
    "test_docs.py", "test_steps.py", "test_launch.py", "test_parity.py", "test_photographs.py", "test_resume.py",
    "test_on_a_gpu.py", "test_every_modality.py", "test_compare.py", "test_export.py", "test_killed.py",
)  # fmt: skip
"""Files that take longest, and so come first: at the end, one process would work on them alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; all else keeps its order."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


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
