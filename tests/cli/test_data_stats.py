"""`data stats`: exact statistics of the samples to train on, as lines of a recipe."""

import io
import json

import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image

from ssl_zoo.data.source import Modality
from ssl_zoo.registry import register

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 65536, (6, 13, 20, 34)).astype(np.uint16)
PIXELS[:, 5] //= 50


@pytest.fixture
def bands(tmp_path):
    """Four TIFFs of 13 channels to train on, in two classes, and two to test on."""
    for i, pixels in enumerate(PIXELS):
        path = tmp_path / "bands" / ("train" if i < 4 else "test") / "ab"[i % 2] / f"{i}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, pixels, planarconfig="separate", photometric="minisblack", compression="zlib")
    return tmp_path / "bands"


def test_they_are_exact_and_of_the_train_split_alone(cli, bands):
    result = cli("data", "stats", bands, "--json")
    report = json.loads(result.stdout)
    values = PIXELS[:4].transpose(1, 0, 2, 3).reshape(13, -1) / 65535
    assert result.exit_code == 0 and (report["channels"], report["num_samples"], report["num_bad"]) == (13, 4, 0)
    np.testing.assert_allclose(report["mean"], values.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(report["std"], values.std(axis=1), rtol=1e-12)


def test_its_lines_are_those_of_a_recipe_and_training_takes_them(cli, bands, tiny, tmp_path):
    result = cli("data", "stats", bands)
    views = yaml.safe_load(result.stdout)["views"]
    assert list(views) == ["channels", "mean", "std"] and views["channels"] == len(views["mean"]) == 13
    assert max(abs(np.array(views["mean"]) / (PIXELS[:4].mean(axis=(0, 2, 3)) / 65535) - 1)) < 1e-5
    settings = [word for key, value in views.items() for word in ("-s", f"views.{key}={value}")]
    trained = cli("train", tiny, "--data", bands, *settings, "-s", "training.batch_size=4", "-s",
                  "evaluation.protocols=[]", "--out", "run")  # fmt: skip
    assert trained.exit_code == 0, trained.output
    assert json.loads((tmp_path / "run" / "encoder.json").read_text())["input"]["views"][0]["shape"] == [13, 12, 12]


def test_data_check_finds_the_channels_too(cli, bands):
    text = cli("data", "check", bands)
    assert text.exit_code == 0 and "train: 4 samples, 0 bad" in text.stdout and "20x34 (4)" in text.stdout
    other = cli("data", "check", bands, "--channels", 4)
    assert other.exit_code == 1 and "it has 13 channels, not the 4 of views.channels" in other.stdout


def test_channels_of_photographs_are_three_unless_they_are_given(cli, tmp_path):
    for i in range(3):
        Image.fromarray(RNG.integers(0, 256, (5, 6, 4)).astype(np.uint8)).save(tmp_path / f"{i}.png")
    assert json.loads(cli("data", "stats", tmp_path, "--json").stdout)["channels"] == 3
    assert json.loads(cli("data", "stats", tmp_path, "--json", "--channels", 1).stdout)["channels"] == 1
    assert json.loads(cli("data", "stats", tmp_path, "--json", "--channels", 4).stdout)["channels"] == 4


def test_arrays_alone_are_found_and_small_and_constant_channels_are_numbers(cli, tmp_path):
    for i in range(3):
        pixels = np.full((2, 40, 50), 7, np.float32)
        pixels[0] = 1e-7 * RNG.random((40, 50))
        np.save(tmp_path / f"{i}.npy", pixels)
    result = cli("data", "stats", tmp_path)
    views = yaml.safe_load(result.stdout)["views"]
    assert views["channels"] == 2 and views["std"][1] == 1.0 and views["mean"][1] == 7.0
    assert (
        2e-8 < views["std"][0] < 4e-8
        and "the same value everywhere, so that std is given as 1: channel 2" in result.stderr
    )


def test_arrays_that_do_not_tell_their_channels_are_asked_for(cli, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((5, 9, 6), np.uint8))
    result = cli("data", "stats", tmp_path)
    assert result.exit_code == 2 and "whose channels may come first or last" in result.stderr
    assert "give --channels" in result.stderr and cli("data", "stats", tmp_path, "--channels", 5).exit_code == 0


def test_bad_files_are_named_and_the_rest_is_counted(cli, bands):
    (bands / "train" / "a" / "x.tif").write_bytes(b"II*\0 nothing")
    result = cli("data", "stats", bands)
    assert result.exit_code == 1 and yaml.safe_load(result.stdout)["views"]["channels"] == 13
    assert f"bad: {bands}/train/a/x.tif: " in result.stderr
    for path in bands.rglob("?.tif"):
        path.write_bytes(b"II*\0 nothing")
    result = cli("data", "stats", bands)
    assert result.exit_code == 2 and "none of the 5 samples can be read, for example" in result.stderr


def test_samples_without_channels_have_no_statistics(cli, tmp_path, own_parts):
    @register("modality", "words")
    class Words(Modality):
        """Words.

        Args:
            spec: of the views.
        """

        extensions = frozenset({".word"})

        def decode(self, data, name):
            return data

    (tmp_path / "a.word").write_text("one")
    result = cli("data", "stats", tmp_path, "--modality", "words")
    assert result.exit_code == 2 and "there are no statistics of samples of the modality 'words'" in result.stderr


def test_without_tifffile_photographs_are_read_and_other_channels_name_the_package(cli, bands, tmp_path, monkeypatch):
    find = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "tifffile" else find(name))
    result = cli("data", "stats", bands, "--channels", 13)
    assert result.exit_code == 2 and "pip install 'ssl_zoo[tiff]'" in result.stderr
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (5, 6, 3)).astype(np.uint8)).save(buffer, "TIFF")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.tif").write_bytes(buffer.getvalue())
    assert json.loads(cli("data", "stats", tmp_path / "photos", "--json").stdout)["channels"] == 3
