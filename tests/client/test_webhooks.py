"""The verification of deliveries: the true ones pass, and everything else is a `VerificationError`."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.http.request import HttpHeaders
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook as OtherLibrary
from starlette.datastructures import Headers as StarletteHeaders
from werkzeug.datastructures import Headers as WerkzeugHeaders

from receiver.api.event_examples import EXAMPLES
from receiver.domain.event_types import SOURCE_TYPE
from receiver.security.signing import key_of, mac
from ringback import Event, JobSucceeded, SourceReceived, VerificationError, Webhook, stored_event
from ringback.errors import ConfigurationError
from ringback.events import KINDS
from ringback.webhooks import ID, LONGEST_HEADER, MOST_SIGNATURES, SIGNATURE, TIMESTAMP
from tests.client.deliveries import NOW, OLD_SECRET, OTHER_SECRET, SECRET, signed

WEBHOOK = Webhook(SECRET, now=lambda: NOW)
EVENT = EXAMPLES["job.succeeded"]
BODY, HEADERS = signed(EVENT)
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"p" * 32)
PUBLIC = "whpk_" + base64.b64encode(PRIVATE.public_key().public_bytes_raw()).decode()


def refuses(headers: Any, body: Any = BODY, webhook: Webhook = WEBHOOK, match: str | None = None) -> None:
    """Assert that a delivery is refused by both methods, with one error and no other."""
    for method in (webhook.verify, webhook.parse):
        with pytest.raises(VerificationError, match=match):
            method(body, headers)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_delivery_of_the_service_becomes_its_event(name: str) -> None:
    body, headers = signed(EXAMPLES[name])
    WEBHOOK.verify(body, headers)
    event = WEBHOOK.parse(body, headers)
    assert type(event) is (SourceReceived if name == SOURCE_TYPE else KINDS[name][0])
    assert event.raw == EXAMPLES[name]
    assert stored_event(body) == event


def test_a_delivery_of_another_signer_of_the_standard_passes() -> None:
    stamp = datetime.fromtimestamp(NOW, UTC)
    text = OtherLibrary(SECRET).sign(EVENT["id"], stamp, BODY.decode())
    WEBHOOK.verify(BODY, HEADERS | {SIGNATURE: text})


FORMS: dict[str, Callable[[dict[str, str]], Any]] = {
    "dict": dict,
    "title case": lambda given: {name.title(): value for name, value in given.items()},
    "bytes": lambda given: {name.encode(): value.encode() for name, value in given.items()},
    "asgi": lambda given: [(name.encode(), value.encode()) for name, value in given.items()],
    "META": lambda given: {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in given.items()},
    "django": lambda given: HttpHeaders(FORMS["META"](given)),
    "starlette": StarletteHeaders,
    "werkzeug": WerkzeugHeaders,
    "httpx": httpx.Headers,
}


@pytest.mark.parametrize("form", FORMS)
def test_headers_of_every_framework_are_read(form: str) -> None:
    others = {"host": "app.example.com", "content-type": "application/json"}
    assert isinstance(WEBHOOK.parse(BODY, FORMS[form](HEADERS | others)), JobSucceeded)
    refuses(FORMS[form](HEADERS | {TIMESTAMP: str(NOW + 1)}))


def test_during_a_rotation_either_secret_verifies() -> None:
    both = signed(EVENT, SECRET, OLD_SECRET)
    for keys in ((SECRET,), (OLD_SECRET,), (OTHER_SECRET, OLD_SECRET)):
        Webhook(*keys, now=lambda: NOW).verify(*both)
    refuses(both[1], webhook=Webhook(OTHER_SECRET, now=lambda: NOW), match="no signature")
    Webhook(OTHER_SECRET, SECRET, now=lambda: NOW).verify(BODY, HEADERS)


def test_a_public_key_verifies_v1a_and_a_secret_does_not() -> None:
    body, headers = signed(EVENT, signing_keys=(PRIVATE,))
    assert headers[SIGNATURE].startswith("v1a,")
    Webhook(PUBLIC, now=lambda: NOW).verify(body, headers)
    refuses(headers)
    refuses(headers, body + b" ", webhook=Webhook(PUBLIC, now=lambda: NOW))
    refuses(HEADERS, webhook=Webhook(PUBLIC, now=lambda: NOW))
    both = signed(EVENT, SECRET, signing_keys=(PRIVATE,))[1]
    WEBHOOK.verify(body, both)
    Webhook(PUBLIC, now=lambda: NOW).verify(body, both)


def test_the_scheme_of_a_signature_is_not_the_sender_s_choice() -> None:
    text = HEADERS[SIGNATURE].removeprefix("v1,")
    for scheme in ("v1a,", "v2,", "v0,", "V1,", ",", "v1,v1,", "", "v1;", "v1 ,"):
        refuses(HEADERS | {SIGNATURE: scheme + text})
    WEBHOOK.verify(BODY, HEADERS | {SIGNATURE: f"v1a,{text} v2,{text} v1,{text}"})


@pytest.mark.parametrize(
    ("off", "taken"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)]
)
def test_the_clock_may_differ_by_the_tolerance_in_both_directions(off: int, taken: bool) -> None:
    body, headers = signed(EVENT, at=NOW + off)
    if taken:
        WEBHOOK.verify(body, headers)
    else:
        refuses(headers, match="too far from the clock")


def test_the_tolerance_and_the_clock_are_arguments() -> None:
    Webhook(SECRET, tolerance=10.0, now=lambda: NOW + 10.0).verify(BODY, HEADERS)
    refuses(HEADERS, webhook=Webhook(SECRET, tolerance=10.0, now=lambda: NOW + 10.1))
    refuses(HEADERS, webhook=Webhook(SECRET, now=lambda: float("nan")))
    refuses(HEADERS, webhook=Webhook(SECRET))  # the clock of this machine is at another time


GARBAGE: list[Any] = [
    "",
    "1e3",
    "-1",
    "+1",
    " 12",
    "12 ",
    "1_7",
    "0x10",
    "nan",
    "inf",
    f"{NOW}.0",
    f"{NOW}\n",
    "9" * 13,
    "9" * 5000,
    "١٢",
    "\x00",
    f"{NOW}, {NOW}",
    None,
    NOW,
    float(NOW),
    [str(NOW)],
    (str(NOW),),
    {"a": 1},
    b"\xff",
    b"",
    "\ud800",
    "x" * (LONGEST_HEADER + 1),
]


@pytest.mark.parametrize("value", GARBAGE, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("name", [ID, TIMESTAMP, SIGNATURE])
def test_a_header_of_garbage_is_refused(name: str, value: Any) -> None:
    refuses(HEADERS | {name: value})


@pytest.mark.parametrize(
    "text",
    [
        "v1",
        "v1,",
        "v1,a",
        "v1,====",
        "v1,é",
        "v1,\x00",
        " ",
        "v1, " + HEADERS[SIGNATURE][3:],
        HEADERS[SIGNATURE] + "=",
        HEADERS[SIGNATURE].replace("=", ""),
        HEADERS[SIGNATURE] + "\n",
        HEADERS[SIGNATURE][:-2] + chr(ord(HEADERS[SIGNATURE][-2]) + 1) + "=",
        "v1," + base64.b64decode(HEADERS[SIGNATURE][3:]).hex(),
    ],
)
def test_a_malformed_signature_is_refused(text: str) -> None:
    refuses(HEADERS | {SIGNATURE: text}, match="no signature")


def test_signatures_are_counted_before_they_are_compared() -> None:
    good, filler = HEADERS[SIGNATURE], "v1," + "A" * 43 + "="
    WEBHOOK.verify(BODY, HEADERS | {SIGNATURE: " ".join([filler] * (MOST_SIGNATURES - 1) + [good])})
    refuses(HEADERS | {SIGNATURE: " ".join([filler] * MOST_SIGNATURES + [good])}, match="more than 16")
    refuses(HEADERS | {SIGNATURE: " ".join([good] * 1_000_000)}, match="is too long")


@pytest.mark.parametrize("name", [ID, TIMESTAMP, SIGNATURE])
def test_a_header_must_be_there_and_once(name: str) -> None:
    refuses({one: value for one, value in HEADERS.items() if one != name}, match=f"{name} is missing")
    refuses(HEADERS | {name.title(): HEADERS[name]}, match=f"{name} came twice")
    pairs = [(one.encode(), value.encode()) for one, value in HEADERS.items()]
    refuses([*pairs, (name.encode(), HEADERS[name].encode())], match=f"{name} came twice")
    raw = [*pairs, (name.encode(), b"x")]
    refuses(StarletteHeaders(raw=raw), match=f"{name} came twice")
    refuses(httpx.Headers(raw), match=f"{name} came twice")
    refuses(WerkzeugHeaders([*HEADERS.items(), (name, "x")]), match=f"{name} came twice")


@pytest.mark.parametrize(
    "headers", [None, 7, "webhook-id", [1], [("a",)], [("a", "b", "c")], b"x", object(), {}]
)
def test_headers_that_are_none_are_refused(headers: Any) -> None:
    refuses(headers)


def test_an_underscore_is_no_hyphen_outside_of_wsgi() -> None:
    refuses({name.replace("-", "_"): value for name, value in HEADERS.items()}, match="is missing")


@pytest.mark.parametrize("event_id", ["evt.1", "evt 1", "", "évt", "a" * 201, "evt_1\n", "a,b"])
def test_an_id_of_another_form_is_refused_although_it_is_signed(event_id: str) -> None:
    body, headers = signed(EVENT, event_id="x")
    message = b"%b.%d.%b" % (event_id.encode(), NOW, body)
    text = "v1," + base64.b64encode(mac(key_of(SECRET), message)).decode()
    refuses(headers | {ID: event_id, SIGNATURE: text}, match="webhook-id is malformed")


@pytest.mark.parametrize("position", range(0, len(BODY), 37))
def test_a_flipped_bit_anywhere_in_the_body_is_refused(position: int) -> None:
    flipped = BODY[:position] + bytes([BODY[position] ^ 1]) + BODY[position + 1 :]
    refuses(HEADERS, flipped, match="no signature")


@pytest.mark.parametrize(
    "body", [BODY + b"\n", BODY[:-1], b"", b"\xef\xbb\xbf" + BODY, json.dumps(EVENT, indent=1).encode()]
)
def test_a_changed_body_is_refused(body: bytes) -> None:
    refuses(HEADERS, body, match="no signature")


@pytest.mark.parametrize("body", [BODY.decode(), None, EVENT, 7, [BODY], memoryview(BODY)[::2]])
def test_a_body_that_was_read_already_is_refused_with_the_reason(body: Any) -> None:
    refuses(HEADERS, body, match="must be the raw bytes")
    assert WEBHOOK.parse(bytearray(BODY), HEADERS).id == EVENT["id"]  # type: ignore[arg-type]  # bytes as well


@pytest.mark.parametrize(
    "body",
    [b"", b"hello", b"[]", b"{}", b"[" * 9999, b"\xff", b'{"id": "evt_1"}', BODY[:-1] + b', "id": "x"}'],
)
def test_a_signed_body_that_is_no_event_verifies_and_is_not_parsed(body: bytes) -> None:
    body, headers = signed(body)
    WEBHOOK.verify(body, headers)
    with pytest.raises(VerificationError, match="the body is no event"):
        WEBHOOK.parse(body, headers)
    with pytest.raises(VerificationError, match="the body is no event"):
        stored_event(body)


def test_the_id_in_the_body_must_be_the_signed_one() -> None:
    body, headers = signed(EVENT, event_id="evt_other")
    WEBHOOK.verify(body, headers)
    with pytest.raises(VerificationError, match="differ"):
        WEBHOOK.parse(body, headers)


def test_an_unknown_type_is_a_plain_event() -> None:
    event = WEBHOOK.parse(*signed(EVENT | {"type": "moon.rose", "data": {"x": 1}}))
    assert (type(event), event.type, event.data) == (Event, "moon.rose", {"x": 1})


def test_a_webhook_needs_a_key_and_hides_it() -> None:
    with pytest.raises(ConfigurationError, match="give the endpoint's secret"):
        Webhook()
    assert SECRET[6:] not in repr(WEBHOOK)
    assert repr(WEBHOOK) == "Webhook(1 keys)"


JUNK = st.one_of(
    st.text(max_size=40),
    st.binary(max_size=40),
    st.none(),
    st.integers(),
    st.lists(st.text(max_size=5), max_size=3),
    st.just(HEADERS[SIGNATURE]),
    st.just(str(NOW)),
    st.just(EVENT["id"]),
)
NAMES = st.one_of(
    st.sampled_from([ID, TIMESTAMP, SIGNATURE, "Webhook-Id", b"webhook-signature", "HTTP_WEBHOOK_TIMESTAMP"]),
    st.text(max_size=20),
    st.integers(),
)
BODIES = st.one_of(st.binary(max_size=60), st.text(max_size=20), st.just(BODY), st.none())


@settings(max_examples=120, deadline=None, database=None)
@given(
    headers=st.one_of(st.dictionaries(NAMES, JUNK, max_size=6), st.lists(st.tuples(NAMES, JUNK))), body=BODIES
)
def test_whatever_comes_is_verified_or_a_verification_error(headers: Any, body: Any) -> None:
    try:
        event = WEBHOOK.parse(body, headers)
    except VerificationError:
        return
    # Only the true parts make a true delivery.
    assert (body, event.id) == (BODY, EVENT["id"])


@settings(max_examples=80, deadline=None, database=None)
@given(
    name=st.sampled_from([ID, TIMESTAMP, SIGNATURE]),
    position=st.integers(0, 60),
    put=st.characters(codec="latin-1"),
)
def test_one_changed_character_of_a_header_is_refused(name: str, position: int, put: str) -> None:
    text = HEADERS[name]
    changed = text[:position] + put + text[position + 1 :]
    if changed == text:
        WEBHOOK.verify(BODY, HEADERS)
    elif name == SIGNATURE and changed == text + " ":
        WEBHOOK.verify(BODY, HEADERS | {name: changed})  # an empty signature beside the true one
    else:
        refuses(HEADERS | {name: changed})


@settings(max_examples=60, deadline=None, database=None)
@given(
    data=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
        max_leaves=8,
    ),
    name=st.sampled_from([*EXAMPLES, "source.a.received"]),
)
def test_a_signed_event_of_any_data_is_an_event_or_a_verification_error(data: Any, name: str) -> None:
    body, headers = signed(json.dumps(EVENT | {"type": name, "data": data}).encode(), event_id=EVENT["id"])
    try:
        found = WEBHOOK.parse(body, headers).type
    except VerificationError as error:
        found = str(error).partition(":")[2][:20]
    assert found in {name, " the body is no event"[:20]}
