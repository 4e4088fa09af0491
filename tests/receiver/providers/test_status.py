"""The status of the accounts: their abilities, their blocks and their health in the last hour."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from handlers.contract import Phase
from handlers.errors import AccountRefused
from receiver.domain.model import Source
from receiver.domain.rendering import stamp
from receiver.providers.status import ProviderStatus
from tests.receiver.scripted_provider import ACCOUNTS, ScriptedProvider, change_handler, service_at
from tests.receiver.store_fixture import StoreFixture, told, word

UNUSED = {
    "submissions": 0,
    "callbacks": 0,
    "callbacks_refused": 0,
    "callbacks_missed": 0,
    "polls": 0,
    "error_rate": 0.0,
    "seconds_to_finish": {"p50": None, "p95": None},
}


def status(fixture: StoreFixture) -> ProviderStatus:
    """Return the status of the service's accounts."""
    return fixture.services.api.providers


async def health(fixture: StoreFixture, account: str) -> dict[str, Any]:
    """Return the health of an account."""
    [found] = await status(fixture).of([account])
    shown: dict[str, Any] = found["health"]
    return shown


async def finish(fixture: StoreFixture, seconds: float, phase: Phase = Phase.SUCCEEDED) -> None:
    """Let a job of APIFRAME end after some seconds."""
    job = await fixture.submitted("apiframe")
    fixture.clock.pass_(seconds=seconds)
    await fixture.hear(word(job, fixture, told(phase, job.provider_job_id), Source.CALLBACK))


async def test_an_account_is_shown_with_all_that_it_can_do(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    assert status(fixture).names == list(ACCOUNTS)
    assert await status(fixture).of(["aiml"]) == [
        {
            "object": "provider",
            "id": "aiml",
            "handler": "aiml",
            "on": True,
            "base_url": provider.url,
            "blocked": False,
            "blocked_at": None,
            "blocked_reason": None,
            "default_operation": "video",
            "example": {"model": "video-gen.pro-1.0", "content": [{"type": "text", "text": "a tide"}]},
            "operations": [{"name": "video", "kind": "video", "callback": False, "poll": True}],
            "can": {"callback": False, "poll": True, "cancel": False, "resolve": True},
            "limits": {"max_in_flight": 16, "rate_limit": None, "max_jobs": None},
            "in_flight": 0,
            "health": UNUSED,
        }
    ]


@pytest.mark.parametrize(
    ("account", "operation", "shown", "can"),
    [
        (
            "replicate",
            "prediction",
            {"kind": None, "callback": True, "poll": True},
            {"callback": True, "poll": True, "cancel": True, "resolve": False},
        ),
        (
            "apiframe",
            "describe",
            {"kind": None, "callback": True, "poll": True},
            {"callback": True, "poll": True, "cancel": False, "resolve": False},
        ),
        (
            "apiframe",
            "nano-banana",
            {"kind": "image", "callback": False, "poll": True},
            {"callback": True, "poll": True, "cancel": False, "resolve": False},
        ),
        (
            "getimg",
            "image",
            {"kind": "image", "callback": False, "poll": False},
            {"callback": False, "poll": True, "cancel": False, "resolve": True},
        ),
    ],
)
async def test_the_abilities_of_an_operation_are_those_of_its_provider_and_its_own(
    fixture: StoreFixture, account: str, operation: str, shown: dict[str, Any], can: dict[str, bool]
) -> None:
    [found] = await status(fixture).of([account])
    [one] = [one for one in found["operations"] if one["name"] == operation]
    assert (one, found["can"]) == ({"name": operation} | shown, can)


async def test_an_operation_can_do_no_more_than_its_provider(fixture: StoreFixture) -> None:
    change_handler(fixture, "apiframe", callback=None, poll=None)
    [found] = await status(fixture).of(["apiframe"])
    assert {(one["callback"], one["poll"]) for one in found["operations"]} == {(False, False)}
    assert found["can"] == dict.fromkeys(("callback", "poll", "cancel", "resolve"), False)


async def test_an_account_under_another_name_and_without_a_key_is_shown_off(
    tmp_path: Path, provider: ScriptedProvider
) -> None:
    async with service_at(provider, tmp_path, {"aiml": {"handler": "getimg", "api_key": None}}) as fixture:
        [found] = await status(fixture).of(["aiml"])
        assert (found["id"], found["handler"], found["on"]) == ("aiml", "getimg", False)


async def test_a_blocked_account_is_shown_with_the_reason(fixture: StoreFixture) -> None:
    job = fixture.job("aiml")
    await fixture.services.core.breaker.record_refusal(job, AccountRefused(), "no credit", submit=True)
    blocked, other = await status(fixture).of(["aiml", "minimax"])
    assert (blocked["id"], blocked["blocked"], blocked["blocked_reason"]) == ("aiml", True, "no credit")
    assert blocked["blocked_at"] == stamp(fixture.clock.at)
    assert (other["id"], other["blocked"], other["blocked_reason"]) == ("minimax", False, None)
    assert other["blocked_at"] is None


async def test_calls_under_way_are_those_of_every_lane_of_an_account(fixture: StoreFixture) -> None:
    for number, (work, lane, leased) in enumerate(
        [
            ("submit", "aiml", 1),
            ("poll", "aiml", 1),
            ("poll", "aiml~now", 1),
            ("poll", "aiml", 0),
            ("submit", "minimax", 1),
            ("deliver", "aiml", 1),
        ]
    ):
        await fixture.write(
            "insert into due values (:id, :work, :lane, 0, :leased, 0, 0, '')",
            id=f"job_{number}",
            work=work,
            lane=lane,
            leased=leased,
        )
    found = await status(fixture).of(["aiml", "minimax", "apiframe"])
    assert [one["in_flight"] for one in found] == [3, 1, 0]


async def test_the_counts_of_the_last_hour_are_shown_and_errors_as_a_share_of_the_calls(
    fixture: StoreFixture,
) -> None:
    counted = {"submissions": 2, "polls": 4, "errors": 2, "callbacks": 3, "refused": 5, "missed": 1}
    for name, count in counted.items():
        for _ in range(count):
            fixture.services.core.accounts.count("aiml", name)
    shown = {
        "submissions": 2,
        "polls": 4,
        "callbacks": 3,
        "callbacks_refused": 5,
        "callbacks_missed": 1,
        "error_rate": 0.3333,
    }
    assert await health(fixture, "aiml") == UNUSED | shown
    assert await health(fixture, "minimax") == UNUSED


@pytest.mark.parametrize(
    ("took", "median", "most"),
    [([4.0], 4.0, 4.0), ([8.0, 2.0], 8.0, 8.0), ([5.0, 1.0, 3.0, 2.0, 4.0], 3.0, 5.0)],
)
async def test_the_times_to_finish_are_those_of_jobs_that_succeeded(
    fixture: StoreFixture, took: list[float], median: float, most: float
) -> None:
    for seconds in took:
        await finish(fixture, seconds)
    await finish(fixture, 100.0, Phase.FAILED)
    assert (await health(fixture, "apiframe"))["seconds_to_finish"] == {"p50": median, "p95": most}


async def test_jobs_that_ended_more_than_an_hour_ago_count_no_more(fixture: StoreFixture) -> None:
    await finish(fixture, 4.0)
    fixture.clock.at += timedelta(hours=1)
    assert (await health(fixture, "apiframe"))["seconds_to_finish"] == {"p50": 4.0, "p95": 4.0}
    fixture.clock.pass_(milliseconds=1)
    assert (await health(fixture, "apiframe"))["seconds_to_finish"] == {"p50": None, "p95": None}
