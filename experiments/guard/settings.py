"""The runs that the collapse guard is calibrated and tested on: forced collapses, and whole methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.recipe.model import Recipe, parse
from ssl_zoo.recipe.overrides import put, split

QUICK, FASTER = ("simsiam", "byol", "fastsiam", "nnsiam", "nnbyol"), 3.0
"""Methods whose rates are made for longer runs, and what they are multiplied by."""


@dataclass(frozen=True)
class Setting:
    """A run.

    Attributes:
        method: whose small variant is trained.
        forced: what was done to it; empty for a whole method.
        kinds: kinds of collapse that are right for it; any of them.
        change: overrides that do it.
        data: `digits`, `speech` or `pairs`.
        seed: an even one for calibration, an odd one for the test.
        cap: the widest head.
        batch: of a step.
        steps: of the run.
    """

    method: str
    forced: str
    kinds: tuple[str, ...]
    change: tuple[str, ...]
    data: str
    seed: int
    cap: int = 64
    batch: int = 64
    steps: int = 200

    @property
    def name(self) -> str:
        """A name that is unique."""
        change = self.forced.replace(",", "").replace(" ", "-") or ("fixed-predictor" if self.change else "whole")
        return f"{self.method}.{change}.{self.data}.w{self.cap}.b{self.batch}.n{self.steps}.s{self.seed}"

    @property
    def held_out(self) -> bool:
        """Whether the run was not used to choose limits."""
        return self.seed % 2 == 1

    def recipe(self) -> Recipe:
        """Return the recipe of the run: the small variant of the method, with narrow heads, for tiny images."""
        pairs = self.data == "pairs"
        reference = f"digits_and_speech/{self.method}" if pairs else f"cifar10/{self.method}"
        raw = _narrowed(load_recipe(reference, variant=None if pairs else "small").dump(), self.cap)
        if not pairs:
            num = 4 if raw["views"]["name"] == "multi_crop" else raw["views"]["num_views"]
            raw["views"] = {"name": "augment", "num_views": num, "size": 8, "channels": 1, "mean": [0.5],
                            "std": [0.5]}  # fmt: skip
        faster = FASTER if self.method.startswith(QUICK) else 1.0
        lr = faster * raw["training"]["base_lr"] * min(1.0, self.batch / 64)
        raw["training"] |= {"batch_size": self.batch, "max_steps": self.steps, "base_lr": lr, "precision": "fp32"}
        raw["training"]["schedule"] = {"name": "constant"}
        raw["seed"] = self.seed
        if "size" in raw.get("pairing", {}):
            raw["pairing"]["size"] = 512
        if raw["objective"][0]["name"] == "whitened_mse":
            raw["objective"][0] |= {"sub_batch": min(self.batch, 2 * self.cap), "eps": 0.01}
        return load_changed(raw, self.change, self.name)


def load_changed(raw: dict[str, Any], change: Sequence[str], where: str) -> Recipe:
    """Return plain data as a recipe, with overrides."""
    for override in change:
        put(raw, *split(override))
    return parse(raw, where, change)


def _narrowed(value: Any, cap: int, key: str = "") -> Any:
    """Return a recipe with narrow heads; widths that have to agree go on to do so."""
    if isinstance(value, dict):
        return {name: _narrowed(each, cap, name) for name, each in value.items()}
    if isinstance(value, list):
        return [_narrowed(each, cap, "dim" if key == "dims" else "") for each in value]
    if key in ("dim", "num") and isinstance(value, int):
        return min(cap, max(cap // 4, value // 4))
    return value


METHODS = (
    "barlow_twins", "byol", "byol_variance", "byol_variance_covariance", "corinfomax", "dino", "directcopy",
    "directpred", "emp_ssl", "fastsiam", "frossl", "lejepa", "mmcr", "nnbyol", "nnsiam", "simdino", "simsiam",
    "simsiam_variance", "simsiam_variance_covariance", "swav", "tico", "vibcreg", "vicreg", "visreg", "w_mse",
)  # fmt: skip
"""Methods that compare whole views and need no maps."""

POINT = ("complete",)
LINE = ("dimensional", "complete")  # a projector that ends in BatchNorm cannot become a point: it becomes a line
CLUSTERS = ("cluster", "complete")
SHARED, LOW, HIGH = "target=shared", "training.base_lr=0.01", "training.base_lr=1000"
NO_CENTRE = "objective=[{name: centred_cross_entropy, momentum: 1.0, target_temperature: 0.04}]"
UNIFORM = "objective=[{name: centred_cross_entropy, target_temperature: 1.0}]"
DECAY = "training.optimizer.weight_decay=%s"
TOO_SLOW = "training.base_lr=1e-9"

FORCED: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...], dict[str, Any]], ...] = (
    ("simsiam", "no stop-gradient", LINE, (SHARED,), {}),
    ("simsiam", "no stop-gradient", LINE, (SHARED,), {"cap": 8}),
    ("simsiam", "no stop-gradient", LINE, (SHARED,), {"batch": 4, "steps": 300}),
    ("simsiam", "no stop-gradient", LINE, (SHARED,), {"batch": 2, "steps": 400}),
    ("simsiam", "no stop-gradient, low rate", LINE, (SHARED, LOW), {"steps": 400}),
    ("simsiam", "no predictor", LINE, ("predictor=identity",), {}),
    ("simsiam", "neither", LINE, ("predictor=identity", SHARED), {"steps": 90}),
    ("simsiam", "huge weight decay", LINE, (DECAY % 2.0,), {}),
    ("simsiam", "huge rate", ("divergence", "non-finite"), (HIGH,), {}),
    ("simsiam", "too low a rate", ("no learning",), (TOO_SLOW,), {}),
    ("simsiam", "constant target", LINE, ("target=constant",), {}),
    ("byol", "no moving average", POINT, (SHARED,), {"steps": 90}),
    ("byol", "no moving average", POINT, (SHARED,), {"cap": 8}),
    ("byol", "no moving average", POINT, (SHARED,), {"batch": 4, "steps": 300}),
    ("byol", "no moving average, low rate", POINT, (SHARED, LOW), {"steps": 400}),
    ("byol", "no predictor", POINT, ("predictor=identity",), {}),
    ("byol", "huge rate", ("divergence", "non-finite"), (HIGH,), {}),
    ("byol", "constant target", POINT, ("target=constant",), {}),
    ("fastsiam", "no stop-gradient", LINE, (SHARED,), {}),
    ("vicreg", "no variance", POINT, ("objective.variance.weight=0",), {}),
    ("vicreg", "no variance", POINT, ("objective.variance.weight=0",), {"cap": 8}),
    ("vicreg", "no variance", POINT, ("objective.variance.weight=0",), {"batch": 4, "steps": 300}),
    ("vicreg", "no variance", POINT, ("objective.variance.weight=0",), {"batch": 2, "steps": 400}),
    ("vicreg", "no variance, 90 steps", POINT, ("objective.variance.weight=0",), {"steps": 90, "cap": 32}),
    ("vicreg", "invariance alone", POINT, ("objective=[{name: mse, weight: 25.0}]",), {}),
    ("vicreg", "no covariance", LINE, ("objective.covariance.weight=0",), {"steps": 200}),
    ("vicreg", "huge rate", ("divergence", "non-finite"), (HIGH,), {}),
    ("vicreg", "huge weight decay", POINT, (DECAY % 20.0,), {}),
    ("vicreg", "too low a rate", ("no learning",), (TOO_SLOW,), {}),
    ("barlow_twins", "no redundancy term", LINE, ("objective.cross_correlation.off_diagonal=0",), {"steps": 200}),
    ("barlow_twins", "huge rate", ("divergence", "non-finite"), (HIGH,), {}),
    ("barlow_twins", "too low a rate", ("no learning",), (TOO_SLOW,), {}),
    ("tico", "no covariance", LINE, ("objective.covariance_contrast.weight=0",), {}),
    ("tico", "no covariance", LINE, ("objective.covariance_contrast.weight=0",), {"cap": 8}),
    ("tico", "no covariance", LINE, ("objective.covariance_contrast.weight=0",), {"batch": 4, "steps": 300}),
    ("emp_ssl", "no coding rate", LINE, ("objective.coding_rate.weight=0",), {}),
    ("corinfomax", "no log-det", LINE, ("objective.log_det_covariance.weight=0",), {}),
    ("simdino", "no coding rate", LINE, ("objective.coding_rate.weight=0", SHARED), {}),
    ("lejepa", "no SIGReg", LINE, ("objective.sliced_characteristic.weight=0",), {}),
    ("visreg", "pull alone", LINE,
     ("objective.unit_scale.weight=0", "objective.sliced_wasserstein.weight=0", "objective.centre.weight=0"),
     {}),
    ("frossl", "no spread", POINT, ("objective.log_frobenius.weight=0",), {}),
    ("dino", "no centring", CLUSTERS, (NO_CENTRE, SHARED), {}),
    ("dino", "no centring, average kept", CLUSTERS, (NO_CENTRE,), {"steps": 200}),
    ("dino", "no sharpening", CLUSTERS, (UNIFORM,), {"steps": 200}),
    ("swav", "no Sinkhorn", CLUSTERS, (NO_CENTRE,), {"steps": 200}),
)  # fmt: skip

PAIRS: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("simsiam", "no stop-gradient", LINE, (SHARED,)),
    ("vicreg", "no pull", ("apart",), ("objective.mse.weight=0.001",)),
    ("byol", "no moving average", LINE, (SHARED,)),
)

FIXED_PREDICTOR = "training.groups=[{of: [predictor], frozen_epochs: 1000}]"
"""Table 1 (b) of the SimSiam paper: no collapse, though nothing is learned by it there."""

SMALL_BATCHES = ("simsiam", "byol", "vicreg", "barlow_twins", "tico", "simsiam_variance", "swav", "lejepa")
NARROW = ("simsiam", "byol", "vicreg", "barlow_twins", "tico", "dino", "vibcreg", "frossl")


HALVES = (("digits", 0), ("speech", 1), ("speech", 0), ("digits", 1))
"""Data set and seed of settings in turn: each half has both data sets."""


def forced(turn: int) -> Iterator[Setting]:
    """Yield the forced collapses once, each on one of the data sets and in one of the halves; turn 0 or 1."""
    for number, (method, what, kinds, change, options) in enumerate(FORCED):
        data, seed = HALVES[(number + turn) % 4]
        yield Setting(method, what, kinds, change, data, seed, **options)
    for number, (method, what, kinds, change) in enumerate(PAIRS):
        yield Setting(method, what, kinds, change, "pairs", (number + turn) % 2)


def whole(turn: int) -> Iterator[Setting]:
    """Yield the whole methods in the same way."""
    options: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [(method, (), {}) for method in METHODS]
    options += [(method, (), {"batch": 4, "steps": 300}) for method in SMALL_BATCHES]
    options += [(method, (), {"cap": 8}) for method in NARROW]
    options += [("simsiam", (FIXED_PREDICTOR,), {}), ("simsiam", (), {"batch": 2, "steps": 400})]
    options += [("vicreg", (), {"batch": 2, "steps": 400}), ("simsiam", (), {"steps": 90})]
    for number, (method, change, more) in enumerate(options):
        data, seed = HALVES[(number + turn) % 4]
        yield Setting(method, "", (), change, data, seed, **more)
    for number, method in enumerate(("simsiam", "byol", "vicreg", "barlow_twins")):
        yield Setting(method, "", (), (), "pairs", (number + turn) % 2)


def settings() -> list[Setting]:
    """Return all runs, in a fixed order in which any beginning has some of all."""
    runs = [each for turn in (0, 1) for each in zip_longest(_mixed(forced(turn)), _mixed(whole(turn)))]
    return [setting for pair in runs for setting in pair if setting is not None]


def _mixed(runs: Iterable[Setting]) -> list[Setting]:
    """Return runs in another, fixed order."""
    listed = list(runs)
    return [listed[i] for i in sorted(range(len(listed)), key=lambda i: i * 0.618034 % 1)]
