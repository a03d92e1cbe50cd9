"""Generated blocks of a Markdown page: the text between `<!-- NAME:begin -->` and `<!-- NAME:end -->`.

`python -m ssl_zoo.report.markers README.md experiments/digits/RESULTS.md` copies the tables of a study into the block
`results` of a page, without their title and with headings two levels down.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ssl_zoo.errors import UserError
from ssl_zoo.runs.atomic import check_place, write_atomically


def markers(name: str) -> tuple[str, str]:
    """Return the lines before and after a block."""
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def inserted(page: str, name: str, text: str, where: str = "the page") -> str:
    """Return a page with another text in one of its blocks.

    Args:
        page: the Markdown.
        name: of the block.
        text: for the block; it is put between blank lines.
        where: what a message calls the page.

    Raises:
        UserError: the page does not have each marker once, in order.
    """
    begin, end = markers(name)
    head, found, rest = page.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed or begin in tail or end in tail:
        raise UserError(f"{where}: needs one line {begin} and after it one line {end}.")
    return f"{head}{begin}\n\n{text}\n\n{end}{tail}"


def check_page(path: Path, name: str, option: str) -> None:
    """Make sure that a block of a page can be written.

    Args:
        path: of the page.
        name: of the block.
        option: the command-line option that named the page, for messages.

    Raises:
        UserError: there is no such page, it lacks the markers, or it cannot be written.
    """
    if not path.is_file():
        raise UserError(f"{option} {path}: there is no such file; it needs the lines {' and '.join(markers(name))}.")
    inserted(path.read_text(encoding="utf-8"), name, "", f"{option} {path}")
    check_place(path, option)


def write_block(path: Path, name: str, text: str) -> None:
    """Write a text into a block of a page.

    Raises:
        UserError: the page does not have each marker once, in order.
        CannotWrite: the disk is full, or the folder is read-only.
    """
    write_atomically(path, inserted(path.read_text(encoding="utf-8"), name, text, str(path)))


def results_block(results: str) -> str:
    """Return the block `results` for the text of a RESULTS.md."""
    lines = results.strip().splitlines()[1:]
    return "\n".join(f"##{line}" if line.startswith("#") else line for line in lines).strip()


if __name__ == "__main__":
    page, results = (Path(argument) for argument in sys.argv[1:])
    write_block(page, "results", results_block(results.read_text(encoding="utf-8")))
