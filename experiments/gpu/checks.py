"""What a GPU has to show before its figures are believed: the CPU's losses, and a resumed run that goes on as it was.

    python -m experiments.gpu.checks --out OUT            # on a GPU
    python -m experiments.gpu.checks --out OUT --quick    # fewer recipes; on a CPU it compares the CPU with itself

Writes `checks.json` and `checks.md`. Every recipe with a form for CIFAR-10 takes a few steps on made images, on the CPU
and on the GPU, in float32 and in bfloat16; one step of each is watched for operations that wait for the GPU.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import torch

from ssl_zoo import rng
from ssl_zoo.bench.data import write_jpegs
from ssl_zoo.bench.views import pictures
from ssl_zoo.data import RawBatch
from ssl_zoo.distributed.launch import Processes
from ssl_zoo.hardware import Hardware, arithmetic, choose, environment
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.report.table import markdown
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.training.setup import Run, assemble
from ssl_zoo.training.train import train
from ssl_zoo.training.trainer import Step

EXPERIMENTS = Path(__file__).resolve().parents[1]
STEPS = 5
BATCH = 32
QUICK = ("cifar10/simsiam", "cifar10/barlow_twins")


@dataclass(frozen=True)
class Checked:
    """A recipe on two devices: the largest relative difference of its losses, and what waited.

    Attributes:
        recipe: its name.
        fp32: GPU against CPU, both in float32.
        bf16: the first step's loss, in bfloat16 against float32 on the same device.
        waits: warnings of torch about operations of one step that wait for the GPU.
        error: why it could not be checked.
    """

    recipe: str
    fp32: float = float("nan")
    bf16: float = float("nan")
    waits: int = 0
    error: str = ""


def names() -> list[str]:
    """Return the recipes with a form for images of 32 px."""
    found = [
        f"{folder}/{path.stem}" for folder in ("cifar10", "masked") for path in (EXPERIMENTS / folder).glob("*.yaml")
    ]
    return sorted(name for name in found if name != "masked/v_jepa")  # which is of videos


def small(name: str, data: str) -> Recipe:
    """Return a recipe with a narrow encoder and small batches: it is compared with a CPU."""
    narrow = ["encoder.width=0.125"] if name.startswith("cifar10/") else []
    sets = [*narrow, f"training.batch_size={BATCH}", f"training.max_steps={STEPS}", "training.memory_format=contiguous"]
    return load_recipe(name, sets, data=data)


def assembled(recipe: Recipe, hardware: Hardware) -> Run:
    """Return the pieces of a training on some hardware."""
    return assemble(recipe, RunFolder("unused"), hardware, Processes(hardware.device, 1), {})


def losses(run: Run) -> list[float]:
    """Return the losses of the first steps."""
    found: list[torch.Tensor] = []

    def after_step(step: Step) -> bool:
        found.append(step.loss.detach().clone())
        return False

    run.trainer.run(run.loader.iterate(0, STEPS), after_step)
    return torch.stack(found).double().tolist()


def waits(run: Run) -> int:
    """Return how often torch warns in a step, the first apart, of an operation that waits for the GPU."""
    if run.hardware.accelerator != "cuda":
        return 0
    batches: list[list[RawBatch]] = list(run.loader.iterate(0, 3))
    run.trainer.run(batches[:2], lambda step: False)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run.trainer.run(batches[2:], lambda step: False)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(each.message) for each in caught)


def furthest(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the largest difference, relative to the larger of 1 and the loss."""
    return max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(ours, theirs, strict=True))


def check(name: str, data: str) -> Checked:
    """Compare a recipe on this machine's device with the CPU."""
    recipe = small(name, data)
    fp32_hardware, bf16_hardware = (choose(precision, "contiguous") for precision in ("fp32", "bf16"))
    try:
        # Terms with random directions draw them on the device otherwise, by other numbers.
        with patch.object(rng, "draws_on_host", lambda device: True):
            cpu = losses(assembled(recipe, Hardware("CPU", "cpu", "fp32", "contiguous")))
            with arithmetic(fp32_hardware.accelerator, "fp32"):
                fp32 = losses(assembled(recipe, fp32_hardware))
            bf16 = losses(assembled(recipe, bf16_hardware))
        return Checked(name, furthest(fp32, cpu), furthest(bf16[:1], fp32[:1]), waits(assembled(recipe, choose())))
    except Exception as error:  # one that fails must not hide what the others show
        return Checked(name, error=f"{type(error).__name__}: {error}"[:500])


def check_resume(data: str, out: Path) -> dict[str, Any]:
    """Return the losses of a run, and of the same run stopped in the middle and resumed."""
    recipe = load_recipe(
        "cifar10/byol",
        ["encoder.width=0.125", f"training.batch_size={BATCH}", "training.max_steps=12", "training.log_every=1"]
        + ["evaluation.protocols=[]", "evaluation.baselines=false"],
        data=data,
    )
    train(recipe, out=out / "whole", log=lambda line: None)
    train(recipe, out=out / "halves", stop_at=7, log=lambda line: None)
    train(recipe, out=out / "halves", resume=True, log=lambda line: None)
    logged = [
        [line["loss"] for line in RunFolder(out / name).read_metrics() if "loss" in line]
        for name in ("whole", "halves")
    ]
    whole, halves = (values[-12:] for values in logged)
    return {"whole": whole, "resumed": halves, "equal": whole == halves, "furthest": furthest(halves, whole)}


def text(checked: Sequence[Checked], resumed: dict[str, Any], environment_line: str) -> str:
    """Return the page."""
    rows = [
        [
            each.recipe,
            *((f"{each.fp32:.1e}", f"{each.bf16:.1e}", str(each.waits)) if not each.error else ("-", "-", "-")),
            each.error,
        ]
        for each in checked
    ]
    same = "equal to the bit" if resumed["equal"] else f"furthest apart {resumed['furthest']:.1e}"
    head = ["recipe", "fp32: device against CPU", "bf16 against fp32, first step", "waits in a step", "error"]
    lines = [
        f"{len(checked)} recipes, {STEPS} steps of {BATCH} made images; the largest relative difference of a loss.",
        markdown(head, rows),
        f"A run of 12 steps, and the same stopped after 7 and resumed: {same}.",
        environment_line,
    ]
    return "\n\n".join(lines) + "\n"


@click.command()
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--quick", is_flag=True, help="Three recipes.")
def main(out: Path, quick: bool) -> None:
    """Run all checks."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        write_jpegs(Path(folder) / "data", pictures(4 * BATCH, 32))
        data = str(Path(folder) / "data")
        checked = []
        for name in QUICK if quick else names():
            checked.append(check(name, data))
            click.echo(f"{checked[-1]}")
        resumed = check_resume(data, Path(folder))
    found = environment(choose())
    line = ", ".join(f"{name} {value}" for name, value in found.items())
    (out / "checks.md").write_text(text(checked, resumed, line), encoding="utf-8")
    plain = {"recipes": [asdict(each) for each in checked], "resume": resumed, "environment": found}
    (out / "checks.json").write_text(json.dumps(plain, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
