"""The four methods against plain torch written from their papers: the loss and every parameter's gradient."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from ssl_zoo.construct import build
from ssl_zoo.method import Method


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tiny = load("tiny")


def make_oracle(method: str) -> nn.Module:
    encoder = tiny.tiny_encoder()
    if method == "simsiam":
        return load("oracles/simsiam").SimSiam(encoder, 6, dim=8, bottleneck=4)
    if method == "byol":
        return load("oracles/byol").BYOL(encoder, 6, hidden=10, dim=5)
    if method == "barlow_twins":
        return load("oracles/barlow_twins").BarlowTwins(encoder, 6, dim=7, lambd=0.0051)
    return load("oracles/vicreg").VICReg(encoder, 6, dim=7)


def pair(method: str) -> tuple[Method, nn.Module]:
    """A method and its oracle, with equal weights, in float64."""
    ours = build(tiny.narrow(method), encoder=tiny.tiny_encoder()).double()
    oracle = make_oracle(method).double()
    for name in ("encoder", "projector", "predictor"):
        theirs = getattr(oracle, name, None)
        if theirs is not None:
            source, goal = getattr(ours, name).state_dict(), theirs.state_dict()
            assert [v.shape for v in source.values()] == [v.shape for v in goal.values()], f"{name}: another structure"
            theirs.load_state_dict(dict(zip(goal, source.values(), strict=True)))
    if method == "byol":
        oracle.start_target()
        with torch.no_grad():  # a target that is not the online network
            for parameter in [*ours.target.network.parameters()]:
                parameter.add_(0.1)
            for parameter in [*oracle.target_encoder.parameters(), *oracle.target_projector.parameters()]:
                parameter.add_(0.1)
    return ours, oracle


METHODS = ("simsiam", "byol", "barlow_twins", "vicreg")


@pytest.mark.parametrize("method", METHODS)
def test_loss_and_every_gradient_equal_the_papers(method: str) -> None:
    ours, oracle = pair(method)
    x1, x2 = tiny.tiny_views()
    loss = ours(tiny.batch_of(x1, x2)).loss
    expected = oracle.loss(x1, x2)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    loss.backward()
    expected.backward()
    compared = 0
    for name in ("encoder", "projector", "predictor"):
        if not hasattr(oracle, name):
            assert not list(getattr(ours, name).parameters())
            continue
        for mine, theirs in zip(getattr(ours, name).parameters(), getattr(oracle, name).parameters(), strict=True):
            assert mine.grad is not None and theirs.grad is not None
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-9, atol=1e-12)
            compared += 1
    assert compared == sum(p.requires_grad for p in ours.parameters()) >= 13
    assert all(p.grad is None for p in ours.target.parameters())


def test_byol_trains_as_the_oracle_does_for_three_steps() -> None:
    ours, oracle = pair("byol")
    optimizers = [torch.optim.SGD([p for p in m.parameters() if p.requires_grad], lr=0.1) for m in (ours, oracle)]
    x1, x2 = tiny.tiny_views()
    for step in range(3):
        losses = [ours(tiny.batch_of(x1, x2)).loss, oracle.loss(x1, x2)]
        torch.testing.assert_close(*losses, rtol=1e-9, atol=0)
        for optimizer, loss in zip(optimizers, losses, strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        progress = (step + 1) / 10
        ours.after_step(progress)
        oracle.move(ours.target.tau(progress))
    mine = [*ours.target.network.encoder.parameters(), *ours.target.network.projector.parameters()]
    theirs = [*oracle.target_encoder.parameters(), *oracle.target_projector.parameters()]
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("target", ["stop_gradient", "ema"])
def test_the_target_branch_gets_exactly_no_gradient(target: str) -> None:
    method = build(
        tiny.narrow("simsiam", [f"target={target}", "pairing=one_way"]), encoder=tiny.tiny_encoder()
    ).double()
    x1, x2 = (x.requires_grad_() for x in tiny.tiny_views())
    method(tiny.batch_of(x1, x2)).loss.backward()
    assert x1.grad is not None and x1.grad.abs().sum() > 0
    assert x2.grad is None or x2.grad.abs().max() == 0


def test_without_stop_gradient_both_branches_get_gradient() -> None:
    method = build(tiny.narrow("simsiam", ["target=shared", "pairing=one_way"]), encoder=tiny.tiny_encoder()).double()
    x1, x2 = (x.requires_grad_() for x in tiny.tiny_views())
    method(tiny.batch_of(x1, x2)).loss.backward()
    assert x1.grad.abs().sum() > 0 and x2.grad.abs().sum() > 0


def test_simsiam_branches_are_one_module() -> None:
    method = build(tiny.narrow("simsiam"), encoder=tiny.tiny_encoder())
    assert not list(method.target.parameters())
    names = [name for name, _ in method.named_parameters(remove_duplicate=False)]
    assert {name.partition(".")[0] for name in names} == {"encoder", "projector", "predictor"}
