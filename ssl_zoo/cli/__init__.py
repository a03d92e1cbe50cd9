"""The command line. A command loads its recipe, calls one function of the package and prints what that returns.

docs/reference/api.md lists the functions; `bench` alone calls several. Torch is loaded by the commands that need it.
"""

from __future__ import annotations

import io
import sys
from contextlib import nullcontext
from typing import Any

import click

from ssl_zoo.cli import options
from ssl_zoo.cli.bench import bench
from ssl_zoo.cli.compare import compare
from ssl_zoo.cli.completion import completion
from ssl_zoo.cli.data import data
from ssl_zoo.cli.doctor import doctor
from ssl_zoo.cli.export import export
from ssl_zoo.cli.finetune import finetune, predict
from ssl_zoo.cli.hints import hint
from ssl_zoo.cli.init import init
from ssl_zoo.cli.look import check, list_, schema, show, views
from ssl_zoo.cli.merge import merge
from ssl_zoo.cli.search import curate, duplicates, embed, neighbours
from ssl_zoo.cli.slurm import slurm
from ssl_zoo.cli.work import demo, evaluate, report, run, train
from ssl_zoo.distributed.program import called_with
from ssl_zoo.errors import TrainingFailed, UserError
from ssl_zoo.training.shared_cpu import sleep_soon


class Commands(options.Once):
    """The group of all commands: one sentence and exit code 2 for a mistake, exit code 1 for a run that broke off."""

    def main(self, args: Any = None, *more: Any, **settings: Any) -> Any:
        """Run the command line, of this process or as it is given."""
        with nullcontext() if args is None else called_with([*args]):
            return super().main(args, *more, **settings)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            options.print_error(f"error: {error}", error)
            ctx.exit(2)
        except click.NoSuchOption as error:
            if said := hint(error):
                raise click.UsageError(f"{error.message} ({said})", error.ctx) from None
            raise
        except TrainingFailed as error:
            options.print_error(f"failed: {error}", error)
            ctx.exit(1)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ssl_zoo", prog_name="ssl-zoo")
@click.option("-q", "--quiet", is_flag=True, help="Print results and errors alone: no lines of progress, no bars.")
@click.option("-v", "--verbose", is_flag=True, help="Print the time with every line, and a traceback with an error.")
def main(quiet: bool, verbose: bool) -> None:
    """Self-supervised learning without negative pairs: train, see whether it worked, compare, hand over.

    Exit codes: 0 done, 1 failed, 2 bad usage or recipe, 3 stopped by the collapse guard, 75 stopped by a signal or
    --max-time after saving.
    """
    if quiet and verbose:
        raise UserError("-q, -v: are opposites; give one.")
    options.set_loudness(quiet, verbose)
    sleep_soon()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a class may have a name that the terminal cannot show


for command in (
    demo,
    init,
    train,
    evaluate,
    embed,
    finetune,
    predict,
    export,
    merge,
    neighbours,
    duplicates,
    curate,
    compare,
    run,
    slurm,
    report,
    views,
    list_,
    show,
    check,
    schema,
    data,
    bench,
    doctor,
    completion,
):
    main.add_command(command)

if __name__ == "__main__":
    sys.exit(main())
