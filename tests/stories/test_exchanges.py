"""HTTP exchanges: compressed answers, broken uploads, slow submissions, and a lack of sockets."""

import asyncio
import contextlib
import gzip
import json
import socket
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from receiver.domain.clock import Clock
from receiver.egress.client import CallFailed, HttpCall, HttpClient
from receiver.egress.http1 import Answer
from receiver.providers.submission import Submitter
from tests.stories.deployment import asking, deployed
from tests.stories.tools import SILENT, ended_job, outcomes, settled

SHORTLY = timedelta(milliseconds=20)
Answering = Callable[[str, bytes], Awaitable[tuple[bytes, str]]]
DONE = {"status": "completed", "data": [{"url": "https://cdn.example/v.mp4", "mime_type": "video/mp4"}]}


@contextlib.asynccontextmanager
async def providing(answering: Answering) -> AsyncIterator[str]:
    """Run a provider that answers a method and a body with bytes in a content coding. Yields its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
            body = await reader.readexactly(int(length[0].split(":")[1])) if length else b""
            answer, coding = await answering(head.split()[0], body)
            writer.write(
                b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-encoding: %b\r\ncontent-length: %d\r\n\r\n"
                % (coding.encode(), len(answer))
            )
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


CODINGS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("coding", CODINGS)
async def test_compressed_answers_are_read_although_plain_ones_were_asked_for(
    coding: str, tmp_path: Path
) -> None:
    async def answering(method: str, _body: bytes) -> tuple[bytes, str]:
        told = {"id": "g1", "status": "pending"} if method == "POST" else {"id": "g1", **DONE}
        return CODINGS[coding](json.dumps(told).encode()), coding

    async with (
        providing(answering) as url,
        deployed(tmp_path, SILENT, accounts_with={"base_url": url}) as deployment,
    ):
        job = await deployment.final((await deployment.submit(asking("getimg")))["id"])
    assert (job["state"], job["provider_job_id"]) == ("succeeded", "g1")
    assert job["result"]["data"] == DONE["data"]


async def test_an_answer_that_is_too_large_once_unpacked_is_no_answer(tmp_path: Path) -> None:
    async def answering(_method: str, _body: bytes) -> tuple[bytes, str]:
        return gzip.compress(
            json.dumps({"id": "g1", "status": "pending", "x": "y" * (5 << 20)}).encode()
        ), "gzip"

    async with (
        providing(answering) as url,
        deployed(tmp_path, SILENT, accounts_with={"base_url": url}) as deployment,
    ):
        job = await deployment.submit(asking("getimg"))
        await deployment.in_state(job["id"], "unconfirmed")
        [told] = [one for one in await deployment.timeline(job["id"]) if one["kind"] == "submission"]
    assert told["error"] == "the answer is too large"


async def test_an_upload_that_broke_halfway_is_sent_again(tmp_path: Path) -> None:
    tries: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length:")[2].split()[0])
            tries.append(length)
            if len(tries) == 1:
                await reader.read(1 << 16)
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
                return
            await reader.readexactly(length)
            writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 32\r\n\r\n{"id": "g1","status": "pending"}')
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    image = {"images": [{"role": "first_frame", "image": "A" * (12 << 20)}]}
    accounts = {"base_url": url, "poll_interval": 600}
    async with deployed(tmp_path, SILENT, accounts_with=accounts) as deployment:
        asked = asking("getimg")
        job = await deployment.submit({**asked, "input": asked["input"] | image})
        told = await deployment.until(
            lambda: deployment.job(job["id"]), lambda one: one["provider_job_id"] is not None
        )
        assert await outcomes(deployment, job["id"], "submission") == ["applied", "applied"]
    server.close()
    assert (told["provider_job_id"], len(tries)) == ("g1", 2)


async def test_a_submission_may_take_as_long_as_its_account_says(tmp_path: Path) -> None:
    async def answering(_method: str, _body: bytes) -> tuple[bytes, str]:
        await asyncio.Event().wait()
        raise AssertionError

    accounts = {"submit_timeout": 1}
    async with (
        providing(answering) as url,
        deployed(tmp_path, SILENT, accounts_with={"base_url": url, **accounts}) as deployment,
    ):
        job = await deployment.submit(asking("getimg"))
        await deployment.in_state(job["id"], "unconfirmed")
        [told] = [one for one in await deployment.timeline(job["id"]) if one["kind"] == "submission"]
    assert told["error"] == "read: timed out"


async def test_a_claim_lasts_longer_than_the_longest_submission(tmp_path: Path) -> None:
    for own, longest in (({}, 300), ({"submit_timeout": 7}, 7), ({"submit_timeout": 900.5}, 900.5)):
        (folder := tmp_path / str(longest)).mkdir()
        async with deployed(folder, SILENT, accounts_with=own) as deployment:
            accounts = deployment.services.core.accounts
            usual = {
                (name, operation): accounts.submission(accounts.setups[name], operation).timeout
                for name, operation in (
                    ("getimg", "image"),
                    ("imagineo", "generate-image"),
                    ("getimg", "video"),
                )
            }
            assert list(usual.values()) == ([longest] * 3 if own else [300, 300, 60])
            services = deployment.services
            core = services.core
            submitter = Submitter(accounts, core.recorder, core.store, core.breaker, Clock(), core.spans)
        assert submitter.lease > timedelta(seconds=longest)


async def test_want_of_sockets_costs_a_delivery_no_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[str] = []
    original = HttpClient.call

    async def call(gateway: HttpClient, asked: HttpCall) -> Answer:
        if asked.delivery and len(refused) < 2:
            refused.append(asked.url)
            raise CallFailed("connect", "too many open files", local=True)
        return await original(gateway, asked)

    monkeypatch.setattr("receiver.delivery.sender.SHORT_OF_SOCKETS", SHORTLY)
    monkeypatch.setattr(HttpClient, "call", call)
    async with deployed(tmp_path, SILENT, retry_schedule="[]") as deployment:
        await deployment.subscribe("job.canceled")
        job = await ended_job(deployment)
        told = await settled(deployment, job=job["id"])
    assert (told["state"], [one["status"] for one in told["attempts"]], len(refused)) == (
        "delivered",
        [204],
        2,
    )
