"""The commands `ringback providers new` and `check`: a description of an own provider, begun and checked."""

import json as stdjson
from collections.abc import Iterator
from pathlib import Path

import click

from handlers import DESCRIBED, captures
from handlers.captures import ACCOUNT_SECRET, API_KEY, JOB_SECRET, RECEIVED_AT, REQUIRED
from handlers.contract import Handler
from handlers.description import loading, making
from handlers.description.loading import BadDescription
from handlers.description.vocabulary import Description
from receiver.cli.groups import ALONE
from receiver.cli.terminal import say
from receiver.domain.clock import Clock
from receiver.domain.errors import no_file
from receiver.sandbox.providers import speaker_of
from receiver.sandbox.speakers import Speaker
from receiver.sandbox.world import Made

TEMPLATE = """\
#:schema {schema}
# {name}, as its pages describe it. Every key: handlers/described/README.md
name = "{name}"
title = "{name}"
base_url = "https://api.{name}.example"
checked = {today}
sources = ["https://docs.{name}.example/api, read {today}"]
# official, partner, third-party, seed or unconfirmed; single facts beside it: files = "official"
confidence = {{ all = "unconfirmed" }}
# bearer, raw, word:Key, header:x-api-key or body:/key
auth = "bearer"
# The provider's own words. One that is missing here keeps a job running.
words = {{ queued = "queued", processing = "running", completed = "succeeded", failed = "failed" }}
fields = {{ id = "/id", status = "/status", progress = "/progress" }}
# Where the callback URL goes, and a secret if the provider takes one. Leave `submit` and `callback.proof` out
# where it sends no callbacks.
submit = {{ callback = "body:/webhook_url", secret = "body:/webhook_secret" }}
poll = {{ path = "/v1/jobs/{{id}}" }}
# none, secret, hmac, standard-webhooks, ed25519-jwks, jwt or headers
callback.proof = {{ scheme = "hmac", header = "x-signature", prefix = "sha256=" }}
failure = {{ error = "/error" }}
example = {{ prompt = "a tide" }}

files = [
  {{ at = "/output/url", kind = "video", life = "24h" }},
]

operations = [
  {{ names = "video", path = "/v1/videos", kind = "video" }},
]

rules = [
  {{ types = {{ text = "prompt" }}, required = ["prompt"] }},
]
"""
NOTES = """\
# source: made by `ringback providers new`; replace it by a message of the vendor's page
# confidence: unconfirmed
"""
SIGNED = (
    f"callbacks are verified at {RECEIVED_AT:%Y-%m-%dT%H:%M:%SZ} with the job's secret {JOB_SECRET}, the "
    f"account's secret {ACCOUNT_SECRET} and the API key {API_KEY}; the body is every byte after the empty "
    "line, without the last newline. `ringback providers new` signs captures so."
)
PHASES = ("running", "succeeded", "failed")


@click.command("new", epilog=ALONE)
@click.argument("name")
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False), default=".", help="Where; default: here."
)
def new(name: str, folder: Path) -> None:
    """Begin a description: NAME.toml, and a folder NAME of captures.

    Both are filled with examples to replace. Nothing that exists is overwritten: for a NAME.toml that is
    there, only the captures are made, with the proofs that it describes.

    \b
    Example:
      ringback providers new acme
      ringback providers new acme --folder /etc/ringback
    """
    path, cases = folder / f"{name}.toml", folder / name
    if cases.exists():
        raise click.UsageError(f"{cases} exists; choose another name or --folder")
    today = Clock().now().date().isoformat()
    text = TEMPLATE.format(name=name, today=today, schema=DESCRIBED / "schema.json")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if begun := not path.exists():
            path.write_text(text, "utf-8")
        told = loading.load(path).told
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {no_file(error)}") from None
    except BadDescription as error:
        if not begun:
            raise click.ClickException(str(error)) from None
        path.unlink()
        raise click.UsageError(f"{name!r} is no name: 1 to 40 of a-z, 0-9 and -") from None
    cases.mkdir()
    handler = making.handler(told)
    for stem, raw in _messages(told, handler):
        _write(cases / f"{stem}.http", raw, handler)
    say(f"{path}: fill it in from the vendor's page")
    say(f"{cases}/: {len(list(cases.glob('*.http')))} captures to replace by the vendor's own messages")
    say(f"then: ringback providers check {path}")


def _messages(told: Description, handler: Handler) -> Iterator[tuple[str, bytes]]:
    """Yield the captures that the simulated provider of a description would send, by name."""
    speaker = speaker_of(told)
    job = _job(told, handler)
    yield "submit__accepted", _http(200, speaker.submitted(job))
    for phase in PHASES:
        yield f"poll__{phase}", _http(200, speaker.polled(job, phase, 40))
    for cause, refusal in speaker.refusals.items():
        name = "poll__no_such_job" if cause == "unknown" else f"submit__{cause}"
        yield name, _http(refusal.status, refusal.body)
    yield from _callbacks(speaker, job)


def _callbacks(speaker: Speaker, job: Made) -> Iterator[tuple[str, bytes]]:
    for what, phase, forged in (*((one, one, False) for one in PHASES), ("forged", "succeeded", True)):
        sent = speaker.says(job, phase, 40, forged) if speaker.says is not None else None
        if sent is not None and (sent.headers or not forged):
            head = "".join(f"{name}: {value}\n" for name, value in sent.headers)
            yield f"callback__{what}", f"HTTP/1.1 200\n{head}\n".encode() + sent.body + b"\n"


def _http(status: int, body: object) -> bytes:
    text = stdjson.dumps(body, indent=2, ensure_ascii=False)
    return f"HTTP/1.1 {status}\ncontent-type: application/json\n\n{text}\n".encode()


def _job(told: Description, handler: Handler) -> Made:
    return Made(
        id=f"{told.name}-1",
        provider=told.name,
        operation=handler.operations[handler.default_operation].path.lstrip("/"),
        input=told.example,
        words=frozenset(),
        key=API_KEY,
        started=0.0,
        takes=1.0,
        origin=f"https://files.{told.name}.example",
        secret=JOB_SECRET,
        at=RECEIVED_AT,
    )


def _write(path: Path, raw: bytes, handler: Handler) -> None:
    path.write_bytes(NOTES.encode() + raw)
    recorded = captures.load(path)
    read = captures.doors(handler)[recorded.door](recorded.message)
    recorded.reading.write_text(stdjson.dumps(read, indent=2, ensure_ascii=False) + "\n", "utf-8")


@click.command("check", epilog=ALONE)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--captures",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of its captures; default: that beside FILE with its name.",
)
def check(file: Path, folder: Path | None) -> None:
    """Check a description, and read its captures.

    Mistakes are named with their line. Exit code 1 where the description is wrong or a capture reads
    otherwise than expected; outcomes that no capture shows yet are only listed.

    \b
    Example:
      ringback providers check acme.toml
    """
    try:
        provider = making.provider(file)
        handler = provider.configure(provider.options())
    except BadDescription as error:
        for line in error.lines:
            say(line, err=True)
        raise click.ClickException(f"{file} is not well described") from None
    doors = ", ".join(captures.doors(handler))
    say(f"{file}: {provider.name} is well described; {len(handler.operations)} operations, doors: {doors}")
    cases = folder or file.with_suffix("")
    faults: list[str] = []
    lacking: list[str] = []
    try:
        found = captures.load_all(cases)
        for one in captures.complaints(handler, found):
            (lacking if one.partition(":")[0] in REQUIRED else faults).append(one)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"a capture cannot be read: {error}") from None
    wrong = {one.partition(":")[0] for one in faults}
    say(f"{cases}: {len(found)} captures, {len(found) - len(wrong)} read as expected")
    for one in faults:
        say(f"  {one}")
    if lacking:
        say("still to be shown:")
    for one in lacking:
        say(f"  {one}")
    if faults:
        if any("BadSignature" in one for one in faults):
            say(SIGNED)
        raise click.ClickException(f"{len(wrong)} captures are not right")
