"""YAML as plain data, for recipes and overrides: text, numbers, truth values, lists and mappings with text as keys.

What a recipe does not need and what could be costly is refused: keys that come twice, tags, merge keys, deep nesting,
aliases that multiply, numbers of many digits. A date is text.
"""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from ssl_zoo.errors import UserError

LARGEST = 2**18
"""Bytes of a file or characters of a value."""
DEEPEST = 40
MOST = 20_000
"""Values, each counted as often as aliases repeat it."""
_DIGITS = 64
_PLAIN = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map")}


class _Loader(yaml.SafeLoader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = self.num = 0
        self.sizes: dict[int, tuple[int, int]] = {}  # id of a node that is whole -> number of values, depth

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Return the next node, counted."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if id(node) not in self.sizes:
                raise _problem(event, f"*{event.anchor} stands inside of itself")
            self._limit(event, *self.sizes[id(node)])
            return node
        self.depth += 1
        self.num += 1
        self._limit(event, self.num, 1)
        node = super().compose_node(parent, index)
        self.depth -= 1
        if node is None:
            return node
        inner = [self.sizes[id(child)] for child in _children(node)]
        size = 1 + sum(num for num, _ in inner), 1 + max((deep for _, deep in inner), default=0)
        self._limit(event, *size)
        self.sizes[id(node)] = size
        _check(node)
        return node

    def _limit(self, event: Any, num: int, deep: int) -> None:
        if num > MOST:
            raise _problem(event, f"more than {MOST} values (aliases are counted as often as they repeat them)")
        if self.depth + deep > DEEPEST + 1:
            raise _problem(event, f"nested more than {DEEPEST} deep")


# A date, and the lone `=` of old YAML, are text.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if not tag.endswith((":timestamp", ":value"))]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _children(node: Any) -> list[Any]:
    if isinstance(node, yaml.MappingNode):
        return [each for pair in node.value for each in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _problem(place: Any, what: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=what, problem_mark=place.start_mark)


def _check(node: Any) -> None:
    """Refuse what is no plain data, or says a key twice, where PyYAML takes the last."""
    if node.tag == "tag:yaml.org,2002:merge":
        raise _problem(node, "merge keys (<<) are not supported; write the keys out")
    if node.tag not in _PLAIN:
        raise _problem(node, f"the tag {node.tag.replace('tag:yaml.org,2002:', '!!')} is not supported; leave it out")
    if isinstance(node, yaml.ScalarNode) and node.tag.endswith((":int", ":float")) and len(node.value) > _DIGITS:
        raise _problem(node, f"a number of {len(node.value)} digits; quote it if it is text")
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _problem(key, "a key is text, not a list or a mapping")
        if key.value in seen:
            raise _problem(key, f"the key {key.value[:40]!r} comes twice")
        seen.add(key.value)
        if key.tag != "tag:yaml.org,2002:str":
            raise _problem(key, f"the key {key.value[:40]!r} is not text; quote it")


def load(text: str) -> Any:
    """Return the plain data in YAML.

    Raises:
        yaml.YAMLError: it is not valid, or more than plain data; see `reason`.
    """
    if len(text) > LARGEST:
        raise yaml.YAMLError(f"more than {LARGEST} characters")
    return deepcopy(_parse(text))


@lru_cache(maxsize=256)  # a study reads its few files for each of its runs, and to parse one takes longer than all else
def _parse(text: str) -> Any:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except (ValueError, OverflowError, RecursionError) as error:  # numbers such as 0b_ and 1e99999
        raise yaml.YAMLError(f"a value that cannot be read: {error}") from None
    finally:
        loader.dispose()


def reason(error: yaml.YAMLError) -> str:
    """Return what is wrong, with the line: `line 3: the key 'a' comes twice`."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    context = getattr(error, "context", None)
    line = "" if mark is None else f"line {mark.line + 1}: "
    return f"{line}{f'{context}, ' if context else ''}{' '.join(str(problem).split())[:200]}"


def read(path: Path, name: str) -> Any:
    """Return the plain data in a YAML file; `name` is what messages call it.

    Raises:
        UserError: it cannot be read, is too large, or is not valid.
    """
    try:
        if not path.is_file():  # a pipe or a device may never end
            raise UserError(f"{name}: is no regular file.")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise UserError(f"{name}: is too large for a recipe (more than {LARGEST // 1024} KiB).")
        return load(data.decode("utf-8"))
    except OSError as error:
        raise UserError(f"{name}: cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UserError(f"{name}: is not a text file in UTF-8.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{name}: is not valid YAML: {reason(error)}.") from None
