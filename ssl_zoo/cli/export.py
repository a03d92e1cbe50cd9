"""The command `export`."""

from __future__ import annotations

import click

from ssl_zoo.cli import options
from ssl_zoo.errors import shown_name


@click.command()
@click.argument("run")
@click.option("--to", required=True, metavar="TARGET", help="safetensors, torchvision, timm, onnx or torchscript.")
@click.option(
    "--out", required=True, type=click.Path(),
    help="A new folder with a model card, ready for a hub; or a file alone, such as encoder.onnx.",
)  # fmt: skip
@click.option(
    "--with-preprocessing", is_flag=True,
    help="Put resize, crop and normalisation inside: uint8 in, features out (onnx, torchscript).",
)  # fmt: skip
@click.option("--member", metavar="NAME", help="Whose encoder, of a run on pairs.")
@options.data
@options.imports
@options.as_json
def export(
    run: str, to: str, out: str, with_preprocessing: bool, member: str | None, data: str | None, as_json: bool
) -> None:
    """Write the encoder of RUN for another library, load it there again, and compare the features on samples.

    Example: ssl-zoo export runs/mine --to onnx --out encoder.onnx
    """
    from ssl_zoo.runs.export.export import export as write_export

    found = write_export(
        run, to=to, out=out, member=member, with_preprocessing=with_preprocessing, data=data, log=options.log
    )
    if as_json:
        options.print_json(found)
        return
    click.echo(shown_name(f"{found['file']}: largest difference {found['largest_difference']:.2g} (allowed "
                          f"{found['tolerance']:g}), on {found['compared_on']}"))  # fmt: skip
    click.echo("load it with:\n" + "\n".join(f"    {shown_name(line)}" for line in found["load"]))
