"""Commands that take a trained encoder to samples: `embed`."""

from __future__ import annotations

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
def embed(run: str, data: str | None, out: str, devices: int | None, overrides: tuple[str, ...], as_json: bool) -> None:
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
