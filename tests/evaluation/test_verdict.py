"""The verdict in words: standard errors against oracles, every level, and suggestions that can be typed as they are."""

import math
import shlex
from typing import Any

import numpy as np
import pytest

from ssl_zoo.evaluation.differences import difference, standard_error
from ssl_zoo.evaluation.next_steps import MOST, next_steps
from ssl_zoo.evaluation.verdict import verdict_on
from ssl_zoo.methods.check import check_recipe
from ssl_zoo.recipe.load import load_recipe, method_names
from ssl_zoo.recipe.model import parse
from ssl_zoo.recipe.overrides import put, split
from tests.tiny import narrow

RECIPE = narrow("simsiam").dump()


def run(
    metrics: dict[str, Any], raw: dict[str, Any], untrained: dict[str, Any], num: int = 1000, **more: Any
) -> dict[str, Any]:
    """Return the summary of a run."""
    return {
        "status": "done",
        "seed": 0,
        "epochs": 7.5,
        "collapse": {"status": "ok", "reason": None},
        "metrics": metrics,
        "baselines": {"raw": raw, "untrained": untrained},
        "tested": dict.fromkeys(metrics, num),
        **more,
    }


def accuracies(knn: float, linear: float) -> dict[str, dict[str, float]]:
    return {"knn": {"top1": knn, "k": 5}, "linear": {"top1": linear}}


LOW = accuracies(0.3, 0.3)


# ---- spread ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "other", "num", "expected"),
    [
        (0.5, 0.5, 98, math.sqrt(2 * 0.25 / 100)),  # by hand: 50 of 100 and 50 of 100
        (1.0, 0.0, 8, math.sqrt((0.9 * 0.1 + 0.1 * 0.9) / 10)),  # 9 of 10 and 1 of 10
        (0.75, 0.25, 4, math.sqrt((4 / 6 * 2 / 6 + 2 / 6 * 4 / 6) / 6)),
    ],
)
def test_standard_error_is_that_of_two_shares_with_a_success_and_a_failure_more(share, other, num, expected) -> None:
    assert standard_error(share, other, num) == pytest.approx(expected, rel=1e-12)


def test_standard_error_is_the_spread_of_simulated_tests() -> None:
    source = np.random.default_rng(0)
    found = source.binomial(500, 0.7, 100_000) / 500 - source.binomial(500, 0.6, 100_000) / 500
    assert standard_error(0.7, 0.6, 500) == pytest.approx(found.std(), rel=0.01)


def test_spread_over_seeds_is_the_sample_deviation_of_the_paired_differences() -> None:
    ours, theirs = [0.8, 0.6, 0.75], [0.5, 0.5, 0.4]
    found = difference(ours, theirs, 10_000)
    pairs = np.subtract(ours, theirs)
    assert found.value == pytest.approx(pairs.mean()) and found.spread == pytest.approx(pairs.std(ddof=1))
    assert found.multiple == pytest.approx(pairs.mean() / pairs.std(ddof=1))


def test_seeds_that_agree_do_not_make_the_test_more_exact() -> None:
    found = difference([0.8, 0.8], [0.5, 0.5], 100)
    assert found.spread == standard_error(0.8, 0.5, 100)


def test_without_a_number_of_samples_one_run_has_no_bound() -> None:
    assert difference([0.9], [0.1], None).multiple == 0


# ---- levels ---------------------------------------------------------------------------------------------------------


def test_better_than_both_in_every_metric() -> None:
    found = verdict_on([run(accuracies(0.5, 0.6), LOW, LOW)], RECIPE)
    assert found["level"] == "better"
    assert found["sentences"][0] == (
        "The encoder is better than the raw samples and than the untrained encoder in knn (+20.0 points), "
        "linear (+30.0 points)."
    )
    assert "standard error of 1000 test samples" in " ".join(found["sentences"])


def test_one_metric_within_the_spread_makes_it_unclear() -> None:
    found = verdict_on([run(accuracies(0.5, 0.31), LOW, LOW)], RECIPE)
    assert found["level"] == "unclear" and "in knn" in found["sentences"][0]
    assert "not clearly apart from one of the two in linear (+1.0 points)" in found["sentences"][0]


def test_better_in_one_and_worse_in_another_is_unclear_and_says_both() -> None:
    found = verdict_on([run(accuracies(0.5, 0.2), LOW, LOW)], RECIPE)
    assert found["level"] == "unclear"
    assert "better than the raw samples and than the untrained encoder in knn" in found["sentences"][0]
    assert "worse than the raw samples in linear" in found["sentences"][0]


def test_worse_than_one_baseline_in_every_metric() -> None:
    found = verdict_on([run(accuracies(0.4, 0.4), accuracies(0.3, 0.5), accuracies(0.5, 0.3))], RECIPE)
    assert found["level"] == "worse"
    assert found["sentences"][0].startswith("The encoder is worse than the raw samples in linear (-10.0 points) and")
    assert "than the untrained encoder in knn (-10.0 points)" in found["sentences"][0]


@pytest.mark.parametrize("times", [1.9, 2.1])
def test_a_difference_counts_from_twice_its_spread_on(times: float) -> None:
    share = 0.5
    for _ in range(50):  # the share whose difference is so many standard errors
        share = 0.3 + times * standard_error(share, 0.3, 1000)
    assert verdict_on([run(accuracies(share, share), LOW, LOW)], RECIPE)["level"] == (
        "better" if times > 2 else "unclear"
    )


def test_few_test_samples_settle_nothing() -> None:
    found = verdict_on([run(accuracies(1.0, 1.0), LOW, LOW, num=29)], RECIPE)
    assert found["level"] == "unclear" and "fewer than 30 test samples" in " ".join(found["sentences"])
    assert verdict_on([run(accuracies(1.0, 1.0), LOW, LOW, num=30)], RECIPE)["level"] == "better"


def test_seeds_that_disagree_make_it_unclear() -> None:
    runs = [run(accuracies(share, share), LOW, LOW, num=10_000, seed=i) for i, share in enumerate((0.36, 0.3, 0.42))]
    assert verdict_on(runs[:1], RECIPE)["level"] == "better"
    found = verdict_on(runs, RECIPE)
    assert found["level"] == "unclear" and "over 3 seeds" in " ".join(found["sentences"])


def test_a_collapse_goes_first_whatever_was_measured() -> None:
    collapse = {
        "status": "collapsed", "reason": "step 50: a point.", "cause": "the likely cause is the rate",
        "remedies": ["lower it: -s training.base_lr=1.0"],
    }  # fmt: skip
    found = verdict_on([run(accuracies(0.9, 0.9), LOW, LOW, collapse=collapse)], RECIPE)
    assert found["level"] == "collapsed"
    assert found["sentences"][:2] == [
        "The representation has collapsed: step 50: a point.",
        "The likely cause is the rate.",
    ]
    assert found["next"] == [{"why": "lower it", "override": "-s training.base_lr=1.0"}]


def test_a_learning_rate_far_off_is_named_before_the_guards_remedies() -> None:
    collapse = {"status": "collapsed", "reason": None, "remedies": ["add it: -s seed=3"]}
    recipe = narrow("simsiam", ["training.base_lr=50"]).dump()
    found = verdict_on([run(accuracies(0.2, 0.2), LOW, LOW, collapse=collapse)], recipe)
    assert [step["override"] for step in found["next"]] == ["-s training.base_lr=0.05", "-s seed=3"]
    assert "1000 times as high" in found["next"][0]["why"]


def test_one_collapsed_seed_of_two_is_named() -> None:
    good = run(accuracies(0.9, 0.9), LOW, LOW)
    bad = {**good, "seed": 7, "collapse": {"status": "collapsed", "reason": None}}
    found = verdict_on([good, bad], RECIPE)
    assert found["level"] == "collapsed" and "(seed 7)" in found["sentences"][0] and found["next"]


@pytest.mark.parametrize(("status", "words"), [("warned", "did not last"), ("not judged", "could not judge")])
def test_what_the_guard_says_is_told(status: str, words: str) -> None:
    guard = {"status": status, "reason": "the reason"}
    found = verdict_on([run(accuracies(0.5, 0.6), LOW, LOW, collapse=guard)], RECIPE)
    assert found["level"] == "better" and words in found["sentences"][-1] and "the reason" in found["sentences"][-1]


def test_spread_and_rank_alone_settle_nothing_however_large() -> None:
    def label_free(std: float, rank: float) -> dict[str, Any]:
        return {"label_free": {"std": std, "effective_rank": rank}}

    found = verdict_on([run(label_free(1.0, 512.0), label_free(0.1, 2.0), label_free(0.1, 2.0))], RECIPE)
    assert found["level"] == "not measured" and "not quality" in found["sentences"][0]


def found_views(share: float) -> dict[str, Any]:
    return {"view_retrieval": {"r1": share, "r1_chance": 0.001, "r5": 1.0, "median_rank": 1.0, "num": 1000}}


@pytest.mark.parametrize(("ours", "level"), [(0.023, "worse"), (0.085, "better"), (0.055, "unclear")])
def test_without_labels_it_rests_on_finding_the_other_view(ours: float, level: str) -> None:
    """0.023 against 0.051 is what 300 steps gave on 5000 photographs; labels called that worse, too.

    Raw pixels, which had 0.092, are no bar for it.
    """
    large = {"label_free": {"std": 0.9, "effective_rank": 200.0}}
    small = {"label_free": {"std": 0.1, "effective_rank": 20.0}}
    found = verdict_on([run(large | found_views(ours), small | found_views(0.092), small | found_views(0.051))], RECIPE)
    assert found["level"] == level and "No accuracy was measured" in found["sentences"][1]
    assert "chance 0.1 %" in found["sentences"][2] and "1000 test samples" in found["sentences"][3]


def test_where_accuracies_were_measured_they_alone_count() -> None:
    metrics = accuracies(0.5, 0.6) | found_views(0.01)
    found = verdict_on([run(metrics, LOW | found_views(0.5), LOW | found_views(0.5))], RECIPE)
    assert found["level"] == "better" and "view_retrieval" not in " ".join(found["sentences"])


def test_what_needs_no_labels_is_asked_for_where_only_spread_was_measured() -> None:
    recipe = narrow("simsiam", ["evaluation.protocols=[label_free]"]).dump()
    found = verdict_on([run({"label_free": {"std": 1.0}}, {}, {"label_free": {"std": 0.1}})], recipe)
    assert found["level"] == "not measured"
    assert [each["override"] for each in found["next"]] == ["-s 'evaluation.protocols=[label_free, view_retrieval]'"]


def test_without_baselines_nothing_is_said_and_they_are_asked_for() -> None:
    recipe = {**RECIPE, "evaluation": {**RECIPE["evaluation"], "baselines": False}}
    found = verdict_on([run(accuracies(0.9, 0.9), {}, {}, baselines={})], recipe)
    assert found["level"] == "not measured" and found["next"][0]["override"] == "-s evaluation.baselines=true"


def test_a_failed_run_gives_its_reason() -> None:
    found = verdict_on([{"status": "failed", "reason": "the loss is not finite", "metrics": {}}], {})
    assert found["level"] == "not measured" and "the loss is not finite" in found["sentences"]


def test_members_and_both_directions_of_a_retrieval_count() -> None:
    recipe = {"evaluation": {"protocols": [{"name": "retrieval"}, {"name": "knn"}]}}

    def pair(there: float, back: float, knn: float) -> dict[str, Any]:
        retrieval = {"image_to_text_r1": there, "image_to_text_r1_chance": 0.01, "image_to_text_median_rank": 3.0}
        return {"retrieval": {**retrieval, "text_to_image_r1": back}, "image/knn": {"top1": knn}}

    raw, untrained = {"image/knn": {"top1": 0.3}}, pair(0.01, 0.01, 0.2)
    good = run(pair(0.4, 0.5, 0.6), raw, untrained, tested={"retrieval": 500, "knn": 500})
    found = verdict_on([good], recipe)
    assert found["level"] == "better" and "retrieval image_to_text_r1 (+39.0 points)" in found["sentences"][0]
    assert "image/knn (+30.0 points)" in found["sentences"][0] and "chance 1.0 %" in found["sentences"][1]
    one_way = {**good, "metrics": pair(0.4, 0.01, 0.6)}
    assert verdict_on([one_way], recipe)["level"] == "unclear"


def test_a_protocol_that_is_listed_twice_and_one_that_nobody_knows() -> None:
    recipe = {"evaluation": {"protocols": [{"name": "knn"}, {"name": "knn", "k": 1}]}}
    values = {key: {"top1": 0.9} for key in ("knn", "knn_2", "unheard_of")}
    low = {key: {"top1": 0.3} for key in values}
    first = verdict_on([run(values, low, low)], recipe)["sentences"][0]
    assert "knn (" in first and "knn_2 (" in first and "unheard_of" not in first


# ---- what to do next ------------------------------------------------------------------------------------------------


def applied(recipe: dict[str, Any], override: str) -> dict[str, Any]:
    """Return a recipe with options as a shell reads them."""
    words = shlex.split(override)
    assert words[::2] == ["-s"] * (len(words) // 2)
    for word in words[1::2]:
        put(recipe, *split(word))
    return parse(recipe, "typed").dump()


def test_every_suggestion_for_every_method_can_be_typed_as_it_is() -> None:
    num = 0
    for name in method_names():
        recipe = load_recipe(name)
        steps = next_steps("worse", recipe.dump(), epochs=3.0)
        assert 2 <= len(steps) <= MOST, name
        for step in steps:
            assert applied(recipe.dump(), step["override"]) != recipe.dump(), (name, step)
            num += 1
    assert num >= 3 * len(method_names()) - 10 and len(method_names()) >= 31


@pytest.mark.parametrize("name", ["simsiam", "vicreg", "digits_and_speech/simsiam", "i_jepa"])
def test_another_method_joins_with_the_rest_of_the_recipe(name: str) -> None:
    steps = next_steps("unclear", load_recipe(name).dump())
    swaps = [step for step in steps if "objective=" in step["override"]]
    assert len(swaps) == (name != "i_jepa")  # masked prediction has no relative among the methods that are put in
    for step in swaps:
        check_recipe(parse(applied(load_recipe(name).dump(), step["override"]), name))


@pytest.mark.parametrize("level", ["better", "unclear", "collapsed"])
def test_every_other_level_has_suggestions_too(level: str) -> None:
    for name in ("simsiam", "v_jepa"):
        steps = next_steps(level, load_recipe(name).dump())
        assert steps
        for step in steps:
            applied(load_recipe(name).dump(), step["override"])


def test_longer_doubles_whichever_length_the_recipe_uses() -> None:
    by_epochs, by_steps = load_recipe("simsiam"), load_recipe("simsiam", ["training.max_steps=300"])
    assert next_steps("worse", by_epochs.dump())[0]["override"] == "-s training.epochs=200"
    assert next_steps("worse", by_steps.dump())[0]["override"] == "-s training.max_steps=600"


def test_a_learning_rate_far_from_the_methods_own_comes_first() -> None:
    far = load_recipe("simsiam", ["training.base_lr=50", "training.batch_size=128", "training.lr_scaling=none"])
    step = next_steps("worse", far.dump())[0]
    assert "learning rate" in step["why"] and step["override"] == "-s training.base_lr=0.025"  # 0.05 x 128 / 256
    low = load_recipe("simsiam", ["training.base_lr=0.0005"])
    assert next_steps("worse", low.dump())[0]["override"] == "-s training.base_lr=0.05"


def test_a_limit_on_the_test_is_to_be_lifted_where_the_result_is_unclear() -> None:
    recipe = load_recipe("simsiam", ["evaluation.limit=100"]).dump()
    assert "-s evaluation.limit=null" in [step["override"] for step in next_steps("unclear", recipe)]


def test_of_a_recipe_that_is_not_valid_here_nothing_is_suggested() -> None:
    assert next_steps("worse", {**RECIPE, "encoder": {"name": "of_a_module_not_imported"}}) == []
    assert verdict_on([run(accuracies(0.5, 0.6), LOW, LOW)], {})["next"] == []
