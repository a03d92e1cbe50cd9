"""Runs on made recordings: they resume exactly, and commands about data show them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ssl_zoo
from ssl_zoo.evaluation.features import extract
from ssl_zoo.methods.build import build_views, open_recipe_data
from ssl_zoo.modalities.audio.made import write_examples
from tests.cli.conftest import run
from tests.modalities.audio.sort import SMALL
from tests.runs.test_killed import same_end

OVERRIDES = [
    "encoder={name: audio_convnet, widths: [4, 4], out_dim: 8}", "views=log_mel",
    *(f"views.{key}={value}" for key, value in SMALL.items()), "projector.dims=[8, 8]", "predictor.dims=[4, 8]",
    "training.batch_size=8", "training.max_steps=4", "training.log_every=1", "data.num_workers=0",
    "evaluation.protocols=[knn]",
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder of 32 recordings, 24 of them for training."""
    folder = tmp_path_factory.mktemp("data") / "made"
    write_examples(folder, 32, seconds=0.3)
    return folder


def recipe_of(made: Path) -> ssl_zoo.Recipe:
    return ssl_zoo.load_recipe("simsiam", OVERRIDES, data=str(made))


def test_it_trains_resumes_exactly_and_is_exported(made: Path, tmp_path: Path) -> None:
    recipe = recipe_of(made)
    whole = ssl_zoo.train(recipe, out=tmp_path / "whole", log=lambda line: None)
    assert whole["status"] == "done" and 0 <= whole["metrics"]["knn"]["top1"] <= 1
    stopped = ssl_zoo.train(recipe, out=tmp_path / "stopped", stop_at=2, log=lambda line: None)
    assert stopped["status"] == "interrupted"
    assert run("train", tmp_path / "stopped", "--resume").exit_code == 0
    assert same_end(tmp_path / "stopped", tmp_path / "whole")
    card = json.loads((tmp_path / "whole" / "encoder.json").read_text())
    assert card["input"]["modality"] == "audio" and card["input"]["views"][0]["shape"] == [1, 24, 31]
    policy = build_views(recipe)
    test = open_recipe_data(recipe, policy.spec).test
    assert test is not None
    features = extract(ssl_zoo.load_encoder(tmp_path / "whole"), policy, test, device="cpu").x
    assert features.shape == (8, 8) and features.std() > 0


def test_commands_show_it(made: Path, tmp_path: Path) -> None:
    report = json.loads(run("data", "check", made, "--modality", "audio", "--json").stdout)
    assert report["train"]["classes"] == {"chirp": 8, "noise": 8, "tone": 8} and not report["train"]["num_bad"]
    settings = [word for override in OVERRIDES for word in ("-s", override)]
    shown = run("views", "simsiam", "--data", made, *settings, "--samples", 2, "--out", tmp_path / "views.png")
    assert shown.exit_code == 0, shown.output
    assert np.asarray(Image.open(tmp_path / "views.png")).shape == (2 * 76, 3 * 97, 3)


def test_made_recordings_are_the_same_every_time(made: Path, tmp_path: Path) -> None:
    write_examples(tmp_path / "again", 32, seconds=0.3)
    files = sorted(path.relative_to(made) for path in made.rglob("*.wav"))
    assert len(files) == 32
    assert all((made / each).read_bytes() == (tmp_path / "again" / each).read_bytes() for each in files)
