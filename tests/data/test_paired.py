"""Samples that are mappings: views of each member, and the sources that put members together."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from ssl_zoo.batch import InputSpec, View
from ssl_zoo.data.bad_samples import BadData, BadSample
from ssl_zoo.data.open import OpenData
from ssl_zoo.data.paired import PairedViews
from ssl_zoo.errors import UserError
from ssl_zoo.methods.build import build_modality, build_views, open_recipe_data
from ssl_zoo.rng import generator
from tests.pairs import DIGITS, cross, samples


def policy(*overrides: str) -> PairedViews:
    built = build_views(cross("simsiam", overrides))
    assert isinstance(built, PairedViews)
    return built


def open_data(*overrides: str, path: Path | None = None) -> OpenData:
    place = [] if path is None else [f"data.source={{name: pairs, path: {path}}}"]
    recipe = cross("simsiam", [*place, *overrides])
    return open_recipe_data(recipe, build_views(recipe).spec)


# ---- views -----------------------------------------------------------------------------------------------------------


def test_views_of_the_members_stand_side_by_side() -> None:
    made = policy()
    spec = made.spec
    assert isinstance(spec, InputSpec) and list(spec.each) == ["photo", "sketch"]
    drawn = made.draw(generator(0, "views"), 6)
    views = made(made.collate(made.cut(samples(), drawn), drawn))
    assert [(v.modality, v.role, tuple(v.tensor.shape)) for v in views] == [
        (name, view.role, (6, *view.shape)) for name, view in spec.named_views
    ]
    looks = made.looks(samples())
    assert [(v.modality, tuple(v.tensor.shape)) for v in looks] == [("photo", (6, 3, 12, 12)), ("sketch", (6, 1, 8, 8))]
    picture = made.picture(samples(2), [view.map(lambda x: x[:2]) for view in views])
    assert picture.dtype == torch.uint8 and picture.shape[0] == 3
    with pytest.raises(UserError, match=r"photo \+ sketch have a plain view for each member"):
        made.plain(samples())


def test_a_members_draws_depend_on_no_other_member() -> None:
    def drawn(*overrides: str) -> dict[str, torch.Tensor]:
        return policy(*overrides).draw(generator(3, "views"), 5)

    one, other = drawn(), drawn("views.photo.num_views=4")
    mine = [name for name in one if name.startswith("sketch.")]
    assert mine and all(torch.equal(one[name], other[name]) for name in mine)
    assert all(len(value) == 5 for value in one.values())


def test_the_modality_of_pairs_is_that_of_each_member() -> None:
    recipe = cross("simsiam")
    modality = build_modality(recipe, policy().spec)
    sample = samples(1)[0]
    assert modality.describe(sample) == "photo 14x14, sketch 10x9" and modality.values(sample) is None
    assert modality.nbytes(modality.kept(sample)) == 3 * 14 * 14 + 10 * 9 and modality.media(sample) == []
    assert modality.raw(View(torch.zeros(2, 1, 8, 8), "sketch")).shape == (2, 64)
    with pytest.raises(BadSample, match="one file holds no sample of photo"):
        modality.decode(b"", "a")


# ---- sources ---------------------------------------------------------------------------------------------------------


def png(seed: int, channels: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 20, 3)[: 2 + (channels == 3)], dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def table(path: Path, lacking: int | None = None) -> Path:
    rows = [
        {
            "image": {"bytes": png(i, 3), "path": f"a_{i}.png"},
            "lines": None if i == lacking else png(100 + i, 1),
            "label": i % 3,
        }
        for i in range(30)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path / "pairs.parquet")
    return path / "pairs.parquet"


def write(folder: Path, name: str, seed: int, channels: int) -> None:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(png(seed, channels))


COLUMNS = "data.source.columns={sketch: lines}"
SKIP = ("data.on_error=skip", "data.bad_budget=0.1")


def test_columns_of_a_parquet_file_are_the_members(tmp_path: Path) -> None:
    data = open_data(COLUMNS, path=table(tmp_path))
    sample = data.train.read(7)
    assert {name: tuple(part.shape) for name, part in sample.items()} == {"photo": (3, 20, 20), "sketch": (1, 20, 20)}
    assert torch.equal(sample["sketch"][0], torch.from_numpy(np.array(Image.open(io.BytesIO(png(107, 1))))))
    assert data.train.labels is not None and data.train.labels.tolist() == [i % 3 for i in range(30)]
    assert data.train.name(7) == "row 7 of pairs.parquet" and data.test is None


def test_names_of_one_member_hold_the_test_out_for_all(tmp_path: Path) -> None:
    data = open_data(COLUMNS, "data.source.test=['*_2?.png']", path=table(tmp_path))
    assert data.test is not None and (len(data.train), len(data.test)) == (20, 10)
    assert [data.test.name(i) for i in range(2)] == ["row 20 of pairs.parquet", "row 21 of pairs.parquet"]
    assert data.test.labels is not None and data.test.labels.tolist() == [i % 3 for i in range(20, 30)]


def test_a_missing_half_is_a_bad_sample(tmp_path: Path) -> None:
    path = table(tmp_path, lacking=4)
    with pytest.raises(BadData, match="cannot read row 4 of pairs.parquet: sketch: the row holds no sample; correct"):
        open_data(COLUMNS, path=path)
    data = open_data(COLUMNS, *SKIP, path=path)
    assert len(data.train) == 29 and data.bad == {"row 4 of pairs.parquet": "sketch: the row holds no sample"}
    assert data.train.labels is not None and data.train.labels[:5].tolist() == [0, 1, 2, 0, 2]


def test_files_of_the_same_path_in_two_trees_belong_together(tmp_path: Path) -> None:
    for i in range(12):
        for split in ("train", "test"):
            write(tmp_path, f"photos/{split}/c{i % 2}/{i}.png", i, 3)
            if (i, split) != (5, "train"):
                write(tmp_path, f"lines/{split}/c{i % 2}/{i}.bmp", i, 1)
    folders = "data.source.folders={photo: photos, sketch: lines}"
    with pytest.raises(BadData, match=r"photos/train/c1/5.png: its sketch is missing; correct"):
        open_data(folders, path=tmp_path)
    data = open_data(folders, *SKIP, path=tmp_path)
    assert data.test is not None and (len(data.train), len(data.test)) == (11, 12)
    assert data.notes[-1] == "1 of 24 samples lack a member, for example train/c1/5 has no sketch."
    assert data.test.class_names == ["c0", "c1"]
    place = data.test.name(0)
    assert "photos/test/c0/0.png + " in place and "lines/test/c0/0.bmp" in place


def test_files_of_the_same_name_belong_together_where_no_paths_agree(tmp_path: Path) -> None:
    for i in range(6):
        write(tmp_path, f"a/x{i % 2}/{i}.png", i, 3)
        write(tmp_path, f"b/y/{i}.png", i, 1)
    folders = "data.source.folders={photo: a, sketch: b}"
    data = open_data(folders, path=tmp_path)
    assert len(data.train) == 6 and any("belong together by their names" in note for note in data.notes)
    with pytest.raises(UserError, match="no samples belong together by their names, such as"):
        open_data(folders, "data.source.match=path", path=tmp_path)
    write(tmp_path, "b/z/3.png", 3, 1)
    with pytest.raises(UserError, match="several files of the member sketch are called 3, so that it is not clear"):
        open_data(folders, path=tmp_path)


def test_a_path_is_recognised(tmp_path: Path) -> None:
    from ssl_zoo.recipe.load import load_recipe
    from tests.pairs import ENCODER, VIEWS

    recipe = load_recipe("vicreg", [VIEWS, ENCODER], data=str(table(tmp_path)))
    assert recipe.data.source is not None and recipe.data.source.name == "pairs"


def test_same_label_joins_samples_of_a_class_once_and_for_all() -> None:
    lazily = "data.cache=none"
    data, again = open_data(DIGITS, lazily), open_data(DIGITS, lazily)
    assert data.test is not None and data.train.class_names == [str(i) for i in range(10)]
    assert [data.train.name(i) for i in range(40)] == [again.train.name(i) for i in range(40)]
    labels, names = data.train.labels, [data.train.name(i) for i in range(len(data.train))]
    assert labels is not None and labels.min() == 0 and labels.max() == 9
    photos = [name.partition(" + ")[0] for name in names]
    sketches = [name.partition(" + ")[2] or name for name in names]
    assert len(set(sketches)) == len(sketches)  # each of the larger source comes once
    counts = torch.tensor([photos.count(name) for name in dict.fromkeys(photos)])
    assert int(counts.max() - counts.min()) <= 1 + 1  # and of the other about equally often, within a class
    held = {data.test.name(i).partition(",")[0] for i in range(len(data.test))}
    assert not held & {name.partition(",")[0] for name in names}
    assert data.notes[0] == "pairs are made of samples with the same label, which no method sees."
    other = open_data(DIGITS, lazily, "data.source.seed=1")
    assert [other.train.name(i) for i in range(40)] != names[:40]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data.source={name: same_label, sources: {photo: digits}}"], "sources: has none for the member 'sketch'"),
        ([DIGITS, "data.source.sources.sound=digits"], "data.source.sources.sound: the views have no such member"),
        (["data.source={name: same_label, sources: {photo: digits, sketch: digit}}"], "sources.sketch: unknown source"),
        ([DIGITS, "data.source.sources.photo.placement=2"], "data.source.sources.photo: source 'digits': placement"),
        (["data.source={name: pairs, path: nowhere}"], "the data path nowhere does not exist"),
        (
            ["data.source={name: pairs, path: x, columns: {sound: a}}"],
            "data.source.columns.sound: the views have no such",
        ),
    ],
)
def test_mistakes_are_one_sentence(overrides: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        open_data(*overrides)
    assert "\n" not in str(caught.value)


def test_a_column_that_is_not_there_names_the_member(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="member sketch: .*pairs.parquet has no column line with encoded samples"):
        open_data("data.source.columns={sketch: line}", path=table(tmp_path))
