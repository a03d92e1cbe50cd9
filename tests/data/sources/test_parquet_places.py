"""Where parquet files lie, and what is no parquet file, or not a whole one."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ssl_zoo.errors import UserError
from ssl_zoo.recipe.resolve import resolve
from tests.tiny import image_source


def write(*paths: Path, table: pa.Table | None = None) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"image": [b"1", b"2"], "label": [0, 1]}) if table is None else table, path)


def source(path: Path, **options):
    part = resolve(str(path), "image")
    return image_source(part.pop("name"), 1, **{**part, **options})


def lengths(found) -> dict[str, int]:
    return {name: len(found.split(name)) for name in found.splits}


@pytest.mark.parametrize(
    "names",
    [
        ("data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"),
        ("default/train/0000.parquet", "default/test/0000.parquet"),
        ("Train-0.parquet", "Test-0.PARQUET"),
        ("train/0.parquet", "validation/0.parquet"),
        ("cifar_train.parquet", "cifar_test.parquet"),
    ],
)
def test_layouts_of_data_sets(tmp_path, names):
    write(*[tmp_path / name for name in names])
    found = source(tmp_path)
    assert lengths(found) == {"train": 2, "test": 2}
    assert found.split("train").name(1) == f"row 1 of {names[0]}"


def test_what_is_in_no_split_is_told(tmp_path):
    write(*[tmp_path / f"{name}.parquet" for name in ("train", "val", "test", "more")])
    assert source(tmp_path).notes == (
        f"the folder {tmp_path}: 1 parquet file in no split, not used; for example more.parquet.",
        f"the folder {tmp_path}: the val split is not used, since there is a test split.",
    )


def test_several_data_sets_are_refused(tmp_path):
    write(tmp_path / "a/train.parquet", tmp_path / "b/train.parquet")
    with pytest.raises(UserError, match=r"has the parquet files of several data sets, in a/ and b/; give one of these"):
        source(tmp_path)


def test_the_user_says_what_the_splits_are(tmp_path):
    write(tmp_path / "first-0.parquet", tmp_path / "first-1.parquet", tmp_path / "held/out.parquet")
    assert lengths(source(tmp_path, splits={"train": "first-*.parquet", "test": "held"})) == {"train": 4, "test": 2}
    assert lengths(source(tmp_path, splits="none")) == {"train": 6}
    with pytest.raises(UserError, match=r"has no parquet file 'second'; it has first-0\.parquet, first-1\.parquet"):
        source(tmp_path, splits={"train": "second"})
    with pytest.raises(UserError, match=r"is one file and so one split"):
        source(tmp_path / "first-0.parquet", splits={"train": "first-0"})


def test_images_beside_a_table_are_images(tmp_path):
    write(tmp_path / "metadata.parquet", table=pa.table({"file_name": ["cat/0.png"], "label": [0]}))
    with pytest.raises(UserError, match="no column image or img with encoded samples; its columns are file_name"):
        source(tmp_path)  # there is nothing else
    for kind in ("cat", "dog"):
        (tmp_path / kind).mkdir()
        Image.new("L", (2, 2)).save(tmp_path / kind / "0.png")
    found = source(tmp_path)
    assert lengths(found) == {"train": 2} and found.split("train").class_names == ["cat", "dog"]
    assert found.notes[0].endswith("by the ending: .parquet (1); for example metadata.parquet.")


def test_a_picture_beside_parquet_files_of_images_does_not_matter(tmp_path):
    write(tmp_path / "data/train-0.parquet")
    Image.new("L", (2, 2)).save(tmp_path / "thumbnail.png")
    assert lengths(source(tmp_path)) == {"train": 2}


@pytest.mark.parametrize(
    "columns",
    [
        {"image": pa.array([[b"1"]])},
        {"image": pa.array([{"bytes": [b"1"], "path": "x"}])},
        {"image": pa.array([{"path": "x"}])},
        {"image": pa.array([1])},
        {"picture": pa.array([b"1"])},
    ],
)
def test_other_types_are_one_sentence(tmp_path, columns):
    write(tmp_path / "a.parquet", table=pa.table(columns))
    with pytest.raises(UserError, match=r"has no column image or img with encoded samples; its columns are "):
        source(tmp_path / "a.parquet")


def test_columns_of_one_name_are_refused(tmp_path):
    table = pa.table([[b"1"], [0], [1]], ["image", "label", "label"])
    write(tmp_path / "a.parquet", table=table)
    with pytest.raises(UserError, match=r"has 2 columns called 'label'"):
        source(tmp_path / "a.parquet")


def test_a_file_that_is_cut_or_changed_is_one_sentence(tmp_path):
    path = tmp_path / "a.parquet"
    write(path, table=pa.table({"image": [bytes([i]) * 50 for i in range(50)], "label": [*range(50)]}))
    whole = path.read_bytes()
    for data in (whole[:200], whole[: len(whole) // 2], whole[:-1], whole[:4] + bytes(400) + whole[404:], b"PAR1", b""):
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"cannot read .*a\.parquet as a parquet file: "):
            source(path).split("train")


def test_a_claim_of_a_billion_rows_is_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "a.parquet"
    write(path, table=pa.table({"image": pa.nulls(500_000, pa.binary())}))
    with pytest.raises(UserError, match=r"is damaged: it claims to hold 500000 rows in \d+ bytes"):
        source(path)
