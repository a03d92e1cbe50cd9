"""Scales of an experiment: the settings that they make, what is expected of them, and names that clash."""

import pytest
from pydantic import ValidationError

from ssl_zoo.recipe.experiment import Experiment

RAW = {
    "method": "simsiam",
    "variants": {"shared": {"target": "shared"}, "wide": {"projector.dims": [64, 64]}},
    "scales": {
        "small": {"set": {"projector.dims": [8, 8], "training.epochs": 2}},
        "large": {"set": {"training.epochs": 900}, "variants": {"huge": {"projector.dims": [999, 999]}}},
    },
    "expect": {"base": ["status == done"], "shared": ["a.b < base:a.b"], "large": ["a.b > 1"]},
    "paper": {"base": "68.1", "huge": "70"},
}


def test_a_scale_makes_a_setting_of_the_base_and_of_each_variant() -> None:
    experiment = Experiment.model_validate(RAW)
    assert experiment.chosen(None) == ["base", "shared", "wide"]
    assert experiment.chosen("small") == ["small", "small.shared", "small.wide"]
    assert experiment.chosen("large") == ["large", "large.huge"]
    assert experiment.chosen("small.wide") == ["small.wide"] and experiment.chosen("narrow") == []
    every = experiment.all_variants()
    assert every["small.wide"] == {"projector.dims": [64, 64], "training.epochs": 2}
    assert every["small.shared"] == {"projector.dims": [8, 8], "training.epochs": 2, "target": "shared"}


def test_what_is_said_of_a_variant_is_said_of_it_at_every_scale() -> None:
    experiment = Experiment.model_validate(RAW)
    assert experiment.expected("small.shared") == ("a.b < base:a.b",)
    assert experiment.expected("small") == ("status == done",) and experiment.expected("large") == ("a.b > 1",)
    assert experiment.expected("small.wide") == () and experiment.reported("large.huge") == "70"
    assert experiment.peers("small.shared") == {"base": "small", "shared": "small.shared", "wide": "small.wide"}
    assert experiment.peers("wide") == {"base": "base", "shared": "shared", "wide": "wide"}


def test_a_grid_has_no_base_at_any_scale() -> None:
    axes = {"x": {"a": {}, "b": {}}, "y": {"c": {}}}
    experiment = Experiment.model_validate({"method": "simsiam", "grid": axes, "scales": {"small": {}}})
    assert experiment.chosen(None) == ["a.c", "b.c"] and experiment.chosen("small") == ["small.a.c", "small.b.c"]


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"scales": {"wide": {}}}, "'wide' is a variant already"),
        ({"expect": {"shred": ["status == done"]}}, "expect: there is no variant 'shred'"),
        ({"paper": {"small.huge": "1"}}, "paper: there is no variant 'small.huge'"),
        ({"scales": {"small": {"training": {}}}}, "Extra inputs"),
    ],
)
def test_a_mistake_is_told(changes: dict, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Experiment.model_validate({**RAW, **changes})
