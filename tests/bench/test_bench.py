"""`ssl-zoo bench`: every part runs, all sides do the same work, and what it prints is what it measured."""

import json
from importlib.util import find_spec

import pytest
import torch
from click.testing import CliRunner, Result

from ssl_zoo.bench import data, evaluation, suite, training, views
from ssl_zoo.bench.peers import views_side
from ssl_zoo.bench.timing import Result as Measured
from ssl_zoo.bench.timing import Side, alternate
from ssl_zoo.errors import UserError, needs

LIGHTLY_HAS = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def cli(*arguments: object) -> Result:
    from ssl_zoo.cli import main

    return CliRunner().invoke(main, ["bench", *map(str, arguments)])


def test_sides_run_in_turn_and_ratios_are_of_the_rounds() -> None:
    order: list[str] = []

    def side(name: str) -> Side:
        def run() -> int:
            order.append(name)
            return 3

        return Side(name, run, lambda: order.append("closed " + name))

    result = alternate("work", "things/s", [side("a"), side("b")], rounds=2)
    assert order == ["a", "b"] * 3 + ["closed b", "closed a"]
    assert result.samples == 3 and {name: len(rates) for name, rates in result.rates.items()} == {"a": 2, "b": 2}
    known = Measured("work", "things/s", 3, {"a": [8.0, 2.0, 6.0], "b": [2.0, 1.0, 1.0]})
    assert known.median("a") == 6 and known.ratios() == {"b": 4.0}  # of 4, 2 and 6
    assert known.plain()["ratio"] == {"b": 4.0} and known.plain()["median"] == {"a": 6, "b": 1}


def test_sides_that_do_different_amounts_of_work_are_an_error() -> None:
    with pytest.raises(RuntimeError, match="different amounts of work"):
        alternate("work", "things/s", [Side("a", lambda: 3), Side("b", lambda: 4)], rounds=1)


@LIGHTLY_HAS
def test_views_of_all_libraries_are_as_many_and_as_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each side asserts the size of what it makes; the number is compared by `alternate`."""
    monkeypatch.setattr(views, "SIZES", {32: (32, 4, 8)})
    peers = ["lightly", "torchvision", *(["kornia"] if find_spec("kornia") else [])]
    (result,) = views.bench(peers, rounds=1, quick=True)
    assert list(result.rates) == ["ssl_zoo", *peers] and result.samples == 8
    assert any(note.startswith("colour: matrix differs from exact by ") for note in result.notes)


def test_the_default_colour_is_near_the_exact_one() -> None:
    found = views.colour_difference(48)
    assert 0 < found.mean < 5 < found.change  # the option's documentation: about 3
    assert found.mean < found.high


def test_data_are_read_by_every_source_and_decoder() -> None:
    results = data.bench(rounds=1, quick=True)
    images, others = results[:4], results[4:]
    assert [set(result.rates) for result in images] == [
        {"folder", "zip", "parquet", "memory"}, {"Pillow (ssl_zoo)", "torchvision.io"}
    ] * 2  # fmt: skip
    assert all(result.samples == 4 for result in images)
    named = [name for name, _ in data.examples()]
    left_out = [note for note in images[0].notes if "left out" in note]  # their packages are not installed
    assert named and len(others) + 2 * len(left_out) == 2 * len(named)
    for by_source, steps in zip(others[::2], others[1::2], strict=True):
        assert list(by_source.rates) == ["folder", "zip", "parquet"]
        assert list(steps.rates) == ["from memory", "from files", "step of a small encoder"]
        assert by_source.samples == steps.samples > 0 and steps.notes[0].startswith("views ")


@LIGHTLY_HAS
def test_evaluation_and_its_opponents_give_the_same_answers() -> None:
    knn, linear = evaluation.bench(["lightly"], rounds=1, quick=True)
    assert list(knn.rates) == ["ssl_zoo", "lightly", "the product alone"] and knn.samples == 64
    assert list(linear.rates) == ["all at once", "one by one", "plain probes"] and linear.samples == 2
    from lightly.utils.benchmarking import knn_predict

    bank, queries = evaluation.features(500, 16, 1), evaluation.features(64, 16, 2)
    theirs = knn_predict(queries.x, bank.x.T, bank.labels, 10, knn_k=200, knn_t=0.1)[:, 0]
    assert torch.equal(evaluation.classify(queries.x, bank.x, bank.labels, 200, 0.1, 10), theirs)


@LIGHTLY_HAS
def test_step_and_pipeline_train_the_recipe_and_say_what_limits() -> None:
    step, pipeline = suite.bench(["step", "pipeline"], against=["lightly"], rounds=1, quick=True)
    assert list(step.rates) == ["bare step"] and step.samples == 8
    assert list(pipeline.rates) == ["pipeline", "bare step", "lightly"] and pipeline.samples == 8
    assert any("limited by" in note for note in pipeline.notes)


def test_the_bare_step_moves_the_weights_and_leaves_the_run_usable() -> None:
    with suite.recipe_for("cifar10/simsiam", None, [], quick=True) as recipe:
        run = training.open_run(recipe)
        before = [weight.clone() for weight in run.method.parameters()]
        to_batch = run.trainer.to_batch
        training.step_side(run).run()
        assert run.trainer.to_batch is to_batch and run.trainer.step == 1
        assert not all(map(torch.equal, before, run.method.parameters()))


def test_the_command_prints_json_and_writes_a_page(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nafter\n", encoding="utf-8")
    result = cli("step", "--quick", "--rounds", 1, "--json", "--write", page)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["results"][0]["unit"] == "images/s" and report["machine"]["cores"] >= 1
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- bench:begin -->\n\n| work ")
    assert text.endswith("\n\n<!-- bench:end -->\nafter\n")
    assert "old" not in text and "bare step" in text


def test_the_profile_names_the_costs_of_a_step() -> None:
    costs = json.loads(cli("--quick", "--profile", "--json").stdout)
    assert 0 < sum(costs.values()) <= 1 and list(costs.values()) == sorted(costs.values(), reverse=True)
    assert any(name.startswith("aten::") for name in costs)


def test_what_is_not_there_is_one_sentence(tmp_path) -> None:
    for arguments, words in (
        (["flight"], "unknown part 'flight'"),
        (["views", "--against", "solo"], "unknown library 'solo'"),
        (["step", "--quick", "--rounds", 1, "--write", tmp_path / "none.md"], "there is no such file"),
    ):
        result = cli(*arguments)
        assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1 and words in result.stderr
    with pytest.raises(UserError, match="pip install nothing"):
        needs("no_such_library", "nothing", "--against no_such_library")
    with pytest.raises(UserError, match="known are"):
        views_side("solo", torch.zeros(1, 3, 8, 8, dtype=torch.uint8), 8, 0.5, 1)
