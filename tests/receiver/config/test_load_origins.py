"""Tests of the origin of each setting: mistakes name it, and all of them are reported at once."""

from pathlib import Path

import pytest

import handlers
from receiver.config.load import load
from receiver.domain.errors import Misconfigured
from tests.receiver.config.test_load import ENDPOINT, KEY, MASTER, WHSEC, loaded, refused


def test_the_old_name_of_the_admin_key_is_told_with_the_new_one(tmp_path: Path) -> None:
    line = refused(tmp_path, f'api_key = "{KEY}"')
    assert line == f"api_key: is called `admin_key` now; rename it (in {tmp_path}/ringback.toml)"


def test_the_clients_key_and_url_are_none_of_the_services(tmp_path: Path) -> None:
    found = loaded(tmp_path, "", {"API_KEY": KEY, "API_KEY_FILE": "nowhere", "URL": "http://h"})
    assert found.settings.admin_key is None
    assert found.origins == {}


def test_all_mistakes_are_told_at_once_each_with_its_place(tmp_path: Path) -> None:
    text = 'port = "x"\nfoo = 1\n[providers.apiframe]\napi_kye = "x"\nmax_jobs = 0\n[providers.nobody]\n'
    with pytest.raises(Misconfigured) as error:
        loaded(tmp_path, text, {"HOST": "", "EGRESS_ALLOW": "[", "PROVIDERS__AIML__API_KEY": "a b"})
    file = f"(in {tmp_path}/ringback.toml)"
    starts = [line.split(": ")[0] for line in error.value.lines]
    assert sorted(starts) == sorted(
        [
            "RINGBACK_EGRESS_ALLOW",
            "providers.apiframe.api_kye",
            "host",
            "port",
            "providers.apiframe.max_jobs",
            "foo",
        ]
    )
    by_setting = dict(zip(starts, error.value.lines, strict=True))
    assert by_setting["host"].endswith("(from environment RINGBACK_HOST)")
    assert by_setting["foo"] == f"foo: unknown setting; without it `ringback config` lists all {file}"
    assert all(
        by_setting[name].endswith(file) for name in starts if name not in {"host", "RINGBACK_EGRESS_ALLOW"}
    )


def test_every_account_that_is_wrong_is_told(tmp_path: Path) -> None:
    text = '[providers.nobody]\nmax_jobs = 1\n[providers.aiml]\napi_key = "a b"\n'
    with pytest.raises(Misconfigured) as error:
        loaded(tmp_path, text)
    assert [line.split(": ")[0] for line in error.value.lines] == [
        "providers.nobody.handler",
        "providers.aiml.api_key",
    ]


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PORT", "tcp://10.96.0.7:8080"),
        ("SERVICE_HOST", "10.96.0.7"),
        ("SERVICE_PORT", "8080"),
        ("SERVICE_PORT_HTTP", "8080"),
        ("PORT_8080_TCP", "tcp://10.96.0.7:8080"),
        ("PORT_8080_TCP_PROTO", "tcp"),
        ("PORT_8080_TCP_PORT", "8080"),
        ("PORT_8080_TCP_ADDR", "10.96.0.7"),
        ("API_PORT", "tcp://10.96.0.7:8080"),
        ("API_SERVICE_HOST", "10.96.0.7"),
        ("WORKER_PORT_53_UDP", "udp://10.96.0.7:53"),
    ],
)
def test_what_kubernetes_says_of_a_service_of_our_name_is_no_setting(
    tmp_path: Path, variable: str, text: str
) -> None:
    found = loaded(tmp_path, "", {variable: text})
    assert (found.settings.port, found.origins) == (8080, {})


@pytest.mark.parametrize(
    ("variable", "text", "line"),
    [
        (
            "FOO",
            "1",
            "foo: unknown setting; without it `ringback config` lists all (from environment RINGBACK_FOO)",
        ),
        (
            "PROVIDERS__APIFRAM__API_KEY",
            "k",
            (
                f"providers.apifram.handler: no handler 'apifram'; known: {', '.join(handlers.ALL)}; did you "
                "mean `apiframe`? (from environment RINGBACK_PROVIDERS__APIFRAM__API_KEY)"
            ),
        ),
        ("PROT", "1", "prot: unknown setting; the nearest one is `port` (from environment RINGBACK_PROT)"),
        (
            "EGRESS_ALLOW",
            "10.0.0.0/8",
            (
                "egress_allow: must be a list; in the environment as JSON, for example "
                """'["a", "b"]' (from environment RINGBACK_EGRESS_ALLOW)"""
            ),
        ),
        (
            "RETRY_SCHEDULE",
            "[-1]",
            (
                "retry_schedule.0: must be greater than or equal to 0 "
                "(from environment RINGBACK_RETRY_SCHEDULE)"
            ),
        ),
        (
            "PROVIDERS",
            '{"apiframe": {"max_jobs": 0}}',
            (
                "providers.apiframe.max_jobs: must be greater than or equal to 1 "
                "(from environment RINGBACK_PROVIDERS)"
            ),
        ),
    ],
)
def test_a_mistake_in_the_environment_names_its_variable(
    tmp_path: Path, variable: str, text: str, line: str
) -> None:
    assert refused(tmp_path, "", {variable: text}) == line


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("port = true", "port: must be a whole number (in "),
        ('port = "x"', "port: must be a whole number (in "),
        ("retry_schedule = [true]", "retry_schedule.0: must be a number (in "),
        ("[providers.aiml]\nmax_jobs = true", "providers.aiml.max_jobs: must be a whole number (in "),
        ("[providers.aiml]\npoll_interval = 'x'", "providers.aiml.poll_interval: must be a number (in "),
        ("egress_http = 7", "egress_http: must be true or false (in "),
        ("host = 7", "host: must be a text (in "),
    ],
)
def test_a_value_of_another_kind_is_told_what_it_must_be(tmp_path: Path, line: str, says: str) -> None:
    assert refused(tmp_path, line).startswith(says)


def test_a_variable_with_single_underscores_is_told_of_the_double_ones(tmp_path: Path) -> None:
    told = refused(tmp_path, "", {"PROVIDERS_APIFRAME_API_KEY": "k"})
    assert told.startswith("providers_apiframe_api_key: unknown setting; write two underscores ")


def test_the_variable_that_names_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as error:
        load(None, {"RINGBACK_CONFIG": str(tmp_path / "nowhere.toml")})
    assert (
        str(error.value)
        == f"RINGBACK_CONFIG: there is no file {tmp_path}/nowhere.toml; make it, or name another"
    )


def test_a_byte_order_mark_is_no_part_of_a_setting(tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    (tmp_path / "key").write_bytes(mark + KEY.encode() + b"\r\n")
    found = loaded(
        tmp_path, mark + b"port = 81", {"ADMIN_KEY_FILE": str(tmp_path / "key"), "HOST": "\ufeff::1"}
    )
    assert (found.settings.port, found.settings.host) == (81, "::1")
    assert found.settings.admin_key is not None
    assert found.settings.admin_key.get_secret_value() == KEY


def test_every_secret_that_is_configured_is_known_to_be_one(tmp_path: Path) -> None:
    text = (
        f'admin_key = "{KEY}"\nsecret_keys = ["{MASTER}"]\ndatabase_url = "postgresql://u:p%40ss@h/db"\n'
        '[providers.apiframe]\napi_key = "canary-api"\nprevious_api_keys = ["canary-previous"]\n'
        f'[providers.replicate]\napi_key = "k-2"\nwebhook_secret = "{WHSEC}"\n'
        f'{ENDPOINT}secret = "{WHSEC}"\nheaders = {{authorization = "canary-header"}}\n'
    )
    assert set(loaded(tmp_path, text).secrets()) == {
        *(KEY, MASTER, "p@ss", "canary-api", "canary-previous", "k-2", WHSEC, "canary-header")
    }


@pytest.mark.parametrize("url", ["postgresql://[::1/db", "postgresql://me@h/db", "sqlite:///x.db"])
def test_a_database_without_a_password_has_none_to_hide(tmp_path: Path, url: str) -> None:
    assert loaded(tmp_path, f'database_url = "{url}"').secrets() == ()
