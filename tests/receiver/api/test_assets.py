"""Asset links over HTTP: a redirect that nothing caches, and no key."""

from datetime import timedelta

import httpx
import pytest

from handlers.contract import Phase
from tests.receiver.api_client import client_of, problem_of
from tests.receiver.store_fixture import StoreFixture, told, word


async def link(fixture: StoreFixture) -> str:
    """Return the path of the link to the only file of a job that has just succeeded."""
    job = await fixture.submitted()
    await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED)))
    [asset] = fixture.services.api.render(await fixture.now(job))["assets"]
    url: str = asset["url"]
    assert url.startswith("https://hooks.example/assets/")
    return url.removeprefix("https://hooks.example")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_link_redirects_to_the_file_for_every_caller(fixture: StoreFixture, method: str) -> None:
    path = await link(fixture)
    async with client_of(fixture.services.api, key="") as client:
        answer = await client.request(method, f"{path}?utm_source=mail")
    assert (answer.status_code, answer.headers["location"]) == (307, "https://cdn.example/1.mp4")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_a_link_of_no_job_is_not_found(client: httpx.AsyncClient) -> None:
    answer = await client.get("/assets/a.b.0.1.c")
    assert problem_of(answer, 404, "not-found")["detail"] == "this link is not one of ours"


async def test_a_link_that_has_ended_is_gone(fixture: StoreFixture, client: httpx.AsyncClient) -> None:
    path = await link(fixture)
    fixture.clock.at += timedelta(days=fixture.services.core.settings.asset_link_days)
    assert problem_of(await client.get(path), 410, "gone")["detail"] == "this link has ended"


async def test_a_link_takes_no_other_method(client: httpx.AsyncClient) -> None:
    answer = await client.post("/assets/x")
    assert problem_of(answer, 405, "method-not-allowed")["detail"] == "this path takes GET, HEAD"
