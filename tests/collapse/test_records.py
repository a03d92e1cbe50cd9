"""The guard on the recorded runs of `experiments/guard`: no false alarm, and what `RESULTS.md` says."""

import re

from experiments.guard.records import HERE, read
from experiments.guard.settings import settings
from experiments.guard.table import COUNTS, counted, outcomes


def test_the_results_are_those_of_the_records_and_no_healthy_run_has_an_alarm():
    rows = outcomes()
    assert len(rows) == len(read()["runs"]) >= 15
    assert len({setting.name for setting in settings()}) == len(settings())
    text = (HERE / "RESULTS.md").read_text()
    for name, held_out in (("calibration", False), ("held out", True)):
        cells = counted([row for row in rows if row.setting.held_out == held_out])
        assert re.search(rf"^\| {name} \| {re.escape(cells)} \|$", text, re.M)
        assert dict(zip(COUNTS, cells.split(" | "), strict=True))["false alarms"] == "0"
