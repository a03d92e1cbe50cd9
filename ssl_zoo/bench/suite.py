"""All benchmarks behind one call, and the table of their results."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import contextmanager, nullcontext
from datetime import date
from pathlib import Path
from typing import Any, Literal

from ssl_zoo.bench import data as data_bench
from ssl_zoo.bench import evaluation, training, views
from ssl_zoo.bench.timing import Result
from ssl_zoo.errors import UserError
from ssl_zoo.hardware import choose, environment
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.report.table import markdown

Part = Literal["views", "step", "pipeline", "folder", "data", "eval"]
PARTS: tuple[Part, ...] = ("views", "step", "pipeline", "folder", "data", "eval")
PEERS = ("lightly", "kornia", "torchvision")
_QUICK = ("training.batch_size=8", "encoder.width=0.125", "projector.dims=[8, 8]", "predictor.dims=[4, 8]")

_FOLDER = ("encoder=resnet18", "training.batch_size=32")
"""Overrides for `folder`: SimSiam's recipe, views of 224 px, a small ResNet."""

BLOCK = "bench"
"""The block of a page that `--write` fills, see `ssl_zoo.report.markers`."""


@contextmanager
def recipe_for(name: str, data: str | None, overrides: Sequence[str], quick: bool) -> Any:
    """A context with the recipe to train; without `data`, images are made for it."""
    overrides = [*(_QUICK if quick else ()), *overrides]
    with tempfile.TemporaryDirectory() if data is None else nullcontext(data) as place:
        if data is None:
            plain = load_recipe(name, overrides)
            size = plain.views.plain().get("size", 224)
            num = max(256, plain.training.batch_size) if not quick else 16
            data_bench.write_jpegs(Path(place), views.pictures(num, size if size < 96 else size + size // 7))
        yield load_recipe(name, overrides, data=str(place))


def bench(
    parts: Sequence[Part],
    *,
    recipe: str = "cifar10/simsiam",
    data: str | None = None,
    overrides: Sequence[str] = (),
    against: Sequence[str] = (),
    rounds: int = 3,
    quick: bool = False,
) -> list[Result]:
    """Measure parts of the framework.

    Args:
        parts: of `PARTS`.
        recipe: of `step` and `pipeline`.
        data: of `step` and `pipeline`; None makes images.
        overrides: of the recipe.
        against: of `PEERS`: libraries that do the same work in `views`, `pipeline` and `eval`, in turn.
        rounds: the number of timed rounds; medians are reported.
        quick: tiny amounts of work, to test that it runs.

    Raises:
        UserError: an unknown part or peer, a peer that is not installed, or a recipe that cannot be trained.
    """
    for given, known, what in ((parts, PARTS, "part"), (against, PEERS, "library")):
        if unknown := [name for name in given if name not in known]:
            raise UserError(f"bench: unknown {what} {unknown[0]!r}; known: {', '.join(known)}.")
    results: list[Result] = []
    if "views" in parts:
        results += views.bench(against, rounds, quick)
    if {"step", "pipeline"} & set(parts):
        with recipe_for(recipe, data, overrides, quick) as loaded:
            if "step" in parts:
                results += training.bench_step(loaded, rounds)
            if "pipeline" in parts:
                results += training.bench_pipeline(loaded, against, rounds, steps=1 if quick else 4)
    if "folder" in parts:
        for cache, how in (("none", "read anew"), ("memory", "from memory")):
            sets = [*_FOLDER, f"data.cache={cache}", *(_QUICK if quick else ()), *overrides]
            with recipe_for("simsiam", None, sets, quick) as loaded:
                name = f"folder of JPEGs, {how},"
                results += training.bench_pipeline(loaded, (), rounds, steps=1 if quick else 4, name=name)
    if "data" in parts:
        results += data_bench.bench(rounds, quick)
    if "eval" in parts:
        results += evaluation.bench(against, rounds, quick)
    return results


def machine(recipe: Recipe) -> dict[str, Any]:
    """Return hardware and versions; `load` is the number of processes that were ready to run in the last minute."""
    from importlib.metadata import PackageNotFoundError, version

    found = environment(choose(recipe.training.precision, recipe.training.memory_format))
    for peer in PEERS:
        try:
            found[peer] = version(peer)
        except PackageNotFoundError:
            found[peer] = "not installed"
    return {**found, "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "date": date.today().isoformat()}


def table(results: Sequence[Result]) -> str:
    """Return the results as a Markdown table, followed by their notes."""
    rows = []
    for result in results:
        ratios = result.ratios()
        for number, side in enumerate(result.rates):
            low, high = min(result.rates[side]), max(result.rates[side])
            ratio = f"{ratios[side]:.2f}x" if side in ratios else ""
            rows.append([result.name if not number else "", side, f"{result.median(side):.5g}",
                         f"{low:.5g} to {high:.5g}", str(len(result.rates[side])), result.unit, ratio])  # fmt: skip
    header = ["work", "side", "median", "least to most", "n", "unit", "first is faster by"]
    notes = [f"- {result.name}: {note}" for result in results for note in result.notes]
    return "\n".join([markdown(header, rows), "", *notes])
