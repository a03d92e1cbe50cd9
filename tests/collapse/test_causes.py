"""The likely cause of a collapse is named, and what undoes it comes first, as a command that changes nothing else."""

import pytest

from ssl_zoo.collapse.causes import cause_of
from ssl_zoo.collapse.remedies import remedies
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.training.recipe_facts import recipe_facts


def found(method, *overrides, kind="complete", metric="std", **metrics):
    """Return cause and remedies of a recipe's collapse."""
    facts = {**recipe_facts(load_recipe(method, list(overrides))), "dim": 256}
    cause = cause_of(kind, metrics, facts)
    return cause, remedies(metric, facts, cause)


@pytest.mark.parametrize(
    "method, overrides, part, override",
    [
        ("simsiam", ["target=shared"], "target", "-s target=stop_gradient"),
        ("byol", ["target=shared"], "target", "-s target=ema"),
        ("simsiam", ["predictor=identity"], "predictor", "dims: [64, 256]"),
        ("vicreg", ["objective.variance.weight=0"], "term", "-s objective.variance.weight=25.0"),
        ("vicreg", ["objective=[{name: mse, weight: 2.5}]"], "term", "{name: variance, weight: 2.5,"),
        ("tico", ["objective.covariance_contrast.weight=0"], "term", "-s objective.covariance_contrast.weight=8.0"),
        ("tico", ["objective.covariance_contrast.weight=0", "target=shared"], "term", "covariance_contrast.weight=8.0"),
        ("barlow_twins", ["objective.cross_correlation.off_diagonal=0"], "term", "off_diagonal=0.0051"),
        ("dino", ["objective.centred_cross_entropy.momentum=1"], "term", "momentum=0.9"),
        ("dino", ["objective=[{name: centred_cross_entropy, momentum: 1.0, warmup: 0.0}]"], "term", "momentum=0.9"),
    ],
)
def test_what_the_recipe_lacks_is_the_cause_and_put_back_first(method, overrides, part, override):
    cause, advice = found(method, *overrides)
    assert cause.part == part and override in advice[0], (cause, advice)


@pytest.mark.parametrize("method", ["simsiam", "byol", "vicreg", "barlow_twins", "dino", "swav", "tico"])
def test_no_part_of_a_whole_method_is_accused(method):
    cause, advice = found(method)
    assert cause.part == "" and len(set(advice)) == 3


def test_weights_that_have_shrunk_or_blown_up_come_before_what_is_missing():
    cause, advice = found("simsiam", "target=shared", "training.optimizer.weight_decay=2", weight_norm=0.01)
    assert cause.part == "weight decay" and "-s training.optimizer.weight_decay=0.02" in advice[0]
    assert "-s target=stop_gradient" in " ".join(advice), "what else is missing is named too"
    cause, advice = found("vicreg", "training.base_lr=1000", kind="divergence", metric="weight_norm", weight_norm=2e4)
    assert cause.part == "learning rate" and "-s training.base_lr=0.001" in advice[0], "by 10 times what they grew"
    cause, advice = found("vicreg", "training.base_lr=1000", kind="divergence", metric="weight_norm", weight_norm=60.0)
    assert cause.part == "learning rate" and "-s training.base_lr=1.0" in advice[0]
    cause, advice = found("vicreg", "training.base_lr=1e-9", kind="no learning", metric="weight_change")
    assert cause.part == "learning rate" and "raise the learning rate: -s training.base_lr=0.01" in advice[0]
    cause, advice = found(
        "vicreg", "training.base_lr=1e-9", kind="no learning", metric="weight_change", weight_change=5e-5
    )
    assert "raise the learning rate: -s training.base_lr=1.0e-05" in advice[0]


def test_a_head_with_another_objective_gets_the_method_s_own_back():
    other = "objective=[{name: centred_cross_entropy, momentum: 1.0}]"
    cause, advice = found("swav", other, kind="cluster", metric="clusters")
    assert cause.part == "term" and "{name: sinkhorn_cross_entropy" in advice[0] and "centred" not in advice[0]


def test_members_that_stay_apart_want_a_pull():
    cause, advice = found("vicreg", "objective.mse.weight=0.001", kind="apart", metric="across")
    assert "objective.mse.weight = 0.001" in cause.text and "-s objective.mse.weight=25.0" in advice[0]
