"""What the number of samples and the machine ask of the `training` of a first recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ssl_zoo.data.defaults import Setting

PASSES = 10
"""Passes over the data that a run on a CPU takes at least, up to `MOST_STEPS`."""

MOST_STEPS = 5000


def of_training(raw: Mapping[str, Any], num: int, accelerator: bool) -> Iterator[Setting]:
    """Yield what the number of samples and the machine ask of `training`."""
    training = raw.get("training", {})
    batch = own = training.get("batch_size", 256)
    if not accelerator:
        batch = min(own, 128)
    while batch > 8 and 8 * batch > num:
        batch //= 2
    batch = max(2, min(batch, num))
    kept = "as where it comes from" if batch == own else f"{own} where it comes from"
    few = f"; an epoch of {num} samples should have some steps" if 8 * own > num else ""
    yield Setting("training.batch_size", batch, f"{kept}{few or ('' if batch == own else '; less for a CPU')}")
    yield from _rate(training, batch, own)
    per_epoch = max(1, num // batch)
    if "max_steps" in training:
        steps = max(training["max_steps"], min(MOST_STEPS, PASSES * per_epoch))
        more = "more make a better encoder, so raise it where the time allows"
        yield Setting("training.max_steps", steps, f"{steps / per_epoch:.3g} passes over {num} samples; {more}")
    else:
        epochs = training.get("epochs", 100)
        yield Setting("training.epochs", epochs, f"{round(epochs * per_epoch)} steps; as where it comes from")
    precision = training.get("precision", "auto")
    why = "bfloat16 on a GPU that has it, else float32" if precision == "auto" else "as where it comes from"
    yield Setting("training.precision", precision, why)


def _rate(training: Mapping[str, Any], batch: int, own: int) -> Iterator[Setting]:
    """Yield the learning rate, which follows the batch where that is changed."""
    rate, scaling = training.get("base_lr", 0.05), training.get("lr_scaling", "linear")
    if batch != own and scaling == "none" and _optimizer(training) in ("sgd", "lars"):
        rate, scaling = float(f"{rate * 256 / own:.4g}"), "linear"
        yield Setting("training.lr_scaling", scaling, "the rate is base_lr * batch_size / 256")
    factor = {"linear": batch / 256, "sqrt": (batch / 256) ** 0.5, "none": 1.0}[scaling]
    yield Setting(
        "training.base_lr", rate, f"scaled by {factor:.3g} ({scaling}) to {rate * factor:.3g} at batch {batch}"
    )


def _optimizer(training: Mapping[str, Any]) -> str:
    part = training.get("optimizer", "sgd")
    return str(part.get("name") if isinstance(part, Mapping) else part)
