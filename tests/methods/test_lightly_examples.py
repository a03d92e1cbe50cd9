"""The training loops of lightly's examples for SimSiam, BYOL, Barlow Twins and VICReg, and the recipes that equal them.

From the same weights and views, in float32, ten steps of SGD at the examples' learning rate. A loop is written as
lightly's documentation teaches it, with its heads, losses and momentum update, on a small backbone.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_zoo.batch import Batch, View
from ssl_zoo.methods.build import build
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.recipe.model import Recipe, parse
from ssl_zoo.rng import generator

STEPS, LR, EPOCHS = 10, 0.06, 10
WIDTH, HIDDEN, OUT, BOTTLENECK = 16, 24, 12, 6

MLP = {"name": "mlp", "bias": False, "last_bias": True}
RECIPES: dict[str, dict[str, Any]] = {
    "simsiam": {
        "projector": {**MLP, "dims": [HIDDEN, HIDDEN, OUT], "last_norm": "batch", "last_bias": False,
                      "last_affine": False},
        "predictor": {**MLP, "dims": [BOTTLENECK, OUT]},
    },
    "byol": {
        "projector": {**MLP, "dims": [HIDDEN, OUT]},
        "predictor": {**MLP, "dims": [HIDDEN, OUT]},
        "pairing": {"name": "all_pairs", "reduce": "mean"},
        "objective": "negative_cosine",
    },
    "barlow_twins": {
        "projector": {**MLP, "dims": [HIDDEN, HIDDEN, OUT]},
        "objective": "lightly/BarlowTwinsLoss",
    },
    "vicreg": {
        "projector": {**MLP, "dims": [HIDDEN, HIDDEN, OUT]},
        "objective": "lightly/VICRegLoss",
    },
}  # fmt: skip
"""What a recipe changes in the shipped method, to be lightly's example."""

THEIR_PARTS: dict[str, dict[str, Any]] = {
    "simsiam": {
        "projector": {"name": "lightly/SimSiamProjectionHead", "hidden_dim": HIDDEN, "output_dim": OUT},
        "predictor": {"name": "lightly/SimSiamPredictionHead", "hidden_dim": BOTTLENECK, "output_dim": OUT},
        "objective": "lightly/NegativeCosineSimilarity",
    },
    "byol": {
        "projector": {"name": "lightly/BYOLProjectionHead", "hidden_dim": HIDDEN, "output_dim": OUT},
        "predictor": {"name": "lightly/BYOLPredictionHead", "hidden_dim": HIDDEN, "output_dim": OUT},
        "pairing": {"name": "all_pairs", "reduce": "mean"},
        "objective": "lightly/NegativeCosineSimilarity",
    },
    "barlow_twins": {
        "projector": {"name": "lightly/BarlowTwinsProjectionHead", "hidden_dim": HIDDEN, "output_dim": OUT},
        "objective": "lightly/BarlowTwinsLoss",
    },
    "vicreg": {
        "projector": {"name": "lightly/BarlowTwinsProjectionHead", "hidden_dim": HIDDEN, "output_dim": OUT},
        "objective": "lightly/VICRegLoss",
    },
}
"""The same with lightly's heads and losses in the recipe."""


def backbone() -> nn.Module:
    torch.manual_seed(0)
    body: Any = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, WIDTH, 3, 2), nn.BatchNorm2d(WIDTH), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    body.out_dim = WIDTH
    return body


def views() -> list[tuple[Tensor, Tensor]]:
    """Two noisy copies of each of 32 images, another batch in each step."""
    found = []
    for step in range(STEPS):
        g = generator(step, "examples")
        x = torch.randn(32, 3, 12, 12, generator=g) + torch.randn(32, 3, 1, 1, generator=g)
        found.append((x + 0.5 * torch.randn(x.shape, generator=g), x + 0.5 * torch.randn(x.shape, generator=g)))
    return found


class Example(nn.Module):
    """The model of one of lightly's examples."""

    def __init__(self, name: str) -> None:
        from lightly.models.modules import heads

        super().__init__()
        self.backbone = backbone()
        if name == "simsiam":
            self.projection_head = heads.SimSiamProjectionHead(WIDTH, HIDDEN, OUT)
            self.prediction_head = heads.SimSiamPredictionHead(OUT, BOTTLENECK, OUT)
        elif name == "byol":
            self.projection_head = heads.BYOLProjectionHead(WIDTH, HIDDEN, OUT)
            self.prediction_head = heads.BYOLPredictionHead(OUT, HIDDEN, OUT)
        else:
            self.projection_head = heads.BarlowTwinsProjectionHead(WIDTH, HIDDEN, OUT)

    def forward(self, x: Tensor) -> Tensor:
        return self.projection_head(self.backbone(x))


def simsiam_step(model: Example) -> Callable[[Tensor, Tensor], Tensor]:
    from lightly.loss import NegativeCosineSimilarity

    criterion = NegativeCosineSimilarity()

    def step(x0: Tensor, x1: Tensor) -> Tensor:
        z0, z1 = model(x0), model(x1)
        p0, p1 = model.prediction_head(z0), model.prediction_head(z1)
        return 0.5 * (criterion(z0.detach(), p1) + criterion(z1.detach(), p0))

    return step


def byol_step(model: Example) -> Callable[[Tensor, Tensor], Tensor]:
    from lightly.loss import NegativeCosineSimilarity
    from lightly.models.utils import deactivate_requires_grad, update_momentum
    from lightly.utils.scheduler import cosine_schedule

    criterion = NegativeCosineSimilarity()
    slow_backbone, slow_head = copy.deepcopy(model.backbone), copy.deepcopy(model.projection_head)
    for slow in (slow_backbone, slow_head):
        deactivate_requires_grad(slow)
    momentum = cosine_schedule(0, EPOCHS, 0.996, 1)  # of the first epoch, in which all steps are

    def step(x0: Tensor, x1: Tensor) -> Tensor:
        update_momentum(model.backbone, slow_backbone, m=momentum)
        update_momentum(model.projection_head, slow_head, m=momentum)
        p0, z0 = model.prediction_head(model(x0)), slow_head(slow_backbone(x0)).detach()
        p1, z1 = model.prediction_head(model(x1)), slow_head(slow_backbone(x1)).detach()
        return 0.5 * (criterion(p0, z1) + criterion(p1, z0))

    return step


def barlow_twins_step(model: Example) -> Callable[[Tensor, Tensor], Tensor]:
    from lightly.loss import BarlowTwinsLoss

    criterion = BarlowTwinsLoss()
    return lambda x0, x1: criterion(model(x0), model(x1))


def vicreg_step(model: Example) -> Callable[[Tensor, Tensor], Tensor]:
    from lightly.loss import VICRegLoss

    criterion = VICRegLoss()
    return lambda x0, x1: criterion(model(x0), model(x1))


EXAMPLES = {"simsiam": simsiam_step, "byol": byol_step, "barlow_twins": barlow_twins_step, "vicreg": vicreg_step}


def trained(parameters: Any, step: Callable[[Tensor, Tensor], Tensor], after: Callable[[], None]) -> Tensor:
    """Return the losses of the steps."""
    optimizer, losses = torch.optim.SGD(parameters, lr=LR), []
    for x0, x1 in views():
        loss = step(x0, x1)
        losses.append(loss.detach())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        after()
    return torch.stack(losses)


def recipe_of(name: str, changes: dict[str, Any]) -> Recipe:
    return parse({**load_recipe(name).dump(), **changes}, name)


def ours(recipe: Recipe, model: Example) -> Tensor:
    """Return the losses of a recipe's method from the example's weights."""
    heads = {"projector": model.projection_head}
    if hasattr(model, "prediction_head"):
        heads["predictor"] = model.prediction_head
    names = build(recipe, encoder=copy.deepcopy(model.backbone))
    weights = {
        part: dict(zip(getattr(names, part).state_dict(), head.state_dict().values(), strict=True))
        for part, head in heads.items()
    }
    method = build(recipe, encoder=copy.deepcopy(model.backbone), weights=weights)
    return trained(
        [weight for weight in method.parameters() if weight.requires_grad],
        lambda x0, x1: method(Batch([View(x0), View(x1)])).loss,
        lambda: method.after_step(0.0),  # progress in epochs, as lightly's momentum
    )


@pytest.fixture(scope="module")
def examples() -> dict[str, tuple[Example, Tensor]]:
    """{name: (the model before, the losses of the example's loop)}."""
    result = {}
    for name, make in EXAMPLES.items():
        model = Example(name)
        start = copy.deepcopy(model)
        result[name] = start, trained(model.parameters(), make(model), lambda: None)
    return result


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("changes", [RECIPES, THEIR_PARTS], ids=["our heads", "their heads"])
def test_the_losses_of_ten_steps_are_those_of_the_example(
    examples: dict[str, tuple[Example, Tensor]], changes: dict[str, dict[str, Any]], name: str
) -> None:
    start, expected = examples[name]
    losses = ours(recipe_of(name, changes[name]), start)
    assert len(expected) == STEPS and (expected[1:] != expected[:-1]).all()
    assert (losses - expected).abs().max() <= 1e-6


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("byol", {"target": {"name": "ema", "momentum": 0.99}}),
        ("byol", {"target": "stop_gradient"}),
        ("simsiam", {"projector": {**RECIPES["simsiam"]["projector"], "last_affine": True}}),
        ("barlow_twins", {"objective": {"name": "lightly/BarlowTwinsLoss", "lambda_param": 0.0051}}),
    ],
    ids=["momentum", "target", "affine", "lambda"],
)
def test_another_recipe_is_noticed(
    examples: dict[str, tuple[Example, Tensor]], name: str, changes: dict[str, Any]
) -> None:
    start, expected = examples[name]
    if "projector" in changes:
        with pytest.raises(ValueError, match="zip"):  # it has weights that the example's head does not have
            ours(recipe_of(name, {**RECIPES[name], **changes}), start)
        return
    losses = ours(recipe_of(name, {**RECIPES[name], **changes}), start)
    assert (losses - expected).abs().max() > 1e-5


def test_our_vicreg_terms_are_the_same_formula(examples: dict[str, tuple[Example, Tensor]]) -> None:
    """The first loss, from equal weights; later ones are further apart, as rounding grows with training."""
    start, expected = examples["vicreg"]
    terms = load_recipe("vicreg").dump()["objective"]
    losses = ours(recipe_of("vicreg", {**RECIPES["vicreg"], "objective": terms}), start)
    torch.testing.assert_close(losses[0], expected[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=0)


def test_our_barlow_twins_term_differs_by_the_epsilon_of_their_norm(
    examples: dict[str, tuple[Example, Tensor]],
) -> None:
    """It divides by the standard deviation itself; theirs by the root of the variance and 1e-5."""
    start, expected = examples["barlow_twins"]
    own = {"name": "cross_correlation", "off_diagonal": 0.005}
    losses = ours(recipe_of("barlow_twins", {**RECIPES["barlow_twins"], "objective": own}), start)
    assert 1e-6 < (losses[0] / expected[0] - 1).abs() < 1e-2
