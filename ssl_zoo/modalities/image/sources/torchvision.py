"""The image data sets of torchvision, by their class names: `torchvision/CIFAR10`."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ssl_zoo.data.layout.classes import dense
from ssl_zoo.data.source import Split
from ssl_zoo.errors import UserError, suggest
from ssl_zoo.modalities.image.decode import Decoding
from ssl_zoo.modalities.image.modality import ImageModality
from ssl_zoo.registry import register


@register("source", "torchvision/*")
class Torchvision:
    """A data set of torchvision, such as `torchvision/CIFAR10`: any that takes `train=` or `split=` and nothing else.

    Args:
        modality: of images; they are converted to its channels.
        model: the name of the class in `torchvision.datasets`.
        root: the folder of torchvision's downloads.
        download: fetch the data if they are not there.

    Raises:
        UserError: no such data set, not downloaded, or not made of images.
    """

    modality = "image"

    def __init__(
        self,
        modality: ImageModality,
        model: str,
        *,
        root: str = "data",
        download: bool = False,
    ) -> None:
        self._name = f"torchvision/{model}"
        if not isinstance(modality.decoding, Decoding):
            raise UserError(
                f"{self._name} gives 8 bits, grey or RGB: set views.channels to 1 or 3, and data.decode.dtype=auto."
            )
        self._decoding = modality.decoding
        if model not in _known():
            raise UserError(f"no data set {model!r} of torchvision can be used here{suggest(model, _known())}")
        cls = _known()[model]
        if download and not _downloads(cls):
            raise UserError(f"{self._name} cannot be downloaded by torchvision: put it into root: {root} yourself.")
        options = {"root": root, **({"download": True} if download else {})}
        if "train" in _parameters(cls):
            choices: dict[str, list[Any]] = {"train": [True], "test": [False]}
            key = "train"
        else:
            choices = {"train": ["train"], "test": ["test", "val", "valid"]}
            key = "split"
        found = {name: self._open(cls, key, values, options) for name, values in choices.items()}
        self._data = {name: data for name, data in found.items() if data is not None}
        if "train" not in self._data:
            raise UserError(f"{self._name} has no split train.")
        if not isinstance(self._data["train"][0][0], Image.Image):
            raise UserError(f"{self._name} is not made of images.")
        self.splits = tuple(self._data)
        numbers = {name: _numbers(data) for name, data in self._data.items()}
        self._labels, self._class_names = dense(numbers, _class_names(self._data["train"]))
        hidden = {name: int((found < 0).sum()) for name, found in numbers.items() if found is not None}
        self.notes = tuple(
            f"{self._name}: a label below 0 means none: {num} {name} samples." for name, num in hidden.items() if num
        )

    def _open(self, cls: type, key: str, values: list[Any], options: dict[str, Any]) -> Any:
        """Return the data set with the first of `values` that it knows for `key`, or None."""
        for value in values:
            try:
                return cls(**{key: value}, **options)
            except ValueError:  # what torchvision raises for a split that the data set does not have
                continue
            except (RuntimeError, OSError) as error:
                reason = str(error).partition("\n")[0].rstrip(".")
                if "download" in options:
                    raise UserError(f"{self._name} could not be downloaded to {options['root']}: {reason}.") from error
                advice = "set download: true, or root to where it is" if _downloads(cls) else "set root to where it is"
                raise UserError(f"{self._name} is not in the folder {options['root']} ({reason}): {advice}.") from error
        return None

    def split(self, name: str) -> TorchvisionSplit:
        """Return the split of that name."""
        labels = self._labels[name]
        class_names = None if labels is None else self._class_names
        title = f"{name} image {{}} of {self._name}"
        return TorchvisionSplit(self._data[name], title, self._decoding, labels, class_names)


class TorchvisionSplit(Split):
    """Samples of a torchvision data set, read one by one."""

    def __init__(
        self, data: Any, title: str, decoding: Decoding, labels: Tensor | None, class_names: list[str] | None
    ) -> None:
        self._data, self._title, self._decoding = data, title, decoding
        self.labels, self.class_names = labels, class_names

    def __len__(self) -> int:
        return len(self._data)

    def read(self, i: int) -> Tensor:
        """Return image `i`, uint8 `(C, H, W)`."""
        with self._decoding.reading(self.name(i)):
            return self._decoding.to_tensor(self._data[i][0])

    def name(self, i: int) -> str:
        """Return the number of the image in its data set, counted from 0."""
        return self._title.format(i)


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(cls).parameters)


@cache
def _known() -> dict[str, type]:
    """Return the data sets whose only required arguments are their folder and their split."""
    import torchvision  # here, since it imports all of its models

    found = {}
    for name in torchvision.datasets.__all__:
        cls = getattr(torchvision.datasets, name)
        if not inspect.isclass(cls) or not issubclass(cls, torchvision.datasets.VisionDataset):
            continue
        parameters = _parameters(cls)
        needed = {n for n, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD}
        # `transforms` alone, without `transform`, marks data sets of pairs (stereo, optical flow).
        single = parameters.keys() & {"transform", "kwargs"}
        if needed == {"root"} and parameters.keys() & {"train", "split"} and single:
            found[name] = cls
    return found


def _downloads(cls: type) -> bool:
    return any("download" in _parameters(base) for base in cls.__mro__ if "__init__" in vars(base))


def _numbers(data: Any) -> Tensor | None:
    """Return the class of each sample, wherever the data set keeps it, without reading the samples."""
    for attribute in ("targets", "labels", "_labels", "_samples"):
        values = getattr(data, attribute, None)
        if attribute == "_samples" and values:
            values = [sample[1] for sample in values]
        try:
            array = np.asarray(values)
        except ValueError:  # boxes and the like, several per sample
            continue
        if array.shape == (len(data),) and array.dtype.kind in "iu":
            return torch.from_numpy(array.astype(np.int64))
    return None


def _class_names(data: Any) -> list[str] | None:
    names = getattr(data, "classes", None)
    if names is None:
        return None
    return [name if isinstance(name, str) else ", ".join(map(str, name)) for name in names]
