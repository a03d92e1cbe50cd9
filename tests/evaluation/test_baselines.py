"""Baselines are measured once for several runs, and whatever they depend on asks for another measurement."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_zoo.data.open import OpenData
from ssl_zoo.evaluation import representations
from ssl_zoo.evaluation.contract import protocol_class
from ssl_zoo.evaluation.evaluate import measure
from ssl_zoo.evaluation.protocols.knn import KNN
from ssl_zoo.methods.build import build_encoder, build_views, open_recipe_data
from ssl_zoo.recipe.model import Recipe, parse
from ssl_zoo.training.train import train
from tests.tiny import small

PROTOCOLS: list[Any] = [{"name": "knn", "k": 3}, "label_free", {"name": "view_retrieval"}]


def recipe_of(method: str = "simsiam", **changes: Any) -> Recipe:
    raw = small(method).dump()
    raw["views"] = {"name": "augment", "channels": 1, "size": 12, "mean": [0.5], "std": [0.5]}
    raw["data"] = {"source": {"name": "digits", "placements": 1}, "num_workers": 0}
    raw["evaluation"] = {"protocols": PROTOCOLS, "limit": 60}
    raw["training"] |= {"batch_size": 32, "max_steps": 2}
    for key, value in changes.items():
        raw[key] = raw[key] | value if isinstance(value, dict) else value
    return parse(raw, "recipe")


class Measurements:
    """Counts what is measured of baselines: once for each of the two and each class of what protocols see."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.num = 0
        measured = representations.evaluate_features

        def counted(*features: Any) -> Any:
            self.num += 1
            return measured(*features)

        monkeypatch.setattr(representations, "evaluate_features", counted)

    def of(self, recipe: Recipe, folder: Path | None, data: OpenData | None = None) -> tuple[dict[str, Any], int]:
        """Return the baselines of a recipe, with what was told, and how many were measured."""
        policy = build_views(recipe)
        data = data or open_recipe_data(recipe, policy.spec)
        lines: list[str] = []
        self.num = -len({protocol_class(part.name).sees for part in recipe.evaluation.protocols})  # of the encoder
        found = measure(
            recipe, build_encoder(recipe), policy, data, torch.device("cpu"), log=lines.append, baselines=folder
        )
        del found["encoder"]
        return {"found": found, "lines": lines}, self.num


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Measurements:
    return Measurements(monkeypatch)


def test_they_are_measured_once_and_are_bit_for_bit_those_measured_anew(count: Measurements, tmp_path: Path) -> None:
    plain, _ = count.of(recipe_of(), None)
    first, measured = count.of(recipe_of(), tmp_path)
    assert measured == 4 and first == plain
    again, measured = count.of(recipe_of("byol"), tmp_path)  # another method on the same encoder, views and data
    assert measured == 0 and again == plain
    assert list(plain["found"]["raw"]) == ["knn", "label_free", "view_retrieval"]


@pytest.mark.parametrize(
    ("changes", "measured"),
    [
        ({"seed": 1}, 2),
        ({"views": {"blur": 0.9}}, 2),  # only of protocols that see the augmentation
        ({"evaluation": {"limit": 50}}, 4),
        ({"data": {"source": {"name": "digits", "placements": 2}}}, 4),
        ({"training": {"base_lr": 9.0}}, 0),
    ],
)
def test_whatever_they_depend_on_asks_for_another_measurement(
    count: Measurements, tmp_path: Path, changes: dict[str, Any], measured: int
) -> None:
    count.of(recipe_of(), tmp_path)
    other = recipe_of(**changes)
    kept, found = count.of(other, tmp_path)
    assert found == measured
    assert kept == count.of(other, None)[0]


def test_another_version_of_a_protocol_and_other_pixels_under_the_same_names_are_others(
    count: Measurements, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(evaluation={"protocols": [{"name": "knn", "k": 3}]})
    data = open_recipe_data(recipe, build_views(recipe).spec)
    count.of(recipe, tmp_path, data)
    assert count.of(recipe, tmp_path, data)[1] == 0
    monkeypatch.setattr(KNN, "version", 2)
    assert count.of(recipe, tmp_path, data)[1] == 2
    data.train.data.bitwise_not_()  # type: ignore[attr-defined]
    assert count.of(recipe, tmp_path, data)[1] == 2


def test_a_file_that_is_damaged_is_measured_and_written_again(count: Measurements, tmp_path: Path) -> None:
    recipe = recipe_of(evaluation={"protocols": [{"name": "knn", "k": 3}]})
    wanted, _ = count.of(recipe, tmp_path)
    whole = {path: path.read_text() for path in tmp_path.iterdir()}
    assert len(whole) == 2
    one, other = (json.loads(text) for text in whole.values())
    path = next(iter(whole))
    for damage in ("", "[]", whole[path][:-9], json.dumps({**one, "key": {}}),
                   json.dumps({**one, "content": other["content"]})):  # fmt: skip
        path.write_text(damage)
        found, measured = count.of(recipe, tmp_path)
        assert found == wanted and measured == 1
        assert path.read_text() == whole[path]


def test_protocols_that_read_more_are_measured_for_each_run(count: Measurements, tmp_path: Path) -> None:
    transfer = {"name": "transfer", "data": {"more": {"name": "digits", "placements": 1}}, "protocols": [PROTOCOLS[0]]}
    recipe = recipe_of(evaluation={"protocols": [transfer]})
    assert count.of(recipe, tmp_path)[1] == count.of(recipe, tmp_path)[1] == 1


def test_runs_share_them_and_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    places = {"plain": None, "first": tmp_path / "kept", "second": tmp_path / "kept", "odd": tmp_path / "file"}
    found = {
        name: train(recipe_of(), out=tmp_path / name, baselines=place, log=lambda line: None)["baselines"]
        for name, place in places.items()
    }
    assert found["plain"]["raw"] and len({json.dumps(each) for each in found.values()}) == 1
    assert len(list((tmp_path / "kept").iterdir())) == 4
