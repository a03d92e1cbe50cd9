"""Texts as samples: files, cells of tables, and what cannot be read; the bag of tokens; a file of lines."""

import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ssl_zoo import registry
from ssl_zoo.batch import View
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.open import open_data
from ssl_zoo.errors import UserError
from ssl_zoo.methods.build import build_modality, build_views
from ssl_zoo.modalities.text.modality import Text
from ssl_zoo.recipe.load import load_recipe
from tests.modalities.text.sort import spec_of


def text(**options) -> Text:
    return registry.build("modality", "text", options, spec=spec_of())


def lines(path, **options):
    return registry.build("source", "lines", {"path": str(path), **options}, modality=text())


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"caf\xe9 au lait", "it is not UTF-8: byte 3 is 0xe9"),
        (b"\xef\xbb\xbfcaf\xe9 au lait", "it is not UTF-8: byte 6 is 0xe9"),
        ("caf\u00e9".encode()[:-1], "it is not UTF-8: byte 3 is 0xc3"),
        ("a dog".encode("utf-16"), "it is not UTF-8: byte 0 is 0xff"),
        ("a dog".encode("utf-16-le"), "byte 1 is zero"),
        (b"", "the text is empty"),
        (b" \n\t\r\n", "the text is empty"),
        (b"\xef\xbb\xbf", "the text is empty"),
        (b"x" * 101, "101 bytes, more than the 100 that are allowed; raise data.decode.max_bytes"),
    ],
)
def test_what_is_no_text_is_named_with_its_place(content: bytes, reason: str) -> None:
    with pytest.raises(BadSample) as caught:
        text(max_bytes=100).decode(content, "a.txt")
    assert caught.value.name == "a.txt" and caught.value.reason.startswith(reason)


def test_a_cell_is_a_string_a_list_or_bytes() -> None:
    modality = text(max_bytes=12)
    assert modality.from_value("a dog", "row 1") == ("a dog",)
    assert modality.from_value(["a dog", None, " ", "été"], "row 1") == ("a dog", "été")
    assert modality.from_value(b"\xef\xbb\xbfa dog", "row 1") == ("a dog",)
    for value in ([], [None], ["", "  "], ""):
        with pytest.raises(BadSample, match="cannot read row 1: the text is empty"):
            modality.from_value(value, "row 1")
    for value in (["a dog", 3], 3, {"a": "dog"}):
        with pytest.raises(BadSample, match=r"cannot read row 1: an? (int|dict), not a text"):
            modality.from_value(value, "row 1")
    with pytest.raises(BadSample, match="16 bytes, more than the 12"):
        modality.from_value(["a dog", "été été"], "row 1")


def test_a_sample_is_described_weighed_and_shown() -> None:
    modality, one, two = text(), ("a big dog",), ("a dog", "a very big dog")
    assert modality.describe(one) == "3" and modality.describe(two) == "2 texts, 6"
    assert modality.nbytes(two) > modality.nbytes(one) > 9
    assert [(each.mime, each.data) for each in modality.media(("été", "a"))] == [
        ("text/plain", "été".encode()),
        ("text/plain", b"a"),
    ]
    assert modality.values(one) is None


def test_the_raw_features_are_shares_of_tokens() -> None:
    modality = registry.build("modality", "text", {}, spec=spec_of(vocabulary=6))
    x = torch.tensor([[1, 2, 2, 5, 0, 0], [3, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    expected = torch.tensor([[0.25, 0.5, 0, 0, 0.25], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]])
    torch.testing.assert_close(modality.raw(View(x)), expected)
    folded = modality.raw(View(x), max_dim=3)
    assert folded.shape == (3, 3)
    torch.testing.assert_close(folded.sum(dim=1), expected.sum(dim=1))
    assert folded[0].max() >= 0.5  # equal tokens share a place


def test_captions_are_read_with_all_their_texts(shared_data) -> None:
    recipe = load_recipe("text/simsiam", data=str(shared_data / "captions.parquet"))
    policy = build_views(recipe)
    data = open_data(recipe.data.source, build_modality(recipe, policy.spec))
    assert len(data.train) == 1000 and {len(data.train.read(i)) for i in range(1000)} == {5}
    assert data.train.read(0)[1] == "A girl going into a wooden building ."


def test_a_string_of_a_table_that_is_not_utf8_is_named(tmp_path) -> None:
    """Parquet does not look at what it is told are strings."""
    content = pa.array([b"a dog", b"caf\xe9 au lait", None, b" "]).view(pa.binary())
    strings = pa.Array.from_buffers(pa.string(), 4, content.buffers())
    pq.write_table(pa.table({"text": strings}), tmp_path / "one.parquet")
    pq.write_table(pa.table({"caption": pa.ListArray.from_arrays([0, 1, 2, 4], strings)}), tmp_path / "several.parquet")
    for name, empty in (("one", "the row holds no sample"), ("several", "the text is empty")):
        path = str(tmp_path / f"{name}.parquet")
        split = registry.build("source", "parquet", {"path": path}, modality=text()).split("train")
        assert split.read(0) == ("a dog",)
        with pytest.raises(BadSample, match=rf"cannot read row 1 of {name}\.parquet: it is not UTF-8: byte 3 is 0xe9"):
            split.read(1)
        with pytest.raises(BadSample, match=empty):
            split.read(2)


def test_lines_of_a_file_are_texts(tmp_path) -> None:
    path = tmp_path / "train.txt"
    path.write_bytes("\ufeffa dog\r\n\n  \nzwei\tH\u00fcte\nlast".encode())
    source = lines(path)
    split = source.split("train")
    assert source.splits == ("train",) and split.labels is None
    assert [split.read(i) for i in range(3)] == [("a dog",), ("zwei\tHüte",), ("last",)]
    assert split.name(1) == f"line 4 of {path}"
    assert source.notes == (f"{path}: 2 blank lines are left out, such as line 2.",)
    again = pickle.loads(pickle.dumps(split))
    assert [again.read(i) for i in range(3)] == [split.read(i) for i in range(3)]


def test_lines_have_columns_of_texts_and_of_labels(tmp_path) -> None:
    (tmp_path / "a.tsv").write_text("animal\ta dog\tein Hund\nthing\ta cup\teine Tasse\nanimal\ta cat\t\n")
    (tmp_path / "b.tsv").write_text("thing\ta pan\n")
    source = lines(tmp_path / "a.tsv", test=str(tmp_path / "b.tsv"), label=1)
    train, test = source.split("train"), source.split("test")
    assert source.splits == ("train", "test") and train.class_names == test.class_names == ["animal", "thing"]
    assert train.labels.tolist() == [0, 1, 0] and test.labels.tolist() == [1]
    assert [train.read(i) for i in range(3)] == [("a dog", "ein Hund"), ("a cup", "eine Tasse"), ("a cat",)]
    german = lines(tmp_path / "a.tsv", texts=[3]).split("train")
    assert german.read(0) == ("ein Hund",) and german.labels is None
    with pytest.raises(BadSample, match=r"cannot read line 3 of .*a\.tsv: the text is empty"):
        german.read(2)


def test_bad_lines_are_named(tmp_path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x\ta dog\ny\tcaf\xe9\n\ta cat\n")
    split = lines(path).split("train")
    with pytest.raises(BadSample, match=r"cannot read line 2 of .*a\.txt: it is not UTF-8: byte 5 is 0xe9"):
        split.read(1)
    with pytest.raises(BadSample, match=r"cannot read column 2 of line 2 of .*: it is not UTF-8: byte 3 is 0xe9"):
        lines(path, texts=[2]).split("train").read(1)
    with pytest.raises(UserError, match=r"data\.source\.label: line 3 of .* has no label in column 1"):
        lines(path, label=1)
    with pytest.raises(UserError, match=r"data\.source\.texts: column 1 is the label"):
        lines(path, label=1, texts=[1, 2])
    (tmp_path / "blank.txt").write_text("\n \n")
    with pytest.raises(UserError, match="has no line that is not blank"):
        lines(tmp_path / "blank.txt")
    with pytest.raises(UserError, match="is no regular file"):
        lines(tmp_path)
    with pytest.raises(UserError, match="cannot read .*none.txt: No such file"):
        lines(tmp_path / "none.txt")


def test_a_file_of_lines_is_found_by_its_name(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("a dog\na cat\n")
    recipe = load_recipe("text/simsiam", data=str(tmp_path / "a.txt"))
    assert recipe.data.source.name == "lines"
    recipe = load_recipe("text/simsiam", data=str(tmp_path))
    assert recipe.data.source.name == "folder"
