"""Each kind of collapse on a trace of metrics: told apart, of z or of h, since when, and at once where it is late."""

import pytest

from ssl_zoo.collapse.guard import CollapseGuard
from ssl_zoo.collapse.members import MemberGuards

Z = {"std": 0.98, "scale": 0.36, "effective_rank": 40.0, "random_similarity": 0.02, "similarity_gap": 0.1}
H = {"h.std": 0.82, "h.scale": 0.3, "h.effective_rank": 50.0, "h.random_similarity": 0.3, "h.similarity_gap": 0.05}
START = {**Z, **H, "agreement": 0.13, "h.agreement": 0.14, "weight_norm": 1.0, "weight_change": 0.01}
LEARNS = {"similarity_gap": 0.6, "agreement": 0.8, "h.agreement": 0.6, "weight_norm": 1.4, "weight_change": 1.1}


def run(*parts, guard=None, start=None):
    """Return the alarm of a run of 50 checks; a part is (number of checks, what differs from a healthy run)."""
    guard = guard or CollapseGuard()
    guard.update(1, {**START, **(start or {})}, 64, 64)
    step = 0
    for num, changed in parts:
        for _ in range(num):
            step += 10
            metrics = {**START, **LEARNS, **(start or {}), **changed}
            alarm = guard.update(step, metrics, 64, 64, progress=step / 500, last=step == 500)
            if alarm is not None:
                return alarm
    return None


POINT = {"std": 0.03, "random_similarity": 0.998, "similarity_gap": 0.0005}
LINE = {"effective_rank": 1.3, "similarity_gap": 0.4}
ONE = {"clusters": 1.0, "clusters_each": 1.0}
HEAD = {"clusters": 60.0, "clusters_each": 17.0}
ALIKE = {"clusters": 255.9, "clusters_each": 255.8}


@pytest.mark.parametrize(
    "kind, of, changed, start",
    [
        ("complete", "z", POINT, {}),  # SimDINO issue 20: similarity 1.0000, before anything is nan
        ("dimensional", "z", LINE, {}),
        ("complete", "h", {f"h.{key}": value for key, value in POINT.items()}, {}),
        ("dimensional", "h", {"h.effective_rank": 1.5}, {}),
        ("cluster", "z", ONE, HEAD),  # DINOv2 issue 272: one output for all
        ("cluster", "z", {"clusters": 60.0, "clusters_each": 59.8}, HEAD),
        ("cluster", "z", ALIKE, ALIKE),  # DINOv2 issue 143: the loss stays at log K
        ("divergence", "h", {"weight_norm": 300.0}, {}),
        ("complete", "h", {"weight_norm": 0.01}, {}),  # a norm after weights that are gone
        ("dimensional", "z", {"effective_rank": 9.0, "agreement": 0.1}, {}),  # a fifth of the rank, and views disagree
        ("no learning", "h", {**START, "weight_change": 1e-6}, {}),
        ("tokens", "", {"token_std": 0.05}, {"token_std": 0.8, "sample_std": 0.8}),  # V-JEPA
        ("apart", "z", {"across": 0.08}, {"across": 0.0}),
        ("non-finite", "z", {"std": float("nan")}, {}),
    ],
)
def test_kinds_are_told_apart(kind, of, changed, start):
    alarm = run((10, {}), (40, changed), start=start)
    assert alarm is not None and (alarm.kind, alarm.of) == (kind, of), alarm
    late = {"apart": 250, "non-finite": 110, "no learning": 140}.get(kind, 140)
    assert alarm.step <= late and alarm.since <= alarm.step
    assert len(set(alarm.remedies)) == 3 and alarm.cause


def test_a_healthy_run_has_none_of_them():
    start = {**HEAD, "token_std": 0.8, "sample_std": 0.8, "across": 0.0}
    healthy = {"clusters": 61.0, "clusters_each": 50.0, "across": 0.5}
    assert run((50, healthy), start=start) is None


SPREADS = {"terms": [{"name": "mse"}, {"name": "coding_rate", "weight": 1.0}]}
MOVED = [0.07, 0.053, 0.049, 0.048, 0.05, 0.052, 0.056, 0.06, 0.066, 0.073, 0.08, 0.09, 0.1, 0.13, 0.2]
"""The spread of EMP-SSL, whose first steps move z far from 0, and whose coding rate brings the spread back."""


def test_an_objective_that_spreads_is_given_time_to_bring_a_low_spread_back():
    back = [(1, {**POINT, "std": std, "similarity_gap": 0.1}) for std in MOVED]
    assert run(*back, (35, {}), guard=CollapseGuard(recipe_facts=SPREADS)) is None
    stays = {**POINT, "similarity_gap": 0.1}
    assert run((50, stays), guard=CollapseGuard(recipe_facts=SPREADS)).step == 80, "twice as many checks as are judged"
    pulls = {"terms": ["mse", {"name": "coding_rate", "weight": 0.0}]}
    for facts in (pulls, {}):
        assert run(*back, (35, {}), guard=CollapseGuard(recipe_facts=facts)).step == 40


def test_a_low_rank_on_which_views_agree_is_no_collapse():
    assert run((50, {"effective_rank": 9.0, "agreement": 0.7})) is None


def test_what_a_collapse_of_z_means_for_the_encoder_is_said():
    alarm = run((10, {}), (40, POINT))
    assert "the encoder's output, which is what is kept, has not collapsed yet (effective rank 50" in alarm.message
    alarm = run((10, {}), (40, {**POINT, "h.effective_rank": 1.2}))
    assert "the encoder's output, which is what is kept, has collapsed too" in alarm.message
    alarm = run((10, {}), (40, {"h.effective_rank": 1.2}))
    assert "the encoder's outputs have collapsed onto few dimensions" in alarm.message


def test_the_step_of_the_first_sign_is_told_and_a_dip_is_none():
    alarm = run((10, {}), (2, POINT), (8, {}), (30, POINT))
    assert (alarm.since, alarm.step) == (210, 240)
    assert run((10, {}), (2, POINT), (38, {})) is None


def test_drift_is_judged_only_where_the_run_was_given_weights():
    """DINOv2 issue 173: neighbours get worse, slowly, from good first weights."""
    good = {"h.agreement": 0.8}
    worse = [(10, {"h.agreement": 0.8 * 0.9**i}) for i in range(5)]
    assert run(*worse, start=good) is None
    lower = [(10, {"h.agreement": 0.8 * 0.8**i}) for i in range(5)]
    alarm = run(*lower, start=good, guard=CollapseGuard(given=True))
    assert (alarm.kind, alarm.of) == ("drift", "h") and run(*lower, start=good) is None


def test_a_member_that_stays_apart_is_named_and_whole_weights_are_of_all():
    guard = MemberGuards(["image", "text"])
    values = {"across.image": 0.5, "across.text": 0.0, "weight_norm": 1.2, "weight_change": 0.8}
    each = {f"{key}.{member}": value for key, value in Z.items() for member in ("image", "text")}
    alarms = [guard.update(10 * i, {**each, **values}, 64, 64, progress=i / 40) for i in range(41)]
    (alarm,) = [alarm for alarm in alarms if alarm]
    assert alarm.kind == "apart" and "the embeddings of text have nothing to do with" in alarm.message
    assert alarm.step < 250
