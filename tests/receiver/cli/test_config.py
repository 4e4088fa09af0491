"""Tests of `ringback config`: effective values, their origins, masked secrets, and settings refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from receiver.cli.config import check, effective
from receiver.config.load import load
from receiver.config.settings import Settings
from receiver.domain.errors import Misconfigured
from tests.receiver.config.test_load import ENDPOINT, KEY, MASTER, WHSEC
from tests.receiver.scripted_service import run

SECRETS = f"""
admin_key = "{KEY}"
secret_keys = ["{MASTER}"]
database_url = "postgresql://me:canary@db/x"
[providers.apiframe]
api_key = "canary"
previous_api_keys = ["canary"]
[providers.replicate]
api_key = "canary"
webhook_secret = "{WHSEC}"
{ENDPOINT}
secret = "{WHSEC}"
headers = {{authorization = "canary"}}
"""


def values(folder: Path, text: str = "") -> dict[str, tuple[Any, str]]:
    """Return the effective value and the origin of each setting of a file with this text."""
    (folder / "ringback.toml").write_text(text)
    return {name: (value, origin) for name, value, origin in effective(load())}


def test_every_setting_has_its_value_and_its_origin(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGBACK_HOST", "::1")
    found = values(alone, "port = 81\negress_allow = ['127.0.0.0/8']")
    assert set(found) == set(Settings.model_fields) - {"providers"}
    assert found["port"] == (81, "file ringback.toml")
    assert found["host"] == ("::1", "environment RINGBACK_HOST")
    assert found["egress_allow"] == (["127.0.0.0/8"], "file ringback.toml")
    assert found["shutdown_grace"] == (20, "default")
    assert found["public_url"] == (None, "default")


def test_every_secret_is_masked(alone: Path) -> None:
    found = values(alone, SECRETS)
    assert found["admin_key"][0] == "***"
    assert found["secret_keys"][0] == ["***"]
    assert found["database_url"][0] == "postgresql://me:***@db/x"
    assert found["providers.apiframe.api_key"][0] == "***"
    assert found["providers.apiframe.previous_api_keys"][0] == ["***"]
    assert found["providers.replicate.webhook_secret"][0] == "***"
    [endpoint] = found["endpoints"][0]
    assert (endpoint["secret"], endpoint["headers"]) == ("***", {"authorization": "***"})
    assert endpoint["url"] == "https://app.example/hooks"
    shown = json.dumps(found)
    assert not [secret for secret in ("canary", KEY, MASTER, WHSEC) if secret in shown]


def test_an_account_shows_the_handlers_defaults_that_are_in_effect(alone: Path) -> None:
    found = values(alone, '[providers.mine]\nhandler = "apiframe"\nauth_scheme = "bearer"\n')
    handler = load().accounts["mine"].handler
    assert found["providers.mine.handler"] == ("apiframe", "file ringback.toml")
    assert found["providers.mine.base_url"] == (handler.base_url, "default")
    assert found["providers.mine.poll_interval"] == (handler.cadence.interval.total_seconds(), "default")
    assert found["providers.mine.backstop_after"] == (handler.cadence.backstop.total_seconds(), "default")
    assert found["providers.mine.api_key"] == (None, "default")
    assert found["providers.mine.auth_scheme"] == ("bearer", "file ringback.toml")
    assert "providers.mine.options" not in found


def test_an_accounts_own_values_come_before_the_handlers(alone: Path) -> None:
    text = '[providers.gately]\npoll_interval = 7\nbackstop_after = 8\nbase_url = "http://h:8081/x/"\n'
    found = values(alone, text)
    assert found["providers.gately.poll_interval"] == (7.0, "file ringback.toml")
    assert found["providers.gately.backstop_after"] == (8.0, "file ringback.toml")
    assert found["providers.gately.base_url"] == ("http://h:8081/x", "file ringback.toml")
    assert values(alone, "[providers.gately]\nmax_jobs = 1")["providers.gately.base_url"][0] is None


def test_the_data_folder_in_effect_is_that_of_the_database(alone: Path) -> None:
    assert values(alone)["data_dir"] == (str(alone), "default")
    (alone / "data").mkdir()
    assert values(alone, 'database_url = "sqlite:///data/x.db"')["data_dir"][0] == str(alone / "data")
    assert values(alone, 'data_dir = "/var/lib/x"')["data_dir"] == ("/var/lib/x", "file ringback.toml")
    assert values(alone, 'database_url = "postgresql://me@db/x"')["data_dir"] == (None, "default")


def test_the_log_format_in_effect_depends_on_the_terminal(alone: Path) -> None:
    assert values(alone)["log_format"] == ("json", "default")
    assert values(alone, 'log_format = "text"')["log_format"] == ("text", "file ringback.toml")


def test_each_setting_is_one_line_with_its_origin_behind(alone: Path) -> None:
    (alone / "ringback.toml").write_text(
        '[providers.apiframe]\napi_key = "canary"\n[[endpoints]]\nid = "a"\nurl = "http://h"\n'
        'description = "\u6f6e\\u001b"'
    )
    result = run("config")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert "port = 8080  # default" in lines
    assert 'providers.apiframe.api_key = "***"  # file ringback.toml' in lines
    assert '"description": "\u6f6e\\u001b"' in next(line for line in lines if line.startswith("endpoints"))
    assert "canary" not in result.stdout


def test_json_holds_value_and_origin_of_each_setting(alone: Path) -> None:
    (alone / "other.toml").write_text("port = 81")
    result = run("config", "--json", "--config", "other.toml", RINGBACK_URL="http://h")
    assert json.loads(result.stdout)["port"] == {"value": 81, "from": "file other.toml"}
    assert result.stderr.startswith("these are the settings of this machine; ")


@pytest.mark.parametrize(
    ("changes", "setting", "says"),
    [
        (
            {"database_url": "sqlite:///nowhere/x.db"},
            "database_url",
            "the folder nowhere does not exist; make it",
        ),
        ({"database_url": "mysql://h/x"}, "database_url", "must be sqlite:///path"),
        ({"database_url": "postgresql://me@db"}, "database_url", "must name the database"),
        ({"database_url": "postgresql://me@db/x"}, "secret_keys", "is required with PostgreSQL"),
        (
            {"database_url": "postgresql://me@db/x", "secret_keys": [MASTER]},
            "admin_key",
            "is required with PostgreSQL, the same for every replica",
        ),
        ({"egress_ca_file": "nowhere.pem"}, "egress_ca_file", "cannot be read as certificates (PEM)"),
    ],
)
def test_settings_that_a_start_refuses_are_refused(
    alone: Path, changes: dict[str, Any], setting: str, says: str
) -> None:
    with pytest.raises(Misconfigured) as raised:
        check(Settings.model_validate(changes))
    assert raised.value.setting == setting
    assert raised.value.problem.startswith(says)


@pytest.mark.parametrize(
    "changes",
    [{}, {"database_url": "postgresql://me@db/x", "secret_keys": [MASTER], "admin_key": KEY}],
    ids=["sqlite", "postgresql"],
)
def test_settings_that_a_start_takes_are_taken_and_nothing_is_made(
    alone: Path, changes: dict[str, Any]
) -> None:
    check(Settings.model_validate(changes))
    assert list(alone.iterdir()) == []


def test_a_source_is_shown_with_the_words_of_the_file_and_without_its_secrets(tmp_path: Path) -> None:
    file = tmp_path / "ringback.toml"
    file.write_text(
        '[[sources]]\nname = "shop"\nproof = {scheme = "github", secrets = ["hidden"]}\n'
        'challenge = {json = "challenge"}\n'
    )
    shown = {name: value for name, value, _ in effective(load(file, {}))}["sources"]
    assert (shown[0]["challenge"]["json"], shown[0]["proof"]["secrets"]) == ("challenge", ["***"])
