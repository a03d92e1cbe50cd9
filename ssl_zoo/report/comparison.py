"""The results of a comparison: tables and sentences, as Markdown, for the page, and as plain values."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssl_zoo.report.aggregate import Group, comparison, environment_lines, outcome, settings
from ssl_zoo.report.paired import paired_differences, paired_table
from ssl_zoo.report.progress import best_and_last, progress_table
from ssl_zoo.report.results import notes
from ssl_zoo.report.table import Table, code, escaped
from ssl_zoo.report.verdict import verdict_sentences, verdicts_of

PAIRED_NOTE = (
    "Against {first}, seed by seed: mean of the differences and, in brackets, Student's interval at 95 % (n - 1 "
    "degrees of freedom; n is the number of seeds; one seed has none). Shares in points of percent. The intervals are "
    "not corrected for the number of comparisons, and are of the seeds alone: all runs share their test samples."
)
PROGRESS_NOTE = (
    "Best and last evaluation during the training. The best is chosen on what the protocol tests on and so too good; "
    "all other tables are of the last step."
)
LABEL_FREE_NOTE = (
    "Without labels nothing here says which recipe is better. Spread and rank show a collapse; between methods they do "
    "not rank the encoders (rank metrics hold within one method only, arXiv 2510.17299), and cluster-based scores "
    "track accuracy for SimCLR and MoCo and not for SimSiam (arXiv 2409.06612). Label some samples to compare."
)
COST_NOTE = (
    "Means over the seeds: time of training without the evaluation; peak memory of the device, or, on a CPU, of the "
    "process that trains."
)


@dataclass(frozen=True)
class Section:
    """A part of the results: a heading, sentences, and a table where there is one."""

    heading: str
    text: Sequence[str] = ()
    table: Table | None = None

    def markdown(self) -> str:
        """Return it as Markdown."""
        parts = [f"## {escaped(self.heading)}"] if self.heading else []
        parts += [escaped(line) for line in self.text]
        parts += [self.table.markdown()] if self.table is not None else []
        return "\n\n".join(parts)


@dataclass(frozen=True)
class Tried:
    """One setting of a sweep.

    Attributes:
        recipe: what was tuned.
        group: its runs.
        scores: of the runs, by which settings are chosen; None where a run has none.
        chosen: whether it is the recipe's choice.
    """

    recipe: str
    group: Group
    scores: Sequence[float | None]
    chosen: bool


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes:
        groups: one per recipe, that of its chosen setting; all settings where none was chosen.
        budget: a sentence on how long each run trains.
        tried: the settings of a sweep; empty without one.
        rule: how settings were chosen; empty without a sweep.
        changed: the options that changed recipes, as typed.
        max_seconds: of training per run, where the budget is a time.
    """

    groups: Sequence[Group]
    budget: str
    tried: Sequence[Tried] = ()
    rule: str = ""
    changed: Sequence[str] = ()
    max_seconds: float | None = None

    @property
    def has_labels(self) -> bool:
        """Whether anything was measured with labels."""
        return any(
            "top1" in values or metric_of_labels(protocol)
            for group in self.groups
            for results in group.results()
            for protocol, values in results.items()
        )

    def sections(self) -> list[Section]:
        """Return what is said beside the table of results and the costs."""
        verdicts = verdict_sentences(self.groups)
        found = [Section("Verdict", verdicts)] if verdicts else []
        if not self.has_labels and any(any(group.results()) for group in self.groups):
            found.append(Section("No labels", [LABEL_FREE_NOTE]))
        if slow := self._over_time():
            found.append(Section("Over the time", [slow]))
        differences = paired_differences(self.groups)
        if differences:
            note = PAIRED_NOTE.format(first=self.groups[0].name)
            found.append(Section("Paired differences", [note], paired_table(differences)))
        if (progress := progress_table(self.groups)) is not None:
            found.append(Section("Best and last epoch", [PROGRESS_NOTE], progress))
        if self.tried:
            found.append(Section("Settings tried", [self.rule], tried_table(self.tried)))
        found.append(Section("Runs", table=runs_table(self.groups)))
        return found

    def _over_time(self) -> str:
        """Return a sentence on the runs that took longer than the budget; empty where none did."""
        runs = [pair for group in self.groups for pair in zip(group.runs, group.summaries, strict=True)]
        over = [
            f"{run.name} ({summary['train_s']:.0f} s)"
            for run, summary in runs
            if self.max_seconds is not None and (summary.get("train_s") or 0) > self.max_seconds
        ]
        if not over:
            return ""
        return (
            f"{len(over)} of {len(runs)} runs trained for longer than {self.max_seconds:g} s, since the machine was "
            f"slower than when its speed was measured: {', '.join(over)}."
        )

    def markdown(self) -> str:
        """Return the text of RESULTS.md."""
        parts = ["# Comparison", f"Budget: {escaped(self.budget)}.", " ".join(notes(self.groups))]
        if self.changed:
            parts += ["Differs from the recipes; changed by: " + " ".join(map(code, self.changed)) + "."]
        parts += [comparison(self.groups).markdown()]
        parts += [section.markdown() for section in self.sections()]
        parts += ["## Cost", COST_NOTE, settings(self.groups).markdown()]
        environments = environment_lines(self.groups)
        if environments:
            parts += ["Measured on: " + "; and on ".join(environments) + "."]
        return "\n\n".join(parts) + "\n"

    def terminal(self) -> str:
        """Return what is printed at the end: the results, the differences, and what was tried."""
        shown = [comparison(self.groups).markdown()]
        for section in self.sections():
            if section.heading != "Runs":
                shown += [section.heading + ":", *section.text]
                shown += [section.table.markdown()] if section.table is not None else []
        return "\n\n".join(shown)

    def plain(self) -> dict[str, Any]:
        """Return the comparison as plain values, for JSON."""
        return {
            "budget": self.budget,
            "recipes": {group.name: _plain_runs(group) for group in self.groups},
            "differences": [each.plain() for each in paired_differences(self.groups)],
            "tried": [
                {"recipe": each.recipe, "setting": each.group.name, "held_out": list(each.scores),
                 "chosen": each.chosen, "runs": [str(run) for run in each.group.runs]}
                for each in self.tried
            ],
            "verdicts": verdicts_of(self.groups),
            "rule": self.rule,
            "notes": [] if self.has_labels else [LABEL_FREE_NOTE],
        }  # fmt: skip


def metric_of_labels(protocol: str) -> bool:
    """Return whether a registered protocol needs labels; False for one that is not known."""
    from ssl_zoo.errors import UserError
    from ssl_zoo.evaluation.contract import protocol_class
    from ssl_zoo.report.table import of_member

    try:
        return protocol_class(of_member(protocol)[1]).needs_labels
    except UserError:
        return False


def _plain_runs(group: Group) -> list[Mapping[str, Any]]:
    return [
        {"run": str(run), **summary, "in_training": best_and_last(run)}
        for run, summary in zip(group.runs, group.summaries, strict=True)
    ]


def runs_table(groups: Sequence[Group]) -> Table:
    """Return a table of all runs: status, steps, time, and why a run failed or the guard spoke."""
    rows = []
    for group in groups:
        for run, summary in zip(group.runs, group.summaries, strict=True):
            reason = summary.get("reason") or (summary.get("collapse") or {}).get("reason") or ""
            numbers = [_number(summary.get("steps"), 0), _number(summary.get("epochs"), 1)]
            times = [_number(summary.get("train_s"), 1), _number(summary.get("samples_per_s"), 0)]
            rows.append([run.name, outcome(summary), *numbers, *times, str(reason)])
    return Table(["run", "status", "steps", "epochs", "training s", "samples/s", "reason"], rows)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def tried_table(tried: Sequence[Tried]) -> Table:
    """Return a table of the settings of a sweep: the score that they were chosen by, and the choice."""
    rows = []
    for each in tried:
        scores = [score for score in each.scores if score is not None]
        mean = f"{100 * statistics.fmean(scores):.1f}" if scores else "-"
        mean += f" +- {100 * statistics.stdev(scores):.1f}" if len(scores) > 1 else ""
        num = f"{len(scores)} of {len(each.scores)}" if len(scores) < len(each.scores) else str(len(scores))
        rows.append([each.group.name, mean, num, each.group.status, "chosen" if each.chosen else ""])
    return Table(["setting", "held-out kNN, %", "n", "status", ""], rows)
