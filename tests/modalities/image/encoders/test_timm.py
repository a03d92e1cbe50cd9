"""timm's models as encoders: weights travel to timm and back, and views that would not be seen whole are told."""

import json

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from ssl_zoo import registry
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.evaluate import evaluate
from ssl_zoo.methods.build import build
from ssl_zoo.methods.check import check_recipe
from ssl_zoo.methods.first_weights import report
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.runs import checkpoint
from ssl_zoo.runs.encoder import load_encoder
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.runs.weights import initial_weights
from ssl_zoo.training.train import train
from tests.tiny import spec_of

VIT = "vit_tiny_patch16_224"
SMALL = ("projector.dims=[8, 8]", "predictor.dims=[4, 8]", "training.batch_size=8", "training.max_steps=2",
         "evaluation.protocols=[]", "views.blur=0", "data.num_workers=0")  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for i in range(16):
        Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


def recipe_for(images, *overrides):
    return load_recipe("simsiam", [f"encoder=timm/{VIT}", "views.size=32", *SMALL, *overrides], data=str(images))


@pytest.fixture(scope="module")
def run(images, tmp_path_factory):
    """A run of two steps, not to be changed."""
    folder = tmp_path_factory.mktemp("timm") / "run"
    train(recipe_for(images, "target=ema"), out=folder, log=lambda line: None)
    return RunFolder(folder)


def test_the_product_has_timms_names(run):
    model = timm.create_model(VIT, img_size=32, num_classes=0)
    model.load_state_dict(load_file(run.encoder))  # strict
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(model.eval()(x), load_encoder(run.path)(x))


@pytest.mark.parametrize("name", ["timm.safetensors", "timm.pth"])
def test_a_run_starts_from_what_timm_wrote_without_the_classifier(images, tmp_path, name):
    torch.manual_seed(3)
    model = timm.create_model(VIT, img_size=32)
    state = model.state_dict()
    save_file(state, tmp_path / name) if name.endswith("safetensors") else torch.save(state, tmp_path / name)
    weights = initial_weights(tmp_path / name, ("encoder",))
    method = build(recipe_for(images), weights=weights)
    own = method.encoder.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in own.items()) and "head.weight" not in own
    assert report(method, weights) == [
        f"--init-from: encoder: {len(own)} of {len(own)} tensors taken; 2 that this encoder does not have: "
        "head.bias, head.weight"
    ]


def test_runs_with_the_old_names_still_load_go_on_and_start_others(images, run, tmp_path):
    recipe, half = recipe_for(images, "target=ema"), tmp_path / "half"
    train(recipe, out=half, stop_at=1, log=lambda line: None)
    old = RunFolder(half)
    state = checkpoint.load(old.checkpoint)
    renamed = {key.replace("encoder.", "encoder.model.", 1): value for key, value in state["method"].items()}
    assert any(key.startswith("target.network.encoder.model.blocks") for key in renamed)
    checkpoint.save(old.checkpoint, {**state, "method": renamed})
    train(recipe, out=half, resume=True, log=lambda line: None)
    ends = [checkpoint.load(folder.checkpoint)["method"] for folder in (run, old)]
    assert ends[0].keys() == ends[1].keys() and all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])

    weights = load_file(run.encoder)
    copy = RunFolder(tmp_path / "copy")
    copy.path.mkdir()
    save_file({f"model.{key}": value for key, value in weights.items()}, copy.encoder)
    card = json.loads(run.card.read_text())
    del card["sha256"]
    copy.card.write_text(json.dumps(card))
    assert all(torch.equal(value, weights[key]) for key, value in load_encoder(copy.path).state_dict().items())
    given = initial_weights(copy.encoder, ("encoder",))
    assert "150 of 150 tensors taken" in report(build(recipe_for(images), weights=given), given)[0]


@pytest.mark.parametrize(
    ("method", "overrides", "words"),
    [
        ("simsiam", [f"encoder=timm/{VIT}", "views.size=40"], r"size: 40 is no multiple of the patch size 16; use 32"),
        ("simsiam", [f"encoder=timm/{VIT}", "views.size=8"], r"size: 8 is no multiple of the patch size 16; use 16 \("),
        ("simsiam", ["encoder=timm/convnext_atto", "views.size=42"], "size: 42 is no multiple of the patch size 4; "),
        ("simsiam", ["encoder=timm/mixer_s32_224", "views.size=40"], "size: 40 is no multiple of the patch size 32"),
        ("simsiam", ["encoder=timm/vit_tiny_r_s16_p8_224", "views.size=40"], "size: 40 is no multiple"),
        ("dino", [f"encoder=timm/{VIT}", "views.size=32", "views.local_size=24"], r"local_size: 24 is no .* 16 or 32"),
    ],
)  # fmt: skip
def test_views_that_patches_do_not_divide_are_refused_with_the_nearest_sizes(method, overrides, words):
    with pytest.raises(UserError, match=rf"^views\.{words}"):
        check_recipe(load_recipe(method, overrides))


def test_models_that_pad_lose_no_border():
    for name in ("swin_tiny_patch4_window7_224", "resnet10t"):
        check_recipe(load_recipe("simsiam", [f"encoder=timm/{name}", "views.size=44", *SMALL]))


def test_evaluating_at_another_size_than_it_was_built_for_is_one_sentence(run):
    with pytest.raises(
        UserError, match=rf"^encoder timm/{VIT}: cannot take views \(2, 3, 64, 64\): .*Input height"
    ) as e:
        evaluate(run.path, overrides=["views.size=64", "evaluation.protocols=[label_free]"])
    assert str(e.value).endswith("; it was built for views of 32x32.") and "\n" not in str(e.value)


def test_an_assertion_of_timms_is_told_by_its_source():
    with pytest.raises(UserError, match="timm cannot make it for views of 64 pixels and local views of 32: Type"):
        registry.build("encoder", "timm/mixer_s16_224", {}, spec=spec_of(size=64, local=32))
