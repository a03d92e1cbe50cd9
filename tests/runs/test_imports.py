"""The modules that a card names: those that are not imported are told, and a card that says nonsense names none."""

from pathlib import Path

import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.runs.imports import check_imported, used_modules


@pytest.mark.parametrize(
    "card", [None, "", "{", "[]", "3", "{}", '{"imports": 5}', '{"imports": {"a": 1}}', '{"imports": [1, null]}',
             '{"imports": ["json"]}', "[" * 100_000, '{"imports": ["' + "x" * 100_000 + '"]}', b"\xff\xfe"],
)  # fmt: skip
def test_what_names_no_module_passes(tmp_path: Path, card: str | bytes | None) -> None:
    if card is not None:
        (tmp_path / "encoder.json").write_bytes(card if isinstance(card, bytes) else card.encode())
    check_imported(tmp_path)


def test_a_module_that_is_not_imported_is_named_and_stays_so(tmp_path: Path) -> None:
    (tmp_path / "encoder.json").write_text('{"imports": ["json", "my_parts_that_nobody_has"]}')
    with pytest.raises(UserError, match="give --import my_parts_that_nobody_has"):
        check_imported(tmp_path)


def test_a_recipe_of_own_parts_needs_no_import() -> None:
    assert used_modules(load_recipe("simsiam")) == []
