"""A zip archive of a folder of files, read without unpacking it."""

from __future__ import annotations

import io
import os
import shutil
import stat
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.files import check_size
from ssl_zoo.data.layout.file_labels import relabelled
from ssl_zoo.data.layout.left_out import files
from ssl_zoo.data.layout.split_names import Splits
from ssl_zoo.data.layout.tree import Labels, SplitFiles, split_files
from ssl_zoo.data.source import Modality, Sample, Split
from ssl_zoo.errors import UserError, shown_name
from ssl_zoo.registry import register

_BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Methods that Python unpacks piece by piece; with bzip2, a few bytes become gigabytes at once."""


@register("source", "zip")
class Zip:
    """Files of the modality in a zip archive; splits and labels by the same rules as `folder`.

    Args:
        modality: of the files.
        path: the archive.
        labels: as in `folder`.
        label_file: as in `folder`.
        label_pattern: as in `folder`.
        splits: as in `folder`.
        test: as in `folder`.


    Attributes:
        notes: sentences about what was left out, and how the archive was understood.

    Raises:
        UserError: no such archive, no file of the modality in it, files that are encrypted or packed otherwise than by
            deflate, or folders that look like splits and are not clear.
    """

    places = ("path", "label_file")

    def __init__(
        self,
        modality: Modality,
        *,
        path: str,
        labels: Labels = "auto",
        label_file: str | None = None,
        label_pattern: str | None = None,
        splits: Splits = "auto",
        test: list[str] = [],  # noqa: B006 - an option's default, never mutated
    ) -> None:
        self._modality = modality
        self._path = Path(path).expanduser()
        if not self._path.exists():
            raise UserError(f"the data path {path} does not exist.")
        try:
            with zipfile.ZipFile(self._path) as archive:
                members = _members(archive)
                num_double = sum(not info.is_dir() for info in archive.infolist()) - len(members)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise UserError(f"cannot open {path} as a zip archive: {error}.") from error
        where = f"the archive {path}"
        links = {name for name, info in members.items() if not _is_regular(info)}
        other = label_file is not None or label_pattern is not None
        found = split_files(
            (name for name in members if name not in links),
            extensions=modality.extensions, labels="none" if other else labels, where=where, splits=splits, test=test,
        )  # fmt: skip
        found = relabelled(found, label_file, label_pattern, where)
        for split in found.splits.values():
            _check_packing([members[name] for name in split.paths], where)
        self._files = found.splits
        self.notes = tuple(map(shown_name, (*_notes(links, num_double, where), *found.notes)))
        self.splits = tuple(self._files)

    @staticmethod
    def matches(path: Path, modality: type[Modality]) -> bool:
        """Return whether `path` is a file named `*.zip`."""
        return path.is_file() and path.suffix.lower() == ".zip" and bool(modality.extensions)

    def split(self, name: str) -> ZipSplit:
        """Return the split of that name."""
        return ZipSplit(self._path, self._files[name], self._modality)


class ZipSplit(Split):
    """Members of an archive, read one by one."""

    def __init__(self, path: Path, found: SplitFiles, modality: Modality) -> None:
        self.labels, self.class_names, self.names = found.labels, found.class_names, found.paths
        self._path, self._members, self._modality = path, found.paths, modality
        self._opened: tuple[int, zipfile.ZipFile, dict[str, zipfile.ZipInfo]] | None = None

    def __len__(self) -> int:
        return len(self._members)

    def read(self, i: int) -> Sample:
        """Return sample `i`, decoded."""
        return self._modality.decode(self._unpacked(i), self.name(i))

    def remarks(self, i: int) -> tuple[str, ...]:
        """Return notes on how sample `i` is understood."""
        return self._modality.remarks(self._unpacked(i), self.name(i))

    def _unpacked(self, i: int) -> io.BytesIO:
        """Return member `i`. No more is unpacked than its header states, which is checked before."""
        name, data = self.name(i), io.BytesIO()
        archive, members = self._archive()
        info = members[self._members[i]]
        check_size(info.file_size, name, self._modality)
        try:
            with archive.open(info) as member:
                shutil.copyfileobj(member, data, 2**20)
        except Exception as error:  # a damaged member: BadZipFile, zlib.error, OSError, NotImplementedError, ...
            raise BadSample(name, f"damaged in the archive ({error})") from error
        data.seek(0)
        return data

    def sizes(self) -> Iterable[int]:
        """Return the sizes of the members, unpacked."""
        _, members = self._archive()
        return (members[path].file_size for path in self._members)

    def name(self, i: int) -> str:
        """Return the archive and the member, such as `birds.zip/train/owl/1.png`."""
        return f"{self._path}/{self._members[i]}"

    def _archive(self) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
        # A forked worker shares the position in the file with its parent, so each process opens the archive itself.
        if self._opened is None or self._opened[0] != os.getpid():
            archive = zipfile.ZipFile(self._path)
            self._opened = os.getpid(), archive, _members(archive)
        return self._opened[1:]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the files of an archive by their paths; of those with one path, the last, as unpacking would leave it."""
    return {_path(info.filename): info for info in archive.infolist() if not info.is_dir()}


def _path(name: str) -> str:
    """Return a member's name as a path below the archive: as Windows, `tar` or a careless program may have written it.

    Nothing is unpacked, so a path that leads out of the archive does no harm; it is cut at the top.
    """
    name = name.replace("\\", "/")
    if name.startswith("/") or name[1:2] == ":" or "//" in name or "./" in name:
        parts: list[str] = []
        for part in name.split("/"):
            if part == "..":
                parts = parts[:-1]
            elif part not in ("", ".") and not (part[1:] == ":" and not parts):
                parts.append(part)
        name = "/".join(parts)
    return name


def _is_regular(info: zipfile.ZipInfo) -> bool:
    return stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)


def _check_packing(members: list[zipfile.ZipInfo], where: str) -> None:
    encrypted = [info.filename for info in members if info.flag_bits & 1]
    packed = [info.filename for info in members if info.compress_type not in _BOUNDED]
    for names, fault, advice in (
        (encrypted, "encrypted", "unpack it with its password and give the folder"),
        (packed, "packed otherwise than by deflate", "pack the archive with that, or unpack it and give the folder"),
    ):
        if names:
            raise UserError(
                f"{where}: {files(len(names))} {'is' if len(names) == 1 else 'are'} {fault}, for example "
                f"{names[0]}; {advice}."
            )


def _notes(links: set[str], num_double: int, where: str) -> Iterator[str]:
    if links:
        yield (
            f"{where}: left out is what is no regular file: {len(links)} links and the like, for example "
            f"{shown_name(min(links))}."
        )
    if num_double:
        yield f"{where}: {files(num_double)} in it more than once; the last of each counts."
