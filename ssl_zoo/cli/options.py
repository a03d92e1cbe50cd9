"""Options that several commands share."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from ssl_zoo.errors import UserError


class Once(click.Group):
    """A group of commands that refuses an option given twice; click would silently take the last."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command and its arguments.

        Raises:
            UserError: an option that takes one value is given twice.
        """
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and not isinstance(command, click.Group):
            inner = click.Context(command, info_name=name, parent=ctx, **command.context_settings)
            _, _, order = command.make_parser(inner).parse_args(args=list(rest))
            for option in order:
                single = isinstance(option, click.Option) and not (option.multiple or option.is_flag or option.count)
                if single and (num := sum(each is option for each in order)) > 1:
                    raise UserError(f"{option.opts[0]} is given {num} times; it takes one value.")
        return name, command, rest


def _import_modules(ctx: click.Context, option: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    import sys

    from ssl_zoo.registry import import_user_module
    from ssl_zoo.runs import commands

    if value and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for module in value:
        import_user_module(module)
    commands.imported[:] = value
    return value


imports = click.option(
    "--import", "imports", multiple=True, metavar="MODULE", is_eager=True, expose_value=False, callback=_import_modules,
    help="Import a module that registers parts of your own (also from the current folder).",
)  # fmt: skip
overrides = click.option(
    "-s", "--set", "overrides", multiple=True, metavar="KEY=VALUE",
    help="Override a key of the recipe, e.g. -s target=ema or -s training.batch_size=256; values are YAML.",
)  # fmt: skip


def _one_or_several(ctx: click.Context, option: click.Parameter, value: tuple[str, ...]) -> str | list[str] | None:
    return (value[0] if len(value) == 1 else list(value)) if value else None


data = click.option(
    "--data", multiple=True, metavar="SRC", callback=_one_or_several,
    help="A folder, an archive, a table, a list of files, or a registered source; several are put together.",
)  # fmt: skip
seed = click.option("--seed", type=click.IntRange(min=0), help="Seed of the run.")
variant = click.option("--variant", metavar="NAME", help="One of the experiment's named variants.")
dry_run = click.option(
    "--dry-run", is_flag=True, help="Print what will run, what of it is done, and about how long it takes; run nothing."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def recipe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that change a recipe."""
    for option in (variant, seed, data, overrides, imports):
        command = option(command)
    return command


def parallel(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options on runs that go on at the same time."""
    several = click.option(
        "--parallel", type=click.IntRange(min=1), metavar="N",
        help="Runs at the same time; default one per CUDA device, and one on a CPU.",
    )  # fmt: skip
    threads = click.option(
        "--threads", type=click.IntRange(min=1), metavar="T",
        help="CPU threads of each run; default all, divided among those that run at the same time.",
    )  # fmt: skip
    return several(threads(command))


def print_json(value: Any) -> None:
    """Print a result as JSON, on standard output."""
    from ssl_zoo.runs.folder import to_json

    click.echo(to_json(value, indent=2))


class Loudness:
    """How much the commands print on standard error: `-q` and `-v` of `ssl-zoo`."""

    quiet = False
    verbose = False
    since = 0.0


def set_loudness(quiet: bool, verbose: bool) -> None:
    """Take `-q` and `-v`. With `-q` no line of progress is printed and no bar drawn; results and errors stay.

    With `-v` each line of progress has the seconds since the start, and the error that ends a command
    comes with its traceback.
    """
    Loudness.quiet, Loudness.verbose, Loudness.since = quiet, verbose, time.monotonic()
    if quiet and sys.stderr.isatty():
        sys.stderr = NoTerminal(sys.stderr)


class NoTerminal:
    """Standard error that is no terminal: progress bars ask that before they draw."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def isatty(self) -> bool:
        """Return False."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def log(line: str) -> None:
    """Print a line of progress on standard error; standard output holds only results."""
    if Loudness.quiet:
        return
    mark = f"[{time.monotonic() - Loudness.since:7.1f} s] " if Loudness.verbose else ""
    click.echo(mark + line, err=True)


@contextmanager
def interruptible(advice: str) -> Iterator[None]:
    """A context that SIGTERM and Ctrl-C leave with exit code 75, after printing some advice.

    Trainings inside handle both signals themselves; this is for the work before, between and after them.
    """
    from ssl_zoo.training.stop import Interrupted, StopRequest

    try:
        with StopRequest() as request, request.at_once():
            yield
    except Interrupted:
        if os.environ.get("RANK", "0") == "0":  # of several processes one says it
            log(advice)
        raise SystemExit(75) from None


def print_error(line: str, error: Exception) -> None:
    """Print the error that ends a command; where an agent has started this process, it prints the first of all."""
    from ssl_zoo.distributed import failure

    if failure.is_recorded():
        failure.record_last(error, 2 if isinstance(error, UserError) else 1)
        return
    if Loudness.verbose:
        import traceback

        traceback.print_exception(error)
    click.echo(line, err=True)
