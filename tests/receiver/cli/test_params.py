"""Tests of the shared arguments and options: words, numbers, ids, JSON input, and their errors."""

import io
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from click.testing import CliRunner

from receiver.api import requests, responses
from receiver.api.guard import JOB_LIMIT
from receiver.cli import params, ringback
from receiver.cli.params import (
    CONFIG,
    DELIVERY_STATES,
    SCOPES,
    STATES,
    Id,
    NearestChoice,
    Pattern,
    Real,
    Since,
    Whole,
    given,
    nearest,
    numbers,
    pairs,
    read_input,
)
from receiver.domain.event_types import SHOWN
from tests.receiver.cli.test_groups import helped


def read(text: str) -> Any:
    """Return the JSON of an argument INPUT."""
    return read_input(click.Context(ringback), click.Argument(["input"]), text)


def test_the_words_that_commands_take_are_those_of_the_api() -> None:
    assert SCOPES == requests.SCOPES
    assert get_args(responses.DeliveryResponse.model_fields["state"].annotation) == DELIVERY_STATES
    assert get_args(get_args(requests.JobQuery.model_fields["state"].annotation)[0]) == STATES
    assert f": {', '.join(STATES)}." in " ".join(helped("jobs", "list").split())
    assert f": {', '.join(SCOPES)}." in " ".join(helped("keys", "create").split())


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), (" 2h ", 7200), ("3d", 259_200), ("0s", 0)]
)
def test_a_time_before_now_is_counted_from_now(text: str, seconds: int) -> None:
    before = datetime.now(UTC)
    moment = datetime.fromisoformat(Since().convert(text, None, None))
    ago = timedelta(seconds=seconds)
    assert before - ago <= moment <= datetime.now(UTC) - ago


def test_a_moment_has_its_offset_or_that_of_this_machine() -> None:
    assert Since().convert("start", None, None) == Since().convert("1960-01-01", None, None) == "0"
    told = datetime.fromisoformat(Since().convert("2026-11-21T10:00:00Z", None, None))
    assert told == datetime(2026, 11, 21, 10, tzinfo=UTC)
    local = datetime.fromisoformat(Since().convert("2026-11-21 10:00", None, None))
    assert (local.replace(tzinfo=None), local.tzinfo is None) == (datetime(2026, 11, 21, 10), False)  # noqa: DTZ001  # a local time


@pytest.mark.parametrize("text", ["", "10", "m", "10y", "1.5h", "-1h", "yesterday", "2026-13-01", "9999999d"])
def test_any_other_time_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no time; write 10m, 2h, 3d"):
        Since().convert(text, None, None)


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
    for text in ("x", "nan", "inf", "-inf", "61"):
        with pytest.raises(click.BadParameter, match=rf"^'{text}' must be a number from 0 to 60$"):
            Real(0, 60).convert(text, None, None)


@pytest.mark.parametrize("text", ["", "1,x", "nan", "1,inf"])
def test_a_list_of_numbers_holds_numbers_only(text: str) -> None:
    context, argument = click.Context(ringback), click.Argument(["numbers"])
    assert numbers(context, argument, "1,2.5") == [1.0, 2.5]
    with pytest.raises(click.BadParameter, match="must be numbers with commas between them"):
        numbers(context, argument, text)


def test_no_input_is_none() -> None:
    assert read_input(click.Context(ringback), click.Argument(["input"]), None) is None


def test_input_of_the_largest_size_is_taken_and_a_byte_more_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(params, "LARGEST_INPUT", 10)
    file = tmp_path / "body.json"
    file.write_text('{"a": 123}')
    assert read(f"@{file}") == {"a": 123}
    file.write_text('{"a": 1234}')
    with pytest.raises(click.BadParameter, match=rf"^{file} holds more than 32 MiB$"):
        read(f"@{file}")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
    with pytest.raises(click.BadParameter, match=r"^standard input holds more than 32 MiB$"):
        read("-")


def test_the_largest_input_is_that_of_the_api() -> None:
    assert params.LARGEST_INPUT == JOB_LIMIT


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b'{"a": "\xff"}', "{file} is not UTF-8"),
        (b"[1]", "{file} must be a JSON object"),
        (
            b"{",
            (
                "{file} is not valid JSON (Expecting property name enclosed in double quotes, line 1 column "
                "2); write an object, @file, or - for standard input"
            ),
        ),
    ],
)
def test_a_file_that_holds_no_input_is_named(tmp_path: Path, raw: bytes, says: str) -> None:
    file = tmp_path / "body.json"
    file.write_bytes(raw)
    with pytest.raises(click.BadParameter) as raised:
        read(f"@{file}")
    assert raised.value.message == says.format(file=file)


def test_a_word_that_is_no_choice_is_told_with_all_and_the_nearest() -> None:
    choice = NearestChoice(DELIVERY_STATES)
    assert choice.convert("pending", None, None) == "pending"
    with pytest.raises(click.BadParameter) as raised:
        choice.convert("canceld", None, None)
    listed = "pending, delivered, exhausted, canceled"
    assert raised.value.message == f"'canceld' is none of {listed}; did you mean canceled?"
    assert choice.get_invalid_choice_message("zzz", None) == f"'zzz' is none of {listed}"


@pytest.mark.parametrize("text", ["job.succeeded", "job.*", "*", "endpoint.test"])
def test_an_event_type_and_a_pattern_are_taken(text: str) -> None:
    assert Pattern().convert(text, None, None) == text


@pytest.mark.parametrize(
    ("text", "near"), [("job.suceeded", "; did you mean job.succeeded?"), ("nothing", ""), ("x.*", "")]
)
def test_a_pattern_that_matches_nothing_is_told_with_all_types(text: str, near: str) -> None:
    with pytest.raises(click.BadParameter) as raised:
        Pattern().convert(text, None, None)
    listed = f"(types: {', '.join(SHOWN)}; patterns: *, job.*)"
    assert raised.value.message == f"{text!r} is no event type{near} {listed}"


def test_numbers_within_their_bounds_are_taken() -> None:
    assert [Whole(1, 200).convert(text, None, None) for text in ("1", "200")] == [1, 200]
    assert [Real(0, 60).convert(text, None, None) for text in ("0", "0.5", "60")] == [0.0, 0.5, 60.0]
    with pytest.raises(click.BadParameter, match=r"^'201' must be a whole number from 1 to 200$"):
        Whole(1, 200).convert("201", None, None)
    with pytest.raises(click.BadParameter, match=r"^'x' must be a whole number$"):
        Whole().convert("x", None, None)


@pytest.mark.parametrize("text", ["job_01a2", "A-Z_9", "x" * 200])
def test_an_id_is_taken_as_it_is(text: str) -> None:
    assert Id().convert(text, None, None) == text


@pytest.mark.parametrize("text", ["", "a/b", "..", "job 1", "\u0660", "job_1\n", "x" * 201])
def test_a_text_that_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter) as raised:
        Id().convert(text, None, None)
    assert raised.value.message == f"{text!r} is no id; lists show them"


def test_pairs_are_split_at_the_first_equals_sign() -> None:
    context, argument = click.Context(ringback), click.Argument(["metadata"])
    assert pairs(context, argument, ()) == {}
    assert pairs(context, argument, ("a=1", "b=", "c=d=e", "a=2")) == {"a": "2", "b": "", "c": "d=e"}
    with pytest.raises(click.BadParameter, match=r"^write key=value$"):
        pairs(context, argument, ("a=1", "b"))


def test_only_parameters_with_a_value_are_given() -> None:
    empty: dict[str, Any] = {"a": None, "b": (), "c": [], "d": {}, "e": ""}
    assert given(**empty, f=0, g=False, h="x", i=["y"]) == {"f": 0, "g": False, "h": "x", "i": ["y"]}


def test_a_settings_file_need_not_exist_but_is_no_folder(tmp_path: Path) -> None:
    @click.command()
    @CONFIG
    def show(config: Path | None) -> None:
        click.echo(repr(config))

    assert CliRunner().invoke(show, []).output == "None\n"
    assert CliRunner().invoke(show, ["--config", "nowhere.toml"]).output == "PosixPath('nowhere.toml')\n"
    result = CliRunner().invoke(show, ["--config", str(tmp_path)])
    assert (result.exit_code, "is a directory" in result.output) == (2, True)
