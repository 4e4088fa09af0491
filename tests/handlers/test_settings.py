"""The settings of an account that shape its handler."""

import base64
from typing import Any

import pytest
from pydantic import ValidationError

from handlers import ALL
from handlers.contract import Account, AssetRef, Handler, JobRef, Keys, Proof, Submission
from handlers.errors import BadSignature
from tests.handlers.captures import ACCOUNT_SECRET, API_KEY, JOB_SECRET, exchanges, message

JOB = JobRef("job_1", "id/1", "video")


def configured(provider: str, **settings: Any) -> Handler:
    """Return the handler of a provider under these settings."""
    listed = ALL[provider]
    handler: Handler = listed.configure(listed.options.model_validate(settings))
    return handler


def account(handler: Handler) -> Account:
    """Return an account at the provider."""
    return Account("mine", handler.base_url or "https://gateway.example", API_KEY)


def paths(handler: Handler) -> dict[str, str]:
    """Return the paths of a handler's requests, by function."""
    mine, doors = account(handler), exchanges(handler)
    found = {"submit": handler.submit.build(Submission("job_1", handler.default_operation, {}), mine).path}
    if "poll" in doors:
        found["poll"] = doors["poll"].build(JOB, mine).path
    if "resolve" in doors:
        found["resolve"] = doors["resolve"].build(AssetRef(JOB, 0, "f 1"), mine).path
    return found


PATHS: list[tuple[str, dict[str, str], dict[str, str]]] = [
    (
        "gately",
        {},
        {
            "submit": "/v1/video_generation",
            "poll": "/v1/query/video_generation?task_id=id%2F1",
            "resolve": "/v1/files/retrieve?file_id=f%201",
        },
    ),
    (
        "gately",
        {
            "submit_path": "/minimaxi/v1/video_generation",
            "poll_path": "/minimaxi/v1/query/video_generation",
            "retrieve_path": "/minimaxi/v1/files/retrieve?group=7",
        },
        {
            "submit": "/minimaxi/v1/video_generation",
            "poll": "/minimaxi/v1/query/video_generation?task_id=id%2F1",
            "resolve": "/minimaxi/v1/files/retrieve?group=7&file_id=f%201",
        },
    ),
    ("imagineo", {}, {"submit": "/v1/generate-video", "poll": "/v1/generations/id%2F1"}),
    (
        "imagineo",
        {"submit_path": "/v1/videos", "poll_path": "/v1/videos/{run_id}/state?full=1"},
        {"submit": "/v1/videos", "poll": "/v1/videos/id%2F1/state?full=1"},
    ),
]


@pytest.mark.parametrize(("provider", "settings", "expected"), PATHS)
def test_the_paths_of_a_provider_that_does_not_publish_them(
    provider: str, settings: dict[str, str], expected: dict[str, str]
) -> None:
    assert paths(configured(provider, **settings)) == expected


@pytest.mark.parametrize(("scheme", "sent"), [("raw", API_KEY), ("bearer", f"Bearer {API_KEY}")])
def test_how_apiframe_is_given_its_key(scheme: str, sent: str) -> None:
    handler = configured("apiframe", auth_scheme=scheme)
    mine, doors = account(handler), exchanges(handler)
    for request in (
        doors["submit"].build(Submission("job_1", "imagine", {}), mine),
        doors["poll"].build(JOB, mine),
    ):
        assert ("authorization", sent) in request.headers


def imagineo_proof(header: str, value: str, *proof_headers: str) -> Proof:
    """Return ImagineoAI's proof for a callback with one header, where `proof_headers` carry the proof."""
    callback = configured("imagineo", proof_headers=proof_headers).callback
    assert callback is not None
    return callback.verify(message(200, b"{}", (header, value)), Keys(job=(JOB_SECRET,)))


def test_which_headers_prove_a_callback_of_imagineo() -> None:
    assert imagineo_proof("x-webhook-secret", JOB_SECRET, "X-Webhook-Secret") is Proof.PROVED
    assert imagineo_proof("x-webhook-secret", "wrong", "x-other") is Proof.UNPROVED
    assert imagineo_proof("x-webhook-secret", JOB_SECRET) is Proof.UNPROVED
    for wrong in ("x-other", "X-Other"):
        with pytest.raises(BadSignature):
            imagineo_proof("x-other", JOB_SECRET, wrong)


def test_the_signing_secret_of_a_replicate_account() -> None:
    handler = configured("replicate", webhook_secret=ACCOUNT_SECRET)
    assert handler.callback_secrets == (ACCOUNT_SECRET,)
    assert configured("replicate").callback_secrets == ()
    options = ALL["replicate"].options.model_validate({"webhook_secret": ACCOUNT_SECRET})
    assert ACCOUNT_SECRET not in f"{handler!r}{options!r}{options!s}"


def test_a_signing_secret_of_24_bytes_is_taken() -> None:
    shortest = "whsec_" + base64.b64encode(b"x" * 24).decode()
    assert configured("replicate", webhook_secret=shortest).callback_secrets == (shortest,)


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("apiframe", {"auth_scheme": "basic"}),
    ("apiframe", {"auth_scheme": None}),
    ("imagineo", {"poll_path": "/v1/generations"}),
    ("imagineo", {"poll_path": "https://evil.test/{run_id}"}),
    ("imagineo", {"submit_path": "v1/generate"}),
    ("imagineo", {"submit_path": "/v1/ä"}),
    ("imagineo", {"submit_path": "/v1/a b"}),
    ("imagineo", {"submit_path": "/v1\n"}),
    ("imagineo", {"proof_headers": "x-webhook-secret"}),
    ("gately", {"submit_path": ""}),
    ("gately", {"poll_path": "@evil.test"}),
    ("gately", {"retrieve_path": "https://evil.test/"}),
    ("replicate", {"webhook_secret": "evil.test"}),
    ("replicate", {"webhook_secret": "whsec_AA=="}),
    ("replicate", {"webhook_secret": "whsec_" + base64.b64encode(b"x" * 23).decode()}),
    *((provider, {"no_such_setting": 1}) for provider in ALL),
]


@pytest.mark.parametrize(("provider", "settings"), REFUSED)
def test_a_setting_that_cannot_be_meant_is_refused(provider: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        configured(provider, **settings)
    assert "evil.test" not in str(caught.value)


@pytest.mark.parametrize("provider", ALL)
def test_every_setting_is_described(provider: str) -> None:
    for field in ALL[provider].options.model_fields.values():
        assert field.description


@pytest.mark.parametrize("provider", ALL)
def test_a_provider_keeps_its_name(provider: str) -> None:
    handler = configured(provider)
    assert handler.name == ALL[provider].name == provider
    assert handler.default_operation in handler.operations
    assert not handler.base_url.endswith("/")
    assert handler.base_url == "" or handler.base_url.startswith("https://")
