"""The processes of a measurement: the service and the stubs around it, each ended by its process id."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from receiver.egress.request_bytes import request_bytes
from tests.bench.load import connect, prepared
from tests.ports import free_port
from tests.processes import dies_with_us

KEY = "rb_bench_bench_bench_bench_bench_bench"
HERE = Path(__file__).parents[2]
PADDING = "x" * 180
READY = 60.0
"""Seconds after which a service that is not ready has failed to start."""


@contextlib.contextmanager
def process(
    *arguments: str, environment: dict[str, str] | None = None, within: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python process of this checkout as long as the context lasts. Yields it.

    `within` is a command that becomes the process.
    """
    started = subprocess.Popen(
        [*within, sys.executable, *arguments],
        cwd=HERE,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=dies_with_us,  # noqa: PLW1509  # one prctl call
    )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(60)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@dataclass(slots=True)
class Service:
    """The service on a database of its own."""

    port: int
    provider: int
    process: subprocess.Popen[bytes]
    client: httpx.AsyncClient
    ready_after: float
    database: str

    async def endpoint(self, url: str, **choices: Any) -> str:
        """Subscribe a downstream to the terminal events. Returns the id of the endpoint."""
        answer = await self.client.post("/v1/endpoints", json={"url": url, **choices})
        answer.raise_for_status()
        return str(answer.json()["id"])

    async def callbacks(
        self, count: int, padding: str = PADDING, own: Sequence[str] = ()
    ) -> tuple[list[bytes], list[str]]:
        """Submit jobs, with the callback URLs in `own` where there are some.

        Returns the final callback of each job as bytes, and the jobs' ids in the same order.
        """
        if own:
            await _post(self.port, [self.submission(callback_url=url) for url in own])
        else:
            await _post(self.port, [self.submission()] * count)
        taken = await self._taken(count)
        await self._bound()
        made = [final(self.port, *one, padding) for one in taken]
        return made, [url.rsplit(".", 2)[-2] for url, _, _ in taken]

    def submission(self, **others: str) -> bytes:
        """Return a submission as bytes."""
        wish = {
            "provider": "apiframe",
            "operation": "runway-imagine",
            "input": {"prompt": "a tide coming in"},
            "metadata": {"order": "42"},
            **others,
        }
        headers = [("authorization", f"Bearer {KEY}"), ("content-type", "application/json")]
        return request_bytes("POST", "/v1/jobs", f"127.0.0.1:{self.port}", headers, json.dumps(wish).encode())

    async def _taken(self, count: int) -> list[tuple[str, str, str]]:
        taken: list[tuple[str, str, str]] = []
        ends = time.monotonic() + 120
        while len(taken) < count and time.monotonic() < ends:
            taken += (await notes(self.provider))["taken"]
            await asyncio.sleep(0.1)
        return taken

    async def _bound(self) -> None:
        """Wait until no submission is under way."""
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            busy = [await self._some(state) for state in ("submitting", "pending")]
            if not any(busy):
                return
            await asyncio.sleep(0.1)

    async def _some(self, state: str) -> bool:
        answer = await self.client.get("/v1/jobs", params={"state": state, "limit": 1})
        return bool(answer.json()["data"])

    def memory(self, which: str = "VmRSS") -> float:
        """Return the resident memory in MB; `VmHWM` is its peak since `forget_peak`."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(which + ":"):
                return int(line.split()[1]) / 1024
        return float("nan")

    def shared_memory(self) -> float:
        """Return the resident memory in MB, with the part of this process alone of each shared page."""
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
        return float("nan")

    def forget_peak(self) -> None:
        """Reset the peak of the memory."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def cpu(self) -> float:
        """Return the seconds of CPU so far."""
        # The clock that clock_getcpuclockid(3) names, which Python has for threads only.
        return time.clock_gettime((~self.process.pid << 3) | 2)


async def _post(port: int, requests: Sequence[bytes]) -> None:
    left = iter(requests)

    async def one() -> None:
        connection = await connect(port)
        for request in left:
            answer = await connection.ask(request, 65536)
            assert answer.status == 202, answer.body
        connection.close()

    await asyncio.gather(*(one() for _ in range(32)))


def final(port: int, url: str, secret: str, task: str, padding: str = PADDING) -> bytes:
    """Return the callback that ends a job, as bytes."""
    body = {
        "task_id": task,
        "task_type": "runway",
        "status": "finished",
        "percentage": 100,
        "video_url": f"https://cdn.example.com/{task}.mp4",
        "note": padding,
    }
    path = "/" + url.split("/", 3)[3]
    return prepared(port, path, secret, json.dumps(body).encode())


async def notes(port: int) -> dict[str, Any]:
    """Return the requests that a raw stub noted since the last call."""
    async with httpx.AsyncClient(timeout=100) as client:
        told: dict[str, Any] = (await client.get(f"http://127.0.0.1:{port}/notes")).json()
        return told


async def up(server: subprocess.Popen[bytes], port: int, path: str = "/", seconds: float = 100.0) -> float:
    """Return the seconds until a server answers. Raises `RuntimeError` when it does not start."""
    started = time.monotonic()
    async with httpx.AsyncClient(timeout=10) as client:
        while time.monotonic() - started < seconds and server.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                answer = await client.get(f"http://127.0.0.1:{port}{path}")
                if answer.status_code < 500:
                    return time.monotonic() - started
            await asyncio.sleep(0.01)
    raise RuntimeError(f"a server of the bench did not start; exit code {server.poll()}")


@contextlib.asynccontextmanager
async def stub(kind: str) -> AsyncIterator[int]:
    """Run a stub on a port of its own. Yields the port."""
    port = free_port()
    with process("-m", "tests.bench.stubs", kind, str(port)) as started:
        await up(started, port)
        yield port


def settings_of(folder: str, port: int, provider: int, **settings: str) -> dict[str, str]:
    """Return the environment of a service with one account, at a raw stub as its provider."""
    (Path(folder) / "ringback.toml").touch()
    return {
        "RINGBACK_CONFIG": f"{folder}/ringback.toml",
        "RINGBACK_DATABASE_URL": f"sqlite:///{folder}/bench.db",
        "RINGBACK_PORT": str(port),
        "RINGBACK_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "RINGBACK_ADMIN_KEY": KEY,
        "RINGBACK_EGRESS_ALLOW": '["127.0.0.0/8"]',
        "RINGBACK_PROVIDERS__APIFRAME__API_KEY": "bench",
        "RINGBACK_PROVIDERS__APIFRAME__BASE_URL": f"http://127.0.0.1:{provider}",
        "RINGBACK_PROVIDERS__APIFRAME__MAX_IN_FLIGHT": "64",
        "RINGBACK_SHUTDOWN_GRACE": "1",
        **{f"RINGBACK_{name.upper()}": value for name, value in settings.items()},
    }


@contextlib.asynccontextmanager
async def serving(
    environment: dict[str, str],
    port: int,
    provider: int,
    program: str = "receiver",
    within: Sequence[str] = (),
) -> AsyncIterator[Service]:
    """Run the service as a process. Yields it once it is ready."""
    with process("-m", program, "serve", environment=environment, within=within) as started:
        after = await up(started, port, "/readyz", READY)
        headers = {"authorization": f"Bearer {KEY}"}
        base = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=base, headers=headers, timeout=100) as client:
            yield Service(port, provider, started, client, after, environment["RINGBACK_DATABASE_URL"])


@contextlib.asynccontextmanager
async def service(provider: int, within: Sequence[str] = (), **settings: str) -> AsyncIterator[Service]:
    """Run the service on a database of its own. Yields it."""
    with own_folder() as folder:
        async with service_in(folder, provider, within, **settings) as ours:
            yield ours


@contextlib.asynccontextmanager
async def service_in(
    folder: str, provider: int, within: Sequence[str] = (), **settings: str
) -> AsyncIterator[Service]:
    """Run the service on the database of a folder, or on the one that is set. Yields it."""
    port = free_port()
    environment = settings_of(folder, port, provider, **settings)
    async with serving(environment, port, provider, within=within) as ours:
        yield ours


def own_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that is removed with everything in it."""
    return tempfile.TemporaryDirectory(prefix="ringback-bench-", dir=HERE / ".cache")
