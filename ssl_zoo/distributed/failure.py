"""Errors of processes that torchrun's agent has started: each writes its own, and the agent shows the first.

torch's agent names a file to each process, `TORCHELASTIC_ERROR_FILE`, and its report shows the message in it. What is
added here is the time at which a process began to fail, to the microsecond: where one fails, the others lose their
connection to it a moment later and fail too. No error is told from another by its text.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from ssl_zoo.errors import NotFinite, TrainingFailed, UserError, describe_error

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

ERROR_FILE = "TORCHELASTIC_ERROR_FILE"

_SOON_S = 20
"""A process that dies without a word this long (s) after the first failure was killed by the agent because of it."""

_STOPPED = 75

_began: float | None = None
"""When this process began to fail; seconds since 1970."""

_code: int | None = None
"""The exit code of this process, once an error ends it."""


@dataclass(frozen=True)
class Failure:
    """Why a process failed.

    Attributes:
        kind: a mistake of the `user`, a run that `failed` for a known reason, a `fault` of a program, or `silent`, of a
            process that died without a word.
        message: one sentence.
        time: at which it began; seconds since 1970.
        final: whether it would fail again in the same way.
        trace: the traceback.
        rank: of the process.
        exit_code: of the process.
    """

    kind: Literal["user", "failed", "fault", "silent"]
    message: str
    time: float
    final: bool = False
    trace: str = ""
    rank: int = 0
    exit_code: int = 1


def is_recorded() -> bool:
    """Return whether the errors of this process are written to a file, for the agent to show."""
    return ERROR_FILE in os.environ


def has_begun() -> bool:
    """Return whether this process has begun to fail."""
    return _began is not None


def code() -> int | None:
    """Return the exit code of this process if an error is ending it."""
    return _code


def record_last(error: BaseException, exit_code: int) -> None:
    """Record the error that ends this process, which nothing has caught, see `record`."""
    global _code
    record(error)
    _code = exit_code


def record(error: BaseException) -> None:
    """Write the error that ends this process, if an agent is to show it; a later call has the better words for it."""
    global _began
    if not is_recorded() or not isinstance(error, Exception):
        return
    _began = time.time() if _began is None else _began
    trace = "".join(traceback.format_exception(error))
    known = isinstance(error, (UserError, TrainingFailed))
    kind: Any = "user" if isinstance(error, UserError) else "failed" if known else "fault"
    message = str(error) if known else f"{describe_error(error).rstrip('.')}."
    failure = Failure(kind, message, _began, _is_final(error), trace)
    text = {"user": f"error: {message}", "failed": f"failed: {message}", "fault": trace}[kind]
    shown = {"message": text, "extraInfo": {"py_callstack": text, "timestamp": str(int(_began))}}  # as torch has it
    path = Path(os.environ[ERROR_FILE])
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_text(json.dumps({"message": shown, "ssl_zoo": asdict(failure)}))
        partial.replace(path)
    except OSError:  # no room, or the agent has removed its folder: it says then that the process died
        return


def _is_final(error: BaseException | None) -> bool:
    """Return whether an error, or one that it came from, is one that comes again."""
    while error is not None:
        if isinstance(error, (UserError, NotFinite)):
            return True
        error = error.__cause__
    return False


def record_uncaught() -> None:
    """Let Python write the exceptions that nothing catches to the agent's file instead of printing them."""
    if is_recorded() and sys.excepthook is sys.__excepthook__:
        sys.excepthook = _record_uncaught


def _record_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, Exception):
        record_last(error, 1)
    else:
        sys.__excepthook__(kind, error, trace)


def first_failure(failures: Mapping[int, ProcessFailure], size: int) -> Failure:
    """Return the failure that the others follow from.

    A process that a signal ended has written nothing and is the cause of what the others write, unless it was the
    agent that ended it.

    Args:
        failures: of torch's agent, by the rank of the process.
        size: the number of processes.
    """
    known = [_read(rank, failure, size) for rank, failure in failures.items()]
    start = min(failure.time for failure in known)

    def order(failure: Failure) -> tuple[int, float, int]:
        by_agent = failure.exit_code in (-signal.SIGTERM, _STOPPED) or failure.time > start + _SOON_S
        place = 1 if failure.kind != "silent" else 2 if by_agent else 0
        return place, failure.time, failure.rank

    return min(known, key=order)


def _read(rank: int, failure: ProcessFailure, size: int) -> Failure:
    """Return the failure of one process, from its file if there is one."""
    code, data = failure.exitcode, failure.error_file_data.get("ssl_zoo")
    if data is not None:
        return Failure(**{**data, "rank": rank, "exit_code": code})
    if code >= 0:
        words = f"rank {rank} of {size} processes ended with exit code {code} and no message"
    else:
        why = ", perhaps for want of memory" if -code == signal.SIGKILL else ""
        words = f"rank {rank} of {size} processes was ended by {failure.signal_name()}{why}"
    return Failure("silent", f"{words}.", float(failure.timestamp), code in (2, 3, _STOPPED), "", rank, code)
