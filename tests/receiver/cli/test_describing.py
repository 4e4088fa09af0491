"""Tests of `ringback providers show`, `new` and `check`, on files of their own."""

import json
import shutil
import tomllib
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from receiver.cli import ringback


def run(*words: str) -> Result:
    """Return the result of a command."""
    return CliRunner().invoke(ringback, ["providers", *words])


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    """Return a description that was begun."""
    assert run("new", "acme", "--folder", str(tmp_path)).exit_code == 0
    return tmp_path / "acme.toml"


def test_a_provider_is_shown_with_all_that_is_known_about_it() -> None:
    told = json.loads(run("show", "fal", "--json").stdout)
    assert (told["name"], told["base_url"]) == ("fal", "https://queue.fal.run")
    assert told["can"] == ["poll", "result", "cancel"]
    assert told["callbacks"].startswith("Ed25519 in `x-fal-webhook-signature`")
    assert told["confidence"]["all"] == "official"
    assert date.fromisoformat(told["checked"]) >= date(2026, 11, 28)
    assert any("fal-client" in source for source in told["sources"])
    assert any(one.startswith("`keys_url` ") for one in told["settings"])
    assert "rules: " in run("show", "getimg").stdout


def test_a_provider_that_is_not_known_is_refused_with_the_nearest() -> None:
    result = run("show", "fall")
    assert result.exit_code == 2
    assert "there is no provider 'fall'; did you mean fal?" in result.stderr


def test_a_description_that_was_begun_is_well_described_and_reads_its_captures(acme: Path) -> None:
    assert len(list((acme.parent / "acme").glob("*.http"))) == 13
    result = run("check", str(acme))
    assert result.exit_code == 0, result.stderr
    assert "acme is well described; 1 operations, doors: submit, poll, callback" in result.stdout
    assert "13 captures, 13 read as expected" in result.stdout
    assert "  submit: no capture shows Garbled, Unavailable\n" in result.stdout
    assert json.loads(run("show", str(acme), "--json").stdout)["title"] == "acme"


def test_nothing_that_exists_is_overwritten(acme: Path) -> None:
    before = acme.read_text()
    result = run("new", "acme", "--folder", str(acme.parent))
    assert (result.exit_code, acme.read_text()) == (2, before)
    assert f"{acme.parent / 'acme'} exists" in result.stderr


HMAC = 'scheme = "hmac", header = "x-sig"'


@pytest.mark.parametrize(
    "proof",
    [
        f'{HMAC}, key = "account", message = "{{time}}.{{body}}", time = "t", signature = "v1"',
        'scheme = "standard-webhooks", key = "whsec", optional = true',
        'scheme = "hmac", header = "x-sig", key = "api-sha256", encoding = "base64"',
        'scheme = "secret", header = "authorization", prefix = "Bearer "',
    ],
)
def test_captures_of_a_finished_description_are_signed_as_it_says(acme: Path, proof: str) -> None:
    shutil.rmtree(acme.parent / "acme")
    text = acme.read_text().replace('scheme = "hmac", header = "x-signature", prefix = "sha256="', proof)
    secret = '[settings.webhook_secret]\nkind = "secret"\nsay = "the secret"\n' if "key = " in proof else ""
    acme.write_text(text + secret)
    assert run("new", "acme", "--folder", str(acme.parent)).exit_code == 0
    told = json.loads((acme.parent / "acme" / "callback__succeeded.expected.json").read_text())
    assert (told["proof"], told["update"]["phase"]) == ("proved", "succeeded")
    forged = json.loads((acme.parent / "acme" / "callback__forged.expected.json").read_text())
    assert forged == {"error": "BadSignature"}
    result = run("check", str(acme))
    assert result.exit_code == 0, result.stdout


def test_a_wrong_signature_is_told_with_the_keys_that_count(acme: Path) -> None:
    path = acme.parent / "acme" / "callback__succeeded.http"
    path.write_text(path.read_text().replace("sha256=", "sha256=0"))
    result = run("check", str(acme))
    assert (
        "callbacks are verified at 2026-11-01T12:00:00Z with the job's secret job-secret-0f3a"
        in result.stdout
    )
    assert "Error: 1 captures are not right" in result.stderr


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        (
            "poll__running.http",
            "HTTP/1.1 200",
            "HTTP/1.1 ok",
            ":3: the first line is a status such as `HTTP/1",
        ),
        ("poll__running.http", "content-type: ", "content-type ", ":4: a header is `name: value`"),
        ("poll__running.http", "# confidence: ", "# confidence ", ":2: a note is `# name: value`"),
        ("poll__running.http", "json\n\n{", "json\n{", ": needs an empty line between"),
        ("poll__running.expected.json", "{", "", ": is no JSON: "),
    ],
)
def test_a_capture_that_cannot_be_read_is_named_with_its_line(
    acme: Path, name: str, old: str, new: str, said: str
) -> None:
    path = acme.parent / "acme" / name
    path.write_text(path.read_text().replace(old, new, 1))
    result = run("check", str(acme))
    assert result.exit_code == 1
    assert f"a capture cannot be read: {path}{said}" in result.stderr


@pytest.mark.parametrize("status", ["HTTP/2 200", "HTTP/1.1 200 OK"])
def test_a_capture_is_read_as_tools_print_messages(acme: Path, status: str) -> None:
    path = acme.parent / "acme" / "poll__running.http"
    head, _, body = path.read_bytes().replace(b"HTTP/1.1 200", status.encode()).partition(b"\n\n")
    path.write_bytes(head.replace(b": ", b":").replace(b"\n", b"\r\n") + b"\r\n\r\n" + body)
    result = run("check", str(acme))
    assert "13 captures, 13 read as expected" in result.stdout


def test_a_capture_that_does_not_show_its_name_is_a_fault(acme: Path) -> None:
    text = acme.read_text().replace('completed = "succeeded"', 'done = "succeeded"')
    acme.write_text(text)
    reading = acme.parent / "acme" / "poll__succeeded.expected.json"
    reading.write_text('{"update": {"provider_job_id": "acme-1", "phase": "unknown", "progress": 40}}')
    result = run("check", str(acme))
    assert result.exit_code == 1
    assert "poll__succeeded: is called succeeded and does not show succeeded" in result.stdout


def test_a_description_is_printed_as_it_is() -> None:
    told = tomllib.loads(run("show", "kling", "--toml").stdout)
    assert (told["name"], told["ok"]["at"]) == ("kling", "/code")


@pytest.mark.parametrize("name", ["Acme", "a b", "../x", "x" * 50])
def test_a_name_that_is_none_leaves_nothing(tmp_path: Path, name: str) -> None:
    result = run("new", name, "--folder", str(tmp_path))
    assert result.exit_code == 2
    assert "is no name: 1 to 40 of a-z, 0-9 and -" in result.stderr
    assert list(tmp_path.rglob("*")) == []


def test_every_mistake_is_told_on_a_line_of_its_own(acme: Path) -> None:
    text = (
        acme.read_text()
        .replace('auth = "bearer"', 'auht = "bearer"')
        .replace('"/output/url"', '"output.url"')
    )
    acme.write_text(text)
    result = run("check", str(acme))
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert any(line.endswith("auht: unknown key; did you mean auth?") for line in lines)
    assert any("'output.url' is no JSON pointer: begin it with /" in line for line in lines)
    assert all(line.startswith(f"{acme}:") for line in lines[:2])


def test_a_capture_that_reads_otherwise_is_told_with_both_readings(acme: Path) -> None:
    acme.write_text(acme.read_text().replace('completed = "succeeded"', 'done = "succeeded"'))
    # The common words still know `completed`, so only the other word is lost.
    acme.write_text(acme.read_text().replace('processing = "running"', 'working = "running"'))
    result = run("check", str(acme))
    assert result.exit_code == 1
    assert 'poll__running: reads {"update": {' in result.stdout
    assert '"phase": "unknown"' in result.stdout
    assert "Error: 2 captures are not right" in result.stderr


def test_a_capture_needs_its_source_and_its_reading(acme: Path) -> None:
    folder = acme.parent / "acme"
    path = folder / "poll__odd.http"
    path.write_text('# source: x\n# confidence: sure\nHTTP/1.1 200\n\n{"id": "1", "status": "odd"}\n')
    result = run("check", str(acme))
    assert "poll__odd: needs a note `# confidence:`, one of official" in result.stdout
    assert "poll__odd: its note `# source:` is too short" in result.stdout
    assert "poll__odd: has no poll__odd.expected.json; it reads: " in result.stdout
    path.write_text("no capture")
    assert "a capture cannot be read" in run("check", str(acme)).stderr
