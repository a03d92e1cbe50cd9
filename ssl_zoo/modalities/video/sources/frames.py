"""The source `frames`: folders of images, each folder a video."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ssl_zoo import registry
from ssl_zoo.batch import InputSpec, ViewSpec
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.files import read_regular
from ssl_zoo.data.layout.split_names import Splits
from ssl_zoo.data.layout.tree import Labels, SplitFiles, split_files
from ssl_zoo.data.layout.walk import Walk
from ssl_zoo.data.source import Modality, Split
from ssl_zoo.errors import UserError, shown_name
from ssl_zoo.modalities.video.footage import Clip, Footage, kept_size, made_smaller, numbers_at
from ssl_zoo.modalities.video.modality import VideoModality
from ssl_zoo.registry import register

IMAGES = "image"
"""The modality of single frames."""

_ENDING = ".frames"
"""Put after the path of a folder that is a video, so that it is treated as files are."""


@register("source", "frames")
class Frames:
    """Videos as folders of images: each folder with images in it is a video, in the natural order of their names.

    Splits and labels follow the rules of the source `folder`, with folders in place of files: `train/CLASS/VIDEO/`.

    Args:
        modality: of videos.
        path: the folder in which all of them are.
        fps: frames per second.
        labels: as in `folder`.
        splits: as in `folder`.
        test: as in `folder`: patterns of the paths of the folders that are the test split.

    Attributes:
        notes: sentences about what was left out, and how the folder was understood.

    Raises:
        UserError: no such folder, images beside each other at its top, none at all, or splits that are not clear.
    """

    modality = "video"

    def __init__(
        self,
        modality: VideoModality,
        *,
        path: str,
        fps: Annotated[float, Field(gt=0)],
        labels: Labels = "auto",
        splits: Splits = "auto",
        test: list[str] = [],  # noqa: B006 - an option's default, never mutated
    ) -> None:
        self._modality, self._fps = modality, fps
        self._root = Path(path).expanduser()
        if not self._root.is_dir():
            raise UserError(f"the data path {path} is no folder; `frames` reads a folder of folders of images.")
        self._images: Modality = registry.build("modality", IMAGES, {}, spec=_of_images(modality.spec.channels))
        where = f"the folder {path}"
        walk, self._found = Walk(self._root, self._images.extensions), dict[str, list[str]]()
        found = split_files(
            self._folders(walk), extensions={_ENDING}, labels=labels, where=where, splits=splits,
            test=[pattern + _ENDING for pattern in test],
        )  # fmt: skip
        self._files = found.splits
        self.notes = tuple(map(shown_name, (*walk.notes(where), *found.notes)))
        self.splits = tuple(self._files)

    def _folders(self, walk: Walk) -> Iterator[str]:
        """Yield the folders that have images, marked, and all other files; keep the images of each folder."""
        for name in walk:
            folder, _, file = name.rpartition("/")
            if os.path.splitext(file)[1].lower() not in self._images.extensions:
                yield name
                continue
            if not folder:
                raise UserError(
                    f"the folder {self._root} has images at its top, such as {file}: each video is a folder of its "
                    "own, so name the folder above it."
                )
            if folder not in self._found:
                yield folder + _ENDING
            self._found.setdefault(folder, []).append(file)

    def split(self, name: str) -> FramesSplit:
        """Return the split of that name."""
        return FramesSplit(self._root, self._files[name], self._found, self._fps, self._modality, self._images)


def _of_images(channels: int) -> InputSpec:
    return InputSpec(IMAGES, (ViewSpec("global", (channels,)),))


class FramesSplit(Split):
    """Folders of images, opened one by one."""

    def __init__(
        self, root: Path, split: SplitFiles, found: dict[str, list[str]], fps: float, modality: VideoModality,
        images: Modality,
    ) -> None:  # fmt: skip
        self.labels, self.class_names = split.labels, split.class_names
        self._folders = [path.removesuffix(_ENDING) for path in split.paths]
        self.names = self._folders
        self._files = {folder: sorted(found[folder], key=natural) for folder in self._folders}
        self._root, self._fps, self._modality, self._images = root, fps, modality, images

    def __len__(self) -> int:
        return len(self._folders)

    def read(self, i: int) -> Stills:
        """Return video `i`; its first frame is decoded, to know the size."""
        paths = [str(self._root / self._folders[i] / file) for file in self._files[self._folders[i]]]
        return Stills(self.name(i), paths, self._fps, self._modality, self._images)

    def name(self, i: int) -> str:
        """Return the path of video `i`."""
        return str(self._root / self._folders[i])


def natural(name: str) -> list[tuple[int, int | str]]:
    """Return a key that sorts names as people do: `2.png` before `10.png`."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name) if part]


class Stills(Footage):
    """A video whose frames are image files.

    Args:
        name: of the video.
        paths: of its frames, in order.
        fps: frames per second.
        modality: of videos, for the size of what is kept.
        images: the modality that decodes the files.

    Raises:
        BadSample: the first frame cannot be read.
    """

    def __init__(self, name: str, paths: Sequence[str], fps: float, modality: VideoModality, images: Modality) -> None:
        self.name, self._paths = name, paths
        self._times = torch.arange(len(paths), dtype=torch.float64) / fps
        self._side, self._channels, self._images = modality.decoding.side, modality.spec.channels, images
        self.num_frames, self.duration, self.nbytes = len(paths), len(paths) / fps, 0
        first = self._image(0)
        self.whole = (first.shape[1], first.shape[2])
        self.size = kept_size(*self.whole, self._side)

    def _image(self, i: int) -> Tensor:
        return self._images.decode(read_regular(self._paths[i], self._images), self._paths[i])

    def _frame(self, i: int) -> Tensor:
        image = self._image(i)
        if image.shape[1:] != self.whole:
            (height, width), (tall, wide) = image.shape[1:], self.whole
            raise BadSample(self.name, f"{self._paths[i]} is {height}x{width}, and the first frame is {tall}x{wide}")
        return made_smaller(image[None], self._side, self._channels)[0]

    def at(self, index: Sequence[int]) -> Tensor:
        """See `Footage`."""
        frames = {i: self._frame(i) for i in sorted(set(index))}
        return torch.stack([frames[i] for i in index])

    def shown(self, seconds: Sequence[float]) -> Tensor:
        """See `Footage`."""
        return self.at(numbers_at(self._times, seconds))

    def decoded(self) -> Clip:
        """See `Footage`."""
        return Clip(self.at(range(self.num_frames)), self._times, self.duration, self.name)
