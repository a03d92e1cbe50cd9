"""The embedding on the page: maps, nearest neighbours, and spectra of what runs left in `report.safetensors`."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from markupsafe import Markup
from torch import Tensor

from ssl_zoo.data.progress import progress
from ssl_zoo.report.aggregate import Group
from ssl_zoo.report.line_chart import Line, line_chart
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.runs.report_data import ReportData, Shown, Tiles, shortened
from ssl_zoo.runs.report_file import read_report_data

FEWEST = 30
"""Samples for t-SNE; fewer are seen as well by their principal components."""
CLUSTERS = 10
PERPLEXITY = 30
RANGE = 1000
"""Coordinates of maps are whole numbers from 0 to this."""
_NAME = 60
"""Characters of a name on the page."""


@dataclass(frozen=True)
class Left:
    """What the first run of a group that left anything left for the report."""

    name: str
    number: int
    data: ReportData

    def title(self, member: Shown) -> str:
        """Return what headings call it: the name of the group, and of the member."""
        return f"{self.name}, {member.name}" if member.name else self.name


def left_by(groups: Sequence[Group]) -> list[Left]:
    """Return what groups left for the report; of each the first run that has anything.

    Raises:
        UserError: a file is damaged.
    """
    found = []
    for number, group in enumerate(groups):
        read = (read_report_data(RunFolder(run).report_data) for run in group.runs)
        data = next((each for each in read if each is not None), None)
        if data is not None:
            found.append(Left(group.name, number, data))
    return found


@dataclass
class Sheets:
    """JPEG files of tiles, each once, as classes of a style sheet."""

    found: dict[str, tuple[Tiles, str]] = field(default_factory=dict)

    def add(self, sheet: tuple[Tiles, bytes]) -> str:
        """Return the class of tiles."""
        tiles, jpeg = sheet
        name = "t" + hashlib.sha256(jpeg).hexdigest()[:12]
        self.found.setdefault(name, (tiles, base64.b64encode(jpeg).decode()))
        return name

    @property
    def rules(self) -> Markup:
        """The style sheet's rules."""
        return Markup(  # noqa: S704 - hexadecimal, numbers and base64
            "\n".join(
                f".{name} {{ background-image: url(data:image/jpeg;base64,{code}); --columns: {tiles.columns}; }}"
                for name, (tiles, code) in self.found.items()
            )
        )


def spectra(left: Sequence[Left]) -> list[tuple[str, Markup]]:
    """Return (title, chart) of the singular values: those of all groups of a member in one chart."""
    members = list(dict.fromkeys(member.name for each in left for member in each.data.members))
    return [(name, chart) for name in members if (chart := _spectrum(left, name)) is not None]


def _spectrum(left: Sequence[Left], name: str) -> Markup | None:
    trained, untrained = [], []
    for each in left:
        for member in each.data.members:
            if member.name == name:
                trained += _values(each.name, each.number, member.spectra.get("encoder"))
                untrained += _values(f"untrained, as {each.name}", None, member.spectra.get("untrained"))
    different = {tuple(line.ys): line for line in untrained}  # runs of one encoder and seed share theirs
    lines = [*trained, *different.values()]
    return (
        line_chart("singular values of the features", lines, "number of the singular value", log_y=True)
        if lines
        else None
    )


def _values(name: str, number: int | None, values: Tensor | None) -> list[Line]:
    """Return a line of the values that are above rounding, or none."""
    if values is None or not len(values) or not float(values[0]) > 0:
        return []
    kept = values[values > 1e-6 * values[0]].tolist()
    every = range(0, len(kept), max(1, len(kept) // 400))
    return [Line(name, number, [i + 1 for i in every], [kept[i] for i in every])]


def neighbour_rows(left: Sequence[Left], sheets: Sheets) -> list[dict[str, Any]]:
    """Return, for each group and member, the queries with their neighbours, as the page's template takes them."""
    made = []
    for each in left:
        for member in each.data.members:
            sheet = None if member.large is None else sheets.add(member.large)
            rows = _rows(member, _Cells(each.data, member, sheet))
            same = [cell["same"] for row in rows for cell in row["near"] if cell["same"] is not None]
            made.append({"name": each.title(member), "rows": rows, "same": sum(same), "of": len(same)})
    return made


def _rows(member: Shown, cells: _Cells) -> list[dict[str, Any]]:
    queries, near, cosines = member.queries.tolist(), member.neighbours.tolist(), member.cosines.tolist()
    return [
        {
            "query": cells.cell(query),
            "near": [cells.cell(i, query, cosine) for i, cosine in zip(row, values, strict=True)],
        }
        for query, row, values in zip(queries, near, cosines, strict=True)
    ]


class _Cells:
    """Samples as the page's template takes them."""

    def __init__(self, data: ReportData, member: Shown, sheet: str | None) -> None:
        self.data, self.member, self.sheet = data, member, sheet
        self.place = {i: place for place, i in enumerate(member.pictured)}

    def cell(self, i: int, query: int | None = None, cosine: float | None = None) -> dict[str, Any]:
        data = self.data
        label, other = (self._label(each) for each in (i, query))
        tile = None
        if self.sheet is not None and self.member.large is not None:
            row, column = divmod(self.place[i], self.member.large[0].columns)
            tile = {"sheet": self.sheet, "row": row, "column": column}
        return {
            "name": data.names[i],
            "label": None if label is None else class_name(data.classes, label),
            "same": None if label is None or other is None else label == other,
            "cosine": cosine,
            "tile": tile,
            "excerpt": None if self.member.texts is None else self.member.texts[i],
        }

    def _label(self, i: int | None) -> int | None:
        if i is None or self.data.labels is None or int(self.data.labels[i]) < 0:
            return None
        return int(self.data.labels[i])


def class_name(names: Sequence[str] | None, label: int) -> str:
    """Return the name of a class, or its number."""
    return names[label] if names is not None and label < len(names) else str(label)


def maps(left: Sequence[Left], sheets: Sheets, tsne: bool) -> dict[str, Any]:
    """Return what the page's script draws, as plain data.

    Args:
        left: by the groups.
        sheets: gets the tiles.
        tsne: whether there are maps of t-SNE beside those of the principal components.

    Returns:
        `samples`, a list of sets of samples: `names`, `groups` (a number each, or null), `captions` of these, whether
        they are `clusters`, `texts`, and `sheet` with `columns` and `side`; and `maps`: `title`, `samples` (which set),
        and `pca` and `tsne`, each two lists of coordinates from 0 to `RANGE`.
    """
    sets: list[dict[str, Any]] = []
    made = []
    for each in progress(left, "maps", "settings"):
        for member in each.data.members:
            samples = _samples(each.data, member, sheets)
            if samples not in sets:
                sets.append(samples)
            shown: dict[str, Any] = {"title": each.title(member), "samples": sets.index(samples)}
            shown["pca"] = coordinates(member.points[:, :2])
            if tsne and len(member.points) >= FEWEST:
                shown["tsne"] = coordinates(t_sne(member.points))
            made.append(shown)
    return {"samples": sets, "maps": made}


def _samples(data: ReportData, member: Shown, sheets: Sheets) -> dict[str, Any]:
    found: dict[str, Any] = {"names": [shortened(name, _NAME) for name in data.names], "texts": member.texts}
    if data.labels is not None and bool((data.labels >= 0).any()):
        used = sorted({label for label in data.labels.tolist() if label >= 0})
        place = {label: i for i, label in enumerate(used)}
        found["groups"] = [place.get(label) for label in data.labels.tolist()]
        found |= {"captions": [shortened(class_name(data.classes, label), 40) for label in used], "clusters": False}
    else:
        clusters = k_means(member.points)
        found |= {
            "groups": clusters,
            "captions": [f"cluster {i + 1}" for i in range(max(clusters) + 1)],
            "clusters": True,
        }
    if member.small is not None:
        tiles = member.small[0]
        found["sheet"] = {"name": sheets.add(member.small), "columns": tiles.columns, "side": tiles.side}
    return found


def coordinates(points: Tensor) -> list[list[int]]:
    """Return the columns of points `(N, 2)` as whole numbers from 0 to `RANGE`, both on one scale, centred."""
    points = torch.nn.functional.pad(points, (0, 2 - points.shape[1])).double()
    low, high = points.amin(dim=0), points.amax(dim=0)
    size = (high - low).max().clamp_min(1e-12)
    placed = ((points - (low + high) / 2) / size + 0.5) * RANGE
    return [column.round().int().tolist() for column in placed.T]


def t_sne(points: Tensor) -> Tensor:
    """Return a map `(N, 2)` of points by scikit-learn's t-SNE, from their first two components, with a fixed seed."""
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    found = TSNE(2, perplexity=perplexity, init="pca", random_state=0, n_jobs=1).fit_transform(points.double().numpy())
    return torch.from_numpy(found)


def k_means(points: Tensor) -> list[int]:
    """Return the cluster of each point by scikit-learn's k-means, the largest first, with a fixed seed."""
    from sklearn.cluster import KMeans

    num = max(1, min(CLUSTERS, len(points) // 5, len(points.unique(dim=0))))
    found = torch.from_numpy(KMeans(num, n_init=4, random_state=0).fit_predict(points.double().numpy())).long()
    order = torch.bincount(found, minlength=num).argsort(descending=True, stable=True)
    rank: list[int] = order.argsort()[found].tolist()
    return rank
