"""Options that are short for an override of the recipe: `--epochs 20` for `-s training.epochs=20`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ssl_zoo.errors import UserError

KEYS = {
    "epochs": "training.epochs", "max_steps": "training.max_steps", "batch_size": "training.batch_size",
    "lr": "training.base_lr", "precision": "training.precision", "workers": "data.num_workers",
    "keep_every": "training.keep_every",
}  # fmt: skip
"""Short options and the keys of the recipe that they set."""

ABOVE_0, COUNT = click.FloatRange(min=0, min_open=True), click.IntRange(min=1)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command; `overrides` makes overrides of what was given."""
    for option in (
        click.option("--keep-every", metavar="N", help="Keep a checkpoint every N steps, or '5 epochs'."),
        click.option("--workers", metavar="N", help="Processes that read data, or auto (data.num_workers)."),
        click.option("--precision", type=click.Choice(["auto", "fp32", "tf32", "bf16", "fp16"]),
                     help="training.precision."),
        click.option("--lr", type=ABOVE_0, metavar="LR", help="training.base_lr: the learning rate at a batch of 256, "
                     "which training.lr_scaling scales to the batch."),
        click.option("--batch-size", type=COUNT, metavar="N", help="Samples of a step, over all devices."),
        click.option("--max-steps", type=COUNT, metavar="N", help="Length of the run in optimizer steps; with "
                     "--resume, beyond the first length too."),
        click.option("--epochs", type=ABOVE_0, metavar="E", help="Length of the run in passes over the data."),
    ):  # fmt: skip
        command = option(command)
    return command


def overrides(others: tuple[str, ...], given: dict[str, Any]) -> tuple[str, ...]:
    """Return overrides, with those that short options stand for.

    Args:
        others: those of `-s`.
        given: {short option: value or None}.

    Raises:
        UserError: a key is set by both, or the length twice.
    """
    if given.get("epochs") is not None and given.get("max_steps") is not None:
        raise UserError("--epochs, --max-steps: both give the length of the run; leave one out.")
    found = list(others)
    for name, key in KEYS.items():
        value = given.get(name)
        if value is None:
            continue
        if any(each.partition("=")[0] == key for each in others):
            raise UserError(f"--{name.replace('_', '-')} {value}: -s sets {key} too; leave one out.")
        found.append(f"{key}={value}")
        if name == "epochs":
            found.append("training.max_steps=null")  # which would win
    return tuple(found)
