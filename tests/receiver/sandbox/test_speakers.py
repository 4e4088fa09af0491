"""Tests of the wire formats of the simulated providers: the handlers read them as they read the real ones."""

from datetime import UTC, datetime
from typing import Any

import pytest

import handlers
from handlers import json
from handlers.captures import ACCOUNT_SECRET
from handlers.contract import Kind, Phase, Proof
from handlers.errors import AccountRefused, BadSignature, ProviderError, Rejected, Throttled
from receiver.sandbox.described import SORRY
from receiver.sandbox.providers import SPEAKERS
from receiver.sandbox.speakers import SPOKEN, WORDS
from tests.handlers.captures import status_fields
from tests.receiver.sandbox.simulated import (
    API_KEY,
    KEYS,
    callback,
    handler_of,
    made,
    message,
    path_of,
    read,
)

CALLED_BACK = [name for name, speaker in SPEAKERS.items() if speaker.says is not None]
CAUSES: dict[str, type[ProviderError]] = {
    "key": AccountRefused,
    "blocked": AccountRefused,
    "refused": Rejected,
    "throttled": Throttled,
    "unknown": Rejected,
}
PHASES = {
    "queued": Phase.QUEUED,
    "running": Phase.RUNNING,
    "succeeded": Phase.SUCCEEDED,
    "failed": Phase.FAILED,
}
OPEN = dict.fromkeys(
    ("bfl", "getimg", "ideogram", "leonardo", "modelslab", "runware", "veo-gemini", "xai", "zhipu"),
    Phase.RUNNING,
)
"""The phase of all open jobs, where the provider has one word for them."""
TEXTS = {"assemblyai", "openai", "fal"}
"""The providers with polls that bring no file: texts, or the result in a second request."""
SILENT = ("ideogram", "running")
"""The provider that sends no callback of progress: it has no words."""
CHECKED = {"assemblyai", "kie", "vidu"}
"""The providers with callbacks that are checked although their proof does not cover the body."""
polled_too = pytest.mark.parametrize("name", [name for name in SPEAKERS if handler_of(name).poll is not None])
named = pytest.mark.parametrize("name", SPEAKERS)
called_back = pytest.mark.parametrize("name", CALLED_BACK)


def polled(name: str, phase: str, words: str = "", **others: Any) -> dict[str, Any]:
    """Return the body of an answer to a poll."""
    return SPEAKERS[name].polled(made(name, words, **others), phase, 40)


def test_every_handler_has_a_simulated_provider_and_no_other_name_has_one() -> None:
    assert SPEAKERS.keys() == handlers.ALL.keys()
    assert all(speaker.name == name for name, speaker in SPEAKERS.items())


def test_exactly_the_providers_whose_handler_reads_callbacks_send_them() -> None:
    assert set(CALLED_BACK) == {name for name in handlers.ALL if handler_of(name).callback is not None}


def test_the_settings_of_the_accounts_are_options_of_their_handlers() -> None:
    assert handler_of("replicate").callback_secrets == (ACCOUNT_SECRET,)


@named
def test_the_answer_to_a_submission_names_the_job(name: str) -> None:
    job = made(name)
    body = json.write(SPEAKERS[name].submitted(job))
    update = handler_of(name).submit.parse(message(body, SPEAKERS[name].accepted_status))
    # An acceptance without a word is a job in the queue.
    expected = OPEN.get(name, Phase.QUEUED) if status_fields(name, "submit") else Phase.QUEUED
    assert (update.provider_job_id, update.phase) == (job.id, expected)


@polled_too
@pytest.mark.parametrize("phase", PHASES)
def test_the_answer_to_a_poll_is_read_in_its_phase(name: str, phase: str) -> None:
    update = read(name, polled(name, phase))
    expected = OPEN.get(name, PHASES[phase]) if phase in {"queued", "running"} else PHASES[phase]
    assert (update.provider_job_id, update.phase) == (made(name).id, expected)
    assert bool(update.assets) is (phase == "succeeded" and name not in TEXTS)
    if phase == "failed":
        assert update.failure is not None
        assert update.failure.message == SORRY


@polled_too
def test_a_success_may_be_empty(name: str) -> None:
    update = read(name, polled(name, "succeeded", "empty"))
    assert (update.phase, update.assets) == (Phase.SUCCEEDED, ())


@named
@pytest.mark.parametrize("cause", CAUSES)
def test_each_refusal_has_its_consequence(name: str, cause: str) -> None:
    refusal, handler = SPEAKERS[name].refusals[cause], handler_of(name)
    answer = message(json.write(refusal.body), refusal.status)
    exchange = (handler.poll if cause == "unknown" else None) or handler.submit
    assert exchange is not None
    with pytest.raises(CAUSES[cause]):
        exchange.parse(answer)


@called_back
@pytest.mark.parametrize("phase", ["running", "succeeded", "failed"])
def test_a_callback_is_proved_and_read_in_its_phase(name: str, phase: str) -> None:
    reader, job = handler_of(name).callback, made(name)
    assert reader is not None
    if (name, phase) == SILENT:
        says = SPEAKERS[name].says
        assert says is not None
        assert says(job, phase, 40, False) is None
        return
    received = callback(name, job, phase, 100 if phase == "succeeded" else 40)
    assert reader.verify(received, KEYS) is (Proof.PROVED if reader.provable else Proof.UNPROVED)
    update = reader.parse(received)
    expected = OPEN.get(name, PHASES[phase]) if phase == "running" else PHASES[phase]
    assert (update.provider_job_id, update.phase) == (job.id, expected)


@called_back
def test_a_forged_callback_is_refused_wherever_callbacks_are_proved(name: str) -> None:
    reader = handler_of(name).callback
    assert reader is not None
    received = callback(name, made(name), "failed", 100, forged=True)
    if reader.provable or name in CHECKED:
        with pytest.raises(BadSignature):
            reader.verify(received, KEYS)
    else:
        assert reader.verify(received, KEYS) is Proof.UNPROVED


@pytest.mark.parametrize(
    ("operation", "kinds"),
    [
        ("imagine", [Kind.IMAGE] * 5),
        ("runway-imagine", [Kind.VIDEO]),
        ("suno-imagine", [Kind.AUDIO] * 2),
        ("describe", []),
    ],
)
def test_apiframe_makes_the_files_of_each_operation(operation: str, kinds: list[Kind]) -> None:
    body = polled("apiframe", "succeeded", operation=path_of("apiframe", operation))
    update = read("apiframe", body)
    assert [asset.kind for asset in update.assets] == kinds
    assert update.phase is Phase.SUCCEEDED
    assert ("content" in body) is (operation == "describe")


def test_apiframe_ends_an_imagine_without_a_status_as_documented() -> None:
    for operation, says in (("imagine", False), ("runway-imagine", True)):
        job = made("apiframe", operation=path_of("apiframe", operation))
        body = json.read_object(callback("apiframe", job, "succeeded", 100).body)
        assert ("status" in body) is ("percentage" in body) is says
    running = json.read_object(
        callback("apiframe", made("apiframe", operation="imagine"), "running", 40).body
    )
    assert (running["status"], running["percentage"]) == ("processing", "40")


@pytest.mark.parametrize(
    ("operation", "kind", "ending"),
    [
        ("videos-generate", Kind.VIDEO, "mp4"),
        ("images-generate", Kind.IMAGE, "png"),
        ("music-generate", Kind.AUDIO, "mp3"),
    ],
)
def test_apiframe_v2_makes_the_file_of_each_operation(operation: str, kind: Kind, ending: str) -> None:
    body = polled("apiframe-v2", "succeeded", operation=path_of("apiframe-v2", operation))
    [asset] = read("apiframe-v2", body).assets
    assert (asset.kind, asset.url) == (
        kind,
        f"http://127.0.0.1:9090/apiframe-v2/files/apiframe-v2-1/0.{ending}",
    )


@pytest.mark.parametrize(
    ("name", "operation", "kind", "ending"),
    [
        ("imagineo", "generate-video", Kind.VIDEO, "mp4"),
        ("imagineo", "generate-image", Kind.IMAGE, "png"),
        ("getimg", "video", Kind.VIDEO, "mp4"),
        ("getimg", "image", Kind.IMAGE, "png"),
    ],
)
def test_images_and_videos_differ(name: str, operation: str, kind: Kind, ending: str) -> None:
    body = polled(name, "succeeded", operation=path_of(name, operation))
    [asset] = read(name, body).assets
    assert asset.kind is kind
    assert f"/files/{name}-1/0.{ending}" in str(asset.url)


def test_getimg_names_the_end_of_the_link_and_of_the_file() -> None:
    [asset] = read("getimg", polled("getimg", "succeeded", operation=path_of("getimg", "video"))).assets
    now = datetime.now(UTC)
    assert asset.expires_at is not None
    assert asset.deletes_at is not None
    assert (asset.expires_at - now).total_seconds() == pytest.approx(3600, abs=60)
    assert (asset.deletes_at - now).total_seconds() == pytest.approx(2 * 86400, abs=60)
    assert (asset.width, asset.height, asset.duration) == (1280, 720, 5.0)


def test_links_that_need_the_key_are_no_urls() -> None:
    for name, source in (("aiml", "/v1/media/videos/orgs%2F64%2Fvideos%2Faiml-1.mp4"), ("minimax", "9123")):
        [asset] = read(name, polled(name, "succeeded")).assets
        assert (asset.url, asset.source) == (None, source)


def test_minimax_has_other_words_in_its_callbacks() -> None:
    body = json.read_object(callback("minimax", made("minimax"), "succeeded", 100).body)
    assert (body["status"], polled("minimax", "succeeded")["status"]) == ("success", "Success")
    assert "video_width" not in body


def test_replicate_can_cancel() -> None:
    body = polled("replicate", "canceled")
    assert read("replicate", body).phase is Phase.CANCELED
    assert body["urls"]["cancel"].endswith("/replicate/v1/predictions/replicate-1/cancel")


def test_the_signature_of_apiframe_v2_is_made_with_the_key_of_the_submission() -> None:
    reader = handler_of("apiframe-v2").callback
    assert reader is not None
    other = made("apiframe-v2", key=f"{API_KEY}-2")
    with pytest.raises(BadSignature):
        reader.verify(callback("apiframe-v2", other, "running", 40), KEYS)


@pytest.mark.parametrize(
    ("phase", "event"), [("running", "progress"), ("succeeded", "completed"), ("failed", "failed")]
)
def test_a_callback_of_apiframe_v2_names_its_event_in_the_body_and_in_a_header(
    phase: str, event: str
) -> None:
    received = callback("apiframe-v2", made("apiframe-v2"), phase, 40)
    body = json.read_object(received.body)
    assert (body["event"], body["jobId"]) == (event, "apiframe-v2-1")
    assert received.every("x-webhook-event") == [event]
    assert "id" not in body


def test_every_provider_has_a_word_for_each_phase() -> None:
    assert WORDS.keys() == SPOKEN.keys() - {"gately"}
    assert all(words.keys() >= PHASES.keys() for words in WORDS.values())
