"""Tests of the forms of output: tables, lines, JSON and ids."""

import json
from collections.abc import Callable
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from pydantic import BaseModel

from receiver.api import responses
from receiver.cli import output
from receiver.cli.output import (
    fitted,
    flat,
    formed,
    print_json,
    show_below,
    show_list,
    show_one,
    table,
)
from receiver.domain.model import State
from tests.receiver.terminal_screen import on_terminal


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


PAGE = {
    "object": "list",
    "data": [{"id": "job_1", "state": "queued"}, {"id": "job_2\n", "state": "failed"}],
    "has_more": True,
    "next_cursor": "c-2",
}


def shown(show: Callable[[], None], *options: str) -> Result:
    """Return the output of `show` in a command with the options of the form."""

    @click.command()
    @formed
    def command() -> None:
        show()

    return CliRunner().invoke(command, options)


def test_a_page_is_a_table_with_the_option_for_the_next_one() -> None:
    result = shown(lambda: show_list(PAGE, ("id", "state"), short=("state",)))
    assert result.stdout == "id\tstate\njob_1\tqueued\njob_2\\u000a\tfailed\n"
    assert result.stderr == "there are more: add --cursor c-2\n"


def test_a_quiet_page_is_its_ids() -> None:
    for option in ("-q", "--quiet"):
        result = shown(lambda: show_list(PAGE, ("id", "state"), more="--after"), option)
        assert result.stdout == "job_1\njob_2\\u000a\n"
        assert result.stderr == "there are more: add --after c-2\n"


def test_a_page_in_json_is_whole_and_nothing_else() -> None:
    result = shown(lambda: show_list(PAGE, ("id",)), "--json")
    assert json.loads(result.stdout) == PAGE
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("end", "more"),
    [
        ({"next_cursor": None, "has_more": False}, False),
        ({"next_cursor": "c", "has_more": False}, False),
        ({"next_cursor": "c"}, True),
        ({}, False),
    ],
)
def test_the_last_page_names_no_next_one(end: dict[str, Any], more: bool) -> None:
    result = shown(lambda: show_list({"data": [], **end}, ("id",)))
    assert result.stderr == ("there are more: add --cursor c\n" if more else "")


def test_one_form_is_chosen_and_not_two() -> None:
    result = shown(lambda: None, "-q", "--json")
    assert result.exit_code == 2
    assert result.stderr.endswith("Error: choose one of --json and --quiet\n")


ITEM = {"object": "key", "id": "key_1", "name": "c\ti", "key": "rb_secret", "deliveries": [1], "secret": None}


def test_one_object_is_a_line_for_each_value_without_those_left_out() -> None:
    result = shown(lambda: show_one(ITEM, without=("deliveries",)))
    assert result.stdout == "id: key_1\nname: c\\u0009i\nkey: rb_secret\nsecret: -\n"
    assert result.stderr == ""


def test_a_quiet_object_is_its_id_and_no_secret_is_lost() -> None:
    result = shown(lambda: show_one(ITEM), "--quiet")
    assert (result.stdout, result.stderr) == ("key_1\n", "key: rb_secret\n")


def test_an_object_in_json_has_all_its_fields() -> None:
    result = shown(lambda: show_one(ITEM, without=("deliveries",)), "--json")
    assert json.loads(result.stdout) == ITEM
    assert result.stderr == ""


def test_rows_below_an_object_stand_behind_a_blank_line() -> None:
    rows = [{"at": "now", "status": 204}]
    assert shown(lambda: show_below(rows, ("at", "status"))).stdout == "\nat\tstatus\nnow\t204\n"
    for option in ("--json", "-q"):
        assert shown(lambda: show_below(rows, ("at", "status")), option).stdout == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ({}, ""),
        ([], ""),
        (True, "true"),
        (0, "0"),
        (40.0, "40"),
        (0.5, "0.5"),
        ([1, "a", True], "1, a, true"),
        ({"a": [1]}, '{"a": [1]}'),
    ],
)
def test_a_cell_has_its_value_as_text(capsys: pytest.CaptureFixture[str], value: Any, text: str) -> None:
    table([{"id": "x", "value": value}], ("id", "value"))
    assert capsys.readouterr().out == f"id\tvalue\nx\t{text}\n"


def test_a_column_shows_its_first_field_that_is_not_empty(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, Any]] = [
        {"error": {"code": "e1"}, "waiting": {"reason": "w1"}},
        {"error": None, "waiting": {"reason": "w2"}},
        {"error": "text", "waiting": None},
    ]
    table(rows, ("why=error.code|waiting.reason",))
    assert capsys.readouterr().out.splitlines() == ["why", "e1", "w2", ""]


def test_an_empty_list_says_so_on_a_terminal_only(capsys: pytest.CaptureFixture[str]) -> None:
    table([], ("id",))
    assert capsys.readouterr() == ("id\n", "")
    with on_terminal() as screen:
        table([], ("id",))
    assert (screen.out.lines, screen.err.lines) == ([], ["(none)"])


def drawn(rows: list[dict[str, Any]], *columns: str, short: tuple[str, ...] = ()) -> list[str]:
    """Return the lines of a table on a terminal of 80 columns that has room for all columns."""
    with on_terminal() as screen:
        table(rows, columns, short)
    assert screen.err.lines == []
    return screen.out.lines


def test_a_terminal_gets_aligned_columns_and_the_short_list() -> None:
    rows = [{"id": "job_1", "state": "queued", "why": ""}, {"id": "job_22", "state": "failed", "why": ""}]
    lines = drawn(rows, "id", short=("id", "why", "status=state"))
    assert lines == ["id      status", "job_1   queued", "job_22  failed"]


def test_wide_characters_take_two_columns_of_a_terminal() -> None:
    rows = [{"id": "\u6f6e\u6f6e", "state": "a"}, {"id": "x", "state": "b"}]
    assert drawn(rows, "id", "state") == ["id    state", "\u6f6e\u6f6e  a", "x     b"]


def test_a_date_that_all_rows_share_moves_into_the_header() -> None:
    rows = [{"at": f"2026-11-21T10:00:0{n}Z", "kind": "poll"} for n in (1, 2)]
    assert drawn(rows, "at", "kind") == ["at 2026-11-21  kind", "10:00:01       poll", "10:00:02       poll"]


def test_dates_that_differ_stay_whole() -> None:
    lines = drawn([{"at": f"2026-11-2{n}T10:00:00Z", "kind": "poll"} for n in (1, 2)], "at", "kind")
    assert lines[0].split() == ["at", "kind"]
    assert lines[1] == "2026-11-21T10:00:00Z  poll"


def test_a_sentence_that_does_not_fit_stands_below_its_row() -> None:
    error = "the connection was refused by the other end of a long line " * 2 + "."
    lines = drawn([{"id": "x" * 60, "error": error}, {"id": "y", "error": "short"}], "id", "error")
    assert lines[:2] == ["id", "x" * 60]
    below = lines[2:-2]
    assert below[0].startswith("    error: the connection")
    assert all(line.startswith("        ") for line in below[1:])
    assert " ".join(" ".join(below).split()) == f"error: {error}"
    assert lines[-2:] == ["y", "    error: short"]
    assert max(map(len, lines)) <= 80


def test_columns_without_room_are_named() -> None:
    with on_terminal() as screen:
        table([{"id": "x" * 60, "url": "u" * 30, "state": "on"}], ("id", "url", "state"))
    assert screen.out.lines == ["id" + " " * 60 + "state", "x" * 60 + "  on"]
    assert screen.err.lines == ["no room for: url (a wider window, a pipe or --json has all)"]


def test_the_text_of_others_cannot_drive_a_terminal() -> None:
    lines = drawn([{"id": "\x1b[2J", "name": "[bold]x[/nope]"}], "id", "name")
    assert lines == ["id         name", "\\u001b[2J  [bold]x[/nope]"]


def test_a_state_is_coloured_on_a_terminal_and_a_sentence_is_not() -> None:
    with on_terminal(kind="xterm") as screen:
        table([{"state": "failed", "note": "failed"}], ("state", "note"))
    assert screen.out.lines[1] == "\x1b[31mfailed\x1b[0m  failed"


def test_json_escapes_what_a_terminal_would_obey(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": "\x7f\x9b"})
    assert capsys.readouterr().out == '{\n  "a": "\\u007f\\u009b"\n}\n'


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        ({}, [("", "-")]),
        ({"a": {}}, [("a", "-")]),
        ({"a": []}, [("a", "-")]),
        ({"a": [[1, 2], []]}, [("a.0", "1, 2")]),
        ({"a": {"b": None, "c": False}}, [("a.c", "false")]),
        ({"a": {"b": {}}}, []),
    ],
)
def test_empty_values_are_shown_at_the_top_level_only(value: Any, lines: list[tuple[str, str]]) -> None:
    assert list(flat(value)) == lines


HEALTH = {"callbacks_missed", "error_rate"}
"""The figures of an account's health, which is a table in the API."""


@pytest.mark.parametrize(
    ("columns", "model"),
    [
        (output.JOB, responses.JobResponse),
        (output.JOB_SHORT, responses.JobResponse),
        (output.ENDPOINT, responses.EndpointResponse),
        (output.DELIVERY, responses.DeliveryResponse),
        (output.DELIVERY_SHORT, responses.DeliveryResponse),
        (output.KEY, responses.Key),
        (output.ATTEMPT, responses.AttemptResponse),
        (output.REASON, responses.WhereaboutsResponse),
        (output.PROVIDER, responses.ProviderResponse),
    ],
)
def test_every_column_is_a_field_of_the_api(columns: tuple[str, ...], model: type[BaseModel]) -> None:
    inner: dict[str, type[BaseModel]] = {
        "waiting": responses.WaitingResponse,
        "error": responses.JobErrorResponse,
    }
    for column in columns:
        for field in column.rpartition("=")[2].split("|"):
            name, _, rest = field.partition(".")
            assert name in model.model_fields, column
            assert not rest or rest in HEALTH or rest in inner[name].model_fields, column


def test_the_short_columns_are_the_same_fields() -> None:
    for columns, short in ((output.JOB, output.JOB_SHORT), (output.DELIVERY, output.DELIVERY_SHORT)):
        fields = [field for column in short for field in column.rpartition("=")[2].split("|")]
        assert sorted(fields) == sorted(columns)


def test_a_word_has_a_colour_unless_nothing_has_happened_yet() -> None:
    words = {*State, "delivered", "exhausted", "active", "disabled", "ok", "warn", "wrong"}
    assert set(output.COLOURS) == words - {State.PENDING, State.SUBMITTING}


@pytest.mark.parametrize("item", [{"matches": True}, {"id": None}])
def test_objects_without_ids_cannot_be_shown_by_them(item: dict[str, object]) -> None:
    for show in (lambda: show_one(item), lambda: show_list({"data": [item]}, ())):
        result = shown(show, "-q")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "use --json" in result.stderr
