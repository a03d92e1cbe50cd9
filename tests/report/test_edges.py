"""Reports of what is not as usual: unfinished runs, numbers that are null, names with markup, baselines that differ."""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

from ssl_zoo.errors import UserError
from ssl_zoo.report.aggregate import Group, comparison, comparison_table
from ssl_zoo.report.expectations import holds
from ssl_zoo.report.heatmap import write_heatmap
from ssl_zoo.report.html import write_report
from ssl_zoo.report.overview import write_overview
from ssl_zoo.report.results import expectation_lines, options, results_text
from ssl_zoo.report.table import Table, cell, cells, code, results_table

NASTY = [
    "$x^2$ and $y",
    "a|b",
    "two\nlines",
    "<script>alert(1)</script>",
    "_hidden",
    "caf\udce9",
    "漢字",
    "*a* `b` [c](d)",
]


def summary(top1: float | None, status: str = "done", seed: int = 0, k: int = 5, raw: float = 0.3) -> dict[str, Any]:
    return {
        "status": status,
        "seed": seed,
        "metrics": {"knn": {"top1": top1, "k": k}},
        "baselines": {"raw": {"knn": {"top1": raw, "k": 1}}, "untrained": {"knn": {"top1": raw / 2, "k": 1}}},
        "collapse": {"status": "ok", "reason": "", "step": 5 if status == "collapsed" else None, "metrics": {}},
        "data": {"source": {"name": "digits"}},
    }


UNFINISHED: list[dict[str, Any]] = [
    {**summary(None, "interrupted"), "metrics": {}, "baselines": {}}, {"status": "interrupted"}, {},
]  # fmt: skip


def group(root: Path, name: str, *summaries: dict[str, Any], size: int = 20, width: int = 8, flip: float = 0) -> Group:
    run = root / f"run{len(list(root.glob('run*')))}"
    run.mkdir()
    recipe = {
        "method": "mine",
        "data": {"source": {"name": "digits"}},
        "views": {"name": "augment", "size": size, "flip": flip},
        "encoder": {"name": "convnet", "width": width},
        "evaluation": {"limit": None},
    }
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    logged = [(1, None, None), (5, 0.5, 0.2)]
    records = [{"step": step, "loss": loss, "embedding": {"std": std}} for step, loss, std in logged]
    (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return Group(name, (run,) * len(summaries), summaries)


def rows(text: str) -> list[list[str]]:
    return [[each.strip() for each in re.split(r"(?<!\\)\|", line)[1:-1]] for line in text.splitlines()[2:]]


# The k of kNN


def test_the_k_that_were_chosen_stand_beside_the_accuracy(tmp_path: Path) -> None:
    seeds = [summary(0.8, k=20), summary(0.9, seed=1, k=5), summary(0.9, seed=2, k=20)]
    table = comparison([group(tmp_path, "mine", *seeds)])
    assert table.header == ["representation", "kNN", "k", "status", "n"]
    assert table.rows[0] == ["raw input", "30.0 +- 0.0", "1", "", "3"]
    assert table.rows[2] == ["mine", "86.7 +- 5.8", "5, 20", "done", "3"]
    one = {"encoder": {"knn": {"top1": 0.8, "k": 20}, "knn_2": {"top1": 0.5, "k": 1}}}
    header = results_table(one).splitlines()[0]
    assert [name.strip() for name in header.split("|")[2:-1]] == ["kNN", "k", "knn_2", "knn_2 k"]


# Baselines


def test_runs_on_the_same_data_share_their_baselines_once_a_seed(tmp_path: Path) -> None:
    groups = [group(tmp_path, name, summary(0.8), summary(0.9, seed=1)) for name in "ab"]
    found = comparison([*groups, group(tmp_path, "augmented", summary(0.7), flip=0.5)]).rows
    assert [(row[0], row[-1]) for row in found] == [
        ("raw input", "2"), ("untrained encoder", "2"), ("a", "2"), ("b", "2"), ("augmented", "1"),
    ]  # fmt: skip


def test_what_is_kept_for_the_report_makes_no_baseline_of_its_own(tmp_path: Path) -> None:
    groups = [group(tmp_path, name, summary(0.8)) for name in "ab"]
    path = groups[1].runs[0] / "recipe.yaml"
    path.write_text(path.read_text().replace("limit: null", "limit: null\n  report_samples: 0"))
    assert [row[0] for row in comparison(groups).rows] == ["raw input", "untrained encoder", "a", "b"]


def test_other_data_and_another_encoder_have_baselines_of_their_own(tmp_path: Path) -> None:
    groups = [
        group(tmp_path, "a", summary(0.8)),
        group(tmp_path, "wide", summary(0.8), width=16),
        group(tmp_path, "large", summary(0.8, raw=0.4), size=28),
    ]
    assert [row[:2] for row in comparison(groups).rows[:5]] == [
        ["raw input of a, wide", "30.0"],
        ["raw input of large", "40.0"],
        ["untrained encoder of a", "15.0"],
        ["untrained encoder of wide", "15.0"],
        ["untrained encoder of large", "20.0"],
    ]
    many = [group(tmp_path, f"m{i}", summary(0.8)) for i in range(4)]
    assert [row[0] for row in comparison([*many, groups[2]]).rows[:2]] == [
        "raw input of the others", "raw input of large",
    ]  # fmt: skip


# Runs that are not finished


@pytest.mark.parametrize("unfinished", UNFINISHED)
def test_a_run_that_is_not_finished_is_told_as_such(tmp_path: Path, unfinished: dict[str, Any]) -> None:
    groups = [group(tmp_path, "a", summary(0.8), unfinished), group(tmp_path, "b", unfinished)]
    expected = {"a": ["knn.top1 > 0.5", "status == done", "knn.top1 > 0.9"], "b": ["few_shot.top1 > 0.5"]}
    assert expectation_lines(groups, expected) == [
        "- a: `knn.top1 > 0.5` not finished (1 of 2 runs, 1 not finished)",
        "- a: `status == done` not finished (1 of 2 runs, 1 not finished)",
        "- a: `knn.top1 > 0.9` FAILS (0 of 2 runs, 1 not finished)",
        "- b: `few_shot.top1 > 0.5` not finished (0 of 1 runs, 1 not finished)",
    ]
    text = results_text("study", groups, expected)
    assert "80.0 (1 of 2)" in text
    assert "interrupted" in text if unfinished else "not finished" in text


def test_a_failed_run_fails_and_what_was_not_measured_is_no_mistake(tmp_path: Path) -> None:
    failed = {"status": "failed", "reason": "the loss is nan", "metrics": {}, "baselines": {}}
    groups = [group(tmp_path, "a", failed, summary(0.8))]
    assert expectation_lines(groups, {"a": ["status == done", "knn.top1 > 0.5", "linear.top1 > 0.5"]}) == [
        "- a: `status == done` FAILS (1 of 2 runs)",
        "- a: `knn.top1 > 0.5` not finished (1 of 2 runs, 1 not finished)",
        "- a: `linear.top1 > 0.5` not finished (0 of 2 runs, 1 not finished, 1 not measured)",
    ]


@pytest.mark.parametrize(
    "line", ["status == done + 1", "done + 1 == status", "status > 3", "status == 3", "status > done"]
)
def test_a_status_is_no_number(line: str) -> None:
    with pytest.raises(UserError, match="LEFT > RIGHT|as a number"):
        holds(line, summary(0.8))


def test_numbers_that_json_does_not_have_are_no_numbers(tmp_path: Path) -> None:
    assert cell("top1", None) == cell("top1", float("nan")) == cells("k", [None]) == cells("std", []) == "-"
    assert cells("top1", [0.5, None, 0.7, float("nan")]) == "60.0 +- 14.1 (2 of 4)"
    groups = [group(tmp_path, "a", summary(None), summary(0.5, "collapsed"))]
    assert "50.0 (1 of 2)" in comparison_table(groups)


# Names


def test_names_are_shown_as_they_are_in_markdown(tmp_path: Path) -> None:
    groups = [group(tmp_path, name, summary(0.8)) for name in NASTY]
    text = results_text("title", groups, {NASTY[1]: ["knn.top1 > 0.5"]}, options(["a=`b`|c"], "x y"))
    assert text.encode().decode() == text
    names = [row[0] for row in rows(comparison_table(groups))[2:]]
    assert names == [
        r"\$x^2\$ and \$y", r"a\|b", r"two\\nlines", r"\<script\>alert(1)\</script\>", "_hidden", r"caf\\xe9", "漢字",
        r"\*a\* \`b\` \[c\](d)",
    ]  # fmt: skip
    assert r"- a\|b: `knn.top1 > 0.5` holds (1 of 1 runs)" in text
    assert "changed by: `--data 'x y'` `` -s 'a=`b`|c' ``." in text
    assert code("a``b") == "``` a``b ```"


def test_a_page_and_pictures_show_names_as_they_are_and_runs_that_are_not_finished(tmp_path: Path) -> None:
    groups = [group(tmp_path, name, summary(0.8), summary(0.9)) for name in NASTY]
    groups += [group(tmp_path, "open", *UNFINISHED, summary(None, "collapsed"))]
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        page = write_report(groups, tmp_path / "report.html", "<b>").read_text(encoding="utf-8")
        write_overview(
            groups, tmp_path / "overview.png", protocols={"knn": "$k"}, title="t", metric="nothing", metric_title="none"
        )
        write_heatmap(tmp_path / "map.png", {"$a": NASTY[:2], "b": ["$y"], "c_$": ["<r>"]}, groups, "$t")
    assert [str(each.message) for each in found] == []
    assert page.startswith("<!doctype html>") and "<script>" not in page and "<title>&lt;b&gt;</title>" in page
    assert "<td>a|b</td>" in page and "<td>$x^2$ and $y</td>" in page and "<td>漢字</td>" in page
    assert "<td>85.0 ± 7.1</td>" in page and "2 interrupted, 1 not finished, 1 collapsed" in page
    assert "<summary>open: mine</summary>" in page
    for drawn in ("$x^2$ and $y", "a|b", "_hidden"):
        assert f'">{drawn}</li>' in page  # the key of the curves


def test_cells_are_escaped_and_the_rest_of_a_table_is_not() -> None:
    assert Table(["a"], [["x|y"]]).markdown() == "| a    |\n|------|\n| x\\|y |"


# What was changed


def test_what_was_changed_is_recorded(tmp_path: Path) -> None:
    groups = [group(tmp_path, "a", summary(0.8))]
    assert options(["target=ema", "projector.dims=[8, 8]"], "my data") == [
        "--data 'my data'", "-s target=ema", "-s 'projector.dims=[8, 8]'",
    ]  # fmt: skip
    assert "changed by: `-s target=ema`." in results_text("t", groups, {}, options(["target=ema"]))
    assert "changed" not in results_text("t", groups, {})


def test_a_table_does_not_need_a_recipe(tmp_path: Path) -> None:
    one = group(tmp_path, "a", summary(0.8))
    (one.runs[0] / "recipe.yaml").unlink()
    assert len(comparison([one]).rows) == 3
