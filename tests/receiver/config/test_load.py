"""Tests of the loader of settings: the environment overrides the file; a mistake is a line that names it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.config.load import PREFIX, Loaded, load
from receiver.config.settings import RETRY_SCHEDULE, AccountSettings, Settings
from receiver.domain.errors import Misconfigured
from receiver.store import database_path, open_driver
from receiver.store.postgres.url import without_password
from tests.receiver.raw_server import BOUNDED

KEY = "rb_" + "k" * 32
MASTER = "canary-master-" + "m" * 32
WHSEC = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
ENDPOINT = '[[endpoints]]\nid = "a"\nurl = "https://app.example/hooks"\n'
# A variable, its text, where it ends up and as what.
VARIABLES = [
    ("PORT", "9000", "port", 9000),
    ("HOST", "::1", "host", "::1"),
    ("EGRESS_HTTP", "true", "egress_http", True),
    ("EGRESS_HTTP", "0", "egress_http", False),
    ("EGRESS_ALLOW", '["127.0.0.0/8", "::1/128"]', "egress_allow", ("127.0.0.0/8", "::1/128")),
    ("EGRESS_ALLOW", "[]", "egress_allow", ()),
    ("EGRESS_ALLOW", ' ["::1/128"]\n ', "egress_allow", ("::1/128",)),
    ("RETRY_SCHEDULE", "[0.5, 1]", "retry_schedule", (0.5, 1.0)),
    ("DATA_DIR", "/var/lib/x", "data_dir", Path("/var/lib/x")),
    ("PUBLIC_URL", "https://hooks.example/in/", "public_url", "https://hooks.example/in"),
    ("EGRESS_CA_FILE", "/etc/ca.pem", "egress_ca_file", Path("/etc/ca.pem")),
    ("LOG_FORMAT", "json", "log_format", "json"),
    ("ON_UNCONFIRMED", "resubmit", "on_unconfirmed", "resubmit"),
    ("ASSET_LINK_DAYS", "0.5", "asset_link_days", 0.5),
]
# What the file says, and the setting that the refusal names.
WRONG_FILES = [
    ("prot = 1", "prot: unknown setting; the nearest one is `port`"),
    ("retry_shedule = [1]", "retry_shedule: unknown setting; the nearest one is `retry_schedule`"),
    ('port = "x"', "port: "),
    ("port = 65536", "port: "),
    ("port = -1", "port: "),
    ("port = 1.5", "port: "),
    ("port = [1]", "port: "),
    ("host = 5", "host: "),
    ('host = ""', "host: "),
    ("[host]\na = 1", "host: "),
    ("egress_http = 7", "egress_http: "),
    ('egress_allow = ["127.0.0.1/8"]', "egress_allow.0: "),
    ('egress_allow = ["10.0.0.0/8", "all"]', "egress_allow.1: "),
    ('egress_allow = "10.0.0.0/8"', "egress_allow: "),
    ('egress_allow_hosts = ["https://a.example"]', "egress_allow_hosts.0: must be a name without scheme"),
    ('egress_allow_hosts = ["a.example", "10.0.0.1"]', "egress_allow_hosts.1: must be a name"),
    ('trusted_proxies = ["x"]', "trusted_proxies.0: "),
    ('public_url = "hooks.example"', "public_url: "),
    ('public_url = "https://u:p@hooks.example"', "public_url: "),
    ('public_url = "https://hooks.example/?a"', "public_url: "),
    ("job_deadline = 0", "job_deadline: "),
    ("job_deadline = 604801", "job_deadline: "),
    ('on_unconfirmed = "retry"', "on_unconfirmed: "),
    ("retry_schedule = [5, -1]", "retry_schedule.1: "),
    ('retry_schedule = [5, "x"]', "retry_schedule.1: "),
    ("retry_schedule = [nan]", "retry_schedule.0: "),
    (f"retry_schedule = {[1] * 51}", "retry_schedule: "),
    ("delivery_timeout = 0", "delivery_timeout: "),
    ("delivery_timeout = inf", "delivery_timeout: "),
    ("asset_link_days = 0", "asset_link_days: "),
    ('log_level = "loud"', "log_level: "),
    (f'secret_keys = ["{"m" * 31}"]', "secret_keys: each key must have at least 32"),
    (f'secret_keys = ["{MASTER}", "short"]', "secret_keys: each key must have at least 32"),
    (f'secret_keys = "{MASTER}"', "secret_keys: "),
    (f'admin_key = "{"k" * 40}"', "admin_key: must be `rb_` and at least 32 characters"),
    (f'admin_key = "rb_{"k" * 31}"', "admin_key: must be `rb_` and at least 32 characters"),
    (f'admin_key = "RB_{"k" * 32}"', "admin_key: must be `rb_` and at least 32 characters"),
    ("providers = 5", "providers: "),
    ("[providers]\napiframe = 5", "providers.apiframe: must be a table"),
    (
        '[providers.apiframe]\napi_kye = "x"',
        "providers.apiframe.api_kye: unknown setting; the nearest one is `api_key`",
    ),
    (
        '[providers.apiframe]\nauth_schema = "x"',
        "providers.apiframe.auth_schema: unknown setting; the nearest",
    ),
    ('[providers.apiframe]\nauth_scheme = "x"', "providers.apiframe.auth_scheme: "),
    ("[providers.apiframe]\nmax_in_flight = 0", "providers.apiframe.max_in_flight: "),
    ("[providers.apiframe]\nrate_limit = 0", "providers.apiframe.rate_limit: "),
    ('[providers.apiframe]\napi_key = "a b"', "providers.apiframe.api_key: must be plain ASCII"),
    ('[providers.apiframe]\napi_key = "é"', "providers.apiframe.api_key: must be plain ASCII"),
    ("[providers.apiframe]\napi_key = {a = 1}", "providers.apiframe.api_key: "),
    ('[providers.apiframe]\nbase_url = "x"', "providers.apiframe.base_url: "),
    ('[providers.apiframe]\nconfirm = "never"', "providers.apiframe.confirm: "),
    ('[providers.mine]\napi_key = "x"', "providers.mine.handler: no handler 'mine'; known: "),
    ('[providers.mine]\nhandler = "apifram"', "providers.mine.handler: no handler 'apifram'; known: "),
    ("[providers.mine]\nhandler = 5", "providers.mine.handler: "),
    ('[providers.Mine]\nhandler = "apiframe"', "providers.Mine: an account's name is "),
    ('[providers.gately]\napi_key = "x"', "providers.gately.base_url: is needed"),
    ("endpoints = 5", "endpoints: "),
    ("[[endpoints]]\nid = 'a'", "endpoints.0.url: "),
    ("[[endpoints]]\nurl = 'https://a.example'", "endpoints.0.id: "),
    (ENDPOINT + 'ulr = "x"', "endpoints.0.ulr: unknown setting; the nearest one is `url`"),
    (ENDPOINT + 'events = ["job"]', "endpoints.0.events: each must be an event type"),
    (ENDPOINT + "events = []", "endpoints.0.events: "),
    (ENDPOINT + 'secret = "whsec_x"', "endpoints.0.secret: a secret is "),
    (ENDPOINT + 'include = ["input"]', "endpoints.0.include.0: "),
    (ENDPOINT + "max_in_flight = 1001", "endpoints.0.max_in_flight: "),
    (ENDPOINT.replace('"a"', '"a b"'), "endpoints.0.id: "),
    (ENDPOINT + ENDPOINT, "endpoints: two endpoints have the same id"),
    ("port = ", "--config: "),
    ("port = 1\nport = 2", "--config: "),
    ("\x00", "--config: "),
]


def loaded(folder: Path, text: str | bytes = "", environment: Mapping[str, str] | None = None) -> Loaded:
    """Return the settings of a file with this text, with these variables without their `RINGBACK_`."""
    path = folder / "ringback.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(path, {PREFIX + name: value for name, value in (environment or {}).items()})


def refused(folder: Path, text: str | bytes = "", environment: Mapping[str, str] | None = None) -> str:
    """Return the line with which these settings are refused."""
    with pytest.raises(Misconfigured) as error:
        loaded(folder, text, environment)
    line = str(error.value)
    assert "\n" not in line
    assert line.startswith(f"{error.value.setting}: ")
    return line


def test_without_a_file_everything_has_a_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = load(environment={})
    assert found.settings == Settings()
    assert list(found.settings.retry_schedule) == list(RETRY_SCHEDULE)
    assert not found.origins
    assert not found.accounts
    (tmp_path / "ringback.toml").write_text("port = 1")
    assert load(environment={}).settings.port == 1
    (tmp_path / "other.toml").write_text("port = 2")
    assert load(environment={"RINGBACK_CONFIG": "other.toml"}).settings.port == 2
    assert load(tmp_path / "ringback.toml", {"RINGBACK_CONFIG": "other.toml"}).settings.port == 1


@pytest.mark.parametrize(("variable", "text", "name", "value"), VARIABLES)
def test_every_key_is_a_variable_too(
    tmp_path: Path, variable: str, text: str, name: str, value: object
) -> None:
    found = loaded(tmp_path, "", {variable: text})
    assert getattr(found.settings, name) == value
    assert found.origins[name] == f"environment RINGBACK_{variable}"


def test_the_environment_wins(tmp_path: Path) -> None:
    text = 'port = 1\nhost = "a"\n[providers.apiframe]\nmax_jobs = 3\npoll_interval = 7\n'
    found = loaded(tmp_path, text, {"PORT": "2", "PROVIDERS__APIFRAME__MAX_JOBS": "4"})
    account = found.settings.providers["apiframe"]
    assert (found.settings.port, found.settings.host) == (2, "a")
    assert (account.max_jobs, account.poll_interval) == (4, 7)
    assert found.origins["port"] == "environment RINGBACK_PORT"
    assert found.origins["host"].startswith("file ")
    assert (
        found.origins["providers.apiframe.max_jobs"] == "environment RINGBACK_PROVIDERS__APIFRAME__MAX_JOBS"
    )
    assert found.origins["providers.apiframe.poll_interval"].startswith("file ")


def test_a_hyphen_in_an_accounts_name_is_written_as_an_underscore(tmp_path: Path) -> None:
    text = '[providers.my-account]\nhandler = "apiframe"\n'
    variables = {"PROVIDERS__MY_ACCOUNT__API_KEY": "a", "PROVIDERS__APIFRAME_V2__API_KEY": "b"}
    found = loaded(tmp_path, text, variables)
    assert set(found.accounts) == {"my-account", "apiframe-v2"}
    assert [one.on for one in found.accounts.values()] == [True, True]


def test_a_table_may_come_as_json_and_be_laid_over(tmp_path: Path) -> None:
    providers = {"apiframe": {"api_key": "a", "auth_scheme": "bearer"}}
    variables = {"PROVIDERS": json.dumps(providers), "PROVIDERS__APIFRAME__POLL_INTERVAL": "3"}
    account = loaded(tmp_path, "", variables).settings.providers["apiframe"]
    assert (account.poll_interval, account.options) == (3, {"auth_scheme": "bearer"})


def test_a_value_may_lie_in_a_file(tmp_path: Path) -> None:
    secret, keys = tmp_path / "secret", tmp_path / "keys"
    secret.write_text(f"{KEY}\r\n")
    keys.write_text(json.dumps([MASTER]) + "\n")
    variables = {
        "ADMIN_KEY_FILE": str(secret),
        "SECRET_KEYS_FILE": str(keys),
        "PROVIDERS__APIFRAME__API_KEY_FILE": str(secret),
    }
    found = loaded(tmp_path, "", variables)
    assert found.settings.admin_key is not None
    assert found.settings.admin_key.get_secret_value() == KEY
    assert [key.get_secret_value() for key in found.settings.secret_keys] == [MASTER]
    assert found.accounts["apiframe"].on
    assert found.origins["admin_key"] == "environment RINGBACK_ADMIN_KEY_FILE"


def test_a_value_is_given_in_a_variable_or_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(KEY)
    both = {"ADMIN_KEY": KEY, "ADMIN_KEY_FILE": str(tmp_path / "secret")}
    line = refused(tmp_path, "", both)
    assert line == "RINGBACK_ADMIN_KEY_FILE: is set beside RINGBACK_ADMIN_KEY; set one of the two"
    settings = loaded(tmp_path, "", both | {"ADMIN_KEY": ""}).settings
    assert settings.admin_key is not None
    assert settings.admin_key.get_secret_value() == KEY


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_of_a_value_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    line = refused(tmp_path, "", {"ADMIN_KEY_FILE": str(tmp_path / "secret")})
    reason = "No such file or directory; make it, or name another" if content is None else "it is not UTF-8"
    assert line == f"RINGBACK_ADMIN_KEY_FILE: names a file that cannot be read: {reason}"


@pytest.mark.parametrize(("text", "line"), WRONG_FILES)
def test_a_mistake_in_the_file_is_one_line_that_names_the_setting(
    tmp_path: Path, text: str, line: str
) -> None:
    assert refused(tmp_path, text).startswith(line)


@pytest.mark.parametrize(
    ("variable", "text", "line"),
    [
        ("PROT", "1", "prot: unknown setting; the nearest one is `port`"),
        ("PORT", "x", "port: "),
        ("PORT__X", "1", "port: "),
        ("EGRESS_ALLOW", "[1", "RINGBACK_EGRESS_ALLOW: is not valid JSON"),
        ("EGRESS_ALLOW", "127.0.0.0/8", "egress_allow: "),
        ("PROVIDERS", '{"apiframe": 5}', "providers.apiframe: must be a table"),
        ("PROVIDERS__APIFRAME", "x", "providers.apiframe: must be a table"),
        ("PROVIDERS__APIFRAME__API_KYE", "x", "providers.apiframe.api_kye: unknown setting; the nearest"),
        ("PROVIDERS__APIFRAME__API_KEY__X", "x", "providers.apiframe.api_key: "),
        ("ENDPOINTS__0__URL", "x", "endpoints: "),
        ("ADMIN_KEY", "short", "admin_key: "),
        ("SECRET_KEYS", '["short"]', "secret_keys: "),
    ],
)
def test_a_mistake_in_the_environment_is_one_line(
    tmp_path: Path, variable: str, text: str, line: str
) -> None:
    assert refused(tmp_path, "", {variable: text}).startswith(line)


def test_a_variable_cannot_go_through_a_value(tmp_path: Path) -> None:
    assert refused(tmp_path, "port = 1", {"PORT__X": "1"}) == "RINGBACK_PORT__X: port is no table"


@pytest.mark.parametrize(
    "text", [b'host = "\xff"', "host = 'é'".encode("latin-1"), "port = 1".encode("utf-16")]
)
def test_a_file_that_is_not_utf_8(tmp_path: Path, text: bytes) -> None:
    assert "it is not UTF-8" in refused(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "nowhere.toml", "there is no file"), (tmp_path, "Is a directory")):
        with pytest.raises(Misconfigured, match=rf"\A--config: .*{reason}") as error:
            load(path, {})
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@h",
        "postgresql://u:p@h/",
        "postgres://u:p@h/db#x",
        "postgres://u:p@h/db?connections=2",
        "postgres://u:p@h/db?connections=many",
        "postgres://u:p@h/db?pooler=session",
        "postgres://u:p@h/db?nothing",
        "postgresql+asyncpg://h/db",
        "mysql://h/db",
        "sqlite:///",
        "sqlite://x.db",
        "x.db",
        "",
    ],
)
def test_a_database_that_we_do_not_speak_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured, match=r"\Adatabase_url: ") as error:
        open_driver(url, on_fatal=print)
    assert "u:p" not in str(error.value)


def test_a_database_in_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert database_path(f"sqlite:///{tmp_path}/x.db") == tmp_path / "x.db"
    with pytest.raises(Misconfigured, match=r"database_url: the folder .* does not exist"):
        open_driver(f"sqlite:///{tmp_path}/nowhere/x.db", on_fatal=print)


def test_no_secret_is_in_a_repr_or_a_refusal(tmp_path: Path) -> None:
    text = (
        f'admin_key = "{KEY}"\nsecret_keys = ["{MASTER}"]\n[providers.apiframe]\napi_key = "canary-api"\n'
        'previous_api_keys = ["canary-previous"]\n[providers.imagineo]\napi_key = "canary-other"\n'
        f'{ENDPOINT}secret = "{WHSEC}"\nheaders = {{authorization = "canary-header"}}\n'
    )
    found = loaded(tmp_path, text)
    shown = repr(found.settings) + repr(found) + found.settings.model_dump_json()
    assert not [one for one in ("canary", KEY, WHSEC) if one in shown]
    for wrong in ("port = 'x'\n" + text, text + 'x = "canary-x"\n', text.replace("rb_", "canary_")):
        assert "canary" not in refused(tmp_path, wrong)


def complaint(environment: Mapping[str, str]) -> str:
    """Return the reason why this environment is refused, or "" where it is accepted."""
    try:
        load(Path("/dev/null"), environment)
    except Misconfigured as error:
        return str(error)
    return ""


NESTED: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 70_000) | st.text(max_size=8) | st.floats(allow_nan=True),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
    ),
    max_leaves=5,
)
ACCOUNT_KEYS = AccountSettings.model_fields.keys() - {"options", "handler"}
NAMES = st.sampled_from(
    [*Settings.model_fields, *(f"providers__apiframe__{name}" for name in sorted(ACCOUNT_KEYS))]
)


@BOUNDED
@given(st.dictionaries(NAMES, NESTED, max_size=4))
def test_any_value_is_taken_or_refused_in_one_line(values: dict[str, Any]) -> None:
    environment = {
        PREFIX + name.upper(): json.dumps(value) if isinstance(value, list | dict) else str(value)
        for name, value in values.items()
    }
    assert re.fullmatch(r"([\w.-]+: [^\n]+)?", complaint(environment))


@pytest.mark.parametrize("handler", ["['apiframe']", "{a = 1}"])
def test_a_handler_that_is_no_name(tmp_path: Path, handler: str) -> None:
    assert refused(tmp_path, f"[providers.mine]\nhandler = {handler}").startswith("providers.mine.handler: ")


def test_options_are_no_setting(tmp_path: Path) -> None:
    line = refused(tmp_path, "[providers.apiframe]\noptions = {auth_scheme = 'bearer'}")
    assert line.startswith("providers.apiframe.options: unknown setting")


def test_an_endpoints_url_stays_as_it_is(tmp_path: Path) -> None:
    found = loaded(tmp_path, ENDPOINT.replace("hooks", "hooks/"))
    assert found.settings.endpoints[0].url == "https://app.example/hooks/"


@pytest.mark.parametrize(
    "url", ["nonsense", "ftp://app.example", "https://u:p@app.example", "https://app.example/#a"]
)
def test_an_endpoints_url_is_checked(tmp_path: Path, url: str) -> None:
    line = refused(tmp_path, ENDPOINT.replace("https://app.example/hooks", url))
    assert line.startswith("endpoints.0.url: ")


@pytest.mark.parametrize("text", ['data_dir = "a\\u0000b"', "x = " + "[" * 5000])
def test_what_no_setting_can_be_is_told(tmp_path: Path, text: str) -> None:
    refused(tmp_path, text)


@pytest.mark.parametrize("text", ['"a\\nb" = 1', '[providers."a\\nb"]\nhandler = "apiframe"'])
def test_a_name_with_a_line_feed_is_told_on_one_line(tmp_path: Path, text: str) -> None:
    refused(tmp_path, text)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p%40ss@h:5/db?sslmode=require", "postgresql://u:***@h:5/db?sslmode=require"),
        ("postgresql://u@h/db", "postgresql://u@h/db"),
        ("postgresql://u@[::1]:5432/db", "postgresql://u@[::1]:5432/db"),
        ("postgresql://u:s@[::1]:5432/db", "postgresql://u:***@[::1]:5432/db"),
        ("postgresql://u:p%40ss#x@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:p%40ss/x@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:p%40ss?x@h/db", "postgresql://u:***@h/db"),
        ("postgresql:u:p%40ss@h/db", "postgresql:u:***@h/db"),
        ("mysql:u:p%40ss@h/db", "mysql:u:***@h/db"),
        ("postgresql://[::1:p%40ss@h/db", "postgresql://[:***@h/db"),
        ("postgresql://h/db?password=p%40ss&SSLPassword=q", "postgresql://h/db?password=***&SSLPassword=***"),
        ("sqlite:///x.db", "sqlite:///x.db"),
    ],
)
def test_a_password_in_a_url_is_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown
    assert "p%40ss" not in repr(Settings(database_url=url))
