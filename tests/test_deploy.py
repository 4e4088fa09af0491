"""The files of `deploy/`: they pass the linters, name only existing settings, and install locked versions."""

import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from receiver.config.load import load
from receiver.config.settings import Settings

HERE = Path(__file__).parents[1]
DEPLOY = HERE / "deploy"
BIN = Path(sys.executable).parent


def lines(name: str) -> list[str]:
    """Return the lines of a file in the folder."""
    return (DEPLOY / name).read_text("utf-8").splitlines()


@pytest.mark.parametrize(
    "command",
    [
        ["hadolint", "--failure-threshold", "style", "deploy/Dockerfile"],
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "deploy/compose.yaml"],
    ],
)
def test_the_linters_have_nothing_to_say(command: list[str]) -> None:
    program, *arguments = command
    done = subprocess.run([BIN / program, *arguments], cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml", "ringback.service"])
def test_every_setting_that_is_named_exists(name: str) -> None:
    named = set(re.findall(r"RINGBACK_([A-Z_]+)\s*[=:] *[\"'\w/{$]", "\n".join(lines(name))))
    assert named
    for one in named - {"CONFIG", "DOMAIN", "API_KEY_FILE"}:
        assert one.partition("__")[0].removesuffix("_FILE").lower() in Settings.model_fields, one


def test_what_the_image_copies_is_there_and_is_sent_to_the_builder() -> None:
    sent = (HERE / ".dockerignore").read_text("utf-8").splitlines()
    copied = [
        line.split()[1:-1]
        for line in lines("Dockerfile")
        if line.startswith("COPY ") and "--from" not in line
    ]
    assert copied
    for source in (one for many in copied for one in many):
        assert (HERE / source).exists(), source
        assert {f"!{source}", f"!{source}/**"} & set(sent), source


def test_the_image_installs_the_versions_that_are_tested() -> None:
    tested = set(filter(re.compile(r"\S+==").match, lines("constraints.txt")))
    installed = set(filter(re.compile(r"\S+==").match, lines("image.txt")))
    assert installed
    assert installed <= tested


def test_every_file_and_secret_of_the_composition_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "secrets.sh").write_bytes((DEPLOY / "secrets.sh").read_bytes())
    for _ in range(2):
        subprocess.run(["sh", "secrets.sh"], cwd=tmp_path, check=True, capture_output=True)
    wanted = re.findall(r"^ +file: (\S+)$", "\n".join(lines("compose.yaml")), re.MULTILINE)
    assert len(wanted) == 13
    for file in wanted:
        assert (tmp_path / file).exists() or (DEPLOY / file).exists(), file
    password = (tmp_path / "secrets" / "database_password").read_text()
    assert f":{password}@database/" in (tmp_path / "secrets" / "database_url").read_text()
    assert oct((tmp_path / "secrets").stat().st_mode)[-3:] == "700"
    service = (tmp_path / "secrets" / "service_password").read_text()
    assert f"ringback_service:{service}@" in (tmp_path / "secrets" / "service_url").read_text()
    assert service != password
    for read_inside in (tmp_path / "ringback.toml", *(tmp_path / "secrets").iterdir()):
        assert read_inside.stat().st_mode & 0o004, read_inside
    (tmp_path / "secrets" / "database_password").unlink()
    subprocess.run(["sh", "secrets.sh"], cwd=tmp_path, check=True, capture_output=True)
    fresh = (tmp_path / "secrets" / "database_password").read_text()
    assert f":{fresh}@database/" in (tmp_path / "secrets" / "database_url").read_text()


def test_the_unit_bounds_what_it_takes_and_stays_down_for_a_wrong_setting_only() -> None:
    unit = lines("ringback.service")
    assert {"MemoryMax=1G", "TasksMax=256", "LimitNOFILE=65536"} <= set(unit)
    assert {"Restart=on-failure", "RestartPreventExitStatus=2", "StartLimitIntervalSec=0"} <= set(unit)


def test_the_unit_and_the_first_install_hand_keys_over_as_credentials() -> None:
    readme = "\n".join(lines("README.md"))
    install = readme.split("## Install with systemd", 1)[1].split("\n## ", 1)[0]
    commands = install.split("```sh\n", 1)[1].split("```", 1)[0].replace("\\\n", "").splitlines()
    assert len(commands) == 10
    drop_in = next(one for one in commands if "LoadCredential" in one)
    written = drop_in.split("'")[1].replace("%%", "%").split("\\n")
    shown = [line.removeprefix("#   ") for line in lines("ringback.service")]
    assert set(written) - {""} <= set(shown)
    variable = re.search(r"RINGBACK_\w+", drop_in)
    assert variable is not None
    assert load(Path("/dev/null"), {variable[0]: "/dev/null"}).accounts
    assert "api_key" not in "".join(one for one in commands if "/etc/ringback.toml" in one)


def test_only_callbacks_and_assets_are_public_where_that_is_chosen() -> None:
    text = "\n".join(lines("Caddyfile.callbacks"))
    assert re.findall(r"path (.*)", text) == ["/callbacks/* /assets/*"]
    assert "@inside path /healthz /readyz /metrics\n\trespond @inside 404" in "\n".join(lines("Caddyfile"))


def test_the_replicas_of_the_composition_do_not_connect_as_the_owner() -> None:
    text = "\n".join(lines("compose.yaml"))
    replicas, services = text.split("\nservices:\n", 1)
    assert "RINGBACK_DATABASE_URL_FILE: /run/secrets/service_url" in replicas
    assert 'RINGBACK_MIGRATE_ON_START: "false"' in replicas
    migrate = services.split("\n  first:", 1)[0]
    assert "RINGBACK_DATABASE_URL_FILE: /run/secrets/database_url" in migrate


def test_an_activated_environment_is_made_anew_from_the_python_behind_it(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "constraints.txt").touch()
    (tmp_path / "pyproject.toml").touch()
    shutil.copy(DEPLOY / "setup.sh", tmp_path / "deploy")
    venv.create(tmp_path / ".venv", symlinks=True)
    inside, others = tmp_path / ".venv" / "bin", tmp_path / "others"
    others.mkdir()
    (others / "apt-get").symlink_to("/bin/false")
    (inside / "stale").touch()
    made = subprocess.run(
        ["sh", tmp_path / "deploy" / "setup.sh"],
        env={
            "PATH": f"{inside}:{others}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "VIRTUAL_ENV": str(inside.parent),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "cannot make an environment" not in made.stdout
    assert "setup: installing 0 locked packages" in made.stdout
    assert not (inside / "stale").exists()
    assert subprocess.run([inside / "python", "-c", ""], check=False).returncode == 0
