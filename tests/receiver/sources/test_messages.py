"""The event of a message: the sender's id, the headers, and the body as it came."""

import base64
import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.contract import Asset, Failure, FailureCode, Kind, Phase, Update
from receiver.api.webhooks import Webhook
from receiver.sources.messages import LONGEST_ID, SourceMessage, event_of, headers_of, sender_id_of
from tests.handlers.captures import RECEIVED_AT, message
from tests.handlers.strategies import LIMITED
from tests.receiver.sources.source_settings import source

SVIX: dict[str, Any] = {"scheme": "svix", "proof": {"secrets": ["whsec_aaaa"]}}
ID = "msg_" + "0123456789abcdef" * 2


def sent(body: bytes, **others: Any) -> SourceMessage:
    """Return a message with this body."""
    made = SourceMessage(
        id=ID, source="shop", sender_id=None, at=RECEIVED_AT, headers={}, body=body, update=None
    )
    return replace(made, **others)


def data_of(body: bytes, **others: Any) -> dict[str, Any]:
    """Return the data of the event of a message, which must be an event of the public model."""
    event = event_of(sent(body, **others))
    Webhook.model_validate_json(event.body)
    told: dict[str, Any] = json.loads(event.body)
    return dict(told["data"])


@pytest.mark.parametrize(
    ("body", "written"),
    [
        (b"null", b"null"),
        (b' { "a" : [ 1.10 , -0.0 , 1e400 ] }\r\n', None),
        (b' { "a" : [ 1.10 , -0.0 , 1E5 ] }\r\n', b'{"a":[1.10,-0.0,1E5]}'),
        (b'"a \\" b \\\\ \xc3\xa9"', b'"a \\" b \\\\ \xc3\xa9"'),
        (b'\t{"a b":\n"c  d"}', b'{"a b":"c  d"}'),
        (b"123456789012345678901234567890", b"123456789012345678901234567890"),
    ],
)
def test_json_goes_on_as_it_was_written_but_for_blanks_between_tokens(
    body: bytes, written: bytes | None
) -> None:
    event = event_of(sent(body))
    if written is None:
        assert base64.b64decode(data_of(body)["body_base64"]) == body
    else:
        assert event.body.endswith(b'"sequence":1,"body":' + written + b"}}")
    assert b"\n" not in event.body


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"a":1,"a":2}', b"NaN", b'"a\nb"', b'"\\ud800"', b"1}", b'1,"x":2', b'"']
)
def test_any_other_body_goes_as_base64(body: bytes) -> None:
    told = data_of(body)
    assert base64.b64decode(told["body_base64"]) == body
    assert "body" not in told


@LIMITED
@given(st.binary(max_size=60))
def test_any_bytes_come_back(body: bytes) -> None:
    told = data_of(body)
    if "body" in told:
        assert told["body"] == json.loads(body)
    else:
        assert base64.b64decode(told["body_base64"]) == body


def test_an_event_is_named_after_its_source_and_message() -> None:
    event = event_of(sent(b"{}", sender_id="r1", headers={"user-agent": "x"}))
    assert (event.type, event.job_id, event.at) == ("source.shop.received", None, RECEIVED_AT)
    # It begins with the digits of the message, which begin with its time.
    assert event.id.startswith("evt_" + ID.removeprefix("msg_"))
    told = json.loads(event.body)
    assert (told["id"], told["data"]["id"], told["data"]["sender_id"]) == (event.id, ID, "r1")


def test_an_update_is_told_in_our_own_words() -> None:
    update = Update(
        provider_job_id="p1",
        phase=Phase.FAILED,
        progress=40.0,
        assets=(Asset(kind=Kind.VIDEO, url="https://cdn.example/1.mp4", duration=5.0),),
        failure=Failure("E7", "no", FailureCode.CONTENT_POLICY),
        usage={"credits": 2},
    )
    told = data_of(b"{}", update=update)["update"]
    assert (told["provider_job_id"], told["phase"], told["progress"]) == ("p1", "failed", 40.0)
    assert told["error"] == {"code": "content_policy", "message": "no", "provider_code": "E7"}
    assert told["usage"] == {"credits": 2}
    [asset] = told["assets"]
    assert (asset["kind"], asset["provider_url"], asset["duration"]) == (
        "video",
        "https://cdn.example/1.mp4",
        5.0,
    )


def test_an_update_that_is_too_large_or_too_deep_is_left_out() -> None:
    deep: Any = 1
    for _ in range(61):
        deep = {"a": deep}
    for usage in ({"deep": deep}, {"large": "x" * 70_000}):
        update = Update(provider_job_id="p1", phase=Phase.QUEUED, usage=usage)
        for body, name in ((b'{"a":1}', "body"), (b"no json", "body_base64")):
            told = data_of(body, update=update)
            assert (told["update"], name in told) == (None, True)


def test_a_header_with_a_secret_is_never_kept() -> None:
    made = source("basic", proof={"secrets": ["u:p"]}, headers=["authorization", "cookie"])
    assert headers_of(made, message(200, b"", ("authorization", "Basic x"), ("cookie", "c"))) == {}


LONG = "a" * (LONGEST_ID + 1)
DIGEST = f"sha256:{hashlib.sha256(LONG.encode()).hexdigest()}"


@pytest.mark.parametrize(
    ("settings", "headers", "body", "found"),
    [
        ({"id_header": "X-Id"}, [("x-id", "a")], b"{}", "a"),
        ({"id_header": "x-id"}, [("x-id", "a"), ("x-id", "b")], b"{}", None),
        ({"id_header": "x-id"}, [("x-id", "")], b"{}", None),
        ({"id_header": "x-id"}, [("x-id", "a" * LONGEST_ID)], b"{}", "a" * LONGEST_ID),
        ({"id_header": "x-id"}, [("x-id", LONG)], b"{}", DIGEST),
        ({"id_pointer": "/a/1/id"}, [], b'{"a": [{"id": "x"}, {"id": "y"}]}', "y"),
        ({"id_pointer": "/a/2"}, [], b'{"a": [1, 2]}', None),
        ({"id_pointer": "/a/x"}, [], b'{"a": [1, 2]}', None),
        ({"id_pointer": "/a/*/id"}, [], b'{"a": [{"id": "x"}]}', "x"),
        ({"id_pointer": "/a/*/id"}, [], b'{"a": [{"id": "x"}, {"id": "y"}]}', None),
        ({"id_pointer": "/a"}, [], b'{"a": "x", "a": "y"}', None),
        ({"id_pointer": "/a/json:/id"}, [], b'{"a": "{\\"id\\": \\"x\\"}"}', "x"),
        # Several senders' texts would be mended to the same one.
        ({"id_pointer": "/a"}, [], b'{"a": "a\\ud800"}', None),
        ({}, [("x-id", "a")], b"{}", None),
        ({"id_pointer": "/a/b~1c"}, [], b'{"a": {"b/c": "x"}}', "x"),
        ({"id_pointer": "/a"}, [], b'{"a": 7}', "7"),
        ({"id_pointer": "/a"}, [], b'{"a": true}', None),
        ({"id_pointer": "/a"}, [], b'{"a": {}}', None),
        ({"id_pointer": "/a"}, [], b"[]", None),
        ({"id_pointer": "/a"}, [], b"\xff", None),
        ({"scheme": "github"}, [("x-github-delivery", "d")], b"{}", "d"),
        ({"scheme": "stripe"}, [], b'{"id": "evt_1"}', "evt_1"),
        ({"scheme": "stripe", "id_header": "x-id"}, [("x-id", "a")], b'{"id": "evt_1"}', "a"),
        (SVIX, [("webhook-id", "m"), ("webhook-signature", "s")], b"{}", "m"),
        (SVIX, [("svix-id", "m"), ("svix-signature", "s")], b"{}", "m"),
        # An id of the family that is not signed changes nothing.
        (SVIX, [("svix-id", "m"), ("svix-signature", "s"), ("webhook-id", "x")], b"{}", "m"),
    ],
)
def test_the_id_of_the_sender_is_where_the_settings_or_the_scheme_say(
    settings: dict[str, Any], headers: list[tuple[str, str]], body: bytes, found: str | None
) -> None:
    assert sender_id_of(source(**settings), message(200, body, *headers)) == found


def test_only_headers_that_tell_about_the_message_are_kept() -> None:
    made = source(headers=["X-Topic"], id_header="x-id")
    told = message(
        200,
        b"{}",
        ("content-type", "application/json"),
        ("x-topic", "a"),
        ("x-topic", "b"),
        ("x-id", "1"),
        ("x-signature", "proof"),
        ("authorization", "Bearer x"),
        ("cookie", "c"),
        ("x-other", "o"),
        ("user-agent", "u" * 2000),
    )
    assert headers_of(made, told) == {
        "content-type": "application/json",
        "x-topic": "a, b",
        "x-id": "1",
        "user-agent": "u" * 1000,
    }


def test_the_header_of_a_proof_is_never_kept() -> None:
    made = source("shared-secret", proof={"header": "x-token", "secrets": ["s"]}, headers=["x-token"])
    assert headers_of(made, message(200, b"", ("x-token", "s"))) == {}
