"""Recipe: what it accepts, and what it refuses in which words."""

import pytest
import yaml
from pydantic import ValidationError

from ssl_zoo.errors import UserError
from ssl_zoo.recipe.model import parse
from ssl_zoo.recipe.part import Part
from ssl_zoo.recipe.sections import Training

RAW = {
    "method": "made_up",
    "encoder": {"name": "convnet", "widths": [4, 8]},
    "objective": ["negative_cosine", {"name": "variance", "weight": 2}],
    "views": {"name": "augment", "size": 8},
}


def put(path: str, value: object) -> dict:
    raw = yaml.safe_load(yaml.safe_dump(RAW))
    node = raw
    *way, last = path.split(".")
    for step in way:
        node = node.setdefault(step, {})
    node[last] = value
    return raw


def test_parts_are_completed_with_their_defaults():
    recipe = parse(RAW, "here")
    assert recipe.encoder.options == {"widths": [4, 8]}
    assert recipe.objective[1].plain() == {"name": "variance", "weight": 2.0, "std": 1.0, "eps": 1e-4, "views": "mean"}
    assert recipe.objective[0].weight == 1.0
    assert recipe.predictor.plain() == {"name": "identity"} and recipe.target.name == "shared"
    assert [part.name for part in recipe.evaluation.protocols] == [
        "knn",
        "linear",
        "few_shot",
        "label_free",
        "view_retrieval",
    ]
    assert recipe.data.source is None


def test_a_single_term_or_protocol_stands_for_a_list_of_it():
    for one in ("mse", {"name": "mse", "weight": 3.0}):
        recipe = parse({**RAW, "objective": one, "evaluation": {"protocols": "knn"}}, "here")
        assert [term.name for term in recipe.objective] == ["mse"]
        assert [part.name for part in recipe.evaluation.protocols] == ["knn"]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("traget", "ema", "here: traget: unknown key; did you mean 'target'? Known: target, "),
        ("training.bacth_size", 3, "here: training.bacth_size: unknown key; did you mean 'batch_size'? Known: "),
        ("guard.paitence", 3, "here: guard.paitence: unknown key; did you mean 'patience'? Known: change, every, pat"),
        ("target", "emma", "here: target: unknown target 'emma'; did you mean 'ema'? Known: alternate, ema, "),
        ("encoder.width", 8, "here: encoder.width: unknown key of encoder 'convnet'; did you mean 'widths'? Known: "),
        ("objective", [{"name": "mse", "wieght": 2}], "here: objective.0.wieght: unknown key of term 'mse'; did you "),
        ("training.groups", [{"of": ["norm"], "lr_scal": 1}], "here: training.groups.0.lr_scal: unknown key; did yo"),
        (
            "data.source",
            {"name": "digits", "canvsa": 9},
            "here: data.source.canvsa: unknown key of source 'digits'; di",
        ),
        (
            "target",
            {"name": "stop_gradient", "momentum": 0.9},
            "here: target.momentum: unknown key of target 'stop_gradient'. Known: none; ema, view_average would have "
            "it",
        ),
        ("seed", -1, "here: seed: -1 is not possible, it should be greater than or equal to 0."),
        ("training.batch_size", 0, "here: training.batch_size: 0 is not possible, it should be greater than or equal"),
        ("training.base_lr", "fast", "here: training.base_lr: 'fast' is not possible, it should be a valid number"),
        ("training.base_lr", float("inf"), "here: training.base_lr: inf is not possible, it should be a finite number"),
        ("training.precision", "int8", "here: training.precision: 'int8' is not possible, it should be 'auto', 'fp32'"),
        ("data.bad_budget", 1.5, "here: data.bad_budget: 1.5 is not possible, it should be less than or equal to 1."),
        ("data.num_workers", -1, "here: data.num_workers: -1 is not possible, it should be 'auto' or be greater than"),
        ("target", {"name": "ema", "momentum": 2}, "here: target.momentum: 2 is not possible, it should be less than"),
        ("projector", {"name": "mlp", "dims": [8, 0]}, "here: projector.dims.1: 0 is not possible, it should be great"),
        ("projector", {"name": "mlp", "dims": []}, "here: projector.dims: [] is not possible, it should have at least"),
        ("views", {"name": "augment", "flip": [0.5, 3]}, "here: views.flip.1: 3 is not possible, it should be less th"),
        ("training", 3, "here: training: 3 is not possible, it should be a mapping of keys to values."),
        ("target", None, "here: target: is written as NAME or {name: NAME, ...}, not None"),
        ("objective", [], "here: objective: [] is not possible, it should have at least 1 item"),
        ("objective", [{"nam": "mse"}], "here: objective.0: is written as NAME or {name: NAME, ...}, not {'nam': 'ms"),
        (
            "training",
            {"batch_size": 10, "accumulate": 4},
            "here: training.batch_size: 10 does not divide into 4 equal parts (training.accumulate)",
        ),
    ],
)
def test_what_is_refused_is_told_in_one_sentence_with_the_key_path(path, value, words):
    with pytest.raises(UserError) as caught:
        parse(put(path, value), "here")
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_missing_keys_and_further_problems_are_counted():
    with pytest.raises(UserError, match=r"^here: encoder: is missing; give it a value\. \(1 more after that\)$"):
        parse({key: value for key, value in RAW.items() if key not in ("encoder", "views")}, "here")


@pytest.mark.parametrize("raw", [None, 3, [RAW], "simsiam"])
def test_a_recipe_is_a_mapping(raw):
    with pytest.raises(UserError, match="here: a recipe is a mapping of keys to values, not"):
        parse(raw, "here")


def test_keys_that_are_no_strings_are_refused():
    for raw in ({**RAW, 3: 1}, {**RAW, "target": {"name": "ema", 3: 1}}):
        with pytest.raises(UserError, match="3: unknown key"):
            parse(raw, "here")


NUMBERS = {
    "training.base_lr": lambda r: r.training.base_lr,
    "training.clip_grad": lambda r: r.training.clip_grad,
    "training.optimizer": lambda r: r.training.optimizer.options["weight_decay"],
    "training.groups": lambda r: r.training.groups[0].weight_decay,
    "data.bad_budget": lambda r: r.data.bad_budget,
    "objective": lambda r: (r.objective[0].weight, r.objective[0].options["eps"]),
    "views": lambda r: r.views.options["flip"],
    "evaluation.protocols": lambda r: r.evaluation.protocols[0].options["temperature"],
    "data.source": lambda r: r.data.source.options["min_contrast"],
}


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("training.base_lr", "1e-4", 1e-4),
        ("training.clip_grad", "1e-4", 1e-4),
        ("training.optimizer", "{name: sgd, weight_decay: 1e-4}", 1e-4),
        ("training.groups", "[{of: [bias], weight_decay: 1e-4}]", 1e-4),
        ("data.bad_budget", "1e-4", 1e-4),
        ("objective", "[{name: variance, weight: 1e-4, eps: 1e-6}]", (1e-4, 1e-6)),
        ("views", "{name: augment, size: 8, flip: [1e-4, 5e-1]}", [1e-4, 0.5]),
        ("evaluation.protocols", "[{name: knn, temperature: 1e-1}]", 0.1),
        ("data.source", "{name: digits, min_contrast: 1e-1}", 0.1),
    ],
)
def test_a_number_that_yaml_reads_as_a_string_becomes_a_float_everywhere(path, text, expected):
    value = yaml.safe_load(text)
    assert "1e-" in repr(value) and isinstance(yaml.safe_load("1e-4"), str)  # what PyYAML does
    assert NUMBERS[path](parse(put(path, value), "here")) == expected


def test_off_is_a_word_though_yaml_reads_it_as_false():
    recipe = parse(put("guard.policy", yaml.safe_load("off")), "here")
    assert recipe.guard.policy == "off"
    assert parse(yaml.safe_load(recipe.to_yaml()), "again").guard.policy == "off"


def test_a_recipe_is_frozen():
    recipe = parse(RAW, "here")
    for section, field in [(recipe, "seed"), (recipe.training, "epochs"), (recipe.target, "name"), (recipe, "new")]:
        with pytest.raises(ValidationError):
            setattr(section, field, 1)


def test_dump_and_load_give_the_same_recipe():
    recipe = parse({**RAW, "training": {"groups": [{"of": ["norm"], "adapt": False}], "base_lr": "3e-5"}}, "here")
    assert parse(yaml.safe_load(recipe.to_yaml()), "again") == recipe
    options = ["projector", "predictor", "target", "pairing", "objective", "stack_views"]
    sections = ["norm", "views", "data", "training", "evaluation", "guard", "seed"]
    assert list(yaml.safe_load(recipe.to_yaml())) == ["method", "encoder", *options, *sections]
    assert list(recipe.options) == options


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize(("scaling", "expected"), [("linear", 0.2), ("sqrt", 0.1), ("none", 0.05)])
def test_the_learning_rate_scales_with_the_total_batch(scaling, expected, accumulate):  # T30
    training = Training(batch_size=1024, base_lr=0.05, lr_scaling=scaling, accumulate=accumulate)
    assert training.lr == pytest.approx(expected, rel=1e-12)


def test_a_part_is_written_as_it_is_read():
    parts = [Part(name="identity"), Part(name="mlp", options={"dims": [3]})]
    assert [part.plain() for part in parts] == [{"name": "identity"}, {"name": "mlp", "dims": [3]}]
