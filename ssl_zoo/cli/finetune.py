"""Commands from an encoder to a classifier: `finetune`, `predict`."""

from __future__ import annotations

from typing import Any

import click

from ssl_zoo.cli import options
from ssl_zoo.errors import shown_name


@click.command()
@click.argument("run")
@options.data
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Folder of the classifier, a new one.")
@click.option("--labels", type=click.IntRange(min=2), metavar="N",
              help="Use N labelled samples of train, drawn by class; default all.")  # fmt: skip
@click.option("--steps", default=300, show_default=True, type=click.IntRange(min=0),
              help="Most steps of all weights; 0 keeps the linear classifier.")  # fmt: skip
@click.option("--lr", default=3e-3, show_default=True, help="Learning rate of the classifier.")
@click.option("--layer-decay", default=0.75, show_default=True,
              help="From a layer's learning rate to that of the layer before it.")  # fmt: skip
@click.option("--batch-size", default=32, show_default=True, type=click.IntRange(min=2))
@click.option("--weight-decay", default=0.05, show_default=True)
@click.option("--norm", default="auto", show_default=True, type=click.Choice(["auto", "batch", "frozen"]),
              help="BatchNorm by the statistics of each batch, or by those from RUN; auto: by size.")  # fmt: skip
@click.option("--mixup", default=0.0, show_default=True, metavar="ALPHA", help="Mix samples; 0 leaves it out.")
@click.option("--patience", default=5, show_default=True, type=click.IntRange(min=1),
              help="Looks at the held-out part in a row that are clearly worse end it.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@options.overrides
@options.imports
@options.as_json
def finetune(run: str, data: str | None, out: str, overrides: tuple[str, ...], as_json: bool, **settings: Any) -> None:
    """Make a classifier of RUN's encoder and labelled samples: the linear layer first, then all layers.

    Example: ssl-zoo finetune runs/mine --data LABELLED --out runs/classifier
    """
    from ssl_zoo.studies.finetuning.finetune import finetune as make_classifier
    from ssl_zoo.studies.finetuning.results import text

    found = make_classifier(run, out=out, data=data, overrides=overrides, log=options.log, **settings)
    if as_json:
        options.print_json(found)
        return
    sizes = found["samples"]
    click.echo(text(found))
    click.echo(
        f"trained on {sizes['learn']} samples, stopped by {sizes['held_out']}, tested on {sizes['test']}; "
        f"kept after step {found['step']} of {found['last_step']}"
    )
    click.echo(shown_name(f"{found['out']}: use it with ssl-zoo predict {found['out']} --data FILES"))


@click.command()
@click.argument("classifier")
@options.data
@click.option("--out", type=click.Path(dir_okay=False), help="FILE.csv of name, class and probability.")
@options.overrides
@options.imports
@options.as_json
def predict(classifier: str, data: str | None, out: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Print the class of each sample by CLASSIFIER, a folder that finetune has made.

    Example: ssl-zoo predict runs/classifier --data PHOTOS --out predictions.csv
    """
    from ssl_zoo.studies.finetuning.predict import predict as predicted

    found = predicted(classifier, data=data, out=out, overrides=overrides, log=options.log)
    if as_json:
        options.print_json(found)
        return
    rows = found["predictions"]
    for row in rows if out is None else ():
        click.echo(f"{row['name']}\t{row['class']}\t{row['probability']:.3f}")
    if out is not None:
        click.echo(shown_name(f"{out}: {len(rows)} samples"))
