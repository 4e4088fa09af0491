"""Streams and sources over several processes on one database."""

import asyncio
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.stories.deployment import KEY, PATIENCE, deployed
from tests.stories.replicas import another
from tests.stories.senders import SHOP, configured, received, signed
from tests.stories.sse import Listener, has, listening_to
from tests.stories.tools import SILENT, asked, ended_job, listed

pytestmark = pytest.mark.usefixtures("on_postgres")
STREAM = "/v1/events/stream"


async def test_a_stream_tells_what_another_process_recorded(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment, another(deployment) as (_, url):
        headers = {"authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE) as client:
            other = replace(deployment, client=client)
            async with listening_to(other, STREAM) as listener:
                await has(other, lambda: listener.retry)
                jobs = [(await ended_job(deployment))["id"] for _ in range(3)]
                await has(other, lambda: len(listener.events) == 3)
            # A client that is sent to another process continues there.
            jobs.append((await ended_job(other))["id"])
            async with listening_to(deployment, STREAM, listener):
                jobs.append((await ended_job(other))["id"])
                await has(deployment, lambda: len(listener.events) == 5)
        assert [event["data"]["id"] for event in listener.events] == jobs
        assert listener.ids == [event["id"] for event in await listed(deployment, "/v1/events")]


async def test_a_job_is_followed_on_any_process_with_one_token(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment, another(deployment) as (_, url):
        job = await ended_job(deployment)
        made = await asked(deployment, "POST", f"/v1/jobs/{job['id']}/token", 201)
        listener = Listener()
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as browser:
            path = f"/v1/jobs/{job['id']}/stream"
            await listener.read(await browser.get(path, params={"token": made["token"]}))
        assert listener.types == ["job.canceled"]


async def test_one_message_sent_to_every_process_at_once_is_one_event(tmp_path: Path) -> None:
    async with (
        deployed(tmp_path, SILENT, sources=configured(SHOP)) as deployment,
        another(deployment) as (_, url),
    ):
        body = b'{"render": 7}'
        async with httpx.AsyncClient(timeout=PATIENCE) as sender:
            answers = await asyncio.gather(
                *(
                    sender.post(
                        f"{base}/sources/shop",
                        content=body,
                        headers=signed(body, **{"x-request-id": f"r{number}"}),
                    )
                    for number in range(10)
                    for base in (deployment.url, url)
                )
            )
        assert {answer.status_code for answer in answers} == {200}
        found = [data["sender_id"] for data in await received(deployment)]
        assert sorted(found) == sorted(f"r{number}" for number in range(10))
