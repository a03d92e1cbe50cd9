"""From a failed validation to one sentence: where, which key, what is wrong, what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from pydantic import BaseModel, ValidationError

from ssl_zoo import registry
from ssl_zoo.errors import suggest

_WORDS = {
    r"^\w+ should ": "",
    r"a valid dictionary( or instance of \w+)?": "a mapping of keys to values",
    r"a valid (tuple|list)": "a list",
}
"""What pydantic says, and what a user of recipes reads."""
_NO_KEY = ("extra_forbidden", "invalid_key")


def explain(error: ValidationError, where: str, model: type[BaseModel]) -> str:
    """Return the first problem of a validation as one sentence: where, key path, what, the nearest match."""
    return f"{where}: {_first(error, partial(_known_keys, model))}"


def explain_option(error: ValidationError, kind: str, name: str, also: Iterable[str] = ()) -> str:
    """Return the first problem of a part's options as `option: what is wrong`; `also` are its other keys."""
    mine = registry.options(registry.find(kind, name)[0])
    problem = error.errors()[0]
    text = _first(error, lambda path: [*_known_keys(mine, path), *(() if path else also)])
    if problem["type"] not in _NO_KEY or len(problem["loc"]) > 1:
        return text
    text = text.replace("unknown key", f"unknown key of {kind} {name!r}", 1)
    others = [e.name for e in registry.entries(kind) if problem["loc"][0] in registry.options(e).model_fields]
    return f"{text}; {', '.join(others)} would have it" if others else text


def _first(error: ValidationError, known: Callable[[list[str]], list[str]]) -> str:
    """Return the first problem as a sentence; the branches of a union that failed together are one problem."""
    problems = error.errors()
    start = _keys(problems[0])
    related = [problem for problem in problems if all(a == b for a, b in zip(_keys(problem), start, strict=False))]
    deepest = max(related, key=lambda problem: len(_keys(problem)))  # the branch that fits best
    same = [problem for problem in related if _keys(problem) == _keys(deepest)]
    left = len(problems) - len(related)
    return _explain(same, known) + (f" ({left} more after that)" if left else "")


def _explain(problems: list[Any], known: Callable[[list[str]], list[str]]) -> str:
    problem = problems[0]
    keys = _keys(problem)
    path = ".".join(keys)
    if problem["type"] in _NO_KEY:
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
    """Return the keys that lead to a problem, without the names that pydantic gives to the branches of a union."""
    if not problem["loc"]:  # a validator of the whole model, whose message names the key
        return []
    *way, last = (str(key) for key in problem["loc"])
    branches = {"int", "float", "str", "bool", "none"}
    real = [key for key in way if key not in branches and (key.isidentifier() or key.isdigit())]
    if problem["type"] in _NO_KEY or (last not in branches and (last.isidentifier() or last.isdigit())):
        real.append(last)
    return real


def short(value: Any) -> str:
    """Return a value as it stands in a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _starts_with_key(message: str) -> bool:
    head, colon, _ = message.partition(": ")
    return bool(colon) and all(piece.isidentifier() or piece.isdigit() for piece in head.split("."))


def _known_keys(model: Any, path: list[str]) -> list[str]:
    for key in path:
        field = getattr(model, "model_fields", {}).get(key)
        if field is not None:
            model = field.annotation
            args = getattr(model, "__args__", ())
            model = args[0] if args else model
    return list(getattr(model, "model_fields", {}))
