"""The command `merge`."""

from __future__ import annotations

import click

from ssl_zoo.cli import options
from ssl_zoo.errors import shown_name


@click.command()
@click.argument("run")
@options.as_json
def merge(run: str, as_json: bool) -> None:
    """Merge a sharded checkpoint of RUN, as the strategy fsdp writes it, into one file.

    RUN is a run folder, for its last checkpoint, or RUN@stepN or RUN@best.

    Example: ssl-zoo merge runs/large
    """
    from ssl_zoo.runs.at_step import merge_checkpoint

    found = merge_checkpoint(run, options.log)
    if as_json:
        options.print_json(found)
        return
    click.echo(shown_name(f"{found['file']}: step {found['step']}, {found['bytes'] / 1e6:.1f} MB"))
