"""Mutated inputs, a function of a seed: bytes that are damaged, and plain data whose values are exchanged."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

NUMBERS = (b"\x00", b"\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\x00\x00\x00", b"\x00" * 8, b"\xff" * 8)
"""Bytes that stand for extreme numbers where a file keeps sizes and offsets."""

VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**31, 2**63, 10**30, -1.5, 1e308, "", "x", "\ud800", "a\nb\t", "$x^{", "<b>|</b>", "../../x",
    "x" * 5000, [], [[]], {}, {"name": None}, {"": {}}, [0] * 1000, ["mlp"] * 3, "off", "2001-01-01",
    [None, {"a": [1]}],
)  # fmt: skip
"""What a value of plain data may be exchanged for."""


def damaged(data: bytes, random: Random) -> bytes:
    """Return the bytes after one to four changes: flipped, cut, repeated, removed, or replaced by extreme numbers."""
    made = bytearray(data)
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(made) + 1)
        length = random.choice((1, 2, 4, 16, 200))
        match random.randrange(6):
            case 0 if place < len(made):
                made[place] ^= 1 << random.randrange(8)
            case 1:
                del made[place:]
            case 2:
                made[place:place] = made[place : place + length] * random.choice((1, 2, 50))
            case 3:
                del made[place : place + length]
            case 4:
                number = random.choice(NUMBERS)
                made[place : place + len(number)] = number
            case _:
                made[place : place + length] = random.randbytes(length)
    return bytes(made)


def exchanged(value: Any, random: Random) -> Any:
    """Return a copy of plain data in which one to three values have been exchanged, removed or given another name."""
    made = {"root": copy.deepcopy(value)}
    for _ in range(random.randint(1, 3)):
        node, key = random.choice(list(_places(made)))
        match random.randrange(4):
            case 0 if node is not made:
                del node[key]
            case 1 if isinstance(node, dict) and node is not made:
                node[f"{key}x"] = node.pop(key)
            case _:
                node[key] = copy.deepcopy(random.choice(VALUES))
    return made["root"]


def _places(node: Any) -> Any:
    """Yield (container, key) of every value below a container."""
    for key in list(node) if isinstance(node, dict) else range(len(node)):
        yield node, key
        if isinstance(node[key], (dict, list)):
            yield from _places(node[key])
