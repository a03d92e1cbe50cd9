"""`init`: the recipe fits data and machine, says why, passes `check` and trains."""

import json

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from ssl_zoo.data.defaults import Given
from ssl_zoo.errors import UserError
from ssl_zoo.methods.check import check_recipe
from ssl_zoo.modalities.image.defaults import image_defaults
from ssl_zoo.recipe.load import load_recipe, read_raw
from ssl_zoo.recipe.model import parse
from ssl_zoo.recipe.overrides import put
from ssl_zoo.studies.init_recipe import init_recipe
from tests.cli.conftest import run


def pictures(folder, num, size, mode="RGB"):
    rng = np.random.default_rng(0)
    for i in range(num):
        place = folder / ("cats", "dogs")[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        shape = (size, size, 3) if mode == "RGB" else (size, size)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(place / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """64 grey pictures of 16 pixels, and the recipe that `init` writes for them."""
    folder = tmp_path_factory.mktemp("init")
    pictures(folder / "photos", 64, 16, "L")
    (folder / "photos" / "cats" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    result = run("init", "simsiam", "--data", folder / "photos", "--out", folder / "recipe.yaml", "--json")
    assert result.exit_code == 0, result.output
    return folder, json.loads(result.stdout)


def test_the_recipe_fits_the_data_and_says_why(small):
    folder, found = small
    text = (folder / "recipe.yaml").read_text(encoding="utf-8")
    recipe = load_recipe(str(folder / "recipe.yaml"))
    views, values = recipe.views.options, {each["key"]: each["value"] for each in found["settings"]}
    assert views["size"] == 16 and views["channels"] == 1 and views["hue"] == views["saturation"] == views["grey"] == 0
    assert recipe.training.batch_size == 8 and 8 * 8 <= 65 and recipe.encoder.name == "convnet"
    assert recipe.data.on_error == "skip" and "1 of these 65" in found["facts"]["unreadable"]
    assert check_recipe(recipe)["batch_size"] == 8
    for key, value in values.items():
        node = yaml.safe_load(text)
        for step in key.split("."):
            node = node[step]
        assert node == value, key
    for each in found["settings"]:  # its reason stands above it
        before = text.partition(f"\n{'  ' * each['key'].count('.')}{each['key'].rpartition('.')[2]}: ")[0]
        assert "# " in before.splitlines()[-1], each["key"]
    assert "# Labels: 2 classes." in text and "experiments/cifar10/simsiam.yaml" in text


def test_statistics_are_those_of_the_samples(small):
    folder, _ = small
    pixels = np.stack([np.asarray(Image.open(p)) for p in folder.glob("photos/*/[0-9]*.png")]) / 255
    views = load_recipe(str(folder / "recipe.yaml")).views.options
    assert views["mean"] == [pytest.approx(pixels.mean(), rel=1e-3)]
    assert views["std"] == [pytest.approx(pixels.std(), rel=1e-3)]


def test_the_estimate_is_measured_at_the_recipes_batch(small):
    estimate = small[1]["estimate"]
    assert estimate["measured_batches"] == [8] and estimate["step_s"] > 0
    assert estimate["seconds"] == pytest.approx(estimate["steps"] * estimate["step_s"])
    assert estimate["steps"] == load_recipe(str(small[0] / "recipe.yaml")).training.max_steps


def test_it_trains_without_a_note_and_the_method_alone_gets_one(small):
    folder, _ = small
    quick = ("--max-steps", 2, "-s", "evaluation.protocols=[]", "-s", "evaluation.report_samples=0")
    result = run("train", folder / "recipe.yaml", "--out", folder / "run", *quick)
    assert result.exit_code == 0 and "ssl-zoo init" not in result.output, result.output
    tiny = ("-s", "encoder={name: convnet, widths: [4]}", "-s", "projector.dims=[4, 4]", "-s", "predictor.dims=[2, 4]",
            "-s", "views.blur=0", "-s", "training.batch_size=2", "-s", "data.on_error=skip",
            "-s", "data.bad_budget=0.1", "-s", "views.size=40")  # fmt: skip
    result = run("train", "simsiam", "--data", folder / "photos", "--out", folder / "large", *tiny, *quick)
    note = f"images of 16x16 pixels are blown up to views of 40; `ssl-zoo init simsiam --data {folder / 'photos'}`"
    assert result.exit_code == 0 and result.stderr.count(note) == 1, result.output


@pytest.mark.parametrize(
    ("shape", "dtype", "accelerator", "encoder", "size"),
    [
        ((1, 8, 8), torch.uint8, False, {"name": "convnet", "widths": [32, 64, 128]}, 8),
        ((3, 32, 32), torch.uint8, False, {"name": "convnet", "widths": [16, 32, 64, 128]}, 24),
        ((3, 32, 32), torch.uint8, True, {"name": "resnet18", "stem": "small"}, 32),
        ((3, 96, 96), torch.uint8, True, "resnet18", 96),
        ((3, 300, 400), torch.uint8, False, "resnet18", 112),
        ((3, 300, 400), torch.uint8, True, {"name": "resnet50", "zero_init_residual": True}, 224),
        ((13, 32, 32), torch.uint16, True, {"name": "resnet18", "stem": "small"}, 32),
    ],
)  # fmt: skip
def test_what_fits_images_of_some_size(shape, dtype, accelerator, encoder, size):
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 255, shape, generator=generator).to(dtype) for _ in range(2)]
    near = read_raw("cifar10/simsiam", None if accelerator else "small")
    found = image_defaults(images, Given(50_000, accelerator, read_raw("simsiam"), near))
    raw = read_raw("simsiam") if found.start == "method" else near
    for each in found.settings:
        put(raw, each.key, each.value)
    assert raw["encoder"] == encoder and raw["views"]["size"] == size
    assert raw["views"].get("channels", 3) == shape[0]
    if shape[0] == 13:
        mean = {"mean": [0.5], "std": [0.5]}
        raw["views"] |= mean
    check_recipe(parse(raw, "test"))


def test_wrong_inputs_are_one_sentence_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    empty = pictures(tmp_path / "few", 2, 8)
    for path in empty.glob("*/*.png"):
        path.write_bytes(b"nothing")
    (tmp_path / "there.yaml").write_text("method: mine\n", encoding="utf-8")
    for arguments, words in (
        (("simsam", "--data", "digits"), "there is no method 'simsam'; did you mean 'simsiam'?"),
        (("simsiam", "--data", "nowhere"), "no such file"),
        (("simsiam", "--data", "digits", "--out", "there.yaml"), "--out there.yaml: exists"),
        (("simsiam", "--data", empty), "none of the 2 samples that were tried can be read"),
        (("levljepa", "--data", "digits"), "levljepa: trains on samples of several members (image, text)"),
        (("simsiam", "--data", "digits", "-s", "training.epoch=3"), "unknown key"),
    ):
        result = run("init", *arguments)
        assert result.exit_code == 2 and words in result.stderr, (arguments, result.output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["few", "there.yaml"]


def test_samples_of_another_modality_get_its_views_and_its_encoder(shared_data, tmp_path):
    for name, method, views, encoder in (
        ("fsdd.parquet", "dino", "log_mel", "audio_convnet"),
        ("clips.zip", "vicreg", "clips", "tiny_r2plus1d"),
    ):
        found = init_recipe(method, str(shared_data / name), out=tmp_path / f"{method}.yaml", estimated=False)
        assert (found.recipe.views.name, found.recipe.encoder.name) == (views, encoder)
    with pytest.raises(UserError, match="exists"):
        init_recipe("dino", "digits", out=tmp_path / "dino.yaml")
