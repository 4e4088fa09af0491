"""The pages for people: a redirect, the reference, and a page for each error code."""

from html import unescape

import httpx

from receiver.domain.errors import PROBLEMS
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


async def test_the_root_redirects_to_the_reference(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")


async def test_no_page_needs_a_key(fixture: StoreFixture) -> None:
    async with client_of(fixture.services.api, key="") as client:
        for path in ("/docs", "/problems", "/problems/gone", "/openapi.json"):
            assert (await client.get(path)).status_code == 200


async def test_the_reference_is_made_from_the_document(client: httpx.AsyncClient) -> None:
    text = await page(client, "/docs")
    document = (await client.get("/openapi.json")).json()
    assert "<title>Ringback API</title>" in text
    assert f"<small>{document['info']['version']}</small>" in text
    assert all(path in text for path in document["paths"])


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
