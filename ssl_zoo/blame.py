"""An exception of somebody else's code as part of a sentence: what it is, what it says, and where."""

from __future__ import annotations

import linecache
import sysconfig
import traceback
from pathlib import Path

_LONGEST = 300
_NOT_THE_USERS = (str(Path(__file__).parent), *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")))


def told(error: BaseException) -> str:
    """Return `TypeError: what it says (my_encoder.py, line 12)`, on one line.

    The line is the last one in a file of the user's: neither of this package nor of an installed one. An assertion
    without a message is told by its source.
    """
    says = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
    says = says.partition(" Exception raised from ")[0]  # what follows are addresses inside of torch
    if not says and isinstance(error, AssertionError):
        says = _source(error).removeprefix("assert ")
    says = says if len(says) <= _LONGEST else f"{says[: _LONGEST - 3]}..."
    where = _where(error)
    name = type(error).__name__
    return f"{f'{name}: {says}' if says else name}{f' ({where})' if where else ''}"


def _where(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}, line {error.lineno}"
    mine = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if not frame.f_code.co_filename.startswith(("<frozen", *_NOT_THE_USERS))
    ]
    return f"{Path(mine[-1][0]).name}, line {mine[-1][1]}" if mine else ""


def _source(error: BaseException) -> str:
    """Return the line of code that raised."""
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return ""
    frame, line = frames[-1]
    return linecache.getline(frame.f_code.co_filename, line, frame.f_globals).strip()
