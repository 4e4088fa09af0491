"""The caller of a request, by its API key or its job token."""

import pytest
from starlette.requests import Request

from receiver.api.callers import identify
from receiver.domain.errors import Forbidden, Unauthorized
from tests.receiver.api_client import KEY
from tests.receiver.store_fixture import StoreFixture


def request_with(query: bytes, *headers: tuple[bytes, bytes], job_id: str = "") -> Request:
    """Return a request with this query, these headers and a job in its path."""
    return Request(
        {"type": "http", "query_string": query, "headers": list(headers), "path_params": {"id": job_id}}
    )


NO_KEYS: list[list[bytes]] = [
    [],
    [b""],
    [b"Bearer"],
    [b"Bearer "],
    [KEY.encode()],
    [b"Basic " + KEY.encode()],
    [b"Bearer " + KEY.encode() + b"x"],
    [b"Bearer \xff"],
    [b"Bearer " + KEY.encode()] * 2,
]


async def test_a_request_without_a_valid_key_has_no_caller(fixture: StoreFixture) -> None:
    for values in NO_KEYS:
        request = request_with(b"", *((b"authorization", value) for value in values))
        with pytest.raises(Unauthorized) as caught:
            await identify(fixture.services.api, request, "jobs:read")
        assert caught.value.headers == (("www-authenticate", "Bearer"),)


async def test_the_caller_of_a_request_is_found_by_its_key(fixture: StoreFixture) -> None:
    for value in (b"Bearer " + KEY.encode(), b"bearer  " + KEY.encode() + b" "):
        caller = await identify(
            fixture.services.api, request_with(b"", (b"authorization", value)), "jobs:read"
        )
        assert caller.id == "key_bootstrap"


async def test_a_key_without_the_scope_is_forbidden(fixture: StoreFixture) -> None:
    services = fixture.services.api
    key, text = await services.api_keys.create("a", ("jobs:read",), None)
    request = request_with(b"", (b"authorization", b"Bearer " + text.encode()))
    assert (await identify(services, request, "jobs:read")).id == key.id
    with pytest.raises(Forbidden, match=r"^this call needs a key with the scope jobs:write$"):
        await identify(services, request, "jobs:write")


async def test_a_job_token_is_the_caller_of_its_own_job_where_tokens_are_taken(fixture: StoreFixture) -> None:
    services, job = fixture.services.api, await fixture.added()
    token, _ = await services.job_tokens.issue(job.id, 60)
    by_header = request_with(b"", (b"authorization", b"Bearer " + token.encode()), job_id=job.id)
    by_query = request_with(b"token=" + token.encode(), job_id=job.id)
    for request in (by_header, by_query):
        caller = await identify(services, request, "jobs:read", by_token=True)
        assert (caller.id, caller.job_id) == (job.id, job.id)
        assert caller.scopes == {"jobs:read"}


async def test_a_job_token_is_refused_everywhere_else(fixture: StoreFixture) -> None:
    services, job, other = fixture.services.api, await fixture.added(), await fixture.added()
    token, _ = await services.job_tokens.issue(job.id, 60)
    header = (b"authorization", b"Bearer " + token.encode())
    only = f"^this token reads {job.id} and its stream, nothing else$"
    with pytest.raises(Forbidden, match=only):
        await identify(services, request_with(b"", header, job_id=other.id), "jobs:read", by_token=True)
    with pytest.raises(Forbidden, match=only):
        await identify(services, request_with(b"", header, job_id=job.id), "jobs:write")
    # Where no token is taken, a query has none.
    with pytest.raises(Unauthorized):
        await identify(services, request_with(b"token=" + token.encode(), job_id=job.id), "jobs:read")


async def test_a_token_that_is_over_or_forged_is_no_caller(fixture: StoreFixture) -> None:
    services, job = fixture.services.api, await fixture.added()
    token, ends = await services.job_tokens.issue(job.id, 60)
    for text in (token[:-1] + ("A" if token[-1] != "A" else "B"), "rbj_", "rbj_a.b.c.d", token + "."):
        with pytest.raises(Unauthorized):
            await identify(
                services, request_with(b"token=" + text.encode(), job_id=job.id), "jobs:read", by_token=True
            )
    fixture.clock.at = ends
    with pytest.raises(Unauthorized):
        await identify(
            services, request_with(b"token=" + token.encode(), job_id=job.id), "jobs:read", by_token=True
        )


async def test_a_key_in_the_query_is_no_caller(fixture: StoreFixture) -> None:
    services, job = fixture.services.api, await fixture.added()
    request = request_with(b"token=" + KEY.encode(), job_id=job.id)
    with pytest.raises(Unauthorized):
        await identify(services, request, "jobs:read", by_token=True)
