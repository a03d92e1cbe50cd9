"""Threads that wait sleep soon, unless the user's environment says otherwise."""

import os

import pytest

from ssl_zoo.training.shared_cpu import SPINS, sleep_soon, sleeps_soon


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", *SPINS):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_threads_that_wait_sleep_soon() -> None:
    assert not sleeps_soon()
    sleep_soon()
    assert sleeps_soon() and all(os.environ[name] == value for name, value in SPINS.items())


@pytest.mark.parametrize("setting", ["OMP_WAIT_POLICY=active", "GOMP_SPINCOUNT=7", "KMP_BLOCKTIME=200"])
def test_what_the_environment_says_stays(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    name, value = setting.split("=")
    monkeypatch.setenv(name, value)
    before = dict(os.environ)
    sleep_soon()
    assert dict(os.environ) == before and not sleeps_soon()


def test_a_passive_policy_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    assert sleeps_soon()
