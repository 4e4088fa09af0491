"""Sessions of browsers: a session has the scopes of its key, for this origin's pages alone."""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest

from receiver.api.dashboard import POLICY
from receiver.api.routes import ROUTES
from receiver.api.routing import Route
from tests.stories.deployment import KEY, Deployment, deployed
from tests.stories.tools import Moving

OURS = {"sec-fetch-site": "same-origin"}


@contextlib.asynccontextmanager
async def browser(deployment: Deployment, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client without a key, as a page of the service sends requests."""
    async with httpx.AsyncClient(base_url=deployment.url, headers=OURS | headers) as client:
        yield client


async def key_of(deployment: Deployment, *scopes: str) -> tuple[str, str]:
    """Return a key with these scopes, and its id."""
    made = await deployment.client.post("/v1/keys", json={"name": "n", "scopes": list(scopes)})
    return made.json()["key"], made.json()["id"]


async def signed_in(client: httpx.AsyncClient, key: str = KEY) -> httpx.Response:
    """Sign in. Returns the answer."""
    answer = await client.post("/session", json={"key": key})
    assert answer.status_code == 201, answer.text
    return answer


async def test_a_key_is_exchanged_for_a_cookie_that_scripts_cannot_read(deployment: Deployment) -> None:
    async with browser(deployment) as client:
        assert (await client.get("/session")).status_code == 204
        assert (await client.get("/v1/jobs")).status_code == 401
        answer = await signed_in(client)
        told = answer.json()
        assert (told["object"], told["key"], told["scopes"]) == ("session", "key_bootstrap", ["admin"])
        [cookie] = SimpleCookie(answer.headers["set-cookie"]).values()
        assert (cookie.key, cookie["httponly"], cookie["secure"]) == ("ringback", True, "")
        assert (cookie["samesite"], cookie["path"], cookie["max-age"]) == ("strict", "/", "43200")
        assert KEY not in answer.headers["set-cookie"]
        assert answer.headers["cache-control"] == "no-store"
        assert (await client.get("/session")).json() == told
        assert (await client.get("/v1/jobs")).status_code == 200
        ended = await client.delete("/session")
        assert ended.status_code == 204
        client.cookies.set(cookie.key, cookie.value)
        assert (await client.get("/v1/jobs")).status_code == 401, "a session that was ended stays so"


async def test_behind_https_the_cookie_is_bound_to_it(deployment: Deployment) -> None:
    host = deployment.url.removeprefix("http://")
    async with browser(deployment, origin=f"https://{host}") as client:
        [cookie] = SimpleCookie((await signed_in(client)).headers["set-cookie"]).values()
        assert (cookie.key, cookie["secure"]) == ("__Host-ringback", True)


async def test_a_sign_out_ends_the_sessions_of_both_schemes(deployment: Deployment) -> None:
    values: dict[str, str] = {}
    for scheme in ("http", "https"):
        async with browser(
            deployment, origin=f"{scheme}://{deployment.url.removeprefix('http://')}"
        ) as client:
            [cookie] = SimpleCookie((await signed_in(client)).headers["set-cookie"]).values()
            values[cookie.key] = cookie.value
    assert set(values) == {"ringback", "__Host-ringback"}
    both = {"cookie": "; ".join(f"{name}={value}" for name, value in values.items())}
    async with browser(deployment) as client:
        done = await client.delete("/session", headers=both)
        assert done.status_code == 204
        gone = SimpleCookie()
        for header in done.headers.get_list("set-cookie"):
            gone.load(header)
        assert {name: (one.value, one["max-age"]) for name, one in gone.items()} == dict.fromkeys(
            values, ("", "0")
        )
        for name, value in values.items():
            assert (await client.get("/session", headers={"cookie": f"{name}={value}"})).status_code == 204


def url_of(route: Route) -> str:
    """Return a path of a route, with an id of nothing."""
    return route.path.replace("{id}", "x").replace("{code}", "gone").replace("{token}", "x")


async def test_a_session_may_do_what_its_key_may_and_no_more(deployment: Deployment) -> None:
    key, _ = await key_of(deployment, "jobs:read")
    scoped = [one for one in ROUTES if one.scope is not None and not one.path.endswith("/stream")]
    assert len(scoped) > 35
    async with browser(deployment) as client, httpx.AsyncClient(base_url=deployment.url) as script:
        await signed_in(client, key)
        for one in scoped:
            by_session = await client.request(one.method, url_of(one))
            by_key = await script.request(one.method, url_of(one), headers={"authorization": f"Bearer {key}"})
            assert by_session.status_code == by_key.status_code, f"{one.method} {one.path}"
            assert (by_session.status_code == 403) is (one.scope != "jobs:read"), f"{one.method} {one.path}"


@pytest.mark.parametrize(
    ("headers", "reads", "writes"),
    [
        ({"sec-fetch-site": "same-origin"}, 200, 201),
        ({"sec-fetch-site": "none"}, 200, 201),
        ({"sec-fetch-site": "cross-site"}, 403, 403),
        ({"sec-fetch-site": "same-site"}, 403, 403),
        ({"sec-fetch-site": "same-origin", "origin": "https://evil.example"}, 403, 403),
        ({"origin": "https://evil.example"}, 403, 403),
        ({"origin": "null"}, 403, 403),
        ({"origin": "http://["}, 403, 403),
        ({"origin": "http://[", "sec-fetch-site": "same-origin"}, 403, 403),
        ({}, 200, 403),
    ],
)
async def test_other_pages_cannot_use_a_session(
    deployment: Deployment, headers: dict[str, str], reads: int, writes: int
) -> None:
    async with browser(deployment) as client:
        await signed_in(client)
    async with httpx.AsyncClient(base_url=deployment.url, cookies=client.cookies, headers=headers) as page:
        assert (await page.get("/v1/keys")).status_code == reads
        answer = await page.post("/v1/keys", json={"name": "n", "scopes": ["jobs:read"]})
        assert answer.status_code == writes
        if writes == 403:
            assert "the same origin alone" in answer.json()["detail"]
            # A job token and a key need no page of ours.
            with_key = await page.get("/v1/keys", headers={"authorization": f"Bearer {KEY}"})
            assert with_key.status_code == 200


async def test_another_page_cannot_sign_a_reader_in(deployment: Deployment) -> None:
    async with httpx.AsyncClient(base_url=deployment.url) as script:
        for headers in (
            {"origin": "https://evil.example"},
            {"origin": "http://["},
            {"sec-fetch-site": "cross-site"},
        ):
            assert (await script.post("/session", json={"key": KEY}, headers=headers)).status_code == 403
        # A script sends neither header.
        assert (await script.post("/session", json={"key": KEY})).status_code == 201


async def test_a_session_ends_with_its_key(deployment: Deployment) -> None:
    key, key_id = await key_of(deployment, "jobs:read")
    async with browser(deployment) as client:
        await signed_in(client, key)
        assert (await client.get("/v1/jobs")).status_code == 200
        assert (await deployment.client.delete(f"/v1/keys/{key_id}")).status_code == 204
        assert (await client.get("/v1/jobs")).status_code == 401
        assert (await client.get("/session")).status_code == 204


async def test_a_session_ends_after_twelve_hours(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, clock=moving.clock) as deployment, browser(deployment) as client:
        await signed_in(client)
        moving.wait(timedelta(hours=11, minutes=59).total_seconds())
        assert (await client.get("/v1/jobs")).status_code == 200
        moving.wait(timedelta(minutes=2).total_seconds())
        assert "this session is over" in (await client.get("/v1/jobs")).json()["detail"]


@pytest.mark.parametrize("change", ["", "x", "a.b.c", "{}x", "x{}", "é"])
async def test_a_forged_session_is_none(deployment: Deployment, change: str) -> None:
    async with browser(deployment) as client:
        await signed_in(client)
        [value] = client.cookies.values()
    forged = change.format(value) if change != "é" else value.replace(value[-1], "%C3%A9")
    async with browser(deployment, cookie=f"ringback={forged}") as client:
        assert (await client.get("/session")).status_code == 204
        assert (await client.get("/v1/jobs")).status_code == 401


@pytest.mark.parametrize(
    "body", [{}, {"key": ""}, {"key": 7}, {"key": "rb_" + "x" * 300}, {"key": "k", "more": 1}]
)
async def test_a_wrong_sign_in_is_told(deployment: Deployment, body: dict[str, Any]) -> None:
    async with browser(deployment) as client:
        assert (await client.post("/session", json=body)).status_code == 422
        answer = await client.post("/session", json={"key": "rb_nobody"})
        assert answer.status_code == 401
        assert "rb_nobody" not in answer.text
        assert "set-cookie" not in answer.headers


async def test_only_the_newest_sessions_of_a_key_are_kept(deployment: Deployment) -> None:
    async with browser(deployment) as first:
        await signed_in(first)
        async with browser(deployment) as others:
            for _ in range(100):
                await signed_in(others)
            assert (await others.get("/session")).status_code == 200
        assert (await first.get("/v1/jobs")).status_code == 401


async def test_the_page_is_sent_with_its_policy_and_kept_by_its_tag(deployment: Deployment) -> None:
    async with browser(deployment) as client:
        page = await client.get("/", headers={"accept-encoding": "identity"})
        assert page.status_code == 200
        assert page.headers["content-security-policy"] == POLICY
        assert "frame-ancestors 'none'" in POLICY
        assert page.headers["cache-control"] == "no-cache"
        tag = page.headers["etag"]
        for known in (tag, f"W/{tag}", f'"x", W/{tag}', "*"):
            again = await client.get("/", headers={"if-none-match": known})
            assert (again.status_code, again.content) == (304, b""), known
        for unknown in ('"x"', "W/*", tag.strip('"')):
            assert (await client.get("/", headers={"if-none-match": unknown})).status_code == 200, unknown
        script = page.text.partition('type="module" src="')[2].partition('"')[0]
        for encoding, sent in (
            ("gzip", "gzip"),
            ("br, gzip;q=0.5", "gzip"),
            ("gzip;q=0", None),
            ("identity", None),
        ):
            file = await client.get(script, headers={"accept-encoding": encoding})
            assert (file.status_code, file.headers.get("content-encoding")) == (200, sent), encoding
            assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert file.headers["content-type"] == "text/javascript; charset=utf-8"
        for path in (
            "/dashboard/x/app.js",
            f"{script}x",
            script.replace("app.js", "../__init__.py"),
            "/dashboard/",
        ):
            assert (await client.get(path)).status_code == 404, path


async def test_the_dashboard_may_be_off(tmp_path: Path) -> None:
    async with deployed(tmp_path, dashboard="false") as deployment, browser(deployment) as client:
        page = await client.get("/")
        assert (page.status_code, page.headers["location"]) == (307, "/docs")
        assert (await client.post("/session", json={"key": KEY})).status_code == 404
        assert (await client.get("/session")).status_code == 404
        assert (await client.get("/dashboard/x/app.js")).status_code == 404
