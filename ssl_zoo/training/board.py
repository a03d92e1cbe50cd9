"""What TensorBoard shows beside the scalars: histograms of embeddings, neighbours as a picture, and the projector."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ssl_zoo.runs.atomic import replacing, write_atomically
from ssl_zoo.runs.report_data import ReportData, Shown

TIMES = 20
"""Histograms of a run, about."""
GAP = 4
"""White pixels between pictures."""
_FOLDER = "projector"


def is_time(step: int, total_steps: int, every: int) -> bool:
    """Return whether histograms are due at a step that is a multiple of `every`: about `TIMES` in a run."""
    return step // every % max(1, total_steps // every // TIMES) == 0


def histograms(name: str, x: Tensor) -> dict[str, Tensor]:
    """Return what histograms are made of.

    Args:
        name: of the embeddings, such as `z`.
        x: embeddings `(N, D)`.

    Returns:
        `NAME/norm` `(N,)`, the length of each embedding; `NAME/spread` `(D,)`, the standard deviation of each dimension
        of the embeddings at unit length, times sqrt(D): about 1 where they are isotropic, 0 in a dead dimension.
    """
    x = x.detach().float()
    spread = normalize(x, dim=1).std(dim=0, correction=0) * x.shape[1] ** 0.5
    return {f"{name}/norm": x.norm(dim=1).cpu(), f"{name}/spread": spread.cpu()}


def of_members(name: str, each: Sequence[Tensor], members: Sequence[str]) -> dict[str, Tensor]:
    """Return `histograms` of the first view, or of the first of each member, by NAME/MEMBER; none without views."""
    first: dict[str, Tensor] = {}
    for number, x in enumerate(each):
        first.setdefault(members[number] if number < len(members) else "", x)
    found: dict[str, Tensor] = {}
    for member, x in first.items():
        found |= histograms(f"{name}/{member}" if member else name, x)
    return found


def neighbours_picture(shown: Shown) -> Tensor | None:
    """Return a picture `(3, H, W)`, uint8: a row per query, first the query, then its neighbours; None without any."""
    if shown.large is None:
        return None
    tiles, jpeg = shown.large
    side, place = tiles.side, {i: number for number, i in enumerate(shown.pictured)}
    sheet = _decoded(jpeg)
    rows = []
    for query, near in zip(shown.queries.tolist(), shown.neighbours.tolist(), strict=True):
        row = []
        for i in [query, *near]:
            y, x = (side * each for each in divmod(place[i], tiles.columns))
            row.append(torch.nn.functional.pad(sheet[:, y : y + side, x : x + side], (GAP,) * 4, value=255))
        rows.append(torch.cat(row, dim=2))
    return torch.cat(rows, dim=1)


def _decoded(jpeg: bytes) -> Tensor:
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as picture:
        return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)


def write_projector(folder: Path, data: ReportData) -> None:
    """Write the points of a run as TensorBoard's projector reads them, with names, labels and thumbnails.

    Args:
        folder: of TensorBoard's files, which exists.
        data: what the run left for its report.

    Raises:
        CannotWrite: the disk is full, or the folder is gone.
    """
    place = folder / _FOLDER
    place.mkdir(exist_ok=True)
    embeddings = []
    for number, member in enumerate(data.members):
        stem = f"{_FOLDER}/{number}"
        with replacing(folder / f"{stem}.bytes") as file:
            file.write(member.points.float().numpy().astype("<f4").tobytes())
        write_atomically(folder / f"{stem}.tsv", _metadata(data, member))
        fields: dict[str, Any] = {
            "tensor_name": re.sub(r"[^\w. -]", "_", member.name or data.split, flags=re.ASCII),
            "tensor_shape": list(member.points.shape),
            "tensor_path": f"{stem}.bytes",
            "metadata_path": f"{stem}.tsv",
        }
        if member.small is not None:
            tiles, jpeg = member.small
            with replacing(folder / f"{stem}.jpg") as file:
                file.write(jpeg)
            fields["sprite"] = {"image_path": f"{stem}.jpg", "single_image_dim": [tiles.side, tiles.side]}
        embeddings.append(f"embeddings {{\n{_protobuf(fields)}}}\n")
    write_atomically(folder / "projector_config.pbtxt", "".join(embeddings))


def _metadata(data: ReportData, member: Shown) -> str:
    """Return a table of tabs: a line with the columns, then a line for each sample."""
    columns = {"name": data.names}
    if data.labels is not None:
        names = data.classes or []
        labels = data.labels.tolist()
        columns["label"] = ["" if i < 0 else names[i] if i < len(names) else str(i) for i in labels]
    if member.texts is not None:
        columns["excerpt"] = member.texts
    if len(columns) == 1:  # a table of one column has no line with its name
        return "".join(f"{_cell(name)}\n" for name in data.names)
    lines = [list(columns), *zip(*columns.values(), strict=True)]
    return "".join("\t".join(map(_cell, line)) + "\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()) or "-"


def _protobuf(fields: Mapping[str, Any], indent: str = "  ") -> str:
    """Return fields in protobuf's text format; strings are plain ASCII."""
    lines = []
    for key, value in fields.items():
        if isinstance(value, Mapping):
            lines.append(f"{indent}{key} {{\n{_protobuf(value, indent + '  ')}{indent}}}\n")
        else:
            values = value if isinstance(value, list) else [value]
            lines += [
                f'{indent}{key}: "{each}"\n' if isinstance(each, str) else f"{indent}{key}: {each}\n" for each in values
            ]
    return "".join(lines)
