"""Pages from the templates of this folder, all in one style, each in one file that asks for nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ssl_zoo.runs.atomic import write_atomically

TEMPLATES = Path(__file__).parent
STYLE = TEMPLATES / "page.css"


def rendered(template: str, content: Mapping[str, Any]) -> str:
    """Return a page as HTML.

    Args:
        template: the name of its template, such as `page.html`.
        content: what the template takes, beside `style`.
    """
    import jinja2

    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    style = Markup(STYLE.read_text(encoding="utf-8"))  # noqa: S704 - the package's own
    page = environment.get_template(template).render(content, style=style)
    return page.encode("utf-8", "backslashreplace").decode("utf-8")  # names may be no UTF-8


def write_page(out: Path, template: str, content: Mapping[str, Any]) -> Path:
    """Write a page.

    Args:
        out: the HTML file.
        template: see `rendered`.
        content: likewise.

    Returns:
        `out`.

    Raises:
        CannotWrite: the disk is full.
    """
    page = rendered(template, content)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, page)
    return out
