"""Errors for the user: the exceptions, and one sentence for a failed validation or an exception of other code.

`UserError` is a mistake that the user can fix: its text is one sentence with what is wrong, where, and what to do. The
command line prints it without a traceback and exits with code 2. `TrainingFailed` is a run that broke off for another
reason; exit code 1.
"""

from __future__ import annotations

import importlib.util
import linecache
import re
import sysconfig
import traceback
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError


class UserError(ValueError):
    """A user's mistake in one sentence: what, where, what to do."""

    def __str__(self) -> str:
        """Return the sentence, on one line and printable whatever names are in it."""
        return _sentence(super().__str__())


def needs(module: str, install: str, what: str) -> None:
    """Make sure that an optional package is installed, at the place where it is used.

    Args:
        module: that is imported.
        install: what to type after `pip install`, such as `'ssl_zoo[audio]'`.
        what: needs it, for the message.

    Raises:
        UserError: it is not installed.
    """
    if importlib.util.find_spec(module) is None:
        raise UserError(f"{what} needs the package {module}, which is not installed: pip install {install}")


class TrainingFailed(RuntimeError):
    """The run cannot continue, for a reason other than the user's input: one sentence."""

    def __str__(self) -> str:
        """Return the sentence, on one line and printable whatever names are in it."""
        return _sentence(super().__str__())


class NotFinite(TrainingFailed):
    """The loss or the weights are not finite; a resumed run would fail at the same step."""

    advice = "try a lower training.base_lr, a longer training.schedule.warmup_epochs, or training.precision=fp32."


class CannotWrite(TrainingFailed):
    """A file cannot be written: the disk is full, the folder is read-only or gone."""


LONGEST = 500
"""Longest word (characters) of a sentence: a value in a user's file may be of any length."""


def _sentence(text: str) -> str:
    """Return a sentence as it is printed: on one line, long words cut."""
    words = shown_name(text).split(" ")
    return " ".join(word if len(word) <= LONGEST else f"{word[: LONGEST - 3]}..." for word in words)


def shown_name(name: str) -> str:
    r"""Return a name in printable form: `\n`, `\t`, `\xe9` for line breaks, control characters, bytes beyond UTF-8.

    File names may hold any byte. Bytes that are not UTF-8 become surrogates in Python strings, which neither files nor
    terminals accept; line breaks and tabs would make one row of a list look like two.
    """
    return name if name.isprintable() else "".join(map(_shown, name))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that `surrogateescape` carried through
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


MOST_KNOWN = 8
"""Names that a message lists at most."""


def suggest(word: str, known: Iterable[str], more: str = "") -> str:
    """Return '; did you mean X? Known: A, B' for an unknown `word`, the nearest match first if there is one.

    Args:
        word: that is unknown.
        known: the names; of more than 8 the nearest are listed, and the number of the others.
        more: the command that lists all, such as `ssl-zoo list methods`.
    """
    names = sorted(known)
    lowered = {name.lower(): name for name in names}
    near = [lowered[each] for each in get_close_matches(word.lower(), lowered, n=MOST_KNOWN, cutoff=0.3)]
    close = get_close_matches(word.lower(), lowered, n=1, cutoff=0.5)
    hint = f"; did you mean {lowered[close[0]]!r}?" if close else "."
    if len(names) <= MOST_KNOWN:
        return f"{hint} Known: {', '.join(names) if names else 'none'}"
    listed = [*near, *(name for name in names if name not in near)][:MOST_KNOWN]
    rest = f"and {len(names) - len(listed)} more" + (f" (`{more}`)" if more else "")
    return f"{hint} Known: {', '.join(listed)}, {rest}"


def short(value: Any) -> str:
    """Return the `repr` of a value for a message, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


# ---- exceptions of other code ----------------------------------------------------------------------------------------

_LONGEST_MESSAGE = 300
_NOT_THE_USERS = (str(Path(__file__).parent), *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")))


def describe_error(error: BaseException) -> str:
    """Return `TypeError: its message (my_encoder.py, line 12)`, on one line, for an exception that a part raised.

    The line is the last one in a file of the user's: neither of this package nor of an installed one. An assertion
    without a message is described by its source.
    """
    message = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
    message = message.partition(" Exception raised from ")[0]  # torch appends addresses of its own code
    if not message and isinstance(error, AssertionError):
        message = _source(error).removeprefix("assert ")
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[: _LONGEST_MESSAGE - 3]}..."
    where = _where(error)
    name = type(error).__name__
    return f"{f'{name}: {message}' if message else name}{f' ({where})' if where else ''}"


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


# ---- failed validations ----------------------------------------------------------------------------------------------

NO_KEY = ("extra_forbidden", "invalid_key")
"""pydantic's types of an error about an unknown key."""

_WORDS = {
    r"^\w+ should ": "",
    r"a valid dictionary( or instance of \w+)?": "a mapping of keys to values",
    r"a valid (tuple|list)": "a list",
}
"""Pydantic's words -> those of a user of recipes."""


def explain(error: ValidationError, where: str, model: type[BaseModel]) -> str:
    """Return the first problem of a validation as one sentence: where, key path, what, the nearest match."""
    return f"{where}: {first_problem(error, partial(known_keys, model))}"


def first_problem(error: ValidationError, known: Callable[[list[str]], list[str]]) -> str:
    """Return the first problem of a validation as a sentence; branches of a union that failed together are one problem.

    Args:
        error: of pydantic.
        known: path of keys -> the keys that are known there, for a suggestion.
    """
    problems = error.errors()
    start = _keys(problems[0])
    related = [problem for problem in problems if all(a == b for a, b in zip(_keys(problem), start, strict=False))]
    deepest = max(related, key=lambda problem: len(_keys(problem)))  # the branch that fits best
    same = [problem for problem in related if _keys(problem) == _keys(deepest)]
    left = len(problems) - len(related)
    return _explain(same, known) + (f" ({left} more after that)" if left else "")


def known_keys(model: Any, path: list[str]) -> list[str]:
    """Return the keys that a pydantic model has at a path of keys."""
    for key in path:
        field = getattr(model, "model_fields", {}).get(key)
        if field is not None:
            model = field.annotation
            args = getattr(model, "__args__", ())
            model = args[0] if args else model
    return list(getattr(model, "model_fields", {}))


def _explain(problems: list[Any], known: Callable[[list[str]], list[str]]) -> str:
    problem = problems[0]
    keys = _keys(problem)
    path = ".".join(keys)
    if problem["type"] in NO_KEY:
        return f"{path}: unknown key{suggest(keys[-1], known(keys[:-1]))}"
    if problem["type"] == "missing":
        return f"{path}: is missing; give it a value."
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error" and not keys:
        return message
    if problem["type"] == "value_error":
        return f"{path}.{message}" if _starts_with_key(message) else f"{path}: {message}"
    wishes = [each["msg"] for each in problems]
    for pattern, words in _WORDS.items():
        wishes = [re.sub(pattern, words, wish) for wish in wishes]
    return f"{path}: {short(problem['input'])} is not possible, it should {' or '.join(wishes)}."


def _keys(problem: Any) -> list[str]:
    """Return the keys that lead to a problem, without pydantic's names of the branches of a union."""
    if not problem["loc"]:  # a validator of the whole model, whose message names the key
        return []
    *way, last = (str(key) for key in problem["loc"])
    branches = {"int", "float", "str", "bool", "none"}
    real = [key for key in way if key not in branches and (key.isidentifier() or key.isdigit())]
    if problem["type"] in NO_KEY or (last not in branches and (last.isidentifier() or last.isdigit())):
        real.append(last)
    return real


def _starts_with_key(message: str) -> bool:
    head, colon, _ = message.partition(": ")
    return bool(colon) and all(piece.isidentifier() or piece.isdigit() for piece in head.split("."))
