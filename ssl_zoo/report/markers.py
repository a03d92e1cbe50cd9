"""Copying generated tables into a page: `python -m ssl_zoo.report.markers README.md experiments/digits/RESULTS.md`.

The page has the lines `<!-- results:begin -->` and `<!-- results:end -->`; what stands between them is replaced by the
results, without their title and with headings two levels down.
"""

from __future__ import annotations

import sys
from pathlib import Path

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def block(results: str) -> str:
    """Return what stands between the markers for the text of a RESULTS.md."""
    lines = results.strip().splitlines()[1:]
    return "\n".join(f"##{line}" if line.startswith("#") else line for line in lines).strip()


def inserted(page: str, results: str) -> str:
    """Return the page with the results between its markers.

    Raises:
        ValueError: the page does not have each marker once, in order.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end or BEGIN in tail or END in tail:
        raise ValueError(f"the page needs one {BEGIN} and after it one {END}")
    return f"{head}{BEGIN}\n\n{block(results)}\n\n{END}{tail}"


if __name__ == "__main__":
    page, results = (Path(argument) for argument in sys.argv[1:])
    page.write_text(inserted(page.read_text(encoding="utf-8"), results.read_text(encoding="utf-8")), encoding="utf-8")
