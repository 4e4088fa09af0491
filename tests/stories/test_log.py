"""The log as an operator reads it: a line for each event that needs a person, with its subject."""

import functools
import logging
from datetime import timedelta
from pathlib import Path

import pytest

from receiver.events.log_lines import EVERY
from receiver.sandbox.world import Knobs
from tests.stories.deployment import Deployment, asking, deployed
from tests.stories.tools import Moving, listed, open_job

LOST = "a tide, lost-answer, lost"


def said(caplog: pytest.LogCaptureFixture, level: int, text: str) -> list[logging.LogRecord]:
    """Return the records of a level that contain a text."""
    return [one for one in caplog.records if one.levelno == level and text in one.getMessage()]


async def test_a_blocked_account_is_said_and_that_it_works_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    moving = Moving()
    async with deployed(tmp_path, Knobs(takes=0.1), clock=moving.clock) as deployment:
        stuck = await deployment.submit(asking("aiml", "a tide, blocked"))
        await deployment.until(lambda: listed(deployment, "/v1/events", type="provider.blocked"), bool)
        later = await deployment.submit(asking("aiml"))
        await deployment.client.post(f"/v1/jobs/{stuck['id']}/cancel")
        moving.wall += timedelta(seconds=6)
        moving.passed += 6
        await deployment.final(later["id"])
    waits, goes_on = "account blocked, its submissions wait: ", "account works again, its submissions go on"
    [blocked], [works] = said(caplog, logging.WARNING, waits), said(caplog, logging.WARNING, goes_on)
    assert (blocked.account, works.account) == ("aiml", "aiml")  # type: ignore[attr-defined]  # extra fields
    assert len(blocked.getMessage()) > len(waits)
    assert works.getMessage() == goes_on


async def test_what_ends_badly_is_said_with_its_job(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    refused = await deployment.submit(asking("apiframe", "a tide, refused"))
    await deployment.final(refused["id"])
    lost = await deployment.submit(asking("apiframe", LOST))
    await deployment.in_state(lost["id"], "unconfirmed")
    [record] = said(caplog, logging.WARNING, "job failed: rejected: ")
    about = (record.job, record.account, record.operation)  # type: ignore[attr-defined]  # extra fields
    assert about == (refused["id"], "apiframe", refused["operation"])
    [record] = said(caplog, logging.WARNING, "the answer to a submission was lost")
    assert record.job == lost["id"]  # type: ignore[attr-defined]  # an extra field


async def test_a_minute_with_work_in_it_is_summed_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ringback")
    moving = Moving()
    async with deployed(tmp_path, Knobs(takes=0.1), clock=moving.clock) as deployment:
        await deployment.subscribe("job.succeeded")
        job = await deployment.submit(asking("apiframe"))
        await deployment.final(job["id"])
        await deployment.until(lambda: listed(deployment, "/v1/deliveries", state="delivered"), bool)
        for _ in range(2):
            moving.wait(60)
            await deployment.services.core.counts.flush()
    about_it = "one minute of account apiframe: "
    told = [one.getMessage().removeprefix(about_it) for one in said(caplog, logging.INFO, about_it)]
    counts = [part for one in told for part in one.split(", ")]
    assert counts.count("1 submissions") == 1
    assert sum(int(part.split()[0]) for part in counts if part.endswith(" callbacks")) >= 1
    [deliveries] = said(caplog, logging.INFO, "one minute of deliveries: ")
    assert deliveries.getMessage() == "one minute of deliveries: 1 delivered"


async def test_a_submission_that_cannot_go_out_is_said_once_a_minute(
    tmp_path: Path, unserved: str, caplog: pytest.LogCaptureFixture
) -> None:
    moving = Moving()
    async with deployed(tmp_path, accounts_with={"base_url": unserved}, clock=moving.clock) as deployment:
        first = await deployment.submit(asking("apiframe"))
        second = await deployment.submit(asking("apiframe"))
        for job_id in (first["id"], second["id"]):
            await deployment.until(
                functools.partial(deployment.job, job_id), lambda job: job["waiting"] is not None
            )
    [record] = said(caplog, logging.WARNING, "a submission cannot go out and is tried again: connect: ")
    about = (record.job, record.account, record.count)  # type: ignore[attr-defined]  # extra fields
    assert about in {(first["id"], "apiframe", 1), (second["id"], "apiframe", 1)}


async def test_refused_callbacks_are_counted_and_said_once_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    moving = Moving()
    async with deployed(tmp_path, Knobs(takes=3600), clock=moving.clock) as deployment:
        job = await open_job(deployment)
        url, _ = deployment.callback(job)
        for _ in range(5):
            assert (await deployment.client.post(url, content=b"{}")).status_code == 401
            assert (await deployment.client.post(f"{url}x", content=b"{}")).status_code == 401
        moving.wall += timedelta(seconds=EVERY)
        moving.passed += EVERY
        assert (await deployment.client.post(url, content=b"{}")).status_code == 401
    proof = said(caplog, logging.WARNING, "callbacks refused: the proof is missing or wrong")
    assert [(one.account, one.count) for one in proof] == [("apiframe", 1), ("apiframe", 5)]  # type: ignore[attr-defined]  # extra fields
    assert len(said(caplog, logging.WARNING, "callbacks refused: no such token")) == 1


async def test_debug_tells_calls_and_transitions_without_queries(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ringback")
    deployment.hook.status = 204
    endpoint = {"url": f"{deployment.hook.url}/canary?sig=canary", "events": ["job.*"]}
    answer = await deployment.client.post("/v1/endpoints", json=endpoint)
    deployment.hook.secret = answer.json()["secret"]
    job = await deployment.submit(asking("apiframe"))
    await deployment.delivered(job["id"], "job.succeeded")
    calls = [one for one in said(caplog, logging.DEBUG, "POST http://") if one.name == "ringback.outgoing"]
    assert {one.status for one in calls} == {200, 204}  # type: ignore[attr-defined]  # an extra field
    assert any(f"POST {deployment.hook.url} took " in one.getMessage() for one in calls)
    assert not [one for one in caplog.records if "canary" in one.getMessage()]
    states = [one.getMessage() for one in said(caplog, logging.DEBUG, "job is ")]
    assert "job is succeeded (applied)" in states
