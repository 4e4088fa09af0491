"""Alerts and the board, examined by promtool and by a Prometheus that scrapes a running service."""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx

from receiver.metrics.table import METRICS
from tests.ports import free_port
from tests.stories.deployment import KEY, PATIENCE, Deployment, asking, deployed

HERE = Path(__file__).parents[1]
DEPLOY = HERE / "deploy"
PROMETHEUS = HERE / ".venv" / "prometheus" / "usr" / "bin"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
BOARD = json.loads((DEPLOY / "grafana" / "ringback.json").read_text("utf-8"))
NAMED = re.compile(r"\b(?:ringback|http)_[a-z_]+")
RULES = [
    "CallbacksMissed",
    "CallbacksRefused",
    "AccountBlocked",
    "SubmitUnconfirmed",
    "JobsOverdue",
    "ProviderFailing",
    "DeliveryBehind",
    "EndpointFailing",
    "DeliveriesExhausted",
    "AckSlow",
    "StoreRefusing",
    "LoopLag",
    "OwedTaken",
    "ReplicaSilent",
]
ROWS = ["Jobs and money", "Providers", "Deliveries", "Service"]


def promtool(*arguments: str | Path) -> str:
    """Return the output of promtool, which must succeed. `tests/servers.sh` fetches it."""
    done = subprocess.run([PROMETHEUS / "promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def exposed() -> set[str]:
    """Return the names under which the metrics are scraped."""
    names = set()
    for name, one in METRICS.items():
        suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
        names |= {name + suffix for suffix in suffixes[one.kind]}
    return names


def expressions() -> Iterator[tuple[str, str]]:
    """Yield the title and the expression of each query of the board."""
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def alerts() -> dict[str, str]:
    """Return the text of each rule by its name."""
    parts = re.split(r"^      - alert: (\w+)$", ALERTS.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_the_rules_are_right_and_each_fires_for_its_cause_alone() -> None:
    assert "14 rules found" in promtool("check", "rules", ALERTS)
    promtool("test", "rules", DEPLOY / "prometheus" / "alerts.test.yml")
    promtool("check", "config", "--syntax-only", DEPLOY / "prometheus" / "prometheus.yml")


def test_every_rule_is_tested_in_both_ways_and_has_a_line_of_advice() -> None:
    assert list(alerts()) == RULES
    tested = (DEPLOY / "prometheus" / "alerts.test.yml").read_text("utf-8")
    advice = (DEPLOY / "README.md").read_text("utf-8")
    for name, text in alerts().items():
        assert f"- name: {name} fires\n" in tested
        assert f"- name: {name} is quiet\n" in tested
        runbook = json.loads(text.partition("runbook: ")[2].splitlines()[0])
        assert re.search(
            rf'<a id="alert-{name.lower()}"></a>`{name}` \| \w+ \| {re.escape(runbook)} \|', advice
        )


def test_rules_and_board_name_metrics_that_exist() -> None:
    for name, text in [*alerts().items(), *expressions()]:
        found = set(NAMED.findall(text.partition("for: ")[0])) - {"http_route", "http_response_status_code"}
        assert found <= exposed(), name


def test_the_documents_tell_every_metric() -> None:
    path = DEPLOY / "README.md"
    rows = [
        f"| `{name}{'_total' if one.kind == 'counter' else ''}` | {one.kind} "
        f"| {', '.join(f'`{label}`' for label in one.labels)} | {one.meaning} |"
        for name, one in METRICS.items()
    ]
    made = "\n".join(["", "| metric | type | labels | meaning |", "|---|---|---|---|", *rows, ""])
    text = path.read_text("utf-8")
    before, _, rest = text.partition("<!-- metrics -->")
    present, _, after = rest.partition("<!-- /metrics -->")
    if os.environ.get("RINGBACK_WRITE_GOLDEN"):
        path.write_text(f"{before}<!-- metrics -->{made}<!-- /metrics -->{after}", "utf-8")
        present = made
    assert present == made, "RINGBACK_WRITE_GOLDEN=1 writes it"


def test_the_board_has_its_four_rows_and_a_meaning_for_each_panel() -> None:
    assert [one["title"] for one in BOARD["panels"] if one["type"] == "row"] == ROWS
    panels = [one for one in BOARD["panels"] if one["type"] != "row"]
    assert len({one["id"] for one in BOARD["panels"]}) == len(BOARD["panels"])
    assert all(one["description"] and one["targets"] for one in panels)
    places = sorted((one["gridPos"]["y"], one["gridPos"]["x"]) for one in BOARD["panels"])
    assert len(set(places)) == len(places)


@contextlib.asynccontextmanager
async def prometheus(folder: Path, deployment: Deployment) -> AsyncIterator[httpx.AsyncClient]:
    """Run Prometheus on the rules, scraping a deployment. Yields a client of it."""
    (folder / "key").write_text(KEY)
    target = deployment.url.removeprefix("http://")
    (folder / "prometheus.yml").write_text(
        f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{json.dumps(str(ALERTS))}]\n"
        "scrape_configs:\n  - job_name: ringback\n    authorization: {credentials_file: key}\n"
        f"    static_configs: [{{targets: [{json.dumps(target)}]}}]\n"
    )
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        PROMETHEUS / "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            yield client
    finally:
        process.kill()
        await process.wait()


async def queried(client: httpx.AsyncClient, expression: str) -> list[Any]:
    """Return the result of a query. Before the server listens there is none."""
    try:
        answer = await client.get(f"/api/v1/query?query={urllib.parse.quote(expression)}")
    except httpx.TransportError:
        return []
    assert answer.status_code == 200, f"{expression}: {answer.text}"
    found: list[Any] = answer.json()["data"]["result"]
    return found


async def test_a_running_prometheus_understands_the_board_and_the_service(tmp_path: Path) -> None:
    async with deployed(tmp_path) as deployment, prometheus(tmp_path, deployment) as client:
        await deployment.subscribe("job.*")
        job = await deployment.submit(asking("apiframe"))
        await deployment.delivered(job["id"], "job.succeeded")
        await deployment.until(
            lambda: queried(client, 'ringback_jobs_total{outcome="succeeded"}'), lambda found: len(found) == 1
        )
        for title, expression in expressions():
            asked = expression.replace("$__rate_interval", "1m").replace("$account", ".*")
            assert isinstance(await queried(client, asked), list), title
        [replicas] = await queried(client, "max(ringback_replicas)")
        assert replicas["value"][1] == "1"
        await deployment.until(
            lambda: queried(client, "max by (endpoint) (ringback_deliveries_owed)"),
            lambda found: [one["value"][1] for one in found] == ["0"],
        )
        loaded = (await client.get("/api/v1/rules")).json()["data"]["groups"][0]["rules"]
        assert {(one["name"], one["health"]) for one in loaded} <= {
            (name, health) for name in RULES for health in ("ok", "unknown")
        }
