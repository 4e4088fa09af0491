"""The command `ringback completion`."""

from importlib import import_module
from typing import Any

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

SHELLS: dict[str, Any] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
def completion(shell: str) -> None:
    """Print the script that lets a shell complete commands and options.

    \b
    Example:
      eval "$(ringback completion bash)"                    (in ~/.bashrc)
      eval "$(ringback completion zsh)"                     (in ~/.zshrc)
      ringback completion fish > ~/.config/fish/completions/ringback.fish
    """
    # Imported by name: `receiver.cli` lists this module, so an import at the top would be circular.
    complete = SHELLS[shell](import_module("receiver.cli").ringback, {}, "ringback", "_RINGBACK_COMPLETE")
    click.echo(complete.source_template % complete.source_vars())
