"""The guard of samples that are mappings: a member that collapses alone is found and named."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from ssl_zoo.collapse.guard import CollapseGuard
from ssl_zoo.collapse.members import MemberGuards, guard_of, metrics_of_members
from ssl_zoo.collapse.metrics import embedding_metrics, normalised_std, positive_similarity, random_similarity

NAMES = ["image", "image", "text"]


def embeddings(step: int, text_spread: float = 1.0) -> list[Tensor]:
    """Two views of images that agree, and one of texts whose directions agree with them, or with each other."""
    g = torch.Generator().manual_seed(step)
    common = torch.randn(32, 16, generator=g)
    noise = [0.3 * torch.randn(32, 16, generator=g) for _ in range(3)]
    text = torch.full((16,), 1 - text_spread) + text_spread * (common + noise[2])
    return [common + noise[0], common + noise[1], text]


def run(guard: MemberGuards, spreads: list[float], first: int = 1) -> list[str]:
    alarms = []
    for step, spread in enumerate(spreads, start=first):
        alarm = guard.update(step, metrics_of_members(embeddings(step, spread), NAMES), dim=16, batch=32)
        alarms += [alarm.message] if alarm else []
    return alarms


def test_metrics_are_those_of_each_member_and_the_worst() -> None:
    z = embeddings(0)
    found = metrics_of_members(z, NAMES)
    image = embedding_metrics(z[:2])
    assert {name: found[f"{name}.image"] for name in image} == image
    assert found["std.text"] == normalised_std(z[2])
    assert found["std"] == min(found["std.image"], found["std.text"])
    assert found["random_similarity"] == max(found["random_similarity.image"], found["random_similarity.text"])
    gap = sum(positive_similarity(z[2], x) - random_similarity(z[2], x) for x in z[:2]) / 2
    assert found["similarity_gap.text"] == pytest.approx(gap)
    assert found["positive_similarity.text"] == pytest.approx(found["random_similarity.text"] + gap)
    assert metrics_of_members([x[:1] for x in z], NAMES) == {}


def test_members_that_lie_apart_are_not_pooled() -> None:
    """Each collapsed to its own point: together they look spread, and each by itself is not."""
    points = [torch.full((32, 16), 1.0), torch.full((32, 16), 1.0), -torch.ones(32, 16)]
    assert metrics_of_members(points, NAMES)["std"] < 1e-3 < 0.5 < normalised_std(torch.cat(points))


def test_the_member_that_collapses_is_named() -> None:
    guard = MemberGuards(["image", "text"], patience=2)
    assert run(guard, [1.0, 1.0, 0.9, 0.01, 0.01, 0.01]) == [
        alarm for alarm in [guard.status["reason"]] if alarm and "the embeddings of text have collapsed" in alarm
    ]
    assert guard.status["status"] == "collapsed" and guard.status["step"] == 5
    assert guard.status["metrics"]["std.image"] > 0.5 > guard.status["metrics"]["std.text"]


def test_a_healthy_run_is_ok_and_its_state_resumes() -> None:
    whole, first = MemberGuards(["image", "text"], patience=2), MemberGuards(["image", "text"], patience=2)
    assert whole.status["status"] == "not judged"
    assert run(whole, [1.0] * 6) == [] and whole.status["status"] == "ok"
    spreads = [1.0, 1.0, 0.01, 0.01, 0.01]
    expected = MemberGuards(["image", "text"], patience=2)
    run(expected, spreads)
    run(first, spreads[:2])
    second = MemberGuards(["image", "text"], patience=2)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert len(run(second, spreads[2:], first=3)) == 1
    assert second.status == expected.status


def test_samples_of_one_modality_have_the_plain_guard() -> None:
    assert isinstance(guard_of([], patience=2), CollapseGuard)
    assert guard_of(["a", "b"], policy="off").status["status"] == "off"
