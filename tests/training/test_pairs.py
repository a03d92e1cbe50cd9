"""A run on pairs: it resumes exactly, and leaves a product that compares the members."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

import ssl_zoo
from ssl_zoo.errors import UserError
from ssl_zoo.methods.members import PairedEncoder
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.runs.folder import RunFolder
from tests.pairs import DIGITS, SHORT, batch_for, cross

ONE = "data.source.sources.sketch={name: digits, placements: 1}"


def run(out: Path, method: str = "byol", **options: object) -> dict[str, object]:
    recipe = cross(method, [DIGITS, ONE, *SHORT, "evaluation.protocols=[label_free]", "evaluation.limit=60"])
    return ssl_zoo.train(recipe, out=out, log=lambda line: None, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pairs") / "whole"
    assert run(out)["status"] == "done"
    return out


def test_a_resumed_run_is_the_same_bit_for_bit(whole: Path, tmp_path: Path) -> None:
    assert run(tmp_path / "run", stop_at=3)["status"] == "interrupted"
    summary = run(tmp_path / "run", resume=True)
    assert summary["status"] == "done"
    ours, theirs = (load_file(each / "encoder.safetensors") for each in (tmp_path / "run", whole))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    logs = [[record["loss"] for record in RunFolder(each).read_metrics()] for each in (tmp_path / "run", whole)]
    assert logs[0] == logs[1] and len(logs[0]) == 6
    other = json.loads((whole / "summary.json").read_text())
    assert summary["collapse"] == other["collapse"]


def test_the_product_holds_the_encoders_and_the_heads(whole: Path) -> None:
    product = ssl_zoo.load_encoder(whole)
    recipe = load_recipe(str(whole))
    assert isinstance(product.module, PairedEncoder) and recipe.members == ("photo", "sketch")
    card = json.loads((whole / "encoder.json").read_text())
    assert set(card["predictor"]) == {"per_direction"} and set(card["encoder"]) == {"photo", "sketch"}
    assert card["out_dim"] == {"photo": 6, "sketch": 5} and set(card["input"]["members"]) == {"photo", "sketch"}
    photo, *_, sketch = batch_for(recipe).views
    assert product.align(photo, "sketch").shape == product.embedding(sketch).shape == (6, 5)
    names = {name.partition(".")[0] for name in load_file(whole / "encoder.safetensors")}
    assert names == {"encoder", "projector", "predictor"}


def test_weights_of_a_run_start_another(whole: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    recipe = cross("byol", [DIGITS, ONE, *SHORT, "training.max_steps=1", "training.batch_size=8"])
    ssl_zoo.train(recipe, out=tmp_path / "run", init_from=whole, init_parts=["encoder", "projector"], log=lines.append)
    assert any(line.startswith("--init-from: encoder: 24 of 24 tensors taken") for line in lines), lines


def test_metrics_of_each_member_are_logged(whole: Path) -> None:
    (last,) = [record for record in RunFolder(whole).read_metrics() if record["step"] == 6]
    assert {"std", "std.photo", "std.sketch", "similarity_gap.sketch"} <= last["embedding"].keys()
    recipe = yaml.safe_load((whole / "recipe.yaml").read_text())
    assert recipe["data"]["source"]["name"] == "same_label"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"predictor": None}, "is not the card of an encoder of ssl_zoo"),
        ({"projector": {"each": {"name": "mpl"}}}, "unknown head 'mpl'"),
        ({"predictor": {"each": {"name": "mlp", "dims": [10, 5]}}}, "does not fit its card"),
        ({"encoder": {"photo": {"name": "convnet"}}}, "encoder.json: encoder: has no part for the member 'sketch'"),
    ],
)
def test_a_card_that_does_not_fit_is_one_sentence(whole: Path, tmp_path: Path, change: dict, words: str) -> None:
    card = json.loads((whole / "encoder.json").read_text()) | change
    (tmp_path / "encoder.json").write_text(json.dumps(card))
    (tmp_path / "encoder.safetensors").write_bytes((whole / "encoder.safetensors").read_bytes())
    with pytest.raises(UserError, match=words):
        ssl_zoo.load_encoder(tmp_path)
