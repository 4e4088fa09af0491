"""Settings of an account: their types, their defaults, and their places in a description."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from handlers.contract import Account, Handler, JobRef, Submission
from handlers.description import loading, making
from handlers.description.loading import BadDescription
from tests.handlers.description.test_loading import GOOD

SETTINGS = """
[settings.poll_path]
kind = "path"
keeps = "task"
default = "/v1/tasks/{task}"
sets = "/poll/path"
say = "where a task is asked about"
[settings.scheme]
kind = "choice"
choices = ["raw", "bearer"]
default = "bearer"
sets = "/auth"
say = "the form of the key"
[settings.proof_header]
kind = "header"
default = "x-signature"
sets = "/callback/proof/header"
say = "the header of the proof"
[settings.secret]
kind = "secret"
say = "the account's secret"
"""


def configured(folder: Path, **settings: Any) -> Handler:
    """Return the handler under these settings."""
    path = folder / "acme.toml"
    path.write_text(GOOD + SETTINGS)
    provider = making.provider(path)
    handler: Handler = provider.configure(provider.options.model_validate(settings))
    return handler


def asked(handler: Handler) -> tuple[str, dict[str, str]]:
    """Return the path and the headers of a poll."""
    assert handler.poll is not None
    request = handler.poll.build(JobRef("job_1", "t1", "video"), Account("mine", "https://x.example", "k"))
    return request.path, dict(request.headers)


def test_a_setting_that_is_not_given_changes_nothing(tmp_path: Path) -> None:
    path, headers = asked(configured(tmp_path))
    assert (path, headers["authorization"], "x-region" in headers) == ("/v1/tasks/t1", "Bearer k", False)


def test_a_setting_sets_its_places(tmp_path: Path) -> None:
    made = configured(
        tmp_path, poll_path="/eu/tasks/{task}", scheme="raw", region="eu", proof_header="x-other", secret="s"
    )
    path, headers = asked(made)
    assert (path, headers["authorization"], headers["x-region"]) == ("/eu/tasks/t1", "k", "eu")
    assert made.callback_secrets == ("s",)
    # The same file makes another account's handler without these settings.
    assert asked(configured(tmp_path))[0] == "/v1/tasks/t1"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"poll_path": "/v1/tasks"}, "the path needs {task}"),
        ({"poll_path": "https://evil.example/{task}"}, "must be a path"),
        ({"scheme": "basic"}, "'raw' or 'bearer'"),
        ({"proof_header": "X Signature"}, "String should match pattern"),
        ({"other": 1}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_setting_is_refused(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        configured(tmp_path, **settings)
    assert said in str(caught.value)


def test_a_secret_is_in_no_repr(tmp_path: Path) -> None:
    made = configured(tmp_path, secret="very-secret")
    assert "very-secret" not in repr(made)


def test_a_setting_that_does_not_fit_is_told_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "acme.toml"
    path.write_text(GOOD.replace('"/headers/x-region"', '"/base_url"'))
    provider = making.provider(path)
    with pytest.raises(BadDescription, match="with this setting: base_url"):
        provider.configure(provider.options.model_validate({"region": "nowhere"}))


def test_every_other_name_is_an_operation_where_a_star_says_so(tmp_path: Path) -> None:
    path = tmp_path / "acme.toml"
    path.write_text(
        GOOD.replace(
            'path = "/v1/{name}" },', 'path = "/v1/{name}" },\n  { names = "*", path = "/m/{name}" },'
        )
    )
    provider = making.provider(path)
    operations = provider.configure(provider.options()).operations
    assert (list(operations), len(operations)) == (["video", "image"], 2)
    assert operations["video"].path == "/v1/video"
    assert operations["owner/model-1.5"].path == "/m/owner/model-1.5"
    assert "a/b:run" in operations
    for name in ("", "a b", "../x", "a//b", "/a", "a/", "a?b", "ä", "x" * 201, "a/./b", "{id}"):
        assert name not in operations
        assert operations.get(name) is None


def test_an_ending_chooses_among_the_open_operations(tmp_path: Path) -> None:
    path = tmp_path / "acme.toml"
    open_groups = (
        'path = "/v1/{name}" },\n  { names = "*", path = "/m/{name}", kind = "image" },\n'
        '  { names = "*/trainings", path = "/t/{name}", asked = "/trainings", form = "multipart" },'
    )
    path.write_text(GOOD.replace('path = "/v1/{name}" },', open_groups))
    made = making.handler(loading.load(path).told)
    training = made.operations["a/b/trainings"]
    assert (training.path, training.asked, training.kind) == ("/t/a/b/trainings", "/trainings", None)
    assert (made.operations["a/b"].path, made.operations["trainings"].path) == ("/m/a/b", "/m/trainings")
    request = made.submit.build(
        Submission("job_1", "a/b/trainings", {}), Account("m", "https://x.example", "k")
    )
    assert dict(request.headers)["content-type"].startswith("multipart/form-data")
    path.write_text(
        GOOD.replace(
            'path = "/v1/{name}" },', 'path = "/v1/{name}" },\n  { names = "*/x", path = "/{name}" },'
        )
    )
    narrow = making.handler(loading.load(path).told).operations
    assert ("a/x" in narrow, "a/y" in narrow) == (True, False)


def test_a_job_s_id_is_given_to_a_provider_that_takes_one(tmp_path: Path) -> None:
    made = configured(tmp_path)
    request = made.submit.build(
        Submission("job_1", "video", {"prompt": "a"}), Account("m", "https://x.example", "k")
    )
    assert b"job_1" not in request.body
    assert not made.idempotent_submit


def test_a_default_is_the_value_where_none_is_set(tmp_path: Path) -> None:
    zone = '[settings.zone]\nsets = "/headers/x-zone"\ndefault = "eu"\nsay = "the zone"\n'
    text = GOOD.replace("example =", 'headers = { x-zone = "us" }\nexample =', 1) + zone
    (tmp_path / "acme.toml").write_text(text)
    provider = making.provider(tmp_path / "acme.toml")
    for given, sent in (({}, "eu"), ({"zone": "eu"}, "eu"), ({"zone": "us"}, "us"), ({"zone": "ap"}, "ap")):
        handler = provider.configure(provider.options.model_validate(given))
        assert asked(handler)[1]["x-zone"] == sent


@pytest.mark.parametrize(
    "place", ["/operations/7/path", "/operations/x/path", "/operations/*/path", "/auth/x", "/poll/pth"]
)
def test_a_place_that_is_not_there_is_told(tmp_path: Path, place: str) -> None:
    odd = f'[settings.odd]\nsets = "{place}"\nsay = "odd"\n'
    (tmp_path / "acme.toml").write_text(GOOD.replace("example =", 'auth = "raw"\nexample =', 1) + odd)
    with pytest.raises(BadDescription, match=re.escape(f"sets: the description has no {place!r}")):
        loading.load(tmp_path / "acme.toml")


def test_a_place_in_a_list_that_stands_there_as_one_text_is_told(tmp_path: Path) -> None:
    odd = '[settings.odd]\nsets = "/fields/id/0"\nsay = "odd"\n'
    (tmp_path / "acme.toml").write_text(GOOD + odd)
    provider = making.provider(tmp_path / "acme.toml")
    with pytest.raises(
        BadDescription, match=r"settings\.odd\.sets: the description has no place '/fields/id/0'"
    ):
        provider.configure(provider.options.model_validate({"odd": "/v"}))
