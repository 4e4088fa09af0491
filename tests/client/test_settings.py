"""The URL and the key of a client."""

from pathlib import Path

import pytest

from ringback.errors import ConfigurationError
from ringback.settings import checked_url, settings

KEY = "rb_" + "k" * 32


def test_the_environment_serves_for_what_is_not_given(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    both = {"RINGBACK_URL": "https://hooks.example.com/", "RINGBACK_API_KEY": f" {KEY}\n"}
    assert (found := settings(None, None, both)).url == "https://hooks.example.com"
    assert found.key == KEY
    file = {"RINGBACK_API_KEY_FILE": str(tmp_path / "key")}
    assert settings("http://127.0.0.1:8080", None, file).key == KEY
    assert settings("http://other", "rb_other", both).url == "http://other"
    assert settings("http://other", "rb_other", both).key == "rb_other"


def test_the_key_is_in_no_repr() -> None:
    assert KEY not in repr(settings("http://127.0.0.1:8080", KEY, {}))


@pytest.mark.parametrize(
    ("url", "key", "variables", "told"),
    [
        (None, KEY, {}, "set RINGBACK_URL"),
        ("http://h", None, {}, "set RINGBACK_API_KEY or RINGBACK_API_KEY_FILE"),
        ("http://h", "", {"RINGBACK_API_KEY": KEY}, "give an API key"),
        ("http://h", "rb_\n1", {}, "plain ASCII"),
        ("http://h", "rb_ä", {}, "plain ASCII"),
        ("http://h", None, {"RINGBACK_API_KEY": KEY, "RINGBACK_API_KEY_FILE": "f"}, "are both set"),
        (
            "http://h",
            None,
            {"RINGBACK_API_KEY_FILE": "/nowhere/key"},
            "cannot read /nowhere/key: No such file",
        ),
    ],
)
def test_a_missing_or_wrong_setting_is_named(
    url: str | None, key: str | None, variables: dict[str, str], told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told) as caught:
        settings(url, key, variables)
    assert KEY not in str(caught.value)


def test_a_key_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="it is not UTF-8"):
        settings("http://h", None, {"RINGBACK_API_KEY_FILE": str(tmp_path / "key")})


@pytest.mark.parametrize(
    "url",
    [
        "h",
        "ftp://h",
        "http://",
        "//h",
        "http://h:port",
        "http://h:70000",
        "http://u:p@h",
        "http://h?x",
        "http://h#x",
    ],
)
def test_a_url_that_is_none_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        checked_url(url)
    assert "u:p" not in str(caught.value)


def test_a_path_before_the_api_is_kept_and_the_api_s_own_is_not() -> None:
    assert checked_url("https://h.example/ringback/") == "https://h.example/ringback"
    assert checked_url("https://h.example/v1") == "https://h.example"
    assert checked_url("http://[::1]:8080") == "http://[::1]:8080"
