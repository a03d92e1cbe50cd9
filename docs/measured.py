"""Reads what a method has reached here from the RESULTS.md files of the experiments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"
SITE = "https://github.com/ssl-zoo/ssl-zoo/blob/main/"
COLUMNS = re.compile(r"few-shot|linear|status|n|(.* )?kNN|.* R@10")
"""The columns of a table of results that a page shows."""


@dataclass(frozen=True)
class Results:
    """A RESULTS.md file: the rows of its table of representations, and its remarks.

    Attributes:
        path: of the file, from the repository's root.
        rows: `{column: cell}` of each representation.
        expected: conditions and whether they held, as the file says.
        measured: hardware, precision and versions, a sentence.
    """

    path: str
    rows: tuple[dict[str, str], ...]
    expected: tuple[str, ...]
    measured: str

    @property
    def study(self) -> str:
        """The experiment's name in words."""
        name = self.path.removesuffix(".md").replace("/RESULTS", "").removeprefix("experiments/")
        return name.replace("_", " ").replace("/", " ")


def every_result() -> list[Results]:
    """Return all files of results that have a table of representations, by the names of their experiments."""
    found = [_read(path) for path in sorted(EXPERIMENTS.rglob("RESULTS*.md"))]
    return [each for each in found if each.rows]


def _read(path: Path) -> Results:
    text = path.read_text(encoding="utf-8")
    rows: list[dict[str, str]] = []
    header: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if cells[:1] == ["representation"]:
            header = cells
        elif not cells:
            header = []
        elif header and not cells[0].startswith("--"):
            rows.append(dict(zip(header, cells, strict=True)))
    expected = tuple(line[2:] for line in text.splitlines() if re.match(r"- .*(holds|FAILS|unclear)", line))
    last = [line for line in text.splitlines() if line.startswith("Measured on")]
    measured = last[-1] if last else ""
    return Results(str(path.relative_to(EXPERIMENTS.parent)), tuple(rows), expected, measured)


def measured(method: str) -> str:
    """Return in Markdown what a method reached in each experiment that trained it as it is, or that none did."""
    found = [
        results for results in every_result() if any(_is_of(row["representation"], method) for row in results.rows)
    ]
    if not found:
        return "Not measured: no experiment of this repository has trained it."
    intro = (
        "Copied from the experiments' tables when this page is built. Accuracies are percentages on the test split, "
        "mean +- sample standard deviation over `n` seeds. The settings are small, for CPU cores, far from the papers'."
    )
    machines: dict[str, list[str]] = {}
    for results in found:
        machines.setdefault(results.measured, []).append(results.study)
    of = {line: "" if len(machines) == 1 else f" ({', '.join(studies)})" for line, studies in machines.items()}
    return "\n\n".join([intro, *(_block(results, method) for results in found), *(f"{each}{of[each]}" for each in of)])


def _block(results: Results, method: str) -> str:
    own = [row for row in results.rows if _is_of(row["representation"], method)]
    shown = [column for column in own[0] if COLUMNS.fullmatch(column)]
    lines = ["| representation | " + " | ".join(shown) + " |", "| --- |" + " ---: |" * len(shown)]
    for row in [*_baselines(results, method), *own]:
        lines.append("| " + " | ".join([row["representation"], *(row.get(column, "") for column in shown)]) + " |")
    conditions = [
        f"- {line.partition(': ')[2]}" for line in results.expected if _is_of(line.partition(": ")[0], method)
    ]
    told = [line for line in conditions if "`status == done`" not in line]  # the table has it
    head = f"**{results.study}** ([all rows]({SITE}{results.path}))"
    return "\n\n".join(filter(None, [head, "\n".join(lines), "\n".join(told)]))


def _is_of(label: str, method: str) -> bool:
    """Whether a row is the method at one of its scales, `simsiam (small)`, and not an ablation of it."""
    name, _, variant = label.partition(" (")
    return name.lower().replace(" ", "_") == method and "." not in variant


def _baselines(results: Results, method: str) -> list[dict[str, str]]:
    """Return the rows of raw input and untrained encoder; of several settings one row with ranges."""
    found = []
    for kind in ("raw input", "untrained encoder"):
        rows = [row for row in results.rows if row["representation"].partition(" of ")[0] == kind]
        named = [row for row in rows if method in re.split(r"[ ,]+", row["representation"])]
        rows = named if len(named) == 1 else rows
        if len(rows) == 1:
            found.append(rows[0] | {"representation": kind})
        elif rows:
            cells = {column: _range([row[column] for row in rows]) for column in rows[0]}
            found.append(cells | {"representation": f"{kind}, of {len(rows)} settings"})
    return found


def _range(cells: list[str]) -> str:
    """Return one cell for several: what they share, or the lowest and the highest value."""
    if len(set(cells)) == 1:
        return cells[0]
    numbers = [cell.partition(" ")[0] for cell in cells]
    if not all(re.fullmatch(r"[\d.]+", number) for number in numbers):
        return ""
    low, high = min(numbers, key=float), max(numbers, key=float)
    return low if low == high else f"{low} to {high}"
