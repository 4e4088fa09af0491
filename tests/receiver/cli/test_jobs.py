"""Tests of `ringback jobs`: the request and the output of each command."""

from pathlib import Path
from typing import Any

import pytest

from receiver.cli import jobs as module
from tests.receiver.scripted_service import ScriptedService, run

JOB = {"object": "job", "id": "job_1", "state": "queued", "provider": "aiml", "completed_at": None}
DONE = JOB | {"completed_at": "2026-11-21T10:00:00Z"}


def test_a_submission_carries_every_option(service: ScriptedService) -> None:
    service.answer(JOB)
    options = ["--operation", "video", "--metadata", "order=42", "--metadata", "a=b=c", "--deadline", "60"]
    urls = ["--callback-url", "http://h/x", "--callback-secret", "whsec_x", "--key", "k-1"]
    text = '{"model": "m", "prompt": "older"}'
    result = service.run("jobs", "submit", "aiml", text, "--prompt", "a tide", *options, *urls)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "id: job_1\nstate: queued\n" in result.stdout
    request = service.only_request()
    assert (request.method, request.path, request.headers["idempotency-key"]) == ("POST", "/v1/jobs", "k-1")
    assert request.body == {
        "provider": "aiml",
        "input": {"model": "m", "prompt": "a tide"},
        "operation": "video",
        "metadata": {"order": "42", "a": "b=c"},
        "callback_url": "http://h/x",
        "callback_secret": "whsec_x",
        "deadline_seconds": 60,
    }


def test_a_submission_without_options_leaves_everything_to_the_service(service: ScriptedService) -> None:
    service.answer(JOB)
    service.answer(JOB)
    assert service.run("jobs", "submit", "aiml", "--prompt", "").exit_code == 0
    assert service.run("jobs", "submit", "aiml", "-", stdin=b'{"a": 1}').exit_code == 0
    assert [one.body for one in service.requests] == [
        {"provider": "aiml", "input": {"prompt": ""}},
        {"provider": "aiml", "input": {"a": 1}},
    ]
    first, second = (one.headers["idempotency-key"] for one in service.requests)
    assert first.startswith("cli-")
    assert len(first) == len("cli-") + 32
    assert first != second


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "give INPUT (JSON, @file or -) or --prompt"),
        (("{}", "--key", "a b"), "--key must be at most 255 visible ASCII characters"),
        (("{}", "--key", "\u00e9"), "--key must be at most 255 visible ASCII characters"),
        (("{}", "--key", "a\tb"), "--key must be at most 255 visible ASCII characters"),
        (("{}", "--key", "k" * 256), "--key must be at most 255 visible ASCII characters"),
        (("{}", "--metadata", "a"), "Invalid value for '--metadata': write key=value"),
    ],
)
def test_a_mistake_in_a_submission_is_told_before_it_is_sent(
    service: ScriptedService, arguments: tuple[str, ...], says: str
) -> None:
    result = service.run("jobs", "submit", "aiml", *arguments)
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (2, f"Error: {says}")
    assert service.requests == []


def test_a_key_of_255_characters_is_taken(service: ScriptedService) -> None:
    service.answer(JOB)
    service.run("jobs", "submit", "aiml", "{}", "--key", "k" * 255)
    assert service.only_request().headers["idempotency-key"] == "k" * 255


def test_a_lost_answer_names_the_key_to_repeat_the_command_with(service: ScriptedService) -> None:
    service.answer(status=None)
    result = service.run("jobs", "submit", "aiml", "{}")
    key = service.only_request().headers["idempotency-key"]
    assert result.exit_code == 1
    assert result.stderr.endswith(f"; the job may exist: repeat with --key {key} to get the same one\n")


def test_a_service_that_does_not_listen_has_no_job(unserved: str) -> None:
    result = run("jobs", "submit", "aiml", "{}", RINGBACK_URL=unserved, RINGBACK_API_KEY="rb_x")
    says = f"Error: no service answers at {unserved}; set RINGBACK_URL or start `ringback serve`\n"
    assert (result.exit_code, result.stderr) == (1, says)


def test_a_job_cannot_be_watched_where_nothing_listens(unserved: str) -> None:
    result = run("jobs", "watch", "job_1", RINGBACK_URL=unserved, RINGBACK_API_KEY="rb_x")
    says = f"Error: no service answers at {unserved}; set RINGBACK_URL or start `ringback serve`\n"
    assert (result.exit_code, result.stderr) == (1, says)


@pytest.mark.parametrize("command", [("events", "tail"), ("jobs", "list"), ("jobs", "show", "job_1")])
def test_another_service_is_told_as_such(service: ScriptedService, command: tuple[str, ...]) -> None:
    service.answer(b"")
    result = service.run(*command)
    assert result.exit_code == 1
    assert "is not Ringback; set RINGBACK_URL" in result.stderr


def test_an_interrupted_submission_names_the_key(
    service: ScriptedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: Any, **_request: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "call", interrupted)
    result = service.run("jobs", "submit", "aiml", "{}", "--key", "k-1")
    assert result.exit_code == 130
    assert result.stderr == "the job may exist: repeat with --key k-1 to get the same one\n"


def test_a_submission_that_waits_ends_with_the_final_job(service: ScriptedService) -> None:
    service.answer(JOB | {"callback_secret": "whsec_x"})
    service.answer(DONE | {"state": "succeeded"})
    result = service.run("jobs", "submit", "aiml", "{}", "--wait")
    assert result.exit_code == 0
    # The secret comes first: an interruption of the wait would lose it.
    assert result.stderr.splitlines() == ["callback_secret: whsec_x", "job job_1", "queued", "succeeded"]
    assert "state: succeeded\n" in result.stdout
    assert "callback_secret: whsec_x\n" in result.stdout


@pytest.mark.parametrize(
    ("final", "says"),
    [
        ({"state": "failed", "error": {"code": "e", "message": "it broke"}}, "failed: e: it broke"),
        ({"state": "failed", "error": {"code": "e", "message": None}}, "failed: e"),
        ({"state": "canceled", "error": None}, "canceled"),
    ],
)
def test_a_wait_fails_unless_the_job_succeeds(
    service: ScriptedService, final: dict[str, Any], says: str
) -> None:
    service.answer(JOB)
    service.answer(DONE | final)
    result = service.run("jobs", "submit", "aiml", "{}", "--wait", "-q")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "job_1\n", f"Error: the job is {says}\n")


def test_a_list_is_asked_with_its_filters(service: ScriptedService) -> None:
    service.answer({"data": [JOB | {"waiting": {"reason": "throttled"}}], "next_cursor": None})
    filters = ["--state", "queued", "--provider", "aiml", "--provider-job-id", "p-1", "--metadata", "a=1"]
    result = service.run("jobs", "list", *filters, "--cursor", "c", "--limit", "5")
    header, row = (line.split("\t") for line in result.stdout.splitlines())
    found = dict(zip(header, row, strict=True))
    assert (found["id"], found["state"], found["waiting.reason"]) == ("job_1", "queued", "throttled")
    assert (service.only_request().method, service.only_request().path) == ("GET", "/v1/jobs")
    assert service.only_request().query == {
        "state": "queued",
        "provider": "aiml",
        "provider_job_id": "p-1",
        "metadata.a": "1",
        "cursor": "c",
        "limit": "5",
    }


def test_a_list_without_filters_asks_for_20_rows(service: ScriptedService) -> None:
    service.answer({"data": []})
    service.run("jobs", "list")
    assert service.only_request().query == {"limit": "20"}


@pytest.mark.parametrize("rows", ["0", "201", "x"])
def test_a_list_has_1_to_200_rows(service: ScriptedService, rows: str) -> None:
    result = service.run("jobs", "list", "--limit", rows)
    assert result.exit_code == 2
    assert f"'{rows}' must be a whole number from 1 to 200" in result.stderr
    assert service.requests == []


def test_a_job_is_shown_after_a_wait(service: ScriptedService) -> None:
    service.answer(JOB)
    result = service.run("jobs", "show", "job_1", "--wait", "30.5")
    assert (service.only_request().path, service.only_request().query) == ("/v1/jobs/job_1", {"wait": "30.5"})
    assert "state: queued\n" in result.stdout
    service.answer(JOB)
    service.run("jobs", "show", "job_1")
    assert service.requests[-1].query == {"wait": "0.0"}


ENTRIES = [
    {"at": "a", "kind": "callback", "outcome": "applied", "verdict": None},
    {"at": "b", "kind": "submit", "outcome": "noted", "verdict": "lost"},
    {"at": "c", "kind": "poll", "outcome": "noted", "verdict": "other"},
    {"at": "d", "kind": "event"},
]


def test_a_timeline_tells_in_words_what_became_of_an_entry(service: ScriptedService) -> None:
    service.answer({"data": ENTRIES, "next_cursor": "c-2"})
    result = service.run("jobs", "timeline", "job_1", "--limit", "4", "--cursor", "c-1")
    header, *rows = (line.split("\t") for line in result.stdout.splitlines())
    assert [row[header.index("outcome")] for row in rows] == ["applied", "answer lost", "noted", ""]
    assert result.stderr == "there are more: add --cursor c-2\n"
    assert service.only_request().path == "/v1/jobs/job_1/timeline"
    assert service.only_request().query == {"limit": "4", "cursor": "c-1"}


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        ("lost", "answer lost"),
        ("restore", "will retry"),
        ("transient", "will retry"),
        ("miss", "not found"),
        ("reject", "rejected"),
    ],
)
def test_each_verdict_has_its_words(service: ScriptedService, verdict: str, text: str) -> None:
    service.answer({"data": [{"at": "a", "outcome": "noted", "verdict": verdict}]})
    header, row = (line.split("\t") for line in service.run("jobs", "timeline", "job_1").stdout.splitlines())
    assert row[header.index("outcome")] == text


def test_a_timeline_in_json_is_that_of_the_api(service: ScriptedService) -> None:
    service.answer({"data": ENTRIES})
    result = service.run("jobs", "timeline", "job_1", "--json")
    assert '"outcome": "noted"' in result.stdout
    assert "answer lost" not in result.stdout


def test_a_token_of_a_job_is_printed(service: ScriptedService) -> None:
    made = {"object": "job_token", "job": "job_1", "token": "rbj_1", "expires_at": "t"}
    for options, body, out in (
        ((), {}, "job: job_1\ntoken: rbj_1\nexpires_at: t\n"),
        (("--seconds", "60", "-q"), {"seconds": 60}, "rbj_1\n"),
    ):
        service.requests.clear()
        service.answer(made)
        assert service.run("jobs", "token", "job_1", *options).stdout == out
        request = service.only_request()
        assert (request.method, request.path) == ("POST", "/v1/jobs/job_1/token")
        assert request.body == body


def test_a_job_is_canceled(service: ScriptedService) -> None:
    service.answer(DONE | {"state": "canceled"})
    result = service.run("jobs", "cancel", "job_1")
    assert (service.only_request().method, service.only_request().path) == ("POST", "/v1/jobs/job_1/cancel")
    assert "state: canceled\n" in result.stdout


@pytest.mark.parametrize(
    ("options", "body"),
    [
        (("--provider-job-id", "p-1"), {"provider_job_id": "p-1"}),
        (("--resubmit",), {"resubmit": True}),
        (("--fail",), {"fail": True}),
    ],
)
def test_a_job_is_resolved_in_one_way(
    service: ScriptedService, options: tuple[str, ...], body: dict[str, Any]
) -> None:
    service.answer(JOB)
    assert service.run("jobs", "resolve", "job_1", *options).exit_code == 0
    request = service.only_request()
    assert (request.method, request.path, request.body) == ("POST", "/v1/jobs/job_1/resolve", body)


@pytest.mark.parametrize("options", [(), ("--fail", "--resubmit"), ("--provider-job-id", "")])
def test_a_job_is_not_resolved_in_none_or_in_two_ways(
    service: ScriptedService, options: tuple[str, ...]
) -> None:
    result = service.run("jobs", "resolve", "job_1", *options)
    says = "Error: give exactly one of --provider-job-id, --resubmit and --fail"
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (2, says)
    assert service.requests == []


def test_a_job_is_erased(service: ScriptedService) -> None:
    service.answer(b"", 204)
    result = service.run("jobs", "delete", "job_1")
    assert (result.exit_code, result.stdout) == (0, "erased job_1\n")
    assert (service.only_request().method, service.only_request().path) == ("DELETE", "/v1/jobs/job_1")


def test_input_may_lie_in_a_file(service: ScriptedService, alone: Path) -> None:
    (alone / "body.json").write_text('{"prompt": "a tide"}')
    service.answer(JOB)
    assert service.run("jobs", "submit", "aiml", "@body.json").exit_code == 0
    assert service.only_request().body["input"] == {"prompt": "a tide"}
