"""Stopping a run from outside: signals and a time limit, noticed between two steps."""

from __future__ import annotations

import re
import signal
import time
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


class StopRequest:
    """A context in which SIGTERM and Ctrl-C, or a time limit, ask for a stop instead of forcing one.

    A second signal has its usual effect. Use `if request.reason: ...` between steps.
    """

    def __init__(self, max_seconds: float | None = None):
        self._deadline = None if max_seconds is None else time.monotonic() + max_seconds
        self._signal: str | None = None
        self._previous: dict[int, Any] = {}

    @property
    def reason(self) -> str | None:
        """Why to stop, or None to go on."""
        if self._signal is not None:
            return self._signal
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return "max-time"
        return None

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                self._previous[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread: signals go to the one that is
                break
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = signal.Signals(number).name
        signal.signal(number, self._previous[number])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
