"""Commands about data: `data check`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from ssl_zoo.cli import options

SHOWN = 20
"""How many classes, sizes and bad files are printed; --json gives all."""


@click.group()
def data() -> None:
    """Look at data before training on it."""


@data.command("check")
@click.argument("source", metavar="SRC")
@click.option("--channels", type=click.IntRange(min=1), default=3, show_default=True,
              help="Channels that samples are read with: 3 (RGB) or 1 (grey) for images.")  # fmt: skip
@options.imports
@options.as_json
def check(source: str, channels: int, as_json: bool) -> None:
    """Read every sample of SRC: counts, classes, sizes, statistics, bad files.

    SRC is a folder, zip or parquet, or a registered source. Exit code 1 if a sample cannot be read.
    """
    from ssl_zoo import registry
    from ssl_zoo.data import check_source, resolve

    part: dict[str, Any] = dict(resolve(source))
    opened = registry.build("source", part.pop("name"), part, channels=channels)
    reports = {name: check_source(opened.split(name)) for name in opened.splits}
    if as_json:
        options.print_json(reports)
    else:
        for name, report in reports.items():
            click.echo(
                "\n".join([f"{name}: {report['num_samples']} samples, {report['num_bad']} bad", *_lines(report)])
            )
    if any(report["num_bad"] for report in reports.values()):
        raise SystemExit(1)


def _lines(report: dict[str, Any]) -> Iterator[str]:
    classes = report["classes"]
    yield f"  classes: {len(classes)}: {_some(classes)}" if classes else "  classes: none, the data have no labels"
    yield f"  height x width: {_some(report['sizes'])}"
    for name in ("mean", "std"):
        yield f"  {name}, 0..1, of each channel: {', '.join(f'{value:.4f}' for value in report[name])}"
    known = sorted(report["remarks"].items(), key=lambda item: -item[1]["num"])
    for remark, on in known[:SHOWN]:
        yield f"  {on['num']} of {report['num_samples'] - report['num_bad']}: {remark}; for example {on['example']}"
    if len(known) > SHOWN:
        yield f"  and {len(known) - SHOWN} more remarks"
    for name, reason in list(report["bad"].items())[:SHOWN]:
        yield f"  bad: {name}: {reason}"
    if report["num_bad"] > SHOWN:
        yield f"  and {report['num_bad'] - SHOWN} more bad ones"


def _some(counts: dict[str, int]) -> str:
    """Return `name (count), ...`, with the number of those left out."""
    listed = ", ".join(f"{name} ({count})" for name, count in list(counts.items())[:SHOWN])
    return listed + (f", and {len(counts) - SHOWN} more" if len(counts) > SHOWN else "")
