"""The distribution of the client: one package, its types, its licence, and httpx alone."""

import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from ringback import __version__
from tests.wheels import built

HERE = Path(__file__).parents[2]
CLIENT = HERE / "client"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Return the wheel of the client, built without a network."""
    return built(CLIENT, tmp_path_factory.mktemp("wheel"))


def test_it_installs_ringback_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert {name.split("/", 1)[0] for name in names} == {
        "ringback",
        f"ringback_client-{__version__}.dist-info",
    }
    modules = {str(path.relative_to(CLIENT)) for path in (CLIENT / "ringback").rglob("*.py")}
    inside = {name for name in names if name.startswith("ringback/")}
    assert inside == modules | {"ringback/py.typed"}


def test_its_metadata_names_the_licence_the_front_door_and_httpx_alone(wheel: zipfile.ZipFile) -> None:
    [place] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = message_from_string(wheel.read(place).decode())
    assert (metadata["Name"], metadata["Version"]) == ("ringback-client", __version__)
    assert (metadata["License-Expression"], metadata["Requires-Python"]) == ("Apache-2.0", ">=3.11")
    assert metadata.get_all("Requires-Dist") == ["httpx>=0.28", "cryptography>=45; extra == 'v1a'"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert wheel.read(place).decode().endswith((CLIENT / "README.md").read_text("utf-8"))
    licence = wheel.read(place.replace("METADATA", "licenses/LICENSE"))
    assert licence == (HERE / "LICENSE").read_bytes()


def test_it_has_no_command(wheel: zipfile.ZipFile) -> None:
    assert not [name for name in wheel.namelist() if name.endswith("entry_points.txt")]


def test_it_runs_from_the_wheel_without_the_service(wheel: zipfile.ZipFile) -> None:
    program = (
        "import sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "import ringback\n"
        "assert ringback.__file__.startswith(sys.argv[1]), ringback.__file__\n"
        "found = {'receiver', 'handlers', 'cryptography', 'pydantic', 'starlette'} & set(sys.modules)\n"
        "assert not found, found\n"
        "print(ringback.Webhook(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", program, str(wheel.filename), "whsec_" + "A" * 32]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert (done.stdout, done.returncode) == ("Webhook(1 keys)\n", 0), done.stderr


def test_the_service_s_image_and_distributions_have_no_part_of_it() -> None:
    sent = (HERE / ".dockerignore").read_text("utf-8").splitlines()
    assert sent[0] == "*"
    assert not [line for line in sent if line.startswith("!client")]
    targets = tomllib.loads((HERE / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]
    assert targets["wheel"]["packages"] == ["receiver", "handlers"]
    assert targets["sdist"]["exclude"] == ["/client"]
