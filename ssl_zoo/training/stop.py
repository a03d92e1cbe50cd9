"""Stopping a run from outside: signals and a time limit, noticed between steps, or at once where nothing is lost."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from ssl_zoo.errors import UserError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float:
    """Return the seconds in `90`, `90s`, `30m`, `1.5h` or `2d`.

    Raises:
        UserError: the text is none of these.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if match is None or float(match[1]) <= 0:
        raise UserError(f"--max-time {text}: give a time such as 90s, 30m or 1.5h.")
    return float(match[1]) * _UNITS[match[2] or "s"]


class Interrupted(KeyboardInterrupt):
    """A signal has asked for a stop where nothing has to be brought to an end before."""


class StopRequest:
    """A context in which SIGTERM and Ctrl-C, or a time limit, ask for a stop instead of forcing one.

    A second signal has its usual effect. Use `if request.reason: ...` between steps, and `at_once` around work that is
    simply done again. Contexts may be nested: a request to the inner one reaches the outer ones too.
    """

    _innermost: StopRequest | None = None

    def __init__(self, max_seconds: float | None = None):
        self._deadline = None if max_seconds is None else time.monotonic() + max_seconds
        self._signal: str | None = None
        self._at_once = False
        self._outer: StopRequest | None = None
        self._usual: dict[int, Any] = {}

    @property
    def reason(self) -> str | None:
        """Why to stop, or None to continue."""
        if self._signal is not None:
            return self._signal
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return "max-time"
        return None

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """A context that a signal leaves at once, also one that came before it.

        Raises:
            Interrupted: a signal came.
        """
        before, self._at_once = self._at_once, True
        try:
            if self._signal is not None:
                raise Interrupted(self._signal)
            yield
        finally:
            self._at_once = before

    def __enter__(self) -> StopRequest:
        self._outer = StopRequest._innermost
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                before = signal.signal(number, self._note)
            except ValueError:  # not the main thread: signals go to the one that is
                return self
            self._usual[number] = (before or signal.SIG_DFL) if self._outer is None else self._outer._usual[number]
        if self._outer is not None and self._outer._signal is not None:
            self._hear(self._outer._signal)  # it came before this context began
        StopRequest._innermost = self
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        request: StopRequest | None = self
        while request is not None:
            request._hear(signal.Signals(number).name)
            request = request._outer
        if self._at_once:
            raise Interrupted(self._signal)

    def _hear(self, name: str) -> None:
        self._signal = name
        for number, handler in self._usual.items():
            signal.signal(number, handler)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._usual:
            return
        StopRequest._innermost = self._outer
        outer = self._outer
        for number, usual in self._usual.items():
            signal.signal(number, usual if outer is None or outer._signal is not None else outer._note)
