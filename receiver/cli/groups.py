"""Command groups: full summaries, the nearest command for a typo, and the environment in every help text."""

import click

from receiver.cli.params import nearest

INTERRUPTED = 130
"""The exit code after Ctrl-C."""
REMOTE = """\b
Environment:
  RINGBACK_URL           the service; default: host and port of the settings
                         of this machine, http://127.0.0.1:8080
  RINGBACK_API_KEY       a key of it, or RINGBACK_API_KEY_FILE; default: the
                         admin key of the settings or of `data_dir`
  RINGBACK_CONFIG        the settings file; default: ./ringback.toml

Exit codes: 0 done, 1 failed, 2 a mistake in the command, 130 interrupted."""
"""The end of the help of commands that call a service."""
LOCAL = """\b
Environment:
  RINGBACK_CONFIG        the settings file; default: ./ringback.toml
  RINGBACK_<SETTING>     any setting, for example RINGBACK_PORT;
                         RINGBACK_<SETTING>_FILE reads it from a file

Exit codes: 0 done, 1 failed, 2 a mistake in the command or a setting."""
"""The end of the help of commands that read the settings of this machine."""
ALONE = """\b
Environment: nothing is read; settings of this machine do not count here.

Exit codes: 0 done, 1 failed, 2 a mistake in the command."""
"""The end of the help of commands that read no settings."""


class Group(click.Group):
    """A group of commands that shows full summaries and suggests the nearest command for a typo."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the named command. Raises `click.UsageError` with the nearest name when there is none."""
        name = args[0]
        # Shell completion parses with `resilient_parsing`: an unfinished word is no mistake there.
        if not name.startswith("-") and self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            known = self.list_commands(ctx)
            hint = nearest(name, known) or f"; there are {', '.join(known)}"
            raise click.UsageError(f"there is no command {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write every command with its full summary, which click would cut."""
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                rows.append((name, command.get_short_help_str(limit=1000)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def with_environment(command: click.Command, text: str) -> click.Command:
    """Append `text` to the help of a command and its subcommands, where they have no own. Returns it."""
    command.epilog = command.epilog or text
    for inner in getattr(command, "commands", {}).values():
        with_environment(inner, text)
    return command
