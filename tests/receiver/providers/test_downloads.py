"""Downloads: a link that has ended is replaced once, and every place is given back."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from handlers.contract import Asset, Kind, Phase
from receiver.domain.errors import Gone, NotFound, ProviderUnavailable, RangeNotSatisfiable
from receiver.domain.model import Job, Source, Work
from receiver.providers.downloads import Download, Downloads
from receiver.providers.file_head import WHOLE, PartWanted
from tests.receiver.file_server import FILE, FileServer, answer, file_server
from tests.receiver.scripted_provider import KEY, ScriptedProvider
from tests.receiver.store_fixture import StoreFixture, told, word

SOURCE = "/v1/media/videos/1.mp4"


@pytest.fixture
async def files() -> AsyncIterator[FileServer]:
    """Yield a file server."""
    async with file_server() as made:
        yield made


def downloads(fixture: StoreFixture) -> Downloads:
    """Return the downloads of the service."""
    return fixture.services.api.downloads


async def done(fixture: StoreFixture, account: str = "aiml", operation: str = "video", **fields: Any) -> Job:
    """Return a job that succeeded with one file."""
    job = await fixture.added(account, operation=operation)
    [chosen] = await fixture.claim(Work.SUBMIT, {account: 1})
    asset = Asset(**{"kind": Kind.VIDEO, "source": SOURCE, **fields})
    update = told(Phase.SUCCEEDED, "p1", assets=(asset,))
    await fixture.hear(word(job, fixture, update, Source.SUBMISSION, claim=chosen.claim))
    return job


async def opened(fixture: StoreFixture, job: Job, wanted: PartWanted = WHOLE) -> Download:
    """Return the download of a job's file."""
    ends = fixture.clock.at.replace(year=2030)
    return await downloads(fixture).open(
        fixture.services.core.master_keys.asset_token(job.id, 0, ends), wanted
    )


async def content(download: Download) -> bytes:
    """Return all that a download brings."""
    with contextlib.closing(download):
        found = b""
        while piece := await download.body.read():
            found += piece
        return found


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_link_that_has_ended_is_replaced_once(
    fixture: StoreFixture, provider: ScriptedProvider, files: FileServer, status: int
) -> None:
    job = await done(fixture, url=files.url("/old.mp4"))
    files.answers = [answer(status, b"<html>no</html>")]
    provider.answer({"url": files.url("/new.mp4")})
    assert await content(await opened(fixture, job, PartWanted("bytes=1-4"))) == FILE[1:5]
    assert [one.split(b" ")[1] for one in files.requests] == [b"/old.mp4", b"/new.mp4"]
    assert (files.header("range", 0), files.header("range", 1)) == ("bytes=1-4", "bytes=1-4")
    # The fresh link serves the next reader.
    assert await content(await opened(fixture, job)) == FILE
    assert len(provider.calls) == 1


async def test_a_file_whose_fresh_link_is_refused_too_is_gone(
    fixture: StoreFixture, provider: ScriptedProvider, files: FileServer
) -> None:
    job = await done(fixture, url=files.url("/old.mp4"))
    provider.answer({"url": files.url("/new.mp4")})
    for asked in (2, 3):
        files.answers = [answer(403, b"")] * 2
        with pytest.raises(Gone, match="no longer has this file"):
            await opened(fixture, job)
        assert len(files.requests) == asked
    assert len(provider.calls) == 1
    assert downloads(fixture)._under_way.total() == 0


async def test_a_file_without_a_fresh_link_is_gone(
    fixture: StoreFixture, provider: ScriptedProvider, files: FileServer
) -> None:
    job = await done(fixture, "apiframe", "imagine", url=files.url(), source=None)
    files.answers = [answer(404, b"")]
    with pytest.raises(Gone, match="no way to a fresh one"):
        await opened(fixture, job)
    assert provider.calls == []


async def test_the_key_goes_to_the_provider_only(
    fixture: StoreFixture, provider: ScriptedProvider, files: FileServer
) -> None:
    job = await done(fixture)
    provider.answer({"url": files.url()})
    assert await content(await opened(fixture, job)) == FILE
    assert provider.header("authorization") == f"Bearer {KEY}"
    assert KEY.encode() not in b"".join(files.requests)
    assert files.header("authorization") is None


async def test_the_key_goes_not_even_to_the_provider_with_a_request_for_a_file(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await done(fixture, url=provider.url + "/files/0.mp4")
    provider.answer(b"film", content_type="video/mp4")
    assert await content(await opened(fixture, job)) == b"film"
    assert KEY.encode() not in b"".join(provider.requests)


async def test_a_place_is_given_back_however_a_download_ends(
    fixture: StoreFixture, files: FileServer
) -> None:
    job = await done(fixture, url=files.url())
    first, second = [await opened(fixture, job) for _ in range(2)]
    assert downloads(fixture)._under_way.total() == 2
    for _ in range(2):
        first.close()
    assert downloads(fixture)._under_way.total() == 1
    second.close()
    files.answers = [answer(500, b"")]
    with pytest.raises(ProviderUnavailable):
        await opened(fixture, job)
    with pytest.raises(RangeNotSatisfiable):
        await opened(fixture, job, PartWanted(f"bytes={len(FILE)}-"))
    with pytest.raises(NotFound):
        await downloads(fixture).open("a.b.0.1.c", WHOLE)
    assert downloads(fixture)._under_way == {}


async def test_a_revoked_link_brings_no_file_and_a_download_under_way_ends_by_itself(
    fixture: StoreFixture, files: FileServer
) -> None:
    job = await done(fixture, url=files.url())
    download = await opened(fixture, job)
    await fixture.services.api.jobs.revoke_assets(job.id)
    with pytest.raises(Gone, match="revoked"):
        await opened(fixture, job)
    assert await content(download) == FILE
    assert len(files.requests) == 1
