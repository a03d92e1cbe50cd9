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
        network: `layers`, `convnet`, or `vit` for methods that predict tokens.
    """

    method: str
    forced: str
    kinds: tuple[str, ...]
    change: tuple[str, ...]
    data: str
    seed: int
    cap: int = 64
    batch: int = 64
    steps: int = 300
    network: str = "layers"

    @property
    def name(self) -> str:
        """A name that is unique."""
        change = self.forced.replace(",", "").replace(" ", "-") or ("fixed-predictor" if self.change else "whole")
        size = f"w{self.cap}.b{self.batch}.n{self.steps}"
        return f"{self.method}.{change}.{self.data}.{self.network}.{size}.s{self.seed}"

    @property
    def held_out(self) -> bool:
        """Whether the run was not used to choose limits."""
        return self.seed % 2 == 1

    def recipe(self) -> Recipe:
        """Return the recipe of the run: the small variant of the method, with narrow heads, for tiny images."""
        pairs = self.data == "pairs"
        if self.network == "vit":
            return self._of_tokens()
        reference = f"digits_and_speech/{self.method}" if pairs else f"cifar10/{self.method}"
        raw = _narrowed(load_recipe(reference, variant=None if pairs else "small").dump(), self.cap)
        if not pairs:
            num = 4 if raw["views"]["name"] == "multi_crop" else raw["views"]["num_views"]
            raw["views"] = {"name": "augment", "num_views": num, "size": 8, "channels": 1, "mean": [0.5],
                            "std": [0.5]}  # fmt: skip
        if self.network == "convnet":
            raw["encoder"] = {"name": "convnet", "widths": [8, 16, 32]}
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

    def _of_tokens(self) -> Recipe:
        """Return the recipe of a method that predicts tokens, with a transformer that a second suffices for."""
        raw = load_recipe(f"masked/{self.method}").dump()
        raw["encoder"] = {"name": "vit", "patch": 2, "width": 24, "depth": 2, "heads": 2}
        raw["views"] |= {"size": 8, "channels": 1, "scale": [1.0, 1.0], "mean": [0.5], "std": [0.5]}
        if raw["predictor"]["name"] == "transformer":
            raw["predictor"] |= {"width": 16, "heads": 1}
        else:
            raw |= {"predictor": raw["predictor"] | {"dims": [48, 24]}, "target_blocks": 2}
        raw["training"] |= {"batch_size": self.batch, "max_steps": self.steps, "precision": "fp32"}
        raw["training"]["schedule"] = {"name": "constant"}
        raw["seed"] = self.seed
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
TOKENS = ("tokens", "complete", "dimensional")
SHARED, LOW, HIGH = "target=shared", "training.base_lr=0.01", "training.base_lr=1000"
NO_CENTRE = "objective=[{name: centred_cross_entropy, momentum: 1.0, target_temperature: 0.04}]"
UNIFORM = "objective=[{name: centred_cross_entropy, target_temperature: 1.0}]"
DECAY = "training.optimizer.weight_decay=%s"
TOO_SLOW = "training.base_lr=1e-9"

Forced = tuple[str, str, tuple[str, ...], tuple[str, ...], dict[str, Any]]

FORCED: tuple[Forced, ...] = (
    ("simsiam", "no stop-gradient", LINE, (SHARED,), {"steps": 600}),
    ("simsiam", "no stop-gradient", LINE, (SHARED,), {"cap": 8, "steps": 600}),
    ("simsiam", "no stop-gradient", LINE, (SHARED,), {"batch": 8, "steps": 800}),
    ("simsiam", "no stop-gradient, low rate", LINE, (SHARED, "training.base_lr=0.1"), {"steps": 1000}),
    ("simsiam", "no predictor", LINE, ("predictor=identity",), {"steps": 600}),
    ("simsiam", "neither", LINE, ("predictor=identity", SHARED), {}),
    ("simsiam", "huge weight decay", LINE, (DECAY % 2.0,), {}),
    ("simsiam", "huge rate", ("divergence", "non-finite"), (HIGH,), {}),
    ("simsiam", "too low a rate", ("no learning",), (TOO_SLOW,), {}),
    ("simsiam", "constant target, no predictor", LINE, ("target=constant", "predictor=identity"), {}),
    ("byol", "no moving average", POINT, (SHARED,), {}),
    ("byol", "no moving average", POINT, (SHARED,), {"cap": 8}),
    ("byol", "no moving average", POINT, (SHARED,), {"batch": 8, "steps": 600}),
    ("byol", "no moving average, low rate", POINT, (SHARED, "training.base_lr=0.1"), {"steps": 800}),
    ("byol", "no predictor", POINT, ("predictor=identity",), {"steps": 600}),
    ("byol", "huge rate", ("divergence", "non-finite"), (HIGH,), {}),
    ("byol", "constant target, no predictor", POINT, ("target=constant", "predictor=identity"), {}),
    ("fastsiam", "no stop-gradient", LINE, (SHARED,), {"steps": 400}),
    ("vicreg", "no variance", POINT, ("objective.variance.weight=0",), {}),
    ("vicreg", "no variance", POINT, ("objective.variance.weight=0",), {"cap": 8}),
    ("vicreg", "no variance", POINT, ("objective.variance.weight=0",), {"batch": 8, "steps": 800}),
    ("vicreg", "invariance alone", POINT, ("objective=[{name: mse, weight: 25.0}]",), {}),
    ("vicreg", "no covariance", LINE, ("objective.covariance.weight=0",), {}),
    ("vicreg", "huge rate", ("divergence", "non-finite"), (HIGH,), {}),
    ("vicreg", "huge weight decay", POINT, (DECAY % 20.0,), {}),
    ("barlow_twins", "no redundancy term", LINE, ("objective.cross_correlation.off_diagonal=0",), {}),
    ("barlow_twins", "huge rate", ("divergence", "non-finite"), (HIGH,), {}),
    ("barlow_twins", "too low a rate", ("no learning",), (TOO_SLOW,), {}),
    ("tico", "no covariance", LINE, ("objective.covariance_contrast.weight=0",), {"steps": 600}),
    ("tico", "no covariance", LINE, ("objective.covariance_contrast.weight=0",), {"cap": 8, "steps": 600}),
    ("emp_ssl", "no coding rate", LINE, ("objective.coding_rate.weight=0",), {"steps": 200}),
    ("corinfomax", "no log-det", LINE, ("objective.log_det_covariance.weight=0",), {}),
    ("simdino", "no coding rate", LINE, ("objective.coding_rate.weight=0", SHARED), {}),
    ("lejepa", "no SIGReg", LINE, ("objective.sliced_characteristic.weight=0",), {"steps": 400}),
    ("visreg", "pull alone", LINE,
     ("objective.unit_scale.weight=0", "objective.sliced_wasserstein.weight=0", "objective.centre.weight=0"),
     {"steps": 400}),
    ("frossl", "no spread", POINT, ("objective.log_frobenius.weight=0",), {}),
    ("dino", "no centring", CLUSTERS, (NO_CENTRE, SHARED), {}),
    ("dino", "no centring, average kept", CLUSTERS, (NO_CENTRE,), {"steps": 400}),
    ("dino", "no sharpening", CLUSTERS, (UNIFORM,), {"steps": 300}),
    ("swav", "no Sinkhorn", CLUSTERS, (NO_CENTRE,), {"steps": 300}),
)  # fmt: skip

ON_DIGITS: tuple[Forced, ...] = (
    ("simsiam", "no stop-gradient", LINE, (SHARED,), {"data": "pairs", "steps": 400}),
    ("vicreg", "no pull", ("apart",), ("objective.mse.weight=0.001",), {"data": "pairs", "steps": 200}),
    ("byol", "no moving average", LINE, (SHARED,), {"data": "pairs", "steps": 400}),
    ("simsiam", "no stop-gradient", LINE, (SHARED,), {"network": "convnet", "steps": 600}),
    ("simsiam", "no predictor", LINE, ("predictor=identity",), {"network": "convnet", "steps": 600}),
    ("byol", "no moving average", POINT, (SHARED,), {"network": "convnet"}),
    ("vicreg", "no variance", POINT, ("objective.variance.weight=0",), {"network": "convnet"}),
    ("vicreg", "huge weight decay", POINT, (DECAY % 20.0,), {"network": "convnet"}),
    ("frossl", "no spread", POINT, ("objective.log_frobenius.weight=0",), {"network": "convnet"}),
    ("dino", "no centring", CLUSTERS, (NO_CENTRE, SHARED), {"network": "convnet"}),
    ("i_jepa", "target shared", TOKENS, (SHARED,), {"network": "vit", "steps": 150}),
    ("i_jepa", "target stop-gradient", TOKENS, ("target=stop_gradient",), {"network": "vit", "steps": 200}),
    ("i_jepa", "target shared, variance of z", TOKENS,
     (SHARED, "objective=[{name: smooth_l1, weight: 10.0}, {name: variance, weight: 1.0}]"),
     {"network": "vit", "steps": 150}),
    ("data2vec", "target shared", TOKENS, (SHARED,), {"network": "vit", "steps": 150}),
    ("data2vec", "no predictor", TOKENS, (SHARED, "predictor=identity"), {"network": "vit", "steps": 150}),
)  # fmt: skip

FIXED_PREDICTOR = "training.groups=[{of: [predictor], frozen_epochs: 1000}]"
"""Table 1 (b) of the SimSiam paper: no collapse, though nothing is learned by it there."""

SMALL_BATCHES = ("simsiam", "byol", "vicreg", "barlow_twins", "swav", "lejepa")
NARROW = ("simsiam", "byol", "vicreg", "tico", "dino")
CONVNETS = ("simsiam", "byol", "vicreg", "barlow_twins", "swav")

HALVES = (("digits", 2), ("speech", 3), ("speech", 2), ("digits", 3))
"""Data set and seed of settings in turn: each half has both data sets."""

MORE = (("emp_ssl", "digits", {}), ("emp_ssl", "speech", {}), ("swav", "digits", {"batch": 4, "steps": 400}))
"""Whole methods that had false alarms before, once more for calibration: data set and options."""

Options = dict[str, Any]


def forced(turn: int) -> Iterator[Setting]:
    """Yield the forced collapses once, each on one of the data sets and in one of the halves; turn 0 or 1."""
    for number, (method, what, kinds, change, options) in enumerate(FORCED):
        data, seed = HALVES[(number + turn) % 4]
        yield Setting(method, what, kinds, change, data, seed, **options)
    for number, (method, what, kinds, change, options) in enumerate(ON_DIGITS):
        yield Setting(method, what, kinds, change, **{"data": "digits", "seed": 2 + (number + turn) % 2, **options})


def whole(turn: int) -> Iterator[Setting]:
    """Yield the whole methods in the same way."""
    options: list[tuple[str, tuple[str, ...], Options]] = [(method, (), {}) for method in METHODS]
    options += [(method, (), {"batch": 4, "steps": 400}) for method in SMALL_BATCHES]
    options += [(method, (), {"cap": 8}) for method in NARROW]
    options += [("simsiam", (FIXED_PREDICTOR,), {}), ("simsiam", (), {"steps": 90})]
    for number, (method, change, more) in enumerate(options):
        data, seed = HALVES[(number + turn) % 4]
        yield Setting(method, "", (), change, data, seed, **more)
    rest: list[tuple[str, Options]] = [(method, {"data": "pairs"}) for method in ("simsiam", "byol", "vicreg")]
    rest += [(method, {"data": "digits", "network": "convnet"}) for method in CONVNETS]
    rest += [(method, {"data": "digits", "network": "vit", "steps": 200}) for method in ("i_jepa", "data2vec")]
    for number, (method, more) in enumerate(rest):
        yield Setting(method, "", (), (), seed=2 + (number + turn) % 2, **more)
    for method, data, more in MORE if turn else ():
        yield Setting(method, "", (), (), data, 4, **more)


def settings() -> list[Setting]:
    """Return all runs, in a fixed order in which any beginning has some of all."""
    runs = [each for turn in (0, 1) for each in zip_longest(_mixed(forced(turn)), _mixed(whole(turn)))]
    return [setting for pair in runs for setting in pair if setting is not None]


def _mixed(runs: Iterable[Setting]) -> list[Setting]:
    """Return runs in another, fixed order."""
    listed = list(runs)
    return [listed[i] for i in sorted(range(len(listed)), key=lambda i: i * 0.618034 % 1)]
