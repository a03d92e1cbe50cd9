"""The guard on the recorded runs of `experiments/guard`: what it finds now is what `RESULTS.md` says."""

import re

from experiments.guard.records import HERE, read
from experiments.guard.settings import settings
from experiments.guard.table import counted, outcomes


def test_a_change_of_the_guard_shows_in_the_results():
    rows = outcomes()
    assert len(rows) == len(read()["runs"]) == len({setting.name for setting in settings()}) == len(settings()) == 194
    text = (HERE / "RESULTS.md").read_text()
    for name, held_out in (("calibration", False), ("held out", True)):
        cells = counted([row for row in rows if row.setting.held_out == held_out])
        assert re.search(rf"^\| {name} \| {re.escape(cells)} \|$", text, re.M)
