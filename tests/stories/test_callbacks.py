"""Incoming callbacks: refused ones change nothing, authentic ones are stored with any content."""

import gzip
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from handlers import json
from handlers.values import immutable
from receiver.domain.clock import Clock
from receiver.security.tokens import MasterKeys
from tests.stories.deployment import Deployment, deployed
from tests.stories.tools import PROOF, SILENT, finished, open_job, outcomes, problem, ring, says

pytestmark = pytest.mark.asyncio(loop_scope="module")
MIB = 1024 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """Yield one deployment for the whole table."""
    async with deployed(tmp_path_factory.mktemp("callbacks"), SILENT) as made:
        yield made


@immutable
class Scene:
    """Two open jobs, with the URL, tokens and secrets of their callbacks."""

    deployment: Deployment
    job: dict[str, Any]
    url: str
    secret: str
    token: str
    other_token: str
    other_secret: str

    def to(self, account: str, token: str) -> str:
        """Return another callback URL."""
        return f"{self.deployment.url}/callbacks/{account}/{token}"


async def scene(deployment: Deployment) -> Scene:
    """Return a new scene."""
    job, other = await open_job(deployment), await open_job(deployment)
    (url, secret), (other_url, other_secret) = deployment.callback(job), deployment.callback(other)
    token, other_token = (one.rsplit("/", 1)[-1] for one in (url, other_url))
    return Scene(deployment, job, url, secret, token, other_token, other_secret)


Headers = list[tuple[bytes, bytes]]


def proof(*values: str | bytes, header: str = PROOF) -> Headers:
    """Return the header that proves a callback, once for each value."""
    return [
        (header.encode(), value if isinstance(value, bytes) else value.encode("latin-1")) for value in values
    ]


PROOFS: dict[str, Callable[[Scene], Headers]] = {
    "missing": lambda _: [],
    "empty": lambda _: proof(""),
    "wrong": lambda _: proof("wrong"),
    "of another job": lambda s: proof(s.other_secret),
    "the token": lambda s: proof(s.token),
    "the provider's key": lambda _: proof("key-apiframe"),
    "a prefix": lambda s: proof(s.secret[:-1]),
    "with a suffix": lambda s: proof(s.secret + "x"),
    "with something before it": lambda s: proof("x" + s.secret),
    "in other case": lambda s: proof(s.secret.swapcase()),
    "right twice": lambda s: proof(s.secret, s.secret),
    "wrong, then right": lambda s: proof("wrong", s.secret),
    "right, then wrong": lambda s: proof(s.secret, "wrong"),
    "joined by a comma": lambda s: proof(f"{s.secret}, {s.secret}"),
    "non-ASCII": lambda _: proof(b"\xe9\xff"),
    "right and non-ASCII": lambda s: proof(s.secret.encode() + b"\xe9"),
    "very long": lambda s: proof(s.secret * 200),
    "under a name with underscores": lambda s: proof(s.secret, header="x_webhook_secret"),
    "under another provider's header": lambda s: proof(s.secret, header="x-webhook-signature"),
    "as a bearer token": lambda s: proof(f"Bearer {s.secret}", header="authorization"),
}
FOREIGN = MasterKeys(["f" * 32], Clock().entropy)
PATHS: dict[str, Callable[[Scene], str]] = {
    "a truncated token": lambda s: s.url[:-1],
    "a token with more": lambda s: s.url + "x",
    "a token with two slashes": lambda s: s.url + "//",
    "a token with a slash and more": lambda s: s.url + "/x",
    "a token with NUL": lambda s: s.url + "%00",
    "a token with another last character": lambda s: s.url[:-1] + ("A" if s.url[-1] != "A" else "B"),
    "a token in other case": lambda s: s.to("apiframe", s.token.swapcase()),
    "a doubled token": lambda s: s.to("apiframe", s.token + s.token),
    "a token without signature": lambda s: s.to("apiframe", s.token.rsplit(".", 1)[0]),
    "another job's token": lambda s: s.to("apiframe", s.other_token),
    "no token": lambda s: s.to("apiframe", ""),
    "a very long token": lambda s: s.to("apiframe", "a" * 8000),
    "a token in Unicode": lambda s: s.to("apiframe", "%C3%A9.%F0%9F%8C%8A." + s.token),
    "a token of another deployment": lambda s: s.to(
        "apiframe", FOREIGN.callback_token("apiframe", s.job["id"])
    ),
    "an asset's token": lambda s: s.to(
        "apiframe",
        s.deployment.services.core.interpreter.link(s.job["id"], 0, Clock().now()).rsplit("/", 1)[-1],
    ),
    "another account's path": lambda s: s.to("imagineo", s.token),
    "the path of an account that nobody calls": lambda s: s.to("getimg", s.token),
    "an unknown account": lambda s: s.to("nobody", s.token),
    "no account": lambda s: f"{s.deployment.url}/callbacks/{s.token}",
    "a query for a token": lambda s: f"{s.deployment.url}/callbacks/apiframe?token={s.token}",
}
PADDING = b" " * MIB


def sized(body: dict[str, Any], size: int) -> bytes:
    """Return `body` with blanks after it, `size` bytes long."""
    text = json.write(body)
    return text + PADDING[: size - len(text)]


async def refused(at: Scene, url: str, headers: Headers) -> None:
    """Assert that a callback is refused like any invalid one, and changes nothing."""
    body = json.write(finished(at.job))
    before = await at.deployment.job(at.job["id"])
    answer = await at.deployment.client.post(url, content=body, headers=headers)
    told = problem(answer, 401, "unauthorized")
    unknown = await at.deployment.client.post(at.to("apiframe", "a.b.c"), content=body)
    assert told | {"request_id": ""} == unknown.json() | {"request_id": ""}
    assert await at.deployment.job(at.job["id"]) == before
    assert "applied" not in await outcomes(at.deployment, at.job["id"])


@pytest.mark.parametrize("name", PROOFS)
async def test_a_callback_without_its_proof_is_refused(deployment: Deployment, name: str) -> None:
    at = await scene(deployment)
    await refused(at, at.url, PROOFS[name](at))
    assert await outcomes(deployment, at.job["id"]) == ["refused"]


@pytest.mark.parametrize("name", PATHS)
async def test_a_callback_to_a_url_that_is_not_ours_is_refused(deployment: Deployment, name: str) -> None:
    at = await scene(deployment)
    await refused(at, PATHS[name](at), proof(at.secret))


async def test_refusals_do_not_fill_a_timeline(deployment: Deployment) -> None:
    at = await scene(deployment)
    for _ in range(30):
        await deployment.client.post(at.url, content=b"{}", headers={PROOF: "wrong"})
    assert 1 <= len(await outcomes(deployment, at.job["id"])) <= 20
    await ring(deployment, at.job, finished(at.job))
    assert (await deployment.job(at.job["id"]))["state"] == "succeeded"


TOO_MUCH: dict[str, tuple[Callable[[Scene], bytes], dict[str, str], int, str]] = {
    "one byte too many": (lambda s: sized(finished(s.job), MIB) + b" ", {}, 413, "too-large"),
    "gzip": (
        lambda s: gzip.compress(json.write(finished(s.job))),
        {"content-encoding": "gzip"},
        415,
        "unsupported-media-type",
    ),
    "an unknown encoding": (
        lambda s: json.write(finished(s.job)),
        {"content-encoding": "zebra"},
        415,
        "unsupported-media-type",
    ),
}


@pytest.mark.parametrize("name", TOO_MUCH)
async def test_a_callback_in_a_form_that_we_do_not_take_is_refused(deployment: Deployment, name: str) -> None:
    make, headers, status, code = TOO_MUCH[name]
    at = await scene(deployment)
    before = await deployment.job(at.job["id"])
    answer = await deployment.client.post(at.url, content=make(at), headers={PROOF: at.secret, **headers})
    problem(answer, status, code)
    assert await deployment.job(at.job["id"]) == before
    assert await outcomes(deployment, at.job["id"]) == []


async def test_a_body_that_tells_no_length_is_measured_all_the_same(deployment: Deployment) -> None:
    at = await scene(deployment)

    async def pieces(whole: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(whole), 65536):
            yield whole[start : start + 65536]

    for size, status in ((MIB + 1, 413), (MIB, 200)):
        content = pieces(sized(says(at.job, "processing"), MIB) + b" " * (size - MIB))
        answer = await deployment.client.post(at.url, content=content, headers={PROOF: at.secret})
        assert answer.status_code == status
    assert await outcomes(deployment, at.job["id"]) == ["applied"]


async def test_a_callback_of_just_one_mebibyte_is_taken(deployment: Deployment) -> None:
    at = await scene(deployment)
    await ring(deployment, at.job, sized(finished(at.job), MIB))
    assert (await deployment.job(at.job["id"]))["state"] == "succeeded"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_only_post_rings(deployment: Deployment, method: str) -> None:
    at = await scene(deployment)
    before = await deployment.job(at.job["id"])
    answer = await deployment.client.request(
        method, at.url, content=json.write(finished(at.job)), headers={PROOF: at.secret}
    )
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert await deployment.job(at.job["id"]) == before


UNREADABLE: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"<html>finished</html>",
    "half of it": b'{"task_id": "1", "status": "finis',
    "invalid UTF-8": b'{"status": "finished", "x": "\xff\xfe"}',
    "UTF-16": '{"status": "finished"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"status": "finished"}',
    "a duplicate key": b'{"status": "processing", "status": "finished"}',
    "depth 10000": b'{"status":"finished","x":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "depth 65": b"[" * 65 + b"]" * 65,
    "NaN": b'{"status": "finished", "percentage": NaN}',
    "infinity": b'{"status": "finished", "percentage": 1e999}',
    "a lone surrogate": b'{"status": "finished", "x": "\\ud800"}',
    "a raw NUL": b'{"status": "finished", "x": "\x00"}',
    "a huge integer": b'{"status": "finished", "x": ' + b"9" * 5000 + b"}",
    "a list": b'[{"status": "finished"}]',
    "a word": b'"finished"',
}


@pytest.mark.parametrize("name", UNREADABLE)
async def test_an_authentic_callback_that_cannot_be_read_is_stored(deployment: Deployment, name: str) -> None:
    at = await scene(deployment)
    answer = await ring(deployment, at.job, UNREADABLE[name])
    assert answer.json() == {"received": True}
    [entry] = [entry for entry in await deployment.timeline(at.job["id"]) if entry["kind"] == "callback"]
    assert (entry["outcome"], entry["bytes"]) == ("unparsed", len(UNREADABLE[name]))
    job = await deployment.job(at.job["id"])
    assert (job["state"], job["completed_at"], job["assets"]) == ("queued", None, [])


ODD: dict[str, dict[str, Any]] = {
    "an escaped NUL": {"status": "processing", "message": "a\x00b"},
    "fields of other types": {"status": ["finished"], "percentage": {"a": 1}, "video_url": 7},
    "a status that nobody knows": {"status": "levitating"},
    "a link that is none": {"status": "finished", "video_url": "javascript:alert(1)"},
    "nothing said": {},
}


@pytest.mark.parametrize("name", ODD)
async def test_an_authentic_callback_that_is_odd_ends_nothing(deployment: Deployment, name: str) -> None:
    at = await scene(deployment)
    answer = await ring(deployment, at.job, {"task_id": at.job["provider_job_id"], **ODD[name]})
    assert answer.json() == {"received": True}
    assert len(await outcomes(deployment, at.job["id"])) == 1
    assert (await deployment.job(at.job["id"]))["completed_at"] is None
