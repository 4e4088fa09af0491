"""The command line of people who use the API: what they see, what they can copy, and what is never lost."""

import json
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from receiver.config import load
from receiver.sandbox.command import listening, settings_for
from receiver.sandbox.speakers import SPEAKERS
from tests.stories.commandline import asked, begun, found, line_with, names, run, seen
from tests.stories.deployment import KEY, Deployment, deployed
from tests.stories.tools import SILENT, ended_job, finished, listed, ring

CODES = re.compile(r"\x1b\[[0-9;]*m")
ID = re.compile(r"\b(?:job|evt|ep|dlv|key)_[0-9a-f]{32,}\b")


@pytest.fixture
async def silent(tmp_path: Path) -> AsyncIterator[Deployment]:
    """A deployment whose providers take an hour for a job."""
    async with deployed(tmp_path, SILENT) as made:
        yield made


async def test_a_terminal_never_folds_an_id_or_a_url(house: Deployment) -> None:
    jobs = {(await ended_job(house))["id"] for _ in range(3)}
    await house.subscribe("job.*")
    for columns in (40, 80, 200):
        lines = [CODES.sub("", line) for line in await seen(house, columns, "jobs", "list")]
        assert {line.split()[0] for line in lines[1:4]} == jobs
        assert lines[0].split()[0] == "id"
        assert max(map(len, lines[:4])) <= columns
        endpoints = [CODES.sub("", line) for line in await seen(house, columns, "endpoints", "list")]
        assert ID.fullmatch(endpoints[1].split()[0])
    assert house.hook.url in endpoints[1].split()
    assert "created_at" in lines[0]
    narrow = [CODES.sub("", line) for line in await seen(house, 40, "jobs", "list")]
    assert "created_at" not in narrow[0]
    assert narrow[4].startswith("no room for: ")


async def test_a_pipe_gets_tab_separated_lines_and_quiet_only_ids(house: Deployment) -> None:
    job = await ended_job(house, metadata={"order": "42"})
    said = await asked(house, "jobs", "list")
    header, row = (line.split("\t") for line in said.out.splitlines())
    told = dict(zip(header, row, strict=True))
    assert (told["id"], told["state"], told["provider"]) == (job["id"], "canceled", "aiml")
    assert (await asked(house, "jobs", "list", "-q")).out == f"{job['id']}\n"
    assert (await asked(house, "jobs", "show", job["id"], "--quiet")).out == f"{job['id']}\n"
    shown = (await asked(house, "jobs", "show", job["id"])).out.splitlines()
    assert {f"id: {job['id']}", "metadata.order: 42", "state: canceled", "progress: -"} <= set(shown)
    both = await asked(house, "jobs", "list", "-q", "--json")
    assert both.code == 2


async def test_text_of_others_does_not_reach_the_terminal_as_it_is(silent: Deployment) -> None:
    hostile = "\x1b]0;owned\x07 \x9b31m \u202e [/nope]"
    escaped = "\\u001b]0;owned\\u0007 \\u009b31m \\u202e [/nope]"
    await silent.client.post("/v1/keys", json={"name": hostile, "scopes": ["jobs:read"]})
    job = await silent.submit(
        {
            "provider": "apiframe",
            "operation": "imagine",
            "input": {"prompt": "a"},
            "metadata": {hostile: hostile},
        }
    )
    assert escaped in (await asked(silent, "keys", "list")).out
    assert any(escaped in line for line in await seen(silent, 200, "keys", "list"))
    assert f"metadata.{escaped}: {escaped}\n" in (await asked(silent, "jobs", "show", job["id"])).out
    told = await asked(silent, "keys", "list", "--json")
    assert told.out.isascii()
    assert hostile in {key["name"] for key in told.told()["data"]}
    refused = await asked(silent, "jobs", "submit", hostile, "{}")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert not set("\x1b\x9b\u202e") & set(refused.err)


async def test_a_timeline_says_why_a_job_does_not_move(silent: Deployment) -> None:
    silent.front.away = 500
    job = await silent.submit({"provider": "apiframe", "operation": "imagine", "input": {"prompt": "a"}})

    async def story() -> list[str]:
        return [CODES.sub("", line) for line in await seen(silent, 120, "jobs", "timeline", job["id"])]

    lines = await silent.until(story, lambda lines: len(lines) > 2)
    assert "error" in lines[0].split()
    assert "500" in " ".join(lines)


async def test_an_event_is_shown_with_its_data_and_a_list_says_how_to_go_on(house: Deployment) -> None:
    endpoint = await house.subscribe("job.*")
    job = await ended_job(house)
    await ended_job(house)
    event = (await listed(house, "/v1/events", job=job["id"]))[0]
    shown = (await asked(house, "events", "show", event["id"])).out
    assert {f"id: {event['id']}", "type: job.canceled", f"data.id: {job['id']}"} <= set(shown.splitlines())
    assert f"\n{endpoint['id']}\t" in shown
    first = await asked(house, "events", "list", "--limit", "1", "-q")
    assert first.out == f"{event['id']}\n"
    option, place = first.err.split()[-2:]
    assert option == "--after"
    rest = await asked(house, "events", "list", option, place, "-q")
    assert len(rest.out.splitlines()) == 1
    assert event["id"] not in rest.out
    more = (await asked(house, "jobs", "list", "--limit", "1")).err.split()
    assert more[-2] == "--cursor"


async def test_an_endpoint_is_updated(house: Deployment) -> None:
    endpoint = await house.subscribe("job.*", headers={"x-old": "1", "x-env": "dev"})
    options = ("--url", f"{house.hook.url}/new", "--event", "job.failed", "--description", "ours")
    headers = ("--header", "x-env=prod", "--drop-header", "x-old")
    told = await found(house, "endpoints", "update", endpoint["id"], *options, *headers)
    assert told["url"] == f"{house.hook.url}/new"
    assert (told["events"], told["description"]) == (["job.failed"], "ours")
    assert set(told["headers"]) == {"x-env"}
    nothing = await asked(house, "endpoints", "update", endpoint["id"])
    assert (nothing.code, nothing.err.count("\n")) == (2, 1)


async def test_accounts_are_listed_with_their_operations(house: Deployment) -> None:
    rows = [line.split("\t") for line in (await asked(house, "providers")).out.splitlines()]
    told = {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[1:]}
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


async def test_the_secret_of_a_callback_url_is_never_lost(house: Deployment) -> None:
    wish = ("jobs", "submit", "getimg", '{"model": "m", "prompt": "a"}', "--callback-url", house.hook.url)
    made = await asked(house, *wish)
    assert re.search(r"^callback_secret: whsec_\S+$", made.out, re.MULTILINE)
    waited = await asked(house, *wish, "--wait", "--json")
    assert f"callback_secret: {waited.told()['callback_secret']}\n" in waited.err
    quiet = await asked(house, *wish, "-q")
    assert ID.fullmatch(quiet.out.strip())
    assert quiet.err.startswith("callback_secret: whsec_")
    given = await asked(house, *wish, "--callback-secret", made.out.split("callback_secret: ")[1].split()[0])
    assert given.code == 0, given.err


async def test_waiting_ends_with_1_unless_the_job_succeeds(house: Deployment) -> None:
    wish = ("jobs", "submit", "getimg", "--operation", "video", "--wait")
    failed = await asked(house, *wish, '{"model": "m", "prompt": "a tide, fail"}')
    assert failed.code == 1
    assert "\nstate: failed\n" in failed.out
    assert "\nerror.code: generation_failed\n" in failed.out
    assert failed.err.splitlines()[-1].startswith("ringback: the job is failed: generation_failed")
    well = await asked(house, *wish, '{"model": "m", "prompt": "a tide"}')
    assert well.code == 0
    assert "\nassets.0.url: http" in well.out
    assert well.err.startswith(f"job {ID.search(well.out)[0]}\n")  # type: ignore[index]  # it is there


async def test_a_terminal_shows_how_far_a_job_is_while_it_waits(house: Deployment) -> None:
    wish = ("jobs", "submit", "apiframe", "--prompt", "a tide", "--operation", "imagine", "--wait")
    lines = [CODES.sub("", line) for line in await seen(house, 80, *wish)]
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


async def test_this_machines_settings_are_used_where_the_environment_names_no_service(
    house: Deployment,
) -> None:
    port = httpx.URL(house.url).port
    folder = house.folder / "own"
    folder.mkdir()
    settings = folder / "ringback.toml"
    settings.write_text(f'port = {port}\ndata_dir = "{folder}"\n')
    unknown = await run(folder, "jobs", "list")
    assert (unknown.code, "RINGBACK_API_KEY" in unknown.err) == (2, True)
    (folder / "ringback-api-key").write_text(f"{KEY}\n")
    assert (await run(folder, "jobs", "list")).out.startswith("id\t")
    assert (await run(folder, "jobs", "list", RINGBACK_URL=house.url)).code == 0
    elsewhere = await run(folder, "jobs", "list", RINGBACK_URL=house.hook.url)
    assert (elsewhere.code, "RINGBACK_API_KEY" in elsewhere.err) == (2, True)
    assert house.hook.deliveries == []
    (folder / "key").write_text(KEY)
    by_file = await run(folder, "jobs", "list", RINGBACK_URL=house.url, RINGBACK_API_KEY_FILE="key")
    assert by_file.code == 0
    no_file = await run(folder, "jobs", "list", RINGBACK_URL=house.url, RINGBACK_API_KEY_FILE="nowhere")
    assert no_file.err == "ringback: RINGBACK_API_KEY_FILE: there is no file nowhere (see --help)\n"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("localhost:18080", "RINGBACK_URL needs its scheme: write http://localhost:18080"),
        ("ftp://localhost", "RINGBACK_URL must begin with http:// or https://"),
        ("http://me:top-secret@localhost", "RINGBACK_URL must hold no user name"),
    ],
)
async def test_an_address_that_cannot_be_right_is_told_with_the_fix(
    tmp_path: Path, url: str, says: str
) -> None:
    said = await run(tmp_path, "jobs", "list", RINGBACK_URL=url, RINGBACK_API_KEY="rb_x")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert said.err.startswith(f"ringback: {says}")
    assert "top-secret" not in said.err


async def test_what_is_not_ringback_is_told(house: Deployment) -> None:
    house.hook.status = 200
    said = await run(house.folder, "jobs", "list", RINGBACK_URL=house.hook.url, RINGBACK_API_KEY="rb_x")
    assert (said.code, said.out) == (1, "")
    assert said.err == f"ringback: what answers at {house.hook.url} is not Ringback; set RINGBACK_URL\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("job", "list"), "ringback: there is no command 'job'; did you mean jobs?\n"),
        (("jobs", "lst"), "ringback: there is no command 'lst'; did you mean list?\n"),
        (("secrets", "rotat"), "ringback: there is no command 'rotat'; did you mean rotate?\n"),
    ],
)
async def test_a_command_that_is_not_there_gets_the_nearest(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    said = await run(tmp_path, *arguments)
    assert (said.code, said.out, said.err) == (2, "", says)


async def test_dev_runs_a_service_to_try_and_leaves_nothing(tmp_path: Path) -> None:
    spare = tmp_path / "spare"
    spare.mkdir()
    async with begun(tmp_path, "dev", "--port", "0", "--takes", "0.1", TMPDIR=str(spare)) as process:
        url = (await line_with(process.stdout, "url:")).split()[1]
        key = (await line_with(process.stdout, "key:")).split()[1]
        assert (await line_with(process.stdout, "docs:")).split()[1] == f"{url}/docs"
        call = await line_with(process.stdout, "curl ")
        assert call.startswith(f"curl -s {url}/v1/jobs -H 'Authorization: Bearer {key}' ")
        variables = {"RINGBACK_URL": url, "RINGBACK_API_KEY": key}
        wish = (
            "jobs",
            "submit",
            "apiframe",
            "--operation",
            "imagine",
            "--prompt",
            "a tide",
            "--wait",
            "--json",
        )
        assert (await run(tmp_path, *wish, **variables)).told()["completed_by"] == "callback"
        assert names(spare)
        process.send_signal(signal.SIGINT)
        await process.communicate()
    assert process.returncode == 0
    assert names(spare) == []
    assert names(tmp_path) == ["spare"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_dev_tells_where_it_is_as_json_and_any_end_leaves_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with begun(tmp_path, "dev", "--port", "0", "--json", TMPDIR=str(tmp_path)) as process:
        told = json.loads(await line_with(process.stdout, "{"))
        assert set(told["accounts"]) == set(SPEAKERS)
        port = told["url"].rpartition(":")[2]
        taken = await run(tmp_path, "dev", "--port", port, TMPDIR=str(tmp_path))
        assert (taken.code, taken.out) == (1, "")
        assert taken.err.startswith(f"ringback: cannot listen on 127.0.0.1:{port}: ")
        assert taken.err.endswith("; --port 0 takes a free one\n")
        process.send_signal(number)
        await process.communicate()
    assert process.returncode == 0
    assert names(tmp_path) == []


async def test_the_demo_goes_on_as_a_service_to_try(tmp_path: Path) -> None:
    async with begun(tmp_path, "demo", TMPDIR=str(tmp_path)) as process:
        assert (
            await line_with(process.stdout, "callbacks: ")
        ) == "callbacks: 1 forged refused, 2 doubled absorbed"
        url = (await line_with(process.stdout, "url:")).split()[1]
        key = (await line_with(process.stdout, "key:")).split()[1]
        await line_with(process.stdout, "curl ")
        listed = await run(tmp_path, "jobs", "list", "-q", RINGBACK_URL=url, RINGBACK_API_KEY=key)
        assert len(listed.out.splitlines()) == 14
        process.send_signal(signal.SIGINT)
        await process.communicate()
    assert process.returncode == 0
    assert names(tmp_path) == []


def test_the_sandbox_prints_settings_that_work(tmp_path: Path) -> None:
    (tmp_path / "ringback.toml").write_text(settings_for("http://127.0.0.1:9090"))
    loaded = load(tmp_path / "ringback.toml", {})
    assert {name: setup.base_url for name, setup in loaded.accounts.items()} == {
        name: f"http://127.0.0.1:9090/{name}" for name in SPEAKERS
    }
    assert all(setup.on for setup in loaded.accounts.values())
    assert loaded.settings.egress_allow == ("127.0.0.0/8",)


async def test_the_doctor_does_not_blame_a_service_that_does_not_run_yet(tmp_path: Path, nobody: str) -> None:
    port = nobody.rpartition(":")[2]
    variables = {
        "RINGBACK_PUBLIC_URL": nobody,
        "RINGBACK_PORT": port,
        "RINGBACK_EGRESS_ALLOW": '["127.0.0.0/8"]',
        "FORCE_COLOR": "1",
    }
    said = await run(tmp_path, "doctor", "--json", **variables)
    found = {row["check"]: row for row in json.loads(said.out)["data"]}
    assert found["public_url"]["grade"] == "warn"
    assert found["public_url"]["finding"].startswith(
        f"not checked: nothing serves yet on 127.0.0.1, port {port}"
    )
    plain = await run(tmp_path, "doctor", **variables)
    assert "\x1b" not in plain.out
    assert plain.out.splitlines()[0].split("\t") == ["grade", "check", "finding"]


@pytest.mark.parametrize(
    ("variables", "setting"),
    [
        ({"RINGBACK_DATABASE_URL": "mysql://me@db/x"}, "database_url"),
        ({"RINGBACK_DATABASE_URL": "sqlite:/x.db"}, "database_url"),
        ({"RINGBACK_DATABASE_URL": "sqlite:////nowhere/at/all/x.db"}, "database_url"),
        ({"RINGBACK_DATABASE_URL": "postgresql://me@127.0.0.1/x"}, "secret_keys"),
        ({"RINGBACK_EGRESS_CA_FILE": "/nowhere.pem"}, "egress_ca_file"),
    ],
)
async def test_config_refuses_what_a_start_refuses(
    tmp_path: Path, variables: dict[str, str], setting: str
) -> None:
    (tmp_path / "ringback.toml").touch()
    said = await run(tmp_path, "config", **variables)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"ringback: {setting}: ")


async def test_config_prints_plain_lines_with_what_is_in_effect(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:9090/{'x' * 200}"
    (tmp_path / "ringback.toml").write_text(f'[providers.apiframe]\napi_key = "k"\nbase_url = "{url}"\n')
    lines = (await run(tmp_path, "config", COLUMNS="40")).out.splitlines()
    assert f'providers.apiframe.base_url = "{url}"  # file ringback.toml' in lines
    assert "providers.apiframe.backstop_after = 180.0  # default" in lines
    assert f'data_dir = "{tmp_path}"  # default' in lines
    assert all(re.match(r"[\w.\-]+ = .+  # .+", line) for line in lines)
