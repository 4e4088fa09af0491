"""The first steps of "Receiving events", as a stranger with a shell, curl and openssl takes them."""

import asyncio
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest

from receiver.api.receiving import receiving
from receiver.config.settings import Settings
from receiver.demo.playground import playground
from receiver.sandbox.world import Knobs
from tests.documents import samples, section

TEXT = receiving(Settings())
STEPS = section(TEXT, "## Ten minutes with curl")
MORE = [
    *samples(section(TEXT, "## Catch up after an outage"), "sh"),
    *samples(section(TEXT, "## What an endpoint can choose"), "sh"),
]
MARK = "=====\n"
"""A line between the outputs of two samples."""


async def taken(folder: Path, environment: dict[str, str], steps: list[str]) -> list[str]:
    """Run samples in one shell. Returns the output of each."""
    [verify] = samples(STEPS, "sh verify.sh")
    (folder / "verify.sh").write_text(verify)
    code = f"\nprintf %s '{MARK}'\n".join(["", *steps])
    running = await asyncio.create_subprocess_exec(
        "sh",
        "-c",
        code,
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await running.communicate()
    assert (running.returncode, complained.decode()) == (0, ""), said.decode()
    return said.decode().split(MARK)[1:]


def objects(output: str) -> list[Any]:
    """Return the lines of an output that are JSON, none of which may be an error."""
    found = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert not [one for one in found if str(one.get("type", "")).startswith("/problems/")]
    return found


async def test_every_step_does_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with playground(Knobs(takes=0.1)) as made:
        [line] = [line for line in made.lines() if line.startswith("export ")]
        environment = dict(re.findall(r"(\w+)=(\S+)", line))
        outputs = await taken(tmp_path, environment, [*samples(STEPS, "sh"), *MORE])
    helpers, subscribed, submitted, seen, verified, forged, why, again, failing, mended, *more = outputs
    assert helpers == ""
    [endpoint] = objects(subscribed)
    assert (endpoint["object"], endpoint["secret"][:6]) == ("endpoint", "whsec_")
    [job] = objects(submitted)
    assert job["state"] == "succeeded"
    [event] = objects(seen)[0]["data"]
    assert (event["type"], event["data"]["id"]) == ("job.succeeded", job["id"])
    assert f"webhook-id: {event['id']}" in seen
    assert objects(seen)[1]["id"] == event["id"]
    assert verified == f"good: {event['id']}\n"
    assert forged == "refused: no signature fits\n"
    told, explained = objects(why)
    assert [one["endpoint"] for one in told["deliveries"]] == [endpoint["id"]]
    assert (explained["matches"], explained["because"][:21]) == (True, "its event types inclu")
    first, second = objects(again)
    assert first["id"] == second["id"]
    assert second["event"] == event["id"]
    assert f"webhook-id: {event['id']}" in again
    _, deliveries, ailing = objects(failing)
    [other] = {one["job"] for one in deliveries["data"]}
    assert other != job["id"]
    assert ailing["url"].endswith("/_inbox?status=500")
    assert objects(mended)[0]["url"] == endpoint["url"]
    feed, streamed, counted, chosen = more
    assert [one["data"]["id"] for one in objects(feed)[0]["data"]][-1] == other
    events = [line.removeprefix("data: ") for line in streamed.splitlines() if line.startswith("data: ")]
    assert [json.loads(one)["data"]["id"] for one in events][-1] == other
    assert objects(counted)[0]["only"] == "missing"
    filtered, refused = objects(chosen)
    assert filtered["filter"]["provider"] == "apiframe"
    assert refused["matches"] is False
