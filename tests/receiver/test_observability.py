"""Logs: they hold no key, secret or token, and each record is one line, even with quoted text."""

import json
import logging
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.observability import FIELDS, LOGGER, TextFormatter, name_replica, redact, set_up
from receiver.security.signing import new_secret
from receiver.security.tokens import MasterKeys, new_api_key
from tests.receiver.raw_server import BOUNDED

KEY = new_api_key(bytes(range(32)))
WHSEC = new_secret(bytes(range(200, 232)))
MASTERS = MasterKeys(["m" * 32], bytes)
TOKEN = MASTERS.callback_token("apiframe", "job_1")
PLACES = ["{}", "({})", '"{}"', "key={}", "a {} b", "{},", "{0} and {0}", "\n{}\n", "x{}", "[{}]"]
# A secret, the text around it, and the text that is left of it.
SECRETS = [
    (KEY, "{}", f"{KEY[:11]}[redacted]"),
    (WHSEC, "{}", "whsec_[redacted]"),
    (KEY, "Authorization: Bearer {}", "Authorization: Bearer [redacted]"),
    ("sk-provider-key", "Bearer {} x", "Bearer [redacted] x"),
    (TOKEN, "POST /callbacks/apiframe/{} 401", "POST /callbacks/apiframe/[redacted] 401"),
    (
        TOKEN,
        "https://h.example/callbacks/apiframe-v2/{}?x=1",
        "https://h.example/callbacks/apiframe-v2/[redacted]",
    ),
    (TOKEN, "GET /assets/{}?download=1 410", "GET /assets/[redacted] 410"),
    (f"{KEY} {WHSEC}", "{}", f"{KEY[:11]}[redacted] whsec_[redacted]"),
]
HARMLESS = [
    "serving on http://127.0.0.1:8080",
    "POST /v1/jobs 202",
    "job_0123456789abcdef is succeeded",
    "assets are listed, callbacks too",
    "a bearer of news",
    "rb_ is how a key begins",
]
CONTROLS = [chr(code) for code in (*range(9), *range(10, 32), *range(127, 160))]


@pytest.fixture
def logging_restored() -> Iterator[None]:
    """Restore the logging after a test."""
    root = logging.root
    before = (root.handlers[:], root.level, LOGGER.level)
    yield
    root.handlers[:], level, ours = before
    root.setLevel(level)
    LOGGER.setLevel(ours)


@pytest.mark.parametrize(("secret", "text", "left"), SECRETS)
def test_a_secret_is_not_told(secret: str, text: str, left: str) -> None:
    assert redact(text.format(secret)) == left


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("secret", [KEY, WHSEC])
def test_wherever_it_stands(secret: str, place: str) -> None:
    shown = redact(place.format(secret))
    assert secret[11:] not in shown
    assert "[redacted]" in shown


@BOUNDED
@given(st.binary(min_size=32, max_size=32), st.text(max_size=20), st.text(max_size=20))
def test_no_key_survives_any_neighbours(entropy: bytes, before: str, after: str) -> None:
    for secret in (new_api_key(entropy), new_secret(entropy)):
        assert secret[11:] not in redact(f"{before}{secret}{after}")


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_a_control_character_is_a_blank(control: str) -> None:
    assert redact(f"a{control}b") == "a b"


@BOUNDED
@given(st.text())
def test_any_text_is_one_line(text: str) -> None:
    assert len(redact(text).replace("\u2028", " ").replace("\u2029", " ").splitlines()) <= 1


def failed() -> None:
    """Raise an error with a text that quotes secrets."""
    raise ValueError(f"the body held {KEY} and sk-provider-key\n\x1b[31mforged")


@pytest.mark.usefixtures("logging_restored")
@pytest.mark.parametrize("form", ["text", "json", None])
def test_a_record_is_one_line_and_its_traceback_tells_no_secret(
    form: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up("debug", form, ["sk-provider-key"])
    try:
        failed()
    except ValueError:
        LOGGER.exception("refused %s\r\n\x1b[31mfrom %s", KEY, "somebody\x00")
    said = capsys.readouterr().err
    assert not [one for one in (KEY[11:], "sk-provider-key", "\x1b") if one in said]
    lines = said.splitlines()
    if form == "text":
        first, *below = lines
        assert all(line.startswith("    ") for line in below)
        told = {"message": first.split(maxsplit=3)[3], "traceback": "\n".join(below)}
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d error    refused rb_", first)
    else:
        assert len(lines) == 1
        told = json.loads(lines[0])
        assert (told["level"], told["logger"], told["error"]) == ("error", "ringback", "ValueError")
    assert told["message"].startswith("refused rb_")
    assert "in failed" in told["traceback"]
    assert "ValueError: the body held rb_AAECAwQF[redacted] and [redacted]" in told["traceback"]


@pytest.mark.usefixtures("logging_restored")
@pytest.mark.parametrize("form", ["text", "json"])
def test_fields_come_along_in_both_forms(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up("info", form)
    name_replica("rpc_1")
    LOGGER.warning("refused", extra={"account": "a b", "job": "job_1", "count": 3, "endpoint": None})
    line = capsys.readouterr().err.strip()
    if form == "text":
        assert line.endswith('warning  refused job=job_1 account="a b" count=3 replica=rpc_1')
    else:
        told = json.loads(line)
        fields = {name: told[name] for name in told.keys() & set(FIELDS)}
        assert fields == {"job": "job_1", "account": "a b", "count": 3, "replica": "rpc_1"}


@pytest.mark.usefixtures("logging_restored")
def test_a_lost_connection_is_not_told_by_the_driver_too(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("debug", "text")
    logging.getLogger("asyncpg.pool").warning("a connection was lost")
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("logging_restored")
@pytest.mark.parametrize(("level", "heard"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_is_kept_and_others_are_quiet(
    level: str, heard: int, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up(level, "text")
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        LOGGER.log(number, "ours")
    logging.getLogger("httpx").info("GET https://user:password@h.example/")
    assert capsys.readouterr().err.count("ours") == heard
    assert "password" not in capsys.readouterr().err


def test_on_a_terminal_a_line_is_wrapped_and_the_process_is_not_named() -> None:
    endpoint = "ep_01a22300000000000000000000000000"
    told = {"name": LOGGER.name, "levelname": "WARNING", "msg": "begins to fail: " + "it is away " * 9}
    record = logging.makeLogRecord(told | {"endpoint": endpoint})
    watched, kept = TextFormatter(width=60), TextFormatter()
    watched.replica = kept.replica = "rpc_1"
    lines = watched.format(record).splitlines()
    assert max(map(len, lines)) <= 60
    assert all(line.startswith("    ") for line in lines[1:])
    whole = kept.format(record)
    assert "\n" not in whole
    assert whole.endswith(f" endpoint={endpoint} replica=rpc_1")
    assert " ".join(" ".join(lines).split()) == " ".join(whole.removesuffix(" replica=rpc_1").split())
    record.replica = "rpc_2"
    assert watched.format(record).endswith("replica=rpc_2")
