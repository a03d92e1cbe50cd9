"""Tables and pictures from summaries: what a number looks like, what is a mean of what, and that pictures are drawn."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ssl_zoo.report.aggregate import Group, comparison_table, environment_lines, settings_table
from ssl_zoo.report.heatmap import write_heatmap
from ssl_zoo.report.overview import write_overview
from ssl_zoo.report.table import cell, columns, markdown, results_table, summary_table

ENVIRONMENT = {
    "hardware": "a chip", "precision": "fp32", "memory_format": "contiguous", "python": "3.11", "ssl_zoo": "0.1.0",
    "torch": "2.9", "torchvision": "0.24",
}  # fmt: skip


def summary(top1: float, status: str = "done", seed: int = 0, step: int | None = None) -> dict[str, Any]:
    measured = {"knn": {"top1": top1}, "label_free": {"std": 0.5, "effective_rank": 20.0}}
    return {
        "status": status, "seed": seed, "steps": 10, "epochs": 2.0, "train_s": 4.0, "samples_per_s": 100.0,
        "metrics": measured, "baselines": {"raw": {"knn": {"top1": 0.3}}, "untrained": {"knn": {"top1": 0.2}}},
        "collapse": {"status": status, "reason": "it fell" if step else None, "step": step, "metrics": {}},
        "environment": ENVIRONMENT,
    }  # fmt: skip


def group(root: Path, name: str, *summaries: dict[str, Any]) -> Group:
    """A group with a run folder a summary, each with a few logged steps."""
    runs = []
    for number in range(len(summaries)):
        run = root / f"{name}-{number}"
        run.mkdir()
        records = [
            {"step": s, "loss": 1 / s, "embedding": {"std": 0.1 * s, "similarity_gap": 0.05 * s}} for s in (1, 5, 10)
        ]
        (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        runs.append(run)
    return Group(name, tuple(runs), summaries)


@pytest.mark.parametrize(
    "metric, value, spread, shown",
    [("top1", 0.4567, None, "45.7"), ("top1", 0.4567, 0.0123, "45.7 +- 1.2"), ("std", 0.3141, None, "0.31"),
     ("effective_rank", 107.44, None, "107.4"), ("top1", None, None, "-")],
)  # fmt: skip
def test_accuracies_are_in_percent_and_others_as_they_are(metric, value, spread, shown) -> None:
    assert cell(metric, value, spread) == shown


def test_known_metrics_come_first_and_a_protocols_own_spread_is_no_column() -> None:
    found = columns([{"label_free": {"std": 1.0}}, {"mine": {"f1": 1.0}, "few_shot": {"top1": 1.0, "std": 0.1}}])
    assert found == [("few_shot", "top1"), ("label_free", "std"), ("mine", "f1")]


def test_a_markdown_table_is_aligned() -> None:
    lines = markdown(["name", "x"], [["a", "1"], ["longer", "22222"]]).splitlines()
    assert lines[1] == "|--------|------:|" and len({len(line) for line in lines}) == 1


def test_a_runs_table_has_a_row_a_representation() -> None:
    text = summary_table(summary(0.9))
    assert [line.split("|")[1].strip() for line in text.splitlines()[2:5]] == [
        "raw input", "untrained encoder", "trained encoder",
    ]  # fmt: skip
    assert "90.0" in text and text.endswith("collapse: done")
    assert "untrained" not in results_table({"encoder": {"knn": {"top1": 0.5}}})


def test_a_group_is_the_mean_of_its_seeds_with_their_spread(tmp_path: Path) -> None:
    two = group(tmp_path, "two", summary(0.8), summary(0.9, seed=1))
    mixed = group(tmp_path, "mixed", summary(0.5), summary(0.5, "collapsed", 1))
    lines = comparison_table([two, mixed]).splitlines()
    assert "30.0 +- 0.0" in lines[2] and "20.0 +- 0.0" in lines[3]
    assert [each.strip() for each in lines[4].split("|")[1:-1]] == [
        "two", "85.0 +- 7.1", "0.50 +- 0.00", "20.0 +- 0.0", "done", "2",
    ]  # fmt: skip
    assert "1 done, 1 collapsed" in lines[5]
    assert "10" in settings_table([two]) and len(environment_lines([two, mixed])) == 1


def test_pictures_are_drawn_also_where_cells_are_missing(tmp_path: Path) -> None:
    names = ["a.x.r", "a.y.s", "b.x.s"]
    groups = [group(tmp_path, name, summary(0.1 + i / 4, "collapsed" if i else "done")) for i, name in enumerate(names)]
    axes = {"first": ["a", "b"], "second": ["x", "y"], "third": ["r", "s"]}
    write_heatmap(tmp_path / "new" / "heatmap.png", axes, groups, "title")
    panels = {"title": "accuracy", "metric": "similarity_gap", "metric_title": "gap"}
    write_overview(groups, tmp_path / "overview.png", protocols={"knn": "kNN"}, **panels)
    for path in (tmp_path / "new" / "heatmap.png", tmp_path / "overview.png"):
        picture = Image.open(path).convert("L")
        assert min(picture.size) > 300 and len(picture.getcolors(256) or []) > 20
