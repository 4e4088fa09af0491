"""Tests of the settings: their forms, bounds and defaults, and that an error repeats no secret."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from handlers.description.consistency import OF_ACCOUNTS
from receiver.config.settings import API_KEY, RETRY_SCHEDULE, AccountSettings, EndpointSettings, Settings
from receiver.domain.event_types import JOB_FINAL
from tests.receiver.raw_server import BOUNDED

ENDPOINT = {"id": "a", "url": "https://app.example/hooks"}
WHSEC = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
MASTER = "m" * 32
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104  # nothing is bound here


def problem(model: type[BaseModel], values: dict[str, Any]) -> tuple[str, str]:
    """Return the place and the message of the only error."""
    with pytest.raises(ValidationError) as raised:
        model.model_validate(values)
    [found] = raised.value.errors(include_url=False)
    return ".".join(str(part) for part in found["loc"]), found["msg"].removeprefix("Value error, ")


@pytest.mark.parametrize(
    ("values", "base"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"host": "10.0.0.7", "port": 81}, "http://10.0.0.7:81"),
        ({"host": EVERY_ADDRESS}, "http://127.0.0.1:8080"),
        ({"host": "0"}, "http://127.0.0.1:8080"),
        ({"host": "::"}, "http://[::1]:8080"),
        ({"host": "::0"}, "http://[::1]:8080"),
        ({"host": "fd00::7"}, "http://[fd00::7]:8080"),
        ({"port": 80}, "http://127.0.0.1"),
        ({"public_url": "https://hooks.example/in/", "host": "10.0.0.7"}, "https://hooks.example/in"),
    ],
)
def test_links_begin_with_the_public_url_or_with_where_the_service_listens(
    values: dict[str, Any], base: str
) -> None:
    assert Settings.model_validate(values).link_base == base


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("rb_" + "k" * 32, True),
        ("rb_" + "!" * 500, True),
        ("rb_" + "k" * 31, False),
        ("rb_" + "k" * 501, False),
        ("RB_" + "k" * 32, False),
        ("rb_" + "k" * 31 + " ", False),
        ("rb_" + "k" * 32 + "\n", False),
        ("rb_" + "\u00e9" * 32, False),
    ],
)
def test_an_admin_key_is_rb_and_at_least_32_visible_characters(text: str, right: bool) -> None:
    assert (API_KEY.fullmatch(text) is not None) is right
    if right:
        key = Settings.model_validate({"admin_key": text}).admin_key
        assert key is not None
        assert key.get_secret_value() == text
    else:
        says = "must be `rb_` and at least 32 characters without blanks"
        assert problem(Settings, {"admin_key": text}) == ("admin_key", says)


def test_no_admin_key_is_a_setting_too() -> None:
    assert Settings.model_validate({"admin_key": None}).admin_key is None


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (["m" * 31], "each key must have at least 32 characters"),
        (["m" * 31 + " "], "each key must have at least 32 characters"),
        ([MASTER, ""], "each key must have at least 32 characters"),
        ([MASTER, MASTER], "a key is there twice"),
    ],
)
def test_master_keys_are_long_and_different(keys: list[str], says: str) -> None:
    assert problem(Settings, {"secret_keys": keys}) == ("secret_keys", says)


@pytest.mark.parametrize("model", [Settings, AccountSettings, EndpointSettings])
def test_an_unknown_name_is_refused(model: type[BaseModel]) -> None:
    values = ENDPOINT if model is EndpointSettings else {}
    assert problem(model, values | {"prot": 1})[0] == "prot"


@pytest.mark.parametrize(
    ("model", "name", "least", "most"),
    [
        (Settings, "port", 0, 65535),
        (Settings, "job_deadline", 1, 604800),
        (Settings, "unconfirmed_after", 0, 604800),
        (Settings, "delivery_timeout", 0.001, 120),
        (Settings, "asset_link_days", 0.001, 3650),
        (Settings, "retention_days", 0.001, 3650),
        (Settings, "shutdown_grace", 0, 600),
        (AccountSettings, "poll_interval", 0.001, 604800),
        (AccountSettings, "backstop_after", 0.001, 604800),
        (AccountSettings, "submit_timeout", 0.001, 3600),
        (AccountSettings, "max_in_flight", 1, 1000),
        (AccountSettings, "rate_limit", 0.001, 10000),
        (AccountSettings, "max_jobs", 1, 2**40),
        (EndpointSettings, "max_in_flight", 1, 1000),
    ],
)
def test_a_number_has_bounds(model: type[BaseModel], name: str, least: float, most: float) -> None:
    values = ENDPOINT if model is EndpointSettings else {}
    for value in (least, most):
        assert getattr(model.model_validate(values | {name: value}), name) == value
    # The least of a number above 0 is 0.001 here.
    assert problem(model, values | {name: least - 1 if least % 1 == 0 else 0})[0] == name
    if most < 2**40:
        assert problem(model, values | {name: most + 1})[0] == name


@pytest.mark.parametrize(
    ("model", "values", "place"),
    [
        (Settings, {"port": True}, "port"),
        (Settings, {"shutdown_grace": False}, "shutdown_grace"),
        (Settings, {"retry_schedule": [1, True]}, "retry_schedule.1"),
        (AccountSettings, {"max_jobs": True}, "max_jobs"),
        (AccountSettings, {"api_key": True}, "api_key"),
    ],
)
def test_a_truth_is_no_number_and_no_text(model: type[BaseModel], values: dict[str, Any], place: str) -> None:
    assert problem(model, values)[0] == place


def test_a_truth_is_taken_where_one_is_expected() -> None:
    assert Settings.model_validate({"egress_http": True, "migrate_on_start": False}).egress_http is True
    assert Settings.model_validate({"migrate_on_start": False}).migrate_on_start is False


def test_a_value_that_is_no_table_is_no_section() -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate([True])


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (
            "hooks.example",
            "begin it with https://, or http:// where that is allowed: https://host[:port]/path",
        ),
        ("https://hooks.example/?a", "a base URL has no query"),
        ("https://hooks.example/?", "a base URL has no query"),
    ],
)
def test_a_base_url_is_checked(url: str, says: str) -> None:
    assert problem(Settings, {"public_url": url}) == ("public_url", says)
    assert problem(AccountSettings, {"base_url": url}) == ("base_url", says)


def test_a_base_url_loses_its_last_slash_and_an_endpoints_url_keeps_it() -> None:
    assert (
        AccountSettings.model_validate({"base_url": "https://h.example/a//"}).base_url
        == "https://h.example/a"
    )
    endpoint = EndpointSettings.model_validate(ENDPOINT | {"url": "https://h.example/a/?b=1"})
    assert endpoint.url == "https://h.example/a/?b=1"


def test_an_endpoint_gets_the_final_events_unless_it_names_others() -> None:
    endpoint = EndpointSettings.model_validate(ENDPOINT)
    assert (endpoint.events, endpoint.max_in_flight, endpoint.include) == (JOB_FINAL, 64, ())
    assert (endpoint.secret, endpoint.headers, endpoint.description) == (None, {}, "")
    named = EndpointSettings.model_validate(ENDPOINT | {"events": ["job.*", "endpoint.test"]})
    assert named.events == ("job.*", "endpoint.test")


@pytest.mark.parametrize(
    ("values", "place", "says"),
    [
        ({"id": "callback"}, "id", "is a word of our own; choose another"),
        ({"headers": {"x y": "1"}}, "headers", "x y is no valid header name"),
        ({"headers": {"Host": "h"}}, "headers", "Host is set by Ringback or by HTTP itself"),
        ({"secret": "whsec_x"}, "secret", "a secret is `whsec_` and base64; leave it out to have one made"),
        (
            {"secret": "whsec_" + "A" * 28},
            "secret",
            "a secret is `whsec_` and base64 of 24 to 75 bytes; leave it out to have one made",
        ),
        (
            {"url": "ftp://h"},
            "url",
            "use http(s)://host[:port]/path in plain ASCII, without user name, fragment or blanks",
        ),
    ],
)
def test_a_mistake_in_an_endpoint_is_told(values: dict[str, Any], place: str, says: str) -> None:
    assert problem(EndpointSettings, ENDPOINT | values) == (place, says)


def test_an_event_that_does_not_exist_is_told_with_the_nearest() -> None:
    place, says = problem(EndpointSettings, ENDPOINT | {"events": ["job.*", "job.faild"]})
    assert place == "events"
    assert says.startswith(
        "each must be an event type, `*`, or a prefix such as `job.*` (did you mean `job.failed`?)"
    )


@pytest.mark.parametrize("identity", ["a", "A-b_9", "x" * 64])
def test_an_id_of_an_endpoint_is_taken(identity: str) -> None:
    assert EndpointSettings.model_validate(ENDPOINT | {"id": identity}).id == identity


@pytest.mark.parametrize("identity", ["", "a b", "\u00e9", "a\n", "x" * 65])
def test_a_text_that_is_no_id_of_an_endpoint_is_refused(identity: str) -> None:
    assert problem(EndpointSettings, ENDPOINT | {"id": identity})[0] == "id"


def test_a_network_has_no_bits_behind_its_prefix() -> None:
    networks = ["10.0.0.0/8", "::1/128", "192.0.2.7"]
    assert Settings.model_validate({"egress_allow": networks}).egress_allow == tuple(networks)
    assert problem(Settings, {"trusted_proxies": ["10.0.0.0/8", "10.0.0.1/8"]})[0] == "trusted_proxies.1"


@pytest.mark.parametrize("name", ["data_dir", "egress_ca_file"])
def test_a_path_holds_no_nul(name: str) -> None:
    assert problem(Settings, {name: "a\0b"}) == (name, "must be a path, without NUL")
    assert getattr(Settings.model_validate({name: "/a/b"}), name) == Path("/a/b")


def test_without_settings_every_value_has_its_default() -> None:
    settings, account = Settings(), AccountSettings()
    assert (settings.database_url, settings.host, settings.port) == (
        "sqlite:///ringback.db",
        "127.0.0.1",
        8080,
    )
    assert (settings.job_deadline, settings.on_unconfirmed, settings.unconfirmed_after) == (7200, "hold", 600)
    assert (settings.asset_link_days, settings.retention_days) == (30, 30)
    assert (settings.delivery_timeout, settings.shutdown_grace) == (15, 20)
    assert (settings.migrate_on_start, settings.egress_http) == (True, False)
    assert (settings.log_level, settings.log_format) == ("info", None)
    assert (account.max_in_flight, account.confirm, account.max_jobs) == (16, "unproved", None)
    assert settings.retry_schedule == RETRY_SCHEDULE


def test_the_attempts_of_a_delivery_are_spread_over_about_three_days() -> None:
    assert list(RETRY_SCHEDULE) == sorted(set(RETRY_SCHEDULE))
    assert (RETRY_SCHEDULE[0], RETRY_SCHEDULE[-1]) == (5, 86400)
    assert sum(RETRY_SCHEDULE) == 272_105


def test_settings_do_not_change() -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]  # it is frozen


@BOUNDED
@given(st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=12, max_size=25))
def test_an_error_does_not_repeat_a_secret(text: str) -> None:
    secret = f"canary{text}"
    for model, values in (
        (Settings, {"admin_key": secret}),
        (Settings, {"secret_keys": [secret]}),
        (Settings, {"database_url": [secret]}),
        (AccountSettings, {"api_key": [secret]}),
        (EndpointSettings, ENDPOINT | {"secret": secret}),
        (EndpointSettings, ENDPOINT | {"headers": {"x-a": f"\0{secret}"}}),
    ):
        with pytest.raises(ValidationError) as raised:
            model.model_validate(values)
        assert secret not in str(raised.value)


def test_no_secret_is_in_a_repr() -> None:
    settings = Settings.model_validate(
        {
            "admin_key": "rb_" + "c" * 32,
            "secret_keys": [MASTER],
            "database_url": "postgresql://me:canary@h/x",
            "providers": {"aiml": {"api_key": "canary", "options": {"webhook_secret": "canary"}}},
            "endpoints": [ENDPOINT | {"secret": WHSEC, "headers": {"authorization": "canary"}}],
        }
    )
    shown = repr(settings)
    assert "aiml" in shown
    assert not [one for one in ("canary", MASTER, WHSEC, "c" * 32) if one in shown]


def test_a_name_that_may_lead_inside_is_kept_in_lower_case() -> None:
    settings = Settings.model_validate({"egress_allow_hosts": ["In.Example.", "db"]})
    assert settings.egress_allow_hosts == ("in.example", "db")


@pytest.mark.parametrize(
    "text", ["", "https://a.example", "a.example:80", "[::1]", "10.0.0.1", "a b", "2130706433", "0x7f.1"]
)
def test_what_is_no_name_may_not_lead_inside(text: str) -> None:
    with pytest.raises(ValidationError, match="must be a name without scheme, port or path"):
        Settings.model_validate({"egress_allow_hosts": [text]})


def test_no_description_has_a_setting_of_every_account() -> None:
    assert AccountSettings.model_fields.keys() == OF_ACCOUNTS


def test_a_proxy_is_checked_and_not_shown() -> None:
    settings = Settings.model_validate({"egress_proxy": "http://me:hunter2@proxy.example:3128"})
    assert "hunter2" not in repr(settings)
    with pytest.raises(ValidationError, match="must be http://host:port"):
        Settings.model_validate({"egress_proxy": "socks5://proxy.example"})
