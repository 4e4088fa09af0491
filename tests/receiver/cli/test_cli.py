"""The common parts of all commands: output, input, and help."""

import io
import json
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.api import requests, responses
from receiver.cli import ringback
from receiver.cli.follow import waits_for
from receiver.cli.output import fitted, flat, print_json, table
from receiver.cli.params import DELIVERY_STATES, SCOPES, STATES, Real, nearest, read_input
from receiver.cli.terminal import noted, plain, wrapped


def commands(command: click.Command, *names: str) -> Iterator[tuple[str, ...]]:
    """The names of a command and of all below it."""
    yield names
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, *names, name)


ALL = list(commands(ringback))


def helped(*names: str) -> str:
    """The help of a command, as a terminal of 80 columns shows it."""
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


def test_the_words_that_commands_take_are_those_of_the_api() -> None:
    assert SCOPES == requests.SCOPES
    assert get_args(responses.DeliveryResponse.model_fields["state"].annotation) == DELIVERY_STATES
    assert get_args(get_args(requests.JobQuery.model_fields["state"].annotation)[0]) == STATES
    assert f": {', '.join(STATES)}." in " ".join(helped("jobs", "list").split())
    assert f": {', '.join(SCOPES)}." in " ".join(helped("keys", "create").split())


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("a tide, coming in: 100 % ~", "a tide, coming in: 100 % ~"),
        ("Grüße, 潮, 🌊", "Grüße, 潮, 🌊"),
        ("\x1b]0;owned\x07\x1b[2J", "\\u001b]0;owned\\u0007\\u001b[2J"),
        ("\x9b31m \x7f", "\\u009b31m \\u007f"),
        ("a\r\nb\tc\x00", "a\\u000d\\u000ab\\u0009c\\u0000"),
        ("\u202ereversed\u2066\u200b\ufeff\u00ad", "\\u202ereversed\\u2066\\u200b\\ufeff\\u00ad"),
        ("\ud800 \ue000 \u2028\u2029", "\\ud800 \\ue000 \\u2028\\u2029"),
        ("\U000e0041\U000f0000", "\\U000e0041\\U000f0000"),
        ("[bold]x[/nope] [link=https://x.example]", "[bold]x[/nope] [link=https://x.example]"),
    ],
)
def test_text_cannot_drive_a_terminal(text: str, printed: str) -> None:
    assert plain(text) == printed


@given(st.text(st.characters()))
@settings(max_examples=300, deadline=None)
def test_no_unsafe_character_is_printed(text: str) -> None:
    found = {unicodedata.category(one) for one in plain(text)}
    assert not found & {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
    assert plain(text).count("\n") == 0


def test_json_is_ascii_and_means_what_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"name": "\x1b \x7f \x9b \u202e 潮 \ue000"}
    print_json(value)
    out = capsys.readouterr().out
    assert set(out) <= {chr(code) for code in range(32, 127)} | {"\n"}
    assert json.loads(out) == value


def test_a_pipe_gets_a_header_and_a_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "job_1", "data": {"id": "a\tb\nc"}, "error": None, "events": ["x", "y"], "on": True},
        {"id": "job_2", "error": "[/nope] " * 40, "events": [], "on": False},
    ]
    table(rows, ("id", "data.id", "error", "events", "on"))
    assert capsys.readouterr().out.splitlines() == [
        "id\tdata.id\terror\tevents\ton",
        "job_1\ta\\u0009b\\u000ac\t\tx, y\ttrue",
        "job_2\t\t" + "[/nope] " * 40 + "\t\tfalse",
    ]


@pytest.mark.parametrize(
    ("columns", "width", "shown"),
    [
        ([("id", 36), ("state", 9), ("url", 20)], 80, {"id": 36, "state": 9, "url": 20}),
        ([("id", 36), ("state", 9), ("url", 200), ("type", 5)], 80, {"id": 36, "state": 9, "type": 5}),
        ([("id", 36), ("state", 9)], 20, {"id": 36}),
        ([("id", 36), ("state", 9)], 47, {"id": 36, "state": 9}),
        ([("id", 36), ("state", 9)], 46, {"id": 36}),
        ([("at", 24), ("kind", 10), ("error", 90)], 80, {"at": 24, "kind": 10, "error": 42}),
        ([("at", 24), ("error", 9), ("note", 90)], 80, {"at": 24, "error": 9, "note": 43}),
        ([("at", 24), ("kind", 30), ("error", 90)], 60, {"at": 24, "kind": 30}),
        ([("at", 24), ("error", 90), ("note", 90)], 80, {"at": 24, "error": 26, "note": 26}),
        ([("at", 24), ("error", 90), ("note", 90)], 75, {"at": 24, "note": 49}),
        ([("at", 24), ("error", 24), ("note", 24)], 60, {"at": 24, "error": 24}),
    ],
)
def test_columns_that_do_not_fit_are_left_out_and_none_is_folded(
    columns: list[tuple[str, int]], width: int, shown: dict[str, int]
) -> None:
    assert fitted(columns, width) == shown


def test_one_thing_is_flat_lines() -> None:
    told = {
        "id": "j",
        "progress": None,
        "metadata": {"a": "1"},
        "assets": [{"url": "u", "width": 4.0, "fps": None}],
        "events": ["x", "y"],
    }
    assert list(flat(told)) == [
        ("id", "j"),
        ("progress", "-"),
        ("metadata.a", "1"),
        ("assets.0.url", "u"),
        ("assets.0.width", "4"),
        ("events", "x, y"),
    ]


def read(text: str) -> Any:
    """Return the JSON of an argument INPUT."""
    return read_input(click.Context(ringback), click.Argument(["input"]), text)


def test_input_comes_as_text_from_a_file_or_from_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {"prompt": "a tide"}
    file = tmp_path / "body.json"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(whole).encode())
    assert read('{"prompt": "a tide"}') == whole
    assert read(f"@{file}") == whole
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(whole).encode())))
    assert read("-") == whole


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "{prompt",
            "it is not valid JSON (Expecting property name enclosed in double quotes, line 1 column 2)",
        ),
        ('{"a": 1, "a": 2}', "it is not valid JSON (a key is there twice)"),
        ('{"a": NaN}', "it is not valid JSON (NaN is no number)"),
        ("[" * 100_000, "it is not valid JSON"),
        ("[1]", "it must be a JSON object"),
        ("@/nowhere/body.json", "cannot read /nowhere/body.json: No such file or directory"),
    ],
)
def test_input_that_cannot_be_read_is_told_with_its_place(text: str, says: str) -> None:
    with pytest.raises(click.BadParameter) as raised:
        read(text)
    assert raised.value.message.startswith(says)


@pytest.mark.parametrize(
    ("word", "hint"), [("job", "; did you mean jobs?"), ("runing", "; did you mean running?"), ("zzz", "")]
)
def test_the_nearest_word_is_named_where_one_is_near(word: str, hint: str) -> None:
    assert nearest(word, ["jobs", "keys", "running"]) == hint


@pytest.mark.parametrize(
    ("job", "trouble", "says"),
    [
        ({"progress": 40.0}, "", ""),
        ({"waiting": None}, "", ""),
        ({"waiting": {"reason": "throttled", "detail": "slow down."}}, "", "slow down"),
        (
            {"waiting": {"reason": "unreachable", "detail": "connect: refused"}},
            "",
            "connect: refused; `ringback doctor` looks at the way there",
        ),
        (
            {"waiting": {"reason": "account_blocked", "detail": "wrong key"}},
            "",
            "wrong key; `ringback doctor` asks the provider; a corrected key counts after a restart",
        ),
        ({"waiting": {"reason": "account_blocked"}}, "no service answers", "no service answers"),
    ],
)
def test_a_job_that_waits_tells_why_and_the_next_step(job: dict[str, Any], trouble: str, says: str) -> None:
    assert waits_for(job, trouble) == says


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (("--deadline", "abc"), "'abc' must be a whole number from 1 to 604800"),
        (("--deadline", "0"), "'0' must be a whole number from 1 to 604800"),
        (("--deadline", "1.5"), "'1.5' must be a whole number from 1 to 604800"),
    ],
)
def test_a_number_that_is_none_is_told_with_its_bounds(option: tuple[str, ...], says: str) -> None:
    told = CliRunner().invoke(ringback, ["jobs", "submit", "aiml", "{}", *option])
    assert told.exit_code == 2
    assert told.output.strip().splitlines()[-1] == f"Error: Invalid value for '--deadline': {says}"


def test_a_number_without_a_most_is_told_with_its_least() -> None:
    with pytest.raises(click.BadParameter, match=r"^'-1' must be a number from 0$"):
        Real(0).convert("-1", None, None)
    with pytest.raises(click.BadParameter, match=r"^'x' must be a number from 0 to 60$"):
        Real(0, 60).convert("x", None, None)


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_sentence_is_wrapped_between_words_and_an_id_stays_whole(width: int) -> None:
    text = "there is no job job_01a22300000000000000000000000000; a-b lists " + "those that are there " * 9
    lines = wrapped(text.strip(), width).splitlines()
    assert " ".join(" ".join(lines).split()) == text.strip()
    assert all(len(line) <= width or len(line.split()) == 1 for line in lines)
    assert all(line.startswith("  ") for line in lines[1:])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(shell: str) -> None:
    told = CliRunner().invoke(ringback, ["completion", shell])
    assert told.exit_code == 0
    assert f"_RINGBACK_COMPLETE={shell}_complete" in told.output


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (26, "port = 8080  # environment"),
        (25, "port = 8080\n  # environment"),
        (9, "port =\n  8080\n  # environment"),
        (21, "port = 8080\n  # environment"),
    ],
)
def test_a_note_stays_whole_and_a_comment(width: int, shown: str) -> None:
    assert noted("port = 8080", "# environment", width) == shown


def test_a_sentence_without_a_note_ends_with_its_last_word() -> None:
    assert noted("port = 8080", "", 80) == "port = 8080"
