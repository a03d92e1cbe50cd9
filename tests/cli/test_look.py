"""`list`, `show`, `check`, `schema`, `views`."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from ssl_zoo import registry
from ssl_zoo.recipe.json_schema import recipe_schema
from ssl_zoo.recipe.load import experiment_names, load_recipe, method_names


def test_list_shows_every_method_experiment_and_part_with_a_line_about_it(cli):
    result = cli("list")
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    for kind in ("methods", "experiments", *registry.PACKAGES):
        assert f"{kind}:" in lines
    parts = [name for kind in registry.PACKAGES for name in registry.names(kind)]
    assert set(lines) >= {*method_names(), *experiment_names(), *parts}
    assert "Exploring Simple Siamese Representation Learning" in result.stdout


@pytest.mark.parametrize("kind", ["methods", "experiments", "encoder", "target", "term"])
def test_list_of_a_kind_shows_that_kind_only(cli, kind):
    names = {"methods": method_names, "experiments": experiment_names}.get(kind, lambda: registry.names(kind))()
    shown = cli("list", kind).stdout.splitlines()
    assert shown[0] == f"{kind}:" and [line.split()[0] for line in shown[1:]] == names
    assert json.loads(cli("list", kind, "--json").stdout) == {kind: names}


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (("encoder", "resnet*"), {"encoder": ["resnet101", "resnet18", "resnet34", "resnet50"]}),
        (("encoder", "resnet?[18]*"), {"encoder": ["resnet18"]}),
        (("encoder", "timm*"), {"encoder": ["timm/*"]}),
        (("methods", "byol*"), {"methods": ["byol", "byol_variance", "byol_variance_covariance"]}),
        (("experiments", "digits/*"), {"experiments": ["digits/simsiam"]}),
    ],
)
def test_list_takes_wildcards(cli, arguments, expected):
    assert json.loads(cli("list", *arguments, "--json").stdout) == expected
    shown = cli("list", *arguments).stdout.splitlines()
    assert [line.split()[0] for line in shown] == [f"{arguments[0]}:", *expected[arguments[0]]]


def test_a_pattern_that_nothing_matches_names_the_nearest(cli):
    result = cli("list", "encoder", "resnet5O")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: no name in encoder matches 'resnet5O'; did you mean 'resnet50'? Known: ")
    assert "nothing to list of the kind 'encodr'; did you mean 'encoder'?" in cli("list", "encodr", "*").stderr


def test_show_prints_a_recipe_with_all_its_settings(cli):
    result = cli("show", "simsiam", "-s", "target=ema", "--seed", 4)
    expected = load_recipe("simsiam", ["target=ema"], seed=4)
    assert result.stdout == expected.to_yaml()
    assert json.loads(cli("show", "simsiam", "-s", "target=ema", "--seed", 4, "--json").stdout) == expected.dump()
    assert yaml.safe_load(cli("show", "digits/simsiam").stdout)["data"]["source"]["name"] == "digits"


@pytest.mark.parametrize("name", ["mlp", "head/mlp"])
def test_show_prints_a_part_with_its_options(cli, name, tmp_path):
    (tmp_path / "mlp").mkdir()  # a folder of that name is no recipe
    result = cli("show", name)
    assert result.exit_code == 0 and result.stdout.startswith("head mlp\n\nLinear layers with a norm")
    assert "  dims = [2048, 2048]    list of: whole number >= 1\n" in result.stdout
    assert "  last_affine = True    true, false\n" in result.stdout
    (part,) = json.loads(cli("show", name, "--json").stdout)
    assert part["kind"] == "head" and part["options"]["norm"] == "batch"


def test_show_prints_the_parts_that_a_kind_of_method_has_by_default(cli):
    lines = cli("show", "local").stdout.splitlines()
    assert {
        "  projector = identity    a head, or one per member", "  target = shared    a target",
        "  local_projector = (must be given)    a head, or one per member",
    } <= set(lines)  # fmt: skip


def test_show_prints_all_parts_of_a_name_and_families(cli):
    assert [part["kind"] for part in json.loads(cli("show", "constant", "--json").stdout)] == ["schedule"]
    assert json.loads(cli("show", "timm/resnet18", "--json").stdout)[0]["name"] == "timm/*"
    assert "path = (must be given)" in cli("show", "source/folder").stdout


def test_check_joins_the_parts_of_a_recipe(cli):
    for name in ("simsiam", "byol", "barlow_twins", "vicreg"):
        result = cli("check", name, "--json")
        assert result.exit_code == 0, result.output
        checked = json.loads(result.stdout)
        assert checked["method"] == name and checked["parameters"]["encoder"] == 23_508_032  # ResNet-50, no classifier
    text = cli("check", "simsiam", "-s", "training.batch_size=1024").stdout
    assert "simsiam: ok" in text and "encoder: 23.51 M weights" in text
    assert "learning rate 0.2 at a total batch of 1024" in text


def test_schema_is_the_schema(cli):
    assert json.loads(cli("schema").stdout) == recipe_schema()


def grid(path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG" and image.mode == "RGB"
        return np.asarray(image).astype(int)


def test_views_writes_what_the_model_sees(cli, tiny, tmp_path):
    result = cli("views", tiny, "--samples", 5, "--out", "seen.pic")
    assert result.exit_code == 0 and result.stdout == "seen.pic\n"
    picture = grid(tmp_path / "seen.pic")
    height, width, _ = picture.shape
    assert height % 5 in (0, 2, 4) and height > 5 * 12 and width > 3 * 12  # a sample and its two views, five times
    assert np.array_equal(picture[..., 0], picture[..., 2])  # grey
    assert picture.max() > 200 and 0 <= picture[picture < 255].min() < 30  # strokes on dark canvases
    cli("views", tiny, "--samples", 5, "--out", "again.png")
    assert np.array_equal(grid(tmp_path / "again.png"), picture)
    cli("views", tiny, "--samples", 5, "--seed", 1, "--out", "other.png")
    assert not np.array_equal(grid(tmp_path / "other.png"), picture)


def test_views_of_a_full_size_method_on_small_images(cli, tmp_path):
    result = cli("views", "simsiam", "--data", "digits", "-s", "views.size=32")
    assert result.exit_code == 0 and result.stdout == "views.png\n"
    assert grid(tmp_path / "views.png").shape[0] > 8 * 32


def test_views_of_colour_images_show_their_colours(cli, tiny, tmp_path):
    (tmp_path / "images").mkdir()
    for i, colour in enumerate([(250, 10, 10), (10, 250, 10), (10, 10, 250)]):
        Image.new("RGB", (20 + i, 16), colour).save(tmp_path / "images" / f"{i}.png")
    plain = ("-s", "views.channels=3", "-s", "views.jitter=0")
    result = cli("views", tiny, "--data", "images", *plain)
    assert result.exit_code == 0, result.output
    picture = grid(tmp_path / "views.png")
    for channel in range(3):
        others = [c for c in range(3) if c != channel]
        coloured = (picture[..., channel] > 240) & (picture[..., others] < 20).all(axis=-1)
        assert coloured.sum() >= 3 * 12 * 12 * 0.9  # the sample and both views of it
