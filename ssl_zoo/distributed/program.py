"""The command that runs this program once more."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_given: list[str] = []


@contextmanager
def called_with(words: Sequence[str]) -> Iterator[None]:
    """A context in which the command line of ssl_zoo runs with words that are not those of this process.

    Args:
        words: after `ssl-zoo`, as a program gives them that calls the command line as a function.
    """
    before = list(_given)
    _given[:] = [sys.executable, "-m", "ssl_zoo", *words]
    try:
        yield
    finally:
        _given[:] = before


def command() -> list[str] | None:
    """Return the words that start this program again, as it was started; None where it is no file, as in a notebook."""
    if _given:
        return list(_given)
    if not hasattr(sys.modules.get("__main__"), "__file__"):
        return None
    return [sys.executable, *sys.orig_argv[1:]]
