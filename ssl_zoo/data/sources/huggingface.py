"""Data sets of Hugging Face: saved on disk by `save_to_disk`, or by name from the hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.files import check_size, read_regular
from ssl_zoo.data.items import LABELS, number
from ssl_zoo.data.layout.split_names import role_of
from ssl_zoo.data.source import Modality, Sample, Split
from ssl_zoo.errors import UserError, needs, suggest
from ssl_zoo.registry import register

INSTALL = "'ssl_zoo[huggingface]'"


class _Source:
    """What both sources of Hugging Face's data sets have: splits, columns, labels."""

    def __init__(self, modality: Modality, found: Any, title: str, column: str, label: str | None) -> None:
        self._modality, self._title = modality, title
        self.notes: tuple[str, ...] = ()
        self._data, notes = _splits(found, title)
        first = self._data["train"]
        self._column = _column(first, modality, column, title)
        name = _label(first, label, title)
        classes = None if name is None else getattr(first.features[name], "names", None)
        values = {split: None if name is None else list(data[name]) for split, data in self._data.items()}
        self._labels, self._class_names, of_labels = number(values, classes, title)
        self.splits = tuple(self._data)
        self.notes = (*notes, *of_labels)

    def split(self, name: str) -> HuggingFaceSplit:
        """Return the split of that name; its samples are read from the disk when they are needed."""
        labels = self._labels[name]
        data = _encoded(self._data[name], self._column)
        classes = None if labels is None else self._class_names
        return HuggingFaceSplit(data, self._column, f"{name} of {self._title}", self._modality, labels, classes)


@register("source", "huggingface")
class HuggingFace(_Source):
    """A data set of Hugging Face that `save_to_disk` wrote, read from the disk sample by sample; needs `datasets`.

    Its splits are train and test, or validation where there is no test. Encoded samples are decoded by the modality.

    Args:
        modality: of the samples.
        path: the folder.
        column: of the samples; `auto` takes one that the modality names, or the only one of its kind.
        label: the column of labels; `auto` takes `label` where there is one, None leaves labels out.

    Attributes:
        notes: sentences about splits and labels.

    Raises:
        UserError: no such data set, no split train, or no such column.
    """

    def __init__(self, modality: Modality, *, path: str, column: str = "auto", label: str | None = "auto") -> None:
        needs("datasets", INSTALL, "a data set of Hugging Face")
        import datasets

        root = Path(path).expanduser()
        if not root.exists():
            raise UserError(f"the data path {path} does not exist.")
        try:
            found = datasets.load_from_disk(str(root))
        except Exception as error:  # damaged files raise anything
            raise UserError(f"cannot read {path} as a data set that save_to_disk wrote: {_reason(error)}.") from None
        super().__init__(modality, found, str(path), column, label)

    @staticmethod
    def matches(path: Path, modality: type[Modality]) -> bool:
        """Return whether `path` is a folder that `save_to_disk` wrote."""
        if not path.is_dir() or not modality.columns:
            return False
        one = (path / "state.json").is_file() and (path / "dataset_info.json").is_file()
        return one or (path / "dataset_dict.json").is_file()


@register("source", "huggingface/*")
class HuggingFaceHub(_Source):
    """A data set of the Hugging Face hub by its name, `huggingface/OWNER/NAME`; needs `datasets` and, once, a network.

    It is downloaded to the cache of `datasets`, and read from there without a network. No code of a data set is run.

    Args:
        modality: of the samples.
        model: the name on the hub.
        config: the configuration, where the data set has several.
        revision: a commit or a tag of it, so that it stays the same.
        column: as in `huggingface`.
        label: as in `huggingface`.

    Attributes:
        notes: sentences about splits and labels.

    Raises:
        UserError: it is not there, or cannot be loaded, such as without a network.
    """

    def __init__(
        self,
        modality: Modality,
        model: str,
        *,
        config: str | None = None,
        revision: str | None = None,
        column: str = "auto",
        label: str | None = "auto",
    ) -> None:
        title = f"huggingface/{model}"
        needs("datasets", INSTALL, title)
        import datasets

        try:
            found = datasets.load_dataset(model, config, revision=revision)
        except Exception as error:  # no network, no such name, no such configuration, ...
            raise UserError(
                f"{title} cannot be loaded from the hub: {_reason(error)}; without a network, save it where there is "
                "one by save_to_disk(FOLDER), and give --data FOLDER."
            ) from None
        super().__init__(modality, found, title, column, label)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text[:200]}"


def _splits(found: Any, title: str) -> tuple[dict[str, Any], list[str]]:
    """Return the splits `train` and `test`, and sentences about others.

    Raises:
        UserError: there is no train, or nothing in it.
    """
    if not isinstance(found, Mapping):
        found = {"train": found}
    roles: dict[str, str] = {}
    for name in found:
        role = role_of(str(name))
        roles.setdefault("" if role is None else role[0], name)
    if "train" not in roles:
        raise UserError(f"{title} has the splits {', '.join(map(str, found))}, and none of them is train.")
    test = roles.get("test", roles.get("val"))
    used = {"train": roles["train"], **({} if test is None else {"test": test})}
    notes = [] if "test" in roles or test is None else [f"{title}: there is no test split, so {test} is used for it."]
    left = [str(name) for name in found if name not in used.values()]
    if left:
        notes.append(f"{title}: the splits {', '.join(left)} are not used.")
    if not len(found[used["train"]]):
        raise UserError(f"{title} has no sample in its split {used['train']}.")
    return {split: found[name] for split, name in used.items()}, notes


def _column(data: Any, modality: Modality, asked: str, title: str) -> str:
    names = list(data.column_names)
    if asked != "auto":
        if asked not in names:
            raise UserError(f"data.source.column: {title} has no column {asked!r}{suggest(asked, names)}")
        return asked
    known = [name for name in (*modality.columns, modality.spec.modality) if name in names]
    kind = modality.spec.modality
    alike = [name for name in names if type(data.features[name]).__name__.lower() == kind]
    if not known and len(alike) != 1:
        raise UserError(
            f"{title} has the columns {', '.join(names)}; name that of the samples by -s data.source.column=COLUMN."
        )
    return (known or alike)[0]


def _label(data: Any, asked: str | None, title: str) -> str | None:
    names = list(data.column_names)
    if asked is None:
        return None
    if asked == "auto":
        return next((name for name in LABELS if name in names), None)
    if asked not in names:
        raise UserError(f"data.source.label: {title} has no column {asked!r}{suggest(asked, names)}")
    return asked


def _encoded(data: Any, column: str) -> Any:
    """Return a data set of one column, its samples as they are stored."""
    data = data.with_format(None).select_columns([column])
    feature = data.features[column]
    return data.cast_column(column, type(feature)(decode=False)) if hasattr(feature, "decode") else data


class HuggingFaceSplit(Split):
    """Rows of a data set of Hugging Face, which maps its files into memory."""

    def __init__(
        self,
        data: Any,
        column: str,
        title: str,
        modality: Modality,
        labels: Tensor | None,
        class_names: list[str] | None,
    ) -> None:
        self._data, self._column, self._title, self._modality = data, column, title, modality
        self.labels, self.class_names = labels, class_names

    def __len__(self) -> int:
        return len(self._data)

    def read(self, i: int) -> Sample:
        """Return sample `i`, decoded."""
        value, name = self._stored(i), self.name(i)
        if isinstance(value, (bytes, str)) or (isinstance(value, list) and self._modality.reads_text):
            return self._modality.from_value(value, name)
        return self._modality.from_item(np.asarray(value) if isinstance(value, list) else value, name)

    def remarks(self, i: int) -> tuple[str, ...]:
        """Return notes on how sample `i` is understood."""
        value = self._stored(i)
        return self._modality.remarks(value, self.name(i)) if isinstance(value, bytes) else ()

    def _stored(self, i: int) -> Any:
        name = self.name(i)
        try:
            value = self._data[i][self._column]
        except Exception as error:  # damaged files raise anything
            raise BadSample(name, _reason(error)) from error
        if isinstance(value, Mapping) and {"bytes", "path"} & value.keys():
            if value.get("bytes") is None and value.get("path"):
                value = read_regular(value["path"], self._modality)
            else:
                value = value.get("bytes")
        if value is None:
            raise BadSample(name, "the row holds no sample")
        if isinstance(value, bytes):
            check_size(len(value), name, self._modality)
        return value

    def name(self, i: int) -> str:
        """Return the row, counted from 0."""
        return f"row {i} of {self._title}"
