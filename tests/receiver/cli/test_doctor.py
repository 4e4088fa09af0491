"""Tests of `ringback doctor`: the finding of each check, and its fix."""

import json
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from receiver.cli import doctor as module
from receiver.cli.doctor import BAD, GOOD, ODD, Finding, examined
from receiver.config.key_files import add_master
from receiver.config.load import load
from receiver.config.startup import client_of
from receiver.security.tokens import kid_of
from receiver.store.sqlite.check import FIXED, SOUND
from tests.engines import ENGINES
from tests.receiver.scripted_service import ScriptedService, run
from tests.receiver.store_fixture import opened

LOCAL = 'egress_allow = ["127.0.0.0/8"]\n'
MASTER = "m" * 32
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104  # nothing is bound here


def findings(folder: Path, text: str, *options: str) -> dict[str, tuple[str, str]]:
    """Return the grade and the finding of each check of settings with this text."""
    (folder / "ringback.toml").write_text(text)
    result = run("doctor", "--json", *options)
    found = {row["check"]: (row["grade"], row["finding"]) for row in json.loads(result.stdout)["data"]}
    # The exit code depends on the grades alone.
    assert result.exit_code == int(any(grade == BAD for grade, _ in found.values()))
    return found


def test_a_fresh_machine_has_everything_but_an_account(alone: Path) -> None:
    found = findings(alone, "port = 8123", "--offline")
    assert found["settings"] == (GOOD, "1 set, the rest by default")
    assert found["master keys"] == (GOOD, "one will be made at the first start")
    assert found["database"] == (GOOD, "ringback.db will be made at the first start")
    assert found["egress guard"] == (GOOD, "only public addresses can be called")
    assert found["accounts"] == (BAD, "none, so no job can be submitted; set providers.<account>.api_key")
    assert "providers" not in found
    assert [path.name for path in alone.iterdir()] == ["ringback.toml"]


def test_findings_are_a_table_with_a_note_beside_another_service(alone: Path) -> None:
    result = run("doctor", "--offline", RINGBACK_URL="http://127.0.0.1:1")
    lines = result.stdout.splitlines()
    assert lines[0] == "grade\tcheck\tfinding"
    assert lines[1] == "ok\tsettings\t0 set, the rest by default"
    assert result.stderr.startswith("these are the settings of this machine; ")
    assert result.exit_code == 1


def test_an_account_that_is_off_is_odd_and_so_is_each_advice(alone: Path) -> None:
    found = findings(alone, f'{LOCAL}host = "0.0.0.0"\n[providers.aiml]\nmax_jobs = 1', "--offline")
    assert found["account aiml"] == (ODD, "off: it has no api_key")
    assert found["providers"][0] == ODD
    assert found["public_url"][0] == ODD
    assert found["egress guard"] == (ODD, "private networks are open: 127.0.0.0/8")
    assert "accounts" not in found


def test_offline_no_provider_is_called(alone: Path, service: ScriptedService) -> None:
    text = f'{LOCAL}public_url = "{service.url}"\n[providers.aiml]\napi_key = "k"\nbase_url = "{service.url}"'
    found = findings(alone, text, "--offline")
    assert "account aiml" not in found
    assert service.requests == []


def test_the_master_keys_are_counted_and_named(alone: Path) -> None:
    found = findings(alone, f'secret_keys = ["{MASTER}", "{"n" * 32}"]', "--offline")
    assert found["master keys"] == (GOOD, f"2, the newest is {kid_of(MASTER)}")
    keys = add_master(alone, lambda size: b"x" * size)
    found = findings(alone, "", "--offline")
    assert found["master keys"] == (GOOD, f"1, the newest is {kid_of(keys[0])}")
    assert "data_dir" not in found


def test_key_files_that_others_can_read_are_wrong(alone: Path) -> None:
    add_master(alone, lambda size: b"x" * size)
    (alone / "ringback-api-key").touch(mode=0o600)
    (alone / "ringback-secret-keys").chmod(0o640)
    found = findings(alone, "", "--offline")
    assert found["data_dir"] == (BAD, "others can read ringback-secret-keys; chmod 600")


def test_a_key_file_that_cannot_be_used_is_wrong(alone: Path) -> None:
    (alone / "ringback-secret-keys").write_text("short")
    grade, said = findings(alone, "", "--offline")["master keys"]
    assert grade == BAD
    assert said.endswith("ringback-secret-keys holds a key of fewer than 32 characters")


def test_postgresql_needs_its_master_keys(alone: Path) -> None:
    found = findings(alone, 'database_url = "postgresql://me@127.0.0.1:1/x"', "--offline")
    problem = "secret_keys: is required with PostgreSQL, the same for every replica"
    assert found["master keys"] == (BAD, problem)
    assert found["database"][0] == BAD
    assert found["database"][1].startswith("database_url: cannot connect to 127.0.0.1:1; start a ")


@pytest.fixture
def sound_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a version of SQLite without the fault that the doctor warns of."""
    monkeypatch.setattr(module, "engine", lambda: FIXED)


@pytest.mark.usefixtures("sound_engine")
async def test_a_database_is_checked_and_its_lost_deliveries_are_listed(alone: Path) -> None:
    path = alone / "x.db"
    async with opened(path):
        pass
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("insert into taken values ('ep_1', 'it was too old', 3, 0, 1795255200000)")
    assert await examined(f"sqlite:///{path}") == [
        Finding("database", GOOD, f"{path}: {SOUND}, up to date"),
        Finding("endpoint ep_1", ODD, "lost 3 deliveries until 2026-11-21: it was too old"),
    ]


@pytest.mark.usefixtures("sound_engine")
async def test_a_file_that_is_no_database_is_wrong(alone: Path) -> None:
    path = alone / "x.db"
    path.write_bytes(b"no database " * 100)
    [found] = await examined(f"sqlite:///{path}")
    assert (found.what, found.how) == ("database", BAD)
    assert found.said == f"{path}: cannot be read: file is not a database"


@pytest.mark.usefixtures("sound_engine")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("pragma user_version = 99", "x.db has schema 99, this program knows "),
        ("pragma application_id = 1", "x.db belongs to another program"),
        (
            "pragma user_version = 1",
            "14 migration(s) wait and migrate_on_start is off; run `ringback migrate`",
        ),
    ],
)
async def test_a_schema_that_prevents_the_start_is_wrong(alone: Path, change: str, said: str) -> None:
    path = alone / "x.db"
    async with opened(path):
        pass
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(change)
    [found, *_] = await examined(f"sqlite:///{path}", migrates=False)
    assert (found.what, found.how) == ("database", BAD)
    assert said in found.said


@pytest.mark.usefixtures("sound_engine")
async def test_a_folder_that_does_not_exist_is_wrong(alone: Path) -> None:
    [found] = await examined("sqlite:///nowhere/x.db")
    assert (found.how, found.said) == (BAD, "the folder nowhere does not exist; make it")


def test_keys_that_stored_secrets_need_are_missed(alone: Path) -> None:
    """A key file that was lost or replaced, and settings with another key."""
    needed = add_master(alone, lambda size: b"x" * size)[0]
    run("migrate")
    with closing(sqlite3.connect(alone / "ringback.db")) as database, database:
        database.execute(
            "insert into endpoint (id, url, events, created_at, updated_at, state, description, "
            "max_in_flight, include, secrets, from_file) "
            "values ('ep_1', 'https://a.example/', '[]', 0, 0, 'active', '', 4, '[]', ?, 0)",
            (kid_of(needed).encode() + b"sealed",),
        )
    assert findings(alone, "", "--offline")["master keys"][0] == GOOD
    (alone / "ringback-secret-keys").unlink()
    grade, said = findings(alone, "", "--offline")["master keys"]
    assert (grade, f"and the database needs its key {kid_of(needed)}" in said) == (BAD, True)
    assert not (alone / "ringback-secret-keys").exists()
    found = findings(alone, f'secret_keys = ["{MASTER}"]', "--offline")
    problem = f"stored secrets need the key {kid_of(needed)}, which is not configured"
    assert found["master keys"] == (BAD, problem)


async def test_an_old_sqlite_is_odd(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "engine", lambda: (3, 51, 2))
    first, second = await examined("sqlite:///x.db")
    assert (first.what, first.how) == ("SQLite", ODD)
    assert first.said.startswith("3.51.2; older than 3.51.3, which fixes a bug with two writing connections")
    assert second == Finding("database", GOOD, "x.db will be made at the first start")


@pytest.mark.usefixtures("on_postgres")
async def test_a_server_is_asked_for_its_migrations_and_its_clock() -> None:
    url = ENGINES.cluster.database("template0")
    [found] = await examined(url)
    assert (found.what, found.how) == ("database", GOOD)
    assert " migration(s) wait for the next start; its clock is " in found.said
    [found] = await examined(url, migrates=False)
    assert found.how == BAD
    assert " migration(s) wait and migrate_on_start is off; run `ringback migrate`; its" in found.said


@pytest.mark.usefixtures("on_postgres")
async def test_a_server_that_is_up_to_date_lists_its_lost_deliveries(tmp_path: Path) -> None:
    url = ENGINES.url(tmp_path / "x.db")
    name = url.rsplit("/", 1)[1].partition("?")[0]
    ENGINES.cluster.sql(name, "insert into taken values ('callback', 'erased', 1, 0, 1795255200000)")
    database, lost = await examined(url)
    assert database.said.startswith("answers, up to date; its clock is ")
    assert database.said.endswith(" s from ours")
    assert lost == Finding("endpoint callback", ODD, "lost 1 deliveries until 2026-11-21: erased")


def account(folder: Path, url: str, name: str = "aiml") -> tuple[str, str]:
    """Return the grade and the finding of an account at this URL."""
    text = f'{LOCAL}[providers.{name}]\napi_key = "canary"\nbase_url = "{url}"'
    found = findings(folder, text)
    assert found["public_url"] == (ODD, "none: no callback URL is sent, every job is polled")
    return found[f"account {name}"]


def coded(code: str, message: str) -> dict[str, Any]:
    """Return a provider's error."""
    return {"error": {"code": code, "message": message}}


@pytest.mark.parametrize(
    ("status", "body", "grade", "says"),
    [
        (404, coded("not_found", "no such job"), GOOD, "answers, and takes the key"),
        (400, coded("invalid", "that is no id"), GOOD, "answers, and takes the key"),
        (
            401,
            coded("unauthorized", "the key canary is wrong"),
            BAD,
            (
                "the provider refuses the key: the key [redacted] is wrong; "
                "correct its api_key and restart the service, or see to its credit and plan"
            ),
        ),
        (
            402,
            b"",
            BAD,
            (
                "the provider refuses the key: 402; "
                "correct its api_key and restart the service, or see to its credit and plan"
            ),
        ),
        (429, b"", ODD, "the provider asks us to slow down"),
        (500, b"", BAD, "{url} does not answer: 500; {way}"),
    ],
)
def test_an_account_is_asked_for_a_job_that_does_not_exist(
    alone: Path, service: ScriptedService, status: int, body: Any, grade: str, says: str
) -> None:
    service.answer(body, status)
    expected = says.format(url=service.url, way=module.MEND_WAY)
    assert account(alone, service.url) == (grade, expected)
    assert service.only_request().method == "GET"
    assert service.only_request().path.endswith("/ringback-doctor-0")
    assert service.only_request().headers["authorization"] == "Bearer canary"


def test_an_account_whose_address_does_not_answer_is_wrong(alone: Path, unserved: str) -> None:
    grade, said = account(alone, unserved)
    assert grade == BAD
    assert said.startswith(f"{unserved} does not answer: connect: ")
    assert said.endswith(f"; {module.MEND_WAY}")


@pytest.mark.parametrize(
    ("apart", "grade", "says"),
    [
        (0, GOOD, "answers, and takes the key"),
        (-3650, BAD, "answers, but its clock and ours differ by 36"),
        (3650, BAD, "answers, but its clock and ours differ by 36"),
        (None, GOOD, "answers, and takes the key"),
    ],
)
def test_a_clock_that_differs_from_the_providers_is_wrong(
    alone: Path, service: ScriptedService, apart: int | None, grade: str, says: str
) -> None:
    date = "not a date" if apart is None else formatdate(time.time() + apart, usegmt=True)
    service.answer({"data": {"uuid": "ringback-doctor-0", "status": "queued"}}, date=date)
    found = account(alone, service.url)
    assert found[0] == grade
    assert found[1].startswith(says)


def test_an_answer_without_a_date_says_nothing_about_the_clock(alone: Path, service: ScriptedService) -> None:
    service.answer({"data": {"uuid": "ringback-doctor-0", "status": "queued"}})
    assert account(alone, service.url) == (GOOD, "answers, and takes the key")


NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "grade", "says"),
    [
        (-61, BAD, "answers, but its clock and ours differ by 61 s: set this machine's"),
        (-60, GOOD, "answers, and takes the key"),
        (60, GOOD, "answers, and takes the key"),
        (61, BAD, "answers, but its clock and ours differ by 61 s: set this machine's"),
    ],
)
def test_a_clock_may_differ_by_a_minute(
    monkeypatch: pytest.MonkeyPatch, seconds: int, grade: str, says: str
) -> None:
    monkeypatch.setattr(module, "time", SimpleNamespace(time=NOW.timestamp))
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    headers = (("server", "x"), ("date", date))
    assert module._clock_of("account aiml", headers) == Finding("account aiml", grade, says)


async def test_an_account_without_a_poll_cannot_be_checked(alone: Path) -> None:
    (alone / "ringback.toml").write_text('[providers.aiml]\napi_key = "k"')
    loaded = load()
    setup = loaded.accounts["aiml"]
    client = client_of(loaded.settings)
    found = await module._account(loaded, replace(setup, handler=replace(setup.handler, poll=None)), client)
    await client.close()
    assert found == Finding("account aiml", ODD, "cannot be checked: it has nothing to ask")


def public(folder: Path, url: str, port: int, host: str = "127.0.0.1") -> tuple[str, str]:
    """Return the grade and the finding of a public URL, for a service that listens on `host` and `port`."""
    return findings(folder, f'{LOCAL}public_url = "{url}"\nhost = "{host}"\nport = {port}')["public_url"]


def test_a_public_url_that_reaches_the_service_is_right(alone: Path, service: ScriptedService) -> None:
    service.answer({"status": "ok"})
    assert public(alone, service.url, 8080) == (GOOD, f"{service.url} reaches this service")
    assert service.only_request().path == "/healthz"


@pytest.mark.parametrize(("status", "body"), [(200, {"status": "fine"}), (404, {"status": "ok"})])
def test_a_public_url_that_something_else_serves_is_wrong(
    alone: Path, service: ScriptedService, status: int, body: Any
) -> None:
    service.answer(body, status)
    port = int(service.url.rpartition(":")[2])
    expected = f"{service.url}/healthz answers {status}: something else serves it"
    assert public(alone, service.url, port) == (BAD, expected)


def test_a_public_url_that_does_not_answer_is_wrong_where_the_service_runs(
    alone: Path, service: ScriptedService, unserved: str
) -> None:
    port = int(service.url.rpartition(":")[2])
    grade, said = public(alone, unserved, port, EVERY_ADDRESS)
    assert grade == BAD
    assert said.startswith(f"{unserved} does not answer (connect: ")
    assert said.endswith("); is the service up and routed?")


def test_a_public_url_proves_nothing_while_the_service_does_not_run(alone: Path, unserved: str) -> None:
    port = int(unserved.rpartition(":")[2])
    expected = (
        f"not checked: nothing serves yet on 127.0.0.1, port {port}; "
        f"start `ringback serve`, then check again ({unserved})"
    )
    assert public(alone, unserved, port) == (ODD, expected)
