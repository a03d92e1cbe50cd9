"""Comparisons with small runs: what is written equals the run files, kills and failures, dry runs, refusals."""

import json
import re
import statistics
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.report.comparison import LABEL_FREE_NOTE
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.studies.compare import dry_comparison, run_comparison
from tests.killing import forked, in_child, kill_at

TINY = """\
method: tiny
encoder: {name: convnet, widths: [4, 8]}
projector: {name: mlp, dims: [8, 8], last_norm: batch}
predictor: {name: mlp, dims: [4, 8]}
target: stop_gradient
objective: negative_cosine
views: {name: augment, size: 12, hue: 0.0, saturation: 0.0, grey: 0.0, blur: 0.0, mean: [0.5], std: [0.5]}
data: {source: {name: digits, placements: 1}, num_workers: 0}
training: {batch_size: 16, max_steps: 9, log_every: 1}
evaluation: {limit: 60, protocols: [knn, label_free], baselines: false}
guard: {policy: "off"}
"""

TIMES = {"wall_s", "train_s", "samples_per_s", "data_wait_fraction", "peak_memory_bytes"}


def silent(line: str) -> None:
    """Say nothing."""


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return str(path)


def without_times(out: Path) -> dict[str, dict[str, Any]]:
    return {
        path.parent.name: {key: value for key, value in json.loads(path.read_text()).items() if key not in TIMES}
        for path in sorted(out.glob("*/summary.json"))
    }


class Cells(HTMLParser):
    """Collects the cells of the tables."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag == "td"
        self.cells += [""] if self.inside else []

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "td"

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.cells[-1] += data


def test_what_is_shown_equals_the_run_files(tiny: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options: dict[str, Any] = {
        "seeds": (0, 1), "overrides": ["b:target=ema"], "max_steps": 4, "sweep": ["training.base_lr=0.01,0.5"],
        "out": out,
    }  # fmt: skip
    dry = dry_comparison([f"a={tiny}", f"b={tiny}"], log=silent, **options)
    assert [(row.runs, row.done, row.steps, row.samples) for row in dry.rows] == [(2, 0, 4, 64)] * 4
    assert not out.exists() and dry.seconds > 0
    found = run_comparison([f"a={tiny}", f"b={tiny}"], log=silent, **options)
    files = {path.parent.name: json.loads(path.read_text()) for path in out.glob("*/summary.json")}
    assert len(files) == 8 and all(each["steps"] == 4 and each["peak_memory_bytes"] > 0 for each in files.values())

    held_out = json.loads((out / "held_out.json").read_text())
    assert set(held_out) == set(files) and all(0 < score < 1 for score in held_out.values())
    tried, page, text = {}, Cells(), (out / "RESULTS.md").read_text()
    page.feed((out / "report.html").read_text())
    for group in found.groups:
        name, lr = re.fullmatch(r"([ab]) \(base_lr=([\d.]+); best of 2\)", group.name).groups()
        tried[name] = {
            lr: statistics.fmean(held_out[f"{name}-base_lr-{lr}-seed{seed}"] for seed in (0, 1))
            for lr in ("0.01", "0.5")
        }
        assert tried[name][lr] == max(tried[name].values())
        runs = [files[run.name] for run in group.runs]
        assert [run["seed"] for run in runs] == [0, 1] and [dict(each) for each in group.summaries] == runs
        top1 = [100 * run["metrics"]["knn"]["top1"] for run in runs]
        cell = f"{statistics.fmean(top1):.1f} +- {statistics.stdev(top1):.1f}"
        assert cell in next(line for line in text.splitlines() if line.startswith(f"| {group.name} "))
        assert cell.replace("+-", "±") in page.cells
    shown = [cell for each in found.sections() if each.table for row in each.table.rows for cell in row]
    assert len(shown) > 40 and {cell.replace("+-", "±") for cell in shown} <= set(page.cells)
    first, second = ([run["metrics"]["knn"]["top1"] for run in group.summaries] for group in found.groups)
    difference = 100 * statistics.fmean(b - a for a, b in zip(first, second, strict=True))
    assert f"| {difference:+.1f} (" in text and "tuned over 2 settings with all seeds" in text
    plain = json.loads((out / "comparison.json").read_text())
    means = [each["mean"] for each in plain["differences"] if each["protocol"] == "knn"]
    assert means == [pytest.approx(difference / 100)]

    before = {path: path.stat().st_mtime_ns for path in out.glob("*/summary.json")}
    run_comparison([f"a={tiny}", f"b={tiny}"], log=silent, **options)
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/summary.json")} == before
    done = dry_comparison([f"a={tiny}", f"b={tiny}"], log=silent, **options)
    assert {(row.source, row.done) for row in done.rows} == {("finished runs", 2)} and done.seconds == 0
    for changes, words in {
        ("max_steps", 5): r"budget = 'max_steps 4', and now it is 'max_steps 5'",
        ("seeds", (0,)): r"seeds = \[0, 1\], and now it is \[0\]",
        ("overrides", ("b:target=shared",)): r"b \(base_lr=0.01\).target",
        ("threads", 7): "--threads",
    }.items():
        with pytest.raises(UserError, match=words):
            run_comparison([f"a={tiny}", f"b={tiny}"], log=silent, **{**options, changes[0]: changes[1]})


def _killed(tiny: str, folder: Path) -> None:
    """Kill a comparison by SIGKILL at several of its changes to files, and let the same call go on."""

    def once(out: Path) -> Any:
        return run_comparison([f"a={tiny}", f"b={tiny}"], overrides=["b:target=ema"], max_steps=3, out=out, log=silent)

    seen = kill_at(folder / "whole", 10**9)
    once(folder / "whole")
    changes = len(seen)
    out = folder / "out"
    for part in (0.3, 0.6, 0.95):

        def killed(part: float = part) -> None:
            kill_at(out, int(part * changes))
            once(out)

        forked(killed)
    once(out)
    assert without_times(out) == without_times(folder / "whole") and len(without_times(out)) == 2
    lines = [(folder / name / "RESULTS.md").read_text().partition("## Runs")[0] for name in ("whole", "out")]
    assert lines[0] == lines[1]


def test_a_killed_comparison_goes_on_to_the_same_result(tiny: str, tmp_path: Path) -> None:
    in_child(_killed, tiny, tmp_path)


def test_runs_at_once_give_the_same_and_a_failure_leaves_the_others_alone(tiny: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"overrides": ["bad:training.base_lr=1e30"], "max_steps": 3, "threads": 1, "log": silent}
    several = run_comparison([f"bad={tiny}", f"good={tiny}"], parallel=2, out=tmp_path / "several", **options)
    assert [group.status for group in several.groups] == ["failed", "done"]
    (reason,) = [summary["reason"] for summary in several.groups[0].summaries]
    assert "not finite" in reason and reason.rstrip(".") in (tmp_path / "several" / "RESULTS.md").read_text()
    alone = run_comparison([f"bad={tiny}", f"good={tiny}"], parallel=1, out=tmp_path / "alone", **options)
    assert [group.status for group in alone.groups] == ["failed", "done"]
    good = [without_times(tmp_path / name)["good-seed0"] for name in ("several", "alone")]
    assert good[0] == good[1]
    losses = [
        [record["loss"] for record in RunFolder(tmp_path / name / "good-seed0").read_metrics()]
        for name in ("several", "alone")
    ]
    assert losses[0] == losses[1]


def test_without_labels_nothing_is_chosen_and_it_says_so(tiny: str, tmp_path: Path) -> None:
    from PIL import Image

    for number in range(40):
        Image.new("L", (14, 14), 5 * number).save(tmp_path / f"{number}.png")
    found = run_comparison(
        [tiny], data=str(tmp_path), sweep=["training.base_lr=0.01,0.1"], max_steps=2, out=tmp_path / "out", log=silent
    )
    assert [group.name for group in found.groups] == ["tiny (base_lr=0.01)", "tiny (base_lr=0.1)"]
    text = (tmp_path / "out" / "RESULTS.md").read_text()
    assert "No setting was chosen" in text and LABEL_FREE_NOTE in text
    assert not any("top1" in values for each in found.groups for values in each.results()[0].values())


def test_a_mistake_is_told_before_anything_is_trained(tiny: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="b: "):
        run_comparison(
            [f"a={tiny}", f"b={tiny}"], overrides=["b:predictor.dims=[4, 9]"], out=tmp_path / "o", log=silent
        )
    assert not (tmp_path / "o").exists()
