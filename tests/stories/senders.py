"""Senders of webhooks to sources, for the stories."""

import hmac
import json
from collections.abc import Mapping
from typing import Any

import httpx

from tests.stories.deployment import PATIENCE, Deployment
from tests.stories.tools import listed

SECRET = "sources-secret"
SHOP: Mapping[str, Any] = {
    "name": "shop",
    "proof": {"scheme": "hmac-sha256", "header": "X-Signature", "prefix": "sha256=", "secrets": [SECRET]},
    "tolerance": 300,
    "id_header": "X-Request-Id",
}
OPEN: Mapping[str, Any] = {"name": "open", "proof": {"scheme": "none", "insecure": True}}


def configured(*sources: Mapping[str, Any]) -> str:
    """Return the setting of these sources."""
    return json.dumps(sources)


def signed(body: bytes, **headers: str) -> dict[str, str]:
    """Return the headers of a message to the source `shop`."""
    proof = "sha256=" + hmac.digest(SECRET.encode(), body, "sha256").hex()
    return {"x-signature": proof, "content-type": "application/json", **headers}


async def post(
    deployment: Deployment, name: str, body: bytes, headers: dict[str, str] | None = None
) -> httpx.Response:
    """Post a message to a source, as a sender without an API key does."""
    async with httpx.AsyncClient(base_url=deployment.url, timeout=PATIENCE) as sender:
        return await sender.post(f"/sources/{name}", content=body, headers=headers)


async def received(deployment: Deployment, name: str = "shop") -> list[dict[str, Any]]:
    """Return the data of the events of a source."""
    found = await listed(deployment, "/v1/events", type=f"source.{name}.received")
    return [event["data"] for event in found]
