"""The proof of every provider: the right one proves, and anything else does not.

The captures that are expected to be proved show a right proof. The headers of the proof are found by their
effect: another value breaks it.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from handlers.contract import Callback, HttpMessage, Keys, Proof
from handlers.description.callbacks import ProofScheme, ProofTable
from handlers.errors import BadSignature
from tests.handlers.captures import (
    ACCOUNT_SECRET,
    API_KEY,
    HANDLERS,
    JOB_SECRET,
    KEYS,
    Capture,
    captures,
    description,
    proved,
)

Headers = tuple[tuple[str, str], ...]

CALLED_BACK = [name for name, handler in HANDLERS.items() if handler.callback is not None]
PROVED = [capture for name in CALLED_BACK for capture in proved(name)]
UNPROVED = [
    capture
    for name in CALLED_BACK
    for capture in captures(name, "callback")
    if capture.expected.get("proof") == Proof.UNPROVED.value
]


def rule(capture: Capture) -> ProofTable:
    """Return the rule by which the callbacks of a provider prove themselves."""
    told = description(capture.provider).callback
    assert told is not None
    return told.proof


CHECKED = [
    capture
    for capture in UNPROVED
    if rule(capture).scheme is not ProofScheme.NONE and not rule(capture).covers_body
]
"""The callbacks with a proof that does not cover the body: a wrong one is refused, and they stay hints."""
HINTS = [capture for capture in UNPROVED if capture not in CHECKED]
SIGNED = [
    capture
    for capture in PROVED
    if rule(capture).scheme in {ProofScheme.HMAC, ProofScheme.STANDARD_WEBHOOKS, ProofScheme.ED25519_JWKS}
]
"""The callbacks proved by a signature of their body, and not by a secret that holds for any body."""

each = pytest.mark.parametrize("capture", PROVED + CHECKED, ids=lambda capture: capture.name)


def verify(capture: Capture, told: HttpMessage, keys: Keys = KEYS) -> str:
    """Return the result of verifying a message for the provider of `capture`, as a word."""
    callback: Callback | None = HANDLERS[capture.provider].callback
    assert callback is not None
    try:
        return callback.verify(told, keys).value
    except BadSignature as error:
        return type(error).__name__


def without(capture: Capture, header: str) -> HttpMessage:
    """Return the message of a capture without one of its headers."""
    kept = tuple(pair for pair in capture.message.headers if pair[0] != header)
    return replace(capture.message, headers=kept)


def proving(capture: Capture) -> list[str]:
    """Return the headers that carry the proof: with another value in one of them, the proof fails."""
    names = sorted({name for name, _ in capture.message.headers})
    return [
        name
        for name in names
        if verify(capture, changed(capture, name, lambda _right: ["wrong"])) != capture.expected["proof"]
    ]


def changed(capture: Capture, header: str, values: Callable[[str], Sequence[str]]) -> HttpMessage:
    """Return the message of a capture with other values for one header."""
    headers: Headers = ()
    for name, value in capture.message.headers:
        headers += tuple((name, other) for other in values(value)) if name == header else ((name, value),)
    return replace(capture.message, headers=headers)


def flipped(value: str) -> str:
    """Return `value` with another last character."""
    return value[:-1] + ("0" if value[-1] != "0" else "1")


FORGERIES: dict[str, Callable[[str], Sequence[str]]] = {
    "wrong": lambda _right: ["wrong"],
    "one character off": lambda right: [flipped(right)],
    "empty": lambda _right: [""],
    "blank": lambda _right: [" "],
    "a prefix": lambda right: [right[:-1]],
    "half of it": lambda right: [right[: len(right) // 2]],
    "with a suffix": lambda right: [right + "0"],
    "with a line feed": lambda right: [right + "\n"],
    "with a zero byte": lambda right: [right + "\x00"],
    "in quotes": lambda right: [f'"{right}"'],
    "upper case": lambda right: [right.upper()],
    "doubled": lambda right: [right, right],
    "right, then wrong": lambda right: [right, flipped(right)],
    "wrong, then right": lambda right: [flipped(right), right],
    "right, then empty": lambda right: [right, ""],
    "joined by a comma": lambda right: [f"{right},{right}"],
    "joined by a comma and a blank": lambda right: [f"{right}, {flipped(right)}"],
    "accented": lambda right: ["é" + right[1:]],
    "a look-alike": lambda right: ["\uff10" + right[1:]],
    "not latin-1": lambda right: [right + "\u20ac"],
    "a lone surrogate": lambda right: [right + "\udc80"],
    "8 kB": lambda right: [right * (8192 // len(right) + 1)],
    "1 MB": lambda _right: ["0" * 1_000_000],
}


@each
def test_the_right_proof_proves_if_it_covers_the_body(capture: Capture) -> None:
    assert verify(capture, capture.message) == ("proved" if rule(capture).covers_body else "unproved")


@pytest.mark.parametrize("capture", SIGNED, ids=lambda capture: capture.name)
def test_a_signature_of_another_body_is_refused(capture: Capture) -> None:
    other = replace(capture.message, body=capture.message.body + b" ")
    assert verify(capture, other) == "BadSignature"


@pytest.mark.parametrize("capture", CHECKED, ids=lambda capture: capture.name)
def test_a_callback_whose_body_may_be_forged_counts_as_one_without_a_proof(capture: Capture) -> None:
    callback = HANDLERS[capture.provider].callback
    assert callback is not None
    assert not callback.provable


@each
def test_a_proof_stands_in_a_header(capture: Capture) -> None:
    assert proving(capture)


@each
def test_a_forged_proof_is_refused(capture: Capture) -> None:
    headers = proving(capture)
    for name, forgery in FORGERIES.items():
        made = {header: changed(capture, header, forgery) for header in headers}
        forged = {header: told for header, told in made.items() if told.headers != capture.message.headers}
        assert forged, name
        for header, told in forged.items():
            assert verify(capture, told) == "BadSignature", f"{header}: {name}"


@each
def test_a_missing_proof_proves_nothing(capture: Capture) -> None:
    bare = replace(capture.message, headers=())
    declared = {one.what: one for one in captures(capture.provider, "callback")}["without_proof"].expected
    assert verify(capture, bare) == declared.get("proof", declared.get("error"))
    assert verify(capture, bare) != "proved"


@each
def test_a_header_of_a_similar_name_does_not_count(capture: Capture) -> None:
    for header in proving(capture):
        similar = {header.replace("-", "_"), header.upper(), f"{header} ", f"x-{header}", header[:-1]}
        for name in similar - {header}:
            kept = tuple((name if old == header else old, value) for old, value in capture.message.headers)
            bare = without(capture, header)
            assert verify(capture, replace(bare, headers=kept)) == verify(capture, bare)


def encoded(secret: str) -> str:
    """Return `secret` in base64."""
    return base64.b64encode(secret.encode()).decode()


OTHERS = Keys(job=("job-secret-of-another",), account=("whsec_YW5vdGhlcg==",), api=("api-key-of-another",))
SWAPPED = Keys(job=(API_KEY,), account=("whsec_" + encoded(JOB_SECRET),), api=(ACCOUNT_SECRET,))
NEAR = Keys(
    job=(JOB_SECRET[:-1], JOB_SECRET + "0", JOB_SECRET.upper(), f" {JOB_SECRET}"),
    account=(ACCOUNT_SECRET[:-4],),
    api=(API_KEY[:-1], API_KEY + "0", API_KEY.upper(), f" {API_KEY}"),
)


@each
@pytest.mark.parametrize("keys", [OTHERS, SWAPPED, NEAR], ids=["others", "swapped", "near"])
def test_a_proof_under_another_key_is_refused(capture: Capture, keys: Keys) -> None:
    assert verify(capture, capture.message, keys) == "BadSignature"


@each
def test_without_a_key_nothing_is_proved(capture: Capture) -> None:
    for keys in (Keys(), Keys(job=("",), account=("",), api=("",))):
        assert verify(capture, capture.message, keys) != "proved"


@each
def test_every_key_that_may_be_valid_is_tried(capture: Capture) -> None:
    def beside(right: Sequence[str], wrong: Sequence[str]) -> list[Sequence[str]]:
        return [(*right, *wrong), (*wrong, *right), (*wrong, *right, *wrong)]

    listed = zip(
        beside(KEYS.job, OTHERS.job),
        beside(KEYS.account, OTHERS.account),
        beside(KEYS.api, OTHERS.api),
        strict=True,
    )
    for job, account, api in listed:
        tried = Keys(job=job, account=account, api=api)
        assert verify(capture, capture.message, tried) == capture.expected["proof"]


@each
def test_further_headers_do_not_matter(capture: Capture) -> None:
    more = (("x-request-id", "é" * 10), *capture.message.headers, ("user-agent", ""), ("user-agent", "x"))
    assert verify(capture, replace(capture.message, headers=more)) == capture.expected["proof"]


@pytest.mark.parametrize("capture", HINTS, ids=lambda capture: capture.name)
def test_a_hint_stays_a_hint_under_any_key(capture: Capture) -> None:
    for keys in (KEYS, OTHERS, Keys()):
        assert verify(capture, capture.message, keys) == "unproved"


@pytest.mark.parametrize("name", CALLED_BACK)
def test_a_provider_proves_or_hints(name: str) -> None:
    assert {capture.provider for capture in PROVED + UNPROVED} >= {name}
