"""The contract of every registered part, found by itself: documented, built at its defaults, and of the right shape."""

import inspect
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_zoo import registry
from ssl_zoo.batch import Pairs, View
from ssl_zoo.evaluation.features import Features
from ssl_zoo.methods.branch import Branch
from ssl_zoo.objectives.objective import Objective
from ssl_zoo.parts import Term
from ssl_zoo.rng import generator
from tests.tiny import spec_of

ALL = [(kind, entry.name) for kind in registry.PACKAGES for entry in registry.entries(kind)]
COVERED: Counter[str] = Counter()
LEAST = {"encoder": 5, "views": 3, "source": 5, "head": 6, "target": 3, "pairing": 5, "term": 20, "optimizer": 4,
         "schedule": 3, "protocol": 4, "method": 2, "modality": 1, "strategy": 3}  # fmt: skip
"""How many parts of each kind there are at least: a walk that finds nothing tests nothing."""


CONSTANT_PART = {"sliced_wasserstein"}
"""Terms that hold a part of themselves constant, so that their gradient is not that of their value; see their tests."""


def of(kind: str) -> Any:
    return pytest.mark.parametrize("name", [name for k, name in ALL if k == kind])


def rows(num: int = 12, dim: int = 6, seed: int = 0, **options: Any) -> Tensor:
    return torch.randn(num, dim, generator=generator(seed, "rows"), **options)


@pytest.mark.parametrize("kind, name", ALL)
def test_it_is_documented(kind: str, name: str) -> None:
    """A summary, and a line for each option and each positional parameter, so that `show` says what they mean."""
    entry, _ = registry.find(kind, name.replace("/*", "/anything"))
    doc = inspect.getdoc(entry.factory) or ""
    assert entry.summary, f"{kind} {name} has no docstring"
    if "for the options" not in doc:
        missing = [option for option in registry.options(entry).model_fields if f"\n    {option}: " not in doc]
        assert not missing, f"{kind} {name}: no line for {missing}"
    COVERED[kind] += 1


@of("encoder")
def test_encoder(name: str) -> None:
    real = name.replace("*", "resnet10t")
    encoder = registry.build("encoder", real, {}, spec=spec_of(channels=2, size=16))
    h = encoder(torch.randn(3, 2, 16, 16))
    assert h.shape == (3, encoder.out_dim) and h.dtype == torch.float32


@of("head")
def test_head(name: str) -> None:
    head = registry.build("head", name, {}, in_dim=6)
    out = head(rows())
    assert out.shape == (12, head.out_dim) and head.in_dim == 6 and out.isfinite().all()


@of("target")
def test_target(name: str) -> None:
    """One t a global view, None for a local one; gradient reaches z only where the target says so."""
    branch = Branch(nn.Flatten(), nn.Linear(8, 6))
    target = registry.build("target", name, {}, branch=branch)
    views = [
        View(torch.randn(4, 2, 2, 2)),
        View(torch.randn(4, 2, 2, 2)),
        View(torch.randn(4, 2, 2, 2), role="local", is_target=False),
    ]
    z = [x.requires_grad_() for x in branch(views)]
    t = target(views, z)
    assert [x is None for x in t] == [False, False, True] and all(x.shape == (4, 6) for x in t[:2])
    assert t[0].requires_grad is (name == "shared")
    assert all(not p.requires_grad for p in target.parameters())


@of("pairing")
def test_pairing(name: str) -> None:
    """No view predicts itself alone, all pairs are of one shape, and a local view is never a target."""
    pairing = registry.build("pairing", name, {}, dim=6)
    p, t = [rows(seed=i) for i in range(3)], [rows(seed=i) for i in range(2)] + [None]
    pairs = pairing(p, t)
    assert pairs.pairs and pairs.scale > 0
    for x, y in pairs.pairs:
        assert x.shape == y.shape == (12, 6)


@of("term")
def test_term(name: str) -> None:
    """A finite scalar with a finite gradient, equal in training and evaluation mode, and no surprise in its options."""
    term = registry.build("term", name, {}, dim=6)
    assert term.inputs in ("pair", "set", "globals")

    def value(x: Tensor, y: Tensor) -> Tensor:
        return term(x, y) if term.inputs == "pair" else term([x, y])

    x, y = rows(256, requires_grad=True), rows(256, seed=1, requires_grad=True)
    first = value(x, y)
    assert first.ndim == 0 and first.isfinite() and first.dtype == torch.float32
    first.backward()
    assert x.grad is not None and x.grad.isfinite().all() and x.grad.abs().sum() > 0
    term.eval()
    torch.testing.assert_close(value(x, y), first, rtol=0, atol=0)
    assert not list(term.parameters())


def value_of(term: Term, z: list[Tensor]) -> Tensor:
    """Return what the objective makes of one term, for two views that are a pair."""
    return Objective([("term", 1.0, term)])(Pairs([(z[0], z[1])], 1.0), z, [View(x) for x in z])["term"]


@of("term")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_term_is_computed_in_float32_and_bears_large_embeddings(name: str, dtype: torch.dtype) -> None:
    z = [(100 * rows(256, 64, seed)).to(dtype) for seed in range(2)]  # |z| ~ 1e3
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = value_of(registry.build("term", name, {}, dim=64), z)
    expected = value_of(registry.build("term", name, {}, dim=64), [x.float() for x in z])
    assert value.dtype == torch.float32 and value.isfinite()
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("name", [name for kind, name in ALL if kind == "term" and name not in CONSTANT_PART])
def test_a_terms_gradient_is_that_of_its_value(name: str) -> None:
    term = registry.build("term", name, {}, dim=3).double()
    z = [rows(12, 3, seed, dtype=torch.float64) / 2 for seed in range(2)]
    if term.inputs == "pair":  # the target may be a constant
        assert torch.autograd.gradcheck(lambda p: term(p, z[1]), (z[0].requires_grad_(),))
    else:
        assert torch.autograd.gradcheck(lambda *views: term(list(views)), tuple(x.requires_grad_() for x in z))


@of("optimizer")
def test_optimizer(name: str) -> None:
    weight = nn.Parameter(torch.ones(3))
    group = {"params": [weight], "names": ["w"], "lr_scale": 1.0, "constant": False}
    optimizer = registry.build("optimizer", name, {}, groups=[group])
    assert {"lr_scale", "constant", "weight_decay"} <= set(optimizer.param_groups[0])
    optimizer.param_groups[0]["lr"] = 0.1
    weight.square().sum().backward()
    optimizer.step()
    assert (weight < 1).all()


@of("schedule")
def test_schedule(name: str) -> None:
    """A factor in [0, 1] at every step, after a warm-up that rises."""
    schedule = registry.build("schedule", name, {"warmup_epochs": 2.0}, total_steps=400, steps_per_epoch=4)
    factors = [schedule(step) for step in range(400)]
    assert all(0 <= factor <= 1 for factor in factors) and max(factors) == 1
    assert factors[:8] == sorted(factors[:8]) and factors[0] < factors[7]


@of("protocol")
def test_protocol(name: str) -> None:
    protocol = registry.build("protocol", name, {})
    labels = torch.arange(60) % 3
    x = rows(60) + 5 * nn.functional.one_hot(labels, 6)
    y = labels if protocol.needs_labels else None
    metrics = protocol(Features(x, y), Features(x[:30], None if y is None else y[:30]))
    assert metrics and all(isinstance(value, (int, float)) for value in metrics.values())
    if protocol.needs_labels:
        assert metrics["top1"] > 0.9
        with pytest.raises(ValueError, match="no labels"):
            protocol(Features(x), Features(x))


@of("views")
def test_views(name: str) -> None:
    """A policy draws, collates, makes views in their roles, and shows samples as they are."""
    needed: dict[str, Any] = {"multi_crop": {"local_size": 8}, "transforms": {"transform": "tests.tiny:noisy_view"}}
    policy = registry.build("views", name, {"size": 12, **needed.get(name, {})})
    samples = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    params = policy.draw(generator(0, "views"), 4)
    assert all(len(value) == 4 for value in params.values())
    views = policy(policy.collate(samples, params))
    roles = [view.role for view in views]
    assert len(views) >= 2 and roles == sorted(roles)  # the global ones first
    assert all(view.data.shape[:2] == (4, 3) and view.data.isfinite().all() for view in views)
    assert [(v.role, tuple(v.data.shape[1:]), v.is_target) for v in views] == [
        (view.role, view.shape, view.is_target) for view in policy.spec.views
    ]
    assert all(view.modality == policy.spec.modality == policy.modality for view in views)
    assert policy.plain(samples).data.shape == (4, *policy.spec.views[0].shape)
    again = policy(policy.collate(samples, policy.draw(generator(0, "views"), 4)))
    assert all(torch.equal(a.data, b.data) for a, b in zip(views, again, strict=True))


def test_all_parts_were_covered() -> None:
    assert set(COVERED) == set(registry.PACKAGES) == set(LEAST)
    for kind, least in LEAST.items():
        assert COVERED[kind] == len(registry.names(kind)) >= least, kind
