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
