"""How metrics without labels track accuracy in the recorded runs: RESULTS.md and a picture.

python -m experiments.label_free.report
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau, spearmanr

from experiments.label_free.record import DATA, read
from experiments.label_free.settings import settings

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
PICTURE = HERE.parent.parent / "docs" / "pictures" / "label-free.png"

BETTER = {
    "r1": 1, "r5": 1, "r1_centred": 1, "std": 1, "scale": 1, "effective_rank": 1, "rankme": 1, "lidar": 1,
    "alpha_req": -1, "explained_variance_auc": -1, "idest": -1, "uniformity": -1, "alignment": -1,
    "mean_absolute_correlation": -1, "dead_dimensions": -1,
}  # fmt: skip
"""Metrics, and whether more (1) or less (-1) of them is said to be better."""

PROBES = ("knn", "linear")
MARGIN = 0.02
"""A difference of accuracies that counts as one, about a standard error of the difference at 500 test samples."""

DRAWS = 300


@dataclass(frozen=True)
class Point:
    """An encoder at a step of a run, beside the untrained one and raw pixels.

    Attributes:
        run: name of the run.
        group: data set and method.
        data: data set.
        step: of the run.
        last: whether it is the run's last step.
        now: its metrics.
        start: those of the untrained encoder.
        raw: those of the pixels.
    """

    run: str
    group: str
    data: str
    step: int
    last: bool
    now: dict[str, float | None]
    start: dict[str, float | None]
    raw: dict[str, float | None]

    def gain(self, metric: str) -> float | None:
        """Return how much better than the untrained encoder it is by a metric."""
        now, start = self.now.get(metric), self.start.get(metric)
        return None if now is None or start is None else BETTER.get(metric, 1) * (now - start)


def points(runs: Sequence[dict[str, Any]]) -> list[Point]:
    """Return the encoders that were trained for a step at least and whose features are finite."""
    found = []
    for run in runs:
        steps = {int(step): values for step, values in run["steps"].items()}
        for step, values in sorted(steps.items()):
            if step and values:
                group = f"{run['data']}, {run['method']}"
                last = step == max(steps)
                found.append(Point(run["name"], group, run["data"], step, last, values, steps[0], run["raw"]))
    return found


def interval(values: Sequence[Any], statistic: Callable[[Any], Any]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a statistic of values that are drawn anew as they are, such as runs."""
    source, found = np.random.default_rng(0), []
    for _ in range(DRAWS):
        drawn = [values[i] for i in source.integers(len(values), size=len(values))]
        value = float(statistic(drawn))
        if math.isfinite(value):
            found.append(value)
    return (float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))) if found else (math.nan, math.nan)


def correlation(some: Sequence[Point], metric: str, probe: str, rank: Any = spearmanr) -> float:
    """Return the rank correlation of a metric, signed so that better is higher, with the accuracy of a probe."""
    pairs = [(p.now.get(metric), p.now.get(probe)) for p in some]
    known = [(x, y) for x, y in pairs if x is not None and y is not None]
    if len({x for x, _ in known}) < 3 or len({y for _, y in known}) < 2:
        return math.nan
    return BETTER[metric] * float(rank(*zip(*known, strict=True)).statistic)


def by(some: Sequence[Point], key: str) -> list[list[Point]]:
    """Return points in groups of one value of an attribute."""
    groups: dict[str, list[Point]] = {}
    for point in some:
        groups.setdefault(getattr(point, key), []).append(point)
    return list(groups.values())


def mean_correlation(groups: Sequence[Sequence[Point]], metric: str, probe: str, rank: Any = spearmanr) -> str:
    """Return the mean rank correlation over the groups that have one, with its interval over groups."""
    found = [value for each in groups if math.isfinite(value := correlation(each, metric, probe, rank))]
    return shown(float(np.mean(found)), interval(found, np.mean)) if found else "-"


def shown(value: float, ends: tuple[float, float]) -> str:
    """Return `0.61 (0.32 to 0.80)`."""
    return "-" if math.isnan(value) else f"{value:.2f} ({ends[0]:.2f} to {ends[1]:.2f})"


def with_fisher(value: float, num: int) -> str:
    """Return a Spearman correlation of `num` values with its interval: Fisher's z, error 1.03 / sqrt(n - 3)."""
    if math.isnan(value) or num < 4:
        return "-"
    middle, half = math.atanh(max(-0.999, min(0.999, value))), 1.96 * 1.03 / math.sqrt(num - 3)
    return shown(value, (math.tanh(middle - half), math.tanh(middle + half)))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def correlations(all_points: Sequence[Point]) -> str:
    """Return the table of rank correlations."""
    last = [point for point in all_points if point.last]
    methods = by(last, "group")
    runs = [_with_start(each) for each in by(all_points, "run")]
    rows = []
    for metric in BETTER:
        row = [f"`{metric}`", *(mean_correlation(methods, metric, probe) for probe in PROBES)]
        row += [mean_correlation(runs, metric, probe, kendalltau) for probe in PROBES]
        for data in sorted({point.data for point in last}):
            own = [point for point in last if point.data == data]
            row.append(with_fisher(correlation(own, metric, "linear"), len(own)))
        rows.append(row)
    names = [f"all runs of {data}, linear" for data in sorted({point.data for point in last})]
    header = ["metric", "settings, kNN", "settings, linear", "checkpoints, kNN", "checkpoints, linear", *names]
    return table(header, rows)


def _with_start(run: Sequence[Point]) -> list[Point]:
    """Return the points of a run with that of step 0 before them."""
    first = run[0]
    return [Point(first.run, first.group, first.data, 0, False, first.start, first.start, first.raw), *run]


Rule = Callable[[Point], bool | None]


def verdict(point: Point, errors: float) -> str:
    """Return what a verdict says by `r1` against the untrained encoder, see docs/decisions/0009.

    Args:
        point: the encoder.
        errors: how many standard errors of the difference it has to be, of 1,000 samples as in `view_retrieval`.
    """
    now, start = point.now.get("r1") or 0.0, point.start.get("r1") or 0.0
    error = math.sqrt((now * (1 - now) + start * (1 - start)) / 1000)
    gain = now - start
    return "better" if gain > errors * error else "worse" if gain < -errors * error else "unclear"


def rules() -> dict[str, Rule]:
    """Return what may be said of an encoder without labels, by name: whether it is better than untrained."""

    def above(metric: str) -> Rule:
        return lambda point: None if (gain := point.gain(metric)) is None else gain > 0

    def beats_both(point: Point) -> bool | None:
        now, start, raw = (values.get("r1") for values in (point.now, point.start, point.raw))
        return None if now is None or start is None or raw is None else now > max(start, raw)

    found: dict[str, Rule] = {
        "`r1` above untrained": above("r1"),
        "`r1` above untrained and raw": beats_both,
        "`r1` above by an error (no: not so)": lambda point: verdict(point, 1) == "better",
        "`r1` not below by an error (no: below)": lambda point: verdict(point, 1) != "worse",
        "`r1` above by two errors (no: not so)": lambda point: verdict(point, 2) == "better",
        "`r1` not below by two errors (no: below)": lambda point: verdict(point, 2) != "worse",
    }
    for metric, sign in BETTER.items():
        if metric not in ("r1", "r5"):
            found[f"`{metric}` {'above' if sign > 0 else 'below'} untrained"] = above(metric)
    return found


def judged(some: Sequence[Point], rule: Rule, probe: str, margin: float = MARGIN) -> tuple[int, int, int, int]:
    """Return how often a rule says better and it is, says so and it is worse, and does not: (better, worse) each.

    An encoder is better or worse than untrained where the accuracies differ by more than `margin`; others are left out.
    """
    counts = [0, 0, 0, 0]
    for point in some:
        said, gain = rule(point), point.gain(probe)
        if said is None or gain is None or abs(gain) <= margin:
            continue
        counts[(0 if said else 2) + (0 if gain > 0 else 1)] += 1
    return counts[0], counts[1], counts[2], counts[3]


def share(part: int, whole: int) -> str:
    """Return `83 % (60 to 94)`, a share with its 95 % Wilson interval."""
    if not whole:
        return "-"
    z, p = 1.96, part / whole
    middle, half = p + z * z / 2 / whole, z * math.sqrt(p * (1 - p) / whole + z * z / 4 / whole**2)
    low, high = ((middle + sign * half) / (1 + z * z / whole) for sign in (-1, 1))
    return f"{100 * p:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def decisions(some: Sequence[Point], probe: str) -> str:
    """Return the table of what each rule says and what is true."""
    rows = []
    for name, rule in rules().items():
        right, wrong, missed, avoided = judged(some, rule, probe)
        rows.append([name, str(right), str(wrong), str(missed), str(avoided), share(right, right + wrong),
                     share(avoided, avoided + missed), share(right, right + missed)])  # fmt: skip
    header = ["rule", "says yes, better", "says yes, worse", "says no, better", "says no, worse",
              "better where it says yes", "worse where it says no", "of the better, found"]  # fmt: skip
    return table(header, rows)


def photographs(runs: Sequence[dict[str, Any]]) -> str:
    """Return the table of the run of SimSiam on 5,000 photographs for 300 steps."""
    run = next((each for each in runs if each["change"] == "300 steps"), None)
    if run is None:
        return ""
    last = max(map(int, run["steps"]))
    columns = ("std", "effective_rank", "rankme", "r1", "knn", "linear")
    named = {"raw pixels": run["raw"], "untrained": run["steps"]["0"], f"{last} steps": run["steps"][str(last)]}
    rows = [[name, *(f"{values[column]:.3g}" for column in columns)] for name, values in named.items()]
    last_points = [point for point in points(runs) if point.last]
    spread = [p for p in last_points if (p.gain("std") or 0) > 0 and (p.gain("rankme") or 0) > 0]
    worse = [p for p in spread if (p.gain("knn") or 0) < -MARGIN]
    below = sum((p.gain("r1") or 0) < 0 for p in worse)
    note = (
        "The trial that asked for this study had a larger encoder, and ended worse than untrained with more spread and "
        "rank. It was not repeated; with the small encoder the same number of steps ends as above. Of the "
        f"{len(spread)} runs here that end with more `std` and `rankme` than untrained, {len(worse)} are clearly worse "
        f"by kNN; `r1` fell in {below} of those."
    )
    title = "## SimSiam on 5,000 photographs, 300 steps"
    return "\n".join(["", title, "", table(["encoder", *columns], rows), "", note, ""])


def write_picture(some: Sequence[Point], path: Path) -> None:
    """Write a PNG: the gain in r1 beside the gain in accuracy, a dot for each run, and what spread says instead."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    groups = sorted({point.group.split(", ")[1] for point in some})
    for panel, metric in zip(panels, ("r1", "effective_rank"), strict=True):
        for number, method in enumerate(groups):
            for data, marker in (("digits", "o"), ("cifar10", "^")):
                own = [p for p in some if p.group == f"{data}, {method}"]
                x = [math.log2(max(p.now[metric] or 0, 1e-3) / max(p.start[metric] or 0, 1e-3)) for p in own]
                y = [100 * (p.gain("linear") or 0) for p in own]
                panel.scatter(x, y, s=18, marker=marker, color=f"C{number}", label=f"{method}, {data}", alpha=0.8)
        panel.axhline(0, color="grey", linewidth=0.8)
        panel.axvline(0, color="grey", linewidth=0.8)
        panel.set_xlabel(f"log2 of {metric} over the untrained encoder's")
    panels[0].set_ylabel("linear accuracy less untrained, points")
    panels[1].legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def text(known: Sequence[dict[str, Any]]) -> str:
    """Return RESULTS.md."""
    about, *runs = known
    every = points(runs)
    last = [point for point in every if point.last]
    groups = "; ".join(sorted({p.group.replace(", ", " ") for p in every}))
    failed = sum(each["ended"] != "done" for each in runs)
    versions = ", ".join(f"{name} {value}" for name, value in about.items())
    head = f"""# Metrics without labels and accuracy

Generated by `python -m experiments.label_free.report` from `records-*.jsonl.gz`; do not edit. {len(runs)} of the
{len(settings())} runs of `settings.py`, of {len({p.group for p in every})} pairs of data set and method
({groups}),
of which {failed} ended with numbers that are not finite; {len(every)} encoders at steps after the first. One small
encoder (48 features), 500 test samples, one seed of most settings, so all numbers are rough. {versions}.

"Better" and "worse" mean by more than {100 * MARGIN:.0f} points of accuracy than the untrained encoder of the same run;
what lies between is left out of the tables of rules. `r1` is `view_retrieval` among 500 samples; `r1_centred` that of
features less their mean. The other metrics are those of `ssl_zoo.evaluation.label_free`; LiDAR has {4} views.
"""
    note = (
        "Positive is as each metric is meant. `settings`: Spearman over the settings of a method on a data set, mean "
        "over methods and data. `checkpoints`: Kendall within a run, its start included, mean over runs. `all runs`: "
        "Spearman over all runs on a data set. In brackets the 95 % interval: of means by a bootstrap over what they "
        "are over, else by Fisher's z."
    )
    parts = [
        head,
        "## Is the encoder better than untrained? Linear, last step of each run\n",
        decisions(last, "linear"),
        "\n## The same by kNN\n",
        decisions(last, "knn"),
        "\n## The same at all checkpoints, linear (those of a run depend on each other)\n",
        decisions(every, "linear"),
        f"\n## Rank correlation with accuracy\n\n{note}\n",
        correlations(every),
        photographs(runs),
    ]
    return "\n".join(parts).rstrip() + "\n"


def main() -> int:
    """Write the results of the records that there are."""
    files = [known for data in DATA if len(known := read(data)) > 1]
    if not files:
        print("no records: python -m experiments.label_free.record makes them", file=sys.stderr)
        return 1
    known = [files[0][0], *(run for each in files for run in each[1:])]
    RESULTS.write_text(text(known), encoding="utf-8")
    write_picture([point for point in points(known[1:]) if point.last], PICTURE)
    print(f"{RESULTS} and {PICTURE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
