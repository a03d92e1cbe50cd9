"""The report: one self-contained HTML page about some runs, without scripts and without anything to load."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssl_zoo.errors import UserError
from ssl_zoo.report.aggregate import Group, comparison, environment_lines, settings
from ssl_zoo.report.figures import curves
from ssl_zoo.runs.folder import RunFolder, write_atomically

PAGE = Path(__file__).with_name("page.html")


def _pictures(groups: Sequence[Group]) -> list[dict[str, str]]:
    """Return the pictures of views that the runs kept, each once."""
    found: dict[str, dict[str, str]] = {}
    for group in groups:
        path = RunFolder(group.runs[0]).views if group.runs else None
        if path is not None and path.is_file():
            png = base64.b64encode(path.read_bytes()).decode()
            found.setdefault(png, {"name": group.name, "png": png})
    return list(found.values())


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
    import yaml
    from markupsafe import Markup

    from ssl_zoo.recipe.display_name import called

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    alarms = [
        {"name": f"{group.name}, seed {summary.get('seed')}", "reason": reason}
        for group in groups
        for summary in group.summaries
        if (reason := (summary.get("collapse") or {}).get("reason"))
    ]
    recipes = [
        {"name": group.name, "text": path.read_text(encoding="utf-8")}
        for group in groups
        if group.runs and (path := RunFolder(group.runs[0]).recipe).is_file()
    ]
    page = environment.from_string(PAGE.read_text(encoding="utf-8")).render(
        title=title,
        results=comparison(groups),
        cost=settings(groups),
        alarms=alarms,
        figure=Markup(curves(groups)),  # noqa: S704 - made here
        pictures=_pictures(groups),
        environment=environment_lines(groups),
        recipes=[{**each, "method": called(yaml.safe_load(each["text"]))} for each in recipes],
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, page.encode("utf-8", "backslashreplace").decode("utf-8"))  # names may be no UTF-8
    return out


def groups_of(runs: Sequence[Path]) -> list[Group]:
    """Return runs as groups: those whose recipes differ in the seed only belong together.

    Raises:
        UserError: a folder that holds no finished run, or one whose files are damaged.
    """
    import yaml

    from ssl_zoo.recipe.load import read

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
