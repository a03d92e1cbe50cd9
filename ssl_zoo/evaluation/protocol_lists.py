"""Lists of protocols: their keys in the results, which ones data allows, and what they need of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ssl_zoo.data.source import Split
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.contract import build_protocol, protocol_class
from ssl_zoo.evaluation.labels import Labels

Results = dict[str, dict[str, float]]
"""{protocol: {metric: value}}; of a member of samples that are mappings, the protocol is called MEMBER/PROTOCOL."""

Protocols = Sequence[tuple[str, Mapping[str, Any]]]
"""(name, options) of each."""


def usable(protocols: Protocols, labelled: bool) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the protocols that the data allows: all of them on labelled data, else those that need no labels."""
    return [(name, options) for name, options in protocols if labelled or not protocol_class(name).needs_labels]


def check_labels(protocols: Protocols, reason: str) -> None:
    """Make sure that the labels allow all protocols.

    Args:
        protocols: (name, options) of each.
        reason: `Division.reason`: why no protocol that needs labels can run, or empty.

    Raises:
        UserError: one of them needs labels, and there is a reason.
    """
    for name, _ in protocols:
        if reason and protocol_class(name).needs_labels:
            raise UserError(
                f"evaluation: protocol {name!r} needs labels and {reason}; leave it out (label_free needs none) or "
                "give data with labels in train and test."
            )


def protocol_notes(protocols: Protocols, learnt: Tensor, labels: Labels) -> list[str]:
    """Return the notes of protocols, given the labels that are learnt from `(N,)`."""
    return [line for name, options in protocols for line in build_protocol(name, options).notes(learnt, labels)]


def keyed(protocols: Protocols) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Return (key in the results, name, options) of each protocol."""
    times: Counter[str] = Counter()
    found = []
    for name, options in protocols:
        times[name] += 1
        found.append((name if times[name] == 1 else f"{name}_{times[name]}", name, options))
    return found


def _has_labels(split: Split | None) -> bool:
    return split is not None and split.labels is not None and bool((split.labels >= 0).any())


def is_used(test: Split | None, protocols: Protocols) -> bool:
    """Return whether any protocol uses a test split, which has to have samples and, where they are needed, labels."""
    if test is None or not len(test):
        return False
    return _has_labels(test) or not all(protocol_class(name).needs_labels for name, _ in protocols)


def uses_train(test: Split | None, protocols: Protocols) -> bool:
    """Return whether any protocol uses train, given the test split that is used."""
    kinds = [protocol_class(name) for name, _ in protocols]
    if test is None or any(kind.needs_train for kind in kinds):
        return True
    return any(kind.needs_labels for kind in kinds) and not _has_labels(test)


def by_input(protocols: Protocols) -> dict[type[Any], list[tuple[str, Mapping[str, Any]]]]:
    """Return protocols by the class of what they see."""
    found: dict[type[Any], list[tuple[str, Mapping[str, Any]]]] = {}
    for name, options in protocols:
        found.setdefault(protocol_class(name).sees, []).append((name, options))
    return found
