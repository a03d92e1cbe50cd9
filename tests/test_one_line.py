"""Any part is swapped by one line, and the run trains: the promise of the README."""

from pathlib import Path
from zipfile import ZipFile

import pytest

from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.training.train import train

SHORT = (
    "training.max_steps=2", "training.batch_size=32", "training.log_every=1", "evaluation.protocols=[knn]",
    "evaluation.limit=40", "evaluation.baselines=false", "encoder.widths=[4, 8]",
)  # fmt: skip
LINES = {
    "target": "target=ema",
    "option": "pairing.reduce=sum",
    "predictor": "predictor=identity",
    "encoder": "encoder=timm/vit_tiny_patch16_224",
    "objective": "objective=softmax_cross_entropy",
    "two terms": "objective=[negative_cosine, {name: variance, weight: 0.1}]",
    "optimizer": "training.optimizer=adamw",
    "views": "views.num_views=3",
}


def run(recipe: str, overrides: list[str], out: Path, data: str | None = None) -> dict:
    return train(load_recipe(recipe, overrides, data=data), out=out, log=lambda line: None)


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_another_part(line: str, tmp_path: Path) -> None:
    overrides = [each for each in SHORT if "encoder" not in line or not each.startswith("encoder")]
    summary = run(
        "digits/simsiam", [*overrides, line, *(["views.size=32"] if "timm" in line else [])], tmp_path / "run"
    )
    assert (summary["status"], summary["steps"]) == ("done", 2) and 0 <= summary["metrics"]["knn"]["top1"] <= 1


def test_another_source(shared_data: Path, tmp_path: Path) -> None:
    data = tmp_path / "few.zip"
    with ZipFile(shared_data / "cifar10-small.zip") as whole, ZipFile(data, "w") as few:
        names = [name for name in whole.namelist() if not name.endswith("/")]
        for name in names[::20]:
            few.writestr(name, whole.read(name))
    overrides = [*SHORT, "views.channels=3"]
    summary = run("digits/simsiam", overrides, tmp_path / "run", str(data))
    assert summary["status"] == "done" and (summary["data"]["train"], summary["data"]["test"]) == (250, 50)


@pytest.mark.parametrize(
    "line", ["target=stop_gradient", "predictor=linear", "objective=[mse, variance]", "masks.0.join=true"]
)
def test_another_part_of_a_masked_method(line: str, tmp_path: Path) -> None:
    overrides = [*SHORT[:-1], "encoder.width=12", "encoder.depth=1", "predictor.width=8", line]
    if line.startswith("predictor"):
        overrides.remove("predictor.width=8")
    raw = load_recipe("masked/i_jepa", overrides, data="digits", variant="digits")
    summary = train(raw, out=tmp_path / "run", log=lambda line: None)
    assert (summary["status"], summary["steps"]) == ("done", 2) and 0 <= summary["metrics"]["knn"]["top1"] <= 1


@pytest.mark.parametrize("method", ["byol", "vicreg"])
def test_another_method(method: str, tmp_path: Path) -> None:
    small = ["encoder={name: convnet, widths: [4, 8]}", "projector.dims=[8, 8]", "views.size=12"]
    small += ["views.mean=[0.5]", "views.std=[0.5]"] + (["predictor.dims=[8, 8]"] if method == "byol" else [])
    overrides = [*(each for each in SHORT if not each.startswith("encoder")), *small]
    assert run(method, overrides, tmp_path / "run", "digits")["status"] == "done"
