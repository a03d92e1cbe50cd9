"""Data sets as Python objects: what `ssl_zoo.train(recipe, data=my_dataset)` trains on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.contents import digest_of
from ssl_zoo.data.given import Given, names_of
from ssl_zoo.data.items import (
    LABELS_READ,
    NO_LABELS,
    Layout,
    layout_of,
    listed_classes,
    listed_labels,
    number,
    sample_of,
)
from ssl_zoo.data.skipping import NUM_PROBES
from ssl_zoo.data.source import Modality, Sample, Split
from ssl_zoo.data.strings import Strings
from ssl_zoo.errors import UserError, describe_error
from ssl_zoo.registry import register


@register("source", "python")
class PythonData:
    """A data set that a Python program gives: `ssl_zoo.train(recipe, data=my_dataset)`; a recipe says only that it was.

    Its items are a sample, `(sample, label)`, or a mapping with the sample under a name of its modality and perhaps
    `label`. A sample is what the modality decodes to, an array, encoded bytes, or a picture of Pillow. Labels are
    numbers from any start (below 0: none) or words; where the data set lists them as `targets` or `labels`, samples are
    not read for them.

    Args:
        modality: of the samples.
        given: the data sets.
        data: what was given to train on, for whoever reads the recipe.
        test: what was given to evaluate on.

    Attributes:
        notes: sentences about how the data sets are read.

    Raises:
        UserError: nothing is given, items that are not understood, or labels that are neither numbers nor words.
    """

    takes_objects = True
    gives_members = None
    places = ("data", "test")

    def __init__(
        self, modality: Modality, given: Given | None = None, *, data: str = "", test: str | None = None
    ) -> None:
        if given is None:
            raise UserError(
                f"the data of this recipe are a Python object ({data or 'nothing more is known'}), which the command "
                "line cannot have: give it again in Python, data=DATA_SET (with resume=True to go on with a run), or "
                "give other data by --data PATH."
            )
        self._modality = modality
        self._data = {"train": given.train, **({} if given.test is None else {"test": given.test})}
        self.splits = tuple(self._data)
        self._layouts = {split: self._layout(split) for split in self.splits}
        notes = [*given.notes, *(note for split in self.splits for note in self._on_randomness(split))]
        values = {split: self._values(split, notes) for split in self.splits}
        classes = next(filter(None, map(listed_classes, self._data.values())), None)
        self._labels, self._class_names, of_labels = number(values, classes, "data")
        self.notes = (*notes, *of_labels)

    def split(self, name: str) -> PythonSplit:
        """Return the split of that name."""
        data, labels = self._data[name], self._labels[name]
        title = _title(name, data)
        classes = None if labels is None else self._class_names
        return PythonSplit(data, self._layouts[name], self._modality, title, labels, classes)

    def _layout(self, split: str) -> Layout:
        data = self._data[split]
        error: Exception | None = None
        for i in range(min(len(data), NUM_PROBES)):
            try:
                item = data[i]
            except Exception as failed:
                error = error or failed
                continue
            return layout_of(item, self._modality, "data" if split == "train" else split)
        assert error is not None  # a data set is not empty
        raise UserError(
            f"{_title(split, data).format(0)}: none of the first items can be read: {describe_error(error)}."
        )

    def _on_randomness(self, split: str) -> list[str]:
        """Return a sentence where a sample is another one each time it is read."""
        data = self._data[split]
        read = PythonSplit(data, self._layouts[split], self._modality, _title(split, data))
        try:
            twice = [digest_of(read.read(0)) for _ in range(2)]
        except BadSample:  # said where it is read
            return []
        if twice[0] == twice[1]:
            return []
        return [
            f"{read.name(0)} is another one each time it is read: what is random in a data set is neither seeded nor "
            "resumed exactly; leave it to the recipe's views."
        ]

    def _values(self, split: str, notes: list[str]) -> list[Any] | None:
        """Return the label of each sample as it was given, or None."""
        data, layout = self._data[split], self._layouts[split]
        if layout.label is None:
            return None
        listed = listed_labels(data)
        if listed is not None:
            return listed
        if len(data) > LABELS_READ and not isinstance(data, (list, tuple)):
            notes.append(
                f"data: labels are left out, since they would be looked for in more than {LABELS_READ} samples of "
                f"{split}, one by one; let the data set {NO_LABELS}."
            )
            return None
        found: list[Any] = []
        title = _title(split, data)
        for i in range(len(data)):
            try:
                found.append(layout.label_of(data[i], title.format(i)))
            except Exception:  # the sample cannot be read, which is said where it is
                found.append(None)
        return found


def _title(split: str, data: Any) -> str:
    """Return what samples are called, with `{}` for the number."""
    return f"{split} sample {{}} of {type(data).__qualname__}"


class PythonSplit(Split):
    """Items of a Python data set, read one by one."""

    def __init__(
        self,
        data: Any,
        layout: Layout,
        modality: Modality,
        title: str,
        labels: Tensor | None = None,
        class_names: list[str] | None = None,
    ) -> None:
        self._data, self._layout, self._modality, self._title = data, layout, modality, title
        self.labels, self.class_names = labels, class_names
        names = names_of(data)
        self.names: Sequence[str] | None = None if names is None else Strings(names)

    def __len__(self) -> int:
        return len(self._data)

    def read(self, i: int) -> Sample:
        """Return sample `i`, as its modality has it."""
        name = self.name(i)
        try:
            return sample_of(self._layout.sample_of(self._data[i], name), self._modality, name)
        except UserError:
            raise
        except Exception as error:  # a data set of a user's raises anything
            raise BadSample(name, f"its data set raises {describe_error(error)}") from error

    def name(self, i: int) -> str:
        """Return the name of the sample where the data set has names, else its number there, counted from 0."""
        return self.names[i] if self.names is not None else self._title.format(i)
