"""Parts per member in recipes: written, read back, overridden, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from ssl_zoo.errors import UserError
from ssl_zoo.recipe.display_name import called
from ssl_zoo.recipe.json_schema import recipe_schema
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.recipe.model import Recipe, parse
from ssl_zoo.recipe.part import Part, PerMember

VIEWS = "views={image: {name: augment, size: 32}, depth: {name: augment, size: 16, channels: 1, grey: 0, jitter: 0}}"


def pair(*overrides: str) -> Recipe:
    return load_recipe("simsiam", [VIEWS, "encoder={image: resnet18, depth: {name: convnet, widths: [8]}}", *overrides])


def test_a_part_per_member_is_checked_and_complete_and_survives_a_round_trip() -> None:
    recipe = pair("predictor={per_direction: {name: mlp, dims: [4, 8]}}", "projector={each: linear}")
    encoder = recipe.encoder
    assert isinstance(encoder, PerMember) and encoder.members == ("image", "depth") == recipe.members
    assert encoder.parts["depth"].options == {"widths": [8]} and encoder.parts["image"].options["stem"] == "imagenet"
    assert encoder.name == "image: resnet18, depth: convnet"
    assert recipe.dump()["projector"] == {"each": {"name": "linear", "dim": None, "bias": True}}
    assert parse(recipe.dump(), "again") == recipe and parse(yaml.safe_load(recipe.to_yaml()), "again") == recipe
    assert isinstance(load_recipe("simsiam").encoder, Part) and load_recipe("simsiam").members == ()


def test_overrides_reach_the_part_of_a_member() -> None:
    recipe = pair(
        "encoder.image=resnet34", "encoder.depth.widths=[4, 6]", "views.depth.size=20",
        "data.decode.image.max_pixels=99",
        "projector={each: {name: mlp, dims: [8]}}", "projector.each.bias=true", "encoder={image: {width: 8}}",
    )  # fmt: skip
    encoder, views, projector = recipe.encoder, recipe.views, recipe.options["projector"]
    assert encoder.parts["image"].name == "resnet34" and encoder.parts["image"].options["width"] == 8
    assert encoder.parts["depth"].options == {"widths": [4, 6]}
    assert views.parts["depth"].options["size"] == 20 and views.parts["image"].options["size"] == 32
    assert projector.parts["each"].options == {**projector.parts["each"].options, "dims": [8], "bias": True}
    assert recipe.data.decode["image"]["max_pixels"] == 99 != recipe.data.decode["depth"]["max_pixels"]


def test_a_mapping_gives_options_where_it_can_and_else_a_part_per_member() -> None:
    options = load_recipe("simsiam", ["projector={norm: layer, dims: [8]}"]).options["projector"]
    assert isinstance(options, Part) and options.options["norm"] == "layer"
    other = pair("encoder={image: convnet, depth: resnet18}", "views={image: {size: 24}}")
    assert [part.name for part in other.encoder.parts.values()] == ["convnet", "resnet18"]
    assert other.views.parts["image"].options["size"] == 24 and "depth" in other.views.parts
    again = pair("views={image: augment, sound: augment}", "encoder={each: convnet}")
    assert again.members == ("image", "sound")
    assert pair("encoder=convnet").encoder.name == "convnet"


def test_an_experiment_puts_parts_per_member_in(tmp_path: Path) -> None:
    sets = yaml.safe_dump(
        {"views": {"a": {"name": "augment", "size": 8}, "b": "augment"}, "encoder": {"each": "convnet"}}
    )
    indented = "".join(f"  {line}\n" for line in sets.splitlines())
    (tmp_path / "mine.yaml").write_text(f"method: simsiam\nset:\n{indented}")
    recipe = load_recipe(str(tmp_path / "mine.yaml"), ["encoder.each.widths=[5]"])
    assert recipe.members == ("a", "b") and recipe.encoder.plain() == {"each": {"name": "convnet", "widths": [5]}}


def test_its_name_and_its_schema() -> None:
    recipe = pair("projector={each: mlp}", "predictor={image: mlp, depth: linear}")
    name = "simsiam + projector={each: mlp} + predictor={image: mlp, depth: linear}"
    assert called(recipe.dump()) == name
    validator = jsonschema.Draft202012Validator(json.loads(json.dumps(recipe_schema())))
    validator.validate(json.loads(json.dumps(recipe.dump())))
    base = {"method": "mine", "objective": "mse", "views": {"a": "augment", "b": "augment"}}
    validator.validate({**base, "encoder": {"a": "convnet", "b": {"name": "resnet18"}}})
    validator.validate({**base, "encoder": "convnet", "predictor": {"per_direction": "mlp"}})
    for wrong in ({"a": "convnett"}, {"a": 3}, {}, {"a": {"widths": [3]}}):
        with pytest.raises(jsonschema.ValidationError):
            validator.validate({**base, "encoder": wrong})


MISTAKES = [
    (["encoder={image: resnet18, dept: convnet}"], "encoder.dept: the views have no such member; did you mean 'depth'"),
    (
        ["encoder={each: resnet18}", "encoder.image=resnet18"],
        "encoder: each stands for all members, so it stands alone",
    ),
    (
        ["encoder.depth.width=[8]"],
        r"-s encoder.depth.width=\[8\].*encoder.depth.width: unknown key of encoder 'convnet'",
    ),
    (["encoder.depth.widths=[0]"], "encoder.depth.widths.0: 0 is not possible"),
    (["encoder={per_direction: convnet}"], "encoder: only a predictor can be given per_direction"),
    (["projector={image: mlp}"], "projector: unknown key|projector: has no part for the member 'depth'"),
    (["views.depth.size=-3"], "views.depth.size: -3 is not possible"),
    (["views={image: augment, Depth: augment}"], "'Depth' is no name of a member: use lower-case letters"),
    (["views={image: augment, keys: augment}"], "'keys' cannot be the name of a member"),
    (
        ["data=digits"],
        "'digits' gives samples of one modality, but the views ask for the members image, depth; sources",
    ),
    (["data.decode.sound.x=3"], "data.decode.sound: the views have no such member"),
    (["data.decode.depth.x=3"], "data.decode.depth.x: unknown key of modality 'image'"),
    (["data.decode.depth=3"], "data.decode.depth: is written as"),
]


@pytest.mark.parametrize(("overrides", "words"), MISTAKES)
def test_mistakes_are_one_sentence(overrides: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        pair(*overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["encoder={image: resnet18, depth: convnet}"],
            "encoder: is given per member .image, depth., but the views are",
        ),
        (["projector={each: mlp}"], "projector: is given per member .each., but the views are of one modality"),
        (["views={image: augment}"], "views: are given per member, and need a policy for each of two members or more"),
        (["views={each: augment}"], "views: are given per member, and need a policy for each of two members or more"),
        (["data.source={name: pairs, path: x}"], "'pairs' gives samples of several members, but the views are of one"),
        (["encoder={widhts: [8]}"], "encoder.widhts: unknown key of encoder 'resnet50'; did you mean 'width'"),
    ],
)
def test_members_that_the_views_do_not_have_are_one_sentence(overrides: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        load_recipe("simsiam", overrides)
