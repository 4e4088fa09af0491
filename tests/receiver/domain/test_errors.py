"""Errors: their details, fields and headers, and the next step where one is known."""

import errno
import os
from pathlib import Path

import pytest

from receiver.domain.errors import (
    ERRORS,
    TOLD,
    FieldError,
    Internal,
    Invalid,
    Misconfigured,
    ProviderUnavailable,
    StoreUnavailable,
    TooManyWaiting,
    cannot_listen,
    did_you_mean,
    invalid,
    missing,
    nearest,
    no_file,
    no_such,
    several,
)


def failed(number: int) -> OSError:
    """Return the system's error with this number."""
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EACCES, "Permission denied; let the user that runs this use it (chown, chmod)"),
        (errno.ENOSPC, "No space left on device; make room on its disk"),
        (errno.EISDIR, "Is a directory; name a file"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_the_next_step(number: int, says: str) -> None:
    assert no_file(failed(number)) == says


@pytest.mark.parametrize(
    ("host", "number", "says"),
    [
        (
            "127.0.0.1",
            errno.EADDRINUSE,
            (
                "cannot listen on 127.0.0.1:80: Address already in use; "
                "stop what listens there, or choose another; --port 0 takes a free one"
            ),
        ),
        (
            "::1",
            errno.EACCES,
            (
                "cannot listen on [::1]:80: Permission denied; "
                "ports below 1024 are for root; choose another with --port"
            ),
        ),
        ("h", errno.EIO, "cannot listen on h:80: Input/output error"),
    ],
)
def test_an_address_that_cannot_be_listened_on_is_told_with_the_next_step(
    host: str, number: int, says: str
) -> None:
    assert cannot_listen(host, 80, failed(number)) == says


@pytest.mark.parametrize("kind", ["job", "event", "endpoint", "delivery", "key"])
def test_an_id_that_names_nothing_is_told_with_the_call_that_lists(kind: str) -> None:
    error = no_such(kind)
    assert (error.http_status, error.code) == (404, "not-found")
    plural = {"delivery": "deliveries"}.get(kind, f"{kind}s")
    assert error.detail == f"no such {kind}; GET /v1/{plural} lists those that are there"


def wrong(count: int) -> list[FieldError]:
    """Return the errors of so many fields."""
    return [FieldError("body", f"/f{number}", f"f{number}", "no") for number in range(count)]


def test_one_wrong_field_is_named_by_its_pointer_and_its_last_part() -> None:
    error = invalid("/input/prompt", "is needed")
    assert (error.http_status, error.code, error.detail) == (422, "validation", "/input/prompt: is needed")
    assert error.errors == (FieldError("body", "/input/prompt", "prompt", "is needed"),)
    [header] = invalid("idempotency-key", "once", place="header").errors
    assert header == FieldError("header", "idempotency-key", "idempotency-key", "once")


@pytest.mark.parametrize(
    ("count", "ends"), [(1, "/f0: no"), (TOLD, "; /f4: no"), (TOLD + 2, "; /f4: no; and 2 more")]
)
def test_a_few_wrong_fields_are_named_in_the_detail_and_the_others_counted(count: int, ends: str) -> None:
    error = Invalid(errors=wrong(count))
    assert error.detail.startswith("/f0: no")
    assert error.detail.endswith(ends)
    assert len(error.errors) == count


def test_an_error_has_a_bounded_number_of_fields_and_a_detail_of_its_own() -> None:
    error = Invalid("these are wrong", errors=wrong(ERRORS + 1))
    assert (error.detail, len(error.errors)) == ("these are wrong", ERRORS)
    assert Invalid(errors=[FieldError("body", "", "", "is no object")]).detail == "the body: is no object"
    assert Internal().detail == Internal.meaning


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (StoreUnavailable(), "2"),
        (StoreUnavailable(retry_after=9), "9"),
        (ProviderUnavailable(), "5"),
        (ProviderUnavailable(seconds=0.2), "1"),
        (ProviderUnavailable(seconds=7.1), "8"),
        (TooManyWaiting(), "1"),
    ],
)
def test_an_error_that_passes_says_after_how_many_whole_seconds(
    error: StoreUnavailable | ProviderUnavailable | TooManyWaiting, seconds: str
) -> None:
    assert error.headers == (("retry-after", seconds),)


def test_only_a_name_that_is_similar_is_suggested() -> None:
    known = ("apiframe", "minimax")
    assert (nearest("apifram", known), nearest("zzz", known)) == ("apiframe", None)
    assert (did_you_mean("minmax", known), did_you_mean("zzz", known)) == ("; did you mean `minimax`?", "")
    assert nearest("minimax" + "x" * 10_000, known) is None


def test_a_missing_file_is_named() -> None:
    assert missing(Path("/nowhere/x")).startswith("there is no file /nowhere/x; ")


def test_mistakes_are_lines_of_one_error_without_line_breaks_of_their_own() -> None:
    first, second = Misconfigured("port", "is\nwrong"), Misconfigured("ho\x1bst", "is missing")
    assert several([first]) is first
    both = several([first, second])
    assert both.lines == ["port: is\\nwrong", "ho\\x1bst: is missing"]
    assert str(both) == "; ".join(both.lines)
    assert (both.setting, both.others, both.exit_code) == ("port", (second,), 2)
