"""Tests of `ringback keys`: the request and the output of each command."""

from tests.receiver.scripted_service import ScriptedService

KEY = {"object": "api_key", "id": "key_1", "name": "ci", "scopes": ["jobs:read", "jobs:write"]}


def test_a_key_is_created_and_printed_once(service: ScriptedService) -> None:
    service.answer(KEY | {"key": "rb_x"}, 201)
    scopes = ["--scope", "jobs:read", "--scope", "jobs:write"]
    result = service.run("keys", "create", "ci", *scopes, "--expires-at", "2027-01-31T00:00:00Z")
    assert result.stdout == "id: key_1\nname: ci\nscopes: jobs:read, jobs:write\nkey: rb_x\n"
    assert (service.only_request().method, service.only_request().path) == ("POST", "/v1/keys")
    assert service.only_request().body == {
        "name": "ci",
        "scopes": ["jobs:read", "jobs:write"],
        "expires_at": "2027-01-31T00:00:00Z",
    }


def test_a_key_that_does_not_end_sends_no_end(service: ScriptedService) -> None:
    service.answer(KEY | {"key": "rb_x"}, 201)
    result = service.run("keys", "create", "ci", "--scope", "admin", "-q")
    assert (result.stdout, result.stderr) == ("key_1\n", "key: rb_x\n")
    assert service.only_request().body == {"name": "ci", "scopes": ["admin"]}


def test_a_key_needs_a_scope_that_exists(service: ScriptedService) -> None:
    result = service.run("keys", "create", "ci")
    assert result.exit_code == 2
    assert "Missing option '--scope'" in result.stderr
    result = service.run("keys", "create", "ci", "--scope", "job:read")
    assert result.exit_code == 2
    assert "; did you mean jobs:read?" in result.stderr
    assert service.requests == []


def test_keys_are_listed_without_their_text(service: ScriptedService) -> None:
    service.answer({"data": [KEY | {"created_at": "t", "expires_at": None}]})
    result = service.run("keys", "list", "--cursor", "c-1")
    assert result.stdout.splitlines() == [
        "id\tname\tscopes\tcreated_at\texpires_at",
        "key_1\tci\tjobs:read, jobs:write\tt\t",
    ]
    assert (service.only_request().path, service.only_request().query) == (
        "/v1/keys",
        {"cursor": "c-1", "limit": "20"},
    )


def test_a_key_is_revoked(service: ScriptedService) -> None:
    service.answer(b"", 204)
    assert service.run("keys", "delete", "key_1").stdout == "revoked key_1\n"
    assert (service.only_request().method, service.only_request().path) == ("DELETE", "/v1/keys/key_1")
