"""Deliveries as receivers in JavaScript verify them: with their packages, and with Ed25519 alone."""

import asyncio
import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from receiver.security.signing import headers as signed
from receiver.security.signing import key_of, new_secret
from tests import node
from tests.stories.deployment import Deployment
from tests.stories.tools import asked, ended_job, settled

PROGRAM = node.HERE / "tests" / "javascript" / "verify.js"
PACKAGES = ("standardwebhooks", "svix")
WRONG = new_secret(b"w" * 32)
NO_MATCH, STALE, EARLY = (
    "No matching signature found",
    "Message timestamp too old",
    "Message timestamp too new",
)
FORGED = "No matching v1a signature"
TOLERANCE = 300
"""Seconds by which a timestamp may differ, in both packages."""

Delivery = tuple[Mapping[str, str], str]


async def delivered(deployment: Deployment) -> Delivery:
    """Cause an event. Returns the headers and the body of its delivery."""
    job = await ended_job(deployment)
    await settled(deployment, job=job["id"])
    headers, body = deployment.hook.deliveries[-1]
    assert json.loads(body)["data"]["id"] == job["id"]
    return {name: value for name, value in headers.items() if name.startswith("webhook-")}, body.decode()


def case(verifier: str, delivery: Delivery, **more: Any) -> dict[str, Any]:
    """Return a case for the program."""
    headers, body = delivery
    return {"verifier": verifier, "headers": headers, "body": body, **more}


def changed(delivery: Delivery, **headers: str) -> Delivery:
    """Return a delivery with other headers, or with another body where none are given."""
    had, body = delivery
    new = {f"webhook-{name}": value for name, value in headers.items()}
    return {**had, **new}, body if headers else body.replace('"canceled"', '"succeeded"')


async def verified(tmp_path: Path, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the results of all cases, of one process."""
    found: list[dict[str, Any]] = await asyncio.to_thread(
        node.run, tmp_path / "node", PROGRAM.read_text("utf-8"), cases=cases
    )
    assert len(found) == len(cases)
    return found


async def of_a_rotation(deployment: Deployment) -> list[tuple[list[str], Delivery]]:
    """Return deliveries under one, two and five secrets, and one with an asymmetric signature as well."""
    made = await deployment.subscribe("job.canceled")
    path = f"/v1/endpoints/{made['id']}"
    secrets = [deployment.hook.secret]
    deliveries = [(list(secrets), await delivered(deployment))]
    for count in (1, 3):
        for _ in range(count):
            turned = await asked(deployment, "POST", f"{path}/rotate-secret", json={})
            secrets.append(turned["secret"])
        deliveries.append((list(secrets), await delivered(deployment)))
    await asked(deployment, "PATCH", path, json={"signatures": ["v1", "v1a"]})
    return [*deliveries, (secrets, await delivered(deployment))]


async def test_every_secret_of_a_delivery_verifies_in_both_packages_and_nothing_else(
    deployment: Deployment, tmp_path: Path
) -> None:
    deliveries = await of_a_rotation(deployment)
    schemes = [
        [one.partition(",")[0] for one in headers["webhook-signature"].split(" ")]
        for _, (headers, _) in deliveries
    ]
    assert schemes == [["v1"], ["v1"] * 2, ["v1"] * 5, ["v1"] * 5 + ["v1a"]]
    good = [
        case(package, delivery, secret=secret)
        for package in PACKAGES
        for known, delivery in deliveries
        for secret in known
    ]
    bad = [
        case(package, forged, secret=secret)
        for package in PACKAGES
        for known, delivery in deliveries
        for forged, secret in (
            (changed(delivery), known[0]),
            (changed(delivery, id="evt_another"), known[-1]),
            (delivery, WRONG),
            (deliveries[0][1], deliveries[-1][0][-1]),
        )
    ]
    results = await verified(tmp_path, [*good, *bad])
    assert len(good) == len(PACKAGES) * (1 + 2 + 5 + 5)
    assert results[: len(good)] == [{"event": json.loads(one["body"])} for one in good]
    assert results[len(good) :] == [{"refused": NO_MATCH}] * len(bad)


async def test_an_old_and_an_early_delivery_are_refused_for_their_time(tmp_path: Path) -> None:
    secret, body, now = new_secret(b"s" * 32), b'{"id": "evt_1"}', int(datetime.now(UTC).timestamp())
    moments = {
        now: {"event": {"id": "evt_1"}},
        now - 2 * TOLERANCE: {"refused": STALE},
        now + 2 * TOLERANCE: {"refused": EARLY},
    }
    cases = [
        case(package, (dict(signed("evt_1", at, body, [key_of(secret)])), body.decode()), secret=secret)
        for package in PACKAGES
        for at in moments
    ]
    assert await verified(tmp_path, cases) == [*moments.values()] * len(PACKAGES)


async def test_an_asymmetric_signature_verifies_with_the_published_key_alone(
    deployment: Deployment, tmp_path: Path
) -> None:
    await deployment.subscribe("job.canceled", signatures=["v1a"])
    delivery = await delivered(deployment)
    [jwk] = (await asked(deployment, "GET", "/.well-known/ringback-keys.json"))["keys"]
    other = jwk | {"x": base64.urlsafe_b64encode(b"\x03" * 32).decode().rstrip("=")}
    stamp = delivery[0]["webhook-timestamp"]
    results = await verified(
        tmp_path,
        [
            case("ed25519", delivery, jwk=jwk),
            case("ed25519", changed(delivery), jwk=jwk),
            case("ed25519", changed(delivery, timestamp=str(int(stamp) + 1)), jwk=jwk),
            case("ed25519", changed(delivery, id="evt_another"), jwk=jwk),
            case("ed25519", delivery, jwk=other),
        ],
    )
    assert results == [{"event": json.loads(delivery[1])}, *[{"refused": FORGED}] * 4]
