"""Tests of the HTTP client of the commands: its request, its answer, and an error in one line."""

import json
from pathlib import Path
from typing import Any

import click
import pytest

from receiver.cli.client import Away, call, find_service, path
from receiver.cli.service import Service
from tests.receiver.scripted_service import KEY, ScriptedService

NOT_OURS = "what answers at {url} is not Ringback"


@pytest.fixture(autouse=True)
def _named(alone: Path, service: ScriptedService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGBACK_URL", service.url)
    monkeypatch.setenv("RINGBACK_API_KEY", KEY)


def test_a_path_quotes_its_parts() -> None:
    assert path("jobs", "a/b c", "timeline") == "/v1/jobs/a%2Fb%20c/timeline"


def test_a_call_sends_the_key_the_query_and_a_json_body(service: ScriptedService) -> None:
    service.answer({"object": "job", "id": "job_1"})
    result = call(
        "POST", "/v1/jobs", body={"a": "\u6f6e"}, params={"wait": 5}, headers={"idempotency-key": "x"}
    )
    assert result == {"object": "job", "id": "job_1"}
    request = service.only_request()
    assert (request.method, request.path, request.query) == ("POST", "/v1/jobs", {"wait": "5"})
    assert request.body == {"a": "\u6f6e"}
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == "x"


def test_a_call_without_a_body_sends_no_content_type(service: ScriptedService) -> None:
    service.answer({"data": []})
    assert call("GET", "/v1/jobs") == {"data": []}
    assert "content-type" not in service.only_request().headers


def test_an_empty_answer_is_none(service: ScriptedService) -> None:
    service.answer(b"", 204)
    assert call("DELETE", "/v1/jobs/job_1") is None


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b'"text"', b'{"hello": 1}', b"[" * 100_000],
    ids=["html", "list", "text", "other", "deep"],
)
def test_an_answer_that_is_not_ringbacks_is_refused(service: ScriptedService, body: bytes) -> None:
    service.answer(body)
    with pytest.raises(click.ClickException) as raised:
        call("GET", "/v1/jobs")
    assert raised.value.message == f"{NOT_OURS.format(url=service.url)}; set RINGBACK_URL"
    assert not isinstance(raised.value, Away)


OURS: list[dict[str, Any]] = [
    {"object": "job"},
    {"secret": "x"},
    {"matches": False},
    {"data": []},
    {"data": [{"id": "job_1"}]},
    {"type": "job.succeeded", "data": {}},
]


@pytest.mark.parametrize("answer", OURS, ids=str)
def test_an_answer_of_ringback_has_one_of_a_few_forms(
    service: ScriptedService, answer: dict[str, Any]
) -> None:
    service.answer(answer)
    assert call("GET", "/v1/jobs") == answer


@pytest.mark.parametrize(
    "answer",
    [{"data": 5}, {"data": None}, {"data": [1]}, {"data": {}}, {"object": 1}, {"data": "x"}],
    ids=str,
)
def test_an_answer_of_another_form_is_that_of_another_service(
    service: ScriptedService, answer: dict[str, Any]
) -> None:
    service.answer(answer)
    with pytest.raises(click.ClickException, match=NOT_OURS.format(url=service.url)):
        call("GET", "/v1/jobs")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_error_that_may_pass_is_away_and_may_have_been_carried_out(
    service: ScriptedService, status: int
) -> None:
    service.answer({"code": "unavailable", "detail": "the database does not take writes"}, status)
    with pytest.raises(Away) as raised:
        call("POST", "/v1/jobs", body={})
    assert (raised.value.message, raised.value.sent) == (
        "unavailable: the database does not take writes",
        True,
    )


@pytest.mark.parametrize("status", [502, 503, 504])
def test_an_error_of_a_proxy_names_the_proxy(service: ScriptedService, status: int) -> None:
    service.answer(b"<html>", status)
    with pytest.raises(Away) as raised:
        call("GET", "/v1/jobs")
    expected = f"a proxy at {service.url} answers {status} for the service; start it, or correct RINGBACK_URL"
    assert raised.value.message == expected


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"code": "x"}', b'{"code": "x", "errors": [1]}', b"[" * 100_000]
)
def test_an_error_that_is_not_ringbacks_is_told_with_its_status(
    service: ScriptedService, body: bytes
) -> None:
    service.answer(body, 404)
    with pytest.raises(click.ClickException) as raised:
        call("GET", "/v1/jobs/job_1")
    assert raised.value.message == f"{NOT_OURS.format(url=service.url)} (it said 404); set RINGBACK_URL"


@pytest.mark.parametrize(
    ("errors", "says"),
    [
        (None, "the request is not valid"),
        ([], "the request is not valid"),
        ([{"pointer": "/input", "name": "", "detail": "is needed"}], "/input: is needed"),
        ([{"pointer": "", "name": "limit", "detail": "is too large"}], "limit: is too large"),
        ([{"pointer": "", "name": "", "detail": "must be an object"}], "must be an object"),
        (
            [{"pointer": "/a", "name": "", "detail": "x"}, {"pointer": "/b", "name": "", "detail": "y"}],
            "/a: x; /b: y",
        ),
    ],
)
def test_a_refusal_names_each_field(service: ScriptedService, errors: Any, says: str) -> None:
    service.answer({"code": "validation", "detail": "the request is not valid", "errors": errors}, 422)
    with pytest.raises(click.ClickException) as raised:
        call("POST", "/v1/jobs", body={})
    assert raised.value.message == f"validation: {says}"


@pytest.mark.parametrize(
    ("where", "detail", "says"),
    [
        (
            "/v1/jobs/job_0",
            "no such job; GET /v1/jobs lists those that are there",
            "there is no job job_0; `ringback jobs list` shows those that are there",
        ),
        (
            "/v1/deliveries/dlv_0/retry",
            "no such delivery; GET /v1/deliveries lists those that are there",
            "there is no delivery dlv_0; `ringback deliveries list` shows those that are there",
        ),
        ("/v1/jobs", "no such job; GET /v1/jobs", "no such job; GET /v1/jobs"),
        ("/v1/jobs/job_0/x", "there is no such path", "there is no such path"),
    ],
)
def test_an_unknown_id_is_told_with_the_command_that_lists_all(
    service: ScriptedService, where: str, detail: str, says: str
) -> None:
    service.answer({"code": "not-found", "detail": detail}, 404)
    with pytest.raises(click.ClickException) as raised:
        call("GET", where)
    assert raised.value.message == f"not-found: {says}"


def test_a_refused_key_is_told_with_the_variables(service: ScriptedService) -> None:
    service.answer({"code": "unauthorized", "detail": "a valid API key is needed"}, 401)
    with pytest.raises(click.ClickException) as raised:
        call("GET", "/v1/jobs")
    assert raised.value.message == (
        f"unauthorized: the service at {service.url} does not take this API key; "
        "set RINGBACK_API_KEY or RINGBACK_API_KEY_FILE to one of its keys"
    )


def test_a_service_that_does_not_listen_has_received_nothing(
    unserved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RINGBACK_URL", unserved)
    with pytest.raises(Away) as raised:
        call("GET", "/v1/jobs")
    expected = f"no service answers at {unserved}; set RINGBACK_URL or start `ringback serve`"
    assert (raised.value.message, raised.value.sent) == (expected, False)


def test_a_service_that_hangs_up_may_have_carried_the_call_out(service: ScriptedService) -> None:
    service.answer(status=None)
    with pytest.raises(Away) as raised:
        call("POST", "/v1/jobs", body={})
    assert raised.value.message.startswith(f"no service answers at {service.url}; ")
    assert raised.value.sent
    assert service.only_request().path == "/v1/jobs"


def test_a_plain_service_under_https_is_told_with_the_fix(
    service: ScriptedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    secure = service.url.replace("http:", "https:")
    monkeypatch.setenv("RINGBACK_URL", secure)
    with pytest.raises(click.ClickException) as raised:
        call("GET", "/v1/jobs")
    assert raised.value.message.startswith(f"no TLS that we trust is spoken at {secure} (")
    assert raised.value.message.endswith("; correct RINGBACK_URL, or write http://")


def test_a_url_with_a_port_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGBACK_URL", "http://127.0.0.1:eighty")
    with pytest.raises(click.UsageError, match=r"^RINGBACK_URL: http://127\.0\.0\.1:eighty is not a URL$"):
        call("GET", "/v1/jobs")


@pytest.mark.parametrize(
    "url",
    ["http://xn--", "http://a..b", "http://127.0.0.1:99999", "http://a b", f"http://{'a' * 70}.example"],
)
def test_a_host_or_a_port_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("RINGBACK_URL", url)
    with pytest.raises(click.UsageError, match=f"^RINGBACK_URL: {url} is not a URL$"):
        call("GET", "/v1/jobs")


def test_an_argument_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(click.UsageError, match=r"^an argument holds bytes that are not UTF-8$"):
        call("GET", "/v1/jobs", params={"cursor": "\udcff"})


def test_the_proxies_of_the_environment_are_not_used(
    service: ScriptedService, unserved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", unserved)
    monkeypatch.setenv("ALL_PROXY", unserved)
    service.answer({"data": []})
    assert call("GET", "/v1/jobs") == {"data": []}


def test_the_service_of_the_environment_is_found_without_settings(
    service: ScriptedService, alone: Path
) -> None:
    (alone / "ringback.toml").write_text("this is no TOML")
    assert find_service() == Service(service.url, KEY)
    assert KEY not in repr(find_service())


def test_without_a_url_the_service_of_this_machine_is_found(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RINGBACK_URL")
    (alone / "ringback.toml").write_text("port = 8123")
    assert find_service() == Service("http://127.0.0.1:8123", KEY)


def test_without_a_key_the_key_of_this_machine_is_taken(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RINGBACK_API_KEY")
    monkeypatch.setenv("RINGBACK_URL", "http://localhost:8080")
    (alone / "ringback-api-key").write_text(f"{KEY}\n")
    assert find_service() == Service("http://localhost:8080", KEY)


def test_without_any_key_the_variables_are_named(
    service: ScriptedService, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RINGBACK_API_KEY")
    with pytest.raises(click.UsageError) as raised:
        find_service()
    assert raised.value.message == (
        f"set RINGBACK_API_KEY or RINGBACK_API_KEY_FILE to a key of the service at {service.url}; "
        "`ringback serve` and `ringback dev` tell theirs when they start"
    )


@pytest.mark.parametrize("key", ["rb_ a", "rb_\u00e9", "rb_\x7f"])
def test_a_key_that_fits_into_no_header_is_refused(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("RINGBACK_API_KEY", key)
    with pytest.raises(click.UsageError, match=r"^RINGBACK_API_KEY must be plain ASCII without blanks$"):
        find_service()


def test_settings_that_cannot_be_read_are_told_with_the_variables(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RINGBACK_API_KEY")
    (alone / "ringback.toml").write_text("port = 'x'")
    with pytest.raises(click.UsageError) as raised:
        find_service()
    assert raised.value.message == (
        "port: must be a whole number (in ringback.toml); or set RINGBACK_URL and RINGBACK_API_KEY, "
        "then no settings are read"
    )


def test_text_outside_of_ascii_is_sent_as_json_escapes(service: ScriptedService) -> None:
    service.answer({"object": "job"})
    call("POST", "/v1/jobs", body={"prompt": "\ud83c"})
    assert json.dumps(service.only_request().body) == '{"prompt": "\\ud83c"}'
