"""RESULTS.md of a study: tables generated from run files, with n, hardware and versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ssl_zoo import expect
from ssl_zoo.report.aggregate import Group, comparison_table, environment_lines, settings_table
from ssl_zoo.run_folder import write_atomically

NOTE = (
    "Generated from the runs' `summary.json`; do not edit. Accuracies in percent, of the last step, on the test split, "
    "as mean +- sample standard deviation over the `n` seeds. `k` is how many neighbours vote in kNN, chosen for "
    "each representation and seed on a held-out part of train. `std` is the spread of the normalised features (1 is "
    "isotropic, 0 a point), `eff. rank` their effective rank."
)


def expectation_lines(groups: Sequence[Group], expected: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a line for each expectation: on how many of the runs it holds."""
    lines = []
    for group in groups:
        for line in expected.get(group.name, ()):
            held = sum(expect.holds(line, summary) for summary in group.summaries)
            mark = "holds" if held == len(group.summaries) else "FAILS"
            lines.append(f"- {group.name}: `{line}` {mark} ({held} of {len(group.summaries)} runs)")
    return lines


def results_text(title: str, groups: Sequence[Group], expected: Mapping[str, Sequence[str]]) -> str:
    """Return the Markdown of a study's results."""
    parts = [f"# {title}", NOTE, comparison_table(groups)]
    lines = expectation_lines(groups, expected)
    if lines:
        parts += ["## Expectations", "\n".join(lines)]
    parts += ["## Cost", settings_table(groups)]
    parts += ["Measured on: " + "; and on ".join(environment_lines(groups)) + "."]
    return "\n\n".join(parts) + "\n"


def write_results(path: Path, title: str, groups: Sequence[Group], expected: Mapping[str, Sequence[str]]) -> None:
    """Write RESULTS.md."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, results_text(title, groups, expected))
