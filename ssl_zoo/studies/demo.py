"""The demo: SimSiam on handwritten digits with and without its stop-gradient, a table and a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ssl_zoo.report.aggregate import comparison_table
from ssl_zoo.report.html import write_report
from ssl_zoo.report.overview import write_overview
from ssl_zoo.report.results import expectation_lines, options, write_results
from ssl_zoo.report.verdict import verdict_lines
from ssl_zoo.runs.atomic import check_place
from ssl_zoo.studies.execute import interrupted, run_settings
from ssl_zoo.studies.run import BASE, experiments_of, settings_of

EXPERIMENT = "digits/simsiam"
NAMES = {"simsiam": "SimSiam", "no_stop_gradient": "SimSiam without stop-gradient"}
ACCURACIES = {"few_shot": "10 labels per class", "knn": "kNN", "linear": "linear"}


def run_demo(
    out: Path, *, seeds: Sequence[int] = (0,), overrides: Sequence[str] = (), log: Callable[[str], None] = print
) -> dict[str, Any]:
    """Train SimSiam on the embedded digits, once as published and once without its stop-gradient.

    Args:
        out: folder of the runs, of RESULTS.md, demo.png and report.html.
        seeds: of the runs.
        overrides: dotted keys on both recipes.
        log: prints a line for the user.

    Returns:
        `status`, `table`, `verdicts` and `expectations` (one line each), `report` and `results` (paths), `summaries` by
        run folder; of an interrupted demo, `status` and `summaries`.

    Raises:
        TrainingFailed: a run broke off.
    """
    settings = settings_of(experiments_of(EXPERIMENT), (BASE, "no_stop_gradient"), seeds, overrides=overrides)
    settings = [replace(setting, name=NAMES[setting.name]) for setting in settings]
    check_place(out, "--out", folder=True)
    groups = run_settings(settings, out, log)
    summaries = {str(run): s for group in groups for run, s in zip(group.runs, group.summaries, strict=True)}
    if interrupted(groups):
        return {"status": "interrupted", "summaries": summaries}
    expected = {setting.name: setting.expect for setting in settings}
    write_results(out / "RESULTS.md", EXPERIMENT, groups, expected, options(overrides))
    write_overview(
        groups,
        out / "demo.png",
        protocols=ACCURACIES,
        title="top-1 on held-out digits, %",
        metric="similarity_gap",
        metric_title="cosine of positive pairs minus random pairs",
    )
    report = write_report(groups, out / "report.html", "SimSiam with and without stop-gradient, on handwritten digits")
    return {
        "status": "done",
        "table": comparison_table(groups),
        "verdicts": verdict_lines(groups),
        "expectations": expectation_lines(groups, expected),
        "report": str(report),
        "results": str(out / "RESULTS.md"),
        "summaries": summaries,
    }
