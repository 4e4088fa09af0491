"""Keys to verify with."""

import base64
import builtins
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from receiver.security.signing import LONGEST, SHORTEST, key_of, mac, new_secret
from ringback import signatures
from ringback.errors import ConfigurationError
from ringback.signatures import decoded, verifier
from tests.client.deliveries import SECRET

PRIVATE = Ed25519PrivateKey.from_private_bytes(b"p" * 32)
PUBLIC = "whpk_" + base64.b64encode(PRIVATE.public_key().public_bytes_raw()).decode()


def test_a_secret_verifies_the_service_s_mac_and_no_other() -> None:
    scheme, prepare = verifier(SECRET)
    fits = prepare(b"message")
    assert scheme == "v1"
    assert fits(mac(key_of(SECRET), b"message"))
    assert not fits(mac(key_of(SECRET), b"messagE"))
    assert not fits(mac(key_of(new_secret(b"t" * 32)), b"message"))
    assert not fits(mac(key_of(SECRET), b"message")[:-1])
    assert not fits(b"")


def test_a_public_key_verifies_a_signature_and_no_other() -> None:
    scheme, prepare = verifier(PUBLIC)
    fits = prepare(b"message")
    assert scheme == "v1a"
    assert fits(PRIVATE.sign(b"message"))
    assert not fits(PRIVATE.sign(b"messagE"))
    assert not fits(Ed25519PrivateKey.generate().sign(b"message"))
    assert not fits(b"short")


def test_the_lengths_of_secrets_are_the_service_s() -> None:
    assert (signatures.SHORTEST, signatures.LONGEST) == (SHORTEST, LONGEST)
    for count in (SHORTEST, LONGEST):
        assert verifier(new_secret(b"k" * count))[0] == "v1"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "whsec_",
        "whsec_!!!",
        new_secret(b"k" * (SHORTEST - 1)),
        new_secret(b"k" * (LONGEST + 1)),
        SECRET.removeprefix("whsec_"),
        SECRET + "=",
        SECRET + "\n",
        SECRET.upper(),
        "whpk_",
        PUBLIC[:-4],
        "whpk_" + base64.b64encode(b"p" * 33).decode(),
        "whsk_" + base64.b64encode(b"p" * 32).decode(),
    ],
)
def test_a_key_that_is_none_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        verifier(key)
    if len(key) > 8:
        assert key[6:] not in str(caught.value)


def test_without_cryptography_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *others: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *others)

    monkeypatch.setattr(builtins, "__import__", without)
    assert verifier(SECRET)[0] == "v1"
    with pytest.raises(ConfigurationError, match=r"pip install 'ringback-client\[v1a\]'"):
        verifier(PUBLIC)


@pytest.mark.parametrize(
    "text", ["YQ", "YR==", "YQ==\n", " YQ==", "YQ==YQ==", "Y-__", "ÿ", "YQ=="[:1], "é" * 9]
)
def test_base64_has_one_form(text: str) -> None:
    assert decoded("YQ==") == b"a"
    assert decoded(text) is None


@pytest.mark.parametrize("key", [None, b"whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", 7])
def test_a_key_that_is_no_text_is_an_error_of_the_settings(key: object) -> None:
    with pytest.raises(ConfigurationError, match="is it set"):
        verifier(key)  # type: ignore[arg-type]  # as `os.environ.get` may give
