"""What `deploy/` holds is linted, names only what exists, and installs what was locked."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.settings import Settings

HERE = Path(__file__).parents[1]
DEPLOY = HERE / "deploy"
BIN = Path(sys.executable).parent


def lines(name: str) -> list[str]:
    """A file of the folder, line by line."""
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
    for one in named - {"CONFIG", "DOMAIN"}:
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
    assert len(wanted) == 6
    for file in wanted:
        assert (tmp_path / file).exists() or (DEPLOY / file).exists(), file
    password = (tmp_path / "secrets" / "database_password").read_text()
    assert f":{password}@database/" in (tmp_path / "secrets" / "database_url").read_text()
    assert oct((tmp_path / "secrets").stat().st_mode)[-3:] == "700"
    for read_inside in (tmp_path / "ringback.toml", *(tmp_path / "secrets").iterdir()):
        assert read_inside.stat().st_mode & 0o004, read_inside
    (tmp_path / "secrets" / "database_password").unlink()
    subprocess.run(["sh", "secrets.sh"], cwd=tmp_path, check=True, capture_output=True)
    fresh = (tmp_path / "secrets" / "database_password").read_text()
    assert f":{fresh}@database/" in (tmp_path / "secrets" / "database_url").read_text()
