"""What a user is told of an evaluation: before training, at its end and by `eval`; and what `eval` refuses."""

import json
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from ssl_zoo import registry
from ssl_zoo.runs import commands


def images(root: Path, classes: dict[str, int], value: int = 20) -> None:
    for number, (name, count) in enumerate(classes.items()):
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new("L", (14, 14), value * number + i).save(root / name / f"{i}.png")


@pytest.fixture
def said(cli, tiny):
    """Trains two steps on a folder with some protocols and returns what is told on standard error, and the summary."""

    def run(folder: Path, protocols: str = "[knn]", *more: str) -> tuple[list[str], dict]:
        result = cli("train", tiny, "--data", folder, "--out", folder / "run", "--max-steps", 2,
                     "-s", f"evaluation.protocols={protocols}", "-s", "evaluation.limit=null", *more)  # fmt: skip
        assert result.exit_code == 0, result.output
        return result.stderr.splitlines(), json.loads((folder / "run" / "summary.json").read_text())

    return run


def test_classes_that_train_lacks_are_told_before_training_and_kept(said, tmp_path):
    images(tmp_path / "train", {"b": 10, "d": 10})
    images(tmp_path / "test", {"a": 4, "b": 4, "c": 4, "d": 4, "e": 4})
    lines, summary = said(tmp_path)
    sentence = (
        "test has 3 classes that train lacks: a, c, e; their samples (12 of 20) count as wrong, so no accuracy can be "
        "above 40.0 %"
    )
    assert next(i for i, line in enumerate(lines) if sentence in line) < next(
        i for i, line in enumerate(lines) if line == "evaluating the frozen encoder"
    )
    assert summary["evaluation_notes"] == [sentence]
    assert summary["baselines"]["raw"]["knn"]["top1"] <= 0.4


def test_rare_classes_are_told_by_name_without_a_warning(said, tmp_path):
    images(tmp_path, {"cat": 20, "dog": 4})
    lines, summary = said(tmp_path, "[few_shot]")
    assert "Warning" not in "".join(lines) and ".py" not in "".join(lines)
    assert summary["evaluation_notes"] == [
        "there is no test split: accuracies are of 5 labelled train samples, held out; 19 are learnt from",
        "few_shot: 1 of 2 classes have fewer than 10 labelled samples (dog; the fewest 3): all of them are used",
    ]


def test_without_protocols_nothing_is_measured_and_no_table_is_printed(cli, tiny, tmp_path):
    result = cli("train", tiny, "--out", "run", "--max-steps", 2, "-s", "evaluation.protocols=[]")
    assert result.exit_code == 0 and "|" not in result.stdout and "representation" not in result.stdout
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["metrics"] == {} and not any(summary["baselines"].values())
    refused = cli("eval", "run")
    assert refused.exit_code == 2 and refused.stderr == (
        "error: run: its recipe names no protocol; name one, such as --protocol knn.\n"
    )


def test_eval_with_nothing_that_it_can_measure_says_so(cli, trained, tmp_path):
    images(tmp_path, {"flat": 12})
    result = cli("eval", trained, "--data", "flat", "-s", "evaluation.protocols=[knn]")
    assert result.exit_code == 2 and result.stdout == ""
    assert "protocol 'knn' needs labels and the data has none" in result.stderr


@pytest.mark.parametrize("override, says", [
    ("training.base_lr=3", "has no effect on an evaluation"), ("guard.policy=off", "has no effect on an evaluation"),
    ("training.batch_size=32", "has no effect on an evaluation"), ("target=ema", "has no effect on an evaluation"),
    ("data.num_workers=2", "has no effect on an evaluation"),
    ("views.scale=[0.5, 1.0]", "has no effect on an evaluation, which sees samples without augmentation"),
    ("encoder.widths=[4, 16]", "and cannot be changed"), ("encoder=resnet18", "and cannot be changed"),
])  # fmt: skip
def test_eval_refuses_what_it_would_ignore(cli, trained, override, says):
    result = cli("eval", trained, "-s", override)
    assert (result.exit_code, result.stdout) == (2, "") and len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(f"error: -s {override}: ") and says in result.stderr


def test_eval_takes_what_has_an_effect_and_what_changes_nothing(cli, trained):
    same = ("encoder.widths=[4, 8]", "views.size=12", "training.batch_size=16", "training.precision=fp32")
    own = cli("eval", trained, "--json", "-s", "evaluation.baselines=false")
    unchanged = cli("eval", trained, "--json", "-s", "evaluation.baselines=false", *sum((["-s", s] for s in same), []))
    assert unchanged.exit_code == 0 and unchanged.stdout == own.stdout
    larger = cli("eval", trained, "--json", "-s", "evaluation.baselines=false", "-s", "views.size=16")
    assert larger.exit_code == 0 and larger.stdout != own.stdout


SOURCE = '''
import torch
from torch import nn
from ssl_zoo import register


@register("encoder", "rigid")
class Rigid(nn.Module):
    """One layer for images of 12 pixels, as a ViT has positions for one size."""

    def __init__(self):
        super().__init__()
        self.out_dim = 8
        self.layer = nn.Linear(144, 8)

    def forward(self, x):
        assert x.shape[2] == 12, f"Input height ({x.shape[2]}) doesn't match model (12)."
        return self.layer(x[:, 0].flatten(1))
'''


def test_an_encoder_of_the_users_is_evaluated_with_its_module_and_at_its_size(cli, tiny, tmp_path, monkeypatch):
    (tmp_path / "rigid_parts.py").write_text(SOURCE)
    with monkeypatch.context() as patched:  # what the module registers is forgotten after it
        patched.setattr(registry, "_ENTRIES", {kind: dict(known) for kind, known in registry._ENTRIES.items()})
        patched.setattr(commands, "imported", [])
        trained = cli("train", tiny, "--import", "rigid_parts", "-s", "encoder=rigid", "--out", "run")
        assert trained.exit_code == 0, trained.output
        said = cli("eval", "run", "-s", "views.size=16").output
    assert said.startswith("error: encoder rigid: cannot take views (2, 3, 16, 16)")
    assert said.rstrip().endswith("it was built for views of 12x12.") and len(said.splitlines()) == 1
    monkeypatch.delitem(sys.modules, "rigid_parts")
    assert json.loads((tmp_path / "run" / "encoder.json").read_text())["imports"] == ["rigid_parts"]
    result = cli("eval", "run")
    assert (result.exit_code, result.stderr) == (
        2, "error: run: has parts of the module rigid_parts; give --import rigid_parts (import it, in Python).\n"
    )  # fmt: skip


def test_an_encoder_that_is_not_finite_gives_one_sentence(cli, trained, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "recipe.yaml").write_bytes((trained / "recipe.yaml").read_bytes())
    card = json.loads((trained / "encoder.json").read_text())
    (broken / "encoder.json").write_text(json.dumps({key: value for key, value in card.items() if key != "sha256"}))
    weights = load_file(trained / "encoder.safetensors")
    save_file({name: torch.full_like(w, float("nan")) if w.is_floating_point() else w for name, w in weights.items()},
              broken / "encoder.safetensors")  # fmt: skip
    result = cli("eval", broken, "--protocol", "knn")
    assert (result.exit_code, result.stdout) == (2, "") and "finite" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_run_is_announced_by_its_method_and_the_parts_that_were_changed(cli, tmp_path):
    small = ("encoder={name: convnet, widths: [4, 8]}", "projector.dims=[8, 8]", "predictor.dims=[4, 8]",
             "views.size=12", "training.batch_size=16", "evaluation.protocols=[]", "target=ema")  # fmt: skip
    result = cli("train", "digits/simsiam", "--out", "run", "--max-steps", 1, *sum((["-s", s] for s in small), []))
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("simsiam + target=ema on digits: ")


def test_protocols_of_places_and_members_are_told_before_training_and_left_out(cli, tiny, tmp_path):
    protocols = "evaluation.protocols=[knn, {name: attentive, epochs: 1}, retrieval]"
    result = cli("train", tiny, "--out", "run", "--max-steps", 2, "-s", protocols)
    assert result.exit_code == 0, result.output
    sentence = (
        "without retrieval: the encoder ConvNet compares no members of samples: it has no embedding(view) and "
        "align(view, towards)"
    )
    lines = result.stderr.splitlines()
    assert lines.index(f"evaluation: {sentence}") < lines.index("evaluating the frozen encoder")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["evaluation_notes"] == [sentence]
    assert list(summary["metrics"]) == list(summary["baselines"]["untrained"]) == ["knn", "attentive"]
    assert list(summary["baselines"]["raw"]) == ["knn"] and not (tmp_path / "run" / "samples.json").exists()
    result = cli("eval", "run", "--protocol", "retrieval")
    assert result.exit_code == 2 and "evaluation: protocol retrieval: the encoder ConvNet compares no" in result.stderr
    result = cli("eval", "run", "--protocol", "attentive", "--json", "-s", "evaluation.protocols.attentive.epochs=2")
    assert set(json.loads(result.stdout)) == {"encoder", "untrained", "raw", "verdict"}
