"""Stable links to files: stored, found, kept or refused, with one call for many requests."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from handlers.contract import Asset, Kind, Phase
from receiver.domain.errors import Gone, NotFound, ProviderUnavailable
from receiver.domain.model import Job, Source, Work
from receiver.providers import asset_links
from receiver.providers.asset_links import GONE_FOR, GOOD_FOR, KEPT, AssetLinks
from receiver.work.limits import ConcurrencyLimits
from tests.ports import free_port
from tests.receiver.scripted_provider import (
    KEY,
    ScriptedProvider,
    change_account,
    service_at,
)
from tests.receiver.store_fixture import START, StoreFixture, told, word
from tests.receiver.woken_worker import WokenWorker

LINK = "https://cdn.example/1.mp4"
FRESH, NEWER = "https://cdn.example/fresh.mp4", "https://cdn.example/newer.mp4"
SOURCE = "/v1/media/videos/1.mp4"
NO_LONGER = "the provider no longer has this file"


def links(fixture: StoreFixture) -> AssetLinks:
    """Return the links of the service."""
    return fixture.services.api.asset_links


async def done(fixture: StoreFixture, account: str = "aiml", operation: str = "video", **fields: Any) -> Job:
    """Return a job that succeeded with one file, for which the provider is asked unless `fields` say more."""
    job = await fixture.added(account, operation=operation)
    [chosen] = await fixture.claim(Work.SUBMIT, {account: 1})
    asset = Asset(**{"kind": Kind.VIDEO, "source": SOURCE, **fields})
    update = told(Phase.SUCCEEDED, "p1", assets=(asset,))
    [recorded] = await fixture.hear(word(job, fixture, update, Source.SUBMISSION, claim=chosen.claim))
    assert recorded.job is not None
    assert recorded.job.assets == (asset,)
    return recorded.job


async def find(fixture: StoreFixture, job: Job, index: int = 0, *, days: float = 30) -> str:
    """Return the URL to which a link of a job leads."""
    ends = fixture.clock.at + timedelta(days=days)
    return await links(fixture).url(fixture.services.core.master_keys.asset_token(job.id, index, ends))


async def refused(fixture: StoreFixture, job: Job, kind: type[Exception] = Gone, **others: Any) -> str:
    """Return the reason for which a link leads nowhere."""
    with pytest.raises(kind) as raised:
        await find(fixture, job, **others)
    return str(raised.value)


async def unavailable(fixture: StoreFixture, job: Job) -> tuple[str, float]:
    """Return the reason for which a link leads nowhere now, and the seconds to wait."""
    with pytest.raises(ProviderUnavailable) as raised:
        await find(fixture, job)
    return raised.value.detail, raised.value.seconds


# Links that need no call of the provider.


async def test_a_stored_link_that_is_good_is_handed_out_without_a_call(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    lasting = await done(fixture, url=LINK)
    assert await find(fixture, lasting) == LINK
    assert provider.calls == []


async def test_a_stored_link_is_handed_out_only_while_it_is_good_for_a_minute(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await done(fixture, url=LINK, expires_at=START + timedelta(hours=1))
    fixture.clock.at = START + timedelta(hours=1) - GOOD_FOR - timedelta(seconds=1)
    assert await find(fixture, job) == LINK
    fixture.clock.pass_(seconds=1)
    provider.answer({"url": FRESH})
    assert await find(fixture, job) == FRESH


async def test_a_token_that_is_not_ours_is_not_found(fixture: StoreFixture) -> None:
    with pytest.raises(NotFound, match="this link is not one of ours"):
        await links(fixture).url("v1.job_1.0.0")


async def test_a_link_that_has_ended_is_gone(fixture: StoreFixture) -> None:
    job = await done(fixture, url=LINK)
    assert await refused(fixture, job, days=0) == "this link has ended"


async def test_a_file_or_a_job_that_is_not_there_is_gone(fixture: StoreFixture) -> None:
    why = "retention removed this job, or its asset is not known"
    job = await done(fixture, url=LINK)
    assert await refused(fixture, job, index=1) == why
    assert await refused(fixture, fixture.job()) == why


async def test_a_file_that_the_provider_has_deleted_is_gone(fixture: StoreFixture) -> None:
    job = await done(fixture, url=LINK, deletes_at=START + timedelta(hours=1))
    fixture.clock.at = START + timedelta(hours=1) - timedelta(seconds=1)
    assert await find(fixture, job) == LINK
    fixture.clock.pass_(seconds=1)
    assert await refused(fixture, job) == "the provider has deleted this file"


@pytest.mark.parametrize(
    ("account", "operation"),
    [("apiframe", "imagine"), ("aiml", "video"), ("getimg", "image"), ("getimg", "gone")],
)
async def test_a_link_that_has_ended_is_gone_where_the_provider_has_no_fresh_one(
    fixture: StoreFixture, provider: ScriptedProvider, account: str, operation: str
) -> None:
    job = await done(fixture, account, operation, url=LINK, expires_at=START, source=None)
    why = "the provider's link has ended, and it has no way to a fresh one"
    assert await refused(fixture, job) == why
    assert provider.calls == []


@pytest.mark.parametrize("change", [{"on": False}, None])
async def test_an_account_that_is_off_or_removed_may_work_again(
    fixture: StoreFixture, provider: ScriptedProvider, change: dict[str, Any] | None
) -> None:
    job = await done(fixture)
    if change:
        change_account(fixture, "aiml", **change)
    else:
        setups: Any = fixture.services.core.accounts.setups
        del setups["aiml"]
    assert (await unavailable(fixture, job))[0] == "the account of this job is off"
    assert provider.calls == []


# Fresh links.


async def test_a_fresh_link_is_asked_for_once_and_kept_for_a_while(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await done(fixture)
    provider.answer({"url": FRESH})
    provider.answer({"url": NEWER})
    assert [await find(fixture, job) for _ in range(2)] == [FRESH, FRESH]
    assert provider.calls == [f"GET {SOURCE}"]
    assert provider.header("authorization") == f"Bearer {KEY}"
    fixture.clock.pass_(seconds=59)
    assert await find(fixture, job) == FRESH
    fixture.clock.pass_(seconds=1)
    assert await find(fixture, job) == NEWER


async def test_a_link_with_an_end_is_kept_for_five_minutes_at_most(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await done(fixture, "minimax", source="7")
    for link in (FRESH, NEWER):
        provider.answer({"file": {"download_url": link}, "base_resp": {"status_code": 0}})
    assert await find(fixture, job) == FRESH
    fixture.clock.at += KEPT - GOOD_FOR - timedelta(seconds=1)
    assert await find(fixture, job) == FRESH
    fixture.clock.pass_(seconds=1)
    assert await find(fixture, job) == NEWER
    assert provider.calls == ["GET /v1/files/retrieve?file_id=7"] * 2


async def test_many_requests_at_once_share_one_call(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await done(fixture)
    provider.answer({"url": FRESH})
    assert await asyncio.gather(*(find(fixture, job) for _ in range(20))) == [FRESH] * 20
    assert len(provider.calls) == 1
    assert links(fixture)._asking == {}


async def test_a_request_that_is_cancelled_does_not_end_the_call_of_the_others(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await done(fixture)
    provider.answer({"url": FRESH})
    leaves, stays = (asyncio.create_task(find(fixture, job)) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    assert await stays == FRESH
    with pytest.raises(asyncio.CancelledError):
        await leaves
    assert len(provider.calls) == 1


def generation(*urls: str, status: str = "completed") -> dict[str, Any]:
    """Return getimg's answer about a generation with these files."""
    files = [{"url": url, "mime_type": "video/mp4"} for url in urls]
    return {"id": "p1", "status": status, "data": files}


async def test_a_fresh_link_may_come_with_one_more_poll_of_the_job(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await done(fixture, "getimg", url=LINK, expires_at=START, source=None)
    provider.answer(generation(FRESH))
    assert await find(fixture, job) == FRESH
    assert provider.calls == ["GET /v2/videos/generations/p1"]


@pytest.mark.parametrize("answer", [generation(), generation(FRESH, status="pending")])
async def test_a_poll_that_names_the_file_no_more_makes_it_gone(
    fixture: StoreFixture, provider: ScriptedProvider, answer: dict[str, Any]
) -> None:
    job = await done(fixture, "getimg", url=LINK, expires_at=START, source=None)
    provider.answer(answer)
    assert await refused(fixture, job) == NO_LONGER


# Refusals.


async def test_a_file_that_the_provider_does_not_know_is_gone_for_a_minute(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await done(fixture)
    provider.answer({}, 404)
    provider.answer({"url": FRESH})
    assert [await refused(fixture, job) for _ in range(2)] == [NO_LONGER] * 2
    fixture.clock.at += GONE_FOR - timedelta(seconds=1)
    assert await refused(fixture, job) == NO_LONGER
    assert len(provider.calls) == 1
    fixture.clock.pass_(seconds=1)
    assert await find(fixture, job) == FRESH
    assert links(fixture)._refused == {}


@pytest.mark.parametrize(
    ("headers", "wait"), [({}, 5.0), ({"retry_after": "30"}, 30.0), ({"retry_after": "86400"}, 3600.0)]
)
async def test_a_provider_that_fails_is_left_alone_for_a_while(
    fixture: StoreFixture, provider: ScriptedProvider, headers: dict[str, str], wait: float
) -> None:
    job, why = await done(fixture), "the provider does not answer now"
    provider.answer({}, 503, **headers)
    provider.answer({"url": FRESH})
    assert await unavailable(fixture, job) == (why, wait)
    fixture.clock.pass_(seconds=2)
    assert await unavailable(fixture, job) == (why, wait - 2)
    assert len(provider.calls) == 1
    fixture.clock.pass_(seconds=wait - 2)
    assert await find(fixture, job) == FRESH


async def test_a_provider_that_cannot_be_reached_may_answer_later(fixture: StoreFixture) -> None:
    job = await done(fixture)
    change_account(fixture, "aiml", base_url=f"http://127.0.0.1:{free_port()}")
    assert await unavailable(fixture, job) == ("the provider does not answer now", 5.0)


async def test_an_answer_that_cannot_be_read_may_be_better_later(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await done(fixture)
    provider.answer({})
    assert (await unavailable(fixture, job))[0] == "the answer carries no url"


async def test_a_link_to_another_origin_is_not_followed(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await done(fixture, source="https://elsewhere.example/1.mp4")
    assert await refused(fixture, job) == "the provider's link is not one that can be followed"
    assert provider.calls == []


async def test_a_fresh_link_that_holds_a_secret_of_ours_is_not_handed_on(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await done(fixture)
    provider.answer({"url": f"{FRESH}?key={KEY}"})
    why = "the provider's link holds a secret of ours, so it is not handed on"
    assert await refused(fixture, job) == why


async def test_a_fresh_link_that_has_ended_already_is_gone(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await done(fixture, "getimg", url=LINK, expires_at=START, source=None)
    provider.answer(generation(f"{FRESH}?exp={int(START.timestamp())}"))
    assert await refused(fixture, job) == "the provider's link has ended"


async def test_a_busy_account_has_no_call_to_spare_until_one_ends(
    tmp_path: Path, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asset_links, "LOOK", 0.0)
    async with service_at(provider, tmp_path, {"aiml": {"max_in_flight": 1}}) as fixture:
        job = await done(fixture)
        fixture.lanes.acquire(Work.POLL, "aiml")
        assert await unavailable(fixture, job) == ("the account has no call to spare now", 1.0)
        assert provider.calls == []
        fixture.lanes.release("aiml", Work.POLL)
        fixture.clock.pass_(seconds=1)
        provider.answer({"url": FRESH})
        assert await find(fixture, job) == FRESH
        assert fixture.lanes.room(Work.POLL, "aiml") == 1


async def test_a_slot_that_becomes_free_during_the_wait_is_taken(
    tmp_path: Path, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, seize = asyncio.Event(), ConcurrencyLimits.seize

    def noting(limits: ConcurrencyLimits, work: Work, name: str) -> bool:
        looked.set()
        return seize(limits, work, name)

    monkeypatch.setattr(ConcurrencyLimits, "seize", noting)
    monkeypatch.setattr(asset_links, "LOOK", 0.0)
    async with service_at(provider, tmp_path, {"aiml": {"max_in_flight": 1}}) as fixture:
        job = await done(fixture)
        provider.answer({"url": FRESH})
        fixture.lanes.acquire(Work.POLL, "aiml")
        finding = asyncio.create_task(find(fixture, job))
        await looked.wait()
        fixture.lanes.release("aiml", Work.POLL)
        assert await finding == FRESH


async def test_the_end_of_a_call_wakes_the_polls_that_wait_for_its_slot(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job, woken = await done(fixture), WokenWorker(Work.POLL)
    fixture.services.core.dispatcher.register(woken)
    fixture.lanes.mark_waiting(Work.POLL, "aiml")
    provider.answer({}, 404)
    assert await refused(fixture, job) == NO_LONGER
    assert woken.woken == [None]
    assert fixture.lanes.room(Work.POLL, "aiml") == 16
