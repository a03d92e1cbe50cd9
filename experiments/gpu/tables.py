"""Put what `measure.sh` found into the documentation.

python -m experiments.gpu.tables OUT                       # docs/performance.md, experiments/cifar10/RESULTS_gpu.md
python -m experiments.gpu.tables OUT --into FOLDER         # copies of the two pages, to look at
"""

from __future__ import annotations

import json
import shutil
from dataclasses import fields
from pathlib import Path
from statistics import median

import click

from ssl_zoo.bench.suite import table
from ssl_zoo.bench.timing import Result
from ssl_zoo.report.markers import write_block
from ssl_zoo.report.table import markdown

ROOT = Path(__file__).resolve().parents[2]
BLOCK = "gpu"
RESULTS = "RESULTS_gpu.md"


def results_of(path: Path) -> tuple[list[Result], str]:
    """Return the measurements of a file that `ssl-zoo bench --json` wrote, and the machine, a line."""
    found = json.loads(path.read_text(encoding="utf-8"))
    known = {each.name for each in fields(Result)}
    results = [Result(**{key: value for key, value in each.items() if key in known}) for each in found["results"]]
    return results, ", ".join(f"{name} {value}" for name, value in found["machine"].items())


def graph(path: Path) -> str:
    """Return a table of what `check_graph` found: the milliseconds of a step, and how far the losses are apart."""
    found = json.loads(path.read_text(encoding="utf-8"))
    rows = []
    for name, each in found["recipes"].items():
        times = [f"{median(each[side]):.2f}" if each.get(side) else "-" for side in ("plain_ms", "graph_ms")]
        problem = each.get("error") or ("" if each.get("recorded") else str(each.get("problem") or "not recorded"))
        apart = f"{each['largest_relative_difference']:.1e}" if "largest_relative_difference" in each else "-"
        rows.append([name, *times, apart, problem])
    head = ["recipe", "step, ms", "step as a graph, ms", "losses apart, relative", "problem"]
    return f"{markdown(head, rows)}\n\n{found['device']}, torch {found['torch']}; medians of three rounds."


def speed(out: Path) -> str:
    """Return the block of docs/performance.md: checks, and speeds by file."""
    parts = []
    if (out / "checks.md").is_file():
        parts.append((out / "checks.md").read_text(encoding="utf-8").strip())
    if (out / "graph.json").is_file():
        parts.append(graph(out / "graph.json"))
    machines = []
    for path in sorted(out.glob("bench-*.json")):
        results, machine = results_of(path)
        parts.append(f"`{path.stem.removeprefix('bench-')}`\n\n{table(results)}")
        machines.append(machine)
    return "\n\n".join([*parts, *dict.fromkeys(machines)])


@click.command()
@click.argument("out", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), help="A folder for copies of the pages.")
def main(out: Path, into: Path | None) -> None:
    """Write the block of docs/performance.md and RESULTS_gpu.md from a folder of measurements."""
    page, results = ROOT / "docs" / "performance.md", ROOT / "experiments" / "cifar10" / RESULTS
    if into is not None:
        into.mkdir(parents=True, exist_ok=True)
        page, results = Path(shutil.copy(page, into)), into / RESULTS
    write_block(page, BLOCK, speed(out))
    click.echo(f"wrote the block {BLOCK} of {page}")
    if (out / "RESULTS.md").is_file():
        results.write_text((out / "RESULTS.md").read_text(encoding="utf-8"), encoding="utf-8")
        click.echo(f"wrote {results}")


if __name__ == "__main__":
    main()
