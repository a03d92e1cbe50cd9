"""Finding recipes and putting them together: files, experiments, variants, overrides."""

import re

import pytest
import yaml

from ssl_zoo.errors import UserError
from ssl_zoo.recipe.load import (
    experiment_names,
    load_recipe,
    method_names,
    read_experiment,
    recipe_path,
    recipe_root,
)
from ssl_zoo.recipe.model import parse, recipe_model
from ssl_zoo.recipe.overrides import paths

FIRST_FOUR = {"simsiam", "byol", "barlow_twins", "vicreg"}


def shipped() -> list[str]:
    return [*method_names(), *experiment_names()]


@pytest.fixture
def study(tmp_path):
    """Writes an experiment and returns its path."""

    def write(text: str) -> str:
        path = tmp_path / "study.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_the_first_four_methods_are_shipped():
    assert set(method_names()) >= FIRST_FOUR
    assert "digits/simsiam" in experiment_names() and "digits/simsiam" in experiment_names("digits")


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_survives_dump_and_load(name):
    recipe = load_recipe(name)
    assert parse(yaml.safe_load(recipe.to_yaml()), "again") == recipe
    assert recipe_path(name).read_text(encoding="utf-8").startswith("# ")  # what `list` shows


@pytest.mark.parametrize("name", method_names())
def test_a_method_is_called_like_its_file(name):
    assert load_recipe(name).method == name


def test_every_variant_of_every_experiment_is_a_recipe():
    for name in experiment_names():
        for variant in read_experiment(name).variants:
            assert load_recipe(name, variant=variant) != load_recipe(name), f"{name} {variant} changes nothing"


def test_a_part_is_put_in_by_its_name_at_its_defaults():
    assert load_recipe("simsiam", ["target=ema"]).target.options == {
        "momentum": 0.996,
        "schedule": "cosine",
        "buffers": "own",
    }
    assert load_recipe("simsiam", ["predictor=identity"]).predictor.plain() == {"name": "identity"}
    replaced = load_recipe("simsiam", ["projector={name: mlp, dims: [3]}"])
    assert replaced.projector.options["dims"] == [3] and replaced.projector.options["last_affine"] is True


def test_a_option_is_turned_in_place():
    recipe = load_recipe("byol", ["target.momentum=0.99", "projector.dims=[8, 4]", "training.optimizer.trust=1e-2"])
    assert recipe.target.options == {**load_recipe("byol").target.options, "momentum": 0.99}
    assert recipe.projector.options == {**load_recipe("byol").projector.options, "dims": [8, 4]}
    assert recipe.training.optimizer.options == {**load_recipe("byol").training.optimizer.options, "trust": 0.01}


def test_overrides_apply_in_their_order():
    assert load_recipe("simsiam", ["target=ema", "target.momentum=0.99"]).target.options["momentum"] == 0.99
    assert load_recipe("simsiam", ["seed=1", "seed=2"]).seed == 2


def test_a_option_of_a_part_that_the_file_does_not_name_is_turned_on_its_default(study):
    recipe = load_recipe(
        study("method: simsiam\nset: {training.schedule: cosine}"),
        ["training.schedule.final=0.5", "evaluation.protocols.knn.k=7", "evaluation.protocols.3.name=label_free"],
    )
    assert recipe.training.schedule.plain() == {"name": "cosine", "warmup_epochs": 0.0, "final": 0.5, "start": 0.0}
    assert [part.name for part in recipe.evaluation.protocols] == [
        "knn",
        "linear",
        "few_shot",
        "label_free",
        "view_retrieval",
    ]
    assert recipe.evaluation.protocols[0].options["k"] == 7


def test_an_objective_is_a_name_or_a_list_of_weighted_terms():
    one = load_recipe("simsiam", ["objective=mse"]).objective
    assert [(term.name, term.weight) for term in one] == [("mse", 1.0)]
    two = load_recipe("simsiam", ["objective=[{name: mse, weight: 2}, {name: variance, weight: 1e-1}]"]).objective
    assert [(term.name, term.weight) for term in two] == [("mse", 2.0), ("variance", 0.1)]


def test_a_term_is_found_by_position_or_by_name():
    assert load_recipe("simsiam", ["objective.0.weight=2"]).objective[0].plain() == {
        "name": "negative_cosine",
        "weight": 2.0,
    }
    terms = load_recipe("vicreg", ["objective.variance.weight=3", "objective.2.views=mean"]).objective
    assert [term.weight for term in terms] == [25.0, 3.0, 1.0]
    assert terms[1].options["std"] == 1.0 and terms[2].options["views"] == "mean"
    swapped = load_recipe("vicreg", ["objective.1=cross_correlation"]).objective
    assert [term.name for term in swapped] == ["mse", "cross_correlation", "covariance"]


def test_values_are_yaml_and_floats_may_be_written_like_1e_4():
    recipe = load_recipe(
        "simsiam",
        ["training.base_lr=1e-4", "training.optimizer.weight_decay=1e-4", "views.flip=[1e-1, 0]", "training.epochs=2"],
    )
    assert recipe.training.base_lr == 1e-4 and recipe.training.optimizer.options["weight_decay"] == 1e-4
    assert recipe.views.options["flip"] == [0.1, 0.0] and recipe.training.epochs == 2.0


def test_a_mapping_changes_the_keys_of_a_section_or_part_that_it_names():
    before = load_recipe("simsiam")
    after = load_recipe("simsiam", ["training={epochs: 3, optimizer: {momentum: 0.5}}", "projector={dims: [9, 9]}"])
    assert after.training.epochs == 3 and after.training.batch_size == before.training.batch_size
    assert after.training.optimizer.options == {**before.training.optimizer.options, "momentum": 0.5}
    assert after.projector.options == {**before.projector.options, "dims": [9, 9]}


@pytest.mark.parametrize("first", ["data=digits", "data.source=digits", "data={source: digits}"])
def test_data_is_a_source_or_a_section(first, tmp_path):
    recipe = load_recipe("simsiam", [first, "data.cache=memory", "data.source.canvas=32"])
    assert recipe.data.source.name == "digits" and recipe.data.source.options["canvas"] == 32
    assert recipe.data.cache == "memory"
    other = load_recipe("simsiam", [first, "data.cache=memory"], data=str(tmp_path))
    options = {"path": str(tmp_path), "labels": "auto", "splits": "auto", "test": []}
    options |= {"label_file": None, "label_pattern": None}
    assert other.data.source.plain() == {"name": "folder", **options}
    assert other.data.cache == "memory"
    assert other.data.decode["max_pixels"] == 100_000_000 and other.data.decode["value_range"] is None


def test_the_seed_is_an_argument():
    assert load_recipe("simsiam", seed=7).seed == 7


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("traget=ema", "-s traget=ema on methods/simsiam.yaml: traget: unknown key; did you mean 'target'? Known: "),
        ("target.momentum=0.9", "target.momentum: unknown key of target 'stop_gradient'. Known: none; ema"),
        ("target=emma", "-s target=emma on methods/simsiam.yaml: target: unknown target 'emma'; did you mean 'ema'? K"),
        ("seed=-1", "-s seed=-1 on methods/simsiam.yaml: seed: -1 is not possible, it should be greater than or equa"),
        ("evaluation.knn.k=3", "-s evaluation.knn.k=3 on methods/simsiam.yaml: evaluation.knn: unknown key. Known: "),
        ("objective.mse.weight=2", "-s objective.mse: the list has no item 'mse'. Known: negative_cosine"),
        ("objective.1.weight=2", "-s objective.1: the list has no item '1'. Known: negative_cosine"),
        ("method.x=1", "-s method: is 'simsiam' and has no keys."),
        ("target", "-s target: an override is written KEY=VALUE, for example -s training.batch_size=256."),
        ("=3", "-s =3: an override is written KEY=VALUE"),
        ("training..epochs=3", "-s training..epochs=3: an override is written KEY=VALUE"),
        ("target={name: [}", "-s target={name: [}: the value is not valid YAML (quote lists and mappings for the shel"),
        ("target={name: ema, name: shared}", "the value is not valid YAML"),
        ("data=nowhere", "--data nowhere: no such file or folder, and no source of that name"),
    ],
)
def test_a_wrong_override_is_named(override, words):
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        load_recipe("simsiam", [override])
    assert "\n" not in str(caught.value)


def test_a_name_that_comes_twice_in_a_list_needs_its_position():
    twice = "objective=[{name: mse, weight: 1}, {name: mse, weight: 2, normalise: true}]"
    with pytest.raises(UserError, match="-s objective.mse: 'mse' comes 2 times; give its position, from 0"):
        load_recipe("simsiam", [twice, "objective.mse.weight=3"])
    assert load_recipe("simsiam", [twice, "objective.1.weight=3"]).objective[1].weight == 3.0


def test_what_is_wrong_in_the_file_is_not_blamed_on_an_override(study):
    path = study("method: simsiam\nset: {guard.paitence: 3}")
    with pytest.raises(UserError, match=rf"^{re.escape(path)}: guard.paitence: unknown key; did you mean 'patience'"):
        load_recipe(path, ["guard.every=3", "seed=3"])


def test_recipes_are_found_by_name_path_and_run_folder(tmp_path):
    assert recipe_path("simsiam") == recipe_root() / "methods" / "simsiam.yaml"
    assert recipe_path("digits/simsiam") == recipe_root() / "experiments" / "digits" / "simsiam.yaml"
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.yaml").write_text(load_recipe("byol", ["seed=3"]).to_yaml(), encoding="utf-8")
    assert load_recipe(str(run)) == load_recipe(str(run / "recipe.yaml")) == load_recipe("byol", ["seed=3"])


def test_what_is_no_recipe_is_told(tmp_path, study):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x80")
    cases = {
        "simsam": "unknown recipe 'simsam'; did you mean 'simsiam'? Known: ",
        "digits/simsam": "unknown recipe 'digits/simsam'; did you mean 'digits/simsiam'? Known: ",
        "nowhere.yaml": "recipe nowhere.yaml: there is no such file.",
        str(tmp_path): f"recipe {tmp_path}: is a folder that holds no run (no recipe.yaml in it).",
        str(tmp_path / "binary.yaml"): "binary.yaml: is not a text file in UTF-8.",
    }
    for reference, words in cases.items():
        with pytest.raises(UserError, match=re.escape(words)):
            load_recipe(reference)
    for text, words in {
        "": "a recipe is a mapping of keys to values, not an empty file",
        "- simsiam": "a recipe is a mapping of keys to values, not list",
        "method: [": "is not valid YAML: ",
        "method: simsiam\nmethod: byol": "is not valid YAML: line 2: the key 'method' comes twice",
        "objective: mse\nencoder: convnet": "method: is missing; give it a value. (1 more after that)",
    }.items():
        with pytest.raises(UserError, match=re.escape(words)) as caught:
            load_recipe(study(text))
        assert str(tmp_path / "study.yaml") in str(caught.value) and "\n" not in str(caught.value)


EXPERIMENT = """
method: byol
set:
  target.momentum: 0.9
  projector: {dims: [8, 4]}
  objective.mse.weight: 3
data: digits
training: {batch_size: 64, optimizer: {weight_decay: 1e-4}}
evaluation: {limit: 50, protocols: [knn]}
seeds: [3, 4]
variants:
  shared: {target: shared, seed: 9}
  wide: {projector.dims: [16, 4]}
"""


def test_an_experiment_changes_what_it_names_and_nothing_else(study):
    base, recipe = load_recipe("byol"), load_recipe(study(EXPERIMENT))
    assert recipe.target.options == {**base.target.options, "momentum": 0.9}
    assert recipe.projector.options == {**base.projector.options, "dims": [8, 4]}
    assert recipe.objective[0].plain() == {**base.objective[0].plain(), "weight": 3.0}
    assert recipe.data.source.name == "digits"
    assert recipe.training.batch_size == 64 and recipe.training.epochs == base.training.epochs
    decayed = {**base.training.optimizer.options, "weight_decay": 1e-4}
    assert recipe.training.optimizer.name == "lars" and recipe.training.optimizer.options == decayed
    assert [part.name for part in recipe.evaluation.protocols] == ["knn"] and recipe.evaluation.limit == 50
    same = set(type(base).model_fields) - {"target", "projector", "objective", "data", "training", "evaluation"}
    assert all(getattr(recipe, name) == getattr(base, name) for name in same)
    assert read_experiment(study(EXPERIMENT)).seeds == (3, 4)


def test_variants_come_on_top_and_overrides_on_top_of_them(study):
    path = study(EXPERIMENT)
    assert load_recipe(path, variant="shared").target.plain() == {"name": "shared"}
    assert load_recipe(path, variant="shared").seed == 9
    wide = load_recipe(path, ["projector.dims=[2, 4]"], variant="wide")
    assert wide.projector.options["dims"] == [2, 4] and wide.target.options["momentum"] == 0.9


@pytest.mark.parametrize(
    ("text", "variant", "words"),
    [
        ("method: byol\nsett: {}", None, "sett: unknown key; did you mean 'set'? Known: set, "),
        ("method: byol\nvariants: {a: {}}", "b", "has no variant 'b'. Known: a"),
        ("method: boyl", None, "unknown recipe 'boyl'; did you mean 'byol'?"),
        ("method: digits/simsiam", None, "its method 'digits/simsiam' is itself an experiment; name a method."),
        ("set: {}", None, "method: is missing; give it a value."),
        ("method: byol\nseeds: []", None, "seeds: [] is not possible, it should have at least 1 item"),
        ("method: byol\ndata: [digits]", None, "data: ['digits'] is not possible, it should be a valid string or be"),
        ("method: byol\nset: {objective.x.weight: 1}", None, "set: objective.x: the list has no item 'x'. Known: mse"),
        ("method: byol\nvariants: {a: {seed.b.c: 1}}", "a", "seed: {'b': {'c': 1}} is not possible"),
    ],
)
def test_what_is_wrong_with_an_experiment_is_told(study, text, variant, words):
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        load_recipe(study(text), variant=variant)
    assert "\n" not in str(caught.value)


def test_a_method_has_no_variants_and_is_no_experiment():
    with pytest.raises(UserError, match="methods/simsiam.yaml: is a whole method and has no variants"):
        load_recipe("simsiam", variant="x")
    with pytest.raises(UserError, match="methods/simsiam.yaml: is a whole method, not an experiment on one"):
        read_experiment("simsiam")


def test_what_a_key_is_follows_from_the_model():
    parts, lists, sections = (paths(recipe_model(), kind) for kind in ("part", "list", "section"))
    assert {"encoder", "predictor", "data.source", "training.optimizer"} <= parts
    assert {"objective", "evaluation.protocols"} <= lists
    assert {"data", "training", "evaluation", "guard"} <= sections
    assert not parts & lists and not parts & sections
    assert "local_projector" in paths(recipe_model("local"), "part") - parts


def test_options_of_the_source_are_turned_on_the_data_that_are_given(tmp_path):
    changes = ["data.source.labels=none", "data.source.splits={train: a}", "data.cache=none"]
    for arguments in ({"overrides": changes, "data": str(tmp_path)}, {"overrides": [f"data={tmp_path}", *changes]}):
        recipe = load_recipe("simsiam", **arguments)
        options = {"path": str(tmp_path), "labels": "none", "splits": {"train": "a"}}
        assert recipe.data.source.options == {**recipe.data.source.options, **options}
        assert recipe.data.cache == "none"
    with pytest.raises(UserError, match=r"data.source.splits.*'some' is not possible"):
        load_recipe("simsiam", ["data.source.splits=some"], data=str(tmp_path))
