"""Tests of the service of this machine's settings: its URL, and the services that get its key."""

from pathlib import Path

import click
import pytest

from receiver.cli.own_service import own_service, say_whose_settings
from receiver.cli.service import Service

ADMIN = "rb_" + "a" * 32
MADE = "rb_" + "m" * 32


@pytest.fixture
def made(alone: Path) -> Path:
    """Return the folder of a service that generated its admin key."""
    (alone / "ringback-api-key").write_text(f"{MADE}\n")
    return alone


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ("", "http://127.0.0.1:8080"),
        ("port = 81", "http://127.0.0.1:81"),
        ('host = "0.0.0.0"', "http://127.0.0.1:8080"),
        ('host = "::"', "http://[::1]:8080"),
        ('host = "10.0.0.7"\nport = 82', "http://10.0.0.7:82"),
        ('host = "fd00::7"', "http://[fd00::7]:8080"),
    ],
)
def test_the_url_is_the_host_and_the_port_of_the_settings(made: Path, settings: str, url: str) -> None:
    (made / "ringback.toml").write_text(settings)
    assert own_service(None) == Service(url, MADE)


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://127.0.0.1:8080", MADE),
        ("http://localhost:8080", MADE),
        ("https://hooks.example", MADE),
        ("http://hooks.example", ""),
        ("http://127.0.0.1:8081", ""),
        ("http://localhost", ""),
        ("https://hooks.example.evil", ""),
    ],
)
def test_the_key_of_this_machine_is_only_for_its_own_service(made: Path, url: str, key: str) -> None:
    (made / "ringback.toml").write_text('public_url = "https://hooks.example"')
    assert own_service(url) == Service("http://127.0.0.1:8080", key)


def test_the_admin_key_of_the_settings_comes_before_the_generated_one(made: Path) -> None:
    (made / "ringback.toml").write_text(f'admin_key = "{ADMIN}"')
    assert own_service(None).key == ADMIN


def test_the_generated_key_lies_in_the_data_folder(made: Path) -> None:
    folder = made / "data"
    folder.mkdir()
    (made / "ringback.toml").write_text(f'data_dir = "{folder}"')
    assert own_service(None).key == ""
    (folder / "ringback-api-key").write_text(ADMIN)
    assert own_service(None).key == ADMIN


def test_the_generated_key_lies_beside_the_database(made: Path) -> None:
    folder = made / "data"
    folder.mkdir()
    (made / "ringback.toml").write_text(f'database_url = "sqlite:///{folder}/x.db"')
    (folder / "ringback-api-key").write_text(ADMIN)
    assert own_service(None).key == ADMIN


def test_with_postgresql_there_is_a_generated_key_only_in_a_data_folder(made: Path) -> None:
    (made / "ringback.toml").write_text('database_url = "postgresql://me@db/x"')
    assert own_service(None).key == ""
    (made / "ringback.toml").write_text(f'database_url = "postgresql://me@db/x"\ndata_dir = "{made}"')
    assert own_service(None).key == MADE


def test_an_open_port_is_an_error_only_where_no_url_is_given(made: Path) -> None:
    (made / "ringback.toml").write_text("port = 0")
    expected = r"^the settings leave the port open \(0\): set RINGBACK_URL$"
    with pytest.raises(click.UsageError, match=expected):
        own_service(None)
    assert own_service("http://localhost:8080").key == ""


def test_the_clients_key_is_no_setting(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGBACK_API_KEY", "rb_x")
    monkeypatch.setenv("RINGBACK_API_KEY_FILE", "nowhere")
    assert own_service(None) == Service("http://127.0.0.1:8080", MADE)


def test_a_note_says_whose_settings_these_are_beside_another_service(
    alone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say_whose_settings()
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("RINGBACK_URL", "http://127.0.0.1:1")
    say_whose_settings()
    note = "these are the settings of this machine; the service that RINGBACK_URL names is not asked\n"
    assert capsys.readouterr() == ("", note)
