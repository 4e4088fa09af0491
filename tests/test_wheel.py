"""The wheel: its licence, its types, its migrations and its metadata."""

import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from tests.wheels import built

HERE = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Return the wheel of this checkout, built without a network."""
    return built(HERE, tmp_path_factory.mktemp("wheel"))


def test_it_carries_everything_that_the_service_reads(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for package in ("receiver", "handlers"):
        wanted = [
            path for path in (HERE / package).rglob("*") if path.suffix in {".py", ".sql", ".md", ".typed"}
        ]
        assert {str(path.relative_to(HERE)) for path in wanted} <= names
        assert f"{package}/py.typed" in names
    assert not [name for name in names if name.startswith("tests/") or name.endswith(".pyc")]
    tops = {name.split("/", 1)[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"receiver", "handlers"}


def test_its_metadata_names_the_licence_and_the_description(wheel: zipfile.ZipFile) -> None:
    [place] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = message_from_string(wheel.read(place).decode())
    assert (metadata["Name"], metadata["License-Expression"]) == ("ringback", "Apache-2.0")
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    licence = place.replace("METADATA", "licenses/LICENSE")
    assert wheel.read(licence) == (HERE / "LICENSE").read_bytes()


def test_it_installs_the_command(wheel: zipfile.ZipFile) -> None:
    [place] = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert "ringback = receiver.__main__:main" in wheel.read(place).decode()
