"""Tests of `ringback jobs download` against a scripted service."""

import json
from pathlib import Path
from typing import Any

import pytest

from receiver.cli import download as module
from tests.receiver.scripted_service import ScriptedService

FILE = bytes(range(256)) * 8
ASSET = {"index": 0, "kind": "video", "url": "https://hooks.example/assets/t.o.k?x"}
JOB: dict[str, Any] = {"object": "job", "id": "job_1", "assets": [ASSET]}
NAME = {"content-disposition": 'inline; filename="job_1-0-video.mp4"'}
REST = {"content-range": f"bytes 100-{len(FILE) - 1}/{len(FILE)}"}


def test_a_file_is_saved_under_the_name_of_the_service(service: ScriptedService, alone: Path) -> None:
    service.answer(JOB)
    service.answer(FILE, 200, **NAME)
    result = service.run("jobs", "download", "job_1")
    assert (result.exit_code, result.stdout) == (0, "saved job_1-0-video.mp4\n")
    assert (alone / "job_1-0-video.mp4").read_bytes() == FILE
    assert [one.name for one in alone.iterdir()] == ["job_1-0-video.mp4"]
    asked = service.requests[1]
    # The service is asked at its own address, without the API key, which a link does not need.
    assert (asked.method, asked.path, asked.query) == ("GET", "/assets/t.o.k", {"download": "1"})
    assert "authorization" not in asked.headers
    assert "range" not in asked.headers


@pytest.mark.parametrize("name", ["../x.mp4", ".ssh", "a/b", "a\\b", "x y", ""])
def test_a_name_that_leads_elsewhere_is_not_used(service: ScriptedService, alone: Path, name: str) -> None:
    service.answer(JOB)
    service.answer(FILE, 200, **{"content-disposition": f'inline; filename="{name}"'})
    assert service.run("jobs", "download", "job_1").stdout == "saved job_1-0\n"
    assert [one.name for one in alone.iterdir()] == ["job_1-0"]


def test_an_interrupted_download_goes_on_where_it_stopped(service: ScriptedService, alone: Path) -> None:
    (alone / "tide.mp4.part").write_bytes(FILE[:100])
    service.answer(JOB)
    service.answer(FILE[100:], 206, **REST)
    result = service.run("jobs", "download", "job_1", "--output", "tide.mp4")
    assert (result.exit_code, result.stdout) == (0, "saved tide.mp4\n")
    assert (alone / "tide.mp4").read_bytes() == FILE
    assert service.requests[1].headers["range"] == "bytes=100-"


def test_a_file_that_changed_meanwhile_is_begun_anew(service: ScriptedService, alone: Path) -> None:
    whole = {"etag": '"v2"', **NAME}
    for known, rest in (
        # The version is told by If-Range: the service answers with the whole file.
        ({"etag": '"v1"', "length": str(len(FILE))}, None),
        # Without If-Range, by the length or the tag of the rest.
        ({"etag": None, "length": "9"}, {**REST}),
        ({"etag": '"v1"', "length": None}, {**REST, "etag": '"v2"'}),
    ):
        (alone / "tide.mp4.part").write_bytes(b"z" * 100)
        (alone / "tide.mp4.part.json").write_text(json.dumps(known))
        before = len(service.requests)
        service.answer(JOB)
        if rest is not None:
            service.answer(FILE[100:], 206, **rest)
        service.answer(FILE, 200, **whole)
        assert service.run("jobs", "download", "job_1", "--output", "tide.mp4").exit_code == 0
        assert (alone / "tide.mp4").read_bytes() == FILE
        assert [one.name for one in alone.iterdir()] == ["tide.mp4"]
        asked = service.requests[before + 1].headers
        assert (asked["range"], asked.get("if-range")) == ("bytes=100-", known["etag"])


def test_a_part_goes_on_under_its_version(service: ScriptedService, alone: Path) -> None:
    (alone / "tide.mp4.part").write_bytes(FILE[:100])
    (alone / "tide.mp4.part.json").write_text(json.dumps({"etag": '"v1"', "length": str(len(FILE))}))
    service.answer(JOB)
    service.answer(FILE[100:], 206, etag='"v1"', **REST)
    assert service.run("jobs", "download", "job_1", "--output", "tide.mp4").exit_code == 0
    assert (alone / "tide.mp4").read_bytes() == FILE
    assert service.requests[1].headers["if-range"] == '"v1"'


def test_a_service_that_sends_the_whole_file_again_is_followed(service: ScriptedService, alone: Path) -> None:
    (alone / "tide.mp4.part").write_bytes(b"z" * 100)
    service.answer(JOB)
    service.answer(FILE)
    assert service.run("jobs", "download", "job_1", "--output", "tide.mp4").exit_code == 0
    assert (alone / "tide.mp4").read_bytes() == FILE


def test_a_part_that_is_whole_already_is_only_renamed(service: ScriptedService, alone: Path) -> None:
    (alone / "tide.mp4.part").write_bytes(FILE)
    service.answer(JOB)
    service.answer(b"", 416, **{"content-range": f"bytes */{len(FILE)}"})
    assert service.run("jobs", "download", "job_1", "--output", "tide.mp4").exit_code == 0
    assert (alone / "tide.mp4").read_bytes() == FILE


@pytest.mark.parametrize("told", [{"content-range": "bytes */7"}, {}])
def test_a_part_of_another_file_is_not_used(
    service: ScriptedService, alone: Path, told: dict[str, str]
) -> None:
    (alone / "tide.mp4.part").write_bytes(FILE)
    service.answer(JOB)
    service.answer(b"", 416, **told)
    result = service.run("jobs", "download", "job_1", "--output", "tide.mp4")
    assert result.exit_code == 1
    assert "tide.mp4.part is not a part of this file; remove it" in result.stderr
    assert not (alone / "tide.mp4").exists()


def test_a_part_from_elsewhere_is_not_appended(service: ScriptedService, alone: Path) -> None:
    (alone / "tide.mp4.part").write_bytes(FILE[:50])
    service.answer(JOB)
    service.answer(FILE[100:], 206, **REST)
    result = service.run("jobs", "download", "job_1", "--output", "tide.mp4")
    assert result.exit_code == 1
    assert (alone / "tide.mp4.part").read_bytes() == FILE[:50]


def test_a_connection_that_breaks_is_made_again_a_few_times(service: ScriptedService, alone: Path) -> None:
    service.answer(JOB)
    for _ in range(module.TRIES - 1):
        service.answer(status=None)
    service.answer(FILE)
    assert service.run("jobs", "download", "job_1", "--output", "tide.mp4").exit_code == 0
    assert (alone / "tide.mp4").read_bytes() == FILE
    service.answer(JOB)
    for _ in range(module.TRIES):
        service.answer(status=None)
    result = service.run("jobs", "download", "job_1", "--output", "other.mp4")
    assert result.exit_code == 1
    assert "the same command goes on from other.mp4.part" in result.stderr
    assert not (alone / "other.mp4").exists()


def test_an_interruption_names_the_way_on(
    service: ScriptedService, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_append", interrupted)
    service.answer(JOB)
    service.answer(FILE)
    result = service.run("jobs", "download", "job_1")
    assert result.exit_code == 130
    assert result.stderr == "stopped; the same command goes on from job_1-0.part\n"


def test_an_error_of_the_service_is_told(service: ScriptedService, alone: Path) -> None:
    service.answer(JOB)
    service.answer({"code": "gone", "detail": "this link has ended"}, 410)
    result = service.run("jobs", "download", "job_1")
    assert (result.exit_code, result.stderr) == (1, "Error: gone: this link has ended\n")


@pytest.mark.parametrize(
    ("job", "arguments", "code", "says"),
    [
        (JOB, ("--index", "1"), 2, "the job has 1 files; they are counted from 0"),
        (JOB | {"assets": []}, (), 2, "the job has 0 files; they are counted from 0"),
        (
            JOB | {"assets": [{**ASSET, "url": None}]},
            (),
            1,
            "the links to the files of this job were revoked",
        ),
    ],
)
def test_a_file_without_a_link_is_not_asked_for(
    service: ScriptedService, job: Any, arguments: tuple[str, ...], code: int, says: str
) -> None:
    service.answer(job)
    result = service.run("jobs", "download", "job_1", *arguments)
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (code, f"Error: {says}")
    assert len(service.requests) == 1


def test_a_place_that_cannot_be_written_is_told(service: ScriptedService, alone: Path) -> None:
    service.answer(JOB)
    service.answer(FILE)
    result = service.run("jobs", "download", "job_1", "--output", "none/tide.mp4")
    assert result.exit_code == 1
    assert "none/tide.mp4.part: No such file or directory" in result.stderr


def test_links_are_revoked(service: ScriptedService) -> None:
    service.answer(JOB | {"assets": [{**ASSET, "url": None}]})
    assert service.run("jobs", "revoke-assets", "job_1").exit_code == 0
    request = service.only_request()
    assert (request.method, request.path) == ("POST", "/v1/jobs/job_1/revoke-assets")
