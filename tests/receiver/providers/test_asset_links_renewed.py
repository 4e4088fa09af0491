"""Asset links with a URL that looks good and is refused by its server, and revoked ones."""

import asyncio
from datetime import timedelta

import pytest

from receiver.domain.errors import Gone, ProviderUnavailable
from receiver.domain.model import Job
from receiver.providers.asset_links import GONE_FOR, NO_LONGER, FoundAsset
from tests.receiver.providers.test_asset_links import FRESH, LINK, NEWER, done, find, links, refused
from tests.receiver.scripted_provider import ScriptedProvider
from tests.receiver.store_fixture import StoreFixture


async def found(fixture: StoreFixture, job: Job) -> FoundAsset:
    """Return the file behind a link of a job."""
    ends = fixture.clock.at + timedelta(days=30)
    return await links(fixture).find(fixture.services.core.master_keys.asset_token(job.id, 0, ends))


async def test_a_refused_link_is_replaced_for_redirects_too(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await done(fixture, url=LINK)
    dead = await found(fixture, job)
    provider.answer({"url": FRESH})
    assert (await links(fixture).renew(dead)).url == FRESH
    assert await find(fixture, job) == FRESH
    # Another reader of the old link gets the fresh one without a call.
    assert (await links(fixture).renew(dead)).url == FRESH
    assert len(provider.calls) == 1


async def test_a_link_that_cannot_be_replaced_stays_good_for_redirects(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await done(fixture, "apiframe", "imagine", url=LINK, source=None)
    dead = await found(fixture, job)
    for _ in range(2):
        with pytest.raises(Gone, match="no way to a fresh one"):
            await links(fixture).renew(dead)
    assert await find(fixture, job) == LINK
    assert provider.calls == []


async def test_a_provider_that_repeats_a_refused_link_is_not_asked_again_for_a_while(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await done(fixture, url=LINK)
    dead = await found(fixture, job)
    provider.answer({"url": LINK})
    for _ in range(3):
        with pytest.raises(Gone, match=NO_LONGER):
            await links(fixture).renew(dead)
    assert len(provider.calls) == 1
    fixture.clock.pass_(seconds=GONE_FOR.total_seconds())
    provider.answer({"url": NEWER})
    assert (await links(fixture).renew(dead)).url == NEWER


async def test_fresh_links_that_are_refused_too_are_not_asked_for_again_for_a_while(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await done(fixture, url=LINK)
    provider.answer({"url": FRESH})
    renewed = await links(fixture).renew(await found(fixture, job))
    assert links(fixture).give_up(renewed).detail == NO_LONGER
    with pytest.raises(Gone, match=NO_LONGER):
        await links(fixture).renew(renewed)
    assert len(provider.calls) == 1


async def test_a_provider_that_is_away_holds_no_redirect_to_a_stored_link(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await done(fixture, url=LINK)
    dead = await found(fixture, job)
    provider.answer({}, 503)
    for _ in range(2):
        with pytest.raises(ProviderUnavailable):
            await links(fixture).renew(dead)
    assert len(provider.calls) == 1
    assert await find(fixture, job) == LINK


# Revoked links.


async def test_a_revoked_link_is_gone_even_while_the_provider_is_asked(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await done(fixture)
    provider.answer({"url": FRESH})
    early = asyncio.create_task(find(fixture, job))
    await asyncio.sleep(0)
    await fixture.services.api.jobs.revoke_assets(job.id)
    assert await refused(fixture, job) == "the links to the files of this job were revoked"
    await asyncio.gather(early, return_exceptions=True)
    assert await refused(fixture, job) == "the links to the files of this job were revoked"
