"""Tests of `ringback providers`: its request and its output."""

import json

from tests.receiver.scripted_service import ScriptedService

ACCOUNT = {
    "id": "mine",
    "on": True,
    "blocked": False,
    "handler": "minimax",
    "default_operation": "video",
    "operations": [{"name": "video", "kind": "video"}, {"name": "text2video", "kind": "video"}],
}


def test_accounts_are_listed_with_the_names_of_their_operations(service: ScriptedService) -> None:
    service.answer({"data": [ACCOUNT], "next_cursor": "c-2"})
    result = service.run("providers", "--cursor", "c-1", "--limit", "1")
    header, row = (line.split("\t") for line in result.stdout.splitlines())
    found = dict(zip(header, row, strict=True))
    assert (found["id"], found["on"], found["blocked"]) == ("mine", "true", "false")
    assert found["operations"] == "video, text2video"
    assert result.stderr == "there are more: add --cursor c-2\n"
    assert (service.only_request().method, service.only_request().path) == ("GET", "/v1/providers")
    assert service.only_request().query == {"cursor": "c-1", "limit": "1"}


def test_accounts_in_json_are_those_of_the_api(service: ScriptedService) -> None:
    service.answer({"data": [ACCOUNT]})
    assert json.loads(service.run("providers", "--json").stdout) == {"data": [ACCOUNT]}


def test_quiet_accounts_are_their_names(service: ScriptedService) -> None:
    service.answer({"data": [ACCOUNT]})
    assert service.run("providers", "-q").stdout == "mine\n"
