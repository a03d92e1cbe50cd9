"""What a user is told who gives an option that a command does not have."""

from __future__ import annotations

import click

ALIASES = {
    "learning-rate": "training.base_lr", "lr": "training.base_lr", "base-lr": "training.base_lr",
    "bs": "training.batch_size", "wd": "training.optimizer.weight_decay",
    "weight-decay": "training.optimizer.weight_decay", "momentum": "training.optimizer.momentum",
    "warmup": "training.schedule.warmup_epochs", "warmup-epochs": "training.schedule.warmup_epochs",
    "optimizer": "training.optimizer", "scheduler": "training.schedule", "num-workers": "data.num_workers",
    "workers": "data.num_workers", "img-size": "views.size", "image-size": "views.size", "imgsz": "views.size",
    "size": "views.size", "crop-size": "views.size", "arch": "encoder", "model": "encoder", "backbone": "encoder",
    "encoder": "encoder", "projector": "projector", "predictor": "predictor", "target": "target",
    "amp": "training.precision", "fp16": "training.precision", "bf16": "training.precision",
    "steps": "training.max_steps", "clip-grad": "training.clip_grad", "accumulate": "training.accumulate",
    "limit": "evaluation.limit", "protocols": "evaluation.protocols", "mean": "views.mean", "std": "views.std",
    "compile": "training.compile", "schedule": "training.schedule",
}  # fmt: skip
"""What other programs call a setting -> its key in a recipe."""

OPTIONS = {
    "dataset": "--data", "data-path": "--data", "data-dir": "--data", "input": "--data", "output": "--out",
    "output-dir": "--out", "out-dir": "--out", "save-dir": "--out", "gpus": "--devices", "nproc": "--devices",
    "num-gpus": "--devices", "checkpoint": "RUN@step500 (or RUN@best, RUN@last) in place of RUN",
    "ckpt": "RUN@step500 in place of RUN", "pretrained": "--init-from", "weights": "--init-from",
    "init": "--init-from", "config": "the recipe's file as RECIPE", "set": "-s KEY=VALUE", "time": "--max-time",
    "force": "another --out",
}  # fmt: skip
"""What other programs call an option -> what it is here."""


def hint(error: click.NoSuchOption) -> str:
    """Return how to say what an unknown option was to say; empty where that is not known."""
    name = error.option_name.lstrip("-").replace("_", "-")
    command = error.ctx.command if error.ctx is not None else None
    mine = {option for each in getattr(command, "params", ()) for option in each.opts}
    takes_overrides = "-s" in mine
    stated = OPTIONS.get(name, "")
    if stated and (not stated.startswith("-") or stated.split()[0] in mine):
        return f"give {stated}"
    if not takes_overrides:
        return ""
    key = ALIASES.get(name) or _key(name)
    value = "VALUE"
    if name in ("fp16", "bf16", "amp"):
        value = "bf16" if name == "amp" else name
    return f"give -s {key}={value}" if key else ""


def _key(name: str) -> str:
    """Return the key of a recipe whose last word an option is, if there is one."""
    from ssl_zoo.recipe.load import load_recipe

    wanted = name.replace("-", "_")
    found = [key for key in _keys(load_recipe("simsiam").dump(), "") if key.rpartition(".")[2] == wanted]
    return found[0] if len(found) == 1 else ""


def _keys(value: object, above: str) -> list[str]:
    if not isinstance(value, dict):
        return []
    own = [f"{above}{key}" for key in value if key != "name"]
    return own + [each for key, inner in value.items() for each in _keys(inner, f"{above}{key}.")]
