"""The pages for people: a redirect, the reference, and a page for each error code."""

import dataclasses
import json
import re
from html import unescape
from urllib.parse import urlsplit

import httpx

from receiver.api.event_examples import EXAMPLES, MEANINGS
from receiver.api.markdown import anchor
from receiver.api.receiving import TITLE
from receiver.config.settings import Settings
from receiver.domain.errors import PROBLEMS
from receiver.domain.event_types import SHOWN
from tests.receiver.api_client import client_of, problem_of
from tests.receiver.store_fixture import StoreFixture

POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


async def page(client: httpx.AsyncClient, path: str) -> str:
    """Return a page as text, which must be HTML that loads nothing."""
    answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not [word for word in ("<script", "<img", "<link", "<iframe") if word in answer.text]
    return answer.text


async def test_no_page_needs_a_key(fixture: StoreFixture) -> None:
    async with client_of(fixture.services.api, key="") as client:
        for path in ("/docs", "/docs/events", "/problems", "/problems/gone", "/openapi.json"):
            assert (await client.get(path)).status_code == 200


async def test_the_reference_is_made_from_the_document(client: httpx.AsyncClient) -> None:
    text = await page(client, "/docs")
    document = (await client.get("/openapi.json")).json()
    assert "<title>Ringback API</title>" in text
    assert f"<small>{document['info']['version']}</small>" in text
    assert all(path in text for path in document["paths"])


async def test_receivers_are_told_every_type_with_its_example(client: httpx.AsyncClient) -> None:
    text = await page(client, "/docs/events")
    assert f"<title>{TITLE}</title>" in text
    plain = unescape(re.sub(r"</?code(?: class=[^>]*)?>", "`", text))
    for name in SHOWN:
        part = plain.split(f'<h3 id="{anchor(name)}">{name}</h3>\n', 1)[1].split("<h3", 1)[0]
        assert part.startswith(f"<p>{MEANINGS[name]}")
        assert json.dumps(EXAMPLES[name], indent=2, ensure_ascii=False) in part
    assert text.count("<summary>example</summary>") == len(SHOWN)


async def test_the_page_for_receivers_has_the_figures_of_its_deployment(fixture: StoreFixture) -> None:
    settings = Settings(retry_schedule=(7, 420), delivery_timeout=8)
    services = dataclasses.replace(fixture.services.api, settings=settings)
    async with client_of(services, key="") as client:
        text = " ".join((await page(client, "/docs/events")).split())
    assert "is tried again after 7 seconds and 7 minutes, each counted" in text
    assert "An answer has 8 seconds." in text
    assert "<td>2xx within 8 seconds</td>" in text


async def test_every_link_of_the_page_for_receivers_leads_somewhere(client: httpx.AsyncClient) -> None:
    text = await page(client, "/docs/events")
    links = [unescape(link) for link in re.findall(r"""href=["']([^"']+)["']""", text)]
    assert {urlsplit(link).netloc for link in links} == {"", "www.standardwebhooks.com"}
    ours = {link for link in links if link.startswith(("/", "#"))}
    calls = {"POST /v1/endpoints/{id}/replay", "GET /v1/events", "POST /v1/deliveries/{id}/retry"}
    pages = {"/docs", "/openapi.json", "/docs/events"}
    assert {f"/docs#{anchor(call)}" for call in calls} | pages <= ours
    for link in ours:
        path, _, place = link.partition("#")
        target = await client.get(path) if path else None
        assert target is None or target.status_code == 200, link
        assert not place or re.search(rf"id=['\"]{place}['\"]", text if target is None else target.text), link


async def test_every_call_that_the_page_for_receivers_names_is_a_link(client: httpx.AsyncClient) -> None:
    text = unescape(await page(client, "/docs/events"))
    outside = re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL)
    named = re.findall(r"(.{0,2})<code>((?:GET|POST|PATCH|PUT|DELETE) [^<]+)</code>", outside)
    assert len(named) > 15
    assert [name for before, name in named if not before.endswith('">')] == []


async def test_the_reference_leads_to_the_page_for_receivers(client: httpx.AsyncClient) -> None:
    assert (await page(client, "/docs")).count("href='/docs/events'") == 1
    assert (await page(client, "/docs")).count('href="/docs/events"') == 1


async def test_the_document_is_json_that_nothing_guesses_the_type_of(client: httpx.AsyncClient) -> None:
    answer = await client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["openapi"] == "3.1.0"


async def test_the_list_of_errors_has_a_row_for_each_code(client: httpx.AsyncClient) -> None:
    text = await page(client, "/problems")
    assert "<title>Errors</title>" in text
    assert text.count("<tr><td>") == len(PROBLEMS)
    for kind in PROBLEMS:
        cells = f"<code>{kind.code}</code></a></td><td>{kind.http_status}</td><td>{kind.title}</td>"
        assert cells in unescape(text)


async def test_the_page_of_an_error_explains_it(client: httpx.AsyncClient) -> None:
    for kind in PROBLEMS:
        text = unescape(await page(client, f"/problems/{kind.code}"))
        assert f"<title>{kind.code}</title>" in text
        assert f"<h2>{kind.title} <small>{kind.http_status}</small></h2>" in text
        assert kind.meaning.replace("`", "") in text.replace("<code>", "").replace("</code>", "")


async def test_an_unknown_code_is_not_found_and_not_repeated(client: httpx.AsyncClient) -> None:
    for code in ("nonsense", "Gone", "<b>", "%00"):
        answer = await client.get(f"/problems/{code}")
        detail = problem_of(answer, 404, "not-found")["detail"]
        assert detail == "there is no error with this code; /problems lists all of them"
