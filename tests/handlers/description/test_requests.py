"""Requests of a description: forms of bodies, places of values, URLs that the provider gave."""

import json
from collections.abc import Callable
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from handlers.contract import Account, AssetRef, Exchange, Handler, HttpRequest, JobRef, Submission
from handlers.description import loading, making
from handlers.description.requests import trusted
from handlers.errors import Garbled
from tests.handlers.captures import message
from tests.handlers.description.test_loading import GOOD

Change = Callable[[str], str]
KEY = "key-1"
BASE = "https://api.acme.example"
ACCOUNT = Account("mine", BASE, KEY)
POLLED = (
    'poll = { method = "POST", path = "/v1/tasks", query = { "a b" = "x y&{id}", as = "{name}" }, '
    """body = { query = "task(id: '{id}') { url }", of = ["{operation}"], kept = "{other}" } }"""
)
PNG = "data:image/png;base64,iVBORw0KGgo="


def handler(folder: Path, *changes: tuple[str, str]) -> Handler:
    """Return the handler of the good description with these changes."""
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "acme.toml").write_text(text)
    return making.handler(loading.load(folder / "acme.toml").told)


def submitted(made: Handler, given: dict[str, Any], url: str | None = None) -> HttpRequest:
    """Return the request of a submission."""
    return made.submit.build(Submission("job_1", "video", given, url, "s3cret" if url else None), ACCOUNT)


def test_a_body_is_json_with_the_callback_url_in_its_place(tmp_path: Path) -> None:
    made = handler(
        tmp_path,
        ('"body:/webhook"', '"body:/config/hooks/url"'),
        ('"header:x-secret"', '"body:/config/secret"'),
    )
    given = {"prompt": "a", "config": {"kept": 1}}
    request = submitted(made, given, "https://r.example/x")
    assert (request.method, request.path, request.origin) == ("POST", "/v1/video", None)
    assert json.loads(request.body) == {
        "prompt": "a",
        "config": {"kept": 1, "hooks": {"url": "https://r.example/x"}, "secret": "s3cret"},
    }
    assert given == {"prompt": "a", "config": {"kept": 1}}
    assert ("authorization", f"Bearer {KEY}") in request.headers


@pytest.mark.parametrize(
    ("place", "path", "header"),
    [
        ("query:hook", "/v1/video?hook=https%3A%2F%2Fr.example%2Fx%3Fa%3D1", None),
        ("header:x-hook", "/v1/video", "https://r.example/x?a=1"),
    ],
)
def test_a_callback_url_may_go_into_the_query_or_a_header(
    tmp_path: Path, place: str, path: str, header: str | None
) -> None:
    made = handler(tmp_path, ('"body:/webhook"', f'"{place}"'))
    request = submitted(made, {"prompt": "a"}, "https://r.example/x?a=1")
    assert request.path == path
    assert dict(request.headers).get("x-hook") == header
    assert json.loads(request.body) == {"prompt": "a"}


def test_a_list_and_a_put_and_fixed_fields(tmp_path: Path) -> None:
    made = handler(
        tmp_path,
        ("submit = {", 'submit = { method = "PUT", form = "list", always = { mode = "async" },'),
    )
    request = submitted(made, {"prompt": "a"})
    assert (request.method, json.loads(request.body)) == ("PUT", [{"prompt": "a", "mode": "async"}])


def test_a_form_repeats_a_field_for_each_item_of_a_list(tmp_path: Path) -> None:
    made = handler(tmp_path, ("submit = {", 'submit = { form = "form",'))
    request = submitted(made, {"prompt": "a & b", "tags": ["x", "y"], "more": {"n": 1}, "yes": True})
    assert ("content-type", "application/x-www-form-urlencoded") in request.headers
    assert parse_qsl(request.body.decode()) == [
        ("prompt", "a & b"),
        ("tags", "x"),
        ("tags", "y"),
        ("more", '{"n":1}'),
        ("yes", "true"),
    ]


def parts(request: HttpRequest) -> dict[str, EmailMessage]:
    """Return the parts of a multipart body by name, as the standard library reads them."""
    head = f"content-type: {dict(request.headers)['content-type']}\r\n\r\n".encode()
    whole = BytesParser(policy=HTTP).parsebytes(head + request.body)
    found = {}
    for part in whole.iter_parts():
        assert isinstance(part, EmailMessage)
        found[str(part.get_param("name", header="content-disposition"))] = part
    return found


def test_a_multipart_body_sends_data_urls_as_files(tmp_path: Path) -> None:
    made = handler(tmp_path, ("submit = {", 'submit = { form = "multipart",'))
    request = submitted(made, {"prompt": 'a "tide"\r\n--', "image": PNG, "odd": "data:;base64,%%%", "n": 5})
    found = parts(request)
    assert found["prompt"].get_payload(decode=True) == b'a "tide"\r\n--'
    assert found["image"].get_content_type() == "image/png"
    assert found["image"].get_payload(decode=True) == b"\x89PNG\r\n\x1a\n"
    assert found["image"].get_filename() == "image"
    assert found["odd"].get_payload(decode=True) == b"data:;base64,%%%"
    assert found["n"].get_payload(decode=True) == b"5"
    assert (
        submitted(made, {"prompt": 'a "tide"\r\n--', "image": PNG, "odd": "data:;base64,%%%", "n": 5})
        == request
    )


def test_a_key_may_stand_in_the_body_and_an_id_of_ours_be_a_uuid(tmp_path: Path) -> None:
    made = handler(
        tmp_path,
        ("submit = {", 'auth = "body:/key"\nsubmit = { idempotency = "body:/task", key_form = "uuid",'),
        ("poll = {", 'poll = { method = "POST",'),
    )
    one, again = submitted(made, {"prompt": "a"}), submitted(made, {"prompt": "a"})
    told = json.loads(one.body)
    assert (told["key"], len(told["task"])) == (KEY, 36)
    assert one.body == again.body
    assert "authorization" not in dict(one.headers)
    assert made.idempotent_submit
    other = made.submit.build(Submission("job_2", "video", {"prompt": "a"}), ACCOUNT)
    assert json.loads(other.body)["task"] != told["task"]


KEPT = (
    '"body:/webhook"',
    '"body:/webhook", kept = { at = "/poll_url", origins = ["https://*.acme.example"] }',
)
AT_KEPT = ('poll = { path = "/v1/tasks/{id}"', 'poll = { path = "/v1/tasks/{id}", kept = "/status"')


def polled(made: Handler, kept: str | None, account: Account = ACCOUNT) -> HttpRequest:
    """Return the request of a poll."""
    assert isinstance(made.poll, Exchange)
    return made.poll.build(JobRef("job_1", "t/1", "video", kept), account)


def test_a_url_of_the_answer_is_used_at_trusted_origins_only(tmp_path: Path) -> None:
    made = handler(tmp_path, KEPT, AT_KEPT)
    answer = b'{"id": "t/1", "status": "WAITING", "poll_url": "https://eu.acme.example/q/t1?r=1"}'
    assert made.submit.parse(message(200, answer)).kept_url == "https://eu.acme.example/q/t1?r=1"
    request = polled(made, "https://eu.acme.example/q/t1?r=1")
    assert (request.origin, request.path) == ("https://eu.acme.example", "/q/t1/status?r=1")
    request = polled(made, f"{BASE}/q/t1")
    assert (request.origin, request.path) == (None, "/q/t1/status")
    assert polled(made, None).path == "/v1/tasks/t%2F1"


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/q",
        "http://eu.acme.example/q",
        "https://acme.example.evil.example/q",
        "https://evilacme.example/q",
        "https://eu.acme.example:8443/q",
        "https://api.acme.example@evil.example/q",
        "https://eu.acme.example//evil.example/q",
    ],
)
def test_no_other_origin_gets_the_key(tmp_path: Path, url: str) -> None:
    made = handler(tmp_path, KEPT, AT_KEPT)
    with pytest.raises(Garbled, match="leaves its own origin"):
        polled(made, url)


def test_a_kept_url_below_a_base_url_with_a_path_stays_below_it(tmp_path: Path) -> None:
    made = handler(tmp_path, KEPT, AT_KEPT)
    account = Account("mine", "http://127.0.0.1:9090/acme", KEY)
    assert polled(made, "http://127.0.0.1:9090/acme/q/1", account).path == "/q/1/status"
    with pytest.raises(Garbled):
        polled(made, "http://127.0.0.1:9090/other/q/1", account)


@pytest.mark.parametrize(
    ("origin", "right"),
    [
        ("https://a.acme.example", True),
        ("https://a.b.acme.example", True),
        ("https://acme.example", False),
        ("https://one.example", True),
        ("https://two.example", False),
    ],
)
def test_a_star_stands_for_the_names_below_a_host(origin: str, right: bool) -> None:
    assert trusted(origin, ("https://*.acme.example", "https://one.example")) is right


def test_an_id_that_is_a_path_keeps_its_slashes_and_no_dots(tmp_path: Path) -> None:
    made = handler(tmp_path, ('"/v1/tasks/{id}"', '"/v1/{own}"'))
    assert isinstance(made.poll, Exchange)
    request = made.poll.build(JobRef("job_1", "models/m/operations/o?x", "video"), ACCOUNT)
    assert request.path == "/v1/models/m/operations/o%3Fx"
    for identity in ("../secrets", "a/../b", "./x"):
        with pytest.raises(Garbled):
            made.poll.build(JobRef("job_1", identity, "video"), ACCOUNT)


def test_a_poll_about_an_operation_that_is_gone_still_asks(tmp_path: Path) -> None:
    made = handler(tmp_path, ('"/v1/tasks/{id}"', '"/v1/tasks/{id}", query = { kind = "{name}" }'))
    assert isinstance(made.poll, Exchange)
    request = made.poll.build(JobRef("job_1", "t1", "gone"), ACCOUNT)
    assert urlsplit(request.path).query == "kind=gone"


RESOLVE = 'resolve = { path = "/v1/files", query = { f = "{source}" }, url = "/u", kind = "video" }\n'


def test_the_names_in_braces_are_filled_in_everywhere(tmp_path: Path) -> None:
    made = handler(
        tmp_path,
        (
            'poll = { path = "/v1/tasks/{id}" }',
            POLLED,
        ),
    )
    assert made.poll is not None
    request = made.poll.build(JobRef("job_1", "j/1", "video"), ACCOUNT)
    assert request.path == "/v1/tasks?a%20b=x%20y%26j%2F1&as=video"
    assert json.loads(request.body) == {
        "query": "task(id: 'j/1') { url }",
        "of": ["/v1/video"],
        "kept": "{other}",
    }


def test_a_source_becomes_a_link_by_a_call(tmp_path: Path) -> None:
    made = handler(
        tmp_path,
        ('{ at = "/url" }', '{ at = "/file", source = true }'),
        (
            "poll = {",
            RESOLVE + "poll = {",
        ),
    )
    assert isinstance(made.resolve, Exchange)
    asset = AssetRef(JobRef("job_1", "t1", "video"), 0, "a b/c")
    assert made.resolve.build(asset, ACCOUNT).path == "/v1/files?f=a%20b%2Fc"


def test_a_call_at_a_url_that_was_never_given_asks_nothing(tmp_path: Path) -> None:
    made = handler(
        tmp_path,
        ('"body:/webhook"', '"body:/webhook", kept = { at = "/poll_url" }'),
        ('{ path = "/v1/tasks/{id}" }', '{ kept = "" }'),
    )
    assert isinstance(made.poll, Exchange)
    with pytest.raises(Garbled, match="no URL"):
        made.poll.build(JobRef("job_1", "t1", "video"), ACCOUNT)


def test_a_field_is_sent_under_its_present_name(tmp_path: Path) -> None:
    made = handler(tmp_path, ('"body:/webhook"', '"body:/webhook", renamed = { model = "version" }'))
    assert json.loads(submitted(made, {"model": "m"}).body) == {"version": "m"}
    assert json.loads(submitted(made, {"model": "m", "version": "v"}).body) == {"model": "m", "version": "v"}


def test_the_fields_that_the_service_fills_in_are_known_inside_objects_too(tmp_path: Path) -> None:
    made = handler(
        tmp_path,
        ('"body:/webhook"', '"body:/cfg/hook", always = { n = 1 }, with_callback = { on = ["end"] }'),
        ('"header:x-secret"', '"body:/cfg/secret"'),
        ("example =", 'auth = "body:/cred/key"\nexample ='),
        ("poll = {", 'poll = { method = "POST",'),
    )
    assert {"cfg/hook", "cfg/secret", "cred/key", "n", "on"} <= made.reserved
