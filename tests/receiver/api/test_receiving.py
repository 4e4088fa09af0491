"""The text "Receiving events": its figures are the code's, it is the document, and its receivers work."""

import os
import re
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from handlers import json
from handlers.contract import FailureCode
from receiver.api.event_examples import EXAMPLES, JOB_ERRORS, MEANINGS
from receiver.api.receiving import TITLE, event_texts, in_words, listed, receiving
from receiver.api.requests import EndpointRequest
from receiver.config.settings import EndpointSettings, Settings
from receiver.domain.event_types import JOB_FINAL, LITERAL_ONLY, SHOWN
from receiver.domain.filter_operators import OPERATORS
from receiver.domain.filter_reader import GROUPS
from receiver.domain.model import Format
from receiver.domain.retry_policy import SLOW_DOWN, AttemptOutcome, Decision, decide
from tests.documents import SECRET, delivery, samples, section
from tests.node import HERE

TEXT = receiving(Settings())
DOCUMENT = HERE / "docs" / "receiving-events.md"
NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)


def rows(part: str) -> dict[str, list[str]]:
    """Return the rows of the tables in a part of the text, by their first cells."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if "|" in line
    ]
    return {row[0]: row[1:] for row in cells}


def test_the_document_is_the_text_with_the_default_settings() -> None:
    if os.environ.get("RINGBACK_WRITE_GOLDEN"):
        DOCUMENT.write_text(TEXT, "utf-8")
    assert DOCUMENT.read_text("utf-8") == TEXT, "RINGBACK_WRITE_GOLDEN=1 writes it"


def test_no_place_is_left_open_and_no_line_is_long() -> None:
    assert TEXT.startswith(f"# {TITLE}\n")
    assert "{{" not in TEXT
    assert TEXT.endswith("```\n")
    assert [line for line in TEXT.splitlines() if len(line) > 130 and not line.startswith("|")] == []


@pytest.mark.parametrize("name", SHOWN)
def test_every_type_is_told_with_its_meaning_its_patterns_and_its_example(name: str) -> None:
    starred = name not in LITERAL_ONLY
    assert rows(section(TEXT, "## What arrives"))[f"`{name}`"] == [MEANINGS[name], "yes" if starred else "no"]
    part = section(TEXT, f"### {name}")
    only = "" if starred else " It goes only to endpoints that name it in full."
    assert part.strip().split("\n")[0] == MEANINGS[name] + only
    [example] = samples(part, "json")
    assert json.read(example.encode()) == EXAMPLES[name]


def test_the_types_and_the_codes_are_those_of_the_code() -> None:
    assert [one.name for one in event_texts(Settings())] == list(SHOWN)
    assert len(set(MEANINGS.values())) == len(SHOWN)
    arrives = section(TEXT, "## What arrives")
    assert f"Exactly one of {listed([f'`{name}`' for name in JOB_FINAL])} is created" in " ".join(
        arrives.split()
    )
    assert set(JOB_ERRORS) == set(FailureCode)
    for code in FailureCode:
        assert rows(arrives)[f"`{code.value}`"] == [JOB_ERRORS[code]]


def test_everything_that_an_endpoint_can_choose_is_told() -> None:
    part = section(TEXT, "## What an endpoint can choose")
    assert all(f"`{name}`" in part for name in (*get_args(Format), *OPERATORS, *GROUPS))
    named = {field for cell in rows(part) for field in re.findall(r"`([a-z_]+)`", cell)}
    others = {"url", "description", "secret", "state", "id", "template"}
    assert set(EndpointRequest.model_fields) - others <= named
    assert set(EndpointSettings.model_fields) - others <= named


def answered(status: int | None, control: str | None = None, hint: timedelta | None = None) -> Decision:
    """Return the consequences of an answer to a first attempt."""
    schedule = Settings().retry_schedule
    return decide(status, control, hint, tries=1, now=NOW, schedule=schedule, jitter=0.0)


def test_the_answers_do_as_the_text_says() -> None:
    table = rows(section(TEXT, "## What your answer does"))
    assert list(table)[2:] == [
        "2xx within 15 seconds",
        "410",
        "429, 502, 503, 504",
        "any other status, 3xx included (never followed), or none",
        "not 2xx, with the header `webhook-delivery: abort-message`",
        "any, with the header `webhook-delivery: disable`",
    ]
    for status in (200, 204, 299):
        assert answered(status).outcome is AttemptOutcome.DELIVERED
    gone = answered(410)
    assert (gone.outcome, gone.disable is not None) == (AttemptOutcome.CANCELED, True)
    for slow in (429, 502, 503, 504):
        assert answered(slow).outcome is AttemptOutcome.RETRY
        assert answered(slow).hold is not None
    for other in (None, 301, 400, 401, 404, 500, 501):
        assert answered(other).outcome is AttemptOutcome.RETRY
        assert answered(other).hold is None
    ended = answered(500, "abort-message")
    assert (ended.outcome, ended.disable) == (AttemptOutcome.CANCELED, None)
    assert answered(200, "abort-message").outcome is AttemptOutcome.DELIVERED
    for status in (200, 400, 503):
        assert answered(status, "disable").disable is not None
    for status in (400, 503):
        assert answered(status, hint=timedelta(hours=2)).next_at == NOW + timedelta(hours=2)
        assert answered(status, hint=timedelta(hours=99)).next_at == NOW + timedelta(hours=24)
    assert "(seconds or a date, at most 24 hours)" in TEXT
    assert frozenset({429, 502, 503, 504}) == SLOW_DOWN


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {},
            "again after 5 seconds, 5 minutes, 30 minutes, 2 hours, 5 hours, 10 hours, 14 hours, 20 hours",
        ),
        (
            {},
            "20 hours and 24 hours, each counted from the attempt before, a little later at random and never",
        ),
        (
            {},
            "never earlier. After 10 attempts it is `exhausted`.",
        ),
        ({"retry_schedule": (0.5,)}, "tried again after 0.5 seconds, each"),
        ({"retry_schedule": (0.5,)}, "After 2 attempts it is `exhausted`."),
        ({"retry_schedule": ()}, "A failed delivery is not tried again: it is `exhausted` at once."),
        (
            {},
            "5 days of nothing but failure; `endpoint.failing` tells your other endpoints after 60 hours.",
        ),
        ({"endpoint_disable_after": 0}, "one delivery through at a time. It is never disabled for that."),
        ({}, "10 failures in a row"),
        ({"delivery_timeout": 90}, "An answer has 90 seconds."),
        ({"delivery_timeout": 60}, "| 2xx within 1 minute | delivered |"),
        ({"retention_days": 1}, "Events are kept for 24 hours;"),
        ({"retention_days": 1}, "`SET key 1 NX EX 86400`"),
        ({}, "the old one signs as well for 24 hours,"),
    ],
)
def test_the_times_are_those_of_the_settings(settings: dict[str, Any], sentence: str) -> None:
    assert sentence in " ".join(receiving(Settings(**settings)).split())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.05, "0.05 seconds"),
        (1, "1 second"),
        (15.0, "15 seconds"),
        (60, "1 minute"),
        (90, "90 seconds"),
        (5400, "90 minutes"),
        (3600, "1 hour"),
        (86400, "24 hours"),
        (172800, "2 days"),
        (216000, "60 hours"),
        (31535999, "31,535,999 seconds"),
        (0, "0 seconds"),
    ],
)
def test_times_are_told_in_the_largest_unit_that_fits(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_words_are_listed() -> None:
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"], "or")] == ["a", "a and b", "a, b or c"]


async def test_the_starlette_receiver_takes_each_event_once_and_refuses_a_forged_one() -> None:
    later: list[str] = []
    seen: list[str] = []

    def first_time(event: str) -> bool:
        seen.append(event)
        return seen.count(event) == 1

    space: dict[str, Any] = {
        "SECRET": SECRET,
        "first_time": first_time,
        "later": lambda event: later.append(event["type"]),
    }
    starlette, *others = samples(section(TEXT, "## Receivers"), "python")
    exec(starlette, space)  # noqa: S102  # the text's sample
    app = Starlette(routes=[Route("/hooks", space["hooks"], methods=["POST"])])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://receiver") as client:
        for event in (EXAMPLES["job.succeeded"], EXAMPLES["job.succeeded"]):
            body, headers = delivery(event)
            assert (await client.post("/hooks", content=body, headers=headers)).status_code == 204
        assert (await client.post("/hooks", content=body + b" ", headers=headers)).status_code == 400
    assert later == ["job.succeeded"]
    assert len(others) == 2
    for other in others:
        compile(other, "receiver", "exec")
