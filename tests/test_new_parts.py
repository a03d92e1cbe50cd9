"""What extending takes: a method is one file, a component of one's own is one module and `--import`."""

import json
import shutil
import sys

import pytest
from click.testing import CliRunner

from ssl_zoo.cli import main
from ssl_zoo.recipe import load as recipes

METHOD = """\
# A method that nobody has published, of parts that exist
method: halfway
encoder: {name: convnet, widths: [4, 8]}
projector: {name: mlp, dims: [8, 8], last_norm: batch}
predictor: {name: mlp, dims: [4, 8]}
target: {name: ema, momentum: 0.9}
objective: [negative_cosine, {name: variance, weight: 0.1}]
views: {name: augment, channels: 1, size: 12, jitter: 0.0, grey: 0.0, blur: 0.0, mean: [0.5], std: [0.5]}
data: {source: {name: digits, placements: 1}, num_workers: 0}
training: {batch_size: 16, max_steps: 2}
evaluation: {limit: 40, protocols: [label_free]}
"""

MODULE = '''\
"""Parts from outside the package."""

import torch
from torch import nn

from ssl_zoo import register
from ssl_zoo.parts import Term


@register("encoder", "mine/average")
class Average(nn.Module):
    """The mean of each patch of the image, times a weight.

    Args:
        patches: along each side.
    """

    def __init__(self, *, patches: int = 2):
        super().__init__()
        self.out_dim = patches**2
        self.pool = nn.AdaptiveAvgPool2d(patches)
        self.weight = nn.Parameter(torch.ones(self.out_dim))

    def forward(self, x):
        return self.pool(x).flatten(1) * self.weight


@register("term", "mine/l1")
class L1(Term):
    """The mean absolute difference of p and t."""

    inputs = "pair"

    def forward(self, p, t):
        return (p - t).abs().mean()
'''


@pytest.fixture
def cli(tmp_path, monkeypatch, own_parts):
    """Runs `ssl-zoo` in an empty folder with a copy of the shipped recipes, and forgets what was registered."""
    for folder in ("methods", "experiments"):
        shutil.copytree(recipes.recipe_root() / folder, tmp_path / "root" / folder)
    monkeypatch.setattr(recipes, "recipe_root", lambda: tmp_path / "root")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield lambda *arguments: CliRunner().invoke(main, list(arguments))
    sys.modules.pop("my_parts", None)


def test_a_new_file_in_methods_is_a_method(cli, tmp_path):
    assert "halfway" not in json.loads(cli("list", "methods", "--json").stdout)["methods"]
    (tmp_path / "root" / "methods" / "halfway.yaml").write_text(METHOD)
    listed = cli("list", "methods")
    assert "halfway" in json.loads(cli("list", "methods", "--json").stdout)["methods"]
    assert "A method that nobody has published, of parts that exist" in listed.stdout
    assert "method: halfway" in cli("show", "halfway").stdout
    assert "halfway: ok" in cli("check", "halfway").stdout
    assert "did you mean 'halfway'" in cli("check", "halfwy").stderr
    trained = cli("train", "halfway", "--out", "run")
    assert trained.exit_code == 0, trained.output


def test_a_new_file_in_experiments_is_an_experiment(cli, tmp_path):
    study = tmp_path / "root" / "experiments" / "mine"
    study.mkdir()
    (study / "one.yaml").write_text("# One\nmethod: simsiam\nvariants: {ema: {target: ema}}\n")
    assert "mine/one" in json.loads(cli("list", "experiments", "--json").stdout)["experiments"]
    assert "target:\n  name: ema" in cli("show", "mine/one", "--variant", "ema").stdout


def test_components_from_outside_the_package_train(cli, tmp_path):
    (tmp_path / "my_parts.py").write_text(MODULE)
    (tmp_path / "mine.yaml").write_text(METHOD.replace("{name: convnet, widths: [4, 8]}", "mine/average"))
    assert "unknown encoder 'mine/average'" in cli("check", "mine.yaml").stderr
    imported = ("--import", "my_parts")
    assert "mine/average" in cli("list", "encoder", *imported).stdout
    assert "  patches = 2" in cli("show", "mine/average", *imported).stdout
    changes = ("-s", "objective=mine/l1", "-s", "encoder.patches=3")
    result = cli("train", "mine.yaml", *imported, *changes, "--out", "run")
    assert result.exit_code == 0, result.output
    assert "width 9" in result.stderr
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert list(last["terms"]) == ["mine/l1"]
    assert cli("eval", "run", *imported).exit_code == 0
