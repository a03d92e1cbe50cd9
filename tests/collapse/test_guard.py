"""The guard's rules on made-up metrics, its bookkeeping, and the science: SimSiam with and without stop-gradient."""

import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ssl_zoo.collapse.guard import Alarm, CollapseGuard
from ssl_zoo.collapse.metrics import embedding_metrics

START = {
    "std": 0.99,
    "effective_rank": 80.0,
    "random_similarity": 0.01,
    "positive_similarity": 0.05,
    "similarity_gap": 0.04,
}


def metrics(**changed):
    values = {**START, **changed}
    values["positive_similarity"] = values["random_similarity"] + values["similarity_gap"]
    return values


HEALTHY = metrics(std=0.95, effective_rank=30.0, random_similarity=0.06, similarity_gap=0.5)
COLLAPSED = metrics(std=0.04, effective_rank=6.0, random_similarity=0.99, similarity_gap=0.001)


def feed(guard, measurements, dim=128, batch=128, first=0):
    """Return the alarms of measurements 25 steps apart."""
    steps = range(25 * first, 25 * (first + len(measurements)), 25)
    alarms = [guard.update(step, m, dim, batch) for step, m in zip(steps, measurements, strict=True)]
    return [alarm for alarm in alarms if alarm is not None]


def test_a_healthy_run_is_ok():
    guard = CollapseGuard()
    assert feed(guard, [START, *[HEALTHY] * 20]) == []
    nothing = {key: None for key in ("reason", "step", "kind", "of", "since", "cause")}
    assert guard.status == {"status": "ok", **nothing, "remedies": [], "metrics": HEALTHY}


@pytest.mark.parametrize(
    "metric, kind, change",
    [
        ("std", "complete", {"std": 0.05, "random_similarity": 0.99, "similarity_gap": 0.005}),
        ("effective_rank", "dimensional", {"std": 0.97, "effective_rank": 2.5, "similarity_gap": 0.9}),
        (
            "similarity_gap",
            "complete",
            {"std": 0.45, "effective_rank": 9.0, "random_similarity": 0.8, "similarity_gap": 0.01},
        ),
    ],
)
def test_each_kind_of_collapse_has_its_rule(metric, kind, change):
    guard = CollapseGuard()
    (alarm,) = feed(guard, [START, *[metrics(**change)] * 8])
    assert isinstance(alarm, Alarm) and (alarm.metric, alarm.step) == (metric, 100)
    assert (alarm.kind, alarm.of, alarm.since) == (kind, "z", 25) and "(first seen at step 25)" in alarm.message
    assert alarm.value == pytest.approx(metrics(**change)[metric])
    assert alarm.reference == START[metric]
    assert alarm.message.startswith("step 100: ") and alarm.message.count(". ") == 0 and alarm.message.endswith(".")
    assert len(set(alarm.remedies)) == 3
    assert guard.status["status"] == "collapsed"
    assert guard.status["reason"] == alarm.message and guard.status["step"] == 100


def test_a_dip_shorter_than_the_patience_is_no_collapse():
    assert feed(CollapseGuard(patience=4), [START, HEALTHY, COLLAPSED, COLLAPSED, *[HEALTHY] * 10]) == []


def test_patience_is_how_many_checks_it_takes():
    for patience in (1, 2, 6):
        (alarm,) = feed(CollapseGuard(patience=patience), [START, *[COLLAPSED] * 8])
        assert alarm.step == 25 * patience


def test_a_small_value_that_the_run_started_with_is_no_collapse():
    """Networks without normalisation start with similar embeddings; the fall counts, not the value."""
    start = metrics(std=0.2, effective_rank=4.0, random_similarity=0.95, similarity_gap=0.01)
    now = metrics(std=0.14, effective_rank=3.0, random_similarity=0.97, similarity_gap=0.01)
    assert feed(CollapseGuard(), [start, *[now] * 10]) == []


def test_a_network_that_is_dead_from_the_start_is_found():
    dead = metrics(std=0.003, effective_rank=20.0, random_similarity=0.99999, similarity_gap=0.0)
    (alarm,) = feed(CollapseGuard(), [dead] * 6)
    assert (alarm.metric, alarm.reference) == ("std", 1.0)


def test_a_network_that_is_waking_up_is_left_alone():
    grows = [metrics(std=0.003 * 1.3**i, random_similarity=0.999, similarity_gap=0.0) for i in range(30)]
    assert feed(CollapseGuard(), grows) == []


def test_views_that_are_not_learned_yet_are_no_collapse():
    """An untrained network has no similarity gap: without a rise of the random similarity that means nothing."""
    assert feed(CollapseGuard(), [START, *[metrics(similarity_gap=0.0)] * 20]) == []


def test_the_alarm_comes_once_and_the_status_follows_the_run():
    guard = CollapseGuard()
    assert len(feed(guard, [START, *[COLLAPSED] * 8])) == 1
    edge = metrics(std=0.15, random_similarity=0.96, similarity_gap=0.01)
    assert feed(guard, [edge] * 8, first=9) == []
    assert guard.status["status"] == "collapsed", "noise around a limit is no recovery"
    assert feed(guard, [HEALTHY] * 8, first=17) == []
    assert guard.status["status"] == "warned" and guard.status["step"] == 100
    assert feed(guard, [COLLAPSED] * 8, first=25) == []
    assert guard.status["status"] == "collapsed"


def test_a_stopped_run_stays_collapsed():
    guard = CollapseGuard(policy="stop")
    feed(guard, [START, *[COLLAPSED] * 4, *[HEALTHY] * 8])
    assert guard.status["status"] == "collapsed"


def test_off_judges_nothing():
    guard = CollapseGuard(policy="off")
    assert feed(guard, [START, *[COLLAPSED] * 8]) == []
    assert guard.status["status"] == "off"


def test_what_is_missing_is_left_out():
    guard = CollapseGuard()
    assert feed(guard, [{}, START, *[HEALTHY] * 4, {}, *[HEALTHY] * 4]) == []
    assert guard.status["status"] == "ok"
    one_view = {key: COLLAPSED[key] for key in ("std", "effective_rank", "random_similarity")}
    assert len(feed(CollapseGuard(), [START, *[one_view] * 5])) == 1


@pytest.mark.parametrize("cut", [0, 1, 3, 5, 9])
@pytest.mark.parametrize("broken", [COLLAPSED, {"finite": 0.5}], ids=["collapsed", "not finite"])
def test_resumed_guard_goes_on_as_if_nothing_happened(cut, broken):
    series = [START, HEALTHY, *[broken] * 8, *[HEALTHY] * 6]
    whole, first, second = CollapseGuard(), CollapseGuard(), CollapseGuard()
    alarms = feed(whole, series)
    before = feed(first, series[:cut])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    after = feed(second, series[cut:], first=cut)
    assert before + after == alarms and len(alarms) == 1
    assert second.status == whole.status
    assert second.state_dict() == whole.state_dict()


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="policy"):
        CollapseGuard(policy="alarm")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="patience"):
        CollapseGuard(patience=0)


def views(x, generator):
    """Two views of flat images `(B, 64)`: each keeps a random 60 % of the pixels at a random contrast."""
    keep = torch.rand(2, *x.shape, generator=generator) < 0.6
    return x * keep * (0.6 + 0.8 * torch.rand(2, len(x), 1, generator=generator))


def train_simsiam(digits, seed, *, stop_gradient, last_norm, steps=300, batch=128):
    """SimSiam on the pixels of digits, with or without its stop-gradient; return the guard's alarm and status."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)

    def layer(width_in, width_out):
        return [nn.Linear(width_in, width_out, bias=False), nn.BatchNorm1d(width_out), nn.ReLU()]

    branch = nn.Sequential(*layer(64, 128), *layer(128, 64), *layer(64, 64), nn.Linear(64, 64))
    if last_norm:
        branch.append(nn.BatchNorm1d(64, affine=False))
    predictor = nn.Sequential(*layer(64, 16), nn.Linear(16, 64))
    optimizer = torch.optim.SGD([*branch.parameters(), *predictor.parameters()], lr=0.2, momentum=0.9)
    guard, alarm = CollapseGuard(), None
    for step in range(steps):
        index = torch.randint(len(digits.x), (batch,), generator=generator)
        z = [branch(view) for view in views(digits.x[index] / 16, generator)]
        if step % 10 == 0:
            alarm = guard.update(step, embedding_metrics([x.detach() for x in z]), dim=64, batch=batch) or alarm
        t = [x.detach() for x in z] if stop_gradient else z
        loss = -sum(F.cosine_similarity(predictor(z[i]), t[1 - i]).mean() for i in (0, 1)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return alarm, guard.status["status"]


@pytest.mark.parametrize("last_norm", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_simsiam_collapses_without_stop_gradient_and_the_guard_says_so(digits, seed, last_norm):
    alarm, status = train_simsiam(digits[0], seed, stop_gradient=False, last_norm=last_norm, steps=160)
    assert alarm is not None and status == "collapsed"
    alarm, status = train_simsiam(digits[0], seed, stop_gradient=True, last_norm=last_norm)
    assert alarm is None and status == "ok"
