"""What a user may give as data, and what is refused in one sentence."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from ssl_zoo.data import given
from ssl_zoo.data.given import Given, take
from ssl_zoo.data.items import listed_labels, number
from ssl_zoo.errors import UserError
from ssl_zoo.recipe.load import load_recipe


class NoLength(Dataset[int]):
    def __getitem__(self, i: int) -> int:
        return i


class Stream(IterableDataset[torch.Tensor]):
    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(torch.zeros(3, 1, 4, 4))


def test_places_and_data_sets_are_told_apart(tmp_path: Path) -> None:
    assert take(None) is None and take("digits") == "digits" and take(tmp_path) == str(tmp_path)
    assert take([tmp_path, "x"]) == [str(tmp_path), "x"] and take([str(tmp_path)]) == [str(tmp_path)]
    texts, arrays = take(["a text", "another"]), take(np.zeros((2, 4, 4), np.uint8))
    assert isinstance(texts, Given) and texts.train == ["a text", "another"]
    assert isinstance(arrays, Given) and arrays.part() == {
        "name": "python", "data": "numpy.ndarray of 2 samples", "test": None,
    }  # fmt: skip
    both = take({"train": [1], "validation": [2, 3]})
    assert isinstance(both, Given) and both.train == [1] and both.test == [2, 3]
    assert take(both) is both


def test_an_iterable_is_read_once_into_memory(monkeypatch: Any) -> None:
    for data in (Stream(), (x for x in torch.zeros(3, 1, 4, 4))):
        taken = take(data)
        assert isinstance(taken, Given) and len(taken.train) == 3 and "which has no length" in taken.notes[0]
    monkeypatch.setattr(given, "MOST_READ", 2)
    with pytest.raises(UserError, match="a Stream has no length and gives more than 2 samples; give a data set with"):
        take(Stream())


@pytest.mark.parametrize(
    "data, sentence",
    [
        (NoLength(), "data: the data set NoLength has no length; give it the method __len__"),
        ([], "data: the data set list of 0 samples is empty"),
        (iter([]), "gave no sample; an iterable can be read once only"),
        (3, "data: a int is no data set; give a torch Dataset"),
        ({"training": [1]}, "a mapping names its splits, .* its keys are training"),
        (DataLoader(TensorDataset(torch.zeros(2, 1))), "a DataLoader makes batches; give its data set"),
    ],
)
def test_what_is_no_data_set(data: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        take(data)


def test_a_test_set_goes_with_a_data_set() -> None:
    with pytest.raises(UserError, match="test= goes with a data set"):
        take("digits", [1])


def test_a_recipe_names_no_object() -> None:
    with pytest.raises(UserError, match="a ndarray is no place that a recipe can name; a Python data set is given to"):
        load_recipe("simsiam", data=np.zeros(3))  # type: ignore[arg-type]


def test_labels_are_found_without_reading_samples() -> None:
    whole = TensorDataset(torch.zeros(4, 1), torch.tensor([3, 1, 2, 1]))
    assert listed_labels(whole) == [3, 1, 2, 1] and listed_labels(Subset(whole, [2, 0])) == [2, 3]
    assert listed_labels(ConcatDataset([whole, Subset(whole, [1])])) == [3, 1, 2, 1, 1]
    assert listed_labels([torch.zeros(1)]) is None


def test_labels_are_numbered_from_0() -> None:
    labels, names, notes = number({"train": [1, 2, None, -1, 2.0], "test": [torch.tensor(2)]}, None, "data")
    assert [None if of is None else of.tolist() for of in labels.values()] == [[0, 1, -1, -1, 1], [1]]
    assert names == ["1", "2"] and notes == [
        "data: its labels start at 1; they are numbered from 0, and keep their names."
    ]
    labels, names, _ = number({"train": ["owl", "", "emu"], "test": None}, None, "data")
    assert labels["train"] is not None and labels["train"].tolist() == [1, -1, 0] and labels["test"] is None
    assert names == ["emu", "owl"]
    labels, names, notes = number({"train": [0, 2]}, ["a", "b", "c"], "data")
    assert labels["train"] is not None and labels["train"].tolist() == [0, 2] and names == ["a", "b", "c"] and not notes


@pytest.mark.parametrize(
    "labels, sentence",
    [
        ([1, "a"], "some labels are words and others numbers"),
        ([0.5], "the label 0.5 is neither a whole number nor a word"),
        ([np.zeros(3)], "a label of 3 numbers; give the number or the name of one class"),
    ],
)
def test_labels_that_mean_nothing(labels: list[Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        number({"train": labels}, None, "data")
