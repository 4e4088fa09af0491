"""Steps of the stories about asset links."""

from typing import Any

import httpx

from receiver.sandbox.world import Knobs
from tests.stories.deployment import PATIENCE, Deployment, asking

QUICK = Knobs(takes=0.0)
"""Settings of providers that finish at once."""
RESOLVE = {"aiml": "GET /aiml/v1/media/videos/", "minimax": "GET /minimax/v1/files/retrieve"}
REPOLL = "GET /getimg/v2/videos/generations/"
"""The calls for a fresh link, by provider, and that of a provider that is polled again."""


async def done(deployment: Deployment, provider: str) -> dict[str, Any]:
    """Return a job that succeeded."""
    job = await deployment.submit(asking(provider))
    told = await deployment.final(job["id"])
    assert told["state"] == "succeeded"
    return told


async def follow(deployment: Deployment, job: dict[str, Any], method: str = "GET") -> httpx.Response:
    """Return the response of the stable link of a job's first asset, called without any key."""
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        return await client.request(method, deployment.url + link(job))


def link(job: dict[str, Any]) -> str:
    """Return the path of the stable link of a job's first asset."""
    url: str = job["assets"][0]["url"]
    return "/assets/" + url.rsplit("/", 1)[-1]


def keys(*master_keys: str) -> str:
    """Return the value of the setting `secret_keys`."""
    return "[" + ", ".join(f'"{master * 40}"' for master in master_keys) + "]"
