"""Tests of the package of the commands: the list of all, and the exit code and the line of each error."""

import errno
import io
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NoReturn

import click
import pytest

from receiver import cli
from receiver.cli import COMMANDS, main, ringback
from receiver.domain.errors import Misconfigured, NotFound

LONG = "a setting that is wrong in a way that takes more than eighty characters to explain to its reader"


def ended(*arguments: str) -> int:
    """Return the exit code of a command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["ringback", *arguments])
        with pytest.raises(SystemExit) as raised:
            main()
    code = raised.value.code
    return code if isinstance(code, int) else 0


def raising(error: BaseException) -> Callable[..., NoReturn]:
    """Return a command that raises `error`."""

    def command(**_options: Any) -> NoReturn:
        raise error

    return command


def test_the_commands_are_listed_in_their_order() -> None:
    assert ringback.list_commands(click.Context(ringback)) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_in_its_module_under_its_name(name: str) -> None:
    found = ringback.get_command(click.Context(ringback), name)
    assert found is not None
    assert (found.name, found.epilog) == (name, COMMANDS[name][1])


def test_a_name_that_is_none_has_no_command() -> None:
    assert ringback.get_command(click.Context(ringback), "job") is None


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("--version") == 0
    assert capsys.readouterr() == (f"ringback, version {version('ringback')}\n", "")


@pytest.mark.parametrize("arguments", [(), ("jobs",)])
def test_a_group_without_a_command_shows_its_help(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert ended(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"Usage: {' '.join(('ringback', *arguments))} [OPTIONS] COMMAND")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("jbos",), "there is no command 'jbos'; did you mean jobs?"),
        (("jobs", "show"), "Missing argument 'ID'. (see --help)"),
        (
            ("jobs", "list", "--limit", "x"),
            "Invalid value for '--limit': 'x' must be a whole number from 1 to 200 (see --help)",
        ),
    ],
)
def test_a_mistake_in_a_command_is_one_line_and_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], line: str
) -> None:
    assert ended(*arguments) == 2
    assert capsys.readouterr() == ("", f"ringback: {line}\n")


def test_an_unknown_option_with_a_near_one_is_not_told_of_the_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended("jobs", "list", "--stat") == 2
    err = capsys.readouterr().err
    assert err.startswith("ringback: No such option")
    assert "'--state'" in err
    assert "--help" not in err


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (click.ClickException("it broke"), 1, ["it broke"]),
        (click.UsageError("two\n  words"), 2, ["two words (see --help)"]),
        (NotFound("no such job"), 1, ["no such job"]),
        (NotFound(), 1, [NotFound.meaning]),
        (Misconfigured("port", LONG), 2, [f"port: {LONG}"]),
        (
            Misconfigured("port", "is taken", [Misconfigured("host", "is none")]),
            2,
            ["port: is taken", "host: is none"],
        ),
        (click.Abort(), 130, ["interrupted"]),
        (KeyboardInterrupt(), 130, ["interrupted"]),
    ],
)
def test_an_error_ends_with_its_code_and_a_line_for_each_mistake(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    lines: list[str],
) -> None:
    monkeypatch.setattr(cli, "ringback", raising(error))
    assert ended() == code
    assert capsys.readouterr() == ("", "".join(f"ringback: {line}\n" for line in lines))


def test_the_exit_code_of_a_command_is_that_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "ringback", lambda **_options: 3)
    assert ended() == 3


def test_a_reader_that_has_left_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(cli, "ringback", raising(BrokenPipeError()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        assert ended() == 1
    # At exit Python would print the error of flushing stdout there.
    assert stderr.closed


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_output_without_room_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    monkeypatch.setattr(cli, "ringback", raising(OSError(number, os.strerror(number))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
        assert ended() == 1
    assert capsys.readouterr().err == f"ringback: the output cannot be written: {os.strerror(number)}\n"


def test_another_error_of_the_system_is_no_matter_of_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "ringback", raising(OSError(errno.ENOENT, "no")))
    with pytest.raises(FileNotFoundError):
        main()


@pytest.mark.parametrize(
    ("redirection", "code", "told"),
    [
        (">/dev/full", 1, "ringback: the output cannot be written: No space left on device\n"),
        (">&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        (">/dev/full 2>&-", 1, ""),
    ],
)
def test_a_command_may_have_no_output(redirection: str, code: int, told: str) -> None:
    command = f"{shlex.quote(sys.executable)} -m receiver --version {redirection}"
    done = subprocess.run(
        ["/bin/sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (code, told)


def test_characters_that_the_terminal_lacks_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(cli, "ringback", lambda **_options: click.echo("a \u6f6e"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="latin-1", write_through=True))
        assert ended() == 0
        assert raw.getvalue() == b"a \\u6f6e\n"
