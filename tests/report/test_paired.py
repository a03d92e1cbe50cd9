"""Paired differences against scipy's one-sample interval, and the best and the last epoch of a run."""

import json
from pathlib import Path

import pytest
from scipy import stats

from ssl_zoo.report.aggregate import Group
from ssl_zoo.report.comparison import Comparison
from ssl_zoo.report.paired import interval, paired_differences, paired_table
from ssl_zoo.report.progress import best_and_last, progress_table

FIRST, SECOND = [0.50, 0.40, 0.62, 0.55], [0.61, 0.39, 0.70, 0.58]


def group(name: str, values: list[float], seeds: list[int]) -> Group:
    summaries = tuple(
        {"status": "done", "seed": seed, "metrics": {"knn": {"top1": value, "k": 5}}}
        for seed, value in zip(seeds, values, strict=True)
    )
    return Group(name, tuple(Path(f"{name}-seed{seed}") for seed in seeds), summaries)


def test_the_interval_is_that_of_students_t() -> None:
    differences = [b - a for a, b in zip(FIRST, SECOND, strict=True)]
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert interval(differences) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert interval([0.1]) is None


def test_runs_are_paired_by_seed() -> None:
    one, other = group("one", FIRST, [0, 1, 2, 3]), group("other", SECOND[::-1], [3, 2, 1, 0])
    (found,) = paired_differences([one, other])
    assert (found.name, found.reference, found.protocol, found.metric, found.n) == ("other", "one", "knn", "top1", 4)
    assert found.mean == pytest.approx(0.0525)
    expected = stats.ttest_rel(SECOND, FIRST).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    row = paired_table([found]).rows[0]
    assert row == ["other", f"+5.2 ({100 * expected.low:+.1f} to {100 * expected.high:+.1f})", "4"]


def test_a_seed_that_one_lacks_is_left_out_and_one_seed_has_no_interval() -> None:
    (found,) = paired_differences([group("one", FIRST[:2], [0, 1]), group("other", SECOND[:2], [1, 7])])
    assert (found.n, found.low, found.high) == (1, None, None) and found.mean == pytest.approx(0.61 - 0.40)
    assert paired_differences([group("one", FIRST[:1], [0]), group("other", SECOND[:1], [4])]) == []


def test_runs_over_a_budget_of_time_are_named() -> None:
    runs = [{"status": "done", "seed": seed, "train_s": seconds} for seed, seconds in enumerate((59.0, 71.0))]
    found = Comparison([Group("a", (Path("a-seed0"), Path("a-seed1")), tuple(runs))], "60 s", max_seconds=60.0)
    assert "1 of 2 runs trained for longer than 60 s" in found.markdown() and "a-seed1 (71 s)." in found.markdown()


def test_best_and_last_are_those_of_the_evaluations_in_training(tmp_path: Path) -> None:
    records = [
        {"step": step, "epoch": step / 10, "evaluation": {"own/knn": {"top1": value, "k": 5}}}
        for step, value in ((10, 0.3), (20, 0.6), (30, 0.6), (40, 0.5))
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    found = best_and_last(tmp_path)
    assert list(found) == ["own/knn top1"]
    assert found["own/knn top1"]["best"] == {"step": 20, "epoch": 2.0, "value": 0.6}
    assert found["own/knn top1"]["last"] == {"step": 40, "epoch": 4.0, "value": 0.5}
    table = progress_table([Group("a", (tmp_path,), ({"status": "done"},))])
    assert table is not None and table.rows == [["a", "knn", "60.0", "2.00", "50.0", "4.00", "1"]]
    assert progress_table([group("one", FIRST, [0, 1, 2, 3])]) is None
