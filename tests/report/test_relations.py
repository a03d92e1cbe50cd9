"""Relations between variants: means over seeds against scipy's one-sided t-test of the paired differences."""

import re

import pytest
from scipy import stats

from ssl_zoo.errors import UserError
from ssl_zoo.report.aggregate import Group
from ssl_zoo.report.findings import Claim, findings_text
from ssl_zoo.report.relations import check_relation, judged
from ssl_zoo.report.results import expectation_lines

OURS, THEIRS = [0.80, 0.83, 0.78], [0.70, 0.74, 0.69]


def runs(values: list[float], seeds: tuple[int, ...] = (0, 1, 2), status: str = "done") -> list[dict]:
    return [
        {"status": status, "seed": seed, "metrics": {"knn": {"top1": value}}, "baselines": {}}
        for seed, value in zip(seeds, values, strict=True)
    ]


@pytest.mark.parametrize("margin", [0.0, 0.05, 0.085, 0.09, 0.12])
def test_the_verdict_is_that_of_a_t_test_of_equal_seeds(margin: float) -> None:
    found = judged(f"knn.top1 > base:knn.top1 + {margin}", runs(OURS), {"base": runs(THEIRS)})
    differences = [a - b for a, b in zip(OURS, THEIRS, strict=True)]
    above = stats.ttest_1samp(differences, margin, alternative="greater").pvalue < 0.05
    below = stats.ttest_1samp(differences, margin, alternative="less").pvalue < 0.05
    assert found.verdict == ("holds" if above else "fails" if below else "unclear")
    assert found.difference == pytest.approx(sum(differences) / 3) and found.seeds == 3
    turned = judged(f"base:knn.top1 < knn.top1 - {margin}", runs(OURS), {"base": runs(THEIRS)})
    assert turned.verdict == found.verdict and turned.difference == pytest.approx(-found.difference)


def test_seeds_are_matched_and_those_that_one_side_lacks_are_left_out() -> None:
    ours, theirs = runs([0.1, 0.2, 0.9], (2, 0, 5)), runs([0.1, 0.0, 0.4], (0, 2, 7))
    found = judged("knn.top1 > base:knn.top1", ours, {"base": theirs})
    assert (found.seeds, found.verdict) == (2, "holds") and found.difference == pytest.approx(0.1)
    assert found.spread == pytest.approx(0, abs=1e-12)


def test_one_seed_is_unclear_and_no_seed_is_not_measured() -> None:
    assert judged("knn.top1 > base:knn.top1", runs([0.9], (0,)), {"base": runs([0.1], (0,))}).verdict == "unclear"
    assert judged("knn.top1 > base:knn.top1", runs([0.9], (0,)), {}).verdict == "not measured"
    assert judged("linear.top1 > base:linear.top1", runs(OURS), {"base": runs(THEIRS)}).verdict == "not measured"


def test_equal_runs_are_not_above_each_other_but_at_least_as_good() -> None:
    equal = {"base": runs(OURS)}
    verdicts = [judged(f"knn.top1 {sign} base:knn.top1", runs(OURS), equal).verdict for sign in (">", ">=", "<=")]
    assert verdicts == ["fails", "holds", "holds"]


@pytest.mark.parametrize(
    "line, problem",
    [
        ("knn.top1 > bse:knn.top1", "did you mean 'base'"),
        ("knn.top1 == base:knn.top1", "write >, <"),
        ("status != base:status", "write >, <"),
        ("knn > base:knn.top1", "no measured number"),
        ("knn.top1 > base: knn.top1", "LEFT > RIGHT"),
    ],
)
def test_a_mistake_is_told(line: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        check_relation(line, ["base", "other"])


GROUPS = [
    Group("base", (), tuple(runs(THEIRS))),
    Group("better", (), tuple(runs(OURS))),
    Group("gone", (), tuple(runs([0.2, 0.1, 0.3], status="collapsed"))),
]
PEERS = {"base": "base", "better": "better"}


def test_results_tell_what_a_relation_came_to() -> None:
    lines = {"better": ["knn.top1 > base:knn.top1 + 0.05", "knn.top1 < base:knn.top1"]}
    assert expectation_lines(GROUPS, lines, {"better": PEERS}) == [
        "- better: `knn.top1 > base:knn.top1 + 0.05` holds (80.3 against 71.0: +9.3 +- 0.6, 3 seeds)",
        "- better: `knn.top1 < base:knn.top1` FAILS (80.3 against 71.0: +9.3 +- 0.6, 3 seeds)",
    ]


def test_findings_stand_beside_the_papers() -> None:
    claims = {
        "base": Claim("toy", (), PEERS, "68.1 | best"),
        "better": Claim("toy", ("status == done", "knn.top1 > base:knn.top1"), PEERS, "70"),
        "gone": Claim("toy", ("status == done", "knn.top1 < base:knn.top1"), PEERS, "0.1: collapses"),
    }
    title, count, heading, table, note = findings_text(GROUPS, claims, {"toy": "Ours\n  differs."})
    assert title == "## The paper's findings" and count.startswith(
        "4 conditions: 3 confirmed, 1 not confirmed. 1 of 2 s"
    )
    assert heading == "### toy" and note == "Ours differs."
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()[2:]]
    assert rows == [
        ["base", r"68.1 \| best", "-", "-", "-", "3"],
        ["better", "70", "`status == done`", "3 of 3 runs", "confirmed", "3"],
        ["", "", "`knn.top1 > base:knn.top1`", "80.3 against 71.0: +9.3 +- 0.6", "confirmed", "3"],
        ["gone", "0.1: collapses", "`status == done`", "0 of 3 runs", "not confirmed", "3"],
        ["", "", "`knn.top1 < base:knn.top1`", "20.0 against 71.0: -51.0 +- 12.5", "confirmed", "3"],
    ]
    assert findings_text(GROUPS, {"base": Claim("toy", ("status == done",))}, {}) == []
