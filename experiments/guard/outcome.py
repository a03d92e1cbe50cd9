"""What became of a run: what the guard says of its record, and what is true."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.guard.records import read
from experiments.guard.settings import Setting, settings
from experiments.guard.verdict import Verdict, verdict
from ssl_zoo.collapse.guard import Alarm
from ssl_zoo.collapse.members import guard_of

LATE = 0.1


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        setting: of the run.
        record: of the run.
        alarm: of the guard, or None.
        kind: of the alarm, or empty; of a loss that is not finite, which ends a run, `non-finite`.
        step: of the alarm.
        truth: by the held-out samples.
    """

    setting: Setting
    record: Mapping[str, Any]
    alarm: Alarm | None
    kind: str
    step: int | None
    truth: Verdict

    @property
    def spent(self) -> float:
        """The part of the run that is spent in collapse before the alarm; of a run without one, until its end."""
        if self.truth.step is None:
            return 0.0
        steps = self.record["steps"]
        return max(0, (steps if self.step is None else self.step) - self.truth.step) / steps

    @property
    def in_time(self) -> bool:
        """Whether there was an alarm before 10 % of the run was spent in collapse."""
        return bool(self.kind) and self.spent <= LATE

    @property
    def right_kind(self) -> bool:
        """Whether the alarm was of a kind that is right for what was done."""
        return self.kind in self.setting.kinds

    def metric(self, name: str) -> tuple[float, float] | None:
        """Return what was measured of the held-out samples, of the untrained network and at the end."""
        first, last = self.record["truth"][0][1], self.record["truth"][-1][1]
        return (first[name], last[name]) if name in first and name in last else None


def terms_in(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the terms of a run's objective; those that were 0 at all checks have no weight."""
    checks = [check[5] for check in record["checks"]]
    return [{"name": name, "weight": float(any(c[name] for c in checks))} for name in (checks[0] if checks else ())]


def replayed(setting: Setting, record: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> Alarm | None:
    """Return the alarm of the guard on the measurements of a run, with the facts of its recipe for the remedies."""
    members = ("image", "audio") if setting.data == "pairs" else ()
    facts = {"terms": terms_in(record)} if facts is None else facts
    guard = guard_of(members, shrinks=record["shrinks"], recipe_facts=facts)
    for step, metrics, width, rows, *_ in record["checks"]:
        values = {key: math.nan if value is None else value for key, value in metrics.items()}
        last = step == record["steps"]
        alarm = guard.update(step, values, width, rows, last=last, progress=step / record["steps"])
        if alarm is not None:
            return alarm
    return None


def outcome(setting: Setting, record: Mapping[str, Any]) -> Outcome:
    """Return what became of a run. A learning rate of 1e-9 is no learning, from the first step on."""
    alarm = replayed(setting, record)
    kind, step = (alarm.kind, alarm.step) if alarm else ("", None)
    if alarm is None and record["ended"] != "done":
        kind, step = "non-finite", int(record["ended"].split()[1].rstrip(":"))
    truth = Verdict("collapsed", 0, ("no learning",)) if setting.kinds == ("no learning",) else verdict(record)
    return Outcome(setting, record, alarm, kind, step, truth)


def outcomes() -> list[Outcome]:
    """Return what became of all runs that are recorded."""
    records = {record["name"]: record for record in read()["runs"]}
    return [outcome(setting, records[setting.name]) for setting in settings() if setting.name in records]
