"""What the guard says of embeddings that lose their scale, are narrow, few or not finite, and of too short a run."""

import math

import pytest
import torch

from ssl_zoo.collapse.guard import CollapseGuard, check_every
from ssl_zoo.collapse.metrics import embedding_metrics


def views(scale: float = 1.0, num: int = 64, dim: int = 32, seed: int = 0):
    """Two views of random embeddings, apart by a tenth of their scale."""
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(num, dim, generator=g)
    return [scale * (z + 0.1 * torch.randn(num, dim, generator=g)) for _ in range(2)]


def line(num: int, dim: int, seed: int = 0):
    """Two views of embeddings that lie on one line but for a thousandth."""
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(num, 1, generator=g) @ torch.randn(1, dim, generator=g)
    return [z + 1e-3 * torch.randn(num, dim, generator=g) for _ in range(2)]


def fed(guard: CollapseGuard, batches, last: bool = False):
    """Return the alarms of batches of views, 10 steps apart; the run ends after them if `last`."""
    alarms = [
        guard.update(10 * i, embedding_metrics(z), z[0].shape[1], z[0].shape[0], last=last and i == len(batches) - 1)
        for i, z in enumerate(batches)
    ]
    return [alarm for alarm in alarms if alarm is not None]


SHRINKING = [views(0.3 * 0.5**i, seed=i) for i in range(10)]


def test_embeddings_that_shrink_with_their_directions_untouched_are_found():
    guard = CollapseGuard(shrinks=True, recipe_facts={"terms": [{"name": "mse", "weight": 25.0}]})
    (alarm,) = fed(guard, SHRINKING)
    assert alarm.metric == "scale" and alarm.value < 0.04 and alarm.reference == pytest.approx(0.3, rel=0.1)
    assert "{name: variance, weight: 25.0}" in alarm.remedies[0]
    assert guard.status["status"] == "collapsed"
    assert embedding_metrics(SHRINKING[-1])["std"] > 0.9 and embedding_metrics(SHRINKING[-1])["similarity_gap"] > 0.9


def test_the_scale_is_free_where_it_does_not_solve_the_objective():
    guard = CollapseGuard()
    assert fed(guard, SHRINKING) == [] and guard.status["status"] == "ok"


def test_a_scale_that_comes_down_to_one_is_no_collapse():
    assert fed(CollapseGuard(shrinks=True), [views(max(1.0, 50 * 0.5**i), seed=i) for i in range(12)]) == []


@pytest.mark.parametrize("num, dim", [(64, 8), (64, 4), (64, 3), (8, 32), (4, 32)])
def test_a_narrow_projector_and_a_small_batch_can_collapse_onto_a_line(num, dim):
    healthy = [views(num=num, dim=dim, seed=i) for i in range(12)]
    assert fed(CollapseGuard(), healthy) == []
    guard = CollapseGuard()
    (alarm,) = fed(guard, [healthy[0], *(line(num, dim, seed=i) for i in range(6))])
    assert alarm.metric == "effective_rank" and alarm.value < 1.5 and f"allow {min(dim, num - 1)})" in alarm.message


def test_two_samples_have_one_line_and_no_rank_to_lose():
    assert fed(CollapseGuard(), [views(num=2, seed=i) for i in range(12)]) == []


def test_the_rank_that_is_possible_is_that_of_the_rows_it_is_taken_from():
    (alarm,) = fed(CollapseGuard(patience=1), [views(num=600, dim=520), line(num=600, dim=520)])
    assert "allow 255)" in alarm.message


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("before", [0, 1, 7])
def test_embeddings_that_are_not_finite_are_an_alarm_at_once(value, before):
    broken = views()
    broken[1][5, 3] = value
    assert embedding_metrics(broken) == {"finite": pytest.approx(63 / 64)}
    guard = CollapseGuard(recipe_facts={"base_lr": 0.2})
    (alarm,) = fed(guard, [*(views(seed=i) for i in range(before)), broken, broken])
    assert (alarm.metric, alarm.step, alarm.value) == ("finite", 10 * before, pytest.approx(63 / 64))
    assert "of 0.0156 of the samples are not finite" in alarm.message
    assert "training.base_lr=0.05" in alarm.remedies[0]
    assert guard.status["status"] == "collapsed"
    fed(guard, [views(seed=i) for i in range(3)])
    assert guard.status["status"] == "collapsed"
    fed(guard, [views(seed=i) for i in range(5)])
    assert guard.status["status"] == "warned"


def test_metrics_that_are_not_finite_are_an_alarm_whoever_made_them():
    alarm = CollapseGuard().update(0, {"std": math.nan}, 8, 8)
    assert alarm is not None and alarm.metric == "finite"


@pytest.mark.parametrize("num", [0, 1, 2])
def test_a_run_too_short_to_judge_says_so(num):
    guard = CollapseGuard()
    assert fed(guard, [views(seed=i) for i in range(num)], last=True) == []
    status = guard.status
    assert status["status"] == "not judged" and status["step"] is None
    what = (
        "no embeddings"
        if num == 0
        else f": {num - 1} check{'' if num == 2 else 's'} after the start, needed are 4, or 2 "
    )
    assert what in status["reason"]


def test_a_batch_of_one_sample_is_not_judged():
    guard = CollapseGuard()
    assert fed(guard, [[z[:1] for z in views()]] * 9, last=True) == []
    assert guard.status["status"] == "not judged" and "two samples" in guard.status["reason"]


def test_a_short_run_is_judged_at_its_end_by_what_there_is():
    collapsed = [[1 + 1e-3 * z for z in views(seed=i)] for i in range(3)]
    guard = CollapseGuard()
    assert fed(guard, [views(), *collapsed]) == [] and guard.status["status"] == "not judged"
    (alarm,) = fed(CollapseGuard(), [views(), *collapsed], last=True)
    assert (alarm.metric, alarm.step) == ("std", 30)
    guard = CollapseGuard()
    assert fed(guard, [views(seed=i) for i in range(3)], last=True) == [] and guard.status["status"] == "ok"


@pytest.mark.parametrize(
    "every, patience, steps, expected",
    [(25, 4, 100_000, 25), (25, 4, 1250, 25), (25, 4, 200, 4), (25, 4, 90, 1), (2, 4, 200, 2), (25, 8, 1000, 10)],
)
def test_a_short_run_is_looked_at_more_often_and_a_long_one_as_it_says(every, patience, steps, expected):
    assert check_every(every, patience, steps) == expected


def test_the_batch_to_double_is_the_recipes_and_not_the_part_that_was_looked_at():
    guard = CollapseGuard(patience=1, recipe_facts={"batch_size": 256, "terms": ["mse", "variance", "covariance"]})
    (alarm,) = fed(guard, [views(num=16), line(num=16, dim=32)])
    assert "allow 15)" in alarm.message and alarm.remedies[0].endswith("-s training.batch_size=512")
