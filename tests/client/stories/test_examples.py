"""The examples: each takes a true delivery once, answers before it works, and refuses the rest."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from receiver.api.event_examples import EXAMPLES
from receiver.security.signing import new_secret
from ringback import JobFailed, JobSucceeded
from tests.client.deliveries import NOW, OTHER_SECRET, SECRET, signed
from tests.client.stories.examples import ASGI, FOLDER, WSGI, running
from tests.stories.deployment import Deployment, asking
from tests.stories.tools import asked

everywhere = pytest.mark.parametrize("name", [*ASGI, *WSGI])


def event(number: int, event_type: str = "job.succeeded") -> dict[str, Any]:
    """Return an event with an id of its own."""
    return EXAMPLES[event_type] | {"id": f"evt_{number}"}


def delivery(number: int, *secrets: str, **others: Any) -> tuple[bytes, dict[str, str]]:
    """Return a delivery that is signed now."""
    return signed(event(number), *secrets, **{"at": int(time.time())} | others)


def test_every_example_is_tested() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.py")) == sorted([*ASGI, *WSGI])


@everywhere
async def test_a_delivery_is_taken_once_and_answered_before_its_work(name: str, tmp_path: Path) -> None:
    async with running(name, SECRET, tmp_path / "inbox.db") as example:
        example.hold.clear()
        assert await example.post(delivery(1)) == 204
        assert example.rows() == [("evt_1", 0)]
        assert await example.post(delivery(1)) == 204  # another attempt, under the same id
        assert await example.post(signed(event(2, "job.failed"), at=int(time.time()))) == 204
        example.hold.set()
        await example.done("evt_1", "evt_2")
        assert sorted(one.id for one in example.worked) == ["evt_1", "evt_2"]
        assert {type(one) for one in example.worked} == {JobSucceeded, JobFailed}


@everywhere
async def test_a_delivery_that_is_not_proved_is_refused_and_not_kept(name: str, tmp_path: Path) -> None:
    body, headers = delivery(1)
    forged = [
        (body + b" ", headers),
        (body, {}),
        (body, headers | {"webhook-signature": "v1,\xff"}),
        delivery(1, OTHER_SECRET),
        delivery(1, at=NOW - 10**6),
        (b"", headers),
    ]
    async with running(name, SECRET, tmp_path / "inbox.db") as example:
        example.module.sql("SELECT body FROM inbox")  # makes the table
        for one in forged:
            assert await example.post(one) == 400
        assert example.rows() == []
        assert await example.post((body, headers)) == 204


@everywhere
async def test_an_event_that_an_earlier_process_did_not_get_done_is_done_at_the_start(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(tmp_path / "inbox.db")) as database, database:
        database.execute("CREATE TABLE inbox (id TEXT PRIMARY KEY, body BLOB, done INTEGER DEFAULT 0)")
        for number, done in ((1, 1), (2, 0)):
            values = (f"evt_{number}", json.dumps(event(number)).encode(), done)
            database.execute("INSERT INTO inbox VALUES (?, ?, ?)", values)
    async with running(name, SECRET, tmp_path / "inbox.db") as example:
        await example.done("evt_1", "evt_2")
        assert await example.post(delivery(1)) == 204
        assert await example.post(delivery(2)) == 204
    assert capsys.readouterr().out.count("files of") == 1


async def test_a_deployment_delivers_to_the_starlette_example(deployment: Deployment, tmp_path: Path) -> None:
    secret = new_secret(b"e" * 32)
    async with running("starlette_app", secret, tmp_path / "inbox.db") as example:
        body = {"url": f"{example.url}/hooks", "events": ["job.succeeded"], "secret": secret}
        endpoint = await asked(deployment, "POST", "/v1/endpoints", 201, json=body)
        job = await deployment.submit(asking("getimg"))
        await deployment.final(job["id"])
        path = f"/v1/deliveries?endpoint={endpoint['id']}&state=delivered"
        [found] = await deployment.until(lambda: delivered(deployment, path), bool)
        await example.done(found["event"])
        # A retry by hand is another attempt of the same event.
        await asked(deployment, "POST", f"/v1/deliveries/{found['id']}/retry", 202)
        again = f"/v1/deliveries/{found['id']}"
        shown = await deployment.until(lambda: asked(deployment, "GET", again), twice)
        assert [attempt["status"] for attempt in shown["attempts"]] == [204, 204]
        assert example.rows() == [(found["event"], 1)]
        [worked] = example.worked
        assert isinstance(worked, JobSucceeded)
        assert worked.job.id == job["id"]


async def delivered(deployment: Deployment, path: str) -> list[dict[str, Any]]:
    """Return the deliveries of a list."""
    found: list[dict[str, Any]] = (await asked(deployment, "GET", path))["data"]
    return found


def twice(shown: dict[str, Any]) -> bool:
    """Return whether a delivery has two attempts."""
    return len(shown["attempts"]) == 2
