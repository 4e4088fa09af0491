"""The metrics and the statistics of a running service: each moves when its cause happens."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed

from receiver.metrics.table import METRICS
from receiver.sandbox.world import Knobs
from tests.stories.deployment import Deployment, asking, deployed

HOUR = timedelta(hours=1)
Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scraped(deployment: Deployment) -> Values:
    """Return every sample of a scrape, by name and labels."""
    answer = await deployment.client.get("/metrics")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parsed(answer.text)
        for sample in family.samples
    }


def value(values: Values, name: str, **labels: str) -> float:
    """Return the sum of the samples of a name that have these labels."""
    return sum(
        one
        for (found, theirs), one in values.items()
        if found == name and labels.items() <= dict(theirs).items()
    )


async def stats(
    deployment: Deployment, metric: str, by: str = "", **query: str
) -> dict[tuple[str, ...], Any]:
    """Return the series of a statistic by the values of their labels."""
    answer = await deployment.client.get("/v1/stats", params={"metric": metric, "by": by, **query})
    assert answer.status_code == 200, answer.text
    return {tuple(one["labels"].values()): one for one in answer.json()["data"]}


async def test_a_job_moves_every_counter_on_its_way(tmp_path: Path) -> None:
    async with deployed(tmp_path) as deployment:
        endpoint = await deployment.subscribe("job.*")
        before = await scraped(deployment)
        job = await deployment.submit(asking("apiframe"))
        await deployment.final(job["id"])
        failed = await deployment.submit(asking("aiml", "fail"))
        await deployment.final(failed["id"])
        await deployment.delivered(job["id"], "job.succeeded")
        await deployment.delivered(failed["id"], "job.failed")
        now: Values = await deployment.until(
            lambda: scraped(deployment),
            lambda found: value(found, "ringback_deliveries_total") >= 2,
        )
        done = {"account": "apiframe", "operation": "runway-imagine", "outcome": "succeeded"}
        assert value(now, "ringback_jobs_total", **done, completed_by="callback") == 1
        assert value(now, "ringback_jobs_total", account="aiml", outcome="failed") == 1
        assert value(now, "ringback_job_duration_seconds_count", **done) == 1
        assert value(now, "ringback_submissions_total", account="apiframe", result="accepted") == 1
        assert value(now, "ringback_callbacks_total", account="apiframe", verdict="applied") >= 1
        assert value(now, "ringback_callback_ack_seconds_count", account="apiframe") >= 1
        assert value(now, "ringback_events_total", type="job.succeeded") == 1
        assert value(now, "ringback_deliveries_total", endpoint=endpoint["id"], outcome="delivered") >= 2
        assert value(now, "ringback_delivery_attempts_total", **{"class": "2xx"}) >= 2
        for name in ("ringback_event_to_delivered_seconds", "ringback_delivery_attempt_seconds"):
            assert value(now, f"{name}_count") >= 2
        for name in ("ringback_store_commit_seconds", "ringback_store_commit_rows"):
            assert value(now, f"{name}_count") > value(before, f"{name}_count")
        requests_are_counted(now, endpoint["id"])
        await statistics_agree(deployment)


def requests_are_counted(now: Values, endpoint_id: str) -> None:
    """Assert that the requests of two jobs were counted, and that the gauges are there."""
    route = {"http_request_method": "POST", "http_route": "/v1/jobs", "http_response_status_code": "202"}
    assert value(now, "http_server_request_duration_seconds_count", **route) == 2
    fine = {"url_scheme": "http", "error_type": ""}
    assert value(now, "http_server_request_duration_seconds_count", **route, **fine) == 2
    assert value(now, "http_client_request_duration_seconds_count", server_address="127.0.0.1") >= 4
    assert value(now, "http_client_request_duration_seconds_count", server_port="0") == 0
    assert value(now, "ringback_endpoint_state", endpoint=endpoint_id) == 0
    assert value(now, "ringback_replicas") == 1


async def statistics_agree(deployment: Deployment) -> None:
    """Assert that the statistics tell the same two jobs."""
    ended = await stats(deployment, "jobs", "account,outcome")
    assert {key: one["count"] for key, one in ended.items()} == {
        ("apiframe", "succeeded"): 1,
        ("aiml", "failed"): 1,
    }
    assert [sum(point["count"] for point in one["points"]) for one in ended.values()] == [1, 1]
    assert (await stats(deployment, "jobs_submitted"))[()]["count"] == 2
    took = (await stats(deployment, "job_duration_seconds", "account"))[("apiframe",)]
    assert took["count"] == sum(one["count"] for one in took["buckets"]) == 1
    assert 0 < took["p50"] <= took["p95"]


async def test_the_troubles_of_a_deployment_show(tmp_path: Path) -> None:
    async with deployed(tmp_path, retry_schedule="[600]") as deployment:
        endpoint = await deployment.subscribe("job.*")
        deployment.hook.status = 500
        job = await deployment.submit(asking("apiframe"))
        url, _ = deployment.callback(job)
        async with httpx.AsyncClient() as stranger:
            assert (await stranger.post(url, content=b"{}")).status_code == 401
            assert (await stranger.post(f"{url}x", content=b"{}")).status_code == 401
            assert (await stranger.post(f"{deployment.url}/callbacks/nobody/x")).status_code == 401
        await deployment.final(job["id"])
        now: Values = await deployment.until(
            lambda: scraped(deployment),
            lambda found: value(found, "ringback_deliveries_owed", endpoint=endpoint["id"]) >= 1,
        )
        assert (
            value(now, "ringback_delivery_attempts_total", endpoint=endpoint["id"], **{"class": "5xx"}) >= 1
        )
        assert value(now, "ringback_callbacks_total", account="apiframe", verdict="refused") == 1
        assert value(now, "ringback_callbacks_total", account="apiframe", verdict="unknown") == 1
        assert value(now, "ringback_callbacks_total", account="unknown", verdict="unknown") == 1
        owed = await stats(deployment, "deliveries_owed", "endpoint")
        assert owed[(endpoint["id"],)]["value"] >= 1
        await deployment.client.post(f"/v1/endpoints/{endpoint['id']}/pause")
        await deployment.until(
            lambda: scraped(deployment),
            lambda found: value(found, "ringback_endpoint_state", endpoint=endpoint["id"]) == 1,
        )


async def test_a_poll_that_ends_a_job_counts_its_missed_callback(tmp_path: Path) -> None:
    knobs = Knobs(takes=0.1, lost=1.0)
    async with deployed(tmp_path, knobs, {"backstop_after": 0.2}) as deployment:
        job = await deployment.submit(asking("apiframe"))
        await deployment.final(job["id"])
        now = await scraped(deployment)
        assert value(now, "ringback_callbacks_missed_total", account="apiframe") == 1
        assert value(now, "ringback_jobs_total", account="apiframe", completed_by="poll") == 1
        assert value(now, "ringback_polls_total", account="apiframe", result="applied") >= 1
        assert (await stats(deployment, "callbacks_missed", "account"))[("apiframe",)]["count"] == 1


async def test_a_refused_key_shows_as_a_blocked_account_and_an_open_job(tmp_path: Path) -> None:
    async with deployed(tmp_path) as deployment:
        deployment.front.away = 401
        job = await deployment.submit(asking("apiframe"))
        now: Values = await deployment.until(
            lambda: scraped(deployment),
            lambda found: (
                value(found, "ringback_account_blocked", account="apiframe") == 1
                and value(found, "ringback_jobs_open", account="apiframe", state="pending") == 1
                # The account is blocked before the outcome of its submission is stored.
                and value(found, "ringback_submissions_total", account="apiframe") >= 1
            ),
        )
        # A probe of the blocked account may have been refused, too: every submission is one to repeat.
        retried = value(now, "ringback_submissions_total", account="apiframe", result="retried")
        assert retried == value(now, "ringback_submissions_total", account="apiframe")
        assert value(now, "ringback_account_blocked", account="aiml") == 0
        assert (await stats(deployment, "jobs_open", "account,state"))[("apiframe", "pending")]["value"] == 1
        await deployment.client.post(f"/v1/jobs/{job['id']}/cancel")


async def test_the_scope_of_metrics_opens_them_and_nothing_else(tmp_path: Path) -> None:
    async with deployed(tmp_path) as deployment:
        keys = {}
        for scopes in (["metrics:read"], ["jobs:read"]):
            made = await deployment.client.post("/v1/keys", json={"name": "n", "scopes": scopes})
            keys[scopes[0]] = {"authorization": f"Bearer {made.json()['key']}"}
        async with httpx.AsyncClient(base_url=deployment.url) as client:
            assert (await client.get("/metrics")).status_code == 401
            for path in ("/metrics", "/v1/stats?metric=jobs"):
                assert (await client.get(path, headers=keys["jobs:read"])).status_code == 403
                assert (await client.get(path, headers=keys["metrics:read"])).status_code == 200
            assert (await client.get("/v1/jobs", headers=keys["metrics:read"])).status_code == 403


async def test_metrics_may_be_public_and_speak_openmetrics(tmp_path: Path) -> None:
    async with deployed(tmp_path, metrics_public="true") as deployment:
        async with httpx.AsyncClient(base_url=deployment.url) as client:
            plain = await client.get("/metrics")
            answer = await client.get(
                "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
            )
            assert (await client.get("/v1/stats?metric=jobs")).status_code == 401
        assert plain.headers["content-type"].startswith("text/plain")
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        families = {family.name: family.type for family in openmetrics(answer.text)}  # type: ignore[no-untyped-call]  # it has no types
        assert {name: one.kind for name, one in METRICS.items() if name in families} == {
            name: kind for name, kind in families.items() if name in METRICS
        }
        assert METRICS.keys() <= families.keys()


@pytest.mark.parametrize(
    ("query", "field", "detail"),
    [
        ({}, "metric", "field required"),
        ({"metric": "sales"}, "metric", "must be one of"),
        (
            {"metric": "jobs", "by": "id"},
            "by",
            "jobs has no label 'id'; its labels: account, operation, outcome, completed_by",
        ),
        (
            {"metric": "jobs", "endpoint": "ep_1"},
            "endpoint",
            "jobs has no label 'endpoint'; its labels: account",
        ),
        ({"metric": "replicas", "by": "id"}, "by", "replicas has no label 'id'; its labels: none"),
        ({"metric": "jobs", "step": "90"}, "step", "multiple of 60"),
        (
            {"metric": "jobs", "since": "2020-01-01T00:00:00Z"},
            "since",
            "must be less than 400 days ago",
        ),
        (
            {"metric": "jobs", "step": "60", "since": (datetime.now(UTC) - timedelta(days=9)).isoformat()},
            "step",
            "gives more than 1500 points",
        ),
        (
            {
                "metric": "jobs",
                "since": (datetime.now(UTC) - timedelta(days=9)).isoformat(),
                "until": (datetime.now(UTC) - timedelta(days=8)).isoformat(),
                "step": "60",
            },
            "step",
            "are kept for 2 days",
        ),
        ({"metric": "jobs", "since": "2030-01-01T00:00:00Z"}, "since", "must be before until"),
        ({"metric": "jobs", "since": "yesterday"}, "since", "RFC 3339"),
    ],
)
async def test_a_wrong_question_is_told_with_its_field(
    tmp_path: Path, query: dict[str, str], field: str, detail: str
) -> None:
    async with deployed(tmp_path) as deployment:
        answer = await deployment.client.get("/v1/stats", params=query)
        assert answer.status_code == 422
        [error] = answer.json()["errors"]
        assert (error["in"], error["name"]) == ("query", field)
        assert detail in error["detail"], json.dumps(error)


async def test_a_time_that_ends_with_a_step_has_no_part_of_the_next(tmp_path: Path) -> None:
    async with deployed(tmp_path) as deployment:
        job = await deployment.submit(asking("apiframe"))
        done = await deployment.final(job["id"])
        hour = datetime.fromisoformat(done["completed_at"]).replace(minute=0, second=0, microsecond=0)
        early, at, late = ((hour + one).isoformat() for one in (-HOUR, timedelta(), HOUR))
        assert await stats(deployment, "jobs", step="3600", since=early, until=at) == {}
        during = await stats(deployment, "jobs", step="3600", since=at, until=late)
        assert [len(one["points"]) for one in during.values()] == [1]
        # The times of an answer are those that it counts, so that one after the other counts nothing twice.
        inside = {"since": (hour + HOUR / 4).isoformat(), "until": (hour + HOUR / 2).isoformat()}
        query = {"metric": "jobs", "step": "3600", **inside}
        told = (await deployment.client.get("/v1/stats", params=query)).json()
        assert [datetime.fromisoformat(told[name]) for name in ("since", "until")] == [hour, hour + HOUR]


async def test_a_statistic_is_narrowed_to_one_endpoint(tmp_path: Path) -> None:
    async with deployed(tmp_path, retry_schedule="[600]") as deployment:
        one = await deployment.subscribe("job.succeeded")
        other = await deployment.subscribe("job.succeeded", secret=one["secret"])
        job = await deployment.submit(asking("apiframe"))
        await deployment.delivered(job["id"], "job.succeeded")

        async def counted() -> int:
            return sum(found["count"] for found in (await stats(deployment, "delivery_attempts")).values())

        await deployment.until(counted, lambda found: found == 2)
        for endpoint in (one["id"], other["id"]):
            found = await stats(deployment, "delivery_attempts", "endpoint,class", endpoint=endpoint)
            assert list(found) == [(endpoint, "2xx")]
        states = await deployment.until(
            lambda: stats(deployment, "endpoint_state", "endpoint,state", endpoint=one["id"]), bool
        )
        assert list(states) == [(one["id"], "active")]
        assert await stats(deployment, "deliveries", endpoint="ep_none") == {}


async def test_a_fresh_link_and_the_loop_s_lateness_are_counted(tmp_path: Path) -> None:
    async with deployed(tmp_path) as deployment:
        job = await deployment.submit(asking("minimax"))
        done = await deployment.final(job["id"])
        for _ in range(2):
            assert (await deployment.client.get(done["assets"][0]["url"])).status_code == 307
        now: Values = await deployment.until(
            lambda: scraped(deployment), lambda found: value(found, "ringback_loop_lag_seconds_count") >= 1
        )
        # The second link was known.
        assert value(now, "ringback_assets_resolved_total", account="minimax", result="found") == 1
