"""The rates and decays of the recipes in absolute numbers, as the authors' commands and code give them.

A recipe states a rate relative to a batch of 256 and an end relative to the peak; here is what comes out.
"""

from typing import NamedTuple

import pytest

from ssl_zoo import registry
from ssl_zoo.methods.build import build
from ssl_zoo.optim.param_groups import parameter_groups
from ssl_zoo.recipe.load import load_recipe
from tests.tiny import small


class Numbers(NamedTuple):
    """Of a run on the authors' machines."""

    peak: float  # the highest learning rate
    last: float  # the rate of the last step
    warmup: float  # epochs
    decay: float  # weight decay of weights
    bias_decay: float  # of biases and norms
    epochs: float
    batch: int  # over all GPUs


AUTHORS = {
    "barlow_twins": Numbers(1.6, 0.0016, 10, 1.5e-6, 0, 1000, 2048),  # the decay is the paper's; the code: 1e-6
    "byol": Numbers(3.2, 0, 10, 1.5e-6, 0, 1000, 4096),
    "corinfomax": Numbers(0.2, 1e-6, 10, 1e-4, 1e-4, 100, 1536),
    "dino": Numbers(0.002, 1e-6, 10, 0.04, 0, 300, 1024),
    "directcopy": Numbers(0.03, 0.03, 0, 4e-4, 4e-4, 100, 128),
    "directpred": Numbers(0.03, 0.03, 0, 4e-4, 4e-4, 100, 128),
    "emp_ssl": Numbers(0.3, 0, 0, 1e-4, 0, 30, 100),
    "frossl": Numbers(0.6, 0, 10, 1e-4, 0, 100, 512),
    "mmcr": Numbers(4.8, 0.0048, 10, 1e-6, 0, 100, 2048),
    "simdino": Numbers(0.001, 1e-6, 10, 0.04, 0, 100, 512),
    "simsiam": Numbers(0.1, 0, 0, 1e-4, 1e-4, 100, 512),
    "swav": Numbers(4.8, 0.0048, 10, 1e-6, 1e-6, 800, 4096),
    "vibcreg": Numbers(0.15, 0, 10, 1e-4, 0, 400, 128),
    "vicreg": Numbers(1.6, 0.0016, 10, 1e-6, 0, 1000, 2048),
    "vicregl": Numbers(1.6, 0.0016, 10, 1e-6, 0, 300, 2048),
    "visreg": Numbers(9e-4, 9e-7, 5, 0.05, 0, 100, 128),
    "w_mse": Numbers(0.002, 8e-5, 1.3, 1e-6, 1e-6, 1000, 256),  # two drops by 0.2; 500 steps of warm-up
}
PER_EPOCH = 20


@pytest.mark.parametrize("name", AUTHORS)
def test_rates_and_decays_are_the_authors(name: str) -> None:
    theirs, training = AUTHORS[name], load_recipe(name).training
    total = round(training.epochs * PER_EPOCH)
    options = training.schedule.options
    factor = registry.build("schedule", training.schedule.name, options, total_steps=total, steps_per_epoch=PER_EPOCH)
    rates = [training.lr * factor(step) for step in range(total)]
    assert (training.batch_size, training.epochs) == (theirs.batch, theirs.epochs)
    assert max(rates) == pytest.approx(theirs.peak) and rates[-1] == pytest.approx(theirs.last, abs=1e-12)
    assert rates.index(max(rates)) == pytest.approx(theirs.warmup * PER_EPOCH, abs=1.01)
    groups = parameter_groups(build(small(name)), training.groups)
    decay = training.optimizer.options["weight_decay"]
    found = {n: group.get("weight_decay", decay) for group in groups for n in group["names"]}
    assert found["encoder.body.0.weight"] == decay == theirs.decay
    assert {value for n, value in found.items() if n.endswith("bias")} == {theirs.bias_decay}


@pytest.mark.parametrize("name", ["vicregl", "vicreg", "byol"])
def test_all_weights_learn_at_one_rate_under_their_lars(name: str) -> None:
    """VICRegL's slower local projector belongs to its AdamW."""
    groups = parameter_groups(build(small(name)), load_recipe(name).training.groups)
    assert {group["lr_scale"] for group in groups} == {1.0}
