"""The sentences of errors: one line, printable, of bounded length."""

import pytest

from ssl_zoo.errors import LONGEST, TrainingFailed, UserError


@pytest.mark.parametrize("kind", [UserError, TrainingFailed])
def test_values_of_any_length_and_kind_make_one_printable_line(kind):
    told = str(kind(f"unknown encoder '{'x' * 5000}' in a\nb\udce9; take another."))
    assert told.isprintable() and told.endswith(r"in a\nb\xe9; take another.")
    assert told.startswith("unknown encoder 'xxx") and len(told) < LONGEST + 60
