"""Calls about jobs."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from receiver.api.event_examples import ASSET
from receiver.security.signing import key_of
from ringback import ConfigurationError
from ringback.calls import jobs
from ringback.core import Call
from ringback.retrying import Retry, drawn
from ringback.values import Job
from tests.client.driven import JOB

RETRY = Retry(entropy=lambda count: b"\x07" * count)
URL = "https://me.example/one-off"


def body(call: Call[Any]) -> Any:
    """Return the body of a call."""
    assert call.body is not None
    return json.loads(call.body)


def test_a_submission_sends_what_is_given_and_nothing_else() -> None:
    call = drawn(jobs.submit("p", {"prompt": None}, operation="o", metadata=None, deadline_seconds=9), RETRY)
    assert body(call) == {
        "provider": "p",
        "input": {"prompt": None},
        "operation": "o",
        "deadline_seconds": 9,
    }
    assert call.headers == {"idempotency-key": "07" * 16}
    assert call.repeatable


def test_a_key_of_ones_own_is_kept_and_a_wait_becomes_a_preference() -> None:
    call = jobs.submit("p", {}, idempotency_key="order-42", wait=30)
    assert drawn(call, RETRY).headers == {"idempotency-key": "order-42", "prefer": "wait=30"}
    assert call.waits == 30.0
    assert drawn(jobs.submit("p", {}, wait=5), RETRY).headers["prefer"] == "wait=5"


def test_the_secret_of_a_callback_url_is_made_here_so_that_no_lost_answer_loses_it() -> None:
    call = drawn(jobs.submit("p", {}, callback_url=URL), RETRY)
    secret = body(call)["callback_secret"]
    assert key_of(secret) == base64.b64decode(secret.removeprefix("whsec_")) == b"\x07" * 32
    job: Job = call.reads(JOB)
    assert job.callback_secret == secret
    assert secret not in repr(job)
    assert secret not in repr(call)


def test_a_secret_is_not_made_where_the_caller_chose_one_or_a_key() -> None:
    theirs = drawn(jobs.submit("p", {}, callback_url=URL, callback_secret="whsec_theirs"), RETRY)
    assert body(theirs)["callback_secret"] == "whsec_theirs"
    # The same key with another secret would be another body, and the service tells its own only once.
    with pytest.raises(ConfigurationError, match="callback_secret: give one beside callback_url and"):
        jobs.submit("p", {}, callback_url=URL, idempotency_key="order-42")
    keyed = jobs.submit("p", {}, callback_url=URL, callback_secret="whsec_a", idempotency_key="order-42")
    assert body(keyed)["callback_secret"] == "whsec_a"


def test_a_list_is_filtered_by_labels_and_moments() -> None:
    call = jobs.pages(metadata={"order": "42", "a b": "c"}, created_before=datetime(2026, 11, 21, tzinfo=UTC))
    assert call.query == (
        ("created_before", "2026-11-21T00:00:00Z"),
        ("limit", "100"),
        ("metadata.order", "42"),
        ("metadata.a b", "c"),
    )


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"provider_job_id": "x"}, {"provider_job_id": "x"}),
        ({"resubmit": True}, {"resubmit": True}),
        ({"fail": True}, {"fail": True}),
        ({}, {}),
    ],
)
def test_a_resolution_sends_the_choice_alone(given: dict[str, Any], sent: dict[str, Any]) -> None:
    assert body(jobs.resolve("job_1", **given)) == sent


def test_only_reading_calls_and_submissions_may_be_repeated() -> None:
    assert jobs.show("job_1").repeatable
    changing = (
        jobs.cancel("j"),
        jobs.erase("j"),
        jobs.token("j"),
        jobs.revoke_assets("j"),
        jobs.resolve("j"),
    )
    assert not any(call.repeatable for call in changing)


def test_a_token_is_asked_for_with_its_seconds_and_hidden() -> None:
    call = jobs.token("job_1", seconds=60)
    assert (call.method, call.path, body(call)) == ("POST", "/v1/jobs/job_1/token", {"seconds": 60})
    made = call.reads({"token": "rbj_secret", "expires_at": "2026-11-21T10:00:00.000Z"})
    assert (made.token, made.expires_at) == ("rbj_secret", datetime(2026, 11, 21, 10, tzinfo=UTC))
    assert "rbj_secret" not in repr(made)


def test_a_job_whose_links_were_revoked_has_assets_without_links() -> None:
    call = jobs.revoke_assets("job_1")
    assert (call.method, call.path, call.body) == ("POST", "/v1/jobs/job_1/revoke-assets", None)
    assets = [dict(ASSET) | {"url": None}]
    assert [asset.url for asset in call.reads(JOB | {"assets": assets}).assets] == [None]


@pytest.mark.parametrize("key", ["", "a b", "é", "a\n", "a" * 256])
def test_a_key_that_fits_into_no_header_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="visible ASCII"):
        jobs.submit("p", {}, idempotency_key=key)
