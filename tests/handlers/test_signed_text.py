"""Signatures over a text made of parts of a message: published vectors, and the parts one by one."""

import base64
import hashlib
import hmac
from dataclasses import replace
from datetime import timedelta

import pytest

from handlers import proofs, signed_text
from handlers.contract import HttpMessage, Keys
from handlers.description.proving import scheme_of
from handlers.errors import BadSignature
from handlers.proofs import Verify
from handlers.signed_text import Scheme, text_of, unknown, verifier
from tests.handlers.captures import description, message
from tests.handlers.signatures import BODY, NOW, SECRET, SENT_AT, WHSEC, holds

FOR_EVER = timedelta(days=36_500)
WAVESPEED = "v3,94fe0f2efad1170bb73cf27f945e88dc286322f06ad79de592536baa9ea7c916"
"""The signature of `BODY` by WaveSpeed under `WHSEC`, with the id msg_1, as published."""
ELEVENLABS = "2382c1d0968a5e57238c68de957f44d87e83d3049a5588ec251442ca372b8aec"
"""The signature of `BODY` by ElevenLabs under `SECRET`, as published."""
VIDU_DATE = "Tue, 06 May 2025 12:09:42 GMT"
VIDU_TEXT = (
    f"POST\n/vidu/callback\nname=james&age=36\nvidu\n{VIDU_DATE}\nDate:{VIDU_DATE}\n"
    "x-request-nonce:123e4567-e89b-12d3-a456-426614174000\n"
)
"""The text that Vidu's page shows for a message: https://platform.vidu.com/docs/callback-signature."""


def described(provider: str) -> Scheme:
    """Return the scheme of signatures of a provider's description, for vectors of any age."""
    told = description(provider).callback
    assert told is not None
    return replace(scheme_of(told.proof), tolerance=FOR_EVER)


def wavespeed(signature: str = WAVESPEED, identity: str = "msg_1", body: bytes = BODY) -> HttpMessage:
    """Return the message of WaveSpeed's vector, or one with another part."""
    heads = (("webhook-id", identity), ("webhook-timestamp", str(SENT_AT)), ("webhook-signature", signature))
    return message(200, body, *heads)


def test_the_vector_of_wavespeed_proves() -> None:
    verify = verifier(described("wavespeed"), proofs.account_whsec_text)
    keys = Keys(account=(WHSEC,))
    assert holds(verify, wavespeed(), keys)
    assert not holds(verify, wavespeed(identity="msg_2"), keys)
    assert not holds(verify, wavespeed(body=BODY + b" "), keys)
    assert not holds(verify, wavespeed(WAVESPEED.replace("v3", "v1")), keys)
    # The secret is text: decoded as Standard Webhooks have it, it is another key.
    assert not holds(verifier(described("wavespeed"), proofs.account_whsec), wavespeed(), keys)


def test_the_vector_of_elevenlabs_proves() -> None:
    verify = verifier(described("elevenlabs"), proofs.account_secrets)
    keys = Keys(account=(SECRET,))

    def told(header: str, body: bytes = BODY) -> HttpMessage:
        return message(200, body, ("elevenlabs-signature", header))

    assert holds(verify, told(f"t={SENT_AT},v0={ELEVENLABS}"), keys)
    assert holds(verify, told(f"t={SENT_AT}, v0={'0' * 64}, v0={ELEVENLABS}"), keys)
    assert not holds(verify, told(f"t={SENT_AT + 1},v0={ELEVENLABS}"), keys)
    assert not holds(verify, told(f"t={SENT_AT},v1={ELEVENLABS}"), keys)
    assert not holds(verify, told(f"t={SENT_AT},v0={ELEVENLABS}", BODY + b" "), keys)
    for malformed in (f"v0={ELEVENLABS}", f"t={SENT_AT},t={SENT_AT},v0={ELEVENLABS}", f"t=,v0={ELEVENLABS}"):
        assert not holds(verify, told(malformed), keys)


def vidu(target: str = "/vidu/callback?name=james&age=36", method: str = "POST") -> HttpMessage:
    """Return a message with the headers of Vidu's sample."""
    told = message(
        200,
        BODY,
        ("date", VIDU_DATE),
        ("x-request-nonce", "123e4567-e89b-12d3-a456-426614174000"),
        ("x-hmac-signed-headers", "Date;x-request-nonce"),
        ("x-hmac-signature", base64.b64encode(hmac.digest(b"key", VIDU_TEXT.encode(), "sha256")).decode()),
    )
    return replace(told, target=target, method=method)


def test_the_text_that_vidu_signs_is_that_of_its_page() -> None:
    assert text_of(described("vidu"), vidu(), VIDU_DATE).decode() == VIDU_TEXT


def test_a_signature_over_the_request_holds_for_that_request_alone() -> None:
    verify = verifier(described("vidu"), proofs.api_keys)
    keys = Keys(api=("other", "key"))
    assert holds(verify, vidu(), keys)
    assert holds(verify, replace(vidu(), body=b"{}"), keys)
    for told in (vidu("/vidu/callback"), vidu("/vidu/other?name=james&age=36"), vidu(method="PUT")):
        assert not holds(verify, told, keys)


PLAIN = Scheme(header="x-signature", template="{body}")
TIMED = replace(PLAIN, time="header:x-time")


def one(template: str, scheme: Scheme = PLAIN) -> Verify:
    """Return the verifier of a signature in one header over a template."""
    return verifier(replace(scheme, template=template), proofs.job_secrets)


def proved(verify: Verify, text: bytes, told: HttpMessage, *, digest: str = "sha256") -> bool:
    """Return whether a message with the signature of `text` is proved."""
    head = ("x-signature", hmac.digest(SECRET.encode(), text, digest).hex())
    return holds(verify, replace(told, headers=(head, *told.headers)), Keys(job=(SECRET,)))


SAID = replace(
    message(
        200, b'{"data": {"id": 7, "name": "\xc3\xa4"}, "ok": true}', ("x-part", "p"), ("x-time", str(NOW))
    ),
    target="/a/b?c=d&e",
)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{body}", SAID.body),
        ("{sha256}", hashlib.sha256(SAID.body).hexdigest().encode()),
        ("{method} {path} {query}", b"POST /a/b c=d&e"),
        ("{header:x-part}|{header:x-time}", b"p|" + str(NOW).encode()),
        ("{/data/id}.{/data/name}", "7.ä".encode()),
        ("plain", b"plain"),
        ("{body}{body}", SAID.body * 2),
    ],
)
def test_each_part_of_a_template_stands_for_its_bytes(template: str, text: bytes) -> None:
    assert proved(one(template), text, SAID)
    assert not proved(one(template), text + b"0", SAID)
    assert not proved(one(f"{template}."), text, SAID)


@pytest.mark.parametrize("template", ["{/ok}", "{/data}", "{/none}", "{header:x-none}"])
def test_a_message_without_a_signed_part_is_refused(template: str) -> None:
    assert not proved(one(template), b"", SAID)


def test_a_body_that_cannot_be_read_is_refused_where_a_part_of_it_is_signed() -> None:
    broken = replace(SAID, body=b'{"data": {"id": 7')
    with pytest.raises(BadSignature, match=r"^its body could not be read$"):
        one("{/data/id}")(replace(broken, headers=(("x-signature", "00"),)), Keys(job=(SECRET,)))
    assert proved(one("{body}"), broken.body, broken)


@pytest.mark.parametrize(
    "moment",
    [
        str(NOW - 299),
        str(NOW + 299),
        str((NOW - 299) * 1000),
        "Sun, 01 Nov 2026 12:04:59 GMT",
        "Sun, 01 Nov 2026 13:00:00 +0100",
    ],
)
def test_a_time_near_the_arrival_is_taken(moment: str) -> None:
    told = replace(SAID, headers=(("x-time", moment),))
    assert proved(one("{time}.{body}", TIMED), moment.encode() + b"." + SAID.body, told)


@pytest.mark.parametrize(
    "moment",
    [
        str(NOW - 301),
        str(NOW + 301),
        str((NOW - 301) * 1000),
        "9" * 13,
        "9" * 30,
        "-1",
        "1e9",
        " ",
        "yesterday",
        "Sun, 01 Nov 2026 12:06:00 GMT",
        "Sun, 32 Nov 2026 12:00:00 GMT",
        "١٧٩٣٥٣٤٤٠٠",
    ],
)
def test_a_time_far_from_the_arrival_or_no_time_is_refused(moment: str) -> None:
    told = replace(SAID, headers=(("x-time", moment),))
    text = moment.encode() + b"." + SAID.body
    assert not proved(one("{time}.{body}", TIMED), text, told)


def test_the_digest_the_encoding_and_the_prefix_are_those_of_the_scheme() -> None:
    assert proved(one("{body}", replace(PLAIN, digest="sha512")), SAID.body, SAID, digest="sha512")
    assert not proved(one("{body}"), SAID.body, SAID, digest="sha512")
    digest = hmac.digest(SECRET.encode(), SAID.body, "sha256")
    keys = Keys(job=(SECRET,))
    for given, encoding, prefix in (
        (base64.b64encode(digest).decode(), "base64", ""),
        ("sha256=" + digest.hex(), "hex", "sha256="),
    ):
        told = replace(SAID, headers=(("x-signature", given),))
        assert holds(one("{body}", replace(PLAIN, encoding=encoding, prefix=prefix)), told, keys)
        assert not holds(one("{body}"), told, keys)


def test_only_some_of_the_headers_that_a_message_lists_are_read() -> None:
    scheme = Scheme(header="x-signature", template="{headers}", names="x-names")
    names = [f"h{number}" for number in range(20)]
    heads = (("x-names", ";".join(names)), *((name, "v") for name in names))
    assert text_of(scheme, message(200, b"", *heads), "").decode() == "".join(f"{n}:v\n" for n in names[:16])
    with pytest.raises(BadSignature):
        text_of(scheme, message(200, b"", ("x-names", "h0;h1"), ("h0", "v")), "")
    with pytest.raises(BadSignature):
        text_of(scheme, message(200, b"", ("x-names", "h0"), ("h0", "v"), ("h0", "w")), "")


@pytest.mark.parametrize(
    ("template", "part"),
    [
        ("{time}.{body}", None),
        ("", None),
        ("{/a/b}{header:x}", None),
        ("{Body}", "Body"),
        ("{}", ""),
        ("{/~}", "/~"),
    ],
)
def test_a_part_that_no_template_may_have_is_named(template: str, part: str | None) -> None:
    assert unknown(template) == part


def test_every_key_of_a_description_has_its_source() -> None:
    known = Keys(job=("j",), account=("whsec_YWNj",), api=("a",))
    digest = hashlib.sha256(b"a")
    assert {name: list(source(known)) for name, source in signed_text.DERIVED.items()} == {
        "job": [b"j"],
        "account": [b"whsec_YWNj"],
        "whsec": [b"acc"],
        "whsec-text": [b"YWNj"],
        "api": [b"a"],
        "api-sha256": [digest.digest(), digest.hexdigest().encode()],
    }
