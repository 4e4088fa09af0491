"""Several processes on one database: roles, shared limits, leases of dead replicas, a feed without gaps."""

import asyncio
import functools
from collections import defaultdict
from datetime import timedelta
from pathlib import Path

import pytest

from receiver.app import App
from receiver.cli.secrets import _reencrypt
from receiver.domain.errors import Misconfigured
from receiver.domain.model import Work
from receiver.sandbox.world import Knobs
from receiver.security.tokens import MasterKeys
from receiver.store import jobs
from receiver.store.accounts import blocked as accounts_blocked
from receiver.store.due import Claimed, ClaimRequest, claim
from receiver.store.holds import held, hold
from receiver.store.jobs import claim_for_submission
from receiver.store.migrations import Migration, migrations
from receiver.store.postgres import driver as postgres
from receiver.store.statements import Transaction
from receiver.work.heartbeat import ReplicaHeartbeat, Role
from tests.engines import ENGINES
from tests.stories.deployment import PATIENCE, asking, deployed
from tests.stories.replicas import another
from tests.stories.tools import (
    SILENT,
    Moving,
    all_settled,
    asked,
    attempted,
    downstream,
    ended_job,
    finished,
    listed,
    open_job,
    ring,
    settled,
    subscribe,
)

pytestmark = pytest.mark.usefixtures("on_postgres")


@pytest.fixture(autouse=True)
def _one_look_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a replica's heartbeats one after the other: its own may take up the same change as a story's."""
    look, turns = ReplicaHeartbeat.tick, defaultdict[ReplicaHeartbeat, asyncio.Lock](asyncio.Lock)

    async def in_turn(replica: ReplicaHeartbeat) -> None:
        async with turns[replica]:
            await look(replica)

    monkeypatch.setattr(ReplicaHeartbeat, "tick", in_turn)


async def beaten(services: App) -> None:
    """Run a replica's heartbeat as if it were due."""
    services.heartbeat.beat_at -= 6.0
    await services.heartbeat.tick()


async def missing(services: App, moving: Moving, seconds: float) -> None:
    """Run a replica's heartbeat each second for `seconds`, while the other replicas stay silent."""
    await services.heartbeat.tick()
    for _ in range(int(seconds)):
        moving.passed += 1.0
        await services.heartbeat.tick()


async def test_what_one_role_takes_in_another_does(tmp_path: Path) -> None:
    async with deployed(tmp_path, role=Role.API) as deployment, another(deployment, Role.WORKER) as (_, url):
        await deployment.subscribe("job.*")
        job = await deployment.submit(asking("apiframe"))
        assert (await deployment.final(job["id"]))["state"] == "succeeded"
        [event] = await deployment.delivered(job["id"], "job.succeeded")
        assert event["data"]["id"] == job["id"]
        assert (await deployment.client.get(f"{url}/readyz")).status_code == 200
        assert (await deployment.client.get(f"{url}/v1/jobs")).status_code == 404


async def test_a_retry_by_hand_ends_the_hold_of_whoever_holds(tmp_path: Path) -> None:
    async with (
        deployed(tmp_path, SILENT, role=Role.API, retry_schedule="[600]") as deployment,
        another(deployment, Role.WORKER) as (worker, _),
    ):
        endpoint = (await deployment.subscribe("job.canceled"))["id"]
        deployment.hook.answers = [(503, {"retry-after": "3600"})]
        job = await ended_job(deployment)
        told = await attempted(deployment, 1, job=job["id"])
        assert worker.core.limits.held(endpoint) > 3000
        await asked(deployment, "POST", f"/v1/deliveries/{told['id']}/retry", 202)
        assert (await settled(deployment, job=job["id"]))["state"] == "delivered"
        assert worker.core.limits.held(endpoint) == 0
        assert await worker.core.store.read(held(worker.core.clock.now(), 10)) == {}


async def test_what_one_holds_is_held_by_all(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment, another(deployment) as (services, _):
        endpoint = (await deployment.subscribe("job.canceled"))["id"]
        until = services.core.clock.now() + timedelta(hours=1)
        await deployment.services.core.store.write(lambda: hold([(endpoint, until)]))
        for one in (deployment.services, services):
            await one.retention.look()
            assert one.core.limits.room(Work.DELIVER, endpoint) == 0


async def test_secrets_are_encrypted_anew_once_every_replica_has_the_key(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        await deployment.subscribe("job.canceled")
        held_now = [key.get_secret_value() for key in deployment.services.core.settings.secret_keys]
        newer = MasterKeys(["n" * 32, *held_now], deployment.services.core.clock.entropy)
        with pytest.raises(Misconfigured, match="first restart all replicas with both keys"):
            await _reencrypt(deployment.services.core.store, newer)
        assert await _reencrypt(deployment.services.core.store, deployment.services.core.master_keys) == 0


async def test_a_call_that_waits_hears_of_what_another_process_did(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment, another(deployment, Role.API) as (services, url):
        job = await open_job(deployment)

        async def waits() -> bool:
            return bool(services.core.waiting_calls._jobs)

        asking_there = deployment.client.get(f"{url}/v1/jobs/{job['id']}", params={"wait": 60})
        waiting = asyncio.create_task(asking_there)
        await deployment.until(waits, bool)
        await ring(deployment, job, finished(job))
        async with asyncio.timeout(50):
            assert (await waiting).json()["state"] == "succeeded"


async def test_caps_are_shared_by_those_who_are_there(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        endpoint = (await deployment.subscribe("job.canceled", max_in_flight=5))["id"]
        lanes = deployment.services.core.limits
        for _ in range(5):
            lanes.succeeded(endpoint)
        assert lanes.room(Work.DELIVER, endpoint) == 5
        async with another(deployment):
            await beaten(deployment.services)
            assert lanes.room(Work.DELIVER, endpoint) == 3
        await beaten(deployment.services)
        assert lanes.room(Work.DELIVER, endpoint) == 5


async def test_an_endpoint_of_one_is_served_by_the_other_at_once(tmp_path: Path) -> None:
    async with (
        deployed(tmp_path, SILENT) as deployment,
        another(deployment) as (_, url),
        downstream() as hook,
    ):
        made = await asked(
            deployment, "POST", f"{url}/v1/endpoints", 201, json={"url": hook.url, "events": ["*"]}
        )
        hook.secret = made["secret"]
        job = await ended_job(deployment)
        await all_settled(deployment, job=job["id"])
        assert [event["data"]["id"] for event in hook.events()] == [job["id"]]
        await asked(deployment, "DELETE", f"{url}/v1/endpoints/{made['id']}", 204)
        await ended_job(deployment)
        assert len(hook.deliveries) == 1


async def test_a_key_that_one_revokes_opens_nothing_at_the_other(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment, another(deployment) as (services, url):
        made = await asked(deployment, "POST", "/v1/keys", 201, json={"name": "k", "scopes": ["jobs:read"]})
        headers = {"authorization": f"Bearer {made['key']}"}
        assert (await deployment.client.get(f"{url}/v1/jobs", headers=headers)).status_code == 200
        await asked(deployment, "DELETE", f"/v1/keys/{made['id']}", 204)
        await services.heartbeat.tick()
        assert (await deployment.client.get(f"{url}/v1/jobs", headers=headers)).status_code == 401


async def test_what_a_silent_replica_held_is_taken_over_and_its_late_word_changes_nothing(
    tmp_path: Path,
) -> None:
    silent, moving = Moving(), Moving()
    async with deployed(tmp_path, SILENT, clock=silent.clock) as deployment, downstream() as hook:
        endpoint = await subscribe(deployment, hook, "job.canceled")
        hook.hold = asyncio.Event()
        job = await ended_job(deployment)

        async def arrived() -> int:
            return len(hook.deliveries)

        await deployment.until(arrived, lambda count: count == 1)
        silent.stop()
        async with another(deployment, clock=moving.clock) as (services, _):
            await missing(services, moving, 45.0)
            await deployment.until(arrived, lambda count: count == 2)
            hook.hold.set()
            [delivery] = await all_settled(deployment, job=job["id"], endpoint=endpoint["id"])
            assert delivery["state"] == "delivered"

            async def made() -> int:
                found = await listed(deployment, "/v1/deliveries", job=job["id"])
                return int(found[0]["attempts_made"])

            await deployment.until(made, lambda count: count == 2)
        assert len({sent["webhook-id"] for sent, _ in hook.deliveries}) == 1


async def test_the_feed_never_skips(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment, another(deployment) as (_, url):
        ended: list[str] = []

        async def end(base: str) -> None:
            for _ in range(15):
                job = await asked(deployment, "POST", f"{base}/v1/jobs", 202, json=asking("aiml"))
                await asked(deployment, "POST", f"{base}/v1/jobs/{job['id']}/cancel")
                ended.append(job["id"])

        async def follow(base: str) -> list[str]:
            seen: list[str] = []
            cursor = None
            while len(seen) < 60:
                query = {"type": "job.canceled", "wait": 1} | ({"after": cursor} if cursor else {})
                page = await asked(deployment, "GET", f"{base}/v1/events", params=query)
                seen += [event["data"]["id"] for event in page["data"]]
                cursor = page["next_cursor"] or cursor
            return seen

        async with asyncio.timeout(PATIENCE):
            ends = [end(base) for base in (deployment.url, url) for _ in range(2)]
            found = await asyncio.gather(follow(deployment.url), follow(url), *ends)
        for seen in found[:2]:
            assert seen is not None
            assert sorted(seen) == sorted(ended)


async def test_an_account_that_is_refused_to_one_is_tried_by_all_together(tmp_path: Path) -> None:
    moving = Moving()
    moving.stop()  # no probe is due in between
    async with (
        deployed(tmp_path, clock=moving.clock) as deployment,
        another(deployment, clock=moving.clock) as (services, _),
    ):
        deployment.front.away = 402
        blocked = await deployment.submit(asking("aiml"))
        await deployment.until(lambda: _blocked(deployment.services), bool)
        for one in (deployment.services, services):  # either of them may have sent it
            await one.heartbeat.tick()
            assert "aiml" in one.core.breaker.blocked
            assert one.core.limits.room(Work.SUBMIT, "aiml") == 0
        deployment.front.away = None
        known = await services.core.store.read(jobs.get(blocked["id"]))
        assert known is not None
        core = deployment.services.core
        await core.breaker.record_success(known, submit=True, asked=core.clock.monotonic())
        await services.heartbeat.tick()
        assert services.core.breaker.blocked == {}
        moving.go()
        assert (await deployment.final(blocked["id"]))["state"] == "succeeded"


async def _blocked(services: App) -> bool:
    return "aiml" in await services.core.store.read(accounts_blocked())


async def test_a_changed_cap_holds_at_a_replica_that_records_meanwhile(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment, another(deployment) as (services, url):
        made = await deployment.subscribe("job.canceled", max_in_flight=5)
        await services.heartbeat.tick()
        for _ in range(5):
            services.core.limits.succeeded(made["id"])
        await asked(deployment, "PATCH", f"/v1/endpoints/{made['id']}", json={"max_in_flight": 1})
        job = await asked(deployment, "POST", f"{url}/v1/jobs", 202, json=asking("aiml"))
        await asked(deployment, "POST", f"{url}/v1/jobs/{job['id']}/cancel")
        assert services.core.limits.lane(Work.DELIVER, made["id"]).slots.max == 1


LATER = """
alter table endpoint add column note text;
alter table job add column priority bigint not null default 0;
alter table due add column note text;
alter table event add column note text;
alter table delivery add column note text;
create table later (id text primary key);
update job set priority = 1;
"""


async def test_the_previous_version_goes_on_while_a_newer_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with deployed(tmp_path) as deployment:
        hook = (await deployment.subscribe("job.*"))["id"]
        await asked(deployment, "PATCH", f"/v1/endpoints/{hook}", json={"description": "first"})
        before = await deployment.submit(asking("apiframe"))
        assert (await deployment.final(before["id"]))["state"] == "succeeded"
        newer = [*migrations("postgresql"), Migration(99, "later", LATER)]
        monkeypatch.setattr(postgres, "migrations", lambda _engine: newer)
        async with another(deployment) as (_, url):
            for base in (deployment.url, url):
                await asked(deployment, "PATCH", f"{base}/v1/endpoints/{hook}", json={"description": base})
                job = await asked(deployment, "POST", f"{base}/v1/jobs", 202, json=asking("apiframe"))
                assert (await deployment.final(job["id"]))["state"] == "succeeded"
                assert len(await deployment.delivered(job["id"], "job.succeeded")) == 1
                assert (await asked(deployment, "GET", f"{base}/v1/endpoints"))["data"]
                assert (await asked(deployment, "GET", f"{base}/v1/jobs/{before['id']}"))["id"] == before[
                    "id"
                ]
        assert await listed(deployment, "/v1/deliveries", job=before["id"])


async def test_no_more_jobs_run_than_allowed_whoever_claims_them(tmp_path: Path) -> None:
    async with (
        deployed(tmp_path, SILENT, role=Role.API) as deployment,
        another(deployment, Role.API) as (services, _),
    ):
        for _ in range(20):
            await deployment.submit(asking("aiml"))
        both = (deployment.services, services)

        def claiming(one: App) -> Transaction[Claimed]:
            now = one.core.clock.now()
            return claim(
                ClaimRequest(
                    work=Work.SUBMIT,
                    owner=one.core.name,
                    now=now,
                    lease_until=now + timedelta(minutes=1),
                    until=0.0,
                    room=lambda _lane: 2,
                    prepare=lambda claims: claim_for_submission(claims, now),
                    running_limits={"aiml": 3},
                )
            )

        claims = [one.core.store.write(functools.partial(claiming, one)) for one in both for _ in range(4)]
        taken = await asyncio.gather(*claims)
        assert sum(len(one.prepared) for one in taken) == 3


RIGHTS = """
create role serves login;
grant select, insert, update, delete on all tables in schema public to serves;
grant usage on all sequences in schema public to serves;
grant execute on function make_history, drop_history to serves;
"""


async def test_a_role_that_may_make_no_tables_serves(tmp_path: Path) -> None:
    server = ENGINES.cluster
    name = server.database().rsplit("/", 1)[1]
    server.sql(name, RIGHTS)
    url = server.url(name).replace("postgres@", "serves@")
    async with deployed(
        tmp_path, database_url=url, migrate_on_start="false", retention_days="1"
    ) as deployment:
        await deployment.subscribe("job.*")
        job = await deployment.submit(asking("apiframe"))
        assert len(await deployment.delivered(job["id"], "job.succeeded")) == 1
        await deployment.services.retention.sweep()
        name_of = "select relname from pg_class join pg_roles r on r.oid = relowner where rolname = 'serves'"
        assert server.sql(name, name_of) == ""
        assert int(server.sql(name, "select count(*) from history")) >= 2


async def test_health_is_that_of_all_replicas(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=0.1)) as deployment, another(deployment) as (services, url):
        for _ in range(2):
            assert (await deployment.final((await deployment.submit(asking("aiml")))["id"]))[
                "state"
            ] == "succeeded"
        await deployment.services.core.counts.flush()
        await services.core.counts.flush()
        told = [await asked(deployment, "GET", f"{base}/v1/providers") for base in (deployment.url, url)]
        for one in told:
            [health] = [account["health"] for account in one["data"] if account["id"] == "aiml"]
            assert (health["submissions"], health["error_rate"]) == (2, 0.0)
            assert health["polls"] >= 2
        assert told[0] == told[1]
