"""Data that a user gives as Python objects: data sets of torch, sequences, arrays, iterables."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssl_zoo import registry
from ssl_zoo.data.memory import free_bytes
from ssl_zoo.data.readers import python_source
from ssl_zoo.errors import UserError

MOST_READ = 100_000
"""Largest number of samples that are read from an iterable, which has no length, and kept in memory."""


@dataclass(frozen=True, eq=False)
class Given:
    """Data sets as Python objects: what a recipe cannot hold.

    Attributes:
        train: a map-style data set or a sequence: it has a length, and items by their number.
        test: another to evaluate on, or None.
        notes: sentences for the user on how they were read.
    """

    train: Any
    test: Any = None
    notes: tuple[str, ...] = ()

    def part(self) -> dict[str, Any]:
        """Return what a recipe writes for them: a source that says what they are, and that they were given."""
        test = None if self.test is None else describe(self.test)
        return {"name": python_source(), "data": describe(self.train), "test": test}


Place = str | list[str]
"""What `--data` takes: a registered name or a path, or several of them."""


def take(data: Any, test: Any = None) -> Place | Given | None:
    """Return what a user gave as data: a place, or data sets.

    Args:
        data: a registered name or a path, or a list of them; or a data set of torch, a sequence, an array, an iterable,
            or a mapping of these with the keys `train` and `test`. An iterable without a length is read once, into a
            list of at most `MOST_READ` samples. None: nothing was given.
        test: a data set to evaluate on, beside a data set; None: a fifth of the labelled samples is held out for it.

    Raises:
        UserError: it is none of these, or an iterable that does not end.
    """
    if data is None or _is_place(data):
        if test is not None:
            raise UserError("test= goes with a data set in data=; the test split of files is named by data.source.")
        return data if data is None else _place(data)
    if isinstance(data, Given):
        return data
    if isinstance(data, Mapping):
        data, test = _splits(data, test)
    notes: list[str] = []
    train = _sized(data, "data", notes)
    return Given(train, None if test is None else _sized(test, "test", notes), tuple(notes))


def objects(taken: Place | Given | None) -> Given | None:
    """Return what `take` returned where that are data sets, else None."""
    return taken if isinstance(taken, Given) else None


def _is_place(data: Any) -> bool:
    """Return whether data are named rather than given; a list of texts are samples, unless the first is a place."""
    if isinstance(data, (str, os.PathLike)):
        return True
    if not isinstance(data, (list, tuple)) or not data or not all(isinstance(x, (str, os.PathLike)) for x in data):
        return False
    return any(isinstance(x, os.PathLike) for x in data) or os.path.exists(data[0]) or _is_registered(data[0])


def _is_registered(text: str) -> bool:
    names = registry.names("source")
    return text in names or any(name.endswith("/*") and text.startswith(name[:-1]) for name in names)


def _place(data: Any) -> Place:
    if isinstance(data, (str, os.PathLike)):
        return os.fspath(data)
    return [os.fspath(each) for each in data]


def _splits(data: Mapping[str, Any], test: Any) -> tuple[Any, Any]:
    if "train" not in data:
        keys = ", ".join(map(str, list(data)[:5]))
        raise UserError(f"data: a mapping names its splits, {{'train': ..., 'test': ...}}; its keys are {keys}.")
    named = [data[key] for key in ("test", "validation", "val") if key in data]
    return data["train"], test if test is not None or not named else named[0]


def _sized(data: Any, what: str, notes: list[str]) -> Any:
    """Return a data set with a length; an iterable is read into a list, which is noted.

    Raises:
        UserError: it is no data set.
    """
    from torch.utils.data import DataLoader

    if isinstance(data, DataLoader):
        raise UserError(f"{what}: a DataLoader makes batches; give its data set, loader.dataset.")
    if isinstance(data, (bytes, bytearray, Mapping)) or not (hasattr(data, "__getitem__") or hasattr(data, "__iter__")):
        raise UserError(
            f"{what}: a {type(data).__name__} is no data set; give a torch Dataset, a sequence of samples, or a path."
        )
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        try:
            num = len(data)
        except (TypeError, NotImplementedError):
            num = -1
        if num == 0:
            raise UserError(f"{what}: the data set {describe(data)} is empty.")
        if num > 0:
            return data
    if not hasattr(data, "__iter__") or not _iterates(data):
        raise UserError(
            f"{what}: the data set {type(data).__name__} has no length; give it the method __len__, or a list of its "
            "samples."
        )
    read = _read(data, what)
    notes.append(f"{what}: {len(read)} samples were read from a {type(data).__name__}, which has no length, to memory.")
    return read


def _iterates(data: Any) -> bool:
    """Return whether a data set defines what iterating it yields; torch's Dataset alone would only count up."""
    return not hasattr(data, "__getitem__") or hasattr(type(data), "__iter__")


def _read(data: Iterable[Any], what: str) -> list[Any]:
    found: list[Any] = []
    room, used = free_bytes() // 2, 0
    for item in data:
        used += _nbytes(item)
        if len(found) == MOST_READ or used > room:
            limit = f"{MOST_READ} samples" if used <= room else f"{room / 2**30:.1f} GiB, half of the free memory"
            raise UserError(
                f"{what}: a {type(data).__name__} has no length and gives more than {limit}; give a data set with "
                "__len__ and __getitem__, or write the samples to a folder."
            )
        found.append(item)
    if not found:
        raise UserError(f"{what}: the {type(data).__name__} gave no sample; an iterable can be read once only.")
    return found


def _nbytes(item: Any) -> int:
    """Return about how much memory an item takes, in bytes."""
    if isinstance(item, Mapping):
        return sum(map(_nbytes, item.values()))
    if isinstance(item, (tuple, list)):
        return sum(map(_nbytes, item))
    if isinstance(item, (bytes, str)):
        return len(item)
    size = getattr(item, "size", None)
    if hasattr(item, "getbands") and isinstance(size, tuple):  # a picture of Pillow
        return int(size[0] * size[1] * len(item.getbands()))
    nbytes = getattr(item, "nbytes", 0)
    return nbytes if isinstance(nbytes, int) else 0


def describe(data: Any) -> str:
    """Return what a data set is, such as `torchvision.datasets.mnist.MNIST of 60000 samples`."""
    kind = type(data)
    home = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
    return f"{home}{kind.__qualname__} of {len(data)} samples"


def names_of(data: Any) -> Sequence[str] | None:
    """Return the names of the samples where a data set has them: `names`, or the paths of torchvision's folders."""
    names = getattr(data, "names", None)
    if names is None:
        pairs = getattr(data, "samples", None)
        if isinstance(pairs, list) and pairs and all(isinstance(each, tuple) and len(each) == 2 for each in pairs):
            names = [each[0] for each in pairs]
    usable = isinstance(names, Sequence) and not isinstance(names, str) and len(names) == len(data)
    return names if usable and all(isinstance(name, str) for name in names or ()) else None
