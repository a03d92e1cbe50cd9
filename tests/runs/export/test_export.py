"""Exported encoders: another library loads them strictly, without this package, and gives the same features."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file, save_file

import ssl_zoo
from ssl_zoo.batch import LibraryModel
from ssl_zoo.cli import main
from ssl_zoo.errors import TrainingFailed, UserError
from ssl_zoo.methods.build import build_encoder
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.runs.encoder import read_encoder
from ssl_zoo.runs.export import subject as subjects
from ssl_zoo.runs.export.targets import TARGETS
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.runs.product import save_encoder
from tests.pairs import DIGITS, SHORT, cross

SIZE = 32
ENCODERS = {
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "resnet18 small": "{name: resnet18, stem: small}",
    "resnet50 small": "{name: resnet50, stem: small}",
    "convnet": "{name: convnet, widths: [4, 8]}",
    "vit": "timm/test_vit",
}


def run_of(folder: Path, encoder: str, *overrides: str, data: str | None = None) -> Path:
    """Write a run that ended, with an encoder whose running statistics have moved."""
    recipe = load_recipe("simsiam", [f"encoder={encoder}", f"views.size={SIZE}", *overrides], data=data)
    made = build_encoder(recipe)
    with torch.no_grad():
        made(3 + torch.randn(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)))
    run = RunFolder(folder)
    folder.mkdir(parents=True)
    run.create(recipe)
    save_encoder(run, made, recipe, 17, {"ssl_zoo": "0", "torch": "x"})
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, source = tmp_path_factory.mktemp("data") / "photos", np.random.default_rng(0)
    folder.mkdir()
    for i, shape in enumerate([(40, 50, 3), (32, 32, 3), (90, 33, 3)]):
        Image.fromarray(source.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("runs")
    data = {"convnet": str(photos)}
    return {name: run_of(root / name, encoder, data=data.get(name)) for name, encoder in ENCODERS.items()}


FRESH = """
import json, sys, warnings
sys.modules["ssl_zoo"] = None  # not to be imported
warnings.simplefilter("ignore")
from pathlib import Path
import torch
from safetensors.torch import load_file

def convnet(weights):
    layers = []
    for i, (inputs, outputs) in enumerate([(3, 4), (4, 8)]):
        layers += [torch.nn.Conv2d(inputs, outputs, 3, 1 + (i > 0), 1, bias=False)]
        layers += [torch.nn.BatchNorm2d(outputs), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    model.load_state_dict({name.removeprefix("body."): value for name, value in weights.items()})
    return model.eval()

found = []
for case in json.loads(Path(sys.argv[1]).read_text()):
    given = load_file(case["given"])
    known = {"input": given["x"].numpy()}
    exec("\\n".join(case["load"]), known)
    with torch.no_grad():
        if "session" in known:
            h = torch.from_numpy(known["features"])
        else:
            h = (convnet(known["weights"]) if "weights" in known else known["model"])(given["x"])
    found.append(float((h - given["h"]).abs().max() / max(1, given["h"].abs().max())))
assert "ssl_zoo" not in {name.partition(".")[0] for name, module in sys.modules.items() if module is not None}
print(json.dumps(found))
"""


def check_fresh(runs: dict[str, Path], cases: list[tuple[str, str]], folder: Path) -> None:
    """Export, and compare what a new interpreter makes of the printed lines with what the encoder gives."""
    plan = []
    for name, to in cases:
        place = folder / f"{name} {to}{'.safetensors' if to == 'safetensors' else ''}"
        found = ssl_zoo.export(runs[name], to=to, out=place, log=lambda line: None)
        assert found["largest_difference"] <= found["tolerance"] == (1e-4 if to == "onnx" else 1e-5)
        x = torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            given = {"x": x, "h": read_encoder(runs[name])(x).contiguous()}
        save_file(given, folder / f"{name} {to} given")
        plan.append({"given": str(folder / f"{name} {to} given"), "load": found["load"]})
    (folder / "plan.json").write_text(json.dumps(plan))
    result = subprocess.run([sys.executable, "-c", FRESH, folder / "plan.json"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    differences = json.loads(result.stdout.splitlines()[-1])
    assert len(differences) == len(cases)
    for (name, to), difference in zip(cases, differences, strict=True):
        assert difference <= (1e-4 if to == "onnx" else 1e-5), (name, to, difference)


def test_each_library_gives_the_same_features_without_this_package(runs, tmp_path) -> None:
    cases = [
        ("resnet18", "torchvision"), ("resnet18", "timm"), ("resnet50", "torchvision"), ("resnet50", "timm"),
        ("resnet18 small", "torchscript"), ("convnet", "safetensors"), ("vit", "timm"),
    ]  # fmt: skip
    check_fresh(runs, cases, tmp_path)


@pytest.mark.slow
def test_the_graphs_of_all_encoders_give_the_same_features(runs, tmp_path) -> None:
    """Writing a graph takes seconds; the fast tests have TorchScript, and the example of photographs ONNX."""
    check_fresh(runs, [(name, to) for name in ENCODERS for to in ("onnx", "torchscript")], tmp_path)


@pytest.mark.parametrize("to", ["torchscript", pytest.param("onnx", marks=pytest.mark.slow)])
def test_a_file_with_the_preprocessing_takes_images_as_they_are(runs, photos, tmp_path, to) -> None:
    """Of any size, and in batches, and it gives what `embed` gives; the example of photographs has ONNX."""
    target = TARGETS[to]
    place = (tmp_path / "encoder").with_suffix(Path(target.file).suffix)
    found = ssl_zoo.export(runs["convnet"], to=to, out=place, with_preprocessing=True)
    assert found["compared_on"] == "3 samples of the run" and found["largest_difference"] < 1e-5
    assert list(tmp_path.iterdir()) == [place]  # a file stands alone
    place.rename(tmp_path / target.file)
    model = target.read(subjects.open_subject(runs["convnet"], None, to), tmp_path)
    encoder = ssl_zoo.load_encoder(runs["convnet"])
    for path in sorted(photos.iterdir()):
        image = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)
        with torch.no_grad():
            h = model(torch.stack([image, image.flip(1)]))
        torch.testing.assert_close(h[0], encoder.embed(path), rtol=0, atol=1e-5)


WHY = {
    ("resnet18 small", "torchvision"): "torchvision's resnet18 cannot hold it: it has a 7x7 convolution of stride 2",
    ("resnet50 small", "timm"): "timm's resnet50 cannot hold it: it has a 7x7 convolution of stride 2",
    ("convnet", "torchvision"): "torchvision has no encoder convnet; --to onnx, torchscript or safetensors can",
    ("convnet", "timm"): "timm has no encoder convnet",
    ("vit", "torchvision"): "torchvision has no encoder timm/test_vit",
    ("vit", "onx"): "there is no such target; did you mean .onnx.",
}


def test_what_cannot_be_exported_says_why_and_leaves_nothing(runs, tmp_path) -> None:
    for (name, to), words in WHY.items():
        with pytest.raises(UserError, match=words):
            ssl_zoo.export(runs[name], to=to, out=tmp_path / "out")
    with pytest.raises(UserError, match="--member text: .* has an encoder of samples of one modality"):
        ssl_zoo.export(runs["vit"], to="timm", out=tmp_path / "out", member="text")
    with pytest.raises(UserError, match="--with-preprocessing: model.safetensors holds weights alone"):
        ssl_zoo.export(runs["vit"], to="timm", out=tmp_path / "out", with_preprocessing=True)
    with pytest.raises(UserError, match="holds no finished encoder"):
        ssl_zoo.export(tmp_path, to="timm", out=tmp_path / "out")
    (tmp_path / "there").write_text("mine")
    with pytest.raises(UserError, match="there: is there already; name a new file or folder"):
        ssl_zoo.export(runs["vit"], to="timm", out=tmp_path / "there")
    assert [path.name for path in tmp_path.iterdir()] == ["there"] and (tmp_path / "there").read_text() == "mine"


def test_of_pairs_one_member_is_exported_or_all_as_safetensors(tmp_path) -> None:
    recipe = cross("simsiam", [DIGITS, *SHORT])
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.create(recipe)
    save_encoder(run, build_encoder(recipe), recipe, 1, {})
    with pytest.raises(UserError, match=r"an encoder for each member; name one with --member \(photo, sketch\)"):
        ssl_zoo.export(run.path, to="torchscript", out=tmp_path / "out")
    with pytest.raises(UserError, match="--member text: there is none; .* has photo, sketch"):
        ssl_zoo.export(run.path, to="torchscript", out=tmp_path / "out", member="text")
    both = ssl_zoo.load_encoder(run.path)
    ssl_zoo.export(run.path, to="safetensors", out=tmp_path / "both")
    again = ssl_zoo.load_encoder(tmp_path / "both").state_dict()
    assert all(torch.equal(again[name], value) for name, value in both.state_dict().items())
    found = ssl_zoo.export(run.path, to="safetensors", out=tmp_path / "sketch", member="sketch")
    assert found["compared_on"] == "8 samples of the run" and found["largest_difference"] == 0
    sketches = torch.randint(0, 256, (2, 1, 20, 30), dtype=torch.uint8)
    alone = ssl_zoo.load_encoder(tmp_path / "sketch")
    assert torch.equal(alone.embed(sketches), both.embed(sketches, member="sketch"))
    assert "member sketch" in (tmp_path / "sketch" / "README.md").read_text()
    with pytest.raises(UserError, match="give member=, which of the members the samples are of: photo, sketch"):
        both.embed(sketches)


def test_narrow_and_grey_encoders_are_told_apart(tmp_path) -> None:
    narrow = run_of(tmp_path / "narrow", "{name: resnet18, width: 0.1}")
    with pytest.raises(UserError, match=r"torchvision's resnet18 cannot hold it: this encoder has 0\.1 times its"):
        ssl_zoo.export(narrow, to="torchvision", out=tmp_path / "out")


def test_without_onnxruntime_the_line_that_installs_it_is_told(runs, tmp_path, monkeypatch) -> None:
    real = sys.modules["importlib.util"].find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "onnxruntime" else real(name))
    with pytest.raises(UserError, match=r"--to onnx needs the package onnxruntime, .*pip install 'ssl_zoo\[onnx\]'"):
        ssl_zoo.export(runs["convnet"], to="onnx", out=tmp_path / "out")


def test_features_that_differ_are_an_error_and_nothing_is_left(runs, tmp_path, monkeypatch) -> None:
    target = TARGETS["torchscript"]
    monkeypatch.setattr(type(target), "read", lambda self, subject, folder: lambda x: subject.module(x) + 0.01)
    with pytest.raises(TrainingFailed, match=r"differ by up to 0\.01 from those of the encoder on 3 samples"):
        ssl_zoo.export(runs["convnet"], to="torchscript", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def head(text: str) -> dict[str, Any]:
    return yaml.safe_load(text.split("---\n")[1])


def test_the_folder_has_a_card_and_loads_again(runs, tmp_path) -> None:
    """Also as a copy in a local cache of Hugging Face, where files are links."""
    run, x = runs["vit"], torch.randn(2, 3, SIZE, SIZE)
    out = tmp_path / "out"
    ssl_zoo.export(run, to="timm", out=out, log=lambda line: None)
    assert {path.name for path in out.iterdir()} == {"README.md", "config.json", "encoder.json", "model.safetensors"}
    card = (out / "README.md").read_text()
    assert head(card)["library_name"] == "timm" and {"simsiam", "image"} <= set(head(card)["tags"])
    assert "timm.create_model('local-dir:.', pretrained=True)" in card and "## Licence" in card
    cache = tmp_path / "models--me--mine"
    snapshot = cache / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (cache / "blobs").mkdir()
    for path in out.iterdir():
        path.rename(cache / "blobs" / path.name)
        (snapshot / path.name).symlink_to(Path("../../blobs") / path.name)
    with torch.no_grad():
        expected = read_encoder(run)(x)
        for place in (cache, snapshot):
            assert torch.equal(ssl_zoo.load_encoder(place)(x), expected)
    (cache / "snapshots" / ("1" * 40)).mkdir()
    with pytest.raises(UserError, match="holds 2 snapshots of a model, and none of them is its revision main; name"):
        ssl_zoo.load_encoder(cache)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("0" * 40)
    ssl_zoo.load_encoder(cache)
    (snapshot / "encoder.json").unlink()
    with pytest.raises(UserError, match=r"has model\.safetensors, and no encoder\.json"):
        ssl_zoo.load_encoder(snapshot)


def test_an_encoder_of_ones_own_names_its_weights_in_the_library(tmp_path, monkeypatch) -> None:
    """The names are the encoder's statement: no list of encoders is kept anywhere else."""
    run = run_of(tmp_path / "run", "{name: convnet, widths: [4]}")
    model = LibraryModel("mine", "head", {}, {"body.": "features."})
    monkeypatch.setattr("ssl_zoo.modalities.image.encoders.convnet.ConvNet.library_models", lambda self: {"torchvision": model}, raising=False)  # fmt: skip  # noqa: E501

    class Theirs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features, self.head = read_encoder(run).body, torch.nn.Linear(4, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.features(x))

    monkeypatch.setattr("torchvision.models.get_model", lambda name, **options: Theirs())
    found = ssl_zoo.export(run, to="torchvision", out=tmp_path / "out", log=lambda line: None)
    assert found["load"][2:4] == ["model = torchvision.models.get_model('mine')", "model.head = torch.nn.Identity()"]
    assert all(name.startswith("features.") for name in load_file(tmp_path / "out" / "model.safetensors"))
    x = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        assert torch.equal(ssl_zoo.load_encoder(tmp_path / "out")(x), read_encoder(run)(x))


def test_the_command_prints_the_difference_and_the_lines(runs, tmp_path) -> None:
    given = ["export", str(runs["convnet"]), "--to", "torchscript", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 0, result.output
    assert "largest difference " in result.output and "on 3 samples of the run" in result.output
    assert f"torch.jit.load('{tmp_path}/out/model.pt')" in result.output
    assert CliRunner().invoke(main, given).exit_code == 2  # it is there already
    again = CliRunner().invoke(main, [*given[:-1], str(tmp_path / "more"), "--json"])
    assert json.loads(again.stdout)["tolerance"] == 1e-5
    with pytest.raises(UserError, match="holds the card of an encoder, and no weights of it as safetensors"):
        ssl_zoo.load_encoder(tmp_path / "out")
