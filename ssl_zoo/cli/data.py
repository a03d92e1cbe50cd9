"""Commands about data: `data check`, `data stats` and `data shard`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from ssl_zoo.cli import options
from ssl_zoo.errors import shown_name

SHOWN = 20
"""The most classes, sizes and bad files that are printed; --json gives all."""


@click.group(cls=options.Once)
def data() -> None:
    """Look at data before training on it, and write them into shards."""


def source_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what says which data are looked at, and how they are read."""
    for option in (
        options.as_json,
        options.imports,
        click.option("-s", "--set", "overrides", multiple=True, metavar="KEY=VALUE",
                     help="Set an option of data.source or data.decode as training: -s data.source.splits=none."),
        click.option("--modality", help="Kind of data: `ssl-zoo list modality`. Found out where only one reads SRC."),
        click.option("--channels", type=click.IntRange(min=1),
                     help="Channels that samples are read with: 3 (RGB) or 1 (grey) for photographs. By default 3, or "
                          "those of the first sample where they are not converted."),
        click.argument("source", metavar="SRC"),
    ):  # fmt: skip
        command = option(command)
    return command


@data.command("check")
@source_options
def check(source: str, channels: int | None, modality: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Read every sample of SRC and report splits, classes, sizes, statistics, bad files and ignored ones.

    SRC is a folder, an archive, a table, a list of files, or a registered source. Exit code 1 if a sample cannot be
    read.
    """
    from ssl_zoo.evaluation.data_report import check_data

    reports, notes = check_data(source, overrides, channels=channels, modality=modality)
    if as_json:
        options.print_json({**reports, "notes": notes})
    else:
        for name, report in reports.items():
            click.echo(
                "\n".join([f"{name}: {report['num_samples']} samples, {report['num_bad']} bad", *_lines(report)])
            )
        for note in notes:
            click.echo(f"note: {note}")
    if any(report["num_bad"] for report in reports.values()):
        raise SystemExit(1)


@data.command("stats")
@click.option("--recipe", help="Recipe whose views the statistics are for; -s then sets any of its keys.")
@source_options
def stats(
    source: str,
    channels: int | None,
    modality: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
    recipe: str | None,
) -> None:
    """Read every sample to train on of SRC, and print the lines that normalise its views, to be pasted into a recipe.

    They are the mean and the standard deviation of each channel. Exit code 1 if a sample cannot be read.
    """
    from ssl_zoo.evaluation.data_report import data_stats

    report = data_stats(source, overrides, channels=channels, modality=modality, recipe=recipe)
    if as_json:
        options.print_json(report)
    else:
        click.echo("views:")
        for name, value in report["views"].items():
            click.echo(f"  {name}: {_numbers(value) if isinstance(value, list) else _number(value)}")
        constant = [str(number) for number, value in enumerate(report["std"], start=1) if not value]
        if constant:
            options.log(f"note: the same value everywhere, so that std is given as 1: channel {', '.join(constant)}")
        for line in _bad(report):
            options.log(line.strip())
    if report["num_bad"]:
        raise SystemExit(1)


class Size(click.ParamType):
    """A number of bytes, with a unit or without: `256MB`, `1.5GiB`, `4000000`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes."""
        found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([kmgt]?)(i?)b?", str(value).strip().lower())
        num = 0
        if found is not None:
            num = int(float(found[1]) * (1024 if found[3] else 1000) ** " kmgt".index(found[2] or " "))
        if num < 1:
            self.fail(f"{value!r} is no size in bytes, such as 256MB or 1GiB.", param, ctx)
        return num


@data.command("shard")
@options.as_json
@options.imports
@click.option("--out", required=True, metavar="DIR", help="Folder of the shards; it must not exist.")
@click.option("--shards", type=click.IntRange(1, 99_999), metavar="N", help="Number of shards of each split.")
@click.option("--shard-size", type=Size(), metavar="SIZE", help="Size of a shard instead, such as 1GB; default 256MiB.")
@click.option(
    "--row-group",
    type=click.IntRange(1, 100_000),
    metavar="N",
    help="Rows that are read together; default at most 1000 and 2 MiB.",
)
@click.option(
    "--compression",
    type=click.Choice(["none", "zstd"]),
    default="none",
    show_default=True,
    help="Compression of the shards; images and recordings are compressed already.",
)
@click.option(
    "--shuffle",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="SEED",
    help="Seed of the random order of samples; files of one class often lie together.",
)
@click.option("--no-shuffle", is_flag=True, help="Keep the order of SRC.")
@click.option(
    "--on-error",
    type=click.Choice(["raise", "skip"]),
    default="raise",
    show_default=True,
    help="What to do with samples that cannot be read.",
)
@click.option(
    "-s",
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set an option of data.source or data.decode: -s data.source.splits=none.",
)
@click.option(
    "--modality",
    help="Kind of data: `ssl-zoo list modality`. Found out where only one reads SRC. Of pairs, that of each member: "
    "image,text.",
)
@click.option(
    "--channels",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Of samples that SRC makes; those of files are what they are.",
)
@click.argument("source", metavar="SRC")
def shard(
    source: str,
    out: str,
    shards: int | None,
    shard_size: int | None,
    row_group: int | None,
    compression: Any,
    shuffle: int,
    no_shuffle: bool,
    on_error: Any,
    overrides: tuple[str, ...],
    modality: str | None,
    channels: int,
    as_json: bool,
) -> None:
    """Copy the samples of SRC into shards: large files, which `--data DIR` reads piece by piece.

    SRC is what `data check` takes, or a place of pairs. Shards are parquet files with small row groups and an index;
    samples are copied as they are stored, tensors as arrays. An interrupted command goes on where it stopped when it is
    given again.
    """
    from ssl_zoo.errors import UserError
    from ssl_zoo.evaluation.sharding import shard_data
    from ssl_zoo.evaluation.split_shards import SHARD_BYTES, Layout

    if shards is not None and shard_size is not None:
        raise UserError("--shards and --shard-size say the same; give one of them.")
    layout = Layout(
        shards, shard_size or SHARD_BYTES, row_group, compression, None if no_shuffle else shuffle, on_error
    )
    report = shard_data(source, out, overrides, modality=modality, channels=channels, layout=layout)
    if as_json:
        options.print_json(report)
        return
    for name, split in report["splits"].items():
        size = f"{split['bytes'] / 2**20:.1f} MiB"
        click.echo(
            f"{name}: {split['samples']} samples, {split['shards']} shards, {split['row_groups']} row groups, {size}"
        )
    for name, reason in list(report["left_out"].items())[:SHOWN]:
        click.echo(shown_name(f"  left out: {name}: {reason}"))
    if len(report["left_out"]) > SHOWN:
        click.echo(f"  and {len(report['left_out']) - SHOWN} more left out")
    for note in report["notes"]:
        click.echo(f"note: {note}")
    click.echo(f"train on them by --data {out}")


def _numbers(values: Sequence[float]) -> str:
    return f"[{', '.join(map(_number, values))}]"


def _number(value: float) -> str:
    """Return a value as YAML, to six digits; a number with an exponent would be text there."""
    import numpy as np

    if isinstance(value, int):
        return str(value)
    return str(np.format_float_positional(float(f"{value:.6g}"), trim="0"))


def _lines(report: dict[str, Any]) -> Iterator[str]:
    classes = report["classes"]
    yield f"  classes: {len(classes)}: {_some(classes)}" if classes else "  classes: none, the data have no labels"
    if classes and report["num_unlabelled"]:
        yield f"  no label: {report['num_unlabelled']} samples"
    axes = f", {report['axes']}" if report["axes"] else ""
    yield f"  sizes{axes}: {_some(report['sizes'])}"
    for name in ("mean", "std") if report["mean"] else ():
        yield f"  {name} of each channel: {', '.join(f'{value:.4f}' for value in report[name])}"
    known = sorted(report["remarks"].items(), key=lambda item: -item[1]["num"])
    for remark, on in known[:SHOWN]:
        num_read = report["num_samples"] - report["num_bad"]
        yield shown_name(f"  {on['num']} of {num_read}: {remark}; for example {on['example']}")
    if len(known) > SHOWN:
        yield f"  and {len(known) - SHOWN} more remarks"
    yield from _bad(report)


def _bad(report: dict[str, Any]) -> Iterator[str]:
    for name, reason in list(report["bad"].items())[:SHOWN]:
        yield shown_name(f"  bad: {name}: {reason}")
    if report["num_bad"] > SHOWN:
        yield f"  and {report['num_bad'] - SHOWN} more bad ones"


def _some(counts: dict[str, int]) -> str:
    """Return `name (count), ...`, and the number of those that are not printed."""
    listed = ", ".join(f"{shown_name(name)} ({count})" for name, count in list(counts.items())[:SHOWN])
    return listed + (f", and {len(counts) - SHOWN} more" if len(counts) > SHOWN else "")
