"""The report: one self-contained HTML page about some runs, which asks for nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from ssl_zoo.errors import UserError
from ssl_zoo.recipe.load import read
from ssl_zoo.report.aggregate import Group, comparison, environment_lines, settings
from ssl_zoo.report.comparison import Section
from ssl_zoo.report.confusion import confusions
from ssl_zoo.report.curves import panels
from ssl_zoo.report.embedding import Left, Sheets, left_by, maps, neighbour_rows, spectra
from ssl_zoo.report.pictures import pictures
from ssl_zoo.report.recipes import differences, recipes
from ssl_zoo.report.render import write_page
from ssl_zoo.report.results import notes
from ssl_zoo.report.verdict import verdicts_of
from ssl_zoo.runs.folder import RunFolder

PAGE = Path(__file__).with_name("page.html")
SCRIPT = PAGE.with_suffix(".js")

PARTS = (
    ("sections", "compared", "Compared"),
    ("panels", "curves", "Curves"), ("spectra", "spectrum", "Spectrum"), ("maps", "embedding", "Map"),
    ("neighbours", "neighbours", "Neighbours"), ("confusions", "confusion", "Confusion"),
    ("pictures", "views", "Views"),
)  # fmt: skip
"""(key of the content, anchor, title) of the parts that a page may lack."""

MOST_MAPPED = 8
"""Settings whose maps, neighbours and confusions a page has: each takes seconds, and up to a megabyte of pictures."""


def _alarms(groups: Sequence[Group]) -> list[dict[str, str]]:
    return [
        {"name": f"{group.name}, seed {summary.get('seed')}", "reason": reason}
        for group in groups
        for summary in group.summaries
        if (reason := (summary.get("collapse") or {}).get("reason"))
    ]


def _warnings(groups: Sequence[Group]) -> list[str]:
    """Return what went wrong and what the evaluation noted, each once, with the runs that say it."""
    found: dict[str, list[str]] = {}
    for group in groups:
        for summary in group.summaries:
            told = [*(summary.get("problems") or []), *(summary.get("evaluation_notes") or [])]
            told += [f"failed: {summary.get('reason')}"] if summary.get("status") == "failed" else []
            for line in dict.fromkeys(map(str, told)):
                found.setdefault(line, []).append(f"{group.name}, seed {summary.get('seed')}")
    num = sum(len(group.summaries) for group in groups)
    return [line if len(runs) == num > 1 else f"{'; '.join(runs[:3])}: {line}" for line, runs in found.items()]


def script_json(content: Any) -> Markup:
    """Return JSON that cannot end the script element that it stands in, whatever its strings hold."""
    plain = json.dumps(content, separators=(",", ":"), allow_nan=False)
    escaped = plain.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(escaped)  # noqa: S704 - no markup is left in it


def _embedding(left: Sequence[Left], tsne: bool) -> dict[str, Any]:
    """Return what the template takes of the embedding."""
    sheets, every, left = Sheets(), left, left[:MOST_MAPPED]
    drawn = maps(left, sheets, tsne)
    numbers = sorted({(len(each.data.names), each.data.total, each.data.split) for each in left})
    return {
        "maps": drawn,
        "map_data": script_json(drawn),
        "tsne": any("tsne" in each for each in drawn["maps"]),
        "clustered": any(each["clusters"] for each in drawn["samples"]),
        "shown": " ".join(
            f"{f'All {num}' if num == total else f'{num} of {total}'} evaluated samples of {split}."
            for num, total, split in numbers
        ),
        "neighbours": neighbour_rows(left, sheets),
        "spectra": spectra(every),
        "mapped": f"Of the first {MOST_MAPPED} of {len(every)} settings." if len(every) > MOST_MAPPED else "",
        "confusions": confusions(left),
        "sheets": sheets,
    }


def write_report(
    groups: Sequence[Group], out: Path, title: str, tsne: bool = True, sections: Sequence[Section] = ()
) -> Path:
    """Write the page.

    Args:
        groups: the runs, by setting.
        out: the HTML file.
        title: of the page.
        tsne: whether the embedding is also mapped by t-SNE, which takes seconds to a minute for each group.
        sections: what else is said below the results.

    Returns:
        `out`.

    Raises:
        UserError: a file of a run is damaged.
    """
    found = recipes(groups)
    script = SCRIPT.read_text(encoding="utf-8")
    content: dict[str, Any] = {
        "title": title,
        "names": [group.name for group in groups],
        "notes": [note.replace("`", "") for note in notes(groups)[1:]],
        "verdicts": verdicts_of(groups),
        "results": comparison(groups),
        "sections": sections,
        "cost": settings(groups),
        "alarms": _alarms(groups),
        "warnings": _warnings(groups),
        "panels": panels(groups),
        "pictures": pictures(groups),
        "environment": environment_lines(groups),
        "recipes": found,
        "differences": differences(found),
        **_embedding(left_by(groups), tsne),
    }
    content |= {
        "parts": _parts(content),
        "script": Markup(script),  # noqa: S704 - the package's own
        "script_hash": f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'",
    }
    return write_page(out, PAGE.name, content)


def _parts(content: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the parts that a page has, for the links at its top."""
    there = {key: bool(content["maps"]["maps"] if key == "maps" else content[key]) for key, _, _ in PARTS}
    made = [{"id": anchor, "title": title} for key, anchor, title in PARTS if there[key]]
    return [*made, {"id": "cost", "title": "Cost"}, {"id": "recipes", "title": "Recipes"}]


def groups_of(runs: Sequence[Path]) -> list[Group]:
    """Return runs as groups: runs whose recipes differ only in the seed are one group.

    Raises:
        UserError: a folder that holds no finished run, or one whose files are damaged.
    """
    found: dict[str, tuple[str, list[Path], list[dict[str, Any]]]] = {}
    for run in runs:
        folder = RunFolder(run)
        summary = folder.read_summary()
        if not folder.recipe.is_file():
            raise UserError(f"{run}: holds no run (no recipe.yaml in it).")
        recipe = read(folder.recipe)
        key = yaml.safe_dump({**recipe, "seed": None})
        name = run.name.removesuffix(f"-seed{summary['seed']}")
        _, paths, summaries = found.setdefault(key, (name, [], []))
        paths.append(run)
        summaries.append(summary)
    return [Group(name, tuple(paths), tuple(summaries)) for name, paths, summaries in found.values()]
