"""The runs of the study: methods, data sets and settings, good ones and bad ones, all with the same small encoder."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.recipe.model import Recipe, parse
from ssl_zoo.recipe.overrides import put, split

CIFAR = "../shared/data/cifar10-small.zip"
"""5,000 and 1,000 photographs of CIFAR-10 in folders by class, in a zip."""

DIGITS = {"channels": 1, "flip": 0.0, "jitter": 1.0, "brightness": 0.6, "contrast": 0.0, "saturation": 0.0, "hue": 0.0,
          "grey": 0.0, "blur": 0.0, "solarise": 0.0, "mean": [0.5], "std": [0.5]}  # fmt: skip
"""Options of the views of digits: what is undone is what was done to them."""

METHODS = ("simsiam", "byol", "barlow_twins", "vicreg", "dino")
DATA = ("digits", "cifar10")
RATES = {"as it is": 1.0, "lr x1000": 1000.0, "lr x0.1": 0.1, "lr x10": 10.0}

BROKEN = {
    "simsiam": ("predictor=identity",),
    "byol": ("predictor=identity", "target=shared"),
    "barlow_twins": ("objective=[{name: cross_correlation, off_diagonal: 0}]",),
    "vicreg": ("objective=[{name: mse, weight: 25}, {name: covariance, weight: 1}]",),
    "dino": ("objective=[{name: centred_cross_entropy, momentum: 1.0, target_temperature: 0.04}]",),
}
"""What takes away from a method what keeps it from collapsing."""

WEAK = ("views.scale=[0.8, 1.0]", "views.brightness=0.1")
STRONG = ("views.scale=[0.05, 0.3]",)


@dataclass(frozen=True)
class Setting:
    """A run.

    Attributes:
        method: whose small CIFAR-10 recipe is the base.
        data: `digits` or `cifar10`.
        change: name of what was done to the recipe.
        overrides: what was done.
        rate: factor of the learning rate.
        steps: of the run.
        seed: of the run.
    """

    method: str
    data: str
    change: str
    overrides: tuple[str, ...] = ()
    rate: float = 1.0
    steps: int = 120
    seed: int = 0

    @property
    def name(self) -> str:
        """A name that is unique."""
        return f"{self.data}, {self.method}, {self.change}, seed {self.seed}"

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """The steps at which features are measured, the untrained encoder's first."""
        return (0, self.steps // 8, self.steps // 3, self.steps)

    def recipe(self) -> Recipe:
        """Return the recipe."""
        raw: dict[str, Any] = load_recipe(f"cifar10/{self.method}", variant="small").dump()
        if self.data == "digits":
            raw["data"]["source"] = {"name": "digits"}
            raw["views"] |= DIGITS
        else:
            raw["data"]["source"] = {"name": "zip", "path": CIFAR}
        raw["views"]["size"] = 20
        raw["encoder"]["widths"] = [12, 24, 48]
        training = raw["training"]
        training |= {"batch_size": 64, "max_steps": self.steps, "precision": "fp32"}
        training["base_lr"] *= self.rate
        training["schedule"] = {"name": "cosine", "warmup_epochs": 0}
        raw["data"]["num_workers"], raw["seed"] = 0, self.seed
        for override in self.overrides:
            put(raw, *split(override))
        return parse(raw, self.name, self.overrides)


def settings() -> list[Setting]:
    """Return all runs, in an order in which any first part of them has all kinds."""
    rates = [(name, (), rate) for name, rate in RATES.items()]
    changes: list[tuple[str, tuple[str, ...], float]] = rates[:2]
    changes += [("broken", (), 1.0), ("weight decay x1000", (), 1.0)]
    changes += [("weak views", WEAK, 1.0), ("strong views", STRONG, 1.0), *rates[2:]]
    found = [
        Setting(method, data, name, BROKEN[method] if name == "broken" else _decay(method, name) or overrides, rate)
        for (name, overrides, rate), method, data in product(changes, METHODS, DATA)
    ]
    found.insert(10, Setting("simsiam", "cifar10", "300 steps", steps=300))
    return found + [Setting(m, d, "as it is", seed=1) for m, d in product(METHODS, DATA)]


def _decay(method: str, change: str) -> tuple[str, ...]:
    """Return the override of a thousand times the weight decay."""
    if change != "weight decay x1000":
        return ()
    return (f"training.optimizer.weight_decay={40 if method == 'dino' else 0.5}",)
