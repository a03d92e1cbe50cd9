"""What every modality keeps: all commands take it, a run resumes exactly, and k processes train as one does."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_zoo import registry
from ssl_zoo.errors import UserError
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.runs.encoder import load_encoder
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.runs.report_file import read_report_data
from ssl_zoo.training.train import train
from tests.cli.conftest import run
from tests.distributed import jobs
from tests.distributed.group import run_group
from tests.runs.test_killed import same_end

PARTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "image": (
        {"name": "augment", "size": 12, "hue": 0.0, "saturation": 0.0, "grey": 0.0, "blur": 0.0},
        {"name": "convnet", "widths": [4, 8]},
    ),
    "audio": (
        {"name": "log_mel", "sample_rate": 8000, "seconds": 0.3, "n_fft": 256, "hop": 80, "num_mels": 24, "bank": 4},
        {"name": "convnet", "widths": [4, 8]},
    ),
    "text": ({"name": "spans", "length": 32}, {"name": "bag_of_words", "width": 8}),
    "video": (
        {"name": "clips", "size": 12, "num_frames": 4, "rate": 8.0, "eval_clips": 2},
        {"name": "tiny_r2plus1d", "widths": [4, 8]},
    ),
}
"""Views and an encoder of each modality, small."""

SIZED = {"image": "height x width", "audio": "seconds", "text": "words", "video": "frames"}
"""What `data check` counts of each."""

OF_VIEWS = {"audio"}
"""Modalities whose values depend on the views: spectrograms are made for them."""

WITHOUT_STATISTICS = {"text"}
"""Modalities whose values have no mean."""


def test_every_modality_is_here() -> None:
    assert PARTS.keys() == set(registry.names("modality")) == SIZED.keys()


def write_images(folder: Path, num: int) -> None:
    random = np.random.default_rng(0)
    for i in range(num):
        path = folder / ("train" if i % 4 else "test") / ("dark", "light")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(128 * (i % 2), 128 + 128 * (i % 2), (16, 16, 3), dtype=np.uint8)).save(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of labelled samples of each modality."""
    root = tmp_path_factory.mktemp("data")
    for name in PARTS:
        write = write_images
        if name != "image":
            write = importlib.import_module(f"ssl_zoo.modalities.{name}.made").write_examples
        write(root / name, 48)
    return {name: root / name for name in PARTS}


def settings(name: str) -> dict[str, Any]:
    views, encoder = PARTS[name]
    return {
        "encoder": encoder,
        "views": views,
        "projector": {"name": "mlp", "dims": [8, 8], "last_norm": "batch"},
        "predictor": {"name": "mlp", "dims": [4, 8]},
        "data.num_workers": 0,
        "training": {"batch_size": 16, "max_steps": 4, "log_every": 1, "checkpoint_minutes": 1e-9},
        "evaluation": {"protocols": ["knn", "label_free"], "limit": 40},
    }


def recipe_of(name: str, data: Path, *overrides: str) -> Recipe:
    own = [f"{key}={json.dumps(value)}" for key, value in settings(name).items()]
    return load_recipe("simsiam", [*own, *overrides], data=str(data))


def recipe_file(name: str, folder: Path) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(recipe_of(name, folder).to_yaml())
    return path


@pytest.fixture(scope="module")
def trained(data: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of a run on each."""
    root = tmp_path_factory.mktemp("runs")
    for name, folder in data.items():
        train(recipe_of(name, folder), out=root / name, log=lambda line: None)
    return {name: root / name for name in data}


every = pytest.mark.parametrize("name", PARTS)


@every
def test_data_are_checked_and_measured(name: str, data: dict[str, Path], tmp_path: Path) -> None:
    result = run("data", "check", data[name])  # the modality is found out
    assert result.exit_code == 0 and "0 bad" in result.output, result.output
    assert f"sizes, {SIZED[name]}" in result.output
    views = ("--recipe", recipe_file(name, tmp_path)) if name in OF_VIEWS else ()
    result = run("data", "stats", data[name], *views)
    if name in WITHOUT_STATISTICS:
        assert result.exit_code == 2 and "no statistics" in result.output, result.output
    else:
        assert result.exit_code == 0 and "mean:" in result.output and "std:" in result.output, result.output


@every
def test_a_run_is_evaluated_with_baselines(name: str, trained: dict[str, Path]) -> None:
    summary = RunFolder(trained[name]).read_summary()
    assert summary["status"] == "done" and summary["collapse"]["metrics"]
    for results in (summary["metrics"], summary["baselines"]["untrained"], summary["baselines"]["raw"]):
        assert 0 <= results["knn"]["top1"] <= 1 and results["label_free"]["std"] > 0


@every
def test_a_run_leaves_samples_for_its_report(name: str, trained: dict[str, Path]) -> None:
    """A small picture of each, or an excerpt of a text."""
    data, summary = read_report_data(RunFolder(trained[name]).report_data), RunFolder(trained[name]).read_summary()
    assert data is not None and len(data.names) == len(data.labels) == summary["data"][data.split]
    (shown,) = data.members
    assert (shown.small is None) is (name == "text") is (shown.texts is not None) and set(shown.spectra) >= {"encoder"}
    assert all(abs(g.accuracy - summary["metrics"][key]["top1"]) < 1e-6 for key, g in data.guesses.items())
    assert (RunFolder(trained[name]).tensorboard / "projector_config.pbtxt").is_file() and summary["problems"] == []


@every
def test_the_other_commands_take_a_run(
    name: str, trained: dict[str, Path], data: dict[str, Path], tmp_path: Path
) -> None:
    result = run("eval", trained[name], "--protocol", "linear", "--json")
    assert result.exit_code == 0 and "top1" in result.output, result.output
    result = run("report", trained[name], "--out", tmp_path / "report.html", "--no-tsne")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert result.exit_code == 0 and "data:image/png;base64," in page, result.output
    assert ("<audio" in page) is (name == "audio")
    result = run("views", trained[name] / "recipe.yaml", "--out", tmp_path / "views.png", "--samples", 2)
    assert result.exit_code == 0 and np.asarray(Image.open(tmp_path / "views.png")).std() > 0, result.output


@every
def test_recipes_are_compared(name: str, trained: dict[str, Path], tmp_path: Path) -> None:
    few = ("-s", "training.max_steps=2", "-s", "evaluation.protocols=[knn]")
    recipe = trained[name] / "recipe.yaml"
    other = tmp_path / "other.yaml"
    other.write_text(recipe.read_text().replace("name: stop_gradient", "name: shared"))
    result = run("compare", recipe, other, *few, "--out", tmp_path / "compare")
    assert result.exit_code == 0 and (tmp_path / "compare" / "report.html").is_file(), result.output
    assert "raw input" in result.output and "untrained encoder" in result.output


@every
def test_a_run_that_is_stopped_ends_as_if_it_had_not_been(
    name: str, trained: dict[str, Path], data: dict[str, Path], tmp_path: Path
) -> None:
    recipe = recipe_of(name, data[name])
    stopped = train(recipe, out=tmp_path / "run", stop_at=2, log=lambda line: None)
    assert stopped["status"] == "interrupted" and stopped["steps"] == 2
    assert train(recipe, out=tmp_path / "run", resume=True, log=lambda line: None)["status"] == "done"
    assert same_end(tmp_path / "run", trained[name])


@every
def test_an_encoder_is_loaded_as_it_was_exported(name: str, trained: dict[str, Path]) -> None:
    encoder = load_encoder(trained[name])
    weights = encoder.state_dict()
    assert weights and all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point())


@every
def test_views_of_another_modality_are_refused_by_one_sentence(name: str, data: dict[str, Path]) -> None:
    for other in PARTS.keys() - {name}:
        with pytest.raises(UserError) as caught:
            train(recipe_of(name, data[other]), out="unused", log=lambda line: None)
        assert "\n" not in str(caught.value) and not Path("unused").exists()


@pytest.fixture(scope="module")
def on_processes(data: dict[str, Path]) -> dict[int, Any]:
    recipes = {name: recipe_of(name, folder).dump() for name, folder in data.items()}
    return {size: run_group(size, jobs.losses_of_runs, recipes)[0] for size in (1, 2)}


@every
def test_two_processes_train_as_one_does(name: str, on_processes: dict[int, Any]) -> None:
    one, two = (on_processes[size][name] for size in (1, 2))
    assert len(one) == 4 and two == pytest.approx(one, rel=1e-4, abs=1e-5)  # cosines
