"""Tests of waiting for a job: its lines, its end, and the trouble in between."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from rich.status import Status

from receiver.cli import follow as module
from receiver.cli.client import Away
from receiver.cli.follow import follow, waits_for
from receiver.cli.output import FORM
from tests.receiver.scripted_service import KEY, ScriptedService
from tests.receiver.terminal_screen import on_terminal


@pytest.mark.parametrize(
    ("job", "trouble", "says"),
    [
        ({"progress": 40.0}, "", ""),
        ({"waiting": None}, "", ""),
        ({"waiting": {"reason": "throttled", "detail": "slow down."}}, "", "slow down"),
        (
            {"waiting": {"reason": "unreachable", "detail": "connect: refused"}},
            "",
            "connect: refused; `ringback doctor` looks at the way there",
        ),
        (
            {"waiting": {"reason": "account_blocked", "detail": "wrong key"}},
            "",
            "wrong key; `ringback doctor` asks the provider; a corrected key counts after a restart",
        ),
        ({"waiting": {"reason": "account_blocked"}}, "no service answers", "no service answers"),
    ],
)
def test_a_job_that_waits_tells_why_and_the_next_step(job: dict[str, Any], trouble: str, says: str) -> None:
    assert waits_for(job, trouble) == says


def job(state: str, **others: Any) -> dict[str, Any]:
    """Return a job in a state; `succeeded` is final."""
    at = "2026-11-21T10:00:00Z" if state == "succeeded" else None
    return {"object": "job", "id": "job_1", "state": state, "completed_at": at, "progress": None, **others}


def followed(first: dict[str, Any], **meta: Any) -> dict[str, Any]:
    """Return the job in which waiting ends, as a command with these options waits."""
    context = click.Context(click.Command("submit"))
    context.meta.update(meta)
    with context:
        return follow(first)


@pytest.fixture(autouse=True)
def _named(alone: Path, service: ScriptedService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGBACK_URL", service.url)
    monkeypatch.setenv("RINGBACK_API_KEY", KEY)
    monkeypatch.setattr(module, "PAUSE", 0.0)


def test_a_job_is_read_until_it_is_final_with_a_line_for_each_change(
    service: ScriptedService, capsys: pytest.CaptureFixture[str]
) -> None:
    throttled = {"waiting": {"reason": "throttled", "detail": "slow down."}}
    for state, others in (("pending", throttled), ("queued", {}), ("queued", {"progress": 4.0})):
        service.answer(job(state, **others))
    service.answer(job("succeeded", assets=[]))
    assert followed(job("pending")) == job("succeeded", assets=[])
    assert capsys.readouterr() == ("", "job job_1\npending\npending (slow down)\nqueued\nsucceeded\n")
    assert {request.path for request in service.requests} == {"/v1/jobs/job_1"}
    assert [request.query for request in service.requests] == [{"wait": "5"}] * 4


def test_a_job_that_is_final_already_is_read_once_without_waiting(service: ScriptedService) -> None:
    service.answer(job("succeeded", error=None))
    assert followed(job("succeeded")) == job("succeeded", error=None)
    assert service.only_request().query == {"wait": "0"}


def test_a_quiet_wait_prints_nothing(service: ScriptedService, capsys: pytest.CaptureFixture[str]) -> None:
    service.answer(job("succeeded"))
    followed(job("pending"), **{FORM: "quiet"})
    assert capsys.readouterr() == ("", "")


def test_the_service_may_be_away_for_a_while(
    service: ScriptedService, capsys: pytest.CaptureFixture[str]
) -> None:
    service.answer({"code": "unavailable", "detail": "it restarts"}, 503)
    service.answer({"code": "unavailable", "detail": "it restarts"}, 503)
    service.answer(job("succeeded"))
    assert followed(job("queued"))["state"] == "succeeded"
    assert capsys.readouterr().err.splitlines() == [
        "job job_1",
        "queued",
        "queued (unavailable: it restarts)",
        "succeeded",
    ]


def test_a_service_that_stays_away_ends_the_wait_and_not_the_job(
    service: ScriptedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", -1.0)
    service.answer({"code": "unavailable", "detail": "it restarts"}, 503)
    with pytest.raises(click.ClickException) as raised:
        followed(job("queued"))
    goes_on = "the job goes on: ringback jobs show job_1"
    assert raised.value.message == f"unavailable: it restarts; {goes_on}"


def test_a_refusal_ends_the_wait_at_once(service: ScriptedService) -> None:
    service.answer({"code": "not-found", "detail": "no such job"}, 404)
    with pytest.raises(click.ClickException) as raised:
        followed(job("queued"))
    assert raised.value.message.startswith("not-found: there is no job job_1; ")
    assert raised.value.message.endswith("; the job goes on: ringback jobs show job_1")
    assert not isinstance(raised.value, Away)


def test_an_interruption_ends_with_its_code_and_names_the_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_arguments: Any, **_request: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "call", interrupted)
    with pytest.raises(click.exceptions.Exit) as raised:
        followed(job("queued"))
    assert raised.value.exit_code == 130
    assert capsys.readouterr().err.splitlines()[-1] == "the job goes on: ringback jobs show job_1"


def test_a_terminal_shows_the_job_and_each_reason_once(service: ScriptedService) -> None:
    waiting = {"waiting": {"reason": "unreachable", "detail": "connect: refused\x1b[2J"}}
    service.answer(job("pending", **waiting))
    service.answer(job("pending", **waiting))
    service.answer(job("running", progress=40.0))
    service.answer(job("succeeded"))
    with on_terminal(120) as screen:
        assert followed(job("pending"))["state"] == "succeeded"
    reason = "pending: connect: refused\\u001b[2J; `ringback doctor` looks at the way there"
    assert [line for line in screen.err.lines if line.strip()] == ["job job_1", reason]
    assert screen.out.lines == []
    assert {request.query["wait"] for request in service.requests} == {"1"}


def test_a_terminal_shows_state_percent_and_time_on_one_line(
    monkeypatch: pytest.MonkeyPatch, service: ScriptedService
) -> None:
    texts: list[str] = []
    monkeypatch.setattr(Status, "update", lambda _self, text: texts.append(str(text)))
    moments = iter([0.0, 61.5, 125.0, 125.0])
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    with on_terminal(), module._alive() as tell:
        tell(job("pending"), "")
        tell(job("running", progress=12.5), "")
    assert texts == ["pending 01:01", "running 12.5 % 02:05"]
