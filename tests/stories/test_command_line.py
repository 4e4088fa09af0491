"""The command line for users of the API: its output on terminals and in pipes, and no lost secret."""

import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from receiver.cli.sandbox import listening
from receiver.sandbox.providers import SPEAKERS
from receiver.store.statements import Transaction, query
from tests.stories.command_line import asked, begun, found, line_with, seen
from tests.stories.deployment import KEY, Deployment, asking, deployed
from tests.stories.tools import SILENT, ended_job, finished, listed, ring

CODES = re.compile(r"\x1b\[[0-9;]*m")
ID = re.compile(r"\b(?:job|evt|ep|dlv|key)_[0-9a-f]{32,}\b")


@pytest.fixture
async def silent(tmp_path: Path) -> AsyncIterator[Deployment]:
    """Yield a deployment with providers that take an hour for a job."""
    async with deployed(tmp_path, SILENT) as made:
        yield made


async def test_a_terminal_never_folds_an_id_or_a_url(deployment: Deployment) -> None:
    jobs = {(await ended_job(deployment))["id"] for _ in range(3)}
    await deployment.subscribe("job.*")
    for columns in (40, 80, 200):
        lines = [CODES.sub("", line) for line in await seen(deployment, columns, "jobs", "list")]
        assert {line.split()[0] for line in lines[1:4]} == jobs
        assert lines[0].split()[0] == "id"
        assert max(map(len, lines[:4])) <= columns
        endpoints = [CODES.sub("", line) for line in await seen(deployment, columns, "endpoints", "list")]
        assert ID.fullmatch(endpoints[1].split()[0])
    assert deployment.hook.url in endpoints[1].split()
    assert "created_at" in lines[0]
    narrow = [CODES.sub("", line) for line in await seen(deployment, 40, "jobs", "list")]
    assert "created_at" not in narrow[0]
    assert narrow[4].startswith("no room for: ")


async def test_a_sentence_without_room_stands_whole_below_its_row(deployment: Deployment) -> None:
    told = await found(deployment, "providers")
    operations = {one["id"]: [each["name"] for each in one["operations"]] for one in told["data"]}
    for columns in (60, 80):
        lines = [CODES.sub("", line) for line in await seen(deployment, columns, "providers")]
        assert max(map(len, lines)) <= columns
        assert [line.split()[0] for line in lines[1:] if not line.startswith(" ")][: len(operations)] == list(
            operations
        )
        text = " ".join(" ".join(lines).split())
        for names_ in operations.values():
            assert f"operations: {', '.join(names_)}" in text


async def test_a_terminal_shows_first_why_a_job_ended_and_how_a_delivery_went(deployment: Deployment) -> None:
    await deployment.subscribe("job.*")
    await ended_job(deployment)
    jobs = [CODES.sub("", line) for line in await seen(deployment, 80, "jobs", "list")]
    assert jobs[0].split()[:3] == ["id", "state", "provider"]  # a column without values is left out
    deliveries = [CODES.sub("", line) for line in await seen(deployment, 80, "deliveries", "list")]
    assert deliveries[0].split()[:4] == ["id", "state", "status", "attempts"]


async def test_an_empty_list_says_so_on_a_terminal(deployment: Deployment) -> None:
    assert await seen(deployment, 80, "deliveries", "list") == ["(none)"]
    assert (await asked(deployment, "deliveries", "list")).out.count("\n") == 1


async def test_an_id_that_names_nothing_is_told_with_the_list(deployment: Deployment) -> None:
    said = await asked(deployment, "jobs", "show", "job_0")
    listing = "`ringback jobs list` shows those that are there"
    assert said.err == f"ringback: not-found: there is no job job_0; {listing}\n"
    said = await asked(deployment, "endpoints", "delete", "ep_0")
    assert said.err.startswith("ringback: not-found: there is no endpoint ep_0; `ringback endpoints list`")
    answer = await deployment.client.get("/v1/deliveries/dlv_0")
    assert answer.json()["detail"] == "no such delivery; GET /v1/deliveries lists those that are there"
    wide = await seen(deployment, 60, "jobs", "show", "job_0")
    assert max(map(len, wide)) <= 60
    assert wide[1].startswith("  ")


async def test_a_pipe_gets_tab_separated_lines_and_quiet_only_ids(deployment: Deployment) -> None:
    job = await ended_job(deployment, metadata={"order": "42"})
    said = await asked(deployment, "jobs", "list")
    header, row = (line.split("\t") for line in said.out.splitlines())
    told = dict(zip(header, row, strict=True))
    assert (told["id"], told["state"], told["provider"]) == (job["id"], "canceled", "aiml")
    assert (await asked(deployment, "jobs", "list", "-q")).out == f"{job['id']}\n"
    assert (await asked(deployment, "jobs", "show", job["id"], "--quiet")).out == f"{job['id']}\n"
    shown = (await asked(deployment, "jobs", "show", job["id"])).out.splitlines()
    assert {f"id: {job['id']}", "metadata.order: 42", "state: canceled", "progress: -"} <= set(shown)
    both = await asked(deployment, "jobs", "list", "-q", "--json")
    assert both.code == 2


def rename(name: str) -> Transaction[None]:
    """Give every API key a name that the API would not store."""
    yield query("update api_key set name = :name", name=name)


async def test_text_of_others_does_not_reach_the_terminal_as_it_is(silent: Deployment) -> None:
    hostile = "\x1b]0;owned\x07 \x9b31m \u202e [/nope]"
    escaped = "\\u001b]0;owned\\u0007 \\u009b31m \\u202e [/nope]"
    markup = {"[/nope]": "[link=https://evil.example]x"}
    await silent.client.post("/v1/keys", json={"name": "older", "scopes": ["jobs:read"]})
    job = await silent.submit(asking("apiframe", metadata=markup))
    # The API strips such characters from names; an older release stored them.
    await silent.services.core.store.write(lambda: rename(hostile))
    assert escaped in (await asked(silent, "keys", "list")).out
    assert any(escaped in line for line in await seen(silent, 200, "keys", "list"))
    [(name, value)] = markup.items()
    assert f"metadata.{name}: {value}\n" in (await asked(silent, "jobs", "show", job["id"])).out
    told = await asked(silent, "keys", "list", "--json")
    assert told.out.isascii()
    assert hostile in {key["name"] for key in told.told()["data"]}
    refused = await asked(silent, "jobs", "submit", hostile, "{}")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert not set("\x1b\x9b\u202e") & set(refused.err)


async def test_a_job_that_does_not_move_says_why_everywhere(tmp_path: Path) -> None:
    async with deployed(tmp_path, egress_allow="[]") as deployment:
        wish = ("jobs", "submit", "apiframe", "--prompt", "a tide", "--operation", "imagine", "--wait")
        variables = {"RINGBACK_URL": deployment.url, "RINGBACK_API_KEY": KEY}
        async with begun(tmp_path, *wish, **variables) as process:
            job_id = (await line_with(process.stderr, "job ")).split()[1]
            why = await line_with(process.stderr, "pending (")
        assert "egress_allow" in why
        assert why.endswith("; `ringback doctor` looks at the way there)")
        shown = (await asked(deployment, "jobs", "show", job_id)).out.splitlines()
        assert "waiting.reason: unreachable" in shown
        lines = [CODES.sub("", line) for line in await seen(deployment, 120, "jobs", "timeline", job_id)]
        assert lines[0].split()[2:] == ["kind", "outcome", "by", "error"]
        assert "will retry" in lines[1]
        assert "egress_allow" in " ".join(lines)
        raw = (await asked(deployment, "jobs", "timeline", job_id)).out.splitlines()
        assert {"error", "reason", "latency_ms", "by", "verdict"} <= set(raw[0].split("\t"))


async def test_an_event_is_shown_with_its_data_and_a_list_says_how_to_go_on(deployment: Deployment) -> None:
    endpoint = await deployment.subscribe("job.*")
    job = await ended_job(deployment)
    await ended_job(deployment)
    event = (await listed(deployment, "/v1/events", job=job["id"]))[0]
    shown = (await asked(deployment, "events", "show", event["id"])).out
    assert {f"id: {event['id']}", "type: job.canceled", f"data.id: {job['id']}"} <= set(shown.splitlines())
    assert f"\n{endpoint['id']}\t" in shown
    first = await asked(deployment, "events", "list", "--limit", "1", "-q")
    assert first.out == f"{event['id']}\n"
    option, place = first.err.split()[-2:]
    assert option == "--after"
    rest = await asked(deployment, "events", "list", option, place, "-q")
    assert len(rest.out.splitlines()) == 1
    assert event["id"] not in rest.out
    more = (await asked(deployment, "jobs", "list", "--limit", "1")).err.split()
    assert more[-2] == "--cursor"


async def test_an_endpoint_is_updated(deployment: Deployment) -> None:
    endpoint = await deployment.subscribe("job.*", headers={"x-old": "1", "x-env": "dev"})
    options = ("--url", f"{deployment.hook.url}/new", "--event", "job.failed", "--description", "ours")
    headers = ("--header", "x-env=prod", "--drop-header", "x-old")
    told = await found(deployment, "endpoints", "update", endpoint["id"], *options, *headers)
    assert told["url"] == f"{deployment.hook.url}/new"
    assert (told["events"], told["description"]) == (["job.failed"], "ours")
    assert set(told["headers"]) == {"x-env"}
    nothing = await asked(deployment, "endpoints", "update", endpoint["id"])
    assert (nothing.code, nothing.err.count("\n")) == (2, 1)


async def test_accounts_are_listed_with_their_operations(deployment: Deployment) -> None:
    query = [
        line.split("\t") for line in (await asked(deployment, "providers", "--limit", "200")).out.splitlines()
    ]
    told = {row[0]: dict(zip(query[0], row, strict=True)) for row in query[1:]}
    assert set(told) == set(SPEAKERS)
    assert (told["minimax"]["on"], told["minimax"]["blocked"]) == ("true", "false")
    assert "runway-imagine" in told["apiframe"]["operations"].split(", ")


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (("--prompt", "a tide"), b""),
        (("-",), b'{"prompt": "a tide"}'),
        (("@body.json",), b""),
        (('{"style": "x"}', "--prompt", "a tide"), b""),
    ],
)
async def test_a_job_is_submitted_from_anywhere(
    silent: Deployment, arguments: tuple[str, ...], stdin: bytes
) -> None:
    (silent.folder / "body.json").write_text('{"prompt": "a tide"}')
    said = await asked(
        silent, "jobs", "submit", "apiframe", *arguments, "--operation", "imagine", "-q", stdin=stdin
    )
    assert (await silent.job(said.out.strip()))["input"]["prompt"] == "a tide"


async def test_the_secret_of_a_callback_url_is_never_lost(deployment: Deployment) -> None:
    wish = (
        "jobs",
        "submit",
        "getimg",
        '{"model": "m", "prompt": "a"}',
        "--callback-url",
        deployment.hook.url,
    )
    made = await asked(deployment, *wish)
    assert re.search(r"^callback_secret: whsec_\S+$", made.out, re.MULTILINE)
    waited = await asked(deployment, *wish, "--wait", "--json")
    assert f"callback_secret: {waited.told()['callback_secret']}\n" in waited.err
    quiet = await asked(deployment, *wish, "-q")
    assert ID.fullmatch(quiet.out.strip())
    assert quiet.err.startswith("callback_secret: whsec_")
    given = await asked(
        deployment, *wish, "--callback-secret", made.out.split("callback_secret: ")[1].split()[0]
    )
    assert given.code == 0, given.err


async def test_waiting_ends_with_1_unless_the_job_succeeds(deployment: Deployment) -> None:
    wish = ("jobs", "submit", "getimg", "--operation", "video", "--wait")
    failed = await asked(deployment, *wish, '{"model": "m", "prompt": "a tide, fail"}')
    assert failed.code == 1
    assert "\nstate: failed\n" in failed.out
    assert "\nerror.code: generation_failed\n" in failed.out
    assert failed.err.splitlines()[-1].startswith("ringback: the job is failed: generation_failed")
    well = await asked(deployment, *wish, '{"model": "m", "prompt": "a tide"}')
    assert well.code == 0
    assert "\nassets.0.url: http" in well.out
    assert well.err.startswith(f"job {ID.search(well.out)[0]}\n")  # type: ignore[index]  # it is there


async def test_a_terminal_shows_how_far_a_job_is_while_it_waits(deployment: Deployment) -> None:
    wish = ("jobs", "submit", "apiframe", "--prompt", "a tide", "--operation", "imagine", "--wait")
    lines = [CODES.sub("", line) for line in await seen(deployment, 80, *wish)]
    assert ID.search(lines[0])
    assert any(
        re.search(r"(pending|submitting|queued|running)( [0-9.]+ %)? \d\d:\d\d$", line) for line in lines
    )
    assert "state: succeeded" in lines


async def test_an_interrupted_wait_tells_how_to_go_on(silent: Deployment) -> None:
    wish = ("jobs", "submit", "apiframe", "--prompt", "a tide", "--operation", "imagine", "--wait")
    variables = {"RINGBACK_URL": silent.url, "RINGBACK_API_KEY": KEY}
    async with begun(silent.folder, *wish, **variables) as process:
        job_id = (await line_with(process.stderr, "job ")).split()[1]
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert (process.returncode, out) == (130, b"")
    assert err.decode().splitlines()[-1] == f"the job goes on: ringback jobs show {job_id}"
    assert (await silent.job(job_id))["completed_at"] is None


async def test_a_wait_survives_a_restart_of_the_service(silent: Deployment) -> None:
    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        answer = await silent.client.request(
            request.method,
            request.url.path,
            params=request.query_params,
            content=await request.body(),
            headers={"authorization": f"Bearer {KEY}", "content-type": "application/json"},
        )
        await Response(answer.content, answer.status_code, {"content-type": "application/json"})(
            scope, receive, send
        )

    wish = ("jobs", "submit", "apiframe", "--prompt", "a tide", "--operation", "imagine", "--wait", "--json")
    async with listening(front) as url:
        port = int(url.rpartition(":")[2])
        process_of = begun(silent.folder, *wish, RINGBACK_URL=url, RINGBACK_API_KEY=KEY)
        process = await process_of.__aenter__()
        job_id = (await line_with(process.stderr, "job ")).split()[1]
        await silent.in_state(job_id, "queued")
    await line_with(process.stderr, "no service answers")
    async with listening(front, port):
        job = await silent.job(job_id)
        await ring(silent, job, finished(job))
        out, _ = await process.communicate()
        await process_of.__aexit__(None, None, None)
    assert process.returncode == 0
    assert b'"state": "succeeded"' in out
