"""The command `doctor`."""

from __future__ import annotations

import click

from ssl_zoo.cli import options
from ssl_zoo.errors import shown_name


@click.command("doctor")
@click.option("--out", default="runs", show_default=True, metavar="DIR", help="The folder of runs to test.")
@click.option("--data", metavar="PATH", help="Data to test.")
@options.as_json
def doctor(out: str, data: str | None, as_json: bool) -> None:
    """Show versions, devices, memory, what is optional and missing, and whether folders can be used.

    Exit code 1 if something has to be mended.
    """
    from ssl_zoo.studies.doctor import doctor as examine
    from ssl_zoo.studies.doctor import lines

    found = examine(out, data)
    if as_json:
        options.print_json(found)
    else:
        click.echo("\n".join(map(shown_name, lines(found))))
    if found["problems"]:
        raise SystemExit(1)
