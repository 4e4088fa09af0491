"""Attempts against a scripted receiver: their stored form, and the consequences of each answer."""

import logging
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from handlers.contract import Phase
from receiver.delivery.sender import KEPT, UNREADABLE
from receiver.domain.model import EndpointState, Source, Work
from receiver.domain.reports import FailureKind
from receiver.domain.retry_policy import ABORTED, ASKED, GONE
from receiver.security import signing
from receiver.store import deliveries, holds
from receiver.store.deliveries import ClaimedDelivery
from receiver.store.due import HAND_LANES
from receiver.store.holds import hold_of
from tests.receiver.delivery_steps import BROKEN, answer, due_rows, sending
from tests.receiver.store_fixture import SECRET, told, word
from tests.receiver.woken_worker import register_workers

FIRST = timedelta(seconds=5)
"""The pause after the first attempt."""
OUTDATED_KEY = b"0badc0de" + b"x" * 40
"""A secret that is encrypted under an unknown master key."""


# Answers.


async def test_a_success_ends_the_delivery_and_its_request_is_signed(tmp_path: Path) -> None:
    async with sending(tmp_path, answer(200, body=b"y" * 2000)) as made:
        await made.endpoint(headers={"x-own": "1"})
        prepared, clock = await made.delivery(), made.fixture.clock
        delivery, [attempt] = await made.perform(prepared)
        assert (delivery.state, delivery.reason, delivery.next_at) == ("delivered", None, None)
        assert (attempt.status, attempt.error, attempt.at) == (200, None, clock.at)
        assert (attempt.answer, attempt.latency_ms) == (b"y" * KEPT, 0.0)
        assert await due_rows(made.fixture) == []
        event = prepared.delivery.event
        signed = signing.headers(event.id, int(clock.at.timestamp()), event.body, [signing.key_of(SECRET)])
    assert made.receiver.bodies == [event.body]
    [headers] = made.receiver.headers
    assert {name: headers[name] for name, _ in signed} == dict(signed)
    assert (headers["content-type"], headers["x-own"]) == ("application/json", "1")
    assert headers["user-agent"].startswith("ringback/")
    assert made.receiver.requests[0].startswith(b"POST /ep_1 HTTP/1.1\r\n")


async def test_a_410_cancels_the_delivery_and_disables_its_endpoint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with sending(tmp_path, answer(410)) as made:
        await made.endpoint()
        await made.fixture.endpoint("ep_2", "endpoint.disabled", state=EndpointState.PAUSED)
        delivery, [attempt] = await made.perform(await made.delivery())
        assert (delivery.state, delivery.reason, attempt.status) == ("canceled", GONE, 410)
        endpoint = await made.fixture.services.api.endpoints.get("ep_1")
        assert (endpoint.state, endpoint.disabled_reason) == (EndpointState.DISABLED, GONE)
        [event] = await made.fixture.query("select body from event where type = 'endpoint.disabled'")
        assert b'"disabled_reason":"the endpoint answered 410 Gone"' in event["body"]
        assert b'"url":"http://127.0.0.1:%d"' % made.server.port in event["body"]
        targets = (
            "select target from delivery join event on event.id = event where type = 'endpoint.disabled'"
        )
        assert await made.fixture.column(targets) == ["ep_2"]
    assert f"endpoint ep_1 disabled: {GONE}" in caplog.text


async def test_a_503_is_retried_after_the_time_that_it_asks_for_and_holds_its_endpoint(
    tmp_path: Path,
) -> None:
    async with sending(tmp_path, answer(503, "retry-after: 120")) as made:
        await made.endpoint()
        workers = register_workers(made.fixture)
        until = made.fixture.clock.at + timedelta(seconds=120)
        delivery, [attempt] = await made.perform(await made.delivery())
        assert (delivery.state, delivery.reason, delivery.next_at) == ("pending", None, until)
        assert (attempt.status, attempt.error, attempt.answer) == (503, None, b"thanks")
        assert await due_rows(made.fixture) == [("ep_1~", 0, 1)]
        assert made.fixture.lanes.held("ep_1") == 120
        assert await made.fixture.store.read(holds.held(made.fixture.clock.at, 10)) == {"ep_1": until}
        assert workers[Work.DELIVER].woken == [until]


ANSWERS: dict[str, tuple[bytes, str, str | None, str | None]] = {
    "204": (answer(204, body=b""), "delivered", None, None),
    "200 and disable": (answer(200, "webhook-delivery: disable"), "delivered", ASKED, ASKED),
    "302": (answer(302, "location: /elsewhere"), "pending", None, None),
    "404 and disable": (answer(404, "webhook-delivery: disable"), "canceled", ASKED, ASKED),
    "500": (answer(500), "pending", None, None),
    "500 and abort-message": (answer(500, "webhook-delivery: abort-message"), "canceled", ABORTED, None),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_decides_about_its_delivery_and_its_endpoint(tmp_path: Path, name: str) -> None:
    given, state, reason, disabled = ANSWERS[name]
    async with sending(tmp_path, given) as made:
        await made.endpoint()
        delivery, [attempt] = await made.perform(await made.delivery())
        assert (delivery.state, delivery.reason) == (state, reason)
        assert delivery.next_at == (made.fixture.clock.at + FIRST if state == "pending" else None)
        assert (attempt.status, attempt.error) == (int(given[9:12]), None)
        endpoint = await made.fixture.services.api.endpoints.get("ep_1")
        assert endpoint.disabled_reason == disabled
        assert made.fixture.lanes.held("ep_1") == 0
    assert len(made.receiver.requests) == 1


async def test_a_broken_connection_is_an_attempt_with_its_stage_and_cause(tmp_path: Path) -> None:
    async with sending(tmp_path, BROKEN) as made:
        await made.endpoint()
        delivery, [attempt] = await made.perform(await made.delivery())
        assert (delivery.state, delivery.next_at) == ("pending", made.fixture.clock.at + FIRST)
        assert (attempt.status, attempt.error) == (None, "read: the connection broke")
        assert (attempt.answer, delivery.error) == (b"", "read: the connection broke")


async def test_a_delivery_is_tried_again_until_its_schedule_is_used_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with sending(tmp_path, answer(500), BROKEN, retry_schedule="[5]") as made:
        await made.endpoint()
        prepared = await made.delivery()
        first, _ = await made.perform(prepared)
        made.fixture.clock.pass_(seconds=5)
        [again] = await made.due()
        delivery, attempts = await made.perform(again)
    assert (first.state, delivery.state, delivery.tries) == ("pending", "exhausted", 2)
    assert [(one.status, one.error) for one in attempts] == [
        (500, None),
        (None, "read: the connection broke"),
    ]
    assert delivery.reason == "read: the connection broke"
    [line] = [one for one in caplog.records if "is exhausted" in one.getMessage()]
    assert line.getMessage() == (
        f"delivery {delivery.id} to endpoint ep_1 is exhausted: read: the connection broke"
    )
    assert line.__dict__["delivery"] == delivery.id


async def test_an_exhausted_callback_names_its_job_in_the_log_and_not_its_url(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with sending(tmp_path, answer(500), retry_schedule="[]") as made:
        job = await made.one_off("/secret-path")
        delivery, [attempt] = await made.perform(await made.delivery(**job))
    assert (delivery.state, delivery.reason, attempt.status) == ("exhausted", None, 500)
    assert f"to the callback_url of {job['id']} is exhausted: it was answered 500" in caplog.text
    assert "secret-path" not in caplog.text


# Callback URLs.


async def test_a_410_of_a_callback_url_cancels_all_other_deliveries_of_its_job_to_it(tmp_path: Path) -> None:
    async with sending(tmp_path, answer(410)) as made:
        await made.endpoint()
        job = await made.fixture.added(**await made.one_off())
        [claimed] = await made.fixture.claim(Work.SUBMIT, {job.account: 1})
        lost = word(
            job, made.fixture, source=Source.SUBMISSION, verdict=FailureKind.LOST, claim=claimed.claim
        )
        [unconfirmed] = await made.fixture.hear(lost)
        [succeeded] = await made.fixture.hear(word(job, made.fixture, told(Phase.SUCCEEDED)))
        [first], (for_endpoint, second) = unconfirmed.deliveries, succeeded.deliveries
        assert first.claim is not None
        delivery, [attempt] = await made.perform(ClaimedDelivery(first.claim, first.delivery))
        assert (delivery.state, delivery.reason, attempt.status) == ("canceled", GONE, 410)
        other, attempts = await made.stored(second.delivery.id)
        assert (other.state, other.reason, attempts) == ("canceled", GONE, [])
        assert (await made.stored(for_endpoint.delivery.id))[0].state == "pending"
        assert (await made.fixture.now(job)).callback_off
        assert await made.fixture.column("select id from event where type = 'endpoint.disabled'") == []


async def test_a_callback_that_holds_no_url_yet_gets_that_of_its_job(tmp_path: Path) -> None:
    async with sending(tmp_path, answer(204)) as made:
        prepared = await made.delivery(**await made.one_off("/late"))
        assert prepared.delivery.url is None
        delivery, [attempt] = await made.perform(prepared)
    assert (delivery.state, attempt.status) == ("delivered", 204)
    assert made.receiver.requests[0].startswith(b"POST /late ")


async def test_a_callback_url_that_is_held_is_left_alone_until_its_hold_ends(tmp_path: Path) -> None:
    async with sending(tmp_path, answer(503, "retry-after: 60"), answer(204)) as made:
        first, second = [await made.delivery(**await made.one_off("/same")) for _ in range(2)]
        other = await made.delivery(**await made.one_off("/other"))
        until = made.fixture.clock.at + timedelta(seconds=60)
        assert (await made.perform(first))[0].next_at == until
        workers = register_workers(made.fixture)
        delivery, attempts = await made.perform(second)
        assert (delivery.state, attempts, delivery.next_at) == ("pending", [], until)
        assert workers[Work.DELIVER].woken == [until]
        assert (await made.perform(other))[0].state == "delivered"
    assert len(made.receiver.requests) == 2


async def test_a_callback_that_is_retried_by_hand_waits_for_no_hold_and_ends_it(tmp_path: Path) -> None:
    async with sending(tmp_path, answer(503, "retry-after: 60"), answer(204)) as made:
        prepared = await made.delivery(**await made.one_off())
        await made.perform(prepared)
        lane, held = prepared.claim.lane, hold_of(prepared.claim.lane, made.server.url("/one-off"))
        assert made.fixture.lanes.held(held) == 60
        retry = partial(deliveries.retry, prepared.delivery.id, lane, made.fixture.clock.at, held)
        assert await made.fixture.store.write(retry)
        [again] = await made.due()
        assert again.claim.lane == lane + HAND_LANES[0]
        delivery, _ = await made.perform(again)
        assert (delivery.state, made.fixture.lanes.held(held)) == ("delivered", 0)


async def test_a_callback_whose_secret_cannot_be_decrypted_waits_for_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with sending(tmp_path, answer(204)) as made:
        job = await made.one_off() | {"callback_secret": OUTDATED_KEY}
        delivery, attempts = await made.perform(await made.delivery(**job))
        assert (delivery.state, attempts) == ("pending", [])
        assert delivery.next_at == made.fixture.clock.at + UNREADABLE
        assert await due_rows(made.fixture) == [(made.server.url("~"), 0, 0)]
    assert made.receiver.requests == []
    [line] = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert line.getMessage() == (
        f"delivery {delivery.id} waits: its callback_secret needs a master key that is not configured"
    )
    assert (line.__dict__["delivery"], line.__dict__["job"]) == (delivery.id, job["id"])


# Endpoints that are not served.


@pytest.mark.parametrize("state", [EndpointState.PAUSED, EndpointState.DISABLED])
async def test_a_delivery_to_an_endpoint_that_was_stopped_is_given_back_untried(
    tmp_path: Path, state: EndpointState
) -> None:
    async with sending(tmp_path, answer(204)) as made:
        await made.endpoint()
        prepared = await made.delivery()
        await made.fixture.services.api.endpoints.update("ep_1", lambda one: replace(one, state=state))
        delivery, attempts = await made.perform(prepared)
        assert (delivery.state, attempts, delivery.leased) == ("pending", [], False)
        assert await due_rows(made.fixture) == [("ep_1", 0, 0)]
    assert made.receiver.requests == []


async def test_a_delivery_to_an_endpoint_whose_secret_cannot_be_decrypted_is_given_back_untried(
    tmp_path: Path,
) -> None:
    async with sending(tmp_path, answer(204)) as made:
        await made.endpoint()
        prepared = await made.delivery()
        await made.fixture.write("update endpoint set secrets = :sealed", sealed=OUTDATED_KEY)
        await made.fixture.services.api.endpoints.refresh()
        delivery, attempts = await made.perform(prepared)
        assert (delivery.state, attempts, delivery.leased) == ("pending", [], False)
    assert made.receiver.requests == []


async def test_an_attempt_to_an_endpoint_that_is_gone_is_stored_with_its_cause(tmp_path: Path) -> None:
    async with sending(tmp_path, answer(204)) as made:
        await made.endpoint()
        prepared = await made.delivery()
        made.fixture.services.core.endpoint_cache.adopt("none", [])
        attempt = await made.fixture.services.sender.attempt(prepared.claim, prepared.delivery)
        delivery, [stored] = await made.stored(prepared.delivery.id)
    assert (attempt.status, attempt.error) == (None, "config: the endpoint or its secret is gone")
    assert (stored, delivery.state) == (attempt, "pending")
    assert made.receiver.requests == []


async def test_a_claim_that_would_end_during_the_attempt_is_left_to_its_end(tmp_path: Path) -> None:
    async with sending(tmp_path, answer(204)) as made:
        await made.endpoint()
        prepared = await made.delivery()
        made.fixture.clock.pass_(seconds=11)
        delivery, attempts = await made.perform(prepared)
        assert (delivery.state, attempts, delivery.leased) == ("pending", [], True)
    assert made.receiver.requests == []
