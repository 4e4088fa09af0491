"""Checks of requests: the body, its parsing, the query and the caller; and the two forms of responses."""

import json
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request

from receiver.api.guard import answer, checked, parse, problem, read_body, read_query
from receiver.api.requests import KeyRequest, PageQuery
from receiver.domain.errors import (
    Invalid,
    Malformed,
    ReceiverError,
    TooLarge,
    Unauthorized,
    UnsupportedMediaType,
)


async def body_of(headers: list[tuple[bytes, bytes]], *pieces: bytes, limit: int = 10) -> bytes:
    """Return the body of a request with these headers, which arrives in pieces."""
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ] or [{"type": "http.disconnect"}]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    return await read_body({"headers": headers}, receive, limit)


@pytest.mark.parametrize("pieces", [(b"hello",), (b"he", b"llo"), (b"", b"hello", b"")])
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"content-length", b"5")],
        [(b"transfer-encoding", b"chunked")],
        [(b"transfer-encoding", b" Chunked ")],
        [(b"content-encoding", b"identity")],
    ],
)
async def test_a_body_is_put_together(headers: list[tuple[bytes, bytes]], pieces: tuple[bytes, ...]) -> None:
    assert await body_of(headers, *pieces) == b"hello"


REFUSED: dict[str, tuple[list[tuple[bytes, bytes]], tuple[bytes, ...], type[ReceiverError]]] = {
    "gzip": ([(b"content-encoding", b"gzip")], (b"x",), UnsupportedMediaType),
    "gzip in transfer": ([(b"transfer-encoding", b"gzip, chunked")], (b"x",), UnsupportedMediaType),
    "an announcement too large": ([(b"content-length", b"11")], (b"x",), TooLarge),
    "too much at once": ([], (b"x" * 11,), TooLarge),
    "too much in pieces": ([], (b"x" * 6, b"x" * 5), TooLarge),
    "an early end": ([], (), Malformed),
}


@pytest.mark.parametrize(("headers", "pieces", "error"), REFUSED.values(), ids=REFUSED)
async def test_a_body_is_refused(
    headers: list[tuple[bytes, bytes]], pieces: tuple[bytes, ...], error: type[ReceiverError]
) -> None:
    with pytest.raises(error):
        await body_of(headers, *pieces)


# Parsing.


class Nested(BaseModel):
    """A body with an object of any size and one that is bounded."""

    model_config = ConfigDict(extra="forbid", strict=True)
    free: dict[str, Any] = {}
    names: dict[str, int] = {}
    words: list[str] = []


@pytest.mark.parametrize(
    ("content_type", "taken"),
    [
        (None, True),
        ("application/json", True),
        (" Application/JSON ; charset=utf-8", True),
        ("application/merge-patch+json", True),
        ("application/vnd.example+json", True),
        ("", False),
        ("json", False),
        ("text/json", False),
        ("application/jsonp", False),
        ("application/json, text/plain", False),
    ],
)
def test_only_json_is_read(content_type: str | None, taken: bool) -> None:
    if taken:
        assert parse(b'{"words": ["a"]}', Nested, content_type).words == ["a"]
    else:
        with pytest.raises(UnsupportedMediaType, match="send Content-Type: application/json"):
            parse(b'{"words": ["a"]}', Nested, content_type)


def test_a_body_that_is_no_json_is_malformed_with_the_place() -> None:
    with pytest.raises(Malformed, match="at line 1, column 11"):
        parse(b'{"words": }', Nested, None)


def errors_of(value: Any, place: str = "body") -> list[tuple[str, str, str]]:
    """Return the pointer, name and detail of each error in a value."""
    with pytest.raises(Invalid) as caught:
        checked(Nested, value, place)
    return [(one.pointer, one.name, one.detail) for one in caught.value.errors]


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ([], ("", "", "must be an object")),
        ({"words": {}}, ("/words", "words", "must be a list")),
        ({"names": []}, ("/names", "names", "must be an object")),
        ({"names": {"a/b~c": "1"}}, ("/names/a~1b~0c", "a/b~c", "input should be a valid integer")),
        ({"words": ["a", 1]}, ("/words/1", "1", "input should be a valid string")),
        ({"wrods": []}, ("/wrods", "wrods", "there is no such field; did you mean `words`?")),
        ({"x": 1}, ("/x", "x", "there is no such field")),
        ({"names": {str(n): 1 for n in range(201)}}, ("/names", "names", "must have at most 200 entries")),
        ({"words": ["a"] * 201}, ("/words", "words", "must have at most 200 entries")),
    ],
)
def test_an_error_has_the_pointer_the_name_and_a_sentence(value: Any, error: tuple[str, str, str]) -> None:
    assert errors_of(value) == [error]


def test_an_error_in_a_query_is_named_and_not_pointed_at() -> None:
    assert errors_of({"wrods": "a"}, "query") == [
        ("wrods", "wrods", "there is no such parameter; did you mean `words`?")
    ]


def test_an_object_that_is_passed_on_may_have_any_size() -> None:
    crowd = {str(number): number for number in range(201)}
    assert checked(Nested, {"free": crowd}, "body").free == crowd
    assert len(checked(Nested, {"names": dict(list(crowd.items())[:200])}, "body").names) == 200


# The query.


def request_with(query: bytes, *headers: tuple[bytes, bytes]) -> Request:
    """Return a request with this query and these headers."""
    return Request({"type": "http", "query_string": query, "headers": list(headers)})


@pytest.mark.parametrize(
    ("query", "limit", "labels"),
    [
        (b"", 50, ()),
        (b"limit=7", 7, ()),
        (
            b"limit=7&metadata.a=1&metadata.a=2&metadata.b%20c=%C3%A9",
            7,
            (("a", "1"), ("a", "2"), ("b c", "\u00e9")),
        ),
        (b"metadata.=", 50, (("", ""),)),
    ],
)
def test_a_query_is_read_with_its_labels(
    query: bytes, limit: int, labels: tuple[tuple[str, str], ...]
) -> None:
    found, others = read_query(request_with(query), PageQuery, labelled=True)
    assert (found.limit, others) == (limit, labels)


@pytest.mark.parametrize(
    ("query", "name", "detail"),
    [
        (b"limit=1&limit=1", "limit", "give this parameter once"),
        (b"cursor=%ff", "", "the query cannot be read"),
        (b"cursor=\xc3\xa9", "", "the query cannot be read"),
        (b"&".join(b"metadata.%d=1" % number for number in range(51)), "", "the query cannot be read"),
        (b"metadata.a=1", "metadata.a", "there is no such parameter"),
        (b"limit=", "limit", "must be a whole number"),
    ],
)
def test_a_query_is_refused_with_the_parameter_and_a_sentence(query: bytes, name: str, detail: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_query(request_with(query), PageQuery, labelled=False)
    assert [(one.place, one.name, one.detail) for one in caught.value.errors] == [("query", name, detail)]


# Responses.


def test_a_problem_has_every_field_and_its_headers() -> None:
    error = Unauthorized("no", headers=(("www-authenticate", "Bearer"),), extra={"hint": "a key"})
    response = problem(error, "req_1")
    assert json.loads(bytes(response.body)) == {
        "type": "/problems/unauthorized",
        "code": "unauthorized",
        "title": "A valid API key is needed",
        "status": 401,
        "detail": "no",
        "request_id": "req_1",
        "hint": "a key",
    }
    assert (response.status_code, response.media_type) == (401, "application/problem+json")
    assert (response.headers["www-authenticate"], response.headers["x-content-type-options"]) == (
        "Bearer",
        "nosniff",
    )


def test_a_problem_may_have_another_status_than_its_error() -> None:
    response = problem(Malformed("the head is too large"), "req_1", status=431)
    assert (response.status_code, json.loads(bytes(response.body))["status"]) == (431, 431)


def test_an_answer_is_compact_json_of_which_nothing_guesses_the_type() -> None:
    response = answer({"a": [1, None]}, 201, {"location": "/x"})
    assert (response.status_code, bytes(response.body)) == (201, b'{"a":[1,null]}')
    assert response.headers["content-type"] == "application/json"
    assert (response.headers["location"], response.headers["x-content-type-options"]) == ("/x", "nosniff")


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ({"name": "", "scopes": ["admin"]}, "/name", "must have at least 1 character"),
        ({"name": "n" * 101, "scopes": ["admin"]}, "/name", "must have at most 100 characters"),
        ({"name": "n", "scopes": []}, "/scopes", "must have at least 1 entry"),
    ],
)
def test_a_length_that_is_wrong_is_said_in_our_words(body: object, pointer: str, detail: str) -> None:
    with pytest.raises(Invalid) as caught:
        checked(KeyRequest, body, "body")
    assert [(one.pointer, one.detail) for one in caught.value.errors] == [(pointer, detail)]
