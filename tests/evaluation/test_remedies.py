"""Three remedies, whatever is known, that fit the recipe and can be typed as they stand."""

import re
import shlex

import pytest

from ssl_zoo.evaluation.remedies import remedies
from ssl_zoo.recipes import load_recipe

METRICS = ("std", "effective_rank", "similarity_gap")


def overrides(texts):
    """The override in each remedy, as the shell hands it over."""
    return [shlex.split(text[match.start() :])[1] for text in texts if (match := re.search(r"-s \S", text))]


@pytest.mark.parametrize("terms", [[], ["negative_cosine"], ["mse", "variance", "covariance"], ["cross_correlation"]])
@pytest.mark.parametrize("predictor", ["mlp", "identity", None])
@pytest.mark.parametrize("target", ["shared", "stop_gradient", "ema", None])
@pytest.mark.parametrize("metric", METRICS)
def test_there_are_always_three_different_ones(metric, target, predictor, terms):
    facts = {"target": target, "predictor": predictor, "terms": terms}
    texts = remedies(metric, {key: value for key, value in facts.items() if value is not None})
    assert len(texts) == len(set(texts)) == 3


@pytest.mark.parametrize("metric", METRICS)
def test_a_missing_stop_gradient_comes_first(metric):
    facts = {"target": "shared", "predictor": "mlp", "terms": ["negative_cosine"]}
    assert "-s target=stop_gradient" in remedies(metric, facts)[0]
    kept_open = {"target": "shared", "predictor": "identity", "terms": ["mse", "variance", "covariance"]}
    assert not any("stop-gradient" in text for text in remedies(metric, kept_open)), "VICReg needs none"


def test_a_missing_predictor_is_named_with_its_width():
    facts = {"target": "stop_gradient", "predictor": "identity", "terms": ["negative_cosine"], "dim": 256}
    assert "dims: [64, 256]" in remedies("std", facts)[0]


def test_the_term_to_add_depends_on_the_metric():
    facts = {"target": "stop_gradient", "predictor": "mlp", "terms": ["negative_cosine"]}
    assert "'variance'" in remedies("std", facts)[0]
    assert "'covariance'" in remedies("effective_rank", facts)[0]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("broken", [["target=shared"], ["predictor=identity"], ["target=ema"]])
def test_what_is_advised_for_simsiam_is_a_recipe(metric, broken):
    recipe = load_recipe("simsiam", broken)
    facts = {
        "target": recipe.target.name,
        "predictor": recipe.predictor.name,
        "terms": [term.name for term in recipe.objective],
        "base_lr": recipe.training.base_lr,
        "batch_size": recipe.training.batch_size,
        "dim": 2048,
    }
    advised = overrides(remedies(metric, facts))
    assert len(advised) == 3
    for override in advised:
        assert load_recipe("simsiam", [*broken, override]) != recipe
