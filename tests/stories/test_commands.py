"""The commands as people run them: each a process of its own, against a running service."""

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.stories.command_line import asked, found, names, run
from tests.stories.deployment import KEY, Deployment, deployed, environment


async def test_a_job_from_the_command_line(deployment: Deployment) -> None:
    made = await asked(deployment, "endpoints", "create", deployment.hook.url, "--event", "job.*")
    endpoint = (await found(deployment, "endpoints", "list"))["data"][0]
    secret = (await asked(deployment, "endpoints", "secret", endpoint["id"])).out.strip()
    assert f"secret: {secret}\n" in made.out
    deployment.hook.secret = secret

    wish = ("jobs", "submit", "apiframe", '{"prompt": "a tide", "generation_type": "text2video"}')
    options = ("--operation", "runway-imagine", "--metadata", "order=42", "--wait")
    job = await found(deployment, *wish, *options)
    assert (job["state"], job["metadata"]) == ("succeeded", {"order": "42"})
    assert await deployment.delivered(job["id"], "job.succeeded")

    listed = await found(deployment, "jobs", "list", "--state", "succeeded", "--metadata", "order=42")
    assert [one["id"] for one in listed["data"]] == [job["id"]]
    shown = (await asked(deployment, "jobs", "show", job["id"])).out
    assert job["id"] in shown
    assert job["assets"][0]["url"][:30] in shown
    timeline = await found(deployment, "jobs", "timeline", job["id"])
    assert "callback" in {entry["kind"] for entry in timeline["data"]}
    assert "callback" in (await asked(deployment, "jobs", "timeline", job["id"])).out

    assert (await asked(deployment, "jobs", "delete", job["id"])).out == f"erased {job['id']}\n"
    gone = await asked(deployment, "jobs", "show", job["id"])
    assert (gone.code, gone.out) == (1, "")
    assert gone.err.startswith("ringback: not-found: ")


async def test_events_and_deliveries_from_the_command_line(deployment: Deployment) -> None:
    endpoint = await deployment.subscribe("job.succeeded")
    job = await found(deployment, "jobs", "submit", "getimg", '{"model": "m", "prompt": "a tide"}', "--wait")
    await deployment.delivered(job["id"])
    listed = await found(deployment, "events", "list", "--job", job["id"], "--type", "job.succeeded")
    event = listed["data"][0]
    assert endpoint["id"] in (await asked(deployment, "events", "show", event["id"])).out

    explained = await asked(deployment, "endpoints", "explain", endpoint["id"], event["id"])
    assert (explained.code, explained.out.splitlines()[0]) == (0, "matches: true")

    async def look() -> Any:
        return await found(deployment, "deliveries", "list", "--event", event["id"])

    delivery = (await deployment.until(look, lambda told: told["data"][0]["state"] == "delivered"))["data"][0]
    assert "204" in (await asked(deployment, "deliveries", "show", delivery["id"])).out
    assert (await found(deployment, "deliveries", "retry", delivery["id"]))["state"] in {
        "pending",
        "delivered",
    }
    await deployment.until(look, lambda told: told["data"][0]["attempts_made"] == 2)
    refused = await asked(deployment, "deliveries", "cancel", delivery["id"])
    assert refused.code == 1
    assert refused.err.count("\n") == 1


async def test_endpoints_and_keys_from_the_command_line(deployment: Deployment) -> None:
    endpoint = await deployment.subscribe("job.*")
    assert (await found(deployment, "endpoints", "test", endpoint["id"]))["status"] == 204
    deployment.hook.status = 500
    assert (await asked(deployment, "endpoints", "test", endpoint["id"])).code == 1
    assert (await asked(deployment, "endpoints", "delete", endpoint["id"])).code == 0
    assert (await found(deployment, "endpoints", "list"))["data"] == []

    made = await asked(deployment, "keys", "create", "reader", "--scope", "jobs:read")
    key = next(line for line in made.out.splitlines() if line.startswith("key: ")).removeprefix("key: ")
    allowed = await run(deployment.folder, "jobs", "list", RINGBACK_URL=deployment.url, RINGBACK_API_KEY=key)
    assert allowed.code == 0
    denied = await run(deployment.folder, "keys", "list", RINGBACK_URL=deployment.url, RINGBACK_API_KEY=key)
    assert denied.code == 1
    listed = (await asked(deployment, "keys", "list", "--json")).out
    assert key not in listed
    name = next(one["id"] for one in json.loads(listed)["data"] if one["name"] == "reader")
    assert (await asked(deployment, "keys", "delete", name)).out == f"revoked {name}\n"
    gone = await run(deployment.folder, "jobs", "list", RINGBACK_URL=deployment.url, RINGBACK_API_KEY=key)
    assert gone.code == 1
    assert gone.err == (
        f"ringback: unauthorized: the service at {deployment.url} does not take this API key; "
        "set RINGBACK_API_KEY or RINGBACK_API_KEY_FILE to one of its keys\n"
    )


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "says"),
    [
        (("jobs", "list"), {}, 2, "RINGBACK_API_KEY"),
        (("jobs", "submit", "apiframe", "{prompt"), {"RINGBACK_API_KEY": "rb_x"}, 2, "not valid JSON"),
        (("jobs", "submit", "apiframe", "[]"), {"RINGBACK_API_KEY": "rb_x"}, 2, "JSON object"),
        (("jobs", "list", "--metadata", "a"), {"RINGBACK_API_KEY": "rb_x"}, 2, "key=value"),
        (("jbos",), {}, 2, "jbos"),
        (("config",), {"RINGBACK_PROT": "80"}, 2, "port"),
        (("config",), {"RINGBACK_PORT": "eighty"}, 2, "port"),
        (("config", "--config", "nowhere.toml"), {}, 2, "nowhere.toml"),
        (("migrate",), {"RINGBACK_DATABASE_URL": "sqlite:////nowhere/at/all/x.db"}, 2, "database_url"),
    ],
)
async def test_a_mistake_is_one_line_that_names_it(
    tmp_path: Path, arguments: tuple[str, ...], variables: dict[str, str], code: int, says: str
) -> None:
    said = await run(tmp_path, *arguments, **variables)
    assert (said.code, said.out) == (code, "")
    assert said.err.startswith("ringback: ")
    assert said.err.count("\n") == 1
    assert says in said.err


@pytest.mark.parametrize("arguments", [(), ("jobs",), ("secrets",)])
async def test_a_command_without_its_verb_shows_what_there_is(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    said = await run(tmp_path, *arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("Usage: ringback ")


async def test_a_service_that_is_away_is_named(tmp_path: Path, unserved: str) -> None:
    said = await run(tmp_path, "jobs", "list", RINGBACK_API_KEY="rb_x", RINGBACK_URL=unserved)
    assert (said.code, said.out) == (1, "")
    assert (
        said.err
        == f"ringback: no service answers at {unserved}; set RINGBACK_URL or start `ringback serve`\n"
    )


async def test_settings_are_shown_with_their_origin_and_no_secret(tmp_path: Path) -> None:
    (tmp_path / "ringback.toml").write_text('port = 8123\n[providers.apiframe]\napi_key = "top-secret"\n')
    said = await run(tmp_path, "config", "--json", RINGBACK_HOST="::1")
    told = said.told()
    assert told["port"] == {"value": 8123, "from": "file ringback.toml"}
    assert told["host"] == {"value": "::1", "from": "environment RINGBACK_HOST"}
    assert told["providers.apiframe.api_key"]["value"] == "***"
    assert told["shutdown_grace"]["from"] == "default"
    assert "top-secret" not in said.out + (await run(tmp_path, "config")).out


async def test_a_database_is_brought_up_to_date_once(tmp_path: Path) -> None:
    (tmp_path / "ringback.toml").touch()
    assert (await run(tmp_path, "migrate", "--plan")).out.startswith("would run 0001 ")
    assert (await run(tmp_path, "migrate")).out.startswith("ran 0001 ")
    assert (await run(tmp_path, "migrate")).out == "the database is up to date\n"


@pytest.mark.usefixtures("on_sqlite")
async def test_the_plan_of_a_migration_needs_no_stop(deployment: Deployment, unserved: str) -> None:
    settings = environment(deployment.folder, deployment.url, unserved, {})
    told = await run(deployment.folder, "migrate", "--plan", **settings)
    assert (told.code, told.out) == (0, "the database is up to date\n")
    assert "already serves" in (await run(deployment.folder, "migrate", **settings)).err


async def test_a_file_of_another_program_has_no_plan(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "ringback.db")) as other:
        other.execute("create table theirs (x)")
    told = await run(tmp_path, "migrate", "--plan")
    assert (told.code, told.err) == (
        2,
        "ringback: database_url: ringback.db holds tables that are not ours\n",
    )
    (tmp_path / "ringback.db").write_bytes(b"no database " * 100)
    assert "ringback.db cannot be read: " in (await run(tmp_path, "migrate", "--plan")).err


async def test_the_doctor_says_once_that_no_account_is_configured(tmp_path: Path) -> None:
    told = await run(tmp_path, "doctor", "--offline", "--json")
    rows = json.loads(told.out)["data"]
    assert [(row["grade"], row["check"]) for row in rows if "no job can be submitted" in row["finding"]] == [
        ("wrong", "accounts")
    ]


async def test_the_doctor_only_looks(tmp_path: Path) -> None:
    (tmp_path / "ringback.toml").touch()
    said = await run(tmp_path, "doctor", "--offline")
    assert "one will be made at the first start" in said.out
    assert names(tmp_path) == ["ringback.toml"]


async def test_the_doctor_finds_what_is_wrong(deployment: Deployment, unserved: str) -> None:
    whole = environment(deployment.folder, deployment.url, unserved, {})
    said = await run(deployment.folder, "doctor", **whole)
    assert said.code == 1
    assert f"{deployment.url} reaches this service" in said.out
    assert "account aiml" in said.out
    assert "does not answer" in said.out
    assert KEY not in said.out + said.err
    assert (await run(deployment.folder, "doctor", "--offline", **whole)).code == 0


@pytest.mark.usefixtures("on_sqlite")
async def test_a_new_master_key_reads_what_the_old_one_sealed(tmp_path: Path, unserved: str) -> None:
    async with deployed(tmp_path) as deployment:
        endpoint = await deployment.subscribe("job.*")
        settings = environment(deployment.folder, deployment.url, unserved, {})
        held = await run(tmp_path, "secrets", "rotate", **settings)
        assert held.code == 2
        assert "already serves" in held.err
    said = await run(tmp_path, "secrets", "rotate", **settings)
    assert said.code == 0, said.err
    assert "encrypted 1 rows under it" in said.out
    async with deployed(tmp_path) as deployment:
        assert (await asked(deployment, "endpoints", "secret", endpoint["id"])).out.strip() == endpoint[
            "secret"
        ]
