"""Tests of `ringback demo`: every handler takes part, and its report says whether all went well."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import click
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import handlers
import receiver.demo as module
from handlers.contract import Submission
from receiver import observability
from receiver.cli.sandbox import world
from receiver.demo.downstream import Downstream
from receiver.demo.playground import Playground
from receiver.demo.show import Row
from receiver.sandbox.world import Knobs, World
from tests.receiver.sandbox.simulated import handler_of
from tests.receiver.scripted_service import run
from tests.receiver.store_fixture import SECRET
from tests.receiver.terminal_screen import on_terminal


@dataclass
class Api:
    """An API that accepts jobs, and delivers the end of each at the next look unless it is stuck."""

    downstream: Downstream
    stuck: bool = False
    status: int = 202
    endpoints: list[Any] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)

    async def subscribe(self, request: Request) -> JSONResponse:
        """Create an endpoint."""
        self.endpoints.append(await request.json())
        return JSONResponse({"secret": SECRET}, 201)

    async def submit(self, request: Request) -> JSONResponse:
        """Accept a job."""
        made = {"id": f"job_{len(self.jobs)}", "state": "pending", "progress": None, "completed_by": None}
        job = made | await request.json()
        self.jobs.append(job)
        return JSONResponse(job, self.status)

    async def look(self, request: Request) -> JSONResponse:
        """List the jobs, which have ended."""
        for job in self.jobs:
            if not self.stuck:
                job |= {"state": "succeeded", "completed_by": "poll"}
                end(self.downstream, job["id"])
        return JSONResponse({"data": self.jobs})

    async def timeline(self, request: Request) -> JSONResponse:
        """Return a timeline with two repeated callbacks for the first job, and none for the others."""
        outcomes = (
            ["applied", "duplicate", "duplicate"] if request.path_params["id"] == "job_0" else ["applied"]
        )
        return JSONResponse({"data": [{"outcome": one} for one in outcomes] + [{"kind": "event"}]})

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        """Yield a client of this API."""
        app = Starlette(
            routes=[
                Route("/v1/endpoints", self.subscribe, methods=["POST"]),
                Route("/v1/jobs", self.submit, methods=["POST"]),
                Route("/v1/jobs", self.look),
                Route("/v1/jobs/{id}/timeline", self.timeline),
            ]
        )
        async with httpx.AsyncClient(base_url="http://demo", transport=httpx.ASGITransport(app)) as made:
            yield made


def end(downstream: Downstream, job_id: str, times: int = 1) -> None:
    """Have the terminal event of a job arrive."""
    downstream.final[job_id] = "job.succeeded"
    downstream.finals[job_id] = times
    downstream.verified += 2 * times


@pytest.fixture
def downstream() -> Downstream:
    """Return a receiver of events."""
    return Downstream()


@pytest.fixture
def api(downstream: Downstream, monkeypatch: pytest.MonkeyPatch) -> Api:
    """Return an API. The demo looks again without a pause."""
    monkeypatch.setattr(module, "STEP", 0.0)
    return Api(downstream)


@pytest.fixture
async def providers() -> AsyncIterator[World]:
    """Yield the simulated providers."""
    async with world(Knobs()) as made:
        yield made


async def test_the_demo_submits_jobs_to_at_least_twelve_providers(api: Api, downstream: Downstream) -> None:
    async with api.client() as client:
        rows = await module._run(client, "http://127.0.0.1:1", downstream)
    assert len({job["provider"] for job in api.jobs}) >= 12
    assert {job["provider"] for job in api.jobs} <= set(handlers.ALL)
    assert len(rows) == len(api.jobs)
    assert [row.job for row in rows] == api.jobs
    assert {row.delivered for row in rows} == {"job.succeeded"}
    assert api.endpoints == [{"url": "http://127.0.0.1:1/hooks", "events": ["job.*"]}]
    assert downstream.secret == SECRET


@pytest.mark.parametrize("spec", module._wishes(), ids=lambda spec: f"{spec.provider}-{spec.operation}")
def test_a_job_of_the_demo_is_one_that_its_handler_takes(spec: module.DemoJob) -> None:
    handler = handler_of(spec.provider)
    assert spec.operation in handler.operations
    problems = handler.check(Submission("job_1", spec.operation, spec.input))
    assert [problem for problem in problems if not problem.warning] == []
    assert spec.says


async def test_a_job_that_is_refused_ends_the_demo(api: Api, downstream: Downstream) -> None:
    api.status = 422
    async with api.client() as client:
        with pytest.raises(httpx.HTTPStatusError):
            await module._run(client, "http://127.0.0.1:1", downstream)
    assert len(api.jobs) == 1


async def test_the_demo_ends_after_its_time(
    api: Api, downstream: Downstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.stuck = True
    monkeypatch.setattr(module, "SECONDS", -1.0)
    async with api.client() as client:
        rows = await module._run(client, "http://127.0.0.1:1", downstream)
    assert {row.delivered for row in rows} == {None}


async def test_the_view_is_printed_once_in_a_pipe_and_live_on_a_terminal(
    api: Api, downstream: Downstream, capsys: pytest.CaptureFixture[str]
) -> None:
    async with api.client() as client:
        await module._run(client, "http://127.0.0.1:1", downstream)
        ends = f"terminal events {len(api.jobs)} of {len(api.jobs)}"
        assert capsys.readouterr().out.count(ends) == 1
        with on_terminal(kind="xterm") as screen:
            await module._run(client, "http://127.0.0.1:1", downstream)
    assert "\x1b[?25l" in screen.out.getvalue()
    assert "downstream" in screen.out.getvalue()


async def test_repeated_callbacks_are_counted(api: Api, downstream: Downstream) -> None:
    rows = [Row({"id": f"job_{number}"}, "") for number in range(3)]
    async with api.client() as client:
        assert await module._absorbed(client, rows) == 2


def rows_of(downstream: Downstream, providers: World, count: int = 2) -> list[Row]:
    """Return rows of jobs that ended as they should."""
    rows = []
    for number in range(count):
        job = {"id": f"job_{number}", "provider": "aiml", "operation": "video"}
        end(downstream, str(job["id"]))
        providers.accepted["aiml"] += 1
        rows.append(Row(job | {"state": "succeeded", "completed_by": "poll"}, "", "job.succeeded"))
    providers.sent["401"] = 1
    return rows


async def test_the_report_of_a_demo_that_went_well(
    downstream: Downstream, providers: World, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(downstream, providers)
    assert module._report(rows, downstream, providers, 3) is True
    assert capsys.readouterr().out.splitlines() == [
        "",
        "aiml         video            succeeded by poll",
        "aiml         video            succeeded by poll",
        "jobs final: 2 of 2",
        "submissions accepted by providers: 2 (one per job: yes)",
        "callbacks: 1 forged refused, 3 doubled absorbed",
        "deliveries signed: 4 (2 of a final state, 2 of progress), unsigned: 0",
        "one terminal event for each job: yes",
    ]


def undelivered(rows: Sequence[Row], downstream: Downstream, providers: World) -> None:
    """Have a job without its terminal event."""
    rows[0].delivered = None


def twice(rows: Sequence[Row], downstream: Downstream, providers: World) -> None:
    """Have a job with two terminal events."""
    downstream.finals["job_0"] = 2


def unsigned(rows: Sequence[Row], downstream: Downstream, providers: World) -> None:
    """Have a delivery with a wrong signature."""
    downstream.refused = 1


def unheard(rows: Sequence[Row], downstream: Downstream, providers: World) -> None:
    """Have no delivery at all."""
    downstream.verified = 0


def paid_twice(rows: Sequence[Row], downstream: Downstream, providers: World) -> None:
    """Have a job that was submitted twice."""
    providers.accepted["aiml"] += 1


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (undelivered, "jobs final: 1 of 2"),
        (twice, "one terminal event for each job: NO"),
        (unsigned, "deliveries signed: 4 (2 of a final state, 2 of progress), unsigned: 1"),
        (unheard, "deliveries signed: 0 (2 of a final state, -2 of progress), unsigned: 0"),
        (paid_twice, "submissions accepted by providers: 3 (one per job: NO)"),
    ],
)
async def test_a_demo_that_did_not_go_well_says_so(
    downstream: Downstream, providers: World, capsys: pytest.CaptureFixture[str], spoil: Any, line: str
) -> None:
    rows = rows_of(downstream, providers)
    spoil(rows, downstream, providers)
    assert module._report(rows, downstream, providers, 3) is False
    assert line in capsys.readouterr().out.splitlines()


@contextlib.asynccontextmanager
async def described(knobs: Knobs) -> AsyncIterator[Playground]:
    """Yield the addresses of a service that does not run."""
    async with world(knobs) as made:
        yield Playground("http://127.0.0.1:1", "rb_key", made, "http://127.0.0.1:2")


def test_a_signal_ends_the_demo_and_removes_what_it_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stopped: list[asyncio.Event] = []
    made: list[Path] = []

    def found() -> list[Path]:
        return list(tmp_path.iterdir())

    def stopping() -> asyncio.Event:
        stopped.append(asyncio.Event())
        return stopped[0]

    async def run_on(*_arguments: Any) -> list[Row]:
        made.extend(found())
        stopped[0].set()
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(module, "_run", run_on)
    monkeypatch.setattr(module, "stopping", stopping)
    monkeypatch.setattr(observability, "set_up", lambda *_arguments: None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = run("demo", "--once")
    assert (result.exit_code, result.stdout) == (1, "")
    assert isinstance(result.exception, SystemExit | click.Abort)
    assert (len(made), found()) == (1, [])


class Stopped(asyncio.Event):
    """A signal that comes some time after `report`, and notes whether it was waited for."""

    waited = False

    async def wait(self) -> Literal[True]:
        """Wait for the signal."""
        await super().wait()
        self.waited = True
        return True

    def come(self, turns: int = 20) -> None:
        """Come after so many turns of the event loop."""
        if turns:
            asyncio.get_running_loop().call_soon(self.come, turns - 1)
        else:
            self.set()


@pytest.mark.parametrize(
    ("arguments", "well", "goes_on"),
    [((), True, True), (("--once",), True, False), ((), False, False), (("--once",), False, False)],
)
def test_the_service_goes_on_only_after_a_demo_that_went_well(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], well: bool, goes_on: bool
) -> None:
    signals: list[Stopped] = []

    def stopping() -> Stopped:
        signals.append(Stopped())
        return signals[0]

    def report(*_arguments: Any) -> bool:
        signals[0].come()
        return well

    async def nothing(*_arguments: Any) -> Any:
        return []

    scripted = {"_run": nothing, "_absorbed": nothing, "_report": report}
    for name, value in {**scripted, "playground": described, "stopping": stopping}.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(observability, "set_up", lambda *_arguments: None)
    result = run("demo", *arguments)
    assert result.exit_code == (0 if well else 1)
    assert signals[0].waited is goes_on
    assert ("curl -s http://127.0.0.1:1/v1/jobs" in result.stdout) is goes_on
