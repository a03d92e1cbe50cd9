"""Classes that several splits share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from ssl_zoo.data.layout.split_names import normal
from ssl_zoo.errors import shown_name

SHOWN = 10
"""Largest number of classes that a sentence names."""

MANY = 20
"""Up to this number of classes, labels are not doubted."""


def unify(names: Mapping[str, Collection[str]], where: str) -> tuple[list[str], dict[tuple[str, str], int], list[str]]:
    """Number the classes that occur in some splits.

    Names that look the same, of composed or decomposed letters, are one class. Names that differ in capitals are one
    class between splits, and two where both are in one split.

    Args:
        names: for each split, the first first, the names in it.
        where: what the sentences call the source.

    Returns:
        the names, sorted; the number of each `(split, name as given)`; and sentences about names that are spelt in
        several ways.
    """
    spelt: dict[str, set[str]] = {}
    alike: dict[str, dict[str, list[str]]] = {}  # without capitals: the names in each split
    for split, found in names.items():
        for name in sorted(found):
            spelt.setdefault(normal(name), set()).add(name)
            here = alike.setdefault(normal(name).casefold(), {}).setdefault(split, [])
            if normal(name) not in here:
                here.append(normal(name))
    chosen: dict[str, str] = {}
    notes = []
    for group in alike.values():
        every = list(dict.fromkeys(name for found in group.values() for name in found))
        crowded = next((found for found in group.values() if len(found) > 1), None)
        chosen.update({name: name if crowded else every[0] for name in every})
        if crowded:
            notes.append(f"{where}: {_listed(crowded)} differ in capitals only and are {len(crowded)} classes.")
        elif len(every) > 1:
            notes.append(f"{where}: {_listed(every)} differ in capitals only, between splits, and are one class.")
    twice = [name for name, ways in spelt.items() if len(ways) > 1]
    if twice:
        notes.append(
            f"{where}: {_listed(twice)} {'is' if len(twice) == 1 else 'are'} spelt with composed and with decomposed "
            "letters, which are one class each."
        )
    classes = sorted(set(chosen.values()))
    number = {name: i for i, name in enumerate(classes)}
    numbers = {(split, name): number[chosen[normal(name)]] for split, found in names.items() for name in found}
    return classes, numbers, notes


def many_classes(labels: Mapping[str, Tensor | None], where: str, advice: str) -> list[str]:
    """Return a sentence where more than half of the labelled samples have a class of their own: numbers of patients.

    Args:
        labels: of each split.
        where: what the sentence calls the source.
        advice: how to leave labels out.
    """
    known = [found[found >= 0] for found in labels.values() if found is not None]
    num = sum(map(len, known))
    num_classes = len(torch.cat(known).unique()) if known else 0
    if num_classes <= MANY or 2 * num_classes <= num:
        return []
    return [f"{where}: {num_classes} classes for {num} samples; if they are no classes, leave labels out: {advice}."]


def without_labels(labels: Tensor | None) -> Tensor | None:
    """Return labels, or None where no sample has one: all are -1."""
    return None if labels is None or not bool((labels >= 0).any()) else labels


def dense(
    numbers: Mapping[str, Tensor | None], names: Sequence[str] | None
) -> tuple[dict[str, Tensor | None], list[str]]:
    """Number the classes of some splits from 0, where they are numbers of any size.

    Args:
        numbers: for each split `(N,)` int64, below 0 for a sample without a label, or None.
        names: what number 0, 1, ... is called; of use only if there are as many as the numbers ask for.

    Returns:
        the labels, -1 for none, or None where no sample has one; and the name of each, else its number as text.
    """
    known = [found[found >= 0] for found in numbers.values() if found is not None]
    ids = torch.cat(known).unique() if known else torch.empty(0, dtype=torch.int64)
    if names is not None and (len(ids) == 0 or int(ids[-1]) < len(names)):
        ids, called = torch.arange(len(names)), list(names)
    else:
        called = [str(number) for number in ids.tolist()]
    labels = {
        split: None if found is None else without_labels(torch.where(found < 0, -1, torch.searchsorted(ids, found)))
        for split, found in numbers.items()
    }
    return labels, called


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(shown_name(name) for name in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
