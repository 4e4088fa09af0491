"""Proofs of sources: each scheme accepts its own, refuses the rest, and keeps to its times."""

import base64
import hashlib
import hmac
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks import Webhook
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from receiver.cli.sandbox import listening
from tests.stories.deployment import KEY, deployed
from tests.stories.senders import SECRET, configured, post, received
from tests.stories.tools import SILENT, Moving, problem

WHSEC = "whsec_" + "c2Vj" * 10


async def test_signatures_with_a_time_are_refused_when_they_are_old(tmp_path: Path) -> None:
    sources: list[dict[str, Any]] = [
        {"name": "standard", "proof": {"scheme": "standard-webhooks", "secrets": [WHSEC]}},
        {"name": "svix", "proof": {"scheme": "svix", "secrets": ["whsec_b3RoZXI=", WHSEC]}, "tolerance": 60},
        {"name": "pay", "proof": {"scheme": "stripe", "secrets": [SECRET]}},
    ]
    body = b'{"id": "in_1", "done": true}'

    def webhooks(family: str, at: int) -> dict[str, str]:
        key = base64.b64decode(WHSEC.removeprefix("whsec_"))
        made = hmac.digest(key, f"m1.{at}.".encode() + body, "sha256")
        proof = "v1,AAAA v1," + base64.b64encode(made).decode()
        return {f"{family}-id": "m1", f"{family}-timestamp": str(at), f"{family}-signature": proof}

    async with deployed(tmp_path, SILENT, sources=configured(*sources)) as deployment:
        now = int(time.time())
        for name, headers, status in (
            ("standard", webhooks("webhook", now - 200), 200),
            ("standard", webhooks("svix", now - 200), 200),
            ("standard", webhooks("webhook", now - 400), 401),
            ("standard", webhooks("webhook", now + 400), 401),
            ("standard", webhooks("webhook", now) | webhooks("svix", now), 401),
            ("svix", webhooks("svix", now - 200), 401),
            ("svix", webhooks("svix", now), 200),
            ("svix", webhooks("webhook", now), 200),
            ("pay", timed(body, now), 200),
            ("pay", timed(body, now - 1), 200),
            ("pay", timed(body, now - 400), 401),
        ):
            assert (await post(deployment, name, body, headers)).status_code == status, (name, headers)
        # The ids are the schemes' own: the header, whichever family it is of, and the id in the body.
        assert [data["sender_id"] for data in await received(deployment, "standard")] == ["m1"]
        assert [data["sender_id"] for data in await received(deployment, "svix")] == ["m1"]
        assert [data["sender_id"] for data in await received(deployment, "pay")] == ["in_1"]


async def test_the_signatures_of_a_time_may_have_another_name(tmp_path: Path) -> None:
    proof = {"scheme": "stripe", "header": "elevenlabs-signature", "signature": "v0", "secrets": [SECRET]}
    body = b'{"type": "speech"}'
    async with deployed(
        tmp_path, SILENT, sources=configured({"name": "speech", "proof": proof})
    ) as deployment:
        now = int(time.time())
        for at, name, status in ((now, "v0", 200), (now, "v1", 401), (now - 400, "v0", 401)):
            headers = timed(body, at, "elevenlabs-signature", name)
            assert (await post(deployment, "speech", body, headers)).status_code == status, (at, name)


def timed(body: bytes, at: int, header: str = "stripe-signature", name: str = "v1") -> dict[str, str]:
    """Return the header of a signature over a time and a body, with two others beside it."""
    made = hmac.digest(SECRET.encode(), f"{at}.".encode() + body, "sha256").hex()
    return {header: f"t={at},{name}={'0' * 64},{name}={made},x0=x"}


class KeyServer:
    """A sender's server of its public keys."""

    def __init__(self, *keys: Ed25519PrivateKey) -> None:
        self.keys = list(keys)
        self.calls = 0
        self.status = 200

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        Request(scope, receive)
        self.calls += 1
        jwks = [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).decode().rstrip("="),
            }
            for key in self.keys
        ]
        answer = JSONResponse({"keys": jwks}) if self.status == 200 else Response(status_code=self.status)
        await answer(scope, receive, send)


def by_fal(key: Ed25519PrivateKey, body: bytes, request_id: str, at: datetime) -> dict[str, str]:
    """Return the headers of a message as fal signs it."""
    stamp = str(int(at.timestamp()))
    lines = [request_id, "user_1", stamp, hashlib.sha256(body).hexdigest()]
    return {
        "x-fal-webhook-request-id": request_id,
        "x-fal-webhook-user-id": "user_1",
        "x-fal-webhook-timestamp": stamp,
        "x-fal-webhook-signature": key.sign("\n".join(lines).encode()).hex(),
    }


async def test_public_keys_are_fetched_kept_and_renewed_once(tmp_path: Path) -> None:
    first, second, foreign = (Ed25519PrivateKey.generate() for _ in range(3))
    server, moving, body = KeyServer(first), Moving(), b'{"status": "OK"}'
    async with listening(server) as url:
        fal = {"name": "fal", "proof": {"scheme": "ed25519-jwks", "jwks_url": f"{url}/jwks.json"}}
        async with deployed(tmp_path, SILENT, clock=moving.clock, sources=configured(fal)) as deployment:

            async def status(key: Ed25519PrivateKey, request_id: str) -> int:
                headers = by_fal(key, body, request_id, moving.clock.outside())
                return (await post(deployment, "fal", body, headers)).status_code

            assert [await status(first, "r1"), await status(first, "r2")] == [200, 200]
            assert server.calls == 1
            # Forged signatures cause one fetch a minute, one of them also right after the first fetch.
            assert [await status(foreign, f"f{count}") for count in range(5)] == [401] * 5
            assert server.calls == 2
            moving.wait(61)
            assert [await status(foreign, f"g{count}") for count in range(5)] == [401] * 5
            assert server.calls == 3
            # A new key is found without a restart, and a day later the keys are fetched again.
            server.keys = [second]
            moving.wait(61)
            assert [await status(second, "r3"), await status(first, "r4")] == [200, 401]
            assert server.calls == 4
            moving.wait(86_400)
            server.status = 500
            headers = by_fal(second, body, "r5", moving.clock.outside())
            answer = await post(deployment, "fal", body, headers)
            problem(answer, 503, "unavailable")
            assert int(answer.headers["retry-after"]) > 0
            server.status = 200
            moving.wait(61)
            assert await status(second, "r5") == 200
            assert [data["sender_id"] for data in await received(deployment, "fal")] == [
                "r1",
                "r2",
                "r3",
                "r5",
            ]


async def test_vectors_that_senders_publish_are_accepted(tmp_path: Path) -> None:
    """GitHub's and Svix's own examples; their old times need a tolerance that a test alone can wait for."""
    github = {"name": "hub", "proof": {"scheme": "github", "secrets": ["It's a Secret to Everybody"]}}
    async with deployed(tmp_path, SILENT, sources=configured(github)) as deployment:
        proof = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        headers = {"x-hub-signature-256": proof, "x-github-delivery": "d1", "x-github-event": "ping"}
        assert (await post(deployment, "hub", b"Hello, World!", headers)).status_code == 200
        assert (await post(deployment, "hub", b"Hello, World?", headers)).status_code == 401
        [data] = await received(deployment, "hub")
        assert base64.b64decode(data["body_base64"]) == b"Hello, World!"
        assert (data["sender_id"], data["headers"]["x-github-event"]) == ("d1", "ping")
        assert "x-hub-signature-256" not in data["headers"]


async def test_a_message_signed_by_the_library_of_standard_webhooks_is_accepted(tmp_path: Path) -> None:
    source = {"name": "std", "proof": {"scheme": "standard-webhooks", "secrets": [WHSEC]}}
    async with deployed(tmp_path, SILENT, sources=configured(source)) as deployment:
        at = datetime.now(UTC)
        proof = Webhook(WHSEC).sign("msg_1", at, '{"a":1}')
        headers = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": proof,
        }
        assert (await post(deployment, "std", b'{"a":1}', headers)).status_code == 200
        assert [data["body"] for data in await received(deployment, "std")] == [{"a": 1}]


async def test_basic_and_shared_secrets_are_compared_whole(tmp_path: Path) -> None:
    sources: list[dict[str, Any]] = [
        {"name": "login", "proof": {"scheme": "basic", "secrets": ["me:pass:word", "old:one"]}},
        {
            "name": "shared",
            "proof": {
                "scheme": "shared-secret",
                "header": "authorization",
                "prefix": "Bearer ",
                "secrets": [SECRET],
            },
        },
        {
            "name": "wide",
            "proof": {"scheme": "hmac-sha512", "header": "x-sig", "encoding": "base64", "secrets": [SECRET]},
        },
    ]
    async with deployed(tmp_path, SILENT, sources=configured(*sources)) as deployment:
        basic = "Basic " + base64.b64encode(b"me:pass:word").decode()
        wide = base64.b64encode(hmac.digest(SECRET.encode(), b"{}", "sha512")).decode()
        for name, headers, status in (
            ("login", {"authorization": basic}, 200),
            ("login", {"authorization": basic.replace("Basic", "basic")}, 200),
            ("login", {"authorization": basic.replace("Basic", "Bearer")}, 401),
            ("login", {"authorization": basic + "x"}, 401),
            ("login", {"authorization": f"Bearer {KEY}"}, 401),
            ("shared", {"authorization": f"Bearer {SECRET}"}, 200),
            ("shared", {"authorization": f"Bearer {SECRET[:-1]}"}, 401),
            ("wide", {"x-sig": wide}, 200),
            ("wide", {"x-sig": wide.lower()}, 401),
        ):
            assert (await post(deployment, name, b"{}", headers)).status_code == status, (name, headers)
        for data in [*await received(deployment, "login"), *await received(deployment, "shared")]:
            assert "authorization" not in data["headers"]
