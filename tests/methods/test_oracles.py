"""Every shipped recipe against plain torch written from its paper, `tests/oracles/NAME.py`.

The recipe's own weights and options, small networks, float64, three steps: the loss, the gradient of every parameter
and what is kept between steps. The random numbers of a step (slices, shuffles) are the recipe's.
"""

import copy
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_zoo.batch import Batch
from ssl_zoo.methods.build import build
from ssl_zoo.methods.method import Method
from ssl_zoo.recipe.load import method_names, recipe_path
from ssl_zoo.recipe.model import Recipe, parse
from ssl_zoo.recipe.part import AnyPart, Part, PerMember
from ssl_zoo.rng import generator
from tests.distributed.parity import whole_batch
from tests.tiny import batch_of, narrow, small, tiny_encoder, tiny_views

STEPS, RUN = 3, 20
"""Steps that are compared, and steps of the run that they are the first of."""
PARTS = ("encoder", "projector", "predictor", "local_projector")
COVERED: set[str] = set()

EXERCISED = {  # options of a small version for which sizes would otherwise leave something out
    "vibcreg": {"projector": {"dims": [8, 8, 128]}},  # two channels in each of the 64 groups
    "vicregl": {"location_matches": 3},  # of 16 places
    "w_mse": {"objective": {"sub_batch": 8, "eps": 1e-6}},  # three sub-batches
    "data2vec": {"encoder": {"depth": 3}},  # targets of two blocks of three
}


def small_recipe(name: str) -> Recipe:
    raw = small(name).dump()
    for section, options in EXERCISED.get(name, {}).items():
        if isinstance(options, dict):
            (raw[section][0] if isinstance(raw[section], list) else raw[section]).update(options)
        else:
            raw[section] = options
    return parse(raw, name)


def sizes(recipe: Recipe) -> dict[str, Any]:
    """What an oracle cannot know, because only the small version has it."""
    if recipe.kind == "masked":
        return sizes_of_transformers(recipe)
    projector, predictor = (alone(head).options for head in (recipe.projector, recipe.predictor))
    found = {"dims": projector["dims"]}
    if "num" in projector:
        found["prototypes"] = projector["num"]
    if "dims" in predictor:
        found["predictor"] = predictor["dims"]
    if "size" in recipe.pairing.options:
        found["queue"] = recipe.pairing.options["size"]
    if recipe.kind == "local":
        found |= {"local": recipe.local_projector.options["dims"], "gamma": recipe.location_matches}
    return found


def sizes_of_transformers(recipe: Recipe) -> dict[str, Any]:
    encoder, predictor = recipe.encoder.options, recipe.predictor.options
    found = {key: encoder[key] for key in ("depth", "heads")}
    found["patch"] = [encoder[key] for key in ("frames", "patch", "patch") if key in encoder]
    if predictor.get("depth"):
        found["predictor"] = [predictor[key] for key in ("width", "depth", "heads")]
    else:
        found["blocks"] = recipe.target_blocks
    return found


def hidden_places(ours: Any, batch: Batch) -> list[Any]:
    """What each mask hides of each sample: its visible places, and the sets of places to predict."""

    def places(row: Tensor) -> list[int]:
        return [place for place in row.tolist() if place >= 0]

    masks = ours.masks(batch.index, ours.encoder.grid(batch.views[0]))
    return [[(places(k), list(map(places, p))) for k, p in zip(*mask[:2], strict=True)] for mask in masks]


def alone(part: AnyPart) -> Part:
    """A part, or that of the members, which are alike."""
    return next(iter(part.parts.values())) if isinstance(part, PerMember) else part


def weights(module: nn.Module) -> dict[str, Tensor]:
    """Weights and BatchNorm's running statistics; not those of IterNorm, which no loss depends on."""
    return {key: value for key, value in module.state_dict().items() if not key.endswith((".mean", ".whitening"))}


def make_pair(name: str, **changes: Any) -> tuple[Recipe, Method, nn.Module]:
    """The recipe's method and the oracle, with equal weights, and a target network that is not the online one."""
    recipe = small_recipe(name)
    ours = build(recipe).double()
    module = import_module(f"tests.oracles.{name}")
    options = {**sizes(recipe), **changes}
    oracle = module.Oracle(copy.deepcopy(ours.encoder), ours.encoder.out_dim, **options).double()
    for part in PARTS:
        if hasattr(oracle, part):
            source, goal = weights(getattr(ours, part)), weights(getattr(oracle, part))
            assert [v.shape for v in source.values()] == [v.shape for v in goal.values()], f"{part}: another structure"
            getattr(oracle, part).load_state_dict(dict(zip(goal, source.values(), strict=True)))
    if hasattr(oracle, "mask_token"):
        oracle.mask_token.data.copy_(ours.mask_token.data)
    if list(ours.target.parameters()):
        oracle.start_target()
        with torch.no_grad():
            for a, b in zip(ours.target.parameters(), oracle.target.parameters(), strict=True):
                a.add_(0.1 * torch.sin(torch.arange(a.numel(), dtype=a.dtype)).view_as(a))
                b.copy_(a)
    return recipe, ours, oracle


def loss_of(oracle: nn.Module, ours: Method, batch: Batch) -> Tensor:
    """The oracle's loss of a batch, with the random numbers that the recipe has in this step."""
    crops = [v.data for v in batch.views if v.role == "local"]
    given: dict[str, Any] = {"crops": crops} if crops else {}
    for term in ours.objective.terms.values():
        if hasattr(term, "directions"):
            given["directions"] = term.directions(torch.zeros(1, ours.projector.out_dim, dtype=torch.float64))
        if hasattr(term, "sub_batch"):
            n = len(batch.views[0].data)
            shuffled = torch.randperm(n, generator=generator(term.seed, "whitening", int(term.step), 0))
            given["sub_batches"] = shuffled.tensor_split(n // term.sub_batch)
    if hasattr(ours, "local_projector"):
        boxes = [v.aux["box"] for v in batch.views]  # (B, 3, 2): start, extent, mirrored
        given["geometry"] = [torch.cat([box[:, 0], box[:, 1], box[:, 2, 1:]], dim=1) for box in boxes]
    if hasattr(ours, "masks"):
        given["hidden"] = hidden_places(ours, batch)
    return oracle.loss([v.data for v in batch.views if v.role == "global"], **given)


def the_queue(ours: Method) -> Tensor:
    """The queue of a recipe, the oldest entry first."""
    pairing, seen = ours.pairing, int(ours.pairing.seen)
    return pairing.queue[:seen] if seen < pairing.size else pairing.queue.roll(-(seen % pairing.size), 0)


def of_term(name: str) -> Callable[[Method], Any]:
    return lambda ours: ours.objective.terms[name]


STATE: dict[str, dict[str, Callable[[Method], Any]]] = {  # attribute of the oracle -> the same in the recipe
    "corinfomax": {
        "mu": lambda m: [x.value for x in of_term("log_det_covariance")(m).mean],
        "r": lambda m: [x.value for x in of_term("log_det_covariance")(m).covariance],
    },
    "dino": {
        "centre": lambda m: of_term("centred_cross_entropy")(m).centre.value,
        "tau_t": lambda m: of_term("centred_cross_entropy")(m).sharpness().item(),
    },
    "directcopy": {"correlation": lambda m: m.predictor.correlation, "weight": lambda m: m.predictor.weight},
    "directpred": {"correlation": lambda m: m.predictor.correlation, "weight": lambda m: m.predictor.weight},
    "nnbyol": {"queue": the_queue},
    "nnsiam": {"queue": the_queue},
    "tico": {"c": lambda m: of_term("covariance_contrast")(m).covariance.value},
}


def close(mine: Tensor, theirs: Tensor, what: str, scale: float = 0.0) -> None:
    """Equal but for rounding in float64; what is zero by mathematics is compared on the scale of its neighbours."""
    scale = max(scale, theirs.abs().max().item())
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-9 * max(scale, 1e-3), msg=lambda text: f"{what}: {text}")


def compare(name: str, **changes: Any) -> int:
    """Train both for three steps, comparing everything, and return how many gradients were compared."""
    recipe, ours, oracle = make_pair(name, **changes)
    optimizers = [torch.optim.SGD([p for p in m.parameters() if p.requires_grad], lr=1e-3) for m in (ours, oracle)]
    compared = 0
    for step in range(STEPS):
        batch = whole_batch(recipe, torch.float64, seed=step)
        loss, expected = ours(batch).loss, loss_of(oracle, ours, batch)
        close(loss, expected, f"loss of step {step}")
        for optimizer, value in zip(optimizers, (loss, expected), strict=True):
            optimizer.zero_grad()
            value.backward()
        largest = max(p.grad.abs().max().item() for p in oracle.parameters() if p.grad is not None)
        for part in PARTS:
            if not hasattr(oracle, part):
                assert not list(getattr(ours, part, nn.Identity()).parameters()), part
                continue
            mine = dict(getattr(ours, part).named_parameters())
            for key, theirs in zip(mine, getattr(oracle, part).parameters(), strict=True):
                close(mine[key].grad, theirs.grad, f"gradient of {part}.{key} in step {step}", largest)
                compared += 1
        if hasattr(oracle, "mask_token"):
            close(ours.mask_token.grad, oracle.mask_token.grad, f"gradient of the mask token in step {step}", largest)
            compared += 1
        assert all(p.grad is None for p in ours.target.parameters())
        for optimizer in optimizers:
            optimizer.step()
        ours.after_step((step + 1) / RUN)
        oracle.after_step((step + 1) / RUN)
        compare_state(name, ours, oracle, step)
    assert compared == STEPS * sum(p.requires_grad for p in ours.parameters())
    return compared


def compare_state(name: str, ours: Method, oracle: nn.Module, step: int) -> None:
    kept = STATE.get(name, {})
    for attribute, of in kept.items():
        mine, theirs = of(ours), getattr(oracle, attribute)
        pairs = zip(mine, theirs, strict=True) if isinstance(mine, list) else [(mine, theirs)]
        for a, b in pairs:
            a, b = (torch.as_tensor(x, dtype=torch.float64) for x in (a, b))
            close(a, b, f"{attribute} after step {step}")
    modules = [(getattr(ours, part), getattr(oracle, part)) for part in PARTS if hasattr(oracle, part)]
    if list(ours.target.parameters()):
        modules += zip(ours.target.network.children(), oracle.target, strict=True)
    for mine, theirs in modules:
        for (key, a), b in zip(weights(mine).items(), weights(theirs).values(), strict=True):
            close(a.double(), b.double(), f"{key} after step {step}", 1.0)


@pytest.mark.parametrize("name", method_names())
def test_loss_gradients_and_state_are_the_papers(name: str) -> None:
    assert compare(name) >= STEPS * 10
    head = [line for line in recipe_path(name).read_text().splitlines() if line.startswith("#")]
    assert f"# Plain torch: tests/oracles/{name}.py" in head
    COVERED.add(name)


def test_every_recipe_has_an_oracle() -> None:
    files = sorted((Path(__file__).parents[1] / "oracles").glob("*.py"))
    assert {path.stem for path in files} - {"networks"} == COVERED == set(method_names()) and len(COVERED) >= 29
    assert not [path.name for path in files if "ssl_zoo" in path.read_text()], "an oracle knows nothing of the package"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("barlow_twins", {"lambd": 0.005}),
        ("byol", {"tau": 0.99}),
        ("corinfomax", {"la": 0.01}),
        ("data2vec", {"blocks": 1}),
        ("data2vec", {"beta": 1.0}),
        ("dino", {"momentum": 0.8}),
        ("dino", {"warmup": 0.2}),
        ("directpred", {"eps": 0.1}),
        ("frossl", {"invariance": 0.5}),
        ("i_jepa", {"tau": 0.99}),
        ("i_jepa", {"beta": 0.5}),
        ("lejepa", {"lambd": 0.02}),
        ("nnsiam", {"queue": 39}),
        ("simsiam_variance", {"mu": 0.5}),
        ("swav", {"eps": 0.06}),
        ("tico", {"beta": 0.95}),
        ("v_jepa", {"beta": 0.5}),
        ("vibcreg", {"groups": 32}),
        ("vicreg", {"nu": 2}),
        ("vicregl", {"alpha": 0.9}),
        ("vicregl", {"beta": 0.125}),  # the authors' first release
        ("w_mse", {"eps": 1e-5}),
    ],
    ids=str,
)
def test_another_number_in_the_oracle_is_noticed(name: str, changes: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="(of|after) step|in step"):
        compare(name, **changes)


@pytest.mark.parametrize("target", ["stop_gradient", "ema"])
def test_the_target_branch_gets_exactly_no_gradient(target: str) -> None:
    method = build(narrow("simsiam", [f"target={target}", "pairing=one_way"]), encoder=tiny_encoder()).double()
    x1, x2 = (x.requires_grad_() for x in tiny_views())
    method(batch_of(x1, x2)).loss.backward()
    assert x1.grad is not None and x1.grad.abs().sum() > 0
    assert x2.grad is None or x2.grad.abs().max() == 0


def test_without_stop_gradient_both_branches_get_gradient() -> None:
    method = build(narrow("simsiam", ["target=shared", "pairing=one_way"]), encoder=tiny_encoder()).double()
    x1, x2 = (x.requires_grad_() for x in tiny_views())
    method(batch_of(x1, x2)).loss.backward()
    assert x1.grad.abs().sum() > 0 and x2.grad.abs().sum() > 0


def test_simsiam_branches_are_one_module() -> None:
    method = build(narrow("simsiam"), encoder=tiny_encoder())
    assert not list(method.target.parameters())
    names = [name for name, _ in method.named_parameters(remove_duplicate=False)]
    assert {name.partition(".")[0] for name in names} == {"encoder", "projector", "predictor"}
