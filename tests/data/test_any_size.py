"""Samples of any size, kept in memory as their modality keeps them; texts in the columns of parquet files."""

import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from ssl_zoo.batch import InputSpec, ViewSpec
from ssl_zoo.data import BadSample, Split, load
from ssl_zoo.data import memory as module
from ssl_zoo.data.held import KeptSplit
from ssl_zoo.data.source import Modality
from ssl_zoo.data.sources.parquet import Parquet
from ssl_zoo.errors import UserError

SPEC = InputSpec("words", (ViewSpec("global", (1, 4)),))


class Words(Modality):
    """Strings, kept as the lengths of their words."""

    columns = ("text",)
    reads_text = True
    any_size = True

    def from_value(self, value, name: str) -> list[str]:
        texts = [value] if isinstance(value, str) else value
        if not any(texts):
            raise BadSample(name, "it has no text")
        return texts

    def kept(self, sample: list[str]) -> Tensor:
        if "unkeepable" in sample:
            raise BadSample("this one", "cannot be kept")
        return torch.tensor([len(word) for word in sample[0].split()], dtype=torch.uint8)


class Lines(Split):
    labels = torch.tensor([0, 1, 0, 1])

    def __init__(self) -> None:
        self.texts, self.reads = ["a bc", "one two three", "", "last"], 0

    def __len__(self) -> int:
        return 4

    def read(self, i: int) -> list[str]:
        self.reads += 1
        return Words(SPEC).from_value(self.texts[i], self.name(i))

    def name(self, i: int) -> str:
        return f"line {i}"


@pytest.mark.parametrize("cache", ["auto", "memory"])
def test_samples_of_any_size_are_kept_as_the_modality_keeps_them(cache):
    split = load(Lines(), cache, "skip", 0.3, Words(SPEC))
    assert isinstance(split, KeptSplit) and not split.stacked and split.nbytes == 2 + 3 + 1
    assert [split.read(i).tolist() for i in range(len(split))] == [[1, 2], [3, 3, 5], [4]]
    assert split.bad == {"line 2": "it has no text"} and split.labels.tolist() == [0, 1, 1]
    assert [split.name(i) for i in range(3)] == ["line 0", "line 1", "line 3"]
    assert load(split, cache, modality=Words(SPEC)) is split
    assert pickle.loads(pickle.dumps(split)).read(1).tolist() == [3, 3, 5]


def test_a_sample_that_cannot_be_kept_counts_as_unreadable():
    lines = Lines()
    lines.texts = ["a", "unkeepable", "b", "c"]
    with pytest.raises(UserError, match="this one.*cannot be kept"):
        load(lines, modality=Words(SPEC))


def test_what_does_not_fit_is_left_or_refused(monkeypatch):
    lines = Lines()
    lines.texts[2] = "word"
    monkeypatch.setattr(module, "AUTO_BYTES", 6)
    assert load(lines, "auto", modality=Words(SPEC)) is lines
    monkeypatch.setattr(module, "free_bytes", lambda: 4)
    with pytest.raises(UserError, match=r"data\.cache: memory needs more than .* after 2 of 4 samples"):
        load(lines, "memory", modality=Words(SPEC))
    lines.reads = 0
    assert load(lines, "none", modality=Words(SPEC)) is lines and lines.reads == 0


def test_columns_of_strings_and_of_lists_of_strings(tmp_path):
    for name, values in (("one", ["a b", "", "c"]), ("many", [["a b", "c"], [], None])):
        pq.write_table(pa.table({"text": values}), tmp_path / f"{name}.parquet")
    one, many = (
        Parquet(Words(SPEC), path=str(tmp_path / f"{name}.parquet")).split("train") for name in ("one", "many")
    )
    assert one.read(0) == ["a b"] and many.read(0) == ["a b", "c"]
    for split, row, reason in ((one, 1, "it has no text"), (many, 1, "it has no text"), (many, 2, "holds no sample")):
        with pytest.raises(BadSample, match=reason) as caught:
            split.read(row)
        assert caught.value.name.startswith(f"row {row} of ")


def test_a_column_may_be_named(tmp_path):
    pq.write_table(pa.table({"text": ["a", "b"], "summary": ["c", "d"]}), tmp_path / "t.parquet")
    assert Parquet(Words(SPEC), path=str(tmp_path / "t.parquet"), column="summary").split("train").read(1) == ["d"]
    with pytest.raises(UserError, match="has no column titles with encoded samples; its columns are text .*summary"):
        Parquet(Words(SPEC), path=str(tmp_path / "t.parquet"), column="titles")
