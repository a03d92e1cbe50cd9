"""The contract of each kind of part, as functions: for the registered parts, and for those of plug-ins.

A modality has a `Sort`: what its samples look like and options that make its view policies small. That of
`ssl_zoo/modalities/NAME` is in `tests/modalities/NAME/sort.py`.
"""

import copy
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_zoo import registry
from ssl_zoo.batch import Batch, InputSpec, Pairs, View, ViewSpec, encode
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.source import Modality, Samples, Split, ViewPolicy
from ssl_zoo.distributed.precision import Precision
from ssl_zoo.evaluation.aligned import Aligned
from ssl_zoo.evaluation.augmented import AugmentedViews
from ssl_zoo.evaluation.contract import NotOffered
from ssl_zoo.evaluation.features import Features, Tokens
from ssl_zoo.evaluation.subject import Subject
from ssl_zoo.methods.branch import Branch
from ssl_zoo.methods.build import build, build_modality, build_views
from ssl_zoo.methods.check import check_recipe
from ssl_zoo.objectives.objective import Objective
from ssl_zoo.parts import Term
from ssl_zoo.recipe.model import Recipe, parse
from ssl_zoo.recipe.part import Part
from ssl_zoo.rng import generator
from ssl_zoo.studies.finetuning.samples import mild_views
from tests.tiny import paired, small


@dataclass(frozen=True)
class Sort:
    """What the contract needs to know of a modality.

    Attributes:
        spec: of views, for encoders.
        samples: (number, channels) -> samples, as a source gives them.
        bad: contents of files that cannot be decoded.
        alone: view policies of one view, for methods that hide parts of it.
        views: {view policy: options that make its views small}.
        names: {family of encoders: a member that is built in its place}; None where that needs a package that tests do
            without.
    """

    spec: InputSpec
    samples: Callable[[int, int], Samples]
    views: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    names: Mapping[str, str | None] = field(default_factory=dict)
    bad: Sequence[bytes] = (b"", b"\x00\xff\xfe no sample", b"\x93NUMPY", b"\x89PNG\r\n\x1a\n")
    alone: Sequence[str] = ()


def example(spec: InputSpec, num: int = 3) -> View:
    """Return a view of a spec: normal values, or integers of its vocabulary."""
    first = spec.views[0]
    if first.dtype == torch.float32:
        return View(torch.randn(num, *first.shape), spec.modality)
    return View(torch.randint(1, spec.vocabulary or 2, (num, *first.shape)), spec.modality)


SMALL_VIEWS = ("views.channels=1", "views.size=12", "views.hue=0", "views.saturation=0", "views.grey=0", "views.blur=0")
"""Overrides that make the views of a shipped recipe small."""


def rows(num: int = 12, dim: int = 6, seed: int = 0, **options: Any) -> Tensor:
    """Return normal embeddings `(num, dim)`."""
    return torch.randn(num, dim, generator=generator(seed, "rows"), **options)


def check_documented(kind: str, name: str) -> None:
    """A summary, and a line for each option, so that `show` says what they mean."""
    entry, _ = registry.find(kind, name.replace("/*", "/anything"))
    doc = inspect.getdoc(entry.factory) or ""
    assert entry.summary, f"{kind} {name} has no docstring"
    if "for the options" not in doc:
        missing = [option for option in registry.options(entry).model_fields if f"\n    {option}: " not in doc]
        assert not missing, f"{kind} {name}: no line for {missing}"


def check_encoder(name: str, sort: Sort) -> None:
    """Features of the stated width; where it has places, their mean is the features."""
    member = sort.names.get(name, name)
    if member is None:
        pytest.skip("needs a package that is not installed; the encoder's own tests have a stand-in")
    encoder = registry.build("encoder", member, {}, spec=sort.spec).eval()
    view = example(sort.spec)
    h = encode(encoder, view)
    assert h.shape == (3, encoder.out_dim) and h.dtype == torch.float32
    if hasattr(encoder, "tokens"):
        tokens, grid = encoder.tokens(view)
        assert tokens.shape == (3, math.prod(grid), encoder.out_dim)
        torch.testing.assert_close(tokens.mean(dim=1), h)


def check_views(name: str, sort: Sort) -> None:
    """A policy draws, collates, makes the views that it states, and shows samples as they are."""
    policy = registry.build("views", name, sort.views.get(name, {}))
    spec = policy.spec
    samples = sort.samples(4, spec.channels)
    params = policy.draw(generator(0, "views"), 4)
    assert all(len(value) == 4 for value in params.values())
    views = policy(policy.collate(samples, params))
    assert [(v.role, tuple(v.tensor.shape), v.is_target) for v in views] == [
        (view.role, (4, *view.shape), view.is_target) for view in spec.views
    ]
    roles = [view.role for view in views]
    assert (len(views) == 1 if name in sort.alone else len(views) >= 2) and roles == sorted(
        roles
    )  # the global ones first
    assert all(view.modality == spec.modality == policy.modality for view in views)
    assert [view.tensor.dtype for view in views] == [view.dtype for view in spec.views]
    assert all(view.tensor.isfinite().all() for view in views)
    for box in (view.aux["box"] for view in views if "box" in view.aux):
        start, extent, mirrored = box.unbind(dim=1)
        assert box.shape == (4, 3, len(spec.sides) or 1) and ((mirrored == 0) | (mirrored == 1)).all()
        assert (start >= 0).all() and (extent > 0).all() and (start + extent <= 1 + 1e-6).all()
    plain = policy.plain(samples)
    assert plain.tensor.shape == (4, *spec.views[0].shape) and plain.modality == spec.modality
    again = policy(policy.collate(samples, policy.draw(generator(0, "views"), 4)))
    assert all(torch.equal(a.tensor, b.tensor) for a, b in zip(views, again, strict=True))
    one_by_one = policy.collate(policy.cut(list(samples), params), params)
    assert all(a.layout == b.layout for a, b in zip(views, policy(one_by_one), strict=True))
    mild = mild_views(policy, Part(name=name, options=dict(sort.views.get(name, {}))))
    first = mild(mild.collate(samples, mild.draw(generator(0, "views"), 4)))[0]
    assert tuple(first.tensor.shape) == (4, *spec.views[0].shape) and first.modality == spec.modality
    picture = policy.picture(samples, views)
    assert picture.dtype == torch.uint8 and picture.ndim == 3 and len(picture) == 3


def check_modality(name: str, sort: Sort) -> None:
    """It names what it cannot decode, describes samples, and makes features of plain ones."""
    modality: Modality = registry.build("modality", name, {}, spec=sort.spec)
    for content in sort.bad:
        with pytest.raises(BadSample) as caught:
            modality.decode(content, "the name")
        assert caught.value.name == "the name" and caught.value.reason
    assert all(each.startswith(".") and each == each.lower() for each in modality.extensions)
    assert isinstance(modality.describe(sort.samples(1, sort.spec.channels)[0]), str)
    features = modality.raw(example(sort.spec), max_dim=20)
    assert features.shape[0] == 3 and features.ndim == 2 and features.shape[1] <= 20


def check_method(recipe: Recipe, sort: Sort) -> None:
    """A scalar loss that is the sum of its terms, gradients in the encoder, and a state that is complete."""
    method, policy = build(recipe), build_views(recipe)
    assert build_modality(recipe, policy.spec).spec is policy.spec
    samples = sort.samples(8, policy.spec.channels)

    def batch() -> Batch:
        return Batch(policy(policy.collate(samples, policy.draw(generator(0, "views"), 8))))

    torch.manual_seed(0)
    output = method(batch())
    assert output.loss.ndim == 0 and output.loss.isfinite()
    torch.testing.assert_close(output.loss, torch.stack(list(output.terms.values())).sum())
    assert [z.shape[0] for z in output.embeddings] == [8] * len(policy.spec.views)
    assert not any(z.requires_grad for z in output.embeddings) and isinstance(method.shrinks, bool)
    output.loss.backward()
    gradients = [weight.grad for weight in method.encoder.parameters() if weight.grad is not None]
    assert gradients and sum(gradient.abs().sum() for gradient in gradients) > 0
    method.after_step(0.5)
    resumed = build(recipe.model_copy(update={"seed": recipe.seed + 1}))
    resumed.load_state_dict(method.state_dict())
    losses = []
    for each in (method, resumed):
        torch.manual_seed(1)
        losses.append(each(batch()).loss.detach())
    torch.testing.assert_close(*losses, rtol=0, atol=0)


def check_strategy(name: str) -> None:
    """In one process it trains as a plain loop does, and the state of any strategy is taken by any other."""

    def start(strategy: str | None, seed: int = 0) -> tuple[Any, nn.Module, torch.optim.Optimizer]:
        method = build(small("simsiam", [*SMALL_VIEWS, f"seed={seed}"]))
        if strategy is None:
            return None, method, _sgd(method)
        device = torch.device("cpu")
        made = registry.build(
            "strategy", strategy, {}, device=device, precision=Precision("fp32", device), num_processes=1
        )
        assert made.device == device and isinstance(made.has_whole_state, bool)
        return made, method, made.prepare(method, _sgd)

    def step(strategy: Any, method: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
        for part in range(2):
            g = generator(seed, "strategy", part)
            batch = Batch([View(torch.randn(8, 1, 12, 12, generator=g)) for _ in range(2)])
            if strategy is None:
                (method(batch).loss / 2).backward()
            else:
                strategy.forward_backward(batch, 2, last=part == 1)
        if strategy is None:
            nn.utils.clip_grad_norm_(method.parameters(), 0.1)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        else:
            assert strategy.step(0.1) is True

    plain, ours, other = start(None), start(name), start("single", seed=1)
    for seed in range(2):
        step(*plain, seed)
        step(*ours, seed)
    other[0].load(copy.deepcopy(ours[0].state()))  # a file is between them otherwise
    ours[0].load(copy.deepcopy(other[0].state()))
    for each in (plain, ours, other):
        step(*each, 2)
    expected = plain[1].state_dict()
    for strategy, method, _ in (ours, other):
        assert set(strategy.state()) == {"method", "optimizer", "precision"}
        for key, value in strategy.state()["method"].items():
            torch.testing.assert_close(value, expected[key], rtol=0, atol=0)
        encoder: Any = method.encoder
        whole = strategy.gathered(encoder).state_dict()
        assert all(torch.equal(value, expected[f"encoder.{key}"]) for key, value in whole.items())


def _sgd(method: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(method.parameters(), lr=0.1, momentum=0.9)


WIDTHS = ("hidden_dim", "output_dim", "bottleneck_dim", "num_clusters", "n_prototypes")
"""Options of heads of other libraries that are made small."""


def check_head(name: str) -> None:
    """Output of the stated width, from a copy too: that is what a target network is."""
    options = {key: 8 for key in WIDTHS if key in registry.options(registry.find("head", name)[0]).model_fields}
    head = copy.deepcopy(registry.build("head", name, options, in_dim=6))
    out = head(rows())
    assert out.shape == (12, head.out_dim) and head.in_dim == 6 and out.isfinite().all()


def check_target(name: str) -> None:
    """One t per target view, None for a local one; gradient reaches z only where the target says so."""
    branch = Branch(nn.Flatten(), nn.Linear(8, 6))
    target = registry.build("target", name, {}, branch=branch)
    views = [
        View(torch.randn(4, 2, 2, 2)),
        View(torch.randn(4, 2, 2, 2)),
        View(torch.randn(4, 2, 2, 2), role="local", is_target=False),
    ]
    z = [x.requires_grad_() for x in branch(views)]
    t = target(Batch(views, torch.arange(4)).views, z)
    assert [x is None for x in t] == [False, False, True] and all(x.shape == (4, 6) for x in t[:2])
    assert t[0].requires_grad is (name == "shared")
    assert all(not p.requires_grad for p in target.parameters())


def check_pairing(name: str) -> None:
    """No view predicts itself alone, all pairs are of one shape, and a local view is never a target."""
    pairing = registry.build("pairing", name, {}, dim=6)
    p, t = [rows(seed=i) for i in range(3)], [rows(seed=i) for i in range(2)] + [None]
    pairs = paired(pairing, p, t)
    assert pairs.pairs and pairs.scale > 0
    for x, y in pairs.pairs:
        assert x.shape == y.shape == (12, 6)


SMALL_TERMS: dict[str, Callable[[int], dict[str, Any]]] = {
    "lightly/SIGReg": lambda num: {"num_vectors": 8},
    "lightly/WMSELoss": lambda num: {"w_size": num, "eps": 0.1},  # few samples: the whitening multiplies rounding
    "whitened_mse": lambda num: {"eps": 0.1},
}
"""{term: what makes it small for a number of embeddings}."""


def build_term(name: str, dim: int, num: int) -> Term:
    """Return a term for `num` embeddings of a width, made small."""
    return registry.build("term", name, SMALL_TERMS[name](num) if name in SMALL_TERMS else {}, dim=dim)


def check_term(name: str) -> None:
    """A finite scalar with a finite gradient, equal in training and evaluation mode, and without weights."""
    term = build_term(name, 6, 256)
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


def check_half_precision(name: str, dtype: torch.dtype) -> None:
    """A term is computed in float32 and bears large embeddings."""
    z = [(100 * rows(256, 64, seed)).to(dtype) for seed in range(2)]  # |z| ~ 1e3
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = value_of(build_term(name, 64, 256), z)
    expected = value_of(build_term(name, 64, 256), [x.float() for x in z])
    assert value.dtype == torch.float32 and value.isfinite()
    torch.testing.assert_close(value, expected)


def check_gradient(name: str) -> None:
    """A term's gradient is that of its value."""
    term = build_term(name, 3, 12).double()
    z = [rows(12, 3, seed, dtype=torch.float64) / 2 for seed in range(2)]
    if term.inputs == "pair":  # the target may be a constant
        assert torch.autograd.gradcheck(lambda p: term(p, z[1]), (z[0].requires_grad_(),))
    else:
        assert torch.autograd.gradcheck(lambda *views: term(list(views)), tuple(x.requires_grad_() for x in z))


def check_trains(kind: str, name: str) -> None:
    """A term or a projector passes `check` and trains for three steps; what a term has noted is its state."""
    options = {key: 8 for key in WIDTHS if key in registry.options(registry.find(kind, name)[0]).model_fields}
    if kind == "term":
        raw = {"objective": {"name": name, **(SMALL_TERMS[name](16) if name in SMALL_TERMS else {})}}
    else:
        raw = {"projector": {"name": name, **options}}
    recipe = parse({**small("vicreg", SMALL_VIEWS).dump(), **raw}, name)
    assert check_recipe(recipe)["parameters"]["encoder"]
    method = build(recipe)
    optimizer = _sgd(method)
    g = generator(0, "trains")

    def batch() -> Batch:
        return Batch([View(torch.randn(16, 1, 12, 12, generator=g)) for _ in range(2)])

    start = copy.deepcopy(method.encoder.state_dict())
    for step in range(3):
        loss = method(batch()).loss
        assert loss.ndim == 0 and loss.isfinite()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step((step + 1) / 3)
    assert any(not torch.equal(value, start[key]) for key, value in method.encoder.named_parameters())
    if kind == "head":
        return  # a module of torch's layers
    other, last, losses = build(recipe.model_copy(update={"seed": 1})), batch(), []
    other.load_state_dict(method.state_dict())
    for each in (method, other):
        torch.manual_seed(len(losses))  # no part may draw from the process's own generator
        losses.append(each(copy.deepcopy(last)).loss)
    torch.testing.assert_close(*losses, rtol=0, atol=0)


def check_optimizer(name: str) -> None:
    """It keeps what groups carry, and descends."""
    weight = nn.Parameter(torch.ones(3))
    group = {"params": [weight], "names": ["w"], "lr_scale": 1.0, "constant": False}
    optimizer = registry.build("optimizer", name, {}, groups=[group])
    assert {"lr_scale", "constant", "weight_decay"} <= set(optimizer.param_groups[0])
    optimizer.param_groups[0]["lr"] = 0.1
    weight.square().sum().backward()
    optimizer.step()
    assert (weight < 1).all()


def check_schedule(name: str) -> None:
    """A factor in [0, 1] at every step, after a warm-up that rises."""
    schedule = registry.build("schedule", name, {"warmup_epochs": 2.0}, total_steps=400, steps_per_epoch=4)
    factors = [schedule(step) for step in range(400)]
    assert all(0 <= factor <= 1 for factor in factors) and max(factors) == 1
    assert factors[:8] == sorted(factors[:8]) and factors[0] < factors[7]


PROTOCOLS: dict[str, dict[str, Any]] = {
    "semi_supervised": {"fractions": [0.1], "draws": 2, "steps": 30, "lrs": [0.1]},
    "linear_augmented": {"epochs": 5},
    "label_free_tokens": {"local_clusters": 2, "global_clusters": 3},
}
"""Options that make protocols short."""

ASKING = ("transfer",)
"""Protocols that need an option, and say so."""


def check_protocol(name: str) -> None:
    """Numbers, good ones on separated classes, and a clear error where labels are missing."""
    protocol = registry.build("protocol", name, PROTOCOLS.get(name, {}))
    labels = torch.arange(60) % 3
    x = rows(60) + 5 * nn.functional.one_hot(labels, 6)
    train, test = (_judged(protocol.sees, x[:num], labels[:num] if protocol.needs_labels else None) for num in (60, 30))
    if name in ASKING:
        with pytest.raises(NotOffered, match="option"):
            protocol(train, test)
        return
    metrics = protocol(train, test)
    assert protocol.version >= 1 and metrics and all(isinstance(value, (int, float)) for value in metrics.values())
    assert all(value.removesuffix("_chance") in metrics for value in metrics)
    quality = [
        metric
        for metric in metrics
        if not metric.endswith("_chance") and any(fnmatchcase(metric, each) for each in protocol.quality)
    ]
    assert all(0 <= metrics[metric] <= 1 for metric in quality) and bool(quality) >= protocol.needs_labels
    if protocol.needs_labels:
        assert next(iter(metrics.values())) > 0.9
        with pytest.raises(ValueError, match="no labels"):
            protocol(_judged(protocol.sees, x, None), _judged(protocol.sees, x, None))


def _judged(sees: type[Any], x: Tensor, y: Tensor | None) -> Any:
    """Return what a protocol sees of vectors `(N, 6)` that are near the axis of their class."""
    if sees is Aligned:
        both = {"first": x, "second": x}
        p = {("first", "second"): x, ("second", "first"): x}
        return Aligned(both, p, y, ["a", "b", "c"], ("second",), lambda member, strings: torch.eye(6)[: len(strings)])
    if sees is Tokens:
        return Tokens(torch.stack([x, torch.zeros_like(x), x], dim=1), y)
    if sees is AugmentedViews:
        return AugmentedViews(None, Vectors(), Modality(Vectors.spec), Rows(x, y), torch.arange(len(x)), "vector")
    if sees is Subject:
        torch.manual_seed(0)
        encoder = nn.Linear(6, 6)
        encoder.out_dim = 6  # type: ignore[assignment]
        return Subject(encoder, Vectors(), Rows(x, y), torch.arange(len(x)))
    assert sees is Features
    return Features(x, y)


class Rows(Split):
    """Vectors, as they are."""

    def __init__(self, x: Tensor, y: Tensor | None) -> None:
        self.x, self.labels = x, y

    def __len__(self) -> int:
        return len(self.x)

    def read(self, i: int) -> Tensor:
        return self.x[i]


class Vectors(ViewPolicy):
    """Vectors with noise."""

    modality = "vector"
    spec = InputSpec("vector", (ViewSpec("global", (6,)),))

    def draw(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        return {"noise": torch.randn(num, 6, generator=generator)}

    def collate(self, samples: Any, params: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"x": torch.stack(list(samples)), **params}

    def forward(self, payload: dict[str, Tensor]) -> list[View]:
        return [View(payload["x"] + payload["noise"], "vector")]

    def plain(self, samples: Any) -> View:
        return View(torch.stack(list(samples)), "vector")
