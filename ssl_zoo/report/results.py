"""RESULTS.md of a study: tables of the run files, with n, hardware and versions."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ssl_zoo.report import expectations as expect
from ssl_zoo.report import relations
from ssl_zoo.report.aggregate import Group, comparison_table, environment_lines, settings_table
from ssl_zoo.report.table import CHANCE, code, escaped
from ssl_zoo.report.verdict import verdict_lines
from ssl_zoo.runs.folder import write_atomically

NOTE = (
    "Generated from the runs' `summary.json`; do not edit. Accuracies in percent, of the last step, on the test split, "
    "as mean +- sample standard deviation over the `n` seeds. `k` is the number of neighbours in kNN, chosen for "
    "each representation and seed on a held-out part of train. `std` is the spread of the normalised features (1 is "
    "isotropic, 0 a point), `eff. rank` their effective rank."
)

RETRIEVAL_NOTE = (
    "`A to B R@k` is the share of samples whose B is among the k nearest to what their A predicts, among those of all "
    "test samples; `median rank` is its median rank."
)
VIEW_NOTE = (
    "`view R@1` is the share of samples whose other augmented view is the nearest among those of many test samples."
)
CHANCE_NOTE = "The row `chance` is what mere chance would give."


def notes(groups: Sequence[Group]) -> list[str]:
    """Return what the columns of the groups' table mean."""
    found = [group.results(name) for group in groups for name in ("encoder", "untrained", "raw")]
    metrics = {metric for each in found for results in each for values in results.values() for metric in values}
    chance = any(metric.endswith(CHANCE) for metric in metrics)
    ranks = any(metric.endswith("_median_rank") for metric in metrics)
    views = any("view_retrieval" in protocol for each in found for results in each for protocol in results)
    return [
        NOTE,
        *([VIEW_NOTE] if views else []),
        *([RETRIEVAL_NOTE] if ranks else []),
        *([CHANCE_NOTE] if chance else []),
        *version_notes(groups),
    ]


def version_notes(groups: Sequence[Group]) -> list[str]:
    """Return a sentence with the protocols and their versions, where the runs have them."""
    found: dict[str, set[int]] = {}
    for group in groups:
        for summary in group.summaries:
            for name, version in (summary.get("protocol_versions") or {}).items():
                found.setdefault(name, set()).add(version)
    if not found:
        return []
    each = [f"{escaped(name)} {' and '.join(f'v{v}' for v in sorted(of))}" for name, of in found.items()]
    mixed = any(len(of) > 1 for of in found.values())
    return [f"Protocols: {', '.join(each)}." + (" Numbers of different versions do not compare." if mixed else "")]


def expectation_lines(
    groups: Sequence[Group],
    expected: Mapping[str, Sequence[str]],
    peers: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> list[str]:
    """Return a line for each expectation: the number of runs on which it holds, and of those that cannot be judged.

    Args:
        groups: the runs, by setting.
        expected: the expectations of each setting, by its name.
        peers: {setting: {name of a variant in a relation: the setting that it means}}.

    Raises:
        UserError: a line is no expectation.
    """
    lines = []
    by_name = {group.name: group.summaries for group in groups}
    for group in groups:
        for line in expected.get(group.name, ()):
            if relations.is_relation(line):
                others = {peer: by_name.get(name, ()) for peer, name in peers.get(group.name, {}).items()}
                found = relations.judged(line, group.summaries, others)
                word = "FAILS" if found.verdict == "fails" else found.verdict
                counted = f"{relations.numbers(found, line)}, {found.seeds} seeds"
                lines.append(f"- {escaped(group.name)}: {code(line)} {word} ({counted})")
                continue
            verdicts = [verdict_on_run(line, summary) for summary in group.summaries]
            counts = {word: verdicts.count(word) for word in ("holds", "not finished", "not measured")}
            open_ones = [f"{num} {word}" for word, num in counts.items() if num and word != "holds"]
            counted = ", ".join([f"{counts['holds']} of {len(verdicts)} runs", *open_ones])
            lines.append(f"- {escaped(group.name)}: {code(line)} {_mark(verdicts)} ({counted})")
    return lines


def _mark(verdicts: Sequence[str]) -> str:
    """Return the verdict on all runs: that of the worst."""
    if "fails" in verdicts:
        return "FAILS"
    return next((word for word in ("not finished", "not measured") if word in verdicts), "holds")


def verdict_on_run(line: str, summary: Mapping[str, Any]) -> str:
    """Return `holds`, `fails`, `not finished` or `not measured` for an expectation and a run's summary.

    Raises:
        UserError: the line is no expectation.
    """
    finished = summary.get("status") in ("done", "collapsed")
    if not finished and summary.get("status") != "failed":
        expect.parsed(line)
        return "not finished"
    try:
        return "holds" if expect.holds(line, summary) else "fails"
    except expect.NotMeasured:
        return "not measured" if finished else "not finished"


def results_text(
    title: str,
    groups: Sequence[Group],
    expected: Mapping[str, Sequence[str]],
    changed: Sequence[str] = (),
    peers: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    findings: Sequence[str] = (),
) -> str:
    """Return the Markdown of a study's results; see `write_results`."""
    parts = [f"# {escaped(title)}", " ".join(notes(groups))]
    if changed:
        parts += ["Differs from the recipes; changed by: " + " ".join(map(code, changed)) + "."]
    parts += [*findings, *(["## All settings"] if findings else []), comparison_table(groups)]
    verdicts = [] if findings else verdict_lines(groups)  # a paper's findings are what such a study is about
    if verdicts:
        parts += ["## Verdict", "\n".join(verdicts)]
    lines = expectation_lines(groups, expected, peers)
    if lines:
        parts += ["## Expectations", "\n".join(lines)]
    parts += ["## Cost", settings_table(groups)]
    environments = environment_lines(groups)
    if environments:
        parts += ["Measured on: " + "; and on ".join(environments) + "."]
    return "\n\n".join(parts) + "\n"


def options(overrides: Sequence[str], data: str | Sequence[str] | None = None) -> list[str]:
    """Return overrides and data as options of the command line: `-s KEY=VALUE`, `--data SRC`.

    A path is shortened to its last name: the folders before it are private to a machine.
    """
    given = [f"-s {shlex.quote(override)}" for override in overrides]
    places = [data] if isinstance(data, str) else list(data or ())
    return [*(f"--data {shlex.quote(Path(x).name if Path(x).exists() else x)}" for x in places), *given]


def write_results(
    path: Path,
    title: str,
    groups: Sequence[Group],
    expected: Mapping[str, Sequence[str]],
    changed: Sequence[str] = (),
    peers: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    findings: Sequence[str] = (),
) -> None:
    """Write RESULTS.md.

    Args:
        path: the file.
        title: its heading.
        groups: the runs, by setting; unfinished ones are marked.
        expected: the expectations of each setting, by its name.
        changed: the options that changed all recipes, see `options`.
        peers: the settings that relations between variants name, see `expectation_lines`.
        findings: paragraphs to put before the table of all settings, see `ssl_zoo.report.findings`.

    Raises:
        UserError: a line of `expected` is no expectation.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, results_text(title, groups, expected, changed, peers, findings))
