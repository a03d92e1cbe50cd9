"""The JSON schema of recipes accepts what is shipped and refuses what the recipe itself refuses."""

import json

import jsonschema
import pytest
import yaml

from ssl_zoo import registry
from ssl_zoo.recipe.json_schema import recipe_schema
from ssl_zoo.recipe.load import load_recipe, method_names, recipe_path


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(json.dumps(recipe_schema()))  # plain JSON
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", method_names())
def test_every_shipped_method_is_valid_as_it_stands_and_resolved(validator, name):
    validator.validate(yaml.safe_load(recipe_path(name).read_text(encoding="utf-8")))
    validator.validate(yaml.safe_load(load_recipe(name).to_yaml()))


BASE = {"method": "mine", "encoder": "convnet", "objective": "mse", "views": "augment"}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"encoder": {"name": "timm/vit_tiny_patch16_224", "drop_path": 0.1}},
        {"encoder": "timm/vit_tiny_patch16_224"},
        {"objective": {"name": "variance", "weight": 2, "std": 0.5}},
        {"objective": ["mse", {"name": "variance", "weight": 2}]},
        {"data": "digits"},
        {"data": {"source": "some/folder", "cache": "none"}},
        {"data": {"source": {"name": "folder", "path": "x"}}},
        {"data": {"source": None}},
        {"evaluation": {"protocols": "knn"}},
        {"training": {"groups": [{"of": ["bias"], "weight_decay": 0.0}], "max_steps": None}},
    ],
)
def test_short_forms_are_valid(validator, more):
    validator.validate({**BASE, **more})


@pytest.mark.parametrize(
    "more",
    [
        {"traget": "ema"},
        {"target": "emma"},
        {"target": {"name": "ema", "momentum": 2}},
        {"target": {"name": "ema", "momentm": 0.9}},
        {"target": {"momentum": 0.9}},
        {"encoder": "timm/"},
        {"encoder": "timm/*"},
        {"objective": []},
        {"objective": [{"name": "mse", "wieght": 2}]},
        {"predictor": {"name": "identity", "weight": 2}},
        {"training": {"batch_size": 0}},
        {"training": {"base_lr": -1}},
        {"data": {"cache": "maybe"}},
        {"guard": {"policy": "shout"}},
        {"evaluation": {"protocols": ["kn"]}},
        {"seed": -1},
        {"encoder": None},
    ],
)
def test_what_the_recipe_refuses_the_schema_refuses(validator, more):
    assert not validator.is_valid({**BASE, **more})


def test_every_registered_part_is_in_it(validator):
    definitions = validator.schema["$defs"]
    kinds = [each["properties"]["kind"]["const"] for each in validator.schema["anyOf"]]
    assert kinds == registry.names("method")
    for kind in registry.PACKAGES.keys() - {"method"}:
        titles = {each.get("title") for each in definitions[f"part_{kind}"]["anyOf"]}
        assert titles >= {f"{kind}_{name}" for name in registry.names(kind)}
