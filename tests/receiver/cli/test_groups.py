"""Tests of the command groups: help texts, summaries, and the nearest command for a typo."""

from collections.abc import Iterator
from typing import Any

import click
import pytest
from click.testing import CliRunner

from receiver.cli import ringback
from receiver.cli.groups import REMOTE, Group, with_environment


def commands(command: click.Command, *names: str) -> Iterator[tuple[str, ...]]:
    """Yield the names of a command and of all commands below it."""
    yield names
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, *names, name)


ALL = list(commands(ringback))


def helped(*names: str) -> str:
    """Return the help of a command for a terminal of 80 columns."""
    told = CliRunner().invoke(ringback, [*names, "--help"], prog_name="ringback", terminal_width=80)
    assert told.exit_code == 0
    return told.output


@pytest.mark.parametrize("names", ALL, ids=" ".join)
def test_every_help_has_an_example_of_the_command_and_its_environment(names: tuple[str, ...]) -> None:
    told = helped(*names)
    _, _, example = told.partition("Example:\n")
    assert " ".join(("ringback", *names)) in example.partition("\n\n")[0]
    assert "\n  Environment:" in told
    assert "Exit codes: 0 done, 1 failed, 2 a mistake" in told
    assert max(map(len, told.splitlines())) <= 100


@pytest.mark.parametrize("names", [names for names in ALL if names], ids=" ".join)
def test_no_summary_is_cut(names: tuple[str, ...]) -> None:
    context = click.Context(ringback)
    command: Any = ringback
    for name in names:
        command = command.get_command(context, name)
    first = " ".join(command.help.split("\n\n")[0].split()).replace("`", "")
    listed = " ".join(helped(*names[:-1]).replace("`", "").split())
    assert f"{names[-1]} {first.rstrip('.').partition('. ')[0]}" in listed


@click.group(cls=Group)
def tools() -> None:
    """Do things."""


@tools.command("make")
def make() -> None:
    """Make a thing that takes so many words to describe that a summary of one line would be cut somewhere."""


@tools.command("hide", hidden=True)
def hide() -> None:
    """Hide a thing."""


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("mak", "there is no command 'mak'; did you mean make?"),
        ("zzzz", "there is no command 'zzzz'; there are hide, make"),
    ],
)
def test_an_unknown_command_gets_the_nearest_or_the_list(word: str, says: str) -> None:
    context = click.Context(tools)
    with pytest.raises(click.UsageError) as raised:
        tools.resolve_command(context, [word])
    assert (raised.value.message, raised.value.ctx) == (says, context)


def test_a_known_command_is_resolved_with_the_rest_of_its_arguments() -> None:
    found = tools.resolve_command(click.Context(tools), ["make", "a", "--b"])
    assert found == ("make", make, ["a", "--b"])


def test_an_unknown_option_is_no_unknown_command() -> None:
    with pytest.raises(click.NoSuchOption, match="--mak"):
        tools.resolve_command(click.Context(tools), ["--mak"])


def test_an_unfinished_word_is_no_mistake_while_a_shell_completes() -> None:
    context = click.Context(tools, resilient_parsing=True)
    assert tools.resolve_command(context, ["mak"]) == (None, None, [])


def test_a_help_has_whole_summaries_and_no_hidden_command() -> None:
    result = CliRunner().invoke(tools, ["--help"], terminal_width=80)
    summary = " ".join(str(make.help).split()).rstrip(".")
    assert f"make {summary}" in " ".join(result.output.split())
    assert "Hide a thing" not in result.output


def test_the_environment_ends_the_help_of_a_group_and_of_each_command_in_it() -> None:
    @click.group(cls=Group)
    def outer() -> None:
        """Hold a group."""

    @outer.group(cls=Group)
    def inner() -> None:
        """Hold a command."""

    @inner.command()
    def leaf() -> None:
        """Do it."""

    assert with_environment(outer, REMOTE) is outer
    assert (outer.epilog, inner.epilog, leaf.epilog) == (REMOTE, REMOTE, REMOTE)
