"""Generated tables in pages: what is inserted, and that the README's are those of the run files."""

from pathlib import Path

import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.report.markers import inserted, markers, results_block

ROOT = Path(__file__).parents[2]
BEGIN, END = markers("results")


def test_what_stands_between_the_markers_is_replaced() -> None:
    page = f"# A\n{BEGIN}\nold\n{END}\nrest\n"
    block = results_block("# title\n\nnote\n\n## Cost\n\n| a |\n")
    once = inserted(page, "results", block)
    assert once == f"# A\n{BEGIN}\n\nnote\n\n#### Cost\n\n| a |\n\n{END}\nrest\n"
    assert inserted(once, "results", block) == once


@pytest.mark.parametrize("page", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}"])
def test_a_page_without_both_markers_is_refused(page: str) -> None:
    with pytest.raises(UserError, match="page.md: needs one line <!-- results:begin --> and after it"):
        inserted(page, "results", "text", "page.md")


def test_the_readmes_numbers_are_those_of_the_results() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    results = (ROOT / "experiments/digits/RESULTS.md").read_text(encoding="utf-8")
    assert results_block(results) in readme and "Measured on:" in results_block(results)
