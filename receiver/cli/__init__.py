"""The commands. Every error is one line that names the fix; exit code 1 is a failure, 2 a mistake."""

import sys
from importlib import import_module
from importlib.metadata import version

import click

from receiver.errors import Misconfigured, ReceiverError

COMMANDS = {
    "serve": "receiver.cli.serve",
    "demo": "receiver.demo",
    "sandbox": "receiver.sandbox.command",
    "jobs": "receiver.cli.jobs",
    "endpoints": "receiver.cli.remote",
    "events": "receiver.cli.remote",
    "deliveries": "receiver.cli.remote",
    "keys": "receiver.cli.remote",
    "config": "receiver.cli.local",
    "doctor": "receiver.cli.doctor",
    "migrate": "receiver.cli.local",
    "secrets": "receiver.cli.local",
}


class Commands(click.Group):
    """The commands by name, each imported only when it is used."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Their names, in the order of use."""
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """One command."""
        if name not in COMMANDS:
            return None
        found: click.Command = getattr(import_module(COMMANDS[name]), name)
        return found


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("ringback"), prog_name="ringback")
def ringback() -> None:
    """Submit slow, paid generation jobs once, and be rung back: one signed terminal event per job.

    \b
    Example:
      ringback demo            see it work, with nothing configured
      ringback serve           run the service
    """


def main() -> None:
    """Run a command; the exit code tells how it went."""
    try:
        sys.exit(ringback(standalone_mode=False))
    except click.Abort:
        click.echo("ringback: interrupted", err=True)
        sys.exit(1)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.UsageError as error:
        click.echo(f"ringback: {error.format_message()} (see --help)", err=True)
        sys.exit(2)
    except click.ClickException as error:
        click.echo(f"ringback: {error.format_message()}", err=True)
        sys.exit(error.exit_code)
    except Misconfigured as error:
        for line in error.lines:
            click.echo(f"ringback: {line}", err=True)
        sys.exit(error.exit_code)
    except ReceiverError as error:
        click.echo(f"ringback: {error.detail}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("ringback: interrupted", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
