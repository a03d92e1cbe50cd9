"""An evaluation of a file of weights: the numbers of a run with the same weights, and nothing for half an encoder."""

import json
import re

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import ssl_zoo
from ssl_zoo.cli import main
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.evaluate import evaluate
from ssl_zoo.evaluation.weights_file import evaluate_weights

ENCODER = "{name: resnet18, width: 0.0625}"
VIEWS = ["views.channels=1", "views.size=16", "views.mean=[0.4]", "views.std=[0.3]"]
LIMIT = ["evaluation.limit=80", "data.num_workers=0"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of one step, not to be changed."""
    more = ["projector.dims=[8, 8]", "predictor.dims=[4, 8]", "training.batch_size=16", "training.max_steps=1",
            "evaluation.protocols=[knn]", "views.grey=0", "views.blur=0"]  # fmt: skip
    folder = tmp_path_factory.mktemp("weights") / "run"
    recipe = ssl_zoo.load_recipe("simsiam", [f"encoder={ENCODER}", *VIEWS, *LIMIT, *more], data="digits")
    ssl_zoo.train(recipe, out=folder, log=lambda line: None)
    return folder


def test_the_numbers_are_those_of_a_run_with_these_weights(run, tmp_path):
    state = load_file(run / "encoder.safetensors")
    torch.save({"state_dict": {f"module.encoder.{name}": value for name, value in state.items()}}, tmp_path / "w.tar")
    lines: list[str] = []
    results, verdict = evaluate_weights(
        ENCODER, tmp_path / "w.tar", ["knn"], data="digits", overrides=[*VIEWS, *LIMIT], log=lines.append
    )
    expected = evaluate(run, ["knn"], log=lambda line: None)
    assert results["encoder"] == expected["encoder"] and results["raw"] == expected["raw"]
    assert "untrained" in results and verdict["level"] != "not measured"
    assert lines[0].startswith("samples are 16x16, mean [0.4], std [0.3]: views.channels, views.size, views.mean")
    assert "encoder: 120 of 120 tensors taken (the names are SimSiam's (encoder.*))" in lines[1]


def test_views_are_what_the_encoder_states_unless_they_are_given(run):
    said = {
        "timm/test_vit": "samples are 160x160, mean [0.5, 0.5, 0.5], std [0.5, 0.5, 0.5]: what timm/test_vit states",
        "resnet18": "samples are 224x224, mean [0.485, 0.456, 0.406], std [0.229, 0.224, 0.225]: what resnet18 states",
        "{name: resnet18, stem: small}": "samples are 224x224, .*: the defaults of the views, resnet18 states none",
    }
    for encoder, words in said.items():
        lines: list[str] = []
        with pytest.raises(UserError):
            evaluate_weights(encoder, run / "encoder.safetensors", data="digits", log=lines.append)
        assert lines and re.match(words.replace("[", r"\["), lines[0]), lines


def test_weights_that_are_not_all_of_the_encoder_are_refused(run, tmp_path):
    state = load_file(run / "encoder.safetensors")
    save_file({name: value for name, value in state.items() if "layer4.1" not in name}, tmp_path / "less.safetensors")
    more = ["--data", "digits", *(word for each in (*VIEWS, *LIMIT) for word in ("-s", each))]
    cli = CliRunner()
    for arguments, words in (
        (["--encoder", ENCODER, "--weights", tmp_path / "less.safetensors"], "10 not in it (layer4.1.conv1.weight, "),
        (["--encoder", "{name: resnet18, width: 0.0625, stem: small}", "--weights", run / "encoder.safetensors"],
         "1 of another shape (conv1.weight is 4x1x7x7, here 4x1x3x3)"),
        (["--encoder", "convnet", "--weights", run / "encoder.safetensors"], "none of its 120 encoder tensors matches"),
        (["--encoder", ENCODER, "--weights", run], "is a folder; name a file"),
        ([run, "--encoder", ENCODER], "name a RUN; or, without one, --encoder, --weights and --data"),
    ):  # fmt: skip
        done = cli.invoke(main, ["eval", *map(str, arguments), *more])
        assert done.exit_code == 2 and words in done.stderr, done.stderr
    same = ["eval", "--encoder", ENCODER, "--weights", str(run / "encoder.safetensors"), "--protocol", "knn", "--json"]
    done = cli.invoke(main, [*same, *more])
    assert done.exit_code == 0 and set(json.loads(done.stdout)) == {"encoder", "untrained", "raw", "verdict"}
