"""Standard Webhooks as a provider's proof: its vectors, its window, and lists that only look signed."""

import base64
from collections.abc import Callable
from datetime import timedelta

import pytest
from standardwebhooks import Webhook

from handlers import proofs
from handlers.contract import Keys
from tests.handlers.captures import RECEIVED_AT, message
from tests.handlers.signatures import (
    ACCOUNT,
    BODY,
    BY_BODY,
    NOW,
    SENT_AT,
    WHSEC,
    Change,
    fresh,
    holds,
    sign,
    standard,
)

STANDARD = "v1,Fxnqsz7pYJzHwtKkOFBoq5YiM+xF+DBoJ8/RmoIqtNI="
LOOK_ALIKE = "v3,94fe0f2efad1170bb73cf27f945e88dc286322f06ad79de592536baa9ea7c916"
WEBHOOKS = proofs.standard_webhooks()
PATIENT = proofs.standard_webhooks(tolerance=timedelta(days=10_000))


def test_the_vector_of_standard_webhooks() -> None:
    assert holds(PATIENT, standard(STANDARD), ACCOUNT)
    assert sign(stamp=str(SENT_AT)) == STANDARD


@pytest.mark.parametrize("body", [b"", BODY, b"\x00", "ä 灯".encode(), b"x" * 10_000])
def test_what_the_reference_library_signs_is_proved(body: bytes) -> None:
    given_signature = Webhook(WHSEC).sign("msg_1", RECEIVED_AT, body.decode())
    assert holds(WEBHOOKS, standard(given_signature, body, stamp=str(NOW)), ACCOUNT)


def test_the_look_alike_of_standard_webhooks_is_refused() -> None:
    assert not holds(PATIENT, standard(LOOK_ALIKE), ACCOUNT)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize(
    "change",
    [
        lambda _pair: (),
        lambda pair: (pair, pair),
        lambda pair: (pair, (pair[0], "x")),
        lambda pair: ((pair[0], ""),),
        lambda pair: ((pair[0], pair[1] + "é"),),
        lambda pair: ((pair[0], pair[1] + "\udc80"),),
        lambda pair: ((pair[0], pair[1] * 8192),),
        lambda pair: ((pair[0].replace("-", "_"), pair[1]),),
    ],
    ids=["missing", "twice", "two values", "empty", "accented", "surrogate", "8 kB", "underscore"],
)
def test_each_header_of_standard_webhooks_stands_there_once(
    name: str, change: Callable[[tuple[str, str]], tuple[tuple[str, str], ...]]
) -> None:
    pairs = fresh().headers
    kept = [one for pair in pairs for one in (change(pair) if pair[0] == name else (pair,))]
    assert not holds(WEBHOOKS, message(200, BODY, *kept), ACCOUNT)


MALFORMED: dict[str, Change] = {
    "empty list": lambda _right: " ",
    "version alone": lambda _right: "v1",
    "version and comma": lambda _right: "v1,",
    "no version": lambda right: right.removeprefix("v1,"),
    "no comma": lambda right: right.replace(",", ""),
    "two commas": lambda right: right.replace(",", ",,"),
    "three parts": lambda right: right + ",x",
    "two joined by a comma": lambda right: f"{right},{right}",
    "double space": lambda _right: "v1,a  v1,b",
    "tab": lambda right: right + "\tv1,a",
    "line feed": lambda right: right + "\n",
    "another version": lambda right: right.replace("v1,", "v1a,"),
    "version 0": lambda right: right.replace("v1,", "v0,"),
    "version 2": lambda right: right.replace("v1,", "v2,"),
    "upper-case version": lambda right: right.replace("v1,", "V1,"),
    "blank after the comma": lambda right: right.replace(",", ", "),
    "no padding": lambda right: right.rstrip("="),
    "more padding": lambda right: right + "=",
    "text after the padding": lambda right: right + "AAAA",
    "loose last bits": lambda right: right[:-2] + chr(ord(right[-2]) + 1) + "=",
    "blank inside": lambda right: f"{right[:10]} {right[10:]}",
    "other alphabet": lambda right: right.replace("+", "-").replace("/", "_") + "-",
    "hex": lambda right: "v1," + base64.b64decode(right[3:]).hex(),
    "17 of them": lambda right: " ".join(["v1,a"] * 16 + [right]),
    "200,000 of them": lambda _right: " ".join(["v1,a"] * 200_000),
    "not base64": lambda _right: "v1,***",
    "the body's": lambda _right: "v1," + BY_BODY,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_list_of_signatures_is_refused(name: str) -> None:
    told = fresh(MALFORMED[name])
    assert told.headers != fresh().headers
    assert not holds(WEBHOOKS, told, ACCOUNT)


@pytest.mark.parametrize(
    "pattern",
    [
        "{}",
        "v1,wrong {}",
        "{} v1,wrong",
        "v1a,other {}",
        "v2,x {} v0,y",
        "junk {}",
        " ".join(["v1,a"] * 15) + " {}",
    ],
)
def test_one_right_signature_among_others_is_enough(pattern: str) -> None:
    assert holds(WEBHOOKS, fresh(pattern.format), ACCOUNT)


def test_every_secret_of_the_account_is_tried() -> None:
    other = "whsec_b3RoZXI="
    for secrets in ((WHSEC,), (other, WHSEC), (WHSEC, other), ("whsec_***", WHSEC), ("", WHSEC)):
        assert holds(WEBHOOKS, fresh(), Keys(account=secrets))
    for keys in (Keys(), *(Keys(account=(one,)) for one in (other, "whsec_***", WHSEC[:-4]))):
        assert not holds(WEBHOOKS, fresh(), keys)


STAMPS = {
    **{
        str(NOW + shift): abs(shift) <= 300
        for shift in (0, 1, -1, 299, -299, 300, -300, 301, -301, 900, -900)
    },
    **{str(NOW + shift): False for shift in (86_400, -86_400, 3_600, -3_600)},
    **dict.fromkeys(("", "now", "nan", "inf", "-inf", "1e9", "0x1", "1_7", "0", "-1", "+1", "1.5"), False),
    **dict.fromkeys((f" {NOW}", f"{NOW} ", f"{NOW}\n", f"+{NOW}", f"-{NOW}", f"{NOW}.0", f"{NOW}.5"), False),
    **dict.fromkeys((f"{NOW}000", f"{NOW}_0", str(2**63), str(2**64), "9" * 12, "9" * 13, "9" * 4000), False),
    "".join(chr(0x0660 + int(digit)) for digit in str(NOW)): False,
    "".join(chr(0xFF10 + int(digit)) for digit in str(NOW)): False,
    f"0{NOW}": True,
}
"""Timestamps as the sender wrote and signed them, and whether they are within the window and well-formed."""


@pytest.mark.parametrize("stamp", STAMPS, ids=lambda stamp: ascii(stamp[:24]))
def test_a_timestamp_is_a_plain_number_close_to_now(stamp: str) -> None:
    told = standard(sign(stamp=stamp), stamp=stamp)
    assert holds(WEBHOOKS, told, ACCOUNT) is STAMPS[stamp]


@pytest.mark.parametrize("seconds", [0, 60, 1800])
def test_the_window_is_as_wide_as_it_was_made(seconds: int) -> None:
    verify = proofs.standard_webhooks(tolerance=timedelta(seconds=seconds))
    for shift, inside in ((seconds, True), (-seconds, True), (seconds + 1, False), (-seconds - 1, False)):
        stamp = str(NOW + shift)
        assert holds(verify, standard(sign(stamp=stamp), stamp=stamp), ACCOUNT) is inside


IDENTITIES = {
    "m": True,
    "msg_2KWPBgLlAfxdpX2AI54pPJ85f4W": True,
    "A-Z_0-9": True,
    "x" * 128: True,
    "": False,
    " msg": False,
    "msg 1": False,
    "msg\n": False,
    "msg/1": False,
    "msg:1": False,
    "msg.1": False,
    "ид": False,
    "msg\u0000": False,
    "x" * 10_000: False,
}
"""Message ids as the sender wrote and signed them, and whether they are well-formed."""


@pytest.mark.parametrize("identity", IDENTITIES, ids=lambda identity: ascii(identity[:24]))
def test_a_message_id_is_a_plain_word(identity: str) -> None:
    told = standard(sign(identity), identity=identity, stamp=str(NOW))
    assert holds(WEBHOOKS, told, ACCOUNT) is IDENTITIES[identity]


@pytest.mark.parametrize("identity", ["MSG_1", "msg_2", "msg_1_", "msg-1"])
def test_the_message_id_is_signed(identity: str) -> None:
    assert not holds(WEBHOOKS, standard(sign("msg_1"), identity=identity, stamp=str(NOW)), ACCOUNT)


def test_what_is_signed_can_be_read_in_one_way_only() -> None:
    whole = sign("a", str(NOW), f"{NOW + 1}.x".encode())
    assert whole == sign(f"a.{NOW}", str(NOW + 1), b"x")
    readings = (
        standard(whole, f"{NOW + 1}.x".encode(), identity="a", stamp=str(NOW)),
        standard(whole, b"x", identity=f"a.{NOW}", stamp=str(NOW + 1)),
    )
    assert sum(holds(WEBHOOKS, told, ACCOUNT) for told in readings) == 1


@pytest.mark.parametrize("secret", ["", "whsec_"])
def test_an_empty_secret_proves_nothing(secret: str) -> None:
    told = standard(sign(secret=secret), stamp=str(NOW))
    assert not holds(WEBHOOKS, told, Keys(account=(secret,)))
