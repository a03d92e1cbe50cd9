"""Several sources as one: each sample once, or exact shares of an epoch; classes by name; resumable and sharded."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from ssl_zoo.data import Loader, Split, load
from ssl_zoo.data.draws import counts_of
from ssl_zoo.errors import UserError
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.registry import build
from tests.tiny import image_source

NUMS = {"few": {"cat": 2, "dog": 1}, "many": {"dog": 5, "emu": 4}}
"""Files of each class in each folder."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mixed")
    for folder, classes in NUMS.items():
        for kind, num in classes.items():
            (root / folder / kind).mkdir(parents=True)
            for i in range(num):
                Image.new("L", (8, 8), 9 * i).save(root / folder / kind / f"{i}.png")
    return root


def parts(root: Path) -> list[dict[str, Any]]:
    return [{"name": "folder", "path": str(root / name)} for name in NUMS]


def train(root: Path, **options: Any) -> Split:
    return image_source("mix", 1, sources=parts(root), **options).split("train")


def test_each_sample_once_with_classes_by_name(root: Path) -> None:
    split = train(root)
    assert len(split) == 12 and split.class_names == ["cat", "dog", "emu"] and split.draws is None
    assert split.labels is not None and split.labels.tolist() == [0, 0, 1] + [1] * 5 + [2] * 4
    assert split.name(3) == str(root / "many/dog/0.png") and split.read(4)[0, 0, 0] == 9
    sizes = split.sizes()
    assert sizes is not None and list(sizes)[3] == (root / "many/dog/0.png").stat().st_size


def test_names_tell_sources_apart_that_have_no_paths() -> None:
    source = image_source("mix", 1, sources=[{"name": "digits", "placements": 1, "canvas": size} for size in (16, 17)])
    split = source.split("test")
    assert split.name(0).startswith("digits: digit ")
    assert split.name(len(split) - 1).startswith("digits-2: digit ")
    assert source.splits == ("train", "test") and split.class_names == [str(i) for i in range(10)]


def seen(split: Split, epochs: int, start: int = 0, rank: int = 0, ranks: int = 1, seed: int = 0) -> list[list[int]]:
    policy = build("views", "augment", {"channels": 1, "size": 8, "mean": [0.5], "std": [0.5]})
    loader = Loader(split, policy, batch_size=4, seed=seed, rank=rank, num_ranks=ranks)
    stop = epochs * loader.steps_per_epoch
    return [[i for raw in step for i in raw.index.tolist()] for step in loader.iterate(start, stop)]


@pytest.mark.parametrize("cache", ["none", "memory"])
def test_an_epoch_has_exact_shares(root: Path, cache: Any) -> None:
    """Of 12 samples 8 are of the 3 few, each 2 or 3 times, and 4 of the 9 many, others in each epoch."""
    split = load(train(root, weights=[2, 1]), cache)
    steps = seen(split, 6)
    assert len(steps) == 18
    few, many = Counter[int](), Counter[int]()
    for epoch in range(6):
        drawn = Counter(i for step in steps[3 * epoch : 3 * epoch + 3] for i in step)
        assert sum(num for i, num in drawn.items() if i < 3) == 8
        assert all(drawn[i] in (2, 3) for i in range(3)) and all(drawn[i] <= 1 for i in range(3, 12))
        few.update({i: num for i, num in drawn.items() if i < 3})
        many.update({i: num for i, num in drawn.items() if i >= 3})
    assert sum(few.values()) == 48 and sum(many.values()) == 24 and len(many) >= 8
    assert len(split) == 12  # an evaluation sees each once


def test_it_is_a_function_of_the_step_and_of_no_process(root: Path) -> None:
    split = train(root, weights=[1, 1])
    whole = seen(split, 4)
    assert seen(split, 4, start=5) == whole[5:] and seen(split, 4, seed=1) != whole
    shards = [seen(split, 4, rank=rank, ranks=2) for rank in range(2)]
    assert [one + two for one, two in zip(*shards, strict=True)] == whole


def test_counts_are_whole_and_sum_up() -> None:
    assert counts_of([1, 1, 1], 10) == [4, 3, 3] and counts_of([0.3, 0.7], 10) == [3, 7]
    assert counts_of([1e-9, 1], 5) == [0, 5]


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"weights": [1]}, "1 for 2 sources; give one for each"),
        ({"weights": [1, 0]}, "greater than 0"),
        ({"weights": [1, -2]}, "greater than 0"),
        ({"weights": [1e-9, 1]}, "of 12 samples in an epoch none is of few"),
        ({"epoch": 4}, "goes with data.source.weights"),
        ({"sources": []}, "at least 1 item"),
        ({"sources": ["nothing"]}, "unknown source 'nothing'"),
        ({"sources": [{"name": "digits", "size": 3}]}, "unknown key"),
        ({"sources": ["digits", "digits"]}, "digits is named twice; give it more weight"),
        ({"sources": [{"name": "folder", "path": "nowhere"}]}, "sources.0: the data path nowhere does not exist"),
    ],
)
def test_what_cannot_be_mixed(root: Path, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        image_source("mix", 1, **{"sources": parts(root), **options}).split("train")


def test_several_places_mean_a_mix(root: Path) -> None:
    places = [str(root / name) for name in NUMS]
    source = load_recipe("simsiam", data=places).data.source
    assert source is not None and source.name == "mix"
    assert [part["path"] for part in source.options["sources"]] == places
    weighed = load_recipe("simsiam", ["data.source.weights=[1, 3]"], data=places).data.source
    assert weighed is not None and weighed.options["weights"] == [1, 3]
    alone = load_recipe("simsiam", data=places[:1]).data.source
    assert alone is not None and alone.name == "folder"


def test_a_moved_mix_keeps_its_options(root: Path, tmp_path: Path) -> None:
    options = ["data.source.weights=[1, 3]", "data.source.sources.0.labels=none"]
    recipe = load_recipe("simsiam", options, data=[str(root / name) for name in NUMS])
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    moved = load_recipe(str(tmp_path), data=[str(root / "many"), str(root / "few")], moved=True).data.source
    assert moved is not None and moved.options["weights"] == [1, 3]
    assert [part["labels"] for part in moved.options["sources"]] == ["none", "auto"]
    assert [Path(part["path"]).name for part in moved.options["sources"]] == ["many", "few"]


def test_sources_without_labels_have_none(root: Path) -> None:
    source = image_source("mix", 1, sources=[{**parts(root)[0], "labels": "none"}, parts(root)[1]])
    labels = source.split("train").labels
    assert torch.equal(labels, torch.tensor([-1] * 3 + [0] * 5 + [1] * 4))
    assert any("no labels in few" in note for note in source.notes)
