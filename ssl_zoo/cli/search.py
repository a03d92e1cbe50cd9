"""Commands that take a trained encoder to samples: `embed`, `neighbours`, `duplicates`, `curate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ssl_zoo.cli import options
from ssl_zoo.errors import shown_name


@click.command()
@click.argument("run")
@options.data
@click.option("--out", default="features.parquet", show_default=True, type=click.Path(dir_okay=False),
              help="FILE.parquet, FILE.npz, or FILE.npy for a memory map.")  # fmt: skip
@click.option("--devices", type=click.IntRange(min=1), metavar="N",
              help="Encode with N processes, one per device; leave it out under torchrun.")  # fmt: skip
@options.overrides
@options.imports
@options.as_json
def embed(run: str, data: Any, out: str, devices: int | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Write a row for each sample of the data: its name, its label if there is one, and its vector by RUN's encoder.

    It may be stopped at any time; the same command goes on. Example: ssl-zoo embed runs/mine --data PHOTOS
    """
    from ssl_zoo.distributed.launch import is_main_process
    from ssl_zoo.evaluation.embed import embed as write_embeddings

    found = write_embeddings(run, out, data=data, overrides=overrides, devices=devices, log=options.log)
    if not is_main_process():
        return
    if as_json:
        options.print_json(found)
    else:
        widths = ", ".join(f"{column} of {width} numbers" for column, width in found["dims"].items())
        click.echo(shown_name(f"{found['out']}: {found['num']} samples, {widths}"))


_features = click.option("--features", metavar="FILE", type=click.Path(dir_okay=False),
                         help="Vectors that `embed` has written, in place of computing them anew.")  # fmt: skip
_member = click.option("--member", metavar="NAME", help="Of samples with several members, whose vectors are taken.")
_page = click.option("--page/--no-page", default=True, show_default=True, help="Also write a page, FILE.html.")


def _search_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that searches share."""
    for option in (options.as_json, options.imports, options.overrides, _member, _features):
        command = option(command)
    return command


@click.command()
@click.argument("run")
@options.data
@click.option("--query", "queries", multiple=True, metavar="FILE", help="Whose neighbours; several; default all.")
@click.option("-k", "k", default=10, show_default=True, type=click.IntRange(min=1), help="Neighbours of each.")
@click.option("--out", default="neighbours.csv", show_default=True, type=click.Path(dir_okay=False),
              help="FILE.csv or FILE.parquet.")  # fmt: skip
@_page
@_search_options
def neighbours(
    run: str, data: Any, queries: tuple[str, ...], k: int, out: str, page: bool, features: str | None,
    member: str | None, overrides: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Write the nearest neighbours of samples by RUN's encoder: a table, and a page of pictures.

    Example: ssl-zoo neighbours runs/mine --data PHOTOS --query cat.jpg
    """
    from ssl_zoo.search.neighbours import neighbours as search

    found = search(
        run, out, data=data, queries=queries, k=k, features=features, member=member, page=page, overrides=overrides,
        log=options.log,
    )  # fmt: skip
    if as_json:
        options.print_json(found)
        return
    if queries:
        for row in found["neighbours"]:
            click.echo(f"{row['query']}  {row['rank']:3}  {row['cosine']:.4f}  {row['name']}")
    _print_files(found, f"{k} neighbours of {found['queries']} samples")


def _print_files(found: dict[str, Any], what: str) -> None:
    page = f", {found['page']}" if found["page"] else ""
    click.echo(shown_name(f"{found['out']}{page}: {what}"))


@click.command()
@click.argument("run")
@options.data
@click.option("--threshold", type=float, metavar="T",
              help="Least likeness of near duplicates, up to 1; default from changed copies of the data.")  # fmt: skip
@click.option("--min-cosine", type=float, metavar="C", help="Their least cosine by the encoder; default the same way.")
@click.option("--out", default="duplicates.csv", show_default=True, type=click.Path(dir_okay=False),
              help="FILE.csv or FILE.parquet.")  # fmt: skip
@_page
@_search_options
def duplicates(
    run: str, data: Any, threshold: float | None, min_cosine: float | None, out: str, page: bool,
    features: str | None, member: str | None, overrides: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Write the groups of exact and near duplicates in the data: a table, and a page of pictures.

    Example: ssl-zoo duplicates runs/mine --data PHOTOS
    """
    from ssl_zoo.search.duplicates import duplicates as search

    found = search(
        run, out, data=data, threshold=threshold, min_cosine=min_cosine, features=features, member=member, page=page,
        overrides=overrides, log=options.log,
    )  # fmt: skip
    if as_json:
        options.print_json(found)
        return
    click.echo(
        f"near duplicates: likeness of at least {found['threshold']:.3f}, cosine of at least {found['min_cosine']:.3f}"
        + (f" ({found['copies']} changed copies of the data say so)" if found["copies"] else "")
    )
    more = sum(len(group) - 1 for group in found["groups"])
    _print_files(found, f"{len(found['groups'])} groups among {found['num']} samples, {more} to leave out")


@click.command()
@click.argument("run")
@options.data
@click.option("--num", required=True, type=click.IntRange(min=1), metavar="N", help="Samples to choose.")
@click.option("--how", type=click.Choice(["k_means", "k_centre"]), default="k_means", show_default=True,
              help="Typical samples of each of N clusters, or samples far from each other.")  # fmt: skip
@options.seed
@click.option("--out", default="curated.csv", show_default=True, type=click.Path(dir_okay=False),
              help="FILE.csv or FILE.parquet, a list of paths.")  # fmt: skip
@_search_options
def curate(
    run: str, data: Any, num: int, how: Any, seed: int | None, out: str, features: str | None,
    member: str | None, overrides: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Choose a diverse subset of the data, and write a list of its files; nothing is copied.

    Example: ssl-zoo curate runs/mine --data PHOTOS --num 200
    """
    from ssl_zoo.search.curate import curate as choose

    found = choose(
        run, out, num=num, data=data, how=how, seed=seed or 0, features=features, member=member, overrides=overrides,
        log=options.log,
    )  # fmt: skip
    if as_json:
        options.print_json(found)
    else:
        click.echo(shown_name(f"{found['out']}: {found['num']} of {found['of']} samples"))
