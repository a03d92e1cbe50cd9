"""The command `completion`."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")

HOW = {
    "bash": "ssl-zoo completion bash > ~/.ssl-zoo-complete.bash; echo '. ~/.ssl-zoo-complete.bash' >> ~/.bashrc",
    "zsh": "ssl-zoo completion zsh > ~/.ssl-zoo-complete.zsh; echo '. ~/.ssl-zoo-complete.zsh' >> ~/.zshrc",
    "fish": "ssl-zoo completion fish > ~/.config/fish/completions/ssl-zoo.fish",
}


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, options and names in SHELL; it says how to install itself.

    Example: ssl-zoo completion bash > ~/.ssl-zoo-complete.bash
    """
    click.echo(script(ctx.find_root().command, shell))


def script(group: click.Command, shell: str) -> str:
    """Return the script of a shell.

    Args:
        group: the group of all commands.
        shell: one of `SHELLS`.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    return f"# Install it: {HOW[shell]}\n" + kind(group, {}, "ssl-zoo", "_SSL_ZOO_COMPLETE").source()
