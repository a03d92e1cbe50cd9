"""What a training of a ViT-L costs on 8 to 512 GPUs with each strategy, on paper: `docs/scale.md`.

    python -m experiments.scale.plan                # writes the tables of the page
    python -m experiments.scale.plan --efficiency 0.5 --price 2.00

Inputs are published figures and counts; what is assumed is marked so, here and on the page. `--efficiency` is the part
of the peak that the arithmetic reaches (`ssl-zoo bench step` measures it on a GPU), `--price` is of a GPU per hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from experiments.scale.counts import Counts, count
from ssl_zoo.distributed.collectives import SPLIT_FROM
from ssl_zoo.report.markers import write_block
from ssl_zoo.report.table import markdown

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scale.md"
SAMPLES = 100_000_000
EPOCHS = 10
GPUS = (8, 32, 64, 128, 256, 512)
GLOBAL_BATCH = 4096
JPEG_BYTES = 110_000
"""Of a photograph; an assumption."""
JPEG_SECONDS = 2.9e-3
"""To read, decode and cut a photograph of about 500 px by one core: measured, docs/performance.md."""


@dataclass(frozen=True)
class Gpu:
    """Published figures of NVIDIA's H100 SXM: FLOP/s without sparsity, bytes/s in one direction, bytes."""

    bf16: float = 989e12
    fp32: float = 67e12  # of products outside autocast, which do not round to TF32
    memory: float = 80e9
    network: float = 50e9  # a 400 Gbit/s adapter of its own, as in a DGX H100
    of_fp32: float = 0.75  # what a large product reaches of it; an assumption
    of_network: float = 0.8  # what collectives reach of it; an assumption
    latency: float = 20e-6  # of a small collective on many nodes; an assumption


@dataclass(frozen=True)
class Strategy:
    """How the method is trained: `sharded` weights, gradients and optimizer; activations computed twice or not."""

    name: str
    sharded: bool
    recomputed: bool


STRATEGIES = (
    Strategy("ddp", False, False),
    Strategy("ddp, activation checkpointing", False, True),
    Strategy("fsdp", True, False),
    Strategy("fsdp, activation checkpointing", True, True),
)


@dataclass(frozen=True)
class Cost:
    """Seconds of a step by part, and bytes of a GPU's memory."""

    arithmetic: float
    exposed: float
    term: float
    memory: float

    @property
    def step(self) -> float:
        """Seconds of a step."""
        return self.arithmetic + self.exposed + self.term


def memory(net: Counts, strategy: Strategy, gpus: int, per_gpu: int, target: bool) -> float:
    """Return the bytes of a GPU's memory in a step: weights in float32, gradients, AdamW's two moments, activations."""
    shards = gpus if strategy.sharded else 1
    states = (16 * net.weights + (4 * net.weights if target else 0)) / shards
    # Besides, bfloat16 copies of all weights (autocast keeps them for the backward pass), or two gathered units with
    # their gradients, in bfloat16, and in float32 while these are averaged.
    halves = 8 * 2 * net.largest if strategy.sharded else 2 * net.weights
    one_block = (net.saved - net.boundaries) / net.blocks
    kept = net.boundaries + one_block if strategy.recomputed else net.saved
    embeddings = 2 * net.views * gpus * per_gpu * net.dim * 4 + 4 * net.views * net.dim**2  # gathered, with gradients
    return states + halves + kept * per_gpu * net.views + (0 if target else embeddings)


def product(net: Counts, gpus: int, batch: int, gpu: Gpu, split: bool) -> float:
    """Return the seconds of a D x D product over the batch, forward and backward, for all views.

    Args:
        net: for the width and the number of views.
        gpus: that train together.
        batch: samples of a step.
        gpu: its figures.
        split: each process multiplies its own samples and the matrices are added up, or each multiplies all.
    """
    flops = 3 * 2 * batch * net.dim**2 / (gpus if split else 1)
    added = 2 * all_reduce(4 * net.dim**2, gpus, gpu) if split else 0.0
    return net.views * (flops / (gpu.of_fp32 * gpu.fp32) + added)


def all_reduce(size: float, gpus: int, gpu: Gpu) -> float:
    """Return the seconds that `gpus` need to add up `size` bytes, as a ring; a gather or a scatter takes half."""
    return 2 * size * (gpus - 1) / gpus / (gpu.of_network * gpu.network * 8) + gpu.latency


def cost(net: Counts, strategy: Strategy, gpus: int, batch: int, gpu: Gpu, efficiency: float, target: bool) -> Cost:
    """Return what a step costs, of VICReg or (`target`) of BYOL, whose terms are means over samples.

    Communication runs beside arithmetic: gradients beside the backward pass, gathered weights beside both passes. What
    takes longer than that is exposed. The gather of z and the product of the term wait for each other.
    """
    per_gpu = batch // gpus
    passes = 3 + (1 if strategy.recomputed else 0) + (1 if target else 0)
    arithmetic = passes * net.forward * per_gpu * net.views / (efficiency * gpu.bf16)
    if strategy.sharded:  # bfloat16 weights are gathered in both passes and float32 gradients scattered, for all views
        gathers = 3 if target else 2
        sent = gathers * all_reduce(2 * net.weights, gpus, gpu) / 2 + all_reduce(4 * net.weights, gpus, gpu) / 2
        beside = arithmetic
    else:
        sent, beside = all_reduce(4 * net.weights, gpus, gpu), arithmetic * 2 / passes
    gathered = 1.5 * all_reduce(4 * batch * net.dim, gpus, gpu) * net.views
    term = 0.0 if target else gathered + product(net, gpus, batch, gpu, split=batch >= SPLIT_FROM)
    return Cost(arithmetic, max(0.0, sent - beside), term, memory(net, strategy, gpus, per_gpu, target))


def strategies_table(net: Counts, gpu: Gpu, efficiency: float, price: float, target: bool) -> str:
    """Return a table with a row per number of GPUs and strategy."""
    rows = []
    for gpus in GPUS:
        for strategy in STRATEGIES:
            each = cost(net, strategy, gpus, GLOBAL_BATCH, gpu, efficiency, target)
            hours = each.step * SAMPLES * EPOCHS / GLOBAL_BATCH / 3600
            fits = each.memory <= 0.9 * gpu.memory
            rows.append(
                [
                    str(gpus) if strategy is STRATEGIES[0] else "",
                    strategy.name,
                    f"{each.memory / 1e9:.0f}{'' if fits else ' (too much)'}",
                    *(f"{1e3 * value:.0f}" for value in (each.arithmetic, each.exposed, each.term, each.step)),
                    *([f"{hours:.1f}", f"{hours * gpus * price:,.0f}"] if fits else ["-", "-"]),
                ]
            )
    head = ["GPUs", "strategy", "GB a GPU", "arithmetic, ms", "exposed, ms", "term, ms", "step, ms", "hours", "$"]
    return markdown(head, rows)


def terms_table(net: Counts, gpu: Gpu, efficiency: float) -> str:
    """Return a table of the term's share: each process multiplies all samples, or its own."""
    rows = []
    for batch in (4096, 16384, 65536):
        for gpus in (8, 64, 512):
            encoder = 3 * net.forward * batch / gpus * net.views / (efficiency * gpu.bf16)
            whole, split = (product(net, gpus, batch, gpu, split) for split in (False, True))
            sent = 4 * batch * net.dim * net.views
            cells = [1e3 * encoder, 1e3 * whole, 1e3 * split]
            rows.append([f"{batch:,}", str(gpus), f"{sent / 1e9:.2f}", *(f"{cell:.1f}" for cell in cells)])
    head = ["batch", "GPUs", "z of all, GB", "encoder, ms", "whole product, ms", "split product, ms"]
    return markdown(head, rows)


def data_table(net: Counts, gpu: Gpu, efficiency: float) -> str:
    """Return a table of what the data need: network and cores."""
    rows = []
    for gpus in GPUS:
        rate = GLOBAL_BATCH / cost(net, STRATEGIES[2], gpus, GLOBAL_BATCH, gpu, efficiency, False).step
        rows.append([str(gpus), f"{rate:,.0f}", f"{rate * JPEG_BYTES / 1e9:.2f}", f"{rate * JPEG_SECONDS / gpus:.1f}"])
    return markdown(["GPUs", "samples per second", "GB per second from storage", "decoding cores a GPU"], rows)


@click.command()
@click.option("--efficiency", default=0.4, show_default=True, type=click.FloatRange(0, 1, min_open=True))
@click.option("--price", default=2.5, show_default=True, type=click.FloatRange(0), help="of a GPU for an hour, in $")
def main(efficiency: float, price: float) -> None:
    """Write the tables of docs/scale.md."""
    gpu = Gpu()
    vicreg, byol = count("vicreg"), count("byol")
    counted = markdown(
        ["", "VICReg", "BYOL"],
        [
            ["weights of the encoder, millions", f"{vicreg.encoder / 1e6:.0f}", f"{byol.encoder / 1e6:.0f}"],
            ["weights of the heads, millions", f"{vicreg.heads / 1e6:.0f}", f"{byol.heads / 1e6:.0f}"],
            ["width of z", str(vicreg.dim), str(byol.dim)],
            ["forward pass of a view, GFLOP", f"{vicreg.forward / 1e9:.0f}", f"{byol.forward / 1e9:.0f}"],
            ["saved for backward by a view, MB", f"{vicreg.saved / 1e6:.0f}", f"{byol.saved / 1e6:.0f}"],
            [
                "the same with activation checkpointing, MB",
                *(
                    f"{(net.boundaries + (net.saved - net.boundaries) / net.blocks) / 1e6:.0f}"
                    for net in (vicreg, byol)
                ),
            ],
        ],
    )
    write_block(PAGE, "counts", counted)
    write_block(PAGE, "vicreg", strategies_table(vicreg, gpu, efficiency, price, target=False))
    write_block(PAGE, "byol", strategies_table(byol, gpu, efficiency, price, target=True))
    write_block(PAGE, "terms", terms_table(vicreg, gpu, efficiency))
    write_block(PAGE, "data", data_table(vicreg, gpu, efficiency))


if __name__ == "__main__":
    main()
