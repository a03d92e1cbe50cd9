"""Stopping from outside: a signal or a time limit asks, and is noticed between two steps."""

import os
import signal
import threading
import time

import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.training.stop import StopRequest, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2d", 172800), (" 5m ", 300), ("0.5", 0.5)],
)
def test_times(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "0", "0m", "-5", "5 m", "1h30m", "soon", "1e3", "inf", "5w"])
def test_what_is_no_time_is_told(text):
    with pytest.raises(UserError, match=r"^--max-time .*: give a time such as 90s, 30m or 1\.5h\.$"):
        seconds(text)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_and_the_second_has_its_usual_effect(number):
    taken = []
    before = signal.signal(number, lambda *_: taken.append(number))
    try:
        with StopRequest() as request:
            assert request.reason is None
            os.kill(os.getpid(), number)
            assert request.reason == number.name and taken == []
            os.kill(os.getpid(), number)
            assert taken == [number]
        os.kill(os.getpid(), number)  # afterwards the handler is the one from before
        assert taken == [number, number]
    finally:
        signal.signal(number, before)


def test_after_the_context_signals_do_what_they_did_before():
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]  # a job in the background ignores Ctrl-C
    with StopRequest():
        assert all(signal.getsignal(number) not in before for number in numbers)
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_time_limit_is_counted_from_the_start(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    request = StopRequest(max_seconds=5)
    assert request.reason is None
    now = 104.9
    assert request.reason is None
    now = 105.0
    assert request.reason == "max-time"
    assert StopRequest().reason is None


def test_outside_the_main_thread_signals_are_left_alone():
    before, reasons = signal.getsignal(signal.SIGTERM), []

    def work():
        with StopRequest(max_seconds=1e-9) as request:
            reasons.append(request.reason)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert reasons == ["max-time"] and signal.getsignal(signal.SIGTERM) is before
