"""The raw messages of a job's provider: as they came, without any secret."""

from pathlib import Path

import httpx

from receiver.sandbox.world import Knobs
from tests.stories.deployment import Deployment, asking, deployed

ESCAPED = "".join(f"\\u{ord(one):04x}" for one in "key-apiframe")
"""The API key of the account, as JSON may spell it, too."""


async def told(deployment: Deployment, *bodies: str) -> list[dict[str, object]]:
    """Return the messages of a job to which the provider sent these bodies."""
    job = await deployment.submit(asking("apiframe"))
    await deployment.in_state(job["id"], "queued")
    url, secret = deployment.callback(job)
    async with httpx.AsyncClient() as provider:
        for body in bodies:
            sent = await provider.post(
                url, content=body.encode(), headers={"x-webhook-secret": secret, "user-agent": "key-apiframe"}
            )
            assert sent.status_code == 200
    found: list[dict[str, object]] = []
    cursor = None
    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await deployment.client.get(f"/v1/jobs/{job['id']}/messages", params=query)).json()
        found += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


async def test_messages_are_shown_whole_and_in_order(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=1000)) as deployment:
        bodies = [f'{{"status":"processing","percentage":{number}}}' for number in (1, 2, 3)]
        found = await told(deployment, *bodies, "no json")
        assert [one["body"] for one in found] == [*bodies, "no json"]
        assert {one["kind"] for one in found} == {"callback"}
        assert [one["bytes"] for one in found] == [len(body) for body in [*bodies, "no json"]]
        assert found[-1]["outcome"] == "unparsed"


async def test_no_message_shows_a_secret_however_it_is_spelled(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=1000)) as deployment:
        bodies = (
            '{"status":"processing","echo":"key-apiframe"}',
            f'{{"status":"processing","echo":"{ESCAPED}","{ESCAPED}":1}}',
            "echo key-apiframe",
            f"echo {ESCAPED}",
        )
        found = await told(deployment, *bodies)
        assert [one["body"] for one in found[:3]] == [
            '{"status":"processing","echo":"[redacted]"}',
            '{"status":"processing","echo":"[redacted]","[redacted]":1}',
            "echo [redacted]",
        ]
        assert "so it is not shown" in str(found[3]["body"])
        assert {one["headers"]["user-agent"] for one in found} == {"[redacted]"}  # type: ignore[index]  # JSON


async def test_a_long_message_is_cut_and_an_unknown_job_is_none(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=1000)) as deployment:
        [one] = await told(deployment, '{"status":"processing","x":"' + "y" * 200_000 + '"}')
        assert (one["cut"], len(str(one["body"]))) == (True, 65_536)
        assert (await deployment.client.get("/v1/jobs/job_0/messages")).status_code == 404
        job = await deployment.submit(asking("apiframe"))
        wrong = await deployment.client.get(f"/v1/jobs/{job['id']}/messages", params={"cursor": "x"})
        assert wrong.status_code == 422
