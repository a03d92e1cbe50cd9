"""The first remedy of each alarm, run as typed: does the run still collapse?

    python -m experiments.guard.trial             # adds what is missing to records.json.gz

Of forced runs of the calibration half, on digits, that have collapsed and in which the guard said so.
"""

from __future__ import annotations

import gzip
import json
import shlex
import time
from dataclasses import replace
from typing import Any

import torch

from experiments.guard.outcome import Outcome, outcomes, replayed
from experiments.guard.record import record
from experiments.guard.records import RECORDS, read, rounded
from ssl_zoo.training.recipe_facts import recipe_facts


def chosen() -> list[Outcome]:
    """Return the runs whose first remedy is tried."""
    return [
        each
        for each in outcomes()
        if not each.setting.held_out and each.setting.forced and each.setting.data != "speech"
        and each.truth.state == "collapsed" and each.alarm is not None
    ]  # fmt: skip


def tried(each: Outcome) -> dict[str, Any]:
    """Return the record of a run with its first remedy, without the checks."""
    facts = recipe_facts(each.setting.recipe())
    alarm = replayed(each.setting, each.record, facts)
    assert alarm is not None
    remedy = alarm.remedies[0]
    words = shlex.split(remedy.partition(": ")[2])
    overrides = tuple(word for word in words if word != "-s")
    found = rounded(record(replace(each.setting, change=(*each.setting.change, *overrides))))
    again = replayed(each.setting, found)
    del found["checks"]
    return {**found, "name": each.setting.name, "remedy": remedy, "kind": again.kind if again else ""}


def main() -> None:
    """Try what has not been tried yet, and keep it after each run."""
    content = read()
    done = {each["name"]: each for each in content.get("trial", [])}
    for each in chosen():
        if each.setting.name in done:
            continue
        started = time.perf_counter()
        done[each.setting.name] = tried(each)
        content["trial"] = list(done.values())
        RECORDS.write_bytes(gzip.compress(json.dumps(content, separators=(",", ":")).encode(), mtime=0))
        print(f"{each.setting.name}: {time.perf_counter() - started:.1f} s", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
