"""Generated tables in pages: what is inserted, and that the README's are those of the run files."""

from pathlib import Path

import pytest

from ssl_zoo.report.markers import BEGIN, END, block, inserted

ROOT = Path(__file__).parents[2]


def test_what_stands_between_the_markers_is_replaced() -> None:
    page = f"# A\n{BEGIN}\nold\n{END}\nrest\n"
    once = inserted(page, "# title\n\nnote\n\n## Cost\n\n| a |\n")
    assert once == f"# A\n{BEGIN}\n\nnote\n\n#### Cost\n\n| a |\n\n{END}\nrest\n"
    assert inserted(once, "# title\n\nnote\n\n## Cost\n\n| a |\n") == once


@pytest.mark.parametrize("page", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}"])
def test_a_page_without_both_markers_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="needs one"):
        inserted(page, "# title\n")


def test_the_readmes_numbers_are_those_of_the_results() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    results = (ROOT / "experiments/digits/RESULTS.md").read_text(encoding="utf-8")
    assert block(results) in readme and "Measured on:" in block(results)
