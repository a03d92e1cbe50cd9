"""Videos through the ordinary commands: from files and from memory alike, resumed exactly, pictured, checked."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch

import ssl_zoo
from ssl_zoo.methods.build import build_views, open_recipe_data
from ssl_zoo.modalities.video import made
from ssl_zoo.modalities.video.footage import Footage
from tests.cli.conftest import run
from tests.examples.conftest import ran
from tests.modalities.video.conftest import READERS, opened, sequential
from tests.runs.test_killed import same_end

TINY = """\
# A tiny SimSiam
method: tiny
encoder: {name: tiny_r2plus1d, widths: [4, 8]}
projector: {name: mlp, dims: [8, 8], last_norm: batch}
predictor: {name: mlp, dims: [4, 8]}
target: stop_gradient
objective: negative_cosine
views: {name: clips, num_frames: 4, size: 12, rate: 8.0}
data: {num_workers: 0, cache: none}
training: {batch_size: 8, max_steps: 4, log_every: 1}
evaluation: {limit: 16, protocols: [knn]}
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of example clips in splits and classes; not to be changed."""
    folder = tmp_path_factory.mktemp("data") / "clips"
    made.write_examples(folder, 32)
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(files: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run whose clips were decoded in every step; not to be changed."""
    out = tmp_path_factory.mktemp("run") / "run"
    ran(run("train", recipe, "--data", files, "--out", out))
    return out


def test_it_trains_and_is_evaluated(trained: Path) -> None:
    summary = json.loads((trained / "summary.json").read_text())
    assert summary["status"] == "done"
    for results in (summary["metrics"], summary["baselines"]["raw"], summary["baselines"]["untrained"]):
        assert 0 <= results["knn"]["top1"] <= 1
    card = json.loads((trained / "encoder.json").read_text())
    assert card["input"]["modality"] == "video" and card["input"]["views"][0]["shape"] == [3, 4, 12, 12]


def test_from_memory_and_by_workers_it_is_the_same_run(
    files: Path, recipe: Path, trained: Path, tmp_path: Path
) -> None:
    """Encoder and losses, bit for bit: the recipe differs, so that the runs' states do."""
    weights = (trained / "encoder.safetensors").read_bytes()
    for name, options in (("memory", ("-s", "data.cache=memory")), ("workers", ("-s", "data.num_workers=2"))):
        ran(run("train", recipe, "--data", files, *options, "--out", tmp_path / name))
        assert (tmp_path / name / "encoder.safetensors").read_bytes() == weights, name


def test_it_resumes_exactly(files: Path, recipe: Path, trained: Path, tmp_path: Path) -> None:
    loaded = ssl_zoo.load_recipe(str(recipe), data=str(files))
    stopped = ssl_zoo.train(loaded, out=tmp_path / "run", stop_at=2, log=lambda line: None)
    assert stopped["status"] == "interrupted"
    ran(run("train", tmp_path / "run", "--resume"))
    assert same_end(tmp_path / "run", trained)


def test_clips_that_fit_are_decoded_once(files: Path, recipe: Path) -> None:
    loaded = ssl_zoo.load_recipe(str(recipe), ["data.cache=auto"], data=str(files))
    train = open_recipe_data(loaded, build_views(loaded).spec).train
    assert train.nbytes == 32 // 4 * 3 * 32 * (3 * 14 * 14 + 8)  # type: ignore[attr-defined] # a KeptSplit's
    assert isinstance(train.read(0), Footage) and train.read(0) is train.read(0)


def test_views_are_pictured_and_data_are_checked(files: Path, recipe: Path, tmp_path: Path) -> None:
    ran(run("views", recipe, "--data", files, "--out", tmp_path / "v.png", "--samples", 2))
    assert (tmp_path / "v.png").stat().st_size > 1000
    report = ran(run("data", "check", files))
    assert "train: 24 samples, 0 bad" in report and "frames x height x width: 32x48x48 (24)" in report
    assert "mean of each channel: 0." in report


def test_a_file_that_is_cut_short_is_named_or_left_out(files: Path, recipe: Path, tmp_path: Path) -> None:
    for source in files.rglob("*.mp4"):
        target = tmp_path / "data" / source.relative_to(files)
        target.parent.mkdir(parents=True, exist_ok=True)
        content = source.read_bytes()
        cut = source.parts[-3:] == ("train", "up", "0001.mp4")
        target.write_bytes(content[: len(content) * 2 // 3] if cut else content)
    known = (recipe, "--data", tmp_path / "data", "-s", "training.max_steps=2")
    words = run("train", *known, "--out", tmp_path / "stopped")
    assert words.exit_code != 0 and "Traceback" not in words.output and "up/0001.mp4: it is cut short" in words.output
    ran(run("train", *known, "-s", "data.on_error=skip", "-s", "data.bad_budget=0.1", "--out", tmp_path / "skipped"))
    report = json.loads(ran(run("data", "check", tmp_path / "data", "--json"), code=1))
    assert [Path(name).name for name in report["train"]["bad"]] == ["0001.mp4"]


@pytest.mark.parametrize("reader", READERS)
def test_real_clips_are_decoded_exactly(shared_data: Path, reader: str, tmp_path: Path) -> None:
    """Of a few real files, random frames are those of sequential decoding, and their number is the header's."""
    with zipfile.ZipFile(shared_data / "clips.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".mp4")][::67]
        archive.extractall(tmp_path, names)
    for name in names:
        frames, _ = sequential(tmp_path / name)
        video = opened(tmp_path / name, reader)
        assert video.num_frames == video.stated == len(frames)
        index = torch.randperm(len(frames), generator=torch.Generator().manual_seed(0))[:6].tolist()
        assert torch.equal(video.at(index), frames[index])
