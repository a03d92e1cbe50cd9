"""A kind of method and a strategy, each a plug-in in one file; SimSiam by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import ssl_zoo
from ssl_zoo import registry
from ssl_zoo.errors import UserError
from tests import contract
from tests.cli.conftest import TINY, run
from tests.examples.conftest import EXAMPLES, ran, sort
from tests.modalities.image.sort import SORT
from tests.runs.test_killed import same_end

MASKED = EXAMPLES / "masked_view.yaml"
SMALL = (
    "-s", "encoder.widths=[4, 8]", "-s", "projector.dims=[8, 8]", "-s", "predictor.dims=[4, 8]",
    "-s", "training.batch_size=16", "-s", "evaluation.limit=60", "-s", "evaluation.protocols=[knn, label_free]",
    "-s", "training.log_every=1", "-s", "data.num_workers=0",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def registered(plugins: Path) -> None:
    for module in ("timeseries", "masked_view", "noop_strategy"):
        registry.import_user_module(module)


@pytest.mark.parametrize("kind, name", [("method", "masked_view"), ("strategy", "noop")])
def test_they_are_documented(kind: str, name: str) -> None:
    contract.check_documented(kind, name)


def test_the_contract_of_the_kind_of_method_on_images_and_on_series() -> None:
    contract.check_method(ssl_zoo.load_recipe(str(MASKED), SMALL[1::2]), SORT)
    views = ["views=series", "views.num_views=1", "views.length=32", "encoder=conv1d", "encoder.widths=[4, 8]"]
    heads = ["projector.dims=[8, 8]", "predictor.dims=[4, 8]"]
    contract.check_method(ssl_zoo.load_recipe(str(MASKED), [*views, *heads]), sort())


def test_cells_are_masked_as_a_whole_in_all_channels(plugins: Path) -> None:
    from masked_view import mask

    torch.manual_seed(0)
    masked = mask(torch.ones(64, 3, 10, 15), 0.25, 5)
    assert set(masked.unique().tolist()) == {0.0, 1.0} and (masked == masked[:, :1]).all()
    cells = masked.unflatten(2, (5, 2)).unflatten(4, (5, 3))
    assert (cells == cells[:, :, :, :1, :, :1]).all() and abs(masked.mean().item() - 0.75) < 0.05
    assert mask(torch.ones(2, 3, 8), 0.5, 4).shape == (2, 3, 8)


def test_the_kind_of_method_trains_resumes_and_is_exported(tmp_path: Path) -> None:
    known = ("--import", "masked_view")
    ran(run("train", MASKED, *known, *SMALL, "--max-steps", 4, "--out", tmp_path / "whole"))
    summary = json.loads((tmp_path / "whole" / "summary.json").read_text())
    assert summary["status"] == "done" and set(summary["metrics"]) == {"knn", "label_free"}
    recipe = ssl_zoo.load_recipe(str(MASKED), [*SMALL[1::2], "training.max_steps=4"])
    assert ssl_zoo.train(recipe, out=tmp_path / "half", stop_at=2, log=lambda line: None)["status"] == "interrupted"
    ran(run("train", tmp_path / "half", *known, "--resume"))
    assert same_end(tmp_path / "half", tmp_path / "whole")
    assert ssl_zoo.load_encoder(tmp_path / "whole")(torch.zeros(2, 1, 20, 20)).shape == (2, 8)
    assert "masked_view" in ran(run("check", MASKED, *known)) and "ratio" in ran(
        run("show", "method/masked_view", *known)
    )


def test_options_of_the_kind_of_method_are_checked() -> None:
    with pytest.raises(UserError, match="ratio"):
        ssl_zoo.load_recipe(str(MASKED), ["ratio=1.5"])


def test_the_contract_of_the_strategy() -> None:
    contract.check_strategy("noop")


def test_a_run_with_the_strategy_ends_as_one_without(tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(TINY)
    ran(run("train", recipe, "--out", tmp_path / "without"))
    ran(run("train", recipe, "--import", "noop_strategy", "-s", "training.strategy=noop", "--out", tmp_path / "with"))
    ends = [tmp_path / name / "encoder.safetensors" for name in ("with", "without")]
    assert ends[0].read_bytes() == ends[1].read_bytes()
    ran(run("train", tmp_path / "with", "--import", "noop_strategy", "--resume"))


def test_simsiam_by_hand_trains(plugins: Path, capsys) -> None:
    import simsiam_by_hand

    loss, accuracy = simsiam_by_hand.main(steps=20)
    assert loss < -0.1 and accuracy > 0.3
    assert capsys.readouterr().out.startswith(f"loss {loss:.3f}, kNN accuracy {accuracy:.1%} (untrained: ")
    assert len(Path(simsiam_by_hand.__file__).read_text().splitlines()) < 80
