"""Items of a Python data set: which part of an item is the sample, and which its label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.layout.classes import dense, many_classes, unify, without_labels
from ssl_zoo.data.paired import PairedModality
from ssl_zoo.data.source import Modality
from ssl_zoo.errors import UserError, short

LABELS = ("label", "target", "class")
"""Keys of an item that may hold its label, the first choice first."""

LABELS_READ = 50_000
"""Largest number of samples that are read for their labels alone, where a data set does not list these."""

NO_LABELS = "have the attribute `targets` or `labels`, a number for each sample"


@dataclass(frozen=True)
class Layout:
    """How the items of a data set are written.

    Attributes:
        sample: the key or the position of the sample; None where the item is the sample, or where the members of a
            sample are keys of the item.
        label: the key or the position of the label; None without one.
    """

    sample: str | int | None = None
    label: str | int | None = None

    def sample_of(self, item: Any, name: str) -> Any:
        """Return the sample in an item.

        Raises:
            BadSample: the item is written otherwise.
        """
        return item if self.sample is None else _at(item, self.sample, name)

    def label_of(self, item: Any, name: str) -> Any:
        """Return the label in an item; None for none."""
        return None if self.label is None else _at(item, self.label, name)


def _at(item: Any, key: str | int, name: str) -> Any:
    fits = isinstance(item, Mapping) if isinstance(key, str) else isinstance(item, (tuple, list))
    try:
        if fits:
            return item[key]
    except (KeyError, IndexError):
        pass
    what = f"the key {key!r}" if isinstance(key, str) else f"a place {key}"
    raise BadSample(name, f"a {type(item).__name__} without {what}, which the first items have")


def layout_of(item: Any, modality: Modality, what: str) -> Layout:
    """Return how a data set writes its items, by the first of them.

    `(sample, label)`, `(sample,)`, a mapping with the sample under a name of its modality and perhaps a label, or the
    sample itself. Samples of several members are mappings {member: value}.

    Args:
        item: the first.
        modality: of the samples.
        what: the messages call the data set.

    Raises:
        UserError: a mapping without a sample, or a tuple of more than two.
    """
    if isinstance(item, tuple) or (isinstance(item, list) and not modality.reads_text and len(item) in (1, 2)):
        if len(item) not in (1, 2):
            raise UserError(f"{what}: its items are tuples of {len(item)}; give (sample, label), or (sample,).")
        return Layout(0, 1 if len(item) == 2 else None)
    if not isinstance(item, Mapping):
        return Layout()
    label = next((key for key in LABELS if key in item), None)
    keys = ", ".join(map(str, list(item)[:8]))
    if isinstance(modality, PairedModality):
        missing = [member for member in modality.members if member not in item]
        if missing:
            raise UserError(f"{what}: its items have the keys {keys}, and none for the member {missing[0]!r}.")
        return Layout(None, label)
    known = (*modality.columns, modality.spec.modality, "sample")
    sample = next((key for key in known if key in item), None)
    if sample is None:
        if modality.item_keys and set(modality.item_keys) <= set(item):
            return Layout(None, label)
        raise UserError(f"{what}: its items have the keys {keys}; the sample is looked for under {', '.join(known)}.")
    return Layout(sample, label)


def sample_of(value: Any, modality: Modality, name: str) -> Any:
    """Return a value of a Python data set as a sample of the modality, or of its members.

    Raises:
        BadSample: it is none.
    """
    if not isinstance(modality, PairedModality):
        return modality.from_item(value, name)
    if not isinstance(value, Mapping):
        raise BadSample(name, f"a {type(value).__name__}, not a mapping {{member: value}}")
    found = {}
    for member, each in modality.members.items():
        if member not in value:
            raise BadSample(name, f"its {member} is missing")
        try:
            found[member] = each.from_item(value[member], name)
        except BadSample as bad:
            raise BadSample(name, f"{member}: {bad.reason}") from bad
    return found


# ---- labels ----------------------------------------------------------------------------------------------------------


def listed_labels(data: Any) -> list[Any] | None:
    """Return the label of each sample that a data set lists, without reading the samples; None where it lists none.

    They are in the attribute `targets` or `labels`, in the column of labels of a table, in the second of the tensors of
    a `TensorDataset`; those of a `Subset` and a `ConcatDataset` are their parts'.
    """
    from torch.utils.data import ConcatDataset, Subset, TensorDataset

    if isinstance(data, Subset):
        whole = listed_labels(data.dataset)
        return None if whole is None else [whole[i] for i in data.indices]
    if isinstance(data, ConcatDataset):
        parts = [listed_labels(part) for part in data.datasets]
        return None if any(part is None for part in parts) else [each for part in parts for each in part or ()]
    columns = getattr(data, "column_names", None)
    if isinstance(columns, list):  # a data set of Hugging Face
        column = next((key for key in LABELS if key in columns), None)
        return None if column is None else list(data[column])
    if isinstance(data, TensorDataset):
        return data.tensors[1].tolist() if len(data.tensors) == 2 and data.tensors[1].ndim == 1 else None
    for attribute in ("targets", "labels"):
        values = getattr(data, attribute, None)
        if isinstance(values, (Tensor, np.ndarray)):
            values = values.tolist() if values.ndim == 1 else None
        if isinstance(values, (list, tuple)) and len(values) == len(data):
            return list(values)
    return None


def listed_classes(data: Any) -> list[str] | None:
    """Return the names of the classes where a data set has them: `classes`, or the feature of its column of labels."""
    inner = getattr(data, "dataset", None)
    names = getattr(data, "classes", None)
    features = getattr(data, "features", None)
    if names is None and isinstance(features, Mapping):
        names = next((features[key].names for key in LABELS if hasattr(features.get(key), "names")), None)
    if names is None:
        return None if inner is None else listed_classes(inner)
    return [name if isinstance(name, str) else ", ".join(map(str, name)) for name in names] or None


def number(
    values: Mapping[str, list[Any] | None], classes: list[str] | None, what: str
) -> tuple[dict[str, Tensor | None], list[str] | None, list[str]]:
    """Number the classes of all splits from 0.

    Args:
        values: of each split, the label of each sample: a number, a word, or None; below 0 is none. None: no labels.
        classes: the names of numbers, where there are some.
        what: the messages call the data set.

    Returns:
        the labels of each split `(N,)` int64, -1 for none, or None where no sample has one; the name of each; notes.

    Raises:
        UserError: words and numbers, or labels that are neither.
    """
    plain = {split: None if of is None else [_plain(each, what) for each in of] for split, of in values.items()}
    known = [each for of in plain.values() for each in of or () if each is not None]
    numbers = [each for each in known if isinstance(each, int)]
    if numbers and len(numbers) < len(known):
        raise UserError(f"{what}: some labels are words and others numbers; give one kind.")
    notes: list[str] = []
    labels: dict[str, Tensor | None]
    if known and not numbers:
        words = {split: {str(each) for each in of if each is not None} for split, of in plain.items() if of is not None}
        names, place, notes = unify(words, what)
        labels = {
            split: None if of is None else without_labels(_tensor(place[split, str(x)] if x else -1 for x in of))
            for split, of in plain.items()
        }
    else:
        ids = {
            split: None if of is None else _tensor(-1 if x is None else int(x) for x in of)
            for split, of in plain.items()
        }
        labels, names = dense(ids, classes)
        least = min((each for each in numbers if each >= 0), default=0)
        if least > 0:
            notes.append(f"{what}: its labels start at {least}; they are numbered from 0, and keep their names.")
    notes += many_classes(labels, what, "give samples without them")
    return labels, names if any(of is not None for of in labels.values()) else None, notes


def _tensor(labels: Iterable[int]) -> Tensor:
    return torch.tensor(list(labels), dtype=torch.int64)


def _plain(value: Any, what: str) -> int | str | None:
    """Return a label as a number or a word; None for none."""
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        size = value.numel() if isinstance(value, Tensor) else value.size
        if size != 1:
            raise UserError(f"{what}: a label of {size} numbers; give the number or the name of one class.")
        value = value.item()
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, str):
        return value or None
    if isinstance(value, (bool, int)) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    raise UserError(f"{what}: the label {short(value)} is neither a whole number nor a word.")
