"""`report.safetensors`: what a run leaves for its report, next to its logs and its summary.

Positions, neighbours and small pictures of some evaluated samples, spectra, and what classifiers confused. It is
numbers, two JPEG files and a piece of JSON, bounded in size, and checked in whole when it is read.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from ssl_zoo.errors import UserError
from ssl_zoo.runs.atomic import replacing
from ssl_zoo.runs.report_data import (
    MOST_CLASSES,
    MOST_COORDINATES,
    MOST_PAIRS,
    MOST_SAMPLES,
    MOST_TILES,
    MOST_WIDTH,
    Guesses,
    ReportData,
    Shown,
    Tiles,
)

MOST_BYTES = 2**26
"""Of a file."""
_KEY = "report"


class _Member(BaseModel):
    model_config = ConfigDict(strict=True)
    name: str
    width: Annotated[int, Field(ge=1)]
    kept: Annotated[float, Field(ge=0, le=1.001)]
    texts: list[str] | None = None
    small: Tiles | None = None
    large: Tiles | None = None
    spectra: list[str]


class _Header(BaseModel):
    model_config = ConfigDict(strict=True)
    version: Annotated[int, Field(ge=1, le=1)]
    split: str
    total: Annotated[int, Field(ge=1)]
    names: Annotated[list[str], Field(min_length=1, max_length=MOST_SAMPLES)]
    classes: Annotated[list[str], Field(max_length=MOST_CLASSES)] | None = None
    members: list[_Member]
    guesses: list[str]


def write_report_data(path: Path, data: ReportData) -> None:
    """Write the file.

    Raises:
        CannotWrite: the disk is full, or the folder is gone.
    """
    from safetensors.torch import save

    tensors, members = {}, []
    if data.labels is not None:
        tensors["labels"] = data.labels.int()
    for i, each in enumerate(data.members):
        tensors |= {f"{i}/points": each.points.half(), f"{i}/queries": each.queries.int()}
        tensors |= {f"{i}/neighbours": each.neighbours.int(), f"{i}/cosines": each.cosines.float()}
        tensors |= {f"{i}/spectrum/{name}": values.float() for name, values in each.spectra.items()}
        tiles = {key: value for key in ("small", "large") if (value := getattr(each, key)) is not None}
        tensors |= {f"{i}/{key}": _bytes(jpeg) for key, (_, jpeg) in tiles.items()}
        members.append({
            "name": each.name, "width": each.width, "kept": each.kept, "texts": each.texts,
            "spectra": list(each.spectra), **{key: value.model_dump() for key, (value, _) in tiles.items()},
        })  # fmt: skip
    for key, guesses in data.guesses.items():
        tensors |= {f"guesses/{key}/per_class": guesses.per_class.int(), f"guesses/{key}/pairs": guesses.pairs.int()}
    header = {
        "version": 1, "split": data.split, "total": data.total, "names": data.names, "classes": data.classes,
        "members": members, "guesses": list(data.guesses),
    }  # fmt: skip
    with replacing(path) as file:
        file.write(save({k: v.contiguous() for k, v in tensors.items()}, {_KEY: json.dumps(header)}))


def _bytes(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def read_report_data(path: Path) -> ReportData | None:
    """Return the content of the file; None where there is none.

    Raises:
        UserError: it is not what `write_report_data` writes.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        if path.stat().st_size > MOST_BYTES:
            raise _Damaged(f"larger than {MOST_BYTES >> 20} MiB")
        with safe_open(path, framework="pt") as file:
            header = _Header.model_validate(json.loads((file.metadata() or {}).get(_KEY, "null")))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _Reader(header, tensors).data()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}.") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        reason = f"{'.'.join(map(str, first['loc']))[:100]}: {first['msg'].lower()}"
    except (SafetensorError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
    raise UserError(f"{path}: is not what a run leaves for its report ({reason}); remove it, the rest stays.")


class _Damaged(ValueError):
    """A part is not as it should be."""


class _Reader:
    """Makes `ReportData` of a header and tensors, all checked."""

    def __init__(self, header: _Header, tensors: dict[str, Tensor]) -> None:
        self.header, self.tensors, self.num = header, tensors, len(header.names)

    def data(self) -> ReportData:
        header = self.header
        labels = self._integers("labels", (self.num,), -1, MOST_CLASSES) if "labels" in self.tensors else None
        return ReportData(
            header.split,
            header.total,
            header.names,
            labels,
            header.classes,
            [self._member(str(i), member) for i, member in enumerate(header.members)],
            {key: self._guesses(key) for key in header.guesses},
        )

    def _member(self, i: str, member: _Member) -> Shown:
        points = self._floats(f"{i}/points", (self.num, None), MOST_COORDINATES)
        queries = self._integers(f"{i}/queries", (None,), 0, self.num)
        near = self._integers(f"{i}/neighbours", (len(queries), None), 0, self.num)
        cosines = self._floats(f"{i}/cosines", tuple(near.shape), self.num)
        spectra = {name: self._floats(f"{i}/spectrum/{name}", (None,), MOST_WIDTH) for name in member.spectra}
        if member.texts is not None and len(member.texts) != self.num:
            raise _Damaged(f"{len(member.texts)} texts of {self.num} samples")
        shown = Shown(member.name, member.width, points, member.kept, queries, near, cosines, spectra, member.texts)
        shown.small = self._tiles(f"{i}/small", member.small, self.num)
        shown.large = self._tiles(f"{i}/large", member.large, len(shown.pictured))
        return shown

    def _guesses(self, key: str) -> Guesses:
        per_class = self._integers(f"guesses/{key}/per_class", (None, 2), 0, 2**31)
        pairs = self._integers(f"guesses/{key}/pairs", (None, 3), 0, 2**31)
        if len(per_class) > MOST_CLASSES or len(pairs) > MOST_PAIRS or (per_class[:, 0] > per_class[:, 1]).any():
            raise _Damaged(f"the guesses of {key}")
        if len(pairs) and int(pairs[:, :2].max()) >= len(per_class):
            raise _Damaged(f"the guesses of {key}")
        return Guesses(per_class, pairs)

    def _tensor(self, name: str, shape: tuple[int | None, ...]) -> Tensor:
        tensor = self.tensors.get(name)
        if tensor is None:
            raise _Damaged(f"{name} is missing")
        if tensor.ndim != len(shape) or any(b is not None and a != b for a, b in zip(tensor.shape, shape, strict=True)):
            raise _Damaged(f"{name} has the shape {tuple(tensor.shape)}")
        return tensor

    def _floats(self, name: str, shape: tuple[int | None, ...], most: int) -> Tensor:
        tensor = self._tensor(name, shape)
        if not tensor.is_floating_point() or tensor.shape[-1] > most or not tensor.isfinite().all():
            raise _Damaged(f"{name} is not of finite numbers, or too long")
        return tensor.float()

    def _integers(self, name: str, shape: tuple[int | None, ...], least: int, below: int) -> Tensor:
        tensor = self._tensor(name, shape)
        if tensor.dtype != torch.int32 or (
            tensor.numel() and not least <= int(tensor.min()) <= int(tensor.max()) < below
        ):
            raise _Damaged(f"{name} has values out of range")
        return tensor.long()

    def _tiles(self, name: str, tiles: Tiles | None, num: int) -> tuple[Tiles, bytes] | None:
        from PIL import Image, UnidentifiedImageError

        if tiles is None:
            return None
        tensor = self._tensor(name, (None,))
        if tensor.dtype != torch.uint8 or tiles.num != num or max(tiles.size) > MOST_TILES:
            raise _Damaged(f"{name} is no picture of {num} tiles")
        jpeg = tensor.numpy().tobytes()
        try:
            with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as picture:  # the header alone
                size = picture.size
        except (UnidentifiedImageError, OSError, SyntaxError):
            raise _Damaged(f"{name} is no JPEG") from None
        if size != tiles.size:
            raise _Damaged(f"{name} is of {size[0]}x{size[1]} pixels")
        return tiles, jpeg
