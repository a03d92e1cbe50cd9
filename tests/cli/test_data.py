"""`data check`."""

import io
import json
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image


def png(value: int, size: tuple[int, int] = (6, 4)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (value, 2 * value, 0)).save(buffer, "PNG")
    return buffer.getvalue()


FILES = {
    "train/cat/a.png": png(51),
    "train/cat/b.png": png(51),
    "train/dog/c.png": png(102, (8, 8)),
    "test/cat/d.png": png(0),
    "test/dog/e.png": png(0),
}


@pytest.fixture
def folder(tmp_path):
    for name, data in FILES.items():
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "images"


def check_report(report: dict) -> None:
    train = report["train"]
    assert (train["num_samples"], train["num_bad"], train["classes"]) == (3, 0, {"cat": 2, "dog": 1})
    assert train["sizes"] == {"4x6": 2, "8x8": 1}
    values = np.concatenate([np.full(48, 0.2), np.full(64, 0.4)])
    assert np.allclose(train["mean"], [values.mean(), 2 * values.mean(), 0], atol=1e-6)
    assert np.allclose(train["std"], [values.std(), 2 * values.std(), 0], atol=1e-6)
    assert report["test"]["num_samples"] == 2 and report["test"]["mean"] == [0, 0, 0]


def test_a_folder_and_a_zip_of_it_both_splits(cli, folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    for source in (folder, tmp_path / "images.zip"):
        result = cli("data", "check", source, "--json")
        assert result.exit_code == 0
        check_report(json.loads(result.stdout))
    text = cli("data", "check", folder).stdout
    assert "train: 3 samples, 0 bad" in text and "test: 2 samples, 0 bad" in text
    assert "classes: 2: cat (2), dog (1)" in text and "sizes, height x width: 4x6 (2), 8x8 (1)" in text


def test_bad_files_are_listed_and_the_exit_code_says_so(cli, folder):
    (folder / "train" / "dog" / "broken.png").write_bytes(png(3)[:40])
    result = cli("data", "check", folder, "--json")
    report = json.loads(result.stdout)["train"]
    assert (
        result.exit_code == 1
        and report["num_bad"] == 1
        and list(report["bad"]) == [str(folder / "train/dog/broken.png")]
    )
    text = cli("data", "check", folder)
    assert text.exit_code == 1
    assert "train: 4 samples, 1 bad" in text.stdout and f"bad: {folder}/train/dog/broken.png: " in text.stdout


def test_parquet_without_labels(cli, tmp_path):
    pq.write_table(pa.table({"image": [{"bytes": png(51)}, {"bytes": png(51)}]}), tmp_path / "images.parquet")
    result = cli("data", "check", tmp_path / "images.parquet", "--channels", 1)
    assert result.exit_code == 0
    assert "train: 2 samples, 0 bad" in result.stdout and "the data have no labels" in result.stdout
    assert result.stdout.count("mean of each channel: 0.2") == 1


def test_a_registered_source(cli):
    report = json.loads(cli("data", "check", "digits", "--channels", 1, "--json").stdout)
    assert set(report) == {"train", "test", "notes"} and report["notes"] == []
    assert report["train"]["sizes"] == {"20x20": report["train"]["num_samples"]}
    assert sorted(report["train"]["classes"]) == [str(digit) for digit in range(10)]


def test_what_cannot_be_opened_is_one_sentence(cli, tmp_path):
    for source in ("nowhere", tmp_path):
        result = cli("data", "check", source)
        assert result.exit_code == 2 and result.stdout == "" and len(result.stderr.splitlines()) == 1
