"""Backups as `deploy/README.md` describes them: made while the service runs, restored, and served."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import programs
from tests.engines import ENGINES, VERSIONS
from tests.stories.deployment import Deployment, asking, deployed

COPY = """
import sqlite3, sys
with sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True) as source, sqlite3.connect(sys.argv[2]) as copy:
    source.backup(copy)
"""


async def lived(deployment: Deployment) -> dict[str, Any]:
    """Return a job that was finished and announced."""
    await deployment.subscribe("job.*")
    job = await deployment.submit(asking("apiframe"))
    await deployment.delivered(job["id"], "job.succeeded")
    return await deployment.final(job["id"])


async def goes_on(deployment: Deployment, before: dict[str, Any]) -> None:
    """Assert that all earlier data is there, and that a new job succeeds."""
    now = await deployment.job(before["id"])
    assert now["assets"][0]["provider_url"] == before["assets"][0]["provider_url"]
    assert now | {"assets": []} == before | {"assets": []}
    told = (await deployment.client.get("/v1/events")).json()["data"]
    assert [event["data"]["id"] for event in told if event["type"] == "job.succeeded"] == [before["id"]]
    assert len((await deployment.client.get("/v1/endpoints")).json()["data"]) == 1
    fresh = await deployment.submit(asking("apiframe"))
    assert (await deployment.final(fresh["id"]))["state"] == "succeeded"


def copied(source: Path, folder: Path) -> Path:
    """Copy a database in use, from another process, and the keys beside it. Returns the copy's folder."""
    folder.mkdir()
    subprocess.run([sys.executable, "-c", COPY, source, folder / "story.db"], check=True)
    for key in source.parent.glob("ringback-*"):
        (folder / key.name).write_bytes(key.read_bytes())
    return folder


@pytest.mark.usefixtures("on_sqlite")
async def test_a_copy_of_the_file_serves(tmp_path: Path) -> None:
    async with deployed(tmp_path) as deployment:
        before = await lived(deployment)
        folder = copied(tmp_path / "story.db", tmp_path / "restored")
    async with deployed(folder) as deployment:
        await goes_on(deployment, before)


@pytest.mark.usefixtures("on_postgres")
async def test_a_dump_of_the_database_serves(tmp_path: Path) -> None:
    server, dump = ENGINES.cluster, tmp_path / "dump"
    async with deployed(tmp_path) as deployment:
        before = await lived(deployment)
        name = deployment.services.core.settings.database_url.rsplit("/", 1)[1].partition("?")[0]
        _run("pg_dump", "--format", "custom", "--file", str(dump), "--dbname", server.url(name))
    restored = server.database("template0")
    _run("pg_restore", "--no-owner", "--exit-on-error", "--dbname", restored, str(dump))
    folder = tmp_path / "restored"
    folder.mkdir()
    async with deployed(folder, database_url=restored) as deployment:
        await goes_on(deployment, before)


def _run(program: str, *arguments: str) -> None:
    done = subprocess.run(
        [programs(VERSIONS[ENGINES.name]) / program, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
