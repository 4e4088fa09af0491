"""The live views at a terminal: `ringback top` and `ringback jobs watch`."""

import json
from pathlib import Path

from receiver.sandbox.world import Knobs
from tests.stories.command_line import begun, line_with, run
from tests.stories.deployment import KEY, Deployment, asking, deployed


def named(deployment: Deployment) -> dict[str, str]:
    """Return the environment that names the deployment."""
    return {"RINGBACK_URL": deployment.url, "RINGBACK_API_KEY": KEY}


async def test_a_job_is_drawn_until_its_deliveries_have_ended(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=0.3)) as deployment:
        endpoint = await deployment.subscribe("job.succeeded")
        job = await deployment.submit(asking("apiframe"))
        told = await run(tmp_path, "jobs", "watch", job["id"], **named(deployment))
        assert told.code == 0, told.err
        lines = told.out.splitlines()
        assert lines[0].split()[:1] == [job["id"]]
        assert lines[0].endswith("succeeded")
        rows = {line[:16].strip(): line[17:] for line in lines[1:]}
        assert {"state", "submission", "callbacks", "events", endpoint["id"][:16]} <= rows.keys()
        assert rows[endpoint["id"][:16]].strip()[-1] == "✓"
        once = await run(tmp_path, "jobs", "watch", job["id"], "--once", **named(deployment))
        assert once.out == told.out
        wrong = await run(tmp_path, "jobs", "watch", "job_0", **named(deployment))
        assert (wrong.code, wrong.out) == (1, "")
        assert "there is no job job_0" in wrong.err


async def test_numbers_of_jobs_and_endpoints_are_shown(tmp_path: Path) -> None:
    async with deployed(tmp_path, retry_schedule="[600]") as deployment:
        endpoint = await deployment.subscribe("job.*")
        deployment.hook.status = 500
        job = await deployment.submit(asking("apiframe"))
        await deployment.final(job["id"])

        async def numbers() -> dict[str, object]:
            told = (await run(tmp_path, "top", "--once", "--json", **named(deployment))).told()
            found: dict[str, object] = told
            return found

        told = await deployment.until(
            numbers, lambda found: any(one["value"] >= 1 for one in found["owed"]) and found["attempts"]
        )
        assert told["ended"] == [{"labels": {"account": "apiframe", "outcome": "succeeded"}, "value": 1}]
        shown = await run(tmp_path, "top", "--once", **named(deployment))
        assert shown.code == 0, shown.err
        lines = [line.split() for line in shown.out.splitlines()]
        assert ["apiframe", "1"] in lines
        [row] = [line for line in lines if line[:1] == [endpoint["id"]]]
        assert row[1] == "active"
        quiet = await run(tmp_path, "top", "--once", "-q", **named(deployment))
        assert (quiet.code, quiet.out) == (2, "")
        assert "--quiet prints ids, and `top` has none" in quiet.err
        # In a pipe it shows them once.
        piped = await run(tmp_path, "top", **named(deployment))
        assert piped.code == 0
        assert json.dumps(piped.out)


async def test_a_key_without_the_scope_is_told(tmp_path: Path) -> None:
    async with deployed(tmp_path) as deployment:
        made = await deployment.client.post("/v1/keys", json={"name": "n", "scopes": ["jobs:read"]})
        variables = named(deployment) | {"RINGBACK_API_KEY": made.json()["key"]}
        told = await run(tmp_path, "top", "--once", **variables)
        assert (told.code, told.out) == (1, "")
        assert "metrics:read" in told.err


async def test_a_watch_of_an_open_job_ends_with_it(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=1.0)) as deployment:
        job = await deployment.submit(asking("apiframe"))
        async with begun(tmp_path, "jobs", "watch", job["id"], **named(deployment)) as process:
            line = await line_with(process.stdout, job["id"])
            assert line.endswith("succeeded")
            assert await process.wait() == 0
