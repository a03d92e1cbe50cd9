"""The commands on made photographs: neighbours, duplicates and a curated list, from vectors computed and stored."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image, ImageEnhance

import ssl_zoo
from ssl_zoo.cli import main
from ssl_zoo.errors import UserError


def quiet(line: str) -> None:
    pass


def read(path: Path | str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(Path(path).read_text())))


@pytest.fixture(scope="module")
def features(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    for ending in ("parquet", "npz", "npy"):
        ssl_zoo.embed(run, folder / f"f.{ending}", log=quiet)
    return folder


@pytest.mark.parametrize("ending", [None, "parquet", "npz", "npy"])
def test_neighbours_are_those_of_the_stored_vectors(run, features, tmp_path, ending) -> None:
    given = None if ending is None else features / f"f.{ending}"
    found = ssl_zoo.neighbours(run, tmp_path / "n.csv", k=5, features=given, page=ending is None, log=quiet)
    table = pq.read_table(features / "f.parquet")
    x = np.array(table["vector"].to_pylist(), dtype=np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    cosines = x @ x.T
    np.fill_diagonal(cosines, -np.inf)
    names, rows = table["name"].to_pylist(), read(found["out"])
    assert found["num"] == found["queries"] == 48 and len(rows) == 48 * 5 and len(found["neighbours"]) == 240
    by_name = {name: i for i, name in enumerate(names)}
    for row in rows:
        i, j = by_name[row["query"]], by_name[row["name"]]
        assert abs(float(row["cosine"]) - cosines[i, j]) < 2e-6
        assert abs(cosines[i, j] - np.sort(cosines[i])[-int(row["rank"])]) < 1e-6
        assert (row["query_label"], row["label"]) == (Path(names[i]).parent.name, Path(names[j]).parent.name)
    if ending is None:
        page = (tmp_path / "n.html").read_text()
        assert (
            page.count("<tr") == 1 + 48
            and 'src="http' not in page
            and "url(http" not in page
            and "script-src &#39;none&#39;" in page
        )


def test_the_neighbours_of_a_file_are_those_of_its_sample(run, photos, features, tmp_path) -> None:
    query = photos / "c1" / "04.png"
    copy = tmp_path / "elsewhere.png"
    copy.write_bytes(query.read_bytes())
    given = {"features": features / "f.npy", "k": 4, "log": quiet}
    every = ssl_zoo.neighbours(run, tmp_path / "a.parquet", page=False, **given)["neighbours"]
    expected = [row["name"] for row in every if row["query"] == str(query)]
    found = ssl_zoo.neighbours(run, tmp_path / "b.csv", queries=[query, copy], **given)["neighbours"]
    assert [row["name"] for row in found if row["query"] == str(query)] == expected  # it is not its own neighbour
    assert [row["name"] for row in found if row["query"] == str(copy)] == [str(query), *expected[:3]]
    assert pq.read_table(tmp_path / "a.parquet").num_rows == 48 * 4


def plant(photos: Path, folder: Path) -> dict[str, str]:
    """Copy pictures, plant duplicates of some, and return {duplicate: original}."""
    planted = {}
    for i, path in enumerate(sorted(photos.rglob("*.png"))):
        picture = Image.open(path)
        width, height = picture.size
        cropped = picture.crop((3, 2, width - 4, height - 3))
        changed = [
            ("bmp", picture), ("jpg", picture), ("png", picture.resize((70, 52))), ("png", cropped),
            ("png", ImageEnhance.Brightness(picture).enhance(0.8)),
        ]  # fmt: skip
        (folder / path.name).write_bytes(path.read_bytes())
        if i < 20:
            ending, other = changed[i % 5]
            other.save(folder / f"{path.stem}_{i % 5}.{ending}", quality=60)
            planted[f"{path.stem}_{i % 5}.{ending}"] = path.name
        if i == 30:
            (folder / "again.png").write_bytes(path.read_bytes())
            planted["again.png"] = path.name
    return planted


def test_planted_duplicates_are_found_and_no_others(run, photos, tmp_path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    planted = plant(photos, folder)
    found = ssl_zoo.duplicates(run, tmp_path / "d.csv", data=str(folder), log=quiet)
    groups: dict[str, list[dict[str, str]]] = {}
    for row in read(found["out"]):
        groups.setdefault(row["group"], []).append(row)
    pairs = {frozenset(Path(row["name"]).name for row in rows) for rows in groups.values()}
    assert pairs == {frozenset(pair) for pair in planted.items()}
    kinds = {Path(row["name"]).name: row["kind"] for rows in groups.values() for row in rows}
    assert kinds["again.png"] == "bytes" or kinds[planted["again.png"]] == "bytes"
    assert sorted(kinds.values()).count("near") == 16 and list(kinds.values()).count("content") == 4
    assert found["copies"] > 100 and 0.95 <= found["threshold"] <= 0.99
    page = (tmp_path / "d.html").read_text()
    assert page.count("<section>") == 21 and "url(http" not in page
    stricter = ssl_zoo.duplicates(
        run, tmp_path / "e.csv", data=str(folder), threshold=1.0, min_cosine=1.0, page=False, log=quiet
    )
    assert len(stricter["groups"]) < 21 and stricter["copies"] == 0


def test_a_curated_list_has_each_path_once_and_is_a_function_of_the_seed(run, photos, features, tmp_path) -> None:
    given = {"num": 12, "features": features / "f.npz", "log": quiet}
    for how in ("k_means", "k_centre"):
        found = ssl_zoo.curate(run, tmp_path / f"{how}.csv", how=how, seed=1, **given)
        rows = read(found["out"])
        assert list(rows[0]) == ["path", "label"] and len({row["path"] for row in rows}) == 12 and found["of"] == 48
        assert all(Path(row["path"]).parent == photos / row["label"] for row in rows)
        ssl_zoo.curate(run, tmp_path / f"{how}2.csv", how=how, seed=1, **given)
        assert (tmp_path / f"{how}.csv").read_bytes() == (tmp_path / f"{how}2.csv").read_bytes()


def test_the_commands_print_json_and_refuse_what_exists(run, features, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = {
        "neighbours": ["-k", "3"], "duplicates": ["--threshold", "0.99"], "curate": ["--num", "3"],
    }  # fmt: skip
    for name, more in commands.items():
        command = [name, str(run), "--features", str(features / "f.parquet"), *more, "--json"]
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output
        out = json.loads(done.stdout)["out"]
        again = CliRunner().invoke(main, command)
        assert again.exit_code == 2 and f"{out} exists and is not replaced" in again.output


def test_mistakes_are_one_sentence_and_nothing_is_written(run, photos, features, tmp_path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "one").mkdir()
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "one" / "a.png")
    out, few = tmp_path / "o.csv", {"features": features / "f.parquet", "log": quiet}
    other = tmp_path / "other.npy"
    for ending in ("npy", "csv", "json"):
        other.with_suffix(f".{ending}").write_bytes((features / f"f.{ending}").read_bytes())
    about = json.loads(other.with_suffix(".json").read_text())
    about["about"]["sha256"] = "0" * 64
    other.with_suffix(".json").write_text(json.dumps(about))
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    mistakes = [
        (lambda: ssl_zoo.neighbours(run, out, queries=[tmp_path / "text.png"], **few), "text.png: cannot be read"),
        (lambda: ssl_zoo.neighbours(run, out, queries=[tmp_path / "no.png"], **few), "no.png: there is no such file"),
        (lambda: ssl_zoo.neighbours(run, out, k=48, **few), "-k 48: there are 48 samples.*at most 47"),
        (lambda: ssl_zoo.neighbours(run, out, member="image", **few), "--member image: there is no such member"),
        (lambda: ssl_zoo.neighbours(run, tmp_path / "o.txt", **few), r"ends in \.csv or \.parquet"),
        (lambda: ssl_zoo.neighbours(run, out, features=tmp_path / "no.npz"), "no.npz: there is no such file"),
        (lambda: ssl_zoo.neighbours(run, out, features=tmp_path / "bad.parquet"), "bad.parquet: is damaged"),
        (lambda: ssl_zoo.neighbours(run, out, features=other), "other.npy: holds vectors of another encoder"),
        (lambda: ssl_zoo.neighbours(run, out, data=str(tmp_path / "one"), **few), "vectors of other data"),
        (lambda: ssl_zoo.duplicates(run, out, data=str(tmp_path / "one"), log=quiet), "have 1 sample"),
        (lambda: ssl_zoo.duplicates(run, out, threshold=2.0, **few), "--threshold 2: give a number from -1 to 1"),
        (lambda: ssl_zoo.curate(run, out, num=49, **few), "--num 49: there are 48 samples to choose from"),
        (lambda: ssl_zoo.curate(run, out, num=4, data=str(tmp_path / "empty"), log=quiet), "empty"),
    ]
    for mistake, sentence in mistakes:
        with pytest.raises(UserError, match=sentence):
            mistake()
    assert not list(tmp_path.glob("o.*"))
