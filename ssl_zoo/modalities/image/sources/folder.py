"""A folder of images, of any depth, with or without labels."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ssl_zoo.data.files import read_regular
from ssl_zoo.data.layout.split_names import Splits
from ssl_zoo.data.layout.tree import Labels, Listing, arrange
from ssl_zoo.data.layout.walk import Walk
from ssl_zoo.errors import UserError, shown_name
from ssl_zoo.modalities.image.decode import EXTENSIONS, MAX_PIXELS, Decoding, MaxPixels
from ssl_zoo.modalities.image.sources.parquet import Parquet
from ssl_zoo.modalities.image.stored import ValueRange
from ssl_zoo.registry import register


@register("source", "folder")
class Folder:
    """Images in a folder, of any depth; sub-folders `train` and `test` (or `val`) are its splits.

    Labelled if each image lies in a first-level folder, its class, and there are at least two; else unlabelled.

    Args:
        channels: 1 (grey) or 3 (RGB); images are converted.
        path: the folder.
        labels: `auto` as above; `folder` insists on labels, `none` leaves them out.
        splits: `auto` as above, also under names like `Training` and `val2017`; `none` takes all folders for classes;
            or the folders of each split, `{train: [a, b], test: c}`, `*` for any one folder.
        value_range: the values that are black and white in images of more than 8 bits or with signs, such as [0, 4095];
            None takes the range of their type.
        max_pixels: an image of more pixels is refused, and a file of more than 8 bytes for each of these.

    Attributes:
        notes: sentences about what was left out, and how the folder was understood.

    Raises:
        UserError: no such folder, no image in it, or folders that look like splits and are not clear.
    """

    def __init__(
        self,
        channels: int,
        *,
        path: str,
        labels: Labels = "auto",
        splits: Splits = "auto",
        value_range: ValueRange | None = None,
        max_pixels: MaxPixels = MAX_PIXELS,
    ) -> None:
        self._decoding = Decoding(channels, value_range, max_pixels)
        self._root = Path(path).expanduser()
        if not self._root.exists():
            raise UserError(f"the data path {path} does not exist.")
        if not self._root.is_dir():
            raise UserError(f"the data path {path} is a file, not a folder of images.")
        where = f"the folder {path}"
        walk = Walk(self._root, EXTENSIONS)
        found = arrange(walk, extensions=EXTENSIONS, labels=labels, where=where, splits=splits)
        self._listings = found.splits
        self.notes = tuple(map(shown_name, (*walk.notes(where), *found.notes)))
        self.splits = tuple(self._listings)

    @staticmethod
    def matches(path: Path) -> bool:
        """Return whether `path` is a folder, and not one of parquet files."""
        return path.is_dir() and not Parquet.matches(path)

    def split(self, name: str) -> FolderSplit:
        """Return the split of that name."""
        return FolderSplit(self._root, self._listings[name], self._decoding)


class FolderSplit:
    """Image files, read one by one; see `ssl_zoo.data.Split`."""

    def __init__(self, root: Path, listing: Listing, decoding: Decoding) -> None:
        self.labels, self.class_names, self.names = listing.labels, listing.class_names, listing.paths
        self._root, self._paths, self._decoding = root, listing.paths, decoding

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, i: int) -> Tensor:
        """Return image `i`, uint8 `(C, H, W)`."""
        name = self.name(i)
        return self._decoding.decode(read_regular(name, self._decoding.max_bytes), name)

    def remarks(self, i: int) -> tuple[str, ...]:
        """Return what a user should know of how image `i` is understood."""
        name = self.name(i)
        return self._decoding.remarks(read_regular(name, self._decoding.max_bytes), name)

    def name(self, i: int) -> str:
        """Return the path of image `i`."""
        return str(self._root / self._paths[i])
