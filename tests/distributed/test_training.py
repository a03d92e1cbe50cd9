"""Training on several processes: the weights, the run folder and the words are those of one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from ssl_zoo.cli import main
from ssl_zoo.distributed.batch_norm import GlobalBatchNorm
from ssl_zoo.runs import checkpoint
from ssl_zoo.runs.folder import RunFolder
from tests.distributed import jobs
from tests.distributed.group import needs_sharding, run_group

pytestmark = needs_sharding


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any], Any]:
    out = tmp_path_factory.mktemp("runs")
    several = run_group(2, jobs.whole_runs, out)
    return out, several, run_group(1, jobs.whole_runs, out)[0]


def together(weights: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.double().flatten() for value in weights.values()])


def test_only_the_first_process_speaks_and_all_return_the_summary(runs: tuple[Path, list[Any], Any]) -> None:
    out, (first, second), _ = runs
    assert second["lines"] == []
    assert any(
        "2 processes, total batch 24" in line and "each BatchNorm sees 24 samples" in line for line in first["lines"]
    )
    assert any("each BatchNorm sees 12 samples" in line for line in first["lines"])  # norm: local
    assert first["whole"] == second["whole"]
    assert first["whole"]["status"] == "done" and first["whole"]["environment"]["processes"] == 2


def test_logged_numbers_are_those_of_one_process(runs: tuple[Path, list[Any], Any]) -> None:
    out, _, _ = runs
    logs = [list(RunFolder(out / name).read_metrics()) for name in ("one", "several")]
    for one, several in zip(*logs, strict=True):
        assert several["step"] == one["step"]
        assert several["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert several["embedding"] == pytest.approx(one["embedding"], rel=1e-3, abs=1e-3)


def test_evaluation_sees_all_samples_whatever_the_number_of_processes(runs: tuple[Path, list[Any], Any]) -> None:
    _, (first, _), alone = runs
    assert alone["evaluated"]["encoder"] == first["whole"]["metrics"]


def test_evaluation_in_training_sees_all_samples_too(runs: tuple[Path, list[Any], Any]) -> None:
    out, _, alone = runs
    *_, last = RunFolder(out / "several").read_evaluations()
    assert last["step"] == 6 and last["evaluation"]
    assert last["evaluation"] == {f"own/{key}": found for key, found in alone["evaluated"]["encoder"].items()}
    steps = [
        [each["step"] for each in RunFolder(out / name).read_evaluations()] for name in ("one", "several", "mixed")
    ]
    assert steps == [[4, 6]] * 3


def test_a_run_goes_on_with_another_number_of_processes(runs: tuple[Path, list[Any], Any]) -> None:
    out, (first, second), alone = runs
    assert first["stopped"] == second["stopped"]
    assert (first["stopped"]["status"], first["stopped"]["steps"]) == ("interrupted", 3)
    assert (alone["resumed"]["status"], alone["resumed"]["steps"]) == ("done", 6)
    one, mixed = (checkpoint.load(out / name / "checkpoints" / "last.pt")["method"] for name in ("one", "mixed"))
    assert one.keys() == mixed.keys()
    weights = {name: value for name, value in one.items() if value.is_floating_point()}
    assert (together(weights) - together({n: mixed[n] for n in weights})).norm() <= 1e-4 * together(weights).norm()


def numbers(value: Any, path: str = "") -> dict[str, float]:
    """Return the numbers in nested dicts by their places."""
    items = value.items() if isinstance(value, dict) else ()
    own = {path: value} if isinstance(value, (int, float)) else {}
    return own | {name: x for key, each in items for name, x in numbers(each, f"{path}.{key}").items()}


def test_a_sharded_run_is_that_of_one_process(runs: tuple[Path, list[Any], Any]) -> None:
    out, (first, second), alone = runs
    assert first["sharded"] == second["sharded"] and "note: fsdp" in "".join(first["lines"])
    for key in ("metrics", "collapse"):
        expected = numbers(alone["sharded"][key])
        assert len(expected) > 10 and numbers(first["sharded"][key]) == pytest.approx(expected, rel=1e-3, abs=1e-3)
    logs = [list(RunFolder(out / name).read_metrics()) for name in ("sharded by one", "sharded")]
    assert [each["step"] for each in logs[1]] == [each["step"] for each in logs[0]]
    assert [each["loss"] for each in logs[1]] == pytest.approx([each["loss"] for each in logs[0]], rel=1e-4)
    moved = [[each["embedding"]["weight_change"] for each in log] for log in logs]
    assert moved[1] == pytest.approx(moved[0], rel=1e-3) and min(moved[1]) > 0


def test_the_kept_steps_of_a_sharded_run_are_those_of_one_process(runs: tuple[Path, list[Any], Any]) -> None:
    one, several = (RunFolder(runs[0] / name) for name in ("sharded by one", "sharded"))
    assert several.kept_steps() == one.kept_steps() == [2, 4, 6]
    assert len(list(several.kept(2).parent.glob("*.shards-*"))) == 4  # the last one has its own
    weights = [checkpoint.load(folder.kept(2))["method"] for folder in (one, several)]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-4)


def test_the_command_merge_makes_one_file(runs: tuple[Path, list[Any], Any], tmp_path: Path) -> None:
    run = shutil.copytree(runs[0] / "sharded", tmp_path / "sharded")
    before = checkpoint.load(RunFolder(run).kept(4))
    result = CliRunner().invoke(main, ["merge", f"{run}@step4", "--json"])
    assert result.exit_code == 0, result.output
    path = RunFolder(run).kept(4)
    assert json.loads(result.stdout) == {"file": str(path), "step": 4, "bytes": path.stat().st_size}
    assert sorted(each.name for each in path.parent.glob("*.shards-*")) == [
        "last.shards-0", "step-2.shards-0", "step-6.shards-0",
    ]  # fmt: skip
    after = checkpoint.load(path)["method"]
    assert all(torch.equal(after[name], value) for name, value in before["method"].items())
    for name, message in ((f"{run}@step5", "there is no such checkpoint"), (str(tmp_path), "holds no run")):
        result = CliRunner().invoke(main, ["merge", name])
        assert result.exit_code == 2 and message in result.output


def test_a_rollback_goes_back_to_the_step_that_it_goes_back_to_on_one_process(
    runs: tuple[Path, list[Any], Any],
) -> None:
    out, (first, second), alone = runs
    assert first["rolled back"] == second["rolled back"]
    several, one = first["rolled back"], alone["rolled back"]
    assert (several["status"], several["steps"]) == (one["status"], one["steps"]) == ("done", 50)
    ((back,), (expected,)) = several["rollbacks"], one["rollbacks"]
    assert 0 < back["to"] < back["step"] and back["change"] == {"objective.variance.weight": [0.0, 25.0]}
    assert {**back, "reason": ""} == {**expected, "reason": ""}
    logs = [list(RunFolder(out / f"back of {name}").read_metrics()) for name in ("one", "several")]
    assert [each["step"] for each in logs[1]] == [each["step"] for each in logs[0]]
    assert [each["loss"] for each in logs[1]] == pytest.approx([each["loss"] for each in logs[0]], rel=1e-4)
    assert not list((out / "back of several" / "checkpoints").glob("healthy*"))


def test_all_stop_at_one_step_when_one_is_asked_to(runs: tuple[Path, list[Any], Any]) -> None:
    _, several, _ = runs
    assert [(each["out of time"]["status"], each["out of time"]["steps"]) for each in several] == [
        ("interrupted", 2)
    ] * 2


def test_impossible_wishes_are_one_sentence(runs: tuple[Path, list[Any], Any]) -> None:
    out, several, _ = runs
    for each in several:
        assert each["odd"].startswith(
            "training.batch_size: 23 cannot be cut into equal parts for 2 processes; use 22 or 24"
        )
        assert each["devices"].startswith("--devices 3: 2 processes have been started already")
    assert not (out / "no").exists()


def test_bad_samples_are_left_out_as_by_one_process(runs: tuple[Path, list[Any], Any]) -> None:
    out, (first, second), alone = runs
    assert first["skipped"] == second["skipped"] and first["stopped at skipping"]["steps"] == 3
    one, several, resumed = (RunFolder(out / name) for name in ("skipped by one", "skipped", "skipped on"))
    expected = one.bad_files.read_text()
    assert len(expected.splitlines()) == expected.count("mouldy") == 3
    for folder in (several, resumed):
        assert folder.bad_files.read_text() == expected  # each once, in the order of their places
        losses = [[each["loss"] for each in of.read_metrics()] for of in (one, folder)]
        assert losses[1] == pytest.approx(losses[0], rel=1e-4) and len(losses[0]) > 2
    words = alone["too many"].partition("Step")[0]
    assert "3 of 100 samples cannot be read and data.bad_budget=0.02 allows 2, for example patch" in words
    assert {each["too many"].partition("Step")[0] for each in (first, second, alone)} >= {words}
    failed = [RunFolder(out / name).read_summary() for name in ("too many", "too many for one")]
    assert failed[0]["steps"] == failed[1]["steps"] and failed[0]["status"] == "failed"


def test_a_head_that_no_term_looks_at_is_no_obstacle(runs: tuple[Path, list[Any], Any]) -> None:
    assert [each["unused head"]["status"] for each in runs[1]] == ["done", "done"]


def test_a_trained_encoder_is_plain_again(runs: tuple[Path, list[Any], Any]) -> None:
    from ssl_zoo.runs.encoder import load_encoder

    encoder = load_encoder(runs[0] / "several")
    norms = [layer for layer in encoder.modules() if isinstance(layer, nn.BatchNorm2d | GlobalBatchNorm)]
    assert norms and all(type(layer) is nn.BatchNorm2d for layer in norms)
