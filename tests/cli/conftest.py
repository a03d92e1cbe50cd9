"""The command line in this process, a recipe that trains in a second, and a run of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

TINY = """\
# A tiny SimSiam
method: tiny
encoder: {name: convnet, widths: [4, 8]}
projector: {name: mlp, dims: [8, 8], last_norm: batch}
predictor: {name: mlp, dims: [4, 8]}
target: stop_gradient
objective: negative_cosine
views: {name: augment, size: 12, hue: 0.0, saturation: 0.0, grey: 0.0, blur: 0.0, mean: [0.5], std: [0.5]}
data: {source: {name: digits, placements: 1}, num_workers: 0}
training: {batch_size: 16, max_steps: 3, log_every: 1}
evaluation: {limit: 60, protocols: [knn, label_free]}
"""

Cli = Callable[..., Result]


def run(*arguments: object) -> Result:
    from ssl_zoo.cli import main

    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def cli(tmp_path, monkeypatch) -> Cli:
    """Runs `ssl-zoo` with some arguments, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return run


@pytest.fixture
def tiny(tmp_path) -> Path:
    """The file of a recipe that trains in a second."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """The folder of a finished run of the tiny recipe; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.yaml").write_text(TINY, encoding="utf-8")
    result = run("train", folder / "tiny.yaml", "--out", folder / "run")
    assert result.exit_code == 0, result.output
    return folder / "run"
