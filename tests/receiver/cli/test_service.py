"""Tests of the URL and the key in the environment: their forms, and the fix of each mistake."""

from pathlib import Path

import click
import pytest

from receiver.cli.service import Service, given_key, given_url, read_key

pytestmark = pytest.mark.usefixtures("alone")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("  https://hooks.example/ ", "https://hooks.example"),
        ("HTTPS://hooks.example/ringback//", "https://hooks.example/ringback"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://hooks.example/v1/x", "http://hooks.example/v1/x"),
        ("http://hooks.example/a@b", "http://hooks.example/a@b"),
        ("", None),
        ("   ", None),
    ],
)
def test_a_url_is_taken_without_its_last_slash(
    monkeypatch: pytest.MonkeyPatch, text: str, url: str | None
) -> None:
    monkeypatch.setenv("RINGBACK_URL", text)
    assert given_url() == url


def test_a_variable_that_is_not_set_gives_no_url_and_no_key() -> None:
    assert (given_url(), given_key()) == (None, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("localhost:8080", "RINGBACK_URL needs its scheme: write http://localhost:8080"),
        ("ftp://localhost", "RINGBACK_URL must begin with http:// or https://"),
        ("://localhost", "RINGBACK_URL must begin with http:// or https://"),
        ("http://me:x@localhost", "RINGBACK_URL must hold no user name; the key goes into RINGBACK_API_KEY"),
        ("https:///v1", "RINGBACK_URL names no host: write, for example, http://127.0.0.1:8080"),
        ("http://h:1/v1", "RINGBACK_URL stands without the path of a call: write http://h:1"),
        ("HTTPS://h/v1/", "RINGBACK_URL stands without the path of a call: write https://h"),
    ],
)
def test_a_url_that_cannot_be_right_is_told_with_the_fix(
    monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    monkeypatch.setenv("RINGBACK_URL", text)
    with pytest.raises(click.UsageError) as raised:
        given_url()
    assert raised.value.message == says


def test_a_key_comes_from_its_variable_or_from_a_file(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGBACK_API_KEY", " rb_one\n")
    assert given_key() == "rb_one"
    monkeypatch.setenv("RINGBACK_API_KEY", "")
    (alone / "key").write_text("rb_two\r\n")
    monkeypatch.setenv("RINGBACK_API_KEY_FILE", " key ")
    assert given_key() == "rb_two"
    (alone / "key").write_text("\n")
    assert given_key() == ""


def test_a_key_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGBACK_API_KEY", "rb_one")
    monkeypatch.setenv("RINGBACK_API_KEY_FILE", "key")
    expected = r"^RINGBACK_API_KEY and RINGBACK_API_KEY_FILE are both set; set one of the two$"
    with pytest.raises(click.UsageError, match=expected):
        given_key()


def test_a_missing_file_is_an_error_only_where_it_is_needed(alone: Path) -> None:
    assert read_key(Path("key"), "data_dir", needed=False) == ""
    with pytest.raises(click.UsageError) as raised:
        read_key(Path("key"), "data_dir")
    assert raised.value.message == "data_dir: there is no file key; make it, or name another"


@pytest.mark.parametrize("needed", [True, False])
def test_a_file_that_cannot_be_read_is_told_with_its_setting(alone: Path, needed: bool) -> None:
    (alone / "key").write_bytes(b"rb_\xff")
    (alone / "folder").mkdir()
    with pytest.raises(click.UsageError) as raised:
        read_key(Path("key"), "RINGBACK_API_KEY_FILE", needed=needed)
    assert raised.value.message == "RINGBACK_API_KEY_FILE: cannot read key: it is not UTF-8"
    with pytest.raises(click.UsageError) as raised:
        read_key(Path("folder"), "data_dir", needed=needed)
    assert raised.value.message == "data_dir: cannot read folder: Is a directory; name a file"


def test_a_key_is_not_in_the_repr_of_a_service() -> None:
    assert repr(Service("http://h", "rb_secret")) == "Service(url='http://h')"
