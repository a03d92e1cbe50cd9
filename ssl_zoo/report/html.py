"""The report: one self-contained HTML page about some runs, without scripts or external files."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ssl_zoo.errors import UserError
from ssl_zoo.recipe.display_name import called
from ssl_zoo.recipe.load import read
from ssl_zoo.report.aggregate import Group, comparison, environment_lines, settings
from ssl_zoo.report.figures import curves
from ssl_zoo.report.results import notes
from ssl_zoo.report.verdict import verdicts_of
from ssl_zoo.runs.folder import RunFolder, write_atomically
from ssl_zoo.runs.samples import ShownSample, read_samples

PAGE = Path(__file__).with_name("page.html")


WIDE = 640
"""Pixels; a wider picture is shown at its own size and scrolls, such as the frames of clips."""
_HEARD = re.compile(r"audio/[a-zA-Z0-9.+-]+")


def _pictures(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return the pictures of views in the run folders, each once, with the samples that can be heard or read."""
    found: dict[str, dict[str, Any]] = {}
    for group in groups:
        folder = RunFolder(group.runs[0]) if group.runs else None
        if folder is not None and folder.views.is_file():
            data = folder.views.read_bytes()
            png = base64.b64encode(data).decode()
            if png not in found:
                found[png] = {"name": group.name, "png": png, **_opened(data, read_samples(folder.samples))}
    return list(found.values())


def _opened(data: bytes, samples: Sequence[ShownSample]) -> dict[str, Any]:
    """Return the width of a picture where it is wide, and the part of each sample with its media."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        width, height = picture.size
        rows = [
            {"png": _part(picture, each), "width": max(width, WIDE // 2), "media": _media(each)}
            for each in samples
            if each.top < each.bottom <= height
        ]
    return {"wide": width if width > WIDE else None, "samples": rows}


def _part(picture: Any, sample: ShownSample) -> str:
    out = io.BytesIO()
    picture.crop((0, sample.top, picture.width, sample.bottom)).save(out, format="PNG")
    return base64.b64encode(out.getvalue()).decode()


def _media(sample: ShownSample) -> list[dict[str, str | None]]:
    """Return what a page shows: `heard`, a data URI; `read`, a text; or `left_out`, why it does not."""
    shown: list[dict[str, str | None]] = []
    for each in sample.media:
        if each.base64 is not None and _HEARD.fullmatch(each.mime):
            shown.append({"heard": f"data:{each.mime};base64,{each.base64}"})
        elif each.content is not None:
            shown.append({"read": each.content})
        else:
            shown.append({"left_out": f"{each.mime}: {each.left_out or 'a page does not show it'}"})
    return shown


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
        notes=[note.replace("`", "") for note in notes(groups)[1:]],
        verdicts=verdicts_of(groups),
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
