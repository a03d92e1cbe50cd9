"""The report: one self-contained HTML page about some runs, without scripts or external files."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ssl_zoo.errors import UserError
from ssl_zoo.recipe.display_name import called
from ssl_zoo.recipe.load import read
from ssl_zoo.report.aggregate import Group, comparison, environment_lines, settings
from ssl_zoo.report.figures import curves
from ssl_zoo.runs.folder import RunFolder, write_atomically

PAGE = Path(__file__).with_name("page.html")


def _pictures(groups: Sequence[Group]) -> list[dict[str, str]]:
    """Return the pictures of views in the run folders, each once."""
    found: dict[str, dict[str, str]] = {}
    for group in groups:
        path = RunFolder(group.runs[0]).views if group.runs else None
        if path is not None and path.is_file():
            png = base64.b64encode(path.read_bytes()).decode()
            found.setdefault(png, {"name": group.name, "png": png})
    return list(found.values())


def _alarms(groups: Sequence[Group]) -> list[dict[str, str]]:
    return [
        {"name": f"{group.name}, seed {summary.get('seed')}", "reason": reason}
        for group in groups
        for summary in group.summaries
        if (reason := (summary.get("collapse") or {}).get("reason"))
    ]


def _recipes(groups: Sequence[Group]) -> list[dict[str, str]]:
    """Return the recipe of each group's first run."""
    found = []
    for group in groups:
        path = RunFolder(group.runs[0]).recipe if group.runs else None
        if path is not None and path.is_file():
            text = path.read_text(encoding="utf-8")
            found.append({"name": group.name, "method": called(yaml.safe_load(text)), "content": text})
    return found


def write_report(groups: Sequence[Group], out: Path, title: str) -> Path:
    """Write the page.

    Args:
        groups: the runs, by setting.
        out: the HTML file.
        title: of the page.

    Returns:
        `out`.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page = environment.from_string(PAGE.read_text(encoding="utf-8")).render(
        title=title,
        results=comparison(groups),
        cost=settings(groups),
        alarms=_alarms(groups),
        figure=Markup(curves(groups)),  # noqa: S704 - made here
        pictures=_pictures(groups),
        environment=environment_lines(groups),
        recipes=_recipes(groups),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, page.encode("utf-8", "backslashreplace").decode("utf-8"))  # names may be no UTF-8
    return out


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
