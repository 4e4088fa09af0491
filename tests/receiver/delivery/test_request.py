"""The request of a delivery: its target, its headers and the bytes that are signed."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from receiver.delivery.request import (
    DeliveryTarget,
    callback_target,
    endpoint_target,
    is_current,
    request_of,
)
from receiver.domain.clock import Clock
from receiver.domain.model import Endpoint, EndpointState, Event, PendingDelivery
from receiver.security.tokens import MasterKeys
from tests.receiver.store_fixture import SECRET

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
URL = "https://app.example/hooks"
SOURCE = "https://hooks.example"
BODY, RESULT = b'{"id":"evt_1","data":{"object":"job"}}', b'{"lyrics":"la"}'
WITH_RESULT = b'{"id":"evt_1","data":{"object":"job","result":{"lyrics":"la"}}}'
EVENT = Event(id="evt_1", type="job.succeeded", job_id="job_1", at=NOW, sequence=1, body=BODY, result=RESULT)
ENDPOINT = Endpoint(
    id="ep_1",
    url=URL,
    events=("job.*",),
    created_at=NOW,
    updated_at=NOW,
    headers={"authorization": "Bearer theirs"},
    include=("result",),
    secrets=(SECRET,),
)
FIRST, SECOND = b"a" * 32, b"b" * 32
MASTERS = MasterKeys(["m" * 32], Clock().entropy)
DELIVERY = PendingDelivery(
    id="dlv_1",
    event=EVENT,
    endpoint_id=None,
    job_id="job_1",
    url=URL,
    secret=MASTERS.seal(SECRET, "job_1"),
)


def signature(key: bytes, body: bytes, timestamp: int = 1_700_000_000) -> str:
    """Return the signature of a body, by the text of the Standard Webhooks specification."""
    signed = f"evt_1.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def target(keys: Sequence[bytes] = (FIRST,), **others: Any) -> DeliveryTarget:
    """Return a target with these fields."""
    made = DeliveryTarget(endpoint=ENDPOINT, url=URL, keys=keys, headers={}, include=())
    return replace(made, **others)


# Targets.


def test_the_target_of_an_endpoint_has_its_url_headers_and_additions() -> None:
    found = endpoint_target(ENDPOINT, [FIRST])
    assert found == DeliveryTarget(
        endpoint=ENDPOINT,
        url=URL,
        keys=[FIRST],
        headers={"authorization": "Bearer theirs"},
        include=("result",),
    )


def test_an_endpoint_without_a_key_has_no_target() -> None:
    assert endpoint_target(ENDPOINT, []) is None


def test_the_target_of_a_callback_url_is_signed_with_the_secret_of_its_job() -> None:
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    found = callback_target(DELIVERY, MASTERS)
    assert found == DeliveryTarget(endpoint=None, url=URL, keys=[key], headers={}, include=())


@pytest.mark.parametrize(
    "changes",
    [
        {"url": None},
        {"secret": None},
        {"job_id": None},
        {"job_id": "job_2"},
        {"secret": MasterKeys(["n" * 32], Clock().entropy).seal(SECRET, "job_1")},
    ],
    ids=["no URL", "no secret", "no job", "another job's secret", "an unknown master key"],
)
def test_a_callback_url_without_a_readable_secret_has_no_target(changes: dict[str, Any]) -> None:
    assert callback_target(replace(DELIVERY, **changes), MASTERS) is None


def test_the_text_of_a_target_shows_neither_keys_nor_headers() -> None:
    text = repr(endpoint_target(ENDPOINT, [FIRST]))
    assert URL in text
    assert FIRST.decode() not in text
    assert "keys" not in text
    assert text.count("Bearer theirs") == 0


# Requests.


def test_a_request_is_signed_over_its_id_its_time_and_its_body() -> None:
    call = request_of(target(headers={"x-own": "1"}), EVENT, 1_700_000_000, 7.5, SOURCE)
    assert (call.method, call.url, call.body, call.timeout) == ("POST", URL, BODY, 7.5)
    assert call.delivery
    assert not call.fresh
    assert call.headers == [
        ("content-type", "application/json"),
        ("webhook-id", "evt_1"),
        ("webhook-timestamp", "1700000000"),
        ("webhook-signature", signature(FIRST, BODY)),
        ("x-own", "1"),
    ]


def test_a_request_has_a_signature_for_each_key_newest_first() -> None:
    call = request_of(target([SECOND, FIRST]), EVENT, 1_700_000_001, 1.0, SOURCE)
    both = " ".join(signature(key, BODY, 1_700_000_001) for key in (SECOND, FIRST))
    assert dict(call.headers)["webhook-signature"] == both


@pytest.mark.parametrize(
    ("include", "result", "body"),
    [
        ((), RESULT, BODY),
        (("result",), None, BODY),
        (("result",), RESULT, WITH_RESULT),
    ],
)
def test_a_result_is_sent_and_signed_only_where_the_endpoint_asks_for_it(
    include: Sequence[str], result: bytes | None, body: bytes
) -> None:
    call = request_of(target(include=include), replace(EVENT, result=result), 1_700_000_000, 1.0, SOURCE)
    assert call.body == body
    assert dict(call.headers)["webhook-signature"] == signature(FIRST, body)


# Endpoints that changed meanwhile.


LATER = NOW + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("changes", "current"),
    [
        ({}, True),
        ({"description": "another"}, True),
        ({"updated_at": LATER}, False),
        ({"url": "https://new.example/"}, False),
        ({"updated_at": LATER, "state": EndpointState.PAUSED}, True),
        ({"updated_at": LATER, "state": EndpointState.DISABLED}, True),
        ({"updated_at": LATER, "state": EndpointState.PAUSED, "url": "https://new.example/"}, False),
    ],
)
def test_an_endpoint_is_current_unless_it_was_moved_changed_or_resumed(
    changes: dict[str, Any], current: bool
) -> None:
    assert is_current(ENDPOINT, replace(ENDPOINT, **changes)) is current


def test_an_endpoint_that_is_gone_is_not_current() -> None:
    assert is_current(ENDPOINT, None) is False
