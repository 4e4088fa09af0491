"""Standalone commands: services to try, settings of this machine, and their messages about mistakes."""

import json
import re
import shlex
import signal
from pathlib import Path

import httpx
import pytest

from receiver.cli.sandbox import settings_for
from receiver.config.load import load
from receiver.demo import _wishes
from receiver.sandbox.providers import SPEAKERS
from tests.stories.command_line import RINGBACK, begun, line_with, names, run
from tests.stories.deployment import KEY, Deployment


async def test_this_machines_settings_are_used_where_the_environment_names_no_service(
    deployment: Deployment,
) -> None:
    port = httpx.URL(deployment.url).port
    folder = deployment.folder / "own"
    folder.mkdir()
    settings = folder / "ringback.toml"
    settings.write_text(f'port = {port}\ndata_dir = "{folder}"\n')
    unknown = await run(folder, "jobs", "list")
    says = (
        f"set RINGBACK_API_KEY or RINGBACK_API_KEY_FILE to a key of the service at http://127.0.0.1:{port}; "
        "`ringback serve` and `ringback dev` tell theirs when they start"
    )
    assert (unknown.code, unknown.err) == (2, f"ringback: {says} (see --help)\n")
    (folder / "ringback-api-key").write_text(f"{KEY}\n")
    assert (await run(folder, "jobs", "list")).out.startswith("id\t")
    assert (await run(folder, "jobs", "list", RINGBACK_URL=deployment.url)).code == 0
    elsewhere = await run(folder, "jobs", "list", RINGBACK_URL=deployment.hook.url)
    assert (elsewhere.code, "RINGBACK_API_KEY" in elsewhere.err) == (2, True)
    assert deployment.hook.deliveries == []
    (folder / "key").write_text(KEY)
    by_file = await run(folder, "jobs", "list", RINGBACK_URL=deployment.url, RINGBACK_API_KEY_FILE="key")
    assert by_file.code == 0
    no_file = await run(folder, "jobs", "list", RINGBACK_URL=deployment.url, RINGBACK_API_KEY_FILE="nowhere")
    says = "RINGBACK_API_KEY_FILE: there is no file nowhere; make it, or name another"
    assert no_file.err == f"ringback: {says} (see --help)\n"
    both = {"RINGBACK_API_KEY": KEY, "RINGBACK_API_KEY_FILE": "key"}
    twice = await run(folder, "jobs", "list", RINGBACK_URL=deployment.url, **both)
    says = "RINGBACK_API_KEY and RINGBACK_API_KEY_FILE are both set; set one of the two"
    assert (twice.code, twice.err) == (2, f"ringback: {says} (see --help)\n")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("localhost:18080", "RINGBACK_URL needs its scheme: write http://localhost:18080"),
        ("http:///v1", "RINGBACK_URL names no host: write, for example, http://127.0.0.1:8080"),
        ("http://127.0.0.1:eighty", "RINGBACK_URL: http://127.0.0.1:eighty is not a URL"),
        (
            "http://localhost:1/v1/",
            "RINGBACK_URL stands without the path of a call: write http://localhost:1",
        ),
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


async def test_what_is_not_ringback_is_told(deployment: Deployment) -> None:
    deployment.hook.status = 200
    said = await run(
        deployment.folder, "jobs", "list", RINGBACK_URL=deployment.hook.url, RINGBACK_API_KEY="rb_x"
    )
    assert (said.code, said.out) == (1, "")
    assert said.err == f"ringback: what answers at {deployment.hook.url} is not Ringback; set RINGBACK_URL\n"
    deployment.hook.status = 404
    said = await run(
        deployment.folder, "jobs", "list", RINGBACK_URL=deployment.hook.url, RINGBACK_API_KEY="rb_x"
    )
    answers = f"what answers at {deployment.hook.url} is not Ringback (it said 404)"
    assert (said.code, said.err) == (1, f"ringback: {answers}; set RINGBACK_URL\n")
    deployment.hook.status = 502
    said = await run(
        deployment.folder, "jobs", "list", RINGBACK_URL=deployment.hook.url, RINGBACK_API_KEY="rb_x"
    )
    away = f"a proxy at {deployment.hook.url} answers 502 for the service; start it, or correct RINGBACK_URL"
    assert (said.code, said.err) == (1, f"ringback: {away}\n")
    secure = deployment.url.replace("http:", "https:")
    said = await run(deployment.folder, "jobs", "list", RINGBACK_URL=secure, RINGBACK_API_KEY="rb_x")
    assert said.code == 1
    assert said.err.startswith(f"ringback: no TLS that we trust is spoken at {secure} (")
    assert said.err.endswith("; correct RINGBACK_URL, or write http://\n")


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


async def test_a_port_that_is_taken_is_told_with_the_next_step(
    deployment: Deployment, tmp_path: Path
) -> None:
    port, folder = str(httpx.URL(deployment.url).port), tmp_path / "other"
    folder.mkdir()
    for command, setting in (("serve", "port: "), ("sandbox", "")):
        said = await run(folder, command, "--port", port)
        assert said.code == 1
        assert said.err.startswith(f"ringback: {setting}cannot listen on 127.0.0.1:{port}: ")
        assert said.err.endswith("; stop what listens there, or choose another; --port 0 takes a free one\n")
    assert names(folder) == []


async def test_the_doctor_names_the_keys_that_postgresql_needs(tmp_path: Path) -> None:
    database = {"RINGBACK_DATABASE_URL": "postgresql://postgres@127.0.0.1:1/x"}
    said = await run(tmp_path, "doctor", "--offline", "--json", **database)
    found = {one["check"]: one for one in json.loads(said.out)["data"]}
    assert found["master keys"]["grade"] == "wrong"
    assert found["master keys"]["finding"].startswith("secret_keys: is required with PostgreSQL")
    assert found["database"]["finding"].startswith("database_url: cannot connect to 127.0.0.1:1; start a ")


async def test_commands_about_this_machine_say_so_beside_another_service(tmp_path: Path) -> None:
    note = "these are the settings of this machine; the service that RINGBACK_URL names is not asked\n"
    for command in (("config",), ("doctor", "--offline")):
        assert (await run(tmp_path, *command, RINGBACK_URL="http://127.0.0.1:1")).err.startswith(note)
        assert not (await run(tmp_path, *command)).err.startswith(note)


def test_the_settings_of_the_sandbox_fit_a_terminal() -> None:
    assert max(map(len, settings_for("http://127.0.0.1:65535").splitlines())) <= 80


async def test_dev_runs_a_service_to_try_and_leaves_nothing(tmp_path: Path) -> None:
    spare = tmp_path / "spare"
    spare.mkdir()
    async with begun(tmp_path, "dev", "--port", "0", "--takes", "0.1", TMPDIR=str(spare)) as process:
        url = (await line_with(process.stdout, "url:")).split()[1]
        key = (await line_with(process.stdout, "key:")).split()[1]
        assert (await line_with(process.stdout, "docs:")).split()[1] == f"{url}/docs"
        call = await line_with(process.stdout, "curl ")
        assert call.startswith(f"curl -s {url}/v1/jobs -H 'Authorization: Bearer {key}' ")
        program, *wish = shlex.split(await line_with(process.stdout, "jobs submit"))
        assert program == str(RINGBACK)  # PATH does not hold it here
        variables = {"RINGBACK_URL": url, "RINGBACK_API_KEY": key}
        assert (await run(tmp_path, *wish, "--json", **variables)).told()["completed_by"] == "callback"
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
    async with begun(tmp_path, "demo", TMPDIR=str(tmp_path), COLUMNS="80") as process:
        told = [""]
        while not told[-1].startswith("one terminal event"):
            told.append(await line_with(process.stdout, ""))
        assert max(map(len, told)) <= 80
        ends = [line.split() for line in told if re.search("(succeeded|failed) by ", line)]
        assert {first for first, *_ in ends} == {job.provider for job in _wishes()}
        assert "callbacks: 1 forged refused, 2 doubled absorbed" in told
        url = (await line_with(process.stdout, "url:")).split()[1]
        key = (await line_with(process.stdout, "key:")).split()[1]
        await line_with(process.stdout, "curl ")
        listed = await run(
            tmp_path, "jobs", "list", "-q", "--limit", "200", RINGBACK_URL=url, RINGBACK_API_KEY=key
        )
        assert len(listed.out.splitlines()) == len(_wishes())
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


async def test_the_doctor_does_not_blame_a_service_that_does_not_run_yet(
    tmp_path: Path, unserved: str
) -> None:
    port = unserved.rpartition(":")[2]
    variables = {
        "RINGBACK_PUBLIC_URL": unserved,
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
