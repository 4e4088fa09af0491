"""`ringback listen` and `ringback events tail`: events on this machine, across restarts of either side."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
import pytest
from standardwebhooks import Webhook

from receiver.cli import stream
from receiver.cli.listen import listen
from receiver.cli.sandbox import listening
from ringback import AsyncRingback, FilePlace, Retry
from tests.flaky import flaky
from tests.stories.command_line import asked, begun, line_with
from tests.stories.deployment import KEY, PATIENCE, Deployment, deployed
from tests.stories.sse import has
from tests.stories.tools import SILENT, downstream, ended_job, listed
from tests.stories.tools import asked as api

CHANCE = random.Random(14)
CUTS = [2000, *(CHANCE.randrange(1, 3000) for _ in range(199))]
"""The bytes after which each of two hundred connections is lost. The first one begins well."""


pytestmark = pytest.mark.providers(SILENT)


@contextlib.asynccontextmanager
async def command(deployment: Deployment, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a command against the service as long as the context lasts. Yields its process."""
    variables = {"RINGBACK_URL": deployment.url, "RINGBACK_API_KEY": KEY}
    async with begun(deployment.folder, *arguments, **variables) as process:
        yield process


async def test_events_are_printed_as_they_come(deployment: Deployment) -> None:
    first = await ended_job(deployment)
    async with command(deployment, "events", "tail", "--since", "1h", "--type", "job.*") as process:
        assert await line_with(process.stdout, "type") == "at\ttype\tabout\tid"
        assert first["id"] in await line_with(process.stdout, "job.canceled")
        second = await ended_job(deployment)
        assert second["id"] in await line_with(process.stdout, "job.canceled")
    async with command(deployment, "events", "tail", "--since", "start", "--json") as process:
        for job in (first, second):
            assert json.loads(await line_with(process.stdout, "evt_"))["data"]["id"] == job["id"]


async def test_the_tail_of_a_job_ends_with_it(deployment: Deployment) -> None:
    job = await ended_job(deployment)
    said = await asked(deployment, "events", "tail", "--job", job["id"], "-q")
    [event] = await listed(deployment, "/v1/events", job=job["id"])
    assert (said.code, said.out, said.err) == (0, f"{event['id']}\n", "")
    said = await asked(deployment, "events", "tail", "--job", job["id"], "--type", "job.*")
    assert (said.code, said.out) == (2, "")


async def test_each_event_is_posted_to_a_local_program_signed(deployment: Deployment) -> None:
    earlier = await ended_job(deployment)
    async with downstream() as local:
        local.answers = [(204, {}), (500, {})]
        options = ("--forward-to", local.url, "--since", "start")
        async with command(deployment, "listen", *options) as process:
            local.secret = (await line_with(process.stderr, "signed with")).removeprefix("signed with ")
            rows = [await line_with(process.stdout, "at"), await line_with(process.stdout, "job.")]
            later = await ended_job(deployment)
            rows.append(await line_with(process.stdout, "job."))
        assert [event["data"]["id"] for event in local.events()] == [earlier["id"], later["id"]]
        feed = await listed(deployment, "/v1/events")
        assert [headers["webhook-id"] for headers, _ in local.deliveries] == [event["id"] for event in feed]
        for event, body in zip(feed, local.events(), strict=True):
            assert body == {name: event[name] for name in ("id", "type", "timestamp", "data")}
        assert rows[0] == "at\ttype\tabout\tanswer\tms"
        assert [row.split("\t")[1:4] for row in rows[1:]] == [
            ["job.canceled", earlier["id"], "204"],
            ["job.canceled", later["id"], "500"],
        ]


async def test_an_event_may_be_signed_as_for_an_endpoint_or_with_an_own_secret(
    deployment: Deployment,
) -> None:
    endpoint = await deployment.subscribe("job.succeeded")
    own = "whsec_" + "b3du" * 10
    await ended_job(deployment)
    async with downstream() as local:
        for options, secret in (
            (("--endpoint", endpoint["id"]), deployment.hook.secret),
            (("--secret", own), own),
        ):
            arguments = ("listen", "--forward-to", local.url, "--since", "start", *options)
            async with command(deployment, *arguments, "--print") as process:
                body = json.loads(await line_with(process.stdout, "{"))
                assert "204" in await line_with(process.stdout, "job.")
            headers, raw = local.deliveries.pop()
            assert Webhook(secret).verify(raw, headers) == body
    for arguments, says in (
        ((), "say where events go"),
        *(
            (("--forward-to", url), "is no URL")
            for url in (
                "ftp://a/b",
                "http://[::1",
                "http://localhost:abc/",
                "http://127.0.0.1:109223/",
                "http://xn--a/",
                "http://exa mple/",
            )
        ),
        (("--print", "--since", "yesterday"), "is no time; write 10m"),
        (("--forward-to", "localhost:1", "--secret", "x"), "a secret is `whsec_` and base64"),
        (("--forward-to", "localhost:1", "--secret", own, "--endpoint", endpoint["id"]), "choose one"),
    ):
        said = await asked(deployment, "listen", *arguments)
        assert (said.code, said.out) == (2, "")
        assert says in said.err


async def test_events_wait_while_the_local_program_is_away(deployment: Deployment) -> None:
    async with downstream() as local:
        url = local.url
    port = int(url.rpartition(":")[2].strip("/"))
    async with command(deployment, "listen", "--forward-to", url, "--since", "start") as process:
        jobs = [(await ended_job(deployment))["id"] for _ in range(3)]
        assert "does not answer" in await line_with(process.stderr, url)
        async with listening(local, port=port):
            await line_with(process.stderr, "answers again")
            for job in jobs:
                assert job in await line_with(process.stdout, "job.canceled")
    assert [json.loads(body)["data"]["id"] for _, body in local.deliveries] == jobs


async def test_a_service_that_is_not_there_is_told_at_once(deployment: Deployment) -> None:
    variables = {"RINGBACK_URL": "http://127.0.0.1:1", "RINGBACK_API_KEY": KEY}
    for arguments in (("listen", "--print"), ("events", "tail")):
        async with begun(deployment.folder, *arguments, **variables) as process:
            out, err = await process.communicate()
        assert (process.returncode, out) == (1, b"")
        assert err.startswith(b"ringback: no service answers at http://127.0.0.1:1")


async def test_two_hundred_lost_connections_lose_and_double_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "PAUSE", 0.0)
    async with (
        deployed(tmp_path, SILENT) as deployment,
        downstream() as local,
        flaky(deployment.url) as proxy,
    ):
        proxy.cuts.extend(CUTS)
        monkeypatch.setenv("RINGBACK_URL", proxy.url)
        key = await api(
            deployment, "POST", "/v1/keys", 201, json={"name": "listen", "scopes": ["events:read"]}
        )
        monkeypatch.setenv("RINGBACK_API_KEY", key["key"])
        first = await ended_job(deployment)

        def run() -> Any:
            return listen.main(
                ["--forward-to", local.url, "--since", "start", "-q"],
                standalone_mode=False,
                prog_name="listen",
            )

        running = asyncio.create_task(asyncio.to_thread(run))
        jobs = [first["id"]]
        async with asyncio.timeout(PATIENCE):
            while proxy.cut < len(CUTS):
                jobs.append((await ended_job(deployment))["id"])
        await has(deployment, lambda: len(local.deliveries) >= len(jobs))
        # The service ends its streams, and the command comes back with a key that is no longer one.
        await api(deployment, "DELETE", f"/v1/keys/{key['id']}", 204)
        await deployment.services.drain()
        with pytest.raises(click.ClickException, match="unauthorized"):
            await running
        received = [json.loads(body)["data"]["id"] for _, body in local.deliveries]
        assert received == jobs


async def test_a_follower_of_the_feed_loses_and_doubles_nothing_over_as_many(tmp_path: Path) -> None:
    async with (
        deployed(tmp_path, SILENT) as deployment,
        flaky(deployment.url) as proxy,
    ):
        proxy.cuts.extend(CUTS)
        retry = Retry(first=0.001, longest=0.002)
        seen: list[str] = []
        jobs = [(await ended_job(deployment))["id"]]

        async def follow() -> None:
            async with AsyncRingback(proxy.url, KEY, retry=retry) as client:
                async for event in client.events.follow(place=FilePlace(tmp_path / "place"), wait=5):
                    seen.append(event.data["id"])  # noqa: PERF401  # looked at while it grows

        following = asyncio.create_task(follow())
        async with asyncio.timeout(PATIENCE):
            while proxy.cut < len(CUTS):
                jobs.append((await ended_job(deployment))["id"])
        await has(deployment, lambda: len(seen) >= len(jobs))
        following.cancel()
        assert seen == jobs
