"""Expectations of an experiment: what a line means, and which lines are refused."""

import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.report.expectations import holds

SUMMARY = {
    "status": "done",
    "metrics": {"knn": {"top1": 0.8}, "few_shot": {"top1": 0.5, "std": 0.02}},
    "baselines": {"raw": {"knn": {"top1": 0.6}}, "untrained": {"knn": {"top1": 0.9}}},
    "collapse": {"metrics": {"std": 0.7}},
}


@pytest.mark.parametrize(
    "line, expected",
    [
        ("knn.top1 > raw.knn.top1", True),
        ("knn.top1 > untrained.knn.top1", False),
        ("knn.top1 > raw.knn.top1 + 0.19", True),
        ("knn.top1 > raw.knn.top1 + 0.21", False),
        ("knn.top1 >= untrained.knn.top1 - 0.1", True),
        ("status == done", True),
        ("status == collapsed", False),
        ("status != collapsed", True),
        ("collapse.std < 0.71", True),
        ("collapse.std <= .5", False),
        ("few_shot.std<0.03", True),
    ],
)
def test_a_line_is_a_comparison_of_the_runs_values(line: str, expected: bool) -> None:
    assert holds(line, SUMMARY) is expected


@pytest.mark.parametrize("line", ["knn.top1", "knn.top1 > ", "knn.top1 is good", "knn.top1 > raw.knn.top1 + much"])
def test_what_is_no_comparison_is_refused(line: str) -> None:
    with pytest.raises(UserError, match="LEFT > RIGHT"):
        holds(line, SUMMARY)


@pytest.mark.parametrize("line", ["linear.top1 > 0.5", "knn.top5 > 0.5", "raw.linear.top1 < 1", "word == done"])
def test_a_value_that_was_not_measured_is_refused(line: str) -> None:
    with pytest.raises(UserError, match="not measured"):
        holds(line, SUMMARY)
