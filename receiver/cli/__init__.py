"""The commands of `ringback`.

Every error is one line that names the fix. Exit code 1 means a failure, 2 a mistake in the command or in a
setting.
"""

import contextlib
import errno
import gc
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version

import click

from receiver.cli.groups import ALONE, INTERRUPTED, LOCAL, REMOTE, Group, with_environment
from receiver.cli.terminal import prepare_streams, tell
from receiver.domain.errors import Misconfigured, ReceiverError

COMMANDS = {
    "serve": ("receiver.cli.serve", LOCAL),
    "dev": ("receiver.demo.dev", ALONE),
    "demo": ("receiver.demo", ALONE),
    "sandbox": ("receiver.cli.sandbox", ALONE),
    "jobs": ("receiver.cli.jobs", REMOTE),
    "endpoints": ("receiver.cli.endpoints", REMOTE),
    "events": ("receiver.cli.events", REMOTE),
    "listen": ("receiver.cli.listen", REMOTE),
    "top": ("receiver.cli.top", REMOTE),
    "deliveries": ("receiver.cli.deliveries", REMOTE),
    "replays": ("receiver.cli.replays", REMOTE),
    "sources": ("receiver.cli.sources", REMOTE),
    "keys": ("receiver.cli.keys", REMOTE),
    "providers": ("receiver.cli.providers", REMOTE),
    "config": ("receiver.cli.config", LOCAL),
    "doctor": ("receiver.cli.doctor", LOCAL),
    "migrate": ("receiver.cli.migrate", LOCAL),
    "secrets": ("receiver.cli.secrets", LOCAL),
    "completion": ("receiver.cli.completion", ALONE),
}
"""The commands by name: the module of each, and the environment section of its help."""


NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})
"""The errors of output that has no room."""


class Commands(Group):
    """The group of all commands. A command is imported only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's
        """Return the names of the commands, in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002  # click's
        cmd_name: str,
    ) -> click.Command | None:
        """Return a command, or None when there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        module, environment = COMMANDS[cmd_name]
        with collector_paused():
            return with_environment(getattr(import_module(module), cmd_name), environment)


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector while modules are loaded: their objects stay, and looking takes a tenth."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@click.group(cls=Commands, epilog=REMOTE, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("ringback"), prog_name="ringback")
def ringback() -> None:
    """Submit slow, paid generation jobs once; get one signed terminal event for each.

    \b
    Example:
      ringback demo            see it work, with nothing configured
      ringback dev             try it: the service with simulated providers
      ringback serve           run the service
    """


def main() -> None:
    """Run a command and exit with its code."""
    prepare_streams()
    try:
        code = ringback(standalone_mode=False, prog_name="ringback")
        sys.stdout.flush()
        sys.exit(code)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.UsageError as error:
        message = " ".join(error.format_message().split())
        _fail(message if "did you mean" in message.lower() else f"{message} (see --help)", 2)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except Misconfigured as error:
        for line in error.lines[:-1]:
            tell(f"ringback: {line}", err=True)
        _fail(error.lines[-1], error.exit_code)
    except ReceiverError as error:
        _fail(error.detail, 1)
    except OSError as error:
        if not _unwritten(error):
            raise
        sys.exit(1)


def _unwritten(error: OSError) -> bool:
    """Return whether an error is one of output, and tell it where there is a reader."""
    if isinstance(error, BrokenPipeError):
        # The reader of a pipe has ended, as `head` does. At exit, Python flushes stdout once more and would
        # print the same error to stderr.
        sys.stderr.close()
        return True
    if error.errno not in NO_ROOM:
        return False
    with contextlib.suppress(OSError):
        sys.stdout.close()
    tell(f"ringback: the output cannot be written: {error.strerror}", err=True)
    return True


def _fail(message: str, code: int) -> None:
    tell(f"ringback: {message}", err=True)
    sys.exit(code)
