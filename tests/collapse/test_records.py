"""The guard on the recorded runs of `experiments/guard`: what it finds now is what `RESULTS.md` says."""

from experiments.guard.outcome import outcomes
from experiments.guard.records import HERE, read
from experiments.guard.settings import settings
from experiments.guard.table import counts


def test_a_change_of_the_guard_shows_in_the_results():
    rows = outcomes()
    assert len(rows) == len(read()["runs"]) == len({setting.name for setting in settings()}) == len(settings()) == 209
    assert "\n".join(counts(rows)) in (HERE / "RESULTS.md").read_text()
