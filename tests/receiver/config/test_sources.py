"""The settings of sources: each scheme with the keys that it needs, and errors that name them."""

from pathlib import Path
from typing import Any

import pytest

from receiver.config.load import load
from receiver.domain.errors import Misconfigured
from tests.receiver.sources.source_settings import source


def loaded(folder: Path, text: str) -> Any:
    """Return the settings of a file."""
    (folder / "ringback.toml").write_text(text)
    return load(folder / "ringback.toml", {})


def wrong(folder: Path, text: str) -> str:
    """Return the first problem of a file that is refused."""
    with pytest.raises(Misconfigured) as raised:
        loaded(folder, text)
    return str(raised.value)


GOOD = """
[[sources]]
name = "shop"
proof = {scheme = "hmac-sha256", header = "X-Signature", prefix = "sha256=", secrets = ["s"]}
tolerance = 300
id_header = "X-Request-Id"
challenge = {json = "challenge"}
handler = "apiframe"
"""


def test_the_example_of_the_contract_is_read(tmp_path: Path) -> None:
    found = loaded(tmp_path, GOOD)
    [(made, read)] = found.sources
    assert (made.name, made.proof.header, made.id_header, made.handler) == (
        "shop",
        "x-signature",
        "x-request-id",
        "apiframe",
    )
    assert made.challenge.json_field == "challenge"
    assert read is not None
    assert "s" in found.secrets()
    assert "secrets=(SecretStr('**********'),)" in repr(made)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('name = "shop"', 'name = "Shop"'), "sources.0.name"),
        (('name = "shop"', 'name = ""'), "sources.0.name"),
        (('scheme = "hmac-sha256"', 'scheme = "hmac"'), "sources.0.proof.scheme: must be 'shared-secret'"),
        (('header = "X-Signature", ', ""), "sources.0.proof: the scheme hmac-sha256 needs header = ..."),
        (('"X-Signature"', '"X Signature"'), "must be the name of a header"),
        (('secrets = ["s"]', "secrets = []"), "the scheme hmac-sha256 needs secrets = ..."),
        (('secrets = ["s"]', 'secrets = [""]'), "secrets: must not be empty"),
        (
            ('secrets = ["s"]', 'secrets = ["s"], insecure = true'),
            "insecure means nothing to the scheme hmac-sha256",
        ),
        (('secrets = ["s"]', 'secret = "s"'), "unknown setting; the nearest one is `secrets`"),
        (('id_header = "X-Request-Id"', 'id_pointer = "/a~2"'), "~ is written ~0"),
        (('id_header = "X-Request-Id"', 'id_header = "Authorization"'), "id_header must be another header"),
        (('id_header = "X-Request-Id"', 'id_header = "X-Signature"'), "id_header must be another header"),
        (("tolerance = 300", 'description = "x.toml"'), "sources.shop.description: stands beside handler"),
        (
            ('handler = "apiframe"', 'description = "missing.toml"'),
            "sources.shop.description: missing.toml: cannot be read",
        ),
        (("tolerance = 300", 'id_pointer = "/id"'), "give one of id_header and id_pointer"),
        (('{json = "challenge"}', "{}"), "give exactly one of json, query and crc"),
        (('{json = "challenge"}', '{json = "a", query = "b"}'), "give exactly one of json, query and crc"),
        (('{json = "challenge"}', '{jsn = "a"}'), "unknown setting; the nearest one is `json`"),
        (("tolerance = 300", "tolerance = 0"), "sources.0.tolerance"),
        (('handler = "apiframe"', 'handler = "apifram"'), "sources.shop.handler: no handler 'apifram'"),
        (("tolerance = 300", "tolerence = 300"), "unknown setting; the nearest one is `tolerance`"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    assert change[0] in GOOD
    assert says in wrong(tmp_path, GOOD.replace(*change))


def test_a_name_stands_for_one_source_and_endpoints_name_only_those(tmp_path: Path) -> None:
    assert "two sources have the same name" in wrong(tmp_path, GOOD + GOOD)
    endpoint = '[[endpoints]]\nid = "a"\nurl = "https://a.example/"\nevents = ["source.shpo.received"]\n'
    said = wrong(tmp_path, GOOD + endpoint)
    assert "endpoints.a.events: source.shpo.received names no source (did you mean `shop`?)" in said
    assert loaded(tmp_path, GOOD + endpoint.replace("shpo", "shop")).settings.endpoints


@pytest.mark.parametrize(
    ("scheme", "proof", "says"),
    [
        ("none", {"insecure": False}, "needs insecure = true"),
        ("none", {"secrets": ["s"]}, "secrets means nothing to the scheme none"),
        ("basic", {"secrets": ["user"]}, "must be user:password"),
        ("basic", {"secrets": [":"]}, "must be user:password"),
        ("svix", {"secrets": ["whsec_"]}, "must hold a key"),
        ("shared-secret", {"secrets": ["é"], "header": "x"}, "must be printable ASCII"),
        ("shared-secret", {"secrets": ["s "], "header": "x"}, "must be printable ASCII"),
        ("hmac-sha256", {"secrets": ["s"], "header": "x", "prefix": "é"}, "prefix: must be ASCII"),
        ("svix", {"secrets": ["whsec_!"]}, "must be whsec_ and base64"),
        ("standard-webhooks", {"secrets": ["s"]}, "must be whsec_ and base64"),
        ("standard-webhooks", {"secrets": ["whsec_aaaa"], "header": "x"}, "header means nothing"),
        ("ed25519-jwks", {"jwks_url": "ftp://a/"}, "jwks_url"),
        ("stripe", {"secrets": ["s"], "encoding": "hex"}, "encoding means nothing"),
        ("github", {"secrets": ["s"] * 6}, "at most 5"),
    ],
)
def test_each_scheme_has_its_own_keys(scheme: str, proof: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        source(scheme, proof=proof)


@pytest.mark.parametrize(
    "scheme", ["shared-secret", "hmac-sha256", "hmac-sha512", "github", "stripe", "ed25519-jwks", "none"]
)
def test_each_scheme_is_read(scheme: str) -> None:
    proof = {"header": "x-token"} if scheme in {"shared-secret", "hmac-sha512"} else {}
    assert source(scheme, proof=proof).proof.scheme == scheme


@pytest.mark.parametrize("pointer", ["id", "", "/", "//a", "/a/"])
def test_a_pointer_leads_somewhere(pointer: str) -> None:
    with pytest.raises(ValueError, match="must be a JSON pointer"):
        source(id_pointer=pointer)
