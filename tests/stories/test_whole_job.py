"""A whole job: submitted, followed by callback or poll, announced once, signed."""

from pathlib import Path

import pytest

from receiver.domain.event_types import JOB_FINAL
from receiver.sandbox.providers import SPEAKERS
from tests.stories.deployment import Deployment, asking, deployed

PROVED = {"apiframe", "apiframe-v2", "bfl", "fal", "ideogram", "imagineo", "piapi", "replicate", "wavespeed"}
"""The providers with proved callbacks, which end a job. All others end by a poll."""
TEXTS = {"assemblyai", "openai"}
"""The providers with a result that is no file."""


@pytest.mark.parametrize("provider", SPEAKERS)
async def test_every_provider_finishes_and_is_announced_once(deployment: Deployment, provider: str) -> None:
    await deployment.subscribe("job.*")
    job = await deployment.submit(asking(provider, metadata={"order": "42"}))
    assert job["state"] == "pending"
    done = await deployment.final(job["id"])
    by = "callback" if provider in PROVED else "poll"
    assert (done["state"], done["completed_by"]) == ("succeeded", by)
    assert isinstance(done["result"], dict)
    assert done["result"]
    [event] = await deployment.delivered(job["id"], *JOB_FINAL)
    assert event["data"]["assets"] == done["assets"]
    assert event["data"]["metadata"] == {"order": "42"}
    assert deployment.world.accepted[provider] == 1
    links = [asset["url"] for asset in done["assets"]]
    assert bool(links) is (provider not in TEXTS)
    for link in links:
        assert link.startswith(f"{deployment.url}/assets/")
        assert (await deployment.client.get(link)).status_code == 307


@pytest.mark.parametrize("words", ["late", "doubled", "reordered", "forged"])
async def test_callbacks_that_go_wrong_end_in_one_terminal_event(deployment: Deployment, words: str) -> None:
    deployment.world.set(delay=0.2)
    await deployment.subscribe("job.*")
    job = await deployment.submit(asking("apiframe", f"a tide, {words}"))
    done = await deployment.final(job["id"])
    assert (done["state"], done["completed_by"]) == ("succeeded", "callback")
    await deployment.delivered(job["id"], *JOB_FINAL)
    events = (await deployment.client.get("/v1/events", params={"job": job["id"]})).json()["data"]
    assert len([event for event in events if event["type"] in JOB_FINAL]) == 1


async def test_a_lost_callback_is_made_good_by_a_poll(tmp_path: Path) -> None:
    async with deployed(tmp_path, accounts_with={"backstop_after": 0.2}) as deployment:
        job = await deployment.submit(asking("apiframe", "a tide, lost"))
        done = await deployment.final(job["id"])
        assert (done["state"], done["completed_by"]) == ("succeeded", "poll")
        [account_told] = [
            one
            for one in (await deployment.client.get("/v1/providers")).json()["data"]
            if one["id"] == "apiframe"
        ]
        assert account_told["health"]["callbacks_missed"] == 1
