"""The guard in whole trainings of a small VICReg on digits: without its variance term, whole, and too short."""

import json

import pytest

from ssl_zoo import train
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.report.aggregate import outcome
from ssl_zoo.report.table import summary_table

SMALL = (
    "data={source: {name: digits, placements: 1}, num_workers: 0}",
    "encoder={name: convnet, widths: [4, 8]}",
    "projector.dims=[16, 16]",
    "views={name: augment, size: 12, flip: 0, jitter: 0, grey: 0, blur: 0, solarise: 0, mean: [0.5], std: [0.5]}",
    "training={batch_size: 64, base_lr: 0.02, lr_scaling: none, optimizer: sgd, groups: []}",
    "training.schedule=constant",
    "evaluation={protocols: [label_free], baselines: false, limit: 50}",
)


def vicreg(steps: int, *overrides: str) -> Recipe:
    return load_recipe("vicreg", [*SMALL, f"training.max_steps={steps}", *overrides])


def told(recipe, out):
    lines: list[str] = []
    summary = train(recipe, out=out, log=lines.append)
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return summary, "\n".join(lines), records


@pytest.mark.parametrize("accumulate", [1, 2])
def test_vicreg_without_its_variance_term_loses_its_scale_and_the_guard_says_so(tmp_path, accumulate):
    """Batch and learning rate of the remedies are the recipe's, whatever part of the batch the metrics are of."""
    recipe = vicreg(90, "objective.variance.weight=0", f"training.accumulate={accumulate}", "guard.policy=stop")
    summary, text, records = told(recipe, tmp_path / "run")
    assert summary["status"] == summary["collapse"]["status"] == "collapsed"
    assert "have shrunk to almost one point" in summary["collapse"]["reason"] and summary["collapse"]["step"] < 90
    assert "-s objective.variance.weight=25.0" in text and "-s training.base_lr=0.005" in text
    assert records[-1]["embedding"]["scale"] < 0.2 * records[0]["embedding"]["scale"]
    assert records[-1]["embedding"]["std"] > 0.4, "the directions do not show it"


def test_a_whole_vicreg_is_ok_and_judged_though_short(tmp_path):
    summary, text, _ = told(vicreg(90), tmp_path / "run")
    assert (summary["status"], summary["collapse"]["status"], summary["collapse"]["reason"]) == ("done", "ok", None)
    assert "shrunk" not in text


def test_a_run_of_two_steps_says_that_it_was_not_judged(tmp_path):
    summary, _, _ = told(vicreg(2), tmp_path / "run")
    assert summary["status"] == "done" and summary["collapse"]["status"] == "not judged"
    assert summary_table(summary).splitlines()[-1].startswith("collapse: not judged (too short to judge")
    assert outcome(summary) == "done (not judged)"
