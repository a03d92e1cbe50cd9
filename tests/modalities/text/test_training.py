"""Training on texts: it learns what words go together, and resumes exactly."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import ssl_zoo
from ssl_zoo.modalities.text.made import TOPICS, write_examples
from ssl_zoo.recipe.load import load_recipe

SMALL = ("views.num_words=500", "encoder.width=64", "projector.dims=[64, 64, 64]", "training.batch_size=64",
         "evaluation.protocols=[knn]", "data.num_workers=0")  # fmt: skip


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    return write_examples(tmp_path_factory.mktemp("data") / "texts", num=80)


def test_made_texts_share_few_words_of_their_topic(texts: Path) -> None:
    files = sorted((texts / "train" / "sea").glob("*.txt"))
    assert len(files) == 80 and len(sorted((texts / "test").rglob("*.txt"))) == 4 * 16
    sea = set(TOPICS["sea"].split())
    found = [sea & set(file.read_text().lower().replace(".", "").split()) for file in files]
    assert all(len(words) == 6 for words in found)
    assert sum(not a & b for a, b in zip(found, found[1:], strict=False)) > 20


def test_two_spans_of_a_text_teach_its_topic(texts: Path, tmp_path: Path) -> None:
    recipe = load_recipe("text/vicreg", [*SMALL, "training.max_steps=200", "training.base_lr=0.03"], data=str(texts))
    summary = ssl_zoo.train(recipe, out=tmp_path / "run", log=lambda line: None)
    top1 = summary["metrics"]["knn"]["top1"]
    assert top1 > summary["baselines"]["raw"]["knn"]["top1"] + 0.05
    assert top1 > summary["baselines"]["untrained"]["knn"]["top1"] + 0.1
    assert summary["collapse"]["status"] == "ok"


def test_a_stopped_run_resumes_exactly(texts: Path, tmp_path: Path) -> None:
    options = [*SMALL, "training.max_steps=6", "views.mask=0.1", "views.move=2", "evaluation.protocols=[]"]
    recipe = load_recipe("text/vicreg", options, data=str(texts))
    ssl_zoo.train(recipe, out=tmp_path / "whole", log=lambda line: None)
    ssl_zoo.train(recipe, out=tmp_path / "parts", stop_at=3, log=lambda line: None)
    ssl_zoo.train(recipe, out=tmp_path / "parts", resume=True, log=lambda line: None)
    weights = [load_file(next((tmp_path / name).rglob("encoder*.safetensors"))) for name in ("whole", "parts")]
    assert weights[0].keys() == weights[1].keys() and weights[0]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    summary = json.loads((tmp_path / "parts" / "summary.json").read_text())
    assert summary["status"] == "done"
